//! What is known of the segments: how much of each is live, and since when something in it is dead.
//!
//! # Invariants
//! - Of a segment whose age was lost with the index, or that is seen for the first time, the records are read: if they
//!   tell of more than is live, something in it is dead.
//! - What is not certain counts as dead, which has the segment rewritten earlier.

use super::decide::SegmentFigures;
use crate::error::StoreError;
use crate::index::rows::{self, BlobPlace, BlobRow};
use crate::index::{ReadTables, Tables, state};
use crate::log::batch::{self, FoundBatch, FoundRecord};
use crate::log::record::{BodyRecord, Place};
use crate::log::segment::{self, Found, Header};
use crate::log::{BLOCK_OCTETS, SEGMENTS, next_block};
use crate::shared::Shared;
use crate::storage::File;
use redb::{Durability, ReadableTable};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is read of a segment once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// `None`: its header is damaged.
    first_batch: Option<u64>,
    /// How long it is; `None`: it may grow.
    octets: Option<u64>,
}

/// The segments there are, with what is known of them.
#[derive(Debug, Default)]
pub(super) struct Segments {
    known: BTreeMap<u64, Known>,
}

impl Segments {
    /// Looks at all segments. Those that are new, or have changed, are noted with their age.
    pub(super) fn look(
        &mut self,
        shared: &Shared,
        age_seconds: u64,
    ) -> Result<Vec<SegmentFigures>, StoreError> {
        let tables = shared.read()?;
        let names = shared.storage.list(SEGMENTS).map_err(StoreError::io(SEGMENTS))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        self.known
            .retain(|number, _| numbers.binary_search(number).is_ok());
        for number in &numbers {
            if !self.known.contains_key(number) {
                let known = read_header(shared, *number)?;
                self.known.insert(*number, known);
            }
        }
        let batch = rows::counter(&tables.state, state::BATCH)?;
        let active = shared.active_segment.load(Ordering::Acquire);
        let kept_below = rows::counter(&tables.state, state::SEGMENTS_KEPT_BELOW)?;
        let is_first_look = tables.ageing.iter()?.next().is_none();
        let mut figures = Vec::with_capacity(numbers.len());
        let mut aged = Vec::new();
        let mut ends_before = batch + 1;
        for number in numbers.into_iter().rev() {
            let is_active = active == number;
            let Known { first_batch, octets } = self.known[&number];
            let octets = match octets {
                Some(octets) => octets,
                None => open(shared, number)?.1,
            };
            let live_octets = tables.segstat.get(number)?.map_or(0, |row| row.value());
            let before = tables.ageing.get(number)?.map(|row| row.value());
            let (_, mut dead_since, is_unreadable) = before.unwrap_or_default();
            // What is being filled grows and shrinks: it is looked at when it is sealed.
            if !is_active {
                self.known.insert(
                    number,
                    Known {
                        first_batch,
                        octets: Some(octets),
                    },
                );
                if dead_since.is_none() {
                    let is_dead = match before {
                        Some((live_before, ..)) => live_octets < live_before,
                        None => live_octets < told_octets(shared, number)?,
                    };
                    // An index made anew does not know how long: it may be long.
                    dead_since = is_dead.then_some(if is_first_look { 0 } else { age_seconds });
                }
                let now = (live_octets, dead_since, is_unreadable);
                if before != Some(now) {
                    aged.push((number, now));
                }
            }
            figures.push(SegmentFigures {
                number,
                ends_before,
                octets,
                live_octets,
                dead_since,
                is_active,
                is_kept: is_unreadable || first_batch.is_none() || number < kept_below,
            });
            ends_before = first_batch.map_or(ends_before, |first| first.min(ends_before));
        }
        let gone = gone(&tables, &self.known)?;
        drop(tables);
        note(shared, &aged, &gone)?;
        figures.reverse();
        Ok(figures)
    }
}

/// Segments that were noted and are there no more.
fn gone(tables: &ReadTables, known: &BTreeMap<u64, Known>) -> Result<Vec<u64>, StoreError> {
    let mut gone = Vec::new();
    for found in tables.ageing.iter()? {
        let number = found?.0.value();
        if !known.contains_key(&number) {
            gone.push(number);
        }
    }
    Ok(gone)
}

