//! The data disk of a machine: a raw file with holes, so that an empty disk takes no room.

use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The smallest disk that the box's file system fits on.
pub const OCTETS_MIN: u64 = 128 << 20;
const SECTOR: u64 = 512;
/// How a disk begins whose power was cut while the box made its file system.
const UNFINISHED: &[u8] = b"postolka data being written";
/// What is compared with zeros at once when a disk is copied.
const BLOCK: usize = 64 << 10;

/// A disk file. The machine that uses it locks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Makes an empty disk of `octets`, which must not exist yet.
    pub fn create(path: &Path, octets: u64) -> Result<Self, Error> {
        let file = fs::File::create_new(path).map_err(Error::file("make the disk", path))?;
        file.set_len(octets).map_err(Error::file("make the disk", path))?;
        Self::open(path)
    }

    /// Takes a disk that exists.
    ///
    /// # Errors
    /// [`Error::NoDisk`] and [`Error::NotADisk`]: a file that is neither empty nor was a disk of the box is refused,
    /// because it is somebody's letter or another machine's disk.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = fs::File::open(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::NoDisk(path.to_owned()),
            _ => Error::file("open the disk", path)(source),
        })?;
        let about = file.metadata().map_err(Error::file("read the disk", path))?;
        let mut head = Vec::new();
        if about.is_file() {
            Read::take(&mut file, 4096)
                .read_to_end(&mut head)
                .map_err(Error::file("read the disk", path))?;
        }
        match objection(about.is_file(), about.len(), &head) {
            None => Ok(Self {
                path: path.to_owned(),
            }),
            Some(why) => Err(Error::NotADisk {
                path: path.to_owned(),
                why,
            }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the disk of a machine that is off larger. One that runs: [`Machine::grow_disk`](crate::Machine::grow_disk).
    pub fn grow(&self, octets: u64) -> Result<(), Error> {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&self.path)
            .map_err(Error::file("open the disk", &self.path))?;
        let now = file
            .metadata()
            .map_err(Error::file("read the disk", &self.path))?
            .len();
        file.set_len(now.max(octets))
            .map_err(Error::file("grow the disk", &self.path))
    }

    /// Copies the disk of a machine that is off, holes included, to a file that must not exist yet.
    pub fn copy(&self, to: &Path) -> Result<Self, Error> {
        let mut from = fs::File::open(&self.path).map_err(Error::file("open the disk", &self.path))?;
        let octets = from
            .metadata()
            .map_err(Error::file("read the disk", &self.path))?
            .len();
        let mut copy = fs::File::create_new(to).map_err(Error::file("make the disk", to))?;
        copy.set_len(octets).map_err(Error::file("make the disk", to))?;
        let mut block = vec![0; BLOCK];
        loop {
            let count = from
                .read(&mut block)
                .map_err(Error::file("read the disk", &self.path))?;
            let written = match &block[..count] {
                [] => break,
                zeros if is_zero(zeros) => copy
                    .seek(SeekFrom::Current(count.try_into().unwrap_or(0)))
                    .map(|_| ()),
                data => copy.write_all(data),
            };
            written.map_err(Error::file("write the disk", to))?;
        }
        Ok(Self { path: to.to_owned() })
    }
}

/// Why a file is not a disk of the box, if it is not.
fn objection(is_file: bool, octets: u64, head: &[u8]) -> Option<String> {
    let has = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    if !is_file {
        Some("it is not a regular file".to_owned())
    } else if has(0, b"QFI\xfb") {
        Some("it is a qcow2 image; convert it with 'qemu-img convert -O raw'".to_owned())
    } else if octets < OCTETS_MIN || !octets.is_multiple_of(SECTOR) {
        Some(format!(
            "it holds {octets} octets; a disk holds at least {OCTETS_MIN}, in sectors of {SECTOR}"
        ))
    } else if has(512, b"EFI PART") || has(1080, b"\x53\xef") || has(0, UNFINISHED) || is_zero(head) {
        None
    } else {
        Some("it is neither empty, nor an ext4 file system, nor a GPT disk".to_owned())
    }
}

/// Compared as a whole, because a disk is long.
fn is_zero(octets: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    ZEROS.get(..octets.len()) == Some(octets)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_new_disk_is_empty_and_takes_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = Disk::create(&path, 4 << 30).unwrap();
        assert_eq!(disk, Disk::open(&path).unwrap());
        let about = fs::metadata(&path).unwrap();
        assert_eq!(about.len(), 4 << 30);
        assert!(about.blocks() * 512 < 1 << 20, "{} blocks", about.blocks());
        assert!(
            Disk::create(&path, 4 << 30).is_err(),
            "an existing disk was made anew"
        );
    }

    #[test]
    fn growing_never_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = Disk::create(&path, OCTETS_MIN).unwrap();
        disk.grow(2 * OCTETS_MIN).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 * OCTETS_MIN);
        disk.grow(OCTETS_MIN).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 * OCTETS_MIN);
    }

    #[test]
    fn a_copy_has_the_same_octets_and_the_same_holes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = Disk::create(&path, OCTETS_MIN).unwrap();
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(1080)).unwrap();
        file.write_all(b"\x53\xef").unwrap();
        file.seek(SeekFrom::Start(77 << 20)).unwrap();
        file.write_all(b"a letter").unwrap();
        let copy = disk.copy(&folder.path().join("copy")).unwrap();
        let same = fs::read(&path).unwrap() == fs::read(copy.path()).unwrap();
        assert!(same, "the copy differs");
        assert!(fs::metadata(copy.path()).unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_disk_the_box_has_used_or_begun_to_use_is_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        for (offset, octets) in [(512, &b"EFI PART"[..]), (1080, b"\x53\xef"), (0, UNFINISHED)] {
            let mut head = vec![0; 4096];
            head[offset..offset + octets.len()].copy_from_slice(octets);
            fs::write(&path, head).unwrap();
            fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(OCTETS_MIN)
                .unwrap();
            Disk::open(&path).unwrap();
        }
    }

    #[test]
    fn what_is_no_disk_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |octets: u64, head: &[u8]| {
            let path = folder.path().join("file");
            fs::write(&path, head).unwrap();
            fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(octets)
                .unwrap();
            Disk::open(&path).unwrap_err().to_string()
        };
        assert!(refused(300, b"Dear Anna,").contains("300 octets"));
        assert!(refused(OCTETS_MIN + 1, b"").contains("sectors of 512"));
        assert!(refused(OCTETS_MIN, b"QFI\xfb").contains("qcow2"));
        assert!(refused(OCTETS_MIN, b"Dear Anna,").contains("neither empty"));
        assert!(
            Disk::open(folder.path())
                .unwrap_err()
                .to_string()
                .contains("not a regular file")
        );
        let missing = Disk::open(&folder.path().join("none")).unwrap_err();
        assert!(matches!(missing, Error::NoDisk(_)), "{missing}");
    }
}
