//! Makes the index follow a record. The same live and on replay.
//!
//! # Invariants
//! - It cannot refuse: what a record says has happened. The only errors are those of the disk.
//! - It decides nothing and asks nobody: no clock, no random source, no file.
//! - After damage to the log a record may speak of what no longer exists. That part of it is passed
//!   over; the rest counts.

mod account;
mod body;
mod mailbox;
mod message;
mod step;

pub(crate) use body::describe_anew;

use super::{Tables, rows};
use crate::error::StoreError;
use crate::log::record::Mutation;
use mail::AccountId;
use std::collections::BTreeSet;

/// Where a record stands, for the bodies in it.
#[derive(Clone, Copy)]
pub(crate) struct RecordAt {
    pub(crate) segment: u64,
    /// Where in the segment the record's bodies begin.
    pub(crate) body_at: u64,
}

/// What a record did that others want to know.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Accounts with a change that their sessions should see.
    pub(crate) changed: BTreeSet<AccountId>,
    /// Body files that no message has any more.
    pub(crate) unused_files: Vec<u64>,
}

/// Applies one record.
pub(crate) fn apply(
    mutation: &Mutation,
    at: RecordAt,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    match mutation {
        Mutation::Provision(provisioned) => account::provision(provisioned, tables),
        Mutation::SetVerifier(set) => account::set_verifier(set, tables),
        Mutation::Append(appended) => message::append(appended, at, tables, effects),
        Mutation::Flags(set) => message::set_flags(set, tables, effects),
        Mutation::Expunge(expunged) => message::expunge(expunged, tables, effects),
        Mutation::Copy(copied) => message::copy(copied, tables, effects),
        Mutation::Relocate(relocated) => describe_anew(&relocated.bodies, at, tables),
        Mutation::CreateMailbox(created) => mailbox::create(created, tables, effects),
        Mutation::RenameMailboxes(renamed) => mailbox::rename(renamed, tables, effects),
        Mutation::DeleteMailbox(deleted) => mailbox::delete(deleted, tables, effects),
        Mutation::Subscribe(subscribed) => mailbox::subscribe(subscribed, tables, effects),
        Mutation::Step(stepped) => step::step(stepped, tables),
    }
}

/// Sets a counter to at least `value`.
fn raise(tables: &mut Tables<'_>, name: &'static str, value: u64) -> Result<(), StoreError> {
    if rows::counter(&tables.state, name)? < value {
        tables.state.insert(name, value)?;
    }
    Ok(())
}
