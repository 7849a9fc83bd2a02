//! Accounts, domains, aliases and roles.

use super::*;

/// C4, D3: what was decided about an account is there after the index was made anew.
#[test]
fn d3_accounts_come_change_and_go_with_all_that_is_in_them() {
    let (folder, store) = new_store(2);
    let anna = create(&store, "Anna@Example.org", AccountDetails::default()).unwrap();
    assert!(matches!(
        create(&store, "anna@example.org", AccountDetails::default()),
        Err(StoreError::AddressTaken(_))
    ));
    assert!(matches!(
        create(&store, "anna@example.com", AccountDetails::default()),
        Err(StoreError::UnknownDomain(_))
    ));
    assert!(
        matches!(
            create(&store, "office@example.org", AccountDetails::default()),
            Err(StoreError::AddressTaken(_))
        ),
        "an alias has it, and keeps no copy"
    );
    deliver(&store, &[anna, U1], &noise(1, 1000));
    let bin = AccountChange {
        is_enabled: Some(false),
        display_name: Some("Anna Nová".to_owned()),
        delete_after: Some(Some(Timestamp(1_800_000_000))),
        ..AccountChange::default()
    };
    change(&store, anna, bin).unwrap();
    let view = store.view().unwrap();
    let account = view.account(anna).unwrap().unwrap();
    assert!(!account.is_enabled && account.details.display_name == "Anna Nová");
    assert_eq!(view.accounts_due(Timestamp(1_799_999_999)).unwrap(), []);
    assert_eq!(view.accounts_due(Timestamp(1_800_000_000)).unwrap(), [account]);
    assert_eq!(view.mailboxes(anna).unwrap().len(), 6);
    let found = view
        .accounts_of(&domain("example.org"), &find("nOVÁ", None, 10))
        .unwrap();
    assert_eq!(
        found.found.iter().map(|account| account.id).collect::<Vec<_>>(),
        [anna]
    );
    drop(view);
    wait(store.rename_account(RenameAccount {
        account: anna,
        address: address("anna.nova@example.org"),
    }))
    .unwrap();
    let view = store.view().unwrap();
    assert_eq!(
        view.account_by_address(&address("anna@example.org")).unwrap(),
        None
    );
    assert_eq!(
        view.account_by_address(&address("ANNA.nova@example.org"))
            .unwrap()
            .unwrap()
            .id,
        anna
    );
    drop(view);
    wait(store.delete_account(DeleteAccount { account: anna })).unwrap();
    let view = store.view().unwrap();
    assert_eq!(
        (view.account(anna).unwrap(), view.mailboxes(anna).unwrap()),
        (None, vec![])
    );
    assert_eq!(store.check().unwrap().messages, 1, "the other's copy is there");
    drop(view);
    let again = create(&store, "anna@example.org", AccountDetails::default()).unwrap();
    assert!(again > anna, "no number is given twice");
    finish_anew(&folder, store);
}

/// Somebody can always administer the box.
#[test]
fn the_last_owner_stays() {
    let (folder, store) = new_store(2);
    let view = store.view().unwrap();
    assert_eq!(
        view.roles().unwrap(),
        [(U1, Role::Owner)],
        "who claimed the box owns it"
    );
    assert_eq!(view.admins_of(&domain("example.org")).unwrap(), [U1], "C6");
    drop(view);
    let off = || AccountChange {
        is_enabled: Some(false),
        ..AccountChange::default()
    };
    let role = |account, role| wait(store.set_role(SetRole { account, role }));
    let remove = RemoveDomain {
        domain: domain("example.org"),
        with_all: true,
    };
    assert!(matches!(change(&store, U1, off()), Err(StoreError::LastOwner)));
    assert!(matches!(role(U1, None), Err(StoreError::LastOwner)));
    assert!(matches!(
        wait(store.remove_domain(remove)),
        Err(StoreError::LastOwner)
    ));
    let delete = DeleteAccount { account: U1 };
    assert!(matches!(
        wait(store.delete_account(delete)),
        Err(StoreError::LastOwner)
    ));
    role(U2, Some(Role::Owner)).unwrap();
    role(U1, Some(Role::Domains(vec![domain("example.org")]))).unwrap();
    assert_eq!(
        store.view().unwrap().admins_of(&domain("example.org")).unwrap(),
        [U1]
    );
    assert!(matches!(
        role(U1, Some(Role::Domains(vec![domain("example.com")]))),
        Err(StoreError::UnknownDomain(_))
    ));
    change(&store, U1, off()).unwrap();
    assert!(matches!(change(&store, U2, off()), Err(StoreError::LastOwner)));
    finish_anew(&folder, store);
}

