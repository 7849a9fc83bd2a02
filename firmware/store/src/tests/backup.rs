//! Backups are made while mail flows, and restored to an empty folder.

use super::workload::*;
use super::*;
use crate::backup::{self, Backup, SealAndLook};
use crate::restore::{Source, restore_to};
use crate::storage::sim::{Plan, Sim};
use crate::{Expunge, FlagChange, StoreError, StoreFlags, Vanished};
use mail::{ModSeq, SystemFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};
use std::time::{Duration, Instant};

const U1: AccountId = AccountId(1);

/// A backup in a simulated disk.
struct BackupIn<'s>(&'s Sim, &'s str);

impl Source for BackupIn<'_> {
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        crate::Storage::list(self.0, &format!("{}/{folder}", self.1))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(Cursor::new(
            self.0.content(&format!("{}/{name}", self.1)),
        )))
    }
}

impl Direct {
    fn backup(&mut self, name: &str) -> Result<Backup, StoreError> {
        let shared = Arc::clone(&self.shared);
        let seal = SealAndLook {
            shared: Arc::clone(&shared),
        };
        backup::make(&shared, name, || self.ask(seal))
    }
}

/// Lines of a state that a restore leaves as they are: octets of messages, accounts, names.
fn lasting(state: &str) -> BTreeSet<&str> {
    let lasting = [
        "octets ",
        "account ",
        "address ",
        "redirect ",
        "domain ",
        "name ",
        "msg ",
        "blob ",
    ];
    let is_lasting = |line: &&str| lasting.iter().any(|kind| line.starts_with(kind));
    state.lines().filter(is_lasting).collect()
}

/// B2, B3, D7, D12: restored to an empty disk it has what the store had, while that went on; nothing that was given after the
/// backup is given again.
#[test]
fn b3_d12_a_backup_restores_what_was_there_and_nothing_is_given_twice() {
    for seed in 1..=5 {
        let sim = Sim::new(seed);
        let mut direct = Direct::open(&sim).unwrap();
        for number in 0..30 {
            step(&mut direct, seed, number).unwrap();
        }
        let state = direct.state();
        let backup = direct.backup("nightly").unwrap();
        assert_eq!(backup.folder, "backup/nightly");
        let octets = |(name, _): &(String, u64)| sim.content(&format!("backup/nightly/{name}")).len() as u64;
        assert_eq!(backup.files.iter().map(octets).sum::<u64>(), backup.octets());
        // The original goes on: mail comes, bodies and body files go.
        for number in 30..60 {
            step(&mut direct, seed, number).unwrap();
        }
        direct.check();
        let to = Sim::new(seed + 100);
        assert_eq!(
            restore_to(&BackupIn(&sim, "backup/nightly"), &to).unwrap(),
            backup.octets()
        );
        let mut restored = Direct::open(&to).unwrap();
        assert_eq!(restored.opened.damage, []);
        assert_eq!(lasting(&restored.state()), lasting(&state), "seed {seed}");
        restored.check();
        numbers_are_above(&direct, &restored);

        // It goes on from there, with the index and without.
        let deliver = restored.delivery(&[U1], b"after").unwrap();
        restored.ask(deliver).unwrap();
        let after = restored.state();
        let rebooted = to.reboot(seed);
        drop(restored);
        let restored = Direct::open(&rebooted).unwrap();
        assert_eq!(restored.state(), after, "stepped once");
        let without = rebooted.reboot(seed);
        drop(restored);
        let _ = crate::Storage::remove(&without, "index.redb");
        let restored = Direct::open(&without).unwrap();
        assert_eq!(restored.state(), after);
        restored.check();

        backup::drop_backup(&direct.shared, "nightly").unwrap();
        assert!(!sim.names().iter().any(|name| name.starts_with("backup")));
        direct.check();
    }
}

/// What the restored store gives next was not given by the one that went on.
fn numbers_are_above(original: &Direct, restored: &Direct) {
    let (original, restored) = (original.view(), restored.view());
    for account in restored.accounts().unwrap() {
        for mailbox in restored.mailboxes(account.id).unwrap() {
            let now = restored.status(mailbox.id).unwrap();
            let Ok(there) = original.status(mailbox.id) else {
                continue;
            };
            let known = original.mailbox(mailbox.id).unwrap().unwrap();
            assert_eq!(known.uid_validity, mailbox.uid_validity);
            assert!(now.uid_next > there.uid_next);
            assert!(now.highest_modseq > there.highest_modseq);
            for entry in restored.entries(mailbox.id).unwrap() {
                assert!(entry.modseq > there.highest_modseq);
            }
        }
    }
}

/// A client that keeps what it knows of a mailbox and asks only for what is new (RFC 7162 §3.2.5).
struct Client {
    modseq: ModSeq,
    known: BTreeMap<Uid, Flags>,
}

impl Client {
    fn new() -> Client {
        Client {
            modseq: ModSeq(0),
            known: BTreeMap::new(),
        }
    }

