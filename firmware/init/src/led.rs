//! What the status LED says: one state for all that goes on in the box. [`state`] decides and is pure; [`Lamp`] shows it.

use board::linux::SysfsLed;
use board::{Phase, State as Led, StatusLed};

use crate::page::State;

/// How long the answer to a gesture is shown: two times its pattern.
const ACKNOWLEDGED_MS: u64 = 4_000;
/// A LED that could not be switched is looked for again after this time.
const RETRY_MS: u64 = 2_000;

/// What the LED depends on, the most urgent first.
#[derive(Clone, Copy, Debug)]
// They are facts, and independent of each other.
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Facts<'a> {
    /// Whether everything on the disk is being overwritten.
    pub(crate) is_erasing: bool,
    /// How far the box has come.
    pub(crate) state: &'a State,
    /// What letting go of the button would mean.
    pub(crate) phase: Option<Phase>,
    /// Whether somebody is asked to press the button, and a press means yes.
    pub(crate) is_press_awaited: bool,
    /// Whether holding the button leads to a factory reset.
    pub(crate) is_reset_near: bool,
    /// Whether what the button asked for was done just now.
    pub(crate) is_acknowledged: bool,
    pub(crate) is_updating: bool,
    /// Whether the page has troubles, or maild wants somebody to look.
    pub(crate) is_troubled: bool,
}

/// The state that all of them come to.
pub(crate) fn state(facts: Facts<'_>) -> Led {
    match (facts.state, facts.phase) {
        _ if facts.is_erasing => Led::Erasing,
        // Whoever holds the button on a box that is on its way down gets no other answer.
        (State::Stopping, _) => Led::Stopping,
        (_, Some(Phase::Short)) if facts.is_press_awaited => Led::LetGoYes,
        (_, Some(Phase::Short)) => Led::LetGoOff,
        (_, Some(Phase::Long)) => Led::LetGoNetwork,
        (_, Some(Phase::Near)) if facts.is_reset_near => Led::Counting,
        // Letting go changes nothing: the LED says what it would say without.
        (_, Some(Phase::Between | Phase::Near) | None) => without_button(facts),
    }
}

fn without_button(facts: Facts<'_>) -> Led {
    match facts.state {
        _ if facts.is_acknowledged => Led::Acknowledged,
        _ if facts.is_updating => Led::Update,
        State::Starting(_) => Led::Booting,
        State::NoMail | State::Closed => Led::Failing,
        State::Restarting => Led::Attention,
        State::Unclaimed | State::Ready if facts.is_troubled => Led::Attention,
        State::Unclaimed => Led::Unclaimed,
        State::Ready => Led::Ok,
        State::Stopping => Led::Stopping,
    }
}

/// The LED, if the board has one and it is there.
#[derive(Debug)]
pub(crate) struct Lamp {
    name: Option<&'static str>,
    led: Option<StatusLed<SysfsLed>>,
    due_ms: Option<u64>,
    acknowledged_until_ms: u64,
}

impl Lamp {
    /// The LED of this name; it is not looked for yet.
    pub(crate) fn new(name: Option<&'static str>) -> Self {
        Self {
            name,
            led: None,
            due_ms: None,
            acknowledged_until_ms: 0,
        }
    }

    /// Looks for it, unless it is there.
    pub(crate) fn find(&mut self, now_ms: u64) {
        if self.led.is_none() {
            let pin = self.name.and_then(|name| SysfsLed::open(name).ok());
            self.led = pin.map(|pin| StatusLed::new(pin, now_ms));
        }
    }

    /// What a gesture asked for is done.
    pub(crate) fn acknowledge(&mut self, now_ms: u64) {
        self.acknowledged_until_ms = now_ms + ACKNOWLEDGED_MS;
    }

    pub(crate) fn is_acknowledged(&self, now_ms: u64) -> bool {
        now_ms < self.acknowledged_until_ms
    }

    /// Shows a state. Gives the time to look for the LED again, if it cannot be switched any more.
    pub(crate) fn show(&mut self, state: Led, now_ms: u64) -> Option<u64> {
        self.due_ms = None;
        let led = self.led.as_mut()?;
        led.show(state, now_ms);
        if let Ok(rest_ms) = led.tick(now_ms) {
            self.due_ms = rest_ms.map(|rest_ms| now_ms + u64::from(rest_ms));
            return None;
        }
        // It is gone, or its bus has hiccups; a LED is not worth a message.
        self.led = None;
        Some(now_ms + RETRY_MS)
    }

