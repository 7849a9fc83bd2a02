//! What loader and init remember about the two slots.
//!
//! Two copies lie in a partition of their own, 4 MiB apart (in different erase blocks of a card), and are written in
//! turn: the newest valid one is never written over.
//!
//! ```text
//!   0 12  "postolka bs1"
//!  12  4  zeros
//!  16  8  sequence number: the higher copy counts
//!  24  4  slot A: priority, tries left, good (0 or 1), fault
//!  28  4  slot B
//!  32  1  the slot that was started last: 0 none, 1 A, 2 B
//!  33  3  zeros
//!  36  4  the lowest epoch of a release key in force
//!  40  8  the lowest version that may run
//!  48 460 zeros
//! 508  4  CRC-32 of all of the above (that of zlib and Ethernet)
//! ```
//!
//! The loader of a card stays what it was flashed with, while init is updated. So what comes later goes where the zeros are,
//! and who does not know it passes over it: to a loader that took it for damage, the floors would be lost. It writes zeros
//! there again, the next time that it counts.

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

use crate::header::{Part, Refusal};

/// A copy. One sector: no disk tears it, and the CRC notices if one does.
pub const COPY_OCTETS: usize = 512;
/// How often a new version is tried before the box goes back to the other slot.
pub const TRIES: u8 = 3;

const MAGIC: &[u8; 12] = b"postolka bs1";
const CRC_AT: usize = COPY_OCTETS - 4;
/// Without a table: half a kilobyte once a boot is not worth one in the loader.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// One of the two places for a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The one that this is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `a` or `b`, as on the kernel's command line.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// Why a slot was not started when it was its turn. Displays as what follows "slot A": `slot A has a damaged kernel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was ever written there.
    Empty,
    /// Its header or its key is not genuine.
    Signature,
    /// Its header is genuine and its parts are not what it says.
    Hash,
    /// It is for another board.
    Board,
    /// It needs a loader that came later.
    Loader,
    /// Its key is out of force.
    Epoch,
    /// It is older than what has run for good.
    Version,
    /// It could not be read from the disk.
    Unreadable,
    /// The firmware would not start its kernel, or there was not the memory for it.
    Load,
    /// It was tried as often as it may be, and never found itself good.
    TriesSpent,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::Empty,
        Self::Signature,
        Self::Hash,
        Self::Board,
        Self::Loader,
        Self::Epoch,
        Self::Version,
        Self::Unreadable,
        Self::Load,
        Self::TriesSpent,
    ];

    /// Its number in a copy; 0 is none.
    const fn number(self) -> u8 {
        match self {
            Self::Empty => 1,
            Self::Signature => 2,
            Self::Hash => 3,
            Self::Board => 4,
            Self::Loader => 5,
            Self::Epoch => 6,
            Self::Version => 7,
            Self::Unreadable => 8,
            Self::Load => 9,
            Self::TriesSpent => 10,
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Empty => Self::Empty,
            Refusal::NotASlot
            | Refusal::Format
            | Refusal::Field(_)
            | Refusal::Untrusted
            | Refusal::Signature => Self::Signature,
            Refusal::Truncated | Refusal::Hash(Part::Kernel | Part::Cpio | Part::CommandLine) => Self::Hash,
            Refusal::Board => Self::Board,
            Refusal::Loader { .. } => Self::Loader,
            Refusal::Epoch { .. } => Self::Epoch,
            Refusal::Version { .. } => Self::Version,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Empty => "is empty",
            Self::Signature => "is not genuine",
            Self::Hash => "is damaged",
            Self::Board => "is for another board",
            Self::Loader => "needs a newer loader",
            Self::Epoch => "is signed with a key that is out of force",
            Self::Version => "is too old",
            Self::Unreadable => "cannot be read",
            Self::Load => "could not be started by the firmware",
            Self::TriesSpent => "was tried as often as allowed and never came up",
        })
    }
}

/// What is remembered about one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotState {
    /// The higher one is started.
    pub priority: u8,
    /// How often it may still be tried while it is not good.
    pub tries: u8,
    /// Whether it has found itself good.
    pub is_good: bool,
    /// Why it was passed over last.
    pub fault: Option<Fault>,
}

impl SlotState {
    /// Whether it may be started.
    pub fn is_bootable(&self) -> bool {
        self.is_good || self.tries > 0
    }
}

/// What is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Counts up with each writing.
    pub sequence: u64,
    /// What is remembered about A and about B; see [`slot`](Self::slot).
    pub slots: [SlotState; 2],
    /// The slot that was started last.
    pub last: Option<Slot>,
    /// The lowest epoch of a release key in force.
    pub min_epoch: u32,
    /// The lowest version that may run.
    pub min_version: u64,
}

impl State {
    /// As a box is flashed: the same version in both slots, both known to be good, A preferred.
    pub fn flashed() -> Self {
        let mut state = Self::default();
        for (slot, priority) in [(Slot::A, 2), (Slot::B, 1)] {
            *state.slot_mut(slot) = SlotState {
                priority,
                is_good: true,
                ..SlotState::default()
            };
        }
        state
    }

