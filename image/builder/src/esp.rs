//! The EFI system partition: FAT16, made in memory by `fatfs`. Serial number and dates are fixed.

use std::io::{Cursor, Write};
use std::ops::Range;

use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};
use format::layout::{BLOCK_OCTETS, ESP};

use crate::error::Error;

/// Where UEFI looks for what to start on a disk it has no entry for (UEFI 2.10 §3.5.1.1).
pub(crate) const LOADER: &str = "EFI/BOOT/BOOTAA64.EFI";

const CLUSTER_OCTETS: u32 = 2048;
const ENTRY_OCTETS: usize = 32;
const ATTRIBUTE_FOLDER: u8 = 0x10;
const SERIAL: u32 = 0x7074_6f6b;
const LABEL: &[u8; 11] = b"POSTOLKA   ";

/// A file with its path, parts of which are separated by `/`.
pub(crate) type File = (String, Vec<u8>);

/// The partition's octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Esp {
    pub(crate) octets: Vec<u8>,
    /// So many of them, from the start, say something; behind them is room that is free.
    pub(crate) used: usize,
}

/// Makes the file system with these files. The same files give the same octets.
pub(crate) fn esp(files: &[File]) -> Result<Esp, Error> {
    let mut octets = empty()?;
    let free = fill(&mut octets, files)?;
    straighten(&mut octets);
    // Nothing is ever deleted here, so the free clusters are the last ones.
    let used = octets.len() - free as usize * CLUSTER_OCTETS as usize;
    Ok(Esp { octets, used })
}

/// Fills the file system; gives the number of clusters that stay free.
fn fill(octets: &mut [u8], files: &[File]) -> Result<u32, Error> {
    let wanted: usize = files.iter().map(|(_, octets)| octets.len()).sum();
    let options = FsOptions::new()
        .update_accessed_date(false)
        .time_provider(&FIXED_DATE);
    let system = FileSystem::new(Cursor::new(octets), options).map_err(Error::Esp)?;
    let free = |system: &FileSystem<_>| system.stats().map(|stats| stats.free_clusters());
    let place = u64::from(free(&system).map_err(Error::Esp)?) * u64::from(CLUSTER_OCTETS);
    if wanted as u64 > place {
        return Err(Error::EspFull {
            wanted: wanted as u64,
            place,
        });
    }
    for (path, octets) in files {
        let root = system.root_dir();
        let mut folder = String::new();
        let (folders, _) = path.rsplit_once('/').unwrap_or(("", path));
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            folder.push_str(part);
            root.create_dir(&folder).map_err(Error::Esp)?;
            folder.push('/');
        }
        let mut file = root.create_file(path).map_err(Error::Esp)?;
        file.truncate().map_err(Error::Esp)?;
        file.write_all(octets).map_err(Error::Esp)?;
        file.flush().map_err(Error::Esp)?;
    }
    let free = free(&system).map_err(Error::Esp)?;
    system.unmount().map_err(Error::Esp)?;
    Ok(free)
}

/// `fatfs` 0.3 gives the entries `.` and `..` of a folder long names too, which no other system expects there:
/// the two have to come first, without them. Here they are moved to where they belong.
fn straighten(octets: &mut [u8]) {
    let field = |at: usize| usize::from(u16::from_le_bytes([octets[at], octets[at + 1]]));
    let root = (field(14) + usize::from(octets[16]) * field(22)) * 512;
    let data = root + field(17) * ENTRY_OCTETS;
    straighten_below(octets, root..data, data);
}

/// In a folder of ours, which is so small that its first cluster is all of it, and in those that are in it.
fn straighten_below(octets: &mut [u8], folder: Range<usize>, data: usize) {
    for at in folder.step_by(ENTRY_OCTETS) {
        let entry = &octets[at..at + ENTRY_OCTETS];
        if entry[11] != ATTRIBUTE_FOLDER || entry[0] == b'.' {
            continue;
        }
        let cluster = usize::from(u16::from_le_bytes([entry[26], entry[27]]));
        let start = data + (cluster - 2) * CLUSTER_OCTETS as usize;
        let place = start..start + CLUSTER_OCTETS as usize;
        let (dots, others): (Vec<_>, Vec<_>) = octets[place.clone()]
            .chunks(ENTRY_OCTETS)
            .partition(|entry| entry[0] == b'.' && entry[11] == ATTRIBUTE_FOLDER);
        // Before each of the two lay its long name.
        let straight: Vec<u8> = [dots.as_slice(), &others[2..]].concat().concat();
        octets[place.clone()].fill(0);
        octets[start..start + straight.len()].copy_from_slice(&straight);
        straighten_below(octets, place, data);
    }
}

/// Whether an ESP begins as those made here do. Systems that mount it change flags and names, and not where things lie.
pub(crate) fn has_our_geometry(octets: &[u8]) -> bool {
    const GEOMETRY: Range<usize> = 11..36;
    let is_ours = |ours: &[u8]| octets.get(GEOMETRY) == ours.get(GEOMETRY);
    octets.len() as u64 == ESP.octets
        && octets.get(510..512) == Some(&[0x55, 0xaa])
        && empty().is_ok_and(|ours| is_ours(&ours))
}

