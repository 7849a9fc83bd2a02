//! What the store does when nothing goes wrong, on a real folder.

use super::*;
use crate::{
    Copy, CreateMailbox, DeleteMailbox, Expunge, FlagChange, RenameMailbox, SpecialUse, StoreError,
    StoreFlags, Subscribe,
};
use mail::{Keyword, ModSeq, SystemFlags};

const U1: AccountId = AccountId(1);
const U2: AccountId = AccountId(2);

fn new_store(accounts: usize) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(folder.path(), options()).unwrap();
    assert!(opened.is_new);
    provision(&store, accounts);
    (folder, store)
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

fn seen() -> Flags {
    Flags::system(SystemFlags::SEEN)
}

fn add(store: &Store, mailbox: MailboxId, uids: &[u32], flags: Flags) -> crate::FlagsStored {
    let uids = uids.iter().map(|number| uid(*number)).collect();
    let change = FlagChange::Add(flags);
    wait(store.store_flags(StoreFlags {
        mailbox,
        uids,
        change,
        unchanged_since: None,
    }))
    .unwrap()
}

/// S8: a message to ten local people is stored once.
#[test]
fn s8_a_message_for_ten_is_one_body_and_is_there_after_opening_again() {
    let (folder, store) = new_store(10);
    let accounts: Vec<AccountId> = (1..=10).map(AccountId).collect();
    let octets = noise(1, 100_000);
    let delivered = deliver(&store, &accounts, &octets);
    let dump = store.view().unwrap().dump().unwrap();
    let checked = store.check().unwrap();
    assert_eq!((checked.messages, checked.body_octets), (10, 100_000));
    finish(&store);
    store.close();
    drop(store);

    let on_disk: u64 = std::fs::read_dir(folder.path().join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk < 130_000, "{on_disk} octets of log");
    let (store, opened) = Store::open(folder.path(), options()).unwrap();
    assert_eq!(
        opened,
        crate::Opened::default(),
        "a clean stop leaves nothing to do"
    );
    let view = store.view().unwrap();
    assert_eq!(view.dump().unwrap(), dump);
    for delivered in delivered {
        let mut whole = format!("Delivered-To: {}\r\n", delivered.account).into_bytes();
        whole.extend_from_slice(&octets);
        assert_eq!(read(&view, delivered.mailbox, delivered.uid), whole);
        let message = view.message(delivered.mailbox, delivered.uid).unwrap().unwrap();
        assert_eq!(message.size_octets, whole.len() as u64);
        assert_eq!(view.structure(&message).unwrap(), b"structure");
    }
    finish(&store);
}

#[test]
fn any_range_of_a_message_is_read_over_prefix_and_frames() {
    let (_folder, store) = new_store(1);
    // Text, then noise: frames that are compressed, and frames that are not.
    let mut octets = b"The quick brown fox jumps over the lazy dog.\r\n".repeat(9_000);
    octets.extend_from_slice(&noise(1, 500_001));
    let delivered = deliver(&store, &[U1], &octets)[0];
    let mut whole = b"Delivered-To: 1\r\n".to_vec();
    whole.extend_from_slice(&octets);
    let view = store.view().unwrap();
    let message = view.message(delivered.mailbox, delivered.uid).unwrap().unwrap();
    let mut reader = view.body(&message).unwrap();
    drop(view);
    assert_eq!(reader.len(), whole.len() as u64);
    let ends = [
        0,
        1,
        16,
        17,
        18,
        262_143,
        262_160,
        262_161,
        262_162,
        524_305,
        800_000,
        whole.len(),
        whole.len() + 9,
    ];
    for from in ends {
        for octets in [0, 1, 20, 262_144, 300_000, whole.len() * 2] {
            let mut read = vec![b'.'];
            let count = reader.read_at(from as u64, &mut read, octets).unwrap();
            let expected = whole
                .get(from..whole.len().min(from + octets))
                .unwrap_or_default();
            assert_eq!(count, expected.len());
            assert!(read[1..] == *expected, "{octets} octets from {from}");
        }
    }
    finish(&store);
}

