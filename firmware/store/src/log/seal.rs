//! The store's identity, and checksums keyed with it.
//!
//! Checksums are keyed BLAKE3, truncated. Keyed, because the log holds mail, and mail holds what a
//! stranger likes: without the store's 16 random octets nobody can write octets into a message that
//! would pass for a batch when the log is searched for one after damage. BLAKE3, because it is fast on
//! machines without cryptographic instructions (NEON does), and 16 octets of it leave no room for chance
//! or forgery; the 8 octets per frame guard against accident only, since a frame is found through a
//! record that is sealed with 16.

use crate::error::StoreError;
use crate::storage::Storage;

/// A checksum of 16 octets.
pub(crate) type Sum = [u8; 16];

/// What makes a store this store and no other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Written into every batch, so that a segment of another store is told apart.
    pub(crate) id: [u8; 16],
    /// The key of all checksums. It is in each segment's header and never leaves the disk.
    pub(crate) key: [u8; 16],
}

impl Identity {
    pub(crate) fn random(storage: &dyn Storage) -> Result<Identity, StoreError> {
        let mut identity = Identity {
            id: [0; 16],
            key: [0; 16],
        };
        storage
            .fill_random(&mut identity.id)
            .map_err(StoreError::io("random source"))?;
        storage
            .fill_random(&mut identity.key)
            .map_err(StoreError::io("random source"))?;
        Ok(identity)
    }
}

impl std::fmt::Debug for Identity {
    /// The key is not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({:032x})", u128::from_be_bytes(self.id))
    }
}

/// What a checksum is of, so that one of one kind is never good for another.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    BatchHeader = 1,
    BatchPayload = 2,
    RecordMeta = 3,
    Frame = 4,
    SnapshotHeader = 5,
    SnapshotFrame = 6,
}

/// Makes checksums.
#[derive(Clone)]
pub(crate) struct Sealer {
    key: [u8; 32],
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    pub(crate) fn new(identity: &Identity) -> Sealer {
        Sealer {
            key: blake3::derive_key("postolka store 2026 checksums", &identity.key),
        }
    }

    pub(crate) fn start(&self, purpose: Purpose) -> Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[purpose as u8]);
        Hasher(hasher)
    }

    pub(crate) fn sum(&self, purpose: Purpose, octets: &[u8]) -> Sum {
        let mut hasher = self.start(purpose);
        hasher.update(octets);
        hasher.finish()
    }

    /// The checksum of frame `place` of a body, as stored.
    pub(crate) fn frame(&self, place: usize, stored: &[u8]) -> u64 {
        let mut hasher = self.start(Purpose::Frame);
        hasher.update(&(place as u64).to_le_bytes());
        hasher.update(stored);
        super::u64_at(&hasher.finish(), 0)
    }
}

/// A checksum in the making.
pub(crate) struct Hasher(blake3::Hasher);

impl Hasher {
    pub(crate) fn update(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    pub(crate) fn finish(&self) -> Sum {
        super::octets_at(self.0.finalize().as_bytes(), 0)
    }
}
