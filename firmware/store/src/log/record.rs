//! The records of the log: every change the store knows, as its outcome.
//!
//! A record says what became of a request (UIDs, modseqs, times), never the request, so that replay
//! decides nothing. Kinds and versions are numbers that are never used for anything else again; the
//! layout of a version is fixed by the test `the_layout_of_every_record_is_kept`.

use super::frames::Frame;
use mail::{
    AccountId, Address, Domain, Flags, InternalDate, MailboxId, MailboxName, ModSeq, Uid, UidValidity,
};
use serde::{Deserialize, Serialize};

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mutation {
    Provision(Provisioned),
    SetVerifier(VerifierSet),
    Append(Appended),
    Flags(FlagsSet),
    Expunge(Expunged),
    CreateMailbox(MailboxCreated),
    RenameMailboxes(MailboxesRenamed),
    DeleteMailbox(MailboxDeleted),
    Subscribe(Subscribed),
    Copy(Copied),
    Step(Stepped),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// A kind or version this firmware does not know.
    Newer,
    /// Known, but not readable.
    Malformed,
}

macro_rules! kinds {
    ($($variant:ident($inner:ty) = $kind:literal v $version:literal),* $(,)?) => {
        impl Mutation {
            /// The number that stands for the kind in the log.
            pub(crate) fn kind(&self) -> u16 {
                match self { $(Mutation::$variant(_) => $kind),* }
            }

            /// The version of the layout that [`Mutation::encode`] writes.
            pub(crate) fn version(&self) -> u16 {
                match self { $(Mutation::$variant(_) => $version),* }
            }

            pub(crate) fn encode(&self) -> Vec<u8> {
                match self { $(Mutation::$variant(inner) => postcard::to_stdvec(inner)),* }
                    .expect("records have no type that postcard cannot write")
            }

            pub(crate) fn decode(kind: u16, version: u16, meta: &[u8]) -> Result<Mutation, DecodeError> {
                match (kind, version) {
                    $(($kind, $version) => read::<$inner>(meta).map(Mutation::$variant),)*
                    _ => Err(DecodeError::Newer),
                }
            }
        }
    };
}

// Queue entries, settings, domain admins, relocations and snapshots are to come, with numbers of their
// own. A number is never given twice.
kinds! {
    Provision(Provisioned) = 1 v 1,
    SetVerifier(VerifierSet) = 2 v 1,
    Append(Appended) = 16 v 1,
    Flags(FlagsSet) = 17 v 1,
    Expunge(Expunged) = 18 v 1,
    Copy(Copied) = 19 v 1,
    CreateMailbox(MailboxCreated) = 32 v 1,
    RenameMailboxes(MailboxesRenamed) = 33 v 1,
    DeleteMailbox(MailboxDeleted) = 34 v 1,
    Subscribe(Subscribed) = 35 v 1,
    Step(Stepped) = 48 v 1,
}

fn read<'m, T: Deserialize<'m>>(meta: &'m [u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(meta) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(DecodeError::Malformed),
    }
}

/// Domains, accounts and redirects came to be, all at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Provisioned {
    pub(crate) domains: Vec<Domain>,
    pub(crate) accounts: Vec<AccountRecord>,
    pub(crate) redirects: Vec<RedirectRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    pub(crate) id: AccountId,
    pub(crate) address: Address,
    pub(crate) verifier: String,
    pub(crate) quota_octets: Option<u64>,
    pub(crate) mailboxes: Vec<MailboxRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MailboxRecord {
    pub(crate) id: MailboxId,
    pub(crate) name: MailboxName,
    pub(crate) uid_validity: UidValidity,
    pub(crate) special_use: Option<SpecialUse>,
    pub(crate) is_subscribed: bool,
}

/// What a mailbox is for (RFC 6154 §2). The order is part of the log's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpecialUse {
    /// `\Drafts`
    Drafts,
    /// `\Sent`
    Sent,
    /// `\Junk`
    Junk,
    /// `\Trash`
    Trash,
    /// `\Archive`
    Archive,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RedirectRecord {
    pub(crate) address: Address,
    pub(crate) targets: Vec<Address>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VerifierSet {
    pub(crate) account: AccountId,
    pub(crate) verifier: String,
}

/// Messages were added, to one mailbox or to several: a delivery, or an APPEND.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Appended {
    pub(crate) bodies: Vec<BodyRecord>,
    pub(crate) messages: Vec<MessageRecord>,
}

