//! The format mbox, as mboxrd writes it, in pieces of any size.
//!
//! ```text
//! From SENDER Tue Nov 24 09:00:00 2026      one line before each message, by the clock of UTC
//! Status: RO                                R: seen
//! X-Status: AF                              A: answered, F: flagged, D: deleted, T: draft
//! X-Keywords: work $Label1
//! Subject: …
//!
//! >From here on                             "From ", and "From " behind any number of ">", gets one ">" more
//!                                           an empty line behind each message
//! ```
//!
//! Source: RFC 4155, and qmail's mbox(5) for the quoting. `Content-Length` is not believed.

use super::lines::ToLf;
use mail::{Flags, InternalDate, Keyword, SystemFlags};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `Tue Nov 24 09:00:00 2026`, in UTC.
fn asctime(date: InternalDate) -> String {
    // "Tue, 24 Nov 2026 09:00:00 +0000"
    let text = InternalDate::utc(date.timestamp()).rfc5322().to_string();
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    match words[..] {
        [weekday, day, month, year, time, _] => format!("{weekday} {month} {day:>2} {time} {year}"),
        _ => "Thu Jan  1 00:00:00 1970".to_owned(),
    }
}

/// The date at the end of a line, with or without a zone.
fn from_asctime(line: &str) -> Option<InternalDate> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let at = words.iter().rposition(|word| MONTHS.contains(word))?;
    let (day, time, year, zone) = match words[at + 1..] {
        [day, time, year, zone] if zone.starts_with(['+', '-']) => (day, time, year, zone),
        [day, time, zone, year] if zone.starts_with(['+', '-']) => (day, time, year, zone),
        [day, time, year] | [day, time, _, year] => (day, time, year, "+0000"),
        _ => return None,
    };
    // Old programs leave the seconds out.
    let seconds = if time.len() == 5 { ":00" } else { "" };
    InternalDate::parse(&format!("{day:>2}-{}-{year} {time}{seconds} {zone}", words[at])).ok()
}

/// A message on its way into an mbox. LF ends its lines.
pub(super) struct Quoting {
    lines: ToLf,
    /// What there is of the line so far, if it may yet turn out to be one that is quoted.
    start: Option<Vec<u8>>,
    ends_line: bool,
}

impl Quoting {
    /// Writes what stands before a message.
    pub(super) fn begin(sender: &str, date: InternalDate, flags: &Flags, into: &mut Vec<u8>) -> Quoting {
        let is_plain = !sender.is_empty() && sender.bytes().all(|octet| octet.is_ascii_graphic());
        let sender = if is_plain { sender } else { "MAILER-DAEMON" };
        into.extend(format!("From {sender} {}\n", asctime(date)).bytes());
        let has = |flag| flags.system.contains(flag);
        into.extend_from_slice(if has(SystemFlags::SEEN) {
            b"Status: RO\n"
        } else {
            b"Status: O\n"
        });
        let letters: String = STATUS
            .iter()
            .filter(|(_, flag)| has(*flag))
            .map(|(letter, _)| char::from(*letter))
            .collect();
        if !letters.is_empty() {
            into.extend(format!("X-Status: {letters}\n").bytes());
        }
        if !flags.keywords.is_empty() {
            let keywords: Vec<&str> = flags.keywords.iter().map(Keyword::as_str).collect();
            into.extend(format!("X-Keywords: {}\n", keywords.join(" ")).bytes());
        }
        Quoting {
            lines: ToLf::default(),
            start: Some(Vec::new()),
            ends_line: true,
        }
    }

    pub(super) fn push(&mut self, octets: &[u8], into: &mut Vec<u8>) {
        let mut plain = Vec::with_capacity(octets.len());
        self.lines.push(octets, &mut plain);
        self.quote(&plain, into);
    }

    pub(super) fn end(mut self, into: &mut Vec<u8>) {
        let mut plain = Vec::new();
        self.lines.end(&mut plain);
        self.quote(&plain, into);
        into.extend(self.start.take().unwrap_or_default());
        into.extend_from_slice(if self.ends_line { b"\n" } else { b"\n\n" });
    }

