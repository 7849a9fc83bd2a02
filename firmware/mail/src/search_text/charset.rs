//! Charsets, decoded in pieces.

use crate::structure::{Part, names_utf7};
use mail_parser::decoders::charsets::Charset;

/// The decoder of a part's charset.
pub(super) enum CharsetText {
    /// A charset of single octets can be cut anywhere.
    SingleOctets(Charset),
    /// The others remember where in a character they are. mail-parser has these decoders from the same crate, and gives them whole
    /// bodies only.
    Stream(encoding_rs::Decoder),
}

impl CharsetText {
    pub(super) fn of(part: &Part) -> CharsetText {
        let label = part
            .content_type
            .param("charset")
            .map_or(&b"us-ascii"[..], |label| label.as_bytes());
        // UTF-7 (AS14) and what nobody knows are read as UTF-8; so is US-ASCII, which has no octets above 127 that could be
        // anything else.
        let is_ascii = label.eq_ignore_ascii_case(b"us-ascii");
        let charset = Charset::from_label(label).filter(|_| !is_ascii && !names_utf7(label));
        let encoding = encoding_rs::Encoding::for_label(label).filter(|encoding| !encoding.is_single_byte());
        match (charset, encoding) {
            (Some(Charset::Utf8) | None, _) => CharsetText::stream(encoding_rs::UTF_8),
            (Some(_), Some(encoding)) => CharsetText::stream(encoding),
            (Some(charset), None) => CharsetText::SingleOctets(charset),
        }
    }

    fn stream(encoding: &'static encoding_rs::Encoding) -> CharsetText {
        CharsetText::Stream(encoding.new_decoder())
    }

    pub(super) fn feed(&mut self, octets: &[u8], is_last: bool, into: &mut String) {
        match self {
            CharsetText::SingleOctets(charset) => charset.decode_append(octets, into),
            CharsetText::Stream(decoder) => {
                let octets_max = decoder
                    .max_utf8_buffer_length(octets.len())
                    .expect("a window is small");
                into.reserve(octets_max);
                // With so much room it never stops early.
                let _ = decoder.decode_to_string(octets, into, is_last);
            }
        }
    }
}

impl std::fmt::Debug for CharsetText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CharsetText::SingleOctets(_) => "SingleOctets",
            CharsetText::Stream(_) => "Stream",
        })
    }
}
