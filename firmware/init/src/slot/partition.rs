//! A partition without a file system: a slot or the bootstate.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

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
        let device = OpenOptions::new().read(true).write(true).open(node(name))?;
        Ok(Self(device))
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
