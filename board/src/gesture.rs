//! What somebody means who presses the button: a pure state machine over presses, releases and the time.
//!
//! | let go after | means | the LED shows meanwhile ([`Button::phase`]) |
//! | --- | --- | --- |
//! | less than 3 s | [`Gesture::Short`] | [`Phase::Short`] |
//! | 3 s to 4 s | nothing | [`Phase::Between`] |
//! | 4 s to 7 s | [`Gesture::Long`] | [`Phase::Long`] |
//! | 7 s to 10 s | nothing | [`Phase::Near`] |
//! | (still held after 10 s) | [`Gesture::Held`], once, at that moment | nothing any more |
//!
//! Between any two gestures lies a second at least in which letting go means nothing: whoever is not sure of having
//! counted right loses nothing by it. The last of them is the longest, because what it leads to cannot be undone.

/// A press that is shorter is a short one.
const SHORT_MS_MAX: u64 = 3_000;
/// A long one lasts from here …
const LONG_MS_MIN: u64 = 4_000;
/// … to here.
const LONG_MS_MAX: u64 = 7_000;
/// How long it is held for what cannot be undone.
pub const HELD_MS: u64 = 10_000;
/// How long [`Phase::Near`] lasts.
pub const NEAR_MS: u64 = HELD_MS - LONG_MS_MAX;

/// What was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gesture {
    /// A press.
    Short,
    /// Five seconds, or about that.
    Long,
    /// It has been held for [`HELD_MS`], and still is.
    Held,
}

/// What letting go at this moment would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// [`Gesture::Short`].
    Short,
    /// Nothing: it is too long for the one and too short for the other.
    Between,
    /// [`Gesture::Long`].
    Long,
    /// Nothing; but [`Gesture::Held`] comes nearer.
    Near,
}

/// Where the phases end.
const ENDS_MS: [u64; 4] = [SHORT_MS_MAX, LONG_MS_MIN, LONG_MS_MAX, HELD_MS];

impl Phase {
    fn after(held_ms: u64) -> Self {
        match held_ms {
            0..SHORT_MS_MAX => Self::Short,
            SHORT_MS_MAX..LONG_MS_MIN => Self::Between,
            LONG_MS_MIN..LONG_MS_MAX => Self::Long,
            LONG_MS_MAX.. => Self::Near,
        }
    }
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
        let phase = self.phase(now_ms);
        *self = Self::default();
        match phase? {
            Phase::Short => Some(Gesture::Short),
            Phase::Long => Some(Gesture::Long),
            Phase::Between | Phase::Near => None,
        }
    }

    /// It is gone, unplugged while it was held: nothing was meant.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The time has come this far.
    pub fn tick(&mut self, now_ms: u64) -> Option<Gesture> {
        let since_ms = self.held_since_ms()?;
        self.is_told = now_ms.saturating_sub(since_ms) >= HELD_MS;
        self.is_told.then_some(Gesture::Held)
    }

    /// Since when it is down, while that may still mean something.
    pub fn held_since_ms(&self) -> Option<u64> {
        self.since_ms.filter(|_| !self.is_told)
    }

    /// What letting go now would mean; nothing, if it is not down or has been told to be held.
    pub fn phase(&self, now_ms: u64) -> Option<Phase> {
        let since_ms = self.held_since_ms()?;
        Some(Phase::after(now_ms.saturating_sub(since_ms)))
    }

    /// When the phase changes, and [`tick`](Self::tick) is due. In the past, if that was not called in time.
    pub fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let since_ms = self.held_since_ms()?;
        let ends_ms = ENDS_MS.map(|end_ms| since_ms + end_ms);
        let next_ms = ends_ms.into_iter().find(|&end_ms| end_ms > now_ms);
        Some(next_ms.unwrap_or(since_ms + HELD_MS))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pressed at 1000 and let go `held_ms` later, with a tick at each time that the button asks for.
    fn check(held_ms: u64, expected: Option<Gesture>) {
        let (mut button, mut now_ms, until_ms) = (Button::default(), 1_000, 1_000 + held_ms);
        button.press(now_ms);
        let mut told = None;
        while let Some(due_ms) = button.deadline_ms(now_ms).filter(|&due_ms| due_ms <= until_ms) {
            now_ms = due_ms;
            told = button.tick(now_ms);
        }
        assert_eq!(told.or(button.release(until_ms)), expected, "{held_ms} ms");
        assert_eq!(button, Button::default());
        assert_eq!(button.release(until_ms + 1), None);
    }

    #[test]
    fn there_are_three_gestures_with_gaps_between() {
        for (from_ms, to_ms, gesture) in [
            (0, 2_999, Some(Gesture::Short)),
            (3_000, 3_999, None),
            (4_000, 6_999, Some(Gesture::Long)),
            (7_000, 9_999, None),
            (10_000, 100_000, Some(Gesture::Held)),
        ] {
            check(from_ms, gesture);
            check(to_ms, gesture);
        }
        // One second, five and ten are what people are told.
        check(1_000, Some(Gesture::Short));
        check(5_000, Some(Gesture::Long));
        check(10_000, Some(Gesture::Held));
    }

    #[test]
    fn what_letting_go_would_mean_is_known_before() {
        let mut button = Button::default();
        assert_eq!((button.phase(50), button.deadline_ms(50)), (None, None));
        button.press(100);
        for (now_ms, phase, due_ms) in [
            (100, Phase::Short, 3_100),
            (3_099, Phase::Short, 3_100),
            (3_100, Phase::Between, 4_100),
            (4_100, Phase::Long, 7_100),
            (7_100, Phase::Near, 10_100),
            (10_099, Phase::Near, 10_100),
        ] {
            assert_eq!(button.phase(now_ms), Some(phase));
            assert_eq!(button.deadline_ms(now_ms), Some(due_ms));
            assert_eq!(button.tick(now_ms), None);
        }
        assert_eq!(button.tick(10_100), Some(Gesture::Held));
        assert_eq!((button.phase(10_100), button.deadline_ms(10_100)), (None, None));
    }

    #[test]
    fn ten_seconds_are_told_once_and_the_release_means_nothing() {
        let mut button = Button::default();
        button.press(1_000);
        // The loop was late.
        assert_eq!(button.deadline_ms(11_500), Some(11_000));
        assert_eq!(button.tick(11_500), Some(Gesture::Held));
        assert_eq!(button.tick(12_000), None);
        assert_eq!(button.release(13_000), None);
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
        /// However it is pressed: a gesture is told only for a press that has lasted as long as it takes.
        #[test]
        fn a_gesture_has_its_time(events in proptest::collection::vec((0..3_u8, 0..4_000_u64), 0..60)) {
            let (mut button, mut now_ms, mut since_ms) = (Button::default(), 0, None);
            for (event, later_ms) in events {
                now_ms += later_ms;
                let began_ms = since_ms;
                let gesture = match event {
                    0 => { button.press(now_ms); since_ms = since_ms.or(Some(now_ms)); None }
                    1 => { let gesture = button.release(now_ms); since_ms = None; gesture }
                    _ => button.tick(now_ms),
                };
                if let Some(gesture) = gesture {
                    let held_ms = now_ms - began_ms.ok_or_else(|| TestCaseError::fail("it was not down"))?;
                    let has_its_time = match gesture {
                        Gesture::Short => held_ms < SHORT_MS_MAX,
                        Gesture::Long => (LONG_MS_MIN..LONG_MS_MAX).contains(&held_ms),
                        Gesture::Held => held_ms >= HELD_MS,
                    };
                    prop_assert!(has_its_time);
                }
            }
        }
    }
}
