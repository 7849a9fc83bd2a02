//! The outbound queue.

use super::serde_octets;
use mail::{AccountId, Address, ReversePath, Timestamp};
use serde::{Deserialize, Serialize};

/// A message on its way out: one body, one sender, one or more recipients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntryRecord {
    pub(crate) id: u64,
    pub(crate) body: u64,
    /// The octets of the message that stand before the shared body.
    #[serde(with = "serde_octets")]
    pub(crate) prefix: Vec<u8>,
    pub(crate) reverse_path: ReversePath,
    pub(crate) account: Option<AccountId>,
    pub(crate) trace: String,
    pub(crate) queued: Timestamp,
    /// What delivery wants to know of it; the store does not look inside.
    #[serde(with = "serde_octets")]
    pub(crate) parameters: Vec<u8>,
    pub(crate) hold: Option<String>,
    pub(crate) recipients: Vec<RecipientRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecipientRecord {
    pub(crate) address: Address,
    pub(crate) destination: String,
    /// As in [`EntryRecord`].
    #[serde(with = "serde_octets")]
    pub(crate) parameters: Vec<u8>,
    pub(crate) next_attempt: Timestamp,
}

/// What has become of a recipient. Part of the log's format as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecipientStatus {
    /// It is to be tried, or tried again.
    Waiting,
    /// The next server has it.
    Delivered,
    /// It will not be tried again.
    Failed,
}

/// How an attempt went. Part of the log's format as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// The server that was asked; empty if none was reached.
    pub remote: String,
    /// What it said, or what went wrong.
    pub words: String,
}

/// Where a recipient stands. Part of the log's format as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientState {
    /// What has become of it.
    pub status: RecipientStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it has waited, on a clock that does not jump (D14).
    pub waited_seconds: u64,
    /// When it is to be tried next.
    pub next_attempt: Timestamp,
    /// Whether the sender was told that it takes long.
    pub is_sender_warned: bool,
    /// The latest attempts, the newest last.
    pub latest: Vec<Attempt>,
}

impl RecipientState {
    /// Before the first attempt.
    pub(crate) fn new(next_attempt: Timestamp) -> RecipientState {
        RecipientState {
            status: RecipientStatus::Waiting,
            attempts: 0,
            waited_seconds: 0,
            next_attempt,
            is_sender_warned: false,
            latest: Vec::new(),
        }
    }
}

/// Recipients of an entry stand elsewhere now; or it has left the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntrySettled {
    pub(crate) entry: u64,
    /// By their place in the entry.
    pub(crate) recipients: Vec<(u32, RecipientState)>,
    /// Nothing is left to be done for it.
    pub(crate) is_done: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueueSettled {
    pub(crate) entries: Vec<EntrySettled>,
}

/// Entries are held for this reason, or are held no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueueHeld {
    pub(crate) entries: Vec<u64>,
    pub(crate) hold: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueueDropped {
    pub(crate) entries: Vec<u64>,
}

/// A word that stands for a sender in the reverse-path of a message that was passed on (R5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) token: String,
    pub(crate) sender: Address,
    pub(crate) expires: Timestamp,
}

/// Tokens that expired are forgotten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokensPruned {
    pub(crate) expired_before: Timestamp,
}
