//! What the store does when nothing goes wrong, on a real folder.

mod account;
mod writer;

use super::*;
use crate::{
    Copy, CreateMailbox, DeleteMailbox, Expunge, FlagChange, RenameMailbox, SpecialUse, StoreError,
    StoreFlags, Subscribe, Vanished,
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
        Vanished::Uids(vec![uid(1), uid(2), uid(4)])
    );
    assert_eq!(
        view.vanished_since(inbox, between).unwrap(),
        Vanished::Uids(vec![uid(1), uid(2)])
    );
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
    assert_eq!(
        copy(archive, &[3], other, false).unwrap().uids,
        [(uid(3), uid(1))],
        "another's, too"
    );
    let checked = store.check().unwrap();
    assert_eq!((checked.messages, checked.body_octets), (4, 50_006));
    let view = store.view().unwrap();
    assert_eq!(view.status(inbox).unwrap().messages, 0);
    assert_eq!(
        view.vanished_since(inbox, ModSeq(0)).unwrap(),
        Vanished::Uids(vec![uid(1), uid(2)])
    );
    assert!(read(&view, archive, uid(4)).ends_with(&octets));
    finish(&store);
}
