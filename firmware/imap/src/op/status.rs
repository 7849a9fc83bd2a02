//! STATUS.

use super::{Next, Piece, find, push};
use crate::command::{Mailbox, StatusItem};
use crate::response::{Completion, Failure, write_astring};
use mail::AccountId;
use store::View;
use wire::limits::MESSAGE_OCTETS_MAX;

/// RFC 3501 §6.3.10, RFC 8438, RFC 7889 §4.
pub(super) fn run(
    mailbox: &Mailbox,
    items: &[StatusItem],
    account: AccountId,
    view: &View,
    out: &mut Vec<Piece>,
) -> Result<Next, Failure> {
    let mailbox = find(mailbox, account, view)?;
    let status = view.status(mailbox.id)?;
    let shown: Vec<String> = items
        .iter()
        .map(|item| match item {
            StatusItem::Messages => format!("MESSAGES {}", status.messages),
            // No message is ever recent here; RFC 9051 has given up the flag.
            StatusItem::Recent => "RECENT 0".to_owned(),
            StatusItem::UidNext => format!("UIDNEXT {}", status.uid_next.min(u64::from(u32::MAX))),
            StatusItem::UidValidity => format!("UIDVALIDITY {}", status.uid_validity),
            StatusItem::Unseen => format!("UNSEEN {}", status.unseen),
            StatusItem::Deleted => format!("DELETED {}", status.deleted),
            StatusItem::Size => format!("SIZE {}", status.size_octets),
            StatusItem::AppendLimit => format!("APPENDLIMIT {MESSAGE_OCTETS_MAX}"),
        })
        .collect();
    let mut octets = b"* STATUS ".to_vec();
    write_astring(&mailbox.name.to_utf7(), &mut octets);
    octets.extend_from_slice(format!(" ({})\r\n", shown.join(" ")).as_bytes());
    push(octets, out);
    Ok(Next::Done(Completion::ok("Status given")))
}
