//! Settings of the box and of accounts: names with values whose layout is their reader's.

use crate::error::StoreError;
use crate::index::admin_rows::SettingRow;
use crate::index::apply::OF_THE_BOX;
use crate::index::rows::{self, Row};
use crate::index::{ReadTables, Tables};
use crate::log::record::{Mutation, SettingValue, SettingsSet};
use crate::request::Request;
use crate::view::View;
use mail::AccountId;
use std::fmt;

/// The largest value of a setting, in octets: a certificate with its chain fits.
pub const SETTING_OCTETS_MAX: usize = 64 * 1024;
/// The most settings that are set at once, and the most octets that they have together.
const SETTINGS_AT_ONCE_MAX: usize = 1000;
const OCTETS_AT_ONCE_MAX: usize = 1024 * 1024;

/// The name of a setting: `area/name` or deeper, of lower-case letters, digits and `.-_@`, so that those of an area are
/// listed together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingName(String);

impl SettingName {
    /// The longest name, in octets.
    pub const OCTETS_MAX: usize = 320;

    /// Takes a name; `None`: it is not one.
    pub fn parse(text: &str) -> Option<SettingName> {
        let is_part = |part: &str| {
            let is_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_@".contains(c);
            !part.is_empty() && part.chars().all(is_char)
        };
        let is_name = text.len() <= SettingName::OCTETS_MAX && text.split('/').all(is_part);
        is_name.then(|| SettingName(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sets settings, all at once. Nothing is written when they are so already.
///
/// # Errors
/// [`StoreError::NoAccount`], [`StoreError::TooMany`], [`StoreError::TooLarge`].
#[derive(Clone, Debug)]
pub struct SetSettings {
    /// Whose; `None`: the box's. They go with the account.
    pub account: Option<AccountId>,
    /// What they are to be; `None`: they are to be gone.
    pub values: Vec<(SettingName, Option<SettingValue>)>,
}

impl Request for SetSettings {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        if let Some(account) = self.account {
            super::account::row(account, tables)?;
        }
        if self.values.len() > SETTINGS_AT_ONCE_MAX {
            return Err(StoreError::TooMany {
                what: "settings at once",
                max: SETTINGS_AT_ONCE_MAX,
            });
        }
        let octets = |value: &Option<SettingValue>| value.as_ref().map_or(0, |value| value.octets.len());
        let too_large = |max: usize| StoreError::TooLarge {
            octets_max: max as u64,
        };
        if self
            .values
            .iter()
            .any(|(_, value)| octets(value) > SETTING_OCTETS_MAX)
        {
            return Err(too_large(SETTING_OCTETS_MAX));
        }
        if self.values.iter().map(|(_, value)| octets(value)).sum::<usize>() > OCTETS_AT_ONCE_MAX {
            return Err(too_large(OCTETS_AT_ONCE_MAX));
        }
        let of = self.account.map_or(OF_THE_BOX, |account| account.0);
        let mut values = Vec::new();
        let mut is_changed = false;
        for (name, value) in &self.values {
            let before: Option<SettingRow> = rows::get(&tables.setting, (of, name.as_str()))?;
            is_changed |= before.map(|row| row.value) != *value;
            values.push((name.as_str().to_owned(), value.clone()));
        }
        let set = SettingsSet {
            account: self.account,
            values,
        };
        Ok((is_changed.then_some(Mutation::SetSettings(set)), ()))
    }
}

impl View {
    /// A setting of an account, or of the box.
    pub fn setting(
        &self,
        account: Option<AccountId>,
        name: &SettingName,
    ) -> Result<Option<SettingValue>, StoreError> {
        let of = account.map_or(OF_THE_BOX, |account| account.0);
        let row: Option<SettingRow> = rows::get(&self.tables.setting, (of, name.as_str()))?;
        Ok(row.map(|row| row.value))
    }

    /// The settings of an account, or of the box, whose names begin with `area`, sorted.
    pub fn settings(
        &self,
        account: Option<AccountId>,
        area: &str,
    ) -> Result<Vec<(SettingName, SettingValue)>, StoreError> {
        list(
            account.map_or(OF_THE_BOX, |account| account.0),
            area,
            &self.tables,
        )
    }
}

fn list(of: u32, area: &str, tables: &ReadTables) -> Result<Vec<(SettingName, SettingValue)>, StoreError> {
    let mut settings = Vec::new();
    for found in tables.setting.range((of, area)..)? {
        let (key, value) = found?;
        let (whose, name) = key.value();
        if whose != of || !name.starts_with(area) {
            break;
        }
        let row = SettingRow::from_octets(value.value())?;
        settings.push((SettingName(name.to_owned()), row.value));
    }
    Ok(settings)
}
