//! Messages: how they come, change their flags, are copied and go.
//!
//! # Invariants
//! - UIDs ascend in a mailbox and are never given twice under one UIDVALIDITY.
//! - Each command that changes something gets one modseq of its account, higher than all before; all
//!   messages it changes in that account have it.

use crate::account::is_over_quota;
use crate::error::StoreError;
use crate::index::rows::{self, AccountRow, MailboxRow, MessageRow};
use crate::index::{Tables, state};
use crate::log::body::SealedBody;
use crate::log::record::Mutation;
use crate::log::record::{Appended as AppendedRecord, BodyRecord, Copied, Expunged, FlagsSet, MessageRecord};
use crate::mailbox;
use crate::request::Request;
use crate::self_test::SELF_TEST;
use mail::{
    AccountId, Flags, InternalDate, MailboxId, MailboxName, ModSeq, SystemFlags, Timestamp, Uid, UidValidity,
};
use redb::ReadableTable;
use std::collections::BTreeMap;

/// The most keywords on one message; Dovecot and mox keep fewer in a mailbox.
pub const KEYWORDS_MAX: usize = 64;

/// A message for one or more people. One record, one body (S8), into each one's INBOX.
///
/// Quotas are not looked at: they are asked about when the recipient is named (S8), and a message that
/// was let in for ten is not held back because one of them has had other mail since.
///
/// # Errors
/// [`StoreError::Full`] when the disk is low, [`StoreError::NoAccount`] when one has gone since the
/// message was routed. Nothing is written then.
#[derive(Debug)]
pub struct Deliver {
    /// What all of them get.
    pub body: SealedBody,
    /// What IMAP wants to know of the body without reading it; kept as it is given.
    pub structure: Vec<u8>,
    /// When it was received.
    pub received: Timestamp,
    /// For whom.
    pub copies: Vec<DeliveredCopy>,
}

/// One recipient's copy of a message.
#[derive(Clone, Debug)]
pub struct DeliveredCopy {
    /// Whose.
    pub account: AccountId,
    /// Header fields of this copy alone, before the body's: at most 4 KiB.
    pub header: Vec<u8>,
    /// Flags it comes with.
    pub flags: Flags,
}

/// Where a copy went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Whose.
    pub account: AccountId,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its UID there.
    pub uid: Uid,
}

/// Gives UIDs and modseqs to new messages, several in one request.
#[derive(Default)]
struct Numbering {
    uid_next: BTreeMap<MailboxId, u64>,
    modseq: BTreeMap<AccountId, ModSeq>,
}

impl Numbering {
    fn uid(&mut self, mailbox: MailboxId, row: &MailboxRow) -> Result<Uid, StoreError> {
        let next = self.uid_next.entry(mailbox).or_insert(row.uid_next);
        let uid = u32::try_from(*next)
            .ok()
            .and_then(Uid::new)
            .ok_or(StoreError::UidsExhausted)?;
        *next += 1;
        Ok(uid)
    }

    fn modseq(&mut self, account: AccountId, tables: &Tables<'_>) -> Result<ModSeq, StoreError> {
        if let Some(modseq) = self.modseq.get(&account) {
            return Ok(*modseq);
        }
        let modseq = next_modseq(account, tables)?;
        self.modseq.insert(account, modseq);
        Ok(modseq)
    }
}

pub(crate) fn next_modseq(account: AccountId, tables: &Tables<'_>) -> Result<ModSeq, StoreError> {
    let (_, _, highest) = rows::quota(&tables.quota, account)?;
    // A mailbox's HIGHESTMODSEQ is at least 1 from the start: the first change is above that.
    Ok(ModSeq(highest.max(1) + 1))
}

/// When messages were put into their mailboxes is not kept for the self-test's: see [`crate::self_test`].
fn saved(copies: &[DeliveredCopy], received: Timestamp) -> Option<Timestamp> {
    let is_of_people = copies.iter().any(|copy| copy.account != SELF_TEST);
    is_of_people.then_some(received)
}

