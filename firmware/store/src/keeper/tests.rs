//! The keeper on simulated disks, driven by hand.

use super::*;
use crate::storage::sim::{Plan, Sim};
use crate::tests::workload::{Direct, step};
use crate::tests::{deliver, mailbox, noise, options, provision, read, wait};
use crate::{Expunge, FlagChange, Store, StoreFlags};
use mail::{AccountId, Flags, MailboxId, SystemFlags, Timestamp, Uid};
use redb::ReadableTable;
use std::cell::Cell;
use std::collections::BTreeSet;

const U1: AccountId = AccountId(1);
const DAY: i64 = 86_400;

thread_local! {
    static DAYS: Cell<i64> = const { Cell::new(0) };
}

/// The clock of a test: it stands still unless it is set.
fn clock() -> Timestamp {
    Timestamp(1_800_000_000 + DAYS.get() * DAY)
}

impl Direct {
    /// Does what the keeper finds to do now.
    pub(crate) fn keep(&mut self) -> Result<u64, StoreError> {
        self.keep_with(&options())
    }

    fn keep_with(&mut self, options: &Options) -> Result<u64, StoreError> {
        let options = Options { clock, ..*options };
        let mut keeper = Keeper::new(
            Arc::clone(&self.shared),
            &options,
            options.segment_octets.unwrap(),
        );
        let writer = &mut self.writer;
        keeper.keep(&mut |job| writer.commit(vec![job]))
    }

    /// Expunges messages of INBOX.
    fn expunge(&mut self, uids: Vec<Uid>) {
        let mailbox = self.inbox();
        let change = FlagChange::Add(Flags::system(SystemFlags::DELETED));
        self.ask(StoreFlags {
            mailbox,
            uids,
            change,
            unchanged_since: None,
        })
        .unwrap();
        self.ask(Expunge { mailbox, uids: None }).unwrap();
    }

    fn inbox(&self) -> MailboxId {
        mailbox(&self.view(), U1, "INBOX")
    }
}

