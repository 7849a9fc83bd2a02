//! Snapshots: what the index holds that bodies cannot give, each in a file of its own.
//!
//! With one of them the index is made anew without the whole log, and a segment of which nothing is needed any more may go.
//!
//! # Invariants
//! - A snapshot has its name only after it is synced, and counts only after its folder is.
//! - The two newest are kept: if one is damaged there is the other.
//! - It is made from one view, while the writer goes on; of its rows never more than a frame is in memory.

mod format;
mod read;
mod rows;
mod walk;
mod write;

use crate::error::StoreError;
use crate::index::rows::counter;
use crate::index::{ReadTables, state};
use crate::log::scan::{Position, Segments};
use crate::log::seal::{Identity, Sealer};
use crate::log::segment;
use crate::open::Opened;
use crate::replay::Damage;
use crate::shared::Shared;
use crate::storage::Storage;
use read::{Reader, Unusable};
use redb::Database;
use std::sync::Mutex;
use walk::Walk;

pub(crate) use walk::contain;

/// The folder of the snapshots.
pub(crate) const SNAPSHOTS: &str = "snapshots";
/// The name a snapshot has while it is being made.
pub(crate) const UNFINISHED: &str = "unfinished";
/// How many are kept.
const KEPT: usize = 2;

/// A snapshot that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its file.
    pub(crate) name: String,
    /// How far in the log it is.
    pub(crate) position: Position,
    /// How large it is.
    pub(crate) octets: u64,
}

/// The snapshots of an open store.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// The newest first. Held while one is made: one at a time.
    kept: Mutex<Vec<Kept>>,
}

impl Snapshots {
    pub(crate) fn new(kept: Vec<Kept>) -> Snapshots {
        Snapshots {
            kept: Mutex::new(kept),
        }
    }
}

/// Makes a snapshot of the store as it is. It is durable when this returns; of the others the newest is kept.
///
/// # Errors
/// [`StoreError::Full`] when there is no room for it, [`StoreError::Closed`] when the store is being closed; those that
/// were there are still there then.
pub(crate) fn make(shared: &Shared) -> Result<Kept, StoreError> {
    let tables = shared.read()?;
    make_of(shared, &tables)
}

/// As [`make`], of the store as it was when `tables` were opened.
pub(crate) fn make_of(shared: &Shared, tables: &ReadTables) -> Result<Kept, StoreError> {
    let mut kept = shared.snapshots.kept.lock().map_err(|_| StoreError::Closed)?;
    let position = position_of(tables)?;
    if let Some(same) = kept.iter().find(|kept| kept.position.batch == position.batch) {
        return Ok(same.clone());
    }
    let made = write::write(shared, tables, position)?;
    kept.push(made.clone());
    kept.sort_by_key(|kept| std::cmp::Reverse(kept.position.batch));
    let count = KEPT.min(kept.len());
    for old in kept.split_off(count) {
        // If it stays, the next start removes it.
        if let Err(error) = shared.storage.remove(&old.name) {
            tracing::warn!(%error, name = old.name, "an old snapshot was not removed");
        }
    }
    shared.space.freed();
    Ok(made)
}

/// The snapshots that are kept, the newest first.
pub(crate) fn kept(shared: &Shared) -> Vec<Kept> {
    let kept = shared.snapshots.kept.lock();
    kept.map_or_else(|_| Vec::new(), |kept| kept.clone())
}

/// The last batch that both kept snapshots have; 0: there are not two.
pub(crate) fn covered(shared: &Shared) -> u64 {
    kept(shared).get(KEPT - 1).map_or(0, |older| older.position.batch)
}

/// Reads all of a snapshot. Says what is wrong with it; it is kept no longer then, and another is to be made.
pub(crate) fn verify(shared: &Shared, name: &str) -> Result<Option<String>, StoreError> {
    let reason = match read_all(&*shared.storage, name, &shared.identity, &shared.sealer) {
        Ok(()) => return Ok(None),
        Err(Unusable::Failed(error)) => return Err(error),
        Err(Unusable::Damaged(reason)) => reason,
    };
    if let Ok(mut kept) = shared.snapshots.kept.lock() {
        kept.retain(|kept| kept.name != name);
        // If it stayed, the next start would keep it in place of a good one.
        if let Err(error) = shared.storage.remove(name) {
            tracing::warn!(%error, name, "a damaged snapshot was not removed");
        }
    }
    Ok(Some(reason))
}

