//! The partition table (UEFI 2.10 §5.3): read from either copy, made, grown. The types are `gpt_disk_types`'; what is
//! here is what our disks need of them: sectors of 512 octets, 128 entries with few of them used, the second copy at the
//! very end.
//!
//! # Invariants
//! - A table is written second copy first, each of them entries first: whenever the power goes, one copy is whole.
//! - A grown table keeps every partition where it starts.

use core::ops::RangeInclusive;

use bytemuck::{bytes_of, pod_read_unaligned};
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use gpt_disk_types::{
    Crc32, GptHeader, GptHeaderRevision, GptHeaderSignature, GptPartitionAttributes, GptPartitionEntry,
    GptPartitionName, GptPartitionType, LbaLe, U32Le,
};
use heapless::Vec;

pub use gpt_disk_types::Guid;

use crate::layout::{ALIGNMENT_OCTETS, BLOCK_OCTETS, PLACES, Place};

/// The most partitions a disk of ours can have. One with more is somebody else's.
pub const PARTITIONS_MAX: usize = 16;
/// Octets of the entries: 128 of 128.
pub const ENTRIES_OCTETS: usize = ENTRIES * ENTRY_OCTETS;
/// Octets of a header's sector.
pub const HEADER_OCTETS: usize = 512;

const ENTRIES: usize = 128;
const ENTRY_OCTETS: usize = 128;
const HEADER_SIZE: usize = size_of::<GptHeader>();
/// Blocks of the entries.
const ENTRIES_BLOCKS: u64 = ENTRIES_OCTETS as u64 / BLOCK_OCTETS;
/// The MBR, a header and the entries come before the first partition.
const FIRST_USABLE_BLOCK: u64 = 2 + ENTRIES_BLOCKS;
/// A header and the entries come behind the last.
const END_BLOCKS: u64 = 1 + ENTRIES_BLOCKS;
/// Sizes that a disk with a table can have: both copies have room, and a place on it is a number of octets.
const DISK_BLOCKS: RangeInclusive<u64> = FIRST_USABLE_BLOCK + END_BLOCKS..=u64::MAX / BLOCK_OCTETS;
/// Without a table: 17 KiB once a boot.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// Which of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// At the start of the disk.
    Primary,
    /// At its end.
    Backup,
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The disk's own number.
    pub disk_guid: Guid,
    /// The size of the disk as the table has it, in blocks of 512 octets.
    pub disk_blocks: u64,
    partitions: Vec<GptPartitionEntry, PARTITIONS_MAX>,
}

/// Where a partition lies, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its number in the table, from 1, as Linux numbers it.
    pub number: u32,
    /// Where it starts.
    pub start: u64,
    /// How long it is.
    pub octets: u64,
}

/// One copy of a table as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Where the entries lie, in octets; written first.
    pub entries_at: u64,
    /// All of them.
    pub entries: [u8; ENTRIES_OCTETS],
    /// Where the header lies, in octets; written last.
    pub header_at: u64,
    /// Its sector.
    pub header: [u8; HEADER_OCTETS],
}

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The disk did not give the octets.
    Unreadable,
    /// There is none, or a checksum does not fit.
    Invalid,
    /// It is one, but no disk of ours has such.
    Foreign,
}

impl Table {
    /// The table of a flashed image. `guids` are for the disk and the partitions in their order.
    pub fn flashed(disk_blocks: u64, guids: &[Guid; 1 + PLACES.len()]) -> Self {
        let mut table = Self {
            disk_guid: guids[0],
            disk_blocks,
            partitions: Vec::new(),
        };
        for (place, guid) in PLACES.iter().zip(&guids[1..]) {
            // There are fewer places than a table has room for: see the test.
            let _ = table.partitions.push(entry(place, *guid));
        }
        table
    }