/// The records of bodies, one after the other in the batch.
fn body_records<'b>(
    bodies: impl Iterator<Item = (&'b SealedBody, &'b Vec<u8>)>,
    tables: &Tables<'_>,
) -> Result<Vec<BodyRecord>, StoreError> {
    let ids = rows::counter(&tables.state, state::NEXT_BODY)?..;
    let mut offset = 0;
    let mut records = Vec::new();
    for (id, (body, structure)) in ids.zip(bodies) {
        records.push(BodyRecord {
            id,
            place: body.place(offset),
            octets: body.len(),
            frames: body.frames().to_vec(),
            structure: structure.clone(),
        });
        offset += body.batch_octets().len() as u64;
    }
    Ok(records)
}

fn check_keywords(flags: &Flags) -> Result<(), StoreError> {
    if flags.keywords.len() > KEYWORDS_MAX {
        return Err(StoreError::TooManyKeywords { max: KEYWORDS_MAX });
    }
    Ok(())
}

impl Deliver {
    /// What the record of a delivery says, but for what else goes with it; its one body has this number.
    pub(crate) fn record(&self, tables: &Tables<'_>) -> Result<(AppendedRecord, Vec<Delivered>), StoreError> {
        let bodies = body_records(std::iter::once((&self.body, &self.structure)), tables)?;
        let body = bodies[0].id;
        let inbox = MailboxName::inbox();
        let mut numbering = Numbering::default();
        let mut messages = Vec::with_capacity(self.copies.len());
        for copy in &self.copies {
            check_keywords(&copy.flags)?;
            check_header(&copy.header)?;
            let account = copy.account;
            let mailbox = tables
                .name
                .get((account.0, inbox.as_str()))?
                .ok_or(StoreError::NoAccount)?;
            let mailbox = MailboxId(mailbox.value());
            let row = mailbox::row(tables, mailbox)?;
            messages.push(MessageRecord {
                account,
                mailbox,
                uid: numbering.uid(mailbox, &row)?,
                modseq: numbering.modseq(account, tables)?,
                body,
                prefix: copy.header.clone(),
                flags: copy.flags.clone(),
                internal_date: InternalDate::utc(self.received),
            });
        }
        let delivered = messages
            .iter()
            .map(|message| Delivered {
                account: message.account,
                mailbox: message.mailbox,
                uid: message.uid,
            })
            .collect();
        let record = AppendedRecord {
            bodies,
            messages,
            saved: saved(&self.copies, self.received),
            ..AppendedRecord::default()
        };
        Ok((record, delivered))
    }
}

/// Whether the header fields of one copy are not too many.
pub(crate) fn check_header(header: &[u8]) -> Result<(), StoreError> {
    if header.len() > wire::limits::DELIVERY_HEADER_OCTETS_MAX {
        let octets_max = wire::limits::DELIVERY_HEADER_OCTETS_MAX as u64;
        return Err(StoreError::TooLarge { octets_max });
    }
    Ok(())
}

impl Request for Deliver {
    type Reply = Vec<Delivered>;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Vec<Delivered>), StoreError> {
        if self.copies.is_empty() {
            return Ok((None, Vec::new()));
        }
        let (record, delivered) = self.record(tables)?;
        Ok((Some(Mutation::Append(record)), delivered))
    }

    fn bodies(&self) -> Vec<&SealedBody> {
        vec![&self.body]
    }

    fn bodies_mut(&mut self) -> Vec<&mut SealedBody> {
        vec![&mut self.body]
    }

    fn needs_room(&self) -> bool {
        true
    }
}

