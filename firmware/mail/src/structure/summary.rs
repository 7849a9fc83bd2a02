//! What listing, sorting, threading and searching ask of a message beyond its envelope.

use super::{Envelope, Structure, Text, decode_field, fields};
use crate::InternalDate;
use serde::{Deserialize, Serialize};

/// AI5: of the ids in a References field the first and the last are kept, so many together. The first leads to the
/// beginning of the conversation, the last ones to the message that was answered.
pub const REFERENCES_MAX: usize = 32;
/// The longest id that is one: a line of mail (RFC 5322 §2.1.1).
const ID_OCTETS_MAX: usize = 998;
/// Different names of fields in one header section; with more, it is not known which there are.
const NAMES_MAX: usize = 512;

/// What is known of the outermost header section and of the text, so that nobody has to read them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The ids of the References field, without angle brackets: the first and the last of them, in their order.
    pub references: Vec<Text>,
    /// Two octets for the name of each field, ascending ([`name_hash`]). `None`: there are too many.
    names: Option<Text>,
    /// The fields of the envelope that occur more than once, a bit each by their place in [`ENVELOPE_NAMES`].
    repeated: u16,
    /// How the text begins, at most [`super::PREVIEW_CHARS_MAX`] characters (RFC 8970).
    pub preview: String,
}

/// The fields of an [`Envelope`].
const ENVELOPE_NAMES: [&str; 10] = [
    "date",
    "subject",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "in-reply-to",
    "message-id",
];

/// What a structure says of a field of the outermost header section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldText {
    /// There is none of this name.
    Absent,
    /// There is one, and this is its text ([`field_text`]).
    Is(String),
    /// The header section has to be read.
    Unknown,
}

impl Summary {
    /// Of a header section.
    pub(super) fn of_header(header: &[u8]) -> Summary {
        let mut references = None;
        let mut hashes = Vec::new();
        let (mut seen, mut repeated, mut has_all) = (0_u16, 0_u16, true);
        for field in fields(header) {
            let hash = name_hash(field.name);
            if let Err(place) = hashes.binary_search(&hash) {
                if hashes.len() < NAMES_MAX {
                    hashes.insert(place, hash);
                } else {
                    has_all = false;
                }
            }
            if let Some(place) = envelope_place(field.name) {
                repeated |= seen & 1 << place;
                seen |= 1 << place;
            } else if references.is_none() && field.name.eq_ignore_ascii_case(b"references") {
                references = Some(bounded_ids(field.value));
            }
        }
        let names = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        Summary {
            references: references.unwrap_or_default(),
            names: has_all.then(|| Text::new(names)),
            repeated,
            preview: String::new(),
        }
    }

    /// What it takes in a structure.
    pub(super) fn octets(&self) -> usize {
        let ids: usize = self.references.iter().map(|id| id.len() + 1).sum();
        ids + self.names.as_ref().map_or(0, Text::len) + self.preview.len()
    }

    /// Whether the header section may have a field of this name. `false` is certain.
    fn may_have(&self, name: &str) -> bool {
        let Some(names) = &self.names else {
            return true;
        };
        let hash = name_hash(name.as_bytes()).to_le_bytes();
        names.as_bytes().as_chunks::<2>().0.contains(&hash)
    }
}