    /// Reads the table of a disk by `read`, which fills the buffer from an offset in octets: the primary copy if that is
    /// whole, else the one at the end of a disk of `disk_octets`.
    ///
    /// # Errors
    /// What is wrong with the primary copy, when neither is whole.
    pub fn read(
        disk_octets: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> bool,
    ) -> Result<(Self, Which), Damage> {
        let damage = match Self::read_copy(1, disk_octets, &mut read) {
            Ok(table) => return Ok((table, Which::Primary)),
            Err(damage) => damage,
        };
        let last = (disk_octets / BLOCK_OCTETS).checked_sub(1).ok_or(damage)?;
        match Self::read_copy(last, disk_octets, &mut read) {
            Ok(table) => Ok((table, Which::Backup)),
            Err(_) => Err(damage),
        }
    }

    /// Reads the copy whose header is at `block`.
    ///
    /// # Errors
    /// It is not a whole one.
    pub fn read_copy(
        block: u64,
        disk_octets: u64,
        read: &mut impl FnMut(u64, &mut [u8]) -> bool,
    ) -> Result<Self, Damage> {
        let mut sector = [0; HEADER_OCTETS];
        if !read(block * BLOCK_OCTETS, &mut sector) {
            return Err(Damage::Unreadable);
        }
        let header: GptHeader = pod_read_unaligned(&sector[..HEADER_SIZE]);
        let is_whole = header.is_signature_valid()
            && header.header_size.to_u32() as usize == HEADER_SIZE
            && header.my_lba.to_u64() == block
            && header_crc(&header) == header.header_crc32.0.to_u32();
        if !is_whole {
            return Err(Damage::Invalid);
        }
        let shape = (
            header.number_of_partition_entries.to_u32() as usize,
            header.size_of_partition_entry.to_u32() as usize,
        );
        let disk_blocks = block.max(header.alternate_lba.to_u64()).checked_add(1);
        let disk_blocks = disk_blocks.ok_or(Damage::Foreign)?;
        let entries_at = header.partition_entry_lba.to_u64();
        let is_inside = entries_at
            .checked_add(ENTRIES_BLOCKS)
            .is_some_and(|end| end <= disk_octets / BLOCK_OCTETS);
        if shape != (ENTRIES, ENTRY_OCTETS) || !is_inside || !DISK_BLOCKS.contains(&disk_blocks) {
            return Err(Damage::Foreign);
        }
        let mut table = Self {
            disk_guid: header.disk_guid,
            disk_blocks,
            partitions: Vec::new(),
        };
        table.read_entries(
            entries_at * BLOCK_OCTETS,
            header.partition_entry_array_crc32,
            read,
        )?;
        Ok(table)
    }

    fn read_entries(
        &mut self,
        at: u64,
        expected: Crc32,
        read: &mut impl FnMut(u64, &mut [u8]) -> bool,
    ) -> Result<(), Damage> {
        let mut digest = CRC.digest();
        let mut has_gap = false;
        let mut is_foreign = false;
        for part in 0..(ENTRIES_OCTETS / 4096) as u64 {
            let mut octets = [0; 4096];
            if !read(at + part * 4096, &mut octets) {
                return Err(Damage::Unreadable);
            }
            digest.update(&octets);
            for entry in octets.as_chunks::<ENTRY_OCTETS>().0 {
                let entry: GptPartitionEntry = pod_read_unaligned(entry);
                if !entry.is_used() {
                    has_gap = true;
                } else if has_gap || entry.lba_range().is_none() || self.partitions.push(entry).is_err() {
                    // The number of a partition is its place in the list: a list with gaps is not ours.
                    is_foreign = true;
                }
            }
        }
        if digest.finalize() != expected.0.to_u32() {
            return Err(Damage::Invalid);
        }
        if is_foreign { Err(Damage::Foreign) } else { Ok(()) }
    }

    /// Where the partition of this name lies, if it lies inside of the disk as the table has it. The first, if there
    /// are several.
    pub fn find(&self, name: &str) -> Option<Extent> {
        self.extents()
            .find(|(found, _)| found.chars().eq(name.chars()))
            .map(|(_, extent)| extent)
    }