/// Adds messages to a mailbox, all or none (RFC 9051 §6.3.12, RFC 3502).
///
/// When it returns `Ok`, the messages survive a power cut.
///
/// # Errors
/// [`StoreError::OverQuota`] if the account would exceed its limit, [`StoreError::Full`],
/// [`StoreError::NoMailbox`], [`StoreError::TooLarge`]; nothing is written then.
#[derive(Debug)]
pub struct Append {
    /// Whose.
    pub account: AccountId,
    /// Where to.
    pub mailbox: MailboxId,
    /// The messages.
    pub messages: Vec<NewMessage>,
}

/// A message to be added.
#[derive(Debug)]
pub struct NewMessage {
    /// The message.
    pub body: SealedBody,
    /// As in [`Deliver::structure`].
    pub structure: Vec<u8>,
    /// Its flags.
    pub flags: Flags,
    /// Its INTERNALDATE.
    pub internal_date: InternalDate,
}

/// What APPENDUID tells (RFC 9051 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the mailbox.
    pub uid_validity: UidValidity,
    /// In the order of the messages; they ascend.
    pub uids: Vec<Uid>,
}

/// Whether an account can take as many octets and messages more.
fn check_quota(account: AccountId, more: (u64, u64), tables: &Tables<'_>) -> Result<(), StoreError> {
    let row: AccountRow = rows::get(&tables.account, account.0)?.ok_or(StoreError::NoAccount)?;
    let (octets, messages, _) = rows::quota(&tables.quota, account)?;
    if is_over_quota(&row.details, (octets, messages), more) {
        return Err(StoreError::OverQuota);
    }
    Ok(())
}

/// A request, and when it is asked: what SAVEDATE tells of the messages (RFC 8514).
pub(crate) struct SavedAt<Q> {
    pub(crate) request: Q,
    pub(crate) at: Timestamp,
}

impl Append {
    fn decide_at(
        &self,
        saved: Option<Timestamp>,
        tables: &Tables<'_>,
    ) -> Result<(Option<Mutation>, Appended), StoreError> {
        let row = mailbox::row(tables, self.mailbox)?;
        if row.account != self.account {
            return Err(StoreError::NoMailbox);
        }
        let octets = self.messages.iter().map(|message| message.body.len()).sum();
        check_quota(self.account, (octets, self.messages.len() as u64), tables)?;
        let bodies = body_records(
            self.messages
                .iter()
                .map(|message| (&message.body, &message.structure)),
            tables,
        )?;
        let mut numbering = Numbering::default();
        let mut messages = Vec::with_capacity(self.messages.len());
        for (message, body) in self.messages.iter().zip(&bodies) {
            check_keywords(&message.flags)?;
            messages.push(MessageRecord {
                account: self.account,
                mailbox: self.mailbox,
                uid: numbering.uid(self.mailbox, &row)?,
                modseq: numbering.modseq(self.account, tables)?,
                body: body.id,
                prefix: Vec::new(),
                flags: message.flags.clone(),
                internal_date: message.internal_date,
            });
        }
        let uids = messages.iter().map(|message| message.uid).collect();
        let appended = Appended {
            uid_validity: row.uid_validity,
            uids,
        };
        if messages.is_empty() {
            return Ok((None, appended));
        }
        let record = AppendedRecord {
            bodies,
            messages,
            saved,
            ..AppendedRecord::default()
        };
        Ok((Some(Mutation::Append(record)), appended))
    }
}

impl Request for SavedAt<Append> {
    type Reply = Appended;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Appended), StoreError> {
        self.request.decide_at(Some(self.at), tables)
    }

    fn bodies(&self) -> Vec<&SealedBody> {
        self.request.bodies()
    }

    fn bodies_mut(&mut self) -> Vec<&mut SealedBody> {
        self.request.bodies_mut()
    }

    fn needs_room(&self) -> bool {
        self.request.needs_room()
    }
}

