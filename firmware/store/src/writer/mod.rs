//! The one writer: takes requests in groups, writes each group as a batch, syncs once, answers.
//!
//! # Invariants
//! - A request is answered with success only after its record is synced.
//! - A change is published after its commit, in commit order.
//! - A batch is written only after the one before is synced.
//! - After a write or sync that failed in an unknown way nothing is written until the store is opened
//!   again. A failed sync is never tried again: the kernel may have dropped the octets and call the
//!   second one good. An index that failed is removed: the log can do without it.
//! - A full disk is not a failure: what needs room is refused, what frees some gets the ballast, and a checkpoint
//!   without room is put off.

pub(crate) mod queue;

use crate::Options;
use crate::error::StoreError;
use crate::index::apply::{Effects, RecordAt, apply};
use crate::index::rows;
use crate::index::{self, STATE, Tables, state};
use crate::log::batch::{BatchAt, BatchBuilder};
use crate::log::body;
use crate::log::scan::Position;
use crate::log::segment::{self, Header, NotCreated};
use crate::log::{BLOCK_OCTETS, next_block};
use crate::request::Job;
use crate::shared::Shared;
use crate::space;
use crate::storage::{File, Storage};
use mail::{AccountId, ModSeq};
use queue::Taken;
use redb::{Database, Durability};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A checkpoint comes after this much log at the latest: it bounds what an open replays, and what redb
/// holds back between two durable commits.
const CHECKPOINT_LOG_OCTETS: u64 = 64 * 1024 * 1024;
/// What a checkpoint may write: this, and so much for each octet of the log since the last (a change of a flag is a
/// block of log, and a path to the leaf in each of several tables); never more than redb's cache.
const CHECKPOINT_OCTETS_MIN: u64 = 1024 * 1024;
const CHECKPOINT_OCTETS_PER_LOG_OCTET: u64 = 64;
/// Octets of the index that may wait for room before every request is refused.
const INDEX_HELD_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// Where the log goes on.
#[derive(Debug)]
pub(crate) struct LogEnd {
    /// The segment being filled. `None`: the next batch begins a new one.
    pub(crate) active: Option<ActiveSegment>,
    pub(crate) next_segment: u64,
    pub(crate) next_batch: u64,
    /// A segment that has reached this is not filled further.
    pub(crate) segment_octets: u64,
}

#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn File>,
    /// Where the next batch goes.
    pub(crate) offset: u64,
}

/// Why a batch was not written.
enum Failure {
    /// There was no room, and nothing of it is left on the disk.
    Full,
    /// It is not known what is on the disk.
    Unknown(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Unknown(error)
    }
}

macro_rules! failure_from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Failure {
                Failure::Unknown(error.into())
            }
        }
    )*};
}

failure_from_redb!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    SetDurabilityError
);

