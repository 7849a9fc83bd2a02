//! The records of the log: every change the store knows, as its outcome.
//!
//! A record says what became of a request (UIDs, modseqs, times), never the request, so that replay
//! decides nothing. Kinds and versions are numbers that are never used for anything else again; the
//! layout of a version is fixed by the test `the_layout_of_every_record_is_kept`.

mod account;
mod administration;
mod mailbox;
mod message;
mod queue;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use account::*;
pub use account::{AccountDetails, Alias, DomainDetails, Role, Scopes};
pub(crate) use administration::*;
pub use administration::{AuditEntry, SettingValue};
pub(crate) use mailbox::*;
pub use mailbox::{AclSubject, Rights, SpecialUse};
pub(crate) use message::*;
pub(crate) use queue::*;
pub use queue::{Attempt, RecipientState, RecipientStatus};

use serde::{Deserialize, Serialize};

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mutation {
    Provision(Provisioned),
    SetVerifier(VerifierSet),
    CreateAccount(AccountCreated),
    SetAccountDetails(AccountDetailsSet),
    RenameAccount(AccountRenamed),
    DeleteAccount(AccountDeleted),
    SetAppPassword(AppPasswordSet),
    RemoveAppPassword(AppPasswordRemoved),
    SetDomain(DomainSet),
    RemoveDomain(DomainRemoved),
    SetRole(RoleSet),
    SetAliases(AliasesSet),
    RemoveAliases(AliasesRemoved),
    Append(Appended),
    Flags(FlagsSet),
    Expunge(Expunged),
    CreateMailbox(MailboxCreated),
    RenameMailboxes(MailboxesRenamed),
    DeleteMailbox(MailboxDeleted),
    Subscribe(Subscribed),
    RenameInbox(InboxRenamed),
    SetSpecialUses(SpecialUsesSet),
    SetAcl(AclSet),
    Copy(Copied),
    Relocate(Relocated),
    Step(Stepped),
    Restored(Restored),
    PruneVanished(VanishedPruned),
    SettleQueue(QueueSettled),
    HoldQueue(QueueHeld),
    DropQueue(QueueDropped),
    PruneTokens(TokensPruned),
    SetSettings(SettingsSet),
    Audit(Audited),
    PruneAudit(AuditPruned),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// A kind or version this firmware does not know.
    Newer,
    /// Known, but not readable.
    Malformed,
}

macro_rules! kinds {
    ($($variant:ident($inner:ty) = $kind:literal v $version:literal $(from $old:ty = v $old_version:literal)?),*
        $(,)?) => {
        impl Mutation {
            /// The number that stands for the kind in the log.
            pub(crate) fn kind(&self) -> u16 {
                match self { $(Mutation::$variant(_) => $kind),* }
            }

            /// The version of the layout that [`Mutation::encode`] writes.
            pub(crate) fn version(&self) -> u16 {
                match self {
                    Mutation::Append(appended) if appended.is_version_1() => 1,
                    $(Mutation::$variant(_) => $version),*
                }
            }

            pub(crate) fn encode(&self) -> Vec<u8> {
                match self {
                    Mutation::Append(appended) if appended.is_version_1() => appended.encode_version_1(),
                    $(Mutation::$variant(inner) => postcard::to_stdvec(inner)),*
                }
                .expect("records have no type that postcard cannot write")
            }

            /// Decodes a record; not what an audited one says was changed.
            pub(crate) fn decode_unaudited(kind: u16, version: u16, meta: &[u8]) -> Result<Mutation, DecodeError> {
                match (kind, version) {
                    $(($kind, $version) => read::<$inner>(meta).map(Mutation::$variant),
                    $(($kind, $old_version) => read::<$old>(meta).map(|old| Mutation::$variant(old.into())),)?)*
                    _ => Err(DecodeError::Newer),
                }
            }
        }
    };
}

