//! Accounts: how they come, change and go.

use super::domain::{self, check_limits};
use super::role::keeps_an_owner;
use super::{Find, Page, page};
use crate::account::{Account, new_mailboxes, number};
use crate::error::StoreError;
use crate::index::rows::{self, AccountRow, account_of, get_by_address};
use crate::index::{Tables, state};
use crate::log::record::{
    AccountCreated, AccountDeleted, AccountDetails, AccountDetailsSet, AccountRenamed, Alias, Mutation,
};
use crate::request::Request;
use crate::view::View;
use mail::{AccountId, Address, Domain, Timestamp};
use std::ops::Bound;

/// The longest name of a person, in octets.
const DISPLAY_NAME_OCTETS_MAX: usize = 256;

/// Makes an account, with INBOX, Drafts, Sent, Junk, Trash and Archive, all subscribed.
///
/// # Errors
/// [`StoreError::UnknownDomain`], [`StoreError::IsAliasDomain`], [`StoreError::CatchAll`] (C3),
/// [`StoreError::AddressTaken`] by an account or by an alias that does not keep a copy,
/// [`StoreError::DomainLimit`]. Nothing is written then.
#[derive(Clone, Debug)]
pub struct CreateAccount {
    /// Its address.
    pub address: Address,
    /// The password verifier, a PHC string (L3).
    pub verifier: String,
    /// The rest.
    pub details: AccountDetails,
    /// When.
    pub created: Timestamp,
}

impl Request for CreateAccount {
    type Reply = AccountId;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, AccountId), StoreError> {
        check_free(&self.address, tables)?;
        check_name(&self.details)?;
        check_limits(&self.address.domain, None, Some(&self.details), tables)?;
        let id = AccountId(number(rows::counter(&tables.state, state::NEXT_ACCOUNT)?)?);
        let created = AccountCreated {
            id,
            address: self.address.clone(),
            verifier: self.verifier.clone(),
            details: self.details.clone(),
            created: self.created,
            mailboxes: new_mailboxes(tables, 0)?,
        };
        Ok((Some(Mutation::CreateAccount(created)), id))
    }
}

/// Whether an account may take this address.
fn check_free(address: &Address, tables: &Tables<'_>) -> Result<(), StoreError> {
    domain::check_own_address(address, tables)?;
    let alias: Option<Alias> = get_by_address(&tables.redirect, address)?;
    let is_taken =
        account_of(&tables.address, address)?.is_some() || alias.is_some_and(|alias| !alias.keeps_a_copy());
    if is_taken {
        return Err(StoreError::AddressTaken(address.clone()));
    }
    Ok(())
}

fn check_name(details: &AccountDetails) -> Result<(), StoreError> {
    if details.display_name.len() > DISPLAY_NAME_OCTETS_MAX {
        return Err(StoreError::TooLarge {
            octets_max: DISPLAY_NAME_OCTETS_MAX as u64,
        });
    }
    Ok(())
}

/// The row of an account.
pub(super) fn row(account: AccountId, tables: &Tables<'_>) -> Result<AccountRow, StoreError> {
    rows::get(&tables.account, account.0)?.ok_or(StoreError::NoAccount)
}

/// What is to be other than it was; `None`: as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// [`AccountDetails::is_enabled`]
    pub is_enabled: Option<bool>,
    /// [`AccountDetails::display_name`]
    pub display_name: Option<String>,
    /// [`AccountDetails::quota_octets`]
    pub quota_octets: Option<Option<u64>>,
    /// [`AccountDetails::quota_messages`]
    pub quota_messages: Option<Option<u64>>,
    /// [`AccountDetails::expires`]
    pub expires: Option<Option<Timestamp>>,
    /// [`AccountDetails::delete_after`]
    pub delete_after: Option<Option<Timestamp>>,
}

impl AccountChange {
    fn of(&self, details: &AccountDetails) -> AccountDetails {
        let old = details.clone();
        AccountDetails {
            is_enabled: self.is_enabled.unwrap_or(old.is_enabled),
            display_name: self.display_name.clone().unwrap_or(old.display_name),
            quota_octets: self.quota_octets.unwrap_or(old.quota_octets),
            quota_messages: self.quota_messages.unwrap_or(old.quota_messages),
            expires: self.expires.unwrap_or(old.expires),
            delete_after: self.delete_after.unwrap_or(old.delete_after),
        }
    }
}

