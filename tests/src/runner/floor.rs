//! Who runs beside whom.
//!
//! ```text
//! place 1   shared shared shared shared shared own    own  ─┐
//! place 2   own          own         own         own        ├─ alone   alone   alone
//! place 3   own      own      own        own     own       ─┘
//! ```
//!
//! A machine is idle for half of its time: it waits for a watchdog, for a lease that runs out, for its firmware's key. So
//! there is room for more of them than the computer has cores.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a scenario bears beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// None that uses the same box, and otherwise anybody but the last kind.
    Shared,
    /// Anybody but the last kind.
    Own,
    /// Nobody.
    Alone,
}

/// Where scenarios run.
///
/// # Invariants
/// - At most `places` are on it; at most one of them is [`Kind::Shared`]; one that is [`Kind::Alone`] is the only one.
/// - Of each kind the one with the lowest rank goes first.
#[derive(Debug)]
pub(super) struct Floor {
    places: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By their rank.
    waiting: BTreeMap<usize, Kind>,
    running: Vec<Kind>,
}

/// A place on it, until this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    floor: &'a Floor,
    kind: Kind,
}

impl Floor {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits for a place.
    pub(super) fn enter(&self, rank: usize, kind: Kind) -> Place<'_> {
        let mut state = self.state();
        state.waiting.insert(rank, kind);
        while !state.may_enter(rank, kind, self.places) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(&rank);
        state.running.push(kind);
        // Who waits behind this one may be the first now.
        self.changed.notify_all();
        Place { floor: self, kind }
    }

    /// A scenario that panics leaves it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_enter(&self, rank: usize, kind: Kind, places: usize) -> bool {
        let first = |kind| self.waiting.iter().find(|(_, other)| **other == kind);
        if self.running.contains(&Kind::Alone) || first(kind).is_some_and(|(first, _)| *first != rank) {
            return false;
        }
        let is_shared_free = !self.running.contains(&Kind::Shared);
        let free = places.saturating_sub(self.running.len());
        match kind {
            Kind::Shared => is_shared_free && free > 0,
            // The last place is for the row that is longest because it cannot be shared out.
            Kind::Own => free > usize::from(is_shared_free && first(Kind::Shared).is_some()),
            Kind::Alone => {
                self.running.is_empty() && first(Kind::Shared).is_none() && first(Kind::Own).is_none()
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.floor.state();
        if let Some(at) = state.running.iter().position(|kind| *kind == self.kind) {
            state.running.swap_remove(at);
        }
        self.floor.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::Kind::{Alone, Own, Shared};
    use super::*;

    /// Which of the waiting, told by their rank, may enter beside these.
    fn check(running: &[Kind], waiting: &[Kind], places: usize, expected: &[usize]) {
        let state = State {
            waiting: waiting.iter().copied().enumerate().collect(),
            running: running.to_vec(),
        };
        let may = |(rank, kind): &(usize, Kind)| state.may_enter(*rank, *kind, places);
        let entering = waiting.iter().copied().enumerate().filter(may);
        let entering: Vec<usize> = entering.map(|(rank, _)| rank).collect();
        assert_eq!(entering, expected, "{waiting:?} beside {running:?}");
    }

    #[test]
    fn as_many_run_beside_each_other_as_there_are_places_and_one_of_them_on_the_shared_box() {
        check(&[], &[Own, Shared, Own, Shared], 3, &[0, 1]);
        check(&[Shared, Own], &[Own, Shared], 3, &[0]);
        check(&[Shared, Own, Own], &[Own, Shared], 3, &[]);
        check(&[Own, Own], &[Own, Shared], 3, &[1]);
        check(&[Own, Own], &[Own, Own], 3, &[0]);
    }

    #[test]
    fn one_that_judges_runs_alone_when_the_others_are_done() {
        check(&[], &[Alone, Own], 3, &[1]);
        check(&[], &[Alone, Shared], 3, &[1]);
        check(&[Own], &[Alone], 3, &[]);
        check(&[Shared], &[Alone], 3, &[]);
        check(&[], &[Alone, Alone], 3, &[0]);
        check(&[Alone], &[Alone, Own, Shared], 3, &[]);
    }

    #[test]
    fn with_one_place_each_kind_gets_it() {
        check(&[], &[Shared], 1, &[0]);
        check(&[], &[Own], 1, &[0]);
        check(&[], &[Alone], 1, &[0]);
        check(&[], &[Own, Shared], 1, &[1]);
    }

    /// Many at once, as they are started: nobody is forgotten, and the invariants hold at each entry.
    #[test]
    fn everybody_gets_a_place_in_the_end() {
        let floor = Floor::new(3);
        std::thread::scope(|scope| {
            for rank in 0..60 {
                let (floor, kind) = (&floor, [Shared, Own, Alone][rank % 3]);
                scope.spawn(move || {
                    let _place = floor.enter(rank, kind);
                    let running = floor.state().running.clone();
                    let count = |kind| running.iter().filter(|other| **other == kind).count();
                    assert!(running.len() <= 3 && count(Shared) <= 1, "{running:?}");
                    assert!(count(Alone) == 0 || running.len() == 1, "{running:?}");
                    std::thread::yield_now();
                });
            }
        });
        let state = floor.state();
        assert!(state.waiting.is_empty() && state.running.is_empty());
    }
}
