//! The rows of what an owner administers.

use super::rows::{Row, row};
use crate::log::record::{AuditEntry, DomainDetails, Role, Scopes, SettingValue};
use mail::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DomainRow {
    pub(crate) details: DomainDetails,
    pub(crate) alternative_label: Option<String>,
}
row!(DomainRow in "domain" v 1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoleRow {
    pub(crate) role: Role,
}
row!(RoleRow in "role" v 1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AppPasswordRow {
    pub(crate) label: String,
    pub(crate) verifier: String,
    pub(crate) scopes: Scopes,
    pub(crate) created: Timestamp,
    pub(crate) last_used: Option<Timestamp>,
}
row!(AppPasswordRow in "app password" v 1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SettingRow {
    pub(crate) value: SettingValue,
}
row!(SettingRow in "setting" v 1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuditRow {
    pub(crate) entry: AuditEntry,
}
row!(AuditRow in "audit" v 1);