/// S8, D34: octets and messages, also those of a whole domain.
#[test]
fn d34_quotas_hold_in_octets_and_in_messages() {
    let (folder, store) = new_store(1);
    wait(store.add_domain(AddDomain {
        domain: domain("example.net"),
        details: DomainDetails {
            accounts_max: Some(2),
            quota_octets_max: Some(1000),
            ..DomainDetails::default()
        },
    }))
    .unwrap();
    let quota = |octets, messages| AccountDetails {
        quota_octets: octets,
        quota_messages: messages,
        ..AccountDetails::default()
    };
    let limit = |result: Result<AccountId, StoreError>, expected| {
        assert!(matches!(result, Err(StoreError::DomainLimit { limit, .. }) if limit == expected));
    };
    limit(
        create(&store, "a@example.net", quota(None, None)),
        DomainLimit::Quota,
    );
    let a = create(&store, "a@example.net", quota(Some(600), Some(2))).unwrap();
    limit(
        create(&store, "b@example.net", quota(Some(401), None)),
        DomainLimit::Quota,
    );
    create(&store, "b@example.net", quota(Some(400), None)).unwrap();
    limit(
        create(&store, "c@example.net", quota(Some(0), None)),
        DomainLimit::Accounts,
    );
    let more = AccountChange {
        quota_octets: Some(Some(601)),
        ..AccountChange::default()
    };
    assert!(matches!(
        change(&store, a, more),
        Err(StoreError::DomainLimit { .. })
    ));
    let view = store.view().unwrap();
    let hosted = view.hosted_domain(&domain("example.net")).unwrap().unwrap();
    assert_eq!((hosted.accounts, hosted.quota_octets), (2, 1000));
    let drafts = mailbox(&view, a, "Drafts");
    drop(view);
    let append = |count: usize| {
        let message = || NewMessage {
            body: body(&store, b"0123456789"),
            structure: Vec::new(),
            flags: Flags::default(),
            internal_date: InternalDate::utc(Timestamp(0)),
        };
        let append = Append {
            account: a,
            mailbox: drafts,
            messages: (0..count).map(|_| message()).collect(),
        };
        wait(store.append_at(append, Timestamp(1_790_000_005)))
    };
    assert!(matches!(append(3), Err(StoreError::OverQuota)));
    let uid = append(1).unwrap().uids[0];
    let copy = |is_move| {
        let view = store.view().unwrap();
        let copy = Copy {
            from: drafts,
            uids: vec![Uid::FIRST],
            to: mailbox(&view, a, "Archive"),
            is_move,
        };
        drop(view);
        wait(store.copy_at(copy, Timestamp(1_790_000_009)))
    };
    copy(false).unwrap();
    assert!(matches!(append(1), Err(StoreError::OverQuota)));
    assert!(matches!(copy(false), Err(StoreError::OverQuota)));
    copy(true).unwrap();
    // What was let in when the recipient was named is delivered.
    deliver(&store, &[a], b"let in");
    let view = store.view().unwrap();
    assert!(view.account(a).unwrap().unwrap().is_over_quota_with(0));
    // RFC 8514: a copy was saved when it was made.
    let archive = mailbox(&view, a, "Archive");
    let messages = [1, 2].map(|uid| view.message(archive, Uid::new(uid).unwrap()).unwrap().unwrap());
    assert_eq!(messages[0].saved, Some(Timestamp(1_790_000_009)));
    assert_eq!(
        messages[0].email_id(),
        messages[1].email_id(),
        "RFC 8474: copies have one EMAILID"
    );
    assert_eq!(uid, Uid::FIRST);
    drop(view);
    finish_anew(&folder, store);
}

