//! What the loader adds to the kernel's command line, and init reads from it.

use core::fmt::{self, Write};

use gpt_disk_types::Guid;

use crate::board::Board;
use crate::boot::Attempt;
use crate::bootstate::Slot;

/// The version of the loader that is built with this crate. It counts up with what slots may ask of it
/// ([`Header::loader_min`](crate::Header::loader_min)).
pub const LOADER: u32 = 1;

/// How the box was started. Displays with a space in front, to be put behind a slot's own command line:
/// ` postolka.slot=a postolka.try=2 postolka.disk=… postolka.board=virt postolka.loader=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The slot that runs.
    pub slot: Slot,
    /// How it was started. `postolka.try` is absent for a good one and 0 for one that was not counted.
    pub attempt: Attempt,
    /// The disk it was read from.
    pub disk: Guid,
    /// The board that the loader is for.
    pub board: Board,
    /// The loader's version.
    pub loader: u32,
}

impl fmt::Display for Boot {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, " postolka.slot={}", Words(self.slot.letter()))?;
        match self.attempt {
            Attempt::Good => {}
            Attempt::Trial(number) => write!(to, " postolka.try={number}")?,
            Attempt::Uncounted => to.write_str(" postolka.try=0")?,
        }
        to.write_str(" postolka.disk=")?;
        // Letter by letter: the display of a Guid brings 2.5 KB into the loader.
        for letter in self.disk.to_ascii_hex_lower() {
            to.write_char(char::from(letter))?;
        }
        write!(
            to,
            " postolka.board={} postolka.loader={}",
            Words(self.board.name()),
            self.loader
        )
    }
}

/// Words as they are, for what the loader prints: the display of a `str` can also fill and cut, and brings a kilobyte for that
/// into the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words<'a>(pub &'a str);

impl fmt::Display for Words<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.0)
    }
}

impl Boot {
    /// Finds the words on a command line; the last of each counts, as the loader's come behind the slot's own. `None`
    /// if the box was not started from a slot, or a word is missing or is none of ours.
    pub fn of(line: &str) -> Option<Self> {
        let attempt = match word(line, "postolka.try") {
            None => Attempt::Good,
            Some("0") => Attempt::Uncounted,
            Some(number) => Attempt::Trial(number.parse().ok()?),
        };
        let letter = word(line, "postolka.slot")?;
        Some(Self {
            slot: Slot::ALL.into_iter().find(|slot| slot.letter() == letter)?,
            attempt,
            disk: word(line, "postolka.disk")?.parse().ok()?,
            board: Board::named(word(line, "postolka.board")?)?,
            loader: word(line, "postolka.loader")?.parse().ok()?,
        })
    }
}

/// The value of the last `name=value` on a command line.
pub fn word<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_ascii_whitespace()
        .rev()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn what_the_loader_says_init_reads() {
        for slot in Slot::ALL {
            for board in Board::ALL {
                for attempt in [
                    Attempt::Good,
                    Attempt::Trial(1),
                    Attempt::Trial(3),
                    Attempt::Uncounted,
                ] {
                    let boot = Boot {
                        slot,
                        attempt,
                        disk: Guid::from_bytes([7; 16]),
                        board,
                        loader: LOADER,
                    };
                    assert_eq!(Boot::of(&format!("quiet panic=3{boot}")), Some(boot));
                }
            }
        }
    }

    #[test]
    fn a_slots_own_words_do_not_pass_for_the_loaders() {
        let line = "postolka.slot=b postolka.loader=9 postolka.slot=a postolka.disk=07070707-0707-0707-0707-070707070707 \
                    postolka.board=virt postolka.loader=1";
        let boot = Boot::of(line);
        assert_eq!(boot.map(|boot| (boot.slot, boot.loader)), Some((Slot::A, 1)));
    }

    #[test]
    fn a_box_started_otherwise_has_none() {
        for line in [
            "",
            "quiet",
            "postolka.slot=c postolka.disk=x",
            "postolka.slot=a postolka.board=virt postolka.loader=1",
            "postolka.slot=a postolka.try=x postolka.disk=07070707-0707-0707-0707-070707070707 postolka.board=virt postolka.loader=1",
        ] {
            assert_eq!(Boot::of(line), None, "{line}");
        }
    }
}
