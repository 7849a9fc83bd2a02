//! What a file with holes holds, without reading the holes.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// What is compared with zeros at once.
const BLOCK: usize = 64 << 10;

/// Writes `from` over the start of `to`, which holds only zeros so far: where `from` has holes or zeros, nothing is
/// written.
pub(crate) fn copy(from: &File, to: &File) -> io::Result<()> {
    each_block(from, |offset, block| {
        to.write_all_at(block, offset)?;
        Ok(ControlFlow::Continue(()))
    })
}

/// Whether a file holds nothing but zeros.
pub(crate) fn is_blank(file: &File) -> io::Result<bool> {
    let mut blank = true;
    each_block(file, |_, _| {
        blank = false;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(blank)
}

/// Compared as a whole, because a disk is long. `octets` are a block at most.
pub(crate) fn is_zero(octets: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    ZEROS.get(..octets.len()) == Some(octets)
}

/// Calls `visit` with every block that is not zero and its offset, in order, until it says that it is enough.
fn each_block(
    file: &File,
    mut visit: impl FnMut(u64, &[u8]) -> io::Result<ControlFlow<()>>,
) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut offset = 0;
    while let Some(data) = next_data(file, offset)? {
        offset = data;
        // The end of this stretch of data is not asked for: the hole behind it is met as zeros, or as the next hole.
        let count = file.read_at(&mut block, offset)?;
        if count == 0 {
            break;
        }
        let octets = &block[..count];
        if !is_zero(octets) && visit(offset, octets)?.is_break() {
            break;
        }
        offset += count as u64;
    }
    Ok(())
}

/// Where the file has data at or behind `offset`. A file system that knows no holes has data everywhere.
fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let from = i64::try_from(offset).map_err(io::Error::other)?;
    match lseek(file, from, Whence::SeekData) {
        Ok(found) => u64::try_from(found).map(Some).map_err(io::Error::other),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Seek};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const OCTETS: u64 = 64 << 20;

    /// A file with holes, with a block of written zeros and with data at its very end.
    fn file() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(OCTETS).unwrap();
        file.write_all_at(b"a letter", 33 << 20).unwrap();
        file.write_all_at(&vec![0; 1 << 20], 40 << 20).unwrap();
        file.write_all_at(b"!", OCTETS - 1).unwrap();
        file
    }

    #[test]
    fn a_copy_has_the_same_octets_and_no_room_for_zeros() {
        let (from, to) = (file(), tempfile::tempfile().unwrap());
        to.set_len(OCTETS).unwrap();
        copy(&from, &to).unwrap();
        let octets = |mut file: &File| {
            let mut octets = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut octets).unwrap();
            octets
        };
        assert!(octets(&from) == octets(&to), "the copy differs");
        let room = to.metadata().unwrap().blocks() * 512;
        assert!(room <= 4 * BLOCK as u64, "{room} octets");
    }

    #[test]
    fn a_file_is_blank_whatever_its_zeros_are_made_of() {
        assert!(!is_blank(&file()).unwrap());
        let blank = tempfile::tempfile().unwrap();
        assert!(is_blank(&blank).unwrap());
        blank.set_len(OCTETS).unwrap();
        assert!(is_blank(&blank).unwrap());
        blank.write_all_at(&vec![0; 1 << 20], 1 << 20).unwrap();
        assert!(is_blank(&blank).unwrap());
        blank.write_all_at(b"!", OCTETS - 1).unwrap();
        assert!(!is_blank(&blank).unwrap());
    }
}
