//! Makes the index follow a record. The same live and on replay.
//!
//! # Invariants
//! - It cannot refuse: what a record says has happened. The only errors are those of the disk.
//! - It decides nothing and asks nobody: no clock, no random source, no file.
//! - After damage to the log a record may speak of what no longer exists. That part of it is passed
//!   over; the rest counts.

use super::rows::{self, AccountRow, BlobPlace, BlobRow, Counts, MailboxRow, MessageRow, RedirectRow, Row};
use super::{Tables, state};
use crate::error::StoreError;
use crate::log::frames::stored_octets;
use crate::log::record::{
    AccountRecord, Appended, Copied, Expunged, FlagsSet, MailboxCreated, MailboxDeleted, MailboxRecord,
    MailboxesRenamed, MessageRecord, Mutation, Place, Provisioned, Stepped, Subscribed, VerifierSet,
};
use crate::self_test::SELF_TEST;
use mail::{AccountId, Flags, MailboxId, ModSeq, SystemFlags, Uid};
use redb::ReadableTable;
use std::collections::BTreeSet;

/// How far counters step forward when records were lost: more than the lost ones can have given.
pub(crate) const STEP: u64 = 1 << 20;
/// The same for modseqs.
pub(crate) const STEP_MODSEQ: u64 = 1 << 32;

/// Where a record stands, for the bodies in it.
#[derive(Clone, Copy)]
pub(crate) struct RecordAt {
    pub(crate) segment: u64,
    /// Where in the segment the record's bodies begin.
    pub(crate) body_at: u64,
}

/// What a record did that others want to know.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Accounts with a change that their sessions should see.
    pub(crate) changed: BTreeSet<AccountId>,
    /// Body files that no message has any more.
    pub(crate) unused_files: Vec<u64>,
}

/// Applies one record.
pub(crate) fn apply(
    mutation: &Mutation,
    at: RecordAt,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    match mutation {
        Mutation::Provision(provisioned) => provision(provisioned, tables),
        Mutation::SetVerifier(set) => set_verifier(set, tables),
        Mutation::Append(appended) => append(appended, at, tables, effects),
        Mutation::Flags(set) => set_flags(set, tables, effects),
        Mutation::Expunge(expunged) => expunge(expunged, tables, effects),
        Mutation::CreateMailbox(created) => create_mailboxes(created, tables, effects),
        Mutation::RenameMailboxes(renamed) => rename_mailboxes(renamed, tables, effects),
        Mutation::DeleteMailbox(deleted) => delete_mailbox(deleted, tables, effects),
        Mutation::Subscribe(subscribed) => subscribe(subscribed, tables, effects),
        Mutation::Copy(copied) => copy(copied, tables, effects),
        Mutation::Step(stepped) => step(stepped, tables),
    }
}

/// Sets a counter to at least `value`.
fn raise(tables: &mut Tables<'_>, name: &'static str, value: u64) -> Result<(), StoreError> {
    if rows::counter(&tables.state, name)? < value {
        tables.state.insert(name, value)?;
    }
    Ok(())
}

fn provision(provisioned: &Provisioned, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for domain in &provisioned.domains {
        tables.domain.insert(domain.as_str(), ())?;
    }
    for account in &provisioned.accounts {
        add_account(account, tables)?;
    }
    for redirect in &provisioned.redirects {
        let row = RedirectRow {
            address: redirect.address.clone(),
            targets: redirect.targets.clone(),
        };
        tables
            .redirect
            .insert(redirect.address.key().as_str(), row.to_octets().as_slice())?;
    }
    Ok(())
}

fn add_account(account: &AccountRecord, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let row = AccountRow {
        address: account.address.clone(),
        verifier: account.verifier.clone(),
        is_enabled: true,
        quota_octets: account.quota_octets,
    };
    tables.account.insert(account.id.0, row.to_octets().as_slice())?;
    tables
        .address
        .insert(account.address.key().as_str(), account.id.0)?;
    tables.quota.insert(account.id.0, (0, 0, 0))?;
    raise(tables, state::NEXT_ACCOUNT, u64::from(account.id.0) + 1)?;
    for mailbox in &account.mailboxes {
        add_mailbox(account.id, mailbox, tables)?;
    }
    Ok(())
}

