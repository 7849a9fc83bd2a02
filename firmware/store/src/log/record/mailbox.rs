//! Mailboxes.

use mail::{AccountId, MailboxId, MailboxName, ModSeq, UidValidity};
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

/// INBOX was renamed (RFC 9051 §6.3.6): its messages went to the last of these mailboxes, which are new, and kept their
/// UIDs; INBOX is there, empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InboxRenamed {
    pub(crate) account: AccountId,
    pub(crate) mailboxes: Vec<MailboxRecord>,
    pub(crate) modseq: ModSeq,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpecialUsesSet {
    pub(crate) account: AccountId,
    pub(crate) uses: Vec<(MailboxId, Option<SpecialUse>)>,
}

/// What may be done with a mailbox (RFC 4314 §2.1): a bit for each right. Part of the log's format as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights(pub u16);

/// Whom a right is given to, or taken from (RFC 4314 §2). Part of the log's format as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AclSubject {
    /// `anyone`: everybody with an account.
    Anyone,
    /// An account; it keeps its rights when it is renamed.
    Account(AccountId),
}

/// Somebody's rights to a mailbox are these now; `None`: they are not in its list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AclSet {
    pub(crate) mailbox: MailboxId,
    pub(crate) subject: AclSubject,
    /// Rights that are taken away (`-` before the identifier).
    pub(crate) is_negative: bool,
    pub(crate) rights: Option<Rights>,
}

/// What was expunged up to `floor` is not remembered any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VanishedPruned {
    pub(crate) mailbox: MailboxId,
    pub(crate) floor: ModSeq,
}
