//! What is to be done next, decided from figures alone.

use crate::log::BLOCK_OCTETS;

/// Something dead for so long has its segment rewritten whatever else is in it, so that what was expunged is gone after 90
/// days (D45).
const DEAD_SECONDS_MAX: u64 = 60 * DAY_SECONDS;
/// A snapshot older than this is made anew if it would let anything be freed.
const SNAPSHOT_SECONDS_MAX: u64 = 30 * DAY_SECONDS;
/// The longest log behind the newest snapshot: it bounds the time in which the index is made anew.
const LOG_BEHIND_OCTETS_MAX: u64 = 1024 * 1024 * 1024;
/// Nor is that log longer than so many snapshots, for a snapshot costs writing.
const LOG_BEHIND_SNAPSHOTS_MAX: u64 = 16;
/// Of a segment that is kept at least so much is live, in percent; more when room is short.
const LIVE_PERCENT_MIN: u64 = 50;
const LIVE_PERCENT_MIN_WHEN_LOW: u64 = 80;

/// A segment is not filled for longer than this: what dies in it is seen only when it is sealed.
const ACTIVE_SECONDS_MAX: u64 = 7 * DAY_SECONDS;
/// Octets of a segment in which nothing but its beginning is written.
const SEGMENT_OCTETS_MIN: u64 = 2 * BLOCK_OCTETS;

const DAY_SECONDS: u64 = 86_400;

/// What there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// In the order of their numbers.
    pub(super) segments: Vec<SegmentFigures>,
    /// Since when the last segment is being filled, as [`Figures::age_seconds`].
    pub(super) active_since_seconds: u64,
    /// The last batch of the log.
    pub(super) batch: u64,
    /// The last batch that both kept snapshots have; 0: there are not two.
    pub(super) covered: u64,
    /// The last batch that the newest snapshot has; 0: there is none.
    pub(super) newest: u64,
    /// Octets of the newest snapshot.
    pub(super) snapshot_octets: u64,
    /// When the newest was made, as [`Figures::age_seconds`].
    pub(super) snapshot_at_seconds: u64,
    /// Snapshots to be made whatever else there is: a record of the log is damaged.
    pub(super) snapshots_wanted: u32,
    /// How old the store is.
    pub(super) age_seconds: u64,
    /// How large a segment becomes.
    pub(super) segment_octets: u64,
    pub(super) is_low: bool,
    pub(super) wants_ballast: bool,
    pub(super) is_scrub_due: bool,
}

/// What there is of a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct SegmentFigures {
    pub(super) number: u64,
    /// Batches from this on are in later segments.
    pub(super) ends_before: u64,
    pub(super) octets: u64,
    pub(super) live_octets: u64,
    /// Since when something in it is dead, as [`Figures::age_seconds`].
    pub(super) dead_since: Option<u64>,
    pub(super) is_active: bool,
    /// It stays, whatever is in it: it may be all that is left of what damage took, or cannot be read.
    pub(super) is_kept: bool,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Remove segments that nobody needs.
    Unlink(Vec<u64>),
    /// Move what is live in a segment to the end of the log.
    Rewrite(u64),
    /// Begin a new segment, so that the one being filled can be rewritten.
    Seal,
    Snapshot,
    Ballast,
    Scrub,
    /// Make a block of words for searches.
    Index,
}

pub(super) fn decide(figures: &Figures) -> Option<Work> {
    let unneeded: Vec<u64> = figures
        .candidates()
        .filter(|segment| figures.is_covered(segment) && segment.live_octets == 0)
        .map(|segment| segment.number)
        .collect();
    if !unneeded.is_empty() {
        return Some(Work::Unlink(unneeded));
    }
    if let Some(segment) = figures.worst() {
        return Some(Work::Rewrite(segment.number));
    }
    let overdue: Vec<&SegmentFigures> = figures
        .candidates()
        .filter(|segment| figures.is_overdue(segment) && !figures.is_covered(segment))
        .collect();
    // The last segment can be covered only once there is another behind it.
    if overdue.iter().any(|segment| segment.ends_before > figures.batch) || figures.is_active_old() {
        return Some(Work::Seal);
    }
    if !overdue.is_empty() {
        return Some(Work::Snapshot);
    }
    if figures.wants_snapshot() {
        return Some(Work::Snapshot);
    }
    if figures.wants_ballast {
        return Some(Work::Ballast);
    }
    figures.is_scrub_due.then_some(Work::Scrub)
}

impl Figures {
    /// The segments that may go.
    fn candidates(&self) -> impl Iterator<Item = &SegmentFigures> {
        self.segments
            .iter()
            .filter(|segment| !segment.is_active && !segment.is_kept)
    }

    /// Whether neither of the snapshots that are kept needs the segment's records; their own place in the log is behind it.
    fn is_covered(&self, segment: &SegmentFigures) -> bool {
        segment.ends_before <= self.covered
    }

