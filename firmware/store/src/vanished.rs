//! What clients that were away have to know: the UIDs that were expunged meanwhile (RFC 7162 §3.2).
//!
//! The history of a mailbox is bounded: what was expunged up to its floor is forgotten. A client that knows a state below
//! the floor is told of every UID that is not there.

use crate::error::StoreError;
use crate::index::Tables;
use crate::index::rows::{self, MailboxRow};
use crate::log::record::{Mutation, VanishedPruned};
use crate::mailbox;
use crate::request::Request;
use crate::view::{View, after};
use mail::{MailboxId, ModSeq, Uid};
use redb::ReadableTable;

/// Runs of expunged UIDs that are kept of a mailbox: about 1 MiB.
pub(crate) const VANISHED_RUNS_MAX: u64 = 50_000;

/// What was expunged from a mailbox after some modseq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vanished {
    /// These UIDs, ascending.
    Uids(Vec<Uid>),
    /// It is not known any more: the modseq is below the floor. Every UID below UIDNEXT that is not there may have been.
    BelowFloor,
}

/// Forgets all of a mailbox's history but its newest runs.
pub(crate) struct PruneVanished {
    pub(crate) mailbox: MailboxId,
    pub(crate) runs_kept: u64,
}

impl Request for PruneVanished {
    type Reply = bool;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, bool), StoreError> {
        mailbox::row(tables, self.mailbox)?;
        let id = self.mailbox.0;
        let runs = tables.vanished.range((id, 0, 0)..=(id, u64::MAX, u32::MAX))?;
        // The newest that is not kept: with it goes its whole modseq, as a floor lies between two.
        let not_kept = runs
            .rev()
            .nth(usize::try_from(self.runs_kept).unwrap_or(usize::MAX));
        let Some(found) = not_kept else {
            return Ok((None, false));
        };
        let (_, modseq, _) = found?.0.value();
        let pruned = VanishedPruned {
            mailbox: self.mailbox,
            floor: ModSeq(modseq),
        };
        Ok((Some(Mutation::PruneVanished(pruned)), true))
    }
}

impl View {
    /// The UIDs expunged after `since` (RFC 7162 §3.2), if that is still known.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`].
    pub fn vanished_since(&self, mailbox: MailboxId, since: ModSeq) -> Result<Vanished, StoreError> {
        let row: MailboxRow = rows::get(&self.tables.mailbox, mailbox.0)?.ok_or(StoreError::NoMailbox)?;
        if since < row.vanished_floor {
            return Ok(Vanished::BelowFloor);
        }
        let mut uids = Vec::new();
        for found in self.tables.vanished.range(after(mailbox, since))? {
            let (key, last) = found?;
            uids.extend((key.value().2..=last.value()).filter_map(Uid::new));
        }
        uids.sort_unstable();
        Ok(Vanished::Uids(uids))
    }

    /// The mailboxes whose history has more runs than are kept.
    pub(crate) fn overgrown(&self, runs_kept: u64) -> Result<Vec<MailboxId>, StoreError> {
        let mut overgrown = Vec::new();
        let mut current = (0, 0);
        for found in self.tables.vanished.iter()? {
            let (mailbox, _, _) = found?.0.value();
            current = if current.0 == mailbox {
                (mailbox, current.1 + 1)
            } else {
                (mailbox, 1)
            };
            if current.1 == runs_kept + 1 {
                overgrown.push(MailboxId(mailbox));
            }
        }
        Ok(overgrown)
    }
}
