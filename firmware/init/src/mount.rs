//! The file systems of a running box.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{O_DIRECTORY, O_NOFOLLOW};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::spawn::MAILD_ID;

/// Where the data file system is.
pub(crate) const DATA: &str = "/data";
/// maild's folder in it.
pub(crate) const MAIL: &str = "/data/mail";
/// init's folder in it.
pub(crate) const SYSTEM: &str = "/data/system";
/// Where a stick is for the moment it is read.
pub(crate) const STICK: &str = "/run/stick";
/// The resolver's configuration, written with each lease.
pub(crate) const RESOLV_CONF: &str = "/run/resolv.conf";

/// Nothing on any of these is a program or a device that was not put there by us.
const INERT: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// Mounts the kernel's own file systems. devtmpfs is first: without it there is no console to complain on.
///
/// # Errors
/// The first that failed, with its name. The others are tried all the same.
pub(crate) fn kernel_file_systems() -> Result<(), (&'static str, Errno)> {
    let no_exec = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let table = [
        ("devtmpfs", "/dev", no_exec, "mode=0755"),
        // Other users' processes are not shown: maild and netd have no business with each other.
        ("proc", "/proc", INERT, "hidepid=invisible"),
        ("sysfs", "/sys", INERT, ""),
        ("tmpfs", "/run", INERT, "mode=0755,size=4m"),
        ("tmpfs", "/tmp", INERT, "mode=1777,size=4m"),
        ("cgroup2", "/sys/fs/cgroup", INERT, ""),
    ];
    let mut result = Ok(());
    for (kind, target, flags, data) in table {
        // A kernel with CONFIG_DEVTMPFS_MOUNT has it there already.
        if let Err(error) = mount(Some(kind), target, Some(kind), flags, Some(data))
            && error != Errno::EBUSY
        {
            result = result.and(Err((target, error)));
        }
    }
    result
}

/// What programs expect in a root file system that has nothing but programs in it.
pub(crate) fn root_files() -> io::Result<()> {
    fs::create_dir_all("/etc")?;
    match symlink(RESOLV_CONF, "/etc/resolv.conf") {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
}

/// Mounts the data file system. `noatime`: reading mail does not wear the card.
pub(crate) fn data(device: &Path) -> nix::Result<()> {
    let flags = INERT | MsFlags::MS_NOATIME;
    // errors=remount-ro: damage found while running stops writes, so that it cannot grow.
    mount(Some(device), DATA, Some("ext4"), flags, Some("errors=remount-ro"))
}

/// Syncs and unmounts the data file system; whether it is unmounted. `false`: it is at least not written to any more.
pub(crate) fn leave_data() -> nix::Result<bool> {
    nix::unistd::sync();
    match umount2(DATA, MntFlags::empty()) {
        // Nothing is mounted there: no disk was found.
        Ok(()) | Err(Errno::EINVAL) => Ok(true),
        Err(error) => {
            // Busy only if a killed child still hangs in the kernel: read-only is the next best.
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(None::<&str>, DATA, None::<&str>, flags, None::<&str>)
                .map(|()| false)
                .map_err(|_| error)
        }
    }
}

/// Makes the two folders of the data file system, or puts their owners and permissions right.
pub(crate) fn data_folders() -> io::Result<()> {
    folder(Path::new(SYSTEM), 0)?;
    folder(Path::new(MAIL), MAILD_ID)
}

/// A folder that `owner` alone may enter.
fn folder(path: &Path, owner: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // The disk may have been in other hands: a symbolic link in this place would give away what it points to.
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags(O_DIRECTORY | O_NOFOLLOW)
        .open(path)?;
    fchown(&folder, Some(owner), Some(owner))?;
    folder.set_permissions(Permissions::from_mode(0o700))
}

/// Mounts a stick read-only.
pub(crate) fn stick(device: &Path) -> nix::Result<()> {
    let _ = fs::create_dir(STICK);
    mount(
        Some(device),
        STICK,
        Some("vfat"),
        INERT | MsFlags::MS_RDONLY,
        None::<&str>,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_folder_is_its_owners_alone_and_a_link_in_its_place_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let owner = nix::unistd::geteuid().as_raw();
        let path = place.path().join("mail");
        for _ in 0..2 {
            folder(&path, owner).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
        let link = place.path().join("link");
        symlink(&path, &link).unwrap();
        folder(&link, owner).unwrap_err();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
        fs::write(place.path().join("file"), "").unwrap();
        folder(&place.path().join("file"), owner).unwrap_err();
    }
}