    fn resynchronize(&mut self, direct: &Direct, mailbox: MailboxId) {
        let view = direct.view();
        for entry in view.changed_since(mailbox, self.modseq).unwrap() {
            self.known.insert(entry.uid, entry.flags);
        }
        match view.vanished_since(mailbox, self.modseq).unwrap() {
            Vanished::Uids(uids) => uids.iter().for_each(|uid| _ = self.known.remove(uid)),
            // It is told every UID that is not there.
            Vanished::BelowFloor => {
                let there = view.entries(mailbox).unwrap();
                self.known
                    .retain(|uid, _| there.iter().any(|entry| entry.uid == *uid));
            }
        }
        self.modseq = view.status(mailbox).unwrap().highest_modseq;
        let there: BTreeMap<Uid, Flags> = view
            .entries(mailbox)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.uid, entry.flags))
            .collect();
        assert_eq!(self.known, there);
    }
}

/// B3: a client that saw what came after the backup (new messages, flags, expunged ones) knows what there is after one QRESYNC
/// with the restored store.
#[test]
fn b3_a_client_that_saw_later_changes_is_put_right() {
    for rounds in 0..6 {
        let sim = Sim::new(4);
        let mut direct = Direct::open(&sim).unwrap();
        step(&mut direct, 4, 0).unwrap();
        let inbox = mailbox(&direct.view(), U1, "INBOX");
        let mut clients = vec![Client::new()];
        for number in 0..8 {
            let deliver = direct.delivery(&[U1], &noise(number, 900)).unwrap();
            direct.ask(deliver).unwrap();
        }
        clients[0].resynchronize(&direct, inbox);
        clients.push(Client::new());
        clients[1].resynchronize(&direct, inbox);
        direct.backup("one").unwrap();
        for round in 0..rounds {
            let deliver = direct.delivery(&[U1], &noise(round, 500)).unwrap();
            direct.ask(deliver).unwrap();
            let uids = vec![Uid::new(u32::try_from(round).unwrap() + 2).unwrap()];
            let change = FlagChange::Add(Flags::system(SystemFlags::DELETED.with(SystemFlags::SEEN)));
            direct
                .ask(StoreFlags {
                    mailbox: inbox,
                    uids: uids.clone(),
                    change,
                    unchanged_since: None,
                })
                .unwrap();
            if round % 2 == 0 {
                let uids = Some(uids);
                direct.ask(Expunge { mailbox: inbox, uids }).unwrap();
            }
            // One follows, the other was away since the backup.
            clients[0].resynchronize(&direct, inbox);
        }
        let to = Sim::new(5);
        restore_to(&BackupIn(&sim, "backup/one"), &to).unwrap();
        let restored = Direct::open(&to).unwrap();
        assert_eq!(restored.view().entries(inbox).unwrap().len(), 8);
        for client in &mut clients {
            client.resynchronize(&restored, inbox);
        }
    }
}

/// The power goes at each call of making a backup: the store is as it was, and nothing of the backup is left.
#[test]
fn d12_a_cut_while_a_backup_is_made_loses_nothing_and_leaves_nothing() {
    const SEED: u64 = 3;
    let course = |cut_at: Option<u64>| {
        let sim = Sim::new(SEED);
        let mut direct = Direct::open(&sim).unwrap();
        for number in 0..16 {
            step(&mut direct, SEED, number).unwrap();
        }
        let deliver = direct.delivery(&[U1], &noise(1, 400_000)).unwrap();
        direct.ask(deliver).unwrap();
        let calls = sim.counted().calls;
        sim.plan(Plan {
            cut_at: cut_at.map(|call| calls + call),
            ..Plan::default()
        });
        let made = direct.backup("cut");
        (sim, direct, calls, made)
    };
    let (sim, direct, before, made) = course(None);
    made.unwrap();
    let state = direct.state();
    let calls = sim.counted().calls - before;
    println!("{calls} cuts");
    for cut_at in 1..=calls {
        let (sim, _, _, made) = course(Some(cut_at));
        assert!(made.is_err());
        let sim = sim.reboot(cut_at);
        let direct = Direct::open(&sim).unwrap();
        assert_eq!(direct.opened.damage, [], "cut {cut_at}");
        assert_eq!(direct.state(), state, "cut {cut_at}");
        let left: Vec<String> = sim
            .names()
            .into_iter()
            .filter(|name| name.starts_with("backup"))
            .collect();
        assert_eq!(left, [""; 0], "cut {cut_at}");
        direct.check();
    }
}

