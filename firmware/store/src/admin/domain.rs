//! Hosted domains, their limits and their server names.

use super::role::keeps_an_owner;
use crate::error::StoreError;
use crate::index::Tables;
use crate::index::admin_rows::DomainRow;
use crate::index::apply::accounts_in;
use crate::index::rows::{self, Row};
use crate::log::record::{AccountDetails, DomainDetails, DomainRemoved, DomainSet, Mutation};
use crate::request::Request;
use crate::view::View;
use mail::{Address, Domain, server_label};
use redb::ReadableTable;
use std::fmt;

/// The longest label of a name in DNS, in octets (RFC 1035 §2.3.4).
const LABEL_OCTETS_MAX: usize = 63;
/// The longest description, in octets.
const DESCRIPTION_OCTETS_MAX: usize = 1024;

/// A domain of this box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedDomain {
    /// Its name.
    pub domain: Domain,
    /// What was decided about it.
    pub details: DomainDetails,
    /// The first label of its server name (H1).
    pub server_label: String,
    /// The first label of the name that is published instead, if public authorities refuse the other (H5).
    pub alternative_label: Option<String>,
    /// The accounts in it.
    pub accounts: u64,
    /// The aliases in it.
    pub aliases: u64,
    /// What the quotas of its accounts add up to.
    pub quota_octets: u64,
}

impl HostedDomain {
    /// The label that is published: a name below the box's base name.
    pub fn published_label(&self) -> &str {
        self.alternative_label.as_deref().unwrap_or(&self.server_label)
    }
}

/// A limit of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainLimit {
    /// [`DomainDetails::accounts_max`]
    Accounts,
    /// [`DomainDetails::aliases_max`]
    Aliases,
    /// [`DomainDetails::quota_octets_max`]
    Quota,
}

impl fmt::Display for DomainLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DomainLimit::Accounts => "accounts",
            DomainLimit::Aliases => "aliases",
            DomainLimit::Quota => "room for mail",
        })
    }
}

pub(super) fn row(domain: &Domain, tables: &Tables<'_>) -> Result<DomainRow, StoreError> {
    rows::get(&tables.domain, domain.as_str())?.ok_or_else(|| StoreError::UnknownDomain(domain.clone()))
}

/// Whether an account or an alias may have this address.
pub(super) fn check_own_address(address: &Address, tables: &Tables<'_>) -> Result<(), StoreError> {
    let row = row(&address.domain, tables)?;
    if row.details.alias_of.is_some() {
        return Err(StoreError::IsAliasDomain(address.domain.clone()));
    }
    // C3: what other servers read as a pattern is no address here, so that nobody takes it for one.
    if address.local_part.as_str().contains(['*', '?', '%']) {
        return Err(StoreError::CatchAll(address.clone()));
    }
    Ok(())
}

/// Whether a domain has room for an account that is new, or has other details.
pub(super) fn check_limits(
    domain: &Domain,
    before: Option<&AccountDetails>,
    after: Option<&AccountDetails>,
    tables: &Tables<'_>,
) -> Result<(), StoreError> {
    let details = row(domain, tables)?.details;
    let (accounts, _, quota_octets) = usage(domain, tables)?;
    let limit = |limit| StoreError::DomainLimit {
        domain: domain.clone(),
        limit,
    };
    let is_full = details.accounts_max.is_some_and(|max| accounts >= u64::from(max));
    if before.is_none() && is_full {
        return Err(limit(DomainLimit::Accounts));
    }
    let Some((max, after)) = details.quota_octets_max.zip(after) else {
        return Ok(());
    };
    let others = quota_octets.saturating_sub(before.and_then(|details| details.quota_octets).unwrap_or(0));
    match after.quota_octets {
        Some(quota) if others.saturating_add(quota) <= max => Ok(()),
        // Less than it had is always allowed: the domain's limit may have been lowered meanwhile.
        Some(quota) if before.is_some_and(|before| before.quota_octets.is_none_or(|old| quota < old)) => {
            Ok(())
        }
        _ => Err(limit(DomainLimit::Quota)),
    }
}