// A number is never given twice. 1–15: accounts, domains, addresses. 16–31: messages. 32–47: mailboxes. 48–63: the store
// itself. 64–79: the outbound queue. 80–95: settings and the audit trail.
kinds! {
    Provision(Provisioned) = 1 v 1,
    SetVerifier(VerifierSet) = 2 v 1,
    CreateAccount(AccountCreated) = 3 v 1,
    SetAccountDetails(AccountDetailsSet) = 4 v 1,
    RenameAccount(AccountRenamed) = 5 v 1,
    DeleteAccount(AccountDeleted) = 6 v 1,
    SetAppPassword(AppPasswordSet) = 7 v 1,
    RemoveAppPassword(AppPasswordRemoved) = 8 v 1,
    SetDomain(DomainSet) = 9 v 1,
    RemoveDomain(DomainRemoved) = 10 v 1,
    SetRole(RoleSet) = 11 v 1,
    SetAliases(AliasesSet) = 12 v 1,
    RemoveAliases(AliasesRemoved) = 13 v 1,
    Append(Appended) = 16 v 2 from AppendedV1 = v 1,
    Flags(FlagsSet) = 17 v 1,
    Expunge(Expunged) = 18 v 1,
    Copy(Copied) = 19 v 2 from CopiedV1 = v 1,
    Relocate(Relocated) = 20 v 1,
    CreateMailbox(MailboxCreated) = 32 v 1,
    RenameMailboxes(MailboxesRenamed) = 33 v 1,
    DeleteMailbox(MailboxDeleted) = 34 v 1,
    Subscribe(Subscribed) = 35 v 1,
    RenameInbox(InboxRenamed) = 36 v 1,
    SetSpecialUses(SpecialUsesSet) = 37 v 1,
    SetAcl(AclSet) = 38 v 1,
    Step(Stepped) = 48 v 1,
    Restored(Restored) = 49 v 1,
    PruneVanished(VanishedPruned) = 50 v 1,
    SettleQueue(QueueSettled) = 64 v 1,
    HoldQueue(QueueHeld) = 65 v 1,
    DropQueue(QueueDropped) = 66 v 1,
    PruneTokens(TokensPruned) = 67 v 1,
    SetSettings(SettingsSet) = 80 v 1,
    Audit(Audited) = 81 v 1,
    PruneAudit(AuditPruned) = 82 v 1,
}

/// Whether a record of this kind may tell of bodies ([`Mutation::bodies`]).
pub(crate) fn tells_of_bodies(kind: u16) -> bool {
    // Append, Relocate.
    matches!(kind, 16 | 20)
}

impl Mutation {
    /// Decodes a record, and what is in it: a kind that is not known is found here, not when it is applied.
    pub(crate) fn decode(kind: u16, version: u16, meta: &[u8]) -> Result<Mutation, DecodeError> {
        let mutation = Mutation::decode_unaudited(kind, version, meta)?;
        if let Mutation::Audit(audited) = &mutation {
            // One line of the trail is about one change.
            if let Some(Mutation::Audit(_)) = audited.change()? {
                return Err(DecodeError::Malformed);
            }
        }
        Ok(mutation)
    }

    /// The bodies that it tells of: their octets stand behind it in the batch, or in files.
    pub(crate) fn bodies(&self) -> &[BodyRecord] {
        match self {
            Mutation::Append(appended) => &appended.bodies,
            Mutation::Relocate(relocated) => &relocated.bodies,
            _ => &[],
        }
    }
}

fn read<'m, T: Deserialize<'m>>(meta: &'m [u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(meta) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(DecodeError::Malformed),
    }
}

/// Records up to `damaged_batch` were lost to damage: all counters have stepped forward, so that
/// nothing they gave is given again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stepped {
    pub(crate) damaged_batch: u64,
}

/// The store was restored from a backup that ended with `batch`: all counters have stepped forward, and every message has
/// changed, so that clients that saw what came after the backup are put right (B3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Restored {
    pub(crate) batch: u64,
}

/// Octets as octets: serde would write a `Vec<u8>` number by number, slowly.
mod serde_octets {
    use serde::de::{Deserializer, Visitor};
    use serde::ser::Serializer;
    use std::fmt;

    pub(super) fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(octets)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Octets;
        impl Visitor<'_> for Octets {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("octets")
            }
            fn visit_bytes<E>(self, octets: &[u8]) -> Result<Vec<u8>, E> {
                Ok(octets.to_vec())
            }
        }
        deserializer.deserialize_bytes(Octets)
    }
}
