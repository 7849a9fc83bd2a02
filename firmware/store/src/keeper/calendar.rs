//! Days without a clock that can be trusted.
//!
//! What was expunged has to be gone after 90 days (D45), and the box may have no battery clock. So the keeper counts
//! time itself: what the monotonic clock says while the store is open and, for the time when it was not, how far the wall
//! clock has gone beyond the furthest it ever was. A clock of 1970, or one that is put back, adds nothing; one that is far
//! ahead has work done sooner, once. Nothing is lost by either.

/// A wall clock that says less was never set: 2025-01-01. A box has the date of its firmware at least (D13).
const WALL_SECONDS_MIN: u64 = 1_735_689_600;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calendar {
    /// How old the store is, in seconds.
    pub(super) age_seconds: u64,
    /// The furthest the wall clock ever was; 0: it never was set.
    pub(super) wall_seconds: u64,
}

impl Calendar {
    /// Goes on by `elapsed_seconds` of the monotonic clock, or further if the wall clock says so.
    pub(super) fn advance(&mut self, elapsed_seconds: u64, wall_seconds: u64) {
        let by_wall = match self.wall_seconds {
            0 => 0,
            furthest => wall_seconds.saturating_sub(furthest),
        };
        self.age_seconds = self.age_seconds.saturating_add(elapsed_seconds.max(by_wall));
        if wall_seconds >= WALL_SECONDS_MIN {
            self.wall_seconds = self.wall_seconds.max(wall_seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const NOW: u64 = 1_800_000_000;

    #[test]
    fn d14_a_clock_that_jumps_or_is_not_set_costs_time_at_most() {
        let mut calendar = Calendar::default();
        // The first start: the clock is not set, and then it is.
        calendar.advance(10, 100);
        calendar.advance(10, NOW);
        assert_eq!(calendar.age_seconds, 20);
        // It runs.
        calendar.advance(DAY, NOW + DAY);
        assert_eq!(calendar.age_seconds, 20 + DAY);
        // It was off for a week, and starts in 1970 again.
        calendar.advance(5, 30);
        assert_eq!(calendar.age_seconds, 25 + DAY);
        calendar.advance(5, NOW + 8 * DAY);
        assert_eq!(calendar.age_seconds, 25 + 8 * DAY);
        // Ten years ahead, and back: ahead counts once, and then the monotonic clock does.
        let furthest = NOW + 3660 * DAY;
        calendar.advance(60, furthest);
        assert_eq!(calendar.age_seconds, 25 + 3660 * DAY);
        calendar.advance(DAY, NOW + 9 * DAY);
        calendar.advance(DAY, NOW + 10 * DAY);
        assert_eq!(calendar.age_seconds, 25 + 3662 * DAY);
        assert_eq!(calendar.wall_seconds, furthest);
    }
}
