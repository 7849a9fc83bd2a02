//! The workers that run, as the loop sees them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;

use handoff::Received;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::child::{Child, Told, ending};
use crate::console::Console;
use crate::spawn::spawn_worker;
use crate::worker::Task;
use crate::worker::report::{Report, Source};

/// More than a control socket holds.
const LAST_MESSAGES_MAX: usize = 512;

/// A worker that runs.
#[derive(Debug)]
pub(crate) struct Worker {
    task: Task,
    pub(crate) child: Child,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    pub(crate) list: Vec<Worker>,
}

/// A worker that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) task: Task,
    /// Its last messages.
    pub(crate) reports: Vec<Received<Report>>,
    /// How it ended, unless as it should.
    pub(crate) failure: Option<String>,
}

impl Workers {
    /// Starts a worker.
    pub(crate) fn start(&mut self, task: Task, now_ms: u64) -> io::Result<()> {
        let child = Child::new(spawn_worker(&task.words())?, now_ms);
        self.list.push(Worker { task, child });
        Ok(())
    }

    /// Starts the worker that takes the update in `file`.
    pub(crate) fn start_update(
        &mut self,
        disk: String,
        file: &OwnedFd,
        octets: u32,
        now_ms: u64,
    ) -> io::Result<()> {
        self.start(Task::Update { disk }, now_ms)?;
        let is_sent = self
            .list
            .last()
            .is_some_and(|worker| worker.child.send(&Source { octets }, &[file.as_fd()]));
        if is_sent {
            Ok(())
        } else {
            // It ends by itself: nothing comes.
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    pub(crate) fn is_updating(&self) -> bool {
        self.list
            .iter()
            .any(|worker| matches!(worker.task, Task::Update { .. }))
    }

    /// Takes the next message of the worker at this position, if there is one.
    pub(crate) fn told(&mut self, at: usize, console: &mut Console) -> Option<Received<Report>> {
        let worker = self.list.get_mut(at)?;
        match worker.child.receive() {
            Told::Message(received) => Some(received),
            Told::Nothing => None,
            Told::Killed(why) => {
                console.line(&format!("The {} {why}.", worker.task.name()));
                None
            }
        }
    }

    /// Prints what the worker at this position has written: nothing, unless it panics or a program of it speaks.
    pub(crate) fn said(&mut self, at: usize, console: &mut Console, now_ms: u64) {
        if let Some(worker) = self.list.get_mut(at) {
            for line in worker.child.read_output(now_ms) {
                console.line(&line);
            }
        }
    }

    /// A child has ended; gives what is known of it if it was a worker.
    pub(crate) fn ended(
        &mut self,
        pid: Pid,
        status: ExitStatus,
        console: &mut Console,
        now_ms: u64,
    ) -> Option<Ended> {
        let at = self.list.iter().position(|worker| worker.child.pid == pid)?;
        let reports = (0..LAST_MESSAGES_MAX)
            .map_while(|_| self.told(at, console))
            .collect();
        let worker = self.list.remove(at);
        for line in worker.child.last_words(now_ms) {
            console.line(&line);
        }
        Some(Ended {
            task: worker.task,
            reports,
            failure: (!status.success()).then(|| ending(status)),
        })
    }

    /// On the way down: asks all to end but those that write down a setting, which takes a moment.
    pub(crate) fn ask_to_end(&self) {
        for worker in &self.list {
            if !matches!(worker.task, Task::Keep { .. }) {
                worker.child.signal(Signal::SIGTERM);
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        for worker in &self.list {
            worker.child.signal(signal);
        }
    }

    /// The descriptors of each: position, control socket, output.
    pub(crate) fn descriptors(
        &self,
    ) -> impl Iterator<Item = (usize, Option<BorrowedFd<'_>>, Option<BorrowedFd<'_>>)> {
        let each = self.list.iter().enumerate();
        each.map(|(at, worker)| (at, worker.child.control_fd(), worker.child.output_fd()))
    }
}
