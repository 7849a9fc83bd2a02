//! SEARCH.
//!
//! Keys that the index answers are asked first; what has to be read is read after, a slice at a time. Texts are
//! found as SEARCH defines it: any part of the text, whatever the case, without encodings (RFC 3501 §6.4.4).

use super::fetch::structure;
use super::{Next, Piece, SLICE_OCTETS, push};
use crate::command::{DayIs, SearchKey, UidRanges};
use crate::response::{Completion, Failure};
use crate::selected::Selected;
use mail::structure::{Part, decode_body, decode_charset, decode_field, fields};
use mail::{InternalDate, Structure};
use std::fmt::Write as _;
use std::ops::Range;
use store::{BodyReader, Message, StoreError, View};
use wire::limits::HEADER_SECTION_OCTETS_MAX;

/// Messages of one slice.
const SLICE_MESSAGES: usize = 1_000;
/// Octets that are read in one slice, before the message is finished.
const SLICE_READ_OCTETS: u64 = 4 * 1024 * 1024;
/// Keys of one SEARCH that something has to be read for. Each reads the message again, so that a thousand of them
/// and one long message would take a thread for an hour (AI5).
const READING_KEYS_MAX: usize = 64;
/// Octets of a body that are decoded at once. A multiple of 4, so that whole groups of base64 are.
const WINDOW_OCTETS: usize = 256 * 1024;

/// A SEARCH under way.
#[derive(Debug)]
pub(crate) struct Search {
    keys: Vec<SearchKey>,
    pub(crate) is_uid: bool,
    /// The next message, by place in the view.
    next: usize,
    found: Vec<u32>,
    is_prepared: bool,
}

impl Search {
    pub(crate) fn new(keys: Vec<SearchKey>, is_uid: bool) -> Search {
        Search {
            keys,
            is_uid,
            next: 0,
            found: Vec::new(),
            is_prepared: false,
        }
    }

