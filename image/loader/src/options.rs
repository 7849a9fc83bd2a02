//! The kernel's command line as the firmware hands it over: UTF-16 with a zero behind it.

use core::fmt::{self, Write};

use format::header::COMMAND_LINE_OCTETS_MAX;
use format::line::Boot;
use heapless::Vec;

/// What [`Boot`] adds at most, with the zero at the end. A test looks.
const ADDED_UNITS_MAX: usize = 160;
const UNITS_MAX: usize = COMMAND_LINE_OCTETS_MAX + ADDED_UNITS_MAX;

/// A slot's own command line with what the loader adds to it.
pub(crate) struct LoadOptions(Vec<u16, UNITS_MAX>);

impl LoadOptions {
    /// `None` if the slot's is not printable ASCII: a kernel would read something else than what was signed.
    pub(crate) fn new(signed: &[u8], boot: &Boot) -> Option<Self> {
        let mut options = Self(Vec::new());
        for octet in signed {
            if !(b' '..=b'~').contains(octet) {
                return None;
            }
            options.0.push(u16::from(*octet)).ok()?;
        }
        write!(options, "{boot}\0").ok()?;
        Some(options)
    }

    /// With the zero.
    pub(crate) fn units(&self) -> &[u16] {
        &self.0
    }
}

impl Write for LoadOptions {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for unit in text.encode_utf16() {
            self.0.push(unit).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use format::boot::Attempt;
    use format::gpt::Guid;
    use format::{Board, Slot};

    use super::*;

    const BOOT: Boot = Boot {
        slot: Slot::B,
        attempt: Attempt::Trial(u8::MAX),
        disk: Guid::from_bytes([0xff; 16]),
        board: Board::Virt,
        loader: u32::MAX,
    };

    fn text(signed: &[u8]) -> Option<String> {
        LoadOptions::new(signed, &BOOT).map(|options| String::from_utf16_lossy(options.units()))
    }

    #[test]
    fn the_loaders_words_come_behind_the_signed_ones() {
        assert_eq!(text(b"quiet panic=3"), Some(format!("quiet panic=3{BOOT}\0")));
        assert_eq!(text(b""), Some(format!("{BOOT}\0")));
    }

    #[test]
    fn the_longest_command_line_has_room() {
        let signed = [b'x'; COMMAND_LINE_OCTETS_MAX];
        let length = text(&signed).map(|text| text.len());
        assert_eq!(length, Some(COMMAND_LINE_OCTETS_MAX + BOOT.to_string().len() + 1));
    }

    #[test]
    fn what_a_kernel_would_read_otherwise_is_refused() {
        for signed in [
            &b"quiet\0init=/x"[..],
            b"a\nb",
            "\u{161}".as_bytes(),
            &[0xff],
            b"\x7f",
        ] {
            assert_eq!(text(signed), None, "{signed:?}");
        }
    }
}
