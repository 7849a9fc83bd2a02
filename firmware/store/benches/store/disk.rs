//! The disk, with a count of what is done to it.

use crate::Failure;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{File, RealStorage, Room, Storage};

#[derive(Debug, Default)]
struct Counts {
    syncs: AtomicU64,
    written: AtomicU64,
}

impl Counts {
    fn get(&self) -> (u64, u64) {
        (
            self.syncs.load(Ordering::Relaxed),
            self.written.load(Ordering::Relaxed),
        )
    }
}

/// The disk, with a count of what is done to it.
#[derive(Debug)]
struct Counting {
    real: RealStorage,
    counts: Arc<Counts>,
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