    fn quote(&mut self, octets: &[u8], into: &mut Vec<u8>) {
        for &octet in octets {
            self.ends_line = octet == b'\n';
            match &mut self.start {
                Some(start) => {
                    start.push(octet);
                    match from_line(start) {
                        FromLine::Maybe => continue,
                        FromLine::Yes => into.push(b'>'),
                        FromLine::No => {}
                    }
                    into.append(start);
                    self.start = None;
                }
                None => into.push(octet),
            }
            if octet == b'\n' {
                self.start = Some(Vec::new());
            }
        }
        // A line of nothing but ">" is no reason to hold more and more of it: it is written as it is told.
        if let Some(start) = self.start.as_mut().filter(|start| start.len() > QUOTES_MAX) {
            into.append(start);
            self.start = None;
        }
    }
}

/// More `>` than anybody quotes.
const QUOTES_MAX: usize = 4096;

enum FromLine {
    Yes,
    No,
    Maybe,
}

/// Whether a line that begins so is `From ` behind any number of `>`.
fn from_line(start: &[u8]) -> FromLine {
    let word = &start[start.iter().take_while(|octet| **octet == b'>').count()..];
    if word.starts_with(b"From ") {
        FromLine::Yes
    } else if b"From ".starts_with(word) {
        FromLine::Maybe
    } else {
        FromLine::No
    }
}

const STATUS: [(u8, SystemFlags); 4] = [
    (b'A', SystemFlags::ANSWERED),
    (b'F', SystemFlags::FLAGGED),
    (b'D', SystemFlags::DELETED),
    (b'T', SystemFlags::DRAFT),
];

/// Fields that programs write for themselves into an mbox; they are no part of the message.
const OWN_FIELDS: [&[u8]; 6] = [
    b"status",
    b"x-status",
    b"x-keywords",
    b"x-uid",
    b"x-imap",
    b"x-imapbase",
];

/// Longer lines come in pieces of this many octets.
pub(super) const PIECE_OCTETS: usize = 64 * 1024;

/// What comes out of an mbox that is read.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// A message begins; its line told this date.
    Begins(Option<InternalDate>),
    /// Octets of it.
    Octets(Vec<u8>),
    /// It is over, and had these flags.
    Ends(Flags),
}

/// An mbox that is read, line by line.
#[derive(Debug, Default)]
pub(super) struct Reading {
    state: Place,
    flags: Flags,
    /// The line before was empty: it stands before a separator, or is part of the message.
    blank: Option<Vec<u8>>,
    /// This piece goes on with a line, which is passed over or kept as its beginning was.
    inside: Option<bool>,
    /// The own field that is being read, with its continuation lines passed over.
    in_own_field: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Header,
    Body,
}

