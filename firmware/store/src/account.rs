//! Accounts, domains and redirects.

use crate::error::StoreError;
use crate::index::rows::{self, AccountRow};
use crate::index::{Tables, state};
use crate::log::record::{
    AccountDetails, AccountRecord, MailboxRecord, Mutation, Provisioned, RedirectRecord, SpecialUse,
    VerifierSet,
};
use crate::mailbox::next_uid_validity;
use crate::request::Request;
use mail::{AccountId, Address, Domain, MailboxId, MailboxName, Timestamp};
use redb::{ReadableTable, ReadableTableMetadata};
use std::collections::BTreeSet;

/// An account as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Its address, which is its login (L1).
    pub address: Address,
    /// The password verifier, a PHC string (L3).
    pub verifier: String,
    /// Whether it may log in and receive (C4).
    pub is_enabled: bool,
    /// The most octets it may hold; `None`: no limit.
    pub quota_octets: Option<u64>,
    /// The octets it holds: the sizes of all its messages, shared bodies counted in full.
    pub used_octets: u64,
    /// The messages it holds.
    pub messages: u64,
    /// All that was decided about it.
    pub details: AccountDetails,
    /// When it was made; unknown of those that the box was claimed with.
    pub created: Option<Timestamp>,
}

impl Account {
    pub(crate) fn new(id: AccountId, row: AccountRow, used: (u64, u64, u64)) -> Account {
        Account {
            id,
            address: row.address,
            verifier: row.verifier,
            is_enabled: row.details.is_enabled,
            quota_octets: row.details.quota_octets,
            used_octets: used.0,
            messages: used.1,
            details: row.details,
            created: row.created,
        }
    }

    /// Whether one message more, of `octets`, would be too many.
    pub fn is_over_quota_with(&self, octets: u64) -> bool {
        is_over_quota(&self.details, (self.used_octets, self.messages), (octets, 1))
    }
}

/// Whether what an account has and what comes, both in octets and messages, are too many together.
pub(crate) fn is_over_quota(details: &AccountDetails, used: (u64, u64), more: (u64, u64)) -> bool {
    let is_over = |quota: Option<u64>, used: u64, more: u64| {
        quota.is_some_and(|quota| used.saturating_add(more) > quota)
    };
    is_over(details.quota_octets, used.0, more.0) || is_over(details.quota_messages, used.1, more.1)
}

/// What a box is given when it is claimed: one atomic record.
///
/// # Errors
/// [`StoreError::AlreadyClaimed`] when there is an account already,
/// [`StoreError::UnknownDomain`] when an account or a redirect is in none of `domains`,
/// [`StoreError::AddressTaken`] when two accounts, or two redirects, have one address. Nothing is
/// written then.
#[derive(Clone, Debug, Default)]
pub struct Provision {
    /// The hosted domains.
    pub domains: Vec<Domain>,
    /// The accounts.
    pub accounts: Vec<NewAccount>,
    /// The redirects. One may have the address of an account: its targets get the mail instead, or
    /// as well if the account is among them (R3).
    pub redirects: Vec<Redirect>,
}

/// An account to be made. It gets INBOX, Drafts, Sent, Junk, Trash and Archive, all subscribed.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its address.
    pub address: Address,
    /// The password verifier, a PHC string.
    pub verifier: String,
    /// The most octets it may hold.
    pub quota_octets: Option<u64>,
}

/// An address that stands for others.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// The address, in a hosted domain.
    pub address: Address,
    /// Where its mail goes (R3).
    pub targets: Vec<Address>,
}

/// The mailboxes of a new account, with their special use (RFC 6154 §2).
const MAILBOXES: [(&str, Option<SpecialUse>); 6] = [
    ("INBOX", None),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Sent", Some(SpecialUse::Sent)),
    ("Junk", Some(SpecialUse::Junk)),
    ("Trash", Some(SpecialUse::Trash)),
    ("Archive", Some(SpecialUse::Archive)),
];

impl Request for Provision {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        if tables.account.len()? > 0 {
            return Err(StoreError::AlreadyClaimed);
        }
        let domains: BTreeSet<&Domain> = self.domains.iter().collect();
        let mut keys = BTreeSet::new();
        let mut accounts = Vec::with_capacity(self.accounts.len());
        for (id, account) in (rows::counter(&tables.state, state::NEXT_ACCOUNT)?..).zip(&self.accounts) {
            check_address(&account.address, &domains, &mut keys)?;
            accounts.push(AccountRecord {
                id: AccountId(number(id)?),
                address: account.address.clone(),
                verifier: account.verifier.clone(),
                quota_octets: account.quota_octets,
                mailboxes: new_mailboxes(tables, accounts.len() as u64)?,
            });
        }
        keys.clear();
        let mut redirects = Vec::with_capacity(self.redirects.len());
        for redirect in &self.redirects {
            check_address(&redirect.address, &domains, &mut keys)?;
            let Redirect { address, targets } = redirect.clone();
            redirects.push(RedirectRecord { address, targets });
        }
        let domains = self.domains.clone();
        Ok((
            Some(Mutation::Provision(Provisioned {
                domains,
                accounts,
                redirects,
            })),
            (),
        ))
    }
}

/// The mailboxes of an account that is made, behind `others` that are made in the same record.
pub(crate) fn new_mailboxes(tables: &Tables<'_>, others: u64) -> Result<Vec<MailboxRecord>, StoreError> {
    let given = others * MAILBOXES.len() as u64;
    let ids = rows::counter(&tables.state, state::NEXT_MAILBOX)? + given..;
    let uid_validities = rows::counter(&tables.state, state::NEXT_UID_VALIDITY)? + given..;
    let mut mailboxes = Vec::with_capacity(MAILBOXES.len());
    for ((id, uid_validity), (name, special_use)) in ids.zip(uid_validities).zip(MAILBOXES) {
        mailboxes.push(MailboxRecord {
            id: MailboxId(number(id)?),
            name: MailboxName::parse(name).expect("the names above are names"),
            uid_validity: next_uid_validity(uid_validity)?,
            special_use,
            is_subscribed: true,
        });
    }
    Ok(mailboxes)
}

fn check_address(
    address: &Address,
    domains: &BTreeSet<&Domain>,
    keys: &mut BTreeSet<String>,
) -> Result<(), StoreError> {
    if !domains.contains(&address.domain) {
        return Err(StoreError::UnknownDomain(address.domain.clone()));
    }
    if !keys.insert(address.key()) {
        return Err(StoreError::AddressTaken(address.clone()));
    }
    Ok(())
}

/// A number of 32 bits that has not run out: four thousand million accounts or mailboxes fit on no card.
pub(crate) fn number(counter: u64) -> Result<u32, StoreError> {
    u32::try_from(counter).map_err(|_| StoreError::TooLarge {
        octets_max: u64::from(u32::MAX),
    })
}

pub(crate) struct SetVerifier {
    pub(crate) account: AccountId,
    pub(crate) verifier: String,
}

impl Request for SetVerifier {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        if tables.account.get(self.account.0)?.is_none() {
            return Err(StoreError::NoAccount);
        }
        let set = VerifierSet {
            account: self.account,
            verifier: self.verifier.clone(),
        };
        Ok((Some(Mutation::SetVerifier(set)), ()))
    }
}