#[test]
fn a_body_that_is_dropped_leaves_no_file() {
    let (folder, store) = new_store(1);
    let mut writer = store.body();
    writer.write(&noise(1, 600_000)).unwrap();
    let sealed = body(&store, &noise(2, 600_000));
    assert_eq!(sealed.read_to_vec().unwrap(), noise(2, 600_000));
    let files = || std::fs::read_dir(folder.path().join("bodies")).unwrap().count();
    assert_eq!(files(), 2);
    drop(writer);
    drop(sealed);
    assert_eq!(files(), 0);
    let gone = Deliver {
        body: body(&store, &noise(3, 600_000)),
        structure: Vec::new(),
        received: Timestamp(0),
        copies: vec![DeliveredCopy {
            account: AccountId(77),
            header: Vec::new(),
            flags: Flags::default(),
        }],
    };
    assert!(matches!(wait(store.deliver(gone)), Err(StoreError::NoAccount)));
    assert_eq!(files(), 0, "what was refused leaves nothing either");
    finish(&store);
}

#[test]
fn an_expunged_body_file_goes_and_its_reader_reads_on() {
    let (folder, store) = new_store(1);
    let octets = noise(1, 600_000);
    let delivered = deliver(&store, &[U1], &octets)[0];
    let view = store.view().unwrap();
    let message = view.message(delivered.mailbox, delivered.uid).unwrap().unwrap();
    let mut reader = view.body(&message).unwrap();
    add(
        &store,
        delivered.mailbox,
        &[1],
        Flags::system(SystemFlags::DELETED),
    );
    wait(store.expunge(Expunge {
        mailbox: delivered.mailbox,
        uids: None,
    }))
    .unwrap();
    assert_eq!(
        std::fs::read_dir(folder.path().join("bodies")).unwrap().count(),
        0
    );
    assert!(reader.read_to_vec().unwrap().ends_with(&octets));
    assert!(
        matches!(view.body(&message), Err(StoreError::Gone)),
        "an old view cannot open it any more"
    );
    finish(&store);
}

#[test]
fn flags_are_stored_and_unchangedsince_leaves_changed_messages_alone() {
    let (_folder, store) = new_store(1);
    let inbox = mailbox(&store.view().unwrap(), U1, "INBOX");
    for _ in 0..3 {
        deliver(&store, &[U1], b"x");
    }
    let before = store.view().unwrap().status(inbox).unwrap();
    assert_eq!((before.messages, before.unseen, before.uid_next), (3, 3, 4));
    let mut flags = seen();
    flags.keywords.insert(Keyword::parse("$Forwarded").unwrap());
    let stored = add(&store, inbox, &[3, 1, 9, 1], flags.clone());
    let modseq = ModSeq(before.highest_modseq.0 + 1);
    assert_eq!(
        stored.changed,
        [(uid(1), flags.clone(), modseq), (uid(3), flags.clone(), modseq)]
    );
    let again = add(&store, inbox, &[1, 2], flags.clone());
    assert_eq!(again.unchanged, [(uid(1), flags, modseq)]);
    assert_eq!(again.changed.len(), 1);

    let conditional = StoreFlags {
        mailbox: inbox,
        uids: vec![uid(1), uid(2), uid(3)],
        change: FlagChange::Replace(Flags::default()),
        unchanged_since: Some(modseq),
    };
    let stored = wait(store.store_flags(conditional)).unwrap();
    assert_eq!(stored.modified, [uid(2)]);
    assert_eq!(stored.changed.len(), 2);
    let view = store.view().unwrap();
    assert_eq!(view.status(inbox).unwrap().unseen, 2);
    let changed: Vec<Uid> = view
        .changed_since(inbox, ModSeq(modseq.0 + 1))
        .unwrap()
        .iter()
        .map(|entry| entry.uid)
        .collect();
    assert_eq!(changed, [uid(1), uid(3)]);
    finish(&store);
}

#[test]
fn expunge_keeps_uids_of_the_rest_and_tells_what_vanished() {
    let (_folder, store) = new_store(1);
    let inbox = mailbox(&store.view().unwrap(), U1, "INBOX");
    for _ in 0..5 {
        deliver(&store, &[U1], b"x");
    }
    let before = store.view().unwrap().status(inbox).unwrap().highest_modseq;
    add(&store, inbox, &[1, 2, 4], Flags::system(SystemFlags::DELETED));
    let some = Expunge {
        mailbox: inbox,
        uids: Some(vec![uid(4), uid(5)]),
    };
    assert_eq!(wait(store.expunge(some)).unwrap(), [uid(4)]);
    let between = store.view().unwrap().status(inbox).unwrap().highest_modseq;
    assert_eq!(
        wait(store.expunge(Expunge {
            mailbox: inbox,
            uids: None
        }))
        .unwrap(),
        [uid(1), uid(2)]
    );
    assert_eq!(
        wait(store.expunge(Expunge {
            mailbox: inbox,
            uids: None
        }))
        .unwrap(),
        []
    );
    let view = store.view().unwrap();
    let left: Vec<Uid> = view
        .entries(inbox)
        .unwrap()
        .iter()
        .map(|entry| entry.uid)
        .collect();
    assert_eq!(left, [uid(3), uid(5)]);
    assert_eq!(
        view.vanished_since(inbox, before).unwrap(),
        [uid(1), uid(2), uid(4)]
    );
    assert_eq!(view.vanished_since(inbox, between).unwrap(), [uid(1), uid(2)]);
    assert_eq!(view.status(inbox).unwrap().deleted, 0);
    assert_eq!(append(&store, inbox, b"y", seen()), uid(6));
    finish(&store);
}

