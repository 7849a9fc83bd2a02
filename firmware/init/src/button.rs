//! What the loop does about its buttons: power keys, and one on a line of the board.
//!
//! | the button | what it does |
//! | --- | --- |
//! | is pressed for a second (less than three) | the power goes off, when it is let go; or it says yes to the page that asks for a press; or nothing, for ten seconds after the page has stopped to ask |
//! | is held for five seconds (four to seven) | the network is reset, when it is let go: DHCP, and the name the box came with |
//! | is held for ten seconds, begun within the first minute | factory reset |
//! | is held for ten seconds, later | the power goes off |
//! | is let go between | nothing: whoever does that has changed their mind |

use board::linux::{GpioButton, PowerKey};
use board::{Button, Gesture, HELD_MS, Line, Phase};

use crate::mail::Press;
use crate::run::Machine;
use crate::shutdown::Goal;

/// A press that began before this can become a factory reset: whoever wants one has just switched the box on, and
/// whoever leans against a box that runs has not.
const RESET_WINDOW_MS: u64 = 60_000;

/// Everything on the box that can be pressed. However many there are, they are one button.
#[derive(Debug)]
pub(crate) struct Buttons {
    pub(crate) keys: Vec<PowerKey>,
    /// Where the board has a button on a line.
    place: Option<Line>,
    pub(crate) line: Option<GpioButton>,
    button: Button,
    /// The press that was warned of, by its begin.
    warned_ms: Option<u64>,
}

impl Buttons {
    /// None yet; a board may have one on a line.
    pub(crate) fn new(place: Option<Line>) -> Self {
        Self {
            keys: Vec::new(),
            place,
            line: None,
            button: Button::default(),
            warned_ms: None,
        }
    }

    /// Looks for those that appeared.
    pub(crate) fn find(&mut self) {
        for path in PowerKey::find() {
            if !self.keys.iter().any(|key| key.path() == path)
                && let Ok(key) = PowerKey::open(&path)
            {
                self.keys.push(key);
            }
        }
        if self.line.is_none() {
            self.line = self.place.and_then(|place| GpioButton::open(place).ok());
        }
    }

    fn key(&mut self, at: usize, now_ms: u64) -> Option<Gesture> {
        let key = self.keys.get_mut(at)?;
        key.read(&mut self.button, now_ms).unwrap_or_else(|_| {
            self.keys.remove(at);
            self.button.forget();
            None
        })
    }

    fn line(&mut self, now_ms: u64) -> Option<Gesture> {
        let line = self.line.as_mut()?;
        line.look(&mut self.button, now_ms).unwrap_or_else(|_| {
            self.line = None;
            self.button.forget();
            None
        })
    }

    /// Before what cannot be undone: a loop that comes late finds the key let go in time, and has not read that yet.
    fn last_look(&mut self, now_ms: u64) -> Option<Gesture> {
        let since_ms = self.button.held_since_ms()?;
        if now_ms < since_ms + HELD_MS {
            return None;
        }
        (0..self.keys.len())
            .rev()
            .fold(None, |gesture, at| self.key(at, now_ms).or(gesture))
    }

    /// Whether it is held, told once. A line that has just moved may have been let go: it has to settle first.
    fn held(&mut self, now_ms: u64) -> bool {
        self.line_deadline_ms().is_none() && self.button.tick(now_ms) == Some(Gesture::Held)
    }

    fn line_deadline_ms(&self) -> Option<u64> {
        self.line.as_ref().and_then(GpioButton::deadline_ms)
    }

    /// What letting go at this moment would mean.
    pub(crate) fn phase(&self, now_ms: u64) -> Option<Phase> {
        self.button.phase(now_ms)
    }

    /// Whether the press that is under way can become a factory reset.
    pub(crate) fn is_reset_near(&self) -> bool {
        self.button
            .held_since_ms()
            .is_some_and(|since_ms| since_ms < RESET_WINDOW_MS)
    }

    /// When [`Machine::tick_button`] is to be called.
    pub(crate) fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let line_ms = self.line_deadline_ms();
        let button_ms = self.button.deadline_ms(now_ms);
        // What waits for the line to settle is looked at then, and not over and over until then.
        let button_ms = button_ms.filter(|&due_ms| due_ms > now_ms || line_ms.is_none());
        button_ms.into_iter().chain(line_ms).min()
    }
}

