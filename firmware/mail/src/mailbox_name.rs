//! Names of mailboxes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a mailbox: Unicode, levels separated by `/`. `INBOX` as the first level is the same in
/// any case and kept in upper case (RFC 9051 §5.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxName(String);

/// Why a text is not the name of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailboxNameError {
    /// Nothing, or a level with nothing in it.
    #[error("a mailbox name has no empty level")]
    EmptyLevel,
    /// Longer than the longest name.
    #[error(
        "a mailbox name has at most {} octets and {} levels",
        MailboxName::OCTETS_MAX,
        MailboxName::LEVELS_MAX
    )]
    TooLong,
    /// A control character, a line separator, or a wildcard of LIST.
    #[error("a mailbox name has no control characters and no % or *")]
    Character,
    /// Not modified UTF-7.
    #[error("the mailbox name is not well-formed modified UTF-7")]
    NotUtf7,
}

/// What separates the levels of a name.
const SEPARATOR: char = '/';

impl MailboxName {
    /// The longest name, in octets of UTF-8.
    pub const OCTETS_MAX: usize = 1000;
    /// The most levels of a name.
    pub const LEVELS_MAX: usize = 20;

    /// The mailbox that every account has.
    pub fn inbox() -> MailboxName {
        MailboxName("INBOX".to_owned())
    }

    /// Checks a name given in UTF-8.
    ///
    /// Names are compared octet by octet after this; the box does not normalise Unicode, so that a
    /// client finds its mailbox under the name it gave.
    pub fn parse(text: &str) -> Result<MailboxName, MailboxNameError> {
        if text.len() > MailboxName::OCTETS_MAX || text.split(SEPARATOR).count() > MailboxName::LEVELS_MAX {
            return Err(MailboxNameError::TooLong);
        }
        if text.split(SEPARATOR).any(str::is_empty) {
            return Err(MailboxNameError::EmptyLevel);
        }
        // RFC 9051 §5.1 (Net-Unicode, RFC 5198): no control characters, no U+2028 and U+2029.
        let is_forbidden = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '%' | '*');
        if text.chars().any(is_forbidden) {
            return Err(MailboxNameError::Character);
        }
        let (first, rest) = text.split_at(text.find(SEPARATOR).unwrap_or(text.len()));
        if first.eq_ignore_ascii_case("INBOX") {
            return Ok(MailboxName(format!("INBOX{rest}")));
        }
        Ok(MailboxName(text.to_owned()))
    }

    /// Checks a name given in modified UTF-7 (RFC 3501 §5.1.3), as clients without UTF8=ACCEPT and
    /// IMAP4rev2 write it.
    pub fn parse_utf7(text: &str) -> Result<MailboxName, MailboxNameError> {
        MailboxName::parse(&decode_utf7(text).ok_or(MailboxNameError::NotUtf7)?)
    }

    /// The name in UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in modified UTF-7 (RFC 3501 §5.1.3).
    pub fn to_utf7(&self) -> String {
        encode_utf7(&self.0)
    }

    /// The name of the level above, if there is one.
    pub fn parent(&self) -> Option<MailboxName> {
        let (parent, _) = self.0.rsplit_once(SEPARATOR)?;
        Some(MailboxName(parent.to_owned()))
    }

    /// Whether this is INBOX itself.
    pub fn is_inbox(&self) -> bool {
        self.0 == "INBOX"
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The alphabet of base64 with `,` for `/` (RFC 3501 §5.1.3).
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

fn encode_utf7(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if is_direct(c) {
            encoded.push_str(if c == '&' { "&-" } else { &rest[..1] });
            rest = &rest[1..];
            continue;
        }
        let (shifted, behind) = rest.split_at(rest.find(is_direct).unwrap_or(rest.len()));
        encoded.push('&');
        encode_base64(shifted, &mut encoded);
        encoded.push('-');
        rest = behind;
    }
    encoded
}

