//! Accounts, their passwords for programs, and who administers.

use super::{Effects, alias, domain, mailbox, raise};
use crate::error::StoreError;
use crate::index::admin_rows::{AppPasswordRow, RoleRow};
use crate::index::rows::{self, AccountRow, Row, address_key};
use crate::index::{Tables, state};
use crate::log::record::{
    AccountCreated, AccountDeleted, AccountDetails, AccountDetailsSet, AccountRenamed, Alias,
    AppPasswordRemoved, AppPasswordSet, DomainDetails, MailboxDeleted, MailboxRecord, Provisioned, Role,
    RoleSet, VerifierSet,
};
use mail::{AccountId, Address, LocalPart, MailboxId};
use redb::{ReadableTable, ReadableTableMetadata};

pub(super) fn provision(provisioned: &Provisioned, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for name in &provisioned.domains {
        domain::add(name, DomainDetails::default(), None, tables)?;
    }
    for account in &provisioned.accounts {
        let details = AccountDetails {
            quota_octets: account.quota_octets,
            ..AccountDetails::default()
        };
        let row = AccountRow {
            address: account.address.clone(),
            verifier: account.verifier.clone(),
            details,
            created: None,
        };
        add(account.id, &row, &account.mailboxes, tables)?;
    }
    // The box is the first one's.
    if let Some(first) = provisioned.accounts.first()
        && tables.role.is_empty()?
    {
        let row = RoleRow { role: Role::Owner };
        tables.role.insert(first.id.0, row.to_octets().as_slice())?;
    }
    for redirect in &provisioned.redirects {
        let alias = Alias::new(redirect.address.clone(), redirect.targets.clone());
        alias::set_one(&alias, tables)?;
    }
    Ok(())
}

fn add(
    id: AccountId,
    row: &AccountRow,
    mailboxes: &[MailboxRecord],
    tables: &mut Tables<'_>,
) -> Result<(), StoreError> {
    take_address(id, &row.address, tables)?;
    tables.account.insert(id.0, row.to_octets().as_slice())?;
    tables.quota.insert(id.0, (0, 0, 0))?;
    domain::count_account(row, true, tables)?;
    raise(tables, state::NEXT_ACCOUNT, u64::from(id.0) + 1)?;
    for record in mailboxes {
        mailbox::add(id, record, tables)?;
    }
    Ok(())
}

/// Gives an account its address. If another one has it, then the record that freed it was lost to damage: that account
/// keeps its mail, under an address that nobody chose.
fn take_address(id: AccountId, address: &Address, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let (domain, local_part) = address_key(address);
    let before = tables
        .address
        .insert((domain, local_part.as_str()), id.0)?
        .map(|row| AccountId(row.value()));
    let Some(other) = before.filter(|other| *other != id) else {
        return Ok(());
    };
    let local_part = LocalPart::from_unquoted(&format!("lost-{other}")).expect("a word and a number");
    let address = Address {
        local_part,
        domain: address.domain.clone(),
    };
    if let Some(mut row) = load(other, tables)? {
        row.address = address.clone();
        save(other, &row, tables)?;
        take_address(other, &address, tables)?;
    }
    Ok(())
}

fn load(id: AccountId, tables: &Tables<'_>) -> Result<Option<AccountRow>, StoreError> {
    rows::get(&tables.account, id.0)
}

fn save(id: AccountId, row: &AccountRow, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    tables.account.insert(id.0, row.to_octets().as_slice())?;
    Ok(())
}

pub(super) fn set_verifier(set: &VerifierSet, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let Some(mut row) = load(set.account, tables)? else {
        return Ok(());
    };
    row.verifier.clone_from(&set.verifier);
    save(set.account, &row, tables)
}

pub(super) fn create(
    created: &AccountCreated,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let row = AccountRow {
        address: created.address.clone(),
        verifier: created.verifier.clone(),
        details: created.details.clone(),
        created: Some(created.created),
    };
    effects.changed.insert(created.id);
    add(created.id, &row, &created.mailboxes, tables)
}

pub(super) fn set_details(
    set: &AccountDetailsSet,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let Some(mut row) = load(set.account, tables)? else {
        return Ok(());
    };
    domain::count_account(&row, false, tables)?;
    row.details = set.details.clone();
    domain::count_account(&row, true, tables)?;
    effects.changed.insert(set.account);
    save(set.account, &row, tables)
}

pub(super) fn rename(renamed: &AccountRenamed, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let Some(mut row) = load(renamed.account, tables)? else {
        return Ok(());
    };
    domain::count_account(&row, false, tables)?;
    {
        let (domain, local_part) = address_key(&row.address);
        tables.address.remove((domain, local_part.as_str()))?;
    }
    row.address = renamed.address.clone();
    take_address(renamed.account, &row.address, tables)?;
    domain::count_account(&row, true, tables)?;
    save(renamed.account, &row, tables)
}

pub(super) fn delete(
    deleted: &AccountDeleted,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    remove(deleted.account, tables, effects)
}

/// Takes an account away with all that is in it, and out of every list that names it.
pub(super) fn remove(
    account: AccountId,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let Some(row) = load(account, tables)? else {
        return Ok(());
    };
    let mut mailboxes = Vec::new();
    for found in tables
        .name
        .range((account.0, "")..(account.0.saturating_add(1), ""))?
    {
        mailboxes.push(MailboxId(found?.1.value()));
    }
    for mailbox in mailboxes {
        mailbox::delete(&MailboxDeleted { mailbox }, tables, effects)?;
    }
    domain::count_account(&row, false, tables)?;
    {
        let (domain, local_part) = address_key(&row.address);
        tables.address.remove((domain, local_part.as_str()))?;
    }
    tables.account.remove(account.0)?;
    tables.quota.remove(account.0)?;
    tables.role.remove(account.0)?;
    tables
        .app_password
        .retain_in((account.0, 0)..=(account.0, u32::MAX), |_, _| false)?;
    let after = account.0.saturating_add(1);
    tables
        .setting
        .retain_in((account.0, "")..(after, ""), |_, _| false)?;
    mailbox::forget_subject(account, tables)?;
    alias::forget_user(account, tables)?;
    effects.changed.insert(account);
    Ok(())
}

pub(super) fn set_app_password(set: &AppPasswordSet, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    raise(tables, state::NEXT_APP_PASSWORD, u64::from(set.id) + 1)?;
    if load(set.account, tables)?.is_none() {
        return Ok(());
    }
    let row = AppPasswordRow {
        label: set.label.clone(),
        verifier: set.verifier.clone(),
        scopes: set.scopes,
        created: set.created,
        last_used: set.last_used,
    };
    tables
        .app_password
        .insert((set.account.0, set.id), row.to_octets().as_slice())?;
    Ok(())
}

pub(super) fn remove_app_password(
    removed: &AppPasswordRemoved,
    tables: &mut Tables<'_>,
) -> Result<(), StoreError> {
    tables.app_password.remove((removed.account.0, removed.id))?;
    Ok(())
}

pub(super) fn set_role(set: &RoleSet, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    match &set.role {
        Some(role) if load(set.account, tables)?.is_some() => {
            let row = RoleRow { role: role.clone() };
            tables.role.insert(set.account.0, row.to_octets().as_slice())?;
        }
        _ => {
            tables.role.remove(set.account.0)?;
        }
    }
    Ok(())
}
