use super::*;
use crate::log::frames::Frame;
use mail::{
    AccountId, Address, Domain, Flags, InternalDate, MailboxId, MailboxName, ModSeq, ReversePath, Uid,
    UidValidity,
};
use mail::{Keyword, SystemFlags, Timestamp};
use proptest::prelude::*;

fn flags() -> impl Strategy<Value = Flags> {
    (0..32_u8, proptest::collection::btree_set("[a-z$]{1,12}", 0..4)).prop_map(|(system, keywords)| Flags {
        system: SystemFlags(system),
        keywords: keywords
            .iter()
            .map(|keyword| Keyword::parse(keyword).unwrap())
            .collect(),
    })
}

fn uid() -> impl Strategy<Value = Uid> {
    (1..=u32::MAX).prop_map(|number| Uid::new(number).unwrap())
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        any::<u64>().prop_map(|offset| Place::Batch { offset }),
        any::<u64>().prop_map(|number| Place::File { number }),
    ]
}

fn body() -> impl Strategy<Value = BodyRecord> {
    let frame = (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(octets, stored_octets, sum)| Frame {
        octets,
        stored_octets,
        sum,
    });
    let frames = proptest::collection::vec(frame, 0..5);
    (any::<u64>(), place(), any::<u64>(), frames, any::<Vec<u8>>()).prop_map(
        |(id, place, octets, frames, structure)| BodyRecord {
            id,
            place,
            octets,
            frames,
            structure,
        },
    )
}

fn message() -> impl Strategy<Value = MessageRecord> {
    let ids = (any::<u32>(), any::<u32>(), uid(), any::<u64>(), any::<u64>());
    (ids, any::<Vec<u8>>(), flags(), any::<i32>(), -1439..1440_i16).prop_map(
        |((account, mailbox, uid, modseq, body), prefix, flags, seconds, offset)| MessageRecord {
            account: AccountId(account),
            mailbox: MailboxId(mailbox),
            uid,
            modseq: ModSeq(modseq),
            body,
            prefix,
            flags,
            internal_date: InternalDate::new(Timestamp(seconds.into()), offset),
        },
    )
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn any_address() -> impl Strategy<Value = Address> {
    ("[a-z]{1,8}", "[a-z]{1,8}[.]cz").prop_map(|(name, domain)| address(&format!("{name}@{domain}")))
}

fn account() -> impl Strategy<Value = AccountId> {
    any::<u32>().prop_map(AccountId)
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..9)
}

fn state() -> impl Strategy<Value = RecipientState> {
    let status = prop_oneof![
        Just(RecipientStatus::Waiting),
        Just(RecipientStatus::Delivered),
        Just(RecipientStatus::Failed)
    ];
    let attempt =
        (timestamp(), ".{0,9}", ".{0,9}").prop_map(|(at, remote, words)| Attempt { at, remote, words });
    let latest = proptest::collection::vec(attempt, 0..3);
    (
        status,
        any::<u32>(),
        any::<u64>(),
        timestamp(),
        any::<bool>(),
        latest,
    )
        .prop_map(
            |(status, attempts, waited_seconds, next_attempt, is_sender_warned, latest)| RecipientState {
                status,
                attempts,
                waited_seconds,
                next_attempt,
                is_sender_warned,
                latest,
            },
        )
}

fn settled() -> impl Strategy<Value = EntrySettled> {
    let recipients = proptest::collection::vec((any::<u32>(), state()), 0..3);
    (any::<u64>(), recipients, any::<bool>()).prop_map(|(entry, recipients, is_done)| EntrySettled {
        entry,
        recipients,
        is_done,
    })
}

fn queued() -> impl Strategy<Value = EntryRecord> {
    let recipient = (any_address(), "[a-z.]{0,9}", octets(), timestamp()).prop_map(
        |(address, destination, parameters, next_attempt)| RecipientRecord {
            address,
            destination,
            parameters,
            next_attempt,
        },
    );
    let reverse_path = prop_oneof![
        Just(ReversePath::Null),
        any_address().prop_map(ReversePath::Address)
    ];
    let ids = (
        any::<u64>(),
        any::<u64>(),
        proptest::option::of(account()),
        timestamp(),
    );
    let texts = (".{0,9}", proptest::option::of(".{0,9}"));
    let recipients = proptest::collection::vec(recipient, 0..3);
    (ids, octets(), reverse_path, texts, octets(), recipients).prop_map(
        |((id, body, account, queued), prefix, reverse_path, (trace, hold), parameters, recipients)| {
            EntryRecord {
                id,
                body,
                prefix,
                reverse_path,
                account,
                trace,
                queued,
                parameters,
                hold,
                recipients,
            }
        },
    )
}

