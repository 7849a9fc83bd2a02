//! The serial console of a machine: everything it wrote, and waiting for a line.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;

const TAIL_LINES: usize = 25;

/// The console as it grows. Clones look at the same one; it stays readable after the machine has ended.
#[derive(Debug, Clone, Default)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    /// Octets of a character that was cut between two reads.
    unfinished: Vec<u8>,
    closed: bool,
}

impl Console {
    /// Everything written so far. Octets that are not UTF-8 appear as U+FFFD.
    pub fn text(&self) -> String {
        self.state().text.clone()
    }

    /// How much was written so far: a mark for [`wait_for_after`](Self::wait_for_after).
    pub fn mark(&self) -> usize {
        self.state().text.len()
    }

    /// Waits for `text` anywhere on the console, and gives the line it stands on, when that line is whole.
    ///
    /// # Errors
    /// [`Error::NotSeen`] after `within`, [`Error::Ended`] when the machine ends first.
    pub fn wait_for(&self, text: &str, within: Duration) -> Result<String, Error> {
        self.wait_for_after(0, text, within)
    }

    /// Like [`wait_for`](Self::wait_for), for what is written after a [`mark`](Self::mark).
    pub fn wait_for_after(&self, mark: usize, text: &str, within: Duration) -> Result<String, Error> {
        self.wait_for_next(&mut mark.clone(), text, within)
    }

    /// Like [`wait_for`](Self::wait_for), for the n-th line with `text`; the first is 1. A machine that starts anew
    /// writes the same lines again.
    pub fn wait_for_nth(&self, n: usize, text: &str, within: Duration) -> Result<String, Error> {
        let until = Instant::now() + within;
        let mut mark = 0;
        let mut line = String::new();
        for _ in 0..n {
            line = self.wait_for_next(&mut mark, text, until.saturating_duration_since(Instant::now()))?;
        }
        Ok(line)
    }

