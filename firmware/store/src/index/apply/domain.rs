//! Hosted domains, and what is in each.

use super::{Effects, account, alias};
use crate::error::StoreError;
use crate::index::Tables;
use crate::index::admin_rows::{DomainRow, RoleRow};
use crate::index::rows::{self, AccountRow, Row};
use crate::log::record::{DomainDetails, DomainRemoved, DomainSet, Role};
use mail::{AccountId, Domain};
use redb::ReadableTable;

pub(super) fn set(set: &DomainSet, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    add(
        &set.domain,
        set.details.clone(),
        set.alternative_label.clone(),
        tables,
    )
}

pub(super) fn add(
    domain: &Domain,
    details: DomainDetails,
    alternative_label: Option<String>,
    tables: &mut Tables<'_>,
) -> Result<(), StoreError> {
    let row = DomainRow {
        details,
        alternative_label,
    };
    tables
        .domain
        .insert(domain.as_str(), row.to_octets().as_slice())?;
    if tables.usage.get(domain.as_str())?.is_none() {
        // Nothing, unless the record that made it was lost to damage once before.
        let usage = usage(domain.as_str(), tables)?;
        tables.usage.insert(domain.as_str(), usage)?;
    }
    Ok(())
}

/// Counts what is in a domain.
pub(crate) fn usage(domain: &str, tables: &Tables<'_>) -> Result<(u64, u64, u64), StoreError> {
    let (mut accounts, mut quota_octets) = (0, 0_u64);
    for id in accounts_in(domain, tables)? {
        if let Some(row) = rows::get::<AccountRow, _>(&tables.account, id.0)? {
            accounts += 1;
            quota_octets = quota_octets.saturating_add(row.details.quota_octets.unwrap_or(0));
        }
    }
    Ok((
        accounts,
        alias::addresses_in(domain, tables)?.len() as u64,
        quota_octets,
    ))
}

pub(crate) fn accounts_in(domain: &str, tables: &Tables<'_>) -> Result<Vec<AccountId>, StoreError> {
    let mut accounts = Vec::new();
    for found in tables.address.range((domain, "")..)? {
        let (key, id) = found?;
        if key.value().0 != domain {
            break;
        }
        accounts.push(AccountId(id.value()));
    }
    Ok(accounts)
}

/// Changes the counts of a domain, if it is hosted.
pub(super) fn count(
    domain: &Domain,
    tables: &mut Tables<'_>,
    change: impl FnOnce((u64, u64, u64)) -> (u64, u64, u64),
) -> Result<(), StoreError> {
    let usage = tables.usage.get(domain.as_str())?.map(|row| row.value());
    if let Some(usage) = usage {
        tables.usage.insert(domain.as_str(), change(usage))?;
    }
    Ok(())
}

/// Counts an account more in its domain, or less.
pub(super) fn count_account(
    row: &AccountRow,
    is_added: bool,
    tables: &mut Tables<'_>,
) -> Result<(), StoreError> {
    let quota = row.details.quota_octets.unwrap_or(0);
    count(&row.address.domain, tables, |(accounts, aliases, octets)| {
        if is_added {
            (accounts + 1, aliases, octets.saturating_add(quota))
        } else {
            (accounts.saturating_sub(1), aliases, octets.saturating_sub(quota))
        }
    })
}

pub(super) fn remove(
    removed: &DomainRemoved,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let name = removed.domain.as_str();
    for id in accounts_in(name, tables)? {
        account::remove(id, tables, effects)?;
    }
    for local_part in alias::addresses_in(name, tables)? {
        alias::remove_key(&removed.domain, &local_part, tables)?;
    }
    let mut roles = Vec::new();
    for found in tables.role.iter()? {
        let (key, value) = found?;
        if let Role::Domains(domains) = RoleRow::from_octets(value.value())?.role
            && domains.contains(&removed.domain)
        {
            roles.push((key.value(), domains));
        }
    }
    for (id, mut domains) in roles {
        domains.retain(|domain| *domain != removed.domain);
        if domains.is_empty() {
            tables.role.remove(id)?;
        } else {
            let role = Role::Domains(domains);
            tables.role.insert(id, RoleRow { role }.to_octets().as_slice())?;
        }
    }
    tables.domain.remove(name)?;
    tables.usage.remove(name)?;
    Ok(())
}