fn appended() -> impl Strategy<Value = Appended> {
    let token = (".{0,9}", any_address(), timestamp()).prop_map(|(token, sender, expires)| TokenRecord {
        token,
        sender,
        expires,
    });
    (
        proptest::collection::vec(body(), 0..3),
        proptest::collection::vec(message(), 0..4),
        proptest::option::of(timestamp()),
        proptest::collection::vec(queued(), 0..3),
        proptest::collection::vec(settled(), 0..3),
        proptest::collection::vec(token, 0..3),
    )
        .prop_map(|(bodies, messages, saved, entries, settled, tokens)| Appended {
            bodies,
            messages,
            saved,
            entries,
            settled,
            tokens,
        })
}

fn details() -> impl Strategy<Value = AccountDetails> {
    let number = || proptest::option::of(any::<u64>());
    let time = || proptest::option::of(timestamp());
    (any::<bool>(), ".{0,9}", (number(), number()), (time(), time())).prop_map(
        |(is_enabled, display_name, (quota_octets, quota_messages), (expires, delete_after))| {
            AccountDetails {
                is_enabled,
                display_name,
                quota_octets,
                quota_messages,
                expires,
                delete_after,
            }
        },
    )
}

/// What an owner does.
#[allow(clippy::too_many_lines)]
fn administration() -> impl Strategy<Value = Mutation> {
    let domain = || "[a-z]{1,8}[.]cz".prop_map(|text| Domain::parse(&text).unwrap());
    let change = prop_oneof![
        (account(), any_address(), details(), timestamp()).prop_map(|(id, address, details, created)| {
            Mutation::CreateAccount(AccountCreated {
                id,
                address,
                verifier: "$v".to_owned(),
                details,
                created,
                mailboxes: vec![sent()],
            })
        }),
        (account(), details()).prop_map(|(account, details)| Mutation::SetAccountDetails(
            AccountDetailsSet { account, details }
        )),
        (account(), any_address())
            .prop_map(|(account, address)| Mutation::RenameAccount(AccountRenamed { account, address })),
        account().prop_map(|account| Mutation::DeleteAccount(AccountDeleted { account })),
        (
            account(),
            any::<u32>(),
            ".{0,9}",
            any::<u16>(),
            timestamp(),
            proptest::option::of(timestamp())
        )
            .prop_map(|(account, id, label, scopes, created, last_used)| {
                Mutation::SetAppPassword(AppPasswordSet {
                    account,
                    id,
                    label,
                    verifier: "$v".to_owned(),
                    scopes: Scopes(scopes),
                    created,
                    last_used,
                })
            }),
        (
            domain(),
            proptest::option::of(any::<u32>()),
            proptest::option::of(domain())
        )
            .prop_map(|(domain, accounts_max, alias_of)| {
                let details = DomainDetails {
                    accounts_max,
                    alias_of,
                    ..DomainDetails::default()
                };
                Mutation::SetDomain(DomainSet {
                    domain,
                    details,
                    alternative_label: None,
                })
            }),
        domain().prop_map(|domain| Mutation::RemoveDomain(DomainRemoved { domain })),
        (
            account(),
            proptest::option::of(proptest::collection::vec(domain(), 0..3))
        )
            .prop_map(|(account, domains)| Mutation::SetRole(RoleSet {
                account,
                role: domains.map(Role::Domains),
            })),
        proptest::collection::vec((any_address(), any_address(), any::<bool>(), account()), 0..3).prop_map(
            |aliases| {
                let alias = |(address, target, is_enabled, owner)| Alias {
                    is_enabled,
                    owner: Some(owner),
                    ..Alias::new(address, vec![target])
                };
                Mutation::SetAliases(AliasesSet {
                    aliases: aliases.into_iter().map(alias).collect(),
                })
            }
        ),
        (
            proptest::option::of(account()),
            ".{0,9}",
            proptest::option::of((any::<u16>(), octets()))
        )
            .prop_map(|(account, name, value)| {
                let value = value.map(|(version, octets)| SettingValue { version, octets });
                Mutation::SetSettings(SettingsSet {
                    account,
                    values: vec![(name, value)],
                })
            }),
        proptest::collection::vec(settled(), 0..3)
            .prop_map(|entries| Mutation::SettleQueue(QueueSettled { entries })),
        (
            any::<u32>(),
            any::<u32>(),
            any::<bool>(),
            proptest::option::of(any::<u16>())
        )
            .prop_map(
                |(mailbox, account, is_negative, rights)| Mutation::SetAcl(AclSet {
                    mailbox: MailboxId(mailbox),
                    subject: AclSubject::Account(AccountId(account)),
                    is_negative,
                    rights: rights.map(Rights),
                })
            ),
    ];
    (
        change,
        proptest::option::of((any::<u64>(), timestamp(), ".{0,9}")),
    )
        .prop_map(|(change, audited)| {
            let Some((number, at, text)) = audited else {
                return change;
            };
            let entry = AuditEntry {
                at,
                ..audit_entry(&text)
            };
            Mutation::Audit(Audited::new(number, entry, Some(&change)))
        })
}

