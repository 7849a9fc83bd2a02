//! Mailboxes: what they are, and how they come, change their name and go.

use crate::account::number;
use crate::error::StoreError;
use crate::index::rows::{self, MailboxRow};
use crate::index::{Tables, state};
use crate::log::record::{
    InboxRenamed, MailboxCreated, MailboxDeleted, MailboxRecord, MailboxesRenamed, Mutation, SpecialUse,
    SpecialUsesSet, Subscribed,
};
use crate::message::next_modseq;
use crate::request::Request;
use mail::{AccountId, MailboxId, MailboxName, ModSeq, UidValidity};
use redb::ReadableTable;
use std::num::NonZeroU32;

/// The most mailboxes of an account: listing all of them stays quick.
pub const MAILBOXES_MAX: usize = 5000;

/// A mailbox as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Mailbox {
    /// Its number, which stays when its name changes.
    pub id: MailboxId,
    /// Whose it is.
    pub account: AccountId,
    /// Its name.
    pub name: MailboxName,
    /// Its UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The UID that the next message gets, or a lower bound of it; 4 294 967 296 when there is none left.
    pub uid_next: u64,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// Whether the account subscribed to it.
    pub is_subscribed: bool,
}

impl Mailbox {
    pub(crate) fn new(id: MailboxId, row: MailboxRow) -> Mailbox {
        Mailbox {
            id,
            account: row.account,
            name: row.name,
            uid_validity: row.uid_validity,
            uid_next: row.uid_next,
            special_use: row.special_use,
            is_subscribed: row.is_subscribed,
        }
    }

    /// Its MAILBOXID (RFC 8474 §4): stays when its name changes, and is never given again.
    pub fn object_id(&self) -> String {
        // Not its number: those begin anew after a factory reset, and this counter elsewhere.
        format!("F{:08x}", self.uid_validity.get())
    }
}

/// What STATUS tells of a mailbox (RFC 9051 §6.3.11). Read from counters: no message is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Messages.
    pub messages: u32,
    /// Of them without `\Seen`.
    pub unseen: u32,
    /// Of them with `\Deleted`.
    pub deleted: u32,
    /// The sum of their sizes.
    pub size_octets: u64,
    /// As in [`Mailbox::uid_next`].
    pub uid_next: u64,
    /// As in [`Mailbox::uid_validity`].
    pub uid_validity: UidValidity,
    /// The highest modseq of a change in it (RFC 7162 §3.1.2.1); at least 1.
    pub highest_modseq: ModSeq,
}

impl Status {
    pub(crate) fn new(row: &MailboxRow) -> Status {
        Status {
            messages: row.counts.messages,
            unseen: row.counts.unseen,
            deleted: row.counts.deleted,
            size_octets: row.counts.size_octets,
            uid_next: row.uid_next,
            uid_validity: row.uid_validity,
            highest_modseq: row.highest_modseq,
        }
    }
}

/// The UIDVALIDITY that a counter stands at.
pub(crate) fn next_uid_validity(counter: u64) -> Result<UidValidity, StoreError> {
    let exhausted = StoreError::UidsExhausted;
    u32::try_from(counter)
        .ok()
        .and_then(NonZeroU32::new)
        .map(UidValidity)
        .ok_or(exhausted)
}

pub(crate) fn row(tables: &Tables<'_>, mailbox: MailboxId) -> Result<MailboxRow, StoreError> {
    rows::get(&tables.mailbox, mailbox.0)?.ok_or(StoreError::NoMailbox)
}

fn exists(tables: &Tables<'_>, account: AccountId, name: &MailboxName) -> Result<bool, StoreError> {
    Ok(tables.name.get((account.0, name.as_str()))?.is_some())
}

/// Makes a mailbox, and those above it that are missing (RFC 9051 §6.3.4, RFC 6154 §3).
///
/// # Errors
/// [`StoreError::MailboxExists`], [`StoreError::NoAccount`], [`StoreError::SpecialUseTaken`], [`StoreError::TooMany`].
#[derive(Clone, Debug)]
pub struct CreateMailbox {
    /// For whom.
    pub account: AccountId,
    /// Its name.
    pub name: MailboxName,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
}

