//! What the box asks of its store to know that this version can keep mail: a mailbox that is nobody's, for a
//! message to itself, and a check that ends in time on a store of any size.
//!
//! # Invariants
//! - The mailbox is of no account: it has number 0 and belongs to account number 0, and neither is ever given to
//!   anybody. So no login reaches it, no list names it and no count has it.
//! - Once closed it leaves nothing in the index but counters. One that a power cut left open is closed by the next
//!   self-test; until then it harms nobody.
//! - It is made, filled and deleted by records that were there before it. While a version is on trial, nothing is
//!   written that the other slot could not read.

use crate::check::{Checked, Sums, check_accounts, check_first_frame};
use crate::error::StoreError;
use crate::index::rows::{BlobRow, MailboxRow, MessageRow, Row};
use crate::index::{ReadTables, Tables, rows, state};
use crate::log::record::{MailboxCreated, MailboxDeleted, MailboxRecord, Mutation};
use crate::request::Request;
use crate::shared::Shared;
use mail::{AccountId, MailboxId, MailboxName, Uid, UidValidity};
use redb::ReadableTable;
use std::num::NonZeroU32;
use std::time::Instant;

/// Whose the self-test's mailbox is: accounts are numbered from 1.
pub const SELF_TEST: AccountId = AccountId(0);
/// Mailboxes are numbered from 1.
const MAILBOX: MailboxId = MailboxId(0);
/// Bodies that are looked at of the newest, and as many of the oldest. Those were written by other versions.
const BODIES_SAMPLED: usize = 8;
/// So often is looked at the time, in rows.
const ROWS_AT_ONCE: u32 = 256;

/// Makes the mailbox, empty.
///
/// # Errors
/// [`StoreError::Full`] when the disk is low, [`StoreError::MailboxExists`] when it is there.
pub(crate) struct OpenSelfTest;

impl Request for OpenSelfTest {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        if tables.mailbox.get(MAILBOX.0)?.is_some() {
            return Err(StoreError::MailboxExists);
        }
        let inbox = MailboxRecord {
            id: MAILBOX,
            name: MailboxName::inbox(),
            // Those of people's mailboxes begin at a random place, and end far from here (D7). No program sees it.
            uid_validity: UidValidity(NonZeroU32::MIN),
            special_use: None,
            is_subscribed: false,
        };
        let created = MailboxCreated {
            account: SELF_TEST,
            mailboxes: vec![inbox],
        };
        Ok((Some(Mutation::CreateMailbox(created)), ()))
    }

    fn needs_room(&self) -> bool {
        true
    }
}

/// Deletes the mailbox with what is in it, if it is there.
pub(crate) struct CloseSelfTest;

impl Request for CloseSelfTest {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let is_open = tables.mailbox.get(MAILBOX.0)?.is_some();
        let deleted = MailboxDeleted { mailbox: MAILBOX };
        Ok((is_open.then_some(Mutation::DeleteMailbox(deleted)), ()))
    }
}

/// What a check found that ended in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// What does not hold, as in [`Checked`]. Nothing else counts here as a flaw.
    pub checked: Checked,
    /// Mailboxes whose counters were compared with their messages.
    pub mailboxes: u64,
    /// How many there are.
    pub mailboxes_in_all: u64,
    /// Bodies of which the first octets were read.
    pub bodies: u64,
    /// Of them those that cannot be read. A card may have spoilt some; all of them is not the card's doing.
    pub bodies_damaged: u64,
}

/// See [`Store::check_until`](crate::Store::check_until).
pub(crate) fn check_until(shared: &Shared, until: Instant) -> Result<Sampled, StoreError> {
    let tables = shared.read()?;
    let mut sampled = Sampled::default();
    check_accounts(&tables, &mut sampled.checked)?;
    sample_bodies(shared, &tables, until, &mut sampled)?;
    check_mailboxes(&tables, until, &mut sampled)?;
    Ok(sampled)
}

fn sample_bodies(
    shared: &Shared,
    tables: &ReadTables,
    until: Instant,
    sampled: &mut Sampled,
) -> Result<(), StoreError> {
    let newest = tables.blob.iter()?.rev().take(BODIES_SAMPLED);
    let oldest = tables.blob.iter()?.take(BODIES_SAMPLED);
    let mut seen = Vec::new();
    for found in newest.chain(oldest) {
        let (key, value) = found?;
        if Instant::now() >= until {
            break;
        }
        let body = key.value();
        if seen.contains(&body) {
            continue;
        }
        seen.push(body);
        let row = BlobRow::from_octets(value.value().1)?;
        sampled.bodies += 1;
        match check_first_frame(shared, &row) {
            Ok(octets) => sampled.checked.body_octets += octets,
            Err(error) => {
                tracing::warn!(body, %error, "the self-test cannot read a message");
                sampled.bodies_damaged += 1;
            }
        }
    }
    Ok(())
}

/// Compares the counters of one mailbox after the other with its messages, as long as there is time. Each start
/// begins at another mailbox, so that in the end all have their turn.
fn check_mailboxes(tables: &ReadTables, until: Instant, sampled: &mut Sampled) -> Result<(), StoreError> {
    let mut mailboxes = Vec::new();
    for found in tables.mailbox.iter()? {
        let (key, value) = found?;
        mailboxes.push((key.value(), MailboxRow::from_octets(value.value())?));
    }
    let in_all = mailboxes.len() as u64;
    sampled.mailboxes_in_all = in_all;
    let turn = rows::counter(&tables.state, state::BATCH)?
        .checked_rem(in_all)
        .unwrap_or(0);
    mailboxes.rotate_left(usize::try_from(turn).unwrap_or(0));
    for (id, row) in mailboxes {
        let Some(sums) = sums(tables, id, until)? else {
            break;
        };
        sampled.mailboxes += 1;
        sampled.checked.messages += u64::from(sums.messages());
        sums.compare(id, &row, &mut sampled.checked);
    }
    Ok(())
}

/// What the messages of a mailbox add up to; `None` when the time is over.
fn sums(tables: &ReadTables, mailbox: u32, until: Instant) -> Result<Option<Sums>, StoreError> {
    let mut sums = Sums::default();
    if Instant::now() >= until {
        return Ok(None);
    }
    for found in tables.message.range((mailbox, 0)..=(mailbox, u32::MAX))? {
        let (key, value) = found?;
        let uid = key.value().1;
        let row = MessageRow::from_octets(value.value())?;
        let uid_value = Uid::new(uid).ok_or(StoreError::IndexRow { table: "msg" })?;
        let (modseq, flags) = rows::get_flags(&tables.flags, mailbox, uid_value)?
            .ok_or(StoreError::IndexRow { table: "flags" })?;
        sums.add(uid, modseq, &flags, row.size_octets);
        if sums.messages().is_multiple_of(ROWS_AT_ONCE) && Instant::now() >= until {
            return Ok(None);
        }
    }
    Ok(Some(sums))
}
