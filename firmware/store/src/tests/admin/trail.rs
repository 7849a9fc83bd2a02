//! Passwords for programs, settings, and the audit trail.

use super::*;

fn setting(text: &str) -> SettingName {
    SettingName::parse(text).unwrap()
}

fn value(octets: &[u8]) -> SettingValue {
    SettingValue {
        version: 1,
        octets: octets.to_vec(),
    }
}

/// L4
#[test]
fn l4_passwords_for_programs_come_are_used_and_go() {
    let (folder, store) = new_store(2);
    let add = |account, label: &str| {
        wait(store.add_app_password(AddAppPassword {
            account,
            label: label.to_owned(),
            verifier: "v".to_owned(),
            scopes: Scopes::IMAP.with(Scopes::SUBMISSION),
            created: Timestamp(1_790_000_000),
        }))
    };
    let phone = add(U1, "phone").unwrap();
    let scanner = add(U1, "scanner").unwrap();
    assert!(matches!(add(AccountId(9), "x"), Err(StoreError::NoAccount)));
    assert!(matches!(
        add(U1, &"x".repeat(257)),
        Err(StoreError::TooLarge { .. })
    ));
    let used = |at| {
        wait(store.app_password_used(AppPasswordUsed {
            account: U1,
            id: phone,
            at: Timestamp(at),
        }))
        .unwrap();
        store.view().unwrap().app_passwords(U1).unwrap()[0].last_used
    };
    assert_eq!(used(1_790_000_000), Some(Timestamp(1_790_000_000)));
    assert_eq!(used(1_790_086_399), Some(Timestamp(1_790_000_000)), "coarsely");
    assert_eq!(used(1_790_086_400), Some(Timestamp(1_790_086_400)));
    assert_eq!(used(0), Some(Timestamp(0)), "the clock was wrong then, or is now");
    let change = ChangeAppPassword {
        account: U1,
        id: scanner,
        label: "Scanner".to_owned(),
        scopes: Scopes::SUBMISSION,
    };
    wait(store.change_app_password(change)).unwrap();
    let remove = |account, id| wait(store.remove_app_password(RemoveAppPassword { account, id }));
    assert!(
        matches!(remove(U2, phone), Err(StoreError::NoAppPassword)),
        "another's"
    );
    remove(U1, phone).unwrap();
    assert!(add(U1, "tablet").unwrap() > scanner, "no number is given twice");
    let labels: Vec<String> = store
        .view()
        .unwrap()
        .app_passwords(U1)
        .unwrap()
        .into_iter()
        .map(|p| p.label)
        .collect();
    assert_eq!(labels, ["Scanner", "tablet"]);
    for _ in 2..50 {
        add(U1, "more").unwrap();
    }
    assert!(matches!(add(U1, "too many"), Err(StoreError::TooMany { .. })));
    finish_anew(&folder, store);
}

#[test]
fn settings_are_set_together_or_not_at_all() {
    let (folder, store) = new_store(2);
    for bad in ["", "/", "a//b", "Smtp/host", "a b", "a/"] {
        assert_eq!(SettingName::parse(bad), None, "{bad:?}");
    }
    let set = |account, values: &[(&str, Option<SettingValue>)]| {
        let values = values
            .iter()
            .map(|(name, value)| (setting(name), value.clone()))
            .collect();
        wait(store.set_settings(SetSettings { account, values }))
    };
    set(
        None,
        &[
            ("smtp/host", Some(value(b"h"))),
            ("smtp/port25", Some(value(b"1"))),
            ("tls/key", Some(value(b"k"))),
        ],
    )
    .unwrap();
    set(Some(U2), &[("web/language", Some(value(b"cs")))]).unwrap();
    let large = value(&vec![0; SETTING_OCTETS_MAX + 1]);
    assert!(matches!(
        set(None, &[("smtp/host", None), ("tls/chain", Some(large))]),
        Err(StoreError::TooLarge { .. })
    ));
    assert!(matches!(
        set(Some(AccountId(9)), &[("web/language", None)]),
        Err(StoreError::NoAccount)
    ));
    set(None, &[("smtp/port25", None), ("smtp/host", Some(value(b"i")))]).unwrap();
    let view = store.view().unwrap();
    assert_eq!(
        view.settings(None, "smtp/").unwrap(),
        [(setting("smtp/host"), value(b"i"))]
    );
    assert_eq!(view.settings(None, "").unwrap().len(), 2, "the box's alone");
    assert_eq!(
        view.setting(Some(U2), &setting("web/language")).unwrap(),
        Some(value(b"cs"))
    );
    assert_eq!(view.setting(None, &setting("web/language")).unwrap(), None);
    drop(view);
    wait(store.delete_account(DeleteAccount { account: U2 })).unwrap();
    assert_eq!(store.view().unwrap().settings(Some(U2), "").unwrap(), []);
    finish_anew(&folder, store);
}

