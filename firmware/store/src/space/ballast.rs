//! A file that is there to be removed: when the disk is full to the last octet, its room is what deleting, rewriting and
//! the index's checkpoints live on.
//!
//! Its content is nothing, and nobody syncs it: after a power cut it is as long as it is.

use crate::storage::Storage;
use std::io;
use std::sync::Mutex;

/// The name of the ballast.
pub(crate) const BALLAST: &str = "ballast";
/// So much is made of it at once.
const PIECE_OCTETS: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Ballast {
    full_octets: u64,
    /// How much of it is there.
    octets: Mutex<u64>,
}

impl Ballast {
    pub(super) fn find(storage: &dyn Storage, full_octets: u64) -> io::Result<Ballast> {
        let is_there = storage.list("")?.iter().any(|name| name == BALLAST);
        let octets = if is_there {
            storage.open(BALLAST)?.length()?
        } else {
            0
        };
        Ok(Ballast {
            full_octets,
            octets: Mutex::new(octets),
        })
    }

    pub(super) fn octets(&self) -> u64 {
        self.octets.lock().map_or(0, |octets| *octets)
    }

    pub(super) fn missing_octets(&self) -> u64 {
        self.full_octets.saturating_sub(self.octets())
    }

    pub(super) fn release(&self, storage: &dyn Storage) -> bool {
        let Ok(mut octets) = self.octets.lock() else {
            return false;
        };
        if *octets == 0 {
            return false;
        }
        match storage.remove(BALLAST) {
            Ok(()) => tracing::warn!(
                octets = *octets,
                "the disk is full; the store gives up its ballast"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => {
                tracing::warn!(%error, "the store cannot give up its ballast");
                return false;
            }
        }
        *octets = 0;
        true
    }

    /// Adds a piece. Whether more is to come.
    pub(super) fn grow(&self, storage: &dyn Storage) -> io::Result<bool> {
        let Ok(mut octets) = self.octets.lock() else {
            return Ok(false);
        };
        let file = match storage.create(BALLAST) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => storage.open(BALLAST)?,
            file => file?,
        };
        let piece = PIECE_OCTETS.min(self.full_octets.saturating_sub(*octets));
        // Written, not only reserved: a file with holes holds no room.
        let zeros = vec![0; usize::try_from(piece).expect("a piece is small")];
        let written = file.write_all_at(&zeros, *octets);
        *octets = file.length()?;
        written?;
        Ok(*octets < self.full_octets)
    }
}
