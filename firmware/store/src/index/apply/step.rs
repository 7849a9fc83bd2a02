//! Counters step forward: after damage, and after a restore.

use super::mailbox::save as save_mailbox;
use super::raise;
use crate::error::StoreError;
use crate::index::rows::{self, MailboxRow, Row};
use crate::index::{Tables, state};
use crate::log::record::Stepped;
use mail::{MailboxId, ModSeq};
use redb::ReadableTable;

/// How far counters step forward when records were lost: more than the lost ones can have given.
const STEP: u64 = 1 << 20;
/// The same for modseqs.
const STEP_MODSEQ: u64 = 1 << 32;

/// UIDNEXT after the last UID there is.
const UID_NEXT_MAX: u64 = 1 << 32;

pub(super) fn step(stepped: &Stepped, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    step_counters(tables)?;
    raise(tables, state::STEPPED_FOR, stepped.damaged_batch)
}

/// After a restore: what was given after the backup is never given again, and clients that saw it are put right (B3).
/// Whatever modseq a client knows, every message that is there has changed since, and what was expunged since is not known.
pub(super) fn restored(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    step_counters(tables)?;
    let mailboxes = tables
        .mailbox
        .iter()?
        .map(|row| row.map(|(key, _)| MailboxId(key.value())))
        .collect::<Result<Vec<_>, _>>()?;
    for id in mailboxes {
        restored_mailbox(id, tables)?;
    }
    Ok(())
}

fn restored_mailbox(id: MailboxId, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let Some(mut row) = rows::get::<MailboxRow, _>(&tables.mailbox, id.0)? else {
        return Ok(());
    };
    // That of the account has stepped: it is above all that was given before the backup, and soon after.
    let modseq = rows::quota(&tables.quota, row.account)?.2;
    let modseq = modseq.max(row.highest_modseq.0 + 1);
    row.highest_modseq = ModSeq(modseq);
    row.vanished_floor = ModSeq(modseq);
    save_mailbox(id, &row, tables)?;
    let flags = tables
        .flags
        .range((id.0, 0)..=(id.0, u32::MAX))?
        .map(|found| {
            found.map(|(key, value)| {
                let (_, system, keywords) = value.value();
                (key.value().1, system, keywords.to_owned())
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    tables
        .modseq
        .retain_in((id.0, 0, 0)..=(id.0, u64::MAX, u32::MAX), |_, ()| false)?;
    tables
        .vanished
        .retain_in((id.0, 0, 0)..=(id.0, u64::MAX, u32::MAX), |_, _| false)?;
    for (uid, system, keywords) in flags {
        tables
            .flags
            .insert((id.0, uid), (modseq, system, keywords.as_str()))?;
        tables.modseq.insert((id.0, modseq, uid), ())?;
    }
    Ok(())
}

fn step_counters(tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for name in [
        state::NEXT_ACCOUNT,
        state::NEXT_MAILBOX,
        state::NEXT_UID_VALIDITY,
        state::NEXT_BODY,
        state::NEXT_APP_PASSWORD,
        state::NEXT_ENTRY,
    ] {
        let value = rows::counter(&tables.state, name)?;
        tables.state.insert(name, value + STEP)?;
    }
    let accounts = tables
        .quota
        .iter()?
        .map(|row| row.map(|(key, value)| (key.value(), value.value())))
        .collect::<Result<Vec<_>, _>>()?;
    for (account, (octets, messages, modseq)) in accounts {
        tables
            .quota
            .insert(account, (octets, messages, modseq + STEP_MODSEQ))?;
    }
    let mailboxes = tables
        .mailbox
        .iter()?
        .map(|row| row.map(|(key, value)| (MailboxId(key.value()), MailboxRow::from_octets(value.value()))))
        .collect::<Result<Vec<_>, _>>()?;
    for (id, row) in mailboxes {
        let mut row = row?;
        row.uid_next = (row.uid_next + STEP).min(UID_NEXT_MAX);
        save_mailbox(id, &row, tables)?;
    }
    Ok(())
}
