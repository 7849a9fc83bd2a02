//! The watchdog, and the last things that the loop does.

use board::linux::Watchdog;

use crate::run::Machine;
use crate::shutdown::{self, Goal, UNMOUNT_MS};
use crate::trouble::Trouble;
use crate::worker::Task;

/// The watchdog bites so long after the loop has last come round. A Raspberry Pi's can wait for 15 s and says so.
const WATCHDOG_S: u32 = 30;

/// The watchdog with the time of the next feeding.
#[derive(Debug)]
pub(crate) struct Feeding {
    watchdog: Watchdog,
    due_ms: u64,
}

impl Feeding {
    /// Opens the watchdog, which starts it. A computer without one has none.
    pub(crate) fn begin() -> Option<Self> {
        let watchdog = Watchdog::open(WATCHDOG_S).ok()?;
        Some(Self { watchdog, due_ms: 0 })
    }

    /// Whether it was what reset the computer last.
    pub(crate) fn was_reset(&self) -> bool {
        self.watchdog.was_reset
    }
}

impl Machine {
    /// Feeds the watchdog when it is time. Nothing but the loop does: a loop that hangs is a box that hangs.
    pub(crate) fn tick_watchdog(&mut self, now_ms: u64) {
        let Some(feeding) = &mut self.feeding else { return };
        if feeding.due_ms <= now_ms {
            feeding.due_ms = now_ms + u64::from(feeding.watchdog.timeout_s.max(3)) * 1000 / 3;
            if let Err(error) = feeding.watchdog.feed() {
                // It bites soon. What is left of the time is for whoever reads this.
                self.standing.trouble(Trouble::Watchdog(error.to_string()));
            }
        }
    }

    /// When [`Machine::tick_watchdog`] is to be called.
    pub(crate) fn watchdog_deadline_ms(&self) -> Option<u64> {
        self.feeding.as_ref().map(|feeding| feeding.due_ms)
    }

    /// All children have ended, or will not: the disk is left. The loop goes on meanwhile, and feeds the watchdog.
    pub(crate) fn unmount(&mut self) {
        let goal = self.shutdown.as_ref().map(|shutdown| shutdown.goal);
        let reset = self.device.clone().filter(|_| goal == Some(Goal::Reset));
        self.start_worker(Task::Unmount { reset });
    }

    /// The last thing of all. `is_safe`: nothing on the disk is lost with the power.
    pub(crate) fn leave(&mut self, is_safe: bool) -> ! {
        // Room for the line that matters, should the children have had much to say.
        self.console.flush();
        if is_safe {
            self.console.line("STOPPED");
            self.lamp.off();
        } else {
            let seconds = UNMOUNT_MS / 1000;
            self.console.line(&format!(
                "The disk was not left in {seconds} s, or not cleanly: the last changes may be missing."
            ));
        }
        let goal = self
            .shutdown
            .as_ref()
            .map_or(Goal::Restart, |shutdown| shutdown.goal);
        match (goal, self.feeding.take()) {
            // A box that cannot switch its own power off had better stay as it is than start again.
            (Goal::PowerOff, Some(feeding)) => {
                let _ = feeding.watchdog.stop();
            }
            // Should the restart hang, the watchdog does it.
            (Goal::Restart | Goal::Reset, Some(feeding)) => std::mem::forget(feeding),
            (_, None) => {}
        }
        shutdown::leave(goal, &mut self.console)
    }
}
