//! The log: segments that hold batches that hold records, and body files beside them.
//!
//! The byte layouts are drawn in the README of this crate; each file here owns one of them.

pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod frames;
pub(crate) mod record;
pub(crate) mod scan;
pub(crate) mod seal;
pub(crate) mod segment;

/// Batches start on a multiple of this. It is the page size of Linux and the block size of our ext4, so
/// that writing a batch never rewrites a block with acknowledged octets.
pub(crate) const BLOCK_OCTETS: u64 = 4096;

/// The folder of the segments.
pub(crate) const SEGMENTS: &str = "log";
/// The folder of the body files.
pub(crate) const BODIES: &str = "bodies";

/// The next multiple of [`BLOCK_OCTETS`].
pub(crate) const fn next_block(offset: u64) -> u64 {
    offset.next_multiple_of(BLOCK_OCTETS)
}

/// `N` octets at `at`, which the caller knows to be there.
pub(crate) fn octets_at<const N: usize>(octets: &[u8], at: usize) -> [u8; N] {
    octets[at..at + N].try_into().expect("the range has N octets")
}

pub(crate) fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(octets_at(octets, at))
}

pub(crate) fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets_at(octets, at))
}

pub(crate) fn u64_at(octets: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(octets_at(octets, at))
}
