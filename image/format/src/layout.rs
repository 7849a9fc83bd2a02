//! Where things lie on a flashed disk.
//!
//! ```text
//!   0 MiB  partition table (and, for the Raspberry Pi 3, an MBR beside it)
//!   4 MiB  esp        16 MiB  FAT16: the loader, what a board's firmware wants; not written in normal running
//!  20 MiB  bootstate   8 MiB  two copies
//!  28 MiB  slot-a     32 MiB  raw
//!  60 MiB  slot-b     32 MiB  raw
//!  92 MiB  data       to the end of the disk: ext4
//! ```
//!
//! All of it starts at multiples of 4 MiB, the erase block of common cards.

use gpt_disk_types::{GptPartitionType, guid};

const MIB: u64 = 1 << 20;

/// The unit partitions start at.
pub const ALIGNMENT_OCTETS: u64 = 4 * MIB;
/// The whole disk as it is flashed: `data` has 4 MiB of it, and room for the table's copy behind it.
pub const IMAGE_OCTETS: u64 = 100 * MIB;
/// The disk's sectors. Not supported: disks with sectors of 4 KiB, whose table would lie elsewhere.
pub const BLOCK_OCTETS: u64 = 512;

/// Written to the first sector of a data file system before the file system behind it, and replaced last: what bears it
/// was left half-made by a power cut, or was just flashed, and holds nothing of anybody's.
pub const UNFINISHED: &[u8; 32] = b"postolka data being written v1\0\0";

/// A partition, as the image is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name in the table, by which it is found.
    pub name: &'static str,
    /// What the table says it is for.
    pub kind: GptPartitionType,
    /// Where it starts.
    pub start: u64,
    /// How long it is.
    pub octets: u64,
}

/// "Linux filesystem data" and a type of our own for what is raw.
const LINUX: GptPartitionType = GptPartitionType(guid!("0fc63daf-8483-4772-8e79-3d69d8477de4"));
const RAW: GptPartitionType = GptPartitionType(guid!("706f7374-6f6c-4b61-9000-736c6f740001"));

/// The EFI system partition.
pub const ESP: Place = Place {
    name: "esp",
    kind: GptPartitionType::EFI_SYSTEM,
    start: 4 * MIB,
    octets: 16 * MIB,
};
/// The bootstate.
pub const BOOTSTATE: Place = Place {
    name: "bootstate",
    kind: RAW,
    start: 20 * MIB,
    octets: 8 * MIB,
};
/// Slot A.
pub const SLOT_A: Place = Place {
    name: "slot-a",
    kind: RAW,
    start: 28 * MIB,
    octets: 32 * MIB,
};
/// Slot B.
pub const SLOT_B: Place = Place {
    name: "slot-b",
    kind: RAW,
    start: 60 * MIB,
    octets: 32 * MIB,
};
/// The data file system, which grows to the end of the disk.
pub const DATA: Place = Place {
    name: "data",
    kind: LINUX,
    start: 92 * MIB,
    octets: 4 * MIB,
};

/// All of them, in the order of the disk.
pub const PLACES: [Place; 5] = [ESP, BOOTSTATE, SLOT_A, SLOT_B, DATA];

/// The partition of a slot.
pub const fn place(slot: crate::Slot) -> Place {
    match slot {
        crate::Slot::A => SLOT_A,
        crate::Slot::B => SLOT_B,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{CHUNK_OCTETS, CHUNKS_MAX, HEADER_OCTETS};

    #[test]
    fn places_are_aligned_and_follow_each_other_inside_of_the_image() {
        let mut end = ALIGNMENT_OCTETS;
        for place in PLACES {
            assert_eq!(place.start % ALIGNMENT_OCTETS, 0, "{}", place.name);
            assert_eq!(place.start, end, "{}", place.name);
            end = place.start + place.octets;
        }
        assert!(end < IMAGE_OCTETS);
        assert!((HEADER_OCTETS + CHUNKS_MAX * CHUNK_OCTETS) as u64 <= SLOT_A.octets);
        assert!(crate::bootstate::Copy::Second.at() * 2 <= BOOTSTATE.octets);
    }
}
