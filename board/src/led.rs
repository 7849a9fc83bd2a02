//! The status LED: what it can say, each in a pattern that can be told apart across a room.

use embedded_hal::digital::{OutputPin, PinState};

/// What the LED says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On the way up.
    Booting,
    /// The box belongs to nobody yet.
    Unclaimed,
    /// All is well.
    Ok,
    /// Something is wrong, the console says what.
    Attention,
    /// No mail is served, and it does not come back by itself.
    Failing,
    /// An update is being written.
    Update,
    /// On the way down: do not cut the power yet.
    Stopping,
    /// The button is down: letting go switches the box off.
    LetGoOff,
    /// The button is down: letting go says yes to what was asked.
    LetGoYes,
    /// The button is down: letting go resets the network.
    LetGoNetwork,
    /// The button is held: a factory reset comes nearer. Letting go means nothing.
    Counting,
    /// What the button asked for is done.
    Acknowledged,
    /// Everything on the disk is being overwritten.
    Erasing,
}

/// Ever faster, from when letting go stops to mean something until the reset ([`NEAR_MS`](crate::NEAR_MS)).
const COUNTING: [u32; 20] = [
    250, 250, 250, 250, 200, 200, 200, 200, 150, 150, 150, 150, 100, 100, 100, 100, 50, 50, 50, 50,
];

/// What a LED does, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    Steady(bool),
    /// Times in milliseconds, on and off in turn, beginning with on.
    Cycle(&'static [u32]),
}

impl State {
    const fn pattern(self) -> Pattern {
        match self {
            Self::Booting => Pattern::Cycle(&[500, 500]),
            Self::Unclaimed => Pattern::Cycle(&[100, 1900]),
            Self::Ok | Self::LetGoYes => Pattern::Steady(true),
            Self::Attention => Pattern::Cycle(&[120, 200, 120, 1060]),
            Self::Failing => Pattern::Cycle(&[120, 120, 120, 120, 120, 120, 120, 120, 120, 700]),
            Self::Update => Pattern::Cycle(&[1200, 200, 200, 200]),
            Self::Stopping => Pattern::Cycle(&[60, 120]),
            Self::LetGoOff => Pattern::Steady(false),
            Self::LetGoNetwork => Pattern::Cycle(&[80, 320]),
            Self::Counting => Pattern::Cycle(&COUNTING),
            Self::Acknowledged => Pattern::Cycle(&[1500, 500]),
            Self::Erasing => Pattern::Cycle(&[900, 100]),
        }
    }

    /// Whether the LED is on `elapsed_ms` after the state began, and for how long it stays so.
    fn at(self, elapsed_ms: u64) -> (bool, Option<u32>) {
        let parts = match self.pattern() {
            Pattern::Steady(is_on) => return (is_on, None),
            Pattern::Cycle(parts) => parts,
        };
        let period: u64 = parts.iter().map(|&ms| u64::from(ms)).sum();
        let mut phase = elapsed_ms.checked_rem(period).unwrap_or_default();
        let mut is_on = true;
        for &ms in parts {
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

    const ALL: [State; 13] = [
        State::Booting,
        State::Unclaimed,
        State::Ok,
        State::Attention,
        State::Failing,
        State::Update,
        State::Stopping,
        State::LetGoOff,
        State::LetGoYes,
        State::LetGoNetwork,
        State::Counting,
        State::Acknowledged,
        State::Erasing,
    ];

    /// How somebody would describe it: the share of the time that it is on, in percent; flashes in ten seconds; the
    /// longest pause in milliseconds.
    fn description(state: State) -> [u64; 3] {
        match state.pattern() {
            Pattern::Steady(is_on) => [u64::from(is_on) * 100, 0, 0],
            Pattern::Cycle(parts) => {
                let sum = |parts: &mut dyn Iterator<Item = &u32>| parts.map(|&ms| u64::from(ms)).sum::<u64>();
                let period = sum(&mut parts.iter());
                let on = sum(&mut parts.iter().step_by(2));
                let pause = parts
                    .iter()
                    .skip(1)
                    .step_by(2)
                    .max()
                    .copied()
                    .map_or(0, u64::from);
                [on * 100 / period, parts.len() as u64 / 2 * 10_000 / period, pause]
            }
        }
    }

    #[test]
    fn any_two_states_can_be_told_apart() {
        for (index, one) in ALL.into_iter().enumerate() {
            for other in ALL.into_iter().skip(index + 1) {
                // The answer to a question is shown while a button is down on a box that asks: never beside "all is well".
                if [one, other] == [State::Ok, State::LetGoYes] {
                    continue;
                }
                let [this, that] = [description(one), description(other)];
                let differs = |index: usize| {
                    let (less, more) = (this[index].min(that[index]), this[index].max(that[index]));
                    more * 2 >= less * 3 && more >= less + 10
                };
                assert!(
                    (0..3).any(differs),
                    "{one:?} {this:?} looks like {other:?} {that:?}"
                );
            }
        }
    }

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
    fn a_button_that_would_switch_the_box_off_darkens_it() {
        assert_eq!(changes(State::LetGoOff, 10_000), [(0, false)]);
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
    fn counting_is_ever_faster_and_lasts_until_the_reset() {
        assert!(COUNTING.is_sorted_by(|one, next| one >= next));
        assert_eq!(
            COUNTING.iter().map(|&ms| u64::from(ms)).sum::<u64>(),
            crate::NEAR_MS
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
                prop_assert!(matches!(state.pattern(), Pattern::Steady(level) if level == is_on));
            }
        }
    }
}
