#![allow(clippy::unwrap_used)]

use format::boot::boot;
use format::{Board, Fault, State};
use proptest::prelude::*;

use super::*;
use crate::slot::check;
use crate::slot::testing::{self, Box as Disk, Made, Recipe, roots};

/// An update in memory, which may change between two readings.
struct Shifty<'a> {
    octets: Vec<u8>,
    /// Called before each reading, with its number.
    before: &'a mut dyn FnMut(usize, &mut Vec<u8>),
    reads: usize,
}

impl Source for Shifty<'_> {
    fn octets(&self) -> u64 {
        self.octets.len() as u64
    }

    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        (self.before)(self.reads, &mut self.octets);
        self.reads += 1;
        let at = usize::try_from(at).unwrap();
        let from = self.octets.get(at..at + into.len());
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn taken_from(disk: &mut Disk, octets: &[u8], running: (Slot, u64)) -> Result<Taken, Rejection> {
    shifting(disk, octets, running, &mut |_, _| {})
}

fn shifting(
    disk: &mut Disk,
    octets: &[u8],
    (running, version): (Slot, u64),
    before: &mut dyn FnMut(usize, &mut Vec<u8>),
) -> Result<Taken, Rejection> {
    let keys = roots();
    let own = Box {
        running,
        attempt: Attempt::Good,
        version,
        needs: testing::needs(),
        roots: Roots(&keys),
    };
    taken_by(&own, disk, octets, before)
}

fn taken_by(
    own: &Box<'_>,
    disk: &mut Disk,
    octets: &[u8],
    before: &mut dyn FnMut(usize, &mut Vec<u8>),
) -> Result<Taken, Rejection> {
    let mut source = Shifty {
        octets: octets.to_vec(),
        before,
        reads: 0,
    };
    let judged = judge(&mut source, &mut disk.raws, own)?;
    apply(&mut source, &judged, &mut disk.raws, own, |_| {}, || Ok(()))
}

/// A box that runs version 11 in slot A, with version 10 beside it.
fn disk() -> Disk {
    Disk::with(&Made::version(11), &Made::version(10))
}

const A11: (Slot, u64) = (Slot::A, 11);

#[test]
fn d24_a_newer_version_is_written_beside_and_comes_first_on_trial() {
    let (mut disk, update) = (disk(), Made::version(12));
    let taken = taken_from(&mut disk, &update.octets, A11).unwrap();
    assert_eq!((taken.version, taken.name.as_str()), (12, "test 12"));
    let holds = |slot: usize, made: &Made| disk.raws.slots[slot].durable().starts_with(&made.octets);
    assert!(holds(1, &update) && holds(0, &Made::version(11)));
    let state = disk.state();
    assert_eq!(state.order(), [Slot::B, Slot::A]);
    assert!(!state.slot(Slot::B).is_good && state.slot(Slot::B).tries == 3);
    assert!(state.slot(Slot::A).is_good);
    boot(&mut disk);
    assert_eq!(disk.started, Some((Slot::B, 12)));
    // It finds itself good, and the next one goes back into slot A.
    check::mark_good(&mut disk.raws, Slot::B, Attempt::Trial(1)).unwrap();
    taken_from(&mut disk, &Made::version(13).octets, (Slot::B, 12)).unwrap();
    disk.started = None;
    boot(&mut disk);
    assert_eq!(disk.started, Some((Slot::A, 13)));
}

/// Takes `octets`, which must be refused with these words before anything is written.
fn refused(recipe: &Recipe, expected: &str) {
    let mut disk = disk();
    disk.change(|state| (state.min_version, state.min_epoch) = (10, 1));
    let before = disk.state();
    let rejection = taken_from(&mut disk, &recipe.make().octets, A11).unwrap_err();
    assert_eq!(rejection.to_string(), expected);
    assert_eq!((disk.writes(), disk.state()), (0, before));
}

#[test]
fn d26_what_may_not_run_here_is_refused_before_anything_is_written() {
    let good = || Recipe::version(12);
    refused(
        &Recipe {
            boards: Board::Rpi.bit(),
            ..good()
        },
        "it is for another board",
    );
    refused(
        &Recipe {
            loader_min: 2,
            ..good()
        },
        "it needs loader 2",
    );
    refused(
        &Recipe { epoch: 0, ..good() },
        "its key is out of force (epoch 0, at least 1 is needed)",
    );
    refused(
        &Recipe::version(9),
        "it is too old (version 9, at least 10 is needed)",
    );
    refused(
        &Recipe::version(10),
        "it is version 10, which is older than version 11 that runs",
    );
    refused(&Recipe::version(11), "it is version 11, which runs already");
    refused(
        &Recipe {
            min_from: 12,
            ..good()
        },
        "version 11, which runs, is too old for it (version 12 can be updated to it)",
    );
}

