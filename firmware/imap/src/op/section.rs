//! Sections of a message: where they lie, and their octets.

use crate::command::{Partial, Section, SectionText};
use crate::response::{Failure, write_astring};
use mail::Structure;
use mail::structure::{Content, Part, PartIndex, fields};
use std::collections::HashSet;
use std::io;
use std::ops::Range;
use store::BodyReader;
use wire::limits::HEADER_SECTION_OCTETS_MAX;

/// How many octets of a message are read at once.
const CHUNK_OCTETS: usize = 64 * 1024;

/// Octets of a message that are on their way to the client.
#[derive(Debug)]
pub struct BodySource {
    /// `None` while a chunk is read elsewhere.
    reading: Option<Reading>,
}

/// A message and how far it was read.
#[derive(Debug)]
pub(crate) struct Reading {
    reader: BodyReader,
    offset: u64,
    left: u64,
}

impl BodySource {
    pub(crate) fn new(reader: BodyReader, range: &Range<u64>) -> BodySource {
        BodySource {
            reading: Some(Reading {
                reader,
                offset: range.start,
                left: range.end - range.start,
            }),
        }
    }

    /// Takes out what is to be read, for a thread that may wait for the disk.
    pub(crate) fn take(&mut self) -> Option<Reading> {
        self.reading.take()
    }

    /// Puts it back.
    pub(crate) fn put(&mut self, reading: Reading) {
        self.reading = Some(reading);
    }
}

impl Reading {
    /// Adds the next octets to `into`; `false` says that these were the last.
    ///
    /// # Errors
    /// When they cannot be read. Their number was announced, so the connection has to end.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(CHUNK_OCTETS)
            .min(CHUNK_OCTETS);
        let count = self
            .reader
            .read_at(self.offset, into, wanted)
            .map_err(io::Error::other)?;
        if count < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(self.left > 0)
    }
}

/// Where a section lies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Octets of the message.
    Range(Range<u64>),
    /// Some fields of the header section that lies here.
    Fields(Range<u64>),
    /// There is no such section.
    Nowhere,
}

/// Finds a section in a message that has `prefix_octets` of fields in front of what `structure` describes.
///
/// Source: RFC 9051 §6.4.5 (`BODY[<section>]`), §6.4.5.1.
pub(crate) fn place(section: &Section, structure: &Structure, prefix_octets: u64) -> Place {
    let shift =
        |range: Range<u32>| u64::from(range.start) + prefix_octets..u64::from(range.end) + prefix_octets;
    // The outermost header section begins with the prefix.
    let header = |index: PartIndex| {
        let range = shift(structure.part(index).header());
        if index == PartIndex(0) {
            0..range.end
        } else {
            range
        }
    };
    let message = if section.part.is_empty() {
        Some(PartIndex(0))
    } else {
        let Some(index) = find(&section.part, structure) else {
            return Place::Nowhere;
        };
        let part = structure.part(index);
        match section.text {
            SectionText::All => return Place::Range(shift(part.body())),
            SectionText::Mime => return Place::Range(header(index)),
            SectionText::Header | SectionText::HeaderFields { .. } | SectionText::Text => content(part),
        }
    };
    // HEADER and TEXT are those of a message.
    let Some(message) = message else {
        return Place::Nowhere;
    };
    match section.text {
        SectionText::All => Place::Range(0..u64::from(structure.octets) + prefix_octets),
        SectionText::Header => Place::Range(header(message)),
        SectionText::HeaderFields { .. } => Place::Fields(header(message)),
        SectionText::Text => Place::Range(shift(structure.part(message).body())),
        SectionText::Mime => Place::Nowhere,
    }
}

/// The content of the message in a part.
fn content(part: &Part) -> Option<PartIndex> {
    match &part.content {
        Content::Message { content, .. } => Some(*content),
        Content::Leaf | Content::Multipart(_) => None,
    }
}

/// The part with these numbers. A message that is no multipart has a part 1: its content.
fn find(numbers: &[u32], structure: &Structure) -> Option<PartIndex> {
    let mut inside = PartIndex(0);
    let mut is_message = true;
    for &number in numbers {
        if !is_message && let Some(content) = content(structure.part(inside)) {
            inside = content;
            is_message = true;
        }
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        inside = match &structure.part(inside).content {
            Content::Multipart(children) => *children.get(place)?,
            _ if is_message && place == 0 => inside,
            _ => return None,
        };
        is_message = false;
    }
    Some(inside)
}

/// The part of a range that `<offset.count>` asks for. What lies behind the end is empty.
pub(crate) fn cut(range: Range<u64>, partial: Option<Partial>) -> Range<u64> {
    let Some(Partial { offset, count }) = partial else {
        return range;
    };
    let start = range.end.min(range.start + u64::from(offset));
    start..range.end.min(start + u64::from(count))
}

/// The fields of the header section in `range` that are asked for, and the empty line (RFC 9051 §6.4.5:
/// it is always there).
///
/// Deviation: of a header section of more than a MiB, which no SMTP server takes, only the fields in the
/// first MiB are found.
pub(crate) fn read_fields(
    reader: &mut BodyReader,
    range: &Range<u64>,
    names: &[Vec<u8>],
    is_not: bool,
) -> Result<Vec<u8>, Failure> {
    let octets = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut header = Vec::new();
    reader.read_at(range.start, &mut header, octets.min(HEADER_SECTION_OCTETS_MAX))?;
    // A thousand names, and a header section of a hundred thousand fields: each is looked up, not compared.
    let names: HashSet<Vec<u8>> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut found = Vec::new();
    for field in fields(&header) {
        let is_named = names.contains(&field.name.to_ascii_lowercase());
        if is_named != is_not {
            found.extend_from_slice(&header[field.range]);
        }
    }
    if !found.is_empty() && !found.ends_with(b"\n") {
        found.extend_from_slice(b"\r\n");
    }
    found.extend_from_slice(b"\r\n");
    Ok(found)
}

