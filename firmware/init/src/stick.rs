//! The provisioning file: `postolka.toml` on any FAT stick, or on the box's own boot partition, handed to maild as a sealed
//! memory file.
//!
//! What lies on a stick was brought by whoever stands in front of the box. The boot partition can be written by whoever
//! flashed the card, and it stays in the box: maild takes name and network from there, and nothing else.
//!
//! init does not look into it: maild parses it, and decides whether the box is still to be provisioned.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use handoff::{PROVISION_OCTETS_MAX, ProvisionOrigin};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::mount::{MntFlags, umount2};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::disk::{self, Content};
use crate::mount::{self, STICK};
use crate::trouble::{Trouble, reason};

/// The file's name, in the root of the stick. FAT does not tell cases apart.
const NAME: &str = "postolka.toml";

/// A provisioning file, not to be changed by anybody any more.
#[derive(Debug)]
pub(crate) struct Provision {
    pub(crate) file: OwnedFd,
    pub(crate) octets: u32,
    pub(crate) origin: ProvisionOrigin,
    /// Where it was found, for the console.
    pub(crate) device: String,
}

/// Looks for the file on every FAT device but those that are the box's own.
///
/// # Errors
/// There is such a file, and it cannot be used.
pub(crate) fn find(is_ours: impl Fn(&str) -> bool) -> Result<Option<Provision>, Trouble> {
    for device in disk::list() {
        if device.content != Content::Fat || is_ours(&device.name) {
            continue;
        }
        let found =
            look(&device.name, ProvisionOrigin::Stick).map_err(|error| Trouble::Stick(reason(&error)))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Looks for the file on the box's own boot partition. It is mounted read-only, for a moment.
///
/// # Errors
/// There is such a file, and it cannot be used.
pub(crate) fn find_on_esp(device: &str) -> Result<Option<Provision>, Trouble> {
    look(device, ProvisionOrigin::Esp).map_err(|error| Trouble::EspFile(reason(&error)))
}

fn look(device: &str, origin: ProvisionOrigin) -> io::Result<Option<Provision>> {
    // A stick that cannot be mounted is no stick with a file on it; the next may be.
    if mount::stick(&disk::node(device)).is_err() {
        return Ok(None);
    }
    let result = read(&Path::new(STICK).join(NAME));
    let _ = umount2(STICK, MntFlags::MNT_DETACH);
    match result {
        Ok((file, octets)) => Ok(Some(Provision {
            file,
            octets,
            origin,
            device: device.to_owned(),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Copies the file into a sealed memory file.
fn read(path: &Path) -> io::Result<(OwnedFd, u32)> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut octets = Vec::new();
    file.take(u64::from(PROVISION_OCTETS_MAX) + 1)
        .read_to_end(&mut octets)?;
    let length = match u32::try_from(octets.len()) {
        Ok(0) => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty")),
        Ok(length @ ..=PROVISION_OCTETS_MAX) => length,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "it is larger than 64 KiB",
            ));
        }
    };
    Ok((seal(&octets)?, length))
}

/// A memory file with these octets, open at its start, which nobody can change.
fn seal(octets: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("postolka.toml", flags)?);
    file.write_all(octets)?;
    file.rewind()?;
    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_handed_over_whole_and_cannot_be_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, "[[domain]]\n").unwrap();
        let (file, octets) = read(&path).unwrap();
        let mut file = File::from(file);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), octets), ("[[domain]]\n", 11));
        file.write_all(b"x").unwrap_err();
        file.set_len(0).unwrap_err();
    }

    fn refused(octets: usize, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, vec![b'#'; octets]).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_file_of_no_sensible_size_is_refused() {
        refused(0, "it is empty");
        refused(64 * 1024 + 1, "it is larger than 64 KiB");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, vec![b'#'; 64 * 1024]).unwrap();
        assert_eq!(read(&path).unwrap().1, 64 * 1024);
    }

    #[test]
    fn a_folder_of_that_name_is_refused_and_no_file_is_no_error_of_the_stick() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap_err().to_string(), "it is not a file");
        let error = read(&folder.path().join(NAME)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
