//! The scan that finds the parts of a message.
//!
//! Deviation: the tree is found by our own scan and not by mail-parser, which keeps an entry for every
//! field of every header section: 52 MB of `a:` lines behind one boundary made it take 800 MB, so that
//! one message could end the mail process again and again. Values are decoded by mail-parser, and a test
//! compares the trees of both for messages that are well-formed.

use super::address::parse_addresses;
use super::field::{colon, fields, is_empty_line, line_end, unfold};
use super::preview::preview;
use super::value::{parse_languages, parse_token};
use super::{
    AddressItem, Content, ContentType, DEPTH_MAX, Envelope, FIELD_OCTETS_MAX, PARTS_MAX, Part, PartIndex,
    Structure, Summary, TEXT_OCTETS_MAX, Text,
};
use memchr::memmem;

/// See [`Structure::parse`].
pub(super) fn scan(message: &[u8]) -> Structure {
    let octets = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut scanner = Scanner {
        // Nothing over 4 GiB gets here (S0); if it did, its end would belong to no part.
        message: &message[..octets as usize],
        dashes: memmem::Finder::new(b"\n--"),
        parts: Vec::new(),
        open: Vec::new(),
        leaf: None,
        text_left: TEXT_OCTETS_MAX,
        is_cut: message.len() > octets as usize,
    };
    let (envelope, mut place) = scanner.begin(0, Parent::None);
    while let Some(delimiter) = scanner.next_delimiter(place) {
        place = scanner.pass(&delimiter);
    }
    scanner.end_above(0, scanner.message.len());
    scanner.finish(octets, envelope)
}

struct Scanner<'a> {
    message: &'a [u8],
    dashes: memmem::Finder<'static>,
    parts: Vec<Part>,
    /// The containers around the place that is looked at, outermost first.
    open: Vec<Open>,
    /// The leaf around that place.
    leaf: Option<usize>,
    text_left: usize,
    is_cut: bool,
}

/// A container whose end was not found yet.
struct Open {
    part: usize,
    /// The boundary of a multipart; `None` for a message, and for a multipart whose closing boundary has
    /// been seen: what follows is its epilogue, up to a boundary further out.
    boundary: Option<Vec<u8>>,
}

/// A line that is the boundary of an open container (RFC 2046 §5.1.1).
struct Delimiter {
    /// Where the line starts and where the next one does.
    line: usize,
    next_line: usize,
    /// Whose it is, in `Scanner::open`.
    container: usize,
    is_close: bool,
}

/// Where a part that begins stands.
#[derive(Clone, Copy)]
enum Parent {
    /// It is the content of the whole message.
    None,
    /// It is the content of the message in this part.
    Message(usize),
    /// It is a part of this multipart.
    Multipart(usize),
}