/// H4, H5, and what a domain takes along.
#[test]
fn h4_domains_come_and_go_and_no_two_have_one_server_name() {
    let (folder, store) = new_store(1);
    let add = |text: &str, alias_of: Option<&str>| {
        let details = DomainDetails {
            alias_of: alias_of.map(domain),
            ..DomainDetails::default()
        };
        wait(store.add_domain(AddDomain {
            domain: domain(text),
            details,
        }))
    };
    let remove = |text: &str, with_all| {
        wait(store.remove_domain(RemoveDomain {
            domain: domain(text),
            with_all,
        }))
    };
    add("a.b.cz", None).unwrap();
    assert!(
        matches!(add("a--b.cz", None), Err(StoreError::ServerNameTaken { by, .. }) if by == domain("a.b.cz"))
    );
    assert!(matches!(add("A.b.cz", None), Err(StoreError::DomainExists(_))));
    // H5
    add("o2.cz", None).unwrap();
    add("o2-cz.eu", None).unwrap();
    add("o2.cz.eu", None).unwrap();
    let label = |text: &str| {
        let hosted = store
            .view()
            .unwrap()
            .hosted_domain(&domain(text))
            .unwrap()
            .unwrap();
        hosted.published_label().to_owned()
    };
    assert_eq!(label("a.b.cz"), "a--b--cz");
    assert_eq!(label("o2.cz"), "m-o2-cz");
    assert_eq!(label("o2-cz.eu"), "o2-cz--eu");
    assert_eq!(label("o2.cz.eu"), "m-o2-cz-eu");
    let long = format!("{}.{}.cz", "a".repeat(40), "b".repeat(40));
    add(&long, None).unwrap();
    assert!(label(&long).len() <= 63);

    add("b.example.org", Some("example.org")).unwrap();
    assert!(matches!(
        add("c.org", Some("b.example.org")),
        Err(StoreError::IsAliasDomain(_))
    ));
    assert!(matches!(
        add("c.org", Some("d.org")),
        Err(StoreError::UnknownDomain(_))
    ));
    assert!(matches!(
        create(&store, "x@b.example.org", AccountDetails::default()),
        Err(StoreError::IsAliasDomain(_))
    ));
    let view = store.view().unwrap();
    assert_eq!(
        view.canonical(&address("U1@B.example.org")).unwrap(),
        Some(address("U1@example.org"))
    );
    assert_eq!(view.canonical(&address("u1@elsewhere.org")).unwrap(), None);
    assert!(view.may_send_as(U1, &address("u1@b.example.org")).unwrap(), "P9");
    drop(view);
    assert!(matches!(
        remove("example.org", true),
        Err(StoreError::DomainInUse(_))
    ));
    remove("b.example.org", false).unwrap();

    let x = create(&store, "x@o2.cz", AccountDetails::default()).unwrap();
    set_alias(&store, alias("y@o2.cz", &["x@o2.cz"])).unwrap();
    deliver(&store, &[x], b"soon gone");
    wait(store.set_role(SetRole {
        account: x,
        role: Some(Role::Domains(vec![domain("o2.cz"), domain("a.b.cz")])),
    }))
    .unwrap();
    wait(store.set_role(SetRole {
        account: U1,
        role: Some(Role::Owner),
    }))
    .unwrap();
    assert!(matches!(remove("o2.cz", false), Err(StoreError::DomainInUse(_))));
    remove("o2.cz", true).unwrap();
    let view = store.view().unwrap();
    assert_eq!(view.account(x).unwrap(), None);
    assert!(!view.domain(&domain("o2.cz")).unwrap());
    assert_eq!(view.alias(&address("y@o2.cz")).unwrap(), None);
    assert_eq!(view.roles().unwrap(), [(U1, Role::Owner)]);
    drop(view);
    finish_anew(&folder, store);
}

