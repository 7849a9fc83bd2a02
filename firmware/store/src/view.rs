//! Looking at the store: one read transaction for one command.

use crate::account::{Account, Redirect};
use crate::check;
use crate::error::StoreError;
use crate::index::ReadTables;
use crate::index::rows::{self, AccountRow, MailboxRow, MessageRow, RedirectRow, account_of, get_by_address};
use crate::log::body::BodyReader;
use crate::mailbox::{Mailbox, Status};
use crate::shared::{Reading, Shared};
use mail::{AccountId, Address, Domain, Flags, InternalDate, MailboxId, MailboxName, ModSeq, Timestamp, Uid};
use redb::{ReadableTable, ReadableTableMetadata};
use std::io;
use std::sync::Arc;

/// The store as it was when the view was made, whatever is written meanwhile.
///
/// Make one for one command and let it go before waiting for anybody: as long as it lives, the index
/// keeps what it sees.
pub struct View {
    shared: Arc<Shared>,
    pub(crate) tables: Reading,
}

/// What SELECT needs to know of a message; no message is read for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its UID.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// The modseq of its last change.
    pub modseq: ModSeq,
}

/// A message as it was when the view was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The mailbox it is in.
    pub mailbox: MailboxId,
    /// Its UID.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// The modseq of its last change.
    pub modseq: ModSeq,
    /// Its INTERNALDATE.
    pub internal_date: InternalDate,
    /// When it was put into its mailbox (SAVEDATE, RFC 8514), if that is known.
    pub saved: Option<Timestamp>,
    /// Octets of the whole message: its own prefix and the shared body.
    pub size_octets: u64,
    prefix: Vec<u8>,
    pub(crate) body: u64,
}

impl Message {
    /// The header fields of this copy alone, which stand before the body. What is known of the body
    /// ([`View::structure`]) counts from behind them.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Its EMAILID (RFC 8474 §5): that of all its copies in the account.
    pub fn email_id(&self) -> String {
        // Two copies of one delivery have one body, and header fields of their own.
        let header = blake3::hash(&self.prefix);
        let [a, b, c, d, ..] = *header.as_bytes();
        format!("M{:x}-{:08x}", self.body, u32::from_be_bytes([a, b, c, d]))
    }
}

impl View {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<View, StoreError> {
        let tables = shared.read()?;
        Ok(View { shared, tables })
    }

    pub(crate) fn tables(&self) -> &ReadTables {
        &self.tables
    }

    /// Whether the box has an account.
    pub fn is_claimed(&self) -> Result<bool, StoreError> {
        Ok(self.tables.account.len()? > 0)
    }

    /// Whether `domain` is hosted here.
    pub fn domain(&self, domain: &Domain) -> Result<bool, StoreError> {
        Ok(self.tables.domain.get(domain.as_str())?.is_some())
    }