    /// As it is begun anew when both copies were lost and `first` holds the higher version: it must show again that it is
    /// good, and so must the other.
    pub fn regained(first: Slot) -> Self {
        let mut state = Self::default();
        for (slot, priority) in [(first, 2), (first.other(), 1)] {
            *state.slot_mut(slot) = SlotState {
                priority,
                tries: TRIES,
                ..SlotState::default()
            };
        }
        state.last = Some(first);
        state
    }

    /// What is remembered about a slot.
    pub fn slot(&self, slot: Slot) -> &SlotState {
        &self.slots[slot.index()]
    }

    /// The same, to be changed.
    pub fn slot_mut(&mut self, slot: Slot) -> &mut SlotState {
        &mut self.slots[slot.index()]
    }

    /// The slots in the order in which they are to be tried.
    pub fn order(&self) -> [Slot; 2] {
        if self.slot(Slot::B).priority > self.slot(Slot::A).priority {
            [Slot::B, Slot::A]
        } else {
            [Slot::A, Slot::B]
        }
    }

    /// Before anything is written to a slot: it is not to be started any more.
    pub fn abandon(&mut self, slot: Slot) {
        *self.slot_mut(slot) = SlotState {
            fault: Some(Fault::Empty),
            ..SlotState::default()
        };
    }

    /// After a version was written to `slot` and read back: it comes first from now on, on trial.
    pub fn install(&mut self, slot: Slot) {
        let other = self.slot_mut(slot.other());
        // Two numbers are enough for two slots. One that is not to be started at all keeps its zero.
        other.priority = other.priority.min(1);
        // It runs: what once kept it from that is over.
        other.fault = None;
        *self.slot_mut(slot) = SlotState {
            priority: 2,
            tries: TRIES,
            ..SlotState::default()
        };
    }

    /// After the good slot was copied over the other: both hold the same, and the copy comes second.
    pub fn copied(&mut self, to: Slot) {
        self.slot_mut(to.other()).priority = 2;
        *self.slot_mut(to) = SlotState {
            priority: 1,
            is_good: true,
            ..SlotState::default()
        };
    }

    /// After `slot` has found itself good.
    pub fn mark_good(&mut self, slot: Slot) {
        let slot = self.slot_mut(slot);
        slot.is_good = true;
        slot.tries = 0;
        slot.fault = None;
    }

    /// As it lies on the disk.
    pub fn encode(&self) -> [u8; COPY_OCTETS] {
        let mut octets = [0; COPY_OCTETS];
        octets[..12].copy_from_slice(MAGIC);
        octets[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        for (index, slot) in self.slots.iter().enumerate() {
            let fields = [
                slot.priority,
                slot.tries,
                u8::from(slot.is_good),
                slot.fault.map_or(0, Fault::number),
            ];
            octets[24 + 4 * index..28 + 4 * index].copy_from_slice(&fields);
        }
        octets[32] = self.last.map_or(0, |slot| match slot {
            Slot::A => 1,
            Slot::B => 2,
        });
        octets[36..40].copy_from_slice(&self.min_epoch.to_le_bytes());
        octets[40..48].copy_from_slice(&self.min_version.to_le_bytes());
        let crc = CRC.checksum(&octets[..CRC_AT]);
        octets[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    /// The reverse of [`encode`](Self::encode); `None` if the magic or the checksum is another. What is not known is passed
    /// over.
    pub fn decode(octets: &[u8; COPY_OCTETS]) -> Option<Self> {
        let crc = CRC.checksum(&octets[..CRC_AT]);
        if &octets[..12] != MAGIC || octets[CRC_AT..] != crc.to_le_bytes() {
            return None;
        }
        let slot = |at: usize| SlotState {
            priority: octets[at],
            tries: octets[at + 1],
            is_good: octets[at + 2] == 1,
            fault: Fault::ALL
                .into_iter()
                .find(|fault| fault.number() == octets[at + 3]),
        };
        Some(Self {
            sequence: u64::from_le_bytes(octets[16..24].try_into().ok()?),
            slots: [slot(24), slot(28)],
            last: match octets[32] {
                1 => Some(Slot::A),
                2 => Some(Slot::B),
                _ => None,
            },
            min_epoch: u32::from_le_bytes(octets[36..40].try_into().ok()?),
            min_version: u64::from_le_bytes(octets[40..48].try_into().ok()?),
        })
    }
}

/// One of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// At the start of the partition.
    First,
    /// In its middle.
    Second,
}

impl Copy {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// Where it lies in the partition.
    pub const fn at(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => 4 << 20,
        }
    }
}

/// What the two copies give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The newest valid one.
    pub state: Option<State>,
    /// Where the next one goes.
    pub next: Copy,
    /// The copies that are not valid.
    pub torn: [bool; 2],
}

impl Found {
    /// Looks at both copies; one that could not be read is `None`.
    pub fn new(first: Option<&[u8; COPY_OCTETS]>, second: Option<&[u8; COPY_OCTETS]>) -> Self {
        let first = first.and_then(State::decode);
        let second = second.and_then(State::decode);
        let is_first = match (&first, &second) {
            (Some(first), Some(second)) => first.sequence >= second.sequence,
            (first, _) => first.is_some(),
        };
        Self {
            state: if is_first { first } else { second },
            // Without any it does not matter.
            next: if is_first { Copy::Second } else { Copy::First },
            torn: [first.is_none(), second.is_none()],
        }
    }