impl Scanner<'_> {
    /// Adds the part that starts at `start`, and the messages inside of it. Gives the envelope, if it is the
    /// content of the message, and the place from which the next boundary is to be sought.
    fn begin(&mut self, start: usize, parent: Parent) -> (Envelope, usize) {
        let (mut start, mut parent) = (start, parent);
        let mut own_envelope = Envelope::default();
        loop {
            let (body_start, is_cut_off) = self.header_end(start);
            let index = self.parts.len();
            let (mut part, envelope) = self.read_header(start, body_start, parent);
            match parent {
                Parent::None => own_envelope = envelope,
                Parent::Message(owner) => {
                    self.parts[owner].content = Content::Message {
                        envelope: Box::new(envelope),
                        content: part_index(index),
                    };
                }
                Parent::Multipart(owner) => {
                    if let Content::Multipart(children) = &mut self.parts[owner].content {
                        children.push(part_index(index));
                    }
                }
            }
            let kind = self.kind(&mut part, is_cut_off);
            self.parts.push(part);
            match kind {
                Kind::Leaf => self.leaf = Some(index),
                Kind::Multipart(boundary) => {
                    self.parts[index].content = Content::Multipart(Vec::new());
                    self.open.push(Open {
                        part: index,
                        boundary: Some(boundary),
                    });
                }
                Kind::Message => {
                    self.open.push(Open {
                        part: index,
                        boundary: None,
                    });
                    (start, parent) = (body_start, Parent::Message(index));
                    continue;
                }
            }
            return (own_envelope, body_start);
        }
    }

    /// Where the header section that starts at `start` ends, its empty line included, and whether a boundary
    /// cuts it off, so that there is no body. If its first line is no field, there is no header section: some
    /// programs send mail so.
    fn header_end(&self, start: usize) -> (usize, bool) {
        let mut line = start;
        let mut has_field = false;
        while line < self.message.len() {
            let end = line_end(self.message, line);
            let octets = &self.message[line..end];
            if is_empty_line(octets) {
                return (end, false);
            }
            if self.delimiter_at(line).is_some() {
                return (before_line_end(self.message, line).max(start), true);
            }
            if !has_field {
                if colon(octets).is_some() {
                    has_field = true;
                } else if !octets.starts_with(b"From ") && !octets.starts_with(b">From ") {
                    return (start, false);
                }
            }
            line = end;
        }
        (line, false)
    }

    /// What a part is by its fields. A container that is not to be opened becomes an opaque leaf.
    fn kind(&mut self, part: &mut Part, is_cut_off: bool) -> Kind {
        let is_multipart = part.content_type.media_type.eq_ignore_ascii_case("multipart");
        let is_message = part.content_type.is("message", "rfc822");
        if !is_multipart && !is_message {
            return Kind::Leaf;
        }
        // One more for the content of the message.
        let has_room = self.open.len() < DEPTH_MAX && self.parts.len() + 1 < PARTS_MAX;
        let may_open = has_room && !is_cut_off;
        if may_open && is_message && is_identity(part.encoding.as_ref()) {
            return Kind::Message;
        }
        if may_open
            && is_multipart
            && let Some(boundary) = part.content_type.param("boundary")
            && let boundary = boundary.as_bytes().trim_ascii_end()
            && !boundary.is_empty()
        {
            return Kind::Multipart(boundary.to_vec());
        }
        self.is_cut |= !has_room;
        part.content_type = ContentType::opaque();
        Kind::Leaf
    }

    /// The next boundary of an open container in a line that starts at `from` or behind it.
    fn next_delimiter(&self, from: usize) -> Option<Delimiter> {
        if self.open.iter().all(|open| open.boundary.is_none()) {
            return None;
        }
        if let Some(delimiter) = self.delimiter_at(from) {
            return Some(delimiter);
        }
        let mut from = from;
        loop {
            let line = from + self.dashes.find(self.message.get(from..)?)? + 1;
            if let Some(delimiter) = self.delimiter_at(line) {
                return Some(delimiter);
            }
            from = line;
        }
    }

    /// ```text
    /// delimiter        :=  CRLF "--" boundary
    /// close-delimiter  :=  delimiter "--"
    /// ```
    ///
    /// White space behind it is passed over; anything else makes it another boundary (AS12: `a` and `aa`).
    fn delimiter_at(&self, line: usize) -> Option<Delimiter> {
        if !self.message.get(line..)?.starts_with(b"--") {
            return None;
        }
        let next_line = line_end(self.message, line);
        let content = self.message[line + 2..next_line].trim_ascii_end();
        let (container, is_close) = self.open.iter().enumerate().rev().find_map(|(place, open)| {
            let behind = content.strip_prefix(open.boundary.as_deref()?)?;
            match behind {
                b"" => Some((place, false)),
                b"--" => Some((place, true)),
                _ => None,
            }
        })?;
        Some(Delimiter {
            line,
            next_line,
            container,
            is_close,
        })
    }

    /// Ends what the delimiter ends and begins the part behind it. Gives the place to go on from.
    fn pass(&mut self, delimiter: &Delimiter) -> usize {
        self.end_above(
            delimiter.container + 1,
            before_line_end(self.message, delimiter.line),
        );
        let container = &mut self.open[delimiter.container];
        if delimiter.is_close {
            container.boundary = None;
        } else if self.parts.len() >= PARTS_MAX {
            container.boundary = None;
            self.is_cut = true;
        } else {
            let parent = Parent::Multipart(container.part);
            return self.begin(delimiter.next_line, parent).1;
        }
        delimiter.next_line
    }

    /// Says of the leaf and of all containers from `first` on that they end at `end`, innermost first. A part
    /// that begins behind it (two boundaries in a row share a line end) has no length, and is still inside
    /// of its containers.
    fn end_above(&mut self, first: usize, end: usize) {
        let containers = self.open.drain(first..).rev().map(|open| open.part);
        let mut end = offset(end);
        for part in self.leaf.take().into_iter().chain(containers) {
            let part = &mut self.parts[part];
            end = end.max(part.body_start);
            part.body_end = end;
        }
    }

    fn finish(mut self, octets: u32, envelope: Envelope) -> Structure {
        for part in &mut self.parts {
            if matches!(&part.content, Content::Multipart(children) if children.is_empty()) {
                part.content = Content::Leaf;
                part.content_type = ContentType::opaque();
            }
        }
        count_lines(self.message, &mut self.parts);
        let header = &self.message[self.parts[0].header_start as usize..self.parts[0].body_start as usize];
        let mut structure = Structure {
            octets,
            envelope,
            parts: self.parts,
            is_cut: self.is_cut,
            summary: None,
        };
        let mut summary = Summary::of_header(header);
        summary.preview = preview(self.message, &structure);
        if summary.octets() <= self.text_left {
            structure.summary = Some(summary);
        } else {
            structure.is_cut = true;
        }
        structure
    }
}