/// The name of a section in a response: `BODY[1.HEADER.FIELDS (From)]<0>`.
pub(crate) fn write_name(section: &Section, partial: Option<Partial>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"BODY[");
    let part: Vec<String> = section.part.iter().map(u32::to_string).collect();
    out.extend_from_slice(part.join(".").as_bytes());
    if !part.is_empty() && section.text != SectionText::All {
        out.push(b'.');
    }
    match &section.text {
        SectionText::All => {}
        SectionText::Header => out.extend_from_slice(b"HEADER"),
        SectionText::Text => out.extend_from_slice(b"TEXT"),
        SectionText::Mime => out.extend_from_slice(b"MIME"),
        SectionText::HeaderFields { names, is_not } => {
            out.extend_from_slice(if *is_not {
                b"HEADER.FIELDS.NOT"
            } else {
                b"HEADER.FIELDS"
            });
            for (place, name) in names.iter().enumerate() {
                out.extend_from_slice(if place == 0 { b" (" } else { b" " });
                write_astring(&String::from_utf8_lossy(name), out);
            }
            out.push(b')');
        }
    }
    out.push(b']');
    if let Some(partial) = partial {
        out.extend_from_slice(format!("<{}>", partial.offset).as_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 9051 §6.4.5.1: the parts of its example, as the section that each number names.
    const MESSAGE: &str = "Subject: outer
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: text/plain

one
--a
Content-Type: application/octet-stream

two
--a
Content-Type: message/rfc822
X: three

Subject: three
Content-Type: multipart/mixed; boundary=b

--b

three.one
--b
Content-Type: application/octet-stream

three.two
--b--
--a
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: image/gif

four.one
--c
Content-Type: message/rfc822

Subject: four.two

four.two.one
--c--
--a--
";

    fn octets(message: &str, part: &[u32], text: SectionText) -> Option<String> {
        let message = message.replace('\n', "\r\n");
        let structure = Structure::parse(message.as_bytes());
        let prefix = "Return-Path: <>\r\n";
        let section = Section {
            part: part.to_vec(),
            text,
        };
        match place(&section, &structure, prefix.len() as u64) {
            Place::Range(range) | Place::Fields(range) => {
                let whole = format!("{prefix}{message}");
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                Some(whole[range].replace("\r\n", "\n"))
            }
            Place::Nowhere => None,
        }
    }

    #[test]
    fn the_parts_of_the_standard_are_found() {
        let body = |part: &[u32]| octets(MESSAGE, part, SectionText::All).unwrap();
        assert_eq!(body(&[1]), "one");
        assert_eq!(body(&[2]), "two");
        assert!(body(&[3]).starts_with("Subject: three\n"));
        assert_eq!(body(&[3, 1]), "three.one");
        assert_eq!(body(&[3, 2]), "three.two");
        assert_eq!(body(&[4, 1]), "four.one");
        assert_eq!(body(&[4, 2]), "Subject: four.two\n\nfour.two.one");
        assert_eq!(body(&[4, 2, 1]), "four.two.one");
        for nowhere in [&[5][..], &[1, 1], &[3, 3], &[4, 2, 2], &[4, 2, 1, 1]] {
            assert_eq!(octets(MESSAGE, nowhere, SectionText::All), None, "{nowhere:?}");
        }
    }

    #[test]
    fn headers_and_texts_are_those_of_messages() {
        let header = octets(MESSAGE, &[], SectionText::Header).unwrap();
        assert!(header.starts_with("Return-Path: <>\nSubject: outer\n") && header.ends_with("=a\n\n"));
        let whole = octets(MESSAGE, &[], SectionText::All).unwrap();
        assert_eq!(whole, header + &octets(MESSAGE, &[], SectionText::Text).unwrap());
        assert_eq!(
            octets(MESSAGE, &[3], SectionText::Header).unwrap(),
            "Subject: three\nContent-Type: multipart/mixed; boundary=b\n\n"
        );
        assert_eq!(
            octets(MESSAGE, &[4, 2], SectionText::Text).unwrap(),
            "four.two.one"
        );
        assert_eq!(
            octets(MESSAGE, &[3], SectionText::Mime).unwrap(),
            "Content-Type: message/rfc822\nX: three\n\n"
        );
        assert_eq!(octets(MESSAGE, &[1], SectionText::Header), None);
    }

    #[test]
    fn a_message_that_is_no_multipart_has_a_part_1() {
        let message = "Subject: x\n\nbody";
        assert_eq!(octets(message, &[1], SectionText::All).unwrap(), "body");
        assert_eq!(
            octets(message, &[1], SectionText::Mime).unwrap(),
            "Return-Path: <>\nSubject: x\n\n"
        );
        assert_eq!(octets(message, &[2], SectionText::All), None);
        assert_eq!(octets(message, &[1, 1], SectionText::All), None);
    }

    #[test]
    fn a_partial_ends_where_the_section_ends() {
        let partial = |offset, count| Some(Partial { offset, count });
        assert_eq!(cut(10..20, partial(0, 5)), 10..15);
        assert_eq!(cut(10..20, partial(8, 5)), 18..20);
        assert_eq!(cut(10..20, partial(99, u32::MAX)), 20..20);
        assert_eq!(cut(10..20, None), 10..20);
    }
}
