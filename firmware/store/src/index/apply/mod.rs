//! Makes the index follow a record. The same live and on replay.
//!
//! # Invariants
//! - It cannot refuse: what a record says has happened. The only errors are those of the disk.
//! - It decides nothing and asks nobody: no clock, no random source, no file.
//! - After damage to the log a record may speak of what no longer exists. That part of it is passed
//!   over; the rest counts.

mod account;
mod administration;
mod alias;
mod body;
mod domain;
mod mailbox;
mod message;
mod queue;
mod step;

pub(crate) use administration::OF_THE_BOX;
pub(crate) use body::describe_anew;
pub(crate) use domain::accounts_in;
pub(crate) use mailbox::{subject_key, subject_of};

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
        Mutation::CreateAccount(created) => account::create(created, tables, effects),
        Mutation::SetAccountDetails(set) => account::set_details(set, tables, effects),
        Mutation::RenameAccount(renamed) => account::rename(renamed, tables),
        Mutation::DeleteAccount(deleted) => account::delete(deleted, tables, effects),
        Mutation::SetAppPassword(set) => account::set_app_password(set, tables),
        Mutation::RemoveAppPassword(removed) => account::remove_app_password(removed, tables),
        Mutation::SetDomain(set) => domain::set(set, tables),
        Mutation::RemoveDomain(removed) => domain::remove(removed, tables, effects),
        Mutation::SetRole(set) => account::set_role(set, tables),
        Mutation::SetAliases(set) => alias::set(set, tables),
        Mutation::RemoveAliases(removed) => alias::remove(removed, tables),
        Mutation::Append(appended) => message::append(appended, at, tables, effects),
        Mutation::Flags(set) => message::set_flags(set, tables, effects),
        Mutation::Expunge(expunged) => message::expunge(expunged, tables, effects),
        Mutation::Copy(copied) => message::copy(copied, tables, effects),
        Mutation::Relocate(relocated) => describe_anew(&relocated.bodies, at, tables),
        Mutation::CreateMailbox(created) => mailbox::create(created, tables, effects),
        Mutation::RenameMailboxes(renamed) => mailbox::rename(renamed, tables, effects),
        Mutation::DeleteMailbox(deleted) => mailbox::delete(deleted, tables, effects),
        Mutation::Subscribe(subscribed) => mailbox::subscribe(subscribed, tables, effects),
        Mutation::RenameInbox(renamed) => mailbox::rename_inbox(renamed, tables, effects),
        Mutation::SetSpecialUses(set) => mailbox::set_special_uses(set, tables, effects),
        Mutation::SetAcl(set) => mailbox::set_acl(set, tables, effects),
        Mutation::PruneVanished(pruned) => mailbox::prune_vanished(pruned, tables),
        Mutation::SettleQueue(settled) => queue::settle(&settled.entries, tables, effects),
        Mutation::HoldQueue(held) => queue::hold(held, tables),
        Mutation::DropQueue(dropped) => queue::drop(dropped, tables, effects),
        Mutation::PruneTokens(pruned) => queue::prune_tokens(pruned, tables),
        Mutation::SetSettings(set) => administration::set_settings(set, tables, effects),
        Mutation::Audit(audited) => administration::audit(audited, at, tables, effects),
        Mutation::PruneAudit(pruned) => administration::prune_audit(pruned, tables),
        Mutation::Step(stepped) => step::step(stepped, tables),
        Mutation::Restored(_) => step::restored(tables),
    }
}

/// Sets a counter to at least `value`.
fn raise(tables: &mut Tables<'_>, name: &'static str, value: u64) -> Result<(), StoreError> {
    if rows::counter(&tables.state, name)? < value {
        tables.state.insert(name, value)?;
    }
    Ok(())
}
