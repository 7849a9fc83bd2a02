//! SEARCH over a mailbox, a slice at a time.
//!
//! ```text
//!  for each message
//!    → what its row says: flags, dates, size
//!    → the block of its body, if there is one: texts it cannot have
//!    → its structure: subject, addresses, fields that are not there
//!    → its header section
//!    → its texts, a window at a time
//!  and no further than it takes to know whether it is found
//! ```
//!
//! # Invariants
//!
//! - What is found is what a look at every message would find: blocks only say where not to look.
//! - A slice reads a bounded part, also of one message; between slices nothing is held but file descriptors.
//! - Memory: two windows of text, a header section, a block while it is asked, and 32 octets for each block and text sought.

mod block;
mod criterion;
pub(crate) mod index;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod words;

pub use criterion::{Criterion, Day, DayIs};

use crate::error::StoreError;
use crate::log::body::BodyReader;
use crate::structure::header_octets;
use crate::view::{Message, View};
use block::{Block, Places};
use criterion::{Expression, Sought};
use mail::search_text::{SearchText, header_text};
use mail::structure::{FieldText, field_text, fields};
use mail::{MailboxId, Structure, Uid, fold};
use memchr::memmem::Finder;
use std::collections::BTreeMap;
use words::{Piece, pieces};

/// Messages of one slice.
const SLICE_MESSAGES: usize = 1_000;
/// Octets that one slice reads, and a window more.
const SLICE_OCTETS: usize = 4 * 1024 * 1024;

/// A SEARCH under way.
pub struct Search {
    mailbox: MailboxId,
    uids: Vec<Uid>,
    next: usize,
    found: Vec<Uid>,
    expression: Expression,
    sought: Vec<Sought>,
    /// The pieces of the texts that blocks are asked for; none for the others.
    pieces: Vec<Vec<Piece>>,
    blocks: Blocks,
    /// The message whose texts are being read.
    reading: Option<Reading>,
    octets_read: u64,
    damaged: Vec<Uid>,
}

/// The blocks that were asked, by their first body: their bodies, and for each text sought those that may have it.
type Blocks = BTreeMap<u64, (Vec<u64>, Vec<Places>)>;

/// A message whose texts are being read.
struct Reading {
    message: Message,
    known: Vec<Option<bool>>,
    body: BodyReader,
    texts: SearchText,
    /// What was read last, as far as what is sought may have begun in it.
    window: String,
}

impl Search {
    /// Begins to look among these messages.
    pub fn new(mailbox: MailboxId, uids: Vec<Uid>, criterion: &Criterion) -> Search {
        let mut sought = Vec::new();
        let expression = Expression::new(criterion, &mut sought);
        let pieces = sought.iter().map(|sought| match sought {
            Sought::Body(text) | Sought::Text(text) => pieces(text),
            Sought::Header { .. } | Sought::Sent(..) => Vec::new(),
        });
        Search {
            mailbox,
            uids,
            next: 0,
            found: Vec::new(),
            pieces: pieces.collect(),
            expression,
            sought,
            blocks: Blocks::new(),
            reading: None,
            octets_read: 0,
            damaged: Vec::new(),
        }
    }

    /// Looks at the next messages, or further into one; `true` when there is nothing more to look at. Each slice may have a
    /// view of its own.
    ///
    /// # Errors
    /// Those of the disk. A message that is damaged, or was expunged meanwhile, is not found and is no error.
    pub fn step(&mut self, view: &View) -> Result<bool, StoreError> {
        let octets_end = self.octets_read + SLICE_OCTETS as u64;
        for _ in 0..SLICE_MESSAGES {
            if let Err(error) = self.look(view, octets_end) {
                self.reading = None;
                match error {
                    StoreError::Gone => {}
                    StoreError::Damaged { .. } => {
                        self.damaged.extend(self.uids.get(self.next.wrapping_sub(1)));
                    }
                    error => return Err(error),
                }
            }
            if self.reading.is_none() && self.next == self.uids.len() {
                return Ok(true);
            }
            if self.octets_read >= octets_end {
                break;
            }
        }
        Ok(false)
    }

