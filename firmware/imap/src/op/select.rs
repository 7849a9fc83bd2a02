//! SELECT and EXAMINE.

use super::{Next, Piece, find, push};
use crate::command::Mailbox;
use crate::response::{Completion, Failure, all_system_flags};
use crate::selected::Selected;
use mail::{AccountId, Keyword, SystemFlags};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use store::View;

/// RFC 3501 §6.3.1, §6.3.2. If it fails, no mailbox is open.
pub(super) fn run(
    mailbox: &Mailbox,
    is_read_only: bool,
    account: AccountId,
    selected: &mut Option<Selected>,
    view: &View,
    out: &mut Vec<Piece>,
) -> Result<Next, Failure> {
    *selected = None;
    let mailbox = find(mailbox, account, view)?;
    let status = view.status(mailbox.id)?;
    let entries = view.entries(mailbox.id)?;
    let keywords: BTreeSet<&Keyword> = entries.iter().flat_map(|entry| &entry.flags.keywords).collect();
    let mut flags = all_system_flags();
    for keyword in keywords {
        flags.push(' ');
        flags.push_str(keyword.as_str());
    }
    let mut text = format!(
        "* FLAGS ({flags})\r\n* {} EXISTS\r\n* 0 RECENT\r\n",
        entries.len()
    );
    let unseen = entries
        .iter()
        .position(|entry| !entry.flags.system.contains(SystemFlags::SEEN));
    if let Some(place) = unseen {
        let _ = write!(text, "* OK [UNSEEN {}] The first message not seen\r\n", place + 1);
    }
    let _ = if is_read_only {
        write!(text, "* OK [PERMANENTFLAGS ()] No flags can be changed\r\n")
    } else {
        write!(
            text,
            "* OK [PERMANENTFLAGS ({flags} \\*)] Flags that are kept\r\n"
        )
    };
    let _ = write!(
        text,
        "* OK [UIDVALIDITY {}] UIDs are valid\r\n* OK [UIDNEXT {}] The next UID\r\n",
        status.uid_validity,
        status.uid_next.min(u64::from(u32::MAX)),
    );
    push(text.into_bytes(), out);
    *selected = Some(Selected::new(
        mailbox.id,
        is_read_only,
        &entries,
        status.highest_modseq,
    ));
    let code = if is_read_only { "READ-ONLY" } else { "READ-WRITE" };
    Ok(Next::Done(Completion::ok_with(code.to_owned(), "Mailbox open")))
}
