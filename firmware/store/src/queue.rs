//! The outbound queue: messages on their way to other servers.
//!
//! When, where to and how often a recipient is tried is for those who ask. The store keeps where each one stands, finds
//! those that are due by time and by destination, and loses nothing: a message for people here and elsewhere is one
//! record, and so are a report and the end of what it reports.
//!
//! # Invariants
//! - An entry has its body as a message in a mailbox has it: one body, counted (S8).
//! - A recipient that waits is found by when it is due, all or by its destination; no other is. One that is held is due
//!   at the end of time.

use crate::error::StoreError;
use crate::index::queue_rows::{EntryRow, RecipientRow, TokenRow, due_by};
use crate::index::rows::{self, Row};
use crate::index::{Tables, state};
use crate::log::body::{BodyReader, SealedBody};
use crate::log::record::{
    EntryRecord, EntrySettled, Mutation, QueueDropped, QueueHeld, QueueSettled, RecipientRecord,
    RecipientState, RecipientStatus, TokenRecord, TokensPruned,
};
use crate::message::{Deliver, Delivered, check_header};
use crate::request::Request;
use crate::view::View;
use mail::{AccountId, Address, ReversePath, Timestamp};
use redb::{ReadableTable, ReadableTableMetadata};

/// The most recipients of one entry: as many as SMTP lets in at once.
pub const QUEUE_RECIPIENTS_MAX: usize = 1000;
/// The latest attempts that are remembered of a recipient.
pub const ATTEMPTS_KEPT: usize = 8;
/// What is remembered of a server's words, in octets.
const WORDS_OCTETS_MAX: usize = 512;
/// The longest name of a server or a destination, in octets (RFC 1035 §3.1).
const NAME_OCTETS_MAX: usize = 255;
/// The most octets of an entry's, or a recipient's, parameters: ORCPT and ENVID are the longest (RFC 3461 §4).
const PARAMETERS_OCTETS_MAX: usize = 4096;
/// The longest token (R5).
const TOKEN_OCTETS_MAX: usize = 64;
/// Entries that one request changes.
const ENTRIES_AT_ONCE_MAX: usize = 10_000;

/// The number of an entry of the queue. Given once, never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// Takes a message in: for mailboxes here, for the queue, or for both, in one record.
///
/// # Errors
/// As [`Deliver`]; [`StoreError::TooMany`] recipients, or none of an entry; [`StoreError::TooLarge`] parameters;
/// [`StoreError::NoQueueEntry`] when `settles` names one that is not there. Nothing is written then.
#[derive(Debug)]
pub struct Enqueue {
    /// The message, and whom here it is for.
    pub deliver: Deliver,
    /// Whom elsewhere it is for: an entry for each sender it is passed on by.
    pub entries: Vec<NewEntry>,
    /// What it settles, if it is a report: the report leaves, and what it reports is settled, or neither.
    pub settles: Vec<Settle>,
    /// Words that stand for senders in what is passed on (R5).
    pub tokens: Vec<Token>,
}

/// An entry to be made.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Who gets the reports.
    pub reverse_path: ReversePath,
    /// Who sent it, if an account here did.
    pub account: Option<AccountId>,
    /// The trace id that the sender was told (D37).
    pub trace: String,
    /// Header fields of this copy alone, before the body's: at most 4 KiB.
    pub header: Vec<u8>,
    /// What delivery wants to know of it again; kept as it is given.
    pub parameters: Vec<u8>,
    /// Why it is not to be sent for now.
    pub hold: Option<String>,
    /// For whom.
    pub recipients: Vec<NewRecipient>,
}

/// A recipient of an entry to be made.
#[derive(Clone, Debug)]
pub struct NewRecipient {
    /// The forward-path.
    pub address: Address,
    /// Where it goes: its domain, or the smarthost. Recipients of one destination are listed together.
    pub destination: String,
    /// As in [`NewEntry`].
    pub parameters: Vec<u8>,
    /// Not before this time: send-later, or the time in which sending can be undone.
    pub not_before: Timestamp,
}

/// A word that stands for a sender, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The word.
    pub token: String,
    /// The sender that it stands for.
    pub sender: Address,
    /// Until when.
    pub expires: Timestamp,
}

