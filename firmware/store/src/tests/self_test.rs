//! The self-test's mailbox is nobody's, and its check ends in time.

use super::*;
use crate::index::rows::{self, MailboxRow, Row};
use crate::index::{self, Tables};
use crate::storage::sim::{Plan, Sim};
use crate::{SELF_TEST, StoreError};
use mail::ModSeq;
use redb::Durability;
use std::time::Instant;

const U1: AccountId = AccountId(1);

fn open(sim: &Sim) -> Result<Store, StoreError> {
    Ok(Store::open_in(Arc::new(sim.clone()), &options())?.0)
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// What is in the index, but the counter of bodies.
fn dump(store: &Store) -> String {
    let dump = store.view().unwrap().dump().unwrap();
    let lines = dump.lines().filter(|line| !line.contains("next body"));
    lines.collect::<Vec<_>>().join("\n")
}

fn self_test_mailbox(store: &Store) -> Option<MailboxId> {
    let mailbox = store
        .view()
        .unwrap()
        .mailbox_by_name(SELF_TEST, &MailboxName::inbox());
    mailbox.unwrap().map(|mailbox| mailbox.id)
}

#[test]
fn the_self_tests_mailbox_is_nobodys_and_leaves_nothing() {
    for accounts in [0, 2] {
        let sim = Sim::new(1);
        let store = open(&sim).unwrap();
        if accounts > 0 {
            provision(&store, accounts);
            deliver(&store, &[U1], b"somebody's");
        }
        let before = dump(&store);
        let status = |store: &Store| {
            let view = store.view().unwrap();
            let mailboxes = (1..=12).map(MailboxId);
            let status: Vec<_> = mailboxes.map(|mailbox| view.status(mailbox).ok()).collect();
            (view.accounts().unwrap(), view.is_claimed().unwrap(), status)
        };
        let people = status(&store);
        for round in 0..3 {
            wait(store.open_self_test()).unwrap();
            let delivered = deliver(&store, &[SELF_TEST], &noise(round, 5000))[0];
            assert_eq!(Some(delivered.mailbox), self_test_mailbox(&store));
            let octets = read(&store.view().unwrap(), delivered.mailbox, delivered.uid);
            assert!(octets.ends_with(&noise(round, 5000)));
            assert_eq!(status(&store), people, "neither an account nor a count has it");
            finish(&store);
            wait(store.close_self_test()).unwrap();
            assert_eq!(dump(&store), before);
            finish(&store);
        }
        // Nothing is done to what is not there, and nobody delivers there.
        wait(store.close_self_test()).unwrap();
        let late = Deliver {
            body: body(&store, b"late"),
            structure: Vec::new(),
            received: Timestamp(0),
            copies: vec![DeliveredCopy {
                account: SELF_TEST,
                header: Vec::new(),
                flags: Flags::default(),
            }],
        };
        assert!(matches!(wait(store.deliver(late)), Err(StoreError::NoAccount)));
        drop(store);
        crate::Storage::remove(&sim, index::FILE).unwrap();
        let store = open(&sim).unwrap();
        assert_eq!(dump(&store), before, "replayed from the log");
        if accounts == 0 {
            provision(&store, 1);
            assert_eq!(store.view().unwrap().accounts().unwrap()[0].id, U1);
            finish(&store);
        }
    }
}

/// One that a cut left open is closed by the next self-test, and harms nobody until then.
#[test]
fn a_self_test_that_a_cut_ends_is_no_harm() {
    let course = |store: &Store| -> Result<(), StoreError> {
        wait(store.open_self_test())?;
        let deliver = Deliver {
            body: body(store, b"to myself"),
            structure: Vec::new(),
            received: Timestamp(1_790_000_000),
            copies: vec![DeliveredCopy {
                account: SELF_TEST,
                header: Vec::new(),
                flags: Flags::default(),
            }],
        };
        wait(store.deliver(deliver))?;
        wait(store.close_self_test())
    };
    let begin = |sim: &Sim| {
        let store = open(sim).unwrap();
        provision(&store, 1);
        deliver(&store, &[U1], b"somebody's");
        store
    };
    let sim = Sim::new(3);
    let store = begin(&sim);
    let (before, calls) = (dump(&store), sim.counted().calls);
    course(&store).unwrap();
    let calls = calls + 1..=sim.counted().calls;
    drop(store);
    assert!(calls.clone().count() > 6);
    let mut left_open = 0;
    for cut_at in calls {
        let sim = Sim::new(3);
        let store = begin(&sim);
        sim.plan(Plan {
            cut_at: Some(cut_at),
            ..Plan::default()
        });
        let _ = course(&store);
        let sim = sim.reboot(cut_at);
        drop(store);
        let store = open(&sim).unwrap();
        left_open += u32::from(self_test_mailbox(&store).is_some());
        assert_eq!(store.view().unwrap().accounts().unwrap().len(), 1);
        finish(&store);
        course(&store).unwrap();
        assert_eq!(dump(&store), before, "cut at call {cut_at}");
        finish(&store);
    }
    assert!(left_open > 0, "no cut left it open");
}

/// D9
#[test]
fn d9_a_full_store_has_no_room_for_a_self_test_and_says_so() {
    let sim = Sim::new(1);
    let full = Options {
        reserve_octets: Some(u64::MAX),
        ..options()
    };
    let (store, _) = Store::open_in(Arc::new(sim), &full).unwrap();
    assert!(matches!(wait(store.open_self_test()), Err(StoreError::Full)));
    wait(store.close_self_test()).unwrap();
    assert_eq!(store.check_until(later()).unwrap().checked.flaws, []);
}

fn some_mail(sim: &Sim) -> Store {
    let store = open(sim).unwrap();
    provision(&store, 3);
    for number in 0..30 {
        deliver(&store, &[AccountId(1 + number % 3)], &noise(number.into(), 3000));
    }
    store
}

#[test]
fn the_check_in_time_looks_at_all_of_a_small_store_and_stops_when_the_time_is_over() {
    let store = some_mail(&Sim::new(1));
    let sampled = store.check_until(later()).unwrap();
    assert_eq!(sampled.checked.flaws, []);
    assert_eq!((sampled.mailboxes, sampled.mailboxes_in_all), (18, 18));
    assert_eq!((sampled.bodies, sampled.bodies_damaged), (16, 0));
    assert_eq!(sampled.checked.messages, 30);
    let sampled = store.check_until(Instant::now()).unwrap();
    assert_eq!(sampled.checked.flaws, []);
    assert_eq!((sampled.mailboxes, sampled.bodies), (0, 0));
    finish(&store);
}

#[test]
fn the_check_in_time_finds_wrong_counters() {
    type Break = fn(&mut Tables<'_>);
    let broken: [(&str, Break); 4] = [
        ("counts", |tables| {
            change_inbox(tables, |row| row.counts.unseen += 1);
        }),
        ("would give UID", |tables| {
            change_inbox(tables, |row| row.uid_next = 1);
        }),
        ("modseq", |tables| {
            change_inbox(tables, |row| row.highest_modseq = ModSeq(1));
        }),
        ("uses", |tables| {
            tables.quota.insert(1, (1, 1, 1 << 40)).unwrap();
        }),
    ];
    for (told, wrong) in broken {
        let store = some_mail(&Sim::new(1));
        let database = store.handle.shared.database().unwrap();
        let mut transaction = database.begin_write().unwrap();
        transaction.set_durability(Durability::None).unwrap();
        let mut tables = Tables::open(&transaction).unwrap();
        wrong(&mut tables);
        drop(tables);
        transaction.commit().unwrap();
        let flaws = store.check_until(later()).unwrap().checked.flaws;
        assert!(
            flaws.iter().any(|flaw| flaw.to_string().contains(told)),
            "{told}: {flaws:?}"
        );
    }
}

fn change_inbox(tables: &mut Tables<'_>, change: fn(&mut MailboxRow)) {
    let mut row: MailboxRow = rows::get(&tables.mailbox, 1).unwrap().unwrap();
    change(&mut row);
    tables.mailbox.insert(1, row.to_octets().as_slice()).unwrap();
}

/// The oldest message is damaged: that is told, and no flaw.
#[test]
fn a_damaged_message_is_counted_by_the_check_in_time() {
    let sim = Sim::new(1);
    drop(some_mail(&sim));
    let body = noise(0, 3000);
    let (name, at) = sim
        .names()
        .into_iter()
        .filter(|name| name.starts_with("log/"))
        .find_map(|name| {
            let content = sim.content(&name);
            let at = content.windows(100).position(|octets| octets == &body[..100]);
            at.map(|at| (name, at))
        })
        .unwrap();
    sim.flip(&name, at as u64, 1);
    let store = open(&sim).unwrap();
    let sampled = store.check_until(later()).unwrap();
    assert_eq!((sampled.bodies, sampled.bodies_damaged), (16, 1));
    assert_eq!(sampled.checked.flaws, []);
}
