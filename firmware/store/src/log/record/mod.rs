//! The records of the log: every change the store knows, as its outcome.
//!
//! A record says what became of a request (UIDs, modseqs, times), never the request, so that replay
//! decides nothing. Kinds and versions are numbers that are never used for anything else again; the
//! layout of a version is fixed by the test `the_layout_of_every_record_is_kept`.

mod account;
mod mailbox;
mod message;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use account::*;
pub use mailbox::SpecialUse;
pub(crate) use mailbox::*;
pub(crate) use message::*;

use serde::{Deserialize, Serialize};

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mutation {
    Provision(Provisioned),
    SetVerifier(VerifierSet),
    Append(Appended),
    Flags(FlagsSet),
    Expunge(Expunged),
    CreateMailbox(MailboxCreated),
    RenameMailboxes(MailboxesRenamed),
    DeleteMailbox(MailboxDeleted),
    Subscribe(Subscribed),
    Copy(Copied),
    Relocate(Relocated),
    Step(Stepped),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// A kind or version this firmware does not know.
    Newer,
    /// Known, but not readable.
    Malformed,
}

macro_rules! kinds {
    ($($variant:ident($inner:ty) = $kind:literal v $version:literal),* $(,)?) => {
        impl Mutation {
            /// The number that stands for the kind in the log.
            pub(crate) fn kind(&self) -> u16 {
                match self { $(Mutation::$variant(_) => $kind),* }
            }

            /// The version of the layout that [`Mutation::encode`] writes.
            pub(crate) fn version(&self) -> u16 {
                match self { $(Mutation::$variant(_) => $version),* }
            }

            pub(crate) fn encode(&self) -> Vec<u8> {
                match self { $(Mutation::$variant(inner) => postcard::to_stdvec(inner)),* }
                    .expect("records have no type that postcard cannot write")
            }

            pub(crate) fn decode(kind: u16, version: u16, meta: &[u8]) -> Result<Mutation, DecodeError> {
                match (kind, version) {
                    $(($kind, $version) => read::<$inner>(meta).map(Mutation::$variant),)*
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
    Append(Appended) = 16 v 1,
    Flags(FlagsSet) = 17 v 1,
    Expunge(Expunged) = 18 v 1,
    Copy(Copied) = 19 v 1,
    Relocate(Relocated) = 20 v 1,
    CreateMailbox(MailboxCreated) = 32 v 1,
    RenameMailboxes(MailboxesRenamed) = 33 v 1,
    DeleteMailbox(MailboxDeleted) = 34 v 1,
    Subscribe(Subscribed) = 35 v 1,
    Step(Stepped) = 48 v 1,
}

impl Mutation {
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
