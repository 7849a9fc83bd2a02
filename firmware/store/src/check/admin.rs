//! What an owner administers, and the outbound queue: what names another thing names one that is there, and what is
//! counted or listed twice is so both times.

use super::{Checked, RefsByBody, all, rows_of};
use crate::error::StoreError;
use crate::index::admin_rows::{AppPasswordRow, AuditRow, DomainRow, RoleRow, SettingRow};
use crate::index::apply::OF_THE_BOX;
use crate::index::queue_rows::{EntryRow, RecipientRow, TokenRow, due};
use crate::index::rows::{self, AccountRow, Row, address_key};
use crate::index::{ReadTables, state};
use crate::log::record::{Alias, Role};
use redb::ReadableTable;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(tables: &ReadTables, checked: &mut Checked) -> Result<(), StoreError> {
    check_domains(tables, checked)?;
    check_aliases(tables, checked)?;
    check_owned(tables, checked)?;
    check_acl(tables, checked)
}

/// Domains count what is in them.
fn check_domains(tables: &ReadTables, checked: &mut Checked) -> Result<(), StoreError> {
    let mut usage: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for found in tables.domain.iter()? {
        let (key, value) = found?;
        DomainRow::from_octets(value.value())?;
        usage.insert(key.value().to_owned(), (0, 0, 0));
    }
    for found in tables.account.iter()? {
        let row = AccountRow::from_octets(found?.1.value())?;
        if let Some(usage) = usage.get_mut(row.address.domain.as_str()) {
            usage.0 += 1;
            usage.2 = usage.2.saturating_add(row.details.quota_octets.unwrap_or(0));
        }
    }
    for found in tables.redirect.iter()? {
        if let Some(usage) = usage.get_mut(found?.0.value().0) {
            usage.1 += 1;
        }
    }
    let mut counted = BTreeMap::new();
    for found in tables.usage.iter()? {
        let (key, value) = found?;
        counted.insert(key.value().to_owned(), value.value());
    }
    checked.expect(counted == usage, || {
        format!("domains count {counted:?} accounts, aliases and octets of quota; really {usage:?}")
    });
    Ok(())
}

/// Aliases are found by their address and by those who send with them.
fn check_aliases(tables: &ReadTables, checked: &mut Checked) -> Result<(), StoreError> {
    let mut senders = BTreeSet::new();
    for found in tables.redirect.iter()? {
        let (key, value) = found?;
        let (domain, local_part) = key.value();
        let alias = Alias::from_octets(value.value())?;
        let (own_domain, own_local_part) = address_key(&alias.address);
        checked.expect(
            (own_domain, own_local_part.as_str()) == (domain, local_part),
            || format!("the alias {} is not found by its address", alias.address),
        );
        for user in alias.users() {
            senders.insert((user.0, domain.to_owned(), local_part.to_owned()));
        }
    }
    let mut listed = BTreeSet::new();
    for found in tables.sender.iter()? {
        let key = found?.0;
        let (account, domain, local_part) = key.value();
        listed.insert((account, domain.to_owned(), local_part.to_owned()));
    }
    checked.expect(listed == senders, || {
        format!("senders of aliases are listed as {listed:?}, really {senders:?}")
    });
    for (account, domain, local_part) in listed {
        let exists = tables.account.get(account)?.is_some();
        checked.expect(exists, || {
            format!("account {account}, which does not exist, sends as {local_part}@{domain}")
        });
    }
    Ok(())
}

/// Roles, passwords for programs and settings belong to accounts that exist; numbers are not given again.
fn check_owned(tables: &ReadTables, checked: &mut Checked) -> Result<(), StoreError> {
    let mut owners = Vec::new();
    for found in tables.role.iter()? {
        let (key, value) = found?;
        owners.push(("a role", key.value()));
        if let Role::Domains(domains) = RoleRow::from_octets(value.value())?.role {
            for domain in domains {
                let exists = tables.domain.get(domain.as_str())?.is_some();
                checked.expect(exists, || {
                    format!(
                        "account {} administers {domain}, which is not hosted",
                        key.value()
                    )
                });
            }
        }
    }
    let next = rows::counter(&tables.state, state::NEXT_APP_PASSWORD)?;
    for found in tables.app_password.iter()? {
        let (key, value) = found?;
        let (account, id) = key.value();
        AppPasswordRow::from_octets(value.value())?;
        owners.push(("a password for a program", account));
        checked.expect(u64::from(id) < next, || {
            format!("password {id} of account {account} will be given again")
        });
    }
    for found in tables.setting.iter()? {
        let (key, value) = found?;
        SettingRow::from_octets(value.value())?;
        if key.value().0 != OF_THE_BOX {
            owners.push(("a setting", key.value().0));
        }
    }
    for (what, account) in owners {
        let exists = tables.account.get(account)?.is_some();
        checked.expect(exists, || {
            format!("there is {what} of account {account}, which does not exist")
        });
    }
    let next = rows::counter(&tables.state, state::NEXT_AUDIT)?;
    for found in tables.audit.iter()? {
        let (key, value) = found?;
        AuditRow::from_octets(value.value())?;
        checked.expect(key.value() < next, || {
            format!("line {} of the audit trail will be given again", key.value())
        });
    }
    Ok(())
}

