//! The keeper: sees to it that the log does not grow for ever, that what was expunged leaves the disk, and that what is on
//! it can still be read.
//!
//! ```text
//!  woken, or an hour later
//!    → look: segments, snapshots, room, time → decide (figures alone) → a piece of work → rest → again
//! ```
//!
//! It is one thread, which does nothing but ask: whatever it changes in the log is a request to the writer, like anybody's.
//!
//! # Invariants
//! - A segment is removed when nothing in it is live, both kept snapshots cover it, the durable index has its place behind
//!   it and knows of all that was moved out of it, and whoever began to read before that has ended.
//! - No more than a part of the time is taken ([`Options::keeper_percent`]), and the end of the store ends it at once.
//! - The wall clock decides nothing but when ([`calendar`]).

mod calendar;
mod decide;
mod findings;
mod relocate;
mod scrub;
mod segments;
mod snapshots;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod wakes;

pub use findings::{DamagedMessage, Health};
pub(crate) use findings::{Findings, health};
pub(crate) use wakes::Wakes;

use crate::Options;
use crate::error::StoreError;
use crate::index::rows;
use crate::index::{Tables, state};
use crate::log::SEGMENTS;
use crate::log::segment;
use crate::request::{Checkpoint, Job, Mark, Pending, Request};
use crate::search::index::index_next;
use crate::shared::Shared;
use crate::writer::queue::NotSent;
use calendar::Calendar;
use decide::{Figures, SegmentFigures, Work, decide};
use redb::Durability;
use relocate::Rewriting;
use scrub::Scrub;
use segments::Segments;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The keeper looks so often, woken or not.
const LOOK_INTERVAL: Duration = Duration::from_secs(3600);
/// And no sooner than this after it found nothing to do.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(5);
/// After an error, and while it waits for somebody who reads.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The most of the time that it works when room is short, in percent.
const PERCENT_WHEN_LOW: u32 = 50;
/// While many requests wait, this one waits outside.
const QUEUE_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Keys of the table `keeper`.
mod key {
    pub(super) const AGE: &str = "age seconds";
    pub(super) const WALL: &str = "wall seconds";
    pub(super) const ACTIVE: &str = "active segment";
    pub(super) const ACTIVE_SINCE: &str = "active since";
    pub(super) const SNAPSHOT_AT: &str = "snapshot at";
    pub(super) const SCRUB_SEGMENT: &str = "scrub segment";
    pub(super) const SCRUB_OFFSET: &str = "scrub offset";
    pub(super) const SCRUB_BATCH: &str = "scrub batch";
    pub(super) const SCRUB_BODY: &str = "scrub body";
    pub(super) const SCRUB_BEGUN: &str = "scrub begun";
    pub(super) const SCRUB_ENDED: &str = "scrub ended";
}

/// Takes a request to the writer; when it returns, the request is answered, or never will be.
pub(crate) type ToWriter<'w> = &'w mut dyn FnMut(Box<dyn Job>);

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    options: Options,
    segment_octets: u64,
    segments: Segments,
    /// Segments that are to go, and what has to come to pass before.
    unneeded: BTreeMap<u64, Unneeded>,
    rewriting: Option<Rewriting>,
    /// Since when the store is open, and how many seconds of that are in the calendar.
    begun: Instant,
    counted_seconds: u64,
}

/// A segment with nothing live in it.
#[derive(Clone, Copy, Debug)]
struct Unneeded {
    /// The last batch when that was seen: the durable index must have it.
    batch: u64,
    /// Who began to read then.
    generation: u64,
}

