//! What a message is made of: its parts, where they lie, and the fields that IMAP tells of them.
//!
//! Everything that looks into a message (IMAP, the webmail, filters) looks through one [`Structure`], so
//! that no two of them can see two different messages (AS14).
//!
//! # Invariants
//!
//! - [`Structure::parse`] is a total function: any octets are a message. It takes linear time, does not
//!   recurse on its input, and keeps at most [`TEXT_OCTETS_MAX`] octets of fields.
//! - `parts[0]` is the message's own content. A part stands behind its parent in `parts`, and the parts of
//!   a multipart are listed in their order.
//! - Ranges count from the start of the octets that were parsed. A delivered message has the box's own
//!   fields in front of them; who reads it adds the length of those fields to the start of everything but
//!   the outermost header section, which begins with them.

mod address;
mod decode;
mod field;
mod file_name;
mod preview;
mod scan;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod value;

pub use address::AddressItem;
pub use decode::{decode_body, decode_charset, decode_field};
pub(crate) use decode::{decode_charset_named, names_utf7};
pub use field::{Field, fields, unfold};
pub use preview::PREVIEW_CHARS_MAX;
pub use summary::{FieldText, REFERENCES_MAX, Summary, field_text};
pub use text::Text;
pub use value::{ContentType, Param};

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// AS11: a longer field is read up to here.
pub const FIELD_OCTETS_MAX: usize = 100 * 1024;
/// What a structure keeps of all fields of a message together. Beyond it fields count as absent, so that
/// a thousand parts with long fields do not make the index longer than the mail.
pub const TEXT_OCTETS_MAX: usize = 256 * 1024;
/// AS12: containers inside containers. A deeper one is an opaque leaf.
pub const DEPTH_MAX: usize = 50;
/// AS12: parts of a message. What stands behind the last one belongs to no part.
pub const PARTS_MAX: usize = 1_000;
/// AS13: parameters of one field.
pub const PARAMS_MAX: usize = 100;
/// AS13: a Content-Type or Content-Disposition is read up to here.
pub const PARAMS_OCTETS_MAX: usize = 64 * 1024;

/// The version of what is kept in the index. It changes with every change of the types below, and of what
/// the scan makes of a message.
const VERSION: u8 = 2;
/// What was written before there was a [`Summary`].
const VERSION_WITHOUT_SUMMARY: u8 = 1;

/// What a message is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// The length of what was parsed.
    pub octets: u32,
    /// The fields of the outermost header section that IMAP calls the envelope.
    pub envelope: Envelope,
    /// The parts in document order; never empty.
    pub parts: Vec<Part>,
    /// Whether the message has more parts than [`PARTS_MAX`] or longer fields than are kept.
    pub is_cut: bool,
    /// What else is known without reading; `None` in what an earlier version wrote ([`Structure::complete`]).
    pub summary: Option<Summary>,
}

/// The fields of a header section that make up an ENVELOPE (RFC 9051 §7.5.2), as they stand there,
/// unfolded. Of a field that occurs twice the first is taken. An absent field is `None` or an empty list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Date
    pub date: Option<Text>,
    /// Subject
    pub subject: Option<Text>,
    /// From
    pub from: Vec<AddressItem>,
    /// Sender
    pub sender: Vec<AddressItem>,
    /// Reply-To
    pub reply_to: Vec<AddressItem>,
    /// To
    pub to: Vec<AddressItem>,
    /// Cc
    pub cc: Vec<AddressItem>,
    /// Bcc
    pub bcc: Vec<AddressItem>,
    /// In-Reply-To
    pub in_reply_to: Option<Text>,
    /// Message-ID
    pub message_id: Option<Text>,
}

/// Where a part stands in [`Structure::parts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartIndex(pub u16);