pub(crate) struct Writer {
    shared: Arc<Shared>,
    database: Arc<Database>,
    log: LogEnd,
    checkpoint_interval: Duration,
    /// The most that a checkpoint writes.
    checkpoint_octets_max: u64,
    /// When the last checkpoint was made, or put off.
    checkpointed_at: Instant,
    is_checkpoint_put_off: bool,
    /// Octets of log that the last checkpoint does not have; 0: it has all.
    log_octets_since: u64,
    stopped: Option<String>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        database: Arc<Database>,
        log: LogEnd,
        options: &Options,
    ) -> Writer {
        Writer {
            shared,
            database,
            log,
            checkpoint_interval: options.checkpoint_interval,
            checkpoint_octets_max: options.index_cache_octets as u64,
            checkpointed_at: Instant::now(),
            is_checkpoint_put_off: false,
            log_octets_since: 0,
            stopped: None,
        }
    }

    /// Serves requests until the queue is closed and empty; then the last checkpoint.
    pub(crate) fn run(mut self) {
        let _abort = AbortOnPanic(Arc::clone(&self.shared.storage));
        loop {
            let is_dirty = self.log_octets_since > 0 && self.stopped.is_none();
            let until_checkpoint = is_dirty.then(|| {
                self.checkpoint_interval
                    .saturating_sub(self.checkpointed_at.elapsed())
            });
            match self.shared.queue.take(until_checkpoint) {
                Taken::Jobs(jobs) => self.commit(jobs),
                Taken::Nothing => (),
                Taken::Closed => break,
            }
            if self.is_checkpoint_due() {
                self.checkpoint();
            }
        }
        if self.log_octets_since > 0 {
            self.checkpoint();
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        (self.log_octets_since > CHECKPOINT_LOG_OCTETS && !self.is_checkpoint_put_off)
            || (self.log_octets_since > 0 && self.checkpointed_at.elapsed() >= self.checkpoint_interval)
    }

    /// Writes a group of requests as one batch and answers them.
    pub(crate) fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if self.stopped.is_none() {
            match self.write(&mut jobs) {
                Ok(()) => (),
                Err(Failure::Full) => self.write_without_mail(&mut jobs),
                Err(Failure::Unknown(error)) => self.stop(&error),
            }
        }
        if jobs.iter().any(|job| job.wants_checkpoint()) {
            self.checkpoint();
        }
        if let Some(reason) = &self.stopped {
            for job in &mut jobs {
                job.fail(StoreError::Stopped {
                    reason: reason.clone(),
                });
            }
        }
        for job in jobs {
            job.answer();
        }
    }

    /// There was no room. What needs it is refused; for the others, which free some or are an administrator's, the
    /// ballast is given up (D9).
    fn write_without_mail(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        let (mut mail, mut others): (Vec<_>, Vec<_>) =
            std::mem::take(jobs).into_iter().partition(|job| job.needs_room());
        for job in &mut mail {
            job.fail(StoreError::Full);
        }
        self.shared.wakes.wake();
        let has_room = !others.is_empty() && self.shared.space.release_ballast();
        match if has_room {
            self.write(&mut others)
        } else {
            Err(Failure::Full)
        } {
            Ok(()) => (),
            // Also those that were refused, or had nothing to do: they may have been so because of
            // one before them that has not happened.
            Err(Failure::Full) => others.iter_mut().for_each(|job| job.fail(StoreError::Full)),
            Err(Failure::Unknown(error)) => self.stop(&error),
        }
        jobs.append(&mut mail);
        jobs.append(&mut others);
    }

    fn stop(&mut self, error: &StoreError) {
        let reason = error.to_string();
        tracing::error!(%reason, "the store stops writing");
        if error.casts_doubt_on_index() {
            // What a failed sync left in the page cache counts as written, and what cannot be read now cannot be
            // read then: the next start makes the index anew. Who has it open reads on.
            if let Err(error) = self.shared.storage.remove(index::FILE) {
                tracing::warn!(%error, "the index was not removed");
            }
        }
        self.shared.stopped.send_replace(Some(reason.clone()));
        self.stopped = Some(reason);
    }

    fn write(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        if self.shared.index_file.held_octets() > INDEX_HELD_OCTETS_MAX {
            return Err(Failure::Full);
        }
        let asked_octets = jobs.iter().map(|job| job.body_octets()).sum();
        let begins_segment = jobs.iter().any(|job| job.begins_segment());
        self.make_room(asked_octets, begins_segment)?;
        let active = self.log.active.as_ref().expect("make_room made one");
        let at = BatchAt {
            segment: active.number,
            offset: active.offset,
            number: self.log.next_batch,
        };

        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        let mut batch = BatchBuilder::new(&self.shared.sealer, self.shared.identity, at);
        let mut effects = Effects::default();
        let mut written = vec![false; jobs.len()];
        let mut tables = Tables::open(&transaction)?;
        for (job, is_written) in jobs.iter_mut().zip(&mut written) {
            let is_low = self.shared.space.is_low_with(batch.octets() + job.body_octets());
            let Some(mutation) = job.decide(&tables, is_low)? else {
                continue;
            };
            let body_at = batch.push(&mutation, job.stored(&mutation).into_iter());
            let at = RecordAt {
                segment: at.segment,
                body_at,
            };
            apply(&mutation, at, &mut tables, &mut effects)?;
            *is_written = true;
        }
        let changed = highest_modseqs(&effects, &tables)?;
        drop(tables);
        if batch.is_empty() {
            transaction.abort()?;
            return Ok(());
        }

        let octets = batch.finish();
        let end = next_block(at.offset + octets.len() as u64);
        set_position(&transaction, at.number, at.segment, end)?;
        let appended = self.append(&octets, at.offset);
        if !matches!(appended, Err(Failure::Full)) {
            // The record is on the disk, or may be: its bodies have to stay.
            let jobs = jobs.iter_mut().zip(&written);
            jobs.filter(|(_, is_written)| **is_written)
                .for_each(|(job, _)| job.keep_bodies());
        }
        appended?;
        self.shared.space.written(octets.len() as u64);
        self.log_octets_since += octets.len() as u64;
        self.log.next_batch += 1;
        if let Some(active) = &mut self.log.active {
            active.offset = end;
        }
        transaction.commit()?;

        for (account, modseq) in changed {
            self.shared.changes.publish(account, modseq);
        }
        let has_freed = !effects.unused_files.is_empty();
        for number in effects.unused_files {
            if self.shared.backups.holds(number) {
                continue;
            }
            // If it stays, the next start sweeps it.
            if let Err(error) = self.shared.storage.remove(&body::file_name(number)) {
                tracing::warn!(%error, number, "a body file that nobody has was not removed");
            }
        }
        if has_freed {
            self.shared.space.freed();
        }
        if self.shared.space.is_low() {
            self.shared.wakes.wake();
        }
        Ok(())
    }

    /// Sees to it that there is a segment with room for a batch; one with nothing in it if it `begins_segment`.
    fn make_room(&mut self, octets: u64, begins_segment: bool) -> Result<(), Failure> {
        let limit = self.log.segment_octets;
        let has_room = |active: &ActiveSegment| {
            let fits = !begins_segment && active.offset.saturating_add(octets) <= limit;
            active.offset <= BLOCK_OCTETS || fits
        };
        if self.log.active.as_ref().is_some_and(has_room) {
            return Ok(());
        }
        let number = self.log.next_segment;
        let header = Header {
            identity: self.shared.identity,
            number,
            first_batch: self.log.next_batch,
        };
        let created = segment::create(&*self.shared.storage, header, None);
        let file = created.map_err(|error| match error {
            NotCreated::Full => Failure::Full,
            NotCreated::Unknown(error) => Failure::Unknown(error),
        })?;
        self.log.next_segment += 1;
        self.log.active = Some(ActiveSegment {
            number,
            file,
            offset: BLOCK_OCTETS,
        });
        self.shared.active_segment.store(number, Ordering::Release);
        // One more is sealed.
        self.shared.wakes.wake();
        Ok(())
    }

    /// Writes and syncs a batch.
    fn append(&mut self, octets: &[u8], offset: u64) -> Result<(), Failure> {
        let active = self.log.active.as_ref().expect("make_room made one");
        let io = |error| Failure::Unknown(StoreError::io(segment::name(active.number))(error));
        match active.file.write_all_at(octets, offset) {
            Ok(()) => active.file.sync().map_err(io),
            Err(error) if space::is_full(&error) => {
                // Nobody was told of this batch. Once it is certain that nothing of it is left, the
                // next one may take its place.
                active.file.set_length(offset).map_err(io)?;
                active.file.sync().map_err(io)?;
                Err(Failure::Full)
            }
            Err(error) => Err(io(error)),
        }
    }

    /// Makes the index durable up to here, so that the next open replays from here. On a full disk that is put off:
    /// the log is longer for so long, and nothing else.
    pub(crate) fn checkpoint(&mut self) {
        if self.stopped.is_some() {
            return;
        }
        self.checkpointed_at = Instant::now();
        if !self.has_room_for_checkpoint() {
            if !std::mem::replace(&mut self.is_checkpoint_put_off, true) {
                tracing::warn!("the disk is full; the index is written when there is room");
            }
            return;
        }
        if std::mem::take(&mut self.is_checkpoint_put_off) {
            tracing::info!("there is room again; the index is written");
        }
        match checkpoint(&self.database) {
            Ok(position) => {
                self.log_octets_since = 0;
                if let Ok(mut durable) = self.shared.durable.lock() {
                    *durable = position;
                }
            }
            Err(error) => self.stop(&error),
        }
    }

    /// Whether a checkpoint would find the room that it needs. redb takes a sync that fails for the end.
    fn has_room_for_checkpoint(&self) -> bool {
        let octets = CHECKPOINT_OCTETS_MIN + CHECKPOINT_OCTETS_PER_LOG_OCTET * self.log_octets_since;
        self.shared
            .space
            .has_room_for(octets.min(self.checkpoint_octets_max))
            && self.shared.index_file.held_octets() == 0
    }
}

