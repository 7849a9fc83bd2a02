//! Octets of the log change behind the store's back; the index is lost.

use super::workload::*;
use super::*;
use crate::log::batch::{BatchAt, BatchBuilder};
use crate::log::scan::Segments;
use crate::storage::sim::Sim;
use crate::{Damage, StoreError};
use redb::ReadableTable;
use std::collections::BTreeSet;
use std::path::Path;

const U1: AccountId = AccountId(1);

/// D6: the same folders, flags, UIDs, dates, accounts without the index.
#[test]
fn d6_the_index_is_made_anew_from_the_log() {
    for seed in 1..=6 {
        let sim = Sim::new(seed);
        let mut direct = Direct::open(&sim).unwrap();
        for number in 0..40 {
            step(&mut direct, seed, number).unwrap();
        }
        let state = direct.state();
        let sim = sim.reboot(seed);
        drop(direct);
        crate::Storage::remove(&sim, "index.redb").unwrap();
        let direct = Direct::open(&sim).unwrap();
        assert_eq!(direct.opened.index_rebuilt.as_deref(), Some("it was missing"));
        assert_eq!(direct.state(), state, "seed {seed}");
        direct.check();
    }
}

#[test]
fn a_log_that_is_gone_is_said_and_nothing_is_begun_in_its_place() {
    let sim = Sim::new(1);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    direct.writer.checkpoint();
    drop(direct);
    let before = sim.names();
    for name in before.iter().filter(|name| name.starts_with("log/")) {
        crate::Storage::remove(&sim, name).unwrap();
    }
    let left = sim.names();
    let error = Direct::open(&sim).err().unwrap();
    assert!(matches!(error, StoreError::LogMissing { .. }), "{error}");
    assert_eq!(sim.names(), left);
}

/// A disk with some messages in one segment, and where their batches are.
fn messages(count: u64) -> (Sim, Vec<(u64, u64)>) {
    let sim = Sim::new(7);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    for number in 0..count {
        let deliver = direct.delivery(&[U1], &noise(number, 3000)).unwrap();
        direct.ask(deliver).unwrap();
    }
    let sim = {
        // The process dies: redb would make a last checkpoint when it is dropped.
        let after = sim.reboot(7);
        drop(direct);
        after
    };
    let (segments, _) = Segments::find(Arc::new(sim.clone())).unwrap().unwrap();
    let mut batches = Vec::new();
    for segment in &segments.list {
        let mut offset = 0;
        while let Some(batch) = segments.next_batch(segment, offset).unwrap() {
            batches.push((batch.at.offset, batch.octets));
            offset = batch.end();
        }
    }
    (sim, batches)
}

/// D5, D10: wherever one bit of the log flips, every other message is there, bit for bit, and the damaged
/// one says so. With and without the index.
#[test]
fn d5_a_flipped_bit_costs_one_message_and_is_reported() {
    let (sim, batches) = messages(5);
    let segment = sim
        .names()
        .into_iter()
        .find(|name| name.starts_with("log/"))
        .unwrap();
    // The third message: provisioning is the first batch, and valid ones come after.
    let (at, octets) = batches[3];
    for offset in (at..at + octets).step_by(37).chain(at..at + 96) {
        let sim = sim.reboot(offset);
        let _ = crate::Storage::remove(&sim, "index.redb");
        sim.flip(&segment, offset, 0x10);
        let mut direct = Direct::open(&sim).unwrap();
        assert_eq!(
            direct.opened.damage.len(),
            1,
            "at {offset}: {:?}",
            direct.opened.damage
        );
        let view = direct.view();
        let inbox = mailbox(&view, U1, "INBOX");
        let mut whole = 0;
        for entry in view.entries(inbox).unwrap() {
            let message = view.message(inbox, entry.uid).unwrap().unwrap();
            match view.body(&message).unwrap().read_to_vec() {
                Ok(octets) => {
                    let number = u64::from(entry.uid.get()) - 1;
                    assert!(octets.ends_with(&noise(number, 3000)), "at {offset}");
                    whole += 1;
                }
                Err(error) => assert!(
                    matches!(error, StoreError::Damaged { .. }),
                    "at {offset}: {error}"
                ),
            }
        }
        assert_eq!(whole, 4, "at {offset}");
        drop(view);
        // No UID that the lost message may have had is given again.
        let is_lost = !matches!(direct.opened.damage[0], Damage::BodyDamaged { .. });
        let deliver = direct.delivery(&[U1], b"after").unwrap();
        let uid = direct.ask(deliver).unwrap()[0].uid.get();
        assert!(
            if is_lost { uid > 1 << 20 } else { uid == 6 },
            "at {offset}: UID {uid}"
        );
        // The loss is answered once: the next start does not step again.
        let after = direct.state_readable();
        let rebooted = sim.reboot(1);
        drop(direct);
        let direct = Direct::open(&rebooted).unwrap();
        assert_eq!(direct.state_readable(), after, "at {offset}");
    }
}

