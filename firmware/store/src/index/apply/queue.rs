//! The outbound queue.

use super::body::change_refs;
use super::{Effects, raise};
use crate::error::StoreError;
use crate::index::queue_rows::{EntryRow, RecipientRow, TokenRow, due};
use crate::index::rows::{self, Row};
use crate::index::{Tables, state};
use crate::log::record::{
    EntryRecord, EntrySettled, QueueDropped, QueueHeld, RecipientState, TokenRecord, TokensPruned,
};
use redb::ReadableTable;

/// Adds an entry whose body is there.
pub(super) fn add(
    entry: &EntryRecord,
    body_octets: u64,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    raise(tables, state::NEXT_ENTRY, entry.id + 1)?;
    if tables.queue.get(entry.id)?.is_some() || !change_refs(entry.body, 1, tables, effects)? {
        return Ok(());
    }
    let row = EntryRow {
        body: entry.body,
        size_octets: entry.prefix.len() as u64 + body_octets,
        prefix: entry.prefix.clone(),
        reverse_path: entry.reverse_path.clone(),
        account: entry.account,
        trace: entry.trace.clone(),
        queued: entry.queued,
        parameters: entry.parameters.clone(),
        hold: entry.hold.clone(),
        recipients: u32::try_from(entry.recipients.len()).unwrap_or(u32::MAX),
    };
    tables.queue.insert(entry.id, row.to_octets().as_slice())?;
    for (place, recipient) in (0..).zip(&entry.recipients) {
        let row = RecipientRow {
            address: recipient.address.clone(),
            destination: recipient.destination.clone(),
            parameters: recipient.parameters.clone(),
            state: RecipientState::new(recipient.next_attempt),
        };
        list(entry.id, place, &row, entry.hold.is_some(), tables)?;
        tables
            .recipient
            .insert((entry.id, place), row.to_octets().as_slice())?;
    }
    Ok(())
}

/// Has a recipient be found by when it is due.
fn list(
    entry: u64,
    place: u32,
    row: &RecipientRow,
    is_held: bool,
    tables: &mut Tables<'_>,
) -> Result<(), StoreError> {
    if let Some(due) = due(&row.state, is_held) {
        tables.due.insert((due, entry, place), ())?;
        let key = (row.destination.as_str(), due, entry, place);
        tables.destination.insert(key, ())?;
    }
    Ok(())
}

fn unlist(
    entry: u64,
    place: u32,
    row: &RecipientRow,
    is_held: bool,
    tables: &mut Tables<'_>,
) -> Result<(), StoreError> {
    if let Some(due) = due(&row.state, is_held) {
        tables.due.remove((due, entry, place))?;
        let key = (row.destination.as_str(), due, entry, place);
        tables.destination.remove(key)?;
    }
    Ok(())
}

pub(super) fn settle(
    entries: &[EntrySettled],
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    for settled in entries {
        let Some(entry) = rows::get::<EntryRow, _>(&tables.queue, settled.entry)? else {
            continue;
        };
        if settled.is_done {
            remove(settled.entry, tables, effects)?;
            continue;
        }
        let is_held = entry.hold.is_some();
        for (place, state) in &settled.recipients {
            let key = (settled.entry, *place);
            let Some(mut row) = rows::get::<RecipientRow, _>(&tables.recipient, key)? else {
                continue;
            };
            unlist(settled.entry, *place, &row, is_held, tables)?;
            row.state = state.clone();
            list(settled.entry, *place, &row, is_held, tables)?;
            tables.recipient.insert(key, row.to_octets().as_slice())?;
        }
    }
    Ok(())
}

fn recipients(entry: u64, tables: &Tables<'_>) -> Result<Vec<(u32, RecipientRow)>, StoreError> {
    let mut recipients = Vec::new();
    for found in tables.recipient.range((entry, 0)..=(entry, u32::MAX))? {
        let (key, value) = found?;
        recipients.push((key.value().1, RecipientRow::from_octets(value.value())?));
    }
    Ok(recipients)
}

fn remove(entry: u64, tables: &mut Tables<'_>, effects: &mut Effects) -> Result<(), StoreError> {
    let Some(row) = rows::get::<EntryRow, _>(&tables.queue, entry)? else {
        return Ok(());
    };
    for (place, recipient) in recipients(entry, tables)? {
        unlist(entry, place, &recipient, row.hold.is_some(), tables)?;
        tables.recipient.remove((entry, place))?;
    }
    tables.queue.remove(entry)?;
    change_refs(row.body, -1, tables, effects)?;
    Ok(())
}

pub(super) fn hold(held: &QueueHeld, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for id in &held.entries {
        let Some(mut row) = rows::get::<EntryRow, _>(&tables.queue, *id)? else {
            continue;
        };
        let (was_held, is_held) = (row.hold.is_some(), held.hold.is_some());
        for (place, recipient) in recipients(*id, tables)? {
            unlist(*id, place, &recipient, was_held, tables)?;
            list(*id, place, &recipient, is_held, tables)?;
        }
        row.hold.clone_from(&held.hold);
        tables.queue.insert(*id, row.to_octets().as_slice())?;
    }
    Ok(())
}

pub(super) fn drop(
    dropped: &QueueDropped,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    dropped
        .entries
        .iter()
        .try_for_each(|entry| remove(*entry, tables, effects))
}

pub(super) fn add_token(token: &TokenRecord, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let row = TokenRow {
        sender: token.sender.clone(),
        expires: token.expires,
    };
    tables
        .token
        .insert(token.token.as_str(), row.to_octets().as_slice())?;
    Ok(())
}

pub(super) fn prune_tokens(pruned: &TokensPruned, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let mut expired = Vec::new();
    for found in tables.token.iter()? {
        let (key, value) = found?;
        if TokenRow::from_octets(value.value())?.expires < pruned.expired_before {
            expired.push(key.value().to_owned());
        }
    }
    for token in expired {
        tables.token.remove(token.as_str())?;
    }
    Ok(())
}
