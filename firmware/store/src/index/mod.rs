//! The index: what the log says, in redb tables, so that it can be asked. It may be deleted at any
//! time; it is then made anew from the log.

pub(crate) mod admin_rows;
pub(crate) mod apply;
mod backend;
pub(crate) mod queue_rows;
pub(crate) mod rows;

pub(crate) use backend::{Backend, IndexFile};

use crate::error::StoreError;
use redb::{ReadTransaction, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

/// Raised when a table or a row changes its shape: an index of another format is made anew.
pub(crate) const FORMAT: u64 = 3;

/// The name of the index file.
pub(crate) const FILE: &str = "index.redb";

/// A file of this name says that the writer panicked: the index has to show that it is whole.
pub(crate) const SUSPECT: &str = "index.suspect";

/// Looks at tables, whatever is in them.
pub(crate) trait Visitor {
    fn table<K, V>(
        &mut self,
        name: &'static str,
        table: &redb::ReadOnlyTable<K, V>,
    ) -> Result<(), StoreError>
    where
        K: redb::Key + 'static,
        V: redb::Value + 'static,
        for<'a> K::SelfType<'a>: Serialize,
        for<'a> V::SelfType<'a>: Serialize;
}

/// Writes tables, whatever is in them.
pub(crate) trait WriteVisitor {
    fn table<K, V>(
        &mut self,
        name: &'static str,
        table: &mut redb::Table<'_, K, V>,
    ) -> Result<(), StoreError>
    where
        K: redb::Key + 'static,
        V: redb::Value + 'static,
        for<'a> K::SelfType<'a>: Deserialize<'a>,
        for<'a> V::SelfType<'a>: Deserialize<'a>;
}

macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident $constant:ident ($name:literal): $key:ty => $value:ty;)*) => {
        $($(#[$doc])* pub(crate) const $constant: TableDefinition<'static, $key, $value> = TableDefinition::new($name);)*

        /// All tables, open for writing.
        pub(crate) struct Tables<'t> {
            $(pub(crate) $field: redb::Table<'t, $key, $value>,)*
        }

        impl<'t> Tables<'t> {
            pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, StoreError> {
                Ok(Tables { $($field: transaction.open_table($constant)?,)* })
            }
        }

        /// All tables, open for reading.
        pub(crate) struct ReadTables {
            $(pub(crate) $field: redb::ReadOnlyTable<$key, $value>,)*
        }

        impl ReadTables {
            pub(crate) fn open(transaction: &ReadTransaction) -> Result<ReadTables, StoreError> {
                Ok(ReadTables { $($field: transaction.open_table($constant)?,)* })
            }

            /// Shows every table.
            pub(crate) fn visit(&self, visitor: &mut impl Visitor) -> Result<(), StoreError> {
                $(visitor.table($name, &self.$field)?;)*
                Ok(())
            }
        }

        impl Tables<'_> {
            /// Shows every table, for writing.
            pub(crate) fn visit(&mut self, visitor: &mut impl WriteVisitor) -> Result<(), StoreError> {
                $(visitor.table($name, &mut self.$field)?;)*
                Ok(())
            }
        }

        /// The names of all tables.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$($name),*];
    };
}