    /// When [`Lamp::show`] is to be called.
    pub(crate) fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let over_ms = Some(self.acknowledged_until_ms).filter(|&until_ms| until_ms > now_ms);
        self.due_ms.into_iter().chain(over_ms).min()
    }

    /// Goes dark for good.
    pub(crate) fn off(&mut self) {
        let _ = self.led.take().map(StatusLed::off);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Facts<'_> = Facts {
        is_erasing: false,
        state: &State::Ready,
        phase: None,
        is_press_awaited: false,
        is_reset_near: false,
        is_acknowledged: false,
        is_updating: false,
        is_troubled: false,
    };

    fn starting() -> State {
        State::Starting("looking for the disk".to_owned())
    }

    #[test]
    fn the_box_says_how_far_it_has_come() {
        for (box_state, when_well, when_troubled) in [
            (starting(), Led::Booting, Led::Booting),
            (State::Unclaimed, Led::Unclaimed, Led::Attention),
            (State::Ready, Led::Ok, Led::Attention),
            (State::Restarting, Led::Attention, Led::Attention),
            (State::Closed, Led::Failing, Led::Failing),
            (State::NoMail, Led::Failing, Led::Failing),
            (State::Stopping, Led::Stopping, Led::Stopping),
        ] {
            let facts = Facts {
                state: &box_state,
                ..NOTHING
            };
            assert_eq!(state(facts), when_well, "{box_state:?}");
            let is_troubled = true;
            assert_eq!(
                state(Facts { is_troubled, ..facts }),
                when_troubled,
                "{box_state:?}"
            );
        }
    }

    #[test]
    fn a_button_that_is_down_says_what_letting_go_means() {
        for (phase, asked, near, expected) in [
            (Phase::Short, false, false, Led::LetGoOff),
            (Phase::Short, false, true, Led::LetGoOff),
            (Phase::Short, true, true, Led::LetGoYes),
            (Phase::Between, true, true, Led::Ok),
            (Phase::Long, true, true, Led::LetGoNetwork),
            (Phase::Long, false, false, Led::LetGoNetwork),
            (Phase::Near, true, true, Led::Counting),
            (Phase::Near, true, false, Led::Ok),
        ] {
            let facts = Facts {
                phase: Some(phase),
                is_press_awaited: asked,
                is_reset_near: near,
                ..NOTHING
            };
            assert_eq!(state(facts), expected, "{phase:?} {asked} {near}");
        }
    }

    #[test]
    fn what_must_not_be_disturbed_comes_first() {
        let mut facts = Facts {
            is_erasing: true,
            state: &State::Stopping,
            phase: Some(Phase::Short),
            is_press_awaited: true,
            is_reset_near: true,
            is_acknowledged: true,
            is_updating: true,
            is_troubled: true,
        };
        assert_eq!(state(facts), Led::Erasing);
        facts.is_erasing = false;
        assert_eq!(state(facts), Led::Stopping);
        facts.state = &State::NoMail;
        assert_eq!(state(facts), Led::LetGoYes);
        facts.phase = None;
        assert_eq!(state(facts), Led::Acknowledged);
        facts.is_acknowledged = false;
        assert_eq!(state(facts), Led::Update);
        facts.is_updating = false;
        assert_eq!(state(facts), Led::Failing);
    }

    #[test]
    fn an_answer_is_shown_for_a_while_and_a_box_without_a_led_works() {
        let mut lamp = Lamp::new(None);
        lamp.find(0);
        assert!(!lamp.is_acknowledged(0));
        lamp.acknowledge(1000);
        assert_eq!(lamp.deadline_ms(1000), Some(1000 + ACKNOWLEDGED_MS));
        assert_eq!(lamp.show(Led::Acknowledged, 1000), None);
        assert!(lamp.is_acknowledged(1000 + ACKNOWLEDGED_MS - 1));
        assert!(!lamp.is_acknowledged(1000 + ACKNOWLEDGED_MS));
        assert_eq!(lamp.deadline_ms(1000 + ACKNOWLEDGED_MS), None);
    }
}
