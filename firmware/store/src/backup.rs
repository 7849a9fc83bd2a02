//! A backup: a folder of links to what the store is at one moment, to be copied away while the store goes on.
//!
//! # Invariants
//! - Sealed segments and body files never change, so a link to one is a copy of it. The segment that is being filled is not
//!   linked: it begins behind the moment.
//! - No body file of that moment is removed before it is linked: who removes one asks [`Backups::holds`].
//! - Links are for copying out, and keep what was deleted since: they live for a day at most, not beyond the end of the
//!   process, and not when the disk is low.

use crate::error::StoreError;
use crate::index::ReadTables;
use crate::index::Tables;
use crate::index::rows::{BlobPlace, BlobRow, Row};
use crate::log::body::file_name;
use crate::log::record::{Mutation, Relocated};
use crate::log::{BODIES, SEGMENTS, segment};
use crate::request::Request;
use crate::shared::{Reading, Shared};
use crate::snapshot::{self, SNAPSHOTS};
use crate::storage::Storage;
use redb::ReadableTable;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The folder of the backups.
pub(crate) const BACKUP: &str = "backup";
/// A backup that was not copied out after so long never will be.
const AGE_MAX: Duration = Duration::from_hours(24);

/// What is to be copied away, as it stands in the store's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its folder, in that of the store.
    pub folder: String,
    /// Its files in this folder, with their octets. They do not change.
    pub files: Vec<(String, u64)>,
    /// The last change that it has, as the number of its batch.
    pub batch: u64,
}

impl Backup {
    /// Octets of all files.
    pub fn octets(&self) -> u64 {
        self.files.iter().map(|(_, octets)| octets).sum()
    }
}

/// The backups there are.
#[derive(Debug, Default)]
pub(crate) struct Backups {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Name → when it was begun.
    taken: BTreeMap<String, Instant>,
    /// How many are being made. As long as there is one no body file is removed.
    making: u32,
    /// Body files that were to be removed meanwhile.
    held: Vec<u64>,
}

impl Backups {
    /// Whether a body file that nobody has any more has to stay for now; it is removed later then.
    pub(crate) fn holds(&self, file: u64) -> bool {
        self.state.lock().is_ok_and(|mut state| {
            let holds = state.making > 0;
            if holds {
                state.held.push(file);
            }
            holds
        })
    }

    fn begin(&self) {
        if let Ok(mut state) = self.state.lock() {
            state.making += 1;
        }
    }

    /// Gives the body files that may go now.
    fn end(&self) -> Vec<u64> {
        self.state.lock().map_or_else(
            |_| Vec::new(),
            |mut state| {
                state.making -= 1;
                if state.making == 0 {
                    std::mem::take(&mut state.held)
                } else {
                    Vec::new()
                }
            },
        )
    }

    fn note(&self, name: &str) {
        if let Ok(mut state) = self.state.lock() {
            state.taken.insert(name.to_owned(), Instant::now());
        }
    }

    fn forget(&self, name: &str) {
        if let Ok(mut state) = self.state.lock() {
            state.taken.remove(name);
        }
    }

    fn taken(&self) -> Vec<(String, Instant)> {
        let state = self.state.lock();
        state.map_or_else(
            |_| Vec::new(),
            |state| state.taken.iter().map(|(name, at)| (name.clone(), *at)).collect(),
        )
    }
}

/// Ends the segment that is being filled and looks at the store as it is at its end: what the segments before the new one
/// hold, no more and no less.
pub(crate) struct SealAndLook {
    pub(crate) shared: Arc<Shared>,
}

impl Request for SealAndLook {
    type Reply = Reading;

    fn decide(&self, _tables: &Tables<'_>) -> Result<(Option<Mutation>, Reading), StoreError> {
        // What was committed before: none of the batch that is being written, which is the first of its segment.
        let reading = self.shared.read()?;
        Ok((
            Some(Mutation::Relocate(Relocated { bodies: Vec::new() })),
            reading,
        ))
    }

    fn begins_segment(&self) -> bool {
        true
    }
}

