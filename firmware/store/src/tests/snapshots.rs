//! The index is made anew from a snapshot, whatever became of the log before it and of the other snapshots.

use super::workload::*;
use super::*;
use crate::log::scan::Segments;
use crate::log::segment;
use crate::snapshot::{self, Kept};
use crate::storage::sim::{Plan, Sim};
use crate::{Damage, Expunge, FlagChange, Storage, StoreError, StoreFlags};
use mail::SystemFlags;
use std::sync::atomic::Ordering;

const U1: AccountId = AccountId(1);

fn make(direct: &Direct) -> Result<Kept, StoreError> {
    snapshot::make(&direct.shared)
}

/// Does some steps of the course.
fn steps(direct: &mut Direct, seed: u64, numbers: std::ops::Range<u64>) {
    for number in numbers {
        step(direct, seed, number).unwrap();
    }
}

/// The disk after the process died and its index was lost.
fn without_index(sim: &Sim, direct: Direct, seed: u64) -> Sim {
    let after = sim.reboot(seed);
    drop(direct);
    let _ = Storage::remove(&after, "index.redb");
    Storage::sync_folder(&after, "").unwrap();
    after
}

/// Removes the segments that no snapshot needs and nothing live is in, as the keeper would. Returns how many.
fn remove_unneeded(direct: &Direct, sim: &Sim) -> usize {
    let kept = snapshot::kept(&direct.shared);
    let tables = direct.shared.read().unwrap();
    let (segments, _) = Segments::find(Arc::new(sim.clone())).unwrap().unwrap();
    let mut removed = 0;
    for (place, segment) in segments.list.iter().enumerate() {
        let is_covered = segments.limit(place) <= kept[1].position.batch;
        let is_live = redb::ReadableTable::get(&tables.segstat, segment.number)
            .unwrap()
            .is_some();
        if is_covered && !is_live {
            Storage::remove(sim, &segment.name).unwrap();
            removed += 1;
        }
    }
    Storage::sync_folder(sim, "log").unwrap();
    removed
}

fn expunge(direct: &mut Direct, mailbox: MailboxId, uids: Vec<Uid>) {
    let deleted = FlagChange::Add(Flags::system(SystemFlags::DELETED));
    direct
        .ask(StoreFlags {
            mailbox,
            uids: uids.clone(),
            change: deleted,
            unchanged_since: None,
        })
        .unwrap();
    let uids = Some(uids);
    direct.ask(Expunge { mailbox, uids }).unwrap();
}

/// A store whose first segments are gone, with two snapshots and something behind them.
fn with_a_gap(seed: u64) -> (Sim, Direct) {
    let sim = Sim::new(seed);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, seed, 0).unwrap();
    for number in 0..12 {
        let deliver = direct.delivery(&[U1], &noise(number, 12_000)).unwrap();
        direct.ask(deliver).unwrap();
    }
    let inbox = mailbox(&direct.view(), U1, "INBOX");
    expunge(&mut direct, inbox, (1..=11).filter_map(Uid::new).collect());
    steps(&mut direct, seed, 1..12);
    make(&direct).unwrap();
    steps(&mut direct, seed, 12..20);
    make(&direct).unwrap();
    steps(&mut direct, seed, 20..26);
    direct.writer.checkpoint();
    assert!(remove_unneeded(&direct, &sim) > 0, "seed {seed}");
    (sim, direct)
}

/// D6, with a snapshot: the same folders, flags, UIDs, dates, accounts without the index.
#[test]
fn d6_the_index_is_made_anew_from_a_snapshot() {
    for seed in 1..=8 {
        let sim = Sim::new(seed);
        let mut direct = Direct::open(&sim).unwrap();
        steps(&mut direct, seed, 0..15);
        make(&direct).unwrap();
        steps(&mut direct, seed, 15..30);
        let newest = make(&direct).unwrap();
        steps(&mut direct, seed, 30..40);
        let state = direct.state();
        let direct = Direct::open(&without_index(&sim, direct, seed)).unwrap();
        assert_eq!(direct.opened.snapshot.as_ref(), Some(&newest.name));
        assert_eq!(direct.opened.damage, []);
        assert_eq!(direct.state(), state, "seed {seed}");
        direct.check();
    }
}

