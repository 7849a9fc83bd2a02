//! The empty data file system that a new box starts from, as a few kilobytes of zstd.
//!
//! It is made here, by Debian's `mkfs.ext4`, so that the box needs no mkfs: on first boot and at a factory reset
//! init writes it to the disk and grows it. Its identity (UUID, hash seed) is fixed and its dates too, so it is
//! the same for everybody who builds; init gives each box its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::archive::compress;
use crate::error::Error;
use crate::tool;

/// Size of the file system before it grows, in MiB: the smallest disk the box accepts.
const MEBIBYTES: u64 = 128;
const JOURNAL_MEBIBYTES: u64 = 32;
const UUID: &str = "706f7374-6f6c-4b61-8000-000000000001";
const HASH_SEED: &str = "706f7374-6f6c-4b61-8000-000000000002";
/// 2026-01-01 00:00 UTC, the date all of it bears.
const EPOCH: &str = "1767225600";

/// Features by name and none by default: the defaults of `/etc/mke2fs.conf` differ between Debian versions.
///
/// - `meta_bg` instead of `resize_inode`: descriptors of new groups lie in the groups, so growing has no upper
///   bound that would have to be reserved for now.
/// - `metadata_csum_seed`: the checksums do not depend on the UUID, so a box can be given its own at any time.
const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,meta_bg,sparse_super,\
                        large_file,huge_file,dir_nlink,extra_isize,metadata_csum,metadata_csum_seed";
const CONFIG: &str = "[defaults]\n\tbase_features = none\n\tenable_periodic_fsck = 0\n\tblocksize = 4096\n\t\
                      inode_size = 256\n\tinode_ratio = 16384\n";

/// Makes the file system in `work` and compresses it.
pub(crate) fn pristine(work: &Path) -> Result<Vec<u8>, Error> {
    let image = raw(work)?;
    compress(&image, 19)
}

/// The image as `mkfs.ext4` leaves it.
fn raw(work: &Path) -> Result<Vec<u8>, Error> {
    let (config, path) = (work.join("mke2fs.conf"), work.join("pristine.ext4"));
    fs::write(&config, CONFIG).map_err(Error::file("write", &config))?;
    let file = fs::File::create(&path).map_err(Error::file("write", &path))?;
    file.set_len(MEBIBYTES << 20)
        .map_err(Error::file("write", &path))?;
    drop(file);
    tool::output(
        Command::new("mkfs.ext4")
            .args(["-q", "-F", "-b", "4096", "-I", "256", "-m", "0", "-L", "data"])
            .args([
                "-O",
                FEATURES,
                "-U",
                UUID,
                "-J",
                &format!("size={JOURNAL_MEBIBYTES}"),
            ])
            // Inode tables and journal are written now: the octets on an old card say nothing.
            .arg("-E")
            .arg(format!(
                "hash_seed={HASH_SEED},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard"
            ))
            .arg(&path)
            .env("MKE2FS_CONFIG", &config)
            // e2fsprogs before 1.47.1 knows the first name, later ones the second.
            .env("E2FSPROGS_FAKE_TIME", EPOCH)
            .env("SOURCE_DATE_EPOCH", EPOCH)
            // Debian keeps it there, outside an ordinary user's path.
            .env("PATH", with_sbin()),
        "e2fsprogs",
    )?;
    fs::read(&path).map_err(Error::file("read", &path))
}

fn with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_made_twice_is_equal_and_small_and_clean() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = pristine(one.path()).unwrap();
        assert_eq!(first, pristine(other.path()).unwrap());
        assert!(first.len() < 64 << 10, "{} octets", first.len());

        let check = Command::new("e2fsck")
            .args(["-f", "-n"])
            .arg(one.path().join("pristine.ext4"))
            .env("PATH", with_sbin())
            .output()
            .unwrap();
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stdout)
        );
    }

    #[test]
    fn it_unpacks_to_a_whole_ext4_of_the_stated_size() {
        let work = tempfile::tempdir().unwrap();
        let image = zstd::decode_all(pristine(work.path()).unwrap().as_slice()).unwrap();
        assert_eq!(image.len() as u64, MEBIBYTES << 20);
        // The superblock starts at 1024, its magic number at 56 in it.
        assert_eq!(&image[1080..1082], [0x53, 0xef]);
        assert_eq!(&image[1024 + 120..1024 + 124], b"data");
    }
}
