//! Bringing the index up to the log, and what is found on the way.

use crate::error::StoreError;
use crate::index::apply::{Effects, RecordAt, apply, describe_anew};
use crate::index::rows::counter;
use crate::index::{self, Tables, state};
use crate::log::batch::{Batch, BatchAt, FoundRecord};
use crate::log::scan::{Position, Segment, Segments};
use crate::log::seal::Sealer;
use crate::log::segment::{self, Header};
use crate::log::{BLOCK_OCTETS, next_block};
use crate::open::Opened;
use crate::storage::Storage;
use crate::writer::{ActiveSegment, set_position};
use redb::{Database, Durability, ReadableDatabase};
use std::fmt;
use std::ops::RangeInclusive;

/// Batches replayed in one transaction of the index.
const REPLAY_BATCHES: u64 = 64;

/// Damage to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Batches are missing that were there.
    BatchesLost {
        /// The segment that should have them.
        name: String,
        /// Their numbers.
        batches: RangeInclusive<u64>,
    },
    /// Records of a batch are lost; the others count.
    RecordsLost {
        /// The segment.
        name: String,
        /// The batch.
        batch: u64,
        /// How many.
        records: u64,
    },
    /// Octets of a batch are damaged, but no record is: some message is.
    BodyDamaged {
        /// The segment.
        name: String,
        /// The batch.
        batch: u64,
    },
    /// A segment's header is damaged; what is in it was read all the same.
    SegmentHeader {
        /// The segment.
        name: String,
    },
    /// The index knows of a segment that is not there.
    SegmentMissing {
        /// The segment.
        name: String,
    },
    /// The index knows of batches that a segment has no more.
    SegmentShort {
        /// The segment.
        name: String,
    },
    /// What a snapshot does not hold of these bodies was not found in the segment that had it.
    BodiesLost {
        /// The segment.
        name: String,
        /// How many.
        bodies: u64,
    },
    /// A snapshot was to be read, and is damaged; the index was made from another, or from all of the log.
    Snapshot {
        /// The snapshot.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Damage {
    /// Whether the index may lack what was in the log.
    pub(crate) fn has_lost_records(&self) -> bool {
        match self {
            Damage::BatchesLost { .. }
            | Damage::RecordsLost { .. }
            | Damage::SegmentMissing { .. }
            | Damage::SegmentShort { .. } => true,
            Damage::BodyDamaged { .. }
            | Damage::SegmentHeader { .. }
            | Damage::BodiesLost { .. }
            | Damage::Snapshot { .. } => false,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::BatchesLost { name, batches } => {
                let (first, last) = (batches.start(), batches.end());
                write!(
                    f,
                    "{name}: batches {first} to {last} are lost, and the changes in them; all else is there. \
                     A backup may have them"
                )
            }
            Damage::RecordsLost { name, batch, records } => {
                write!(
                    f,
                    "{name}: {records} changes in batch {batch} are lost, the others were read. A backup may have them"
                )
            }
            Damage::BodyDamaged { name, batch } => {
                write!(
                    f,
                    "{name}: a message in batch {batch} is damaged, nothing else; it says so when it is read. \
                     Take it from a backup, or delete it"
                )
            }
            Damage::SegmentHeader { name } => {
                write!(
                    f,
                    "{name}: the header is damaged, nothing is lost, and nothing is to be done"
                )
            }
            Damage::SegmentShort { name } => {
                write!(
                    f,
                    "{name} has lost its end, and the messages in it; the index still lists them. Put the file back \
                     from a backup while the box is off, or delete them"
                )
            }
            Damage::SegmentMissing { name } => write!(
                f,
                "{name} is missing, and the messages in it; the index still lists them. Put the file back from a \
                 backup while the box is off, or delete them"
            ),
            Damage::BodiesLost { name, bodies } => {
                write!(
                    f,
                    "{name} is damaged or missing: {bodies} messages of it are still listed, and cannot be read"
                )
            }
            Damage::Snapshot { name, reason } => {
                write!(
                    f,
                    "{name}: {reason}; nothing is lost, as the index was made without it"
                )
            }
        }
    }
}

