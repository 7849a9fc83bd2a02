use super::*;
use crate::log::frames::Frame;
use mail::{
    AccountId, Address, Domain, Flags, InternalDate, MailboxId, MailboxName, ModSeq, Uid, UidValidity,
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

fn mutation() -> impl Strategy<Value = Mutation> {
    let id = || any::<u32>().prop_map(MailboxId);
    let modseq = || any::<u64>().prop_map(ModSeq);
    let vec = proptest::collection::vec::<BoxedStrategy<Uid>>;
    prop_oneof![
        (
            proptest::collection::vec(body(), 0..3),
            proptest::collection::vec(message(), 0..4)
        )
            .prop_map(|(bodies, messages)| Mutation::Append(Appended { bodies, messages })),
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
            any::<bool>()
        )
            .prop_map(|(from, to, modseq, messages, is_move)| Mutation::Copy(Copied {
                from,
                to,
                modseq,
                messages,
                is_move
            })),
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
    fn any_octets_are_a_record_or_an_error(kind in 0..64_u16, meta in any::<Vec<u8>>()) {
        let _ = Mutation::decode(kind, 1, &meta);
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
    ]
}

fn step_samples() -> Vec<Mutation> {
    vec![Mutation::Step(Stepped { damaged_batch: 200 })]
}

/// What a box wrote once must be read for ever. If this fails, the new layout needs a new version
/// beside the old one.
#[test]
fn the_layout_of_every_record_is_kept() {
    let kept = include_str!("../testdata/records.txt");
    let mut now = String::new();
    for mutation in samples() {
        let octets: Vec<String> = mutation
            .encode()
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        now += &[
            mutation.kind().to_string(),
            mutation.version().to_string(),
            octets.concat(),
        ]
        .join(" ");
        now.push('\n');
    }
    assert_eq!(now, kept);
    for (line, sample) in kept.lines().zip(samples()) {
        let mut fields = line.split(' ');
        let (kind, version) = (fields.next().unwrap(), fields.next().unwrap());
        let digits = fields.next().unwrap();
        let octet = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let octets: Vec<u8> = (0..digits.len()).step_by(2).map(octet).collect();
        let read = Mutation::decode(kind.parse().unwrap(), version.parse().unwrap(), &octets);
        assert_eq!(read, Ok(sample));
    }
}