    /// The messages that were found so far, in the order in which they were given.
    pub fn found(&self) -> &[Uid] {
        &self.found
    }

    /// The messages that could not be read; they are not found.
    pub fn damaged(&self) -> &[Uid] {
        &self.damaged
    }

    /// Octets of blocks and messages that were read so far.
    pub fn octets_read(&self) -> u64 {
        self.octets_read
    }

    fn look(&mut self, view: &View, octets_end: u64) -> Result<(), StoreError> {
        if let Some(reading) = self.reading.take() {
            return self.read_on(reading, octets_end);
        }
        let Some(uid) = self.uids.get(self.next).copied() else {
            return Ok(());
        };
        self.next += 1;
        let Some(message) = view.message(self.mailbox, uid)? else {
            return Ok(());
        };
        let mut known = vec![None; self.sought.len()];
        if self.is_known(&message, &known) {
            return Ok(());
        }
        self.ask_prefix(&message, &mut known);
        self.ask_block(view, &message, &mut known)?;
        if self.is_known(&message, &known) {
            return Ok(());
        }
        let structure = view.parsed_structure(&message)?;
        self.ask_structure(&structure, &mut known);
        if self.is_known(&message, &known) {
            return Ok(());
        }
        let mut body = view.body(&message)?;
        self.ask_header(&message, &structure, &mut body, &mut known)?;
        if self.is_known(&message, &known) {
            return Ok(());
        }
        let reading = Reading {
            message,
            known,
            body,
            texts: SearchText::new(structure),
            window: String::new(),
        };
        self.read_on(reading, octets_end)
    }

    /// Whether it is known now if a message is found, and if it is, notes it.
    fn is_known(&mut self, message: &Message, known: &[Option<bool>]) -> bool {
        let is_found = self.expression.value(message, known);
        if is_found == Some(true) {
            self.found.push(message.uid);
        }
        is_found.is_some()
    }

    /// What the block of the message's body rules out.
    fn ask_block(
        &mut self,
        view: &View,
        message: &Message,
        known: &mut [Option<bool>],
    ) -> Result<(), StoreError> {
        if self.pieces.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let Some(first) = view.block_of(message.body)? else {
            return Ok(());
        };
        if !self.blocks.contains_key(&first) {
            let Some(row) = view.block(first)? else {
                return Ok(());
            };
            self.octets_read += row.len() as u64;
            let read = Block::read(&row).and_then(|block| Ok((block.candidates(&self.pieces)?, block)));
            let (candidates, block) = match read {
                Ok(read) => read,
                Err(error) => {
                    // It can be made again, and without it everything is looked at.
                    tracing::warn!(%error, first, "a block of words makes no sense and is not used");
                    self.blocks.insert(first, (Vec::new(), Vec::new()));
                    return Ok(());
                }
            };
            self.blocks.insert(first, (block.bodies().to_vec(), candidates));
        }
        let (bodies, candidates) = &self.blocks[&first];
        let Ok(place) = bodies.binary_search(&message.body) else {
            return Ok(());
        };
        let place = u8::try_from(place).expect("a block has 256 bodies");
        for ((sought, places), known) in self.sought.iter().zip(candidates).zip(known) {
            if places.contains(place) {
                continue;
            }
            match sought {
                // The message's own fields are in no block, and were asked before.
                Sought::Body(_) | Sought::Text(_) if known.is_none() => *known = Some(false),
                _ => {}
            }
        }
        Ok(())
    }

    /// What the message's own fields say.
    fn ask_prefix(&self, message: &Message, known: &mut [Option<bool>]) {
        if self.sought.is_empty() {
            return;
        }
        let mut prefix = String::new();
        header_text(message.prefix(), &mut prefix);
        for (sought, known) in self.sought.iter().zip(known) {
            let is_found = match sought {
                Sought::Body(text) => text.is_empty(),
                Sought::Text(text) => text.is_empty() || prefix.contains(text),
                Sought::Header { name, text } => has_field(message.prefix(), name, text),
                Sought::Sent(..) => false,
            };
            if is_found {
                *known = Some(true);
            }
        }
    }

