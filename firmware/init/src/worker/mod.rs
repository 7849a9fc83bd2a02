//! Work that touches block devices, in a process of its own: the loop feeds the watchdog and must not wait for a card.
//!
//! A worker is this program started again (`/init worker TASK …`) with the rights of root. It does one thing, tells the loop
//! about it ([`report`]) and ends. What it mounts stays: it shares the loop's file systems.

mod bring_up;
pub(crate) mod report;
mod tasks;

use std::env;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use handoff::Channel;

use crate::settings::Kind;
use crate::trouble::Trouble;
use report::Report;

/// What a worker does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// From "no disk yet" to "the data file system is mounted and the stick was read".
    BringUp,
    /// Writes down that the running slot is good, and looks after the other.
    Good { disk: String },
    /// Takes the update that the loop hands over.
    Update { disk: String },
    /// Keeps what the kernel says on the data disk, until it is ended.
    KernelLog,
    /// Writes down what init is set to.
    Keep { kind: Kind, body: String },
    /// Syncs and unmounts the data file system, as the last thing of all. `reset`: and marks this device as one to be
    /// reset.
    Unmount { reset: Option<String> },
}

impl Task {
    /// As words of the command line.
    pub(crate) fn words(&self) -> Vec<&str> {
        match self {
            Self::BringUp => vec!["bring-up"],
            Self::Good { disk } => vec!["good", disk],
            Self::Update { disk } => vec!["update", disk],
            Self::KernelLog => vec!["kernel-log"],
            Self::Keep { kind, body } => vec!["keep", kind.word(), body],
            Self::Unmount { reset: None } => vec!["unmount"],
            Self::Unmount { reset: Some(device) } => vec!["unmount", device],
        }
    }

    fn of(words: &[String]) -> Option<Self> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["bring-up"] => Some(Self::BringUp),
            ["good", disk] => Some(Self::Good {
                disk: disk.to_owned(),
            }),
            ["update", disk] => Some(Self::Update {
                disk: disk.to_owned(),
            }),
            ["kernel-log"] => Some(Self::KernelLog),
            ["keep", kind, body] => Some(Self::Keep {
                kind: Kind::of(kind)?,
                body: body.to_owned(),
            }),
            ["unmount"] => Some(Self::Unmount { reset: None }),
            ["unmount", device] => Some(Self::Unmount {
                reset: Some(device.to_owned()),
            }),
            _ => None,
        }
    }

    /// What the console calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::BringUp => "start of the disk",
            Self::Good { .. } => "care of the slots",
            Self::Update { .. } => "update",
            Self::KernelLog => "keeping of the kernel's lines",
            Self::Keep { .. } => "keeping of the settings",
            Self::Unmount { .. } => "end of the disk",
        }
    }
}

/// The worker's end of the line to the loop.
pub(crate) struct Reporter(Channel);

impl Reporter {
    /// A line for the console.
    fn say(&self, text: &str) {
        self.send(&Report::Say(text.to_owned()), &[]);
    }

    /// What is under way, for the page.
    fn activity(&self, text: &str) {
        self.send(&Report::Activity(text.to_owned()), &[]);
    }

    fn trouble(&self, trouble: &Trouble) {
        self.send(&Report::Trouble(trouble.lines()), &[]);
    }

    /// Something that leaves no place for mail.
    fn failed(&self, trouble: &Trouble) {
        self.send(&Report::Failed(trouble.lines()), &[]);
    }

    /// It waits until the loop takes it. A loop that is gone takes nothing, and is the end of the box besides.
    fn send(&self, report: &Report, descriptors: &[BorrowedFd<'_>]) {
        let _ = self.0.send(report, descriptors);
    }

    fn receive_source(&self) -> io::Result<(report::Source, std::fs::File)> {
        let received = self.0.receive::<report::Source>().map_err(io::Error::other)?;
        let descriptor = received.descriptors.into_iter().next();
        let descriptor = descriptor.ok_or(io::ErrorKind::InvalidInput)?;
        Ok((received.message, descriptor.into()))
    }
}

/// The first arguments of a worker.
pub(crate) const WORD: &str = "worker";

/// Does what the command line says, if it says that this is a worker.
pub(crate) fn main() -> Option<ExitCode> {
    let words: Vec<String> = env::args().skip(1).collect();
    let (first, rest) = words.split_first()?;
    if first != WORD {
        return None;
    }
    let (Some(task), Ok(channel)) = (Task::of(rest), Channel::inherited()) else {
        return Some(ExitCode::FAILURE);
    };
    let reporter = Reporter(channel);
    match task {
        Task::BringUp => bring_up::run(&reporter),
        Task::Good { disk } => tasks::good(&disk, &reporter),
        Task::Update { disk } => tasks::update(&disk, &reporter),
        Task::KernelLog => tasks::kernel_log(&reporter),
        Task::Keep { kind, body } => tasks::keep(kind, &body, &reporter),
        Task::Unmount { reset } => tasks::unmount(reset.as_deref(), &reporter),
    }
    Some(ExitCode::SUCCESS)
}

/// The descriptor beside a provisioning file.
fn beside(file: &impl AsFd) -> [BorrowedFd<'_>; 1] {
    [file.as_fd()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_what_its_words_say() {
        let disk = || "mmcblk0".to_owned();
        for task in [
            Task::BringUp,
            Task::Good { disk: disk() },
            Task::Update { disk: disk() },
            Task::KernelLog,
            Task::Keep {
                kind: Kind::Network,
                body: "192.0.2.5/24 via 192.0.2.1".to_owned(),
            },
            Task::Unmount { reset: None },
            Task::Unmount { reset: Some(disk()) },
        ] {
            let words: Vec<String> = task.words().into_iter().map(str::to_owned).collect();
            assert_eq!(Task::of(&words), Some(task));
        }
        assert_eq!(Task::of(&["good".to_owned()]), None);
        assert_eq!(Task::of(&["keep", "mail", "x"].map(str::to_owned)), None);
    }
}