/// A part of a message: a header section and a body (RFC 2045 §2.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Where its header section starts.
    pub header_start: u32,
    /// Where its body starts: behind the empty line that ends the header section, which belongs to the
    /// header section.
    pub body_start: u32,
    /// Where its body ends. The CRLF before a boundary belongs to the boundary (RFC 2046 §5.1.1).
    pub body_end: u32,
    /// The lines of the body: its line feeds.
    pub body_lines: u32,
    /// Content-Type, with the default of RFC 2045 §5.2 where it is absent or makes no sense.
    pub content_type: ContentType,
    /// Content-Transfer-Encoding; `None` means 7BIT (RFC 2045 §6.1).
    pub encoding: Option<Text>,
    /// Content-ID
    pub id: Option<Text>,
    /// Content-Description
    pub description: Option<Text>,
    /// Content-MD5
    pub md5: Option<Text>,
    /// Content-Disposition; its type is in `media_type`, `subtype` is empty.
    pub disposition: Option<ContentType>,
    /// Content-Language
    pub languages: Vec<Text>,
    /// Content-Location
    pub location: Option<Text>,
    /// What the body is.
    pub content: Content,
    /// AS14: a field that decides how the part is read occurs twice. Such a part is shown for download only.
    pub is_ambiguous: bool,
}

/// What the body of a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Octets.
    Leaf,
    /// Parts. There is at least one: a multipart without any is an opaque leaf.
    Multipart(Vec<PartIndex>),
    /// A message in a message/rfc822, whose content is this part. The header section of that part is the
    /// header section of the message.
    Message {
        /// The envelope of that message.
        envelope: Box<Envelope>,
        /// The content of that message.
        content: PartIndex,
    },
}

impl Structure {
    /// Finds out what a message is made of.
    ///
    /// Source: RFC 2045, RFC 2046 §5, RFC 9051 §7.5.2, AS11 to AS14.
    pub fn parse(message: &[u8]) -> Structure {
        scan::scan(message)
    }

    /// The structure as the index keeps it: an octet with the version, then postcard.
    pub fn encode(&self) -> Vec<u8> {
        let encoded = postcard::to_extend(self, vec![VERSION]);
        encoded.expect("memory takes whatever is written, and every length is known")
    }

    /// Reads what [`Structure::encode`] wrote, in this version or an earlier one; `None` when a later version did, or
    /// nobody. A structure can always be had again from the message.
    pub fn decode(octets: &[u8]) -> Option<Structure> {
        let (&version, encoded) = octets.split_first()?;
        match version {
            VERSION => postcard::from_bytes(encoded).ok(),
            VERSION_WITHOUT_SUMMARY => {
                let (octets, envelope, parts, is_cut) = postcard::from_bytes(encoded).ok()?;
                Some(Structure {
                    octets,
                    envelope,
                    parts,
                    is_cut,
                    summary: None,
                })
            }
            _ => None,
        }
    }

    /// The part at `index`.
    ///
    /// # Panics
    /// If the index comes from another structure.
    pub fn part(&self, index: PartIndex) -> &Part {
        &self.parts[usize::from(index.0)]
    }

    /// The content of the message itself.
    pub fn root(&self) -> &Part {
        self.part(PartIndex(0))
    }
}

impl Envelope {
    /// Subject and addresses, as people read them.
    pub fn texts(&self) -> Vec<String> {
        let lists = [
            &self.from,
            &self.sender,
            &self.reply_to,
            &self.to,
            &self.cc,
            &self.bcc,
        ];
        let subject = self
            .subject
            .iter()
            .map(|subject| decode_field(subject.as_bytes()));
        let lists = lists.into_iter().filter(|list| !list.is_empty());
        subject
            .chain(lists.map(|list| address::address_text(list)))
            .collect()
    }
}

impl Part {
    /// The header section, with the empty line that ends it.
    pub fn header(&self) -> Range<u32> {
        self.header_start..self.body_start
    }

    /// The body.
    pub fn body(&self) -> Range<u32> {
        self.body_start..self.body_end
    }

    /// The length of the body.
    pub fn body_octets(&self) -> u32 {
        self.body_end - self.body_start
    }

    /// Whether it is text of some kind.
    pub fn is_text(&self) -> bool {
        matches!(self.content, Content::Leaf) && self.content_type.media_type.eq_ignore_ascii_case("text")
    }
}
