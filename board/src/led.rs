//! The status LED: six states, each with a pattern that can be told apart across a room.

use embedded_hal::digital::{OutputPin, PinState};

/// What the LED says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On the way up.
    Booting,
    /// All is well.
    Ok,
    /// Something is wrong, the console says what.
    Attention,
    /// On the way down: do not cut the power yet.
    Stopping,
    /// The button is held: a factory reset comes nearer.
    Counting,
    /// Everything on the disk is being overwritten.
    Erasing,
}

/// Ever faster, for as long as the button has to be held ([`HELD_MS`](crate::HELD_MS)).
const COUNTING: [u32; 28] = [
    600, 600, 600, 600, 600, 600, 500, 500, 500, 500, 400, 400, 400, 400, 300, 300, 300, 300, 200, 200, 200,
    200, 150, 150, 150, 150, 100, 100,
];

impl State {
    /// Times in milliseconds, on and off in turn, beginning with on; then from the start. Empty: steadily on.
    const fn pattern(self) -> &'static [u32] {
        match self {
            Self::Booting => &[500, 500],
            Self::Ok => &[],
            Self::Attention => &[120, 200, 120, 1060],
            Self::Stopping => &[60, 120],
            Self::Counting => &COUNTING,
            Self::Erasing => &[900, 100],
        }
    }

    /// Whether the LED is on `elapsed_ms` after the state began, and for how long it stays so.
    fn at(self, elapsed_ms: u64) -> (bool, Option<u32>) {
        let pattern = self.pattern();
        let period: u64 = pattern.iter().map(|&ms| u64::from(ms)).sum();
        let Some(mut phase) = elapsed_ms.checked_rem(period) else {
            return (true, None);
        };
        let mut is_on = true;
        for &ms in pattern {
            match u64::from(ms).checked_sub(phase) {
                // The rest of a part is at most that part, a u32.
                Some(rest) if rest > 0 => return (is_on, u32::try_from(rest).ok()),
                _ => phase -= u64::from(ms),
            }
            is_on = !is_on;
        }
        (true, None)
    }
}

/// Shows a [`State`] on a pin, high for on.
///
/// # Invariants
/// The pin is written only when its level changes: on some boards a LED sits behind a slow bus.
#[derive(Debug)]
pub struct StatusLed<P> {
    pin: P,
    state: State,
    since_ms: u64,
    level: Option<bool>,
}

impl<P: OutputPin> StatusLed<P> {
    /// Begins with [`State::Booting`]; nothing is written before the first [`StatusLed::tick`].
    pub fn new(pin: P, now_ms: u64) -> Self {
        Self {
            pin,
            state: State::Booting,
            since_ms: now_ms,
            level: None,
        }
    }

    /// Changes the state. The same state again does not restart its pattern.
    pub fn show(&mut self, state: State, now_ms: u64) {
        if self.state != state {
            self.state = state;
            self.since_ms = now_ms;
        }
    }

    /// Writes the level of this moment. Gives the milliseconds until the next change, or nothing when there is none
    /// until [`StatusLed::show`] is called.
    ///
    /// # Errors
    /// What the pin says. The level is written again at the next tick.
    pub fn tick(&mut self, now_ms: u64) -> Result<Option<u32>, P::Error> {
        let (is_on, rest) = self.state.at(now_ms.saturating_sub(self.since_ms));
        self.write(is_on)?;
        Ok(rest)
    }

    /// Goes dark for good: the power may be cut.
    pub fn off(mut self) -> Result<(), P::Error> {
        self.write(false)
    }