/// A store with so many messages of noise in INBOX, of `octets` each.
fn store(sim: &Sim, messages: u64, octets: usize) -> (Direct, Vec<Uid>) {
    DAYS.set(0);
    let mut direct = Direct::open(sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    let mut uids = Vec::new();
    for number in 0..messages {
        let deliver = direct.delivery(&[U1], &noise(number, octets)).unwrap();
        uids.push(direct.ask(deliver).unwrap()[0].uid);
    }
    (direct, uids)
}

fn log_octets(sim: &Sim) -> u64 {
    sim.octets_in("log/")
}

/// Whether octets of a message are in any file.
fn is_found(sim: &Sim, octets: &[u8]) -> Option<String> {
    let sought = &octets[100..164];
    sim.names().into_iter().find(|name| {
        sim.content(name)
            .windows(sought.len())
            .any(|window| window == sought)
    })
}

/// The check, but for what the log says from its beginning on: that is gone.
fn check(direct: &Direct) {
    let checked = crate::check::check(&direct.shared).unwrap();
    let mut flaws = checked.flaws;
    flaws.retain(|flaw| {
        let of_log = [
            "only the index says",
            "only the log says",
            "are lost, and the changes",
            "and ",
        ];
        !of_log.iter().any(|text| flaw.0.contains(text))
    });
    assert_eq!(flaws, []);
}

fn segments(sim: &Sim) -> BTreeSet<String> {
    let names = sim.names().into_iter();
    names.filter(|name| name.starts_with("log/0")).collect()
}

/// Half is deleted, then rewritten: what is there is what is needed.
#[test]
fn half_deleted_and_rewritten_takes_hardly_more_than_is_live() {
    let sim = Sim::new(1);
    let (mut direct, uids) = store(&sim, 200, 9_000);
    direct.expunge(uids.iter().copied().step_by(2).collect());
    let state = direct.state();
    let before = log_octets(&sim);
    let written_before = sim.counted().octets_written;
    direct.keep().unwrap();
    let written = sim.counted().octets_written - written_before;
    assert_eq!(direct.state(), state, "nothing is seen of it");
    check(&direct);
    let (after, live) = (log_octets(&sim), 100 * 9_000);
    println!("log {before} before, {after} after, live {live}, written {written}");
    assert!(after * 10 <= live * 13, "{after} octets of log for {live}");
    // And it is found again.
    let sim = sim.reboot(1);
    drop(direct);
    let direct = Direct::open(&sim).unwrap();
    assert_eq!(direct.opened.damage, []);
    assert_eq!(direct.state(), state);
    check(&direct);
}

/// D45: wherever it was, in a sealed segment among much that is live or in the one being filled, what was expunged is in no
/// file 91 days later; a clock that jumps or stands in 1970 meanwhile changes nothing but when.
#[test]
fn d45_what_was_expunged_is_in_no_file_after_91_days() {
    for last_days in [91, 4000, 1] {
        let sim = Sim::new(2);
        let (mut direct, uids) = store(&sim, 40, 7_700);
        direct.keep().unwrap();
        direct.expunge(vec![uids[3], uids[39]]);
        let state = direct.state();
        let is_there = |sim: &Sim| [3, 39].map(|number| is_found(sim, &noise(number, 7_700)).is_some());
        for days in [1, 5, -20_000, 9, 30, 35, 59] {
            DAYS.set(days);
            direct.keep().unwrap();
            assert_eq!(is_there(&sim), [true, true], "on day {days}");
        }
        for days in [62, 70, last_days] {
            DAYS.set(days);
            direct.keep().unwrap();
        }
        assert_eq!(is_there(&sim), [false, false]);
        assert_eq!(direct.state(), state);
        check(&direct);
        let sim = sim.reboot(3);
        drop(direct);
        assert_eq!(is_there(&sim), [false, false], "durably");
        assert_eq!(Direct::open(&sim).unwrap().state(), state);
    }
}

/// D45: the same on a real disk.
#[test]
fn d45_what_was_expunged_is_in_no_file_of_a_folder_after_91_days() {
    fn is_found(folder: &std::path::Path, sought: &[u8]) -> bool {
        std::fs::read_dir(folder).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return is_found(&path, sought);
            }
            let octets = std::fs::read(&path).unwrap();
            octets.windows(sought.len()).any(|window| window == sought)
        })
    }
    DAYS.set(0);
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        clock,
        ballast_octets: Some(1024 * 1024),
        ..options()
    };
    let (store, _) = Store::open(folder.path(), options).unwrap();
    provision(&store, 1);
    let small = noise(1, 7_700);
    let large = noise(2, 300_000);
    let mut delivered = vec![
        deliver(&store, &[U1], &small)[0],
        deliver(&store, &[U1], &large)[0],
    ];
    for number in 3..30 {
        delivered.push(deliver(&store, &[U1], &noise(number, 7_700))[0]);
    }
    let mailbox = delivered[0].mailbox;
    wait(store.store_flags(StoreFlags {
        mailbox,
        uids: vec![delivered[0].uid, delivered[1].uid],
        change: FlagChange::Add(Flags::system(SystemFlags::DELETED)),
        unchanged_since: None,
    }))
    .unwrap();
    wait(store.expunge(Expunge { mailbox, uids: None })).unwrap();
    assert!(
        !is_found(folder.path(), &large[1000..1064]),
        "a body in a file goes at once"
    );
    for days in [0, 10, 50] {
        DAYS.set(days);
        store.keep_now().unwrap();
        assert!(is_found(folder.path(), &small[100..164]), "on day {days}");
    }
    DAYS.set(91);
    store.keep_now().unwrap();
    store.keep_now().unwrap();
    assert!(!is_found(folder.path(), &small[100..164]));
    let view = store.view().unwrap();
    for (number, delivered) in (3..).zip(&delivered[2..]) {
        assert!(read(&view, mailbox, delivered.uid).ends_with(&noise(number, 7_700)));
    }
    assert!(store.health().unwrap().segments_removed > 0);
}

