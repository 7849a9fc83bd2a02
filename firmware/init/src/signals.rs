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

use nix::sys::reboot::set_cad_enabled;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
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
pub(crate) fn reap() -> Vec<(Pid, WaitStatus)> {
    let mut ended = Vec::new();
    while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        match status.pid() {
            Some(pid) => ended.push((pid, status)),
            // Children live on, and none has ended.
            None => break,
        }
    }
    ended
}
