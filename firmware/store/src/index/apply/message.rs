//! Messages.

use super::body::{add_body, change_refs};
use super::mailbox::{load as load_mailbox, save as save_mailbox, touch};
use super::{Effects, RecordAt, queue};
use crate::error::StoreError;
use crate::index::Tables;
use crate::index::rows::{self, Counts, MailboxRow, MessageRow, Row};
use crate::log::record::{Appended, Copied, Expunged, FlagsSet, MessageRecord};
use mail::{Flags, MailboxId, ModSeq, SystemFlags, Uid};
use redb::ReadableTable;

pub(super) fn append(
    appended: &Appended,
    at: RecordAt,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    for body in &appended.bodies {
        add_body(body, at, tables)?;
    }
    let body_octets = |id| {
        let mut bodies = appended.bodies.iter();
        bodies.find(|body| body.id == id).map_or(0, |body| body.octets)
    };
    for message in &appended.messages {
        let row = MessageRow {
            body: message.body,
            size_octets: message.prefix.len() as u64 + body_octets(message.body),
            internal_date: message.internal_date,
            saved: appended.saved,
            prefix: message.prefix.clone(),
        };
        let MessageRecord {
            mailbox,
            uid,
            modseq,
            ref flags,
            ..
        } = *message;
        add_message(mailbox, uid, modseq, flags, &row, tables, effects)?;
    }
    for entry in &appended.entries {
        queue::add(entry, body_octets(entry.body), tables, effects)?;
    }
    queue::settle(&appended.settled, tables, effects)?;
    for token in &appended.tokens {
        queue::add_token(token, tables)?;
    }
    for body in &appended.bodies {
        // Nobody has it, since its mailbox was lost to damage.
        change_refs(body.id, 0, tables, effects)?;
    }
    Ok(())
}

fn add_message(
    mailbox: MailboxId,
    uid: Uid,
    modseq: ModSeq,
    flags: &Flags,
    message: &MessageRow,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let Some(mut row) = load_mailbox(mailbox, tables)? else {
        return Ok(());
    };
    let key = (mailbox.0, uid.get());
    if tables.message.get(key)?.is_some() || !change_refs(message.body, 1, tables, effects)? {
        return Ok(());
    }
    tables.message.insert(key, message.to_octets().as_slice())?;
    tables.flags.insert(
        key,
        (modseq.0, flags.system.0, rows::keywords_text(flags).as_str()),
    )?;
    tables.modseq.insert((mailbox.0, modseq.0, uid.get()), ())?;
    row.uid_next = row.uid_next.max(u64::from(uid.get()) + 1);
    row.counts.messages += 1;
    row.counts.size_octets += message.size_octets;
    count_flags(&mut row.counts, flags.system, true);
    let (octets, messages, highest) = rows::quota(&tables.quota, row.account)?;
    tables.quota.insert(
        row.account.0,
        (octets + message.size_octets, messages + 1, highest),
    )?;
    touch(&mut row, modseq, tables, effects)?;
    save_mailbox(mailbox, &row, tables)
}

