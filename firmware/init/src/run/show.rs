//! What the box shows: its page on the console, and its LED. When, and for which facts.

use std::mem::discriminant;

use crate::led::{self, Facts};
use crate::links::PATIENCE_MS;
use crate::page::{Page, State};
use crate::run::Machine;
use crate::trouble::Trouble;

/// Facts that change together are printed together: the page waits this long for more.
const PAGE_DELAY_MS: u64 = 200;
/// While something is under way it waits longer: what is over by then need not be told.
const PAGE_DELAY_BUSY_MS: u64 = 1_000;
/// Pages of one state with troubles of the same kinds are so far apart at least: each message changes the page, and a
/// neighbour can have IPv6 addresses come and go by router advertisements, use the box's address under ever other hardware
/// addresses, and answer for time servers as often as it likes. None of it must fill the console.
const PAGE_GAP_MS: u64 = 10_000;

/// Whether these are the same troubles, whatever the details.
fn are_alike(some: &[Trouble], others: &[Trouble]) -> bool {
    some.iter().map(discriminant).eq(others.iter().map(discriminant))
}

impl Machine {
    pub(super) fn tick_page(&mut self, now_ms: u64) {
        if self.page_ms.is_some_and(|page_ms| page_ms <= now_ms) {
            self.show_page();
        } else if self.page().render() != self.shown {
            let state = self.state();
            let is_busy = matches!(state, State::Starting(_) | State::Restarting);
            let delay_ms = if is_busy {
                PAGE_DELAY_BUSY_MS
            } else {
                PAGE_DELAY_MS
            };
            let mut due_ms = now_ms + delay_ms;
            if let Some((shown, troubles, shown_ms)) = &self.shown_state
                && *shown == state
                && are_alike(troubles, &self.troubles())
            {
                due_ms = due_ms.max(shown_ms + PAGE_GAP_MS);
            }
            self.page_ms = Some(self.page_ms.map_or(due_ms, |page_ms| page_ms.min(due_ms)));
        }
    }

    pub(super) fn tick_led(&mut self, now_ms: u64) {
        let state = self.state();
        let facts = Facts {
            is_erasing: self.is_erasing,
            state: &state,
            phase: self.buttons.phase(now_ms),
            is_press_awaited: self.mail.awaits_button(now_ms),
            is_reset_near: self.buttons.is_reset_near(),
            is_acknowledged: self.lamp.is_acknowledged(now_ms),
            is_updating: self.is_updating,
            is_troubled: self.mail.needs_attention() || !self.troubles().is_empty(),
        };
        if let Some(again_ms) = self.lamp.show(led::state(facts), now_ms) {
            self.devices_ms = Some(again_ms);
        }
    }

    pub(super) fn show_page(&mut self) {
        self.page_ms = None;
        let lines = self.page().render();
        if lines != self.shown {
            for line in &lines {
                self.console.line(line);
            }
            self.shown = lines;
            self.shown_state = Some((self.state(), self.troubles(), self.now_ms()));
        }
    }

    fn page(&self) -> Page {
        Page {
            title: format!("{} {}", self.version.name, self.version.spoken()),
            board: self.board.name,
            state: self.state(),
            host_name: self.host_name.as_str().to_owned(),
            version: self.standing.sentence(),
            is_development: self.version.is_development,
            addresses: self
                .addresses
                .iter()
                .map(|(interface, ip, _)| (interface.clone(), *ip))
                .collect(),
            ports: self.mail.ports(),
            fingerprint: self.mail.fingerprint(),
            status: self.mail.status().to_vec(),
            troubles: self.troubles(),
        }
    }

    fn state(&self) -> State {
        if self.shutdown.is_some() {
            State::Stopping
        } else if self.storage.has_failed() {
            State::NoMail
        } else if self.mail.is_ready() {
            match self.mail.is_claimed() {
                Some(false) => State::Unclaimed,
                _ => State::Ready,
            }
        } else if self.mail.is_resting() {
            State::Closed
        } else if self.mail.is_restarting() {
            State::Restarting
        } else {
            State::Starting(self.storage.activity())
        }
    }

    fn troubles(&self) -> Vec<Trouble> {
        if self.shutdown.is_some() {
            return Vec::new();
        }
        let network = Some(())
            .filter(|()| self.now_ms() >= PATIENCE_MS)
            .and_then(|()| self.links.trouble());
        let storage = self.storage.troubles().iter().cloned();
        let standing = self.standing.troubles().iter().cloned();
        let before = storage.chain(standing);
        let time = self.time.trouble(self.links.has_address());
        before
            .chain(self.mail.troubles())
            .chain(network)
            .chain(time)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_a_trouble_that_a_neighbour_decides_are_no_news() {
        let conflict = |last| Trouble::AddressConflict {
            address: [192, 0, 2, 1].into(),
            mac: [2, 0, 0, 0, 0, last],
        };
        assert!(are_alike(&[conflict(1)], &[conflict(2)]));
        assert!(are_alike(&[Trouble::NoTime(1)], &[Trouble::NoTime(2)]));
        assert!(!are_alike(&[Trouble::NoCard], &[Trouble::NoCarrier]));
        assert!(!are_alike(&[Trouble::NoCard], &[]));
        assert!(!are_alike(&[], &[Trouble::NoCard]));
    }
}