/// What became of a piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Done {
    Work(Work),
    /// There is something, but somebody has to end reading, or room has to come, first.
    Waits,
    Nothing,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, options: &Options, segment_octets: u64) -> Keeper {
        Keeper {
            shared,
            options: *options,
            segment_octets,
            segments: Segments::default(),
            unneeded: BTreeMap::new(),
            rewriting: None,
            begun: Instant::now(),
            counted_seconds: 0,
        }
    }

    /// Does what there is to do, until the store is closed.
    pub(crate) fn run(keeper: &std::sync::Mutex<Keeper>, shared: &Arc<Shared>) {
        let Ok(delay) = keeper.lock().map(|keeper| keeper.options.keeper_delay) else {
            return;
        };
        shared.wakes.rest(delay);
        while !shared.wakes.is_ending() {
            let begun = Instant::now();
            let Ok(mut held) = keeper.lock() else { return };
            let done = held.step(&mut |job| send(shared, job));
            let rest = held.rest_after(begun.elapsed(), done.as_ref().ok());
            drop(held);
            match done {
                Ok(Done::Work(_)) => shared.wakes.rest(rest),
                Ok(Done::Waits) => shared.wakes.rest(RETRY_INTERVAL),
                Ok(Done::Nothing) => {
                    shared.wakes.rest(LOOK_INTERVAL_MIN);
                    shared.wakes.wait(LOOK_INTERVAL);
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the keeper could not do its work, and tries again");
                    shared.wakes.rest(RETRY_INTERVAL);
                }
            }
        }
    }

    /// How long to rest after a piece of work.
    fn rest_after(&self, worked: Duration, done: Option<&Done>) -> Duration {
        let percent = match self.options.keeper_percent.clamp(1, 100) {
            percent if self.shared.space.is_low() => percent.max(PERCENT_WHEN_LOW),
            percent => percent,
        };
        let rest = worked * (100 - percent) / percent;
        if matches!(done, Some(Done::Work(Work::Scrub))) {
            rest.max(scrub::rest(
                self.options.scrub_interval,
                self.shared.findings.log_octets(),
            ))
        } else {
            rest
        }
    }

    /// Does all there is to do now. Says what it did.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn keep(&mut self, to_writer: ToWriter<'_>) -> Result<u64, StoreError> {
        /// More than a test's store has.
        const PIECES_MAX: u64 = 100_000;
        for pieces in 0..PIECES_MAX {
            match self.step(to_writer)? {
                Done::Work(_) => (),
                Done::Waits | Done::Nothing => return Ok(pieces),
            }
        }
        Err(StoreError::Stopped {
            reason: "the keeper finds no end".to_owned(),
        })
    }

    /// Does a piece of work.
    fn step(&mut self, to_writer: ToWriter<'_>) -> Result<Done, StoreError> {
        crate::backup::drop_old(&self.shared, Instant::now())?;
        let mut figures = self.look()?;
        let mut waits = false;
        if let Some(Work::Unlink(segments)) = decide(&figures) {
            if self.unlink(&segments, figures.batch, to_writer)? {
                return Ok(Done::Work(Work::Unlink(segments)));
            }
            // They are not to hold up everything else.
            waits = true;
            let waiting = |segment: &&mut SegmentFigures| segments.contains(&segment.number);
            let waiting = figures.segments.iter_mut().filter(waiting);
            waiting.for_each(|segment| segment.is_kept = true);
        }
        let work = match &self.rewriting {
            // Once begun it goes on, or what was copied was copied for nothing.
            Some(rewriting) => Some(Work::Rewrite(rewriting.segment)),
            None => decide(&figures),
        };
        // Before all is verified, which takes long. Nothing depends on it, so that everything else comes first.
        let may_index = matches!(work, None | Some(Work::Scrub));
        let work = if may_index && index_next(&self.shared)? {
            Some(Work::Index)
        } else {
            work
        };
        let Some(work) = work else {
            return Ok(if waits { Done::Waits } else { Done::Nothing });
        };
        match &work {
            Work::Unlink(_) | Work::Index => (),
            Work::Rewrite(segment) => self.rewrite(*segment, to_writer)?,
            Work::Seal => ask(Mark { begins_segment: true }, to_writer)?,
            Work::Snapshot => {
                if figures.newest == figures.batch {
                    // A second one of the same batch would cover no more.
                    ask(
                        Mark {
                            begins_segment: false,
                        },
                        to_writer,
                    )?;
                }
                snapshots::make(&self.shared)?;
                self.count(&[(key::SNAPSHOT_AT, figures.age_seconds)])?;
                self.shared.findings.snapshot_made();
            }
            Work::Ballast => {
                let restored = self.shared.space.restore_ballast();
                restored.map_err(StoreError::io(crate::space::BALLAST))?;
            }
            Work::Scrub => {
                let mut scrub = Scrub::read(&self.shared, figures.age_seconds)?;
                let is_ended = scrub.piece(&self.shared)?;
                self.count(&scrub.counters(is_ended.then_some(figures.age_seconds)))?;
            }
        }
        Ok(Done::Work(work))
    }

    /// Looks at everything that decides what is to be done.
    fn look(&mut self) -> Result<Figures, StoreError> {
        let shared = Arc::clone(&self.shared);
        let (calendar, active_since_seconds) = self.count_time()?;
        let age_seconds = calendar.age_seconds;
        let segments = self.segments.look(&shared, age_seconds)?;
        let tables = shared.read()?;
        let counter = |name| rows::counter(&tables.keeper, name);
        let kept = snapshots::kept(&shared);
        let figures = Figures {
            segments,
            active_since_seconds,
            batch: rows::counter(&tables.state, state::BATCH)?,
            covered: kept.covered,
            newest: kept.newest,
            snapshot_octets: kept.octets,
            snapshot_at_seconds: counter(key::SNAPSHOT_AT)?,
            snapshots_wanted: shared.findings.snapshots_wanted(),
            age_seconds,
            segment_octets: self.segment_octets,
            is_low: shared.space.is_low(),
            wants_ballast: shared.space.wants_ballast(),
            is_scrub_due: {
                let (begun, ended) = (counter(key::SCRUB_BEGUN)?, counter(key::SCRUB_ENDED)?);
                begun > ended || age_seconds.saturating_sub(ended) >= self.options.scrub_interval.as_secs()
            },
        };
        self.unneeded.retain(|number, _| {
            let is_there = |segment: &SegmentFigures| segment.number == *number;
            figures.segments.iter().any(is_there)
        });
        shared.findings.looked(&figures, counter(key::SCRUB_ENDED)?);
        Ok(figures)
    }

    /// Goes on in the calendar. Gives it, and since when the last segment is being filled.
    fn count_time(&mut self) -> Result<(Calendar, u64), StoreError> {
        let tables = self.shared.read()?;
        let counter = |name| rows::counter(&tables.keeper, name);
        let before = Calendar {
            age_seconds: counter(key::AGE)?,
            wall_seconds: counter(key::WALL)?,
        };
        let (active_before, active_since) = (counter(key::ACTIVE)?, counter(key::ACTIVE_SINCE)?);
        drop(tables);
        let open_seconds = self.begun.elapsed().as_secs();
        let mut calendar = before;
        let wall_seconds = u64::try_from((self.options.clock)().0).unwrap_or_default();
        calendar.advance(open_seconds - self.counted_seconds, wall_seconds);
        self.counted_seconds = open_seconds;
        let active = self
            .shared
            .active_segment
            .load(std::sync::atomic::Ordering::Acquire);
        let active_since = if active == active_before {
            active_since
        } else {
            calendar.age_seconds
        };
        if calendar != before || active != active_before {
            self.count(&[
                (key::AGE, calendar.age_seconds),
                (key::WALL, calendar.wall_seconds),
                (key::ACTIVE, active),
                (key::ACTIVE_SINCE, active_since),
            ])?;
        }
        Ok((calendar, active_since))
    }

    /// Notes counters. They are durable with the next checkpoint; older ones cost time.
    fn count(&self, counters: &[(&'static str, u64)]) -> Result<(), StoreError> {
        let mut transaction = self.shared.database()?.begin_write()?;
        transaction.set_durability(Durability::None)?;
        let mut tables = Tables::open(&transaction)?;
        for (name, value) in counters {
            tables.keeper.insert(name, value)?;
        }
        drop(tables);
        transaction.commit()?;
        Ok(())
    }

    /// Moves a piece of what is live in a segment.
    fn rewrite(&mut self, segment: u64, to_writer: ToWriter<'_>) -> Result<(), StoreError> {
        let rewriting = match &mut self.rewriting {
            Some(rewriting) => rewriting,
            none => none.insert(Rewriting::begin(&self.shared, segment)?),
        };
        let read = rewriting.read(&self.shared);
        let piece = read.inspect_err(|_| self.rewriting = None)?;
        for (body, row) in &piece.damaged {
            findings::tell(&self.shared, *body, row)?;
        }
        if piece.is_last {
            self.rewriting = None;
            if piece.is_unreadable {
                segments::note_unreadable(&self.shared, segment)?;
                let name = segment::name(segment);
                tracing::error!(%name, "a message in it cannot be read; the file is kept as it is");
            }
        }
        if let Some(relocate) = piece.relocate {
            let octets = relocate.stored_octets();
            ask(relocate, to_writer).inspect_err(|_| self.rewriting = None)?;
            self.shared.findings.moved(octets);
        }
        Ok(())
    }

    /// Removes segments that nobody needs any more. Whether any was.
    fn unlink(&mut self, segments: &[u64], batch: u64, to_writer: ToWriter<'_>) -> Result<bool, StoreError> {
        if segments.iter().any(|number| !self.unneeded.contains_key(number)) {
            let unneeded = Unneeded {
                batch,
                generation: self.shared.readers.end_generation(),
            };
            for number in segments {
                self.unneeded.entry(*number).or_insert(unneeded);
            }
        }
        let is_behind = |keeper: &Keeper, number: &u64| {
            let unneeded = keeper.unneeded[number];
            let durable = keeper.shared.durable.lock();
            durable.is_ok_and(|durable| durable.batch >= unneeded.batch && durable.segment > *number)
        };
        if !segments.iter().all(|number| is_behind(self, number)) {
            ask(Checkpoint, to_writer)?;
        }
        // A check, or a backup, needs them all.
        let shared = Arc::clone(&self.shared);
        let Ok(_nobody_needs_all) = shared.segments_stay.try_lock() else {
            return Ok(false);
        };
        let mut removed = 0_u64;
        for number in segments {
            if is_behind(self, number) && shared.readers.have_ended(self.unneeded[number].generation) {
                shared.files.forget(*number);
                let name = segment::name(*number);
                shared.storage.remove(&name).map_err(StoreError::io(&name))?;
                self.unneeded.remove(number);
                removed += 1;
            }
        }
        if removed > 0 {
            shared
                .storage
                .sync_folder(SEGMENTS)
                .map_err(StoreError::io(SEGMENTS))?;
            shared.space.freed();
            shared.findings.removed(removed);
        }
        Ok(removed > 0)
    }
}

/// Asks the writer.
fn ask<Q: Request>(request: Q, to_writer: ToWriter<'_>) -> Result<Q::Reply, StoreError> {
    let (to, reply) = oneshot::channel();
    to_writer(Box::new(Pending::new(request, to)));
    reply.blocking_recv().unwrap_or(Err(StoreError::Closed))
}

/// Puts a request into the writer's queue. One that finds it closed is dropped, which is its answer.
pub(crate) fn send(shared: &Shared, job: Box<dyn Job>) {
    let mut job = job;
    while let Err(NotSent::NoRoom(back)) = shared.queue.try_send(job) {
        shared.wakes.rest(QUEUE_RETRY_INTERVAL);
        if shared.wakes.is_ending() {
            return;
        }
        job = back;
    }
}