/// D6, when the log no longer goes back to its beginning.
#[test]
fn d6_the_index_is_made_anew_without_the_first_segments() {
    for seed in 1..=6 {
        let (sim, direct) = with_a_gap(seed);
        direct.check();
        let state = direct.state();
        let direct = Direct::open(&without_index(&sim, direct, seed)).unwrap();
        assert_eq!(direct.opened.damage, []);
        assert_eq!(direct.state(), state, "seed {seed}");
        direct.check();
    }
}

/// D10: the newest snapshot is damaged anywhere: the one before does as well. It is told, and no longer kept.
#[test]
fn d10_a_damaged_snapshot_is_told_and_the_one_before_it_does() {
    let (sim, direct) = with_a_gap(3);
    let state = direct.state();
    let [newest, older] = &snapshot::kept(&direct.shared)[..] else {
        panic!("two are kept")
    };
    let sim = without_index(&sim, direct, 3);
    // Of the header one copy is enough, and behind it is nothing before the frames.
    for offset in (4096..newest.octets).step_by(41).chain([newest.octets - 1]) {
        let sim = sim.reboot(offset);
        sim.flip(&newest.name, offset, 0x20);
        let direct = Direct::open(&sim).unwrap();
        assert!(
            matches!(&direct.opened.damage[..], [Damage::Snapshot { name, .. }] if *name == newest.name),
            "at {offset}: {:?}",
            direct.opened.damage
        );
        assert_eq!(direct.opened.snapshot.as_ref(), Some(&older.name));
        assert_eq!(direct.state(), state, "at {offset}");
        assert_eq!(snapshot::kept(&direct.shared).len(), 1);
        assert_eq!(snapshot::covered(&direct.shared), 0, "one alone covers nothing");
        direct.check();
    }
}

/// Both are damaged: then all of the log, if it is there; otherwise a sentence, and nothing is changed.
#[test]
fn d10_without_a_snapshot_the_log_is_replayed_from_its_beginning_or_it_is_said_that_it_has_none() {
    let damage_all = |sim: &Sim| {
        for name in sim.names().iter().filter(|name| name.starts_with("snapshots/")) {
            sim.flip(name, 4100, 1);
        }
    };
    let sim = Sim::new(5);
    let mut direct = Direct::open(&sim).unwrap();
    steps(&mut direct, 5, 0..20);
    make(&direct).unwrap();
    steps(&mut direct, 5, 20..30);
    make(&direct).unwrap();
    let state = direct.state();
    let sim = without_index(&sim, direct, 5);
    damage_all(&sim);
    let direct = Direct::open(&sim).unwrap();
    assert_eq!(direct.opened.snapshot, None);
    assert_eq!(direct.opened.damage.len(), 2, "{:?}", direct.opened.damage);
    assert_eq!(direct.state(), state);
    drop(direct);

    let (sim, direct) = with_a_gap(4);
    let state = direct.state();
    let sim = without_index(&sim, direct, 4);
    let (whole, sim) = (sim.reboot(1), sim.reboot(1));
    damage_all(&sim);
    let before: Vec<String> = kept_names(&sim);
    let error = Direct::open(&sim).err().unwrap();
    assert!(matches!(error, StoreError::LogIncomplete { .. }), "{error}");
    assert!(!error.is_temporary());
    assert_eq!(kept_names(&sim), before, "nothing was removed");
    assert_eq!(Direct::open(&whole).unwrap().state(), state);
}

