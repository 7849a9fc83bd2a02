//! The name of an attachment.

use super::{ContentType, PARAMS_MAX, Part, decode_charset_named, decode_field};

impl Part {
    /// The name under which its sender attached the part: the `filename` of Content-Disposition, or else the `name` of
    /// Content-Type. It is text to show and to search, and never a path.
    ///
    /// Source: RFC 2183 §2.3, RFC 2231 §3, §4; RFC 2047 where it should not be, as is common.
    pub fn file_name(&self) -> Option<String> {
        let of_disposition = self
            .disposition
            .as_ref()
            .and_then(|fields| param_text(fields, "filename"));
        of_disposition.or_else(|| param_text(&self.content_type, "name"))
    }
}

/// The text of a parameter, put together from its pieces. The extended form counts before the plain one, which is there
/// for programs that do not know it (RFC 6266 §4.3).
fn param_text(fields: &ContentType, name: &str) -> Option<String> {
    let mut plain = None;
    // The pieces by their number, with whether they are percent-encoded (AS13: at most PARAMS_MAX, gaps end the value).
    let mut pieces: Vec<Option<(bool, &[u8])>> = Vec::new();
    for param in &fields.params {
        let key = param.name.as_bytes();
        let Some((start, behind)) = key.split_at_checked(name.len()) else {
            continue;
        };
        if !start.eq_ignore_ascii_case(name.as_bytes()) {
            continue;
        }
        let Some(behind) = behind.strip_prefix(b"*") else {
            if behind.is_empty() && plain.is_none() {
                plain = Some(decode_field(param.value.as_bytes()));
            }
            continue;
        };
        let (number, is_encoded) = match behind.strip_suffix(b"*") {
            Some(number) => (number, true),
            None => (behind, behind.is_empty()),
        };
        let number = if number.is_empty() {
            Some(0)
        } else {
            str::from_utf8(number)
                .ok()
                .and_then(|number| number.parse::<usize>().ok())
        };
        if let Some(number) = number.filter(|number| *number < PARAMS_MAX) {
            if pieces.len() <= number {
                pieces.resize(number + 1, None);
            }
            pieces[number].get_or_insert((is_encoded, param.value.as_bytes()));
        }
    }
    extended(&pieces).or(plain)
}

/// ```text
/// extended-initial-value  =  [charset] "'" [language] "'" extended-other-values
/// ```
fn extended(pieces: &[Option<(bool, &[u8])>]) -> Option<String> {
    let mut charset = &b"utf-8"[..];
    let mut octets = Vec::new();
    for (number, piece) in pieces.iter().map_while(|piece| *piece).enumerate() {
        let (is_encoded, mut value) = piece;
        if number == 0 && is_encoded {
            let mut quotes = memchr::memchr_iter(b'\'', value);
            if let (Some(one), Some(other)) = (quotes.next(), quotes.next()) {
                charset = &value[..one];
                value = &value[other + 1..];
            }
        }
        if is_encoded {
            percent_decode(value, &mut octets);
        } else {
            octets.extend_from_slice(value);
        }
    }
    (!octets.is_empty()).then(|| decode_charset_named(charset, &octets))
}

fn percent_decode(value: &[u8], into: &mut Vec<u8>) {
    let mut rest = value;
    while let Some((&octet, behind)) = rest.split_first() {
        rest = behind;
        let escaped = (octet == b'%')
            .then(|| behind.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        if let Some(escaped) = escaped {
            rest = &behind[2..];
            into.push(escaped);
        } else {
            into.push(octet);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Structure;

    fn check(fields: &str, expected: Option<&str>) {
        let structure = Structure::parse(format!("{fields}\r\n\r\n").as_bytes());
        assert_eq!(structure.root().file_name().as_deref(), expected, "{fields}");
    }

    #[test]
    fn a_name_is_read_in_each_way_it_is_written() {
        check("Content-Type: text/plain", None);
        check("Content-Type: text/plain; name=a.txt", Some("a.txt"));
        check(
            "Content-Type: a/b; name=a\r\nContent-Disposition: attachment; filename=\"b c.txt\"",
            Some("b c.txt"),
        );
        check("Content-Type: a/b; name=\"=?utf-8?Q?=C4=8Caj?=\"", Some("Čaj"));
        check(
            "Content-Disposition: attachment; filename=x; filename*=utf-8''%C4%8Caj.pdf",
            Some("Čaj.pdf"),
        );
        check(
            "Content-Disposition: attachment; filename*=windows-1250'cs'%C8aj",
            Some("Čaj"),
        );
        // RFC 2231 §4.1
        check(
            "Content-Type: a/b; name*0*=us-ascii'en'This%20is%20even%20more%20; name*1*=%2A%2A%2Afun%2A%2A%2A%20; name*2=\"isn't it!\"",
            Some("This is even more ***fun*** isn't it!"),
        );
    }

    /// AS13, AS15
    #[test]
    fn as13_gaps_and_cut_escapes_end_or_stay() {
        check("Content-Type: a/b; name*0=a; name*2=c", Some("a"));
        check("Content-Type: a/b; name*1=a; name=plain", Some("plain"));
        check("Content-Type: a/b; name*99999999999999999999999=a", None);
        check("Content-Type: a/b; name*0*=utf-8''a%4; name*0*=x", Some("a%4"));
        check("Content-Type: a/b; name*=%C4", Some("\u{fffd}"));
    }
}
