//! The disk fails: a call answers EIO or ENOSPC, there is no room, octets cannot be read.

use super::workload::*;
use super::*;
use crate::storage::sim::{Plan, Sim};
use crate::{Expunge, FlagChange, StoreError, StoreFlags, View};
use mail::SystemFlags;
use std::io::ErrorKind;

const STEPS: u64 = 16;
const U1: AccountId = AccountId(1);

/// One call fails. A step that was refused for want of room, or whose body could not be written, is
/// tried again; after an error in the log the store stops writing, reads on, and is opened again.
fn fail_everywhere(seed: u64, kind: ErrorKind) {
    let (states, calls) = undisturbed(seed, STEPS);
    for fail_at in 1..=*calls.last().unwrap() {
        let context = format!("seed {seed}, {kind} at call {fail_at}");
        let sim = Sim::new(seed);
        sim.plan(Plan {
            fail_at: Some((fail_at, kind)),
            ..Plan::default()
        });
        let mut direct = match Direct::open(&sim) {
            Ok(direct) => direct,
            // The call that fails is over: the next start finds what there is.
            Err(_) => match Direct::open(&sim) {
                Ok(direct) => direct,
                Err(error) => panic!("{context}: {error}"),
            },
        };
        let mut done = 0;
        let mut is_stopped = false;
        for number in 0..STEPS {
            let mut result = step(&mut direct, seed, number);
            if matches!(result, Err(StoreError::Full | StoreError::Io { .. })) {
                result = step(&mut direct, seed, number);
            }
            match result {
                Ok(()) => done += 1,
                Err(StoreError::Stopped { .. }) => {
                    is_stopped = true;
                    break;
                }
                Err(error) => panic!("{context}: {error}"),
            }
        }
        if is_stopped {
            // D8: nothing more is written, whatever the disk says now.
            assert!(
                matches!(step(&mut direct, seed, done), Err(StoreError::Stopped { .. })),
                "{context}"
            );
        }
        let after = sim.reboot(fail_at);
        drop(direct);
        let direct = Direct::open(&after).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(direct.opened.damage, [], "{context}");
        let state = direct.state();
        let done = usize::try_from(done).unwrap();
        let is_found =
            same(&state, &states[done]) || states.get(done + 1).is_some_and(|next| same(&state, next));
        assert!(is_found, "{context}: neither state is found after {done} steps");
        direct.check();
    }
}

/// Whether two states are the same but for the UIDVALIDITYs: a store whose first start failed is begun
/// anew, with another identity.
fn same(one: &str, other: &str) -> bool {
    let plain = |state: &str| -> Vec<String> {
        let lines = state
            .lines()
            .filter(|line| !line.starts_with("mailbox") && !line.contains("uid validity"));
        lines
            .filter(|line| !line.starts_with("blob"))
            .map(str::to_owned)
            .collect()
    };
    plain(one) == plain(other)
}

/// D8, D9
#[test]
fn d8_no_call_that_fails_loses_what_was_acknowledged() {
    for seed in [11, 12] {
        fail_everywhere(seed, ErrorKind::Other);
    }
}

/// D9
#[test]
fn d9_no_call_without_room_loses_what_was_acknowledged() {
    for seed in [21, 22] {
        fail_everywhere(seed, ErrorKind::StorageFull);
    }
}

/// D8: the write is answered, the sync fails, and the octets are in the page cache still: they must not
/// be taken for durable by the next start.
#[test]
fn d8_after_a_failed_sync_nothing_is_written_and_the_next_start_makes_sure_of_the_tail() {
    let sim = Sim::new(1);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    let deliver = direct.delivery(&[U1], b"first").unwrap();
    direct.ask(deliver).unwrap();
    sim.plan(Plan {
        failing_syncs: Some("log/"),
        ..Plan::default()
    });
    let deliver = direct.delivery(&[U1], b"second").unwrap();
    assert!(matches!(direct.ask(deliver), Err(StoreError::Stopped { .. })));
    sim.plan(Plan::default());
    let deliver = direct.delivery(&[U1], b"third").unwrap();
    assert!(matches!(direct.ask(deliver), Err(StoreError::Stopped { .. })));
    let view = direct.view();
    assert_eq!(
        view.entries(mailbox(&view, U1, "INBOX")).unwrap().len(),
        1,
        "reading goes on"
    );
    drop(view);
    drop(direct);

    // The process starts again on the same kernel, which has the octets but will never write them.
    let direct = Direct::open(&sim).unwrap();
    assert!(direct.opened.is_tail_copied);
    let view = direct.view();
    let inbox = mailbox(&view, U1, "INBOX");
    assert_eq!(
        view.entries(inbox).unwrap().len(),
        2,
        "it was not acknowledged, but it is whole"
    );
    let state = direct.state();
    let after = sim.reboot(3);
    drop(view);
    drop(direct);
    let direct = Direct::open(&after).unwrap();
    assert_eq!(direct.state(), state, "what was shown once stays");
    direct.check();
}

