//! What is on a block device, by its first mebibyte and one place behind it. Pure.

/// How much of a device is looked at before it is called blank. The primary structures of all file systems and partition
/// tables lie in it, and what is blank so far has never been used, with one exception: see [`COPY_AT`].
pub(crate) const PROBE_OCTETS: u64 = 1 << 20;
/// In what holds anything, this much says what. To read a mebibyte of each partition is half a second on a slow card.
pub(crate) const HEAD_OCTETS: u64 = 64 << 10;

/// Where a data file system that has grown keeps the first copy of its superblock: the start of block group 1, which
/// is 32 768 blocks of 4 KiB in (Documentation/filesystems/ext4/blockgroup.rst, `sparse_super`). A card that loses its
/// first erase block, which then reads as blank, is known by it for what it is: the mail behind is not lost yet.
pub(crate) const COPY_AT: u64 = 128 << 20;
/// How much is looked at there.
pub(crate) const COPY_OCTETS: usize = 1024;

pub(crate) use format::layout::UNFINISHED;

/// Written to the first sector when everything behind it is to be discarded: a factory reset that goes on, also after a
/// power cut, until the file system is made anew. Behind it is how far it has come: octets, little-endian.
pub(crate) const RESET: &[u8; 32] = b"postolka data being reset v1\0\0\0\0";

/// The label that `image/builder` gives the pristine file system.
const LABEL: &[u8] = b"data";

/// Where ext4's superblock is, and in it: magic number, volume name (Documentation/filesystems/ext4/super.rst).
const SUPERBLOCK_AT: usize = 1024;
const EXT4_MAGIC_AT: usize = 0x38;
const EXT4_MAGIC: [u8; 2] = 0xef53_u16.to_le_bytes();
const EXT4_LABEL_AT: usize = 0x78;
const EXT4_LABEL_OCTETS: usize = 16;

/// What a device holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing: only zeros, or only ones as erased flash reads.
    Blank,
    /// A data file system that was never finished.
    Unfinished,
    /// What is being discarded, by a factory reset.
    Reset,
    /// An ext4 labelled as ours are, or what is left of one.
    Data,
    /// FAT: perhaps a stick with a provisioning file.
    Fat,
    /// Something else. It is somebody's.
    Other,
    /// It could not be read.
    Unreadable,
}

/// Recognises a device by its first [`PROBE_OCTETS`] and by the [`COPY_OCTETS`] at [`COPY_AT`], which are empty where
/// the device ends before.
pub(crate) fn recognise(octets: &[u8], copy: &[u8]) -> Content {
    if octets.is_empty() {
        return Content::Unreadable;
    }
    if is_all(octets, 0x00) || is_all(octets, 0xff) {
        return match label(copy) {
            Some(LABEL) => Content::Data,
            _ => Content::Blank,
        };
    }
    if octets.starts_with(UNFINISHED) {
        return Content::Unfinished;
    }
    if octets.starts_with(RESET) {
        return Content::Reset;
    }
    match label(octets.get(SUPERBLOCK_AT..).unwrap_or_default()) {
        Some(LABEL) => return Content::Data,
        Some(_) => return Content::Other,
        None => {}
    }
    if is_fat(octets) {
        Content::Fat
    } else {
        Content::Other
    }
}

/// The volume name in ext4's superblock, if this is one.
fn label(superblock: &[u8]) -> Option<&[u8]> {
    let label = at(superblock, EXT4_LABEL_AT, EXT4_LABEL_OCTETS);
    (at(superblock, EXT4_MAGIC_AT, 2) == EXT4_MAGIC)
        .then(|| label.split(|&octet| octet == 0).next().unwrap_or_default())
}

/// Whether every octet is `value`. By words: musl's memcmp and a plain loop go by octets, which is a second for the
/// pristine file system on a small board.
pub(super) fn is_all(octets: &[u8], value: u8) -> bool {
    let (words, rest) = octets.as_chunks::<16>();
    let pattern = u128::from_ne_bytes([value; 16]);
    words.iter().all(|word| u128::from_ne_bytes(*word) == pattern) && rest.iter().all(|&octet| octet == value)
}

/// A FAT boot sector: the signature, and one of the file system names that every formatter writes (Microsoft's FAT
/// specification calls them informative; a medium without them is none we were given by an installer).
fn is_fat(octets: &[u8]) -> bool {
    let names = [at(octets, 54, 5), at(octets, 82, 5)];
    at(octets, 510, 2) == [0x55, 0xaa]
        && names
            .iter()
            .any(|name| matches!(*name, b"FAT12" | b"FAT16" | b"FAT32"))
}