/// What became of the recipients of an entry in an attempt.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Which entry.
    pub entry: EntryId,
    /// Where these recipients stand now, by their place in it; the others stand where they stood.
    pub recipients: Vec<(u32, RecipientState)>,
    /// Nothing is left to be done for it: it leaves the queue.
    pub is_done: bool,
}

impl Settle {
    fn record(&self, tables: &Tables<'_>) -> Result<EntrySettled, StoreError> {
        let row: EntryRow = rows::get(&tables.queue, self.entry.0)?.ok_or(StoreError::NoQueueEntry)?;
        let mut recipients = Vec::with_capacity(self.recipients.len());
        for (place, state) in &self.recipients {
            if *place >= row.recipients {
                return Err(StoreError::NoQueueEntry);
            }
            recipients.push((*place, bounded(state)));
        }
        Ok(EntrySettled {
            entry: self.entry.0,
            recipients,
            is_done: self.is_done,
        })
    }
}

/// The newest attempts only, and of each no more than is kept: the words are another server's.
fn bounded(state: &RecipientState) -> RecipientState {
    let mut state = state.clone();
    let too_many = state.latest.len().saturating_sub(ATTEMPTS_KEPT);
    state.latest.drain(..too_many);
    for attempt in &mut state.latest {
        attempt
            .words
            .truncate(attempt.words.floor_char_boundary(WORDS_OCTETS_MAX));
        attempt
            .remote
            .truncate(attempt.remote.floor_char_boundary(NAME_OCTETS_MAX));
    }
    state
}

fn settled(settles: &[Settle], tables: &Tables<'_>) -> Result<Vec<EntrySettled>, StoreError> {
    settles.iter().map(|settle| settle.record(tables)).collect()
}

impl NewEntry {
    fn record(&self, id: u64, body: u64, queued: Timestamp) -> Result<EntryRecord, StoreError> {
        check_header(&self.header)?;
        check_length(self.parameters.len(), PARAMETERS_OCTETS_MAX)?;
        check_length(self.hold.as_ref().map_or(0, String::len), WORDS_OCTETS_MAX)?;
        check_length(self.trace.len(), NAME_OCTETS_MAX)?;
        if !(1..=QUEUE_RECIPIENTS_MAX).contains(&self.recipients.len()) {
            return Err(StoreError::TooMany {
                what: "recipients, and one at least,",
                max: QUEUE_RECIPIENTS_MAX,
            });
        }
        let mut recipients = Vec::with_capacity(self.recipients.len());
        for recipient in &self.recipients {
            check_length(recipient.parameters.len(), PARAMETERS_OCTETS_MAX)?;
            check_length(recipient.destination.len(), NAME_OCTETS_MAX)?;
            recipients.push(RecipientRecord {
                address: recipient.address.clone(),
                destination: recipient.destination.clone(),
                parameters: recipient.parameters.clone(),
                next_attempt: recipient.not_before,
            });
        }
        Ok(EntryRecord {
            id,
            body,
            prefix: self.header.clone(),
            reverse_path: self.reverse_path.clone(),
            account: self.account,
            trace: self.trace.clone(),
            queued,
            parameters: self.parameters.clone(),
            hold: self.hold.clone(),
            recipients,
        })
    }
}

fn check_length(octets: usize, octets_max: usize) -> Result<(), StoreError> {
    if octets > octets_max {
        return Err(StoreError::TooLarge {
            octets_max: octets_max as u64,
        });
    }
    Ok(())
}

/// Where a message went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enqueued {
    /// The mailboxes here.
    pub delivered: Vec<Delivered>,
    /// The entries of the queue, in the order of [`Enqueue::entries`].
    pub entries: Vec<EntryId>,
}