/// D9, S8
#[test]
fn s8_a_full_disk_refuses_mail_and_takes_it_again_after_an_expunge_without_a_restart() {
    let sim = Sim::new(1);
    sim.plan(Plan {
        capacity_octets: Some(12_000_000),
        ..Plan::default()
    });
    let options = Options {
        reserve_octets: Some(2_000_000),
        ..options()
    };
    let (store, _) = Store::open_in(Arc::new(sim.clone()), &options).unwrap();
    provision(&store, 1);
    let mut delivered = Vec::new();
    let refused = loop {
        // Each has a file of its own, so that expunging it gives the room back.
        let octets = noise(1, 900_000);
        let mut body = store.body();
        let body = body.write(&octets).and_then(|()| body.seal());
        let result = body.and_then(|body| {
            wait(store.deliver(Deliver {
                body,
                structure: Vec::new(),
                received: Timestamp(0),
                copies: vec![DeliveredCopy {
                    account: U1,
                    header: Vec::new(),
                    flags: Flags::default(),
                }],
            }))
        });
        match result {
            Ok(done) => delivered.extend(done),
            Err(error) => break error,
        }
        assert!(delivered.len() < 20);
    };
    assert!(matches!(refused, StoreError::Full), "{refused}");
    assert!(delivered.len() > 3);
    // It may have been cut into by a frame.
    assert!(
        sim.used_octets() < 12_000_000 - 2_000_000 + 300_000,
        "the reserve is still there"
    );
    let bodies = sim
        .names()
        .iter()
        .filter(|name| name.starts_with("bodies/"))
        .count();
    assert_eq!(bodies, delivered.len(), "what was refused leaves nothing behind");

    let mailbox = delivered[0].mailbox;
    let uids: Vec<Uid> = delivered.iter().map(|delivered| delivered.uid).collect();
    let change = FlagChange::Add(Flags::system(SystemFlags::DELETED));
    wait(store.store_flags(StoreFlags {
        mailbox,
        uids,
        change,
        unchanged_since: None,
    }))
    .unwrap();
    let expunged = wait(store.expunge(Expunge { mailbox, uids: None })).unwrap();
    assert_eq!(expunged.len(), delivered.len());
    assert_eq!(store.space(), crate::Space::Enough);
    deliver(&store, &[U1], &noise(2, 900_000));
    finish(&store);
}

/// S8
#[test]
fn s8_within_the_reserve_mail_is_refused_and_deleting_goes_on() {
    let sim = Sim::new(1);
    let (store, _) = Store::open_in(Arc::new(sim.clone()), &options()).unwrap();
    provision(&store, 1);
    let delivered = deliver(&store, &[U1], b"before")[0];
    store.close();
    drop(store);
    let reserve_octets = Some(u64::MAX);
    let (store, _) = Store::open_in(
        Arc::new(sim.clone()),
        &Options {
            reserve_octets,
            ..options()
        },
    )
    .unwrap();
    assert_eq!(store.space(), crate::Space::Low);
    let append = Append {
        account: U1,
        mailbox: delivered.mailbox,
        messages: vec![NewMessage {
            body: body(&store, b"x"),
            structure: Vec::new(),
            flags: Flags::default(),
            internal_date: InternalDate::utc(Timestamp(0)),
        }],
    };
    assert!(matches!(wait(store.append(append)), Err(StoreError::Full)));
    let mut large = store.body();
    assert!(matches!(large.write(&noise(1, 600_000)), Err(StoreError::Full)));
    drop(large);
    let change = FlagChange::Add(Flags::system(SystemFlags::DELETED));
    let mailbox = delivered.mailbox;
    let uids = vec![delivered.uid];
    wait(store.store_flags(StoreFlags {
        mailbox,
        uids,
        change,
        unchanged_since: None,
    }))
    .unwrap();
    assert_eq!(
        wait(store.expunge(Expunge { mailbox, uids: None })).unwrap(),
        [delivered.uid]
    );
    wait(store.set_verifier(U1, "other".to_owned())).unwrap();
    finish(&store);
}