impl Request for Append {
    type Reply = Appended;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Appended), StoreError> {
        self.decide_at(None, tables)
    }

    fn bodies(&self) -> Vec<&SealedBody> {
        self.messages.iter().map(|message| &message.body).collect()
    }

    fn bodies_mut(&mut self) -> Vec<&mut SealedBody> {
        self.messages
            .iter_mut()
            .map(|message| &mut message.body)
            .collect()
    }

    fn needs_room(&self) -> bool {
        true
    }
}

/// Changes flags (RFC 9051 §6.4.6, RFC 7162 §3.1.3).
///
/// # Errors
/// [`StoreError::NoMailbox`], [`StoreError::TooManyKeywords`]; no message is changed then.
#[derive(Clone, Debug)]
pub struct StoreFlags {
    /// Where.
    pub mailbox: MailboxId,
    /// Which messages; those that are gone are passed over.
    pub uids: Vec<Uid>,
    /// What to do.
    pub change: FlagChange,
    /// Leave alone what has changed since (UNCHANGEDSINCE).
    pub unchanged_since: Option<ModSeq>,
}

/// What to do with flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagChange {
    /// Have these and no others.
    Replace(Flags),
    /// Have these as well.
    Add(Flags),
    /// Have these no more.
    Remove(Flags),
}

impl FlagChange {
    fn of(&self, flags: &Flags) -> Flags {
        let mut changed = flags.clone();
        match self {
            FlagChange::Replace(new) => changed = new.clone(),
            FlagChange::Add(more) => changed.add(more),
            FlagChange::Remove(less) => changed.remove(less),
        }
        changed
    }
}

/// What became of a [`StoreFlags`]. All lists ascend by UID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagsStored {
    /// The messages whose flags are others now.
    pub changed: Vec<(Uid, Flags, ModSeq)>,
    /// The messages whose flags were so already; their modseq is the old one.
    pub unchanged: Vec<(Uid, Flags, ModSeq)>,
    /// The messages left alone because of `unchanged_since` (the response code MODIFIED).
    pub modified: Vec<Uid>,
}

impl Request for StoreFlags {
    type Reply = FlagsStored;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, FlagsStored), StoreError> {
        let row = mailbox::row(tables, self.mailbox)?;
        let new_modseq = next_modseq(row.account, tables)?;
        let mut stored = FlagsStored::default();
        let mut messages = Vec::new();
        for uid in ascending(&self.uids) {
            let Some((modseq, flags)) = rows::get_flags(&tables.flags, self.mailbox.0, uid)? else {
                continue;
            };
            if self.unchanged_since.is_some_and(|since| modseq > since) {
                stored.modified.push(uid);
                continue;
            }
            let changed = self.change.of(&flags);
            if changed == flags {
                stored.unchanged.push((uid, flags, modseq));
            } else {
                check_keywords(&changed)?;
                messages.push((uid, changed.clone()));
                stored.changed.push((uid, changed, new_modseq));
            }
        }
        if messages.is_empty() {
            return Ok((None, stored));
        }
        let set = FlagsSet {
            mailbox: self.mailbox,
            modseq: new_modseq,
            messages,
        };
        Ok((Some(Mutation::Flags(set)), stored))
    }
}

fn ascending(uids: &[Uid]) -> Vec<Uid> {
    let mut uids = uids.to_vec();
    uids.sort_unstable();
    uids.dedup();
    uids
}

/// Removes the messages that have `\Deleted` (RFC 9051 §6.4.3), of `uids` only if given (§6.4.9).
/// The reply lists the UIDs that are gone, ascending.
///
/// # Errors
/// [`StoreError::NoMailbox`].
#[derive(Clone, Debug)]
pub struct Expunge {
    /// Where.
    pub mailbox: MailboxId,
    /// Which messages may go; `None`: all.
    pub uids: Option<Vec<Uid>>,
}

