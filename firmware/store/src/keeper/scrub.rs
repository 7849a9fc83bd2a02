//! Reads all that is kept, a piece at a time, and verifies it (D10): damage is found while there may still be a backup.
//!
//! Segments first, batch by batch, as far as they are sealed; then the bodies that have files of their own. It goes on where
//! it was, also after a restart.

use super::{findings, key, segments};
use crate::error::StoreError;
use crate::index::ReadTables;
use crate::index::rows::{self, BlobPlace, BlobRow, Row};
use crate::log::batch::{self, Batch, FoundBatch, FoundRecord};
use crate::log::frames::{self, FrameAt};
use crate::log::segment::{self, Found, Header};
use crate::log::{BLOCK_OCTETS, SEGMENTS};
use crate::shared::Shared;
use crate::storage::File;
use redb::ReadableTable;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Octets read at once, but for a batch or a file that is larger.
const PIECE_OCTETS: u64 = 1024 * 1024;

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scrub {
    begun_seconds: u64,
    /// The next segment, and where in it.
    segment: u64,
    offset: u64,
    /// The last batch that was found, 0 for none.
    batch: u64,
    /// The next body with a file of its own, once the segments are done.
    body: u64,
}

/// How long to rest after a piece, so that all is read in half the interval.
pub(super) fn rest(interval: Duration, octets: u64) -> Duration {
    /// Whatever the store is small, the keeper looks at other things, too.
    const MAX: Duration = Duration::from_secs(60);
    let pieces = u32::try_from(octets / PIECE_OCTETS).unwrap_or(u32::MAX).max(1);
    (interval / 2 / pieces).min(MAX)
}

impl Scrub {
    /// Where it was, or its beginning if it had ended.
    pub(super) fn read(shared: &Shared, age_seconds: u64) -> Result<Scrub, StoreError> {
        let tables = shared.read()?;
        let counter = |name| rows::counter(&tables.keeper, name);
        let (begun_seconds, ended_seconds) = (counter(key::SCRUB_BEGUN)?, counter(key::SCRUB_ENDED)?);
        if begun_seconds <= ended_seconds {
            return Ok(Scrub {
                begun_seconds: age_seconds.max(ended_seconds + 1),
                ..Scrub::default()
            });
        }
        Ok(Scrub {
            begun_seconds,
            segment: counter(key::SCRUB_SEGMENT)?,
            offset: counter(key::SCRUB_OFFSET)?,
            batch: counter(key::SCRUB_BATCH)?,
            body: counter(key::SCRUB_BODY)?,
        })
    }

    /// What is to be noted; with the time if it has ended.
    pub(super) fn counters(&self, ended_seconds: Option<u64>) -> Vec<(&'static str, u64)> {
        let mut counters = vec![
            (key::SCRUB_BEGUN, self.begun_seconds),
            (key::SCRUB_SEGMENT, self.segment),
            (key::SCRUB_OFFSET, self.offset),
            (key::SCRUB_BATCH, self.batch),
            (key::SCRUB_BODY, self.body),
        ];
        counters.extend(ended_seconds.map(|seconds| (key::SCRUB_ENDED, seconds.max(self.begun_seconds))));
        counters
    }

    /// Reads a piece. Whether that was the last.
    pub(super) fn piece(&mut self, shared: &Shared) -> Result<bool, StoreError> {
        let mut octets = 0;
        while let Some(number) = self.next_segment(shared)? {
            if number != self.segment {
                (self.segment, self.offset, self.batch) = (number, 0, 0);
            }
            octets += self.segment(shared, PIECE_OCTETS.saturating_sub(octets))?;
            if octets >= PIECE_OCTETS {
                return Ok(false);
            }
        }
        self.files(shared, PIECE_OCTETS - octets)
    }

    /// The first segment that is not done: all before the one being filled are to be read.
    fn next_segment(&self, shared: &Shared) -> Result<Option<u64>, StoreError> {
        let active = shared.active_segment.load(Ordering::Acquire);
        let names = shared.storage.list(SEGMENTS).map_err(StoreError::io(SEGMENTS))?;
        let numbers = names.iter().filter_map(|name| segment::number(name));
        Ok(numbers
            .filter(|number| *number >= self.segment && *number != active)
            .min())
    }

    /// Reads batches of a segment. Gives the octets read.
    fn segment(&mut self, shared: &Shared, octets_max: u64) -> Result<u64, StoreError> {
        let number = self.segment;
        let (file, octets) = segments::open(shared, number)?;
        self.offset = self.offset.max(BLOCK_OCTETS);
        let begun = self.offset;
        let mut at = self.offset;
        while at < octets {
            if self.offset - begun >= octets_max {
                return Ok(self.offset - begun);
            }
            if shared.wakes.is_ending() {
                return Err(StoreError::Closed);
            }
            match batch::find(&*file, octets, number, at, &shared.identity, &shared.sealer) {
                Ok(FoundBatch::Batch(batch)) => {
                    if at > self.offset {
                        // There was something, and it is not what was written.
                        self.damaged(shared, self.offset, at, "no batch is found")?;
                    }
                    if !batch.is_whole {
                        self.look_at(shared, &*file, &batch)?;
                    }
                    self.batch = batch.at.number;
                    self.offset = batch.end();
                    at = self.offset;
                }
                Ok(_) => at += BLOCK_OCTETS,
                Err(error) => {
                    self.damaged(
                        shared,
                        self.offset,
                        octets,
                        &format!("it cannot be read ({error})"),
                    )?;
                    break;
                }
            }
        }
        if at >= octets && self.offset < octets {
            self.end(shared, octets)?;
        }
        let read = octets.saturating_sub(begun);
        (self.segment, self.offset, self.batch) = (number + 1, 0, 0);
        Ok(read.max(1))
    }