/// D9: no reserve, and the write itself finds no room.
#[test]
fn d9_a_batch_that_finds_no_room_is_taken_back_and_the_next_may_pass() {
    let sim = Sim::new(1);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    let used = sim.used_octets();
    sim.plan(Plan {
        capacity_octets: Some(used + 40_000),
        ..Plan::default()
    });
    let deliver = direct.delivery(&[U1], &noise(1, 60_000)).unwrap();
    let error = direct.ask(deliver).unwrap_err();
    assert!(matches!(error, StoreError::Full), "{error}");
    let deliver = direct.delivery(&[U1], &noise(2, 10_000)).unwrap();
    direct.ask(deliver).unwrap();
    let state = direct.state();
    let after = sim.reboot(1);
    drop(direct);
    let direct = Direct::open(&after).unwrap();
    assert_eq!(direct.state(), state);
    direct.check();
}

/// D1, D9: the call that has no room is one of those that make a segment. Whatever goes into the old one
/// after, a segment that got its name all the same must not make it count for nothing.
#[test]
fn d1_no_room_for_a_new_segment_loses_nothing_that_is_acknowledged_after() {
    let sim = Sim::new(1);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    let deliver = direct.delivery(&[U1], &noise(1, 40_000)).unwrap();
    direct.ask(deliver).unwrap();
    let before = sim.counted().calls;
    let mut refused = 0;
    // create, write, sync, rename, sync of the folder
    for call in 1..=5 {
        let sim = Sim::new(1);
        let mut direct = Direct::open(&sim).unwrap();
        step(&mut direct, 1, 0).unwrap();
        let deliver = direct.delivery(&[U1], &noise(1, 40_000)).unwrap();
        direct.ask(deliver).unwrap();
        sim.plan(Plan {
            fail_at: Some((before + call, ErrorKind::StorageFull)),
            ..Plan::default()
        });
        // Too large for what is left of the segment.
        let deliver = direct.delivery(&[U1], &noise(2, 40_000)).unwrap();
        refused += usize::from(direct.ask(deliver).is_err());
        // This one is not.
        let deliver = direct.delivery(&[U1], &noise(3, 1_000)).unwrap();
        let acknowledged = direct.ask(deliver).is_ok();
        let state = direct.state();
        let after = sim.reboot(call);
        drop(direct);
        let direct = Direct::open(&after).unwrap();
        if acknowledged {
            assert_eq!(direct.state(), state, "call {call}");
        }
        direct.check();
    }
    assert_eq!(refused, 5);
}

/// D11
#[test]
fn d11_a_segment_that_cannot_be_read_fails_its_messages_only() {
    let sim = Sim::new(1);
    let (store, _) = Store::open_in(Arc::new(sim.clone()), &options()).unwrap();
    provision(&store, 1);
    let small = deliver(&store, &[U1], b"in a segment")[0];
    let large = deliver(&store, &[U1], &noise(1, 400_000))[0];
    sim.plan(Plan {
        unreadable: Some("log/"),
        ..Plan::default()
    });
    let view = store.view().unwrap();
    let message = view.message(small.mailbox, small.uid).unwrap().unwrap();
    let mut octets = Vec::new();
    let error = view
        .body(&message)
        .unwrap()
        .read_at(20, &mut octets, 5)
        .unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(
        read(&view, large.mailbox, large.uid).len(),
        400_000 + "Delivered-To: 1\r\n".len()
    );
    deliver(&store, &[U1], b"and mail still comes in");
    drop(view);
    sim.plan(Plan::default());
    finish(&store);
}

/// D11: an index that cannot be read is made anew.
#[test]
fn d11_an_index_that_cannot_be_read_is_made_anew_from_the_log() {
    let sim = Sim::new(1);
    let mut direct = Direct::open(&sim).unwrap();
    for number in 0..10 {
        step(&mut direct, 5, number).unwrap();
    }
    direct.writer.checkpoint();
    let state = direct.state();
    let sim = sim.reboot(1);
    drop(direct);
    for offset in [0, 10, 64, 70, 130] {
        let sim = sim.reboot(offset);
        sim.flip("index.redb", offset, 0xff);
        let direct = Direct::open(&sim).unwrap();
        assert_eq!(direct.state(), state, "octet {offset} of the index flipped");
        direct.check();
    }
}

