//! SEARCH: keys of IMAP to criteria of the store, which finds the messages a slice at a time.

use super::{Next, Piece, SLICE_OCTETS, push};
use crate::command::{DayIs, SearchKey, UidRanges};
use crate::response::{Completion, Failure};
use crate::selected::Selected;
use std::fmt::Write as _;
use store::{Criterion, View};

/// Keys of one SEARCH that something has to be read for. A thousand of them and a long message would take a thread
/// for long (AI5).
const READING_KEYS_MAX: usize = 64;

/// A SEARCH under way.
#[derive(Debug)]
pub(crate) struct Search {
    keys: Vec<SearchKey>,
    pub(crate) is_uid: bool,
    /// Made when the mailbox is at hand.
    running: Option<Box<store::Search>>,
}

impl Search {
    pub(crate) fn new(keys: Vec<SearchKey>, is_uid: bool) -> Search {
        Search {
            keys,
            is_uid,
            running: None,
        }
    }

    pub(super) fn run(
        &mut self,
        selected: &Selected,
        view: &View,
        out: &mut Vec<Piece>,
    ) -> Result<Next, Failure> {
        let search = match &mut self.running {
            Some(search) => search,
            none => {
                if self.keys.iter().map(reading_keys).sum::<usize>() > READING_KEYS_MAX {
                    return Err(Failure::TooManyTexts);
                }
                let criterion = and(&self.keys, selected)?;
                let uids = selected.uids().to_vec();
                none.insert(Box::new(store::Search::new(selected.mailbox, uids, &criterion)))
            }
        };
        if !search.step(view)? {
            return Ok(Next::Again);
        }
        for uid in search.damaged() {
            // A damaged message has no text.
            tracing::warn!(%uid, "a message cannot be read and was not searched");
        }
        let mut text = "* SEARCH".to_owned();
        for (place, uid) in search.found().iter().enumerate() {
            let number = if self.is_uid {
                uid.get()
            } else {
                // What was found was in the list, and the list stays as it is during a SEARCH (RFC 9051 §7.5.1).
                let Ok(place) = selected.uids().binary_search(uid) else {
                    continue;
                };
                u32::try_from(place + 1).unwrap_or(u32::MAX)
            };
            let _ = write!(text, " {number}");
            // A list of a hundred thousand numbers goes out in pieces.
            if place % SLICE_OCTETS == SLICE_OCTETS - 1 {
                push(std::mem::take(&mut text).into_bytes(), out);
            }
        }
        text.push_str("\r\n");
        push(text.into_bytes(), out);
        Ok(Next::Done(Completion::ok("Searched")))
    }
}

fn and(keys: &[SearchKey], selected: &Selected) -> Result<Criterion, Failure> {
    let criteria: Result<_, Failure> = keys.iter().map(|key| criterion(key, selected)).collect();
    Ok(Criterion::And(criteria?))
}

/// A key as the store knows it. Sequence numbers become UIDs, once, so that no key depends on what comes meanwhile. The
/// recursion is bounded by the parser.
fn criterion(key: &SearchKey, selected: &Selected) -> Result<Criterion, Failure> {
    Ok(match key {
        SearchKey::All => Criterion::And(Vec::new()),
        SearchKey::Never => Criterion::Or(Vec::new()),
        SearchKey::Flags { flags, is_not } => Criterion::Flags {
            flags: flags.clone(),
            is_not: *is_not,
        },
        SearchKey::Sequence(set) => {
            let ranges = selected.ranges_by_numbers(set).ok_or(Failure::NoSuchMessage)?;
            Criterion::Among(ranges.inclusive())
        }
        SearchKey::Uid(set) => Criterion::Among(UidRanges::new(set.ranges(selected.last_uid())).inclusive()),
        SearchKey::Internal(day_is, day) => Criterion::Internal(how(*day_is), *day),
        SearchKey::Sent(day_is, day) => Criterion::Sent(how(*day_is), *day),
        SearchKey::Larger(octets) => Criterion::Larger(u64::from(*octets)),
        SearchKey::Smaller(octets) => Criterion::Smaller(u64::from(*octets)),
        SearchKey::Header(name, text) => Criterion::Header {
            name: name.clone(),
            text: text.clone(),
        },
        SearchKey::Body(text) => Criterion::Body(text.clone()),
        SearchKey::Text(text) => Criterion::Text(text.clone()),
        SearchKey::Not(key) => Criterion::Not(Box::new(criterion(key, selected)?)),
        SearchKey::Or(one, other) => {
            Criterion::Or(vec![criterion(one, selected)?, criterion(other, selected)?])
        }
        SearchKey::And(keys) => and(keys, selected)?,
    })
}

fn how(day_is: DayIs) -> store::DayIs {
    match day_is {
        DayIs::Before => store::DayIs::Before,
        DayIs::On => store::DayIs::On,
        DayIs::Since => store::DayIs::Since,
    }
}

/// The keys in a key that something may have to be read for.
fn reading_keys(key: &SearchKey) -> usize {
    match key {
        SearchKey::Not(key) => reading_keys(key),
        SearchKey::Or(one, other) => reading_keys(one) + reading_keys(other),
        SearchKey::And(keys) => keys.iter().map(reading_keys).sum(),
        SearchKey::Sent(..) | SearchKey::Header(..) | SearchKey::Body(_) | SearchKey::Text(_) => 1,
        SearchKey::All
        | SearchKey::Never
        | SearchKey::Flags { .. }
        | SearchKey::Sequence(_)
        | SearchKey::Uid(_)
        | SearchKey::Internal(..)
        | SearchKey::Larger(_)
        | SearchKey::Smaller(_) => 0,
    }
}
