//! What the loop does about its buttons.
//!
//! | the button | what it does |
//! | --- | --- |
//! | is pressed for less than five seconds | the power goes off, when it is let go |
//! | is held for ten seconds, within the first minute | factory reset |
//! | is held for ten seconds, later | the power goes off |
//! | is let go between | nothing: whoever does that has changed their mind |

use board::linux::PowerKey;
use board::{Gesture, HELD_MS};

use crate::run::Machine;
use crate::shutdown::Goal;

/// A press that began before this can become a factory reset: whoever wants one has just switched the box on, and
/// whoever leans against a box that runs has not.
const RESET_WINDOW_MS: u64 = 60_000;
/// From here on it is no short press any more, and that is said.
const WARNING_MS: u64 = 5_000;

impl Machine {
    /// Looks for keys that were plugged in.
    pub(crate) fn find_keys(&mut self) {
        for path in PowerKey::find() {
            if !self.keys.iter().any(|key| key.path() == path)
                && let Ok(key) = PowerKey::open(&path)
            {
                self.keys.push(key);
            }
        }
    }

    /// Takes what a key says.
    pub(crate) fn key(&mut self, at: usize) {
        let now_ms = self.now_ms();
        let was_counting = self.is_counting();
        let Some(key) = self.keys.get_mut(at) else { return };
        match key.read(&mut self.button, now_ms) {
            Ok(Some(Gesture::Short)) => self.stop(Goal::PowerOff),
            Ok(_) => {
                if was_counting && self.button.held_since_ms().is_none() {
                    self.console.line("The button was let go: nothing is reset.");
                }
            }
            Err(_) => {
                self.keys.remove(at);
                self.button.forget();
            }
        }
    }

    /// Whether a factory reset comes nearer.
    pub(crate) fn is_counting(&self) -> bool {
        let since_ms = self.button.held_since_ms();
        self.shutdown.is_none() && since_ms.is_some_and(|since_ms| since_ms < RESET_WINDOW_MS)
    }

    pub(crate) fn tick_button(&mut self, now_ms: u64) {
        if let Some(since_ms) = self.button.held_since_ms()
            && self.is_counting()
            && now_ms >= since_ms + WARNING_MS
            && self.warned_ms != Some(since_ms)
        {
            self.warned_ms = Some(since_ms);
            self.console.line(
                "The button is held: in five seconds the box is reset and all mail is gone. Let go to keep it.",
            );
        }
        match self.button.tick(now_ms) {
            Some(Gesture::Held) if now_ms.saturating_sub(HELD_MS) < RESET_WINDOW_MS => self.reset(),
            Some(_) => self.stop(Goal::PowerOff),
            None => {}
        }
    }

    /// When [`Machine::tick_button`] is to be called.
    pub(crate) fn button_deadline_ms(&self) -> Option<u64> {
        let warning = self
            .button
            .held_since_ms()
            .filter(|since_ms| self.warned_ms != Some(*since_ms))
            .map(|since_ms| since_ms + WARNING_MS);
        let held = self.button.deadline_ms();
        warning.filter(|_| self.is_counting()).or(held)
    }

    /// The factory reset begins: the way down first, the rest at the next start.
    fn reset(&mut self) {
        if self.shutdown.is_some() {
            return;
        }
        if self.device.is_none() {
            self.console
                .line("The button was held, and there is no disk to be reset.");
            return;
        }
        self.console
            .line("The button was held: the box is reset. Everything on its disk is discarded.");
        self.stop(Goal::Reset);
    }
}