    /// What the structure says of the fields.
    fn ask_structure(&self, structure: &Structure, known: &mut [Option<bool>]) {
        for (sought, known) in self.sought.iter().zip(known) {
            match sought {
                Sought::Header { name, text } if known.is_none() => {
                    *known = match structure.field_text(name) {
                        FieldText::Absent => Some(false),
                        FieldText::Is(value) => Some(fold(&value).contains(text)),
                        FieldText::Unknown => None,
                    };
                }
                Sought::Sent(day_is, day) => {
                    *known = Some(
                        structure
                            .sent()
                            .is_some_and(|sent| day_is.holds(sent.day(), *day)),
                    );
                }
                _ => {}
            }
        }
    }

    /// What the header section says.
    fn ask_header(
        &mut self,
        message: &Message,
        structure: &Structure,
        body: &mut BodyReader,
        known: &mut [Option<bool>],
    ) -> Result<(), StoreError> {
        let is_asked = |sought: &Sought| matches!(sought, Sought::Header { .. } | Sought::Text(_));
        if !self
            .sought
            .iter()
            .zip(&*known)
            .any(|(sought, known)| known.is_none() && is_asked(sought))
        {
            return Ok(());
        }
        let mut header = Vec::new();
        body.read_at(
            message.prefix().len() as u64,
            &mut header,
            header_octets(structure),
        )?;
        self.octets_read += header.len() as u64;
        let mut text_of_all = String::new();
        for (sought, known) in self.sought.iter().zip(known) {
            match sought {
                Sought::Header { name, text } if known.is_none() => {
                    *known = Some(has_field(&header, name, text));
                }
                Sought::Text(text) if known.is_none() => {
                    if text_of_all.is_empty() {
                        header_text(&header, &mut text_of_all);
                    }
                    if text_of_all.contains(text) {
                        *known = Some(true);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the texts of a message, as far as it is needed and the slice allows.
    fn read_on(&mut self, mut reading: Reading, octets_end: u64) -> Result<(), StoreError> {
        let finders: Vec<Option<Finder<'static>>> = self
            .sought
            .iter()
            .map(|sought| match sought {
                Sought::Body(text) | Sought::Text(text) => Some(Finder::new(text).into_owned()),
                Sought::Header { .. } | Sought::Sent(..) => None,
            })
            .collect();
        let overlap = finders
            .iter()
            .flatten()
            .map(|finder| finder.needle().len())
            .max()
            .unwrap_or(0);
        let shift = reading.message.prefix().len() as u64;
        loop {
            if self.octets_read >= octets_end {
                self.reading = Some(reading);
                return Ok(());
            }
            let Reading {
                body, texts, window, ..
            } = &mut reading;
            let mut octets_read = 0;
            let has_more = texts.next(window, |range, octets| {
                octets_read = u64::from(range.end - range.start);
                let wanted = usize::try_from(octets_read).expect("a window is small");
                body.read_at(shift + u64::from(range.start), octets, wanted)
                    .map(|_| ())
            })?;
            self.octets_read += octets_read;
            for (finder, known) in finders.iter().zip(&mut reading.known) {
                if let Some(finder) = finder
                    && known.is_none()
                {
                    let is_found = finder.find(reading.window.as_bytes()).is_some();
                    *known = if is_found || !has_more {
                        Some(is_found)
                    } else {
                        None
                    };
                }
            }
            if self.is_known(&reading.message, &reading.known) || !has_more {
                return Ok(());
            }
            let kept = reading.window.len().saturating_sub(overlap);
            let kept = reading.window.floor_char_boundary(kept);
            reading.window.drain(..kept);
        }
    }
}

/// Whether a header section has a field of this name with `text` in it. Any name has the empty text (RFC 9051 §6.4.4).
fn has_field(header: &[u8], name: &str, text: &str) -> bool {
    fields(header).any(|field| {
        field.name.eq_ignore_ascii_case(name.as_bytes())
            && fold(&field_text(field.name, field.value)).contains(text)
    })
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What people look for is nobody's business (D41).
        write!(f, "Search({} of {})", self.next, self.uids.len())
    }
}
