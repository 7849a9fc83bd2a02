//! After a version has found itself good: the bootstate says so, the other slot is looked after, the floors are raised.
//!
//! | the other slot | what is done |
//! | --- | --- |
//! | holds a version that is whole and may be started | nothing |
//! | holds one that is whole, was tried, and did not come up | nothing: it stays as evidence until the next update |
//! | is damaged, empty, for another board, out of force, or half an update | the version that runs is copied over it |
//!
//! # Invariants
//! - The floors are never above the lower of two slots that are whole: the way back is never given away (D26).

use std::io;

use format::boot::Attempt;
use format::header::HEADER_OCTETS;
use format::{Fault, Header, Needs, Roots, Slot, State};

use super::bootstate;
use super::partition::Raw;
use super::write::{self, WriteFault};

/// The raw partitions of a disk.
pub(crate) struct Raws<R> {
    pub(crate) bootstate: R,
    /// A and B.
    pub(crate) slots: [R; 2],
}

impl<R> Raws<R> {
    pub(crate) fn slot(&mut self, slot: Slot) -> &mut R {
        match slot {
            Slot::A => &mut self.slots[0],
            Slot::B => &mut self.slots[1],
        }
    }

    /// Both, to copy from one to the other.
    fn both(&mut self, from: Slot) -> (&mut R, &mut R) {
        let [a, b] = &mut self.slots;
        match from {
            Slot::A => (a, b),
            Slot::B => (b, a),
        }
    }
}

/// Writes down that the running slot is good.
///
/// # Errors
/// The disk does not know it.
pub(crate) fn mark_good(raws: &mut Raws<impl Raw>, running: Slot, attempt: Attempt) -> io::Result<()> {
    let before = bootstate::load(&mut raws.bootstate)?;
    let mut state = before;
    state.mark_good(running);
    // It was started for want of anything better, and works: it has a rank again.
    if attempt == Attempt::Uncounted && state.slot(running).priority == 0 {
        state.slot_mut(running).priority = 1;
    }
    if state == before {
        return Ok(());
    }
    bootstate::store(&mut raws.bootstate, &state)
}

/// What became of the other slot.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is as it should be.
    Whole,
    /// It was not, for this reason, and now it holds the version that runs.
    Repaired(Fault),
    /// It was not, and could not be repaired.
    Unrepaired(Fault, WriteFault),
    /// The running version is damaged on the disk, where it was whole when it was started.
    RunsDamaged(Fault),
}

/// Looks after the other slot, and raises the floors.
///
/// # Errors
/// The bootstate could not be read or written.
pub(crate) fn look_after(
    raws: &mut Raws<impl Raw>,
    running: Slot,
    needs: &Needs,
    roots: Roots<'_>,
    progress: impl FnMut(usize),
) -> io::Result<Outcome> {
    let before = bootstate::load(&mut raws.bootstate)?;
    if !before.slot(running).is_good {
        return Ok(Outcome::Whole);
    }
    let mut state = before;
    let own = match write::verify(raws.slot(running), roots) {
        Ok(own) => own,
        Err(fault) => return Ok(Outcome::RunsDamaged(fault)),
    };
    let needs = Needs {
        min_epoch: state.min_epoch,
        min_version: state.min_version,
        ..*needs
    };
    let other = running.other();
    let (outcome, lower) = match usable(raws.slot(other), &state, other, &needs, roots) {
        Ok(header) => (Outcome::Whole, header),
        Err(fault) => {
            if let Err(why) = copy(raws, running, &own, roots, progress) {
                return Ok(Outcome::Unrepaired(fault, why));
            }
            state.copied(other);
            (Outcome::Repaired(fault), own.clone())
        }
    };
    raise_floors(&mut state, &own, &lower);
    if state != before {
        bootstate::store(&mut raws.bootstate, &state)?;
    }
    Ok(outcome)
}

/// The header of the other slot, if that is to stay as it is.
///
/// # Errors
/// Why it is of no use.
pub(crate) fn usable(
    raw: &mut impl Raw,
    state: &State,
    slot: Slot,
    needs: &Needs,
    roots: Roots<'_>,
) -> Result<Header, Fault> {
    let header = write::verify(raw, roots)?;
    header.admit(needs)?;
    let now = state.slot(slot);
    if now.is_bootable() || now.fault == Some(Fault::TriesSpent) {
        Ok(header)
    } else {
        // An update that was cut off before it was switched to.
        Err(now.fault.unwrap_or(Fault::Empty))
    }
}

/// Copies the running version over the other slot.
fn copy(
    raws: &mut Raws<impl Raw>,
    running: Slot,
    own: &Header,
    roots: Roots<'_>,
    progress: impl FnMut(usize),
) -> Result<(), WriteFault> {
    let (from, to) = raws.both(running);
    let mut header = [0; HEADER_OCTETS];
    from.read_at(0, &mut header).map_err(WriteFault::Source)?;
    match Header::read(&header, roots) {
        Ok(again) if again == *own => {}
        _ => return Err(WriteFault::Refused(format::Refusal::Signature)),
    }
    write::write(
        &header,
        own,
        |at, into| from.read_at(at, into),
        to,
        roots,
        progress,
    )
}

