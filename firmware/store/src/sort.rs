//! SORT over a mailbox, a slice at a time (RFC 5256, RFC 5957).

use crate::error::StoreError;
use crate::view::View;
use mail::sort::{SortCriterion, SortKey, sort_key};
use mail::{MailboxId, Uid};
use std::cmp::Ordering;

/// A SORT under way: reads rows of the index only (B6), and keeps a key of at most 255 octets a criterion and message.
#[derive(Debug)]
pub struct Sorting {
    mailbox: MailboxId,
    criteria: Vec<SortCriterion>,
    uids: Vec<Uid>,
    next: usize,
    /// The keys of the messages that were looked at, with their UIDs.
    keys: Vec<(Box<[SortKey]>, Uid)>,
}

impl Sorting {
    /// Begins to sort these messages, which are given in the order of their sequence numbers.
    pub fn new(mailbox: MailboxId, uids: Vec<Uid>, criteria: &[SortCriterion]) -> Sorting {
        // A criterion that was there before decides nothing, and there are nine.
        let mut distinct: Vec<SortCriterion> = Vec::new();
        for criterion in criteria {
            if distinct.iter().all(|before| before.by != criterion.by) {
                distinct.push(*criterion);
            }
        }
        Sorting {
            mailbox,
            criteria: distinct,
            uids,
            next: 0,
            keys: Vec::new(),
        }
    }

    /// Looks at up to `messages_max` messages more; `true` when all were looked at. Each slice may have a view of its own.
    pub fn step(&mut self, view: &View, messages_max: usize) -> Result<bool, StoreError> {
        let end = self.uids.len().min(self.next.saturating_add(messages_max));
        for uid in &self.uids[self.next..end] {
            // What was expunged meanwhile is not listed.
            if let Some((message, structure)) = view.listed(self.mailbox, *uid)? {
                let (date, size) = (message.internal_date, message.size_octets);
                let keys = self
                    .criteria
                    .iter()
                    .map(|criterion| sort_key(criterion.by, &structure, date, size));
                self.keys.push((keys.collect(), *uid));
            }
        }
        self.next = end;
        Ok(end == self.uids.len())
    }

    /// The messages in order; of equal ones the one with the lower sequence number is first (RFC 5256 §3).
    pub fn finish(self) -> Vec<Uid> {
        let Sorting {
            criteria, mut keys, ..
        } = self;
        // The sort is stable.
        keys.sort_by(|(one, _), (other, _)| {
            let orders =
                criteria
                    .iter()
                    .zip(one.iter().zip(other.iter()))
                    .map(|(criterion, (one, other))| {
                        let order = one.cmp(other);
                        if criterion.is_reverse {
                            order.reverse()
                        } else {
                            order
                        }
                    });
            orders.fold(Ordering::Equal, Ordering::then)
        });
        keys.into_iter().map(|(_, uid)| uid).collect()
    }
}
