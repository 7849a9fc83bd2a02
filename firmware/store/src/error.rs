//! What can go wrong in the store.

use crate::admin::DomainLimit;
use mail::{Address, Domain};
use std::io;

/// Why the store did not do what was asked.
///
/// Whose doing it is and whether a retry might help: [`StoreError::is_temporary`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk answered with an error; `name` is relative to the store's folder.
    #[error("{}", io_sentence(name, source))]
    Io {
        /// The file or folder.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The index answered with an error.
    #[error("index: {0}")]
    Index(#[source] Box<redb::Error>),
    /// A row of the index cannot be read.
    #[error(
        "index: a row of table {table} cannot be read; delete index.redb and start again, it is rebuilt from the log"
    )]
    IndexRow {
        /// The table.
        table: &'static str,
    },
    /// Octets of a message are not those that were written.
    #[error("{name}: octets from {offset} on are damaged")]
    Damaged {
        /// The file.
        name: String,
        /// Where in it.
        offset: u64,
    },
    /// The body left the disk while it was asked for: its last message was expunged.
    #[error("the message is gone")]
    Gone,
    /// Another process holds the folder.
    #[error("another process uses this store")]
    InUse,
    /// The store was written by a newer version.
    #[error(
        "{name}: {what} was written by a newer version of the firmware; nothing was changed, start that version"
    )]
    Newer {
        /// The file.
        name: String,
        /// What is not known.
        what: String,
    },
    /// There is an index, or bodies, but no log.
    #[error(
        "the folder log has no segment though {found} exists; put the segments back, or move the folder away to start an empty store"
    )]
    LogMissing {
        /// What was found instead.
        found: &'static str,
    },
    /// The index is to be made anew, there is no snapshot of it, and the log has a gap.
    #[error(
        "the index is to be made anew, but {missing} is not there, and no snapshot can be read; put the folders log and snapshots back as they were, or restore from a backup"
    )]
    LogIncomplete {
        /// The first segment that is not there.
        missing: String,
    },
    /// A restore was cut short.
    #[error("a backup was being restored to this folder, and not all of it is here; restore it again")]
    RestoreUnfinished,
    /// A restore found no backup.
    #[error("there is no backup in that folder: it has no folder log with segments")]
    NoBackup,
    /// A restore was to write to a folder with something in it.
    #[error("the folder to restore to is not empty; nothing was changed")]
    NotEmpty,
    /// A backup cannot have this name.
    #[error("a backup is named by letters, digits and hyphens, and by each name there is one")]
    BackupName,
    /// No segment has a readable header.
    #[error(
        "log: no segment has a readable header, so nothing in them can be verified; restore from a backup"
    )]
    LogUnreadable,
    /// A write failed before. The store reads, but writes nothing until it is opened again.
    #[error("writing stopped: {reason}")]
    Stopped {
        /// What failed.
        reason: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The disk is full, or so nearly that new mail is refused (S8).
    #[error("the disk is full")]
    Full,
    /// The account would exceed its quota.
    #[error("the account is over its quota")]
    OverQuota,
    /// More than one record may hold.
    #[error("the command is larger than {octets_max} octets")]
    TooLarge {
        /// The limit.
        octets_max: u64,
    },
    /// The mailbox has given its last UID (RFC 9051 §2.3.1.1: 32 bits).
    #[error("the mailbox has no UID left")]
    UidsExhausted,
    /// A message would have more keywords than are kept.
    #[error("a message has at most {max} keywords")]
    TooManyKeywords {
        /// The limit.
        max: usize,
    },
    /// There is no such account.
    #[error("no such account")]
    NoAccount,
    /// There is no such mailbox.
    #[error("no such mailbox")]
    NoMailbox,
    /// A mailbox of that name exists.
    #[error("a mailbox of that name exists")]
    MailboxExists,
    /// INBOX cannot be deleted, nor taken as a new name.
    #[error("INBOX cannot be deleted or replaced")]
    IsInbox,
    /// The box has accounts already.
    #[error("the box is claimed already")]
    AlreadyClaimed,
    /// An address names a domain that is not hosted here.
    #[error("{0} is not a domain of this box")]
    UnknownDomain(Domain),
    /// Two accounts, or two redirects, have this address.
    #[error("{0} is given twice")]
    AddressTaken(Address),
    /// An address that reads as a pattern. There is no catch-all (C3).
    #[error("{0} would stand for many addresses; each address that gets mail is made by its name")]
    CatchAll(Address),
    /// The domain is hosted already.
    #[error("{0} is a domain of this box already")]
    DomainExists(Domain),
    /// An address literal, say.
    #[error("{0} is not the name of a domain")]
    NotADomainName(Domain),
    /// Two hosted domains would have one server name (H4).
    #[error("{domain} cannot be hosted beside {by}: both would have the same server name")]
    ServerNameTaken {
        /// The new one.
        domain: Domain,
        /// The one that has the name.
        by: Domain,
    },
    /// The domain is an alias of another, or has one, and so cannot have addresses of its own, or be one.
    #[error("{0} stands for another domain: accounts and aliases are made in that one")]
    IsAliasDomain(Domain),
    /// There is something in the domain, or another domain stands for it.
    #[error("{0} has accounts, aliases or alias domains")]
    DomainInUse(Domain),
    /// A domain would have more than its limit.
    #[error("{domain} has as many {limit} as it may have")]
    DomainLimit {
        /// Which.
        domain: Domain,
        /// What is at its limit.
        limit: DomainLimit,
    },
    /// More of something than is kept.
    #[error("at most {max} {what} are kept")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Nobody could administer the box any more.
    #[error("the box would have no owner who can log in")]
    LastOwner,
    /// The mail of an alias would come back to it (R4).
    #[error("the mail of {0} would come back to it")]
    RedirectLoop(Address),
    /// There is no such password for a program.
    #[error("no such password for a program")]
    NoAppPassword,
    /// There is no such entry in the outbound queue.
    #[error("no such message in the queue")]
    NoQueueEntry,
    /// Another mailbox of the account is for that (RFC 6154 §3).
    #[error("another mailbox is for that")]
    SpecialUseTaken,
}