/// The power goes at each call of restoring and of the first start: what is half there is no store, and what is whole has the
/// mail, its counters stepped forward.
#[test]
fn d12_a_cut_while_a_backup_is_restored_leaves_no_half_store() {
    let sim = Sim::new(8);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 8, 0).unwrap();
    for number in 0..3 {
        let deliver = direct.delivery(&[U1], &noise(number, 5_000)).unwrap();
        direct.ask(deliver).unwrap();
    }
    direct.backup("b").unwrap();
    let from = BackupIn(&sim, "backup/b");
    let inbox = mailbox(&direct.view(), U1, "INBOX");
    let calls = {
        let to = Sim::new(1);
        restore_to(&from, &to).unwrap();
        drop(Direct::open(&to).unwrap());
        to.counted().calls
    };
    println!("{calls} cuts");
    let mut refused = 0;
    for cut_at in 1..=calls {
        let to = Sim::new(cut_at);
        to.plan(Plan {
            cut_at: Some(cut_at),
            ..Plan::default()
        });
        let done = restore_to(&from, &to).is_ok();
        if done {
            let _ = Direct::open(&to);
        }
        let mut to = to.reboot(cut_at);
        if !done {
            match Direct::open(&to) {
                Err(StoreError::RestoreUnfinished) => refused += 1,
                Err(error) => panic!("cut {cut_at}: {error}"),
                // Nothing but the folder was there, or all was.
                Ok(direct) if !direct.view().is_claimed().unwrap() => {
                    assert!(direct.opened.is_new, "cut {cut_at}");
                    to = Sim::new(cut_at);
                }
                Ok(_) => (),
            }
            if !to.names().iter().any(|name| name.starts_with("index")) {
                match restore_to(&from, &to) {
                    Ok(_) | Err(StoreError::NotEmpty) => (),
                    Err(error) => panic!("cut {cut_at}: {error}"),
                }
            }
        }
        let mut direct = Direct::open(&to).unwrap();
        let view = direct.view();
        assert_eq!(view.entries(inbox).unwrap().len(), 3, "cut {cut_at}");
        assert!(view.status(inbox).unwrap().uid_next > 1 << 20, "cut {cut_at}");
        drop(view);
        direct.check();
        let deliver = direct.delivery(&[U1], b"after").unwrap();
        direct.ask(deliver).unwrap();
    }
    assert!(refused > 0);
}

/// D9: a backup is not begun when the disk is low, and its links go when it becomes so, or after a day.
#[test]
fn d9_a_backup_is_dropped_when_the_disk_is_low_or_a_day_has_passed() {
    const RESERVE_OCTETS: u64 = 1 << 20;
    let sim = Sim::new(6);
    let options = Options {
        reserve_octets: Some(RESERVE_OCTETS),
        ..options()
    };
    let mut direct = Direct::open_with(&sim, &options).unwrap();
    for number in 0..10 {
        step(&mut direct, 6, number).unwrap();
    }
    direct.backup("a").unwrap();
    assert!(matches!(direct.backup("a"), Err(StoreError::BackupName)));
    for hostile in ["", "..", "../a"] {
        assert!(matches!(direct.backup(hostile), Err(StoreError::BackupName)));
        let dropped = backup::drop_backup(&direct.shared, hostile);
        assert!(matches!(dropped, Err(StoreError::BackupName)), "{hostile}");
    }
    let has = |sim: &Sim| sim.names().iter().any(|name| name.starts_with("backup/"));
    let now = Instant::now();
    backup::drop_old(&direct.shared, now + Duration::from_hours(1)).unwrap();
    assert!(has(&sim));
    backup::drop_old(&direct.shared, now + Duration::from_hours(25)).unwrap();
    assert!(!has(&sim));
    direct.backup("a").unwrap();
    sim.plan(Plan {
        capacity_octets: Some(sim.used_octets() + RESERVE_OCTETS / 2),
        ..Plan::default()
    });
    direct.shared.space.freed();
    backup::drop_old(&direct.shared, Instant::now()).unwrap();
    assert!(!has(&sim));
    direct.check();
}

/// On a real folder, while other threads deliver and expunge.
#[test]
fn b4_a_backup_is_made_while_mail_flows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (store, _) = Store::open(&path, options()).unwrap();
    provision(&store, 2);
    deliver(&store, &[U1], &noise(9, 700_000));
    let before = deliver(&store, &[U1], b"the last before")[0].uid;
    let ends = std::sync::atomic::AtomicBool::new(false);
    let backup = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                number += 1;
                deliver(&store, &[U1, AccountId(2)], &noise(number, 20_000));
                let octets = if number % 4 == 0 { 300_000 } else { 10 };
                deliver(&store, &[AccountId(2)], &noise(number, octets));
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        let backup = store.backup("flowing");
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
        backup
    })
    .unwrap();
    let into = folder.path().join("restored");
    let copied = crate::restore(&path.join(&backup.folder), &into).unwrap();
    assert_eq!(copied, backup.octets());
    assert!(matches!(
        crate::restore(&path.join(&backup.folder), &into),
        Err(StoreError::NotEmpty)
    ));
    assert!(matches!(
        crate::restore(&into.join("log"), &path.join("x")),
        Err(StoreError::NoBackup)
    ));
    let (restored, opened) = Store::open(&into, options()).unwrap();
    assert_eq!(opened.damage, []);
    let view = restored.view().unwrap();
    let inbox = mailbox(&view, U1, "INBOX");
    assert!(read(&view, inbox, before).ends_with(b"the last before"));
    drop(view);
    finish(&restored);
    store.drop_backup("flowing").unwrap();
    assert!(!path.join(&backup.folder).exists());
    finish(&store);
}
