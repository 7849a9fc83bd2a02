//! `cargo image verify FILE`: whether a slot or a disk is whole and genuine, in plain words.

use std::path::Path;

use format::bootstate::Slot;
use format::line::LOADER;
use format::{Board, Header, Needs, Refusal, Roots, State};

use crate::error::Error;
use crate::keyfile::hex;
use crate::keys;
use crate::look::{DiskLook, Looked, Mbr, SlotLook, look};
use crate::options::Keys;
use crate::source::Source;

/// Says what holds; what does not is the error, all of it in one sentence.
pub(crate) fn verify(path: &Path, keys: Keys) -> Result<(), Error> {
    let roots = keys::roots_of(keys)?;
    let source = Source::open(path)?;
    let judged = judge(&source, Roots(&roots));
    for line in &judged.holds {
        println!("{line}");
    }
    if judged.wrong.is_empty() {
        Ok(())
    } else {
        Err(Error::NotWhole {
            path: path.to_owned(),
            what: judged.wrong.join("; "),
        })
    }
}

/// What holds, and what does not.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) holds: Vec<String>,
    pub(crate) wrong: Vec<String>,
}

impl Judged {
    fn say(&mut self, what: &str, result: Result<String, String>) {
        match result {
            Ok(words) => self.holds.push(format!("{what} {words}")),
            Err(words) => self.wrong.push(format!("{what} {words}")),
        }
    }
}

pub(crate) fn judge(source: &Source, roots: Roots<'_>) -> Judged {
    let mut judged = Judged::default();
    match look(source, roots) {
        Err(refusal) => judged.wrong.push(refusal.to_string()),
        Ok(Looked::Slot(slot)) => match whole(&slot, &anywhere(&slot.header)) {
            Err(refusal) => judged.wrong.push(refusal.to_string()),
            Ok(()) if slot.rest_octets > 0 => judged
                .wrong
                .push(format!("{} octets follow its end", slot.rest_octets)),
            Ok(()) => judged.holds.push(format!("It is {}", genuine(&slot.header))),
        },
        Ok(Looked::Disk(disk)) => judge_disk(&disk, roots, &mut judged),
    }
    judged
}

fn judge_disk(disk: &DiskLook, roots: Roots<'_>, judged: &mut Judged) {
    judge_table(disk, judged);
    judged.say("The ESP", judge_loader(disk, roots));
    judge_bootstate(disk, judged);
    let floors = disk.state.unwrap_or_default();
    for (which, slot) in Slot::ALL.into_iter().zip(&disk.slots) {
        let result = slot.as_ref().map_err(|refusal| *refusal).and_then(|slot| {
            let needs = Needs {
                min_epoch: floors.min_epoch,
                min_version: floors.min_version,
                ..anywhere(&slot.header)
            };
            whole(slot, &needs).map(|()| genuine(&slot.header))
        });
        let what = format!("Slot {which}");
        // What is not going to be started may be anything: it was being written when the power went.
        let is_in_use = disk.state.is_none_or(|state| state.slot(which).is_bootable());
        match result {
            Ok(words) => judged.say(&what, Ok(format!("holds {words}"))),
            Err(refusal) if is_in_use => judged.wrong.push(format!("slot {which}: {refusal}")),
            Err(refusal) => judged.say(&what, Ok(format!("is not in use ({refusal})"))),
        }
    }
    let boards = |slot: &Result<SlotLook, Refusal>| slot.as_ref().ok().map(|slot| slot.header.boards);
    if let [Some(first), Some(second)] = [&disk.slots[0], &disk.slots[1]].map(boards)
        && first & second == 0
    {
        judged.wrong.push("the slots are for different boards".to_owned());
    }
}

