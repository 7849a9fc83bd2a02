//! Whether the version that runs stays. Pure: time is an argument.
//!
//! ```text
//! on trial ── the self-test went well ─────────────────────────▶ mark it good ── the disk knows ──▶ good
//!     │
//!     └──── it did not, or none in time, or maild ends over and over ─┬─ another can be started ──▶ start again
//!                                                                     └─ none ────────────────────▶ stay, and say it
//! ```

use crate::supervise::ENDS_MAX;

/// So many ends of maild within ten minutes are the end of a trial.
pub(crate) const MAILD_ENDS: usize = ENDS_MAX;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing for now.
    Wait,
    /// Write down that it is good.
    MarkGood,
    /// Start the box again: the loader counts. The words say what went wrong.
    GiveUp(String),
    /// It is no good, and there is nothing to go back to: stay up and say what went wrong.
    Stay(String),
}

/// A version that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    stage: Stage,
    /// Whether there is another version to go back to.
    has_other: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// It must show that it is good before this time.
    Running { until_ms: u64 },
    /// The disk is being told that it is good.
    Marking,
    /// It is good, or nobody can mark it.
    Over,
}

impl Trial {
    /// A version that is not on trial: it is good, or was not started from a slot.
    pub(crate) const NONE: Self = Self {
        stage: Stage::Over,
        has_other: false,
    };

    /// A version that has until then. Whether there is another is what the loader lets one think, until the bootstate
    /// is read: what is read may be a disk that does not answer.
    pub(crate) fn new(until_ms: u64, has_other: bool) -> Self {
        Self {
            stage: Stage::Running { until_ms },
            has_other,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.stage != Stage::Over
    }

    /// The bootstate was read.
    pub(crate) fn knows(&mut self, has_other: bool) {
        self.has_other = has_other;
    }

    /// maild has tried itself out.
    pub(crate) fn self_test(&mut self, is_ok: bool, which: &str) -> Verdict {
        match self.stage {
            Stage::Running { .. } if is_ok => {
                self.stage = Stage::Marking;
                Verdict::MarkGood
            }
            Stage::Running { .. } => self.give_up(format!("its self-test failed ({which})")),
            Stage::Marking | Stage::Over => Verdict::Wait,
        }
    }

    /// It was written down, or could not be.
    pub(crate) fn marked(&mut self, is_written: bool) -> Verdict {
        if self.stage != Stage::Marking {
            return Verdict::Wait;
        }
        if is_written {
            self.stage = Stage::Over;
            Verdict::Wait
        } else {
            self.give_up("that it is good could not be written to the disk".to_owned())
        }
    }

    /// maild has ended so many times of late.
    pub(crate) fn maild_ended(&mut self, ends: usize) -> Verdict {
        match self.stage {
            Stage::Running { .. } if ends >= MAILD_ENDS => {
                self.give_up("its mail service does not stay up".to_owned())
            }
            _ => Verdict::Wait,
        }
    }

    /// The time is this.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Verdict {
        match self.stage {
            Stage::Running { until_ms } if until_ms <= now_ms => {
                self.give_up("it did not find itself good in time".to_owned())
            }
            _ => Verdict::Wait,
        }
    }

    /// When [`Trial::tick`] is to be called.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::Running { until_ms } => Some(until_ms),
            Stage::Marking | Stage::Over => None,
        }
    }

    /// Once, whatever else goes wrong: a box that has nothing to go back to had better stay up and say what is wrong.
    fn give_up(&mut self, why: String) -> Verdict {
        self.stage = Stage::Over;
        if self.has_other {
            Verdict::GiveUp(why)
        } else {
            Verdict::Stay(why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> Trial {
        let mut trial = Trial::new(1000, false);
        trial.knows(true);
        trial
    }

    fn gives_up(verdict: Verdict, expected: &str) {
        let Verdict::GiveUp(why) = verdict else {
            panic!("{verdict:?}")
        };
        assert!(why.contains(expected), "{why}");
    }

    #[test]
    fn d24_a_self_test_that_went_well_makes_it_good_once_the_disk_knows() {
        let mut trial = trial();
        assert_eq!(trial.self_test(true, ""), Verdict::MarkGood);
        assert!(trial.is_running());
        // No second time, and no hurry any more.
        assert_eq!(trial.self_test(true, ""), Verdict::Wait);
        assert_eq!(trial.tick(5000), Verdict::Wait);
        assert_eq!(trial.marked(true), Verdict::Wait);
        assert!(!trial.is_running());
        assert_eq!(trial.self_test(false, "port 25"), Verdict::Wait);
    }

    #[test]
    fn d24_each_way_to_fail_goes_back_to_the_other_and_says_why() {
        gives_up(trial().self_test(false, "port 25"), "port 25");
        gives_up(trial().tick(1000), "in time");
        gives_up(trial().maild_ended(MAILD_ENDS), "mail service");
        let mut unwritten = trial();
        unwritten.self_test(true, "");
        gives_up(unwritten.marked(false), "written");
    }

    #[test]
    fn nothing_happens_before_its_time() {
        let mut trial = trial();
        assert_eq!(trial.deadline_ms(), Some(1000));
        assert_eq!(trial.tick(999), Verdict::Wait);
        assert_eq!(trial.maild_ended(MAILD_ENDS - 1), Verdict::Wait);
        assert_eq!(trial.marked(true), Verdict::Wait);
        assert!(trial.is_running());
    }

    #[test]
    fn with_nothing_to_go_back_to_it_stays() {
        let mut alone = Trial::new(1000, true);
        alone.knows(false);
        assert!(matches!(alone.tick(1000), Verdict::Stay(_)));
        assert_eq!(alone.tick(1000), Verdict::Wait);
        assert!(!alone.is_running());
    }

    #[test]
    fn a_good_version_is_never_given_up() {
        let mut good = Trial::NONE;
        good.knows(true);
        assert_eq!(good.self_test(false, "port 25"), Verdict::Wait);
        assert_eq!(good.maild_ended(99), Verdict::Wait);
        assert_eq!(good.tick(u64::MAX), Verdict::Wait);
        assert_eq!(good.deadline_ms(), None);
    }
}
