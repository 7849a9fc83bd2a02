//! Finds the disk that mail is kept on, makes its file system when it is new, mounts it and grows it.
//!
//! What decides is in [`mod@choose`] and [`mod@content`], which are pure; what is here asks the kernel.

mod choose;
pub(crate) mod content;
pub(crate) mod device;
mod pristine;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(crate) use choose::{Choice, OCTETS_MIN, choose};
use choose::{Device, Shape};
pub(crate) use content::Content;
use content::{COPY_AT, COPY_OCTETS, HEAD_OCTETS, PROBE_OCTETS};

use nix::errno::Errno;

use crate::mount;
use crate::trouble::{Trouble, reason};

/// The kernel counts a device's size in these, whatever its own sectors are.
const SECTOR_OCTETS: u64 = 512;
/// The block size of the pristine file system.
const BLOCK_OCTETS: u64 = 4096;

/// Block devices that could hold something, with what is on them.
pub(crate) fn list() -> Vec<Device> {
    let Ok(entries) = fs::read_dir("/sys/class/block") else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names.iter().filter_map(|name| describe(name)).collect()
}

fn describe(name: &str) -> Option<Device> {
    let folder = Path::new("/sys/class/block").join(name);
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let sectors: u64 = read("size").trim().parse().ok()?;
    // A drive without a medium has no sectors.
    if sectors == 0 || is_none_of_ours(name) {
        return None;
    }
    let uevent = read("uevent");
    let part_name = uevent
        .lines()
        .find_map(|line| line.strip_prefix("PARTNAME="))
        .map(str::to_owned);
    let has_partitions = || {
        let mut entries = fs::read_dir(&folder).ok()?.filter_map(Result::ok);
        entries.find(|entry| entry.path().join("partition").exists())
    };
    let shape = if folder.join("partition").exists() {
        Shape::Partition
    } else if has_partitions().is_some() {
        Shape::Divided
    } else {
        Shape::Whole
    };
    Some(Device {
        name: name.to_owned(),
        part_name,
        shape,
        is_removable: read("removable").trim() == "1",
        is_read_only: read("ro").trim() == "1",
        octets: sectors * SECTOR_OCTETS,
        content: probe(&node(name)).unwrap_or(Content::Unreadable),
    })
}

/// zram and loop devices are memory; the boot areas of an eMMC (mmcblk0boot0) belong to the board's firmware.
pub(crate) fn is_none_of_ours(name: &str) -> bool {
    let is_memory = ["zram", "loop", "ram"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    is_memory || name.starts_with("mmcblk") && name.contains("boot")
}

/// The size of a device in octets.
pub(crate) fn size(name: &str) -> io::Result<u64> {
    let sectors = fs::read_to_string(Path::new("/sys/class/block").join(name).join("size"))?;
    let sectors = sectors.trim().parse::<u64>().map_err(io::Error::other)?;
    Ok(sectors * SECTOR_OCTETS)
}

/// What is on a device.
pub(crate) fn content(name: &str) -> io::Result<Content> {
    probe(&node(name))
}

/// The device's node.
pub(crate) fn node(name: &str) -> PathBuf {
    // A "!" in sysfs stands for a "/" in /dev (Documentation/ABI/testing/sysfs-block).
    Path::new("/dev").join(name.replace('!', "/"))
}

fn probe(node: &Path) -> io::Result<Content> {
    let mut device = File::open(node)?;
    let mut octets = Vec::new();
    device.by_ref().take(HEAD_OCTETS).read_to_end(&mut octets)?;
    if content::recognise(&octets, &[]) == Content::Blank {
        let rest = PROBE_OCTETS - HEAD_OCTETS;
        device.by_ref().take(rest).read_to_end(&mut octets)?;
    }
    // Nothing, and no error, behind the end of a device; so small a read is never split.
    let mut copy = [0; COPY_OCTETS];
    let length = device.read_at(&mut copy, COPY_AT)?;
    Ok(content::recognise(&octets, &copy[..length]))
}

/// Writes the pristine file system of the image onto a blank device.
pub(crate) fn make(device: &str) -> Result<(), Trouble> {
    pristine::write(Path::new("/pristine.ext4.zst"), &node(device)).map_err(|error| Trouble::Unwritable {
        device: device.to_owned(),
        reason: reason(&error),
    })
}

/// Mounts the data file system with its folders.
pub(crate) fn mount_data(device: &str) -> Result<(), Trouble> {
    let unreadable = |reason: String| Trouble::UnreadableData {
        device: device.to_owned(),
        reason,
    };
    mount::data(&node(device)).map_err(|error| match error {
        // What ext4 calls a broken structure and a wrong checksum (EFSCORRUPTED, EFSBADCRC).
        Errno::EUCLEAN | Errno::EBADMSG => unreadable("the file system is damaged".to_owned()),
        // No file system that the kernel knows: never ours, or its beginning is lost.
        Errno::EINVAL => unreadable("the file system is not recognised".to_owned()),
        error => unreadable(error.desc().to_owned()),
    })?;
    mount::data_folders().map_err(|error| unreadable(reason(&error)))
}

/// Grows the mounted file system to the size of its device; whether it had to.
pub(crate) fn grow(device: &str) -> Result<bool, Trouble> {
    let trouble = |error: io::Error| Trouble::NotGrown(reason(&error));
    let blocks = size(device).map_err(trouble)? / BLOCK_OCTETS;
    let now = nix::sys::statvfs::statvfs(mount::DATA).map_err(|error| trouble(error.into()))?;
    // statvfs counts without the file system's own structures, which are a few per cent: a device that is larger by
    // no more than that has been grown to before, and asking the kernel then is cheap and harmless.
    if now.blocks() >= blocks {
        return Ok(false);
    }
    let before = now.blocks();
    resize(&File::open(mount::DATA).map_err(trouble)?, blocks).map_err(trouble)?;
    let after = nix::sys::statvfs::statvfs(mount::DATA).map_err(|error| trouble(error.into()))?;
    Ok(after.blocks() > before)
}

/// `EXT4_IOC_RESIZE_FS` of fs/ext4/ext4.h: grows to this number of blocks, online. A size that is reached already is
/// no error.
#[allow(unsafe_code)]
fn resize(root: &File, blocks: u64) -> io::Result<()> {
    nix::ioctl_write_ptr!(ext4_resize_fs, b'f', 16, u64);
    // SAFETY: the descriptor is open for as long as `root` is borrowed, the request reads one u64 behind the pointer,
    // and `blocks` lives until the call returns.
    unsafe { ext4_resize_fs(root.as_raw_fd(), &raw const blocks) }?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A file with one octet that is not zero.
    fn probed(octets: u64, at: u64) -> Content {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(octets).unwrap();
        file.as_file().write_all_at(b"x", at).unwrap();
        probe(file.path()).unwrap()
    }

    #[test]
    fn a_device_is_blank_after_a_whole_mebibyte() {
        assert_eq!(probed(4 << 20, 0), Content::Other);
        assert_eq!(probed(4 << 20, HEAD_OCTETS), Content::Other);
        assert_eq!(probed(4 << 20, PROBE_OCTETS - 1), Content::Other);
        assert_eq!(probed(4 << 20, PROBE_OCTETS), Content::Blank);
        assert_eq!(probed(1 << 30, COPY_AT), Content::Blank);
    }
}