enum Kind {
    Leaf,
    Multipart(Vec<u8>),
    Message,
}

/// Counts the line feeds of all bodies in one pass, because bodies lie inside bodies.
fn count_lines(message: &[u8], parts: &mut [Part]) {
    let mut places: Vec<u32> = parts
        .iter()
        .flat_map(|part| [part.body_start, part.body_end])
        .collect();
    places.sort_unstable();
    places.dedup();
    let (mut lines, mut from) = (0_u32, 0_usize);
    let before: Vec<u32> = places
        .iter()
        .map(|&place| {
            let count = memchr::memchr_iter(b'\n', &message[from..place as usize]).count();
            lines += offset(count);
            from = place as usize;
            lines
        })
        .collect();
    let lines_before = |place: u32| before[places.binary_search(&place).expect("every place was collected")];
    for part in parts {
        part.body_lines = lines_before(part.body_end) - lines_before(part.body_start);
    }
}

// The fields of a header section

impl Scanner<'_> {
    /// The part with the header section `start..body_start`, as a leaf of no length yet, and its envelope if
    /// it is the content of a message.
    fn read_header(&mut self, start: usize, body_start: usize, parent: Parent) -> (Part, Envelope) {
        let message = self.message;
        let header = &message[start..body_start];
        let is_in_message = !matches!(parent, Parent::Multipart(_));
        let mut envelope = Envelope::default();
        let mut part = Part {
            header_start: offset(start),
            body_start: offset(body_start),
            body_end: offset(body_start),
            body_lines: 0,
            content_type: self.default_type(parent),
            encoding: None,
            id: None,
            description: None,
            md5: None,
            disposition: None,
            languages: Vec::new(),
            location: None,
            content: Content::Leaf,
            is_ambiguous: false,
        };
        // The first Content-Type and Content-Transfer-Encoding (AS14), and a set of the fields already seen.
        let (mut type_field, mut encoding_field) = (None, None);
        let mut seen = 0_u32;
        for field in fields(header) {
            let Some(name) = Name::of(field.name) else {
                continue;
            };
            let is_first = seen & 1 << name as u32 == 0;
            seen |= 1 << name as u32;
            let value = field.value;
            match name {
                Name::ContentType => {
                    part.is_ambiguous |= is_another(&mut type_field, value);
                    if is_first && let Some(parsed) = ContentType::parse(value) {
                        let boundaries = parsed
                            .params
                            .iter()
                            .filter(|param| param.name.eq_ignore_ascii_case("boundary"));
                        part.is_ambiguous |= boundaries.count() > 1;
                        if self.keep(parsed.octets()) {
                            part.content_type = parsed;
                        }
                    }
                }
                Name::Encoding => {
                    part.is_ambiguous |= is_another(&mut encoding_field, value);
                    if is_first {
                        part.encoding = parse_token(value).filter(|token| self.keep(token.len()));
                    }
                }
                _ if !is_first => {}
                Name::Disposition => {
                    part.disposition =
                        ContentType::parse_disposition(value).filter(|parsed| self.keep(parsed.octets()));
                }
                Name::Languages => {
                    let tags = parse_languages(value);
                    if self.keep(tags.iter().map(|tag| tag.len() + 1).sum()) {
                        part.languages = tags;
                    }
                }
                Name::Id => part.id = self.text(value),
                Name::Description => part.description = self.text(value),
                Name::Md5 => part.md5 = self.text(value),
                Name::Location => part.location = self.text(value),
                _ if !is_in_message => {}
                Name::Date => envelope.date = self.text(value),
                Name::Subject => envelope.subject = self.text(value),
                Name::From => envelope.from = self.addresses(value),
                Name::Sender => envelope.sender = self.addresses(value),
                Name::ReplyTo => envelope.reply_to = self.addresses(value),
                Name::To => envelope.to = self.addresses(value),
                Name::Cc => envelope.cc = self.addresses(value),
                Name::Bcc => envelope.bcc = self.addresses(value),
                Name::InReplyTo => envelope.in_reply_to = self.text(value),
                Name::MessageId => envelope.message_id = self.text(value),
            }
        }
        (part, envelope)
    }

    /// RFC 2045 §5.2; RFC 2046 §5.1.5: the parts of a digest are messages.
    fn default_type(&self, parent: Parent) -> ContentType {
        match parent {
            Parent::Multipart(owner) if self.parts[owner].content_type.is("multipart", "digest") => {
                ContentType::new("message", "rfc822")
            }
            _ => ContentType::plain_text(),
        }
    }

    fn text(&mut self, value: &[u8]) -> Option<Text> {
        let value = unfold(&value[..value.len().min(FIELD_OCTETS_MAX)]);
        self.keep(value.len()).then(|| Text::new(value))
    }

    fn addresses(&mut self, value: &[u8]) -> Vec<AddressItem> {
        let items = parse_addresses(value);
        if self.keep(items.iter().map(AddressItem::octets).sum()) {
            items
        } else {
            Vec::new()
        }
    }

    /// Whether so many octets of fields may still be kept.
    fn keep(&mut self, octets: usize) -> bool {
        let left = self.text_left.checked_sub(octets);
        self.is_cut |= left.is_none();
        self.text_left = left.unwrap_or(self.text_left);
        left.is_some()
    }
}

