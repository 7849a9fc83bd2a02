//! The way down: ask, insist, force, then leave the disk. Pure, except for [`leave`].

use nix::sys::reboot::{RebootMode, reboot};

use crate::console::Console;

/// How long maild may take to finish what is under way.
pub(crate) const STOP_MS: u32 = 10_000;
/// From the end of that to SIGTERM's effect.
pub(crate) const TERMINATE_MS: u64 = 2_000;
/// How long the kernel may take to end a killed process (one that waits for a disk cannot be ended before).
pub(crate) const KILL_MS: u64 = 2_000;

/// How long it may take to write what is still in memory: a slow card takes minutes for a gigabyte.
pub(crate) const UNMOUNT_MS: u64 = 300_000;

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The power goes off.
    PowerOff,
    /// The box starts again.
    Restart,
    /// It starts again, and everything on its disk is discarded.
    Reset,
}

/// A shutdown under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shutdown {
    pub(crate) goal: Goal,
    stage: Stage,
    until_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    Terminated,
    Killed,
    /// The disk is being left.
    Leaving,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing, until a child ends or the time of [`Shutdown::until_ms`] comes.
    Wait,
    /// SIGTERM to all children.
    Terminate,
    /// SIGKILL to all children.
    Kill,
    /// All children have ended, or will not: sync, unmount, power.
    Finish,
    /// That takes too long: the power, without more ado.
    Leave,
}

impl Shutdown {
    /// Begins: the caller has sent `Stop` to its children.
    pub(crate) fn begin(goal: Goal, now_ms: u64) -> Self {
        Self {
            goal,
            stage: Stage::Asked,
            until_ms: now_ms + u64::from(STOP_MS),
        }
    }

    /// When the next step is due.
    pub(crate) fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// The next step, given whether any child is left.
    pub(crate) fn next(&mut self, has_children: bool, now_ms: u64) -> Order {
        let is_over = !has_children || self.stage == Stage::Killed && now_ms >= self.until_ms;
        if is_over && self.stage != Stage::Leaving {
            (self.stage, self.until_ms) = (Stage::Leaving, now_ms + UNMOUNT_MS);
            return Order::Finish;
        }
        if now_ms < self.until_ms {
            return Order::Wait;
        }
        match self.stage {
            Stage::Asked => {
                (self.stage, self.until_ms) = (Stage::Terminated, now_ms + TERMINATE_MS);
                Order::Terminate
            }
            Stage::Terminated => {
                (self.stage, self.until_ms) = (Stage::Killed, now_ms + KILL_MS);
                Order::Kill
            }
            // The former is over by then: see above.
            Stage::Killed | Stage::Leaving => Order::Leave,
        }
    }
}

/// Switches the power.
pub(crate) fn leave(goal: Goal, console: &mut Console) -> ! {
    console.flush();
    let mode = match goal {
        Goal::PowerOff => RebootMode::RB_POWER_OFF,
        Goal::Restart | Goal::Reset => RebootMode::RB_AUTOBOOT,
    };
    let Err(error) = reboot(mode);
    console.line(&format!(
        "The power could not be switched: {error}. Unplug the box."
    ));
    console.flush();
    loop {
        // The end of process 1 would be a kernel panic, and that a restart.
        nix::unistd::pause();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_that_follow_are_not_waited_for_longer() {
        let mut shutdown = Shutdown::begin(Goal::PowerOff, 1000);
        assert_eq!(shutdown.next(true, 1000), Order::Wait);
        assert_eq!(shutdown.until_ms(), 11_000);
        assert_eq!(shutdown.next(false, 1500), Order::Finish);
    }

    #[test]
    fn the_disk_is_left_once_and_waited_for_a_bounded_time() {
        let mut shutdown = Shutdown::begin(Goal::Reset, 1000);
        assert_eq!(shutdown.next(false, 1500), Order::Finish);
        // Whoever leaves the disk is a child too.
        assert_eq!(shutdown.next(true, 1501), Order::Wait);
        assert_eq!(shutdown.next(false, 1502), Order::Wait);
        assert_eq!(shutdown.next(true, 1500 + UNMOUNT_MS), Order::Leave);
    }

    #[test]
    fn children_that_do_not_follow_are_terminated_then_killed_then_left() {
        let mut shutdown = Shutdown::begin(Goal::Restart, 0);
        assert_eq!(shutdown.next(true, 9_999), Order::Wait);
        assert_eq!(shutdown.next(true, 10_000), Order::Terminate);
        assert_eq!(shutdown.next(true, 10_001), Order::Wait);
        assert_eq!(shutdown.next(true, 12_000), Order::Kill);
        assert_eq!(shutdown.next(true, 12_001), Order::Wait);
        assert_eq!(shutdown.next(true, 14_000), Order::Finish);
    }
}
