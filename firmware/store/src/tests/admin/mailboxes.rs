//! INBOX renamed, special uses, lists of rights, and the history of what was expunged.

use super::*;
use crate::vanished::PruneVanished;

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

fn rename(store: &Store, from: &str, to: &str) -> Result<(), StoreError> {
    wait(store.rename_mailbox(RenameMailbox {
        account: U1,
        from: name(from),
        to: name(to),
    }))
}

/// RFC 9051 §6.3.6
#[test]
fn renaming_inbox_moves_its_messages_and_leaves_it_empty() {
    let (folder, store) = new_store(1);
    let view = store.view().unwrap();
    let inbox = view.mailbox_by_name(U1, &MailboxName::inbox()).unwrap().unwrap();
    drop(view);
    for number in 0..3 {
        deliver(&store, &[U1], &noise(number, 100));
    }
    let flags = StoreFlags {
        mailbox: inbox.id,
        uids: vec![Uid::new(2).unwrap()],
        change: FlagChange::Add(Flags::system(SystemFlags::SEEN)),
        unchanged_since: None,
    };
    wait(store.store_flags(flags)).unwrap();
    let before = store.view().unwrap().status(inbox.id).unwrap();
    assert!(matches!(
        rename(&store, "INBOX", "Trash"),
        Err(StoreError::MailboxExists)
    ));
    rename(&store, "INBOX", "Old/2026").unwrap();
    let view = store.view().unwrap();
    let old = view.mailbox_by_name(U1, &name("Old/2026")).unwrap().unwrap();
    let (left, moved) = (view.status(inbox.id).unwrap(), view.status(old.id).unwrap());
    assert_eq!(
        (left.messages, left.uid_next, left.uid_validity),
        (0, 4, before.uid_validity)
    );
    assert!(left.highest_modseq > before.highest_modseq);
    assert_eq!((moved.messages, moved.unseen, moved.uid_next), (3, 2, 4));
    assert_ne!(old.object_id(), inbox.object_id(), "RFC 8474 §4");
    let message = view.message(old.id, Uid::new(2).unwrap()).unwrap().unwrap();
    assert_eq!(message.flags, Flags::system(SystemFlags::SEEN));
    assert_eq!(message.modseq, moved.highest_modseq);
    assert!(read(&view, old.id, Uid::new(3).unwrap()).ends_with(&noise(2, 100)));
    let Vanished::Uids(vanished) = view.vanished_since(inbox.id, before.highest_modseq).unwrap() else {
        panic!("known");
    };
    assert_eq!(vanished.len(), 3);
    assert_eq!(u64::from(deliver(&store, &[U1], b"new")[0].uid.get()), 4);
    drop(view);
    // A name that has only names below it is renamed with them.
    let old = mailbox(&store.view().unwrap(), U1, "Old");
    wait(store.delete_mailbox(DeleteMailbox { mailbox: old })).unwrap();
    rename(&store, "Old", "Older").unwrap();
    assert!(
        store
            .view()
            .unwrap()
            .mailbox_by_name(U1, &name("Older/2026"))
            .unwrap()
            .is_some()
    );
    assert!(matches!(rename(&store, "Old", "x"), Err(StoreError::NoMailbox)));
    finish_anew(&folder, store);
}

/// RFC 6154 §3
#[test]
fn one_mailbox_has_a_special_use_and_it_can_be_given_to_another() {
    let (folder, store) = new_store(1);
    let create = |text: &str, special_use| {
        wait(store.create_mailbox(CreateMailbox {
            account: U1,
            name: name(text),
            special_use,
        }))
    };
    assert!(matches!(
        create("Bin", Some(SpecialUse::Trash)),
        Err(StoreError::SpecialUseTaken)
    ));
    let bin = create("Bin", None).unwrap();
    let view = store.view().unwrap();
    let (trash, inbox) = (mailbox(&view, U1, "Trash"), mailbox(&view, U1, "INBOX"));
    drop(view);
    let set = |mailbox, special_use| wait(store.set_special_use(SetSpecialUse { mailbox, special_use }));
    assert!(matches!(
        set(inbox, Some(SpecialUse::Trash)),
        Err(StoreError::IsInbox)
    ));
    set(bin, Some(SpecialUse::Trash)).unwrap();
    let view = store.view().unwrap();
    let special_use = |mailbox| view.mailbox(mailbox).unwrap().unwrap().special_use;
    assert_eq!(
        (special_use(bin), special_use(trash)),
        (Some(SpecialUse::Trash), None)
    );
    drop(view);
    set(bin, None).unwrap();
    create("Koš", Some(SpecialUse::Trash)).unwrap();
    finish_anew(&folder, store);
}

