//! A file or a disk that is looked at, in pieces: a card has more octets than memory has room for.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::Error;

/// A disk image that was packed is unpacked in memory up to this.
const UNPACKED_OCTETS_MAX: u64 = 1 << 30;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Octets at places.
#[derive(Debug)]
pub(crate) struct Source {
    from: From,
    /// How many there are.
    pub(crate) octets: u64,
}

#[derive(Debug)]
enum From {
    File(File),
    Memory(Vec<u8>),
}

impl Source {
    /// Opens an update file, a disk image (which may be packed), or a disk.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(Error::file("open", path))?;
        let mut magic = [0; 4];
        let is_packed = file.read_exact_at(&mut magic, 0).is_ok() && magic == ZSTD_MAGIC;
        if is_packed {
            let mut octets = Vec::new();
            let unpacking = zstd::Decoder::new(file)
                .and_then(|decoder| decoder.take(UNPACKED_OCTETS_MAX).read_to_end(&mut octets));
            unpacking.map_err(Error::file("unpack", path))?;
            return Ok(Self::of(octets));
        }
        // The length of a block device is not in its metadata.
        let octets = file.seek(SeekFrom::End(0)).map_err(Error::file("read", path))?;
        Ok(Self {
            from: From::File(file),
            octets,
        })
    }

    pub(crate) fn of(octets: Vec<u8>) -> Self {
        Self {
            octets: octets.len() as u64,
            from: From::Memory(octets),
        }
    }

    /// Fills `into` from `at`; whether all of it is there.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> bool {
        match &self.from {
            From::File(file) => file.read_exact_at(into, at).is_ok(),
            From::Memory(octets) => {
                let range = usize::try_from(at)
                    .ok()
                    .and_then(|start| Some(start..start.checked_add(into.len())?));
                match range.and_then(|range| octets.get(range)) {
                    Some(piece) => {
                        into.copy_from_slice(piece);
                        true
                    }
                    None => false,
                }
            }
        }
    }

    /// So many octets from `at`.
    pub(crate) fn piece(&self, at: u64, octets: usize) -> Option<Vec<u8>> {
        // Checked first: a length that is a lie is not worth the memory.
        if at.checked_add(octets as u64)? > self.octets {
            return None;
        }
        let mut piece = vec![0; octets];
        self.read(at, &mut piece).then_some(piece)
    }

    /// An array from `at`.
    pub(crate) fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut array = [0; N];
        self.read(at, &mut array).then_some(array)
    }
}
