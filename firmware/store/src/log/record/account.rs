//! Domains, accounts, aliases and administrators.

use super::MailboxRecord;
use mail::{AccountId, Address, Domain, Timestamp};
use serde::{Deserialize, Serialize};

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
pub(crate) struct RedirectRecord {
    pub(crate) address: Address,
    pub(crate) targets: Vec<Address>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VerifierSet {
    pub(crate) account: AccountId,
    pub(crate) verifier: String,
}

/// What an administrator decides about an account. Part of the log's format as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountDetails {
    /// Whether it may log in and receive (C4).
    pub is_enabled: bool,
    /// The person's name, as it is shown.
    pub display_name: String,
    /// The most octets it may hold; `None`: no limit.
    pub quota_octets: Option<u64>,
    /// The most messages it may hold; `None`: no limit.
    pub quota_messages: Option<u64>,
    /// When it is to be disabled. The store does not look at the clock: whoever does, disables it.
    pub expires: Option<Timestamp>,
    /// From when on it may be deleted for good: it is in the bin. As with `expires`, somebody else looks at the clock.
    pub delete_after: Option<Timestamp>,
}

impl Default for AccountDetails {
    fn default() -> AccountDetails {
        AccountDetails {
            is_enabled: true,
            display_name: String::new(),
            quota_octets: None,
            quota_messages: None,
            expires: None,
            delete_after: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccountCreated {
    pub(crate) id: AccountId,
    pub(crate) address: Address,
    pub(crate) verifier: String,
    pub(crate) details: AccountDetails,
    pub(crate) created: Timestamp,
    pub(crate) mailboxes: Vec<MailboxRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccountDetailsSet {
    pub(crate) account: AccountId,
    pub(crate) details: AccountDetails,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccountRenamed {
    pub(crate) account: AccountId,
    pub(crate) address: Address,
}

/// An account is gone, with all that is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccountDeleted {
    pub(crate) account: AccountId,
}

/// What a password for one program opens: a bit for each. Part of the log's format as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes(pub u16);

impl Scopes {
    /// Reading and changing mail by IMAP.
    pub const IMAP: Scopes = Scopes(1);
    /// Fetching mail by POP3.
    pub const POP3: Scopes = Scopes(1 << 1);
    /// Sending mail.
    pub const SUBMISSION: Scopes = Scopes(1 << 2);
    /// The interface for programs.
    pub const API: Scopes = Scopes(1 << 3);

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Scopes) -> Scopes {
        Scopes(self.0 | other.0)
    }

    /// Whether all of `other` is among these.
    pub const fn contains(self, other: Scopes) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A password for one program (L4): added, or changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AppPasswordSet {
    pub(crate) account: AccountId,
    pub(crate) id: u32,
    pub(crate) label: String,
    pub(crate) verifier: String,
    pub(crate) scopes: Scopes,
    pub(crate) created: Timestamp,
    pub(crate) last_used: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AppPasswordRemoved {
    pub(crate) account: AccountId,
    pub(crate) id: u32,
}

/// What an administrator decides about a hosted domain. Part of the log's format as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainDetails {
    /// Whether it takes mail. The store keeps it; delivery obeys it.
    pub is_enabled: bool,
    /// What it is, for people.
    pub description: String,
    /// The most accounts in it; `None`: no limit.
    pub accounts_max: Option<u32>,
    /// The most aliases in it.
    pub aliases_max: Option<u32>,
    /// The most octets that the quotas of its accounts may add up to. With it, each account has a quota.
    pub quota_octets_max: Option<u64>,
    /// The domain whose accounts and aliases are meant by its addresses: an alias domain has none of its own.
    pub alias_of: Option<Domain>,
}

impl Default for DomainDetails {
    fn default() -> DomainDetails {
        DomainDetails {
            is_enabled: true,
            description: String::new(),
            accounts_max: None,
            aliases_max: None,
            quota_octets_max: None,
            alias_of: None,
        }
    }
}

/// A domain is hosted, or is so with other details.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DomainSet {
    pub(crate) domain: Domain,
    pub(crate) details: DomainDetails,
    /// The label of its alternative server name, once it has one (H5).
    pub(crate) alternative_label: Option<String>,
}

/// A domain is hosted no more; what was in it is gone with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DomainRemoved {
    pub(crate) domain: Domain,
}

/// What an account may administer. Part of the log's format as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The whole box.
    Owner,
    /// These domains.
    Domains(Vec<Domain>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoleSet {
    pub(crate) account: AccountId,
    pub(crate) role: Option<Role>,
}

/// An address that stands for others, or a redirect of an account. Part of the log's format as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The address, in a hosted domain.
    pub address: Address,
    /// Where its mail goes. Itself plus others: a copy is kept (R3).
    pub targets: Vec<Address>,
    /// Whether it counts. One that does not is as if it were not there.
    pub is_enabled: bool,
    /// Whose own it is (R2): they change it, and send with it.
    pub owner: Option<AccountId>,
    /// Who else sends with it (P9).
    pub senders: Vec<AccountId>,
}

impl Alias {
    /// One that counts and is nobody's own.
    pub fn new(address: Address, targets: Vec<Address>) -> Alias {
        Alias {
            address,
            targets,
            is_enabled: true,
            owner: None,
            senders: Vec::new(),
        }
    }

    /// Whether the account of the same address gets a copy (R3).
    pub fn keeps_a_copy(&self) -> bool {
        let key = self.address.key();
        self.targets.iter().any(|target| target.key() == key)
    }

    /// Who sends with it: each once.
    pub(crate) fn users(&self) -> std::collections::BTreeSet<AccountId> {
        self.owner.iter().chain(&self.senders).copied().collect()
    }
}

/// Aliases are so from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AliasesSet {
    pub(crate) aliases: Vec<Alias>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AliasesRemoved {
    pub(crate) addresses: Vec<Address>,
}
