//! Domains, accounts and redirects.

use super::MailboxRecord;
use mail::{AccountId, Address, Domain};
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
