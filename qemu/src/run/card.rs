//! The disk that the box runs from: flashed from the image where it is new, told apart where it is not.

use std::fs;
use std::path::{Path, PathBuf};

use format::bootstate::{COPY_OCTETS, Copy, Found};
use format::gpt::{Extent, Table};
use format::header::HEADER_OCTETS;
use format::{Header, Slot, layout};
use qemu::{Disk, Image};

use super::Trouble;

/// What the file for the disk is, before there is an image to flash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Card {
    /// It is not there yet.
    Absent(PathBuf),
    /// It holds nothing.
    Blank(Disk),
    /// It was flashed.
    Flashed(Disk),
    /// It holds a file system alone, made when QEMU started the kernel.
    DataOnly(Disk),
}

impl Card {
    /// Looks at a file.
    pub(crate) fn at(path: &Path) -> Result<Self, Trouble> {
        let disk = match Disk::open(path) {
            Ok(disk) => disk,
            Err(qemu::Error::NoDisk(path)) => return Ok(Self::Absent(path)),
            Err(error) => return Err(error.into()),
        };
        Ok(if slots(&disk)?.is_some() {
            Self::Flashed(disk)
        } else if disk.is_blank()? {
            Self::Blank(disk)
        } else {
            Self::DataOnly(disk)
        })
    }

    /// The disk, flashed if it was not. A new file gets `octets`.
    pub(crate) fn ready(self, image: &Image, octets: u64) -> Result<Disk, Trouble> {
        match self {
            Self::Flashed(disk) | Self::DataOnly(disk) => Ok(disk),
            Self::Blank(disk) => {
                disk.flash_over(&image.disk()?)?;
                Ok(disk)
            }
            Self::Absent(path) => {
                println!("The box gets a new disk: {}", path.display());
                // A file that is there is a finished disk, wherever this was interrupted.
                let unfinished = path.with_extension("new");
                let _ = fs::remove_file(&unfinished);
                Disk::flash(&image.disk()?, &unfinished, octets)?;
                fs::rename(&unfinished, &path).map_err(Trouble::file("make the disk", &path))?;
                Ok(Disk::open(&path)?)
            }
        }
    }
}

/// Whether what starts from a flashed disk is another build than the image: then one line that says so.
pub(crate) fn difference(disk: &Disk, image: &Image) -> Result<Option<String>, Trouble> {
    let update = image.update()?;
    let built = fs::read(&update).map_err(Trouble::file("read", &update))?;
    let Some(built) = built.first_chunk() else {
        return Err(Trouble::NotBuilt);
    };
    Ok(running(disk)?.and_then(|running| said(&running, built)))
}

fn said(running: &[u8; HEADER_OCTETS], built: &[u8; HEADER_OCTETS]) -> Option<String> {
    if running == built {
        return None;
    }
    let (running, built) = (told_name(running), told_name(built));
    let what = if running == built {
        format!("The disk starts another build of {built} than the last one")
    } else {
        format!("The disk starts {running}, and the last build is {built}")
    };
    Some(format!(
        "{what}; --update FILE brings the box to another version, --fresh starts anew with the last build."
    ))
}

/// What a version calls itself. Whether anybody vouches for it is for the box to find out.
pub(crate) fn told_name(version: &[u8]) -> String {
    let name = version.first_chunk().and_then(Header::told_name);
    name.map_or("a version without a name".to_owned(), |name| name.to_string())
}

/// The header of the slot that is next to start, if the disk tells.
fn running(disk: &Disk) -> Result<Option<[u8; HEADER_OCTETS]>, Trouble> {
    let Some((bootstate, slots)) = slots(disk)? else {
        return Ok(None);
    };
    let copy = |copy: Copy| {
        let mut octets = [0; COPY_OCTETS];
        disk.read_at(bootstate.start + copy.at(), &mut octets)
            .map(|()| octets)
    };
    let (first, second) = (copy(Copy::First)?, copy(Copy::Second)?);
    let next = Found::new(Some(&first), Some(&second)).state.and_then(|state| {
        state
            .order()
            .into_iter()
            .find(|slot| state.slot(*slot).is_bootable())
    });
    let Some(slot) = next else {
        return Ok(None);
    };
    let mut header = [0; HEADER_OCTETS];
    let extent = match slot {
        Slot::A => slots[0],
        Slot::B => slots[1],
    };
    disk.read_at(extent.start, &mut header)?;
    Ok(Some(header))
}