pub(super) fn usage(domain: &Domain, tables: &Tables<'_>) -> Result<(u64, u64, u64), StoreError> {
    Ok(tables
        .usage
        .get(domain.as_str())?
        .map_or((0, 0, 0), |row| row.value()))
}

fn check_details(domain: &Domain, details: &DomainDetails, tables: &Tables<'_>) -> Result<(), StoreError> {
    if details.description.len() > DESCRIPTION_OCTETS_MAX {
        return Err(StoreError::TooLarge {
            octets_max: DESCRIPTION_OCTETS_MAX as u64,
        });
    }
    let Some(of) = &details.alias_of else {
        return Ok(());
    };
    // One step and no more, so that looking up an address stays two rows.
    if of == domain || row(of, tables)?.details.alias_of.is_some() {
        return Err(StoreError::IsAliasDomain(of.clone()));
    }
    let (accounts, aliases, _) = usage(domain, tables)?;
    if accounts + aliases > 0 || has_alias_domains(domain, tables)? {
        return Err(StoreError::DomainInUse(domain.clone()));
    }
    Ok(())
}

/// Whether another domain is an alias of this one.
fn has_alias_domains(domain: &Domain, tables: &Tables<'_>) -> Result<bool, StoreError> {
    for found in tables.domain.iter()? {
        let row = DomainRow::from_octets(found?.1.value())?;
        if row.details.alias_of.as_ref() == Some(domain) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Hosts a domain, or an alias domain.
///
/// # Errors
/// [`StoreError::DomainExists`]; [`StoreError::ServerNameTaken`] when another domain has the same server name (H4);
/// [`StoreError::UnknownDomain`], [`StoreError::IsAliasDomain`] when it is to be the alias of what cannot have one;
/// [`StoreError::NotADomainName`] for an address literal.
#[derive(Clone, Debug)]
pub struct AddDomain {
    /// Its name.
    pub domain: Domain,
    /// The rest.
    pub details: DomainDetails,
}

impl Request for AddDomain {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        if self.domain.is_literal() {
            return Err(StoreError::NotADomainName(self.domain.clone()));
        }
        if tables.domain.get(self.domain.as_str())?.is_some() {
            return Err(StoreError::DomainExists(self.domain.clone()));
        }
        check_details(&self.domain, &self.details, tables)?;
        let label = server_label(&self.domain);
        let mut alternatives = Vec::new();
        for found in tables.domain.iter()? {
            let (key, value) = found?;
            let other = Domain::parse(key.value()).map_err(|_| StoreError::IndexRow { table: "domain" })?;
            if server_label(&other) == label {
                return Err(StoreError::ServerNameTaken {
                    domain: self.domain.clone(),
                    by: other,
                });
            }
            alternatives.extend(DomainRow::from_octets(value.value())?.alternative_label);
        }
        let set = DomainSet {
            domain: self.domain.clone(),
            details: self.details.clone(),
            alternative_label: needs_alternative(&label).then(|| alternative(&self.domain, &alternatives)),
        };
        Ok((Some(Mutation::SetDomain(set)), ()))
    }
}

/// H5: public authorities refuse `--` in the third and fourth place, and DNS a longer label.
fn needs_alternative(label: &str) -> bool {
    label.len() > LABEL_OCTETS_MAX || label.get(2..4) == Some("--")
}

/// A label `m-o2-cz` for `o2.cz`, or `m-o2-cz-2` if that is taken (H5).
fn alternative(domain: &Domain, taken: &[String]) -> String {
    /// What a number behind it may need.
    const ROOM: usize = 8;
    let mut slug = String::from("m-");
    for c in domain.as_str().chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if !(c == '-' && slug.ends_with('-')) && slug.len() < LABEL_OCTETS_MAX - ROOM {
            slug.push(c);
        }
    }
    let slug = slug.trim_end_matches('-');
    std::iter::once(slug.to_owned())
        .chain((2..=taken.len() + 2).map(|number| format!("{slug}-{number}")))
        .find(|label| !taken.contains(label))
        .expect("there is one label more than are taken")
}

