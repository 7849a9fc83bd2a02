//! `postolka.update` on a FAT stick: looked for at the start of the box, and taken once.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use format::{Fault, Roots, Slot};
use nix::mount::{MntFlags, umount2};

use super::{Box, FileSource, Rejection, Taken, apply, judge};
use crate::disk;
use crate::mount::{self, STICK, SYSTEM};
use crate::slot::bootstate;
use crate::slot::check::Raws;
use crate::slot::partition::Raw;
use crate::slot::write;

/// The file's name, in the root of the stick. FAT does not tell cases apart.
pub(crate) const NAME: &str = "postolka.update";
/// Where init remembers the numbers of the versions it took from sticks, a line each.
const TAKEN: &str = "update-from-stick";
/// So many of them: there may be several sticks, and with the last number alone two of them would take turns for ever.
const TAKEN_MAX: usize = 16;

/// Takes the update on this device, if there is one. `None`: there is none.
///
/// A stick stays where it is plugged in: what was taken once and did not come up is not taken again, or the box would go
/// round for ever.
pub(crate) fn take(
    device: &str,
    raws: &mut Raws<impl Raw>,
    own: &Box<'_>,
    progress: impl FnMut(usize),
) -> Option<Result<Taken, Rejection>> {
    mount::stick(&disk::node(device)).ok()?;
    let result = match File::open(Path::new(STICK).join(NAME)) {
        Ok(file) => Some(take_file(file, Path::new(SYSTEM), raws, own, progress)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(Rejection::Source(error))),
    };
    let _ = umount2(STICK, MntFlags::MNT_DETACH);
    result
}

/// Whether there is one on this device.
pub(crate) fn is_there(device: &str) -> bool {
    if mount::stick(&disk::node(device)).is_err() {
        return false;
    }
    let is_there = Path::new(STICK).join(NAME).exists();
    let _ = umount2(STICK, MntFlags::MNT_DETACH);
    is_there
}

fn take_file(
    file: File,
    system: &Path,
    raws: &mut Raws<impl Raw>,
    own: &Box<'_>,
    progress: impl FnMut(usize),
) -> Result<Taken, Rejection> {
    let mut source = FileSource::whole(file).map_err(Rejection::Source)?;
    let judged = judge(&mut source, raws, own)?;
    let version = judged.header.version;
    if was_tried(version, system, raws, own.running, own.roots) {
        return Err(Rejection::Tried(version));
    }
    // Before it is switched to: without this line the box might go round.
    let remember = || remember(system, version).map_err(Rejection::Memory);
    apply(&mut source, &judged, raws, own, progress, remember)
}

/// Whether this version was taken from a stick before, or lies in the other slot and is not good. As it does not run, it
/// did not come up.
fn was_tried(
    version: u64,
    system: &Path,
    raws: &mut Raws<impl Raw>,
    running: Slot,
    roots: Roots<'_>,
) -> bool {
    let other = running.other();
    // That it can be read was seen a moment ago.
    let state = bootstate::load(&mut raws.bootstate).unwrap_or_default();
    let lies_there =
        write::read_header(raws.slot(other), roots).is_ok_and(|header| header.version == version);
    // It was written, and the power went before it was switched to: it had no try yet.
    if lies_there && state.slot(other).fault == Some(Fault::Empty) {
        return false;
    }
    remembered(system).contains(&version) || lies_there && !state.slot(other).is_good
}

/// The versions that were taken before; the latest is the last.
fn remembered(system: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path(system)).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

fn path(system: &Path) -> PathBuf {
    system.join(TAKEN)
}

/// Durable when it returns.
fn remember(system: &Path, version: u64) -> io::Result<()> {
    let (path, new) = (path(system), system.join(format!("{TAKEN}.new")));
    let mut versions = remembered(system);
    versions.retain(|&known| known != version);
    versions.push(version);
    let mut file = File::create(&new)?;
    for version in &versions[versions.len().saturating_sub(TAKEN_MAX)..] {
        writeln!(file, "{version}")?;
    }
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(system)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Seek;

    use format::boot::{Attempt, boot};

    use super::*;
    use crate::slot::testing::{self, Box as Disk, Made, roots};

    fn stick(update: &Made) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&update.octets).unwrap();
        file.rewind().unwrap();
        file
    }

    fn taken(disk: &mut Disk, system: &Path, version: u64) -> Result<u64, String> {
        let keys = roots();
        let own = Box {
            running: Slot::A,
            attempt: Attempt::Good,
            version: 11,
            needs: testing::needs(),
            roots: Roots(&keys),
        };
        let file = stick(&Made::version(version));
        let result = take_file(file, system, &mut disk.raws, &own, |_| {});
        result.map(|taken| taken.version).map_err(|why| why.to_string())
    }

    fn disk() -> Disk {
        Disk::with(&Made::version(11), &Made::version(10))
    }

    #[test]
    fn d24_a_stick_that_stays_plugged_in_is_not_taken_again_when_its_version_did_not_come_up() {
        let (mut disk, system) = (disk(), tempfile::tempdir().unwrap());
        assert_eq!(taken(&mut disk, system.path(), 12), Ok(12));
        disk.change(|state| {
            state.slot_mut(Slot::B).tries = 0;
            state.slot_mut(Slot::B).fault = Some(Fault::TriesSpent);
        });
        let tried = Err("version 12 was tried before and did not come up".to_owned());
        assert_eq!(taken(&mut disk, system.path(), 12), tried);
        // A new data file system does not remember, and the other slot does.
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(taken(&mut disk, empty.path(), 12), tried);
        // The slot was repaired since, and the data remembers.
        disk.change(|state| state.copied(Slot::B));
        assert_eq!(taken(&mut disk, system.path(), 12), tried);
        // A later one is another matter.
        assert_eq!(taken(&mut disk, system.path(), 13), Ok(13));
    }

    #[test]
    fn d24_several_sticks_do_not_take_turns_for_ever() {
        let (mut disk, system) = (disk(), tempfile::tempdir().unwrap());
        for version in 12..30 {
            assert_eq!(taken(&mut disk, system.path(), version), Ok(version));
            disk.change(|state| state.copied(Slot::B));
        }
        for version in 14..30 {
            assert!(taken(&mut disk, system.path(), version).is_err(), "{version}");
        }
        assert_eq!(remembered(system.path()).len(), TAKEN_MAX);
    }

    #[test]
    fn d24_an_update_whose_power_was_cut_before_it_had_a_try_is_taken_the_next_time() {
        let mut operations = 0;
        loop {
            let (mut disk, system) = (disk(), tempfile::tempdir().unwrap());
            disk.cut_after(operations, |_| true);
            let is_done = taken(&mut disk, system.path(), 12).is_ok();
            disk.power_on();
            boot(&mut disk);
            if disk.started == Some((Slot::A, 11)) {
                disk.started = None;
                let again = taken(&mut disk, system.path(), 12);
                assert_eq!(again, Ok(12), "after {operations} operations");
            }
            if is_done {
                break;
            }
            operations += 1;
        }
        assert!(operations > 10, "{operations} operations are not all of them");
    }

    #[test]
    fn an_update_that_cannot_be_remembered_is_not_taken() {
        let mut disk = disk();
        let error = taken(&mut disk, Path::new("/nonexistent"), 12).unwrap_err();
        assert!(error.starts_with("the data disk cannot be written"), "{error}");
        assert!(!disk.state().slot(Slot::B).is_bootable());
    }
}