impl Reading {
    /// Takes a line with its end, or a piece of one that is longer than [`PIECE_OCTETS`].
    ///
    /// # Errors
    /// The file does not begin as an mbox does.
    pub(super) fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), NotAnMbox> {
        let ends = line.ends_with(b"\n");
        if let Some(is_kept) = self.inside {
            if is_kept {
                events.push(Event::Octets(line.to_vec()));
            }
            self.inside = (!ends).then_some(is_kept);
            return Ok(());
        }
        let is_separator =
            line.starts_with(b"From ") && (self.state == Place::Before || self.blank.is_some());
        if is_separator {
            self.end(events);
            let text = String::from_utf8_lossy(&line[..line.len().min(1000)]);
            events.push(Event::Begins(from_asctime(&text)));
            self.state = Place::Header;
            self.inside = (!ends).then_some(false);
            return Ok(());
        }
        let is_blank = matches!(line, b"\n" | b"\r\n");
        if self.state == Place::Before {
            // Some programs leave an empty line at the beginning.
            return if is_blank { Ok(()) } else { Err(NotAnMbox) };
        }
        if let Some(blank) = self.blank.take() {
            events.push(Event::Octets(blank));
        }
        if self.state == Place::Header {
            let is_continued = line.starts_with(b" ") || line.starts_with(b"\t");
            let is_passed_over = if is_continued {
                self.in_own_field
            } else {
                self.own_field(line)
            };
            self.in_own_field = is_passed_over;
            if is_passed_over {
                self.inside = (!ends).then_some(false);
                return Ok(());
            }
            if is_blank {
                self.state = Place::Body;
            }
        }
        if is_blank {
            self.blank = Some(line.to_vec());
            return Ok(());
        }
        let quotes = line.iter().take_while(|octet| **octet == b'>').count();
        let is_quoted = quotes > 0 && line[quotes..].starts_with(b"From ");
        events.push(Event::Octets(line[usize::from(is_quoted)..].to_vec()));
        self.inside = (!ends).then_some(true);
        Ok(())
    }

    /// The file is over.
    pub(super) fn end(&mut self, events: &mut Vec<Event>) {
        if self.state == Place::Before {
            return;
        }
        // The empty line behind a message is the format's.
        events.push(Event::Ends(std::mem::take(&mut self.flags)));
        *self = Reading::default();
    }

    /// Reads a field that a program wrote for itself; says whether it is one.
    fn own_field(&mut self, line: &[u8]) -> bool {
        let Some(colon) = line.iter().position(|octet| *octet == b':') else {
            return false;
        };
        let (name, value) = (line[..colon].to_ascii_lowercase(), &line[colon + 1..]);
        if !OWN_FIELDS.contains(&name.as_slice()) {
            return false;
        }
        let system = &mut self.flags.system;
        match name.as_slice() {
            b"status" if value.contains(&b'R') => *system = system.with(SystemFlags::SEEN),
            b"x-status" => {
                let set = STATUS.iter().filter(|(letter, _)| value.contains(letter));
                *system = set.fold(*system, |system, (_, flag)| system.with(*flag));
            }
            b"x-keywords" => {
                let text = String::from_utf8_lossy(value);
                let keywords = text.split_ascii_whitespace().flat_map(Keyword::parse);
                self.flags.keywords.extend(keywords);
            }
            _ => {}
        }
        true
    }
}