    /// Like [`wait_for_after`](Self::wait_for_after), and moves the mark behind the line that was found: the next call
    /// goes on from there, so that a sequence of lines is waited for in its order.
    pub fn wait_for_next(&self, mark: &mut usize, text: &str, within: Duration) -> Result<String, Error> {
        let until = Instant::now() + within;
        let mut state = self.state();
        loop {
            if let Some((line, end)) = whole_line_with(state.text.get(*mark..).unwrap_or_default(), text) {
                let line = line.to_owned();
                *mark += end;
                return Ok(line);
            }
            if state.closed {
                return Err(Error::Ended {
                    text: text.to_owned(),
                    tail: tail(&state.text),
                });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::NotSeen {
                    text: text.to_owned(),
                    within,
                    tail: tail(&state.text),
                });
            }
            state = self.wait(state, left);
        }
    }

    /// The last lines, for a report.
    pub fn tail(&self) -> String {
        tail(&self.state().text)
    }

    /// Waits until nothing can come any more, because the machine ended. `false` after `within`.
    pub(crate) fn wait_closed(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut state = self.state();
        while !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.wait(state, left);
        }
        true
    }

    /// Takes in all of `from`, to its end, and shows it on `copy` as it comes.
    pub(crate) fn take_in(&self, mut from: impl Read, mut copy: Option<impl Write>) {
        let mut octets = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut octets) {
            self.push(&octets[..count]);
            if let Some(copy) = &mut copy {
                // Whoever closed our output still gets a machine that runs.
                let _ = copy.write_all(&octets[..count]).and_then(|()| copy.flush());
            }
        }
        self.state().closed = true;
        self.shared.changed.notify_all();
    }

    fn push(&self, octets: &[u8]) {
        let mut state = self.state();
        let mut pending = std::mem::take(&mut state.unfinished);
        pending.extend_from_slice(octets);
        for chunk in pending.utf8_chunks() {
            state.text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            let cut = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            let is_last = pending.ends_with(invalid) && !invalid.is_empty() && cut;
            if is_last {
                state.unfinished = invalid.to_vec();
            } else if !invalid.is_empty() {
                state.text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.shared.changed.notify_all();
    }

    // A panic elsewhere leaves whole characters behind, so a poisoned lock is still a good console.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
        self.shared
            .changed
            .wait_timeout(state, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

/// The first finished line with `text` in it, without its line end, and where the next one begins.
fn whole_line_with<'a>(console: &'a str, text: &str) -> Option<(&'a str, usize)> {
    let mut end = 0;
    console
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| {
            end += line.len();
            (line.trim_end_matches(['\r', '\n']), end)
        })
        .find(|(line, _)| line.contains(text))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);
    const AT_ONCE: Duration = Duration::ZERO;

    fn console(text: &str) -> Console {
        let console = Console::default();
        console.push(text.as_bytes());
        console
    }

    #[test]
    fn the_whole_line_is_given() {
        let console = console("init: up\r\ninit: LISTENING 25 993\r\n");
        assert_eq!(
            console.wait_for("LISTENING", AT_ONCE).unwrap(),
            "init: LISTENING 25 993"
        );
    }

    #[test]
    fn a_line_counts_when_it_is_finished() {
        let console = console("LISTENING 2");
        assert!(matches!(
            console.wait_for("LISTENING", AT_ONCE),
            Err(Error::NotSeen { .. })
        ));
        console.push(b"5\n");
        assert_eq!(console.wait_for("LISTENING", AT_ONCE).unwrap(), "LISTENING 25");
    }

    #[test]
    fn waiting_ends_when_the_line_comes() {
        let console = console("");
        let writer = console.clone();
        let thread = std::thread::spawn(move || writer.take_in(&b"a\nb\nready\n"[..], None::<Vec<u8>>));
        assert_eq!(console.wait_for("ready", SOON).unwrap(), "ready");
        thread.join().unwrap();
    }

    #[test]
    fn waiting_ends_when_the_machine_ends() {
        let console = console("");
        let writer = console.clone();
        let thread = std::thread::spawn(move || writer.take_in(&b"panic\n"[..], None::<Vec<u8>>));
        let error = console.wait_for("ready", SOON).unwrap_err();
        assert!(matches!(error, Error::Ended { .. }), "{error}");
        assert!(error.to_string().ends_with("panic"));
        assert!(console.wait_closed(AT_ONCE));
        thread.join().unwrap();
    }

    #[test]
    fn only_what_came_after_the_mark_counts() {
        let console = console("ready 1\n");
        let mark = console.mark();
        assert!(console.wait_for_after(mark, "ready", AT_ONCE).is_err());
        console.push(b"ready 2\n");
        assert_eq!(console.wait_for_after(mark, "ready", AT_ONCE).unwrap(), "ready 2");
        assert_eq!(console.wait_for("ready", AT_ONCE).unwrap(), "ready 1");
    }

    #[test]
    fn the_nth_line_is_waited_for() {
        let console = console("boot 1\nup 1\nboot 2\n");
        assert_eq!(console.wait_for_nth(1, "boot", AT_ONCE).unwrap(), "boot 1");
        assert_eq!(console.wait_for_nth(2, "boot", AT_ONCE).unwrap(), "boot 2");
        assert!(console.wait_for_nth(2, "up", AT_ONCE).is_err());
        let writer = console.clone();
        let thread = std::thread::spawn(move || writer.push(b"up 2\n"));
        assert_eq!(console.wait_for_nth(2, "up", SOON).unwrap(), "up 2");
        thread.join().unwrap();
    }

    #[test]
    fn lines_are_waited_for_in_their_order() {
        let console = console("slot A\nslot B\nslot A\n");
        let mut mark = 0;
        assert_eq!(
            console.wait_for_next(&mut mark, "slot B", AT_ONCE).unwrap(),
            "slot B"
        );
        assert_eq!(
            console.wait_for_next(&mut mark, "slot A", AT_ONCE).unwrap(),
            "slot A"
        );
        assert!(console.wait_for_next(&mut mark, "slot", AT_ONCE).is_err());
        assert_eq!(mark, console.mark());
    }

    #[test]
    fn a_character_cut_between_two_reads_is_whole() {
        let text = "Poštolka běží\n".as_bytes();
        for cut in 0..=text.len() {
            let console = Console::default();
            console.push(&text[..cut]);
            console.push(&text[cut..]);
            assert_eq!(console.text(), "Poštolka běží\n", "cut at {cut}");
        }
    }

    #[test]
    fn line_noise_is_shown_and_nothing_behind_it_is_lost() {
        let console = Console::default();
        console.push(b"\xff\xfeok\n");
        assert_eq!(console.text(), "\u{fffd}\u{fffd}ok\n");
    }

    #[test]
    fn the_copy_shows_the_same_octets() {
        let console = Console::default();
        let mut copy = Vec::new();
        console.take_in(&b"\x1b[1mbold\xff"[..], Some(&mut copy));
        assert_eq!(copy, b"\x1b[1mbold\xff");
    }
}