/// Remembers the first value and says whether this is another one. The first is trimmed once: it may be
/// megabytes of white space, and a million fields may be compared with it (AS11).
fn is_another<'a>(first: &mut Option<&'a [u8]>, value: &'a [u8]) -> bool {
    let value = value.trim_ascii();
    *first.get_or_insert(value) != value
}

/// The fields that a structure keeps.
#[derive(Clone, Copy)]
enum Name {
    ContentType,
    Encoding,
    Disposition,
    Languages,
    Id,
    Description,
    Md5,
    Location,
    Date,
    Subject,
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
    InReplyTo,
    MessageId,
}

impl Name {
    fn of(name: &[u8]) -> Option<Name> {
        const NAMES: [(&str, Name); 18] = [
            ("Content-Type", Name::ContentType),
            ("Content-Transfer-Encoding", Name::Encoding),
            ("Content-Disposition", Name::Disposition),
            ("Content-Language", Name::Languages),
            ("Content-ID", Name::Id),
            ("Content-Description", Name::Description),
            ("Content-MD5", Name::Md5),
            ("Content-Location", Name::Location),
            ("Date", Name::Date),
            ("Subject", Name::Subject),
            ("From", Name::From),
            ("Sender", Name::Sender),
            ("Reply-To", Name::ReplyTo),
            ("To", Name::To),
            ("Cc", Name::Cc),
            ("Bcc", Name::Bcc),
            ("In-Reply-To", Name::InReplyTo),
            ("Message-ID", Name::MessageId),
        ];
        let (_, found) = NAMES
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(*found)
    }
}

/// RFC 2045 §6.2: the encodings that change nothing. A message may have no other (RFC 2046 §5.2.1).
fn is_identity(encoding: Option<&Text>) -> bool {
    encoding.is_none_or(|encoding| {
        ["7bit", "8bit", "binary"]
            .iter()
            .any(|identity| encoding.eq_ignore_ascii_case(identity))
    })
}

/// The place before the line end that stands before `line`; it belongs to the boundary in that line.
fn before_line_end(message: &[u8], line: usize) -> usize {
    let before = &message[..line];
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

fn offset(place: usize) -> u32 {
    u32::try_from(place).expect("the scan keeps to the first 4 GiB")
}

fn part_index(index: usize) -> PartIndex {
    PartIndex(u16::try_from(index).expect("PARTS_MAX fits"))
}
