//! Aliases and redirects.

use super::domain;
use crate::error::StoreError;
use crate::index::Tables;
use crate::index::rows::{self, Row, address_key};
use crate::log::record::{Alias, AliasesRemoved, AliasesSet};
use mail::{AccountId, Domain};
use redb::ReadableTable;

pub(super) fn set(set: &AliasesSet, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    set.aliases.iter().try_for_each(|alias| set_one(alias, tables))
}

pub(super) fn set_one(alias: &Alias, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let (domain, local_part) = address_key(&alias.address);
    remove_key(&alias.address.domain, &local_part, tables)?;
    let key = (domain, local_part.as_str());
    tables.redirect.insert(key, alias.to_octets().as_slice())?;
    for user in alias.users() {
        tables.sender.insert((user.0, key.0, key.1), ())?;
    }
    domain::count(&alias.address.domain, tables, |(accounts, aliases, octets)| {
        (accounts, aliases + 1, octets)
    })
}

pub(super) fn remove(removed: &AliasesRemoved, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for address in &removed.addresses {
        remove_key(&address.domain, &address_key(address).1, tables)?;
    }
    Ok(())
}

pub(super) fn remove_key(
    domain: &Domain,
    local_part: &str,
    tables: &mut Tables<'_>,
) -> Result<(), StoreError> {
    let key = (domain.as_str(), local_part);
    let Some(alias) = tables
        .redirect
        .remove(key)?
        .map(|found| Alias::from_octets(found.value()))
    else {
        return Ok(());
    };
    for user in alias?.users() {
        tables.sender.remove((user.0, key.0, key.1))?;
    }
    domain::count(domain, tables, |(accounts, aliases, octets)| {
        (accounts, aliases.saturating_sub(1), octets)
    })
}

/// The local parts of the aliases of a domain.
pub(super) fn addresses_in(domain: &str, tables: &Tables<'_>) -> Result<Vec<String>, StoreError> {
    let mut local_parts = Vec::new();
    for found in tables.redirect.range((domain, "")..)? {
        let key = found?.0;
        if key.value().0 != domain {
            break;
        }
        local_parts.push(key.value().1.to_owned());
    }
    Ok(local_parts)
}

/// Takes an account out of the aliases that it sends with.
pub(super) fn forget_user(account: AccountId, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    for found in tables
        .sender
        .range((account.0, "", "")..(account.0.saturating_add(1), "", ""))?
    {
        let key = found?.0;
        let (_, domain, local_part) = key.value();
        keys.push((domain.to_owned(), local_part.to_owned()));
    }
    for (domain, local_part) in keys {
        let key = (domain.as_str(), local_part.as_str());
        tables.sender.remove((account.0, key.0, key.1))?;
        if let Some(mut alias) = rows::get::<Alias, _>(&tables.redirect, key)? {
            alias.owner = alias.owner.filter(|owner| *owner != account);
            alias.senders.retain(|sender| *sender != account);
            tables.redirect.insert(key, alias.to_octets().as_slice())?;
        }
    }
    Ok(())
}