impl Request for Enqueue {
    type Reply = Enqueued;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Enqueued), StoreError> {
        if self.deliver.copies.is_empty() && self.entries.is_empty() {
            // Nobody gets it; but it may settle something all the same.
            let entries = settled(&self.settles, tables)?;
            let settle = Mutation::SettleQueue(QueueSettled { entries });
            return Ok(((!self.settles.is_empty()).then_some(settle), Enqueued::default()));
        }
        let (mut record, delivered) = self.deliver.record(tables)?;
        let body = record.bodies[0].id;
        let first = rows::counter(&tables.state, state::NEXT_ENTRY)?.max(1);
        for (id, entry) in (first..).zip(&self.entries) {
            record
                .entries
                .push(entry.record(id, body, self.deliver.received)?);
        }
        record.settled = settled(&self.settles, tables)?;
        for token in &self.tokens {
            check_length(token.token.len(), TOKEN_OCTETS_MAX)?;
            record.tokens.push(TokenRecord {
                token: token.token.clone(),
                sender: token.sender.clone(),
                expires: token.expires,
            });
        }
        if !record.entries.is_empty() {
            record.saved = Some(self.deliver.received);
        }
        let enqueued = Enqueued {
            delivered,
            entries: record.entries.iter().map(|entry| EntryId(entry.id)).collect(),
        };
        Ok((Some(Mutation::Append(record)), enqueued))
    }

    fn bodies(&self) -> Vec<&SealedBody> {
        self.deliver.bodies()
    }

    fn bodies_mut(&mut self) -> Vec<&mut SealedBody> {
        self.deliver.bodies_mut()
    }

    fn needs_room(&self) -> bool {
        true
    }
}

/// Notes what became of recipients, of one entry or of several: all of it or nothing.
///
/// # Errors
/// [`StoreError::NoQueueEntry`] when an entry, or a place in it, is not there: it was dropped meanwhile.
#[derive(Clone, Debug)]
pub struct SettleQueue {
    /// What became of them.
    pub settles: Vec<Settle>,
}

impl Request for SettleQueue {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let entries = settled(&self.settles, tables)?;
        let settle = Mutation::SettleQueue(QueueSettled { entries });
        Ok(((!self.settles.is_empty()).then_some(settle), ()))
    }
}

fn present(entries: &[EntryId], tables: &Tables<'_>) -> Result<Vec<u64>, StoreError> {
    if entries.len() > ENTRIES_AT_ONCE_MAX {
        return Err(StoreError::TooMany {
            what: "entries at once",
            max: ENTRIES_AT_ONCE_MAX,
        });
    }
    let mut present = Vec::with_capacity(entries.len());
    for entry in entries {
        if tables.queue.get(entry.0)?.is_some() {
            present.push(entry.0);
        }
    }
    present.sort_unstable();
    present.dedup();
    Ok(present)
}

/// Holds entries, or lets them go on: they are due when they were. Those that are gone are passed over; the reply lists
/// the others.
#[derive(Clone, Debug)]
pub struct HoldQueue {
    /// Which.
    pub entries: Vec<EntryId>,
    /// Why they are held; `None`: they are not.
    pub hold: Option<String>,
}

impl Request for HoldQueue {
    type Reply = Vec<EntryId>;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Vec<EntryId>), StoreError> {
        check_length(self.hold.as_ref().map_or(0, String::len), WORDS_OCTETS_MAX)?;
        let entries = present(&self.entries, tables)?;
        let reply = entries.iter().copied().map(EntryId).collect();
        let is_any = !entries.is_empty();
        let held = QueueHeld {
            entries,
            hold: self.hold.clone(),
        };
        Ok((is_any.then_some(Mutation::HoldQueue(held)), reply))
    }
}

/// Has the recipients of entries that wait be tried at another time, as after `Retry now`. Those that are gone are passed
/// over; the reply lists the others.
#[derive(Clone, Debug)]
pub struct RetryQueue {
    /// Which.
    pub entries: Vec<EntryId>,
    /// When.
    pub at: Timestamp,
}

impl Request for RetryQueue {
    type Reply = Vec<EntryId>;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Vec<EntryId>), StoreError> {
        let present = present(&self.entries, tables)?;
        let mut entries = Vec::new();
        for entry in &present {
            let mut recipients = Vec::new();
            for (place, mut row) in recipients_of(*entry, &tables.recipient)? {
                if row.state.status == RecipientStatus::Waiting && row.state.next_attempt != self.at {
                    row.state.next_attempt = self.at;
                    recipients.push((place, row.state));
                }
            }
            if !recipients.is_empty() {
                entries.push(EntrySettled {
                    entry: *entry,
                    recipients,
                    is_done: false,
                });
            }
        }
        let reply = present.into_iter().map(EntryId).collect();
        let is_any = !entries.is_empty();
        let settled = QueueSettled { entries };
        Ok((is_any.then_some(Mutation::SettleQueue(settled)), reply))
    }
}