/// C3, R2, R3, R4, P9
#[test]
#[allow(clippy::too_many_lines)]
fn r3_aliases_are_made_changed_and_removed_and_never_lead_in_a_circle() {
    let (folder, store) = new_store(2);
    for pattern in ["*@example.org", "sales*@example.org", "?@example.org"] {
        assert!(
            matches!(
                set_alias(&store, alias(pattern, &["u1@example.org"])),
                Err(StoreError::CatchAll(_))
            ),
            "C3: {pattern}"
        );
    }
    assert!(matches!(
        create(&store, "*@example.org", AccountDetails::default()),
        Err(StoreError::CatchAll(_))
    ));
    let many: Vec<String> = (0..101).map(|number| format!("t{number}@example.com")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(matches!(
        set_alias(&store, alias("x@example.org", &many)),
        Err(StoreError::TooMany { .. })
    ));
    assert!(matches!(
        set_alias(&store, alias("x@example.org", &[])),
        Err(StoreError::TooMany { .. })
    ));
    set_alias(&store, alias("x@example.org", &many[..100])).unwrap();

    // R3: itself plus others keeps a copy.
    set_alias(
        &store,
        alias("u1@example.org", &["U1@example.org", "a@example.org"]),
    )
    .unwrap();
    assert!(
        store
            .view()
            .unwrap()
            .alias(&address("u1@example.org"))
            .unwrap()
            .unwrap()
            .keeps_a_copy()
    );
    // R4, also by way of aliases that come in the same request.
    set_alias(&store, alias("a@example.org", &["b@example.org"])).unwrap();
    assert!(matches!(
        set_alias(
            &store,
            alias("b@example.org", &["else@example.com", "U1@example.org"])
        ),
        Err(StoreError::RedirectLoop(_))
    ));
    let circle = vec![
        alias("c@example.org", &["d@example.org"]),
        alias("d@example.org", &["c@example.org"]),
    ];
    assert!(matches!(
        wait(store.set_aliases(SetAliases { aliases: circle })),
        Err(StoreError::RedirectLoop(_))
    ));
    let off = Alias {
        is_enabled: false,
        ..alias("a@example.org", &["b@example.org"])
    };
    set_alias(&store, off).unwrap();
    assert_eq!(
        store.view().unwrap().redirect(&address("a@example.org")).unwrap(),
        None
    );
    set_alias(&store, alias("b@example.org", &["u1@example.org"])).unwrap();
    assert!(
        matches!(
            set_alias(&store, alias("a@example.org", &["b@example.org"])),
            Err(StoreError::RedirectLoop(_))
        ),
        "one that is switched on closes the circle"
    );

    // R2, P9
    let own = Alias {
        owner: Some(U1),
        senders: vec![U2],
        ..alias("shop@example.org", &["u1@example.org"])
    };
    set_alias(&store, own).unwrap();
    let view = store.view().unwrap();
    for (account, text, may) in [
        (U1, "Shop@example.org", true),
        (U2, "shop@example.org", true),
        (U2, "u2@example.org", true),
        (U2, "u1@example.org", false),
        (U2, "x@example.org", false),
        (U2, "u2@example.com", false),
    ] {
        assert_eq!(view.may_send_as(account, &address(text)).unwrap(), may, "{text}");
    }
    assert_eq!(view.aliases_of_sender(U2).unwrap().len(), 1);
    drop(view);
    wait(store.delete_account(DeleteAccount { account: U2 })).unwrap();
    let shop = store
        .view()
        .unwrap()
        .alias(&address("shop@example.org"))
        .unwrap()
        .unwrap();
    assert_eq!((shop.owner, shop.senders), (Some(U1), vec![]));
    let addresses = vec![address("SHOP@example.org"), address("nobody@example.org")];
    wait(store.remove_aliases(RemoveAliases { addresses })).unwrap();
    assert_eq!(
        store.view().unwrap().alias(&address("shop@example.org")).unwrap(),
        None
    );
    finish_anew(&folder, store);
}

/// R1: ten thousand in a domain; a page reads its own rows only.
#[test]
fn r1_aliases_are_listed_page_by_page_and_searched() {
    let (folder, store) = new_store(1);
    wait(store.add_domain(AddDomain {
        domain: domain("example.net"),
        details: DomainDetails {
            aliases_max: Some(10_000),
            ..DomainDetails::default()
        },
    }))
    .unwrap();
    let text = |number: u32| format!("n{number:05}@example.net");
    for first in (0..10_000).step_by(1000) {
        let aliases = (first..first + 1000)
            .map(|number| alias(&text(number), &[&format!("u{}@example.org", number % 7)]))
            .collect();
        wait(store.set_aliases(SetAliases { aliases })).unwrap();
    }
    assert!(matches!(
        set_alias(&store, alias("more@example.net", &["u1@example.org"])),
        Err(StoreError::DomainLimit { .. })
    ));
    let view = store.view().unwrap();
    let all = |text: &str| {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = view
                .aliases_of(&domain("example.net"), &find(text, after, 50))
                .unwrap();
            assert!(page.found.len() <= 50);
            found.extend(page.found.into_iter().map(|alias| alias.address.to_string()));
            pages += 1;
            after = page.next;
            if after.is_none() {
                return (found, pages);
            }
        }
    };
    let (found, pages) = all("");
    assert_eq!((found.len(), pages), (10_000, 200));
    assert!(found.is_sorted());
    assert_eq!(all("N0123").0.len(), 10);
    assert_eq!(all("u3@").0.len(), 1429, "by target");
    assert_eq!(all("nowhere").0, Vec::<String>::new());
    let rest = view
        .aliases_of(&domain("example.org"), &find("", None, 50))
        .unwrap();
    assert_eq!(
        (rest.found.len(), rest.next),
        (1, None),
        "another domain's are not among them"
    );
    drop(view);
    finish_anew(&folder, store);
}
