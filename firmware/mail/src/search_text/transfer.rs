//! Transfer encodings, decoded in pieces.

use crate::structure::Part;
use mail_parser::Encoding;

/// Deviation: base64 is put together here, four characters at a time. mail-parser decodes a whole body at once, and a body may
/// have 50 MB.
#[derive(Debug)]
pub(super) enum Transfer {
    Identity,
    /// The characters of a group that is not complete.
    Base64 {
        group: Vec<u8>,
    },
    /// What may be the beginning of an escape.
    QuotedPrintable {
        rest: Vec<u8>,
    },
}

impl Transfer {
    pub(super) fn of(part: &Part) -> Transfer {
        let is = |name| {
            part.encoding
                .as_ref()
                .is_some_and(|encoding| encoding.eq_ignore_ascii_case(name))
        };
        if is("base64") {
            Transfer::Base64 { group: Vec::new() }
        } else if is("quoted-printable") {
            Transfer::QuotedPrintable { rest: Vec::new() }
        } else {
            Transfer::Identity
        }
    }

    pub(super) fn feed(&mut self, octets: &[u8], is_last: bool, into: &mut Vec<u8>) {
        match self {
            Transfer::Identity => into.extend_from_slice(octets),
            Transfer::Base64 { group } => base64(group, octets, is_last, into),
            Transfer::QuotedPrintable { rest } => {
                rest.extend_from_slice(octets);
                let end = if is_last { rest.len() } else { safe_end(rest) };
                let behind = rest.split_off(end);
                into.extend_from_slice(&Encoding::QuotedPrintable.decode(rest));
                *rest = behind;
            }
        }
    }
}

/// RFC 2045 §6.8: what is not of the alphabet is passed over. Padding ends a group, wherever it comes; some programs put
/// encoded pieces one behind the other.
fn base64(group: &mut Vec<u8>, octets: &[u8], is_last: bool, into: &mut Vec<u8>) {
    for octet in octets {
        let digit = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                flush(group, into);
                continue;
            }
            _ => continue,
        };
        group.push(digit);
        if group.len() == 4 {
            flush(group, into);
        }
    }
    if is_last {
        flush(group, into);
    }
}

fn flush(group: &mut Vec<u8>, into: &mut Vec<u8>) {
    let number = (0..4).fold(0_u32, |number, place| {
        number << 6 | u32::from(group.get(place).copied().unwrap_or(0))
    });
    let octets = group.len().saturating_sub(1);
    into.extend_from_slice(&number.to_be_bytes()[1..=octets]);
    group.clear();
}

/// Where a piece of quoted-printable can be cut: behind a line, or before what may be an escape or the white space at the
/// end of a line. A line without an end is cut all the same (AS15).
fn safe_end(octets: &[u8]) -> usize {
    if let Some(line) = memchr::memrchr(b'\n', octets) {
        return line + 1;
    }
    let tail = octets.len().saturating_sub(2);
    memchr::memrchr(b'=', &octets[tail..]).map_or(octets.len(), |at| tail + at)
}