/// Takes entries out of the queue, and nobody is told: by an administrator, or by who undoes sending. Those that are gone
/// are passed over; the reply lists the others.
#[derive(Clone, Debug)]
pub struct DropQueue {
    /// Which.
    pub entries: Vec<EntryId>,
    /// Only those of which no recipient was tried yet.
    pub untried_only: bool,
}

impl Request for DropQueue {
    type Reply = Vec<EntryId>;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Vec<EntryId>), StoreError> {
        let mut entries = present(&self.entries, tables)?;
        if self.untried_only {
            let mut untried = Vec::with_capacity(entries.len());
            for entry in entries {
                let recipients = recipients_of(entry, &tables.recipient)?;
                if recipients.iter().all(|(_, row)| row.state.attempts == 0) {
                    untried.push(entry);
                }
            }
            entries = untried;
        }
        let reply = entries.iter().copied().map(EntryId).collect();
        let is_any = !entries.is_empty();
        Ok((
            is_any.then_some(Mutation::DropQueue(QueueDropped { entries })),
            reply,
        ))
    }
}

/// Forgets tokens that have expired.
pub(crate) struct PruneTokens {
    pub(crate) expired_before: Timestamp,
}

impl Request for PruneTokens {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        for found in tables.token.iter()? {
            if TokenRow::from_octets(found?.1.value())?.expires < self.expired_before {
                let pruned = TokensPruned {
                    expired_before: self.expired_before,
                };
                return Ok((Some(Mutation::PruneTokens(pruned)), ()));
            }
        }
        Ok((None, ()))
    }
}

fn recipients_of(
    entry: u64,
    table: &impl ReadableTable<(u64, u32), &'static [u8]>,
) -> Result<Vec<(u32, RecipientRow)>, StoreError> {
    let mut recipients = Vec::new();
    for found in table.range((entry, 0)..=(entry, u32::MAX))? {
        let (key, value) = found?;
        recipients.push((key.value().1, RecipientRow::from_octets(value.value())?));
    }
    Ok(recipients)
}

/// An entry of the queue, as it was when the view was made.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueEntry {
    /// Its number.
    pub id: EntryId,
    /// As in [`NewEntry`].
    pub reverse_path: ReversePath,
    /// As in [`NewEntry`].
    pub account: Option<AccountId>,
    /// As in [`NewEntry`].
    pub trace: String,
    /// When it was taken in.
    pub queued: Timestamp,
    /// As in [`NewEntry`].
    pub parameters: Vec<u8>,
    /// Why it is held, if it is.
    pub hold: Option<String>,
    /// Octets of the whole message: its own header fields and the shared body.
    pub size_octets: u64,
    /// How many recipients it was made with.
    pub recipients: u32,
    prefix: Vec<u8>,
    body: u64,
}

/// A recipient of an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipient {
    /// Its place in the entry.
    pub place: u32,
    /// As in [`NewRecipient`].
    pub address: Address,
    /// As in [`NewRecipient`].
    pub destination: String,
    /// As in [`NewRecipient`].
    pub parameters: Vec<u8>,
    /// Where it stands.
    pub state: RecipientState,
}

/// A recipient that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When; `None`: its entry is held.
    pub at: Option<Timestamp>,
    /// Of which entry.
    pub entry: EntryId,
    /// Its place in it.
    pub place: u32,
}

impl Due {
    fn new(at: u64, entry: u64, place: u32) -> Due {
        Due {
            at: i64::try_from(at).ok().map(Timestamp),
            entry: EntryId(entry),
            place,
        }
    }
}

impl View {
    /// How many entries the queue has.
    pub fn queue_len(&self) -> Result<u64, StoreError> {
        Ok(self.tables.queue.len()?)
    }

    /// Entries of the queue in the order in which they came, from behind `after` on.
    pub fn queue(&self, after: Option<EntryId>, limit: usize) -> Result<Vec<QueueEntry>, StoreError> {
        let first = after.map_or(0, |entry| entry.0.saturating_add(1));
        let mut entries = Vec::new();
        for found in self.tables.queue.range(first..)?.take(limit) {
            let (key, value) = found?;
            entries.push(entry(key.value(), EntryRow::from_octets(value.value())?));
        }
        Ok(entries)
    }

    /// An entry of the queue.
    pub fn queue_entry(&self, id: EntryId) -> Result<Option<QueueEntry>, StoreError> {
        let row: Option<EntryRow> = rows::get(&self.tables.queue, id.0)?;
        Ok(row.map(|row| entry(id.0, row)))
    }

