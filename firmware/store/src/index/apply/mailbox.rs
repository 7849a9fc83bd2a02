//! Mailboxes.

use super::message::{move_messages, remove_message};
use super::{Effects, raise};
use crate::error::StoreError;
use crate::index::rows::{self, Counts, MailboxRow, Row};
use crate::index::{Tables, state};
use crate::log::record::{
    AclSet, AclSubject, InboxRenamed, MailboxCreated, MailboxDeleted, MailboxRecord, MailboxesRenamed,
    SpecialUsesSet, Subscribed, VanishedPruned,
};
use crate::self_test::SELF_TEST;
use mail::{AccountId, MailboxId, MailboxName, ModSeq, Uid};
use redb::ReadableTable;

pub(super) fn load(id: MailboxId, tables: &Tables<'_>) -> Result<Option<MailboxRow>, StoreError> {
    rows::get(&tables.mailbox, id.0)
}

pub(super) fn save(id: MailboxId, row: &MailboxRow, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    tables.mailbox.insert(id.0, row.to_octets().as_slice())?;
    Ok(())
}

/// Raises the highest modseq of a mailbox and of its account, and has the account's sessions told.
pub(super) fn touch(
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

pub(super) fn add(
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
        vanished_floor: ModSeq(0),
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

pub(super) fn create(
    created: &MailboxCreated,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    if created.account != SELF_TEST && tables.account.get(created.account.0)?.is_none() {
        return Ok(());
    }
    for mailbox in &created.mailboxes {
        add(created.account, mailbox, tables)?;
    }
    effects.changed.insert(created.account);
    Ok(())
}

pub(super) fn rename(
    renamed: &MailboxesRenamed,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    // All old names go before a new one comes: a/b may become a while a becomes c.
    let mut rows = Vec::with_capacity(renamed.names.len());
    for (id, name) in &renamed.names {
        let Some(mut row) = load(*id, tables)? else {
            continue;
        };
        tables.name.remove((row.account.0, row.name.as_str()))?;
        row.name = name.clone();
        rows.push((*id, row));
    }
    for (id, row) in rows {
        tables.name.insert((row.account.0, row.name.as_str()), id.0)?;
        save(id, &row, tables)?;
    }
    effects.changed.insert(renamed.account);
    Ok(())
}

pub(super) fn delete(
    deleted: &MailboxDeleted,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let id = deleted.mailbox;
    let Some(mut row) = load(id, tables)? else {
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
    let mut subjects = Vec::new();
    for found in tables.acl.range((id.0, 0, false)..=(id.0, u32::MAX, true))? {
        subjects.push(found?.0.value());
    }
    for (_, subject, is_negative) in subjects {
        tables.acl.remove((id.0, subject, is_negative))?;
        tables.shared.remove((subject, id.0))?;
    }
    if row.account == SELF_TEST {
        // There is no account that these would be the numbers of.
        tables.quota.remove(row.account.0)?;
    }
    effects.changed.insert(row.account);
    Ok(())
}

pub(super) fn subscribe(
    subscribed: &Subscribed,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let Some(mut row) = load(subscribed.mailbox, tables)? else {
        return Ok(());
    };
    row.is_subscribed = subscribed.is_subscribed;
    effects.changed.insert(row.account);
    save(subscribed.mailbox, &row, tables)
}

pub(super) fn rename_inbox(
    renamed: &InboxRenamed,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    if tables.account.get(renamed.account.0)?.is_none() {
        return Ok(());
    }
    for mailbox in &renamed.mailboxes {
        add(renamed.account, mailbox, tables)?;
    }
    effects.changed.insert(renamed.account);
    let inbox = tables
        .name
        .get((renamed.account.0, MailboxName::inbox().as_str()))?
        .map(|id| MailboxId(id.value()));
    match (inbox, renamed.mailboxes.last()) {
        (Some(inbox), Some(to)) => move_messages(inbox, to.id, renamed.modseq, tables, effects),
        _ => Ok(()),
    }
}

pub(super) fn set_special_uses(
    set: &SpecialUsesSet,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    for (mailbox, special_use) in &set.uses {
        if let Some(mut row) = load(*mailbox, tables)? {
            row.special_use = *special_use;
            save(*mailbox, &row, tables)?;
        }
    }
    effects.changed.insert(set.account);
    Ok(())
}

/// Anyone, in the tables: no account has this number.
const ANYONE: u32 = 0;

pub(crate) fn subject_key(subject: AclSubject) -> u32 {
    match subject {
        AclSubject::Anyone => ANYONE,
        AclSubject::Account(account) => account.0,
    }
}

pub(crate) fn subject_of(key: u32) -> AclSubject {
    match key {
        ANYONE => AclSubject::Anyone,
        account => AclSubject::Account(AccountId(account)),
    }
}

pub(super) fn set_acl(
    set: &AclSet,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let subject = subject_key(set.subject);
    let Some(row) = load(set.mailbox, tables)? else {
        return Ok(());
    };
    if subject != ANYONE && tables.account.get(subject)?.is_none() {
        return Ok(());
    }
    let key = (set.mailbox.0, subject, set.is_negative);
    match set.rights {
        Some(rights) => {
            tables.acl.insert(key, rights.0)?;
        }
        None => {
            tables.acl.remove(key)?;
        }
    }
    let range = (set.mailbox.0, subject, false)..=(set.mailbox.0, subject, true);
    let is_listed = tables.acl.range(range)?.next().is_some();
    if is_listed {
        tables.shared.insert((subject, set.mailbox.0), ())?;
    } else {
        tables.shared.remove((subject, set.mailbox.0))?;
    }
    effects.changed.insert(row.account);
    if let AclSubject::Account(account) = set.subject {
        effects.changed.insert(account);
    }
    Ok(())
}

/// Takes an account out of the lists of others' mailboxes.
pub(super) fn forget_subject(account: AccountId, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let mut mailboxes = Vec::new();
    for found in tables.shared.range((account.0, 0)..=(account.0, u32::MAX))? {
        mailboxes.push(found?.0.value().1);
    }
    for mailbox in mailboxes {
        for is_negative in [false, true] {
            tables.acl.remove((mailbox, account.0, is_negative))?;
        }
        tables.shared.remove((account.0, mailbox))?;
    }
    Ok(())
}

pub(super) fn prune_vanished(pruned: &VanishedPruned, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let id = pruned.mailbox;
    let Some(mut row) = load(id, tables)? else {
        return Ok(());
    };
    tables
        .vanished
        .retain_in((id.0, 0, 0)..=(id.0, pruned.floor.0, u32::MAX), |_, _| false)?;
    row.vanished_floor = row.vanished_floor.max(pruned.floor);
    save(id, &row, tables)
}