impl Machine {
    /// Takes what a key says.
    pub(crate) fn key(&mut self, at: usize) {
        let now_ms = self.now_ms();
        self.with_button(now_ms, |buttons| buttons.key(at, now_ms));
    }

    /// Takes what the line says, and what is due.
    pub(crate) fn tick_button(&mut self, now_ms: u64) {
        self.with_button(now_ms, |buttons| buttons.line(now_ms));
        let is_near = self.buttons.phase(now_ms) == Some(Phase::Near) && self.buttons.is_reset_near();
        let since_ms = self.buttons.button.held_since_ms();
        if is_near && self.shutdown.is_none() && self.buttons.warned_ms != since_ms {
            self.buttons.warned_ms = since_ms;
            self.console.line(
                "The button is held: in three seconds the box is reset and all mail is gone. Let go to keep it.",
            );
        }
        self.with_button(now_ms, |buttons| buttons.last_look(now_ms));
        let is_reset_near = self.buttons.is_reset_near();
        if self.buttons.held(now_ms) {
            if is_reset_near {
                self.reset();
            } else {
                self.stop(Goal::PowerOff);
            }
        }
    }

    /// Does what the button has come to mean.
    fn with_button(&mut self, now_ms: u64, read: impl FnOnce(&mut Buttons) -> Option<Gesture>) {
        let warned_ms = self.buttons.warned_ms.filter(|_| self.shutdown.is_none());
        let was_near = warned_ms.is_some() && self.buttons.button.held_since_ms() == warned_ms;
        let gesture = read(&mut self.buttons);
        if was_near && self.buttons.button.held_since_ms().is_none() {
            self.console.line("The button was let go: nothing is reset.");
        }
        match gesture {
            // Whoever was asked to press it has not meant to switch the box off.
            Some(Gesture::Short) => match self.mail.press(now_ms) {
                Press::Answer => self.lamp.acknowledge(now_ms),
                Press::Late => self.console.line(
                    "The button was pressed when the page that had asked for it did so no more: nothing is done.",
                ),
                Press::Ordinary => self.stop(Goal::PowerOff),
            },
            Some(Gesture::Long) => self.reset_network(now_ms),
            Some(Gesture::Held) | None => {}
        }
    }

    /// AX8: whoever stands beside the box can make it reachable again, and changes nothing else by it.
    fn reset_network(&mut self, now_ms: u64) {
        if self.shutdown.is_some() {
            return;
        }
        self.lamp.acknowledge(now_ms);
        self.console.line(
            "The button was held for five seconds: the network is reset to DHCP and to the name the box came with.",
        );
        self.forget_settings();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::Write;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// The key goes down or comes up: `struct input_event` with `EV_KEY` and `KEY_POWER` of the kernel's headers.
    fn turn(device: &mut File, is_down: bool) {
        let mut event = vec![0; 2 * size_of::<usize>()];
        event.extend(1_u16.to_ne_bytes());
        event.extend(116_u16.to_ne_bytes());
        event.extend(i32::from(is_down).to_ne_bytes());
        device.write_all(&event).unwrap();
    }

    fn is_held(buttons: &mut Buttons, now_ms: u64) -> bool {
        assert_eq!(buttons.last_look(now_ms), None);
        buttons.held(now_ms)
    }

    #[test]
    fn a_key_that_was_let_go_resets_nothing_however_late_that_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event0");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut device = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut buttons = Buttons::new(None);
        buttons.keys.push(PowerKey::open(&path).unwrap());

        turn(&mut device, true);
        assert_eq!(buttons.key(0, 1000), None);
        assert!(buttons.is_reset_near());
        turn(&mut device, false);
        assert!(!is_held(&mut buttons, 1000 + HELD_MS));

        turn(&mut device, true);
        assert_eq!(buttons.key(0, 20_000), None);
        assert!(!is_held(&mut buttons, 20_000 + HELD_MS - 1));
        assert!(is_held(&mut buttons, 20_000 + HELD_MS));
        assert!(!is_held(&mut buttons, 20_000 + HELD_MS + 1));
    }
}
