//! Settings and the audit trail.

use super::{Effects, RecordAt, apply, raise};
use crate::error::StoreError;
use crate::index::admin_rows::{AuditRow, SettingRow};
use crate::index::rows::Row;
use crate::index::{Tables, state};
use crate::log::record::{AuditPruned, Audited, SettingsSet};
use redb::ReadableTable;

/// Lines of the audit trail that are kept: some years of a busy office, 10 MiB at most.
pub(crate) const AUDIT_ENTRIES_MAX: u64 = 20_000;

/// Whose settings those of the box are: no account has this number.
pub(crate) const OF_THE_BOX: u32 = 0;

pub(super) fn set_settings(
    set: &SettingsSet,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let of = set.account.map_or(OF_THE_BOX, |account| account.0);
    if let Some(account) = set.account {
        if tables.account.get(of)?.is_none() {
            return Ok(());
        }
        effects.changed.insert(account);
    }
    for (name, value) in &set.values {
        let key = (of, name.as_str());
        match value {
            Some(value) => {
                let row = SettingRow { value: value.clone() };
                tables.setting.insert(key, row.to_octets().as_slice())?;
            }
            None => {
                tables.setting.remove(key)?;
            }
        }
    }
    Ok(())
}

/// A line of the trail, and what it is about.
pub(super) fn audit(
    audited: &Audited,
    at: RecordAt,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    if let Ok(Some(change)) = audited.change() {
        apply(&change, at, tables, effects)?;
    }
    let row = AuditRow {
        entry: audited.entry.clone(),
    };
    tables.audit.insert(audited.number, row.to_octets().as_slice())?;
    raise(tables, state::NEXT_AUDIT, audited.number + 1)?;
    // So this counter does not step after damage, as the others do.
    let first_kept = (audited.number + 1).saturating_sub(AUDIT_ENTRIES_MAX);
    tables.audit.retain_in(..first_kept, |_, _| false)?;
    Ok(())
}

pub(super) fn prune_audit(pruned: &AuditPruned, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    tables.audit.retain_in(..pruned.first_kept, |_, _| false)?;
    Ok(())
}