/// A file that is no mbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not begin with \"From \", so it is no mbox")]
pub(super) struct NotAnMbox;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mail::Timestamp;

    type Found = (Option<InternalDate>, Vec<u8>, Flags);

    /// Reads in lines of at most `piece` octets, as the importer does.
    fn read(file: &[u8], piece: usize) -> Result<Vec<Found>, NotAnMbox> {
        let (mut reading, mut events) = (Reading::default(), Vec::new());
        for line in file.split_inclusive(|octet| *octet == b'\n') {
            for piece in line.chunks(piece) {
                reading.line(piece, &mut events)?;
            }
        }
        reading.end(&mut events);
        let (mut messages, mut date, mut octets) = (Vec::new(), None, Vec::new());
        for event in events {
            match event {
                Event::Begins(told) => date = told,
                Event::Octets(more) => octets.extend(more),
                Event::Ends(flags) => messages.push((date.take(), std::mem::take(&mut octets), flags)),
            }
        }
        Ok(messages)
    }

    fn written(message: &[u8], date: InternalDate, flags: &Flags, piece: usize) -> Vec<u8> {
        let mut file = Vec::new();
        let mut quoting = Quoting::begin("eva@firma.test", date, flags, &mut file);
        for piece in message.chunks(piece) {
            quoting.push(piece, &mut file);
        }
        quoting.end(&mut file);
        file
    }

    fn date() -> InternalDate {
        InternalDate::utc(Timestamp(1_795_510_800))
    }

    #[test]
    fn a_message_is_quoted_as_mboxrd_has_it() {
        let mut flags = Flags::system(SystemFlags::SEEN.with(SystemFlags::FLAGGED));
        flags.keywords.insert(Keyword::parse("work").unwrap());
        let message = b"Subject: x\r\n\r\nFrom here\r\n>From there\r\n> From\r\nFrom\r\n>>From \r\nFro";
        let expected = "From eva@firma.test Tue Nov 24 09:00:00 2026\nStatus: RO\nX-Status: F\nX-Keywords: work\n\
             Subject: x\n\n>From here\n>>From there\n> From\nFrom\n>>>From \nFro\n\n";
        for piece in 1..message.len() {
            let file = written(message, date(), &flags, piece);
            assert_eq!(String::from_utf8_lossy(&file), expected, "{piece}");
        }
        let read = read(expected.as_bytes(), 1000).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].0, &read[0].2), (Some(date()), &flags));
        assert_eq!(
            String::from_utf8_lossy(&read[0].1),
            String::from_utf8_lossy(message).replace("\r\n", "\n") + "\n"
        );
    }

    #[test]
    fn messages_come_back_from_a_file_of_several() {
        let messages: [&[u8]; 5] = [
            b"Subject: no body\r\n",
            b"Subject: empty body\r\n\r\n",
            b"Subject: blank ends\r\n\r\n\r\nx\r\n\r\n\r\n",
            b"\r\nno header\r\n\r\nFrom me\r\n",
            b"X: y\r\nStatus-of-it: good\r\n\r\nStatus: kept in a body\r\n",
        ];
        let mut file = Vec::new();
        for message in messages {
            file.extend(written(message, date(), &Flags::default(), 7));
        }
        let found = read(&file, PIECE_OCTETS).unwrap();
        assert_eq!(found.len(), messages.len());
        for (found, message) in found.iter().zip(messages) {
            let lf = String::from_utf8_lossy(message).replace("\r\n", "\n");
            assert_eq!(String::from_utf8_lossy(&found.1), lf);
        }
    }

    #[test]
    fn what_other_programs_write_is_read() {
        let file = b"\nFrom a@b Tue Nov 24 09:00:00 +0100 2026\nSTATUS: O\nX-UID: 7\n folded\nSubject: x\n y\n\ntext\nFrom inside\n\
            \nFrom c Tue Nov 24 09:00 CET 2026 remote from d\nSubject: z\n\n\nFrom \n\nbody only";
        let found = read(file, PIECE_OCTETS).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].0.unwrap().timestamp().0, date().timestamp().0 - 3600);
        assert_eq!(found[0].1, b"Subject: x\n y\n\ntext\nFrom inside\n");
        assert_eq!((found[1].0, found[2].0), (None, None));
        assert_eq!(found[1].1, b"Subject: z\n\n");
        assert_eq!(found[2].1, b"\nbody only");
        assert_eq!(read(b"Subject: x\n\nno mbox\n", 10), Err(NotAnMbox));
        assert_eq!(read(b"", 10), Ok(Vec::new()));
    }

    #[test]
    fn dates_are_read_however_the_zone_stands() {
        for line in [
            "From x Tue Nov 24 09:00:00 2026",
            "From x Tue Nov 24 10:00:00 +0100 2026",
            "From x Tue Nov 24 10:00:00 2026 +0100\n",
            "From Nov Tue Nov 24 09:00 2026",
        ] {
            let read = from_asctime(line).map(InternalDate::timestamp);
            assert_eq!(read, Some(date().timestamp()), "{line}");
        }
        for line in [
            "From x",
            "From x Nov",
            "From x Tue Nov 31 09:00:00 2026",
            "From x Nov \u{e9} \u{e9}\u{e9} 1",
        ] {
            assert_eq!(from_asctime(line), None, "{line}");
        }
    }

    #[test]
    fn random_octets_are_read_without_a_panic_and_come_back() {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 40).unwrap()
        };
        let words: [&[u8]; 10] = [
            b"From ",
            b">",
            b"\n",
            b"\r\n",
            b"Status: R",
            b" ",
            b"x",
            b":",
            b"\xff",
            b"X-Keywords: a",
        ];
        for round in 0..10_000 {
            let mut octets = Vec::new();
            for _ in 0..random() % 30 {
                octets.extend_from_slice(words[random() % words.len()]);
            }
            let _ = read(&octets, 1 + random() % 9);
            // Behind a header section nothing is taken out, so whole lines come back.
            let message = [b"S: x\n\n", &octets[..], b"\n"].concat();
            let file = written(&message, date(), &Flags::default(), 1 + random() % 9);
            let found = read(&file, PIECE_OCTETS).unwrap();
            assert_eq!(found.len(), 1, "round {round}");
            let lf: Vec<u8> = String::from_utf8_lossy(&message)
                .replace("\r\n", "\n")
                .into_bytes();
            assert_eq!(
                String::from_utf8_lossy(&found[0].1).as_bytes(),
                lf,
                "round {round}"
            );
        }
    }
}
