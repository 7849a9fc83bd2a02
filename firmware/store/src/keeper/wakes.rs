//! Waking the keeper, and telling it to end.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// A bell that the writer rings and the keeper hears.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_woken: bool,
    is_ending: bool,
}

impl Wakes {
    /// There may be something to do: a segment was sealed, or room is short.
    pub(crate) fn wake(&self) {
        if let Ok(mut state) = self.state.lock()
            && !std::mem::replace(&mut state.is_woken, true)
        {
            self.changed.notify_all();
        }
    }

    /// The store is being closed.
    pub(crate) fn end(&self) {
        if let Ok(mut state) = self.state.lock() {
            state.is_ending = true;
            self.changed.notify_all();
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.state.lock().map_or(true, |state| state.is_ending)
    }

    /// Waits to be woken, for `at_most` that long.
    pub(crate) fn wait(&self, at_most: Duration) {
        self.wait_while(at_most, |state| !state.is_ending && !state.is_woken);
        if let Ok(mut state) = self.state.lock() {
            state.is_woken = false;
        }
    }

    /// Rests, whoever rings; only the end of the store ends it.
    pub(crate) fn rest(&self, time: Duration) {
        self.wait_while(time, |state| !state.is_ending);
    }

    fn wait_while(&self, at_most: Duration, goes_on: impl Fn(&State) -> bool) {
        if let Ok(state) = self.state.lock() {
            let _ = self
                .changed
                .wait_timeout_while(state, at_most, |state| goes_on(state));
        }
    }
}