#[test]
fn a_version_on_trial_takes_no_update() {
    let mut disk = disk();
    disk.change(|state| {
        state.install(Slot::A);
        state.slot_mut(Slot::A).tries = 2;
    });
    let rejection = taken_from(&mut disk, &Made::version(12).octets, A11).unwrap_err();
    let sentence = refusal_sentence(&rejection, "0.1.0 (1a2b3c4)");
    assert_eq!(
        sentence,
        "The update was not taken: the version that runs has to prove itself first. 0.1.0 (1a2b3c4) goes on running."
    );
    assert_eq!(disk.writes(), 0);
}

/// Takes version 12 on a box whose version 11 did not find itself good and was started as the last resort.
fn taken_as_last_resort(disk: &mut Disk) -> Result<Taken, Rejection> {
    let keys = roots();
    let own = Box {
        running: Slot::A,
        attempt: Attempt::Uncounted,
        version: 11,
        needs: testing::needs(),
        roots: Roots(&keys),
    };
    taken_by(&own, disk, &Made::version(12).octets, &mut |_, _| {})
}

/// A box whose version 11 has had its tries, and whose version 10 is good.
fn disk_of_last_resort() -> Disk {
    let mut disk = disk();
    disk.change(|state| {
        state.install(Slot::A);
        state.slot_mut(Slot::A).tries = 0;
        state.slot_mut(Slot::A).fault = Some(Fault::TriesSpent);
    });
    disk
}

#[test]
fn d24_a_version_that_is_no_good_and_has_nothing_to_go_back_to_takes_an_update() {
    let spoilt: [fn(&mut Disk); 4] = [
        |disk| disk.raws.slots[1].durable_mut(5000, &[1, 2, 3]),
        |disk| disk.raws.slots[1].durable_mut(0, &[0; 4096]),
        |disk| disk.change(|state| state.abandon(Slot::B)),
        // Whole, and the firmware does not start it.
        |disk| disk.change(|state| state.slot_mut(Slot::B).fault = Some(Fault::Load)),
    ];
    for spoil in spoilt {
        let mut disk = disk_of_last_resort();
        spoil(&mut disk);
        taken_as_last_resort(&mut disk).unwrap();
        assert_eq!(starts(&mut disk, &Made::version(12)), 12);
    }
    // Wherever it is cut off, one of the two starts.
    let mut operations = 0;
    let mut is_done = false;
    while !is_done {
        let mut disk = disk_of_last_resort();
        disk.raws.slots[1].durable_mut(5000, &[1, 2, 3]);
        disk.cut_after(operations, |sector| sector % 2 == 0);
        is_done = taken_as_last_resort(&mut disk).is_ok();
        starts(&mut disk, &Made::version(12));
        operations += 1;
    }
    // What it could go back to after all is not written over.
    let mut disk = disk_of_last_resort();
    let rejection = taken_as_last_resort(&mut disk).unwrap_err();
    assert!(matches!(rejection, Rejection::OnTrial), "{rejection}");
    assert_eq!(disk.writes(), 0);
}

/// However it ended, the box starts version 11, or the whole of version 12.
fn starts(disk: &mut Disk, update: &Made) -> u64 {
    disk.power_on();
    disk.started = None;
    boot(disk);
    let (slot, version) = disk.started.unwrap();
    match slot {
        Slot::A => assert_eq!(version, 11),
        Slot::B => assert!(
            disk.raws.slots[1].durable().starts_with(&update.octets),
            "version {version} is not the update"
        ),
    }
    version
}

#[test]
fn d24_an_update_that_is_cut_anywhere_leaves_a_box_that_starts() {
    let update = Made::version(12);
    let mut operations = 0;
    loop {
        let mut is_done = false;
        for keeps in [
            |_| false,
            |_| true,
            |sector| sector % 2 == 0,
            |sector| sector % 2 == 1,
            |sector: usize| sector < 8,
            |sector: usize| sector >= 8,
        ] {
            let mut disk = disk();
            disk.cut_after(operations, keeps);
            let result = taken_from(&mut disk, &update.octets, A11);
            is_done = result.is_ok();
            let started = starts(&mut disk, &update);
            assert!(!is_done || started == 12);
            // No header stands before parts that are not its own: nobody has to hash them to know.
            let other = write::verify(&mut disk.raws.slots[1], Roots(&roots()));
            assert!(other != Err(Fault::Hash), "after {operations} operations");
        }
        if is_done {
            break;
        }
        operations += 1;
    }
    assert!(operations > 10, "{operations} operations are not all of them");
}

#[test]
fn d26_an_update_that_is_cut_short_is_refused_and_never_started() {
    let update = Made::version(12);
    for octets in [0, 1, 4095, 4096, 5000, 1 << 20, update.octets.len() - 1] {
        let mut disk = disk();
        let rejection = taken_from(&mut disk, &update.octets[..octets], A11).unwrap_err();
        assert_eq!(rejection.to_string(), "it is cut short");
        assert_eq!(disk.writes(), 0);
        assert_eq!(starts(&mut disk, &update), 11);
    }
}

