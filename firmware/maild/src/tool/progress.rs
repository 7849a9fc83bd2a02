//! How far something is: one line that is written over on a terminal, a line every ten seconds elsewhere.

use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

const ON_A_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Tells on standard error how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    verb: &'static str,
    octets: u64,
    octets_total: u64,
    messages: u64,
    started: Instant,
    told: Instant,
    is_terminal: bool,
    has_line: bool,
}

impl Progress {
    /// `verb` as in "exported 3 messages, 1.0 of 2.0 MiB".
    pub(super) fn new(verb: &'static str, octets_total: u64) -> Progress {
        let now = Instant::now();
        Progress {
            verb,
            octets: 0,
            octets_total,
            messages: 0,
            started: now,
            told: now,
            is_terminal: std::io::stderr().is_terminal(),
            has_line: false,
        }
    }

    /// So much more is done.
    pub(super) fn advance(&mut self, messages: u64, octets: u64) {
        self.messages += messages;
        self.set(self.octets + octets);
    }

    /// So many octets are done.
    pub(super) fn set(&mut self, octets: u64) {
        self.octets = octets;
        let pause = if self.is_terminal {
            ON_A_TERMINAL
        } else {
            ELSEWHERE
        };
        if self.told.elapsed() < pause {
            return;
        }
        self.told = Instant::now();
        let line = self.line(self.started.elapsed());
        let mut stderr = std::io::stderr().lock();
        // Nobody may be listening any more; the work goes on.
        let _ = if self.is_terminal {
            self.has_line = true;
            write!(stderr, "\r{line}\x1b[K")
        } else {
            writeln!(stderr, "{line}")
        };
    }

    /// Says a sentence; the line that is written over comes below it.
    pub(super) fn say(&mut self, sentence: &str) {
        self.clear();
        eprintln!("maild: {}", crate::log::printable(sentence));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.has_line) {
            eprint!("\r\x1b[K");
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let (verb, total) = (self.verb, self.octets_total);
        let octets = self.octets.min(total);
        let messages = match self.messages {
            0 => String::new(),
            1 => " 1 message,".to_owned(),
            many => format!(" {many} messages,"),
        };
        let left = match left(octets, total, elapsed) {
            Some(seconds) if seconds >= 120 => format!(", about {} minutes left", seconds.div_ceil(60)),
            Some(seconds) => format!(", about {seconds} s left"),
            None => String::new(),
        };
        format!("{verb}{messages} {} of {}{left}", size(octets), size(total))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Seconds left, when enough was done to tell.
fn left(octets: u64, total: u64, elapsed: Duration) -> Option<u64> {
    if octets == 0 || elapsed < Duration::from_secs(1) {
        return None;
    }
    let all = elapsed.as_millis() * u128::from(total) / u128::from(octets);
    u64::try_from(all.saturating_sub(elapsed.as_millis()).div_ceil(1000)).ok()
}

/// `1.5 MiB`.
pub(super) fn size(octets: u64) -> String {
    const UNITS: [&str; 4] = ["octets", "KiB", "MiB", "GiB"];
    let unit = usize::try_from(octets.max(1).ilog2() / 10)
        .unwrap_or(0)
        .min(UNITS.len() - 1);
    if unit == 0 {
        return format!("{octets} octets");
    }
    let tenths = (u128::from(octets) * 10) >> (10 * unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_messages_octets_and_what_is_left() {
        let mut progress = Progress::new("exported", 4 << 20);
        progress.octets = 1 << 20;
        assert_eq!(
            progress.line(Duration::from_millis(900)),
            "exported 1.0 MiB of 4.0 MiB"
        );
        progress.messages = 2;
        let line = progress.line(Duration::from_secs(2));
        assert_eq!(line, "exported 2 messages, 1.0 MiB of 4.0 MiB, about 6 s left");
        progress.octets = 9 << 20;
        assert!(
            progress
                .line(Duration::from_secs(2))
                .ends_with("4.0 MiB of 4.0 MiB, about 0 s left")
        );
        assert!(progress.line(Duration::MAX).contains("4.0 MiB"));
    }

    #[test]
    fn sizes_have_a_unit() {
        for (octets, text) in [
            (0, "0 octets"),
            (1023, "1023 octets"),
            (1536, "1.5 KiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(size(octets), text);
        }
    }
}