/// `length` octets at `start`; empty where the device ends before.
fn at(octets: &[u8], start: usize, length: usize) -> &[u8] {
    octets.get(start..start + length).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MAGIC: (usize, &[u8]) = (SUPERBLOCK_AT + EXT4_MAGIC_AT, &EXT4_MAGIC);
    const LABEL_AT: usize = SUPERBLOCK_AT + EXT4_LABEL_AT;

    fn with(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut octets = vec![0; 64 * 1024];
        for (start, part) in parts {
            octets[*start..start + part.len()].copy_from_slice(part);
        }
        octets
    }

    fn check(octets: &[u8], expected: Content) {
        assert_eq!(recognise(octets, &[]), expected);
    }

    #[test]
    fn only_what_has_never_been_used_is_blank() {
        check(&[0; 4096], Content::Blank);
        check(&[0xff; 4096], Content::Blank);
        check(&with(&[(60_000, &[1])]), Content::Other);
        check(
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            Content::Other,
        );
        check(&[0; 17], Content::Blank);
        check(&[0x5a; 4096], Content::Other);
        check(&[], Content::Unreadable);
    }

    #[test]
    fn our_file_system_is_known_by_its_label() {
        check(&with(&[MAGIC, (LABEL_AT, b"data")]), Content::Data);
        check(&with(&[MAGIC, (LABEL_AT, b"database")]), Content::Other);
        check(&with(&[MAGIC]), Content::Other);
        check(&with(&[(LABEL_AT, b"data")]), Content::Other);
    }

    #[test]
    fn a_data_file_system_that_has_lost_its_beginning_is_not_blank() {
        let copy = with(&[(EXT4_MAGIC_AT, &EXT4_MAGIC), (EXT4_LABEL_AT, b"data")]);
        for lost in [[0; 4096], [0xff; 4096]] {
            assert_eq!(recognise(&lost, &copy), Content::Data);
            // Somebody else's file system ends where it was asked to, and a disk is wiped by its beginning.
            assert_eq!(
                recognise(&lost, &with(&[(EXT4_MAGIC_AT, &EXT4_MAGIC)])),
                Content::Blank
            );
            assert_eq!(recognise(&lost, &[0; 1024]), Content::Blank);
        }
        // What was begun anew is made to its end, whatever is still behind.
        assert_eq!(recognise(&with(&[(0, UNFINISHED)]), &copy), Content::Unfinished);
    }

    #[test]
    fn a_file_system_that_was_never_finished_is_known_whatever_follows() {
        check(&with(&[(0, UNFINISHED), (70, &[1; 100])]), Content::Unfinished);
        let both = with(&[(0, UNFINISHED), MAGIC, (LABEL_AT, b"data")]);
        check(&both, Content::Unfinished);
    }

    #[test]
    fn a_reset_that_was_begun_is_known_whatever_is_left() {
        check(&with(&[(0, RESET), MAGIC, (LABEL_AT, b"data")]), Content::Reset);
        let copy = with(&[(EXT4_MAGIC_AT, &EXT4_MAGIC), (EXT4_LABEL_AT, b"data")]);
        assert_eq!(recognise(&with(&[(0, RESET)]), &copy), Content::Reset);
    }

    #[test]
    fn a_fat_stick_is_no_partition_table() {
        let signature: (usize, &[u8]) = (510, &[0x55, 0xaa]);
        check(&with(&[signature, (82, b"FAT32   ")]), Content::Fat);
        check(&with(&[signature, (54, b"FAT16   ")]), Content::Fat);
        check(&with(&[signature, (54, b"FAT12   ")]), Content::Fat);
        check(&with(&[signature]), Content::Other);
        check(&with(&[(82, b"FAT32   ")]), Content::Other);
        // GPT with its protective MBR.
        check(
            &with(&[signature, (450, &[0xee]), (512, b"EFI PART")]),
            Content::Other,
        );
    }

    proptest! {
        #[test]
        fn anything_is_recognised_as_something(octets in vec(any::<u8>(), 1..3000)) {
            let content = recognise(&octets, &[]);
            prop_assert!(content != Content::Unreadable);
            if octets.iter().any(|&octet| octet != octets[0]) {
                prop_assert!(content != Content::Blank);
            }
        }
    }
}
