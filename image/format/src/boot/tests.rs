#![allow(clippy::unwrap_used)]

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::bootstate::{SlotState, TRIES};

/// A disk with two copies and two slots, whose power can go at any write and whose writes can fail.
#[derive(Clone)]
struct Machine {
    copies: [[u8; COPY_OCTETS]; 2],
    /// The version in each slot, or what is wrong with it.
    versions: [Result<u64, Fault>; 2],
    /// Octets of the next write after which the power goes.
    cut_at: Option<usize>,
    ill: Option<Ill>,
    /// Whether the firmware refuses to start a kernel.
    refuses: [bool; 2],
    is_off: bool,
    started: Vec<(Slot, Attempt)>,
    events: Vec<Event>,
}

/// What may be wrong with the part of the disk where the bootstate is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ill {
    ReadsFail,
    WritesFail,
    /// Writes seem to go well and change nothing.
    WritesVanish,
}

impl Machine {
    fn new(state: &State) -> Self {
        let mut older = *state;
        older.sequence = state.sequence.saturating_sub(1);
        Self {
            copies: [state.encode(), older.encode()],
            versions: [Ok(1), Ok(2)],
            cut_at: None,
            ill: None,
            refuses: [false; 2],
            is_off: false,
            started: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Power on: what is started first, if anything. It is off again after.
    fn boot(&mut self) -> Option<(Slot, Attempt)> {
        self.is_off = false;
        self.started.clear();
        self.events.clear();
        boot(self);
        self.started.first().copied()
    }

    fn found(&self) -> Found {
        Found::new(Some(&self.copies[0]), Some(&self.copies[1]))
    }

    fn state(&self) -> State {
        self.found().state.unwrap()
    }

    /// init's part: changes the state and writes it, as far as the power lasts.
    fn change(&mut self, change: impl FnOnce(&mut State)) {
        self.is_off = false;
        let mut state = self.state();
        change(&mut state);
        let (copy, octets) = self.found().next(&state);
        self.write_copy(copy, &octets);
    }
}

impl Media for Machine {
    fn read_copy(&mut self, copy: Copy) -> Option<[u8; COPY_OCTETS]> {
        (!self.is_off && self.ill != Some(Ill::ReadsFail)).then(|| self.copies[copy as usize])
    }

    fn write_copy(&mut self, copy: Copy, octets: &[u8; COPY_OCTETS]) -> bool {
        if self.is_off || self.ill == Some(Ill::WritesFail) {
            return false;
        }
        if self.ill == Some(Ill::WritesVanish) {
            return true;
        }
        let length = self.cut_at.unwrap_or(COPY_OCTETS);
        self.copies[copy as usize][..length].copy_from_slice(&octets[..length]);
        self.is_off = self.cut_at.take().is_some();
        !self.is_off
    }

    fn load(&mut self, slot: Slot, _: u32, min_version: u64) -> Result<u64, Fault> {
        if self.is_off {
            return Err(Fault::Unreadable);
        }
        let version = self.versions[slot as usize]?;
        if version < min_version {
            return Err(Fault::Version);
        }
        Ok(version)
    }

    fn start(&mut self, slot: Slot, attempt: Attempt) -> Fault {
        if self.refuses[slot as usize] {
            return Fault::Load;
        }
        self.started.push((slot, attempt));
        // It runs; the disk is init's now. What the loader would do after that must not be done.
        self.is_off = true;
        Fault::Load
    }

    fn report(&mut self, event: Event) {
        if !self.is_off {
            self.events.push(event);
        }
    }
}

fn on_trial() -> State {
    let mut state = State::flashed();
    state.sequence = 9;
    state.install(Slot::B);
    state
}

#[test]
fn a_flashed_box_starts_slot_a_and_is_not_written_to_again_and_again() {
    let mut machine = Machine::new(&State {
        sequence: 5,
        ..State::flashed()
    });
    assert_eq!(machine.boot(), Some((Slot::A, Attempt::Good)));
    let copies = machine.copies;
    assert_eq!(machine.boot(), Some((Slot::A, Attempt::Good)));
    assert_eq!(machine.copies, copies);
    assert_eq!(machine.state().last, Some(Slot::A));
}

#[test]
fn d24_a_version_on_trial_has_three_tries_and_then_the_old_one_runs() {
    let mut machine = Machine::new(&on_trial());
    for number in 1..=TRIES {
        assert_eq!(machine.boot(), Some((Slot::B, Attempt::Trial(number))));
    }
    for _ in 0..3 {
        assert_eq!(machine.boot(), Some((Slot::A, Attempt::Good)));
        assert!(
            machine
                .events
                .contains(&Event::PassedOver(Slot::B, Fault::TriesSpent))
        );
        assert_eq!(machine.state().slot(Slot::B).fault, Some(Fault::TriesSpent));
    }
}

#[test]
fn d24_a_version_that_found_itself_good_stays() {
    let mut machine = Machine::new(&on_trial());
    machine.boot();
    machine.change(|state| state.mark_good(Slot::B));
    for _ in 0..9 {
        assert_eq!(machine.boot(), Some((Slot::B, Attempt::Good)));
    }
}

#[test]
fn a_slot_that_does_not_verify_is_passed_over_and_why_is_kept() {
    for fault in [
        Fault::Signature,
        Fault::Hash,
        Fault::Board,
        Fault::Epoch,
        Fault::Unreadable,
    ] {
        let mut machine = Machine::new(&on_trial());
        machine.versions[1] = Err(fault);
        assert_eq!(machine.boot(), Some((Slot::A, Attempt::Good)));
        assert_eq!(machine.state().slot(Slot::B).fault, Some(fault));
        assert!(machine.events.contains(&Event::PassedOver(Slot::B, fault)));
    }
    let mut machine = Machine::new(&on_trial());
    machine.refuses[1] = true;
    assert_eq!(machine.boot(), Some((Slot::A, Attempt::Good)));
    assert_eq!(machine.state().slot(Slot::B).fault, Some(Fault::Load));
}

#[test]
fn a_box_that_starts_again_and_again_does_not_wear_its_card_out() {
    let mut machine = Machine::new(&on_trial());
    machine.versions = [Err(Fault::Hash), Err(Fault::Hash)];
    for _ in 0..TRIES {
        assert_eq!(machine.boot(), None);
    }
    assert_eq!(machine.boot(), None);
    let copies = machine.copies;
    for _ in 0..5 {
        assert_eq!(machine.boot(), None);
    }
    assert_eq!(machine.copies, copies);
}

#[test]
fn d26_a_version_below_the_floor_is_not_started_even_as_a_last_resort() {
    let mut state = on_trial();
    state.min_version = 2;
    let mut machine = Machine::new(&state);
    machine.versions = [Ok(1), Err(Fault::Hash)];
    assert_eq!(machine.boot(), None);
}

#[test]
fn d25_a_try_that_cannot_be_written_is_not_made() {
    let mut vanishing = Machine::new(&on_trial());
    vanishing.ill = Some(Ill::WritesVanish);
    let mut failing = Machine::new(&on_trial());
    failing.ill = Some(Ill::WritesFail);
    for machine in [&mut vanishing, &mut failing] {
        assert_eq!(machine.boot(), Some((Slot::A, Attempt::Good)));
        assert!(machine.events.contains(&Event::NotCounted(Slot::B)));
    }
    // Only where there is nothing else.
    failing.versions[0] = Err(Fault::Hash);
    assert_eq!(failing.boot(), Some((Slot::B, Attempt::Uncounted)));
}

#[test]
fn d25_without_a_bootstate_the_higher_version_that_verifies_runs() {
    for (versions, expected) in [
        ([Ok(1), Ok(2)], Some(Slot::B)),
        ([Ok(2), Ok(1)], Some(Slot::A)),
        ([Ok(2), Ok(2)], Some(Slot::A)),
        ([Ok(1), Err(Fault::Hash)], Some(Slot::A)),
        ([Err(Fault::Hash), Ok(1)], Some(Slot::B)),
        ([Err(Fault::Empty), Err(Fault::Hash)], None),
    ] {
        let mut machine = Machine::new(&State::flashed());
        machine.copies = [[0xff; COPY_OCTETS], [0; COPY_OCTETS]];
        machine.versions = versions;
        assert_eq!(machine.boot(), expected.map(|slot| (slot, Attempt::Trial(1))));
        assert_eq!(machine.events[0], Event::BootstateLost);
    }
}

#[test]
fn d25_without_a_bootstate_a_version_that_does_not_come_up_is_not_started_for_ever() {
    let lost = || {
        let mut machine = Machine::new(&State::flashed());
        machine.copies = [[0xff; COPY_OCTETS], [0; COPY_OCTETS]];
        machine
    };
    let mut machine = lost();
    for number in 1..=TRIES {
        assert_eq!(machine.boot(), Some((Slot::B, Attempt::Trial(number))));
    }
    assert_eq!(machine.boot(), Some((Slot::A, Attempt::Trial(1))));
    machine.change(|state| state.mark_good(Slot::A));
    assert_eq!(machine.boot(), Some((Slot::A, Attempt::Good)));
    // On a disk that takes no writes it is started all the same.
    let mut failing = lost();
    failing.ill = Some(Ill::WritesFail);
    assert_eq!(failing.boot(), Some((Slot::B, Attempt::Uncounted)));
}

#[test]
fn d25_a_bootstate_that_cannot_be_read_is_not_written_over() {
    let mut machine = Machine::new(&on_trial());
    let copies = machine.copies;
    machine.ill = Some(Ill::ReadsFail);
    assert_eq!(machine.boot(), Some((Slot::B, Attempt::Uncounted)));
    assert_eq!(machine.copies, copies);
}

#[test]
fn d25_one_torn_copy_is_said_and_does_no_harm() {
    for copy in Copy::ALL {
        let mut machine = Machine::new(&on_trial());
        machine.copies[copy as usize][77] ^= 1;
        assert!(matches!(machine.boot(), Some((Slot::B, Attempt::Trial(_)))));
        assert_eq!(machine.events[0], Event::CopyTorn(copy));
        // It is whole again: the try was written there.
        assert_eq!(machine.found().torn, [false, false]);
    }
}

#[test]
fn what_is_left_when_all_tries_are_spent_and_the_good_slot_is_damaged_is_started() {
    let mut machine = Machine::new(&on_trial());
    for _ in 0..TRIES {
        machine.boot();
    }
    machine.versions[0] = Err(Fault::Hash);
    assert_eq!(machine.boot(), Some((Slot::B, Attempt::Uncounted)));
}

/// D24, D25: write, switch, first boot, mark good, each cut at each octet of each write of the bootstate: afterwards one
/// slot always starts, and a version on trial never more often than it may.
#[test]
fn however_the_power_goes_one_slot_starts() {
    let steps: [fn(&mut Machine); 6] = [
        |machine| machine.change(|state| state.abandon(Slot::B)),
        |machine| machine.change(|state| state.install(Slot::B)),
        |machine| {
            machine.boot();
        },
        |machine| {
            machine.boot();
        },
        |machine| machine.change(|state| state.mark_good(Slot::B)),
        |machine| machine.change(|state| state.min_version = 1),
    ];
    for cut_step in 0..steps.len() {
        for cut_at in 0..=COPY_OCTETS {
            let mut machine = Machine::new(&State {
                sequence: 9,
                ..State::flashed()
            });
            for (number, step) in steps[..=cut_step].iter().enumerate() {
                machine.is_off = false;
                machine.cut_at = (number == cut_step).then_some(cut_at);
                step(&mut machine);
            }
            machine.cut_at = None;
            let is_good = machine.state().slot(Slot::B).is_good;
            let mut trials = 0;
            for _ in 0..6 {
                let (_, attempt) = machine
                    .boot()
                    .unwrap_or_else(|| panic!("nothing starts after a cut at {cut_at} of step {cut_step}"));
                assert_ne!(attempt, Attempt::Uncounted, "{cut_step} {cut_at}");
                trials += usize::from(matches!(attempt, Attempt::Trial(_)));
            }
            assert!(trials <= usize::from(TRIES));
            assert!(is_good || machine.boot() == Some((Slot::A, Attempt::Good)) || cut_step < 1);
        }
    }
}

proptest! {
    /// Whatever is remembered: if a slot verifies, a slot that verifies is started.
    #[test]
    fn a_slot_that_verifies_is_enough(
        fields in proptest::array::uniform2((0..4_u8, 0..4_u8, any::<bool>())),
        verifies in proptest::array::uniform2(any::<bool>()),
        writes_fail: bool,
        torn in proptest::array::uniform2(any::<bool>()),
    ) {
        let mut state = State { sequence: 3, ..State::default() };
        for (slot, (priority, tries, is_good)) in Slot::ALL.into_iter().zip(fields) {
            *state.slot_mut(slot) = SlotState { priority, tries, is_good, fault: None };
        }
        let mut machine = Machine::new(&state);
        machine.ill = writes_fail.then_some(Ill::WritesFail);
        machine.versions = verifies.map(|verifies| if verifies { Ok(1) } else { Err(Fault::Hash) });
        for (copy, torn) in machine.copies.iter_mut().zip(torn) {
            copy[0] ^= u8::from(torn);
        }
        let started = machine.boot();
        prop_assert_eq!(started.is_some(), verifies != [false, false]);
        if let Some((slot, attempt)) = started {
            prop_assert!(verifies[slot as usize]);
            // What is on trial is counted, unless nothing else is left.
            let before = if torn == [true, true] { TRIES } else { state.slot(slot).tries };
            let is_counted = machine.found().state.is_some_and(|now| now.slot(slot).tries < before);
            prop_assert!(!matches!(attempt, Attempt::Trial(_)) || is_counted);
        }
    }
}
