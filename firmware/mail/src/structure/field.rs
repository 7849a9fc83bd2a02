//! A header section, field by field.

use std::ops::Range;

/// A field of a header section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, without the colon and without white space before it.
    pub name: &'a [u8],
    /// The octets behind the colon, up to the last line end of the field, folding included.
    pub value: &'a [u8],
    /// Where the field lies, name and last line end included.
    pub range: Range<usize>,
}

/// The fields of the header section that `octets` is, in order. Lines that are neither a field nor its
/// continuation are passed over, as is the empty line at the end.
///
/// ```text
/// field       =  field-name *WSP ":" *FWS unstructured CRLF
/// field-name  =  1*%d33-57 / %d59-126
/// ```
///
/// Source: RFC 5322 §2.2, §3.6.8, §4.5 (white space before the colon).
pub fn fields(octets: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        while start < octets.len() {
            let line = start;
            let first_end = line_end(octets, line);
            start = first_end;
            let Some(colon) = colon(&octets[line..first_end]) else {
                continue;
            };
            while matches!(octets.get(start), Some(b' ' | b'\t')) {
                start = line_end(octets, start);
            }
            return Some(Field {
                name: octets[line..line + colon].trim_ascii_end(),
                value: &octets[line + colon + 1..start],
                range: line..start,
            });
        }
        None
    })
}

/// The value of a field without folding, and without white space around it.
///
/// Source: RFC 5322 §2.2.3: a CRLF before white space is taken out, the white space stays. Other line
/// ends, which only malformed fields have, become a space: no ENVELOPE may carry one.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let value = value.trim_ascii();
    let mut unfolded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        unfolded.extend_from_slice(&rest[..at]);
        let ends = if rest[at..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[at + ends..];
        if !matches!(rest.first(), Some(b' ' | b'\t')) {
            unfolded.push(b' ');
        }
    }
    unfolded.extend_from_slice(rest);
    unfolded
}

/// Where the line that starts at `start` ends, its line feed included.
///
/// S10 leaves only CRLF in mail that came by SMTP. An APPEND may hold bare line feeds, and all programs
/// read them as line ends; taking them as anything else would be the ambiguity of AS14.
pub(super) fn line_end(octets: &[u8], start: usize) -> usize {
    memchr::memchr(b'\n', &octets[start..]).map_or(octets.len(), |at| start + at + 1)
}

/// Whether a line, its line end included, is empty.
pub(super) fn is_empty_line(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n")
}

/// The place of the colon, when the line starts a field.
pub(super) fn colon(line: &[u8]) -> Option<usize> {
    let name_len = line
        .iter()
        .take_while(|&&octet| octet.is_ascii_graphic() && octet != b':')
        .count();
    let blanks = line[name_len..]
        .iter()
        .take_while(|octet| matches!(octet, b' ' | b'\t'))
        .count();
    let colon = name_len + blanks;
    (name_len > 0 && line.get(colon) == Some(&b':')).then_some(colon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_with_their_folding() {
        let octets = b"Subject: a\r\n b\r\nnonsense\r\nX :y\r\nTo:z";
        let found: Vec<(&[u8], &[u8])> = fields(octets).map(|field| (field.name, field.value)).collect();
        assert_eq!(
            found,
            [
                (&b"Subject"[..], &b" a\r\n b\r\n"[..]),
                (b"X", b"y\r\n"),
                (b"To", b"z")
            ]
        );
        let ranges: Vec<Range<usize>> = fields(octets).map(|field| field.range).collect();
        assert_eq!(ranges, [0..16, 26..32, 32..36]);
    }

    #[test]
    fn unfolding_takes_the_line_end_and_leaves_the_space() {
        assert_eq!(unfold(b" a\r\n  b\r\n\tc\r\n"), b"a  b\tc");
        assert_eq!(unfold(b"a\nb\rc"), b"a b c");
        assert_eq!(unfold(b"\r\n"), b"");
    }
}