/// D7: the power goes at every call of the start that finds the damage. The one after, which no longer looks
/// at the damaged batch, still knows that what the lost record gave must not be given again.
#[test]
fn d7_a_cut_in_the_start_that_finds_damage_gives_no_uid_twice() {
    let (sim, batches) = messages(5);
    let segment = log_of(&sim);
    // The UID of the last message is the one that would be given again.
    let (at, _) = batches[5];
    let mut direct = Direct::open(&sim).unwrap();
    let create = crate::CreateMailbox {
        account: U1,
        name: MailboxName::parse("behind").unwrap(),
        special_use: None,
    };
    direct.ask(create).unwrap();
    let damaged = sim.reboot(1);
    drop(direct);
    crate::Storage::remove(&damaged, "index.redb").unwrap();
    crate::Storage::sync_folder(&damaged, "").unwrap();
    for name in damaged.names().iter().filter(|name| name.starts_with("log/")) {
        // The batch was copied when the store was opened above.
        let offset = if *name == segment { at } else { 4096 };
        damaged.flip(name, offset + 100, 1);
    }
    let calls = {
        let sim = damaged.reboot(2);
        let direct = Direct::open(&sim).unwrap();
        assert_ne!(direct.opened.damage, []);
        sim.counted().calls
    };
    for cut_at in 1..=calls + 1 {
        let sim = damaged.reboot(cut_at);
        sim.plan(crate::sim::Plan {
            cut_at: Some(cut_at),
            ..crate::sim::Plan::default()
        });
        let _ = Direct::open(&sim);
        let mut direct = Direct::open(&sim.reboot(cut_at)).unwrap();
        let deliver = direct.delivery(&[U1], b"after").unwrap();
        let uid = direct.ask(deliver).unwrap()[0].uid.get();
        assert!(uid > 1 << 20, "cut at call {cut_at}: UID {uid}");
    }
}

/// D10: the body of a lost record stays, at the start that finds the damage and at those after, while bodies
/// of later messages that were never finished are swept as ever.
#[test]
fn d10_the_body_file_of_a_lost_record_is_never_swept() {
    let sim = Sim::new(7);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    for octets in [400_000, 10] {
        let deliver = direct.delivery(&[U1], &noise(1, octets)).unwrap();
        direct.ask(deliver).unwrap();
    }
    let (segments, _) = Segments::find(Arc::new(sim.clone())).unwrap().unwrap();
    let first = segments.next_batch(&segments.list[0], 0).unwrap().unwrap();
    let damaged = sim.reboot(7);
    drop(direct);
    let _ = crate::Storage::remove(&damaged, "index.redb");
    damaged.flip(&log_of(&damaged), first.end() + 100, 1);
    let bodies = |sim: &Sim| -> Vec<String> {
        let names = sim.names().into_iter();
        names.filter(|name| name.starts_with("bodies/")).collect()
    };
    let before = bodies(&damaged);
    assert_eq!(before.len(), 1);
    let direct = Direct::open(&damaged).unwrap();
    assert_ne!(direct.opened.damage, []);
    let unfinished = direct.delivery(&[U1], &noise(2, 400_000)).unwrap();
    assert_eq!(bodies(&damaged).len(), 2);
    let again = damaged.reboot(8);
    drop(unfinished);
    drop(direct);
    let direct = Direct::open(&again).unwrap();
    assert_eq!(direct.opened.damage, []);
    assert_eq!(direct.opened.bodies_swept, 1);
    assert_eq!(bodies(&again), before);
}

/// The first segment.
fn log_of(sim: &Sim) -> String {
    let mut names = sim.names().into_iter();
    names.find(|name| name.starts_with("log/")).unwrap()
}

impl Direct {
    /// The index alone: a damaged message cannot be read.
    fn state_readable(&self) -> State {
        self.view().dump().unwrap()
    }
}