impl Request for CreateMailbox {
    type Reply = MailboxId;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, MailboxId), StoreError> {
        if tables.account.get(self.account.0)?.is_none() {
            return Err(StoreError::NoAccount);
        }
        let mailboxes = new_mailboxes(tables, self.account, &self.name, self.special_use)?;
        if let Some(special_use) = self.special_use
            && used_for(tables, self.account, special_use)?.is_some()
        {
            return Err(StoreError::SpecialUseTaken);
        }
        let id = mailboxes.last().expect("the one asked for is among them").id;
        Ok((
            Some(Mutation::CreateMailbox(MailboxCreated {
                account: self.account,
                mailboxes,
            })),
            id,
        ))
    }

    fn needs_room(&self) -> bool {
        true
    }
}

/// A mailbox that is to be made, behind those above it that are missing.
fn new_mailboxes(
    tables: &Tables<'_>,
    account: AccountId,
    name: &MailboxName,
    special_use: Option<SpecialUse>,
) -> Result<Vec<MailboxRecord>, StoreError> {
    if exists(tables, account, name)? {
        return Err(StoreError::MailboxExists);
    }
    let mut names = vec![name.clone()];
    let mut above = name.parent();
    while let Some(name) = above.take() {
        above = name.parent();
        if !exists(tables, account, &name)? {
            names.push(name);
        }
    }
    if names_of(tables, account)?.len() + names.len() > MAILBOXES_MAX {
        return Err(StoreError::TooMany {
            what: "mailboxes",
            max: MAILBOXES_MAX,
        });
    }
    let ids = rows::counter(&tables.state, state::NEXT_MAILBOX)?..;
    let uid_validities = rows::counter(&tables.state, state::NEXT_UID_VALIDITY)?..;
    let mut mailboxes = Vec::with_capacity(names.len());
    for ((id, uid_validity), new) in ids.zip(uid_validities).zip(names.into_iter().rev()) {
        let is_asked_for = new == *name;
        mailboxes.push(MailboxRecord {
            id: MailboxId(number(id)?),
            name: new,
            uid_validity: next_uid_validity(uid_validity)?,
            special_use: special_use.filter(|_| is_asked_for),
            is_subscribed: false,
        });
    }
    Ok(mailboxes)
}

fn names_of(tables: &Tables<'_>, account: AccountId) -> Result<Vec<MailboxId>, StoreError> {
    let mut mailboxes = Vec::new();
    for found in tables
        .name
        .range((account.0, "")..(account.0.saturating_add(1), ""))?
    {
        mailboxes.push(MailboxId(found?.1.value()));
    }
    Ok(mailboxes)
}

/// The mailbox of an account that is for this.
fn used_for(
    tables: &Tables<'_>,
    account: AccountId,
    special_use: SpecialUse,
) -> Result<Option<MailboxId>, StoreError> {
    for mailbox in names_of(tables, account)? {
        if row(tables, mailbox)?.special_use == Some(special_use) {
            return Ok(Some(mailbox));
        }
    }
    Ok(None)
}

/// Says what a mailbox is for, or that it is for nothing in particular. The one that was for it until now is not any more.
///
/// # Errors
/// [`StoreError::NoMailbox`]; [`StoreError::IsInbox`]: INBOX has its use.
#[derive(Clone, Copy, Debug)]
pub struct SetSpecialUse {
    /// Which.
    pub mailbox: MailboxId,
    /// What for.
    pub special_use: Option<SpecialUse>,
}

impl Request for SetSpecialUse {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let row = row(tables, self.mailbox)?;
        if row.special_use == self.special_use {
            return Ok((None, ()));
        }
        if row.name.is_inbox() {
            return Err(StoreError::IsInbox);
        }
        let mut uses = Vec::new();
        if let Some(special_use) = self.special_use {
            let before = used_for(tables, row.account, special_use)?;
            uses.extend(before.map(|mailbox| (mailbox, None)));
        }
        uses.push((self.mailbox, self.special_use));
        let account = row.account;
        Ok((
            Some(Mutation::SetSpecialUses(SpecialUsesSet { account, uses })),
            (),
        ))
    }
}

