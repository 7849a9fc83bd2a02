#![doc = include_str!("../README.md")]

mod address;
mod date;
mod flags;
mod fold;
mod ids;
mod mailbox_name;
pub mod search_text;
mod secret;
mod server_name;
pub mod sort;
pub mod structure;
pub mod thread;
mod trace;

pub use address::{Address, AddressError, Domain, ForwardPath, LocalPart, ReversePath};
pub use date::{DateError, InternalDate, Timestamp};
pub use flags::{Flags, Keyword, KeywordError, SystemFlags};
pub use fold::{Folder, fold};
pub use ids::{AccountId, MailboxId, ModSeq, SeqNum, Uid, UidValidity};
pub use mailbox_name::{MailboxName, MailboxNameError};
pub use secret::Secret;
pub use server_name::server_label;
pub use structure::Structure;
pub use trace::TraceId;
