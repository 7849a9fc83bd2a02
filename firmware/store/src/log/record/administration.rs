//! Settings and the audit trail.

use super::{DecodeError, Mutation, serde_octets};
use mail::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

/// A setting's value: octets whose meaning is their reader's. Part of the log's format as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingValue {
    /// The version of the octets' layout.
    pub version: u16,
    /// The value.
    #[serde(with = "serde_octets")]
    pub octets: Vec<u8>,
}

/// Settings of the box, or of an account, are so from now on, all at once; `None`: gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SettingsSet {
    pub(crate) account: Option<AccountId>,
    pub(crate) values: Vec<(String, Option<SettingValue>)>,
}

/// A line of the audit trail: who did what, when and from where. Part of the log's format as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who, if it was an account.
    pub account: Option<AccountId>,
    /// Who, in words that stay true when the account is gone.
    pub actor: String,
    /// From where: an address, or the name of a part of the box.
    pub origin: String,
    /// What was done: a word that the pages translate.
    pub action: String,
    /// To what: an address, a domain, a setting's name.
    pub object: String,
    /// More about it, as old → new.
    pub details: String,
}

/// A line of the audit trail, and what it is about, in one: neither is without the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Audited {
    pub(crate) number: u64,
    pub(crate) entry: AuditEntry,
    /// 0: nothing was changed.
    kind: u16,
    version: u16,
    #[serde(with = "serde_octets")]
    meta: Vec<u8>,
}

impl Audited {
    pub(crate) fn new(number: u64, entry: AuditEntry, change: Option<&Mutation>) -> Audited {
        Audited {
            number,
            entry,
            kind: change.map_or(0, Mutation::kind),
            version: change.map_or(0, Mutation::version),
            meta: change.map(Mutation::encode).unwrap_or_default(),
        }
    }

    /// What was changed.
    pub(crate) fn change(&self) -> Result<Option<Mutation>, DecodeError> {
        match Mutation::decode_unaudited(self.kind, self.version, &self.meta) {
            _ if (self.kind, self.version, self.meta.len()) == (0, 0, 0) => Ok(None),
            // One with bodies cannot be in here: they would not be found.
            Ok(change) if !change.bodies().is_empty() => Err(DecodeError::Malformed),
            change => change.map(Some),
        }
    }
}

/// The audit trail begins here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuditPruned {
    pub(crate) first_kept: u64,
}
