//! The text of a message as SEARCH sees it, a piece at a time.
//!
//! # Invariants
//!
//! - Any octets have a text (AS15), and whoever asks for it holds a window and its text, never a whole part.
//! - The text is folded ([`crate::fold()`]); in it a line feed stands between texts that have nothing to do with each
//!   other, and nowhere else. A text that is sought has none, once folded, so that it is never found over such an end.

mod charset;
mod html;
mod transfer;

use crate::Structure;
use crate::fold::Folder;
use crate::structure::{Content, Part, field_text, fields};
use charset::CharsetText;
use html::HtmlText;
use std::ops::Range;
use transfer::Transfer;

/// Octets of a part that are decoded at once.
const WINDOW_OCTETS: u32 = 64 * 1024;

/// A reader of the texts of a message's body: its parts of text, the names of its attachments, and subject and addresses
/// of the messages in it.
#[derive(Debug)]
pub struct SearchText {
    structure: Structure,
    /// The part that comes next, or is being read.
    part: usize,
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    text: PartText,
    left: Range<u32>,
    folder: Folder,
}

impl SearchText {
    /// The texts of a message with this structure.
    pub fn new(structure: Structure) -> SearchText {
        SearchText {
            structure,
            part: 0,
            reading: None,
        }
    }

    /// Adds the next piece of the text to `into`. `read` adds octets of the message to a buffer, by their place in what
    /// [`Structure::parse`] saw; it is called at most once. `false`: there is no more.
    ///
    /// # Errors
    /// That of `read`.
    pub fn next<E>(
        &mut self,
        into: &mut String,
        read: impl FnOnce(Range<u32>, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<bool, E> {
        if let Some(reading) = &mut self.reading {
            let window = reading.left.start..reading.left.end.min(reading.left.start + WINDOW_OCTETS);
            let mut octets = Vec::new();
            read(window.clone(), &mut octets)?;
            reading.left.start = window.end;
            let is_last = reading.left.is_empty();
            let mut text = String::new();
            reading.text.feed(&octets, is_last, &mut text);
            reading.folder.fold_into(&text, into);
            if is_last {
                into.push('\n');
                self.reading = None;
            }
            return Ok(true);
        }
        let Some(part) = self.structure.parts.get(self.part) else {
            return Ok(false);
        };
        self.part += 1;
        if let Some(name) = part.file_name() {
            push(&name, into);
        }
        if let Content::Message { envelope, .. } = &part.content {
            for text in envelope.texts() {
                push(&text, into);
            }
        }
        if part.is_text() && !part.body().is_empty() {
            self.reading = Some(Reading {
                text: PartText::new(part),
                left: part.body(),
                folder: Folder::default(),
            });
        }
        Ok(true)
    }
}

/// The texts of a header section: each field as `name: value`.
pub fn header_text(header: &[u8], into: &mut String) {
    for field in fields(header) {
        let name = String::from_utf8_lossy(field.name);
        push(&format!("{name}: {}", field_text(field.name, field.value)), into);
    }
}

fn push(text: &str, into: &mut String) {
    Folder::default().fold_into(text, into);
    into.push('\n');
}

/// Decodes the body of a part of text that comes in pieces.
#[derive(Debug)]
pub(crate) struct PartText {
    transfer: Transfer,
    charset: CharsetText,
    html: Option<HtmlText>,
}

impl PartText {
    pub(crate) fn new(part: &Part) -> PartText {
        let is_html = part.content_type.is("text", "html");
        PartText {
            transfer: Transfer::of(part),
            charset: CharsetText::of(part),
            html: is_html.then(HtmlText::default),
        }
    }

    pub(crate) fn feed(&mut self, octets: &[u8], is_last: bool, into: &mut String) {
        let mut decoded = Vec::new();
        self.transfer.feed(octets, is_last, &mut decoded);
        match &mut self.html {
            None => self.charset.feed(&decoded, is_last, into),
            Some(html) => {
                let mut text = String::new();
                self.charset.feed(&decoded, is_last, &mut text);
                html.feed(&text, into);
                if is_last {
                    html.finish(into);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
