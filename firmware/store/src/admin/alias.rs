//! Aliases and redirects: addresses that stand for others.

use super::domain::{self, DomainLimit};
use super::{Find, Page, page};
use crate::error::StoreError;
use crate::index::Tables;
use crate::index::rows::{Row, address_key, get_by_address};
use crate::log::record::{Alias, AliasesRemoved, AliasesSet, Mutation};
use crate::request::Request;
use crate::view::View;
use mail::{AccountId, Address, Domain};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The most targets of one alias (R3).
pub const REDIRECT_TARGETS_MAX: usize = 100;
/// The most accounts that send with one alias.
const SENDERS_MAX: usize = 1000;
/// The most aliases in one request.
const ALIASES_AT_ONCE_MAX: usize = 1000;
/// Addresses looked up to find a loop; an alias that leads to more leads too far.
const LOOKUPS_MAX: usize = 1000;

/// A page of aliases.
pub type AliasPage = Page<Alias>;

/// Makes aliases, or has those that are there be as they are here: all of them or none. One may have the address of an
/// account: its targets get the mail instead, or as well if the account is among them (R3).
///
/// # Errors
/// [`StoreError::UnknownDomain`], [`StoreError::IsAliasDomain`], [`StoreError::CatchAll`] (C3),
/// [`StoreError::AddressTaken`] when two of them have one address, [`StoreError::TooMany`] targets or senders, or none,
/// [`StoreError::RedirectLoop`] (R4), [`StoreError::NoAccount`] when an owner or a sender does not exist,
/// [`StoreError::DomainLimit`]. Nothing is written then.
#[derive(Clone, Debug)]
pub struct SetAliases {
    /// How they are to be.
    pub aliases: Vec<Alias>,
}

impl Request for SetAliases {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        if self.aliases.len() > ALIASES_AT_ONCE_MAX {
            return Err(too_many("aliases at once", ALIASES_AT_ONCE_MAX));
        }
        let mut new = BTreeMap::new();
        let mut changed = Vec::new();
        let mut added: BTreeMap<&Domain, u64> = BTreeMap::new();
        for alias in &self.aliases {
            check(alias, tables)?;
            if new.insert(alias.address.key(), alias).is_some() {
                return Err(StoreError::AddressTaken(alias.address.clone()));
            }
            match get_by_address::<Alias>(&tables.redirect, &alias.address)? {
                Some(old) if old == *alias => continue,
                Some(_) => (),
                None => *added.entry(&alias.address.domain).or_default() += 1,
            }
            changed.push(alias.clone());
        }
        for (domain, added) in added {
            let max = domain::row(domain, tables)?.details.aliases_max;
            let (_, aliases, _) = domain::usage(domain, tables)?;
            if max.is_some_and(|max| aliases + added > u64::from(max)) {
                return Err(StoreError::DomainLimit {
                    domain: domain.clone(),
                    limit: DomainLimit::Aliases,
                });
            }
        }
        for alias in changed.iter().filter(|alias| alias.is_enabled) {
            check_loop(alias, &new, tables)?;
        }
        let set = AliasesSet { aliases: changed };
        let mutation = Mutation::SetAliases(set);
        let is_any = matches!(&mutation, Mutation::SetAliases(set) if !set.aliases.is_empty());
        Ok((is_any.then_some(mutation), ()))
    }
}

fn too_many(what: &'static str, max: usize) -> StoreError {
    StoreError::TooMany { what, max }
}

fn check(alias: &Alias, tables: &Tables<'_>) -> Result<(), StoreError> {
    domain::check_own_address(&alias.address, tables)?;
    if !(1..=REDIRECT_TARGETS_MAX).contains(&alias.targets.len()) {
        return Err(too_many(
            "targets of an alias, and one at least,",
            REDIRECT_TARGETS_MAX,
        ));
    }
    if alias.senders.len() > SENDERS_MAX {
        return Err(too_many("senders of an alias", SENDERS_MAX));
    }
    for user in alias.users() {
        super::account::row(user, tables)?;
    }
    Ok(())
}

