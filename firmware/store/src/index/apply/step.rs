//! Counters step forward after damage.

use super::mailbox::save as save_mailbox;
use super::raise;
use crate::error::StoreError;
use crate::index::rows::{self, MailboxRow, Row};
use crate::index::{Tables, state};
use crate::log::record::Stepped;
use mail::MailboxId;
use redb::ReadableTable;

/// How far counters step forward when records were lost: more than the lost ones can have given.
const STEP: u64 = 1 << 20;
/// The same for modseqs.
const STEP_MODSEQ: u64 = 1 << 32;

pub(super) fn step(stepped: &Stepped, tables: &mut Tables<'_>) -> Result<(), StoreError> {
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
        row.uid_next += STEP;
        save_mailbox(id, &row, tables)?;
    }
    raise(tables, state::STEPPED_FOR, stepped.damaged_batch)
}
