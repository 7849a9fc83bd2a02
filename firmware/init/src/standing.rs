//! The version that runs, as the loop sees it: from which slot, on trial or good, and what is wrong with the slots.

use format::boot::Attempt;
use format::bootstate::TRIES;
use handoff::BootSlot;

use crate::slot::Boot;
use crate::slot::trial::{Trial, Verdict};
use crate::trouble::Trouble;
use crate::version::Version;
use crate::worker::report::Slots;

/// The version that runs.
#[derive(Debug)]
pub(crate) struct Standing {
    boot: Option<Boot>,
    counter: u64,
    trial: Trial,
    /// What the bootstate says; none until it was read, or if it cannot be.
    slots: Option<Slots>,
    troubles: Vec<Trouble>,
    /// Whether the worker that looks after the slots was started: once a start is enough.
    is_looked_after: bool,
}

impl Standing {
    /// At the start, with the time until which a version on trial must have found itself good.
    pub(crate) fn new(boot: Option<Boot>, version: &Version, until_ms: u64) -> Self {
        let trial = match boot.map(|boot| boot.attempt) {
            None | Some(Attempt::Good) => Trial::NONE,
            Some(Attempt::Trial(_)) => Trial::new(until_ms, true),
            Some(Attempt::Uncounted) => Trial::new(until_ms, false),
        };
        Self {
            boot,
            counter: version.counter,
            trial,
            slots: None,
            troubles: Vec::new(),
            is_looked_after: false,
        }
    }

    /// The disk the box was started from, once it is known.
    pub(crate) fn disk(&self) -> Option<&str> {
        self.slots.as_ref().map(|slots| slots.disk.as_str())
    }

    /// The bootstate was read.
    pub(crate) fn knows(&mut self, slots: Slots) {
        self.trial.knows(slots.is_other_bootable);
        self.slots = Some(slots);
    }

    pub(crate) fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }

    /// maild has tried itself out.
    pub(crate) fn self_test(&mut self, is_ok: bool, which: &str) -> Verdict {
        self.troubles
            .retain(|trouble| !matches!(trouble, Trouble::SelfTest(_)));
        if !is_ok {
            self.trouble(Trouble::SelfTest(which.to_owned()));
        }
        let verdict = self.trial.self_test(is_ok, which);
        let is_due = is_ok && self.boot.is_some() && !self.is_looked_after;
        match verdict {
            // A good version has the other slot looked after all the same.
            Verdict::Wait if is_due && !self.trial.is_running() => {
                self.is_looked_after = true;
                Verdict::MarkGood
            }
            Verdict::MarkGood => {
                self.is_looked_after = true;
                Verdict::MarkGood
            }
            verdict => verdict,
        }
    }

    /// Whether the disk knows now that this version is good.
    pub(crate) fn marked(&mut self, is_written: bool) -> Verdict {
        if is_written && let Some(slots) = &mut self.slots {
            slots.is_good = true;
        }
        self.trial.marked(is_written)
    }

    pub(crate) fn maild_ended(&mut self, ends: usize) -> Verdict {
        self.trial.maild_ended(ends)
    }

    pub(crate) fn tick(&mut self, now_ms: u64) -> Verdict {
        self.trial.tick(now_ms)
    }

    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        self.trial.deadline_ms()
    }

    /// As maild is told.
    pub(crate) fn message(&self) -> handoff::Boot {
        let was_watchdog_reset = self.troubles.contains(&Trouble::WatchdogReset);
        let Some(boot) = &self.boot else {
            return handoff::Boot {
                was_watchdog_reset,
                ..handoff::Boot::default()
            };
        };
        handoff::Boot {
            slot: Some(match boot.slot {
                format::Slot::A => BootSlot::A,
                format::Slot::B => BootSlot::B,
            }),
            attempt: match boot.attempt {
                Attempt::Trial(number) => number.min(handoff::ATTEMPT_MAX),
                Attempt::Good | Attempt::Uncounted => 0,
            },
            is_trial: self.trial.is_running(),
            was_watchdog_reset,
        }
    }

    /// As the page says it; nothing if the box was not started from a slot.
    pub(crate) fn sentence(&self) -> Option<String> {
        let boot = self.boot.as_ref()?;
        let place = format!("{} in slot {}", self.counter, boot.slot);
        Some(match boot.attempt {
            _ if !self.trial.is_running() => place,
            Attempt::Trial(number) => {
                format!("{place}, try {number} of {TRIES}: it has to show that it works")
            }
            Attempt::Good | Attempt::Uncounted => format!("{place}: it has to show that it works"),
        })
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        format!("Version {}", self.counter)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn standing(words: &str) -> Standing {
        let line = format!(
            "postolka.slot=b {words} postolka.disk=07070707-0707-0707-0707-070707070707 postolka.board=virt postolka.loader=1"
        );
        let boot = Some(Boot::of(&line).unwrap());
        Standing::new(boot, &Version::parse("NUMBER=12"), 1000)
    }

    fn slots() -> Slots {
        Slots {
            disk: "vda".to_owned(),
            is_good: false,
            is_other_bootable: true,
        }
    }

    #[test]
    fn a_version_on_trial_says_so_until_the_disk_knows_that_it_is_good() {
        let mut standing = standing("postolka.try=2");
        standing.knows(slots());
        assert_eq!(
            standing.sentence().unwrap(),
            "12 in slot B, try 2 of 3: it has to show that it works"
        );
        let told = standing.message();
        assert!(told.is_possible() && told.is_trial && told.attempt == 2);
        assert_eq!(standing.self_test(true, ""), Verdict::MarkGood);
        assert_eq!(standing.self_test(true, ""), Verdict::Wait);
        assert_eq!(standing.marked(true), Verdict::Wait);
        assert_eq!(standing.sentence().unwrap(), "12 in slot B");
        assert!(!standing.message().is_trial);
        assert_eq!(standing.tick(5000), Verdict::Wait);
    }

    #[test]
    fn a_good_version_has_the_other_slot_looked_after_once() {
        let mut standing = standing("");
        assert_eq!(standing.self_test(false, "port 25"), Verdict::Wait);
        assert_eq!(standing.troubles(), [Trouble::SelfTest("port 25".to_owned())]);
        assert_eq!(standing.self_test(true, ""), Verdict::MarkGood);
        assert_eq!(standing.self_test(true, ""), Verdict::Wait);
        assert_eq!(standing.troubles(), []);
        assert_eq!(standing.marked(false), Verdict::Wait);
    }

    #[test]
    fn what_was_not_started_from_a_slot_has_none() {
        let mut standing = Standing::new(None, &Version::parse("NUMBER=12"), 1000);
        assert_eq!(standing.sentence(), None);
        assert_eq!(standing.message(), handoff::Boot::default());
        assert_eq!(standing.self_test(true, ""), Verdict::Wait);
        assert_eq!(standing.tick(5000), Verdict::Wait);
    }

    #[test]
    fn without_a_bootstate_the_loaders_word_counts() {
        let mut trial = standing("postolka.try=1");
        assert!(matches!(trial.tick(1000), Verdict::GiveUp(_)));
        let mut uncounted = standing("postolka.try=0");
        assert!(uncounted.message().is_trial && uncounted.message().attempt == 0);
        assert!(matches!(uncounted.tick(1000), Verdict::Stay(_)));
    }
}
