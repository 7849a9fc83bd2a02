//! What the loop waits for: descriptors that are ready, and the next thing that is due.

use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::links::PATIENCE_MS;
use crate::run::Machine;

/// The loop wakes at least so often, whatever is due.
const IDLE_MS: u64 = 10_000;

/// What a descriptor that is ready belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Signals,
    Network,
    Console,
    Hotplug,
    Key(usize),
    Line,
    MailControl,
    MailOutput,
    LinkControl(usize),
    LinkOutput(usize),
    WorkerControl(usize),
    WorkerOutput(usize),
}

impl Machine {
    /// Waits until something is due or ready; gives what is ready.
    pub(super) fn wait(&mut self) -> Vec<Source> {
        let now_ms = self.now_ms();
        let timeout = self.deadline_ms(now_ms).saturating_sub(now_ms);
        let mut sources = Vec::new();
        let mut descriptors = Vec::new();
        for (source, descriptor, flags) in self.descriptors() {
            sources.push(source);
            descriptors.push(PollFd::new(descriptor, flags));
        }
        // A time that does not fit is far away.
        let timeout = u16::try_from(timeout).map_or(PollTimeout::MAX, PollTimeout::from);
        // An interrupted poll has nothing ready; the loop comes back.
        if poll(&mut descriptors, timeout).is_err() {
            return Vec::new();
        }
        let is_ready = descriptors
            .iter()
            .map(|descriptor| descriptor.any().unwrap_or(false));
        sources
            .into_iter()
            .zip(is_ready)
            .filter_map(|(source, is_ready)| is_ready.then_some(source))
            .collect()
    }

    fn descriptors(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut all = vec![
            (Source::Signals, self.signals.as_fd(), PollFlags::POLLIN),
            (Source::Network, self.links.network.as_fd(), PollFlags::POLLIN),
            (Source::Hotplug, self.hotplug.as_fd(), PollFlags::POLLIN),
        ];
        let console = self.console.as_fd().filter(|_| self.console.is_pending());
        all.extend(console.map(|descriptor| (Source::Console, descriptor, PollFlags::POLLOUT)));
        for (at, key) in self.buttons.keys.iter().enumerate() {
            all.push((Source::Key(at), key.as_fd(), PollFlags::POLLIN));
        }
        let line = self.buttons.line.as_ref();
        all.extend(line.map(|line| (Source::Line, line.as_fd(), PollFlags::POLLIN)));
        if let Some(child) = &self.mail.child {
            let control = child
                .control_fd()
                .map(|fd| (Source::MailControl, fd, PollFlags::POLLIN));
            let output = child
                .output_fd()
                .map(|fd| (Source::MailOutput, fd, PollFlags::POLLIN));
            all.extend(control.into_iter().chain(output));
        }
        for (at, link) in self.links.list.iter().enumerate() {
            let Some(child) = &link.child else { continue };
            let control = child
                .control_fd()
                .map(|fd| (Source::LinkControl(at), fd, PollFlags::POLLIN));
            let output = child
                .output_fd()
                .map(|fd| (Source::LinkOutput(at), fd, PollFlags::POLLIN));
            all.extend(control.into_iter().chain(output));
        }
        for (at, control, output) in self.workers.descriptors() {
            all.extend(control.map(|fd| (Source::WorkerControl(at), fd, PollFlags::POLLIN)));
            all.extend(output.map(|fd| (Source::WorkerOutput(at), fd, PollFlags::POLLIN)));
        }
        all
    }

    /// When the next thing is due.
    fn deadline_ms(&self, now_ms: u64) -> u64 {
        let mut due = vec![now_ms + IDLE_MS];
        due.extend(self.devices_ms);
        due.extend(self.page_ms);
        due.extend(self.buttons.deadline_ms(now_ms));
        due.extend(self.watchdog_deadline_ms());
        due.extend(self.lamp.deadline_ms(now_ms));
        if let Some(shutdown) = &self.shutdown {
            due.push(shutdown.until_ms());
        } else {
            due.extend(self.standing.deadline_ms());
            due.push(self.care_deadline_ms(now_ms));
            due.extend(self.links.deadline_ms());
            due.extend(self.mail.deadline_ms());
            // The moment from which a missing network is trouble.
            due.extend(Some(PATIENCE_MS).filter(|&patience_ms| patience_ms > now_ms));
        }
        due.into_iter().min().unwrap_or(now_ms)
    }
}
