//! The log: one line an event, bounded, without control characters; on standard error, in memory and on the disk.
//!
//! No line has a secret (D41): what could hold one is a `Secret`, which prints as `[redacted]`, and no request, form,
//! header, command line or message is ever given to it as a whole.
//!
//! Whatever a peer sends may end up in a line. It must not move a terminal's cursor, break a line in two
//! or hide text (AW16), nor make a line without end.

mod keeper;
mod syslog;

pub(crate) use keeper::{Keeper, read};
pub(crate) use syslog::{Sending, Target};

use std::io::{self, Write};
use tracing::Level;
use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// The longest line, in octets.
const LINE_OCTETS_MAX: usize = 1000;

/// Starts logging events of `level` and worse. In the box, where init writes the console, without the time.
pub(crate) fn start(level: Level, has_time: bool) -> Keeper {
    let keeper = Keeper::default();
    let kept = keeper.clone();
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_writer(move || Lines {
            has_time,
            keeper: kept.clone(),
        })
        .init();
    // A panic ends its session, or the process where the store says so. Its text may hold what a peer
    // sent, so it takes the same way as everything else.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or_default();
        tracing::error!(place, text, "a panic: this is a fault of maild");
    }));
    keeper
}

/// Takes one event with each write, and makes one line of it.
struct Lines {
    has_time: bool,
    keeper: Keeper,
}

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = printable(&String::from_utf8_lossy(event));
        let mut time = String::new();
        // Writing to a String cannot fail.
        let _ = SystemTime.format_time(&mut format::Writer::new(&mut time));
        let line = if self.has_time {
            format!("{time} {text}\n")
        } else {
            format!("{text}\n")
        };
        let kept = text.trim_start().to_owned();
        let is_error = kept.starts_with("ERROR");
        self.keeper.keep(time, kept, is_error);
        // Nobody reads: that must stop no mail.
        let _ = io::stderr().write_all(line.as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `text` on one line: control characters and those that change the direction of text are escaped, and
/// what is too long is cut.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::new();
    for character in text.trim_end().chars() {
        if line.len() > LINE_OCTETS_MAX {
            line.push_str("...");
            break;
        }
        let is_hidden = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if character.is_control() || is_hidden {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AW16
    #[test]
    fn aw16_control_characters_are_escaped() {
        assert_eq!(
            printable("helo=\x1b]0;x\x07\r\nINFO forged\n"),
            "helo=\\u{1b}]0;x\\u{7}\\r\\nINFO forged"
        );
        assert_eq!(printable("a\u{202e}b\u{9b}c"), "a\\u{202e}b\\u{9b}c");
        assert_eq!(printable("příliš žluťoučký"), "příliš žluťoučký");
    }

    #[test]
    fn a_long_line_is_cut_visibly() {
        let line = printable(&"x".repeat(100_000));
        assert!(
            line.len() < LINE_OCTETS_MAX + 10 && line.ends_with("x..."),
            "{}",
            line.len()
        );
    }
}
