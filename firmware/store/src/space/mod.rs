//! Room on the disk: refuse new mail while there is still enough for everything else (S8, D9), and keep a ballast for
//! the day on which somebody else took that, too.

mod ballast;

use crate::storage::Storage;
pub(crate) use ballast::BALLAST;
use ballast::Ballast;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Whether there is room for new mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Yes.
    Enough,
    /// No: `452 4.3.1` (S8). Reading, flags, expunging and administration go on; they live on the reserve.
    Low,
}

/// What the disk said last is believed for this long.
const FRESH: Duration = Duration::from_secs(1);

/// Knows how much room there is.
#[derive(Debug)]
pub(crate) struct SpaceWatch {
    storage: Arc<dyn Storage>,
    reserve_octets: u64,
    known: Mutex<Option<(Instant, u64)>>,
    ballast: Ballast,
}

impl SpaceWatch {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        reserve_octets: u64,
        ballast_octets: u64,
    ) -> io::Result<Arc<SpaceWatch>> {
        let ballast = Ballast::find(&*storage, ballast_octets)?;
        Ok(Arc::new(SpaceWatch {
            storage,
            reserve_octets,
            known: Mutex::new(None),
            ballast,
        }))
    }

    /// Whether the free room has shrunk into the reserve.
    pub(crate) fn is_low(&self) -> bool {
        self.free_octets() < self.reserve_octets
    }

    /// Whether `octets` more would take room from the reserve.
    pub(crate) fn is_low_with(&self, octets: u64) -> bool {
        self.free_octets().saturating_sub(octets) < self.reserve_octets
    }

    /// Takes what was written off the known room, so that a burst within [`FRESH`] counts.
    pub(crate) fn written(&self, octets: u64) {
        if let Ok(mut known) = self.known.lock()
            && let Some((_, free)) = known.as_mut()
        {
            *free = free.saturating_sub(octets);
        }
    }

    /// Something was removed: ask the disk again.
    pub(crate) fn freed(&self) {
        if let Ok(mut known) = self.known.lock() {
            *known = None;
        }
    }

    /// Whether there are `octets` free; the ballast makes room for them if need be.
    pub(crate) fn has_room_for(&self, octets: u64) -> bool {
        self.freed();
        self.free_octets() >= octets || (self.release_ballast() && self.free_octets() >= octets)
    }

    /// Gives up the ballast, if it is there: the disk is full, and what is to be done must be done. Whether there is
    /// more room now.
    pub(crate) fn release_ballast(&self) -> bool {
        let is_released = self.ballast.release(&*self.storage);
        if is_released {
            self.freed();
        }
        is_released
    }

    /// Makes a piece of the ballast that is not there, if it may have the room. Whether more is to be made.
    pub(crate) fn restore_ballast(&self) -> io::Result<bool> {
        if !self.wants_ballast() {
            return Ok(false);
        }
        let is_more = self.ballast.grow(&*self.storage);
        self.freed();
        is_more
    }

    /// Whether the ballast is not all there, and there is room for it: as much again stays free, or it would be given up
    /// for the next message.
    pub(crate) fn wants_ballast(&self) -> bool {
        let missing = self.ballast.missing_octets();
        missing > 0 && self.free_octets() >= self.reserve_octets.saturating_add(2 * missing)
    }

    /// Whether the ballast is not there, and there is no room for it.
    pub(crate) fn is_ballast_given_up(&self) -> bool {
        self.ballast.missing_octets() > 0 && !self.wants_ballast()
    }

    pub(crate) fn free_octets(&self) -> u64 {
        let Ok(mut known) = self.known.lock() else {
            return 0;
        };
        match *known {
            Some((at, free)) if at.elapsed() < FRESH => free,
            _ => {
                // A disk that cannot say how full it is takes no new mail.
                let free = self.storage.room().map_or(0, |room| room.free_octets);
                *known = Some((Instant::now(), free));
                free
            }
        }
    }
}

/// Whether the system said that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
