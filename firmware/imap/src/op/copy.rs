//! COPY and MOVE.

use super::{Change, Next, Outcome, Piece, find, push, resolve};
use crate::command::{Mailbox, Set};
use crate::response::{Completion, Failure, uid_set};
use crate::selected::Selected;
use mail::{AccountId, Uid};
use store::View;

/// A COPY or MOVE under way.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) set: Set,
    pub(crate) mailbox: Mailbox,
    pub(crate) is_move: bool,
    pub(crate) is_uid: bool,
}

impl Copy {
    /// RFC 3501 §6.4.7, RFC 6851. Messages that are gone meanwhile are passed over: there is nothing left to be
    /// copied.
    pub(super) fn run(
        &mut self,
        account: AccountId,
        selected: &mut Selected,
        view: &View,
        outcome: Option<Outcome>,
        out: &mut Vec<Piece>,
    ) -> Result<Next, Failure> {
        let Some(Outcome::Copied(copied)) = outcome else {
            if self.is_move && selected.is_read_only {
                return Err(Failure::ReadOnly);
            }
            let to = find(&self.mailbox, account, view).map_err(|failure| match failure {
                Failure::NoMailbox => Failure::NoMailboxYet,
                other => other,
            })?;
            return Ok(Next::Change(Change::Copy(store::Copy {
                from: selected.mailbox,
                uids: resolve(&self.set, self.is_uid, selected)?,
                to: to.id,
                is_move: self.is_move,
            })));
        };
        if copied.uids.is_empty() {
            return Ok(Next::Done(Completion::ok("There was nothing to copy")));
        }
        let (old, new): (Vec<Uid>, Vec<Uid>) = copied.uids.into_iter().unzip();
        let code = format!(
            "COPYUID {} {} {}",
            copied.uid_validity,
            uid_set(&old),
            uid_set(&new)
        );
        if self.is_move {
            // RFC 6851 §4.3: before the messages vanish, in an untagged response.
            push(format!("* OK [{code}] Moved\r\n").into_bytes(), out);
            return Ok(Next::Done(Completion::ok("Moved")));
        }
        Ok(Next::Done(Completion::ok_with(code, "Copied")))
    }
}
