//! How the text of a message begins.

use super::{Content, Structure};
use crate::search_text::PartText;

/// Characters of a preview. RFC 8970 §3.1 suggests 200 and allows 256.
pub const PREVIEW_CHARS_MAX: usize = 200;
/// Octets of a part that are looked at. HTML mail may begin with pages of style sheets.
const LOOKED_AT_OCTETS_MAX: usize = 64 * 1024;

/// The beginning of the first part that is text and no attachment, with single spaces. Empty if there is none.
pub(super) fn preview(message: &[u8], structure: &Structure) -> String {
    let is_attached = |part: &super::Part| {
        let disposition = part.disposition.as_ref();
        disposition.is_some_and(|disposition| disposition.media_type.eq_ignore_ascii_case("attachment"))
    };
    // A message in the message is another one; its parts stand behind it, so that a look at those before is enough.
    let own = structure
        .parts
        .iter()
        .take_while(|part| !matches!(part.content, Content::Message { .. }));
    let mut texts = own.filter(|part| part.is_text() && !is_attached(part) && !part.is_ambiguous);
    let Some(part) = texts.next() else {
        return String::new();
    };
    let body = &message[part.body_start as usize..part.body_end as usize];
    let body = &body[..body.len().min(LOOKED_AT_OCTETS_MAX)];
    let mut text = String::new();
    PartText::new(part).feed(body, true, &mut text);
    let mut preview = String::new();
    let mut is_behind_space = true;
    for char in text
        .chars()
        .filter(|char| !matches!(char, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{feff}'))
    {
        let is_space = char.is_whitespace() || char.is_control();
        if !is_space {
            preview.push(char);
        } else if !is_behind_space {
            preview.push(' ');
        }
        is_behind_space = is_space;
    }
    let end = preview
        .char_indices()
        .nth(PREVIEW_CHARS_MAX)
        .map_or(preview.len(), |(at, _)| at);
    preview.truncate(end);
    preview.truncate(preview.trim_end().len());
    preview
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, expected: &str) {
        let structure = Structure::parse(message.as_bytes());
        let summary = structure.summary.as_ref().map(|summary| summary.preview.as_str());
        assert_eq!(summary, Some(expected), "{message}");
    }

    #[test]
    fn a_preview_is_how_the_first_text_begins() {
        check("Subject: a\r\n\r\n  Dobrý\r\n\r\n den \r\n", "Dobrý den");
        check(
            "Content-Type: text/html\r\n\r\n<style>x</style><p>Dobrý&nbsp;<b>d</b>en</p>",
            "Dobrý den",
        );
        check(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment\r\n\r\nfile\r\n--b\r\n\r\ntext\r\n--b--\r\n",
            "text",
        );
        check("Content-Type: image/png\r\n\r\nx", "");
        check("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx", "");
        check(&format!("\r\n{}", "č ".repeat(300)), "č ".repeat(100).trim_end());
    }
}