/// What the system said of which file, and where a person can help, what to do.
fn io_sentence(name: &str, source: &io::Error) -> String {
    let name = if name.is_empty() {
        "the folder of the store"
    } else {
        name
    };
    let advice = match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "; nothing is lost: make the disk writable, and start again",
        io::ErrorKind::PermissionDenied => {
            "; nothing is lost: let the user of this program write there, and start again"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; nothing is lost: make room on that disk, and start again"
        }
        _ => "",
    };
    format!("{name}: {source}{advice}")
}

impl StoreError {
    pub(crate) fn io(name: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
        let name = name.into();
        move |source| StoreError::Io { name, source }
    }

    /// Whether it came from the index.
    pub(crate) fn is_of_index(&self) -> bool {
        matches!(self, StoreError::Index(_) | StoreError::IndexRow { .. })
    }

    /// Whether the index is at fault, and better made anew than believed. One that found no room is as it was.
    pub(crate) fn casts_doubt_on_index(&self) -> bool {
        match self {
            StoreError::Index(error) => {
                !matches!(&**error, redb::Error::Io(error) if crate::space::is_full(error))
            }
            error => error.is_of_index(),
        }
    }

    /// Whether the same request may succeed later without anyone's changing it.
    /// What is not temporary is either the caller's mistake or needs a person.
    pub fn is_temporary(&self) -> bool {
        match self {
            StoreError::Io { .. }
            | StoreError::Index(_)
            | StoreError::InUse
            | StoreError::Stopped { .. }
            | StoreError::Closed
            | StoreError::Full
            | StoreError::OverQuota => true,
            StoreError::IndexRow { .. }
            | StoreError::Damaged { .. }
            | StoreError::Gone
            | StoreError::Newer { .. }
            | StoreError::LogMissing { .. }
            | StoreError::LogIncomplete { .. }
            | StoreError::RestoreUnfinished
            | StoreError::NoBackup
            | StoreError::NotEmpty
            | StoreError::BackupName
            | StoreError::LogUnreadable
            | StoreError::TooLarge { .. }
            | StoreError::UidsExhausted
            | StoreError::TooManyKeywords { .. }
            | StoreError::NoAccount
            | StoreError::NoMailbox
            | StoreError::MailboxExists
            | StoreError::IsInbox
            | StoreError::AlreadyClaimed
            | StoreError::UnknownDomain(_)
            | StoreError::AddressTaken(_)
            | StoreError::CatchAll(_)
            | StoreError::DomainExists(_)
            | StoreError::NotADomainName(_)
            | StoreError::ServerNameTaken { .. }
            | StoreError::IsAliasDomain(_)
            | StoreError::DomainInUse(_)
            | StoreError::DomainLimit { .. }
            | StoreError::TooMany { .. }
            | StoreError::LastOwner
            | StoreError::RedirectLoop(_)
            | StoreError::NoAppPassword
            | StoreError::NoQueueEntry
            | StoreError::SpecialUseTaken => false,
        }
    }

    /// Whether the store, and not the one who asked, is at fault.
    pub fn is_ours(&self) -> bool {
        match self {
            StoreError::Io { .. }
            | StoreError::Index(_)
            | StoreError::IndexRow { .. }
            | StoreError::Damaged { .. }
            | StoreError::InUse
            | StoreError::Newer { .. }
            | StoreError::LogMissing { .. }
            | StoreError::LogIncomplete { .. }
            | StoreError::RestoreUnfinished
            | StoreError::NoBackup
            | StoreError::NotEmpty
            | StoreError::BackupName
            | StoreError::LogUnreadable
            | StoreError::Stopped { .. }
            | StoreError::Closed
            | StoreError::Full => true,
            StoreError::Gone
            | StoreError::OverQuota
            | StoreError::TooLarge { .. }
            | StoreError::UidsExhausted
            | StoreError::TooManyKeywords { .. }
            | StoreError::NoAccount
            | StoreError::NoMailbox
            | StoreError::MailboxExists
            | StoreError::IsInbox
            | StoreError::AlreadyClaimed
            | StoreError::UnknownDomain(_)
            | StoreError::AddressTaken(_)
            | StoreError::CatchAll(_)
            | StoreError::DomainExists(_)
            | StoreError::NotADomainName(_)
            | StoreError::ServerNameTaken { .. }
            | StoreError::IsAliasDomain(_)
            | StoreError::DomainInUse(_)
            | StoreError::DomainLimit { .. }
            | StoreError::TooMany { .. }
            | StoreError::LastOwner
            | StoreError::RedirectLoop(_)
            | StoreError::NoAppPassword
            | StoreError::NoQueueEntry
            | StoreError::SpecialUseTaken => false,
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> StoreError {
                StoreError::Index(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    DatabaseError,
    SetDurabilityError
);
