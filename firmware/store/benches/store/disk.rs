//! The disk, with a count of what is done to it.

use crate::Failure;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{File, RealStorage, Room, Storage};

#[derive(Debug, Default)]
pub(crate) struct Counts {
    syncs: AtomicU64,
    written: AtomicU64,
}

impl Counts {
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Counts what was done without the storage: the file system's own writes are in neither.
    pub(crate) fn add(&self, syncs: u64, octets: u64) {
        self.syncs.fetch_add(syncs, Ordering::Relaxed);
        self.written
            .fetch_add(octets.next_multiple_of(4096), Ordering::Relaxed);
    }

    /// Octets written, whole pages.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// The disk, with a count of what is done to it.
#[derive(Debug)]
pub(crate) struct Counting {
    real: RealStorage,
    counts: Arc<Counts>,
}

impl Counting {
    pub(crate) fn open(folder: &Path) -> Result<(Arc<Counting>, Arc<Counts>), Failure> {
        let counts = Arc::new(Counts::default());
        let real = RealStorage::open(folder)?.ok_or("the folder is in use")?;
        let counting = Counting {
            real,
            counts: Arc::clone(&counts),
        };
        Ok((Arc::new(counting), counts))
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn File>,
    counts: Arc<Counts>,
}

impl Storage for Counting {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CountingFile {
            file: self.real.create(name)?,
            counts: Arc::clone(&self.counts),
        }))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CountingFile {
            file: self.real.open(name)?,
            counts: Arc::clone(&self.counts),
        }))
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.real.list(folder)
    }
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.real.create_folder(folder)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.real.rename(from, to)
    }
    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.real.link(from, to)
    }
    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.real.remove_folder(folder)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.real.remove(name)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.real.sync_folder(folder)
    }
    fn room(&self) -> io::Result<Room> {
        self.real.room()
    }
    fn fill_random(&self, octets: &mut [u8]) -> io::Result<()> {
        self.real.fill_random(octets)
    }
}

impl File for CountingFile {
    fn read_exact_at(&self, octets: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(octets, offset)
    }
    fn write_all_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        // What reaches a card is whole pages.
        let pages = (offset + octets.len() as u64).div_ceil(4096) - offset / 4096;
        self.counts.written.fetch_add(pages * 4096, Ordering::Relaxed);
        self.file.write_all_at(octets, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn set_length(&self, octets: u64) -> io::Result<()> {
        self.file.set_length(octets)
    }
    fn sync(&self) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }
}
