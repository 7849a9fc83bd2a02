//! The disk of a machine: a raw file with holes, so that an empty disk takes no room.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::sparse::{self, is_zero};

/// The smallest disk that the box's file system fits on.
pub const OCTETS_MIN: u64 = 128 << 20;
const SECTOR: u64 = 512;
/// How a disk begins whose power was cut while the box made its file system.
const UNFINISHED: &[u8] = b"postolka data being written";

/// A disk file. The machine that uses it locks it; what is done here to its octets is for while the power is off.
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

    /// Flashes the disk `image` onto a new disk of `octets`, which must not exist yet: what an installer does with a
    /// card that is larger than the image.
    ///
    /// # Errors
    /// [`Error::DiskTooSmall`] if it is not even as large.
    pub fn flash(image: &Path, to: &Path, octets: u64) -> Result<Self, Error> {
        let from = opened_image(image)?;
        let needed = length(&from, image)?;
        if octets < needed {
            return Err(Error::DiskTooSmall { octets, needed });
        }
        fill_new(&from, to, octets)
    }

    /// Flashes `image` over this disk, whatever it holds: each octet of the image is written, and what lies behind
    /// them stays, as on a card that was used before.
    ///
    /// # Errors
    /// As [`flash`](Self::flash).
    pub fn flash_over(&self, image: &Path) -> Result<(), Error> {
        let mut from = opened_image(image)?;
        let mut to = self.opened()?;
        let (octets, needed) = (length(&to, &self.path)?, length(&from, image)?);
        if octets < needed {
            return Err(Error::DiskTooSmall { octets, needed });
        }
        // On a blank disk the zeros are there already, and take no room.
        if sparse::is_blank(&to).map_err(Error::file("read the disk", &self.path))? {
            sparse::copy(&from, &to)
        } else {
            io::copy(&mut from, &mut to).map(|_| ())
        }
        .map_err(Error::file("write the disk", &self.path))
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
        let file = self.opened()?;
        let now = length(&file, &self.path)?;
        file.set_len(now.max(octets))
            .map_err(Error::file("grow the disk", &self.path))
    }

    /// Copies the disk of a machine that is off, holes included, to a file that must not exist yet.
    pub fn copy(&self, to: &Path) -> Result<Self, Error> {
        let from = fs::File::open(&self.path).map_err(Error::file("open the disk", &self.path))?;
        let octets = length(&from, &self.path)?;
        fill_new(&from, to, octets)
    }

    /// How long it is, in octets.
    pub fn octets(&self) -> Result<u64, Error> {
        length(&self.opened()?, &self.path)
    }

    /// Whether it holds nothing but zeros.
    pub fn is_blank(&self) -> Result<bool, Error> {
        sparse::is_blank(&self.opened()?).map_err(Error::file("read the disk", &self.path))
    }

    /// Fills `octets` from the disk at `offset`.
    ///
    /// # Errors
    /// Beyond the end of the disk nothing is read.
    pub fn read_at(&self, offset: u64, octets: &mut [u8]) -> Result<(), Error> {
        self.opened()?
            .read_exact_at(octets, offset)
            .map_err(Error::file("read the disk", &self.path))
    }

    /// Writes `octets` to the disk at `offset`.
    ///
    /// # Errors
    /// Nothing is written beyond the end of the disk, which would make it longer.
    pub fn write_at(&self, offset: u64, octets: &[u8]) -> Result<(), Error> {
        let file = self.opened()?;
        let end = offset.saturating_add(octets.len() as u64);
        if end > length(&file, &self.path)? {
            return Err(Error::file("write behind the end of the disk", &self.path)(
                ErrorKind::InvalidInput.into(),
            ));
        }
        file.write_all_at(octets, offset)
            .map_err(Error::file("write the disk", &self.path))
    }

    /// Turns one bit (0 to 7, the lowest first) of the octet at `offset`: the least damage there is.
    pub fn flip_bit(&self, offset: u64, bit: u8) -> Result<(), Error> {
        let mut octet = [0];
        self.read_at(offset, &mut octet)?;
        octet[0] ^= 1 << (bit % 8);
        self.write_at(offset, &octet)
    }

    fn opened(&self) -> Result<fs::File, Error> {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .map_err(Error::file("open the disk", &self.path))
    }
}

