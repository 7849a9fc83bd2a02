//! What a process says, as it says it.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lines of one or more streams; clones look at the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    open_streams: usize,
}

impl Lines {
    /// Takes in a stream until it ends.
    pub(super) fn take_in(&self, stream: impl Read + Send + 'static) {
        self.change(|state| state.open_streams += 1);
        let lines = self.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).into_owned();
                lines.change(|state| state.text.push_str(&text));
                line.clear();
            }
            lines.change(|state| state.open_streams -= 1);
        });
    }

    /// Everything so far.
    pub(super) fn text(&self) -> String {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .text
            .clone()
    }

    /// How much was said so far; a mark for [`wait_for`](Self::wait_for).
    pub(super) fn mark(&self) -> usize {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .text
            .len()
    }

    /// Waits until a line behind `mark` is `wanted`, and gives what stands between. `None` when the streams end
    /// or the time is over before.
    pub(super) fn wait_for(&self, mark: usize, wanted: &str, within: Duration) -> Option<String> {
        self.wait(mark, within, |said| {
            let at = said.find(&format!("{wanted}\n"))?;
            Some(said[..at].to_owned())
        })
    }

    /// Waits until a whole line behind `mark` has `wanted` in it; gives that line, and the mark behind it. `None` as above.
    pub(super) fn wait_for_line(
        &self,
        mark: usize,
        wanted: &str,
        within: Duration,
    ) -> Option<(String, usize)> {
        self.wait(mark, within, |said| {
            let at = said.find(wanted)?;
            let start = said[..at].rfind('\n').map_or(0, |end| end + 1);
            let end = at + said[at..].find('\n')?;
            Some((said[start..end].trim().to_owned(), mark + end + 1))
        })
    }

    /// Waits until something is found in what was said behind `mark`.
    fn wait<T>(&self, mark: usize, within: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let until = Instant::now() + within;
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(state.text.get(mark..).unwrap_or_default()) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.open_streams == 0 {
                return None;
            }
            state = changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits until all streams have ended, for a report that is whole.
    pub(super) fn wait_ended(&self, within: Duration) {
        let until = Instant::now() + within;
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.open_streams > 0 && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            state = changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        // Text is whole lines at any moment, so a panic elsewhere leaves it readable.
        change(&mut self.shared.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.1.notify_all();
    }
}