/// The last batch is damaged and the index does not have it: it may never have been acknowledged, so it is
/// dropped whole.
#[test]
fn a_torn_tail_is_dropped_whole() {
    let (sim, batches) = messages(3);
    let segment = sim
        .names()
        .into_iter()
        .find(|name| name.starts_with("log/"))
        .unwrap();
    let (at, octets) = *batches.last().unwrap();
    for cut in 0..octets {
        if cut % 61 != 0 && cut > 100 {
            continue;
        }
        let sim = sim.reboot(cut);
        let file = crate::Storage::open(&sim, &segment).unwrap();
        file.set_length(at + cut).unwrap();
        file.sync().unwrap();
        let mut direct = Direct::open(&sim).unwrap();
        assert_eq!(direct.opened.damage, [], "cut {cut}");
        assert!(direct.opened.is_tail_copied, "cut {cut}");
        let view = direct.view();
        let inbox = mailbox(&view, U1, "INBOX");
        assert_eq!(view.entries(inbox).unwrap().len(), 2, "cut {cut}");
        drop(view);
        let deliver = direct.delivery(&[U1], b"after").unwrap();
        assert_eq!(direct.ask(deliver).unwrap()[0].uid.get(), 3);
        direct.check();
    }
}

/// A record of a later firmware is never dropped, nor passed over.
#[test]
fn a_record_of_an_unknown_kind_stops_the_start_with_a_sentence() {
    let (sim, _) = messages(2);
    let mut direct = Direct::open(&sim).unwrap();
    let deliver = direct.delivery(&[U1], b"x").unwrap();
    direct.ask(deliver).unwrap();
    let rebooted = sim.reboot(1);
    drop(direct);
    let sim = rebooted;
    let (segments, identity) = Segments::find(Arc::new(sim.clone())).unwrap().unwrap();
    let last = segments.list.last().unwrap();
    let file = segments.file(last).unwrap();
    let at = BatchAt {
        segment: last.number,
        offset: last.octets.next_multiple_of(4096),
        number: 5,
    };
    let mut later = BatchBuilder::new(&crate::log::seal::Sealer::new(&identity), identity, at);
    later.push_encoded(9_999, 1, b"who knows", std::iter::empty());
    file.write_all_at(&later.finish(), at.offset).unwrap();
    file.sync().unwrap();
    let before: Vec<_> = sim
        .names()
        .iter()
        .filter(|name| name.starts_with("log/"))
        .map(|name| sim.content(name))
        .collect();
    let error = Direct::open(&sim).err().unwrap();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("kind 9999"), "{error}");
    let after: Vec<_> = sim
        .names()
        .iter()
        .filter(|name| name.starts_with("log/"))
        .map(|name| sim.content(name))
        .collect();
    assert_eq!(before, after, "the log is as it was");
}

/// A record that is as it was written, and yet cannot be read, is not passed over in silence.
#[test]
fn d10_a_record_that_cannot_be_read_is_reported_as_lost() {
    let (sim, _) = messages(2);
    let (segments, identity) = Segments::find(Arc::new(sim.clone())).unwrap().unwrap();
    let last = segments.list.last().unwrap();
    let file = segments.file(last).unwrap();
    let at = BatchAt {
        segment: last.number,
        offset: last.octets.next_multiple_of(4096),
        number: 4,
    };
    let mut odd = BatchBuilder::new(&crate::log::seal::Sealer::new(&identity), identity, at);
    odd.push_encoded(16, 1, b"not what postcard writes", std::iter::empty());
    file.write_all_at(&odd.finish(), at.offset).unwrap();
    file.sync().unwrap();
    let mut direct = Direct::open(&sim).unwrap();
    assert!(
        matches!(
            direct.opened.damage[..],
            [Damage::RecordsLost {
                batch: 4,
                records: 1,
                ..
            }]
        ),
        "{:?}",
        direct.opened.damage
    );
    let deliver = direct.delivery(&[U1], b"after").unwrap();
    assert!(direct.ask(deliver).unwrap()[0].uid.get() > 1 << 20);
    assert_ne!(crate::check::check(&direct.shared).unwrap().flaws, []);
}

/// Mail may hold anything, a batch of this very store among it. Without the key it stays mail.
#[test]
fn a_batch_inside_a_message_is_not_taken_for_one() {
    let (sim, _) = messages(2);
    let segment = sim
        .names()
        .into_iter()
        .find(|name| name.starts_with("log/"))
        .unwrap();
    let forged = sim.content(&segment);
    let mut direct = Direct::open(&sim).unwrap();
    let deliver = direct.delivery(&[U1], &forged).unwrap();
    direct.ask(deliver).unwrap();
    let state = direct.state();
    drop(direct);
    let _ = crate::Storage::remove(&sim, "index.redb");
    let direct = Direct::open(&sim).unwrap();
    assert_eq!(direct.opened.damage, []);
    assert_eq!(direct.state(), state);
    direct.check();
}