/// Names of segments and snapshots.
fn kept_names(sim: &Sim) -> Vec<String> {
    let mut names = sim.names();
    names.retain(|name| name.starts_with("log/") || name.starts_with("snapshots/"));
    names
}

/// The power goes at each call of making a snapshot: nothing else changes, and whole or not there is what is found.
#[test]
fn d1_a_cut_while_a_snapshot_is_made_loses_nothing() {
    const SEED: u64 = 2;
    let course = |plan: Option<Plan>| {
        let sim = Sim::new(SEED);
        let mut direct = Direct::open(&sim).unwrap();
        steps(&mut direct, SEED, 0..14);
        make(&direct).unwrap();
        steps(&mut direct, SEED, 14..18);
        make(&direct).unwrap();
        steps(&mut direct, SEED, 18..20);
        let calls = sim.counted().calls;
        if let Some(plan) = plan {
            sim.plan(Plan {
                cut_at: plan.cut_at.map(|call| calls + call),
                ..plan
            });
        }
        let made = make(&direct);
        (sim, direct, calls, made)
    };
    let (sim, direct, before, made) = course(None);
    let state = direct.state();
    let calls = sim.counted().calls - before;
    let name = made.unwrap().name;
    assert_eq!(snapshot::kept(&direct.shared).len(), 2);
    assert_eq!(
        sim.names()
            .iter()
            .filter(|name| name.starts_with("snapshots/"))
            .count(),
        2
    );
    let mut found_whole = 0;
    println!("{calls} cuts");
    for cut_at in 1..=calls {
        let plan = Plan {
            cut_at: Some(cut_at),
            ..Plan::default()
        };
        let (sim, direct, ..) = course(Some(plan));
        let sim = without_index(&sim, direct, cut_at);
        let direct = Direct::open(&sim).unwrap();
        assert_eq!(direct.opened.damage, [], "cut {cut_at}");
        assert!(direct.opened.snapshot.is_some(), "cut {cut_at}");
        found_whole += usize::from(direct.opened.snapshot.as_ref() == Some(&name));
        assert_eq!(direct.state(), state, "cut {cut_at}");
        assert_eq!(snapshot::kept(&direct.shared).len(), 2, "cut {cut_at}");
        direct.check();
    }
    assert!(found_whole > 0, "the last cuts are behind the rename");

    // The rig: without either sync some cut leaves a snapshot that is not whole.
    for ignored in ["snapshots/unfinished", "folder snapshots"] {
        let is_lost = |(cut_at, reboot): (u64, u64)| {
            let plan = Plan {
                cut_at: (cut_at > 0).then_some(cut_at),
                ignored_syncs: Some(ignored),
                ..Plan::default()
            };
            let (sim, direct, _, made) = course(Some(plan));
            let sim = without_index(&sim, direct, reboot);
            let direct = Direct::open(&sim).unwrap();
            !direct.opened.damage.is_empty()
                || (made.is_ok() && direct.opened.snapshot.as_ref() != Some(&name))
        };
        // Also behind the last call: what of the names survives then is chance.
        let behind = (1..=16).map(|reboot| (0, reboot));
        let cuts = (0..=calls).map(|cut_at| (cut_at, cut_at)).chain(behind);
        let losses = cuts.filter(|cut| is_lost(*cut)).count();
        println!("without syncs of {ignored}: {losses} cuts lose something");
        assert!(losses > 0, "{ignored}");
    }
}

/// The power goes at each call of the start that makes the index anew from a snapshot; the start after does it again.
#[test]
fn d1_a_cut_while_the_index_is_made_anew_loses_nothing() {
    let (sim, direct) = with_a_gap(6);
    let state = direct.state();
    let found = without_index(&sim, direct, 6);
    let calls = {
        let sim = found.reboot(1);
        let before = sim.counted().calls;
        let direct = Direct::open(&sim).unwrap();
        let calls = sim.counted().calls - before;
        drop(direct);
        calls
    };
    println!("{calls} cuts");
    for cut_at in 1..=calls + 1 {
        let sim = found.reboot(cut_at);
        sim.plan(Plan {
            cut_at: Some(cut_at),
            ..Plan::default()
        });
        let _ = Direct::open(&sim);
        let direct = Direct::open(&sim.reboot(cut_at)).unwrap();
        assert_eq!(direct.opened.damage, [], "cut {cut_at}");
        assert_eq!(direct.state(), state, "cut {cut_at}");
        if cut_at % 7 == 0 {
            direct.check();
        }
    }
}

