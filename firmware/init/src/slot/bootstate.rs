//! The bootstate on its partition: read, mended, written. What it means is `format::bootstate`'s.
//!
//! # Invariants
//! - The newest valid copy is never written over.
//! - A state is begun anew only where both copies can be read and neither is valid: the floors are lost by it.
//! - What was written is read back from the disk before anybody relies on it.

use std::io;

use format::bootstate::{COPY_OCTETS, Copy, Found};
use format::{Slot, State};

use super::partition::Raw;

/// How often a copy is asked for. What stays unreadable counts as damaged and is written next, which often helps; what only
/// was so once may be the newest.
const READS_MAX: usize = 3;

/// The bootstate as it was found at the start, and what had to be done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mended {
    pub(crate) state: State,
    /// The copies that were not valid, and are now.
    pub(crate) torn: [bool; 2],
}

impl Mended {
    /// What people are told.
    pub(crate) fn sentence(&self) -> Option<&'static str> {
        // The loader begins a new one, of which one copy is there: nothing in it is good, as never else.
        let is_new = self.state.slots.iter().all(|slot| !slot.is_good);
        match self.torn {
            [false, false] => None,
            [first, second] if first && second || is_new => Some(
                "Both copies of the bootstate were damaged. It was begun anew: both versions have to show again that they work.",
            ),
            _ => Some("A copy of the bootstate was damaged, by a power cut perhaps. It was written again."),
        }
    }
}

/// Reads both copies.
///
/// # Errors
/// Neither is valid, and what cannot be read may be.
fn read(raw: &mut impl Raw) -> io::Result<Found> {
    let copies = Copy::ALL.map(|copy| {
        let mut octets = [0; COPY_OCTETS];
        let mut result = raw.read_at(copy.at(), &mut octets);
        for _ in 1..READS_MAX {
            if result.is_err() {
                result = raw.read_at(copy.at(), &mut octets);
            }
        }
        result.map(|()| octets)
    });
    let [first, second] = &copies;
    let found = Found::new(first.as_ref().ok(), second.as_ref().ok());
    match copies.into_iter().find_map(Result::err) {
        Some(error) if found.state.is_none() => Err(error),
        _ => Ok(found),
    }
}

/// The newest valid state.
///
/// # Errors
/// Neither copy is valid, or can be read.
pub(crate) fn load(raw: &mut impl Raw) -> io::Result<State> {
    read(raw)?.state.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "both copies of the bootstate are damaged",
        )
    })
}

/// Writes a state in place of the older copy.
///
/// # Errors
/// It is not on the disk. The state before still is.
pub(crate) fn store(raw: &mut impl Raw, state: &State) -> io::Result<()> {
    let (copy, octets) = read(raw)?.next(state);
    raw.write_at(copy.at(), &octets)?;
    raw.settle()?;
    let mut back = [0; COPY_OCTETS];
    raw.read_at(copy.at(), &mut back)?;
    if back == octets {
        Ok(())
    } else {
        Err(io::Error::other("the bootstate cannot be read back"))
    }
}

