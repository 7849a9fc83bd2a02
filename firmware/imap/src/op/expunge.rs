//! EXPUNGE, UID EXPUNGE, CLOSE and UNSELECT.

use super::{Change, Next};
use crate::command::Set;
use crate::response::{Completion, Failure};
use crate::selected::Selected;

/// RFC 3501 §6.4.3, RFC 4315 §2.1. What went is told with the other changes.
pub(super) fn run(set: Option<&Set>, selected: &mut Selected, is_done: bool) -> Result<Next, Failure> {
    if is_done {
        return Ok(Next::Done(Completion::ok("Expunged")));
    }
    if selected.is_read_only {
        return Err(Failure::ReadOnly);
    }
    Ok(Next::Change(Change::Expunge(store::Expunge {
        mailbox: selected.mailbox,
        uids: set.map(|set| selected.by_uids(set)),
    })))
}

/// RFC 3501 §6.4.2, RFC 3691. CLOSE expunges without a word, and not at all what was opened with EXAMINE.
pub(super) fn close(is_expunging: bool, selected: &mut Option<Selected>, is_done: bool) -> Next {
    if let Some(open) = selected.as_ref()
        && is_expunging
        && !open.is_read_only
        && !is_done
    {
        return Next::Change(Change::Expunge(store::Expunge {
            mailbox: open.mailbox,
            uids: None,
        }));
    }
    *selected = None;
    Next::Done(Completion::ok("Mailbox closed"))
}
