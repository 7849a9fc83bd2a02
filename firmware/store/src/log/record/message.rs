//! Messages and their bodies.

use super::serde_octets;
use crate::log::frames::Frame;
use mail::{AccountId, Flags, InternalDate, MailboxId, ModSeq, Uid};
use serde::{Deserialize, Serialize};

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

/// Bodies were copied to here, as they were, since little else of their segment is needed any more. Each is described
/// anew; one in a file of its own stays there, and its description alone moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Relocated {
    pub(crate) bodies: Vec<BodyRecord>,
}