// redb's own numbers and tuples are little-endian on disk, of fixed width, and ordered as numbers.
// Rows that are octets are postcard with a version octet in front ([`rows`]).
tables! {
    /// Counters and the position in the log.
    state STATE ("state"): &'static str => u64;
    /// Store id.
    identity IDENTITY ("identity"): &'static str => &'static [u8];
    /// Account → [`rows::AccountRow`].
    account ACCOUNT ("account"): u32 => &'static [u8];
    /// Domain, local part → account ([`rows::address_key`]).
    address ADDRESS ("address"): (&'static str, &'static str) => u32;
    /// Account → octets used, messages, highest modseq.
    quota QUOTA ("quota"): u32 => (u64, u64, u64);
    /// Hosted domain → [`admin_rows::DomainRow`].
    domain DOMAIN ("domain"): &'static str => &'static [u8];
    /// Hosted domain → accounts in it, aliases in it, what the quotas of its accounts add up to.
    usage USAGE ("usage"): &'static str => (u64, u64, u64);
    /// Domain, local part ([`rows::address_key`]) → [`crate::Alias`].
    redirect REDIRECT ("redirect"): (&'static str, &'static str) => &'static [u8];
    /// Account, domain and local part of each alias that it sends with.
    sender SENDER ("sender"): (u32, &'static str, &'static str) => ();
    /// Account → [`admin_rows::RoleRow`].
    role ROLE ("role"): u32 => &'static [u8];
    /// Account, number → [`admin_rows::AppPasswordRow`].
    app_password APP_PASSWORD ("app password"): (u32, u32) => &'static [u8];
    /// Account, or 0 for the box, and name → [`admin_rows::SettingRow`].
    setting SETTING ("setting"): (u32, &'static str) => &'static [u8];
    /// Number → [`admin_rows::AuditRow`].
    audit AUDIT ("audit"): u64 => &'static [u8];
    /// Mailbox, account or 0 for anyone, whether they are taken away → rights.
    acl ACL ("acl"): (u32, u32, bool) => u16;
    /// Account or 0 for anyone, mailbox in whose list it is.
    shared SHARED ("shared"): (u32, u32) => ();
    /// Mailbox → [`rows::MailboxRow`].
    mailbox MAILBOX ("mailbox"): u32 => &'static [u8];
    /// Account, name → mailbox.
    name NAME ("name"): (u32, &'static str) => u32;
    /// Mailbox, UID → [`rows::MessageRow`].
    message MESSAGE ("msg"): (u32, u32) => &'static [u8];
    /// Mailbox, UID → modseq, system flags, keywords with a space between.
    flags FLAGS ("flags"): (u32, u32) => (u64, u8, &'static str);
    /// Mailbox, modseq, UID of each message, by its last change.
    modseq MODSEQ ("modseq"): (u32, u64, u32) => ();
    /// Mailbox, modseq, first UID → last UID of a run that was expunged.
    vanished VANISHED ("vanished"): (u32, u64, u32) => u32;
    /// Body → how many messages have it, [`rows::BlobRow`].
    blob BLOB ("blob"): u64 => (u32, &'static [u8]);
    /// Body → what delivery and IMAP know of it.
    structure STRUCTURE ("structure"): u64 => &'static [u8];
    /// Entry of the outbound queue → [`queue_rows::EntryRow`].
    queue QUEUE ("queue"): u64 => &'static [u8];
    /// Entry, place in it → [`queue_rows::RecipientRow`].
    recipient RECIPIENT ("recipient"): (u64, u32) => &'static [u8];
    /// When a recipient that waits is due ([`queue_rows::due`]), entry, place in it.
    due DUE ("due"): (u64, u64, u32) => ();
    /// Destination, when it is due, entry, place in it.
    destination DESTINATION ("destination"): (&'static str, u64, u64, u32) => ();
    /// Word that stands for a sender → [`queue_rows::TokenRow`].
    token TOKEN ("token"): &'static str => &'static [u8];
    /// Segment → octets of it that some message still needs ([`rows::BlobRow::live_octets`]).
    segstat SEGSTAT ("segstat"): u64 => u64;
    /// First body of a block of words → the block (`search::block`). Not from the log.
    search SEARCH ("search"): u64 => &'static [u8];
    /// First body of a block of words → its last body, how many it has, the keeper's age of the store when it was made. Not
    /// from the log.
    searched SEARCHED ("searched"): u64 => (u64, u32, u64);
    /// What the keeper counts, and where it goes on. Not from the log.
    keeper KEEPER ("keeper"): &'static str => u64;
    /// Segment → what was live in it when the keeper looked last, since when something in it is dead, whether it cannot
    /// be read. Not from the log.
    ageing AGEING ("ageing"): u64 => (u64, Option<u64>, bool);
    /// Body whose octets are not what was written → the file that it was found in. Not from the log.
    damaged DAMAGED ("damaged"): u64 => &'static str;
}

/// Keys of the table `state`.
pub(crate) mod state {
    /// [`super::FORMAT`].
    pub(crate) const FORMAT: &str = "format";
    /// The number of the last batch in the index.
    pub(crate) const BATCH: &str = "batch";
    /// The segment of that batch.
    pub(crate) const SEGMENT: &str = "segment";
    /// Where the batch behind it would begin.
    pub(crate) const OFFSET: &str = "offset";
    /// The number the next account gets.
    pub(crate) const NEXT_ACCOUNT: &str = "next account";
    /// The number the next mailbox gets.
    pub(crate) const NEXT_MAILBOX: &str = "next mailbox";
    /// The next UIDVALIDITY: a counter, never the clock (D7).
    pub(crate) const NEXT_UID_VALIDITY: &str = "next uid validity";
    /// The number the next password for a program gets.
    pub(crate) const NEXT_APP_PASSWORD: &str = "next app password";
    /// The number the next entry of the outbound queue gets.
    pub(crate) const NEXT_ENTRY: &str = "next entry";
    /// The number the next line of the audit trail gets.
    pub(crate) const NEXT_AUDIT: &str = "next audit";
    /// The number the next body gets.
    pub(crate) const NEXT_BODY: &str = "next body";
    /// One more than the highest number of a body file that a record ever named.
    pub(crate) const NEXT_BODY_FILE: &str = "next body file";
    /// Body files below this number are never swept: the record that names one may be lost to damage, and
    /// the file is all that is left then.
    pub(crate) const BODY_FILES_KEPT_BELOW: &str = "body files kept below";
    /// Segments below this number are never removed: what damage took from the index may be in them.
    pub(crate) const SEGMENTS_KEPT_BELOW: &str = "segments kept below";
    /// The highest batch with lost records that replay has passed. It is written with the position behind
    /// it: whoever opens next does not see the damage again, and knows of it all the same.
    pub(crate) const LOST_UP_TO: &str = "lost up to";
    /// The highest damaged batch that a `Step` record has answered.
    pub(crate) const STEPPED_FOR: &str = "stepped for";
}