/// Makes a backup of what `seal` sees. Nothing is left of one that fails.
pub(crate) fn make(
    shared: &Shared,
    name: &str,
    seal: impl FnOnce() -> Result<Reading, StoreError>,
) -> Result<Backup, StoreError> {
    let folder = format!("{BACKUP}/{name}");
    if !is_name(name) {
        return Err(StoreError::BackupName);
    }
    if shared.space.is_low() {
        return Err(StoreError::Full);
    }
    // One at a time: another of this name may be on its way.
    let segments_stay = shared.segments_stay.lock().map_err(|_| StoreError::Closed)?;
    if shared.backups.taken().iter().any(|(taken, _)| taken == name) {
        return Err(StoreError::BackupName);
    }
    shared.backups.begin();
    let made = seal().and_then(|tables| link(shared, &folder, &tables));
    for file in shared.backups.end() {
        // If it stays, the next start sweeps it.
        if let Err(error) = shared.storage.remove(&file_name(file)) {
            tracing::warn!(%error, file, "a body file that nobody has was not removed");
        }
    }
    if made.is_ok() {
        shared.backups.note(name);
    } else {
        // If it stays, the next start removes it.
        let _ = remove(&*shared.storage, &folder);
    }
    drop(segments_stay);
    made
}

/// Whether a backup may be called so: its name becomes that of a folder.
fn is_name(name: &str) -> bool {
    let is_good = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    !name.is_empty() && name.bytes().all(is_good)
}

fn link(shared: &Shared, folder: &str, tables: &ReadTables) -> Result<Backup, StoreError> {
    let storage = &*shared.storage;
    let snapshot = snapshot::make_of(shared, tables)?;
    storage.create_folder(BACKUP).map_err(StoreError::io(BACKUP))?;
    for made in ["", SEGMENTS, BODIES, SNAPSHOTS].map(|below| join(folder, below)) {
        storage.create_folder(&made).map_err(StoreError::io(&made))?;
    }
    let mut names = vec![snapshot.name];
    for name in storage.list(SEGMENTS).map_err(StoreError::io(SEGMENTS))? {
        if segment::number(&name).is_some_and(|number| number <= snapshot.position.segment) {
            names.push(join(SEGMENTS, &name));
        }
    }
    for found in tables.blob.iter()? {
        let (_, value) = found?;
        if let BlobPlace::File { number } = BlobRow::from_octets(value.value().1)?.place {
            names.push(file_name(number));
        }
    }
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let to = join(folder, &name);
        match storage.link(&name, &to) {
            Ok(()) => (),
            // It is damaged already that there is none; the rest is worth keeping all the more.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && name.starts_with(BODIES) => {
                tracing::error!(name, "a body file is missing; the backup is made without it");
                continue;
            }
            Err(error) => return Err(StoreError::io(&to)(error)),
        }
        let octets = storage.open(&to).and_then(|file| file.length());
        files.push((name, octets.map_err(StoreError::io(&to))?));
    }
    Ok(Backup {
        folder: folder.to_owned(),
        files,
        batch: snapshot.position.batch,
    })
}

/// Removes the links of a backup.
pub(crate) fn drop_backup(shared: &Shared, name: &str) -> Result<(), StoreError> {
    if !is_name(name) {
        return Err(StoreError::BackupName);
    }
    remove(&*shared.storage, &format!("{BACKUP}/{name}"))?;
    shared.backups.forget(name);
    shared.space.freed();
    Ok(())
}

/// Drops the backups that are older than a day, and all when the disk is low. Says why of each.
pub(crate) fn drop_old(shared: &Shared, now: Instant) -> Result<(), StoreError> {
    for (name, at) in shared.backups.taken() {
        if shared.space.is_low() {
            tracing::warn!(
                name,
                "the disk is low: the links of a backup are dropped before it was copied"
            );
        } else if now.saturating_duration_since(at) >= AGE_MAX {
            tracing::warn!(
                name,
                "a backup was not copied within a day: its links are dropped"
            );
        } else {
            continue;
        }
        drop_backup(shared, &name)?;
    }
    Ok(())
}

/// Removes what backups of an earlier run have left: whoever copied it has ended, too.
pub(crate) fn sweep(storage: &dyn Storage) -> Result<(), StoreError> {
    let names = storage.list("").map_err(StoreError::io(""))?;
    if !names.iter().any(|name| name == BACKUP) {
        return Ok(());
    }
    for name in storage.list(BACKUP).map_err(StoreError::io(BACKUP))? {
        remove(storage, &join(BACKUP, &name))?;
    }
    Ok(())
}

fn remove(storage: &dyn Storage, folder: &str) -> Result<(), StoreError> {
    for below in [SEGMENTS, BODIES, SNAPSHOTS, ""].map(|below| join(folder, below)) {
        let names = match storage.list(&below) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            names => names.map_err(StoreError::io(&below))?,
        };
        for name in names {
            let name = join(&below, &name);
            storage.remove(&name).map_err(StoreError::io(&name))?;
        }
        match storage.remove_folder(&below) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io(&below)(error));
            }
            _ => (),
        }
    }
    Ok(())
}

fn join(folder: &str, name: &str) -> String {
    if name.is_empty() {
        folder.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}