fn opened_image(image: &Path) -> Result<fs::File, Error> {
    fs::File::open(image).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::NoImage(image.to_owned()),
        _ => Error::file("open the image", image)(source),
    })
}

fn length(file: &fs::File, path: &Path) -> Result<u64, Error> {
    file.metadata()
        .map(|about| about.len())
        .map_err(Error::file("read", path))
}

/// A new disk of `octets` that begins as `from`.
fn fill_new(from: &fs::File, to: &Path, octets: u64) -> Result<Disk, Error> {
    let file = fs::File::create_new(to).map_err(Error::file("make the disk", to))?;
    file.set_len(octets)
        .and_then(|()| sparse::copy(from, &file))
        .map_err(Error::file("write the disk", to))?;
    Ok(Disk { path: to.to_owned() })
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
        let disk = Disk::create(&folder.path().join("disk"), OCTETS_MIN).unwrap();
        disk.write_at(1080, b"\x53\xef").unwrap();
        disk.write_at(77 << 20, b"a letter").unwrap();
        let copy = disk.copy(&folder.path().join("copy")).unwrap();
        let same = fs::read(disk.path()).unwrap() == fs::read(copy.path()).unwrap();
        assert!(same, "the copy differs");
        assert!(fs::metadata(copy.path()).unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_flashed_disk_is_the_image_and_empty_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let (image, to) = (folder.path().join("image"), folder.path().join("disk"));
        fs::write(&image, vec![7; 100_000]).unwrap();
        let small = Disk::flash(&image, &to, 99_999).unwrap_err();
        assert_eq!(
            small.to_string(),
            "a disk of 99999 octets is too small for the image, which has 100000"
        );
        let disk = Disk::flash(&image, &to, OCTETS_MIN).unwrap();
        assert_eq!(disk.octets().unwrap(), OCTETS_MIN);
        let mut octets = vec![1; 100_001];
        disk.read_at(0, &mut octets).unwrap();
        assert!(octets[..100_000].iter().all(|&octet| octet == 7) && octets[100_000] == 0);
        assert!(
            Disk::flash(&image, &to, OCTETS_MIN).is_err(),
            "an existing disk was made anew"
        );
        let none = Disk::flash(&folder.path().join("none"), &to, OCTETS_MIN).unwrap_err();
        assert!(matches!(none, Error::NoImage(_)), "{none}");
    }

    #[test]
    fn flashing_over_a_used_disk_writes_zeros_too_and_leaves_what_is_behind() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::create(&folder.path().join("disk"), OCTETS_MIN).unwrap();
        disk.write_at(0, &vec![5; 300_000]).unwrap();
        let image = folder.path().join("image");
        fs::write(&image, vec![0; 200_000]).unwrap();
        disk.flash_over(&image).unwrap();
        let mut octets = vec![1; 300_000];
        disk.read_at(0, &mut octets).unwrap();
        let (image, behind) = octets.split_at(200_000);
        assert!(image.iter().all(|&octet| octet == 0) && behind.iter().all(|&octet| octet == 5));
    }

    #[test]
    fn a_bit_is_turned_and_turned_back_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::create(&folder.path().join("disk"), OCTETS_MIN).unwrap();
        assert!(disk.is_blank().unwrap());
        disk.flip_bit(5000, 6).unwrap();
        let mut octets = [1; 3];
        disk.read_at(4999, &mut octets).unwrap();
        assert_eq!(octets, [0, 0b0100_0000, 0]);
        assert!(!disk.is_blank().unwrap());
        disk.flip_bit(5000, 6).unwrap();
        assert!(disk.is_blank().unwrap());
    }

    #[test]
    fn nothing_is_written_or_read_behind_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::create(&folder.path().join("disk"), OCTETS_MIN).unwrap();
        assert!(disk.write_at(OCTETS_MIN - 1, b"ab").is_err());
        assert!(disk.write_at(u64::MAX, b"a").is_err());
        assert!(disk.read_at(OCTETS_MIN - 1, &mut [0; 2]).is_err());
        assert_eq!(disk.octets().unwrap(), OCTETS_MIN);
        disk.write_at(OCTETS_MIN - 1, b"a").unwrap();
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