    /// All partitions that lie inside of the disk, with their names.
    pub fn extents(&self) -> impl Iterator<Item = (GptPartitionName, Extent)> + '_ {
        self.partitions.iter().zip(1..).filter_map(|(entry, number)| {
            let range = entry.lba_range()?;
            let end = range.end().to_u64().checked_add(1)?;
            (end <= self.disk_blocks).then(|| {
                let start = range.start().to_u64() * BLOCK_OCTETS;
                let extent = Extent {
                    number,
                    start,
                    octets: end * BLOCK_OCTETS - start,
                };
                (entry.name, extent)
            })
        })
    }

    /// The table for a disk that has become larger: its copy at the new end, and the last partition up to it. `None`
    /// if the disk is as large as the table has it, or smaller.
    #[must_use]
    pub fn grown(&self, disk_blocks: u64) -> Option<Self> {
        if disk_blocks <= self.disk_blocks {
            return None;
        }
        let mut table = self.clone();
        table.disk_blocks = disk_blocks;
        let last = table
            .partitions
            .iter_mut()
            .max_by_key(|entry| entry.starting_lba.to_u64())?;
        // Aligned at its end too; what is left over is less than 4 MiB.
        let alignment = ALIGNMENT_OCTETS / BLOCK_OCTETS;
        let end = (disk_blocks - END_BLOCKS) / alignment * alignment;
        if end > last.ending_lba.to_u64().saturating_add(1) {
            last.ending_lba = LbaLe::from_u64(end - 1);
        }
        Some(table)
    }

    /// Gives the disk and its partitions numbers of their own: all cards flashed with one image bear the same until
    /// then.
    pub fn rename(&mut self, mut guid: impl FnMut() -> Guid) {
        self.disk_guid = guid();
        for entry in &mut self.partitions {
            entry.unique_partition_guid = guid();
        }
    }

    /// One of its copies.
    pub fn encode(&self, which: Which) -> Encoded {
        let last = self.disk_blocks - 1;
        let (my_block, alternate, entries_block) = match which {
            Which::Primary => (1, last, 2),
            Which::Backup => (last, 1, last - ENTRIES_BLOCKS),
        };
        let mut entries = [0; ENTRIES_OCTETS];
        for (to, entry) in entries
            .as_chunks_mut::<ENTRY_OCTETS>()
            .0
            .iter_mut()
            .zip(&self.partitions)
        {
            to.copy_from_slice(bytes_of(entry));
        }
        let mut header = GptHeader {
            signature: GptHeaderSignature::EFI_COMPATIBLE_PARTITION_TABLE_HEADER,
            revision: GptHeaderRevision::VERSION_1_0,
            header_size: U32Le::from_u32(92),
            my_lba: LbaLe::from_u64(my_block),
            alternate_lba: LbaLe::from_u64(alternate),
            first_usable_lba: LbaLe::from_u64(FIRST_USABLE_BLOCK),
            last_usable_lba: LbaLe::from_u64(self.disk_blocks - END_BLOCKS - 1),
            disk_guid: self.disk_guid,
            partition_entry_lba: LbaLe::from_u64(entries_block),
            number_of_partition_entries: U32Le::from_u32(128),
            size_of_partition_entry: U32Le::from_u32(128),
            partition_entry_array_crc32: Crc32(U32Le::from_u32(CRC.checksum(&entries))),
            ..GptHeader::default()
        };
        header.header_crc32 = Crc32(U32Le::from_u32(header_crc(&header)));
        let mut sector = [0; HEADER_OCTETS];
        sector[..HEADER_SIZE].copy_from_slice(bytes_of(&header));
        Encoded {
            entries_at: entries_block * BLOCK_OCTETS,
            entries,
            header_at: my_block * BLOCK_OCTETS,
            header: sector,
        }
    }
}

fn entry(place: &Place, guid: Guid) -> GptPartitionEntry {
    let mut name = GptPartitionName([0; 72]);
    // UTF-16, little-endian; the names are ASCII.
    for (to, letter) in name.0.as_chunks_mut::<2>().0.iter_mut().zip(place.name.bytes()) {
        to[0] = letter;
    }
    GptPartitionEntry {
        partition_type_guid: GptPartitionType(place.kind.0),
        unique_partition_guid: guid,
        starting_lba: LbaLe::from_u64(place.start / BLOCK_OCTETS),
        ending_lba: LbaLe::from_u64((place.start + place.octets) / BLOCK_OCTETS - 1),
        attributes: GptPartitionAttributes::default(),
        name,
    }
}