    fn write(&mut self, is_on: bool) -> Result<(), P::Error> {
        if self.level != Some(is_on) {
            self.level = None;
            self.pin.set_state(PinState::from(is_on))?;
            self.level = Some(is_on);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use embedded_hal_mock::eh1::MockError;
    use embedded_hal_mock::eh1::digital::{Mock, State as Level, Transaction};
    use proptest::prelude::*;

    use super::*;
    use crate::sim::RecordingPin;

    const ALL: [State; 6] = [
        State::Booting,
        State::Ok,
        State::Attention,
        State::Stopping,
        State::Counting,
        State::Erasing,
    ];

    /// Ticks exactly when the LED asks for it, for `until_ms`, and gives the times at which it changed.
    fn changes(state: State, until_ms: u64) -> Vec<(u64, bool)> {
        let mut pin = RecordingPin::<32>::default();
        let mut led = StatusLed::new(&mut pin, 0);
        led.show(state, 0);
        let (mut now, mut times) = (0, Vec::new());
        while now < until_ms {
            times.push(now);
            let Some(rest) = led.tick(now).unwrap() else { break };
            now += u64::from(rest);
        }
        times.into_iter().zip(pin.levels().iter().copied()).collect()
    }

    #[test]
    fn booting_blinks_evenly() {
        assert_eq!(
            changes(State::Booting, 1501),
            [(0, true), (500, false), (1000, true), (1500, false)]
        );
    }

    #[test]
    fn ok_is_steady_and_asks_for_no_further_tick() {
        assert_eq!(changes(State::Ok, 10_000), [(0, true)]);
    }

    #[test]
    fn attention_is_two_short_flashes_and_a_pause() {
        let expected = [
            (0, true),
            (120, false),
            (320, true),
            (440, false),
            (1500, true),
            (1620, false),
        ];
        assert_eq!(changes(State::Attention, 1621), expected);
    }

    #[test]
    fn the_pin_is_written_only_when_its_level_changes() {
        let mut pin = Mock::new(&[
            Transaction::set(Level::High),
            Transaction::set(Level::Low),
            Transaction::set(Level::High),
            Transaction::set(Level::Low),
        ]);
        let mut led = StatusLed::new(pin.clone(), 1000);
        for now in [1000, 1001, 1499, 1500, 1700, 1999] {
            led.tick(now).unwrap();
        }
        led.show(State::Ok, 1999);
        led.show(State::Ok, 5000);
        led.tick(6000).unwrap();
        led.off().unwrap();
        pin.done();
    }

    #[test]
    fn a_led_that_flickers_ends_dark() {
        let mut pin = RecordingPin::<4>::default();
        let mut led = StatusLed::new(&mut pin, 0);
        led.show(State::Stopping, 0);
        led.tick(0).unwrap();
        led.tick(60).unwrap();
        led.tick(180).unwrap();
        led.off().unwrap();
        assert_eq!(pin.levels(), [true, false, true, false]);
    }

    #[test]
    fn counting_is_ever_faster_and_as_long_as_the_button_is_to_be_held() {
        assert!(COUNTING.is_sorted_by(|one, next| one >= next));
        assert_eq!(
            COUNTING.iter().map(|&ms| u64::from(ms)).sum::<u64>(),
            crate::HELD_MS
        );
    }

    #[test]
    fn a_write_that_failed_is_tried_again() {
        let failed = MockError::Io(std::io::ErrorKind::NotConnected);
        let mut pin = Mock::new(&[
            Transaction::set(Level::High).with_error(failed),
            Transaction::set(Level::High),
        ]);
        let mut led = StatusLed::new(pin.clone(), 0);
        led.show(State::Ok, 0);
        led.tick(0).unwrap_err();
        led.tick(100).unwrap();
        led.tick(200).unwrap();
        pin.done();
    }

    #[test]
    fn a_clock_that_steps_back_is_the_start_of_the_pattern() {
        let mut led = StatusLed::new(RecordingPin::<4>::default(), 1000);
        assert_eq!(led.tick(10).unwrap(), Some(500));
    }

    proptest! {
        /// At the end of the time it names, and not before, a pattern changes level.
        #[test]
        fn the_next_change_is_exactly_when_the_pattern_says(index in 0..ALL.len(), elapsed in any::<u32>()) {
            let (state, elapsed) = (ALL[index], u64::from(elapsed));
            let (is_on, rest) = state.at(elapsed);
            if let Some(rest) = rest {
                prop_assert!(rest > 0);
                prop_assert_eq!(state.at(elapsed + u64::from(rest) - 1).0, is_on);
                prop_assert_eq!(state.at(elapsed + u64::from(rest)).0, !is_on);
            } else {
                prop_assert_eq!(state, State::Ok);
            }
        }
    }
}
