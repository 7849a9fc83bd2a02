//! The disk as it is flashed, put together in memory: partition table, ESP, bootstate, the same version in both slots.
//!
//! ```text
//!   0 MiB  MBR, partition table      20 MiB  bootstate, two copies      60 MiB  slot B, the same octets
//!   4 MiB  ESP                       28 MiB  slot A                     92 MiB  data: the mark that it is to be made
//! ```
//!
//! # Invariants
//! - Whatever says something is in `written`: a card that is written there only boots, whatever lay on it before.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use format::bootstate::{Copy, Found};
use format::gpt::{Guid, Table, Which};
use format::layout::{BLOCK_OCTETS, BOOTSTATE, DATA, ESP, IMAGE_OCTETS, PLACES, UNFINISHED, place};
use format::{Board, Slot, State};

use crate::error::Error;
use crate::esp::Esp;

/// The unit of the block map, and of holes in the file.
pub(crate) const MAP_OCTETS: usize = 4096;

/// The disk and each partition, in their order: the same for every image, and init gives each box its own.
const GUIDS: [&str; 1 + PLACES.len()] = [
    "706f7374-6f6c-4b61-8000-000000000010",
    "706f7374-6f6c-4b61-8000-000000000011",
    "706f7374-6f6c-4b61-8000-000000000012",
    "706f7374-6f6c-4b61-8000-000000000013",
    "706f7374-6f6c-4b61-8000-000000000014",
    "706f7374-6f6c-4b61-8000-000000000015",
];

/// The whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) octets: Vec<u8>,
    /// Blocks of [`MAP_OCTETS`] that say something, in their order, none next to another.
    pub(crate) written: Vec<Range<usize>>,
}

/// Puts a disk together. The same parts give the same octets.
pub(crate) fn disk(board: Board, esp: &Esp, slot: &[u8]) -> Result<Disk, Error> {
    let mut disk = Disk {
        octets: vec![0; octets(IMAGE_OCTETS)],
        written: Vec::new(),
    };
    disk.put(0, &mbr(board));
    let blocks = IMAGE_OCTETS / BLOCK_OCTETS;
    let guids = GUIDS.map(|guid| guid.parse().unwrap_or(Guid::ZERO));
    let table = Table::flashed(blocks, &guids);
    for which in [Which::Primary, Which::Backup] {
        let copy = table.encode(which);
        disk.put(copy.entries_at, &copy.entries);
        disk.put(copy.header_at, &copy.header);
    }
    disk.put(ESP.start, &esp.octets[..esp.used]);
    disk.put_bootstate();
    for which in Slot::ALL {
        let place = place(which);
        if slot.len() as u64 > place.octets {
            return Err(Error::TooLarge {
                what: "slot",
                octets: slot.len() as u64,
            });
        }
        disk.put(place.start, slot);
    }
    disk.put(DATA.start, UNFINISHED);
    disk.written = joined(disk.written);
    Ok(disk)
}

impl Disk {
    fn put(&mut self, at: u64, piece: &[u8]) {
        let at = octets(at);
        self.octets[at..at + piece.len()].copy_from_slice(piece);
        self.written
            .push(at / MAP_OCTETS..(at + piece.len()).div_ceil(MAP_OCTETS));
    }

    /// Both copies, as if the state had been written twice.
    fn put_bootstate(&mut self) {
        let state = State::flashed();
        let (first_at, first) = Found::new(None, None).next(&state);
        self.put(BOOTSTATE.start + first_at.at(), &first);
        let found = match first_at {
            Copy::First => Found::new(Some(&first), None),
            Copy::Second => Found::new(None, Some(&first)),
        };
        let (second_at, second) = found.next(&state);
        self.put(BOOTSTATE.start + second_at.at(), &second);
    }

    /// Writes the file with holes where nothing was written, in one step.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let new = path.with_extension("img.new");
        let write = || {
            let file = fs::File::create(&new)?;
            file.set_len(self.octets.len() as u64)?;
            for run in &self.written {
                let range = run.start * MAP_OCTETS..run.end * MAP_OCTETS;
                file.write_all_at(&self.octets[range.clone()], range.start as u64)?;
            }
            fs::rename(&new, path)
        };
        write().map_err(Error::file("write", path))
    }
}

