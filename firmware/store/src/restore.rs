//! A backup becomes a store again.
//!
//! The folder says in which state it is, so that a cut leaves nothing that could be taken for a store:
//!
//! ```text
//!  restoring, synced → segments, bodies, snapshots copied and synced → restored → the first start writes its record,
//!                                                                                 and the mark goes
//! ```
//!
//! That first start steps all counters forward: clients may have seen what came after the backup, and must neither take a
//! new message for one of those nor believe that they still have all there is (B3).

use crate::error::StoreError;
use crate::index::Tables;
use crate::log::record::{Mutation, Restored};
use crate::log::scan::Position;
use crate::log::{BODIES, SEGMENTS, segment};
use crate::request::Request;
use crate::snapshot::SNAPSHOTS;
use crate::storage::{RealStorage, Storage};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// A folder with this file in it is being restored to.
pub(crate) const RESTORING: &str = "restoring";
/// A folder with this file in it was restored, and not opened yet.
pub(crate) const RESTORED: &str = "restored";

/// Copies the backup in the folder `from` to `into`, which is empty or was being restored to when the power went. It is
/// durable when this returns `Ok` with the octets that were copied; the next open makes a store of it.
///
/// # Errors
/// [`StoreError::NoBackup`] when `from` has no log, [`StoreError::NotEmpty`] when there is something in `into`, which is
/// left as it is then.
pub fn restore(from: &Path, into: &Path) -> Result<u64, StoreError> {
    let name = into.display().to_string();
    let storage = RealStorage::open(into)
        .map_err(StoreError::io(name))?
        .ok_or(StoreError::InUse)?;
    restore_to(&from, &storage)
}

/// Where a backup is read from.
pub(crate) trait Source {
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    fn open(&self, name: &str) -> io::Result<Box<dyn Read>>;
}

impl Source for &Path {
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.join(folder))? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(fs::File::open(self.join(name))?))
    }
}

/// As [`restore`].
pub(crate) fn restore_to(from: &impl Source, into: &dyn Storage) -> Result<u64, StoreError> {
    const FOLDERS: [&str; 3] = [SEGMENTS, BODIES, SNAPSHOTS];
    let mut names = Vec::new();
    for folder in FOLDERS {
        let found = match from.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            found => found.map_err(StoreError::io(folder))?,
        };
        // What has no number is not ours.
        let numbered = found.into_iter().filter(|name| segment::number(name).is_some());
        names.extend(numbered.map(|name| format!("{folder}/{name}")));
    }
    if !names.iter().any(|name| name.starts_with(SEGMENTS)) {
        return Err(StoreError::NoBackup);
    }
    begin(into, &FOLDERS)?;
    let mut octets = 0;
    for name in &names {
        octets += copy(from, into, name)?;
    }
    for folder in FOLDERS {
        into.sync_folder(folder).map_err(StoreError::io(folder))?;
    }
    into.rename(RESTORING, RESTORED)
        .and_then(|()| into.sync_folder(""))
        .map_err(StoreError::io(RESTORED))?;
    Ok(octets)
}

/// Marks the folder, and removes what an earlier attempt left.
fn begin(into: &dyn Storage, folders: &[&str]) -> Result<(), StoreError> {
    let found = into.list("").map_err(StoreError::io(""))?;
    if found.iter().any(|name| name == RESTORING) {
        for folder in folders
            .iter()
            .filter(|folder| found.iter().any(|name| name == *folder))
        {
            for name in into.list(folder).map_err(StoreError::io(*folder))? {
                let name = format!("{folder}/{name}");
                into.remove(&name).map_err(StoreError::io(&name))?;
            }
        }
    } else if found.iter().any(|name| name != "lock") {
        return Err(StoreError::NotEmpty);
    } else {
        let mark = into.create(RESTORING).map_err(StoreError::io(RESTORING))?;
        mark.sync().map_err(StoreError::io(RESTORING))?;
        into.sync_folder("").map_err(StoreError::io(""))?;
    }
    for folder in folders {
        into.create_folder(folder).map_err(StoreError::io(*folder))?;
    }
    into.sync_folder("").map_err(StoreError::io(""))
}

fn copy(from: &impl Source, into: &dyn Storage, name: &str) -> Result<u64, StoreError> {
    const PIECE_OCTETS: usize = 256 * 1024;
    let copy = || {
        let mut source = from.open(name)?;
        let file = into.create(name)?;
        let mut piece = vec![0; PIECE_OCTETS];
        let mut at = 0;
        loop {
            let octets = source.read(&mut piece)?;
            if octets == 0 {
                break;
            }
            file.write_all_at(&piece[..octets], at)?;
            at += octets as u64;
        }
        file.sync()?;
        Ok(at)
    };
    copy().map_err(StoreError::io(name))
}

/// Asks for a `Restored` record.
pub(crate) struct StepForRestored(pub(crate) Position);

impl Request for StepForRestored {
    type Reply = ();

    fn decide(&self, _: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        Ok((Some(Mutation::Restored(Restored { batch: self.0.batch })), ()))
    }
}
