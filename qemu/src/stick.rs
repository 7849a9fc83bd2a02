//! A USB stick as an installer would prepare it: one FAT partition with a few files on it.

use std::fs;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

const SECTOR: u32 = 512;
/// Where partitioning tools put the first partition (1 MiB), in sectors.
const PARTITION_START: u32 = 2048;
/// 16 MiB: large enough for FAT16. A stick with more on it gets as much again.
const PARTITION_SECTORS_MIN: u32 = 32_768;
/// FAT16 addressed by sector number: what a small stick bears.
const PARTITION_TYPE: u8 = 0x0e;

/// A stick that can be put into a machine. It is read-only there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stick {
    path: PathBuf,
}

impl Stick {
    /// Prepares a stick in the file `path`, with `files` (name and octets) in its top folder.
    pub fn prepare(path: &Path, files: &[(&str, &[u8])]) -> Result<Self, Error> {
        let sectors = PARTITION_SECTORS_MIN + sectors_of(files);
        let partition = partition(sectors, files).map_err(Error::file("prepare the stick", path))?;
        let write = || {
            let mut file = fs::File::create(path)?;
            file.write_all(&master_boot_record(sectors))?;
            file.seek(SeekFrom::Start(u64::from(PARTITION_START * SECTOR)))?;
            file.write_all(&partition)
        };
        write().map_err(Error::file("write the stick", path))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// How much the files take, a little generously: nothing below a mebibyte counts.
fn sectors_of(files: &[(&str, &[u8])]) -> u32 {
    let mebibytes: usize = files.iter().map(|(_, data)| data.len() >> 20).sum();
    u32::try_from(mebibytes).unwrap_or(u32::MAX >> 11) << 11
}

/// A FAT16 file system with the files.
fn partition(sectors: u32, files: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
    let mut octets = vec![0; sectors as usize * SECTOR as usize];
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat16)
        .volume_id(0x2026_0101)
        .volume_label(*b"POSTOLKA   ");
    fatfs::format_volume(Cursor::new(octets.as_mut_slice()), options)?;
    let volume = fatfs::FileSystem::new(Cursor::new(octets.as_mut_slice()), fatfs::FsOptions::new())?;
    for (name, data) in files {
        volume.root_dir().create_file(name)?.write_all(data)?;
    }
    volume.unmount()?;
    Ok(octets)
}

/// The first sector: a table of four partitions, one of them ours.
///
/// ```text
/// 440 disk id   446 status, first CHS (unused), type, last CHS (unused), first sector, sectors   510 55 AA
/// ```
fn master_boot_record(sectors: u32) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    sector[440..444].copy_from_slice(&0x2026_0101_u32.to_le_bytes());
    sector[447..450].copy_from_slice(&[0xfe, 0xff, 0xff]);
    sector[450] = PARTITION_TYPE;
    sector[451..454].copy_from_slice(&[0xfe, 0xff, 0xff]);
    sector[454..458].copy_from_slice(&PARTITION_START.to_le_bytes());
    sector[458..462].copy_from_slice(&sectors.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::*;

    const FILE: (&str, &[u8]) = ("postolka.toml", b"[[domain]]\nname = \"firma.test\"\n");

    /// What stands on the partition of a stick under a name.
    fn read_back(stick: &Stick, name: &str) -> Vec<u8> {
        let octets = fs::read(stick.path()).unwrap();
        let start = u32::from_le_bytes(octets[454..458].try_into().unwrap()) as usize * 512;
        let length = u32::from_le_bytes(octets[458..462].try_into().unwrap()) as usize * 512;
        assert_eq!(octets.len(), start + length);
        let partition = Cursor::new(octets[start..].to_vec());
        let volume = fatfs::FileSystem::new(partition, fatfs::FsOptions::new()).unwrap();
        assert_eq!(volume.fat_type(), fatfs::FatType::Fat16);
        let mut data = Vec::new();
        let root = volume.root_dir();
        root.open_file(name).unwrap().read_to_end(&mut data).unwrap();
        data
    }

    #[test]
    fn the_file_is_on_the_partition_under_its_long_name() {
        let folder = tempfile::tempdir().unwrap();
        let stick = Stick::prepare(&folder.path().join("stick"), &[FILE]).unwrap();
        assert_eq!(read_back(&stick, FILE.0), FILE.1);
    }

    #[test]
    fn a_stick_is_as_large_as_what_is_on_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let update = vec![7; (31 << 20) + 4096];
        let files = [FILE, ("postolka.update", update.as_slice())];
        let stick = Stick::prepare(&folder.path().join("stick"), &files).unwrap();
        assert_eq!(read_back(&stick, FILE.0), FILE.1);
        assert!(
            read_back(&stick, "postolka.update") == update,
            "the update differs"
        );
    }

    #[test]
    fn the_same_files_give_the_same_stick() {
        let folder = tempfile::tempdir().unwrap();
        let one = Stick::prepare(&folder.path().join("one"), &[FILE]).unwrap();
        let other = Stick::prepare(&folder.path().join("other"), &[FILE]).unwrap();
        let same = fs::read(one.path()).unwrap() == fs::read(other.path()).unwrap();
        assert!(same, "the sticks differ");
    }

    /// The judge is another program that reads FAT: mtools, where it is installed.
    #[test]
    fn mtools_reads_the_stick() {
        let folder = tempfile::tempdir().unwrap();
        let stick = Stick::prepare(&folder.path().join("stick"), &[FILE]).unwrap();
        let image = format!("{}@@1M", stick.path().display());
        let Ok(output) = Command::new("mtype")
            .args(["-i", &image, "::postolka.toml"])
            .output()
        else {
            println!("NOT RUN: mtools is not installed");
            return;
        };
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.stdout, FILE.1);
    }
}