/// Takes a message out of a mailbox whose row is at hand. The caller saves the row.
pub(super) fn remove_message(
    mailbox: MailboxId,
    row: &mut MailboxRow,
    uid: Uid,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<bool, StoreError> {
    let key = (mailbox.0, uid.get());
    let Some(message) = tables
        .message
        .remove(key)?
        .map(|found| MessageRow::from_octets(found.value()))
    else {
        return Ok(false);
    };
    let message = message?;
    let flags = tables.flags.remove(key)?.map(|found| {
        let (modseq, system, _) = found.value();
        (modseq, SystemFlags(system))
    });
    if let Some((modseq, system)) = flags {
        tables.modseq.remove((mailbox.0, modseq, uid.get()))?;
        count_flags(&mut row.counts, system, false);
    }
    row.counts.messages = row.counts.messages.saturating_sub(1);
    row.counts.size_octets = row.counts.size_octets.saturating_sub(message.size_octets);
    let (octets, messages, highest) = rows::quota(&tables.quota, row.account)?;
    let used = (
        octets.saturating_sub(message.size_octets),
        messages.saturating_sub(1),
        highest,
    );
    tables.quota.insert(row.account.0, used)?;
    change_refs(message.body, -1, tables, effects)?;
    Ok(true)
}

fn count_flags(counts: &mut Counts, flags: SystemFlags, is_added: bool) {
    let change = |count: &mut u32, is_counted: bool| {
        if is_counted {
            *count = if is_added {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            };
        }
    };
    change(&mut counts.unseen, !flags.contains(SystemFlags::SEEN));
    change(&mut counts.deleted, flags.contains(SystemFlags::DELETED));
}

pub(super) fn set_flags(
    set: &FlagsSet,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let Some(mut row) = load_mailbox(set.mailbox, tables)? else {
        return Ok(());
    };
    for (uid, flags) in &set.messages {
        let key = (set.mailbox.0, uid.get());
        let Some((modseq, system)) = tables.flags.get(key)?.map(|found| {
            let (modseq, system, _) = found.value();
            (modseq, SystemFlags(system))
        }) else {
            continue;
        };
        tables.modseq.remove((set.mailbox.0, modseq, uid.get()))?;
        tables
            .modseq
            .insert((set.mailbox.0, set.modseq.0, uid.get()), ())?;
        tables.flags.insert(
            key,
            (set.modseq.0, flags.system.0, rows::keywords_text(flags).as_str()),
        )?;
        count_flags(&mut row.counts, system, false);
        count_flags(&mut row.counts, flags.system, true);
    }
    touch(&mut row, set.modseq, tables, effects)?;
    save_mailbox(set.mailbox, &row, tables)
}

pub(super) fn expunge(
    expunged: &Expunged,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    vanish(expunged.mailbox, &expunged.uids, expunged.modseq, tables, effects)
}

/// Takes messages out of a mailbox and keeps their UIDs for clients that were away (RFC 7162 §3.2).
fn vanish(
    mailbox: MailboxId,
    uids: &[Uid],
    modseq: ModSeq,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let Some(mut row) = load_mailbox(mailbox, tables)? else {
        return Ok(());
    };
    let mut gone = Vec::with_capacity(uids.len());
    for uid in uids {
        // Kept as vanished even if it was not there: a client may have seen it before the damage.
        remove_message(mailbox, &mut row, *uid, tables, effects)?;
        gone.push(uid.get());
    }
    for (first, last) in runs(&gone) {
        tables.vanished.insert((mailbox.0, modseq.0, first), last)?;
    }
    touch(&mut row, modseq, tables, effects)?;
    save_mailbox(mailbox, &row, tables)
}

/// Ascending numbers as runs of neighbours.
fn runs(numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    runs
}

pub(super) fn copy(
    copied: &Copied,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    for (old, new) in &copied.messages {
        let key = (copied.from.0, old.get());
        let Some(mut message) = rows::get::<MessageRow, _>(&tables.message, key)? else {
            continue;
        };
        let Some((_, flags)) = rows::get_flags(&tables.flags, copied.from.0, *old)? else {
            continue;
        };
        message.saved = copied.saved.or(message.saved);
        add_message(copied.to, *new, copied.modseq, &flags, &message, tables, effects)?;
    }
    if copied.is_move {
        let old: Vec<Uid> = copied.messages.iter().map(|(old, _)| *old).collect();
        let modseq = copied.modseq_from.unwrap_or(copied.modseq);
        vanish(copied.from, &old, modseq, tables, effects)?;
    }
    Ok(())
}

/// Moves all messages of a mailbox to one that is new, of the same account. They keep their UIDs: under the other
/// UIDVALIDITY they are new ones.
pub(super) fn move_messages(
    from: MailboxId,
    to: MailboxId,
    modseq: ModSeq,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let mut uids = Vec::new();
    for found in tables.message.range((from.0, 0)..=(from.0, u32::MAX))? {
        uids.extend(Uid::new(found?.0.value().1));
    }
    for uid in &uids {
        let message = rows::get::<MessageRow, _>(&tables.message, (from.0, uid.get()))?;
        let flags = rows::get_flags(&tables.flags, from.0, *uid)?;
        if let (Some(message), Some((_, flags))) = (message, flags) {
            add_message(to, *uid, modseq, &flags, &message, tables, effects)?;
        }
    }
    vanish(from, &uids, modseq, tables, effects)?;
    let uid_next = load_mailbox(from, tables)?.map(|row| row.uid_next);
    if let (Some(uid_next), Some(mut row)) = (uid_next, load_mailbox(to, tables)?) {
        row.uid_next = row.uid_next.max(uid_next);
        save_mailbox(to, &row, tables)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn neighbours_become_one_run() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[1, 2, 3, 7, 9, 10]), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(runs(&[u32::MAX]), [(u32::MAX, u32::MAX)]);
    }
}