/// D6 on a real folder.
#[test]
fn d6_deleting_the_index_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = |folder: &Path| {
        let (store, opened) = Store::open(folder, options()).unwrap();
        let dump = store.view().unwrap().dump().unwrap();
        finish(&store);
        store.close();
        (dump, opened)
    };
    let (store, _) = Store::open(folder.path(), options()).unwrap();
    provision(&store, 2);
    for number in 0..30 {
        deliver(&store, &[U1, AccountId(2)], &noise(number, 20_000));
    }
    deliver(&store, &[U1], &noise(1, 700_000));
    store.close();
    drop(store);
    let (before, _) = state(folder.path());
    std::fs::remove_file(folder.path().join("index.redb")).unwrap();
    let (after, opened) = state(folder.path());
    assert!(opened.batches_replayed > 30);
    assert_eq!(after, before);
}

#[test]
fn the_index_of_another_store_is_not_believed() {
    let (one, _) = messages(3);
    let two = Sim::new(99);
    let mut direct = Direct::open(&two).unwrap();
    step(&mut direct, 1, 0).unwrap();
    direct.writer.checkpoint();
    drop(direct);
    let mut direct = Direct::open(&one).unwrap();
    let state = direct.state();
    direct.writer.checkpoint();
    drop(direct);
    let index = crate::Storage::open(&one, "index.redb").unwrap();
    index.set_length(0).unwrap();
    index.write_all_at(&two.content("index.redb"), 0).unwrap();
    let direct = Direct::open(&one).unwrap();
    assert!(direct.opened.index_rebuilt.is_some());
    assert_eq!(direct.state(), state);
    assert!(direct.shared.read().unwrap().account.first().unwrap().is_some());
    direct.check();
}

/// D5, D10: whatever becomes of the log, the store opens or says why not, and never shows octets that were
/// not a message's.
#[test]
fn d5_random_damage_never_shows_wrong_octets() {
    const SEED: u64 = 4;
    let (states, _) = undisturbed(SEED, 30);
    let ever: BTreeSet<&str> = states
        .iter()
        .flat_map(|state| state.lines())
        .filter(|line| line.starts_with("octets"))
        .collect();
    let sim = Sim::new(SEED);
    let mut direct = Direct::open(&sim).unwrap();
    for number in 0..30 {
        step(&mut direct, SEED, number).unwrap();
    }
    let mut opened = 0;
    for round in 0..120 {
        let mut dice = Dice(round);
        let sim = sim.reboot(round);
        let files: Vec<String> = sim
            .names()
            .into_iter()
            .filter(|name| !name.starts_with("index") && !sim.content(name).is_empty())
            .collect();
        if dice.roll(2) == 0 {
            let _ = crate::Storage::remove(&sim, "index.redb");
        }
        for _ in 0..=dice.roll(12) {
            let name = &files[usize::try_from(dice.roll(files.len() as u64)).unwrap()];
            let offset = dice.roll(sim.content(name).len() as u64);
            sim.flip(name, offset, 1 << dice.roll(8));
        }
        let direct = match Direct::open(&sim) {
            Ok(direct) => direct,
            Err(error) => {
                assert!(
                    matches!(error, StoreError::LogUnreadable),
                    "round {round}: {error}"
                );
                continue;
            }
        };
        opened += 1;
        let view = direct.view();
        for account in view.accounts().unwrap() {
            for mailbox in view.mailboxes(account.id).unwrap() {
                for entry in view.entries(mailbox.id).unwrap() {
                    let message = view.message(mailbox.id, entry.uid).unwrap().unwrap();
                    let octets = view.body(&message).and_then(|mut body| body.read_to_vec());
                    match octets {
                        Ok(octets) => {
                            let line =
                                format!("octets {} {} {}", mailbox.id, entry.uid, blake3::hash(&octets));
                            assert!(ever.contains(line.as_str()), "round {round}: {line} was never so");
                        }
                        Err(error) => assert!(
                            matches!(error, StoreError::Damaged { .. }),
                            "round {round}: {error}"
                        ),
                    }
                }
            }
        }
    }
    assert!(opened > 100, "{opened} of 120 opened");
}

/// Where the log ends is not known if it cannot be read: nothing is taken for a torn tail then.
#[test]
fn a_log_that_cannot_be_read_stops_the_start_and_nothing_is_dropped() {
    let (sim, _) = messages(3);
    sim.plan(crate::sim::Plan {
        unreadable: Some("log/"),
        ..crate::sim::Plan::default()
    });
    let error = Direct::open(&sim).err().unwrap();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(error.is_temporary());
    sim.plan(crate::sim::Plan::default());
    let direct = Direct::open(&sim).unwrap();
    let view = direct.view();
    assert_eq!(view.entries(mailbox(&view, U1, "INBOX")).unwrap().len(), 3);
    direct.check();
}
