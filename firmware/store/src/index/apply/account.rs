//! Domains, accounts and redirects.

use super::{mailbox, raise};
use crate::error::StoreError;
use crate::index::rows::{self, AccountRow, RedirectRow, Row};
use crate::index::{Tables, state};
use crate::log::record::{AccountRecord, Provisioned, VerifierSet};

pub(super) fn provision(provisioned: &Provisioned, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for domain in &provisioned.domains {
        tables.domain.insert(domain.as_str(), ())?;
    }
    for account in &provisioned.accounts {
        add_account(account, tables)?;
    }
    for redirect in &provisioned.redirects {
        let row = RedirectRow {
            address: redirect.address.clone(),
            targets: redirect.targets.clone(),
        };
        tables
            .redirect
            .insert(redirect.address.key().as_str(), row.to_octets().as_slice())?;
    }
    Ok(())
}

fn add_account(account: &AccountRecord, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let row = AccountRow {
        address: account.address.clone(),
        verifier: account.verifier.clone(),
        is_enabled: true,
        quota_octets: account.quota_octets,
    };
    tables.account.insert(account.id.0, row.to_octets().as_slice())?;
    tables
        .address
        .insert(account.address.key().as_str(), account.id.0)?;
    tables.quota.insert(account.id.0, (0, 0, 0))?;
    raise(tables, state::NEXT_ACCOUNT, u64::from(account.id.0) + 1)?;
    for mailbox in &account.mailboxes {
        mailbox::add(account.id, mailbox, tables)?;
    }
    Ok(())
}

pub(super) fn set_verifier(set: &VerifierSet, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let Some(mut row) = rows::get::<AccountRow, _>(&tables.account, set.account.0)? else {
        return Ok(());
    };
    row.verifier.clone_from(&set.verifier);
    tables.account.insert(set.account.0, row.to_octets().as_slice())?;
    Ok(())
}
