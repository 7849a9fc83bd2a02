//! What was written and not flushed, over the file that holds what was.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::sparse::is_zero;

/// What a disk writes whole or not at all.
pub(super) const SECTOR_OCTETS: u64 = 512;
const SECTOR: usize = 512;
/// So many sectors may be in the cache, older states included: 128 MiB. A cache that is full writes all it has, like that
/// of a disk.
const STATES_MAX: usize = 256 * 1024;

type Sector = Box<[u8; SECTOR]>;

#[derive(Debug)]
pub(super) struct Cache {
    file: File,
    octets: u64,
    /// For each sector that was written since the last flush what it was since, the newest last.
    unflushed: BTreeMap<u64, Vec<Sector>>,
    states: usize,
    states_max: usize,
}

/// What a cut has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Sectors that were written since the last flush.
    pub unflushed: usize,
    /// Those of them that are as they were at the last flush.
    pub lost: usize,
    /// Those of them that are as they were between two writes to them.
    pub older: usize,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            unflushed,
            lost,
            older,
        } = self;
        write!(f, "of {unflushed} unflushed sectors {lost} lost, {older} older")
    }
}

impl Cache {
    pub(super) fn over(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let octets = file.metadata()?.len();
        Ok(Self {
            file,
            octets,
            unflushed: BTreeMap::new(),
            states: 0,
            states_max: STATES_MAX,
        })
    }

    #[cfg(test)]
    pub(super) fn holding_at_most(mut self, states_max: usize) -> Self {
        self.states_max = states_max;
        self
    }

    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) fn read(&self, offset: u64, octets: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(octets, offset)?;
        let first = offset / SECTOR_OCTETS;
        let last = first + (octets.len() / SECTOR) as u64;
        for (&number, states) in self.unflushed.range(first..last) {
            let at = usize::try_from((number - first) * SECTOR_OCTETS).expect("it lies within what is read");
            octets[at..at + SECTOR].copy_from_slice(newest(states));
        }
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, octets: &[u8]) -> io::Result<()> {
        for (number, sector) in sectors(offset, octets) {
            self.unflushed.entry(number).or_default().push(Box::new(*sector));
            self.states += 1;
        }
        if self.states > self.states_max {
            self.flush()?;
        }
        Ok(())
    }

    /// A write with FUA: it is in the file when this returns, and what was written before it elsewhere need not be.
    pub(super) fn write_through(&mut self, offset: u64, octets: &[u8]) -> io::Result<()> {
        for (number, sector) in sectors(offset, octets) {
            self.states -= self.unflushed.remove(&number).map_or(0, |states| states.len());
            self.put(number, sector)?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let unflushed = std::mem::take(&mut self.unflushed);
        self.states = 0;
        unflushed
            .iter()
            .try_for_each(|(&number, states)| self.put(number, newest(states)))
    }

    /// Draws what survives. A cache is sometimes nearly empty and sometimes nearly full when the power goes, so how much
    /// survives is drawn first.
    pub(super) fn cut(&mut self, random: &mut dyn FnMut() -> u64) -> io::Result<Lost> {
        let unflushed = std::mem::take(&mut self.unflushed);
        self.states = 0;
        let kept_of_8 = random() % 8;
        let mut lost = Lost {
            unflushed: unflushed.len(),
            ..Lost::default()
        };
        for (&number, states) in &unflushed {
            if random() % 8 >= kept_of_8 {
                lost.lost += 1;
                continue;
            }
            // What was written last, or one of all states, each as likely.
            let state = if random().is_multiple_of(2) {
                usize::try_from(random() % states.len() as u64).expect("it is below a usize")
            } else {
                states.len() - 1
            };
            lost.older += usize::from(state + 1 < states.len());
            self.put(number, &states[state])?;
        }
        Ok(lost)
    }

    fn put(&self, number: u64, sector: &[u8; SECTOR]) -> io::Result<()> {
        let offset = number * SECTOR_OCTETS;
        if is_zero(sector) {
            // A hole stays one: making a file system writes many zeros.
            let mut before = [0; SECTOR];
            self.file.read_exact_at(&mut before, offset)?;
            if is_zero(&before) {
                return Ok(());
            }
        }
        self.file.write_all_at(sector, offset)
    }
}

fn newest(states: &[Sector]) -> &[u8; SECTOR] {
    states.last().expect("a sector is entered with its first state")
}

/// The sectors of a write, which is a whole number of them.
fn sectors(offset: u64, octets: &[u8]) -> impl Iterator<Item = (u64, &[u8; SECTOR])> {
    let (sectors, _) = octets.as_chunks::<SECTOR>();
    (offset / SECTOR_OCTETS..).zip(sectors)
}