impl Damage {
    /// Whether something of the log is lost, or may be.
    pub(crate) fn is_of_log(&self) -> bool {
        !matches!(self, Damage::Snapshot { .. })
    }
}

pub(crate) fn newer(segment: &Segment, kind: u16, version: u16) -> StoreError {
    let what = format!("a record of kind {kind}, version {version}");
    StoreError::Newer {
        name: segment.name.clone(),
        what,
    }
}

/// Brings an index up to the log.
pub(crate) struct Replay<'o> {
    pub(crate) segments: &'o Segments,
    pub(crate) database: &'o Database,
    pub(crate) sealer: &'o Sealer,
    pub(crate) position: Position,
    /// No batch after this one is looked at.
    pub(crate) last_batch: u64,
    pub(crate) opened: &'o mut Opened,
    /// The last batch with lost records that was found.
    pub(crate) lost_up_to: Option<u64>,
    /// The last batch that was applied, with the place of its segment.
    pub(crate) last: Option<(usize, Batch)>,
}

impl Replay<'_> {
    /// Brings the index to the end of the log. Returns the last batch with lost records that no `Step`
    /// has answered yet.
    pub(crate) fn run(&mut self) -> Result<Option<u64>, StoreError> {
        let mut batches = Vec::new();
        let mut last_end = None;
        let mut expected = self.position.batch + 1;
        for (place, segment) in self.segments.list.iter().enumerate() {
            if segment.number < self.position.segment {
                continue;
            }
            let limit = self.segments.limit(place);
            let mut offset = self.position.offset_in(segment.number);
            last_end = Some((place, offset));
            while let Some(batch) = self.segments.next_batch(segment, offset)? {
                let number = batch.at.number;
                if number >= limit || number > self.last_batch {
                    break;
                }
                offset = batch.end();
                if number < expected {
                    continue;
                }
                if !batch.is_whole && !self.segments.has_behind(place, offset, number)? {
                    break;
                }
                if number > expected {
                    self.lost(segment, expected..=number - 1);
                }
                if !batch.is_whole {
                    self.damaged(segment, &batch)?;
                }
                expected = number + 1;
                last_end = Some((place, offset));
                batches.push((place, batch));
                if batches.len() as u64 == REPLAY_BATCHES {
                    self.apply(&std::mem::take(&mut batches))?;
                }
            }
            if limit != u64::MAX && expected < limit && limit <= self.last_batch {
                self.lost(segment, expected..=limit - 1);
                expected = limit;
            }
        }
        self.apply(&batches)?;
        if let Some((place, end)) = last_end.filter(|(place, _)| place + 1 == self.segments.list.len()) {
            self.opened.tail_octets_dropped = self.segments.list[place].octets.saturating_sub(end);
        }
        let transaction = self.database.begin_read()?;
        let state = transaction.open_table(index::STATE)?;
        let lost_up_to = self.lost_up_to.max(Some(counter(&state, state::LOST_UP_TO)?));
        let stepped_for = counter(&state, state::STEPPED_FOR)?;
        Ok(lost_up_to.filter(|batch| *batch > stepped_for))
    }

    fn lost(&mut self, segment: &Segment, batches: RangeInclusive<u64>) {
        self.lost_up_to = Some(*batches.end());
        self.opened.damage.push(Damage::BatchesLost {
            name: segment.name.clone(),
            batches,
        });
    }

    /// Looks at what is left of a batch.
    fn damaged(&mut self, segment: &Segment, batch: &Batch) -> Result<(), StoreError> {
        let mut records = 0;
        let file = self.segments.file(segment)?;
        for record in batch.records(&*file, self.sealer) {
            if matches!(
                record.map_err(StoreError::io(&segment.name))?,
                FoundRecord::Damaged
            ) {
                records += 1;
            }
        }
        let batch = batch.at.number;
        if records == 0 {
            let name = segment.name.clone();
            self.opened.damage.push(Damage::BodyDamaged { name, batch });
        } else {
            self.lost_records(segment, batch, records);
        }
        Ok(())
    }

    fn lost_records(&mut self, segment: &Segment, batch: u64, records: u64) {
        self.lost_up_to = self.lost_up_to.max(Some(batch));
        let name = segment.name.clone();
        self.opened
            .damage
            .push(Damage::RecordsLost { name, batch, records });
    }

    /// Applies batches in one transaction.
    fn apply(&mut self, batches: &[(usize, Batch)]) -> Result<(), StoreError> {
        let Some((place, last)) = batches.last() else {
            return Ok(());
        };
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        let mut tables = Tables::open(&transaction)?;
        // Nobody listens yet, and files are swept when all is applied.
        let mut effects = Effects::default();
        for (place, batch) in batches {
            let segment = &self.segments.list[*place];
            let file = self.segments.file(segment)?;
            let mut unreadable = 0;
            for record in batch.records(&*file, self.sealer) {
                match record.map_err(StoreError::io(&segment.name))? {
                    FoundRecord::Mutation { mutation, body_at } => {
                        let at = RecordAt {
                            segment: segment.number,
                            body_at,
                        };
                        apply(&mutation, at, &mut tables, &mut effects)?;
                    }
                    FoundRecord::Newer { kind, version } => return Err(newer(segment, kind, version)),
                    FoundRecord::Damaged => unreadable += 1,
                }
            }
            if batch.is_whole && unreadable > 0 {
                // As it was written, and yet no record of the kind it says: a fault of the firmware, now
                // or then. The others were looked at when they were found.
                self.lost_records(segment, batch.at.number, unreadable);
            }
        }
        if let Some(batch) = self.lost_up_to {
            // Before the position moves behind it, or a cut before the `Step` would have it forgotten.
            tables.state.insert(state::LOST_UP_TO, batch)?;
        }
        drop(tables);
        set_position(&transaction, last.at.number, last.at.segment, last.end())?;
        transaction.commit()?;
        self.position = Position {
            batch: last.at.number,
            segment: last.at.segment,
            offset: last.end(),
        };
        self.last = Some((*place, last.clone()));
        self.opened.batches_replayed += batches.len() as u64;
        Ok(())
    }
}

