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

// 6 to 9 and from 12 on are free: queue entries, settings, domain admins, relocations, snapshots are to
// come. A number is never given twice.
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
