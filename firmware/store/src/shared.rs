//! What the handles, the views and the writer have in common.

use crate::backup::Backups;
use crate::changes::Changes;
use crate::error::StoreError;
use crate::index::rows::{BlobPlace, BlobRow};
use crate::index::{IndexFile, ReadTables};
use crate::keeper::{Findings, Wakes};
use crate::log::body::Bodies;
use crate::log::scan::Position;
use crate::log::seal::{Identity, Sealer};
use crate::snapshot::Snapshots;
use crate::space::SpaceWatch;
use crate::storage::{File, Storage};
use crate::writer::queue::Queue;
use redb::{Database, ReadableDatabase};
use std::collections::BTreeMap;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The parts of an open store.
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) identity: Identity,
    pub(crate) sealer: Sealer,
    /// Gone once the store is closed.
    pub(crate) database: Mutex<Option<Arc<Database>>>,
    pub(crate) index_file: Arc<IndexFile>,
    /// How far the durable index is in the log, since the last checkpoint of this run.
    pub(crate) durable: Mutex<Position>,
    /// The segment being filled; 0: none, the next batch begins one.
    pub(crate) active_segment: AtomicU64,
    pub(crate) readers: Arc<Readers>,
    pub(crate) snapshots: Snapshots,
    pub(crate) backups: Backups,
    /// Held by whoever needs all segments to stay: a check, a backup. The keeper unlinks none meanwhile.
    pub(crate) segments_stay: Mutex<()>,
    pub(crate) wakes: Wakes,
    pub(crate) findings: Findings,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) files: OpenSegments,
    pub(crate) changes: Changes,
    pub(crate) space: Arc<SpaceWatch>,
    pub(crate) queue: Queue,
    /// Why the writer stopped, once it has.
    pub(crate) stopped: watch::Sender<Option<String>>,
}

impl Shared {
    pub(crate) fn database(&self) -> Result<Arc<Database>, StoreError> {
        let database = self.database.lock().map_err(|_| StoreError::Closed)?;
        database.as_ref().map(Arc::clone).ok_or(StoreError::Closed)
    }

    /// All tables as they are now. What they name stays on the disk until this is dropped, but for body files.
    pub(crate) fn read(&self) -> Result<Reading, StoreError> {
        // Counted before it looks: whoever is counted later sees what was done before.
        let reader = self.readers.begin();
        let tables = ReadTables::open(&self.database()?.begin_read()?)?;
        Ok(Reading {
            tables,
            _reader: reader,
        })
    }
}

/// Tables as they were at one moment, and the promise that the segments they name stay.
pub(crate) struct Reading {
    tables: ReadTables,
    _reader: Reader,
}

impl Deref for Reading {
    type Target = ReadTables;

    fn deref(&self) -> &ReadTables {
        &self.tables
    }
}

/// Who reads, counted by generation: a segment that nothing in the index needs any more may be unlinked once
/// everyone who began before that has ended.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    state: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    now: u64,
    /// Generation → who began in it and has not ended.
    reading: BTreeMap<u64, u64>,
}

impl Readers {
    fn begin(self: &Arc<Readers>) -> Reader {
        let mut generation = 0;
        if let Ok(mut state) = self.state.lock() {
            generation = state.now;
            *state.reading.entry(generation).or_default() += 1;
        }
        Reader {
            readers: Arc::clone(self),
            generation,
        }
    }

    /// Ends a generation: who begins after this belongs to a later one.
    pub(crate) fn end_generation(&self) -> u64 {
        self.state.lock().map_or(u64::MAX, |mut state| {
            state.now += 1;
            state.now - 1
        })
    }

    /// Whether all who began in `generation`, or before, have ended.
    pub(crate) fn have_ended(&self, generation: u64) -> bool {
        self.state.lock().is_ok_and(|state| {
            state
                .reading
                .first_key_value()
                .is_none_or(|(first, _)| *first > generation)
        })
    }
}

/// One who reads.
#[derive(Debug)]
struct Reader {
    readers: Arc<Readers>,
    generation: u64,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Ok(mut state) = self.readers.state.lock()
            && let Some(count) = state.reading.get_mut(&self.generation)
        {
            *count -= 1;
            if *count == 0 {
                state.reading.remove(&self.generation);
            }
        }
    }
}

/// Segments opened for reading, the ones used last.
#[derive(Debug, Default)]
pub(crate) struct OpenSegments {
    files: Mutex<Vec<(u64, Arc<dyn File>)>>,
}

/// A descriptor each: enough that reading a mailbox does not open a segment per message.
const OPEN_SEGMENTS_MAX: usize = 8;

impl OpenSegments {
    /// Opens the file of a body. Body files are opened anew each time: nobody else will want one.
    pub(crate) fn get(&self, storage: &dyn Storage, row: &BlobRow) -> io::Result<Arc<dyn File>> {
        let (name, _) = row.file();
        if let BlobPlace::File { .. } = row.place {
            return storage.open(&name);
        }
        let Ok(mut files) = self.files.lock() else {
            return storage.open(&name);
        };
        let number = row.home;
        let found = files.iter().position(|(segment, _)| *segment == number);
        let entry = match found {
            Some(place) => files.remove(place),
            None => (number, storage.open(&name)?),
        };
        let file = Arc::clone(&entry.1);
        files.insert(0, entry);
        files.truncate(OPEN_SEGMENTS_MAX);
        Ok(file)
    }

    /// Lets go of a segment that is to be unlinked: while it is open, its room is not free.
    pub(crate) fn forget(&self, segment: u64) {
        if let Ok(mut files) = self.files.lock() {
            files.retain(|(number, _)| *number != segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_has_ended_when_its_last_reader_has_and_those_before() {
        let readers = Arc::new(Readers::default());
        let old = readers.begin();
        let first = readers.end_generation();
        let young = readers.begin();
        let second = readers.end_generation();
        assert!(!readers.have_ended(first));
        drop(young);
        assert!(
            !readers.have_ended(second),
            "one of the generation before still reads"
        );
        drop(old);
        assert!(readers.have_ended(first));
        assert!(readers.have_ended(second));
        let third = readers.begin();
        assert!(readers.have_ended(second), "who came later is nobody to wait for");
        drop(third);
    }
}