    /// The hosted domains, sorted.
    pub fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        let mut domains = Vec::new();
        for row in self.tables.domain.iter()? {
            domains
                .push(Domain::parse(row?.0.value()).map_err(|_| StoreError::IndexRow { table: "domain" })?);
        }
        Ok(domains)
    }

    /// An account by its number.
    pub fn account(&self, account: AccountId) -> Result<Option<Account>, StoreError> {
        let Some(row) = rows::get::<AccountRow, _>(&self.tables.account, account.0)? else {
            return Ok(None);
        };
        Ok(Some(Account::new(
            account,
            row,
            rows::quota(&self.tables.quota, account)?,
        )))
    }

    /// All accounts, in the order of their numbers.
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let mut accounts = Vec::new();
        for row in self.tables.account.iter()? {
            accounts.extend(self.account(AccountId(row?.0.value()))?);
        }
        Ok(accounts)
    }

    /// An account by its address, in any case (L1).
    pub fn account_by_address(&self, address: &Address) -> Result<Option<Account>, StoreError> {
        match account_of(&self.tables.address, address)? {
            Some(account) => self.account(account),
            None => Ok(None),
        }
    }

    /// The redirect of an address, in any case, if it is enabled.
    pub fn redirect(&self, address: &Address) -> Result<Option<Redirect>, StoreError> {
        let alias: Option<RedirectRow> = get_by_address(&self.tables.redirect, address)?;
        Ok(alias.filter(|alias| alias.is_enabled).map(|alias| Redirect {
            address: alias.address,
            targets: alias.targets,
        }))
    }

    /// The mailboxes of an account, sorted by name.
    pub fn mailboxes(&self, account: AccountId) -> Result<Vec<Mailbox>, StoreError> {
        let mut mailboxes = Vec::new();
        for found in self.tables.name.range((account.0, "")..)? {
            let (key, id) = found?;
            if key.value().0 != account.0 {
                break;
            }
            mailboxes.extend(self.mailbox(MailboxId(id.value()))?);
        }
        Ok(mailboxes)
    }

    /// A mailbox by its number.
    pub fn mailbox(&self, mailbox: MailboxId) -> Result<Option<Mailbox>, StoreError> {
        let row = rows::get::<MailboxRow, _>(&self.tables.mailbox, mailbox.0)?;
        Ok(row.map(|row| Mailbox::new(mailbox, row)))
    }

    /// A mailbox by its name.
    pub fn mailbox_by_name(
        &self,
        account: AccountId,
        name: &MailboxName,
    ) -> Result<Option<Mailbox>, StoreError> {
        match self.tables.name.get((account.0, name.as_str()))? {
            Some(id) => self.mailbox(MailboxId(id.value())),
            None => Ok(None),
        }
    }

    /// What is in a mailbox, from its counters.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`].
    pub fn status(&self, mailbox: MailboxId) -> Result<Status, StoreError> {
        let row: MailboxRow = rows::get(&self.tables.mailbox, mailbox.0)?.ok_or(StoreError::NoMailbox)?;
        Ok(Status::new(&row))
    }

    /// All messages of a mailbox, by ascending UID; none if there is no such mailbox.
    pub fn entries(&self, mailbox: MailboxId) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for found in self.tables.flags.range((mailbox.0, 0)..=(mailbox.0, u32::MAX))? {
            let (key, value) = found?;
            entries.push(entry(key.value().1, value.value())?);
        }
        Ok(entries)
    }

    /// The messages that changed after `since`, new ones included, by ascending UID (RFC 7162 §3.1.4).
    pub fn changed_since(&self, mailbox: MailboxId, since: ModSeq) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for found in self.tables.modseq.range(after(mailbox, since))? {
            let (_, _, uid) = found?.0.value();
            let row = self.tables.flags.get((mailbox.0, uid))?;
            let row = row.ok_or(StoreError::IndexRow { table: "modseq" })?;
            entries.push(entry(uid, row.value())?);
        }
        entries.sort_unstable_by_key(|entry| entry.uid);
        Ok(entries)
    }

    /// A message.
    pub fn message(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<Message>, StoreError> {
        let key = (mailbox.0, uid.get());
        let Some(row) = rows::get::<MessageRow, _>(&self.tables.message, key)? else {
            return Ok(None);
        };
        let (modseq, flags) = rows::get_flags(&self.tables.flags, mailbox.0, uid)?
            .ok_or(StoreError::IndexRow { table: "flags" })?;
        Ok(Some(Message {
            mailbox,
            uid,
            flags,
            modseq,
            internal_date: row.internal_date,
            saved: row.saved,
            size_octets: row.size_octets,
            prefix: row.prefix,
            body: row.body,
        }))
    }

    /// What was given with the message's body; no body is read (B6).
    pub fn structure(&self, message: &Message) -> Result<Vec<u8>, StoreError> {
        self.structure_of(message.body)
    }

    pub(crate) fn structure_of(&self, body: u64) -> Result<Vec<u8>, StoreError> {
        let row = self.tables.structure.get(body)?;
        Ok(row
            .ok_or(StoreError::IndexRow { table: "structure" })?
            .value()
            .to_vec())
    }

    /// Opens a message for reading; no octet of it is read yet.
    ///
    /// # Errors
    /// [`StoreError::Gone`] when it was expunged after this view was made,
    /// [`StoreError::Damaged`] when its file is missing.
    pub fn body(&self, message: &Message) -> Result<BodyReader, StoreError> {
        self.reader(message.body, message.prefix.clone())
    }

    /// Opens a body for reading, with no fields before it.
    pub(crate) fn body_alone(&self, body: u64) -> Result<BodyReader, StoreError> {
        self.reader(body, Vec::new())
    }

    pub(crate) fn reader(&self, body: u64, prefix: Vec<u8>) -> Result<BodyReader, StoreError> {
        let (_, row) =
            rows::get_blob(&self.tables.blob, body)?.ok_or(StoreError::IndexRow { table: "blob" })?;
        let (name, offset) = row.file();
        let file = match self.shared.files.get(&*self.shared.storage, &row) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let now = self.shared.read()?;
                let is_gone = now.blob.get(body)?.is_none();
                return Err(if is_gone {
                    StoreError::Gone
                } else {
                    StoreError::Damaged { name, offset }
                });
            }
            Err(error) => return Err(StoreError::io(name)(error)),
        };
        Ok(BodyReader {
            prefix,
            octets: row.octets,
            frames: row.frames,
            file,
            name,
            offset,
            sealer: self.shared.sealer.clone(),
            opened: None,
        })
    }

    /// All that is known, as text, in one order, without where on the disk it is: two stores hold the
    /// same when these are equal.
    pub fn dump(&self) -> Result<String, StoreError> {
        check::dump(&self.tables)
    }
}

fn entry(uid: u32, row: (u64, u8, &str)) -> Result<Entry, StoreError> {
    let uid = Uid::new(uid).ok_or(StoreError::IndexRow { table: "flags" })?;
    let (modseq, flags) = rows::flags_from(row)?;
    Ok(Entry { uid, flags, modseq })
}

/// The rows of a mailbox with a modseq above `since`.
pub(crate) fn after(mailbox: MailboxId, since: ModSeq) -> std::ops::RangeInclusive<(u32, u64, u32)> {
    (mailbox.0, since.0.saturating_add(1), 0)..=(mailbox.0, u64::MAX, u32::MAX)
}
