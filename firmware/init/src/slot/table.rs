//! The partition table of the boot disk: grown to a larger disk, mended from its copy, and given numbers of its own.
//!
//! ```text
//! 1  the copy at the disk's (new) end    sync     until here the old table counts
//! 2  the copy at its start               sync     the MBR in block 0 is not touched: a Raspberry Pi 3 starts by it
//! 3  the kernel is told
//! ```

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;

use format::gpt::{Guid, Table, Which};
use format::layout::{BLOCK_OCTETS, DATA};

use super::disk::Disk;
use crate::disk::{device, node};

/// What becomes of the table.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    table: Table,
    is_grown: bool,
}

/// What there is to do; nothing for a disk that is as it should be. `is_new`: the disk was just flashed.
fn plan(
    table: &Table,
    which: Which,
    disk_octets: u64,
    is_new: bool,
    guid: impl FnMut() -> Guid,
) -> Option<Plan> {
    let grown = table.grown(disk_octets / BLOCK_OCTETS);
    let is_grown = grown.is_some();
    let is_mended = which == Which::Backup;
    if !(is_grown || is_mended || is_new) {
        return None;
    }
    let mut table = grown.unwrap_or_else(|| table.clone());
    if is_new {
        table.rename(guid);
    }
    Some(Plan { table, is_grown })
}

/// Does what there is to do to the table of `disk`, and gives the sentences about it.
///
/// # Errors
/// It could not be written or the kernel did not take it. One copy on the disk is whole.
pub(crate) fn put_right(disk: &mut Disk, is_new: bool) -> io::Result<Vec<&'static str>> {
    let mut numbers = [[0; 16]; 32];
    for number in &mut numbers {
        getrandom::fill(number).map_err(io::Error::other)?;
        // RFC 9562 §5.4: version 4, variant 1. The first three fields are little-endian in a partition table.
        number[7] = number[7] & 0x0f | 0x40;
        number[8] = number[8] & 0x3f | 0x80;
    }
    let mut numbers = numbers.into_iter();
    // More numbers than a table of ours has partitions.
    let guid = || Guid::from_bytes(numbers.next().unwrap_or_default());
    let Some(plan) = plan(&disk.table, disk.which, disk.octets, is_new, guid) else {
        return Ok(Vec::new());
    };
    let device = OpenOptions::new().read(true).write(true).open(node(&disk.name))?;
    for which in [Which::Backup, Which::Primary] {
        let copy = plan.table.encode(which);
        device.write_all_at(&copy.entries, copy.entries_at)?;
        device.write_all_at(&copy.header, copy.header_at)?;
        device.sync_all()?;
    }
    let mut sentences = Vec::new();
    if disk.which == Which::Backup {
        sentences.push("The partition table was damaged and was restored from its copy.");
        // The kernel did not look at the copy, and knows no partitions.
        device::reread_partitions(&device)?;
    } else if plan.is_grown
        && let Some(data) = plan.table.find(DATA.name)
    {
        device::resize_partition(&device, data.number, data.start, data.octets)?;
    }
    if plan.is_grown {
        sentences.push("The disk is larger than its partition table said: the data gets all of it.");
    }
    (disk.table, disk.which) = (plan.table, Which::Primary);
    Ok(sentences)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use format::layout::IMAGE_OCTETS;

    use super::*;

    fn guid(octet: u8) -> Guid {
        Guid::from_bytes([octet; 16])
    }

    fn flashed() -> Table {
        Table::flashed(IMAGE_OCTETS / BLOCK_OCTETS, &[1, 2, 3, 4, 5, 6].map(guid))
    }

    fn planned(which: Which, octets: u64, is_new: bool) -> Option<Plan> {
        plan(&flashed(), which, octets, is_new, || guid(9))
    }

    #[test]
    fn a_disk_that_is_as_it_should_be_is_not_written_to() {
        assert_eq!(planned(Which::Primary, IMAGE_OCTETS, false), None);
    }

    #[test]
    fn a_larger_disk_gives_all_of_it_to_the_data_and_keeps_its_number() {
        let plan = planned(Which::Primary, 1 << 30, false).unwrap();
        assert!(plan.is_grown);
        assert_eq!(plan.table.disk_guid, guid(1));
        let data = plan.table.find("data").unwrap();
        assert!(data.start + data.octets > (1 << 30) - (5 << 20));
    }

    #[test]
    fn a_new_disk_gets_numbers_of_its_own_whatever_its_size() {
        for octets in [IMAGE_OCTETS, 1 << 30] {
            let plan = planned(Which::Primary, octets, true).unwrap();
            assert_eq!(plan.table.disk_guid, guid(9));
            assert_eq!(plan.is_grown, octets != IMAGE_OCTETS);
        }
    }

    #[test]
    fn a_table_that_lost_its_first_copy_is_written_again() {
        let plan = planned(Which::Backup, IMAGE_OCTETS, false).unwrap();
        assert_eq!(plan.table, flashed());
    }
}
