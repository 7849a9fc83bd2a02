//! The disk that the box was started from: the one whose partition table bears the number that the loader told.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use format::gpt::{Guid, Table, Which};
use format::layout::DATA;

use crate::disk::{self, Content, node};

/// A disk with a partition table.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// Its name in `/sys/class/block`.
    pub(crate) name: String,
    pub(crate) table: Table,
    /// The copy of the table that this is.
    pub(crate) which: Which,
    pub(crate) octets: u64,
}

/// What is found when a disk is looked for.
#[derive(Debug)]
pub(crate) enum Found {
    None,
    One(Box<Disk>),
    /// Several bear the number, and nothing tells which of them is meant.
    Twins(Vec<String>),
}

/// Looks for the disk with this number.
///
/// Cards that were flashed with one image bear the same number until their first start, and a copy of a card bears it
/// for ever. Which of them the loader lies on cannot be known, so none is used, unless exactly one has a data file
/// system: then that is the box, and the other a card that was just flashed.
pub(crate) fn find(guid: Guid) -> Found {
    let mut disks = all();
    disks.retain(|disk| disk.table.disk_guid == guid);
    if disks.len() > 1 {
        let names = disks.iter().map(|disk| disk.name.clone()).collect();
        disks.retain(|disk| disk.content(DATA.name) == Some(Content::Data));
        if disks.len() != 1 {
            return Found::Twins(names);
        }
    }
    disks.pop().map_or(Found::None, |disk| Found::One(Box::new(disk)))
}

/// The disk of this name, with its table as it is now.
pub(crate) fn open(name: &str) -> io::Result<Disk> {
    let file = File::open(node(name))?;
    let octets = disk::size(name)?;
    let read = |at: u64, into: &mut [u8]| file.read_exact_at(into, at).is_ok();
    let (table, which) = Table::read(octets, read).map_err(|damage| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("its partition table is {damage:?}").to_lowercase(),
        )
    })?;
    Ok(Disk {
        name: name.to_owned(),
        table,
        which,
        octets,
    })
}

/// Every disk with a partition table that could be ours.
fn all() -> Vec<Disk> {
    let Ok(entries) = fs::read_dir("/sys/class/block") else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !disk::is_none_of_ours(name))
        .filter(|name| {
            !Path::new("/sys/class/block")
                .join(name)
                .join("partition")
                .exists()
        })
        .collect();
    names.sort();
    names.iter().filter_map(|name| open(name).ok()).collect()
}

impl Disk {
    /// The kernel's name for the partition of this name; `None` if the table has none, or the kernel does not know it.
    pub(crate) fn partition(&self, name: &str) -> Option<String> {
        let number = self.table.find(name)?.number.to_string();
        let entries = fs::read_dir(Path::new("/sys/class/block").join(&self.name)).ok()?;
        entries.filter_map(Result::ok).find_map(|entry| {
            let found = fs::read_to_string(entry.path().join("partition")).ok()?;
            (found.trim() == number).then(|| entry.file_name().into_string().ok())?
        })
    }

    /// What is on the partition of this name.
    fn content(&self, name: &str) -> Option<Content> {
        disk::content(&self.partition(name)?).ok()
    }
}