fn audit_entry(at: i64, object: &str) -> AuditEntry {
    AuditEntry {
        at: Timestamp(at),
        account: Some(U1),
        actor: "u1@example.org".to_owned(),
        origin: "192.0.2.7".to_owned(),
        action: "account.change".to_owned(),
        object: object.to_owned(),
        details: String::new(),
    }
}

/// D3: a change and the line about it are one record.
#[test]
fn d3_a_change_and_its_line_in_the_trail_are_one() {
    let (folder, store) = new_store(2);
    let off = ChangeAccount {
        account: U2,
        change: AccountChange {
            is_enabled: Some(false),
            ..AccountChange::default()
        },
    };
    let object = "ž".repeat(600);
    wait(store.audited(audit_entry(1, &object)).change_account(off.clone())).unwrap();
    assert!(!store.view().unwrap().account(U2).unwrap().unwrap().is_enabled);
    // Nothing to be done, and nothing done: no line.
    wait(store.audited(audit_entry(2, "u2")).change_account(off)).unwrap();
    let delete = DeleteAccount { account: U1 };
    assert!(matches!(
        wait(store.audited(audit_entry(3, "u1")).delete_account(delete)),
        Err(StoreError::LastOwner)
    ));
    wait(store.audit(audit_entry(4, "login"))).unwrap();
    let view = store.view().unwrap();
    let (lines, next) = view.audit(None, 10, |_| true).unwrap();
    assert_eq!(next, None);
    let told: Vec<(i64, usize)> = lines
        .iter()
        .map(|line| (line.entry.at.0, line.entry.object.len()))
        .collect();
    assert_eq!(
        told,
        [(4, 5), (1, 1024)],
        "the newest first, and long texts cut at a character"
    );
    drop(view);
    finish_anew(&folder, store);
}

#[test]
fn the_trail_is_listed_in_pages_and_forgets_what_is_old() {
    let (folder, store) = new_store(1);
    for number in 0..10 {
        // The clock was wrong once.
        let at = if number == 4 { 1000 } else { number };
        wait(store.audit(audit_entry(at, &format!("o{}", number % 2)))).unwrap();
    }
    let view = store.view().unwrap();
    let odd = |entry: &AuditEntry| entry.object == "o1";
    let (lines, next) = view.audit(None, 2, odd).unwrap();
    assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [10, 8]);
    let (lines, next) = view.audit(next, 10, odd).unwrap();
    assert_eq!(
        (lines.iter().map(|line| line.number).collect::<Vec<_>>(), next),
        (vec![6, 4, 2], None)
    );
    drop(view);
    wait(store.prune_audit(Timestamp(8))).unwrap();
    let numbers = || -> Vec<u64> {
        let (lines, _) = store.view().unwrap().audit(None, 100, |_| true).unwrap();
        lines.iter().map(|line| line.number).collect()
    };
    assert_eq!(
        numbers(),
        [10, 9, 8, 7, 6, 5],
        "one from a wrong clock keeps those behind it"
    );
    wait(store.prune_audit(Timestamp(1001))).unwrap();
    assert_eq!(numbers(), Vec::<u64>::new());
    wait(store.audit(audit_entry(1, "o"))).unwrap();
    assert_eq!(numbers(), [11]);
    finish_anew(&folder, store);
}