/// Whoever reads keeps what they see: a view its segments, a reader its file.
#[test]
fn a_segment_stays_while_a_view_from_before_may_need_it() {
    let sim = Sim::new(3);
    let (mut direct, uids) = store(&sim, 60, 5_000);
    let before = segments(&sim);
    let view = direct.view();
    let inbox = direct.inbox();
    let message = view.message(inbox, uids[1]).unwrap().unwrap();
    let mut reader = view.body(&message).unwrap();
    direct.expunge(uids.iter().copied().filter(|uid| uid.get() % 4 != 2).collect());
    direct.keep().unwrap();
    assert!(segments(&sim).is_superset(&before), "the view may need them");
    for uid in &uids {
        let octets = read(&view, inbox, *uid);
        assert!(octets.ends_with(&noise(u64::from(uid.get()) - 1, 5_000)));
    }
    drop(view);
    direct.keep().unwrap();
    let after = segments(&sim);
    assert!(before.intersection(&after).count() <= 2, "{before:?} {after:?}");
    assert!(
        reader.read_to_vec().unwrap().ends_with(&noise(1, 5_000)),
        "its file is open"
    );
    check(&direct);
}

/// What is expunged while it is being moved stays expunged, and is not copied.
#[test]
fn a_body_that_goes_while_it_is_moved_is_left_out() {
    let sim = Sim::new(4);
    let (mut direct, uids) = store(&sim, 30, 5_000);
    let first = {
        let tables = direct.shared.read().unwrap();
        tables.segstat.first().unwrap().unwrap().0.value()
    };
    let mut rewriting = Rewriting::begin(&direct.shared, first).unwrap();
    let piece = rewriting.read(&direct.shared).unwrap();
    direct.expunge(vec![uids[2]]);
    let state = direct.state();
    let relocate = piece.relocate.unwrap();
    let octets = relocate.stored_octets();
    let before = sim.counted().octets_written;
    direct.ask(relocate).unwrap();
    assert!(sim.counted().octets_written - before < octets, "one was left out");
    assert_eq!(direct.state(), state);
    let tables = direct.shared.read().unwrap();
    assert!(
        tables.segstat.get(first).unwrap().is_none(),
        "nothing is at home there"
    );
    drop(tables);
    direct.check();
    let sim = sim.reboot(1);
    drop(direct);
    crate::Storage::remove(&sim, "index.redb").unwrap();
    let direct = Direct::open(&sim).unwrap();
    assert_eq!(direct.state(), state, "the log alone says the same");
    direct.check();
}

/// D10, D11: octets that are not what was written are moved as they are and told of; what cannot be read keeps its
/// segment. No other message is touched.
#[test]
fn d10_damage_is_told_of_and_spreads_to_nothing_when_a_segment_is_rewritten() {
    let sim = Sim::new(5);
    let (mut direct, uids) = store(&sim, 60, 5_000);
    let (home, flipped_at) = place_of(&direct, 2);
    let (spoiled_home, spoiled_at) = place_of(&direct, 26);
    assert_ne!(home, spoiled_home);
    sim.flip(&segment::name(home), flipped_at + 4_500, 1);
    sim.spoil(&segment::name(spoiled_home), spoiled_at + 4_500);
    direct.expunge(uids.iter().copied().filter(|uid| uid.get() % 4 != 2).collect());
    direct.keep().unwrap();
    let after = segments(&sim);
    assert!(!after.contains(&segment::name(home)));
    assert!(after.contains(&segment::name(spoiled_home)), "it cannot be read");
    let inbox = direct.inbox();
    let view = direct.view();
    for uid in uids.iter().filter(|uid| uid.get() % 4 == 2) {
        let message = view.message(inbox, *uid).unwrap().unwrap();
        let octets = view.body(&message).unwrap().read_to_vec();
        match uid.get() {
            2 | 26 => assert!(octets.is_err()),
            number => assert!(octets.unwrap().ends_with(&noise(u64::from(number) - 1, 5_000))),
        }
    }
    let health = health(&direct.shared).unwrap();
    let told: Vec<u32> = health.damaged.iter().map(|message| message.uid.get()).collect();
    assert_eq!(told, [2, 26]);
    assert_eq!(health.damaged[0].address, "u1@example.org");
    let sentence = health.damaged[0].to_string();
    assert!(
        sentence.contains("message 2 in INBOX of u1@example.org is damaged"),
        "{sentence}"
    );
}