type Age = (u64, Option<u64>, bool);

fn note(shared: &Shared, aged: &[(u64, Age)], gone: &[u64]) -> Result<(), StoreError> {
    if aged.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let mut transaction = shared.database()?.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let mut tables = Tables::open(&transaction)?;
    for (number, age) in aged {
        tables.ageing.insert(number, age)?;
    }
    for number in gone {
        tables.ageing.remove(number)?;
    }
    drop(tables);
    transaction.commit()?;
    Ok(())
}

/// Notes that a segment cannot be read: it stays.
pub(super) fn note_unreadable(shared: &Shared, number: u64) -> Result<(), StoreError> {
    let (live, since, _) = shared
        .read()?
        .ageing
        .get(number)?
        .map(|row| row.value())
        .unwrap_or_default();
    note(shared, &[(number, (live, since, true))], &[])
}

fn read_header(shared: &Shared, number: u64) -> Result<Known, StoreError> {
    let name = segment::name(number);
    let file = shared.storage.open(&name).map_err(StoreError::io(&name))?;
    let first_batch = match Header::read(&*file, &name) {
        Ok(Found::Header(header)) if header.identity == shared.identity && header.number == number => {
            Some(header.first_batch)
        }
        Ok(_) => None,
        // A header that cannot be read is no better than a damaged one.
        Err(error) => {
            tracing::warn!(%error, "the header of a segment cannot be read");
            None
        }
    };
    Ok(Known {
        first_batch,
        octets: None,
    })
}

/// What the bodies that a segment tells of come to, dead or not; more than all if there are octets that nobody tells of.
fn told_octets(shared: &Shared, number: u64) -> Result<u64, StoreError> {
    let mut told: u64 = 0;
    let (file, octets) = open(shared, number)?;
    let is_all = for_each_body(shared, number, &*file, octets, &mut |body, _| {
        let place = match body.place {
            Place::Batch { offset } => BlobPlace::Segment { offset },
            Place::File { number } => BlobPlace::File { number },
        };
        let row = BlobRow {
            home: number,
            place,
            octets: body.octets,
            frames: body.frames.clone(),
        };
        told += row.live_octets(body.structure.len());
    })?;
    Ok(if is_all { told } else { u64::MAX })
}

/// Calls `each` with every body that the records of a segment tell of, and where the record's bodies begin; also those of
/// batches that do not count. Whether all of the segment is batches, and all of their records can be read.
pub(super) fn for_each_body(
    shared: &Shared,
    number: u64,
    file: &dyn File,
    octets: u64,
    each: &mut dyn FnMut(&BodyRecord, u64),
) -> Result<bool, StoreError> {
    let mut is_all = true;
    let mut offset = BLOCK_OCTETS;
    while offset < octets {
        let found = batch::find_unread(file, octets, number, offset, &shared.identity, &shared.sealer);
        let Ok((FoundBatch::Batch(batch), _)) = found else {
            // Damage, or what was being written when the power went.
            is_all = false;
            offset += BLOCK_OCTETS;
            continue;
        };
        for record in batch.records(file, &shared.sealer) {
            match record {
                Ok(FoundRecord::Mutation { mutation, body_at }) => {
                    mutation.bodies().iter().for_each(|body| each(body, body_at));
                }
                Ok(FoundRecord::Newer { .. } | FoundRecord::Damaged) | Err(_) => is_all = false,
            }
        }
        offset = next_block(batch.at.offset + batch.octets);
        if shared.wakes.is_ending() {
            return Err(StoreError::Closed);
        }
    }
    Ok(is_all)
}

/// Opens a segment.
pub(super) fn open(shared: &Shared, number: u64) -> Result<(Arc<dyn File>, u64), StoreError> {
    let name = segment::name(number);
    let file = shared.storage.open(&name).map_err(StoreError::io(&name))?;
    let octets = file.length().map_err(StoreError::io(&name))?;
    Ok((file, octets))
}