fn judge_table(disk: &DiskLook, judged: &mut Judged) {
    judged.say(
        "The first sector",
        match disk.mbr {
            Mbr::Protective => Ok("marks the disk as one in use".to_owned()),
            Mbr::Hybrid => Ok("shows the ESP to a Raspberry Pi 3".to_owned()),
            Mbr::Other => Err("has no entry that marks the disk as one in use".to_owned()),
        },
    );
    let result = match &disk.tables {
        [Ok(first), Ok(second)] if first == second => {
            if disk.has_all_blocks {
                Ok("is whole, twice".to_owned())
            } else {
                Err("is for a larger disk: this one is cut short".to_owned())
            }
        }
        [Ok(_), Ok(_)] => Err("differs from its copy at the end of the disk".to_owned()),
        [Ok(_), Err(_)] => Err("has no whole copy at the end of the disk".to_owned()),
        [Err(_), Ok(_)] => Err("is damaged, and its copy at the end of the disk is whole".to_owned()),
        [Err(_), Err(_)] => Err("is damaged, and so is its copy".to_owned()),
    };
    judged.say("The partition table", result);
    if let Some(table) = disk.table() {
        for place in format::layout::PLACES {
            if table.find(place.name).is_none() {
                judged
                    .wrong
                    .push(format!("there is no partition '{}'", place.name));
            }
        }
    }
}

/// The loader itself is not signed; that it was built with these roots is seen from their being in it.
fn judge_loader(disk: &DiskLook, roots: Roots<'_>) -> Result<String, String> {
    let loader = disk.loader.as_ref().map_err(|what| (*what).to_owned())?;
    for root in roots.0 {
        if !loader.windows(root.len()).any(|window| window == root) {
            return Err(format!(
                "has a loader that does not know the root {}…",
                &hex(root)[..16]
            ));
        }
    }
    Ok("has a loader that trusts these roots".to_owned())
}

fn judge_bootstate(disk: &DiskLook, judged: &mut Judged) {
    let Some(state) = &disk.state else {
        judged
            .wrong
            .push("both copies of the bootstate are damaged".to_owned());
        return;
    };
    let result = match disk.copies {
        [Some(_), Some(_)] => Ok(format!("is valid, twice: {}", spoken(state))),
        [None, _] => Err("has a damaged first copy".to_owned()),
        [_, None] => Err("has a damaged second copy".to_owned()),
    };
    judged.say("The bootstate", result);
    if Slot::ALL.iter().all(|slot| !state.slot(*slot).is_bootable()) {
        judged
            .wrong
            .push("the bootstate lets neither slot be started".to_owned());
    }
}

/// `A comes first and is good, B is good`
pub(crate) fn spoken(state: &State) -> String {
    let slots = state.order().map(|slot| {
        let about = state.slot(slot);
        let words = match (about.is_good, about.tries, about.fault) {
            (true, ..) => "is good".to_owned(),
            (false, 0, Some(fault)) => fault.to_string(),
            (false, 0, None) => "is not to be started".to_owned(),
            (false, 1, _) => "is on trial, with one try left".to_owned(),
            (false, tries, _) => format!("is on trial, with {tries} tries left"),
        };
        format!("{slot} {words}")
    });
    let last = state.last.map_or("none was started yet".to_owned(), |slot| {
        format!("{slot} was started last")
    });
    format!("first {}, then {}; {last}", slots[0], slots[1])
}

/// Whether a slot may be started by a box that needs this.
fn whole(slot: &SlotLook, needs: &Needs) -> Result<(), Refusal> {
    slot.header.admit(needs)?;
    slot.parts
}

/// What the newest loader needs on the board that the slot is for.
fn anywhere(header: &Header) -> Needs {
    let board = Board::ALL
        .into_iter()
        .find(|board| header.boards & board.bit() != 0);
    Needs {
        board: board.unwrap_or(Board::Virt),
        loader: LOADER,
        min_epoch: 0,
        min_version: 0,
    }
}

fn genuine(header: &Header) -> String {
    let key = if header.certificate.is_development {
        ", signed with a DEVELOPMENT KEY"
    } else {
        ""
    };
    format!(
        "version {} for {}, {}: whole and genuine{key}",
        header.version,
        boards(header),
        header.name
    )
}

