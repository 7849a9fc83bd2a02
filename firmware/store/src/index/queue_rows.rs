//! The rows of the outbound queue.

use super::rows::{Row, row};
use crate::log::record::{RecipientState, RecipientStatus};
use mail::{AccountId, Address, ReversePath, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntryRow {
    pub(crate) body: u64,
    pub(crate) size_octets: u64,
    pub(crate) prefix: Vec<u8>,
    pub(crate) reverse_path: ReversePath,
    pub(crate) account: Option<AccountId>,
    pub(crate) trace: String,
    pub(crate) queued: Timestamp,
    pub(crate) parameters: Vec<u8>,
    pub(crate) hold: Option<String>,
    /// How many recipients it has.
    pub(crate) recipients: u32,
}
row!(EntryRow in "queue" v 1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecipientRow {
    pub(crate) address: Address,
    pub(crate) destination: String,
    pub(crate) parameters: Vec<u8>,
    pub(crate) state: RecipientState,
}
row!(RecipientRow in "recipient" v 1);

/// When a recipient is due, as a key; `None`: it does not wait any more. One that is held waits, and is never due.
pub(crate) fn due(state: &RecipientState, is_held: bool) -> Option<u64> {
    match state.status {
        RecipientStatus::Waiting if is_held => Some(u64::MAX),
        RecipientStatus::Waiting => Some(due_by(state.next_attempt)),
        RecipientStatus::Delivered | RecipientStatus::Failed => None,
    }
}

/// A time as a key.
pub(crate) fn due_by(time: Timestamp) -> u64 {
    u64::try_from(time.0).unwrap_or(0)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    pub(crate) sender: Address,
    pub(crate) expires: Timestamp,
}
row!(TokenRow in "token" v 1);