/// The last batch that a snapshot has is copied at the next start, and the segment it came from goes: its bodies are found
/// where the copy is.
#[test]
fn bodies_of_a_batch_that_was_copied_after_the_snapshot_are_found_in_the_copy() {
    let sim = Sim::new(9);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 9, 0).unwrap();
    direct.writer.checkpoint();
    for number in 0..2 {
        let deliver = direct.delivery(&[U1], &noise(number, 9_000)).unwrap();
        direct.ask(deliver).unwrap();
    }
    let made = make(&direct).unwrap();
    // The index does not have the last batch on the disk.
    let after = sim.reboot(9);
    drop(direct);
    let direct = Direct::open(&after).unwrap();
    assert!(direct.opened.is_tail_copied);
    let state = direct.state();
    let home = crate::index::rows::get_blob(&direct.shared.read().unwrap().blob, 2)
        .unwrap()
        .unwrap()
        .1
        .home;
    assert!(home > made.position.segment);
    let sim = without_index(&after, direct, 9);
    let direct = Direct::open(&sim).unwrap();
    assert_eq!(direct.opened.snapshot, Some(made.name));
    assert_eq!(direct.state(), state);
    let now = crate::index::rows::get_blob(&direct.shared.read().unwrap().blob, 2)
        .unwrap()
        .unwrap()
        .1
        .home;
    assert_eq!(now, home);
    direct.check();
}

/// D10: what a snapshot does not have is damaged where it is: that message is told and contained, all others are there.
#[test]
fn d10_a_body_whose_description_is_lost_is_listed_and_says_that_it_is_damaged() {
    let sim = Sim::new(7);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 7, 0).unwrap();
    for number in 0..4 {
        let deliver = direct.delivery(&[U1], &noise(number, 3_000)).unwrap();
        direct.ask(deliver).unwrap();
    }
    make(&direct).unwrap();
    let dump = direct.view().dump().unwrap();
    let (segments, _) = Segments::find(Arc::new(sim.clone())).unwrap().unwrap();
    let first = segments.next_batch(&segments.list[0], 0).unwrap().unwrap();
    let second = segments
        .next_batch(&segments.list[0], first.end())
        .unwrap()
        .unwrap();
    let sim = without_index(&sim, direct, 7);
    sim.flip("log/0000000000000001", second.at.offset + 100, 1);
    for _ in 0..2 {
        let mut direct = Direct::open(&sim).unwrap();
        let view = direct.view();
        let inbox = mailbox(&view, U1, "INBOX");
        let entries = view.entries(inbox).unwrap();
        assert_eq!(entries.len(), 4);
        for entry in entries {
            let message = view.message(inbox, entry.uid).unwrap().unwrap();
            assert!(message.size_octets > 3_000);
            let octets = view.body(&message).unwrap().read_to_vec();
            if entry.uid.get() == 1 {
                assert!(matches!(octets, Err(StoreError::Damaged { .. })));
                assert_eq!(view.structure(&message).unwrap(), []);
            } else {
                assert!(
                    octets
                        .unwrap()
                        .ends_with(&noise(u64::from(entry.uid.get()) - 1, 3_000))
                );
            }
        }
        drop(view);
        if direct.opened.index_rebuilt.is_some() {
            assert!(
                matches!(direct.opened.damage[..], [Damage::BodiesLost { bodies: 1, .. }]),
                "{:?}",
                direct.opened.damage
            );
            assert_ne!(direct.view().dump().unwrap(), dump);
        }
        // It can be expunged, and the store goes on.
        let deliver = direct.delivery(&[U1], b"after").unwrap();
        let uid = direct.ask(deliver).unwrap()[0].uid;
        expunge(&mut direct, inbox, vec![uid]);
        direct.writer.checkpoint();
    }
    // Its octets may be whole: where they are stays, whatever else goes.
    let mut direct = Direct::open(&sim).unwrap();
    let inbox = mailbox(&direct.view(), U1, "INBOX");
    expunge(&mut direct, inbox, (2..=4).filter_map(Uid::new).collect());
    make(&direct).unwrap();
    let deliver = direct.delivery(&[U1], b"later").unwrap();
    direct.ask(deliver).unwrap();
    make(&direct).unwrap();
    direct.keep().unwrap();
    assert!(sim.names().iter().any(|name| name == "log/0000000000000001"));
}

