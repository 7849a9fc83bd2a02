//! Who administers what.

use crate::error::StoreError;
use crate::index::Tables;
use crate::index::admin_rows::RoleRow;
use crate::index::rows::{self, AccountRow, Row};
use crate::log::record::{Mutation, Role, RoleSet};
use crate::request::Request;
use crate::view::View;
use mail::{AccountId, Domain};
use redb::ReadableTable;

/// Lets an account administer the box, or domains, or nothing. The first account of a box that was claimed is its owner.
///
/// # Errors
/// [`StoreError::NoAccount`], [`StoreError::UnknownDomain`]; [`StoreError::LastOwner`] when the box would have none who can
/// log in.
#[derive(Clone, Debug)]
pub struct SetRole {
    /// Who.
    pub account: AccountId,
    /// What; `None`: nothing. A list of domains is sorted, and an empty one is nothing.
    pub role: Option<Role>,
}

impl Request for SetRole {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        super::account::row(self.account, tables)?;
        let role = match self.role.clone() {
            Some(Role::Domains(mut domains)) => {
                domains.sort();
                domains.dedup();
                for domain in &domains {
                    super::domain::row(domain, tables)?;
                }
                (!domains.is_empty()).then_some(Role::Domains(domains))
            }
            role => role,
        };
        let before = rows::get::<RoleRow, _>(&tables.role, self.account.0)?.map(|row| row.role);
        if before == role {
            return Ok((None, ()));
        }
        if before == Some(Role::Owner) {
            keeps_an_owner(tables, |account| account == self.account)?;
        }
        let set = RoleSet {
            account: self.account,
            role,
        };
        Ok((Some(Mutation::SetRole(set)), ()))
    }
}

/// Whether somebody owns the box who can log in, without those that `leaves` names. A box that has nobody cannot be
/// administered again; one whose only owner was not among them was so before.
pub(super) fn keeps_an_owner(
    tables: &Tables<'_>,
    leaves: impl Fn(AccountId) -> bool,
) -> Result<(), StoreError> {
    let (mut is_owner_among_them, mut is_kept) = (false, false);
    for found in tables.role.iter()? {
        let (key, value) = found?;
        if RoleRow::from_octets(value.value())?.role != Role::Owner {
            continue;
        }
        let account = AccountId(key.value());
        if leaves(account) {
            is_owner_among_them = true;
        } else if let Some(row) = rows::get::<AccountRow, _>(&tables.account, account.0)? {
            is_kept |= row.details.is_enabled;
        }
    }
    if is_owner_among_them && !is_kept {
        return Err(StoreError::LastOwner);
    }
    Ok(())
}

impl View {
    /// What an account may administer.
    pub fn role(&self, account: AccountId) -> Result<Option<Role>, StoreError> {
        Ok(rows::get::<RoleRow, _>(&self.tables.role, account.0)?.map(|row| row.role))
    }

    /// All who administer something, in the order of their numbers.
    pub fn roles(&self) -> Result<Vec<(AccountId, Role)>, StoreError> {
        let mut roles = Vec::new();
        for found in self.tables.role.iter()? {
            let (key, value) = found?;
            roles.push((AccountId(key.value()), RoleRow::from_octets(value.value())?.role));
        }
        Ok(roles)
    }

    /// Who administers a domain: those who were given it, else the owners of the box (C6).
    pub fn admins_of(&self, domain: &Domain) -> Result<Vec<AccountId>, StoreError> {
        let roles = self.roles()?;
        let of = |is_one: &dyn Fn(&Role) -> bool| -> Vec<AccountId> {
            let found = roles.iter().filter(|(_, role)| is_one(role));
            found.map(|(account, _)| *account).collect()
        };
        let admins = of(&|role| matches!(role, Role::Domains(domains) if domains.contains(domain)));
        if admins.is_empty() {
            return Ok(of(&|role| *role == Role::Owner));
        }
        Ok(admins)
    }
}
