//! A partition without a file system: a slot or the bootstate.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::disk::{device, node};

/// What can be done with it. The tests have one in memory whose power can be cut.
pub(crate) trait Raw {
    /// Reads exactly so much.
    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()>;
    fn write_at(&mut self, at: u64, octets: &[u8]) -> io::Result<()>;
    /// Makes what was written durable, and has the next reading come from the disk itself.
    fn settle(&mut self) -> io::Result<()>;
}

/// A partition of a real disk.
#[derive(Debug)]
pub(crate) struct Partition(File);

impl Partition {
    /// Opens the partition of this kernel name for reading and writing.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        Self::at(&node(name))
    }

    /// The same, as the only worker: waits until no other has it open so.
    pub(crate) fn open_alone(name: &str) -> io::Result<Self> {
        let partition = Self::open(name)?;
        partition.be_alone()?;
        Ok(partition)
    }

    fn at(path: &Path) -> io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self(device))
    }

    /// The kernel gives it to the next when this file is closed, or its process is gone (flock(2)).
    fn be_alone(&self) -> io::Result<()> {
        self.0.lock()
    }
}

impl Raw for Partition {
    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, at)
    }

    fn write_at(&mut self, at: u64, octets: &[u8]) -> io::Result<()> {
        self.0.write_all_at(octets, at)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.0.sync_all()?;
        Ok(device::forget_cached(&self.0)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::TryLockError;

    use super::*;

    #[test]
    fn a_partition_is_one_workers_at_a_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (one, other) = (
            Partition::at(file.path()).unwrap(),
            Partition::at(file.path()).unwrap(),
        );
        one.be_alone().unwrap();
        assert!(matches!(other.0.try_lock(), Err(TryLockError::WouldBlock)));
        drop(one);
        other.be_alone().unwrap();
    }
}
