//! STORE.

use super::{Change, Next, Outcome, Piece, push, resolve};
use crate::command::{self, Set};
use crate::response::{Completion, Failure};
use crate::selected::{Selected, write_flags_response};
use mail::{Flags, ModSeq, Uid};
use store::FlagChange;

/// A STORE under way.
#[derive(Debug)]
pub(crate) struct StoreFlags {
    pub(crate) set: Set,
    pub(crate) change: command::Change,
    pub(crate) flags: Flags,
    pub(crate) is_silent: bool,
    pub(crate) is_uid: bool,
    /// How many messages it names.
    pub(crate) named: usize,
}

impl StoreFlags {
    /// RFC 3501 §6.4.6: one change for all messages, then their flags, unless `.SILENT`.
    pub(super) fn run(
        &mut self,
        selected: &mut Selected,
        outcome: Option<Outcome>,
        out: &mut Vec<Piece>,
    ) -> Result<Next, Failure> {
        let Some(Outcome::Flags(stored)) = outcome else {
            if selected.is_read_only {
                return Err(Failure::ReadOnly);
            }
            let uids = resolve(&self.set, self.is_uid, selected)?;
            self.named = uids.len();
            let flags = self.flags.clone();
            return Ok(Next::Change(Change::Flags(store::StoreFlags {
                mailbox: selected.mailbox,
                uids,
                change: match self.change {
                    command::Change::Replace => FlagChange::Replace(flags),
                    command::Change::Add => FlagChange::Add(flags),
                    command::Change::Remove => FlagChange::Remove(flags),
                },
                unchanged_since: None,
            })));
        };
        for (uid, _, modseq) in &stored.changed {
            selected.own_change(*uid, *modseq);
        }
        let there = stored.changed.len() + stored.unchanged.len();
        if !self.is_silent {
            let mut messages: Vec<&(Uid, Flags, ModSeq)> =
                stored.changed.iter().chain(&stored.unchanged).collect();
            messages.sort_unstable_by_key(|(uid, _, _)| *uid);
            let mut octets = Vec::new();
            for (uid, flags, _) in messages {
                if let Some(number) = selected.number_of(*uid) {
                    write_flags_response(number, self.is_uid.then_some(*uid), flags, &mut octets);
                }
            }
            push(octets, out);
        }
        if there < self.named && !self.is_uid {
            return Err(Failure::Gone);
        }
        Ok(Next::Done(Completion::ok("Stored")))
    }
}