/// AX4: there is no gap between what is verified and what is written.
#[test]
fn ax4_a_source_that_changes_while_it_is_read_is_never_started() {
    let update = Made::version(12);
    // The header; its two chunks, to be verified; the same two, to be written; and one that is not read.
    for reading in 0..6 {
        for at in [20, 5000, (1 << 20) + 4096 + 10] {
            let mut disk = disk();
            let result = shifting(&mut disk, &update.octets, A11, &mut |number, octets| {
                if number == reading {
                    octets[at] ^= 0x40;
                }
            });
            let started = starts(&mut disk, &update);
            assert_eq!(result.is_ok(), started == 12, "at {at} before reading {reading}");
            // It is noticed before it is written, not by what is read back.
            let is_late = matches!(result, Err(Rejection::Slot(WriteFault::ReadBack(_))));
            assert!(!is_late, "at {at} before reading {reading}");
        }
    }
    // One that shrinks.
    let mut disk = disk();
    shifting(&mut disk, &update.octets, A11, &mut |number, octets| {
        octets.truncate(octets.len() >> number);
    })
    .unwrap_err();
    assert_eq!(starts(&mut disk, &update), 11);
}

#[test]
fn a_disk_that_does_not_keep_what_it_takes_is_noticed() {
    let mut disk = disk();
    disk.raws.slots[1].lie();
    let rejection = taken_from(&mut disk, &Made::version(12).octets, A11).unwrap_err();
    assert!(
        matches!(rejection, Rejection::Slot(WriteFault::ReadBack(_))),
        "{rejection}"
    );
    assert_eq!(disk.state().slot(Slot::B).fault, Some(Fault::Empty));
    boot(&mut disk);
    assert_eq!(disk.started, Some((Slot::A, 11)));
}

#[test]
fn without_a_root_key_nothing_is_taken() {
    let mut disk = disk();
    let own = Box {
        running: Slot::A,
        attempt: Attempt::Good,
        version: 11,
        needs: testing::needs(),
        roots: Roots(&[]),
    };
    let update = Made::version(12);
    let rejection = taken_by(&own, &mut disk, &update.octets, &mut |_, _| {}).unwrap_err();
    assert!(matches!(rejection, Rejection::Refused(Refusal::Untrusted)));
}

#[test]
fn without_a_bootstate_nothing_is_taken() {
    let mut disk = disk();
    for at in [0, 4 << 20] {
        disk.raws.bootstate.durable_mut(at, &[0; 64]);
    }
    let rejection = taken_from(&mut disk, &Made::version(12).octets, A11).unwrap_err();
    assert!(matches!(rejection, Rejection::Bootstate(_)), "{rejection}");
}

#[test]
fn each_refusal_is_one_sentence_for_the_console() {
    let rejections = [
        Rejection::Refused(Refusal::Signature),
        Rejection::OnTrial,
        Rejection::Same(12),
        Rejection::Older {
            version: 1,
            running: 12,
        },
        Rejection::TooFar {
            min_from: 12,
            running: 3,
        },
        Rejection::Tried(12),
        Rejection::Source(io::ErrorKind::UnexpectedEof.into()),
        Rejection::Slot(WriteFault::ReadBack(Fault::Hash)),
        Rejection::Bootstate(io::ErrorKind::BrokenPipe.into()),
        Rejection::Memory(io::ErrorKind::StorageFull.into()),
    ];
    for rejection in rejections {
        let sentence = refusal_sentence(&rejection, "0.1.0 (1a2b3c4-dirty)");
        assert!(
            sentence.len() <= handoff::Sentence::OCTETS_MAX && sentence.is_ascii(),
            "{sentence}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// D24, D26: a bit that is flipped anywhere is found before anything is written: the fallback stays what it is.
    #[test]
    fn d26_a_flipped_bit_is_never_started(
        at in prop_oneof![0_usize..4096, 4096_usize..(1 << 20), (1_usize << 20)..(1 << 20) + 12_000],
        bit in 0..8,
    ) {
        let update = Made::version(12);
        let at = at.min(update.octets.len() - 1);
        let mut octets = update.octets.clone();
        octets[at] ^= 1_u8 << bit;
        let mut disk = disk();
        let result = taken_from(&mut disk, &octets, A11);
        prop_assert!(result.is_err());
        prop_assert_eq!(disk.writes(), 0);
        prop_assert_eq!(starts(&mut disk, &update), 11);
    }

    /// Whatever the bootstate was, a refusal leaves what could be started as it was.
    #[test]
    fn a_refusal_leaves_the_bootstate_alone(min_version in 0..20_u64, version in 0..20_u64) {
        let mut disk = disk();
        disk.change(|state| state.min_version = min_version.min(10));
        let before: State = disk.state();
        if taken_from(&mut disk, &Made::version(version).octets, A11).is_err() {
            prop_assert_eq!(disk.state(), before);
        } else {
            prop_assert!(version > 11);
        }
    }
}
