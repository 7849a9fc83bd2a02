//! THREAD over a mailbox, a slice at a time (RFC 5256).

use crate::error::StoreError;
use crate::view::View;
use mail::sort::{KEY_OCTETS_MAX, base_subject, sent};
use mail::thread::{IdHasher, ThreadBy, ThreadMessage, thread};
use mail::{MailboxId, Uid};

/// A THREAD under way: reads rows of the index only (B6).
#[derive(Debug)]
pub struct Threading {
    mailbox: MailboxId,
    by: ThreadBy,
    uids: Vec<Uid>,
    next: usize,
    hasher: IdHasher,
    messages: Vec<ThreadMessage>,
    looked_at: Vec<Uid>,
}

/// A place in the threads of a mailbox: a parent before its children, depth first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threaded {
    /// How many are above it; 0 begins a thread.
    pub depth: u32,
    /// The message; `None` for one that others refer to and that is not there.
    pub uid: Option<Uid>,
}

impl Threading {
    /// Begins to put these messages, which are given in the order of their sequence numbers, into threads.
    pub fn new(mailbox: MailboxId, uids: Vec<Uid>, by: ThreadBy) -> Threading {
        Threading {
            mailbox,
            by,
            uids,
            next: 0,
            hasher: IdHasher::default(),
            messages: Vec::new(),
            looked_at: Vec::new(),
        }
    }

    /// Looks at up to `messages_max` messages more; `true` when all were looked at. Each slice may have a view of its own.
    pub fn step(&mut self, view: &View, messages_max: usize) -> Result<bool, StoreError> {
        let end = self.uids.len().min(self.next.saturating_add(messages_max));
        for uid in &self.uids[self.next..end] {
            // What was expunged meanwhile is not listed.
            let Some((message, structure)) = view.listed(self.mailbox, *uid)? else {
                continue;
            };
            let subject = base_subject(&structure.subject());
            let hash = |id: &[u8]| self.hasher.hash(id);
            let is_by_subject = self.by == ThreadBy::OrderedSubject;
            let ancestors = if is_by_subject {
                Vec::new()
            } else {
                structure.ancestors()
            };
            self.messages.push(ThreadMessage {
                id: structure.message_id().map(hash),
                ancestors: ancestors.into_iter().map(hash).collect(),
                sent: sent(&structure, message.internal_date),
                base_subject: subject.text[..subject.text.floor_char_boundary(KEY_OCTETS_MAX)].into(),
                is_reply: subject.is_reply,
            });
            self.looked_at.push(*uid);
        }
        self.next = end;
        Ok(end == self.uids.len())
    }

    /// The threads.
    pub fn finish(self) -> Vec<Threaded> {
        let items = thread(&self.messages, self.by).into_iter().map(|item| Threaded {
            depth: item.depth,
            uid: item
                .message
                .and_then(|place| self.looked_at.get(usize::try_from(place).ok()?).copied()),
        });
        items.collect()
    }
}
