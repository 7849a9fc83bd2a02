//! The factory reset: everything on the data device is discarded, overwritten with zeros once, and made new.
//!
//! ```text
//! on the way down, unmounted:  the mark, in the first sector     durable; from here on there is no way back
//! at the next start:           discard · zeros, step by step, each written down in the mark's sector
//!                              then the new file system, under a mark of its own (disk/pristine)
//! ```
//!
//! Whenever the power goes in between, the next start goes on with it. The version floors are elsewhere and stay (D42).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::disk::content::RESET;
use crate::disk::device;

/// The first sector holds the mark.
const SECTOR_OCTETS: usize = 512;
const SECTOR: u64 = SECTOR_OCTETS as u64;
/// Where it has how far the zeros have come: octets, little-endian.
const DONE: core::ops::Range<usize> = 32..40;
/// Written at a time: some seconds on a slow card, which a power cut repeats.
const STEP_OCTETS: u64 = 64 << 20;

/// A device that is reset. The tests have one whose power can be cut.
trait Target {
    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()>;
    fn write_at(&mut self, at: u64, octets: &[u8]) -> io::Result<()>;
    /// Nothing from `start` up to `end` is needed any more.
    fn discard(&mut self, start: u64, end: u64);
    /// Zeros from `start` up to `end`, written.
    fn zero(&mut self, start: u64, end: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Target for File {
    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }

    fn write_at(&mut self, at: u64, octets: &[u8]) -> io::Result<()> {
        self.write_all_at(octets, at)
    }

    fn discard(&mut self, start: u64, end: u64) {
        // A device that cannot has nothing to gain by it.
        let _ = device::discard(self, start, end);
    }

    fn zero(&mut self, start: u64, end: u64) -> io::Result<()> {
        Ok(device::zero_out(self, start, end)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Marks `device` as one to be reset, durably. It must not be mounted.
pub(crate) fn begin(device: &Path) -> io::Result<()> {
    mark(&mut OpenOptions::new().write(true).open(device)?, 0)
}

/// Overwrites a marked device of this size, from where it was cut off. `progress` is told the per cent.
///
/// When this returns `Ok`, nothing is on the device but the mark.
pub(crate) fn finish(device: &Path, octets: u64, progress: impl FnMut(u64)) -> io::Result<()> {
    let mut device = OpenOptions::new().read(true).write(true).open(device)?;
    overwrite(&mut device, octets, progress)
}

fn mark(target: &mut impl Target, done: u64) -> io::Result<()> {
    let mut sector = [0; SECTOR_OCTETS];
    sector[..RESET.len()].copy_from_slice(RESET);
    sector[DONE].copy_from_slice(&done.to_le_bytes());
    target.write_at(0, &sector)?;
    target.sync()
}

fn overwrite(target: &mut impl Target, octets: u64, mut progress: impl FnMut(u64)) -> io::Result<()> {
    let mut sector = [0; SECTOR_OCTETS];
    target.read_at(0, &mut sector)?;
    let mut done = [0; 8];
    done.copy_from_slice(&sector[DONE]);
    // Whole steps only: what else it says, nobody wrote.
    let mut at = u64::from_le_bytes(done) / STEP_OCTETS * STEP_OCTETS;
    if at > octets {
        at = 0;
    }
    let end = octets / SECTOR * SECTOR;
    // Quick, and gives a card back its room also where the zeros are cut off for ever.
    target.discard(at.max(SECTOR), end);
    while at < end {
        progress(at * 100 / end);
        let next = (at + STEP_OCTETS).min(end);
        target.zero(at.max(SECTOR), next)?;
        target.sync()?;
        mark(target, next)?;
        at = next;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::Content;
    use crate::disk::content::recognise;

    /// A device of so many steps, of which the tests keep the first and the last sector of each.
    struct Steps {
        octets: u64,
        /// By the number of the sector: whether it is zero, as far as it is durable.
        sectors: Vec<(u64, bool)>,
        pending: Vec<(u64, u64)>,
        mark: [u8; 512],
        pending_mark: Option<[u8; 512]>,
        operations_left: usize,
        discards: bool,
    }

    impl Steps {
        fn new(octets: u64) -> Self {
            let ends = (0..octets).step_by(usize::try_from(STEP_OCTETS).unwrap());
            let sectors =
                ends.flat_map(|at| [at, at + 512, (at + STEP_OCTETS).min(octets) / 512 * 512 - 512]);
            Self {
                octets,
                sectors: sectors.filter(|&at| at > 0).map(|at| (at, false)).collect(),
                pending: Vec::new(),
                mark: [0x5a; 512],
                pending_mark: None,
                operations_left: usize::MAX,
                discards: false,
            }
        }

        fn step(&mut self) -> io::Result<()> {
            self.operations_left = self
                .operations_left
                .checked_sub(1)
                .ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(())
        }

        fn is_empty(&self) -> bool {
            self.sectors.iter().all(|(_, is_zero)| *is_zero)
        }
    }

    impl Target for Steps {
        fn read_at(&mut self, _: u64, into: &mut [u8]) -> io::Result<()> {
            into.copy_from_slice(&self.mark);
            Ok(())
        }

        fn write_at(&mut self, at: u64, octets: &[u8]) -> io::Result<()> {
            self.step()?;
            assert_eq!(at, 0);
            self.pending_mark = Some(octets.try_into().unwrap());
            Ok(())
        }

        fn discard(&mut self, start: u64, end: u64) {
            assert!(start >= 512 && end <= self.octets);
            // A discarded sector may come back as it was.
            self.discards = true;
        }

        fn zero(&mut self, start: u64, end: u64) -> io::Result<()> {
            self.step()?;
            assert!(start >= 512 && end <= self.octets);
            assert!(start.is_multiple_of(512) && end.is_multiple_of(512));
            self.pending.push((start, end));
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.step()?;
            for (start, end) in self.pending.drain(..) {
                for (at, is_zero) in &mut self.sectors {
                    *is_zero |= (start..end).contains(at);
                }
            }
            self.mark = self.pending_mark.take().unwrap_or(self.mark);
            Ok(())
        }
    }

    /// Whatever a power cut keeps of what was not synced: here the mark, which is the worst.
    fn cut(steps: &mut Steps) {
        steps.pending.clear();
        steps.mark = steps.pending_mark.take().unwrap_or(steps.mark);
        steps.operations_left = usize::MAX;
    }

    #[test]
    fn d42_a_reset_that_is_cut_anywhere_goes_on_until_nothing_is_left() {
        for octets in [1 << 20, STEP_OCTETS, 3 * STEP_OCTETS + 512 * 9 + 100] {
            for operations in 0..20 {
                let mut steps = Steps::new(octets);
                mark(&mut steps, 0).unwrap();
                steps.operations_left = operations;
                let mut is_done = overwrite(&mut steps, octets, |_| {}).is_ok();
                while !is_done {
                    cut(&mut steps);
                    // Until it is done it is known for what it is, and no file system is made.
                    assert_eq!(recognise(&steps.mark, &[]), Content::Reset);
                    steps.operations_left = operations + 4;
                    is_done = overwrite(&mut steps, octets, |_| {}).is_ok();
                }
                assert!(steps.is_empty() && steps.discards, "{octets} {operations}");
            }
        }
    }

    #[test]
    fn it_goes_on_where_it_was_and_says_how_far_it_has_come() {
        let mut steps = Steps::new(4 * STEP_OCTETS);
        mark(&mut steps, 2 * STEP_OCTETS).unwrap();
        let mut told = Vec::new();
        overwrite(&mut steps, 4 * STEP_OCTETS, |percent| told.push(percent)).unwrap();
        assert_eq!(told, [50, 75]);
        // A number that is none is no reason to leave anything out.
        let mut steps = Steps::new(STEP_OCTETS);
        mark(&mut steps, u64::MAX).unwrap();
        overwrite(&mut steps, STEP_OCTETS, |_| {}).unwrap();
        assert!(steps.is_empty());
    }

    #[test]
    fn the_mark_is_on_a_real_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        begin(file.path()).unwrap();
        let octets = std::fs::read(file.path()).unwrap();
        assert_eq!(recognise(&octets, &[]), Content::Reset);
    }
}
