//! The disk of a box that starts from power-on: what lies below the mail, as somebody sees it who takes the card out.

use std::io::{self, Cursor, Write};

use fatfs::{FileSystem, FsOptions};
use format::bootstate::{COPY_OCTETS, Copy, Found};
use format::gpt::Table;
use format::layout::{BOOTSTATE, DATA, ESP, place};
use format::{Slot, State};
use qemu::Disk;

/// Where ext4 keeps the number of its blocks and its magic number, from the start of the file system
/// (Documentation/filesystems/ext4/super.rst).
const EXT4_BLOCKS_AT: u64 = 1024 + 4;
const EXT4_BLOCK_OCTETS: u64 = 4096;

/// A flashed disk while the power is off.
#[derive(Clone, Copy, Debug)]
pub struct Card<'a>(pub &'a Disk);

impl Card<'_> {
    /// Writes a version into a slot.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&self, slot: Slot, version: &[u8]) -> io::Result<()> {
        self.write(place(slot).start, version)
    }

    /// Turns one bit of a slot around.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flip(&self, slot: Slot, at: usize) -> io::Result<()> {
        self.0
            .flip_bit(place(slot).start + at as u64, 3)
            .map_err(io::Error::other)
    }

    /// What loader and init remember.
    ///
    /// # Errors
    /// Neither copy is valid, or the file cannot be read.
    pub fn bootstate(&self) -> io::Result<State> {
        self.copies()?
            .state
            .ok_or_else(|| io::Error::other("neither copy of the bootstate is valid"))
    }

    /// Both copies of it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn copies(&self) -> io::Result<Found> {
        let mut copies = [[0; COPY_OCTETS]; 2];
        for (copy, octets) in Copy::ALL.into_iter().zip(&mut copies) {
            self.read(BOOTSTATE.start + copy.at(), octets)?;
        }
        Ok(Found::new(Some(&copies[0]), Some(&copies[1])))
    }

    /// Changes it, in both copies.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn remember(&self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut state = self.bootstate()?;
        change(&mut state);
        for copy in Copy::ALL {
            state.sequence += 1;
            self.write(BOOTSTATE.start + copy.at(), &state.encode())?;
        }
        Ok(())
    }

    /// Writes `version` into slot B, as one that is on trial next.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn try_in_b(&self, version: &[u8]) -> io::Result<()> {
        self.put(Slot::B, version)?;
        self.remember(|state| state.install(Slot::B))
    }

    /// Puts a file on the partition that the firmware reads, as somebody does who has the card in their computer. One that is
    /// there is replaced.
    ///
    /// # Errors
    /// The partition cannot be read or written, or has no room for it.
    pub fn put_on_esp(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let mut partition = vec![0; usize::try_from(ESP.octets).map_err(io::Error::other)?];
        self.read(ESP.start, &mut partition)?;
        let volume = FileSystem::new(Cursor::new(partition.as_mut_slice()), FsOptions::new())?;
        let mut file = volume.root_dir().create_file(name)?;
        file.truncate()?;
        file.write_all(octets)?;
        drop(file);
        volume.unmount()?;
        self.write(ESP.start, &partition)
    }

    /// Damages a copy of the bootstate as a torn write does: its second half is old.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn tear(&self, copy: Copy) -> io::Result<()> {
        self.write(BOOTSTATE.start + copy.at() + 40, &[0x5a; COPY_OCTETS - 40])
    }

    /// The partition table.
    ///
    /// # Errors
    /// Neither copy of it is valid.
    pub fn table(&self) -> io::Result<Table> {
        let octets = self.0.octets().map_err(io::Error::other)?;
        let read = |at, into: &mut [u8]| self.0.read_at(at, into).is_ok();
        Table::read(octets, read)
            .map(|(table, _)| table)
            .map_err(|damage| io::Error::other(format!("the partition table: {damage:?}")))
    }

    /// The size of the file system on the data partition, in octets, by its own word.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file_system_octets(&self) -> io::Result<u64> {
        let mut blocks = [0; 4];
        self.read(DATA.start + EXT4_BLOCKS_AT, &mut blocks)?;
        Ok(u64::from(u32::from_le_bytes(blocks)) * EXT4_BLOCK_OCTETS)
    }

    /// Reads anywhere.
    ///
    /// # Errors
    /// The file ends before.
    pub fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(at, into).map_err(io::Error::other)
    }

    /// Writes anywhere.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, at: u64, octets: &[u8]) -> io::Result<()> {
        self.0.write_at(at, octets).map_err(io::Error::other)
    }

    /// Whether these octets lie anywhere on the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn holds(&self, needle: &[u8]) -> io::Result<bool> {
        const STEP: usize = 4 << 20;
        let octets = self.0.octets().map_err(io::Error::other)?;
        let mut window = vec![0; STEP + needle.len()];
        let mut at = 0;
        while at < octets {
            let length = usize::try_from(octets - at)
                .unwrap_or(usize::MAX)
                .min(window.len());
            self.read(at, &mut window[..length])?;
            if window[..length]
                .windows(needle.len())
                .any(|found| found == needle)
            {
                return Ok(true);
            }
            at += STEP as u64;
        }
        Ok(false)
    }
}