#[test]
fn a_copy_shares_the_body_and_a_move_leaves_nothing_behind() {
    let (_folder, store) = new_store(2);
    let view = store.view().unwrap();
    let (inbox, archive) = (mailbox(&view, U1, "INBOX"), mailbox(&view, U1, "Archive"));
    let other = mailbox(&view, U2, "INBOX");
    let octets = noise(1, 50_000);
    deliver(&store, &[U1], &octets);
    deliver(&store, &[U1], b"second");
    let copy = |from, uids: &[u32], to, is_move| {
        let uids = uids.iter().map(|number| uid(*number)).collect();
        wait(store.copy(Copy {
            from,
            uids,
            to,
            is_move,
        }))
    };
    assert_eq!(
        copy(inbox, &[1, 7], archive, false).unwrap().uids,
        [(uid(1), uid(1))]
    );
    assert_eq!(
        copy(inbox, &[2, 1], archive, true).unwrap().uids,
        [(uid(1), uid(2)), (uid(2), uid(3))]
    );
    assert_eq!(
        copy(archive, &[1], archive, true).unwrap().uids,
        [(uid(1), uid(4))]
    );
    assert!(matches!(
        copy(archive, &[4], other, false),
        Err(StoreError::NoMailbox)
    ));
    let checked = store.check().unwrap();
    assert_eq!((checked.messages, checked.body_octets), (3, 50_006));
    let view = store.view().unwrap();
    assert_eq!(view.status(inbox).unwrap().messages, 0);
    assert_eq!(view.vanished_since(inbox, ModSeq(0)).unwrap(), [uid(1), uid(2)]);
    assert!(read(&view, archive, uid(4)).ends_with(&octets));
    finish(&store);
}

#[test]
fn append_is_all_or_nothing_and_obeys_the_quota() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), options()).unwrap();
    wait(store.provision(Provision {
        domains: vec![Domain::parse("example.org").unwrap()],
        accounts: vec![NewAccount {
            address: address("u1@example.org"),
            verifier: "v".to_owned(),
            quota_octets: Some(100),
        }],
        redirects: Vec::new(),
    }))
    .unwrap();
    let drafts = mailbox(&store.view().unwrap(), U1, "Drafts");
    let append = |sizes: &[usize]| {
        let messages = sizes
            .iter()
            .map(|octets| NewMessage {
                body: body(&store, &noise(1, *octets)),
                structure: Vec::new(),
                flags: seen(),
                internal_date: InternalDate::utc(Timestamp(0)),
            })
            .collect();
        wait(store.append(Append {
            account: U1,
            mailbox: drafts,
            messages,
        }))
    };
    assert_eq!(append(&[40, 60]).unwrap().uids, [uid(1), uid(2)]);
    assert!(matches!(append(&[0, 1]), Err(StoreError::OverQuota)));
    let account = store.view().unwrap().account(U1).unwrap().unwrap();
    assert_eq!((account.used_octets, account.messages), (100, 2));
    assert!(account.is_over_quota_with(1));
    assert_eq!(append(&[]).unwrap().uids, []);
    finish(&store);
}