/// Reads the state, and has two valid copies of it after.
///
/// # Errors
/// What is damaged could not be written, or neither copy can be read.
pub(crate) fn mend(raw: &mut impl Raw, running: Slot) -> io::Result<Mended> {
    let found = read(raw)?;
    let state = found.state.unwrap_or_else(|| State::regained(running));
    for _ in found.torn.iter().filter(|&&is_torn| is_torn) {
        store(raw, &state)?;
    }
    Ok(Mended {
        state: read(raw)?.state.unwrap_or(state),
        torn: found.torn,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use format::boot::boot;
    use format::bootstate::TRIES;

    use super::*;
    use crate::slot::testing::{Box, Made, Memory};

    const OCTETS: usize = 8 << 20;

    fn flashed() -> Memory {
        let mut raw = Memory::new(OCTETS);
        let mut state = State::flashed();
        for copy in Copy::ALL {
            state.sequence += 1;
            raw.durable_mut(copy.at(), &state.encode());
        }
        raw
    }

    #[test]
    fn what_is_whole_is_left_alone() {
        let mut raw = flashed();
        let mended = mend(&mut raw, Slot::A).unwrap();
        assert_eq!((mended.torn, mended.sentence()), ([false; 2], None));
        assert_eq!(raw.writes(), 0);
    }

    #[test]
    fn d25_a_torn_copy_is_written_again_and_the_state_is_the_same() {
        for (index, copy) in Copy::ALL.into_iter().enumerate() {
            let mut raw = flashed();
            raw.durable_mut(copy.at() + 100, &[1]);
            let mended = mend(&mut raw, Slot::B).unwrap();
            assert!(mended.torn[index] && !mended.torn[1 - index]);
            assert!(mended.sentence().is_some());
            assert_eq!(read(&mut raw).unwrap().torn, [false; 2]);
            assert_eq!(mended.state.slots, State::flashed().slots);
        }
    }

    #[test]
    fn d25_without_any_copy_a_new_state_begins_with_what_runs() {
        let mut raw = Memory::new(OCTETS);
        let mended = mend(&mut raw, Slot::B).unwrap();
        assert_eq!(mended.torn, [true; 2]);
        let found = read(&mut raw).unwrap();
        assert_eq!(found.torn, [false; 2]);
        let state = found.state.unwrap();
        assert_eq!(state.order()[0], Slot::B);
        assert!(!state.slot(Slot::B).is_good && state.slot(Slot::B).is_bootable());
    }

    #[test]
    fn d25_what_the_loader_began_anew_is_said_to_be() {
        let mut disk = Box::with(&Made::version(11), &Made::version(12));
        for copy in Copy::ALL {
            disk.raws.bootstate.durable_mut(copy.at() + 100, &[1]);
        }
        boot(&mut disk);
        assert_eq!(disk.started, Some((Slot::B, 12)));
        let mended = mend(&mut disk.raws.bootstate, Slot::B).unwrap();
        assert_eq!(mended.state.slot(Slot::B).tries, TRIES - 1);
        assert!(mended.sentence().unwrap().contains("Both copies"));
        assert_eq!(mend(&mut disk.raws.bootstate, Slot::B).unwrap().sentence(), None);
    }

    #[test]
    fn d25_a_write_that_is_cut_anywhere_leaves_the_state_before_or_after() {
        let mut after = State::flashed();
        after.install(Slot::B);
        for operations in 0..8 {
            for keeps in [|_| false, |_| true, |sector| sector % 2 == 0] {
                let mut raw = flashed();
                raw.cut_after(operations, keeps);
                let result = store(&mut raw, &after);
                raw.power_on();
                let found = read(&mut raw).unwrap().state.unwrap();
                let is_after = found.slots == after.slots;
                assert!(is_after || found.slots == State::flashed().slots);
                assert!(is_after || result.is_err(), "it was said to be on the disk");
            }
        }
    }

    #[test]
    fn d26_a_disk_that_cannot_be_read_for_once_does_not_lose_the_floors() {
        let mut raw = flashed();
        let mut state = load(&mut raw).unwrap();
        state.min_version = 11;
        store(&mut raw, &state).unwrap();
        let writes = raw.writes();
        // One reading fails and is repeated: the newest copy still counts.
        raw.fail_reads(1);
        assert_eq!(mend(&mut raw, Slot::A).unwrap().state.min_version, 11);
        // Nothing can be read: nothing is begun anew.
        raw.fail_reads(usize::MAX);
        mend(&mut raw, Slot::A).unwrap_err();
        store(&mut raw, &State::flashed()).unwrap_err();
        raw.fail_reads(0);
        assert_eq!(raw.writes(), writes);
        assert_eq!(load(&mut raw).unwrap().min_version, 11);
    }

    #[test]
    fn a_disk_that_forgets_what_it_is_given_is_noticed() {
        let mut raw = flashed();
        raw.lie();
        store(&mut raw, &State::default()).unwrap_err();
    }
}
