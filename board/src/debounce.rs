//! A button on an input pin: contacts bounce, and what lies between two levels is neither.
//!
//! ```text
//!   level  ▔▔▔▔▔▔▔▔|_|▔|_|▔|________________________|▔|_|▔▔▔▔▔▔▔▔▔▔▔▔▔▔
//!                  ↑ since              ↑ Down      ↑ since        ↑ Up
//!                  └ bounces ┘└ 20 ms ──┘
//! ```

use embedded_hal::digital::InputPin;

/// So long a level has to stay for it to count. Contacts bounce for 5 ms, bad ones for ten; nobody presses a button for
/// a shorter time.
pub const SETTLE_MS: u64 = 20;

/// What the button did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It went down, at this time: that of the first bounce.
    Down {
        /// In milliseconds.
        since_ms: u64,
    },
    /// It came up, at this time.
    Up {
        /// In milliseconds.
        since_ms: u64,
    },
}

/// A button that connects its pin to ground: low is down.
///
/// # Invariants
/// - Down and up come in turn, beginning with down.
/// - A button that is down when it is first seen is not told of before it has come up: a line that nothing is connected
///   to, or a wire in the wrong place, must not hold the button for ever.
#[derive(Debug)]
pub struct Debounce<P> {
    pin: P,
    /// The level that has stayed; none before the first.
    is_down: Option<bool>,
    is_told_down: bool,
    unsettled: Option<Unsettled>,
}

#[derive(Clone, Copy, Debug)]
struct Unsettled {
    is_down: bool,
    /// The first edge.
    since_ms: u64,
    /// The last one.
    last_ms: u64,
}

impl<P: InputPin> Debounce<P> {
    /// Nothing is read before the first [`Debounce::look`].
    pub fn new(pin: P) -> Self {
        Self {
            pin,
            is_down: None,
            is_told_down: false,
            unsettled: None,
        }
    }

    /// The pin.
    pub fn pin(&self) -> &P {
        &self.pin
    }

    /// Looks at the pin. To be called at least when [`Debounce::deadline_ms`] says so, and at each edge or every few
    /// milliseconds: `has_edge` tells that there was one since, which the level alone need not show.
    ///
    /// # Errors
    /// What the pin says. What was under way is forgotten: a change that is seen half is none.
    pub fn look(&mut self, has_edge: bool, now_ms: u64) -> Result<Option<Change>, P::Error> {
        let was_unsettled = self.unsettled.take();
        let is_down = self.pin.is_low()?;
        if self.is_down == Some(is_down) && !has_edge && was_unsettled.is_none() {
            return Ok(None);
        }
        let unsettled = match was_unsettled {
            Some(unsettled) if unsettled.is_down == is_down && !has_edge => unsettled,
            unsettled => Unsettled {
                is_down,
                since_ms: unsettled.map_or(now_ms, |unsettled| unsettled.since_ms),
                last_ms: now_ms,
            },
        };
        if now_ms.saturating_sub(unsettled.last_ms) < SETTLE_MS {
            self.unsettled = Some(unsettled);
            return Ok(None);
        }
        Ok(self.settle(unsettled))
    }

    fn settle(&mut self, to: Unsettled) -> Option<Change> {
        let was_down = self.is_down.replace(to.is_down);
        let since_ms = to.since_ms;
        match (was_down, to.is_down) {
            (Some(false), true) => {
                self.is_told_down = true;
                Some(Change::Down { since_ms })
            }
            (Some(true), false) if self.is_told_down => {
                self.is_told_down = false;
                Some(Change::Up { since_ms })
            }
            _ => None,
        }
    }

    /// When [`Debounce::look`] is due; never, while nothing moves.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.unsettled.map(|unsettled| unsettled.last_ms + SETTLE_MS)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use embedded_hal_mock::eh1::MockError;
    use embedded_hal_mock::eh1::digital::{Mock, State, Transaction};
    use proptest::prelude::*;

    use super::*;
    use crate::sim::InputLine;

    /// A line that is high but for the edges, each of which turns it over; what is told of it, edge by edge.
    fn told(edges: &[u64], until_ms: u64) -> Vec<Change> {
        let line = InputLine::new(true);
        let mut button = Debounce::new(&line);
        let (mut told, mut next) = (Vec::new(), 0);
        told.extend(button.look(false, 0).unwrap());
        loop {
            let edge_ms = edges.get(next).copied();
            let due_ms = button.deadline_ms();
            let Some(now_ms) = edge_ms
                .into_iter()
                .chain(due_ms)
                .min()
                .filter(|&now_ms| now_ms <= until_ms)
            else {
                return told;
            };
            let has_edge = edge_ms == Some(now_ms);
            if has_edge {
                line.set(!line.is_high());
                next += 1;
            }
            told.extend(button.look(has_edge, now_ms).unwrap());
        }
    }