/// Commits what the index has, durably and in two phases (redb's advice where input may be hostile),
/// with what it needs to open quickly after a power cut.
pub(crate) fn checkpoint(database: &Database) -> Result<Position, StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    let table = transaction.open_table(STATE)?;
    let position = Position {
        batch: rows::counter(&table, state::BATCH)?,
        segment: rows::counter(&table, state::SEGMENT)?,
        offset: rows::counter(&table, state::OFFSET)?,
    };
    drop(table);
    transaction.commit()?;
    Ok(position)
}

/// Notes in the index how far it has come in the log.
pub(crate) fn set_position(
    transaction: &redb::WriteTransaction,
    batch: u64,
    segment: u64,
    offset: u64,
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(STATE)?;
    table.insert(state::BATCH, batch)?;
    table.insert(state::SEGMENT, segment)?;
    table.insert(state::OFFSET, offset)?;
    Ok(())
}

fn highest_modseqs(effects: &Effects, tables: &Tables<'_>) -> Result<Vec<(AccountId, ModSeq)>, StoreError> {
    let modseq = |account: &AccountId| Ok((*account, ModSeq(rows::quota(&tables.quota, *account)?.2)));
    effects.changed.iter().map(modseq).collect()
}

/// A panic here may have left the index half changed: the process ends, and the next one replays. What the index
/// has on the disk may be the cause: it is looked at closely before it is used again, or the next process would
/// end like this one.
struct AbortOnPanic(Arc<dyn Storage>);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the store's writer panicked");
            // Also when it is there already.
            let _ = self.0.create(index::SUSPECT);
            std::process::abort();
        }
    }
}