fn audit_entry(text: &str) -> AuditEntry {
    AuditEntry {
        at: Timestamp(1_000_000_000),
        account: Some(AccountId(1)),
        actor: text.to_owned(),
        origin: "192.0.2.1".to_owned(),
        action: "account.quota".to_owned(),
        object: "a@example.org".to_owned(),
        details: "1 → 2".to_owned(),
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let id = || any::<u32>().prop_map(MailboxId);
    let modseq = || any::<u64>().prop_map(ModSeq);
    let vec = proptest::collection::vec::<BoxedStrategy<Uid>>;
    prop_oneof![
        appended().prop_map(Mutation::Append),
        administration(),
        (id(), modseq(), proptest::collection::vec((uid(), flags()), 0..5)).prop_map(
            |(mailbox, modseq, messages)| Mutation::Flags(FlagsSet {
                mailbox,
                modseq,
                messages
            })
        ),
        (id(), modseq(), vec(uid().boxed(), 0..9)).prop_map(|(mailbox, modseq, uids)| Mutation::Expunge(
            Expunged {
                mailbox,
                modseq,
                uids
            }
        )),
        (
            id(),
            id(),
            modseq(),
            proptest::collection::vec((uid(), uid()), 0..5),
            any::<bool>(),
            proptest::option::of(timestamp()),
            proptest::option::of(modseq()),
        )
            .prop_map(
                |(from, to, modseq, messages, is_move, saved, modseq_from)| Mutation::Copy(Copied {
                    from,
                    to,
                    modseq,
                    messages,
                    is_move,
                    saved,
                    modseq_from,
                })
            ),
        proptest::collection::vec(body(), 0..3).prop_map(|bodies| Mutation::Relocate(Relocated { bodies })),
        (id(), any::<bool>()).prop_map(|(mailbox, is_subscribed)| Mutation::Subscribe(Subscribed {
            mailbox,
            is_subscribed
        })),
        (any::<u32>(), ".*").prop_map(|(account, verifier)| Mutation::SetVerifier(VerifierSet {
            account: AccountId(account),
            verifier
        })),
        any::<u64>().prop_map(|damaged_batch| Mutation::Step(Stepped { damaged_batch })),
        any::<u64>().prop_map(|batch| Mutation::Restored(Restored { batch })),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(mutation in mutation()) {
        let meta = mutation.encode();
        let decoded = Mutation::decode(mutation.kind(), mutation.version(), &meta);
        prop_assert_eq!(decoded, Ok(mutation));
    }

    #[test]
    fn any_octets_are_a_record_or_an_error(kind in 0..96_u16, version in 1..3_u16, meta in any::<Vec<u8>>()) {
        let _ = Mutation::decode(kind, version, &meta);
    }

    #[test]
    fn octets_behind_a_record_are_an_error(mutation in mutation(), more in 1..9_usize) {
        let mut meta = mutation.encode();
        meta.extend(std::iter::repeat_n(0, more));
        let decoded = Mutation::decode(mutation.kind(), mutation.version(), &meta);
        prop_assert_eq!(decoded, Err(DecodeError::Malformed));
    }
}

/// One of each kind.
fn samples() -> Vec<Mutation> {
    [
        account_samples(),
        message_samples(),
        mailbox_samples(),
        step_samples(),
        queue_samples(),
        administration_samples(),
    ]
    .concat()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

fn sent() -> MailboxRecord {
    MailboxRecord {
        id: MailboxId(7),
        name: name("Sent"),
        uid_validity: UidValidity::new(300).unwrap(),
        special_use: Some(SpecialUse::Sent),
        is_subscribed: true,
    }
}

fn account_samples() -> Vec<Mutation> {
    vec![
        Mutation::Provision(Provisioned {
            domains: vec![Domain::parse("example.org").unwrap()],
            accounts: vec![AccountRecord {
                id: AccountId(1),
                address: address("a@example.org"),
                verifier: "$v".to_owned(),
                quota_octets: Some(1000),
                mailboxes: vec![sent()],
            }],
            redirects: vec![RedirectRecord {
                address: address("b@example.org"),
                targets: vec![address("c@example.com")],
            }],
        }),
        Mutation::SetVerifier(VerifierSet {
            account: AccountId(1),
            verifier: "$w".to_owned(),
        }),
        Mutation::CreateAccount(AccountCreated {
            id: AccountId(2),
            address: address("d@example.org"),
            verifier: "$v".to_owned(),
            details: AccountDetails {
                quota_messages: Some(9),
                ..AccountDetails::default()
            },
            created: Timestamp(1_000_000_000),
            mailboxes: vec![sent()],
        }),
        Mutation::SetAccountDetails(AccountDetailsSet {
            account: AccountId(2),
            details: AccountDetails {
                is_enabled: false,
                display_name: "D".to_owned(),
                quota_octets: Some(1000),
                quota_messages: None,
                expires: Some(Timestamp(1_000_000_001)),
                delete_after: Some(Timestamp(1_000_000_002)),
            },
        }),
        Mutation::RenameAccount(AccountRenamed {
            account: AccountId(2),
            address: address("e@example.org"),
        }),
        Mutation::DeleteAccount(AccountDeleted {
            account: AccountId(2),
        }),
        Mutation::SetAppPassword(AppPasswordSet {
            account: AccountId(1),
            id: 3,
            label: "scanner".to_owned(),
            verifier: "$x".to_owned(),
            scopes: Scopes::SUBMISSION,
            created: Timestamp(1_000_000_000),
            last_used: Some(Timestamp(1_000_000_001)),
        }),
        Mutation::RemoveAppPassword(AppPasswordRemoved {
            account: AccountId(1),
            id: 3,
        }),
        Mutation::SetDomain(DomainSet {
            domain: Domain::parse("o2.cz").unwrap(),
            details: DomainDetails {
                is_enabled: true,
                description: "D".to_owned(),
                accounts_max: Some(10),
                aliases_max: Some(20),
                quota_octets_max: Some(3000),
                alias_of: Some(Domain::parse("example.org").unwrap()),
            },
            alternative_label: Some("m-o2-cz".to_owned()),
        }),
        Mutation::RemoveDomain(DomainRemoved {
            domain: Domain::parse("o2.cz").unwrap(),
        }),
        Mutation::SetRole(RoleSet {
            account: AccountId(1),
            role: Some(Role::Domains(vec![Domain::parse("example.org").unwrap()])),
        }),
        Mutation::SetAliases(AliasesSet {
            aliases: vec![Alias {
                address: address("b@example.org"),
                targets: vec![address("a@example.org")],
                is_enabled: true,
                owner: Some(AccountId(1)),
                senders: vec![AccountId(2)],
            }],
        }),
        Mutation::RemoveAliases(AliasesRemoved {
            addresses: vec![address("b@example.org")],
        }),
    ]
}

fn entry() -> EntryRecord {
    EntryRecord {
        id: 4,
        body: 5,
        prefix: b"P".to_vec(),
        reverse_path: ReversePath::Address(address("a@example.org")),
        account: Some(AccountId(1)),
        trace: "t".to_owned(),
        queued: Timestamp(1_000_000_000),
        parameters: vec![1],
        hold: Some("h".to_owned()),
        recipients: vec![RecipientRecord {
            address: address("c@example.com"),
            destination: "example.com".to_owned(),
            parameters: vec![2],
            next_attempt: Timestamp(1_000_000_010),
        }],
    }
}

fn entry_settled() -> EntrySettled {
    let state = RecipientState {
        status: RecipientStatus::Failed,
        attempts: 2,
        waited_seconds: 300,
        next_attempt: Timestamp(1_000_000_310),
        is_sender_warned: true,
        latest: vec![Attempt {
            at: Timestamp(1_000_000_309),
            remote: "mx.example.com".to_owned(),
            words: "550 5.1.1 No".to_owned(),
        }],
    };
    EntrySettled {
        entry: 3,
        recipients: vec![(0, state)],
        is_done: true,
    }
}

fn queue_samples() -> Vec<Mutation> {
    vec![
        Mutation::SettleQueue(QueueSettled {
            entries: vec![entry_settled()],
        }),
        Mutation::HoldQueue(QueueHeld {
            entries: vec![3, 4],
            hold: Some("h".to_owned()),
        }),
        Mutation::DropQueue(QueueDropped { entries: vec![3] }),
        Mutation::PruneTokens(TokensPruned {
            expired_before: Timestamp(1_000_000_000),
        }),
    ]
}

fn administration_samples() -> Vec<Mutation> {
    let deleted = Mutation::DeleteAccount(AccountDeleted {
        account: AccountId(2),
    });
    let value = SettingValue {
        version: 1,
        octets: vec![7, 8],
    };
    vec![
        Mutation::SetSettings(SettingsSet {
            account: None,
            values: vec![
                ("smtp/port25".to_owned(), Some(value)),
                ("smtp/host".to_owned(), None),
            ],
        }),
        Mutation::Audit(Audited::new(6, audit_entry("a"), Some(&deleted))),
        Mutation::PruneAudit(AuditPruned { first_kept: 5 }),
    ]
}

fn message_samples() -> Vec<Mutation> {
    let uid = |number| Uid::new(number).unwrap();
    let mut flags = Flags::system(SystemFlags::SEEN);
    flags.keywords.insert(Keyword::parse("$Junk").unwrap());
    vec![
        Mutation::Append(Appended {
            bodies: vec![BodyRecord {
                id: 5,
                place: Place::Batch { offset: 9 },
                octets: 4,
                frames: vec![Frame {
                    octets: 4,
                    stored_octets: 4,
                    sum: 0x0102_0304_0506_0708,
                }],
                structure: vec![1, 2],
            }],
            messages: vec![MessageRecord {
                account: AccountId(1),
                mailbox: MailboxId(7),
                uid: uid(3),
                modseq: ModSeq(12),
                body: 5,
                prefix: b"P".to_vec(),
                flags: flags.clone(),
                internal_date: InternalDate::new(Timestamp(1_000_000_000), -60),
            }],
            ..Appended::default()
        }),
        Mutation::Append(Appended {
            saved: Some(Timestamp(1_000_000_001)),
            entries: vec![entry()],
            settled: vec![entry_settled()],
            tokens: vec![TokenRecord {
                token: "srs0".to_owned(),
                sender: address("c@example.com"),
                expires: Timestamp(1_000_000_009),
            }],
            ..Appended::default()
        }),
        Mutation::Flags(FlagsSet {
            mailbox: MailboxId(7),
            modseq: ModSeq(13),
            messages: vec![(uid(3), flags)],
        }),
        Mutation::Expunge(Expunged {
            mailbox: MailboxId(7),
            modseq: ModSeq(14),
            uids: vec![uid(3), uid(4)],
        }),
        Mutation::Copy(Copied {
            from: MailboxId(7),
            to: MailboxId(8),
            modseq: ModSeq(15),
            messages: vec![(uid(3), uid(1))],
            is_move: true,
            saved: Some(Timestamp(1_000_000_001)),
            modseq_from: Some(ModSeq(16)),
        }),
        Mutation::Relocate(Relocated {
            bodies: vec![BodyRecord {
                id: 5,
                place: Place::File { number: 2 },
                octets: 4,
                frames: vec![Frame {
                    octets: 4,
                    stored_octets: 3,
                    sum: 0x0102_0304_0506_0708,
                }],
                structure: vec![1, 2],
            }],
        }),
    ]
}

fn mailbox_samples() -> Vec<Mutation> {
    vec![
        Mutation::CreateMailbox(MailboxCreated {
            account: AccountId(1),
            mailboxes: vec![sent()],
        }),
        Mutation::RenameMailboxes(MailboxesRenamed {
            account: AccountId(1),
            names: vec![(MailboxId(7), name("Out"))],
        }),
        Mutation::DeleteMailbox(MailboxDeleted {
            mailbox: MailboxId(7),
        }),
        Mutation::Subscribe(Subscribed {
            mailbox: MailboxId(7),
            is_subscribed: false,
        }),
        Mutation::RenameInbox(InboxRenamed {
            account: AccountId(1),
            mailboxes: vec![sent()],
            modseq: ModSeq(17),
        }),
        Mutation::SetSpecialUses(SpecialUsesSet {
            account: AccountId(1),
            uses: vec![(MailboxId(7), None), (MailboxId(8), Some(SpecialUse::Sent))],
        }),
        Mutation::SetAcl(AclSet {
            mailbox: MailboxId(7),
            subject: AclSubject::Account(AccountId(2)),
            is_negative: false,
            rights: Some(Rights::ALL),
        }),
    ]
}

fn step_samples() -> Vec<Mutation> {
    vec![
        Mutation::Step(Stepped { damaged_batch: 200 }),
        Mutation::Restored(Restored { batch: 200 }),
        Mutation::PruneVanished(VanishedPruned {
            mailbox: MailboxId(7),
            floor: ModSeq(12),
        }),
    ]
}

fn line(mutation: &Mutation) -> String {
    let octets: Vec<String> = mutation
        .encode()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("{} {} {}", mutation.kind(), mutation.version(), octets.concat())
}

fn decoded(line: &str) -> Result<Mutation, DecodeError> {
    let mut fields = line.split(' ');
    let (kind, version) = (fields.next().unwrap(), fields.next().unwrap());
    let digits = fields.next().unwrap();
    let octet = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let octets: Vec<u8> = (0..digits.len()).step_by(2).map(octet).collect();
    Mutation::decode(kind.parse().unwrap(), version.parse().unwrap(), &octets)
}

/// What a box wrote once must be read for ever. If this fails, the new layout needs a new version
/// beside the old one.
#[test]
fn the_layout_of_every_record_is_kept() {
    let kept = include_str!("../testdata/records.txt");
    let samples = samples();
    let lines: Vec<String> = samples.iter().map(line).collect();
    let mut missing = lines.clone();
    missing.retain(|line| !kept.lines().any(|kept| kept == line));
    assert!(
        missing.is_empty(),
        "these are no lines of records.txt:\n{}",
        missing.join("\n")
    );
    for kept in kept.lines() {
        let read = decoded(kept).unwrap_or_else(|error| panic!("{error:?}: {kept}"));
        match lines.iter().position(|line| line == kept) {
            Some(place) => assert_eq!(read, samples[place]),
            // A version that is not written any more.
            None => assert_ne!(line(&read), *kept),
        }
    }
}

/// What the copy of version 1 says, which is not written any more.
#[test]
fn a_copy_of_version_1_says_what_it_said() {
    let Ok(Mutation::Copy(copied)) = decoded("19 1 07080f01030101") else {
        panic!("no copy");
    };
    assert_eq!(
        (copied.from, copied.to, copied.modseq),
        (MailboxId(7), MailboxId(8), ModSeq(15))
    );
    assert_eq!(
        (copied.is_move, copied.saved, copied.modseq_from),
        (true, None, None)
    );
}

/// The slot beside the one that is on trial reads what the self-test writes.
#[test]
fn a_delivery_that_says_no_more_is_written_as_version_1() {
    let mutation = Mutation::Append(Appended::default());
    assert_eq!(mutation.version(), 1);
    assert_eq!(mutation.encode(), [0, 0]);
}

#[test]
fn an_audited_change_that_is_not_known_stops_where_it_is_read() {
    let deleted = Mutation::DeleteAccount(AccountDeleted {
        account: AccountId(2),
    });
    let audited = Audited::new(1, audit_entry("a"), Some(&deleted));
    let inner = Mutation::Audit(audited.clone());
    let twice = Mutation::Audit(Audited::new(2, audit_entry("a"), Some(&inner)));
    assert_eq!(
        Mutation::decode(twice.kind(), twice.version(), &twice.encode()),
        Err(DecodeError::Malformed)
    );
    let mut meta = inner.encode();
    // Kind and version of the change, the length of what it says, and that.
    let kind_at = meta.len() - 4;
    meta[kind_at] = 127;
    assert_eq!(Mutation::decode(inner.kind(), 1, &meta), Err(DecodeError::Newer));
    let alone = Mutation::Audit(Audited::new(1, audit_entry("a"), None));
    assert_eq!(Mutation::decode(alone.kind(), 1, &alone.encode()), Ok(alone));
    assert_eq!(audited.change(), Ok(Some(deleted)));
}