/// R4: refuses an alias whose mail comes back to it by way of others. One that has itself as a target keeps a copy.
fn check_loop(alias: &Alias, new: &BTreeMap<String, &Alias>, tables: &Tables<'_>) -> Result<(), StoreError> {
    let own = alias.address.key();
    let mut seen = BTreeSet::from([own.clone()]);
    let mut waiting: Vec<Address> = Vec::new();
    let mut targets = alias.targets.clone();
    targets.retain(|target| target.key() != own);
    waiting.append(&mut targets);
    while let Some(address) = waiting.pop() {
        let address = canonical(address, tables)?;
        let key = address.key();
        if key == own {
            return Err(StoreError::RedirectLoop(alias.address.clone()));
        }
        if !seen.insert(key.clone()) {
            continue;
        }
        if seen.len() > LOOKUPS_MAX {
            return Err(too_many("addresses that an alias leads to", LOOKUPS_MAX));
        }
        let stored;
        let next = if let Some(alias) = new.get(&key) {
            Some(*alias)
        } else {
            stored = get_by_address::<Alias>(&tables.redirect, &address)?;
            stored.as_ref()
        };
        if let Some(next) = next.filter(|next| next.is_enabled) {
            let others = next.targets.iter().filter(|target| target.key() != key);
            waiting.extend(others.cloned());
        }
    }
    Ok(())
}

/// As [`View::canonical`], for addresses of other boxes, too.
fn canonical(address: Address, tables: &Tables<'_>) -> Result<Address, StoreError> {
    match domain::row(&address.domain, tables) {
        Ok(row) => Ok(Address {
            domain: row.details.alias_of.unwrap_or(address.domain),
            local_part: address.local_part,
        }),
        Err(StoreError::UnknownDomain(_)) => Ok(address),
        Err(error) => Err(error),
    }
}

/// Removes aliases; those that are not there are passed over.
#[derive(Clone, Debug)]
pub struct RemoveAliases {
    /// Which.
    pub addresses: Vec<Address>,
}

impl Request for RemoveAliases {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let mut addresses = Vec::new();
        for address in &self.addresses {
            if get_by_address::<Alias>(&tables.redirect, address)?.is_some() {
                addresses.push(address.clone());
            }
        }
        let is_any = !addresses.is_empty();
        let removed = Mutation::RemoveAliases(AliasesRemoved { addresses });
        Ok((is_any.then_some(removed), ()))
    }
}

impl View {
    /// The alias of an address, in any case, whether it is enabled or not.
    pub fn alias(&self, address: &Address) -> Result<Option<Alias>, StoreError> {
        get_by_address(&self.tables.redirect, address)
    }

    /// The aliases of a domain by their address, page by page, with those left out where neither it nor a target has
    /// the text (R1). A page may be short, even empty, and yet not be the last.
    pub fn aliases_of(&self, domain: &Domain, find: &Find) -> Result<AliasPage, StoreError> {
        let domain = domain.as_str();
        let range = self
            .tables
            .redirect
            .range((find.start(domain), Bound::Unbounded))?;
        let rows = range.map(|found| {
            let (key, value) = found?;
            let (of, local_part) = key.value();
            if of != domain {
                return Ok((of.to_owned(), String::new(), None));
            }
            let alias = Alias::from_octets(value.value())?;
            let targets: Vec<String> = alias.targets.iter().map(ToString::to_string).collect();
            let texts = std::iter::once(local_part).chain(targets.iter().map(String::as_str));
            let is_found = find.matches(texts);
            Ok((of.to_owned(), local_part.to_owned(), is_found.then_some(alias)))
        });
        page(find, domain, rows)
    }

    /// The aliases that an account sends with: its own, and those that it was granted (P9, R2).
    pub fn aliases_of_sender(&self, account: AccountId) -> Result<Vec<Alias>, StoreError> {
        let mut aliases = Vec::new();
        let range = (account.0, "", "")..(account.0.saturating_add(1), "", "");
        for found in self.tables.sender.range(range)? {
            let key = found?.0;
            let (_, domain, local_part) = key.value();
            let row = self.tables.redirect.get((domain, local_part))?;
            let row = row.ok_or(StoreError::IndexRow { table: "sender" })?;
            aliases.push(Alias::from_octets(row.value())?);
        }
        Ok(aliases)
    }

    /// Whether an account may send with this address: it is its own, or that of an enabled alias that it owns or was
    /// granted (P9).
    pub fn may_send_as(&self, account: AccountId, address: &Address) -> Result<bool, StoreError> {
        let Some(address) = self.canonical(address)? else {
            return Ok(false);
        };
        if self
            .account_by_address(&address)?
            .is_some_and(|owner| owner.id == account)
        {
            return Ok(true);
        }
        let (domain, local_part) = address_key(&address);
        let is_granted = self
            .tables
            .sender
            .get((account.0, domain, local_part.as_str()))?
            .is_some();
        Ok(is_granted && self.alias(&address)?.is_some_and(|alias| alias.is_enabled))
    }
}
