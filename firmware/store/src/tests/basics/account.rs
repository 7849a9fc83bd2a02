//! Accounts, mailboxes and quotas.

use super::super::*;
use super::*;

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
    assert!(matches!(rename("job", "INBOX"), Err(StoreError::IsInbox)));

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