/// Octets that stand for themselves: printable US-ASCII; `&` has its own form.
fn is_direct(c: char) -> bool {
    matches!(c, ' '..='~')
}

fn encode_base64(text: &str, encoded: &mut String) {
    let (mut bits, mut count) = (0_u32, 0);
    for unit in text.encode_utf16() {
        bits = bits << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            encoded.push(char::from(BASE64[(bits >> count & 63) as usize]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        encoded.push(char::from(BASE64[(bits << (6 - count) & 63) as usize]));
    }
}

/// Decodes modified UTF-7; `None` when it is not what [`encode_utf7`] would write. One name has one
/// spelling, else two clients could see two mailboxes.
fn decode_utf7(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !is_direct(c) {
            return None;
        }
        rest = &rest[1..];
        if c != '&' {
            decoded.push(c);
            continue;
        }
        let (shifted, behind) = rest.split_once('-')?;
        rest = behind;
        if shifted.is_empty() {
            decoded.push('&');
        } else {
            decode_base64(shifted, &mut decoded)?;
        }
    }
    (encode_utf7(&decoded) == text).then_some(decoded)
}

fn decode_base64(shifted: &str, decoded: &mut String) -> Option<()> {
    let (mut bits, mut count) = (0_u32, 0);
    let mut units = Vec::new();
    for octet in shifted.bytes() {
        let value = BASE64.iter().position(|&known| known == octet)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push(u16::try_from(bits >> count & 0xffff).ok()?);
        }
        bits &= (1 << count) - 1;
    }
    for c in char::decode_utf16(units) {
        decoded.push(c.ok()?);
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 3501 §5.1.3 gives these names.
    #[test]
    fn the_names_of_the_standard_are_read() {
        let name = MailboxName::parse_utf7("~peter/mail/&U,BTFw-/&ZeVnLIqe-").unwrap();
        assert_eq!(name.as_str(), "~peter/mail/台北/日本語");
        assert_eq!(name.to_utf7(), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(MailboxName::parse_utf7("&Jjo!"), Err(MailboxNameError::NotUtf7));
        // The superfluous shift in "&U,BTFw-&ZeVnLIqe-" is refused there too.
        assert_eq!(
            MailboxName::parse_utf7("&U,BTFw-&ZeVnLIqe-"),
            Err(MailboxNameError::NotUtf7)
        );
    }

    #[test]
    fn inbox_is_the_same_in_any_case() {
        assert!(MailboxName::parse("inBox").unwrap().is_inbox());
        assert_eq!(MailboxName::parse("inbox/Účty").unwrap().as_str(), "INBOX/Účty");
        assert_eq!(MailboxName::parse("inboxes").unwrap().as_str(), "inboxes");
    }

    /// AI4
    #[test]
    fn ai4_names_that_are_none_are_refused() {
        let deep = vec!["a"; 500].join("/");
        for (text, error) in [
            ("", MailboxNameError::EmptyLevel),
            ("/a", MailboxNameError::EmptyLevel),
            ("a//b", MailboxNameError::EmptyLevel),
            ("a/", MailboxNameError::EmptyLevel),
            ("a\0b", MailboxNameError::Character),
            ("a\r\nb", MailboxNameError::Character),
            ("a*", MailboxNameError::Character),
            (&deep, MailboxNameError::TooLong),
        ] {
            assert_eq!(MailboxName::parse(text), Err(error), "{text:?}");
        }
        // A name is no path: dots are characters like others.
        assert!(MailboxName::parse("../../x").is_ok());
    }

    proptest! {
        #[test]
        fn what_is_encoded_can_be_decoded(text in "[a-z&/ é中😀-]{1,20}") {
            prop_assert_eq!(decode_utf7(&encode_utf7(&text)), Some(text));
        }

        #[test]
        fn no_octets_panic(text in "\\PC{0,40}") {
            let _ = MailboxName::parse_utf7(&text);
            let _ = MailboxName::parse(&text);
        }
    }
}