/// Where the body of message `uid` of INBOX is: its home, and where in it.
fn place_of(direct: &Direct, uid: u32) -> (u64, u64) {
    let tables = direct.shared.read().unwrap();
    // Bodies are numbered as the messages are.
    let (_, row) = rows::get_blob(&tables.blob, u64::from(uid)).unwrap().unwrap();
    let (_, offset) = row.file();
    (row.home, offset)
}

/// What damage took from the index may be in any segment there was.
#[test]
fn segments_from_before_damage_that_lost_records_stay() {
    let sim = Sim::new(6);
    let (direct, _) = store(&sim, 60, 5_000);
    let sim = sim.reboot(1);
    drop(direct);
    crate::Storage::remove(&sim, "index.redb").unwrap();
    // The metadata of the second batch, which is the first delivery.
    sim.flip("log/0000000000000001", 2 * 4096 + 100, 1);
    let mut direct = Direct::open(&sim).unwrap();
    assert_ne!(direct.opened.damage, []);
    let before = segments(&sim);
    let inbox = direct.inbox();
    let uids = direct
        .view()
        .entries(inbox)
        .unwrap()
        .iter()
        .map(|entry| entry.uid)
        .collect();
    direct.expunge(uids);
    for number in 0..20 {
        let deliver = direct.delivery(&[U1], &noise(number, 5_000)).unwrap();
        let uid = direct.ask(deliver).unwrap()[0].uid;
        direct.expunge(vec![uid]);
    }
    direct.keep().unwrap();
    let after = segments(&sim);
    assert!(after.len() <= before.len() + 2, "later ones go: {after:?}");
    // All but the last, which was made by that start.
    let from_before: Vec<_> = before.iter().take(before.len() - 1).collect();
    assert!(
        from_before.iter().all(|name| after.contains(*name)),
        "{before:?} {after:?}"
    );
}

/// D9: another program takes every octet; deleting goes on, on the ballast, and with what that frees all goes on, without a
/// restart.
#[test]
fn d9_a_disk_that_is_full_to_the_last_octet_recovers_without_a_restart() {
    let sim = Sim::new(7);
    let (mut direct, uids) = store(&sim, 100, 9_000);
    let ballast_octets = 1024 * 1024;
    let space = crate::space::SpaceWatch::new(Arc::clone(&direct.shared.storage), 0, ballast_octets).unwrap();
    while space.restore_ballast().unwrap() {}
    drop(space);
    let sim = sim.reboot(1);
    drop(direct);
    let options = Options {
        ballast_octets: Some(ballast_octets),
        ..options()
    };
    direct = Direct::open_with(&sim, &options).unwrap();
    let full = Plan {
        capacity_octets: Some(sim.used_octets()),
        ..Plan::default()
    };
    sim.plan(full.clone());
    // Mail is refused, and does not get the ballast.
    let deliver = direct.delivery(&[U1], &noise(200, 9_000)).unwrap();
    assert!(matches!(direct.ask(deliver), Err(StoreError::Full)));
    assert!(sim.names().iter().any(|name| name == "ballast"));
    assert_eq!(
        read(&direct.view(), direct.inbox(), uids[0]).len(),
        9_000 + "Delivered-To: 1\r\n".len()
    );
    // Deleting does.
    direct.expunge(uids[..80].to_vec());
    assert!(!sim.names().iter().any(|name| name == "ballast"));
    direct.writer.checkpoint();
    let state = direct.state();
    direct.keep_with(&options).unwrap();
    assert_eq!(direct.state(), state);
    let deliver = direct.delivery(&[U1], &noise(201, 9_000)).unwrap();
    direct.ask(deliver).unwrap();
    // With room, the ballast is made again.
    sim.plan(Plan {
        capacity_octets: Some(sim.used_octets() + 8 * ballast_octets),
        ..Plan::default()
    });
    direct.shared.space.freed();
    direct.keep_with(&options).unwrap();
    assert_eq!(sim.content("ballast").len() as u64, ballast_octets);
    let state = direct.state();
    let sim = sim.reboot(2);
    drop(direct);
    assert_eq!(Direct::open(&sim).unwrap().state(), state);
}

