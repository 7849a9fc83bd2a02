//! A partition in memory whose power can be cut: what was not settled by then is there or not, by the sector. And a box
//! made of them, which the loader's own decision starts.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use format::boot::{Attempt, Event, Media};
use format::bootstate::{COPY_OCTETS, Copy};
use format::header::{About, HEADER_OCTETS, Parts};
use format::{Board, Fault, Header, Needs, Roots, SigningKey, Slot, State};

use super::bootstate;
use super::check::Raws;
use super::partition::Raw;
use super::write;

/// What any disk writes whole or not at all.
const SECTOR_OCTETS: usize = 512;

/// The partition.
#[derive(Clone)]
pub(crate) struct Memory {
    durable: Vec<u8>,
    /// Writes since the last time it was settled, in their order, by the sector.
    pending: Vec<(usize, Vec<u8>)>,
    /// Of the whole disk, which may have several partitions.
    operations_left: Option<Rc<Cell<usize>>>,
    keeps: fn(usize) -> bool,
    writes: usize,
    is_lying: bool,
    /// So many of the next readings fail.
    failing_reads: usize,
}

impl Memory {
    pub(crate) fn new(octets: usize) -> Self {
        Self {
            durable: vec![0; octets],
            pending: Vec::new(),
            operations_left: None,
            keeps: |_| true,
            writes: 0,
            is_lying: false,
            failing_reads: 0,
        }
    }

    /// Puts something there as if it had been there before.
    pub(crate) fn durable_mut(&mut self, at: u64, octets: &[u8]) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.durable[at..at + octets.len()].copy_from_slice(octets);
    }

    pub(crate) fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub(crate) fn writes(&self) -> usize {
        self.writes
    }

    /// The power goes after so many operations; of what is not settled then, these sectors are kept.
    pub(crate) fn cut_after(&mut self, operations: usize, keeps: fn(usize) -> bool) {
        self.operations_left = Some(Rc::new(Cell::new(operations)));
        self.keeps = keeps;
    }

    /// From here on it says that it writes, and does not.
    pub(crate) fn lie(&mut self) {
        self.is_lying = true;
    }

    /// So many of the next readings fail.
    pub(crate) fn fail_reads(&mut self, count: usize) {
        self.failing_reads = count;
    }

    /// After a cut: what is left on the disk.
    pub(crate) fn power_on(&mut self) {
        for (start, octets) in std::mem::take(&mut self.pending) {
            if (self.keeps)(start / SECTOR_OCTETS) {
                self.durable[start..start + octets.len()].copy_from_slice(&octets);
            }
        }
        self.operations_left = None;
    }

    fn step(&mut self) -> io::Result<()> {
        let Some(left) = &self.operations_left else {
            return Ok(());
        };
        let rest = left.get().checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        left.set(rest);
        Ok(())
    }
}

impl Raw for Memory {
    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.step()?;
        if let Some(rest) = self.failing_reads.checked_sub(1) {
            self.failing_reads = rest;
            return Err(nix::errno::Errno::EIO.into());
        }
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let from = self.durable.get(at..at + into.len());
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        // What is not settled is read as it was written: from the kernel's memory.
        for (start, octets) in &self.pending {
            for (place, octet) in (*start..).zip(octets) {
                if let Some(to) = place.checked_sub(at).and_then(|index| into.get_mut(index)) {
                    *to = *octet;
                }
            }
        }
        Ok(())
    }

    fn write_at(&mut self, at: u64, octets: &[u8]) -> io::Result<()> {
        self.step()?;
        self.writes += 1;
        let at = usize::try_from(at).map_err(io::Error::other)?;
        if at + octets.len() > self.durable.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.is_lying {
            return Ok(());
        }
        for (index, sector) in octets.chunks(SECTOR_OCTETS).enumerate() {
            self.pending.push((at + index * SECTOR_OCTETS, sector.to_vec()));
        }
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        self.step()?;
        for (start, octets) in std::mem::take(&mut self.pending) {
            self.durable[start..start + octets.len()].copy_from_slice(&octets);
        }
        Ok(())
    }
}

/// A slot's octets, signed with a key that [`roots`] vouches for.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) octets: Vec<u8>,
}

/// What a version of the tests is made of, so that one thing of it can be wrong.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) version: u64,
    pub(crate) min_from: u64,
    pub(crate) loader_min: u32,
    pub(crate) boards: u32,
    pub(crate) epoch: u32,
    pub(crate) kernel_octets: usize,
}

const ROOT: [u8; 32] = [1; 32];
const RELEASE: [u8; 32] = [2; 32];

/// The keys the box of the tests trusts.
pub(crate) fn roots() -> [[u8; 32]; 1] {
    [SigningKey::from_seed(ROOT).public()]
}

pub(crate) fn needs() -> Needs {
    Needs {
        board: Board::Virt,
        loader: 1,
        min_epoch: 0,
        min_version: 0,
    }
}

impl Made {
    pub(crate) fn version(version: u64) -> Self {
        Recipe::version(version).make()
    }
}