    pub(super) fn run(
        &mut self,
        selected: &Selected,
        view: &View,
        out: &mut Vec<Piece>,
    ) -> Result<Next, Failure> {
        if !self.is_prepared {
            if self.keys.iter().map(reading_keys).sum::<usize>() > READING_KEYS_MAX {
                return Err(Failure::TooManyTexts);
            }
            for key in &mut self.keys {
                prepare(key, selected)?;
            }
            sort_by_cost(&mut self.keys);
            self.is_prepared = true;
        }
        let mut read_octets = 0;
        let end = selected.uids().len().min(self.next + SLICE_MESSAGES);
        while self.next < end && read_octets < SLICE_READ_OCTETS {
            let uid = selected.uids()[self.next];
            self.next += 1;
            let number = u32::try_from(self.next).unwrap_or(u32::MAX);
            let Some(message) = view.message(selected.mailbox, uid)? else {
                continue;
            };
            let mut candidate = Candidate {
                view,
                message,
                opened: None,
                read_octets: 0,
            };
            match candidate.matches_all(&self.keys) {
                Ok(true) => self.found.push(if self.is_uid { uid.get() } else { number }),
                Ok(false) | Err(Failure::Store(StoreError::Gone)) => {}
                // A damaged message has no text.
                Err(failure @ Failure::Store(StoreError::Damaged { .. })) => failure.log(),
                Err(failure) => return Err(failure),
            }
            read_octets += candidate.read_octets;
        }
        if self.next < selected.uids().len() {
            return Ok(Next::Again);
        }
        let mut text = "* SEARCH".to_owned();
        for (place, number) in self.found.iter().enumerate() {
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

/// Sequence numbers to UIDs, once, so that no key depends on what comes meanwhile. The recursion is bounded by
/// the parser.
fn prepare(key: &mut SearchKey, selected: &Selected) -> Result<(), Failure> {
    match key {
        SearchKey::Sequence(set) => {
            let ranges = selected.ranges_by_numbers(set);
            *key = SearchKey::Among(ranges.ok_or(Failure::NoSuchMessage)?);
        }
        SearchKey::Uid(set) => {
            *key = SearchKey::Among(UidRanges::new(set.ranges(selected.last_uid())));
        }
        SearchKey::Not(key) => prepare(key, selected)?,
        SearchKey::Or(one, other) => {
            prepare(one, selected)?;
            prepare(other, selected)?;
        }
        SearchKey::And(keys) => {
            for key in keys.iter_mut() {
                prepare(key, selected)?;
            }
            sort_by_cost(keys);
        }
        SearchKey::All
        | SearchKey::Never
        | SearchKey::Flags { .. }
        | SearchKey::Among(_)
        | SearchKey::Internal(..)
        | SearchKey::Sent(..)
        | SearchKey::Larger(_)
        | SearchKey::Smaller(_)
        | SearchKey::Header(..)
        | SearchKey::Body(_)
        | SearchKey::Text(_) => {}
    }
    Ok(())
}

fn sort_by_cost(keys: &mut [SearchKey]) {
    keys.sort_by_key(cost);
}

/// How much has to be read: nothing, the structure, the header section, the body.
fn cost(key: &SearchKey) -> u8 {
    match key {
        SearchKey::All
        | SearchKey::Never
        | SearchKey::Flags { .. }
        | SearchKey::Sequence(_)
        | SearchKey::Uid(_)
        | SearchKey::Among(_)
        | SearchKey::Internal(..)
        | SearchKey::Larger(_)
        | SearchKey::Smaller(_) => 0,
        SearchKey::Sent(..) => 1,
        SearchKey::Header(..) => 2,
        SearchKey::Body(_) | SearchKey::Text(_) => 3,
        SearchKey::Not(key) => cost(key),
        SearchKey::Or(one, other) => cost(one).max(cost(other)),
        SearchKey::And(keys) => keys.iter().map(cost).max().unwrap_or(0),
    }
}

/// The keys in a key that something has to be read for.
fn reading_keys(key: &SearchKey) -> usize {
    match key {
        SearchKey::Not(key) => reading_keys(key),
        SearchKey::Or(one, other) => reading_keys(one) + reading_keys(other),
        SearchKey::And(keys) => keys.iter().map(reading_keys).sum(),
        key => usize::from(cost(key) > 0),
    }
}

/// A message that is looked at.
struct Candidate<'a> {
    view: &'a View,
    message: Message,
    /// What was read of it, once something had to be.
    opened: Option<Opened>,
    read_octets: u64,
}

struct Opened {
    structure: Structure,
    reader: BodyReader,
    prefix_octets: u64,
}

impl Candidate<'_> {
    fn matches_all(&mut self, keys: &[SearchKey]) -> Result<bool, Failure> {
        for key in keys {
            if !self.matches(key)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn matches(&mut self, key: &SearchKey) -> Result<bool, Failure> {
        let message = &self.message;
        Ok(match key {
            SearchKey::All => true,
            SearchKey::Never => false,
            SearchKey::Flags { flags, is_not } => {
                let has = message.flags.system.contains(flags.system)
                    && flags.keywords.is_subset(&message.flags.keywords);
                has != *is_not
            }
            SearchKey::Among(ranges) => ranges.contains(message.uid),
            SearchKey::Sequence(_) | SearchKey::Uid(_) => return Err(Failure::NotNow),
            SearchKey::Internal(day_is, day) => is_day(message.internal_date.day(), *day_is, *day),
            SearchKey::Larger(octets) => message.size_octets > u64::from(*octets),
            SearchKey::Smaller(octets) => message.size_octets < u64::from(*octets),
            SearchKey::Sent(day_is, day) => {
                let sent = structure(self.view, &self.message)?.envelope.date;
                let sent = sent.and_then(|date| sent_day(date.as_bytes()));
                sent.is_some_and(|sent| is_day(sent, *day_is, *day))
            }
            SearchKey::Header(name, text) => self.has_field(name, text)?,
            SearchKey::Body(text) => self.has_text(text, false)?,
            SearchKey::Text(text) => self.has_text(text, true)?,
            SearchKey::Not(key) => !self.matches(key)?,
            SearchKey::Or(one, other) => self.matches(one)? || self.matches(other)?,
            SearchKey::And(keys) => self.matches_all(keys)?,
        })
    }

    fn open(&mut self) -> Result<&mut Opened, Failure> {
        if self.opened.is_none() {
            self.opened = Some(Opened {
                structure: structure(self.view, &self.message)?,
                reader: self.view.body(&self.message)?,
                prefix_octets: self.message.prefix().len() as u64,
            });
        }
        Ok(self.opened.as_mut().expect("it was just opened"))
    }

    /// Whether a field of the message's header section has `text` in it. An empty text asks for the field
    /// (RFC 3501 §6.4.4).
    fn has_field(&mut self, name: &str, text: &str) -> Result<bool, Failure> {
        let header = self.outer_header()?;
        Ok(fields(&header).any(|field| {
            field.name.eq_ignore_ascii_case(name.as_bytes())
                && decode_field(field.value).to_lowercase().contains(text)
        }))
    }

    fn outer_header(&mut self) -> Result<Vec<u8>, Failure> {
        let opened = self.open()?;
        let end = opened.prefix_octets + u64::from(opened.structure.root().body_start);
        self.read(0..end, HEADER_SECTION_OCTETS_MAX)
    }

    /// Whether `text` is in the text parts, or, with the header sections of the message and of the messages in
    /// it, anywhere that people read.
    fn has_text(&mut self, text: &str, has_header: bool) -> Result<bool, Failure> {
        if text.is_empty() {
            return Ok(true);
        }
        if has_header {
            let header = self.outer_header()?;
            let is_found = fields(&header).any(|field| {
                // Without the colon between name and value, a search for `from: anna` finds nothing.
                let name = String::from_utf8_lossy(field.name).to_lowercase();
                format!("{name}: {}", decode_field(field.value).to_lowercase()).contains(text)
            });
            if is_found {
                return Ok(true);
            }
        }
        let parts = std::mem::take(&mut self.open()?.structure.parts);
        let mut is_found = false;
        for part in parts.iter().filter(|part| part.is_text()) {
            is_found = self.has_text_in(part, text)?;
            if is_found {
                break;
            }
        }
        self.open()?.structure.parts = parts;
        Ok(is_found)
    }

    /// Looks through a text part, a window at a time. What the last window ended with stands before the next,
    /// so that nothing is missed at the edge.
    fn has_text_in(&mut self, part: &Part, text: &str) -> Result<bool, Failure> {
        let shift = self.open()?.prefix_octets;
        let body = part.body();
        let mut start = u64::from(body.start) + shift;
        let end = u64::from(body.end) + shift;
        let mut octets_before = Vec::new();
        let mut text_before = String::new();
        while start < end {
            let mut window = self.read(start..end, WINDOW_OCTETS)?;
            let is_last = start + window.len() as u64 >= end;
            if !is_last {
                window.truncate(edge(&window));
            }
            start += window.len().max(1) as u64;
            octets_before.extend(decode_body(part, &window));
            // A character may go on in the next window; text of any language has a line end or a space.
            let whole = if is_last {
                octets_before.len()
            } else {
                let edge = memchr::memrchr2(b'\n', b' ', &octets_before);
                edge.map_or(octets_before.len(), |edge| edge + 1)
            };
            let rest = octets_before.split_off(whole);
            text_before.push_str(&decode_charset(part, &octets_before).to_lowercase());
            octets_before = rest;
            if memchr::memmem::find(text_before.as_bytes(), text.as_bytes()).is_some() {
                return Ok(true);
            }
            let keep = text_before.len().saturating_sub(text.len());
            let keep = (0..=keep)
                .rev()
                .find(|place| text_before.is_char_boundary(*place))
                .unwrap_or(0);
            text_before.drain(..keep);
        }
        Ok(false)
    }

    fn read(&mut self, range: Range<u64>, octets_max: usize) -> Result<Vec<u8>, Failure> {
        let wanted = usize::try_from(range.end - range.start)
            .unwrap_or(usize::MAX)
            .min(octets_max);
        let mut octets = Vec::new();
        self.open()?.reader.read_at(range.start, &mut octets, wanted)?;
        self.read_octets += octets.len() as u64;
        Ok(octets)
    }
}

/// Where a window can end without cutting an escape of quoted-printable or a group of base64 whose lines have a
/// multiple of four characters, as all have: behind a line end.
fn edge(window: &[u8]) -> usize {
    memchr::memrchr(b'\n', window).map_or(window.len(), |at| at + 1)
}

fn is_day(day: (i16, i8, i8), day_is: DayIs, wanted: (i16, i8, i8)) -> bool {
    match day_is {
        DayIs::Before => day < wanted,
        DayIs::On => day == wanted,
        DayIs::Since => day >= wanted,
    }
}

/// The day of a Date field, at its writer's offset (RFC 3501 §6.4.4: time and timezone are disregarded).
fn sent_day(date: &[u8]) -> Option<(i16, i8, i8)> {
    let date = str::from_utf8(date).ok()?;
    let date = date.rsplit_once(',').map_or(date, |(_, date)| date);
    let mut words = date.split_ascii_whitespace();
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    // RFC 5322 §4.3: years of two and three digits.
    let year: u16 = year.parse().ok()?;
    let year = match year {
        0..=49 => 2000 + year,
        50..=999 => 1900 + year,
        year => year,
    };
    let month = month.get(..3)?;
    let whole = format!("{day:>2}-{month}-{year:04} 00:00:00 +0000");
    Some(InternalDate::parse(&whole).ok()?.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_a_date_field_is_read() {
        let day = |text: &str| sent_day(text.as_bytes());
        assert_eq!(day("Fri, 21 Nov 1997 09:55:06 -0600"), Some((1997, 11, 21)));
        assert_eq!(day("1 jan 26 00:00 GMT"), Some((2026, 1, 1)));
        assert_eq!(day("Fri, 21 November 1997"), Some((1997, 11, 21)));
        for text in ["", "x", "Fri, 31 Feb 1997", "1 č 2026", "1 Jan", "99999 Jan 2026"] {
            assert_eq!(day(text), None, "{text}");
        }
    }

    #[test]
    fn what_costs_nothing_is_asked_first() {
        let mut keys = vec![
            SearchKey::Body("x".to_owned()),
            SearchKey::Header("from".to_owned(), String::new()),
            SearchKey::All,
        ];
        sort_by_cost(&mut keys);
        assert_eq!(keys[0], SearchKey::All);
        assert_eq!(keys[2], SearchKey::Body("x".to_owned()));
    }
}