/// Of the header with zeros where the checksum is.
fn header_crc(header: &GptHeader) -> u32 {
    let header = GptHeader {
        header_crc32: Crc32(U32Le::from_u32(0)),
        ..*header
    };
    CRC.checksum(bytes_of(&header))
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::layout::{DATA, IMAGE_OCTETS, SLOT_B};

    const IMAGE_BLOCKS: u64 = IMAGE_OCTETS / BLOCK_OCTETS;

    fn guids() -> [Guid; 6] {
        core::array::from_fn(|index| Guid::from_bytes([u8::try_from(index).unwrap_or(0) + 1; 16]))
    }

    /// The pieces of a disk that are not zero.
    #[derive(Clone)]
    struct Disk(Vec<(u64, Vec<u8>)>, u64);

    impl Disk {
        fn with(table: &Table, octets: u64) -> Self {
            let mut disk = Self(Vec::new(), octets);
            for which in [Which::Backup, Which::Primary] {
                disk.write(&table.encode(which));
            }
            disk
        }

        fn write(&mut self, encoded: &Encoded) {
            self.0.push((encoded.entries_at, encoded.entries.to_vec()));
            self.0.push((encoded.header_at, encoded.header.to_vec()));
        }

        fn get(&self, at: u64, into: &mut [u8]) -> bool {
            into.fill(0);
            for (start, octets) in &self.0 {
                for (index, to) in (at..).zip(into.iter_mut()) {
                    if let Some(octet) = index
                        .checked_sub(*start)
                        .and_then(|index| octets.get(usize::try_from(index).ok()?))
                    {
                        *to = *octet;
                    }
                }
            }
            at + into.len() as u64 <= self.1
        }

        fn read(&self) -> Result<(Table, Which), Damage> {
            Table::read(self.1, |at, into| self.get(at, into))
        }
    }

    #[test]
    fn a_flashed_table_is_read_back_from_either_copy() {
        let table = Table::flashed(IMAGE_BLOCKS, &guids());
        let mut disk = Disk::with(&table, IMAGE_OCTETS);
        assert_eq!(disk.read(), Ok((table.clone(), Which::Primary)));
        for place in PLACES {
            let extent = table.find(place.name).map(|extent| (extent.start, extent.octets));
            assert_eq!(extent, Some((place.start, place.octets)));
        }
        assert_eq!(table.find("dat"), None);
        disk.0.push((512 + 60, vec![0xff]));
        assert_eq!(disk.read(), Ok((table, Which::Backup)));
    }

    #[test]
    fn a_larger_disk_gives_all_of_it_to_the_data() {
        let table = Table::flashed(IMAGE_BLOCKS, &guids());
        assert_eq!(table.grown(IMAGE_BLOCKS), None);
        let blocks = (64 << 30) / BLOCK_OCTETS + 77;
        let Some(grown) = table.grown(blocks) else {
            panic!("it did not grow");
        };
        let data = grown.find("data").map(|extent| (extent.number, extent.start));
        assert_eq!(data, Some((5, DATA.start)));
        let end = grown
            .find("data")
            .map_or(0, |extent| extent.start + extent.octets);
        assert_eq!(end % ALIGNMENT_OCTETS, 0);
        assert!(blocks * BLOCK_OCTETS - end < ALIGNMENT_OCTETS + END_BLOCKS * BLOCK_OCTETS);
        assert_eq!(
            grown.find("slot-b").map(|extent| extent.start),
            Some(SLOT_B.start)
        );
    }

    #[test]
    fn d24_growing_cut_at_any_sector_leaves_one_whole_table() {
        let old = Table::flashed(IMAGE_BLOCKS, &guids());
        let blocks = 4 * IMAGE_BLOCKS;
        let new = old.grown(blocks).unwrap_or_else(|| panic!("it did not grow"));
        let writes: Vec<(u64, Vec<u8>)> = [Which::Backup, Which::Primary]
            .iter()
            .flat_map(|which| {
                let encoded = new.encode(*which);
                [
                    (encoded.entries_at, encoded.entries.to_vec()),
                    (encoded.header_at, encoded.header.to_vec()),
                ]
            })
            .flat_map(|(at, octets)| {
                let sectors: Vec<_> = octets.chunks(512).map(<[u8]>::to_vec).collect();
                (at..).step_by(512).zip(sectors)
            })
            .collect();
        for cut in 0..=writes.len() {
            let mut disk = Disk::with(&old, blocks * BLOCK_OCTETS);
            disk.0.extend(writes[..cut].iter().cloned());
            let (table, _) = disk.read().unwrap_or_else(|damage| panic!("{damage:?} at {cut}"));
            assert!(table == old || table == new, "at {cut}");
        }
    }

    #[test]
    fn a_renamed_disk_is_another_one_with_the_same_partitions() {
        let mut table = Table::flashed(IMAGE_BLOCKS, &guids());
        let before = table.find("data");
        table.rename(|| Guid::from_bytes([9; 16]));
        assert_eq!(table.disk_guid, Guid::from_bytes([9; 16]));
        assert_eq!(table.find("data"), before);
    }

    /// A table that claims to be for a disk of so many blocks, with a partition there.
    fn claiming(disk_blocks: u64, start: u64, end: u64) -> Disk {
        let mut table = Table::flashed(IMAGE_BLOCKS, &guids());
        table.partitions[0].starting_lba = LbaLe::from_u64(start);
        table.partitions[0].ending_lba = LbaLe::from_u64(end);
        let mut copy = table.encode(Which::Primary);
        let mut header: GptHeader = pod_read_unaligned(&copy.header[..HEADER_SIZE]);
        header.alternate_lba = LbaLe::from_u64(disk_blocks - 1);
        header.header_crc32 = Crc32(U32Le::from_u32(header_crc(&header)));
        copy.header[..HEADER_SIZE].copy_from_slice(bytes_of(&header));
        let mut disk = Disk(Vec::new(), IMAGE_OCTETS);
        disk.write(&copy);
        disk
    }

    #[test]
    fn a_size_that_no_disk_has_is_none_of_ours() {
        for blocks in [u64::MAX, u64::MAX / 512 + 1, 2, 33, 66] {
            assert_eq!(claiming(blocks, 40, 50).read(), Err(Damage::Foreign), "{blocks}");
        }
        // The largest there can be, and a partition to the end of all numbers.
        let largest = u64::MAX / 512;
        for (start, end) in [(largest - 9, largest - 1), (1, u64::MAX), (9, 8)] {
            if let Ok((table, _)) = claiming(largest, start, end).read() {
                let found = table.extents().filter(|(_, extent)| extent.number == 1).count();
                assert_eq!(found, usize::from(end < largest), "{start} {end}");
                let _ = table.grown(u64::MAX);
            }
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_in_one_copy_is_noticed(at in 0..HEADER_SIZE, bit in 0..8) {
            let table = Table::flashed(IMAGE_BLOCKS, &guids());
            let mut disk = Disk::with(&table, IMAGE_OCTETS);
            let mut header = table.encode(Which::Primary).header;
            header[at] ^= 1_u8 << bit;
            disk.0.push((512, header.to_vec()));
            prop_assert_eq!(disk.read(), Ok((table, Which::Backup)));
        }

        #[test]
        fn random_headers_never_panic(octets in proptest::collection::vec(any::<u8>(), 512), size in 0..1_u64 << 40) {
            let mut octets = octets;
            octets[..16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
            octets[24..32].copy_from_slice(&1_u64.to_le_bytes());
            let mut header: GptHeader = pod_read_unaligned(&octets[..HEADER_SIZE]);
            header.header_crc32 = Crc32(U32Le::from_u32(header_crc(&header)));
            octets[..HEADER_SIZE].copy_from_slice(bytes_of(&header));
            let disk = Disk(vec![(512, octets)], size);
            if let Ok((table, _)) = disk.read() {
                let _ = table.find("data");
                let _ = table.grown(u64::MAX / 512);
            }
        }
    }
}