/// D7: acknowledged batches are lost with their segment, and what they gave is not given again.
#[test]
fn d7_a_log_that_lost_its_end_gives_no_uid_twice() {
    let sim = Sim::new(8);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 8, 0).unwrap();
    // The second start has a segment of its own.
    let sim = sim.reboot(8);
    drop(direct);
    let mut direct = Direct::open(&sim).unwrap();
    let mut deliver = |number| {
        let deliver = direct.delivery(&[U1], &noise(number, 3_000)).unwrap();
        let uid = direct.ask(deliver).unwrap()[0].uid;
        if number == 1 {
            direct.writer.checkpoint();
        }
        uid
    };
    deliver(1);
    let lost = deliver(2);
    let active = direct.shared.active_segment.load(Ordering::Acquire);
    let sim = sim.reboot(8);
    drop(direct);
    Storage::remove(&sim, &segment::name(active)).unwrap();
    let mut direct = Direct::open(&sim).unwrap();
    assert!(matches!(
        direct.opened.damage[..],
        [Damage::SegmentMissing { .. }]
    ));
    let deliver = direct.delivery(&[U1], &noise(3, 3_000)).unwrap();
    assert!(direct.ask(deliver).unwrap()[0].uid > lost);
}

/// A snapshot of a later firmware is never passed over: what it says may be in no other place.
#[test]
fn a_snapshot_of_a_later_format_stops_the_start_with_a_sentence() {
    let (sim, direct) = with_a_gap(2);
    let newest = snapshot::kept(&direct.shared)[0].name.clone();
    let sealer = direct.shared.sealer.clone();
    let sim = without_index(&sim, direct, 2);
    let mut block = sim.content(&newest)[..64].to_vec();
    block[8] = 9;
    let sum = sealer.sum(crate::log::seal::Purpose::SnapshotHeader, &block);
    block.extend_from_slice(&sum);
    let file = Storage::open(&sim, &newest).unwrap();
    file.write_all_at(&block, 0).unwrap();
    file.sync().unwrap();
    let error = Direct::open(&sim).err().unwrap();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("a snapshot of format 9"), "{error}");
}

/// Without room for one none is made, the others stay, and nothing of it is left.
#[test]
fn d9_a_snapshot_that_finds_no_room_leaves_nothing() {
    let sim = Sim::new(3);
    let mut direct = Direct::open(&sim).unwrap();
    steps(&mut direct, 3, 0..20);
    let older = make(&direct).unwrap();
    steps(&mut direct, 3, 20..22);
    let names = sim.names();
    sim.plan(Plan {
        capacity_octets: Some(sim.used_octets() + 4096),
        ..Plan::default()
    });
    assert!(matches!(make(&direct), Err(StoreError::Full)));
    assert_eq!(sim.names(), names);
    assert_eq!(snapshot::kept(&direct.shared), [older]);
    sim.plan(Plan::default());
    make(&direct).unwrap();
    direct.check();
}
