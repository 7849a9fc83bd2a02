//! A segment: a file of batches, with a header that says whose it is and where it begins.
//!
//! # Invariants
//! - A segment has its name only after its header, and the batch copied into it if there is one, are
//!   synced; and it is used only after its folder is synced.
//! - Batches from `first_batch` of a segment on are in it and in later ones. What an earlier segment
//!   has under these numbers was never acknowledged, or was copied: it does not count.

use super::seal::Identity;
use super::{BLOCK_OCTETS, SEGMENTS, octets_at, u16_at, u64_at};
use crate::error::StoreError;
use crate::space;
use crate::storage::{File, Storage};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"PSTLKSEG";
const FORMAT: u16 = 1;
/// Two copies of the header, in different sectors, stand in the first block.
const COPIES_AT: [usize; 2] = [0, 2048];
const HEADER_OCTETS: usize = 80;
/// The name a segment has while it is being made.
pub(crate) const UNFINISHED: &str = "unfinished";

/// What the first block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) identity: Identity,
    pub(crate) number: u64,
    pub(crate) first_batch: u64,
}

/// What was found at the head of a file.
pub(crate) enum Found {
    Header(Header),
    Newer { format: u16 },
    Damaged,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_OCTETS);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&[0; 6]);
        header.extend_from_slice(&self.identity.id);
        header.extend_from_slice(&self.identity.key);
        header.extend_from_slice(&self.number.to_le_bytes());
        header.extend_from_slice(&self.first_batch.to_le_bytes());
        // Not keyed: the key is in it. No mail is ever written at the head of a segment.
        let sum: [u8; 16] = octets_at(blake3::hash(&header).as_bytes(), 0);
        header.extend_from_slice(&sum);
        let mut block = vec![0; usize::try_from(BLOCK_OCTETS).expect("4096 fits")];
        for at in COPIES_AT {
            block[at..at + HEADER_OCTETS].copy_from_slice(&header);
        }
        block
    }

    /// Reads the header at the head of a segment.
    pub(crate) fn read(file: &dyn File, name: &str) -> Result<Found, StoreError> {
        let mut found = Found::Damaged;
        for at in COPIES_AT {
            let mut header = [0; HEADER_OCTETS];
            match file.read_exact_at(&mut header, at as u64) {
                Ok(()) => (),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(Found::Damaged),
                Err(error) => return Err(StoreError::io(name)(error)),
            }
            found = Header::decode(&header);
            if !matches!(found, Found::Damaged) {
                break;
            }
        }
        Ok(found)
    }

    fn decode(header: &[u8; HEADER_OCTETS]) -> Found {
        let (covered, sum) = header.split_at(HEADER_OCTETS - 16);
        if !covered.starts_with(MAGIC) || blake3::hash(covered).as_bytes()[..16] != *sum {
            return Found::Damaged;
        }
        let format = u16_at(header, 8);
        if format != FORMAT {
            return Found::Newer { format };
        }
        Found::Header(Header {
            identity: Identity {
                id: octets_at(header, 16),
                key: octets_at(header, 32),
            },
            number: u64_at(header, 48),
            first_batch: u64_at(header, 56),
        })
    }
}

/// The name of segment `number`.
pub(crate) fn name(number: u64) -> String {
    format!("{SEGMENTS}/{number:016x}")
}

/// The number in a name of the folder `log`.
pub(crate) fn number(name: &str) -> Option<u64> {
    u64::from_str_radix(name, 16).ok().filter(|_| name.len() == 16)
}

/// A segment was not made.
pub(crate) enum NotCreated {
    /// There was no room, and nothing of it is left.
    Full,
    /// It may be there after a power cut: batches from its first on would not count in the one before.
    Unknown(StoreError),
}

impl From<NotCreated> for StoreError {
    fn from(error: NotCreated) -> StoreError {
        match error {
            NotCreated::Full => StoreError::Full,
            NotCreated::Unknown(error) => error,
        }
    }
}

/// Makes a segment, with `batch` behind its header if there is one to copy. It is durable when this
/// returns.
///
/// It is not preallocated: a sync of a growing file and one of blocks that were reserved but never
/// written both cost the file system a journal commit, and writing zeros beforehand would write the
/// flash twice. The free-space reserve stands for what preallocation would promise.
pub(crate) fn create(
    storage: &dyn Storage,
    header: Header,
    batch: Option<&[u8]>,
) -> Result<Arc<dyn File>, NotCreated> {
    let unfinished = format!("{SEGMENTS}/{UNFINISHED}");
    let name = name(header.number);
    let make = || {
        let file = storage.create(&unfinished)?;
        file.write_all_at(&header.encode(), 0)?;
        if let Some(batch) = batch {
            file.write_all_at(batch, BLOCK_OCTETS)?;
        }
        file.sync()?;
        storage.rename(&unfinished, &name)?;
        Ok(file)
    };
    let unknown = |error| NotCreated::Unknown(StoreError::io(&name)(error));
    let file = make().map_err(|error| {
        // Whatever failed, the next attempt needs the name. If it is not there, so much the better.
        let _ = storage.remove(&unfinished);
        if space::is_full(&error) {
            NotCreated::Full
        } else {
            unknown(error)
        }
    })?;
    // From here on it has its name, whether that lasts or not: no error is harmless.
    storage.sync_folder(SEGMENTS).map_err(unknown)?;
    Ok(file)
}
