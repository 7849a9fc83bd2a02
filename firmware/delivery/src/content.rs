//! The octets of a message on their way in, and what is seen of its header section in passing.

use crate::is_full;
use mail::Address;
use std::collections::BTreeSet;
use store::{BodyWriter, StoreError};
use wire::limits::{HEADER_SECTION_OCTETS_MAX, RECEIVED_FIELDS_MAX};

/// A message that is not whole yet. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Content {
    body: BodyWriter,
    header: HeaderWatch,
}

/// Why content is not kept.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// AS11: the header section is over its limit. The sender's doing, for good.
    #[error("the header section is too large")]
    HeaderTooLarge,
    /// S8: the disk is full. May pass.
    #[error("the disk is full")]
    DiskFull,
    /// The store failed. May pass.
    #[error("the store failed: {0}")]
    Store(#[source] StoreError),
}

impl From<StoreError> for ContentError {
    fn from(error: StoreError) -> ContentError {
        if is_full(&error) {
            ContentError::DiskFull
        } else {
            ContentError::Store(error)
        }
    }
}

impl Content {
    pub(crate) fn new(body: BodyWriter) -> Content {
        Content {
            body,
            header: HeaderWatch::default(),
        }
    }

    /// Adds octets, on a thread that may wait when they go to the disk: a card that is busy would stop
    /// everybody else's conversation (D19).
    ///
    /// # Errors
    /// See [`ContentError`]. Nothing is left of the message then.
    pub async fn add(mut self, octets: Vec<u8>) -> Result<Content, ContentError> {
        if self.body.stays_in_memory(octets.len()) {
            self.write(&octets)?;
            return Ok(self);
        }
        let write = move || self.write(&octets).map(|()| self);
        match tokio::task::spawn_blocking(write).await {
            Ok(written) => written,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends.
                Err(_) => Err(ContentError::Store(StoreError::Closed)),
            },
        }
    }

    /// Adds octets. Line ends are CRLF. Synchronous; [`add`](Content::add) is for tasks.
    ///
    /// # Errors
    /// See [`ContentError`]. The message cannot be accepted then.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), ContentError> {
        if !self.header.watch(octets) {
            return Err(ContentError::HeaderTooLarge);
        }
        Ok(self.body.write(octets)?)
    }

    /// The octets that were added.
    pub fn len(&self) -> u64 {
        self.body.len()
    }

    /// Whether none were added.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The whole message, and what was seen of its header section.
    pub(crate) fn finish(mut self) -> (BodyWriter, Hops) {
        self.header.end_field();
        (self.body, self.header.hops)
    }
}

/// Where a message says it has been.
#[derive(Debug, Default)]
pub(crate) struct Hops {
    received_fields: usize,
    delivered_to_fields: usize,
    /// The keys of the mailboxes that had it.
    delivered_to: BTreeSet<String>,
}

impl Hops {
    /// R4, AS17: more hops than a message that gets anywhere has (RFC 5321 §6.3).
    pub(crate) fn are_too_many(&self) -> bool {
        self.received_fields > RECEIVED_FIELDS_MAX || self.delivered_to_fields > RECEIVED_FIELDS_MAX
    }

    /// Whether the mailbox of `address` had the message before.
    pub(crate) fn include(&self, address: &Address) -> bool {
        self.delivered_to.contains(&address.key())
    }
}

/// As much of a field as is kept to be read: the longest address, its name and some white space.
const FIELD_OCTETS_KEPT: usize = 512;

/// Reads the header section as it goes by, in constant memory.
#[derive(Debug, Default)]
struct HeaderWatch {
    octets: usize,
    is_over: bool,
    /// Octets of the line so far, its CR not counted.
    line_octets: usize,
    /// The start of the field that is going by, unfolded.
    field: Vec<u8>,
    hops: Hops,
}

