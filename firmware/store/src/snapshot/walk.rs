//! What a snapshot does not have: frames and structures of the bodies, which are in the segments where these are at home.
//! Only headers, tables and the metadata of records that tell of bodies are read.

use crate::error::StoreError;
use crate::index::apply::{RecordAt, describe_anew};
use crate::index::rows::{self, BlobPlace, BlobRow};
use crate::index::{ReadTables, Tables};
use crate::log::batch::{self, Batch, FoundBatch, FoundRecord};
use crate::log::record::{BodyRecord, Place, tells_of_bodies};
use crate::log::scan::{Position, Segment, Segments};
use crate::log::seal::{Identity, Sealer};
use crate::log::{BLOCK_OCTETS, segment};
use crate::replay::{Damage, newer};
use crate::storage::File;
use redb::{Database, Durability, ReadableDatabase, ReadableTable};
use std::collections::BTreeMap;
use std::io;

/// Walks through the segments.
pub(super) struct Walk<'w> {
    pub(super) segments: &'w Segments,
    pub(super) identity: &'w Identity,
    pub(super) sealer: &'w Sealer,
    pub(super) database: &'w Database,
    /// That of the snapshot whose rows are in the index.
    pub(super) position: Position,
}

impl Walk<'_> {
    /// Describes the bodies that the snapshot knows, as far as they are found.
    pub(super) fn describe(&self) -> Result<(), StoreError> {
        for segment in &self.segments.list {
            if segment.number <= self.position.segment {
                self.homes(segment)?;
            } else {
                self.copied(segment)?;
            }
        }
        Ok(())
    }

    /// Describes the bodies that are at home in a segment.
    fn homes(&self, segment: &Segment) -> Result<(), StoreError> {
        let end = if segment.number == self.position.segment {
            segment.octets.min(self.position.offset)
        } else {
            segment.octets
        };
        let file = self.segments.file(segment)?;
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        let mut tables = Tables::open(&transaction)?;
        let mut offset = BLOCK_OCTETS;
        while offset < end {
            match self.find(segment, &*file, offset)? {
                Some(batch) => {
                    self.each_body(segment, &*file, &batch, |body, at| {
                        if is_at_home(body, at, &tables)? {
                            describe_anew(std::slice::from_ref(body), at, &mut tables)?;
                        }
                        Ok(())
                    })?;
                    offset = batch.end();
                }
                None => offset += BLOCK_OCTETS,
            }
        }
        drop(tables);
        transaction.commit()?;
        Ok(())
    }

    /// The last batch that the snapshot has may have been copied since, to the beginning of the next segment: its bodies
    /// are at home there now, and the segment they came from may be gone.
    fn copied(&self, segment: &Segment) -> Result<(), StoreError> {
        let file = self.segments.file(segment)?;
        let Some(batch) = self.find(segment, &*file, BLOCK_OCTETS)? else {
            return Ok(());
        };
        if batch.at.number > self.position.batch {
            return Ok(());
        }
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        let mut tables = Tables::open(&transaction)?;
        self.each_body(segment, &*file, &batch, |body, at| {
            describe_anew(std::slice::from_ref(body), at, &mut tables)
        })?;
        drop(tables);
        transaction.commit()?;
        Ok(())
    }

    /// The batch at `offset`. What cannot be read is nothing: its bodies will be missed.
    fn find(&self, segment: &Segment, file: &dyn File, offset: u64) -> Result<Option<Batch>, StoreError> {
        let Segment { octets, number, .. } = *segment;
        match batch::find_unread(file, octets, number, offset, self.identity, self.sealer) {
            Ok((FoundBatch::Batch(batch), _)) => Ok(Some(batch)),
            Ok((FoundBatch::Newer { format }, _)) => Err(StoreError::Newer {
                name: segment.name.clone(),
                what: format!("a batch of format {format}"),
            }),
            Ok((FoundBatch::Nothing, _)) => Ok(None),
            Err(error) => {
                unread(segment, offset, &error);
                Ok(None)
            }
        }
    }

    fn each_body(
        &self,
        segment: &Segment,
        file: &dyn File,
        batch: &Batch,
        mut each: impl FnMut(&BodyRecord, RecordAt) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for record in batch.records_of(file, self.sealer, tells_of_bodies) {
            match record {
                Ok(FoundRecord::Mutation { mutation, body_at }) => {
                    let at = RecordAt {
                        segment: segment.number,
                        body_at,
                    };
                    for body in mutation.bodies() {
                        each(body, at)?;
                    }
                }
                Ok(FoundRecord::Newer { kind, version }) => return Err(newer(segment, kind, version)),
                Ok(FoundRecord::Damaged) => (),
                Err(error) => unread(segment, batch.at.offset, &error),
            }
        }
        Ok(())
    }
}

/// One place of the disk that cannot be read costs its messages, not the start.
fn unread(segment: &Segment, offset: u64, error: &io::Error) {
    tracing::error!(name = segment.name, offset, %error, "a part of the log cannot be read");
}

/// Whether the index means this very copy of a body: others with its number were never acknowledged, or left behind.
fn is_at_home(body: &BodyRecord, at: RecordAt, tables: &Tables<'_>) -> Result<bool, StoreError> {
    let Some((_, row)) = rows::get_blob(&tables.blob, body.id)? else {
        return Ok(false);
    };
    let place = match body.place {
        Place::Batch { offset } => BlobPlace::Segment {
            offset: at.body_at.saturating_add(offset),
        },
        Place::File { number } => BlobPlace::File { number },
    };
    Ok(row.home == at.segment && row.place == place)
}

/// Contains what was not found: bodies without a description get an empty one, so that reading them says that they are
/// damaged. To be called when the rest of the log is replayed, which may describe some anew.
pub(crate) fn contain(database: &Database) -> Result<Vec<Damage>, StoreError> {
    let mut missed = Vec::new();
    let mut by_home: BTreeMap<u64, u64> = BTreeMap::new();
    let tables = ReadTables::open(&database.begin_read()?)?;
    for found in tables.blob.iter()? {
        let (key, value) = found?;
        if tables.structure.get(key.value())?.is_none() {
            let row = <BlobRow as rows::Row>::from_octets(value.value().1)?;
            *by_home.entry(row.home).or_default() += 1;
            missed.push(key.value());
        }
    }
    drop(tables);
    if !missed.is_empty() {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        let mut tables = Tables::open(&transaction)?;
        for body in missed {
            tables.structure.insert(body, [].as_slice())?;
        }
        drop(tables);
        transaction.commit()?;
    }
    let damage = by_home.into_iter().map(|(home, bodies)| Damage::BodiesLost {
        name: segment::name(home),
        bodies,
    });
    Ok(damage.collect())
}