#[test]
fn a_box_is_claimed_once_and_found_by_any_spelling() {
    let (_folder, store) = new_store(2);
    let view = store.view().unwrap();
    assert!(view.is_claimed().unwrap());
    assert!(view.domain(&Domain::parse("EXAMPLE.org").unwrap()).unwrap());
    assert!(!view.domain(&Domain::parse("example.com").unwrap()).unwrap());
    let account = view
        .account_by_address(&address("U2@Example.ORG"))
        .unwrap()
        .unwrap();
    assert_eq!((account.id, account.is_enabled), (U2, true));
    let redirect = view.redirect(&address("Office@example.org")).unwrap().unwrap();
    assert_eq!(redirect.targets.len(), 2);
    let mailboxes = view.mailboxes(U2).unwrap();
    let names: Vec<&str> = mailboxes.iter().map(|mailbox| mailbox.name.as_str()).collect();
    assert_eq!(names, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    assert_eq!(mailboxes[3].special_use, Some(SpecialUse::Junk));
    assert!(matches!(
        wait(store.provision(Provision::default())),
        Err(StoreError::AlreadyClaimed)
    ));
    wait(store.set_verifier(U2, "new".to_owned())).unwrap();
    assert_eq!(
        store.view().unwrap().account(U2).unwrap().unwrap().verifier,
        "new"
    );
    assert!(matches!(
        wait(store.set_verifier(AccountId(9), String::new())),
        Err(StoreError::NoAccount)
    ));
    finish(&store);
}

#[test]
fn provisioning_that_does_not_hold_together_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), options()).unwrap();
    let account = |text: &str| NewAccount {
        address: address(text),
        verifier: String::new(),
        quota_octets: None,
    };
    let domains = vec![Domain::parse("example.org").unwrap()];
    let accounts = vec![account("a@example.org"), account("A@example.org")];
    let twice = Provision {
        domains: domains.clone(),
        accounts,
        redirects: Vec::new(),
    };
    assert!(matches!(
        wait(store.provision(twice)),
        Err(StoreError::AddressTaken(_))
    ));
    let foreign = Provision {
        domains,
        accounts: vec![account("a@example.com")],
        redirects: Vec::new(),
    };
    assert!(matches!(
        wait(store.provision(foreign)),
        Err(StoreError::UnknownDomain(_))
    ));
    assert!(!store.view().unwrap().is_claimed().unwrap());
    finish(&store);
}

/// D7: a mailbox made again under an old name is another mailbox.
#[test]
fn d7_mailboxes_come_and_go_and_no_uidvalidity_is_given_twice() {
    let (_folder, store) = new_store(1);
    let create = |text: &str| {
        let create = CreateMailbox {
            account: U1,
            name: name(text),
            special_use: None,
        };
        wait(store.create_mailbox(create))
    };
    let rename = |from: &str, to: &str| {
        wait(store.rename_mailbox(RenameMailbox {
            account: U1,
            from: name(from),
            to: name(to),
        }))
    };
    let below = create("work/2026/may").unwrap();
    assert!(
        matches!(create("work"), Err(StoreError::MailboxExists)),
        "those above are made, too"
    );
    let old = create("works").unwrap();
    append(&store, below, b"kept", seen());
    rename("work", "job").unwrap();
    let view = store.view().unwrap();
    let names: Vec<String> = view
        .mailboxes(U1)
        .unwrap()
        .iter()
        .map(|mailbox| mailbox.name.as_str().to_owned())
        .collect();
    assert_eq!(names[..4], ["Archive", "Drafts", "INBOX", "Junk"]);
    assert_eq!(names[6..], ["job", "job/2026", "job/2026/may", "works"]);
    assert_eq!(read(&view, mailbox(&view, U1, "job/2026/may"), uid(1)), b"kept");
    for (from, to) in [
        ("job", "works"),
        ("job", "job/2026"),
        ("job", "job"),
        ("job", "Trash"),
    ] {
        assert!(
            matches!(rename(from, to), Err(StoreError::MailboxExists)),
            "{from} to {to}"
        );
    }
    assert!(matches!(rename("work", "x"), Err(StoreError::NoMailbox)));
    assert!(matches!(rename("INBOX", "x"), Err(StoreError::IsInbox)));

    let inbox = mailbox(&view, U1, "INBOX");
    assert!(matches!(
        wait(store.delete_mailbox(DeleteMailbox { mailbox: inbox })),
        Err(StoreError::IsInbox)
    ));
    let validity = view.mailbox(old).unwrap().unwrap().uid_validity;
    wait(store.delete_mailbox(DeleteMailbox { mailbox: old })).unwrap();
    let new = create("works").unwrap();
    let view = store.view().unwrap();
    assert!(new.0 > old.0 && view.mailbox(new).unwrap().unwrap().uid_validity > validity);
    wait(store.delete_mailbox(DeleteMailbox {
        mailbox: mailbox(&view, U1, "job"),
    }))
    .unwrap();
    let view = store.view().unwrap();
    assert_eq!(
        read(&view, mailbox(&view, U1, "job/2026/may"), uid(1)),
        b"kept",
        "those below stay"
    );
    wait(store.subscribe(Subscribe {
        mailbox: new,
        is_subscribed: true,
    }))
    .unwrap();
    assert!(store.view().unwrap().mailbox(new).unwrap().unwrap().is_subscribed);
    finish(&store);
}

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