/// The boards a slot is for.
pub(crate) fn boards(header: &Header) -> String {
    let names: Vec<&str> = Board::ALL
        .into_iter()
        .filter(|board| header.boards & board.bit() != 0)
        .map(Board::name)
        .collect();
    if names.is_empty() {
        "no board that is known here".to_owned()
    } else {
        names.join(" and ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use format::bootstate::Fault;
    use format::layout::{BOOTSTATE, ESP, SLOT_A, SLOT_B};
    use proptest::prelude::*;

    use super::*;
    use crate::disk::{Disk, disk};
    use crate::esp::{self, Esp};
    use crate::slot::tests::{key, small};

    /// An ESP with a loader that knows the roots of the tests.
    pub(crate) fn esp() -> Esp {
        let mut files = esp::tests::files();
        files[0].1.extend(key().roots.as_flattened());
        esp::esp(&files).unwrap()
    }

    pub(crate) fn whole_disk() -> Disk {
        disk(Board::Virt, &esp(), &small()).unwrap()
    }

    fn wrong(octets: Vec<u8>) -> String {
        judge(&Source::of(octets), Roots(&key().roots)).wrong.join("; ")
    }

    fn index(number: u64) -> usize {
        usize::try_from(number).unwrap()
    }

    fn damaged(at: u64) -> String {
        let mut octets = whole_disk().octets;
        octets[index(at)] ^= 1;
        wrong(octets)
    }

    #[test]
    fn what_is_whole_is_said_to_be() {
        let judged = judge(&Source::of(small()), Roots(&key().roots));
        assert_eq!(
            judged.holds,
            ["It is version 12 for virt, 0.1.0 (2f91391): whole and genuine, signed with a DEVELOPMENT KEY"]
        );
        assert_eq!(judged.wrong, Vec::<String>::new());
        let judged = judge(&Source::of(whole_disk().octets), Roots(&key().roots));
        assert_eq!((judged.holds.len(), judged.wrong), (6, Vec::new()));
    }

    #[test]
    fn d26_a_slot_that_is_not_whole_or_genuine_is_refused_in_a_sentence() {
        let changed = |at: usize| {
            let mut slot = small();
            slot[at] ^= 1;
            wrong(slot)
        };
        assert_eq!(changed(0), "it is no version of Postolka");
        assert_eq!(changed(24), "its header was changed: the signature does not fit");
        assert_eq!(changed(100), "nobody whom this box trusts vouches for its key");
        assert_eq!(changed(4_100), "an octet near its kernel is not as it was signed");
        assert_eq!(wrong(small()[..20_000].to_vec()), "it is cut short");
        assert_eq!(wrong(small()[..100].to_vec()), "it is cut short");
        assert_eq!(wrong(Vec::new()), "it is no version of Postolka");
        assert_eq!(wrong(vec![0; 5_000]), "it is empty");
        assert_eq!(wrong([small(), vec![0; 7]].concat()), "7 octets follow its end");
        let nobody = judge(&Source::of(small()), Roots(&[[9; 32]]));
        assert_eq!(nobody.wrong, ["nobody whom this box trusts vouches for its key"]);
    }

    #[test]
    fn each_part_of_a_disk_that_is_damaged_is_named() {
        assert_eq!(
            damaged(510),
            "The first sector has no entry that marks the disk as one in use"
        );
        assert_eq!(
            damaged(512 + 20),
            "The partition table is damaged, and its copy at the end of the disk is whole"
        );
        let end = format::layout::IMAGE_OCTETS;
        assert_eq!(
            damaged(end - 500),
            "The partition table has no whole copy at the end of the disk"
        );
        assert_eq!(damaged(ESP.start + 13), "The ESP is no FAT16 as it was made");
        assert_eq!(damaged(BOOTSTATE.start), "The bootstate has a damaged first copy");
        assert_eq!(
            damaged(BOOTSTATE.start + format::bootstate::Copy::Second.at()),
            "The bootstate has a damaged second copy"
        );
        assert_eq!(
            damaged(SLOT_A.start + 4_100),
            "slot A: an octet near its kernel is not as it was signed"
        );
        assert_eq!(
            damaged(SLOT_B.start + 30),
            "slot B: its header was changed: the signature does not fit"
        );
    }

    #[test]
    fn a_loader_of_other_roots_is_noticed() {
        let esp = esp::esp(&esp::tests::files()).unwrap();
        let said = wrong(disk(Board::Virt, &esp, &small()).unwrap().octets);
        assert!(
            said.starts_with("The ESP has a loader that does not know the root"),
            "{said}"
        );
        let esp = esp::esp(&esp::tests::files()[1..]).unwrap();
        let said = wrong(disk(Board::Virt, &esp, &small()).unwrap().octets);
        assert_eq!(said, "The ESP has no EFI/BOOT/BOOTAA64.EFI");
    }

    #[test]
    fn a_disk_that_is_cut_short_is_refused() {
        let mut octets = whole_disk().octets;
        octets.truncate(96 << 20);
        let said = wrong(octets);
        assert!(said.contains("The partition table has no whole copy"), "{said}");
    }

    /// A box that lost its power in the middle of an update is in order.
    #[test]
    fn a_slot_that_is_not_in_use_may_be_anything() {
        let mut octets = whole_disk().octets;
        let mut state = State::flashed();
        state.sequence = 9;
        state.abandon(Slot::B);
        for copy in format::bootstate::Copy::ALL {
            let at = index(BOOTSTATE.start + copy.at());
            octets[at..at + 512].copy_from_slice(&state.encode());
        }
        octets[index(SLOT_B.start) + 4_100] ^= 1;
        let judged = judge(&Source::of(octets.clone()), Roots(&key().roots));
        assert!(judged.wrong.is_empty(), "{:?}", judged.wrong);
        assert!(
            judged.holds.contains(
                &"Slot B is not in use (an octet near its kernel is not as it was signed)".to_owned()
            )
        );

        state.min_version = 13;
        for copy in format::bootstate::Copy::ALL {
            let at = index(BOOTSTATE.start + copy.at());
            octets[at..at + 512].copy_from_slice(&state.encode());
        }
        assert_eq!(
            wrong(octets),
            "slot A: it is too old (version 12, at least 13 is needed)"
        );
    }

    #[test]
    fn a_bootstate_is_spoken_in_words() {
        let mut state = State::flashed();
        state.install(Slot::B);
        state.last = Some(Slot::A);
        assert_eq!(
            spoken(&state),
            "first B is on trial, with 3 tries left, then A is good; A was started last"
        );
        state.slot_mut(Slot::B).tries = 0;
        state.slot_mut(Slot::B).fault = Some(Fault::TriesSpent);
        assert!(spoken(&state).starts_with("first B was tried as often as allowed and never came up"));
    }

    proptest! {
        #[test]
        fn d26_every_flipped_bit_of_an_update_file_is_refused(at in 0..28_672_usize, bit in 0..8) {
            let mut slot = small();
            prop_assert_eq!(slot.len(), 28_672);
            slot[at] ^= 1_u8 << bit;
            prop_assert!(!wrong(slot).is_empty());
        }

        #[test]
        fn an_update_file_cut_anywhere_is_refused(octets in 0..28_672_usize) {
            let mut slot = small();
            slot.truncate(octets);
            prop_assert!(!wrong(slot).is_empty());
        }

        #[test]
        fn random_octets_are_refused_and_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..9_000)) {
            prop_assert!(!wrong(octets.clone()).is_empty());
            // The same where a table or a slot would begin.
            prop_assert!(!wrong([b"postolka slot v1".to_vec(), octets.clone()].concat()).is_empty());
            prop_assert!(!wrong([vec![0; 512], b"EFI PART".to_vec(), octets].concat()).is_empty());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Where a disk says something: table, bootstate, ESP with FATs and folders, slots.
        #[test]
        fn a_disk_with_octets_changed_anywhere_never_panics(
            changes in proptest::collection::vec((0_usize..6, any::<u64>(), any::<u8>()), 1..40),
        ) {
            let mut octets = whole_disk().octets;
            let places = [
                (0, 20_480),
                (ESP.start, 512),
                (ESP.start + 512, 300_000),
                (BOOTSTATE.start, 64),
                (SLOT_A.start, 28_672),
                (SLOT_B.start, 4_096),
            ];
            let mut changed_slot = false;
            for (place, at, octet) in changes {
                let (start, length) = places[place];
                let at = index(start + at % length);
                changed_slot |= place >= 4 && octets[at] != octet;
                octets[at] = octet;
            }
            let is_whole = wrong(octets).is_empty();
            prop_assert!(!(is_whole && changed_slot));
        }
    }
}
