//! Stores as earlier firmware wrote them open, and hold what they held.
//!
//! `testdata/store-N` is the folder of a store of format N without its index, and `store-N.txt` beside it says
//! what is in it ([`describe`]). `testdata/README.md` tells how one is made.

use super::describe::describe;
use super::*;
use crate::{Copy, CreateMailbox, Expunge, FlagChange, RenameMailbox, StoreFlags, Subscribe};
use mail::{Keyword, SystemFlags};
use std::fs;
use std::path::{Path, PathBuf};

const U1: AccountId = AccountId(1);

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/testdata")
}

/// A copy of a kept store: opening changes it.
fn copy_of(name: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&testdata().join(name), folder.path());
    folder
}

fn opens(name: &str) {
    let folder = copy_of(name);
    let expected = fs::read_to_string(testdata().join(format!("{name}.txt"))).unwrap();
    for _ in 0..2 {
        // The second time with the index that the first left.
        let (store, opened) = Store::open(folder.path(), options()).unwrap();
        assert_eq!(opened.damage, []);
        assert_eq!(describe(&store.view().unwrap()), expected, "{name}");
        finish(&store);
        store.close();
    }
    let (store, opened) = Store::open(folder.path(), options()).unwrap();
    assert_eq!(opened.index_rebuilt, None);
    // And it goes on: what is new is numbered behind what is old.
    let view = store.view().unwrap();
    let inbox = mailbox(&view, U1, "INBOX");
    let uid_next = view.status(inbox).unwrap().uid_next;
    let delivered = deliver(&store, &[U1], b"new")[0];
    assert_eq!(u64::from(delivered.uid.get()), uid_next);
    finish(&store);
}

/// D6
#[test]
fn d6_a_store_of_format_1_opens_and_holds_what_it_held() {
    opens("store-1");
}

/// Makes a fixture in the folder that `STORE_FIXTURE` names: by hand, once for a format.
#[test]
fn a_fixture_is_made_when_asked_for() {
    let Some(folder) = std::env::var_os("STORE_FIXTURE").map(PathBuf::from) else {
        let folder = tempfile::tempdir().unwrap();
        make(&folder.path().join("store"));
        return;
    };
    make(&folder);
}

/// Makes a store with something of each kind, and writes what it holds beside it.
fn make(folder: &Path) {
    let (store, opened) = Store::open(folder, options()).unwrap();
    assert!(opened.is_new, "{} is to be an empty folder", folder.display());
    provision(&store, 2);
    wait(store.set_verifier(AccountId(2), "$argon2id$other".to_owned())).unwrap();
    messages(&store);
    mailboxes(&store);
    finish(&store);
    fs::write(folder.with_extension("txt"), describe(&store.view().unwrap())).unwrap();
    store.close();
    fs::remove_file(folder.join("index.redb")).unwrap();
    fs::remove_file(folder.join("lock")).unwrap();
}

fn messages(store: &Store) {
    let view = store.view().unwrap();
    let (inbox, archive) = (mailbox(&view, U1, "INBOX"), mailbox(&view, U1, "Archive"));
    drop(view);
    for number in 0..4 {
        deliver(store, &[U1, AccountId(2)], &noise(number, 300));
    }
    // Text that is compressed, in a body file: several frames.
    let text = "The quick brown fox jumps over the lazy dog.\r\n".repeat(13_000);
    deliver(store, &[U1], text.as_bytes());
    let mut flags = Flags::system(SystemFlags::SEEN.with(SystemFlags::ANSWERED));
    flags.keywords.insert(Keyword::parse("$Forwarded").unwrap());
    append(store, archive, &text.as_bytes()[..20_000], flags.clone());
    append(store, archive, b"", Flags::default());
    let uids = |numbers: &[u32]| numbers.iter().filter_map(|number| Uid::new(*number)).collect();
    for (numbers, change) in [
        (&[1, 3, 5][..], FlagChange::Add(flags)),
        (&[2, 4], FlagChange::Replace(Flags::system(SystemFlags::DELETED))),
        (&[3], FlagChange::Remove(Flags::system(SystemFlags::SEEN))),
    ] {
        let flags = StoreFlags {
            mailbox: inbox,
            uids: uids(numbers),
            change,
            unchanged_since: None,
        };
        wait(store.store_flags(flags)).unwrap();
    }
    for (numbers, is_move) in [(&[1, 5][..], false), (&[3], true)] {
        let copy = Copy {
            from: inbox,
            uids: uids(numbers),
            to: archive,
            is_move,
        };
        wait(store.copy(copy)).unwrap();
    }
    let expunge = Expunge {
        mailbox: inbox,
        uids: Some(uids(&[2])),
    };
    wait(store.expunge(expunge)).unwrap();
}

fn mailboxes(store: &Store) {
    let name = |text| MailboxName::parse(text).unwrap();
    for text in ["Work/2026/May", "Old", "Gone"] {
        let create = CreateMailbox {
            account: U1,
            name: name(text),
            special_use: None,
        };
        wait(store.create_mailbox(create)).unwrap();
    }
    wait(store.rename_mailbox(RenameMailbox {
        account: U1,
        from: name("Work"),
        to: name("Projects"),
    }))
    .unwrap();
    let view = store.view().unwrap();
    let (may, gone) = (
        mailbox(&view, U1, "Projects/2026/May"),
        mailbox(&view, U1, "Gone"),
    );
    drop(view);
    append(store, may, b"in May", Flags::default());
    append(store, gone, b"soon gone", Flags::default());
    wait(store.subscribe(Subscribe {
        mailbox: may,
        is_subscribed: true,
    }))
    .unwrap();
    wait(store.delete_mailbox(crate::DeleteMailbox { mailbox: gone })).unwrap();
}