impl HeaderWatch {
    /// Sees the next octets; `false` when the header section is over its limit.
    fn watch(&mut self, octets: &[u8]) -> bool {
        for &octet in octets {
            if self.is_over {
                return true;
            }
            self.octets += 1;
            if self.octets > HEADER_SECTION_OCTETS_MAX {
                return false;
            }
            match octet {
                b'\r' => {}
                b'\n' => {
                    self.is_over = self.line_octets == 0;
                    self.line_octets = 0;
                }
                _ => {
                    // RFC 5322 §2.2.3: a line that begins with white space continues the field.
                    if self.line_octets == 0 && !matches!(octet, b' ' | b'\t') {
                        self.end_field();
                    }
                    self.line_octets += 1;
                    if self.field.len() < FIELD_OCTETS_KEPT {
                        self.field.push(octet);
                    }
                }
            }
        }
        true
    }

    /// Counts the field that went by, if it tells of a hop.
    fn end_field(&mut self) {
        let field = String::from_utf8_lossy(&self.field);
        if let Some((name, value)) = field.split_once(':') {
            // RFC 5322 §4.5.1: white space may stand before the colon.
            let name = name.trim_end();
            if name.eq_ignore_ascii_case("Received") {
                self.hops.received_fields += 1;
            } else if name.eq_ignore_ascii_case("Delivered-To") {
                self.hops.delivered_to_fields += 1;
                let has_room = self.hops.delivered_to.len() <= RECEIVED_FIELDS_MAX;
                if has_room && let Ok(address) = Address::parse(value) {
                    self.hops.delivered_to.insert(address.key());
                }
            }
        }
        self.field.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The hops of a message, seen in pieces of `piece` octets.
    fn hops(message: &str, piece: usize) -> Hops {
        let mut watch = HeaderWatch::default();
        for octets in message.as_bytes().chunks(piece) {
            assert!(watch.watch(octets));
        }
        watch.end_field();
        watch.hops
    }

    #[test]
    fn hops_are_seen_however_the_fields_are_written_and_cut() {
        let message = "Received: from a\r\n\tby b; Received: no\r\nRECEIVED : x\r\n\
            Delivered-To:\r\n Anna@Firma.TEST\r\nX: Received: no\r\n\r\nReceived: no\r\nDelivered-To: b@x.test\r\n";
        let anna = Address::parse("anna@firma.test").unwrap();
        let bob = Address::parse("b@x.test").unwrap();
        for piece in 1..=message.len() {
            let hops = hops(message, piece);
            assert_eq!((hops.received_fields, hops.delivered_to_fields), (2, 1));
            assert!(hops.include(&anna) && !hops.include(&bob));
        }
    }

    #[test]
    fn a_header_section_without_an_end_counts_to_the_last_field() {
        assert_eq!(hops("Received: a\r\nReceived: b", 7).received_fields, 2);
    }

    /// AS17
    #[test]
    fn as17_a_hundred_hops_are_taken_and_one_more_is_a_loop() {
        assert!(!hops(&"Received: a\r\n".repeat(100), 1000).are_too_many());
        assert!(hops(&"Received: a\r\n".repeat(101), 1000).are_too_many());
        assert!(hops(&"Delivered-To: a@b.test\r\n".repeat(101), 1000).are_too_many());
    }

    /// AS11: whatever fills a header section, the limit is exact and the memory constant.
    #[test]
    fn as11_a_header_section_of_one_mebibyte_is_taken_and_an_octet_more_is_not() {
        for line in [
            "a:b\r\n".to_owned(),
            format!("To: {}\r\n", "a@b.test, ".repeat(1000)),
            " x\r\n".to_owned(),
        ] {
            let mut section = line.repeat(HEADER_SECTION_OCTETS_MAX / line.len() + 1);
            section.truncate(HEADER_SECTION_OCTETS_MAX);
            let mut watch = HeaderWatch::default();
            assert!(watch.watch(section.as_bytes()));
            assert!(watch.field.capacity() <= 2 * FIELD_OCTETS_KEPT);
            assert!(!watch.watch(b"x"));
        }
    }

    #[test]
    fn the_body_has_no_limit_here() {
        let mut watch = HeaderWatch::default();
        assert!(watch.watch(b"a: b\r\n\r\n"));
        assert!(watch.watch(&vec![b'x'; 2 * HEADER_SECTION_OCTETS_MAX]));
    }
}
