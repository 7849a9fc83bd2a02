//! A console for a person's terminal: without escape sequences.
//!
//! The box writes none. Its firmware clears the screen, moves the cursor and has the terminal say where it is, and the
//! answer ends up in what the person types next.

use std::io::{self, Write};

/// Passes on everything but escape sequences (ECMA-48 §5.3, §5.4), however they are cut.
#[derive(Debug)]
pub(crate) struct Plain<W> {
    to: W,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    /// ESC was read: `ESC 7`, `ESC [ …`.
    Escape,
    /// `ESC (`: one more octet belongs to it.
    Intermediate,
    /// Parameters, up to an octet from `@` to `~`.
    Control,
}

const ESCAPE: u8 = 0x1b;

impl<W: Write> Plain<W> {
    pub(crate) fn new(to: W) -> Self {
        Self {
            to,
            state: State::Text,
        }
    }

    /// Whether the octet is to be shown.
    fn shows(&mut self, octet: u8) -> bool {
        let was = self.state;
        self.state = match (was, octet) {
            (_, ESCAPE) => State::Escape,
            (State::Escape, b'[') | (State::Control, b' '..=b'?') => State::Control,
            (State::Escape | State::Intermediate, b' '..=b'/') => State::Intermediate,
            // The last octet of a sequence; or a control character, which is no part of one and ends it unfinished.
            _ => State::Text,
        };
        octet != ESCAPE && (was == State::Text || octet < b' ')
    }
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let shown: Vec<u8> = octets
            .iter()
            .copied()
            .filter(|&octet| self.shows(octet))
            .collect();
        self.to.write_all(&shown)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The same whole and cut at every place.
    fn check(written: &[u8], shown: &[u8]) {
        for cut in 0..=written.len() {
            let mut plain = Plain::new(Vec::new());
            plain.write_all(&written[..cut]).unwrap();
            plain.write_all(&written[cut..]).unwrap();
            assert_eq!(plain.to, shown, "cut at {cut}");
        }
    }

    #[test]
    fn text_is_shown_as_it_is() {
        let page = "Poštolka 0.1.0\r\n  [ok] \u{8}\t~\n".as_bytes();
        check(page, page);
    }

    #[test]
    fn what_uboot_and_edk2_do_to_a_terminal_is_left_out() {
        check(b"a\x1b7\x1b[r\x1b[999;999H\x1b[6n\x1b8** Unable", b"a** Unable");
        check(b"\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: \x1b(Bx", b"BdsDxe: x");
    }

    #[test]
    fn a_broken_sequence_takes_no_line_with_it() {
        check(b"a\x1b[12\nline\n", b"a\nline\n");
        check(b"a\x1b\nline\n", b"a\nline\n");
        check(b"a\x1b\x1b[1mb", b"ab");
    }
}