/// Gives a domain other details.
///
/// # Errors
/// [`StoreError::UnknownDomain`]; [`StoreError::DomainInUse`] when it has accounts, aliases or alias domains and is to be
/// an alias domain itself; [`StoreError::IsAliasDomain`].
#[derive(Clone, Debug)]
pub struct ChangeDomain {
    /// Which.
    pub domain: Domain,
    /// How it is to be. Limits below what is there stop only what is new.
    pub details: DomainDetails,
}

impl Request for ChangeDomain {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let row = row(&self.domain, tables)?;
        if row.details == self.details {
            return Ok((None, ()));
        }
        check_details(&self.domain, &self.details, tables)?;
        let set = DomainSet {
            domain: self.domain.clone(),
            details: self.details.clone(),
            alternative_label: row.alternative_label,
        };
        Ok((Some(Mutation::SetDomain(set)), ()))
    }
}

/// Hosts a domain no more.
///
/// # Errors
/// [`StoreError::UnknownDomain`]; [`StoreError::DomainInUse`] when it has accounts or aliases and they are to be kept, or
/// when other domains are its aliases; [`StoreError::LastOwner`].
#[derive(Clone, Debug)]
pub struct RemoveDomain {
    /// Which.
    pub domain: Domain,
    /// Whether its accounts, with their mail, and its aliases go with it.
    pub with_all: bool,
}

impl Request for RemoveDomain {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        row(&self.domain, tables)?;
        let (accounts, aliases, _) = usage(&self.domain, tables)?;
        if (accounts + aliases > 0 && !self.with_all) || has_alias_domains(&self.domain, tables)? {
            return Err(StoreError::DomainInUse(self.domain.clone()));
        }
        if accounts > 0 {
            let gone = accounts_in(self.domain.as_str(), tables)?;
            keeps_an_owner(tables, |account| gone.contains(&account))?;
        }
        let removed = DomainRemoved {
            domain: self.domain.clone(),
        };
        Ok((Some(Mutation::RemoveDomain(removed)), ()))
    }
}

impl View {
    /// A hosted domain.
    pub fn hosted_domain(&self, domain: &Domain) -> Result<Option<HostedDomain>, StoreError> {
        let Some(row) = rows::get::<DomainRow, _>(&self.tables.domain, domain.as_str())? else {
            return Ok(None);
        };
        let usage = self.tables.usage.get(domain.as_str())?;
        let (accounts, aliases, quota_octets) = usage.map_or((0, 0, 0), |row| row.value());
        Ok(Some(HostedDomain {
            domain: domain.clone(),
            server_label: server_label(domain),
            details: row.details,
            alternative_label: row.alternative_label,
            accounts,
            aliases,
            quota_octets,
        }))
    }

    /// All hosted domains, sorted by name.
    pub fn hosted_domains(&self) -> Result<Vec<HostedDomain>, StoreError> {
        let mut domains = Vec::new();
        for domain in self.domains()? {
            domains.extend(self.hosted_domain(&domain)?);
        }
        Ok(domains)
    }

    /// The address that `address` means, if its domain is hosted here: in an alias domain the one of the same local part
    /// in the domain that it stands for. One row is read.
    pub fn canonical(&self, address: &Address) -> Result<Option<Address>, StoreError> {
        let row: Option<DomainRow> = rows::get(&self.tables.domain, address.domain.as_str())?;
        Ok(row.map(|row| Address {
            local_part: address.local_part.clone(),
            domain: row.details.alias_of.unwrap_or_else(|| address.domain.clone()),
        }))
    }
}