    /// The recipients of an entry, by their place in it.
    pub fn queue_recipients(&self, id: EntryId) -> Result<Vec<Recipient>, StoreError> {
        let recipients = recipients_of(id.0, &self.tables.recipient)?;
        Ok(recipients
            .into_iter()
            .map(|(place, row)| recipient(place, row))
            .collect())
    }

    /// A recipient of an entry.
    pub fn queue_recipient(&self, id: EntryId, place: u32) -> Result<Option<Recipient>, StoreError> {
        let row: Option<RecipientRow> = rows::get(&self.tables.recipient, (id.0, place))?;
        Ok(row.map(|row| recipient(place, row)))
    }

    /// The recipients that are due by a time, those that waited longest first.
    pub fn queue_due(&self, by: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        let mut due = Vec::new();
        for found in self
            .tables
            .due
            .range(..=(due_by(by), u64::MAX, u32::MAX))?
            .take(limit)
        {
            let (at, entry, place) = found?.0.value();
            due.push(Due::new(at, entry, place));
        }
        Ok(due)
    }

    /// When the next recipient is due; `None`: nobody waits who is not held.
    pub fn queue_next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let first = self.tables.due.first()?;
        Ok(first.and_then(|(key, _)| Due::new(key.value().0, 0, 0).at))
    }

    /// The destinations that recipients wait for, sorted, from behind `after` on, each with when its first one is due
    /// (`None`: all are held). A look-up for each, whatever the queue holds.
    pub fn queue_destinations(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Option<Timestamp>)>, StoreError> {
        let mut destinations: Vec<(String, Option<Timestamp>)> = Vec::new();
        let mut last = after.map(str::to_owned);
        while destinations.len() < limit {
            let table = &self.tables.destination;
            let found = match &last {
                Some(last) => {
                    let behind = (last.as_str(), u64::MAX, u64::MAX, u32::MAX);
                    let range = (std::ops::Bound::Excluded(behind), std::ops::Bound::Unbounded);
                    table.range(range)?.next()
                }
                None => table.iter()?.next(),
            };
            let Some(found) = found else { break };
            let key = found?.0;
            let (destination, at, entry, place) = key.value();
            destinations.push((destination.to_owned(), Due::new(at, entry, place).at));
            last = Some(destination.to_owned());
        }
        Ok(destinations)
    }

    /// The recipients of a destination that are due by a time, those that waited longest first; `None`: all that wait,
    /// those that are held last.
    pub fn queue_of_destination(
        &self,
        destination: &str,
        by: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let last = by.map_or(u64::MAX, due_by);
        let range = (destination, 0, 0, 0)..=(destination, last, u64::MAX, u32::MAX);
        let mut due = Vec::new();
        for found in self.tables.destination.range(range)?.take(limit) {
            let (_, at, entry, place) = found?.0.value();
            due.push(Due::new(at, entry, place));
        }
        Ok(due)
    }

    /// Opens the message of an entry for reading, as [`View::body`] does one of a mailbox.
    pub fn queue_body(&self, entry: &QueueEntry) -> Result<BodyReader, StoreError> {
        self.reader(entry.body, entry.prefix.clone())
    }

    /// What was given with the message's body.
    pub fn queue_structure(&self, entry: &QueueEntry) -> Result<Vec<u8>, StoreError> {
        self.structure_of(entry.body)
    }

    /// The sender that a token stands for, and until when (R5).
    pub fn token(&self, token: &str) -> Result<Option<Token>, StoreError> {
        let row: Option<TokenRow> = rows::get(&self.tables.token, token)?;
        Ok(row.map(|row| Token {
            token: token.to_owned(),
            sender: row.sender,
            expires: row.expires,
        }))
    }
}

fn entry(id: u64, row: EntryRow) -> QueueEntry {
    QueueEntry {
        id: EntryId(id),
        reverse_path: row.reverse_path,
        account: row.account,
        trace: row.trace,
        queued: row.queued,
        parameters: row.parameters,
        hold: row.hold,
        size_octets: row.size_octets,
        recipients: row.recipients,
        prefix: row.prefix,
        body: row.body,
    }
}

fn recipient(place: u32, row: RecipientRow) -> Recipient {
    Recipient {
        place,
        address: row.address,
        destination: row.destination,
        parameters: row.parameters,
        state: row.state,
    }
}