    /// `state` as it is to be written next: where, and which octets.
    pub fn next(&self, state: &State) -> (Copy, [u8; COPY_OCTETS]) {
        let sequence = self.state.map_or(0, |newest| newest.sequence).saturating_add(1);
        (self.next, State { sequence, ..*state }.encode())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn slot_state() -> impl Strategy<Value = SlotState> {
        let fault = proptest::option::of(proptest::sample::select(Fault::ALL.to_vec()));
        (0..=255_u8, 0..=255_u8, any::<bool>(), fault).prop_map(|(priority, tries, is_good, fault)| {
            SlotState {
                priority,
                tries,
                is_good,
                fault,
            }
        })
    }

    fn state() -> impl Strategy<Value = State> {
        let last = proptest::option::of(proptest::sample::select(Slot::ALL.to_vec()));
        (
            any::<u64>(),
            slot_state(),
            slot_state(),
            last,
            any::<u32>(),
            any::<u64>(),
        )
            .prop_map(|(sequence, a, b, last, min_epoch, min_version)| State {
                sequence,
                slots: [a, b],
                last,
                min_epoch,
                min_version,
            })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(state in state()) {
            prop_assert_eq!(State::decode(&state.encode()), Some(state));
        }

        #[test]
        fn d25_every_flipped_bit_is_noticed(state in state(), at in 0..COPY_OCTETS, bit in 0..8) {
            let mut octets = state.encode();
            octets[at] ^= 1_u8 << bit;
            prop_assert_eq!(State::decode(&octets), None);
        }

        #[test]
        fn random_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), COPY_OCTETS), keep in 0..64_usize) {
            let mut copy = State::flashed().encode();
            copy[keep..].copy_from_slice(&octets[keep..]);
            let _ = State::decode(&copy);
            // Nor with a checksum that fits; and what is read is written and read as the same.
            let crc = CRC.checksum(&copy[..CRC_AT]);
            copy[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            if let Some(state) = State::decode(&copy) {
                prop_assert_eq!(State::decode(&state.encode()), Some(state));
            }
        }

        #[test]
        fn d26_what_comes_later_does_not_cost_the_floors(
            state in state(),
            more in proptest::collection::vec(any::<u8>(), CRC_AT - 48),
            fault in 11..=255_u8,
        ) {
            let mut octets = state.encode();
            octets[12..16].copy_from_slice(&more[..4]);
            octets[27] = fault;
            octets[33..36].copy_from_slice(&more[4..7]);
            octets[48..CRC_AT].copy_from_slice(&more);
            let crc = CRC.checksum(&octets[..CRC_AT]);
            octets[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            let mut expected = state;
            expected.slots[0].fault = None;
            prop_assert_eq!(State::decode(&octets), Some(expected));
        }

        #[test]
        fn the_newest_copy_counts_and_the_other_is_written_next(one in state(), other in state()) {
            prop_assume!(one.sequence != other.sequence);
            let found = Found::new(Some(&one.encode()), Some(&other.encode()));
            let is_first = one.sequence > other.sequence;
            prop_assert_eq!(found.state, Some(if is_first { one } else { other }));
            prop_assert_eq!(found.next, if is_first { Copy::Second } else { Copy::First });
        }
    }

    #[test]
    fn d25_a_torn_copy_is_the_one_written_next() {
        let (state, torn) = (State::flashed(), [0xff; COPY_OCTETS]);
        for (first, second, next) in [
            (Some(&torn), Some(&state.encode()), Copy::First),
            (Some(&state.encode()), Some(&torn), Copy::Second),
            (None, Some(&state.encode()), Copy::First),
        ] {
            let found = Found::new(first, second);
            assert_eq!((found.state, found.next), (Some(state), next));
            assert_eq!(found.torn.iter().filter(|torn| **torn).count(), 1);
        }
        assert_eq!(Found::new(Some(&torn), None).torn, [true, true]);
    }

    #[test]
    fn updates_in_turn_alternate_for_ever() {
        let mut state = State::flashed();
        let mut running = Slot::A;
        for _ in 0..1000 {
            state.abandon(running.other());
            assert_eq!(state.order()[0], running);
            state.install(running.other());
            assert_eq!(state.order()[0], running.other());
            running = running.other();
            state.mark_good(running);
        }
    }

    #[test]
    fn what_runs_when_an_update_is_installed_has_no_fault() {
        let mut state = State::flashed();
        state.slot_mut(Slot::A).fault = Some(Fault::Unreadable);
        state.install(Slot::B);
        assert_eq!(state.slot(Slot::A).fault, None);
    }

    #[test]
    fn faults_have_numbers_of_their_own() {
        let mut numbers: Vec<u8> = Fault::ALL.iter().map(|fault| fault.number()).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), Fault::ALL.len());
        assert!(!numbers.contains(&0));
    }
}