/// A file system without files.
fn empty() -> Result<Vec<u8>, Error> {
    let mut octets = vec![0; usize::try_from(ESP.octets).unwrap_or(usize::MAX)];
    let format = FormatVolumeOptions::new()
        .fat_type(FatType::Fat16)
        .bytes_per_cluster(CLUSTER_OCTETS)
        .volume_id(SERIAL)
        .volume_label(*LABEL);
    fatfs::format_volume(Cursor::new(octets.as_mut_slice()), format).map_err(Error::Esp)?;
    put_hidden_sectors(&mut octets);
    Ok(octets)
}

/// How many sectors lie before the partition: some firmware trusts this more than the partition table. `fatfs` writes 0.
fn put_hidden_sectors(octets: &mut [u8]) {
    let sectors = u32::try_from(ESP.start / BLOCK_OCTETS).unwrap_or(0);
    octets[28..32].copy_from_slice(&sectors.to_le_bytes());
}

#[derive(Debug)]
struct FixedDate;

static FIXED_DATE: FixedDate = FixedDate;

impl TimeProvider for FixedDate {
    fn get_current_date(&self) -> Date {
        Date {
            year: 2026,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: self.get_current_date(),
            time: Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::*;

    pub(crate) fn files() -> Vec<File> {
        let long = (0..=255).cycle().take(300_001).collect();
        vec![
            (LOADER.to_owned(), b"MZ a loader".to_vec()),
            ("config.txt".to_owned(), Vec::new()),
            ("bcm2837-rpi-3-b-plus.dtb".to_owned(), long),
        ]
    }

    fn read(system: &FileSystem<Cursor<Vec<u8>>>, path: &str) -> Vec<u8> {
        let mut found = Vec::new();
        let mut file = system.root_dir().open_file(path).unwrap();
        file.read_to_end(&mut found).unwrap();
        found
    }

    #[test]
    fn the_same_files_give_the_same_octets() {
        assert_eq!(esp(&files()).unwrap(), esp(&files()).unwrap());
    }

    #[test]
    fn what_was_put_in_is_read_back() {
        let esp = esp(&files()).unwrap();
        assert!(has_our_geometry(&esp.octets));
        let system = FileSystem::new(Cursor::new(esp.octets), FsOptions::new()).unwrap();
        assert_eq!((system.fat_type(), system.volume_id()), (FatType::Fat16, SERIAL));
        for (path, octets) in files() {
            assert_eq!(read(&system, &path), octets, "{path}");
        }
        assert!(!system.read_status_flags().unwrap().dirty());
    }

    /// What lies behind `used` stays as it was on a card that is flashed by the block map.
    #[test]
    fn nothing_that_is_used_lies_behind_the_used_part() {
        let mut esp = esp(&files()).unwrap();
        assert!(esp.octets[esp.used..].iter().all(|octet| *octet == 0));
        assert!(esp.used < 1 << 20, "{}", esp.used);
        let free = esp.octets.len() - esp.used;
        esp.octets.truncate(esp.used);
        esp.octets.extend(std::iter::repeat_n(0xa5, free));
        let system = FileSystem::new(Cursor::new(esp.octets), FsOptions::new()).unwrap();
        let (path, octets) = files().remove(2);
        assert_eq!(read(&system, &path), octets);
    }

    #[test]
    fn a_folder_begins_with_itself_and_its_parent_and_no_long_names_of_them() {
        let octets = esp(&files()).unwrap().octets;
        let starts = |name: &[u8; 11]| {
            let found = octets
                .windows(11)
                .enumerate()
                .filter(move |(_, window)| *window == name);
            found.map(|(at, _)| at).collect::<Vec<usize>>()
        };
        let (own, parents) = (starts(b".          "), starts(b"..         "));
        assert_eq!(own.len(), 2);
        for (own, parent) in own.into_iter().zip(parents) {
            // The data begin behind 97 sectors.
            assert_eq!((own - 97 * 512) % CLUSTER_OCTETS as usize, 0);
            assert_eq!(parent, own + ENTRY_OCTETS);
        }
    }

    #[test]
    fn files_that_have_no_room_are_refused_before_anything_is_written() {
        let files = vec![("start.elf".to_owned(), vec![1; 17 << 20])];
        let said = esp(&files).unwrap_err().to_string();
        assert!(said.contains("17825792 octets; there is room for"), "{said}");
    }

    /// The judges are other programs that read the format: mtools and dosfstools.
    #[test]
    fn other_programs_find_it_well_formed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("esp");
        std::fs::write(&path, esp(&files()).unwrap().octets).unwrap();
        let copied = Command::new("mcopy")
            .arg("-i")
            .arg(&path)
            .args(["::EFI/BOOT/BOOTAA64.EFI", "-"])
            .output()
            .expect("mtools is installed by tests/run");
        assert_eq!(copied.stdout, b"MZ a loader");
        let check = Command::new("fsck.fat")
            .args(["-n", "-v"])
            .arg(&path)
            .env(
                "PATH",
                format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()),
            )
            .output()
            .expect("dosfstools is installed by tests/run");
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stdout)
        );
    }
}