fn read_all(storage: &dyn Storage, name: &str, identity: &Identity, sealer: &Sealer) -> Result<(), Unusable> {
    let mut reader = Reader::open(storage, name, &identity.id, sealer)?;
    while reader.next()?.is_some() {}
    Ok(())
}

/// How far in the log tables are.
pub(crate) fn position_of(tables: &ReadTables) -> Result<Position, StoreError> {
    Ok(Position {
        batch: counter(&tables.state, state::BATCH)?,
        segment: counter(&tables.state, state::SEGMENT)?,
        offset: counter(&tables.state, state::OFFSET)?,
    })
}

/// The name of the snapshot that has all batches up to `batch`.
fn name(batch: u64) -> String {
    format!("{SNAPSHOTS}/{batch:016x}")
}

/// The names of all snapshots, the newest first, whatever is in them.
fn names(storage: &dyn Storage) -> Result<Vec<String>, StoreError> {
    let found = storage.list(SNAPSHOTS).map_err(StoreError::io(SNAPSHOTS))?;
    let mut batches: Vec<u64> = found.iter().filter_map(|name| segment::number(name)).collect();
    batches.sort_unstable_by(|one, other| other.cmp(one));
    Ok(batches.into_iter().map(name).collect())
}

/// Finds the snapshots of a store that is being opened and removes those that are not to be kept. Whether their frames are
/// whole is not looked at.
pub(crate) fn find(
    storage: &dyn Storage,
    identity: &Identity,
    sealer: &Sealer,
    opened: &Opened,
) -> Result<Snapshots, StoreError> {
    let mut kept = Vec::new();
    for name in names(storage)? {
        let is_known_as_damaged = opened
            .damage
            .iter()
            .any(|damage| matches!(damage, Damage::Snapshot { name: damaged, .. } if *damaged == name));
        let reader = match Reader::open(storage, &name, &identity.id, sealer) {
            Ok(reader) if !is_known_as_damaged && kept.len() < KEPT => reader,
            Ok(_) | Err(Unusable::Damaged(_)) => {
                storage.remove(&name).map_err(StoreError::io(&name))?;
                continue;
            }
            Err(Unusable::Failed(error)) => return Err(error),
        };
        kept.push(Kept {
            position: reader.header.position,
            octets: reader.octets(),
            name,
        });
    }
    Ok(Snapshots::new(kept))
}

/// What makes an index anew.
pub(crate) struct Restore<'r> {
    pub(crate) storage: &'r dyn Storage,
    pub(crate) segments: &'r Segments,
    pub(crate) identity: &'r Identity,
    pub(crate) sealer: &'r Sealer,
    /// An index without a row.
    pub(crate) database: &'r Database,
    /// Of no later batch may anything be in it.
    pub(crate) last_batch: u64,
    pub(crate) opened: &'r mut Opened,
}

impl Restore<'_> {
    /// Fills the index from the newest snapshot that is whole, and says how far it is in the log; the rest is to be
    /// replayed. Without one it stays empty, and the log is to be replayed from its beginning.
    ///
    /// # Errors
    /// [`StoreError::LogIncomplete`] when the log does not go back to its beginning.
    pub(crate) fn run(&mut self) -> Result<Position, StoreError> {
        let names = names(self.storage)?;
        for name in &names {
            match self.load(name) {
                Ok(None) => (),
                Ok(Some(position)) => {
                    self.opened.snapshot = Some(name.clone());
                    return Ok(position);
                }
                Err(Unusable::Failed(error)) => return Err(error),
                Err(Unusable::Damaged(reason)) => self.opened.damage.push(Damage::Snapshot {
                    name: name.clone(),
                    reason,
                }),
            }
        }
        match self.segments.missing_before_last() {
            // What no snapshot has was not removed by us, unless it is the beginning, with which all begins.
            Some(missing) if missing == 1 || !names.is_empty() => Err(StoreError::LogIncomplete {
                missing: segment::name(missing),
            }),
            _ => Ok(Position::default()),
        }
    }

    fn load(&mut self, name: &str) -> Result<Option<Position>, Unusable> {
        let reader = Reader::open(self.storage, name, &self.identity.id, self.sealer)?;
        if reader.header.position.batch > self.last_batch {
            return Ok(None);
        }
        let position = read::load(reader, self.database)?;
        let walk = Walk {
            segments: self.segments,
            identity: self.identity,
            sealer: self.sealer,
            database: self.database,
            position,
        };
        walk.describe()?;
        Ok(Some(position))
    }
}
