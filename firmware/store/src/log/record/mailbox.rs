//! Mailboxes.

use mail::{AccountId, MailboxId, MailboxName, UidValidity};
use serde::{Deserialize, Serialize};

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