/// FNV-1a of the name in lower case, folded to 16 bits. Two names with one hash cost a look into the header section and
/// nothing else, so that it does not matter that anybody can find such names.
fn name_hash(name: &[u8]) -> u16 {
    let hash = name.iter().fold(0x811c_9dc5_u32, |hash, octet| {
        (hash ^ u32::from(octet.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    });
    u16::try_from((hash >> 16) ^ (hash & 0xffff)).expect("both halves have 16 bits")
}

fn envelope_place(name: &[u8]) -> Option<usize> {
    ENVELOPE_NAMES
        .iter()
        .position(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// The text of a field as people read it and SEARCH sees it, given its name and its value. Of a field with addresses it is
/// the addresses as `Name <local@domain>`, with commas between: what stands in an ENVELOPE, and no comments. Of any other it is
/// the value, unfolded, with its encoded words decoded.
pub fn field_text(name: &[u8], value: &[u8]) -> String {
    match envelope_place(name) {
        Some(2..=7) => super::address::address_text(&super::address::parse_addresses(value)),
        _ => decode_field(value),
    }
}

impl Structure {
    /// What is known of a field of the outermost header section without reading it. The fields that a delivery put before
    /// the message are not in it.
    pub fn field_text(&self, name: &str) -> FieldText {
        let Some(summary) = &self.summary else {
            return FieldText::Unknown;
        };
        if !summary.may_have(name) {
            return FieldText::Absent;
        }
        let Some(place) = envelope_place(name.as_bytes()) else {
            return FieldText::Unknown;
        };
        if summary.repeated & 1 << place != 0 {
            return FieldText::Unknown;
        }
        // A field that is there and has nothing may be one that was too long to keep, or another with its hash.
        let Envelope {
            date,
            subject,
            from,
            sender,
            reply_to,
            to,
            cc,
            bcc,
            in_reply_to,
            message_id,
        } = &self.envelope;
        let text = |text: &Option<Text>| text.as_ref().map(|text| decode_field(text.as_bytes()));
        let list = |items: &[_]| (!items.is_empty()).then(|| super::address::address_text(items));
        let known = match place {
            0 => text(date),
            1 => text(subject),
            2 => list(from),
            3 => list(sender),
            4 => list(reply_to),
            5 => list(to),
            6 => list(cc),
            7 => list(bcc),
            8 => text(in_reply_to),
            _ => text(message_id),
        };
        known.map_or(FieldText::Unknown, FieldText::Is)
    }

    /// Makes what a structure of version 1 lacks, from the outermost header section. The preview stays empty.
    pub fn complete(&mut self, header: &[u8]) {
        if self.summary.is_none() {
            self.summary = Some(Summary::of_header(header));
        }
    }

    /// What the Date field says; `None` if there is none, or it makes no sense.
    pub fn sent(&self) -> Option<InternalDate> {
        InternalDate::parse_field(self.envelope.date.as_ref()?.as_bytes())
    }

    /// The subject as text; empty if there is none.
    pub fn subject(&self) -> String {
        self.envelope
            .subject
            .as_ref()
            .map_or_else(String::new, |text| decode_field(text.as_bytes()))
    }

    /// The id of the message, without angle brackets.
    pub fn message_id(&self) -> Option<&[u8]> {
        ids(self.envelope.message_id.as_ref()?.as_bytes()).next()
    }

    /// The ids of the messages before this one in its conversation, the oldest first: those of References, or the first
    /// of In-Reply-To where there are none (RFC 5256 §3, REFERENCES (1)).
    pub fn ancestors(&self) -> Vec<&[u8]> {
        let references = self
            .summary
            .as_ref()
            .map_or(&[][..], |summary| &summary.references);
        if references.is_empty() {
            let answered = self
                .envelope
                .in_reply_to
                .as_ref()
                .map_or(&b""[..], |text| text.as_bytes());
            return ids(answered).take(1).collect();
        }
        references.iter().map(Text::as_bytes).collect()
    }
}

fn bounded_ids(value: &[u8]) -> Vec<Text> {
    let mut kept: std::collections::VecDeque<&[u8]> = std::collections::VecDeque::new();
    let mut first = None;
    for id in ids(&value[..value.len().min(super::FIELD_OCTETS_MAX)]) {
        if first.is_none() {
            first = Some(id);
            continue;
        }
        if kept.len() == REFERENCES_MAX - 1 {
            kept.pop_front();
        }
        kept.push_back(id);
    }
    first
        .into_iter()
        .chain(kept)
        .map(|id| Text::new(id.to_vec()))
        .collect()
}

/// The ids of a field, without angle brackets.
///
/// ```text
/// msg-id  =  [CFWS] "<" id-left "@" id-right ">" [CFWS]
/// ```
///
/// Whatever stands between a `<` and a `>` without white space is taken for one: ids without an `@` are common.
///
/// Source: RFC 5322 §3.6.4.
fn ids(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let start = memchr::memchr(b'<', rest)? + 1;
            let behind = &rest[start..];
            let end = memchr::memchr2(b'<', b'>', behind)?;
            let id = &behind[..end];
            rest = if behind[end] == b'>' {
                &behind[end + 1..]
            } else {
                &behind[end..]
            };
            if !id.is_empty() && id.len() <= ID_OCTETS_MAX && id.iter().all(u8::is_ascii_graphic) {
                return Some(id);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_are_there_are_known_without_reading() {
        let message = b"Subject: =?utf-8?Q?=C4=8Caj?=\r\nTo: \"Anna N.\" <anna@a.test>(x), b@b.test\r\nX-Spam: no\r\nReceived: a\r\nReceived: b\r\nCc: a@a\r\ncc: b@b\r\n\r\nx";
        let structure = Structure::parse(message);
        let is = |text: &str| FieldText::Is(text.to_owned());
        assert_eq!(structure.field_text("SUBJECT"), is("Čaj"));
        assert_eq!(structure.field_text("to"), is("Anna N. <anna@a.test>, b@b.test"));
        assert_eq!(structure.field_text("From"), FieldText::Absent);
        assert_eq!(structure.field_text("X-Other"), FieldText::Absent);
        assert_eq!(structure.field_text("x-spam"), FieldText::Unknown);
        // Both count, and the envelope has the first only.
        assert_eq!(structure.field_text("Cc"), FieldText::Unknown);
    }

    #[test]
    fn ids_are_what_stands_in_angle_brackets() {
        let found = |value: &[u8]| {
            ids(value)
                .map(|id| String::from_utf8_lossy(id).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(found(b" <a@b> (x)\r\n\t<c>,<d@e>"), ["a@b", "c", "d@e"]);
        assert_eq!(found(b"a@b <> < x> <<y@z> <"), ["y@z"]);
    }

    /// AI5
    #[test]
    fn ai5_of_a_hundred_thousand_references_a_few_are_kept() {
        let many: Vec<String> = (0..100_000).map(|number| format!("<{number}>")).collect();
        let many = many.concat();
        let structure = Structure::parse(format!("References: {many}\r\n\r\n").as_bytes());
        let ancestors = structure.ancestors();
        assert_eq!(ancestors.len(), REFERENCES_MAX);
        assert_eq!(ancestors[0], b"0");
        assert!(structure.encode().len() < 1_000);
    }

    #[test]
    fn without_references_the_first_id_that_was_answered_counts() {
        let structure = Structure::parse(
            b"In-Reply-To: Your mail <a@b> <c@d>\r\nMessage-ID: <x@y>\r\nReferences: none\r\n\r\n",
        );
        assert_eq!(structure.ancestors(), [b"a@b"]);
        assert_eq!(structure.message_id(), Some(&b"x@y"[..]));
    }

    /// A structure in the log is kept as it was written; what it lacks is in the header section.
    #[test]
    fn a_structure_of_version_1_is_read_and_completed() {
        let message = b"Subject: a\r\nReferences: <x@y>\r\n\r\ntext";
        let now = Structure::parse(message);
        let before = (now.octets, &now.envelope, &now.parts, now.is_cut);
        let encoded = postcard::to_extend(&before, vec![1]).expect("memory takes it");
        let mut structure = Structure::decode(&encoded).expect("it is version 1");
        assert_eq!(structure.envelope, now.envelope);
        assert_eq!(structure.field_text("From"), FieldText::Unknown);
        structure.complete(&message[..structure.root().body_start as usize]);
        assert_eq!(structure.field_text("From"), FieldText::Absent);
        assert_eq!(structure.ancestors(), [b"x@y"]);
        assert_eq!(Structure::decode(&[3]), None);
        assert_eq!(Structure::decode(b""), None);
    }

    /// AS11
    #[test]
    fn as11_a_million_names_are_not_kept() {
        let many: Vec<String> = (0..100_000).map(|number| format!("X-{number}: a\r\n")).collect();
        let many = many.concat();
        let structure = Structure::parse(format!("{many}\r\n").as_bytes());
        assert_eq!(structure.field_text("From"), FieldText::Unknown);
        assert!(structure.encode().len() < 2_000);
    }
}
