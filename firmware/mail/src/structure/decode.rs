//! Fields and bodies as text, for search. The decoders are mail-parser's.

use super::{FIELD_OCTETS_MAX, Part};
use mail_parser::decoders::charsets::Charset;
use mail_parser::{Encoding, HeaderForm};

/// The value of an unstructured field as text: unfolded, encoded words decoded (RFC 2047). What is not
/// valid becomes U+FFFD.
pub fn decode_field(value: &[u8]) -> String {
    let value = &value[..value.len().min(FIELD_OCTETS_MAX)];
    if names_utf7(value) {
        return String::from_utf8_lossy(&super::unfold(value)).into_owned();
    }
    let parsed = HeaderForm::Text.parse(value);
    parsed.value().as_text().unwrap_or_default().to_owned()
}

/// The octets of a body without its transfer encoding.
pub fn decode_body(part: &Part, body: &[u8]) -> Vec<u8> {
    let is = |name| {
        part.encoding
            .as_ref()
            .is_some_and(|encoding| encoding.eq_ignore_ascii_case(name))
    };
    let encoding = if is("base64") {
        Encoding::Base64
    } else if is("quoted-printable") {
        Encoding::QuotedPrintable
    } else {
        Encoding::None
    };
    encoding.decode(body).into_owned()
}

/// Octets of a text part as text, by the charset that the part names.
pub fn decode_charset(part: &Part, octets: &[u8]) -> String {
    let label = part
        .content_type
        .param("charset")
        .map_or(&b"us-ascii"[..], |label| label.as_bytes());
    decode_charset_named(label, octets)
}

/// Octets as text, by the name of their charset; as UTF-8 if nobody knows it.
pub(crate) fn decode_charset_named(label: &[u8], octets: &[u8]) -> String {
    match Charset::from_label(label) {
        Some(charset) if !names_utf7(label) => charset.decode(octets).into_owned(),
        _ => String::from_utf8_lossy(octets).into_owned(),
    }
}

/// AS14: UTF-7 is never decoded; mail in it exists to get past filters.
pub(crate) fn names_utf7(octets: &[u8]) -> bool {
    let label = b"utf-7";
    octets
        .windows(label.len())
        .any(|window| window.eq_ignore_ascii_case(label))
        || octets
            .windows(11)
            .any(|window| window.eq_ignore_ascii_case(b"unicode11ut"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Structure;

    #[test]
    fn encoded_words_are_decoded() {
        assert_eq!(
            decode_field(b" =?utf-8?Q?=C4=8Caj?= a =?iso-8859-2?B?6A==?=\r\n"),
            "Čaj a č"
        );
        assert_eq!(decode_field(b" two\r\n lines\r\n"), "two lines");
    }

    /// AS14
    #[test]
    fn as14_utf7_is_never_decoded() {
        assert_eq!(decode_field(b"=?utf-7?Q?+ADw-?="), "=?utf-7?Q?+ADw-?=");
        let message = b"Content-Type: text/plain; charset=utf-7\r\n\r\n+ADw-";
        let structure = Structure::parse(message);
        assert_eq!(decode_charset(structure.root(), b"+ADw-"), "+ADw-");
    }

    /// AS15
    #[test]
    fn as15_text_cut_anywhere_is_still_text() {
        let whole = "=?utf-8?B?xIxhag==?= =?utf-8?Q?=C4=8Caj?= \u{10348}";
        for cut in 0..whole.len() {
            let _ = decode_field(&whole.as_bytes()[..cut]);
        }
        for (encoding, body) in [("quoted-printable", "a=C4=8C=\r\nb="), ("base64", "xIxhag==")] {
            let message = format!(
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            let structure = Structure::parse(message.as_bytes());
            for cut in 0..body.len() {
                let octets = decode_body(structure.root(), &body.as_bytes()[..cut]);
                let _ = decode_charset(structure.root(), &octets);
            }
        }
    }
}
