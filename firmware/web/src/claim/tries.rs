//! How often a claim code may be wrong (AX2): five times, then nobody may try for ten minutes.
//!
//! It is counted for the box and not for an address, because one attacker has many. The button of the box remains for
//! whoever is kept out by that.

use std::time::Duration;
use tokio::time::Instant;
use wire::limits::{CLAIM_LOCK_TIME, CLAIM_TRIES_MAX};

/// The count.
#[derive(Debug, Default)]
pub(super) struct Tries {
    wrong: u32,
    /// Of the monotonic clock: setting the time does not open it.
    locked_until: Option<Instant>,
}

impl Tries {
    /// How long nobody may try; `None` when one may.
    pub(super) fn locked_for(&mut self, now: Instant) -> Option<Duration> {
        let until = self.locked_until?;
        if until > now {
            return Some(until - now);
        }
        *self = Tries::default();
        None
    }

    /// Counts a wrong code. Gives how many more there may be; behind the last nobody may try.
    pub(super) fn count(&mut self, now: Instant) -> u32 {
        self.wrong += 1;
        let left = CLAIM_TRIES_MAX.saturating_sub(self.wrong);
        if left == 0 {
            self.locked_until = Some(now + CLAIM_LOCK_TIME);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AX2
    #[tokio::test(start_paused = true)]
    async fn ax2_five_wrong_codes_lock_for_ten_minutes() {
        let start = Instant::now();
        let mut tries = Tries::default();
        for round in 0..3 {
            let now = start + round * CLAIM_LOCK_TIME;
            assert_eq!(tries.locked_for(now), None);
            assert_eq!([4, 3, 2, 1, 0].map(|_| tries.count(now)), [4, 3, 2, 1, 0]);
            assert_eq!(tries.locked_for(now), Some(CLAIM_LOCK_TIME));
            let nearly = now + CLAIM_LOCK_TIME - Duration::from_millis(1);
            assert_eq!(tries.locked_for(nearly), Some(Duration::from_millis(1)));
        }
    }
}