/// Gives a mailbox and those below it another name (RFC 9051 §6.3.6). If there is none of that name, but some below it,
/// those are renamed.
///
/// Renaming INBOX moves its messages to a mailbox that is new, where they keep their UIDs; INBOX stays, empty, and so do
/// those below it.
///
/// # Errors
/// [`StoreError::NoMailbox`], [`StoreError::MailboxExists`]; [`StoreError::IsInbox`] when INBOX is the new name;
/// [`StoreError::TooMany`].
#[derive(Clone, Debug)]
pub struct RenameMailbox {
    /// Whose.
    pub account: AccountId,
    /// What it is called.
    pub from: MailboxName,
    /// What it is to be called.
    pub to: MailboxName,
}

impl Request for RenameMailbox {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        if self.to.is_inbox() {
            return Err(StoreError::IsInbox);
        }
        if self.from.is_inbox() {
            return self.decide_inbox(tables);
        }
        let below = format!("{}/", self.from.as_str());
        let mut names = Vec::new();
        for found in tables
            .name
            .range((self.account.0, self.from.as_str())..(self.account.0 + 1, ""))?
        {
            let (key, id) = found?;
            let (_, name) = key.value();
            let rest = if name == self.from.as_str() {
                ""
            } else if name.starts_with(&below) {
                &name[self.from.as_str().len()..]
            } else if name.starts_with(self.from.as_str()) {
                // "work.old" stands between "work" and "work/…".
                continue;
            } else {
                break;
            };
            let name = MailboxName::parse(&format!("{}{rest}", self.to.as_str())).map_err(|_| {
                StoreError::TooLarge {
                    octets_max: MailboxName::OCTETS_MAX as u64,
                }
            })?;
            names.push((MailboxId(id.value()), name));
        }
        if names.is_empty() {
            return Err(StoreError::NoMailbox);
        }
        for (_, name) in &names {
            let is_ours = *name == self.from || name.as_str().starts_with(&below);
            if exists(tables, self.account, name)? && !is_ours {
                return Err(StoreError::MailboxExists);
            }
        }
        // A mailbox cannot go below itself, nor onto itself.
        if self.to == self.from || self.to.as_str().starts_with(&below) {
            return Err(StoreError::MailboxExists);
        }
        Ok((
            Some(Mutation::RenameMailboxes(MailboxesRenamed {
                account: self.account,
                names,
            })),
            (),
        ))
    }
}

impl RenameMailbox {
    fn decide_inbox(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        if !exists(tables, self.account, &self.from)? {
            return Err(StoreError::NoMailbox);
        }
        let renamed = InboxRenamed {
            account: self.account,
            mailboxes: new_mailboxes(tables, self.account, &self.to, None)?,
            modseq: next_modseq(self.account, tables)?,
        };
        Ok((Some(Mutation::RenameInbox(renamed)), ()))
    }
}

/// Deletes a mailbox with its messages. Those below it stay (RFC 9051 §6.3.5).
///
/// # Errors
/// [`StoreError::NoMailbox`], [`StoreError::IsInbox`].
#[derive(Clone, Copy, Debug)]
pub struct DeleteMailbox {
    /// Which.
    pub mailbox: MailboxId,
}

impl Request for DeleteMailbox {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        if row(tables, self.mailbox)?.name.is_inbox() {
            return Err(StoreError::IsInbox);
        }
        Ok((
            Some(Mutation::DeleteMailbox(MailboxDeleted {
                mailbox: self.mailbox,
            })),
            (),
        ))
    }
}

/// Sets whether the account is subscribed to a mailbox (RFC 9051 §6.3.7).
///
/// # Errors
/// [`StoreError::NoMailbox`].
#[derive(Clone, Copy, Debug)]
pub struct Subscribe {
    /// Which.
    pub mailbox: MailboxId,
    /// Whether it is to be.
    pub is_subscribed: bool,
}

impl Request for Subscribe {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let Subscribe {
            mailbox,
            is_subscribed,
        } = *self;
        if row(tables, mailbox)?.is_subscribed == is_subscribed {
            return Ok((None, ()));
        }
        Ok((
            Some(Mutation::Subscribe(Subscribed {
                mailbox,
                is_subscribed,
            })),
            (),
        ))
    }
}