    /// The end of a segment is no batch: it never was one, unless the next segment says that some are missing.
    fn end(&self, shared: &Shared, octets: u64) -> Result<(), StoreError> {
        let name = segment::name(self.segment + 1);
        let next = shared
            .storage
            .open(&name)
            .ok()
            .map(|file| Header::read(&*file, &name));
        if let Some(Ok(Found::Header(header))) = next
            && self.batch > 0
            && header.first_batch > self.batch + 1
        {
            return self.damaged(shared, self.offset, octets, "no batch is found");
        }
        verify_range(shared, self.segment, self.offset..octets).map(|_| ())
    }

    /// A range of the segment is not what was written: says so, and which messages that concerns.
    fn damaged(&self, shared: &Shared, from: u64, to: u64, what: &str) -> Result<(), StoreError> {
        let name = segment::name(self.segment);
        let messages = verify_range(shared, self.segment, from..to)?;
        shared.findings.record_damaged(format!(
            "{name}: from octet {from} to {to} {what}; {messages} bodies there are damaged, and the changes there are in the \
             index alone until two snapshots of it are made, which is done now"
        ));
        Ok(())
    }

    /// Looks at what is left of a batch.
    fn look_at(&self, shared: &Shared, file: &dyn File, batch: &Batch) -> Result<(), StoreError> {
        let (from, to) = (batch.at.offset, batch.end());
        let is_record_damaged = batch
            .records(file, &shared.sealer)
            .any(|record| !matches!(record, Ok(FoundRecord::Mutation { .. })));
        if is_record_damaged {
            return self.damaged(shared, from, to, "a change is damaged");
        }
        // Of a message that was expunged nobody wants to know.
        verify_range(shared, self.segment, from..to).map(|_| ())
    }

    /// Reads bodies that have files of their own. Whether these were the last.
    fn files(&mut self, shared: &Shared, octets_max: u64) -> Result<bool, StoreError> {
        let tables = shared.read()?;
        let mut octets = 0;
        for found in tables.blob.range(self.body..)? {
            let (id, value) = found?;
            self.body = id.value();
            if octets >= octets_max {
                return Ok(false);
            }
            if shared.wakes.is_ending() {
                return Err(StoreError::Closed);
            }
            let row = BlobRow::from_octets(value.value().1)?;
            if let BlobPlace::File { .. } = row.place {
                octets += frames::stored_octets(&row.frames);
                verify(shared, id.value(), &row)?;
            }
        }
        findings::forget_gone(shared, &tables)?;
        Ok(true)
    }
}

/// Verifies the live bodies that are in a range of a segment, and tells of those that are damaged. Gives their number.
fn verify_range(shared: &Shared, segment: u64, range: std::ops::Range<u64>) -> Result<u64, StoreError> {
    let tables = shared.read()?;
    let mut damaged = 0;
    for (id, row) in at_home(&tables, segment)? {
        if let BlobPlace::Segment { offset } = row.place
            && range.contains(&offset)
        {
            damaged += u64::from(!verify(shared, id, &row)?);
        }
    }
    Ok(damaged)
}

/// The bodies whose home a segment is.
fn at_home(tables: &ReadTables, segment: u64) -> Result<Vec<(u64, BlobRow)>, StoreError> {
    let mut bodies = Vec::new();
    for found in tables.blob.iter()? {
        let (id, value) = found?;
        let row = BlobRow::from_octets(value.value().1)?;
        if row.home == segment {
            bodies.push((id.value(), row));
        }
    }
    Ok(bodies)
}

/// Whether a body is as it was written; one that is not is told of, unless it went meanwhile.
fn verify(shared: &Shared, id: u64, row: &BlobRow) -> Result<bool, StoreError> {
    let is_good = is_good(shared, row);
    if !is_good {
        let now = rows::get_blob(&shared.read()?.blob, id)?;
        if now.is_none_or(|(_, now)| now != *row) {
            return Ok(true);
        }
        findings::tell(shared, id, row)?;
    }
    Ok(is_good)
}

fn is_good(shared: &Shared, row: &BlobRow) -> bool {
    let (name, offset) = row.file();
    let Ok(file) = shared.storage.open(&name) else {
        return false;
    };
    if !row.is_described() {
        return false;
    }
    let mut at = FrameAt {
        place: 0,
        stored_at: 0,
        octets_at: 0,
    };
    row.frames.iter().all(|frame| {
        let read = frames::read(frame, at, &shared.sealer, &name, offset, |octets, offset| {
            file.read_exact_at(octets, offset)
        });
        at.place += 1;
        at.stored_at += u64::from(frame.stored_octets);
        at.octets_at += u64::from(frame.octets);
        read.is_ok()
    })
}
