//! Whether a press of the button is an answer to a page of maild's that asks for one. Pure: time is an argument.

/// So long after a page has stopped to ask, a press is still meant for it: somebody is on the way to the button, or presses a
/// second time because nothing seemed to happen. It comes too late to mean yes, and must not switch the box off.
const LATE_MS: u64 = 10_000;

/// What a short press of the button means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Press {
    /// Yes, to the page that asks.
    Answer,
    /// Nothing: the page that it is for asks no more.
    Late,
    /// What it means when nobody asks.
    Ordinary,
}

/// The page that asks, or has asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asking {
    /// Until when it asks or has asked.
    until_ms: Option<u64>,
}

impl Asking {
    /// It asks from now on for so many seconds; 0: it does so no more.
    pub(super) fn ask(&mut self, seconds: u16, now_ms: u64) {
        if seconds > 0 {
            self.until_ms = Some(now_ms + u64::from(seconds) * 1000);
        } else {
            self.end(now_ms);
        }
    }

    /// It asks no more: it has its answer, or is gone.
    pub(super) fn end(&mut self, now_ms: u64) {
        self.until_ms = self.until_ms.map(|until_ms| until_ms.min(now_ms));
    }

    pub(super) fn is_open(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until_ms| now_ms < until_ms)
    }

    /// The button was pressed. One press is one answer.
    pub(super) fn press(&mut self, now_ms: u64) -> Press {
        match self.until_ms {
            Some(until_ms) if now_ms < until_ms => {
                self.end(now_ms);
                Press::Answer
            }
            Some(until_ms) if now_ms < until_ms + LATE_MS => Press::Late,
            _ => Press::Ordinary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_means_yes_while_it_is_asked_for() {
        let mut asking = Asking::default();
        assert_eq!(asking.press(0), Press::Ordinary);
        asking.ask(120, 1000);
        assert!(asking.is_open(120_999) && !asking.is_open(121_000));
        assert_eq!(asking.press(120_999), Press::Answer);
        assert!(!asking.is_open(120_999));
    }

    /// How asking comes to an end.
    type End = fn(&mut Asking);

    #[test]
    fn a_press_too_late_does_not_switch_the_box_off() {
        // The time is over; the page was closed; maild has ended.
        let over: [(End, u64); 3] = [
            (|_| {}, 121_000),
            (|asking| asking.ask(0, 50_000), 50_000),
            (|asking| asking.end(50_000), 50_000),
        ];
        for (end, end_ms) in over {
            let mut asking = Asking::default();
            asking.ask(120, 1000);
            end(&mut asking);
            assert_eq!(asking.press(end_ms), Press::Late);
            assert_eq!(asking.press(end_ms + LATE_MS - 1), Press::Late);
            // Whoever presses once more then does mean it.
            assert_eq!(asking.press(end_ms + LATE_MS), Press::Ordinary);
        }
    }

    #[test]
    fn a_second_press_is_no_second_answer_and_does_not_switch_the_box_off() {
        let mut asking = Asking::default();
        asking.ask(120, 0);
        assert_eq!(asking.press(60_000), Press::Answer);
        assert_eq!(asking.press(61_000), Press::Late);
        // Asked anew, it counts again.
        asking.ask(120, 62_000);
        assert_eq!(asking.press(63_000), Press::Answer);
    }

    #[test]
    fn what_was_never_asked_does_not_end() {
        let mut asking = Asking::default();
        asking.ask(0, 1000);
        asking.end(2000);
        assert_eq!(asking.press(2001), Press::Ordinary);
    }
}
