//! The one door to the disk: everything the store reads or writes goes through [`Storage`] and [`File`],
//! the index included, so that a simulator can take the place of the disk and cut its power.
//!
//! Names are relative to the folder of the store and use `/`.

mod real;
#[cfg(any(test, feature = "testing"))]
pub mod sim;

pub use real::RealStorage;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A folder on a disk.
///
/// # What a power cut leaves
/// - A file's content and length are durable after [`File::sync`].
/// - A name of a file or a folder (new, renamed, removed) is durable after [`Storage::sync_folder`] of the folder it is in.
/// - Of everything else any part may have survived, in pieces of a sector.
pub trait Storage: Send + Sync + Debug {
    /// Makes a new, empty file. It is an error if the name exists.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// The names in a folder, without the folder's own, in no order.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes a folder in the store's if it is missing.
    fn create_folder(&self, folder: &str) -> io::Result<()>;
    /// Gives a file another name in the same folder, in place of what had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Gives a file a second name, which may be in another folder. It is an error if that name exists.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a folder that is empty.
    fn remove_folder(&self, folder: &str) -> io::Result<()>;
    /// Removes a name. Who has the file open goes on reading it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names in a folder durable; `""` is the folder of the store.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// How large the disk is, and how much of it is free for us.
    fn room(&self) -> io::Result<Room>;
    /// Fills `octets` from the system's random source.
    fn fill_random(&self, octets: &mut [u8]) -> io::Result<()>;
}

/// An open file.
pub trait File: Send + Sync + Debug {
    /// Fills `octets` from `offset` on; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_exact_at(&self, octets: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all `octets` at `offset`. A gap before them reads as zeros.
    fn write_all_at(&self, octets: &[u8], offset: u64) -> io::Result<()>;
    /// The length in octets.
    fn length(&self) -> io::Result<u64>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_length(&self, octets: u64) -> io::Result<()>;
    /// Makes content and length durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}

/// The size of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub total_octets: u64,
    /// What we may still write.
    pub free_octets: u64,
}