/// Copies the last batch that was replayed to a new segment, and has the index find its bodies there.
/// Returns the segment; the batch is durable then.
///
/// After a process was killed the batch may be in the page cache alone; if a sync failed before, its
/// pages may even count as clean, so that syncing them again would do nothing and say that all is well.
/// Written anew they are new. Only the last batch can be so: each is written after the one before is
/// synced. And what the durable index has was synced before it.
pub(crate) fn copy_tail(
    storage: &dyn Storage,
    database: &Database,
    segments: &Segments,
    place: usize,
    batch: &Batch,
    header: Header,
) -> Result<ActiveSegment, StoreError> {
    let sealer = Sealer::new(&header.identity);
    let from = &segments.list[place];
    let file = segments.file(from)?;
    let io = || StoreError::io(&from.name);
    let to = BatchAt {
        segment: header.number,
        offset: BLOCK_OCTETS,
        number: batch.at.number,
    };
    let octets = batch.moved(&*file, to, &sealer).map_err(io())?;
    let copy = segment::create(storage, header, Some(&octets))?;
    let end = next_block(BLOCK_OCTETS + octets.len() as u64);
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let mut tables = Tables::open(&transaction)?;
    for record in batch.records(&*file, &sealer) {
        let FoundRecord::Mutation { mutation, body_at } = record.map_err(io())? else {
            continue;
        };
        let at = RecordAt {
            segment: header.number,
            body_at: body_at - batch.at.offset + BLOCK_OCTETS,
        };
        describe_anew(mutation.bodies(), at, &mut tables)?;
    }
    drop(tables);
    set_position(&transaction, batch.at.number, header.number, end)?;
    transaction.commit()?;
    Ok(ActiveSegment {
        number: header.number,
        file: copy,
        offset: end,
    })
}