/// RFC 4314 §2
#[test]
fn rights_are_given_refused_and_go_with_who_has_them() {
    let (folder, store) = new_store(3);
    let view = store.view().unwrap();
    let archive = mailbox(&view, U1, "Archive");
    drop(view);
    let rights = |letters: &str| Rights::parse(letters).unwrap();
    let set = |subject, is_negative, rights| {
        wait(store.set_acl(SetAcl {
            mailbox: archive,
            subject,
            is_negative,
            rights,
        }))
    };
    set(AclSubject::Anyone, false, Some(rights("lr"))).unwrap();
    set(AclSubject::Account(U2), false, Some(rights("swi"))).unwrap();
    set(AclSubject::Account(AccountId(3)), true, Some(rights("r"))).unwrap();
    assert!(matches!(
        set(AclSubject::Account(AccountId(9)), false, Some(rights("l"))),
        Err(StoreError::NoAccount)
    ));
    let view = store.view().unwrap();
    assert_eq!(view.rights(archive, U1).unwrap(), Rights::ALL);
    assert_eq!(view.rights(archive, U2).unwrap(), rights("lrswi"));
    assert_eq!(view.rights(archive, AccountId(3)).unwrap(), rights("l"));
    assert_eq!(view.acl(archive).unwrap().len(), 3);
    let shared = |account| -> Vec<MailboxId> {
        let shared = view.shared_with(account).unwrap();
        shared.iter().map(|mailbox| mailbox.id).collect()
    };
    assert_eq!((shared(U1), shared(U2)), (vec![], vec![archive]));
    drop(view);
    set(AclSubject::Anyone, false, None).unwrap();
    wait(store.delete_account(DeleteAccount { account: U2 })).unwrap();
    assert_eq!(store.view().unwrap().acl(archive).unwrap().len(), 1);
    wait(store.delete_mailbox(DeleteMailbox { mailbox: archive })).unwrap();
    assert_eq!(store.view().unwrap().shared_with(AccountId(3)).unwrap(), []);
    finish_anew(&folder, store);
}

/// RFC 7162 §3.2.5.1: below the floor nobody knows what is gone.
#[test]
fn what_was_expunged_is_remembered_down_to_a_floor() {
    let (folder, store) = new_store(1);
    let view = store.view().unwrap();
    let inbox = mailbox(&view, U1, "INBOX");
    drop(view);
    let mut modseqs = Vec::new();
    for _ in 0..5 {
        let uid = deliver(&store, &[U1], b"x")[0].uid;
        let flags = StoreFlags {
            mailbox: inbox,
            uids: vec![uid],
            change: FlagChange::Add(Flags::system(SystemFlags::DELETED)),
            unchanged_since: None,
        };
        wait(store.store_flags(flags)).unwrap();
        let uids = None;
        wait(store.expunge(Expunge { mailbox: inbox, uids })).unwrap();
        modseqs.push(store.view().unwrap().status(inbox).unwrap().highest_modseq);
    }
    assert_eq!(store.view().unwrap().overgrown(2).unwrap(), [inbox]);
    assert_eq!(store.view().unwrap().overgrown(5).unwrap(), []);
    let prune = |runs_kept| {
        wait(store.ask(PruneVanished {
            mailbox: inbox,
            runs_kept,
        }))
    };
    assert!(!prune(5).unwrap());
    assert!(prune(2).unwrap());
    let view = store.view().unwrap();
    let since = |modseq| view.vanished_since(inbox, modseq).unwrap();
    assert_eq!(since(ModSeq(0)), Vanished::BelowFloor);
    assert_eq!(since(modseqs[1]), Vanished::BelowFloor);
    let uids = |numbers: &[u32]| Vanished::Uids(numbers.iter().filter_map(|uid| Uid::new(*uid)).collect());
    assert_eq!(since(modseqs[2]), uids(&[4, 5]));
    assert_eq!(since(modseqs[4]), uids(&[]));
    drop(view);
    assert_eq!(wait(store.prune_vanished()).unwrap(), 0);
    finish_anew(&folder, store);
}
