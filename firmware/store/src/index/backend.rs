//! redb's file, through the store's own door to the disk.

use crate::storage::File;
use redb::StorageBackend;
use std::io;
use std::sync::Arc;

/// A [`File`] as redb wants it. It takes no lock: the store's folder is locked as a whole.
#[derive(Debug)]
pub(crate) struct Backend(pub(crate) Arc<dyn File>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_length(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}