/// Lists of rights are of mailboxes and accounts that exist, and are found from either side.
fn check_acl(tables: &ReadTables, checked: &mut Checked) -> Result<(), StoreError> {
    let mut subjects = BTreeSet::new();
    for found in tables.acl.iter()? {
        let (mailbox, subject, _) = found?.0.value();
        subjects.insert((subject, mailbox));
    }
    let mut shared = BTreeSet::new();
    for found in tables.shared.iter()? {
        shared.insert(found?.0.value());
    }
    checked.expect(shared == subjects, || {
        format!("mailboxes are shared with {shared:?}, really {subjects:?}")
    });
    for (subject, mailbox) in subjects {
        let exists = tables.mailbox.get(mailbox)?.is_some()
            && (subject == 0 || tables.account.get(subject)?.is_some());
        checked.expect(exists, || {
            format!("account {subject} has rights to mailbox {mailbox}, and one of the two does not exist")
        });
    }
    Ok(())
}

/// Entries have their bodies and their recipients, and those that wait are found by when they are due. Counts the
/// bodies that entries have.
pub(super) fn check_queue(
    tables: &ReadTables,
    refs: &mut RefsByBody,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let next = rows::counter(&tables.state, state::NEXT_ENTRY)?;
    let mut recipients = 0;
    let (mut waiting, mut by_destination) = (BTreeSet::new(), BTreeSet::new());
    for found in tables.queue.iter()? {
        let (key, value) = found?;
        let entry = key.value();
        let row = EntryRow::from_octets(value.value())?;
        *refs.entry(row.body).or_default() += 1;
        checked.expect(entry < next, || {
            format!("entry {entry} of the queue will be given again")
        });
        let body = rows::get_blob(&tables.blob, row.body)?;
        let size = body.map(|(_, body)| body.octets + row.prefix.len() as u64);
        checked.expect(size == Some(row.size_octets), || {
            format!(
                "entry {entry} of the queue: its size is {size:?}, not {}",
                row.size_octets
            )
        });
        let mut found_recipients = 0;
        for found in tables.recipient.range((entry, 0)..=(entry, u32::MAX))? {
            let (key, value) = found?;
            let recipient = RecipientRow::from_octets(value.value())?;
            found_recipients += 1;
            if let Some(due) = due(&recipient.state, row.hold.is_some()) {
                waiting.insert((due, entry, key.value().1));
                by_destination.insert((recipient.destination, due, entry, key.value().1));
            }
        }
        checked.expect(found_recipients == row.recipients, || {
            format!(
                "entry {entry} of the queue has {found_recipients} recipients, not {}",
                row.recipients
            )
        });
        recipients += u64::from(found_recipients);
    }
    let in_all = tables.recipient.iter()?.count() as u64;
    checked.expect(in_all == recipients, || {
        format!("{in_all} recipients in the queue, its entries have {recipients}")
    });
    let mut listed = BTreeSet::new();
    for found in tables.due.iter()? {
        listed.insert(found?.0.value());
    }
    checked.expect(listed == waiting, || {
        format!(
            "{} recipients are listed as due, {} wait",
            listed.len(),
            waiting.len()
        )
    });
    let mut listed = BTreeSet::new();
    for found in tables.destination.iter()? {
        let key = found?.0;
        let (destination, due, entry, place) = key.value();
        listed.insert((destination.to_owned(), due, entry, place));
    }
    checked.expect(listed == by_destination, || {
        format!(
            "{} recipients are listed by destination, {} wait",
            listed.len(),
            by_destination.len()
        )
    });
    Ok(())
}

pub(super) fn rows_as_text(
    tables: &ReadTables,
    each: &mut dyn FnMut(&'static str, &str),
) -> Result<(), StoreError> {
    rows_of::<DomainRow, _>(each, &tables.domain)?;
    all(each, "usage", &tables.usage)?;
    rows_of::<Alias, _>(each, &tables.redirect)?;
    all(each, "sender", &tables.sender)?;
    rows_of::<RoleRow, _>(each, &tables.role)?;
    rows_of::<AppPasswordRow, _>(each, &tables.app_password)?;
    rows_of::<SettingRow, _>(each, &tables.setting)?;
    rows_of::<AuditRow, _>(each, &tables.audit)?;
    all(each, "acl", &tables.acl)?;
    all(each, "shared", &tables.shared)?;
    rows_of::<EntryRow, _>(each, &tables.queue)?;
    rows_of::<RecipientRow, _>(each, &tables.recipient)?;
    all(each, "due", &tables.due)?;
    all(each, "destination", &tables.destination)?;
    rows_of::<TokenRow, _>(each, &tables.token)
}
