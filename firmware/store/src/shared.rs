//! What the handles, the views and the writer have in common.

use crate::changes::Changes;
use crate::error::StoreError;
use crate::index::ReadTables;
use crate::index::rows::BlobPlace;
use crate::log::body::Bodies;
use crate::log::seal::{Identity, Sealer};
use crate::space::SpaceWatch;
use crate::storage::{File, Storage};
use crate::writer::queue::Queue;
use redb::{Database, ReadableDatabase};
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The parts of an open store.
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) identity: Identity,
    pub(crate) sealer: Sealer,
    /// Gone once the store is closed.
    pub(crate) database: Mutex<Option<Arc<Database>>>,
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

    /// All tables as they are now.
    pub(crate) fn read(&self) -> Result<ReadTables, StoreError> {
        ReadTables::open(&self.database()?.begin_read()?)
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
    pub(crate) fn get(
        &self,
        storage: &dyn Storage,
        name: &str,
        place: BlobPlace,
    ) -> io::Result<Arc<dyn File>> {
        let BlobPlace::Segment { number, .. } = place else {
            return storage.open(name);
        };
        let Ok(mut files) = self.files.lock() else {
            return storage.open(name);
        };
        let found = files.iter().position(|(segment, _)| *segment == number);
        let entry = match found {
            Some(place) => files.remove(place),
            None => (number, storage.open(name)?),
        };
        let file = Arc::clone(&entry.1);
        files.insert(0, entry);
        files.truncate(OPEN_SEGMENTS_MAX);
        Ok(file)
    }
}