    fn is_active_old(&self) -> bool {
        self.age_seconds.saturating_sub(self.active_since_seconds) >= ACTIVE_SECONDS_MAX
            && self
                .segments
                .iter()
                .any(|segment| segment.is_active && segment.octets > SEGMENT_OCTETS_MIN)
    }

    fn is_overdue(&self, segment: &SegmentFigures) -> bool {
        segment
            .dead_since
            .is_some_and(|since| self.age_seconds.saturating_sub(since) >= DEAD_SECONDS_MAX)
    }

    /// The segment that is best rewritten: one that is overdue, or else that which frees the most.
    fn worst(&self) -> Option<&SegmentFigures> {
        let percent = if self.is_low {
            LIVE_PERCENT_MIN_WHEN_LOW
        } else {
            LIVE_PERCENT_MIN
        };
        let is_thin = |segment: &SegmentFigures| segment.live_octets * 100 < segment.octets * percent;
        self.candidates()
            .filter(|segment| self.is_covered(segment))
            .filter(|segment| is_thin(segment) || self.is_overdue(segment))
            .max_by_key(|segment| (self.is_overdue(segment), segment.dead_octets()))
    }

    fn wants_snapshot(&self) -> bool {
        // Octets that two more snapshots would let us free.
        let dead: u64 = self
            .candidates()
            .filter(|segment| !self.is_covered(segment) && segment.ends_before <= self.batch)
            .map(SegmentFigures::dead_octets)
            .sum();
        let live: u64 = self.segments.iter().map(|segment| segment.live_octets).sum();
        let snapshot_age_seconds = self.age_seconds.saturating_sub(self.snapshot_at_seconds);
        let behind: u64 = self
            .segments
            .iter()
            .filter(|segment| segment.ends_before > self.newest)
            .map(|segment| segment.octets)
            .sum();
        let behind_max = (LOG_BEHIND_SNAPSHOTS_MAX * self.snapshot_octets)
            .clamp(self.segment_octets, LOG_BEHIND_OCTETS_MAX);
        dead > (2 * self.segment_octets).max(live / 4)
            || (self.is_low && dead > 2 * self.snapshot_octets)
            || (dead > 0 && snapshot_age_seconds >= SNAPSHOT_SECONDS_MAX)
            // What is in the segment being filled counts, so it may be as long as one, and the newest begin in it.
            || behind > behind_max.saturating_add(self.segment_octets)
            || self.snapshots_wanted > 0
    }
}