impl Recipe {
    pub(crate) fn version(version: u64) -> Self {
        Self {
            version,
            min_from: 0,
            loader_min: 1,
            boards: Board::Virt.bit(),
            epoch: 1,
            // Two chunks.
            kernel_octets: (1 << 20) + 3000,
        }
    }

    pub(crate) fn make(&self) -> Made {
        let (root, release) = (SigningKey::from_seed(ROOT), SigningKey::from_seed(RELEASE));
        let parts = Parts {
            kernel: u32::try_from(self.kernel_octets).unwrap(),
            cpio: 5000,
            command_line: 5,
        };
        let mut octets = vec![0; parts.slot_octets()];
        // Different versions differ in every sector.
        for (index, octet) in octets.iter_mut().enumerate().skip(HEADER_OCTETS) {
            *octet = u8::try_from((index / 7 + usize::try_from(self.version).unwrap()) % 251).unwrap();
        }
        let name = format!("test {}", self.version);
        let about = About {
            boards: self.boards,
            version: self.version,
            min_from: self.min_from,
            loader_min: self.loader_min,
            built: 0,
            name: &name,
        };
        let certificate = root.certify(release.public(), self.epoch, true);
        let header = Header::unsigned(about, parts, certificate).unwrap();
        let header = header.sign(&octets[HEADER_OCTETS..], &release).unwrap();
        octets[..HEADER_OCTETS].copy_from_slice(&header);
        Made { octets }
    }
}

/// A box of the loader's: what is on its disk, and what it started last.
pub(crate) struct Box {
    pub(crate) raws: Raws<Memory>,
    pub(crate) started: Option<(Slot, u64)>,
    /// How it was.
    pub(crate) attempt: Option<Attempt>,
    loaded: u64,
    left: Option<Rc<Cell<usize>>>,
}

impl Box {
    /// A box that runs `a`, with `b` beside it, both good.
    pub(crate) fn with(a: &Made, b: &Made) -> Self {
        let slot = |made: &Made| {
            let mut raw = Memory::new(3 << 20);
            raw.durable_mut(0, &made.octets);
            raw
        };
        let mut state = State::flashed();
        let mut bootstate = Memory::new(8 << 20);
        for copy in Copy::ALL {
            state.sequence += 1;
            bootstate.durable_mut(copy.at(), &state.encode());
        }
        Self {
            raws: Raws {
                bootstate,
                slots: [slot(a), slot(b)],
            },
            started: None,
            attempt: None,
            loaded: 0,
            left: None,
        }
    }

    fn all(&mut self) -> [&mut Memory; 3] {
        let [a, b] = &mut self.raws.slots;
        [&mut self.raws.bootstate, a, b]
    }

    pub(crate) fn state(&mut self) -> State {
        bootstate::load(&mut self.raws.bootstate).unwrap()
    }

    /// Changes the bootstate, as if it had been so before.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        for copy in Copy::ALL {
            state.sequence += 1;
            self.raws.bootstate.durable_mut(copy.at(), &state.encode());
        }
    }

    pub(crate) fn writes(&mut self) -> usize {
        self.all().iter().map(|raw| raw.writes).sum()
    }

    /// The power goes after so many operations on the whole disk.
    pub(crate) fn cut_after(&mut self, operations: usize, keeps: fn(usize) -> bool) {
        let left = Rc::new(Cell::new(operations));
        for raw in self.all() {
            raw.operations_left = Some(Rc::clone(&left));
            raw.keeps = keeps;
        }
        self.left = Some(left);
    }

    pub(crate) fn power_on(&mut self) {
        self.left = None;
        self.all().into_iter().for_each(Memory::power_on);
    }
}

impl Media for Box {
    fn read_copy(&mut self, copy: Copy) -> Option<[u8; COPY_OCTETS]> {
        let mut octets = [0; COPY_OCTETS];
        self.raws.bootstate.read_at(copy.at(), &mut octets).ok()?;
        Some(octets)
    }

    fn write_copy(&mut self, copy: Copy, octets: &[u8; COPY_OCTETS]) -> bool {
        let raw = &mut self.raws.bootstate;
        self.started.is_none() && raw.write_at(copy.at(), octets).is_ok() && raw.settle().is_ok()
    }

    fn load(&mut self, slot: Slot, min_epoch: u32, min_version: u64) -> Result<u64, Fault> {
        let header = write::verify(self.raws.slot(slot), Roots(&roots()))?;
        header.admit(&Needs {
            min_epoch,
            min_version,
            ..needs()
        })?;
        self.loaded = header.version;
        Ok(header.version)
    }

    fn start(&mut self, slot: Slot, attempt: Attempt) -> Fault {
        // The first counts: a loader that started something does not come back, and writes nothing more.
        if self.started.is_none() {
            (self.started, self.attempt) = (Some((slot, self.loaded)), Some(attempt));
        }
        Fault::Load
    }

    fn report(&mut self, _: Event) {}
}
