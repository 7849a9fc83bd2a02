//! What one writer for all of them costs and promises.

use super::super::*;
use super::*;

#[test]
fn a_listener_is_told_after_the_commit_and_sees_the_newest_only() {
    let (_folder, store) = new_store(2);
    let inbox = mailbox(&store.view().unwrap(), U1, "INBOX");
    let mut watch = store.watch(U1).unwrap();
    for _ in 0..3 {
        deliver(&store, &[U1], b"x");
    }
    deliver(&store, &[U2], b"not for this one");
    let modseq = wait(watch.changed());
    assert_eq!(
        modseq,
        store.view().unwrap().status(inbox).unwrap().highest_modseq
    );
    let mut changed = pin!(watch.changed());
    assert!(
        changed
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending(),
        "told once"
    );
    add(&store, inbox, &[2], seen());
    assert!(wait(changed) > modseq);
    finish(&store);
}

#[test]
fn two_processes_cannot_have_one_store() {
    let (folder, store) = new_store(1);
    assert!(matches!(
        Store::open(folder.path(), options()),
        Err(StoreError::InUse)
    ));
    store.close();
    assert!(matches!(
        wait(store.set_verifier(U1, String::new())),
        Err(StoreError::Closed)
    ));
    assert!(matches!(store.view().err(), Some(StoreError::Closed)));
    drop(store);
    let (store, _) = Store::open(folder.path(), options()).unwrap();
    finish(&store);
}

/// The requests of many clients share syncs, and each is answered.
#[test]
fn requests_of_many_clients_share_a_sync() {
    let sim = crate::sim::Sim::new(1);
    let (store, _) = Store::open_in(Arc::new(sim.clone()), &options()).unwrap();
    provision(&store, 1);
    let before = sim.counted();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..20 {
                    deliver(store, &[U1], &noise(client * 100 + number, 2_000));
                }
            });
        }
    });
    let after = sim.counted();
    let view = store.view().unwrap();
    let entries = view.entries(mailbox(&view, U1, "INBOX")).unwrap();
    assert!(entries.iter().map(|entry| entry.uid.get()).eq(1..=160));
    assert!(after.log_syncs - before.log_syncs <= 160 + 2 * (after.folder_syncs - before.folder_syncs));
    finish(&store);
}

/// D1: exactly one sync of the log for a delivery; one more of the body's file, and one of its folder, for a
/// large one.
#[test]
fn d1_a_delivery_costs_one_sync_and_a_large_one_two_more() {
    let sim = crate::sim::Sim::new(1);
    let (store, _) = Store::open_in(
        Arc::new(sim.clone()),
        &Options {
            segment_octets: Some(1 << 20),
            ..options()
        },
    )
    .unwrap();
    provision(&store, 1);
    let before = sim.counted();
    deliver(&store, &[U1], &noise(1, 10_000));
    let small = sim.counted();
    assert_eq!(small.log_syncs - before.log_syncs, 1);
    assert_eq!(
        (small.body_syncs, small.folder_syncs),
        (before.body_syncs, before.folder_syncs)
    );
    deliver(&store, &[U1], &noise(2, 1_000_000));
    let large = sim.counted();
    assert_eq!(large.log_syncs - small.log_syncs, 1);
    assert_eq!(large.body_syncs - small.body_syncs, 1);
    assert_eq!(large.folder_syncs - small.folder_syncs, 1);
    finish(&store);
}

/// D16: when many bodies come in at once, they go to disk in small pieces.
#[test]
fn d16_under_memory_pressure_bodies_go_to_disk_early_and_read_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        body_memory_octets: 100_000,
        ..options()
    };
    let (store, _) = Store::open(folder.path(), options).unwrap();
    provision(&store, 1);
    let mut writers: Vec<_> = (0..20).map(|_| store.body()).collect();
    for piece in 0..10 {
        for (writer, number) in writers.iter_mut().zip(0..) {
            writer.write(&noise(number * 100 + piece, 10_000)).unwrap();
        }
    }
    let held: u64 = writers.iter().map(crate::BodyWriter::len).sum();
    let on_disk: u64 = std::fs::read_dir(folder.path().join("bodies"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(held, 2_000_000);
    assert!(
        on_disk > held - 100_000 - 20 * 16 * 1024,
        "{on_disk} octets are on disk"
    );
    for (writer, number) in writers.into_iter().zip(0..) {
        let delivered = wait(store.deliver(Deliver {
            body: writer.seal().unwrap(),
            structure: Vec::new(),
            received: Timestamp(0),
            copies: vec![DeliveredCopy {
                account: U1,
                header: Vec::new(),
                flags: Flags::default(),
            }],
        }))
        .unwrap()[0];
        let whole: Vec<u8> = (0..10)
            .flat_map(|piece| noise(number * 100 + piece, 10_000))
            .collect();
        let found = read(&store.view().unwrap(), delivered.mailbox, delivered.uid);
        assert_eq!(blake3::hash(&found), blake3::hash(&whole));
    }
    finish(&store);
}
