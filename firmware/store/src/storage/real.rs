//! The real disk.

use super::{File, Room, Storage};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of the file system, held by one process at a time.
#[derive(Debug)]
pub struct RealStorage {
    folder: PathBuf,
    /// The advisory lock on `lock` lives as long as this descriptor.
    _lock: fs::File,
}

impl RealStorage {
    /// Makes the folder if it is missing and locks it. `Ok(None)` if another process has it.
    pub fn open(folder: &Path) -> io::Result<Option<RealStorage>> {
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(RealStorage {
                folder: folder.to_owned(),
                _lock: lock,
            })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.folder.clone()
        } else {
            self.folder.join(name)
        }
    }
}

impl Storage for RealStorage {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(self.path(name))?,
        ))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.path(name))?,
        ))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            // What is not UTF-8 was not written by us.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        if path.is_dir() {
            return Ok(());
        }
        fs::create_dir(&path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.path(from), self.path(to))
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        fs::remove_dir(self.path(folder))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        fs::File::open(self.path(folder))?.sync_all()
    }

    fn room(&self) -> io::Result<Room> {
        let status = nix::sys::statvfs::statvfs(&self.folder).map_err(io::Error::from)?;
        // The types differ from one C library to the other.
        #[allow(clippy::useless_conversion)]
        let octets = |blocks| u64::from(status.fragment_size()).saturating_mul(u64::from(blocks));
        Ok(Room {
            total_octets: octets(status.blocks()),
            free_octets: octets(status.blocks_available()),
        })
    }

    fn fill_random(&self, octets: &mut [u8]) -> io::Result<()> {
        getrandom::fill(octets).map_err(io::Error::other)
    }
}

impl File for fs::File {
    fn read_exact_at(&self, octets: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, octets, offset)
    }

    fn write_all_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, octets, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, octets: u64) -> io::Result<()> {
        self.set_len(octets)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