impl SegmentFigures {
    fn dead_octets(&self) -> u64 {
        self.octets.saturating_sub(self.live_octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Segments of 10 batches and 64 MiB each, the last of them being filled: percent live, days dead.
    fn figures(segments: &[(u64, Option<u64>)]) -> Figures {
        let mut list = Vec::new();
        for (number, (percent, days)) in (1..).zip(segments) {
            list.push(SegmentFigures {
                number,
                ends_before: number * 10 + 1,
                octets: 64 * MIB,
                live_octets: 64 * MIB * percent / 100,
                dead_since: days.map(|days| (100 - days) * DAY_SECONDS),
                is_active: number == segments.len() as u64,
                is_kept: false,
            });
        }
        let batch = segments.len() as u64 * 10;
        Figures {
            segments: list,
            batch,
            covered: batch,
            newest: batch,
            snapshot_octets: MIB,
            snapshot_at_seconds: 99 * DAY_SECONDS,
            age_seconds: 100 * DAY_SECONDS,
            active_since_seconds: 99 * DAY_SECONDS,
            segment_octets: 64 * MIB,
            ..Figures::default()
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "the calls are read more easily")]
    fn check(figures: &Figures, expected: Option<Work>) {
        assert_eq!(decide(figures), expected, "{figures:#?}");
    }

    #[test]
    fn nothing_is_done_while_all_is_well() {
        check(&figures(&[]), None);
        check(&figures(&[(100, None)]), None);
        check(&figures(&[(60, Some(3)), (51, Some(50)), (0, Some(1))]), None);
    }

    #[test]
    fn a_segment_with_nothing_live_goes_first() {
        let dead = figures(&[(0, Some(1)), (20, Some(1)), (0, None), (100, None)]);
        check(&dead, Some(Work::Unlink(vec![1, 3])));
    }

    #[test]
    fn less_than_half_live_is_rewritten_and_most_dead_first() {
        let thin = figures(&[(49, Some(1)), (20, Some(1)), (30, None), (0, None)]);
        check(&thin, Some(Work::Rewrite(2)));
        // A little more when room is short.
        let mut thick = figures(&[(70, Some(1)), (100, None)]);
        check(&thick, None);
        thick.is_low = true;
        check(&thick, Some(Work::Rewrite(1)));
    }

    #[test]
    fn d45_what_is_dead_for_sixty_days_is_rewritten_whatever_is_live() {
        check(&figures(&[(99, Some(59)), (10, None)]), None);
        check(&figures(&[(99, Some(60)), (10, None)]), Some(Work::Rewrite(1)));
        check(
            &figures(&[(99, Some(60)), (0, None), (1, None)]),
            Some(Work::Unlink(vec![2])),
        );
        check(
            &figures(&[(99, Some(60)), (1, None), (1, None)]),
            Some(Work::Rewrite(1)),
        );
    }

    #[test]
    fn d45_what_no_snapshot_covers_yet_is_covered_in_time() {
        // The last one: first another is begun, then it is covered.
        let mut active = figures(&[(99, Some(60))]);
        active.segments[0].is_active = false;
        check(&active, Some(Work::Seal));
        active.batch = 11;
        check(&active, Some(Work::Snapshot));
        active.newest = 11;
        check(&active, Some(Work::Snapshot));
        active.covered = 11;
        check(&active, Some(Work::Rewrite(1)));
    }

    #[test]
    fn d45_a_segment_is_not_filled_for_ever() {
        let mut active = figures(&[(100, None)]);
        active.active_since_seconds = 93 * DAY_SECONDS + 1;
        check(&active, None);
        active.active_since_seconds = 93 * DAY_SECONDS;
        check(&active, Some(Work::Seal));
        // Nothing but its beginning is in it.
        active.segments[0].octets = 8192;
        check(&active, None);
    }

    #[test]
    fn what_is_kept_is_neither_rewritten_nor_removed_nor_a_reason() {
        for percent in [0, 10, 99] {
            let mut kept = figures(&[(percent, Some(99)), (100, None)]);
            kept.segments[0].is_kept = true;
            check(&kept, None);
            kept.covered = 0;
            check(&kept, None);
        }
    }

    #[test]
    fn a_snapshot_is_made_for_what_it_lets_free() {
        // 4 × 64 MiB, half dead: 128 MiB are two segments, and one octet more is more.
        let mut dead = figures(&[
            (50, Some(1)),
            (50, Some(1)),
            (50, Some(1)),
            (50, Some(1)),
            (100, None),
        ]);
        dead.covered = 0;
        check(&dead, None);
        dead.segments[3].live_octets -= 1;
        check(&dead, Some(Work::Snapshot));
        // Enough for one of two snapshots: the older does not cover it yet.
        dead.newest = dead.batch;
        check(&dead, Some(Work::Snapshot));
        // Much is live: a quarter of that is more.
        let mut large = figures(&[(80, Some(1)); 20]);
        large.covered = 0;
        check(&large, None);
    }

    #[test]
    fn a_snapshot_is_made_when_room_is_short_or_thirty_days_have_passed() {
        let mut some = figures(&[(90, Some(1)), (100, None)]);
        some.covered = 0;
        check(&some, None);
        some.is_low = true;
        check(&some, Some(Work::Snapshot));
        some.snapshot_octets = 6 * MIB;
        check(&some, None);
        some.is_low = false;
        some.snapshot_at_seconds = 70 * DAY_SECONDS;
        check(&some, Some(Work::Snapshot));
        // Nothing was written since the last batch of what it would cover: it would never be covered.
        some.batch = 10;
        some.segments.pop();
        check(&some, None);
    }

    #[test]
    fn a_snapshot_is_made_when_the_log_behind_it_is_long() {
        let mut long = figures(&[(100, None); 20]);
        check(&long, None);
        long.newest = 181;
        check(&long, None);
        long.newest = 171;
        check(&long, Some(Work::Snapshot));
        // Large snapshots are made more rarely, but the log is never longer than a GiB, and a segment.
        long.snapshot_octets = 200 * MIB;
        check(&long, None);
        long.newest = 31;
        check(&long, None);
        long.newest = 21;
        check(&long, Some(Work::Snapshot));
        // None yet.
        let mut young = figures(&[(100, None); 2]);
        (young.newest, young.covered, young.snapshot_octets) = (0, 0, 0);
        check(&young, None);
        let mut older = figures(&[(100, None); 3]);
        (older.newest, older.covered, older.snapshot_octets) = (0, 0, 0);
        check(&older, Some(Work::Snapshot));
    }

    #[test]
    fn damage_to_a_record_wants_a_snapshot() {
        let mut damaged = figures(&[(100, None)]);
        damaged.snapshots_wanted = 2;
        check(&damaged, Some(Work::Snapshot));
    }

    #[test]
    fn the_ballast_comes_before_the_scrub() {
        let mut idle = figures(&[(100, None)]);
        idle.is_scrub_due = true;
        check(&idle, Some(Work::Scrub));
        idle.wants_ballast = true;
        check(&idle, Some(Work::Ballast));
    }
}