fn add_mailbox(
    account: AccountId,
    mailbox: &MailboxRecord,
    tables: &mut Tables<'_>,
) -> Result<(), StoreError> {
    let (_, _, modseq) = rows::quota(&tables.quota, account)?;
    let row = MailboxRow {
        account,
        name: mailbox.name.clone(),
        uid_validity: mailbox.uid_validity,
        uid_next: 1,
        special_use: mailbox.special_use,
        is_subscribed: mailbox.is_subscribed,
        counts: Counts::default(),
        // RFC 7162 §3.1.2.1: HIGHESTMODSEQ is at least 1.
        highest_modseq: ModSeq(modseq.max(1)),
    };
    tables.mailbox.insert(mailbox.id.0, row.to_octets().as_slice())?;
    tables
        .name
        .insert((account.0, mailbox.name.as_str()), mailbox.id.0)?;
    raise(tables, state::NEXT_MAILBOX, u64::from(mailbox.id.0) + 1)?;
    raise(
        tables,
        state::NEXT_UID_VALIDITY,
        u64::from(mailbox.uid_validity.get()) + 1,
    )
}

fn set_verifier(set: &VerifierSet, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let Some(mut row) = rows::get::<AccountRow, _>(&tables.account, set.account.0)? else {
        return Ok(());
    };
    row.verifier.clone_from(&set.verifier);
    tables.account.insert(set.account.0, row.to_octets().as_slice())?;
    Ok(())
}

