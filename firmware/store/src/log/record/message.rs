//! Messages and their bodies.

use super::queue::{EntryRecord, EntrySettled, TokenRecord};
use super::serde_octets;
use crate::log::frames::Frame;
use mail::{AccountId, Flags, InternalDate, MailboxId, ModSeq, Timestamp, Uid};
use serde::{Deserialize, Serialize};

/// Messages were added, to mailboxes, to the outbound queue, or to both: a delivery, or an APPEND.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Appended {
    pub(crate) bodies: Vec<BodyRecord>,
    pub(crate) messages: Vec<MessageRecord>,
    /// When they were put into their mailboxes (RFC 8514).
    pub(crate) saved: Option<Timestamp>,
    pub(crate) entries: Vec<EntryRecord>,
    /// What it says about entries that were in the queue before: a report leaves as what it reports is settled.
    pub(crate) settled: Vec<EntrySettled>,
    pub(crate) tokens: Vec<TokenRecord>,
}

/// [`Appended`], version 1. Still written where the rest says nothing: see [`crate::self_test`].
#[derive(Serialize, Deserialize)]
pub(crate) struct AppendedV1 {
    bodies: Vec<BodyRecord>,
    messages: Vec<MessageRecord>,
}

impl From<AppendedV1> for Appended {
    fn from(AppendedV1 { bodies, messages }: AppendedV1) -> Appended {
        Appended {
            bodies,
            messages,
            ..Appended::default()
        }
    }
}

impl Appended {
    /// As version 1, if that says all.
    pub(crate) fn is_version_1(&self) -> bool {
        self.saved.is_none() && self.entries.is_empty() && self.settled.is_empty() && self.tokens.is_empty()
    }

    pub(crate) fn encode_version_1(&self) -> postcard::Result<Vec<u8>> {
        postcard::to_stdvec(&(&self.bodies, &self.messages))
    }
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
    /// When it was done (RFC 8514).
    pub(crate) saved: Option<Timestamp>,
    /// The modseq of the account they came from, if that is another one.
    pub(crate) modseq_from: Option<ModSeq>,
}

/// [`Copied`], version 1.
#[derive(Serialize, Deserialize)]
pub(crate) struct CopiedV1 {
    from: MailboxId,
    to: MailboxId,
    modseq: ModSeq,
    messages: Vec<(Uid, Uid)>,
    is_move: bool,
}

impl From<CopiedV1> for Copied {
    fn from(old: CopiedV1) -> Copied {
        Copied {
            from: old.from,
            to: old.to,
            modseq: old.modseq,
            messages: old.messages,
            is_move: old.is_move,
            saved: None,
            modseq_from: None,
        }
    }
}

/// Bodies were copied to here, as they were, since little else of their segment is needed any more. Each is described
/// anew; one in a file of its own stays there, and its description alone moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Relocated {
    pub(crate) bodies: Vec<BodyRecord>,
}
