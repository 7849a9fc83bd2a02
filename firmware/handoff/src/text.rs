//! Short texts that cross a control socket. Each type can hold only what its reader may print or use.

use core::fmt;

use heapless::String;

use crate::codec::{DecodeError, Reader, Writer};

/// A text that does not fit its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextError;

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the text is too long or has a character that is not allowed here"
        )
    }
}

impl core::error::Error for TextError {}

/// One line for the console: at most 76 characters, four less than the 80 columns of the page: it is indented there.
pub type ConsoleLine = Printable<76>;

/// A sentence or two for people: three lines of the console.
pub type Sentence = Printable<240>;

/// A text of at most `N` printable ASCII characters, so that no escape sequence reaches a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printable<const N: usize>(String<N>);

impl<const N: usize> Printable<N> {
    /// The most it holds.
    pub const OCTETS_MAX: usize = N;

    /// The text, if it is printable ASCII and short enough.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if !text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            return Err(TextError);
        }
        String::try_from(text).map(Self).map_err(|_| TextError)
    }

    /// `text` made to fit: what is not printable ASCII becomes `?`, what is too long is cut and ends in `...`.
    pub fn lossy(text: &str) -> Self {
        Self(fitted(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` in printable ASCII, cut where there is no more room.
fn fitted<const OCTETS_MAX: usize>(text: &str) -> String<OCTETS_MAX> {
    let mut line = String::new();
    for character in text.chars() {
        let shown = if matches!(character, ' '..='~') {
            character
        } else {
            '?'
        };
        if line.push(shown).is_err() {
            line.truncate(OCTETS_MAX - 3);
            // The three octets were freed by the line above.
            let _ = line.push_str("...");
            break;
        }
    }
    line
}

/// The box's own name: labels of lower-case letters, digits and inner hyphens, joined by dots (RFC 1123 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String<{ HostName::OCTETS_MAX }>);

impl HostName {
    /// One less than Linux takes for a host name (`HOST_NAME_MAX`, 64), which is also the longest label.
    pub const OCTETS_MAX: usize = 63;

    /// The name, if it is one.
    pub fn new(name: &str) -> Result<Self, TextError> {
        let is_label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if !name.split('.').all(is_label) {
            return Err(TextError);
        }
        String::try_from(name).map(Self).map_err(|_| TextError)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a network interface (`eth0`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceName(String<{ InterfaceName::OCTETS_MAX }>);

impl InterfaceName {
    /// `IFNAMSIZ` less its NUL.
    pub const OCTETS_MAX: usize = 15;

    /// The name, if the kernel could have given it: not empty, printable ASCII, no `/` and no space.
    pub fn new(name: &str) -> Result<Self, TextError> {
        if name.is_empty()
            || !name
                .bytes()
                .all(|octet| matches!(octet, b'!'..=b'~') && octet != b'/')
        {
            return Err(TextError);
        }
        String::try_from(name).map(Self).map_err(|_| TextError)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One octet of length, then the text.
pub(crate) fn write(writer: &mut Writer, text: &str) {
    writer.length(text.len());
    writer.octets(text.as_bytes());
}

/// Reads a text and lets `new` judge it.
pub(crate) fn read<T>(
    reader: &mut Reader<'_>,
    name: &'static str,
    new: impl FnOnce(&str) -> Result<T, TextError>,
) -> Result<T, DecodeError> {
    let octets = reader.u8(name)?;
    let text = reader.slice(usize::from(octets), name)?;
    let text = core::str::from_utf8(text).map_err(|_| DecodeError::Field(name))?;
    new(text).map_err(|TextError| DecodeError::Field(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_console_line_holds_no_control_character() {
        assert_eq!(ConsoleLine::new("\x1b[2J"), Err(TextError));
        assert_eq!(ConsoleLine::new("Pošta"), Err(TextError));
        assert_eq!(ConsoleLine::lossy("Po\u{161}ta\x1b[2J\n").as_str(), "Po?ta?[2J?");
        assert_eq!(
            ConsoleLine::new("  2 mailboxes").unwrap().as_str(),
            "  2 mailboxes"
        );
    }

    #[test]
    fn a_long_console_line_is_cut_visibly() {
        let exact = "x".repeat(ConsoleLine::OCTETS_MAX);
        assert_eq!(ConsoleLine::lossy(&exact).as_str(), exact);
        let long = ConsoleLine::lossy(&"x".repeat(200));
        assert_eq!(long.as_str().len(), ConsoleLine::OCTETS_MAX);
        assert!(long.as_str().ends_with("xx..."));
        assert_eq!(ConsoleLine::new(&"x".repeat(77)), Err(TextError));
    }

    #[test]
    fn a_sentence_holds_no_control_character_and_is_cut_visibly() {
        assert_eq!(Sentence::new("\n"), Err(TextError));
        assert_eq!(Sentence::new(&"x".repeat(241)), Err(TextError));
        let long = Sentence::lossy(&"\u{161}".repeat(500));
        assert_eq!(long.as_str().len(), Sentence::OCTETS_MAX);
        assert!(long.as_str().ends_with("??..."));
    }

    #[test]
    fn a_host_name_is_labels_of_letters_digits_and_inner_hyphens() {
        for name in ["postolka", "mail.example.net", "a", "3com", "a--b.cz"] {
            assert_eq!(HostName::new(name).unwrap().as_str(), name);
        }
        let long = "a".repeat(64);
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "-a",
            "a-",
            "A",
            "a_b",
            "a b",
            "po\u{161}ta",
            long.as_str(),
        ] {
            assert_eq!(HostName::new(name), Err(TextError), "{name}");
        }
    }

    #[test]
    fn an_interface_name_is_a_path_component() {
        for name in ["eth0", "enp0s1", "usb-gadget.1"] {
            assert_eq!(InterfaceName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "a/b", "a b", "a\n", "0123456789abcdef"] {
            assert_eq!(InterfaceName::new(name), Err(TextError), "{name}");
        }
    }
}
