//! redb's file, through the store's own door to the disk.
//!
//! # Invariants
//! - redb never learns that the disk is full, for it would answer nothing any more, not even who reads. A page that
//!   finds no room stays here, in memory, is read from here, and is written as soon as there is room.
//! - A sync is good only when no page is here any more.

use crate::space::{SpaceWatch, is_full};
use crate::storage::File;
use redb::StorageBackend;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Octets of pages that may wait for room. The writer stops taking requests long before.
const HELD_OCTETS_MAX: usize = 16 * 1024 * 1024;

/// The index's file, and what could not be written to it yet.
#[derive(Debug)]
pub(crate) struct IndexFile {
    file: Arc<dyn File>,
    /// Whose ballast it may have; `None`: nobody's.
    space: Option<Arc<SpaceWatch>>,
    held: Mutex<Vec<Write>>,
    held_octets: AtomicUsize,
}

/// A write that found no room.
#[derive(Debug)]
struct Write {
    offset: u64,
    octets: Vec<u8>,
}

impl Write {
    fn end(&self) -> u64 {
        self.offset + self.octets.len() as u64
    }
}

impl IndexFile {
    pub(crate) fn new(file: Arc<dyn File>, space: Option<Arc<SpaceWatch>>) -> Arc<IndexFile> {
        Arc::new(IndexFile {
            file,
            space,
            held: Mutex::default(),
            held_octets: AtomicUsize::new(0),
        })
    }

    /// Octets that wait for room, after another attempt to write them.
    pub(crate) fn held_octets(&self) -> usize {
        if self.held_octets.load(Ordering::Acquire) > 0
            && let Ok(mut held) = self.held.lock()
        {
            // An error of another kind comes again with the next write.
            let _ = self.flush(&mut held);
        }
        self.held_octets.load(Ordering::Acquire)
    }

    fn held(&self) -> io::Result<MutexGuard<'_, Vec<Write>>> {
        self.held.lock().map_err(|_| io::Error::other("a panic before"))
    }

    fn is_empty(&self) -> bool {
        self.held_octets.load(Ordering::Acquire) == 0
    }

    /// Writes, if need be with the room of the ballast.
    fn write_now(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        match self.file.write_all_at(octets, offset) {
            Err(error)
                if is_full(&error) && self.space.as_ref().is_some_and(|space| space.release_ballast()) =>
            {
                self.file.write_all_at(octets, offset)
            }
            result => result,
        }
    }

    /// Writes what is held, in its order, as far as there is room.
    fn flush(&self, held: &mut Vec<Write>) -> io::Result<()> {
        let mut done = 0;
        let mut result = Ok(());
        for write in held.iter() {
            result = self.write_now(&write.octets, write.offset);
            if result.is_err() {
                break;
            }
            done += 1;
        }
        held.drain(..done);
        self.count(held);
        match result {
            Err(error) if is_full(&error) => Ok(()),
            result => result,
        }
    }

    fn count(&self, held: &[Write]) {
        let octets = held.iter().map(|write| write.octets.len()).sum();
        self.held_octets.store(octets, Ordering::Release);
    }
}

/// An [`IndexFile`] as redb wants it. It takes no lock: the store's folder is locked as a whole.
#[derive(Debug)]
pub(crate) struct Backend(pub(crate) Arc<IndexFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let index = &self.0;
        if index.is_empty() {
            return index.file.read_exact_at(out, offset);
        }
        // What is held goes to the file under the same lock: it is found here or there.
        let held = index.held()?;
        index.file.read_exact_at(out, offset)?;
        let end = offset + out.len() as u64;
        for write in held.iter() {
            let (from, to) = (write.offset.max(offset), write.end().min(end));
            if from < to {
                let place = |at: u64, of: u64| usize::try_from(at - of).expect("inside a slice");
                out[place(from, offset)..place(to, offset)]
                    .copy_from_slice(&write.octets[place(from, write.offset)..place(to, write.offset)]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut held = self.0.held()?;
        held.retain_mut(|write| {
            let kept = usize::try_from(len.saturating_sub(write.offset)).unwrap_or(usize::MAX);
            write.octets.truncate(kept);
            !write.octets.is_empty()
        });
        self.0.count(&held);
        self.0.file.set_length(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut held = self.0.held()?;
        self.0.flush(&mut held)?;
        if held.is_empty() {
            self.0.file.sync()
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let index = &self.0;
        let mut held = index.held()?;
        if held.is_empty() {
            match index.write_now(data, offset) {
                Err(error) if is_full(&error) => (),
                result => return result,
            }
        }
        let write = Write {
            offset,
            octets: data.to_vec(),
        };
        held.retain(|before| before.offset < write.offset || before.end() > write.end());
        held.push(write);
        index.flush(&mut held)?;
        if index.held_octets.load(Ordering::Acquire) > HELD_OCTETS_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Storage;
    use crate::storage::sim::{Plan, Sim};
    use proptest::prelude::*;

    fn index(sim: &Sim) -> Backend {
        let file = sim.create("index").unwrap();
        Backend(IndexFile::new(file, None))
    }

    proptest! {
        /// D9: whenever the room comes and goes, what was written is read, and in the end it is in the file.
        #[test]
        fn d9_pages_that_find_no_room_are_read_all_the_same(
            writes in proptest::collection::vec((0_u64..24, 1_usize..4, any::<u8>(), 0_u64..30), 1..40),
        ) {
            let sim = Sim::new(1);
            let backend = index(&sim);
            backend.set_len(32 * 4096).unwrap();
            let mut expected = vec![0_u8; 32 * 4096];
            for (page, pages, octet, room) in writes {
                sim.plan(Plan { capacity_octets: Some(room * 4096), ..Plan::default() });
                let octets = vec![octet; pages * 4096];
                backend.write(page * 4096, &octets).unwrap();
                let at = usize::try_from(page).unwrap() * 4096;
                expected[at..at + octets.len()].copy_from_slice(&octets);
                let mut found = vec![0; expected.len()];
                backend.read(0, &mut found).unwrap();
                prop_assert!(found == expected);
            }
            sim.plan(Plan::default());
            prop_assert_eq!(backend.0.held_octets(), 0);
            backend.sync_data().unwrap();
            prop_assert!(sim.content("index") == expected);
        }
    }

    #[test]
    fn d9_a_sync_without_room_is_not_good() {
        let sim = Sim::new(1);
        let backend = index(&sim);
        sim.plan(Plan {
            capacity_octets: Some(0),
            ..Plan::default()
        });
        backend.set_len(4096).unwrap();
        backend.write(0, &[7; 4096]).unwrap();
        assert!(is_full(&backend.sync_data().unwrap_err()));
        assert_eq!(backend.0.held_octets(), 4096);
    }
}