/// A body that several messages may share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BodyRecord {
    pub(crate) id: u64,
    pub(crate) place: Place,
    /// Octets of the body itself, before compression.
    pub(crate) octets: u64,
    pub(crate) frames: Vec<Frame>,
    /// What delivery and IMAP know of it; the store does not look inside.
    #[serde(with = "serde_octets")]
    pub(crate) structure: Vec<u8>,
}

/// Where a body's frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In the batch, this many octets behind the record's metadata.
    Batch { offset: u64 },
    /// In a file of its own, from its first octet on.
    File { number: u64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MessageRecord {
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
    pub(crate) uid: Uid,
    pub(crate) modseq: ModSeq,
    pub(crate) body: u64,
    /// The octets of the message that stand before the shared body.
    #[serde(with = "serde_octets")]
    pub(crate) prefix: Vec<u8>,
    pub(crate) flags: Flags,
    pub(crate) internal_date: InternalDate,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FlagsSet {
    pub(crate) mailbox: MailboxId,
    pub(crate) modseq: ModSeq,
    pub(crate) messages: Vec<(Uid, Flags)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Expunged {
    pub(crate) mailbox: MailboxId,
    pub(crate) modseq: ModSeq,
    pub(crate) uids: Vec<Uid>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MailboxCreated {
    pub(crate) account: AccountId,
    pub(crate) mailboxes: Vec<MailboxRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MailboxesRenamed {
    pub(crate) account: AccountId,
    pub(crate) names: Vec<(MailboxId, MailboxName)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MailboxDeleted {
    pub(crate) mailbox: MailboxId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Subscribed {
    pub(crate) mailbox: MailboxId,
    pub(crate) is_subscribed: bool,
}

/// Messages were copied, or moved: then those they came from are gone in the same record, so that a
/// cut never leaves a message in no mailbox (D3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Copied {
    pub(crate) from: MailboxId,
    pub(crate) to: MailboxId,
    pub(crate) modseq: ModSeq,
    /// Old UID, new UID.
    pub(crate) messages: Vec<(Uid, Uid)>,
    pub(crate) is_move: bool,
}

/// Records up to `damaged_batch` were lost to damage: all counters have stepped forward, so that
/// nothing they gave is given again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stepped {
    pub(crate) damaged_batch: u64,
}

/// Octets as octets: serde would write a `Vec<u8>` number by number, slowly.
mod serde_octets {
    use serde::de::{Deserializer, Visitor};
    use serde::ser::Serializer;
    use std::fmt;

    pub(super) fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(octets)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Octets;
        impl Visitor<'_> for Octets {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("octets")
            }
            fn visit_bytes<E>(self, octets: &[u8]) -> Result<Vec<u8>, E> {
                Ok(octets.to_vec())
            }
        }
        deserializer.deserialize_bytes(Octets)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mail::{Keyword, SystemFlags, Timestamp};
    use proptest::prelude::*;

    fn flags() -> impl Strategy<Value = Flags> {
        (0..32_u8, proptest::collection::btree_set("[a-z$]{1,12}", 0..4)).prop_map(|(system, keywords)| {
            Flags {
                system: SystemFlags(system),
                keywords: keywords
                    .iter()
                    .map(|keyword| Keyword::parse(keyword).unwrap())
                    .collect(),
            }
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
        let frame =
            (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(octets, stored_octets, sum)| Frame {
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
        let address = |text: &str| Address::parse(text).unwrap();
        let name = |text: &str| MailboxName::parse(text).unwrap();
        let uid = |number| Uid::new(number).unwrap();
        let mut flags = Flags::system(SystemFlags::SEEN);
        flags.keywords.insert(Keyword::parse("$Junk").unwrap());
        let mailbox = MailboxRecord {
            id: MailboxId(7),
            name: name("Sent"),
            uid_validity: UidValidity::new(300).unwrap(),
            special_use: Some(SpecialUse::Sent),
            is_subscribed: true,
        };
        vec![
            Mutation::Provision(Provisioned {
                domains: vec![Domain::parse("example.org").unwrap()],
                accounts: vec![AccountRecord {
                    id: AccountId(1),
                    address: address("a@example.org"),
                    verifier: "$v".to_owned(),
                    quota_octets: Some(1000),
                    mailboxes: vec![mailbox.clone()],
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
            Mutation::CreateMailbox(MailboxCreated {
                account: AccountId(1),
                mailboxes: vec![mailbox],
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
            Mutation::Step(Stepped { damaged_batch: 200 }),
        ]
    }

    /// What a box wrote once must be read for ever. If this fails, the new layout needs a new version
    /// beside the old one.
    #[test]
    fn the_layout_of_every_record_is_kept() {
        let kept = include_str!("testdata/records.txt");
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
}