/// Where bootstate and slots are on a flashed disk; `None` on any other.
fn slots(disk: &Disk) -> Result<Option<(Extent, [Extent; 2])>, Trouble> {
    let octets = disk.octets()?;
    let table = Table::read(octets, |offset, octets| disk.read_at(offset, octets).is_ok());
    let find = |table: &Table| {
        Some((
            table.find(layout::BOOTSTATE.name)?,
            [table.find(layout::SLOT_A.name)?, table.find(layout::SLOT_B.name)?],
        ))
    };
    Ok(table.ok().and_then(|(table, _)| find(&table)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use format::bootstate::State;
    use format::gpt::{Guid, Which};

    use super::*;

    /// A header that says no more than a name, and nobody vouches for.
    fn header(name: &str, build: u8) -> [u8; HEADER_OCTETS] {
        let mut header = [0; HEADER_OCTETS];
        header[..16].copy_from_slice(b"postolka slot v1");
        header[64..64 + name.len()].copy_from_slice(name.as_bytes());
        header[4095] = build;
        header
    }

    /// A folder as `cargo image` leaves it: version 1 as the update file and in both slots of the disk.
    fn image(folder: &Path) -> Image {
        for name in ["Image", "initrd"] {
            fs::write(folder.join(name), "").unwrap();
        }
        fs::write(folder.join("postolka-virt.update"), header("1", 0)).unwrap();
        let disk = Disk::create(&folder.join("postolka-virt.img"), 128 << 20).unwrap();
        let table = Table::flashed((128 << 20) / 512, &[Guid::ZERO; 6]);
        for which in [Which::Primary, Which::Backup] {
            let copy = table.encode(which);
            disk.write_at(copy.entries_at, &copy.entries).unwrap();
            disk.write_at(copy.header_at, &copy.header).unwrap();
        }
        for slot in [layout::SLOT_A, layout::SLOT_B] {
            disk.write_at(slot.start, &header("1", 0)).unwrap();
        }
        remember(&disk, &State::flashed());
        Image::in_folder(folder).unwrap()
    }

    fn remember(disk: &Disk, state: &State) {
        for copy in Copy::ALL {
            disk.write_at(layout::BOOTSTATE.start + copy.at(), &state.encode())
                .unwrap();
        }
    }

    #[test]
    fn a_new_and_a_blank_disk_are_flashed_and_a_flashed_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path());
        let path = folder.path().join("disk");
        let absent = Card::at(&path).unwrap();
        assert_eq!(absent, Card::Absent(path.clone()));
        let disk = absent.ready(&image, 1 << 30).unwrap();
        assert_eq!(disk.octets().unwrap(), 1 << 30);
        disk.write_at(layout::DATA.start, b"mail").unwrap();

        let kept = Card::at(&path).unwrap();
        assert_eq!(kept, Card::Flashed(disk.clone()));
        kept.ready(&image, 1 << 30).unwrap();
        let mut mail = [0; 4];
        disk.read_at(layout::DATA.start, &mut mail).unwrap();
        assert_eq!(&mail, b"mail");

        let blank = Disk::create(&folder.path().join("blank"), 1 << 30).unwrap();
        let card = Card::at(blank.path()).unwrap();
        assert_eq!(card, Card::Blank(blank.clone()));
        card.ready(&image, 1).unwrap();
        assert_eq!(Card::at(blank.path()).unwrap(), Card::Flashed(blank));
    }

    #[test]
    fn a_disk_with_a_file_system_alone_is_told_from_a_flashed_one() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::create(&folder.path().join("disk"), 1 << 30).unwrap();
        disk.write_at(1080, b"\x53\xef").unwrap();
        assert_eq!(Card::at(disk.path()).unwrap(), Card::DataOnly(disk));
    }

    #[test]
    fn a_disk_that_starts_another_build_is_told_with_both_names() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path());
        let disk = Disk::open(&image.disk().unwrap()).unwrap();
        let told = || difference(&disk, &image).unwrap();
        assert_eq!(told(), None);

        fs::write(image.update().unwrap(), header("2", 0)).unwrap();
        let line = told().unwrap();
        assert!(
            line.starts_with("The disk starts 1, and the last build is 2; --update FILE"),
            "{line}"
        );
        fs::write(image.update().unwrap(), header("1", 1)).unwrap();
        let line = told().unwrap();
        assert!(
            line.starts_with("The disk starts another build of 1 than the last one; --update"),
            "{line}"
        );

        // The other slot has the last build, and is not the one to start until it is the better one.
        disk.write_at(layout::SLOT_B.start, &header("1", 1)).unwrap();
        assert!(told().is_some());
        let mut state = State::flashed();
        state.abandon(Slot::A);
        remember(&disk, &state);
        assert_eq!(told(), None);
    }

    #[test]
    fn a_disk_that_has_lost_its_bootstate_is_left_to_the_box() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path());
        let disk = Disk::open(&image.disk().unwrap()).unwrap();
        fs::write(image.update().unwrap(), header("2", 0)).unwrap();
        for copy in Copy::ALL {
            disk.flip_bit(layout::BOOTSTATE.start + copy.at() + 20, 0)
                .unwrap();
        }
        assert_eq!(difference(&disk, &image).unwrap(), None);
    }
}
