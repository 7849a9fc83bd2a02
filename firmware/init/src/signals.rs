//! Signals as something to read from.
//!
//! | signal | sent by | means |
//! | --- | --- | --- |
//! | SIGCHLD | the kernel | a child has ended |
//! | SIGTERM | an operator | power off |
//! | SIGPWR | a power supply's driver | power off |
//! | SIGINT | the kernel, for Ctrl-Alt-Del | start again |

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::libc;
use nix::sys::reboot::set_cad_enabled;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::shutdown::Goal;

/// The signals init listens to.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks them and opens a descriptor for them. `spawn` unblocks them for children.
    pub(crate) fn open() -> io::Result<Self> {
        let set: SigSet = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGPWR, Signal::SIGINT]
            .into_iter()
            .collect();
        set.thread_block()?;
        // Ctrl-Alt-Del comes as SIGINT instead of a reset without a sync. Fails where init is not process 1.
        let _ = set_cad_enabled(false);
        Ok(Self(SignalFd::with_flags(
            &set,
            SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
        )?))
    }

    /// Takes all waiting signals; gives the goal of the last one that has one.
    pub(crate) fn goal(&self) -> Option<Goal> {
        let mut goal = None;
        while let Ok(Some(signal)) = self.0.read_signal() {
            let signal = i32::try_from(signal.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok());
            match signal {
                Some(Signal::SIGTERM | Signal::SIGPWR) => goal = Some(Goal::PowerOff),
                Some(Signal::SIGINT) => goal = Some(Goal::Restart),
                _ => {}
            }
        }
        goal
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The children that have ended, ours and those that lost their parents.
pub(crate) fn reap() -> Vec<(Pid, ExitStatus)> {
    std::iter::from_fn(|| next_ended(ANY_CHILD)).collect()
}

/// `waitpid` for every child.
const ANY_CHILD: libc::pid_t = -1;

/// One of `which` that has ended. nix's `waitpid` has no word for a child that a real-time signal has ended: it takes
/// such a one away and gives an error, and whoever waits for that child waits for ever.
#[allow(unsafe_code)]
fn next_ended(which: libc::pid_t) -> Option<(Pid, ExitStatus)> {
    let mut status = 0;
    // SAFETY: the kernel writes one int behind the pointer, and `status` lives until the call returns.
    let pid = unsafe { libc::waitpid(which, &raw mut status, libc::WNOHANG) };
    // 0: there are children, and none has ended. -1: there are none.
    (pid > 0).then(|| (Pid::from_raw(pid), ExitStatus::from_raw(status)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    use super::*;

    // It is waited for by what is tested.
    #[allow(clippy::zombie_processes)]
    fn ended(script: &str) -> ExitStatus {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        // Waits and leaves it; an error is that of nix, which is not the one tested.
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let (reaped, status) = next_ended(pid.as_raw()).unwrap();
        assert_eq!((reaped, next_ended(pid.as_raw())), (pid, None));
        status
    }

    #[test]
    fn a_child_is_reaped_however_it_ends() {
        assert_eq!(ended("exit 7").code(), Some(7));
        assert_eq!(ended("kill -KILL $$").signal(), Some(9));
        assert_eq!(ended("kill -35 $$").signal(), Some(35));
    }
}