fn append(
    appended: &Appended,
    at: RecordAt,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    for body in &appended.bodies {
        let place = match body.place {
            Place::Batch { offset } => BlobPlace::Segment {
                number: at.segment,
                offset: at.body_at.saturating_add(offset),
            },
            Place::File { number } => {
                raise(tables, state::NEXT_BODY_FILE, number + 1)?;
                BlobPlace::File { number }
            }
        };
        let row = BlobRow {
            place,
            octets: body.octets,
            frames: body.frames.clone(),
        };
        tables.blob.insert(body.id, (0, row.to_octets().as_slice()))?;
        tables.structure.insert(body.id, body.structure.as_slice())?;
        raise(tables, state::NEXT_BODY, body.id + 1)?;
        add_live_octets(&row, tables)?;
    }
    for message in &appended.messages {
        let body_octets = appended
            .bodies
            .iter()
            .find(|body| body.id == message.body)
            .map_or(0, |body| body.octets);
        let row = MessageRow {
            body: message.body,
            size_octets: message.prefix.len() as u64 + body_octets,
            internal_date: message.internal_date,
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
    for body in &appended.bodies {
        // Nobody has it, since its mailbox was lost to damage.
        change_refs(body.id, 0, tables, effects)?;
    }
    Ok(())
}

/// The bodies of a record that was copied are found where the copy is.
pub(crate) fn relocate(appended: &Appended, at: RecordAt, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for body in &appended.bodies {
        let Place::Batch { offset } = body.place else {
            continue;
        };
        let Some((refs, mut row)) = rows::get_blob(&tables.blob, body.id)? else {
            continue;
        };
        remove_live_octets(&row, tables)?;
        row.place = BlobPlace::Segment {
            number: at.segment,
            offset: at.body_at.saturating_add(offset),
        };
        tables.blob.insert(body.id, (refs, row.to_octets().as_slice()))?;
        add_live_octets(&row, tables)?;
    }
    Ok(())
}

fn load_mailbox(id: MailboxId, tables: &Tables<'_>) -> Result<Option<MailboxRow>, StoreError> {
    rows::get(&tables.mailbox, id.0)
}

fn save_mailbox(id: MailboxId, row: &MailboxRow, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    tables.mailbox.insert(id.0, row.to_octets().as_slice())?;
    Ok(())
}

/// Raises the highest modseq of a mailbox and of its account, and has the account's sessions told.
fn touch(
    row: &mut MailboxRow,
    modseq: ModSeq,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    row.highest_modseq = row.highest_modseq.max(modseq);
    let (octets, messages, highest) = rows::quota(&tables.quota, row.account)?;
    tables
        .quota
        .insert(row.account.0, (octets, messages, highest.max(modseq.0)))?;
    effects.changed.insert(row.account);
    Ok(())
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
fn remove_message(
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

/// Counts a message more, or less, that has a body; a body that nobody has goes. Whether there is
/// such a body.
fn change_refs(
    body: u64,
    change: i32,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<bool, StoreError> {
    let Some((refs, row)) = rows::get_blob(&tables.blob, body)? else {
        return Ok(false);
    };
    let refs = refs.saturating_add_signed(change);
    if refs > 0 {
        if change != 0 {
            tables.blob.insert(body, (refs, row.to_octets().as_slice()))?;
        }
        return Ok(true);
    }
    tables.blob.remove(body)?;
    tables.structure.remove(body)?;
    if let BlobPlace::File { number } = row.place {
        effects.unused_files.push(number);
    }
    remove_live_octets(&row, tables)?;
    Ok(true)
}

fn add_live_octets(row: &BlobRow, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let stored = stored_octets(&row.frames);
    if let BlobPlace::Segment { number, .. } = row.place
        && stored > 0
    {
        let live = tables.segstat.get(number)?.map_or(0, |row| row.value());
        tables.segstat.insert(number, live + stored)?;
    }
    Ok(())
}

fn remove_live_octets(row: &BlobRow, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    if let BlobPlace::Segment { number, .. } = row.place {
        let live = tables.segstat.get(number)?.map_or(0, |row| row.value());
        match live.saturating_sub(stored_octets(&row.frames)) {
            0 => tables.segstat.remove(number)?,
            rest => tables.segstat.insert(number, rest)?,
        };
    }
    Ok(())
}

fn set_flags(set: &FlagsSet, tables: &mut Tables<'_>, effects: &mut Effects) -> Result<(), StoreError> {
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

fn expunge(expunged: &Expunged, tables: &mut Tables<'_>, effects: &mut Effects) -> Result<(), StoreError> {
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

fn create_mailboxes(
    created: &MailboxCreated,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    if created.account != SELF_TEST && tables.account.get(created.account.0)?.is_none() {
        return Ok(());
    }
    for mailbox in &created.mailboxes {
        add_mailbox(created.account, mailbox, tables)?;
    }
    effects.changed.insert(created.account);
    Ok(())
}

fn rename_mailboxes(
    renamed: &MailboxesRenamed,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    // All old names go before a new one comes: a/b may become a while a becomes c.
    let mut rows = Vec::with_capacity(renamed.names.len());
    for (id, name) in &renamed.names {
        let Some(mut row) = load_mailbox(*id, tables)? else {
            continue;
        };
        tables.name.remove((row.account.0, row.name.as_str()))?;
        row.name = name.clone();
        rows.push((*id, row));
    }
    for (id, row) in rows {
        tables.name.insert((row.account.0, row.name.as_str()), id.0)?;
        save_mailbox(id, &row, tables)?;
    }
    effects.changed.insert(renamed.account);
    Ok(())
}

fn delete_mailbox(
    deleted: &MailboxDeleted,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let id = deleted.mailbox;
    let Some(mut row) = load_mailbox(id, tables)? else {
        return Ok(());
    };
    let uids = tables
        .message
        .range((id.0, 0)..=(id.0, u32::MAX))?
        .map(|found| found.map(|(key, _)| key.value().1))
        .collect::<Result<Vec<_>, _>>()?;
    for uid in uids.into_iter().filter_map(Uid::new) {
        remove_message(id, &mut row, uid, tables, effects)?;
    }
    tables
        .vanished
        .retain_in((id.0, 0, 0)..=(id.0, u64::MAX, u32::MAX), |_, _| false)?;
    tables.name.remove((row.account.0, row.name.as_str()))?;
    tables.mailbox.remove(id.0)?;
    if row.account == SELF_TEST {
        // There is no account that these would be the numbers of.
        tables.quota.remove(row.account.0)?;
    }
    effects.changed.insert(row.account);
    Ok(())
}

fn subscribe(
    subscribed: &Subscribed,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let Some(mut row) = load_mailbox(subscribed.mailbox, tables)? else {
        return Ok(());
    };
    row.is_subscribed = subscribed.is_subscribed;
    effects.changed.insert(row.account);
    save_mailbox(subscribed.mailbox, &row, tables)
}

fn copy(copied: &Copied, tables: &mut Tables<'_>, effects: &mut Effects) -> Result<(), StoreError> {
    for (old, new) in &copied.messages {
        let key = (copied.from.0, old.get());
        let Some(message) = rows::get::<MessageRow, _>(&tables.message, key)? else {
            continue;
        };
        let Some((_, flags)) = rows::get_flags(&tables.flags, copied.from.0, *old)? else {
            continue;
        };
        add_message(copied.to, *new, copied.modseq, &flags, &message, tables, effects)?;
    }
    if copied.is_move {
        let old: Vec<Uid> = copied.messages.iter().map(|(old, _)| *old).collect();
        vanish(copied.from, &old, copied.modseq, tables, effects)?;
    }
    Ok(())
}

fn step(stepped: &Stepped, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    for name in [
        state::NEXT_ACCOUNT,
        state::NEXT_MAILBOX,
        state::NEXT_UID_VALIDITY,
        state::NEXT_BODY,
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