/// Changes an account: disables it (C4), gives it another quota, puts it into the bin.
///
/// # Errors
/// [`StoreError::NoAccount`], [`StoreError::DomainLimit`] when a quota grows beyond what the domain has,
/// [`StoreError::LastOwner`] when the box would have no owner who can log in.
#[derive(Clone, Debug)]
pub struct ChangeAccount {
    /// Which.
    pub account: AccountId,
    /// How.
    pub change: AccountChange,
}

impl Request for ChangeAccount {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let row = row(self.account, tables)?;
        let details = self.change.of(&row.details);
        if details == row.details {
            return Ok((None, ()));
        }
        check_name(&details)?;
        if details.quota_octets != row.details.quota_octets {
            check_limits(&row.address.domain, Some(&row.details), Some(&details), tables)?;
        }
        if row.details.is_enabled && !details.is_enabled {
            keeps_an_owner(tables, |account| account == self.account)?;
        }
        let set = AccountDetailsSet {
            account: self.account,
            details,
        };
        Ok((Some(Mutation::SetAccountDetails(set)), ()))
    }
}

/// Gives an account another address, which is its login then. Its mail, its number and what it owns stay. The old
/// address is free: whoever wants its mail to arrive makes an alias.
///
/// # Errors
/// As [`CreateAccount`], and [`StoreError::NoAccount`].
#[derive(Clone, Debug)]
pub struct RenameAccount {
    /// Which.
    pub account: AccountId,
    /// What it is to be.
    pub address: Address,
}

impl Request for RenameAccount {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let row = row(self.account, tables)?;
        if row.address == self.address {
            return Ok((None, ()));
        }
        // It may have its own in another spelling.
        if row.address.key() != self.address.key() {
            check_free(&self.address, tables)?;
        }
        if row.address.domain != self.address.domain {
            check_limits(&self.address.domain, None, Some(&row.details), tables)?;
        }
        let renamed = AccountRenamed {
            account: self.account,
            address: self.address.clone(),
        };
        Ok((Some(Mutation::RenameAccount(renamed)), ()))
    }
}

/// Deletes an account for good, with its mail, its settings and its passwords. Aliases that lead to it stay, and those
/// that were its own are nobody's.
///
/// # Errors
/// [`StoreError::NoAccount`], [`StoreError::LastOwner`].
#[derive(Clone, Copy, Debug)]
pub struct DeleteAccount {
    /// Which.
    pub account: AccountId,
}

impl Request for DeleteAccount {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        row(self.account, tables)?;
        keeps_an_owner(tables, |account| account == self.account)?;
        let deleted = AccountDeleted {
            account: self.account,
        };
        Ok((Some(Mutation::DeleteAccount(deleted)), ()))
    }
}

impl View {
    /// The accounts of a domain by their address, page by page, with those left out whose address and name do not have
    /// the text.
    pub fn accounts_of(&self, domain: &Domain, find: &Find) -> Result<Page<Account>, StoreError> {
        let domain = domain.as_str();
        let range = self
            .tables
            .address
            .range((find.start(domain), Bound::Unbounded))?;
        let rows = range.map(|found| {
            let (key, id) = found?;
            let (of, local_part) = key.value();
            let account = match self.account(AccountId(id.value()))? {
                Some(account) if of == domain => {
                    let texts = [local_part, account.details.display_name.as_str()];
                    find.matches(texts.into_iter()).then_some(account)
                }
                _ => None,
            };
            Ok((of.to_owned(), local_part.to_owned(), account))
        });
        page(find, domain, rows)
    }

    /// The accounts that are in the bin, or expire, by this time, in the order of their numbers.
    pub fn accounts_due(&self, by: Timestamp) -> Result<Vec<Account>, StoreError> {
        let is_due = |time: Option<Timestamp>| time.is_some_and(|time| time <= by);
        let mut accounts = self.accounts()?;
        accounts.retain(|account| {
            is_due(account.details.delete_after) || (account.is_enabled && is_due(account.details.expires))
        });
        Ok(accounts)
    }
}
