//! What somebody means who presses the button: a pure state machine over presses, releases and the time.
//!
//! ```text
//!   released ──press──▶ pressed ──release before 5 s──▶ Short
//!                          │ └─────release later───────▶ nothing: whoever holds it and lets go has changed their mind
//!                          ▼
//!                       held for 10 s ─▶ Held, once; the release after it means nothing
//! ```

/// A press that is shorter is a short one.
const SHORT_MS_MAX: u64 = 5_000;
/// How long it is held for what cannot be undone.
pub const HELD_MS: u64 = 10_000;

/// What was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gesture {
    /// A press.
    Short,
    /// It has been held for [`HELD_MS`], and still is.
    Held,
}

/// The button.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Button {
    since_ms: Option<u64>,
    is_told: bool,
}

impl Button {
    /// It went down. Again without a release between: a key that repeats, and still the same press.
    pub fn press(&mut self, now_ms: u64) {
        if self.since_ms.is_none() {
            *self = Self {
                since_ms: Some(now_ms),
                is_told: false,
            };
        }
    }

    /// It came up.
    pub fn release(&mut self, now_ms: u64) -> Option<Gesture> {
        let since_ms = self.since_ms.take()?;
        let is_short = now_ms.saturating_sub(since_ms) < SHORT_MS_MAX;
        (is_short && !self.is_told).then_some(Gesture::Short)
    }

    /// It is gone, unplugged while it was held: nothing was meant.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The time has come this far.
    pub fn tick(&mut self, now_ms: u64) -> Option<Gesture> {
        let since_ms = self.since_ms?;
        let is_held = !self.is_told && now_ms.saturating_sub(since_ms) >= HELD_MS;
        self.is_told |= is_held;
        is_held.then_some(Gesture::Held)
    }

    /// Since when it is down, while that may still mean something.
    pub fn held_since_ms(&self) -> Option<u64> {
        self.since_ms.filter(|_| !self.is_told)
    }

    /// When [`tick`](Self::tick) is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.held_since_ms().map(|since_ms| since_ms + HELD_MS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_press_means_something_when_it_is_over() {
        let mut button = Button::default();
        button.press(100);
        assert_eq!(button.tick(200), None);
        assert_eq!(button.release(300), Some(Gesture::Short));
        assert_eq!(button.release(400), None);
    }

    #[test]
    fn ten_seconds_are_told_once_and_the_release_means_nothing() {
        let mut button = Button::default();
        button.press(1_000);
        assert_eq!(button.deadline_ms(), Some(11_000));
        assert_eq!(button.tick(10_999), None);
        assert_eq!(button.tick(11_000), Some(Gesture::Held));
        assert_eq!(button.tick(12_000), None);
        assert_eq!(button.deadline_ms(), None);
        assert_eq!(button.release(13_000), None);
    }

    #[test]
    fn whoever_lets_go_between_has_changed_their_mind() {
        let mut button = Button::default();
        button.press(0);
        assert_eq!(button.tick(7_000), None);
        assert_eq!(button.release(7_000), None);
        assert_eq!(button.tick(60_000), None);
    }

    #[test]
    fn a_key_that_repeats_is_one_press_and_one_that_is_gone_is_none() {
        let mut button = Button::default();
        button.press(0);
        button.press(9_000);
        assert_eq!(button.tick(10_000), Some(Gesture::Held));
        button.forget();
        button.press(20_000);
        button.forget();
        assert_eq!(button.tick(60_000), None);
        assert_eq!(button.release(60_001), None);
    }

    proptest! {
        /// However it is pressed: it is held only after ten seconds without a release.
        #[test]
        fn held_means_held(events in proptest::collection::vec((0..3_u8, 0..4_000_u64), 0..60)) {
            let (mut button, mut now_ms, mut since_ms) = (Button::default(), 0, None);
            for (event, later_ms) in events {
                now_ms += later_ms;
                let gesture = match event {
                    0 => { button.press(now_ms); since_ms = since_ms.or(Some(now_ms)); None }
                    1 => { let gesture = button.release(now_ms); since_ms = None; gesture }
                    _ => button.tick(now_ms),
                };
                if gesture == Some(Gesture::Held) {
                    prop_assert!(since_ms.is_some_and(|since_ms| now_ms - since_ms >= HELD_MS));
                }
            }
        }
    }
}