/// D9: no ballast, and not one octet: nothing stops, what was asked for is refused, and when there is room all goes on.
#[test]
fn d9_without_room_for_the_index_the_store_pauses_and_goes_on() {
    for (pages, is_cut) in (0..40).flat_map(|pages| [(pages, false), (pages, true)]) {
        let context = format!("{pages} pages free, power cut: {is_cut}");
        let sim = Sim::new(8);
        let (mut direct, uids) = store(&sim, 12, 9_000);
        sim.plan(Plan {
            capacity_octets: Some(sim.used_octets() + pages * 4096),
            ..Plan::default()
        });
        let mut refused = 0;
        let inbox = direct.inbox();
        for number in 0..40 {
            let change = FlagChange::Replace(Flags::system(SystemFlags(number % 32)));
            let asked = direct.ask(StoreFlags {
                mailbox: inbox,
                uids: uids.clone(),
                change,
                unchanged_since: None,
            });
            match asked {
                Ok(_) => (),
                Err(StoreError::Full) => refused += 1,
                Err(error) => panic!("{context}: {error}"),
            }
            direct.writer.checkpoint();
            let seen = direct.view().entries(inbox).unwrap().len();
            assert_eq!(seen, 12, "{context}: reading goes on");
        }
        assert!(refused > 0, "{context}");
        let mut state = direct.state();
        if !is_cut {
            sim.plan(Plan::default());
            direct.shared.space.freed();
            direct.expunge(uids.clone());
            direct.writer.checkpoint();
            assert_eq!(direct.shared.index_file.held_octets(), 0);
            direct.check();
            state = direct.state();
        }
        let sim = sim.reboot(pages);
        drop(direct);
        assert_eq!(Direct::open(&sim).unwrap().state(), state, "{context}");
    }
}

/// D10: damage is found by reading all, and told with the name of the message.
#[test]
fn d10_the_scrub_finds_damage_and_names_the_message() {
    let sim = Sim::new(9);
    let (mut direct, _) = store(&sim, 60, 5_000);
    let large = direct.delivery(&[U1], &noise(99, 700_000)).unwrap();
    let large = direct.ask(large).unwrap()[0].uid;
    direct.keep().unwrap();
    let found = health(&direct.shared).unwrap();
    assert_eq!(found.damaged, []);
    assert!(found.verified_ago.is_none(), "it is not yet a week old");
    let (home, at) = place_of(&direct, 5);
    sim.flip(&segment::name(home), at + 77, 4);
    let (home, at) = place_of(&direct, 30);
    sim.spoil(&segment::name(home), at + 77);
    sim.flip("bodies/0000000000000001", 400_000, 1);
    DAYS.set(8);
    direct.keep().unwrap();
    let found = health(&direct.shared).unwrap();
    let mut told: Vec<u32> = found.damaged.iter().map(|message| message.uid.get()).collect();
    told.retain(|uid| *uid != 29 && *uid != 31);
    assert_eq!(told, [5, 30, large.get()]);
    assert!(found.verified_ago.is_some());
    // It is known after a restart, too, and no more once the message is gone.
    direct.writer.checkpoint();
    let sim = sim.reboot(1);
    drop(direct);
    let mut direct = Direct::open(&sim).unwrap();
    assert!(health(&direct.shared).unwrap().damaged.len() >= 3);
    let gone = found.damaged.iter().map(|message| message.uid).collect();
    direct.expunge(gone);
    assert_eq!(health(&direct.shared).unwrap().damaged, []);
}

