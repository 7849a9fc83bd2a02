//! Which slot is started. Pure: the loader and the tests each give it a [`Media`].
//!
//! ```text
//! read both copies ── neither valid ──▶ both slots verified: a new one, the higher version first, three tries for each
//!        │                                 (they could not even be read: each once, without counting)
//!        ▼
//! for each slot by priority that is good or has tries left:
//!    not good: one try less → write, flush, read back    ── impossible ──▶ next slot   (a good one is not counted)
//!    verify, load                                        ── refused ─────▶ remember why, next slot
//!    start it
//! none: each slot once more, whatever is remembered: a version that verifies is better than a brick
//! none: nothing can be started
//! ```
//!
//! # Invariants
//! - A slot that is not known to be good is never started without a try less on the disk, as long as another one can be.
//! - What is started was verified in memory and is not read again.
//! - The newest valid copy of the bootstate is never written over.

use crate::bootstate::{COPY_OCTETS, Copy, Fault, Found, Slot, State, TRIES};

/// The disk and the firmware, as the decision needs them.
pub trait Media {
    /// Reads a copy of the bootstate; `None` if the disk does not give it.
    fn read_copy(&mut self, copy: Copy) -> Option<[u8; COPY_OCTETS]>;

    /// Writes a copy and makes it durable; whether that went well, as far as the disk says. It is read back after.
    fn write_copy(&mut self, copy: Copy, octets: &[u8; COPY_OCTETS]) -> bool;

    /// Reads a slot into memory and verifies that copy, for a box with these floors; gives its version. The slot before
    /// may be forgotten.
    fn load(&mut self, slot: Slot, min_epoch: u32, min_version: u64) -> Result<u64, Fault>;

    /// Starts what was loaded last. Comes back only with a fault.
    fn start(&mut self, slot: Slot, attempt: Attempt) -> Fault;

    /// Is told what people should know, in the order of events.
    fn report(&mut self, event: Event);
}

/// How a slot is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is good.
    Good,
    /// It is on trial, and this is its n-th try; the first is 1.
    Trial(u8),
    /// It is not good and was not counted: nothing else can be started, or nothing can be written down.
    Uncounted,
}

/// What people should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// One copy of the bootstate is not valid.
    CopyTorn(Copy),
    /// Both are not.
    BootstateLost,
    /// A slot was passed over.
    PassedOver(Slot, Fault),
    /// A slot on trial was passed over, since the try could not be written down.
    NotCounted(Slot),
    /// This one is started now.
    Starting(Slot, Attempt),
}

/// Decides, and starts. Comes back only if nothing could be started.
pub fn boot(media: &mut impl Media) {
    let first = media.read_copy(Copy::First);
    let second = media.read_copy(Copy::Second);
    let found = Found::new(first.as_ref(), second.as_ref());
    let Some(state) = found.state else {
        media.report(Event::BootstateLost);
        // What cannot be read may be whole, and is not written over.
        let is_lost = first.is_some() && second.is_some();
        return by_version(media, is_lost.then_some(found));
    };
    for (copy, torn) in Copy::ALL.into_iter().zip(found.torn) {
        if torn {
            media.report(Event::CopyTorn(copy));
        }
    }
    by_priority(media, found, state);
}

/// The ordinary way.
fn by_priority(media: &mut impl Media, mut found: Found, mut state: State) {
    let mut was_tried = [false; 2];
    for (slot, was_tried) in state.order().into_iter().zip(&mut was_tried) {
        let now = *state.slot(slot);
        if !now.is_bootable() {
            // Why it is not is remembered from before; that a slot has used up its tries shows here first.
            let fault = now.fault.or((now.priority > 0).then_some(Fault::TriesSpent));
            if let Some(fault) = fault {
                media.report(Event::PassedOver(slot, fault));
            }
            state.slot_mut(slot).fault = fault;
            continue;
        }
        let attempt = if now.is_good {
            Attempt::Good
        } else {
            // Counted before anything else is done with it: reading it could be what the box hangs in.
            state.slot_mut(slot).tries = now.tries - 1;
            state.last = Some(slot);
            if !write(media, &mut found, &state) {
                state.slot_mut(slot).tries = now.tries;
                media.report(Event::NotCounted(slot));
                continue;
            }
            Attempt::Trial(TRIES.saturating_sub(now.tries) + 1)
        };
        *was_tried = true;
        let fault = match media.load(slot, state.min_epoch, state.min_version) {
            Ok(_) => {
                state.last = Some(slot);
                // What is new is told to init and to people. That it cannot be written keeps no good slot down.
                write(media, &mut found, &state);
                media.report(Event::Starting(slot, attempt));
                media.start(slot, attempt)
            }
            Err(fault) => fault,
        };
        media.report(Event::PassedOver(slot, fault));
        state.slot_mut(slot).fault = Some(fault);
    }
    // Nothing is left that may be started by the rules. What verifies may be all the same: the alternative is a brick.
    for (slot, was_tried) in state.order().into_iter().zip(was_tried) {
        if !was_tried {
            uncounted(media, slot, &state);
        }
    }
    // Why is kept for whoever gets to read it. A box that starts again and again writes it once.
    write(media, &mut found, &state);
}

/// Loads and starts a slot that nothing is written about.
fn uncounted(media: &mut impl Media, slot: Slot, state: &State) {
    let fault = match media.load(slot, state.min_epoch, state.min_version) {
        Ok(_) => {
            media.report(Event::Starting(slot, Attempt::Uncounted));
            media.start(slot, Attempt::Uncounted)
        }
        Err(fault) => fault,
    };
    media.report(Event::PassedOver(slot, fault));
}

/// Without a bootstate: the higher version of those that verify, and then the other. A new state is begun in place of the one
/// that was lost: without counting, a version that does not come up would be started again and again, whatever lies beside
/// it. The floors are lost with it.
fn by_version(media: &mut impl Media, lost: Option<Found>) {
    let versions = Slot::ALL.map(|slot| media.load(slot, 0, 0));
    let first = if versions[1].unwrap_or(0) > versions[0].unwrap_or(0) {
        Slot::B
    } else {
        Slot::A
    };
    let state = State::regained(first);
    if let Some(lost) = lost {
        return by_priority(media, lost, state);
    }
    for slot in state.order() {
        uncounted(media, slot, &state);
    }
}

/// Writes the state, if it says anything new, and reads it back; whether it is there.
fn write(media: &mut impl Media, found: &mut Found, state: &State) -> bool {
    let is_known = |newest: State| {
        State {
            sequence: state.sequence,
            ..newest
        } == *state
    };
    if found.state.is_some_and(is_known) {
        return true;
    }
    let (copy, octets) = found.next(state);
    let is_written = media.write_copy(copy, &octets) && media.read_copy(copy) == Some(octets);
    // Whatever lies there now: it is not counted on until it is read anew.
    if is_written {
        let (first, second) = (media.read_copy(Copy::First), media.read_copy(Copy::Second));
        *found = Found::new(first.as_ref(), second.as_ref());
    }
    is_written
}

#[cfg(test)]
mod tests;