/// D11: whichever page of the index cannot be read, the store is as it was after at most one more start.
#[test]
fn d11_an_index_with_an_unreadable_page_is_made_anew() {
    let sim = Sim::new(1);
    let mut direct = Direct::open(&sim).unwrap();
    for number in 0..30 {
        step(&mut direct, 5, number).unwrap();
    }
    let state = direct.state();
    direct.writer.checkpoint();
    let sim = sim.reboot(1);
    drop(direct);
    let pages = sim.content("index.redb").len() / 4096;
    let mut made_anew = 0;
    for page in 0..pages {
        let sim = sim.reboot(1);
        sim.spoil("index.redb", page as u64 * 4096);
        let mut direct = Direct::open(&sim).unwrap_or_else(|error| panic!("page {page}: {error}"));
        made_anew += usize::from(direct.opened.index_rebuilt.is_some());
        // Somebody comes upon it, and then somebody wants to write.
        let looked = View::new(Arc::clone(&direct.shared)).and_then(|view| view.dump());
        let pulse = direct.ask(crate::request::Pulse);
        if looked.is_err() {
            assert!(
                matches!(pulse, Err(StoreError::Stopped { .. })),
                "page {page}: nobody noticed"
            );
            drop(direct);
            direct = Direct::open(&sim).unwrap_or_else(|error| panic!("page {page}: {error}"));
            assert!(direct.opened.index_rebuilt.is_some(), "page {page}");
            made_anew += 1;
        }
        assert_eq!(direct.state(), state, "page {page}");
    }
    assert!(made_anew > 5, "{made_anew} of {pages}");
}

/// D8, D11: the kernel forgets pages whose sync failed, and keeps showing them. An index of which some never
/// got to the disk is not gone on with.
#[test]
fn d8_an_index_whose_sync_failed_is_made_anew() {
    for seed in 0..8 {
        let sim = Sim::new(seed);
        let mut direct = Direct::open(&sim).unwrap();
        for number in 0..10 {
            step(&mut direct, 5, number).unwrap();
        }
        let state = direct.state();
        sim.plan(Plan {
            failing_syncs: Some("index.redb"),
            ..Plan::default()
        });
        direct.writer.checkpoint();
        assert!(matches!(
            direct.ask(crate::request::Pulse),
            Err(StoreError::Stopped { .. })
        ));
        sim.plan(Plan::default());
        drop(direct);
        let direct = Direct::open(&sim).unwrap();
        assert!(direct.opened.index_rebuilt.is_some());
        assert_eq!(direct.state(), state);
        let after = sim.reboot(seed);
        drop(direct);
        let direct = Direct::open(&after).unwrap();
        assert_eq!(direct.state(), state, "seed {seed}");
        direct.check();
    }
}

/// D1: the start that made the folders failed; the one after relies on them.
#[test]
fn d1_a_folder_made_by_a_start_that_failed_is_durable_after_the_next() {
    for seed in 0..64 {
        let sim = Sim::new(seed);
        sim.plan(Plan {
            fail_at: Some((3, ErrorKind::Other)),
            ..Plan::default()
        });
        assert!(Direct::open(&sim).is_err());
        let mut direct = Direct::open(&sim).unwrap();
        step(&mut direct, seed, 0).unwrap();
        let state = direct.state();
        let after = sim.reboot(seed);
        drop(direct);
        let direct = Direct::open(&after).unwrap();
        assert_eq!(direct.state(), state, "seed {seed}");
    }
}

/// D18: a store of many segments is opened and checked with few descriptors.
#[test]
fn d18_segments_are_not_all_open_at_once() {
    let sim = Sim::new(1);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    for number in 0..30 {
        let deliver = direct.delivery(&[U1], &noise(number, 50_000)).unwrap();
        direct.ask(deliver).unwrap();
    }
    let state = direct.state();
    let sim = sim.reboot(1);
    drop(direct);
    crate::Storage::remove(&sim, "index.redb").unwrap();
    let segments = sim.names().iter().filter(|name| name.starts_with("log/")).count();
    assert!(segments > 25, "{segments}");
    sim.plan(Plan {
        open_files_max: Some(14),
        ..Plan::default()
    });
    let direct = Direct::open(&sim).unwrap();
    assert_eq!(direct.state(), state);
    direct.check();
}