fn raise_floors(state: &mut State, one: &Header, other: &Header) {
    state.min_version = state.min_version.max(one.version.min(other.version));
    state.min_epoch = state
        .min_epoch
        .max(one.certificate.epoch.min(other.certificate.epoch));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use format::boot::boot;

    use super::*;
    use crate::slot::testing::{Box, Made, needs, roots};

    fn check(box_: &mut Box, running: Slot) -> Outcome {
        look_after(&mut box_.raws, running, &needs(), Roots(&roots()), |_| {}).unwrap()
    }

    #[test]
    fn two_whole_slots_are_left_alone_and_the_floor_is_the_lower_of_them() {
        let mut box_ = Box::with(&Made::version(11), &Made::version(12));
        box_.change(|state| {
            state.install(Slot::B);
            state.mark_good(Slot::B);
        });
        assert!(matches!(check(&mut box_, Slot::B), Outcome::Whole));
        assert_eq!((box_.state().min_version, box_.state().min_epoch), (11, 1));
        // And nothing more is to be done the next time.
        let writes = box_.writes();
        check(&mut box_, Slot::B);
        assert_eq!(box_.writes(), writes);
    }

    #[test]
    fn d26_a_version_on_trial_raises_no_floor_and_repairs_nothing() {
        let mut box_ = Box::with(&Made::version(11), &Made::version(12));
        box_.change(|state| state.install(Slot::B));
        let before = box_.state();
        box_.raws.slot(Slot::A).durable_mut(5000, &[1]);
        assert!(matches!(check(&mut box_, Slot::B), Outcome::Whole));
        assert_eq!(box_.state(), before);
        assert_eq!(box_.writes(), 0);
    }

    #[test]
    fn a_damaged_slot_gets_a_copy_of_the_version_that_runs() {
        let (own, lost) = (Made::version(11), Made::version(10));
        for at in [0, 20, 4090, 4096, 6000] {
            let mut box_ = Box::with(&own, &lost);
            let octet = box_.raws.slot(Slot::B).durable()[at] ^ 1;
            box_.raws.slot(Slot::B).durable_mut(at as u64, &[octet]);
            assert!(matches!(check(&mut box_, Slot::A), Outcome::Repaired(_)), "{at}");
            assert!(box_.raws.slot(Slot::B).durable().starts_with(&own.octets), "{at}");
            let state = box_.state();
            assert!(state.slot(Slot::B).is_good && state.order() == [Slot::A, Slot::B]);
            assert_eq!(state.min_version, 11);
        }
    }

    #[test]
    fn what_was_tried_and_did_not_come_up_stays_as_evidence() {
        let mut box_ = Box::with(&Made::version(11), &Made::version(12));
        box_.change(|state| {
            state.install(Slot::B);
            state.slot_mut(Slot::B).tries = 0;
            state.slot_mut(Slot::B).fault = Some(Fault::TriesSpent);
        });
        assert!(matches!(check(&mut box_, Slot::A), Outcome::Whole));
        assert_eq!(box_.state().slot(Slot::B).fault, Some(Fault::TriesSpent));
        // Unless it is damaged besides.
        box_.raws.slot(Slot::B).durable_mut(5000, &[1, 2, 3]);
        assert!(matches!(
            check(&mut box_, Slot::A),
            Outcome::Repaired(Fault::Hash)
        ));
    }

    #[test]
    fn half_an_update_is_replaced() {
        let mut box_ = Box::with(&Made::version(11), &Made::version(12));
        box_.change(|state| state.abandon(Slot::B));
        assert!(matches!(
            check(&mut box_, Slot::A),
            Outcome::Repaired(Fault::Empty)
        ));
        assert!(box_.state().slot(Slot::B).is_good);
    }

    #[test]
    fn a_running_version_that_is_damaged_on_the_disk_is_not_copied() {
        let mut box_ = Box::with(&Made::version(11), &Made::version(10));
        box_.raws.slot(Slot::A).durable_mut(5000, &[1, 2, 3]);
        assert!(matches!(
            check(&mut box_, Slot::A),
            Outcome::RunsDamaged(Fault::Hash)
        ));
        assert_eq!(box_.writes(), 0);
    }

    #[test]
    fn d24_a_repair_that_is_cut_anywhere_leaves_a_box_that_starts() {
        let mut operations = 0;
        loop {
            let mut is_done = false;
            for keeps in [|_| false, |_| true, |sector| sector % 2 == 0] {
                let mut box_ = Box::with(&Made::version(11), &Made::version(10));
                box_.raws.slot(Slot::B).durable_mut(5000, &[1, 2, 3]);
                box_.cut_after(operations, keeps);
                let result = look_after(&mut box_.raws, Slot::A, &needs(), Roots(&roots()), |_| {});
                box_.power_on();
                is_done = matches!(result, Ok(Outcome::Repaired(_)));
                boot(&mut box_);
                assert_eq!(box_.started, Some((Slot::A, 11)), "after {operations} operations");
            }
            if is_done {
                break;
            }
            operations += 1;
        }
    }

    #[test]
    fn d24_marking_good_that_is_cut_anywhere_leaves_a_box_that_starts() {
        for operations in 0..10 {
            for keeps in [|_| false, |_| true, |sector| sector % 2 == 0] {
                let mut box_ = Box::with(&Made::version(11), &Made::version(12));
                box_.change(|state| {
                    state.install(Slot::B);
                    state.slot_mut(Slot::B).tries = 2;
                });
                box_.cut_after(operations, keeps);
                let result = mark_good(&mut box_.raws, Slot::B, Attempt::Trial(1));
                box_.power_on();
                assert!(result.is_err() || box_.state().slot(Slot::B).is_good);
                boot(&mut box_);
                assert_eq!(box_.started, Some((Slot::B, 12)), "after {operations} operations");
            }
        }
    }

    #[test]
    fn what_was_started_for_want_of_anything_better_has_a_rank_again() {
        let mut box_ = Box::with(&Made::version(11), &Made::version(10));
        box_.change(|state| {
            state.abandon(Slot::A);
            state.abandon(Slot::B);
        });
        mark_good(&mut box_.raws, Slot::A, Attempt::Uncounted).unwrap();
        let slot = *box_.state().slot(Slot::A);
        assert!(slot.is_good && slot.priority > 0);
    }
}