impl Request for Expunge {
    type Reply = Vec<Uid>;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Vec<Uid>), StoreError> {
        let row = mailbox::row(tables, self.mailbox)?;
        let is_deleted = |system: u8| SystemFlags(system).contains(SystemFlags::DELETED);
        let mut uids = Vec::new();
        if let Some(asked) = &self.uids {
            for uid in ascending(asked) {
                let found = tables.flags.get((self.mailbox.0, uid.get()))?;
                if found.is_some_and(|found| is_deleted(found.value().1)) {
                    uids.push(uid);
                }
            }
        } else if row.counts.deleted > 0 {
            for found in tables
                .flags
                .range((self.mailbox.0, 0)..=(self.mailbox.0, u32::MAX))?
            {
                let (key, value) = found?;
                if is_deleted(value.value().1) {
                    uids.extend(Uid::new(key.value().1));
                }
            }
        }
        if uids.is_empty() {
            return Ok((None, uids));
        }
        let modseq = next_modseq(row.account, tables)?;
        let expunged = Expunged {
            mailbox: self.mailbox,
            modseq,
            uids: uids.clone(),
        };
        Ok((Some(Mutation::Expunge(expunged)), uids))
    }
}

/// Copies messages, or moves them: in one record, so that a moved message is never in no mailbox, nor in both
/// (RFC 9051 §6.4.7, §6.4.8; D3). Copies share the body. The two may be of different accounts: whether the one who asks
/// may do so is looked at before.
///
/// # Errors
/// [`StoreError::NoMailbox`], [`StoreError::OverQuota`]; nothing is written then.
#[derive(Clone, Debug)]
pub struct Copy {
    /// From where.
    pub from: MailboxId,
    /// Which messages; those that are gone are passed over.
    pub uids: Vec<Uid>,
    /// Where to.
    pub to: MailboxId,
    /// Whether they are to be gone from where they were.
    pub is_move: bool,
}

/// What COPYUID tells (RFC 9051 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedUids {
    /// Of the mailbox copied to.
    pub uid_validity: UidValidity,
    /// Old UID, new UID; both ascend.
    pub uids: Vec<(Uid, Uid)>,
}

impl Copy {
    fn decide_at(
        &self,
        saved: Option<Timestamp>,
        tables: &Tables<'_>,
    ) -> Result<(Option<Mutation>, CopiedUids), StoreError> {
        let from = mailbox::row(tables, self.from)?;
        let to = mailbox::row(tables, self.to)?;
        let is_within = from.account == to.account;
        let mut numbering = Numbering::default();
        let mut messages = Vec::new();
        let mut octets = 0;
        for uid in ascending(&self.uids) {
            let key = (self.from.0, uid.get());
            let Some(row) = rows::get::<MessageRow, _>(&tables.message, key)? else {
                continue;
            };
            octets += row.size_octets;
            messages.push((uid, numbering.uid(self.to, &to)?));
        }
        let copied = CopiedUids {
            uid_validity: to.uid_validity,
            uids: messages.clone(),
        };
        if messages.is_empty() {
            return Ok((None, copied));
        }
        if !(self.is_move && is_within) {
            check_quota(to.account, (octets, messages.len() as u64), tables)?;
        }
        let record = Copied {
            from: self.from,
            to: self.to,
            modseq: numbering.modseq(to.account, tables)?,
            messages,
            is_move: self.is_move,
            saved,
            modseq_from: if is_within {
                None
            } else {
                Some(numbering.modseq(from.account, tables)?)
            },
        };
        Ok((Some(Mutation::Copy(record)), copied))
    }
}

impl Request for SavedAt<Copy> {
    type Reply = CopiedUids;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, CopiedUids), StoreError> {
        self.request.decide_at(Some(self.at), tables)
    }

    fn needs_room(&self) -> bool {
        self.request.needs_room()
    }
}

impl Request for Copy {
    type Reply = CopiedUids;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, CopiedUids), StoreError> {
        self.decide_at(None, tables)
    }

    fn needs_room(&self) -> bool {
        // A move is how most programs delete.
        !self.is_move
    }
}