/// The first sector: for firmware that knows no GPT, and for programs that would else take the disk for an empty one
/// (UEFI 2.10 §5.2.3).
///
/// The Raspberry Pi 3 has its first steps in a ROM that wants an MBR with a FAT partition. There the ESP is in it too
/// ("hybrid"); the kernel and UEFI still take the GPT, because the entry for it comes first.
fn mbr(board: Board) -> [u8; 512] {
    let blocks = |octets: u64| u32::try_from(octets / BLOCK_OCTETS).unwrap_or(u32::MAX);
    let mut mbr = [0; 512];
    let mut entry = |index: usize, kind: u8, start: u32, length: u32| {
        let at = 446 + 16 * index;
        // Heads and cylinders are of no disk any more: "beyond what they can say".
        let fields = [0, 0xff, 0xff, 0xff, kind, 0xff, 0xff, 0xff];
        mbr[at..at + 8].copy_from_slice(&fields);
        mbr[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        mbr[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
    };
    match board {
        Board::Virt => {
            entry(0, 0xee, 1, blocks(IMAGE_OCTETS) - 1);
        }
        Board::Rpi => {
            entry(0, 0xee, 1, blocks(ESP.start) - 1);
            entry(1, 0x0c, blocks(ESP.start), blocks(ESP.octets));
        }
    }
    if board == Board::Virt {
        // UEFI gives the start in the old terms as well: sector 2 of head 0.
        mbr[447..450].copy_from_slice(&[0, 2, 0]);
    }
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

/// Sorts ranges and joins those that touch.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut out: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

/// A place on the disk as an index: the image is 100 MiB.
fn octets(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use format::layout::SLOT_B;

    use super::*;
    use crate::verify::tests::{esp, whole_disk};

    #[test]
    fn the_same_parts_put_together_twice_are_equal() {
        assert_eq!(whole_disk(), whole_disk());
    }

    #[test]
    fn every_octet_that_is_not_zero_is_marked_as_written() {
        let mut disk = whole_disk();
        for run in disk.written.clone() {
            disk.octets[run.start * MAP_OCTETS..run.end * MAP_OCTETS].fill(0);
        }
        assert!(disk.octets.iter().all(|octet| *octet == 0));
        let is_apart = |pair: &[Range<usize>]| pair[0].end < pair[1].start;
        assert!(disk.written.windows(2).all(is_apart), "{:?}", disk.written);
    }

    #[test]
    fn the_file_has_the_octets_and_holes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.img");
        let disk = whole_disk();
        disk.write(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), disk.octets);
        // `blocks` counts 512 octets each, whatever the file system's unit is.
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 4 << 20);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_pi_finds_the_esp_in_the_mbr_behind_the_entry_for_gpt() {
        let mbr = mbr(Board::Rpi);
        // UEFI and Linux: the first entry is 0xee and starts at sector 1.
        assert_eq!((mbr[450], &mbr[454..458]), (0xee, &[1, 0, 0, 0][..]));
        // The ROM of the Pi 3: 0x0c, 4 MiB, 16 MiB.
        assert_eq!(mbr[466], 0x0c);
        assert_eq!(mbr[470..478], [0, 0x20, 0, 0, 0, 0x80, 0, 0]);
        assert_eq!(mbr[478..510], [0; 32]);
    }

    #[test]
    fn elsewhere_the_mbr_protects_the_whole_disk() {
        let mbr = mbr(Board::Virt);
        assert_eq!(
            mbr[446..462],
            [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0x1f, 3, 0]
        );
        assert_eq!(mbr[462..510], [0; 48]);
    }

    #[test]
    fn a_slot_that_has_no_room_is_refused() {
        let slot = vec![1; octets(SLOT_B.octets) + 1];
        let said = disk(Board::Virt, &esp(), &slot).unwrap_err().to_string();
        assert!(said.contains("33 MiB"), "{said}");
    }
}