/// D10: a change that is damaged in the log is in the index, and snapshots are made so that nobody needs the log for it.
#[test]
fn d10_a_damaged_change_is_told_of_and_covered_by_snapshots() {
    let sim = Sim::new(10);
    let (mut direct, _) = store(&sim, 60, 5_000);
    direct.keep().unwrap();
    let state = direct.state();
    let before = crate::snapshot::kept(&direct.shared);
    let (home, at) = place_of(&direct, 5);
    // The metadata stands before the body.
    sim.flip(&segment::name(home), at - 20, 4);
    // And the header of another batch is gone.
    let (other, at) = place_of(&direct, 30);
    sim.flip(&segment::name(other), at / 4096 * 4096, 4);
    DAYS.set(8);
    direct.keep().unwrap();
    let found = health(&direct.shared).unwrap();
    assert_eq!(found.damaged, [], "their octets are as they were");
    assert_eq!(found.damaged_places.len(), 2, "{:?}", found.damaged_places);
    assert!(found.damaged_places[0].starts_with(&segment::name(home)));
    let after = crate::snapshot::kept(&direct.shared);
    assert_eq!(after.len(), 2);
    assert!(
        after.iter().all(|kept| !before.contains(kept)),
        "{before:?} {after:?}"
    );
    assert_eq!(direct.state(), state);
}

/// D1: the power goes in any call of the keeper that writes, syncs, renames or removes.
#[test]
fn d1_a_cut_anywhere_in_the_keepers_work_changes_nothing() {
    let mut cuts = 0;
    for seed in 1..=3 {
        let sim = Sim::new(seed);
        let (mut direct, uids) = store(&sim, 40, 5_000);
        for number in 1..12 {
            step(&mut direct, seed, number).unwrap();
        }
        let inbox = direct.inbox();
        let is_half = |uid: &Uid| !uid.get().is_multiple_of(3) && uids.contains(uid);
        let entries = direct.view().entries(inbox).unwrap();
        direct.expunge(entries.iter().map(|entry| entry.uid).filter(is_half).collect());
        let state = direct.state();
        sim.plan(Plan {
            keeps_cuts: true,
            ..Plan::default()
        });
        sim.take_cuts();
        direct.keep().unwrap();
        DAYS.set(70);
        direct.keep().unwrap();
        let taken = sim.take_cuts();
        assert!(taken.len() > 50);
        assert!(segments(&sim).len() < 6, "{:?}", segments(&sim));
        for cut in taken {
            let context = format!("seed {seed}, cut at call {}", cut.call);
            cuts += 1;
            let sim = cut.reboot(seed ^ cut.call);
            let mut direct = Direct::open(&sim).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(direct.opened.damage, [], "{context}");
            assert!(direct.state() == state, "{context}");
            check(&direct);
            if cut.call.is_multiple_of(4) {
                // It goes on where it was.
                direct.keep().unwrap_or_else(|error| panic!("{context}: {error}"));
                assert!(direct.state() == state, "{context}: and kept on");
                check(&direct);
            }
        }
    }
    println!("{cuts} cuts");
}

/// The thread does by itself what the other tests do by hand, and ends with the store.
#[test]
fn the_keepers_thread_frees_and_ends() {
    let sim = Sim::new(11);
    let (mut direct, uids) = store(&sim, 60, 9_000);
    direct.expunge(uids[5..].to_vec());
    direct.writer.checkpoint();
    let sim = sim.reboot(1);
    drop(direct);
    let before = log_octets(&sim);
    let options = Options {
        keeper_delay: Duration::ZERO,
        keeper_percent: 100,
        ..options()
    };
    let (store, _) = Store::open_in(Arc::new(sim.clone()), &options).unwrap();
    let begun = Instant::now();
    while log_octets(&sim) > before / 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was freed");
        std::thread::yield_now();
    }
    store.close();
    assert!(matches!(store.keep_now(), Err(StoreError::Closed)));
}
