//! One line that says what is being done and how far it is: rewritten in place on a terminal, a line every few
//! seconds elsewhere (a build server's log).

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const TERMINAL_EVERY: Duration = Duration::from_millis(200);
const LOG_EVERY: Duration = Duration::from_secs(20);

pub(crate) struct Progress {
    what: String,
    started: Instant,
    shown: Option<Instant>,
    on_terminal: bool,
}

impl Progress {
    /// Starts a line such as `kernel 6.12.117: compiling`.
    pub(crate) fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            started: Instant::now(),
            shown: None,
            on_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Says how far it is. Calling it often costs nothing; it shows itself now and then.
    pub(crate) fn at(&mut self, done: usize, expected: usize) {
        let every = if self.on_terminal {
            TERMINAL_EVERY
        } else {
            LOG_EVERY
        };
        if self.shown.is_some_and(|shown| shown.elapsed() < every) {
            return;
        }
        self.shown = Some(Instant::now());
        let line = line(&self.what, done, expected, self.started.elapsed());
        self.show(&line);
    }

    /// Ends the line with the time it took.
    pub(crate) fn done(self) {
        let line = format!("{}: done in {}", self.what, spoken(self.started.elapsed()));
        self.show(&line);
        if self.on_terminal {
            eprintln!();
        }
    }

    // A terminal that is gone is no reason to stop building, hence the ignored results.
    fn show(&self, line: &str) {
        let mut out = std::io::stderr().lock();
        let _ = if self.on_terminal {
            write!(out, "\r\x1b[K{line}")
        } else {
            writeln!(out, "{line}")
        };
        let _ = out.flush();
    }
}

fn line(what: &str, done: usize, expected: usize, elapsed: Duration) -> String {
    // The number expected is from an earlier build; a newer source may have a few more.
    let percent = (done.saturating_mul(100) / expected.max(1)).min(99);
    format!(
        "{what}: {percent} % ({done} of about {} steps, {})",
        expected.max(done),
        spoken(elapsed)
    )
}

/// `42 s`, `3 min 05 s`.
pub(crate) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_how_far_and_since_when() {
        assert_eq!(
            line("kernel", 50, 200, Duration::from_secs(65)),
            "kernel: 25 % (50 of about 200 steps, 1 min 05 s)"
        );
    }

    #[test]
    fn more_steps_than_expected_never_read_as_more_than_all() {
        assert_eq!(
            line("kernel", 250, 200, Duration::from_secs(9)),
            "kernel: 99 % (250 of about 250 steps, 9 s)"
        );
        assert_eq!(
            line("kernel", 0, 0, Duration::ZERO),
            "kernel: 0 % (0 of about 0 steps, 0 s)"
        );
    }
}
