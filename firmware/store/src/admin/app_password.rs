//! Passwords for one program each (L4).

use crate::account::number;
use crate::error::StoreError;
use crate::index::admin_rows::AppPasswordRow;
use crate::index::rows::{self, Row};
use crate::index::{Tables, state};
use crate::log::record::{AppPasswordRemoved, AppPasswordSet, Mutation, Scopes};
use crate::request::Request;
use crate::view::View;
use mail::{AccountId, Timestamp};

/// The most passwords for programs that an account has.
const APP_PASSWORDS_MAX: usize = 50;
/// The longest label, in octets.
const LABEL_OCTETS_MAX: usize = 256;
/// When it was used last is kept as coarsely as this: a program that asks for mail each minute writes once a day.
const USED_SECONDS: u64 = 86_400;

/// A password for one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPassword {
    /// Its number; given once, never again.
    pub id: u32,
    /// What it is for, in the person's words.
    pub label: String,
    /// The password verifier, a PHC string (L3).
    pub verifier: String,
    /// What it opens.
    pub scopes: Scopes,
    /// When it was made.
    pub created: Timestamp,
    /// When it was used last, give or take a day; `None`: never.
    pub last_used: Option<Timestamp>,
}

fn list(
    account: AccountId,
    table: &impl redb::ReadableTable<(u32, u32), &'static [u8]>,
) -> Result<Vec<AppPassword>, StoreError> {
    let mut passwords = Vec::new();
    for found in table.range((account.0, 0)..=(account.0, u32::MAX))? {
        let (key, value) = found?;
        let row = AppPasswordRow::from_octets(value.value())?;
        passwords.push(AppPassword {
            id: key.value().1,
            label: row.label,
            verifier: row.verifier,
            scopes: row.scopes,
            created: row.created,
            last_used: row.last_used,
        });
    }
    Ok(passwords)
}

fn find(account: AccountId, id: u32, tables: &Tables<'_>) -> Result<AppPasswordRow, StoreError> {
    rows::get(&tables.app_password, (account.0, id))?.ok_or(StoreError::NoAppPassword)
}

fn check_label(label: &str) -> Result<(), StoreError> {
    if label.len() > LABEL_OCTETS_MAX {
        return Err(StoreError::TooLarge {
            octets_max: LABEL_OCTETS_MAX as u64,
        });
    }
    Ok(())
}

fn set(account: AccountId, id: u32, row: AppPasswordRow) -> Mutation {
    Mutation::SetAppPassword(AppPasswordSet {
        account,
        id,
        label: row.label,
        verifier: row.verifier,
        scopes: row.scopes,
        created: row.created,
        last_used: row.last_used,
    })
}

/// Gives an account a password for one more program. The reply is its number.
///
/// # Errors
/// [`StoreError::NoAccount`], [`StoreError::TooMany`], [`StoreError::TooLarge`].
#[derive(Clone, Debug)]
pub struct AddAppPassword {
    /// Whose.
    pub account: AccountId,
    /// [`AppPassword::label`]
    pub label: String,
    /// [`AppPassword::verifier`]
    pub verifier: String,
    /// [`AppPassword::scopes`]
    pub scopes: Scopes,
    /// When.
    pub created: Timestamp,
}

impl Request for AddAppPassword {
    type Reply = u32;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, u32), StoreError> {
        super::account::row(self.account, tables)?;
        check_label(&self.label)?;
        if list(self.account, &tables.app_password)?.len() >= APP_PASSWORDS_MAX {
            return Err(StoreError::TooMany {
                what: "passwords for programs",
                max: APP_PASSWORDS_MAX,
            });
        }
        let id = number(rows::counter(&tables.state, state::NEXT_APP_PASSWORD)?.max(1))?;
        let row = AppPasswordRow {
            label: self.label.clone(),
            verifier: self.verifier.clone(),
            scopes: self.scopes,
            created: self.created,
            last_used: None,
        };
        Ok((Some(set(self.account, id, row)), id))
    }
}

/// Gives a password for a program another label, or other scopes.
///
/// # Errors
/// [`StoreError::NoAppPassword`], [`StoreError::TooLarge`].
#[derive(Clone, Debug)]
pub struct ChangeAppPassword {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: u32,
    /// [`AppPassword::label`]
    pub label: String,
    /// [`AppPassword::scopes`]
    pub scopes: Scopes,
}

impl Request for ChangeAppPassword {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let row = find(self.account, self.id, tables)?;
        check_label(&self.label)?;
        let changed = AppPasswordRow {
            label: self.label.clone(),
            scopes: self.scopes,
            ..row.clone()
        };
        Ok(((changed != row).then(|| set(self.account, self.id, changed)), ()))
    }
}

/// Notes that a password for a program was used. Nothing is written when that was noted within a day.
///
/// # Errors
/// [`StoreError::NoAppPassword`].
#[derive(Clone, Copy, Debug)]
pub struct AppPasswordUsed {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: u32,
    /// When.
    pub at: Timestamp,
}

impl Request for AppPasswordUsed {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let mut row = find(self.account, self.id, tables)?;
        // Either way: the clock may have been wrong when it was noted.
        let is_noted = row
            .last_used
            .is_some_and(|noted| noted.0.abs_diff(self.at.0) < USED_SECONDS);
        row.last_used = Some(self.at);
        Ok(((!is_noted).then(|| set(self.account, self.id, row)), ()))
    }
}

/// Takes a password for a program away.
///
/// # Errors
/// [`StoreError::NoAppPassword`].
#[derive(Clone, Copy, Debug)]
pub struct RemoveAppPassword {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: u32,
}

impl Request for RemoveAppPassword {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        find(self.account, self.id, tables)?;
        let removed = AppPasswordRemoved {
            account: self.account,
            id: self.id,
        };
        Ok((Some(Mutation::RemoveAppPassword(removed)), ()))
    }
}

impl View {
    /// The passwords for programs of an account, in the order in which they were made.
    pub fn app_passwords(&self, account: AccountId) -> Result<Vec<AppPassword>, StoreError> {
        list(account, &self.tables.app_password)
    }
}