    #[test]
    fn a_press_that_bounces_for_five_milliseconds_is_one_press() {
        let edges = [
            1000, 1001, 1002, 1003, 1005, // down
            2000, 2001, 2002, 2004, 2005, // up
        ];
        let expected = [Change::Down { since_ms: 1000 }, Change::Up { since_ms: 2000 }];
        assert_eq!(told(&edges, 3000), expected);
        // It is told when it has settled, and not before.
        assert_eq!(told(&edges, 1024), []);
        assert_eq!(told(&edges, 1025), expected[..1]);
    }

    #[test]
    fn what_is_shorter_than_any_press_is_none() {
        assert_eq!(told(&[1000, 1019], 3000), []);
        assert_eq!(
            told(&[1000, 1021], 3000),
            [Change::Down { since_ms: 1000 }, Change::Up { since_ms: 1021 }]
        );
    }

    #[test]
    fn a_line_that_never_settles_says_nothing() {
        let edges: Vec<u64> = (1000..5000).step_by(7).collect();
        assert_eq!(told(&edges, 5000), []);
    }

    #[test]
    fn a_button_that_is_down_from_the_start_has_to_come_up_first() {
        let line = InputLine::new(false);
        let mut button = Debounce::new(&line);
        for now_ms in [0, 20, 10_000, 20_000] {
            assert_eq!(button.look(false, now_ms).unwrap(), None);
        }
        line.set(true);
        assert_eq!(button.look(true, 30_000).unwrap(), None);
        assert_eq!(button.look(false, 30_020).unwrap(), None);
        line.set(false);
        assert_eq!(button.look(true, 40_000).unwrap(), None);
        let down = Change::Down { since_ms: 40_000 };
        assert_eq!(button.look(false, 40_020).unwrap(), Some(down));
    }

    #[test]
    fn a_pin_that_is_polled_needs_no_edges() {
        let levels = [
            State::High, // 0
            State::High, // 10
            State::High, // 20: it is up
            State::Low,  // 30
            State::High, // 40: a bounce
            State::Low,  // 50
            State::Low,  // 60
            State::Low,  // 70: it is down, since 30
        ];
        let mut pin = Mock::new(&levels.map(Transaction::get));
        let mut button = Debounce::new(pin.clone());
        let mut told = Vec::new();
        for now_ms in (0..80).step_by(10) {
            told.extend(button.look(false, now_ms).unwrap());
        }
        assert_eq!(told, [Change::Down { since_ms: 30 }]);
        pin.done();
    }

    #[test]
    fn a_pin_that_fails_says_so_and_nothing_was_pressed() {
        let failed = MockError::Io(std::io::ErrorKind::NotConnected);
        let mut pin = Mock::new(&[
            Transaction::get(State::High),
            Transaction::get(State::High),
            Transaction::get(State::Low),
            Transaction::get(State::Low).with_error(failed),
            Transaction::get(State::High),
        ]);
        let mut button = Debounce::new(pin.clone());
        assert_eq!(button.look(false, 0), Ok(None));
        assert_eq!(button.look(false, 20), Ok(None));
        assert_eq!(button.look(true, 100), Ok(None));
        button.look(false, 120).unwrap_err();
        assert_eq!(button.deadline_ms(), None);
        assert_eq!(button.look(false, 140), Ok(None));
        pin.done();
    }

    proptest! {
        /// Whatever the line does: down and up come in turn, and between the two lies the time of settling.
        #[test]
        fn down_and_up_come_in_turn(gaps in proptest::collection::vec(1_u64..60, 0..200)) {
            let edges: Vec<u64> = gaps
                .iter()
                .scan(100, |now_ms, gap| { *now_ms += gap; Some(*now_ms) })
                .collect();
            let mut last_ms = None;
            for (index, change) in told(&edges, u64::MAX).into_iter().enumerate() {
                let (is_down, since_ms) = match change {
                    Change::Down { since_ms } => (true, since_ms),
                    Change::Up { since_ms } => (false, since_ms),
                };
                prop_assert_eq!(is_down, index % 2 == 0);
                prop_assert!(edges.contains(&since_ms));
                prop_assert!(last_ms.is_none_or(|last_ms| since_ms >= last_ms + SETTLE_MS));
                last_ms = Some(since_ms);
            }
        }
    }
}
