//! What the loop does about what workers and maild have told it.

use std::os::fd::OwnedFd;

use crate::mail::Event;
use crate::run::Machine;
use crate::shutdown::Goal;
use crate::slot::trial::Verdict;
use crate::trouble::{Trouble, reason};
use crate::worker::Task;
use crate::worker::report::Report;
use crate::workers::Ended;

impl Machine {
    /// Starts a worker; that it cannot is what its end would be.
    pub(crate) fn start_worker(&mut self, task: Task) {
        let now_ms = self.now_ms();
        if let Err(error) = self.workers.start(task.clone(), now_ms) {
            let failure = format!("could not be started ({})", reason(&error));
            self.worker_ended(Ended {
                task,
                reports: Vec::new(),
                failure: Some(failure),
            });
        }
    }

    /// Takes a worker's message.
    pub(crate) fn hear(&mut self, report: Report, file: Option<OwnedFd>) {
        match report {
            Report::Say(text) => self.console.line(&text),
            Report::Activity(text) => self.storage.is_at(text),
            Report::Trouble(lines) => self.standing.trouble(Trouble::Told(lines)),
            Report::Failed(lines) => self.storage.trouble(Trouble::Told(lines)),
            Report::Slots(slots) => self.standing.knows(slots),
            Report::Provision { octets, origin } => {
                if let Some(file) = file {
                    self.storage.provided(file, octets, origin);
                    self.links.wait_for_provision(self.now_ms());
                }
            }
            Report::Record(record) => self.remember(record),
            Report::Settled => self.keeping.open(),
            Report::Device(device) => self.device = Some(device),
            Report::Erasing(is_erasing) => self.is_erasing = is_erasing,
            Report::Updating(is_updating) => self.is_updating = is_updating,
            Report::Mounted => {
                self.storage.mounted();
                if self.shutdown.is_none() {
                    self.start_worker(Task::KernelLog);
                }
            }
            Report::Unmounted => self.leave(true),
            Report::Ready => {
                let (provision, now_ms) = (self.storage.ready(), self.now_ms());
                if provision.is_none() {
                    self.settle();
                }
                if self.shutdown.is_none() {
                    self.mail.begin(provision, now_ms);
                }
            }
            Report::Good => {
                let verdict = self.standing.marked(true);
                self.follow(verdict);
            }
            Report::Update { is_taken, text } => {
                self.mail.tell_update(is_taken, &text);
                if is_taken {
                    self.stop(Goal::Restart);
                }
            }
        }
    }

    /// A worker has ended, having said all it had to say, or not.
    pub(crate) fn worker_ended(&mut self, ended: Ended) {
        let mut has_answered = false;
        for mut received in ended.reports {
            has_answered |= matches!(received.message, Report::Update { .. });
            let file = received.descriptors.pop();
            self.hear(received.message, file);
        }
        let is_stopping = self.shutdown.is_some();
        if let Some(how) = &ended.failure
            && !is_stopping
        {
            self.console.line(&format!("The {} {how}.", ended.task.name()));
        }
        match ended.task {
            Task::BringUp => {
                // One that was ended in the middle of either has not said that it is over.
                (self.is_erasing, self.is_updating) = (false, false);
                self.storage.ended(ended.failure);
                if self.storage.has_failed() {
                    self.settle();
                }
            }
            Task::Keep { kind, .. } => {
                if let Some(reason) = ended.failure {
                    self.standing.trouble(Trouble::Unkept { kind, reason });
                }
                self.keeping.done();
            }
            Task::Good { .. } => {
                // Nothing, if it was told to be good before.
                let verdict = self.standing.marked(false);
                self.follow(verdict);
            }
            Task::KernelLog => {}
            // It has not said that it is done.
            Task::Unmount { .. } => self.leave(false),
            Task::Update { .. } => {
                self.is_updating = false;
                if let Some(how) = ended.failure.filter(|_| !has_answered) {
                    let text = format!("The update was not taken: the program that writes it {how}.");
                    self.mail.tell_update(false, &text);
                }
            }
        }
    }

    /// Takes what maild has said of late.
    pub(crate) fn follow_mail(&mut self) {
        for event in self.mail.events() {
            match event {
                Event::SelfTest { is_ok, which } => {
                    let verdict = self.standing.self_test(is_ok, &which);
                    self.follow(verdict);
                }
                Event::Ended(times) => {
                    let verdict = self.standing.maild_ended(times);
                    self.follow(verdict);
                }
                Event::Update { octets } => self.update(octets),
                Event::Name(name) => self.set_name(name),
                Event::Network(settings) => self.set_network(settings),
            }
        }
    }

    /// An update lies in the letterbox.
    fn update(&mut self, octets: u32) {
        let now_ms = self.now_ms();
        let refusal = if self.shutdown.is_some() {
            "the box is stopping".to_owned()
        } else if self.workers.is_updating() {
            "another one is being taken".to_owned()
        } else if let (Some(disk), Some(file)) = (self.standing.disk(), self.mail.letterbox()) {
            match self.workers.start_update(disk.to_owned(), file, octets, now_ms) {
                Ok(()) => return,
                Err(error) => reason(&error),
            }
        } else {
            "the box was not started from a slot".to_owned()
        };
        let running = self.version.spoken();
        let text = format!("The update was not taken: {refusal}. {running} goes on running.");
        self.console.line(&text);
        self.mail.tell_update(false, &text);
    }

    /// What becomes of the version that runs.
    pub(crate) fn follow(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Wait => {}
            Verdict::MarkGood => {
                if let Some(disk) = self.standing.disk().map(str::to_owned) {
                    self.start_worker(Task::Good { disk });
                } else {
                    let verdict = self.standing.marked(false);
                    self.follow(verdict);
                }
            }
            Verdict::GiveUp(why) => {
                let name = self.standing.name();
                let text = format!("{name} is no good: {why}. The box starts again.");
                self.console.line(&text);
                log_to_kernel(&text);
                self.stop(Goal::Restart);
            }
            Verdict::Stay(why) => {
                log_to_kernel(&format!("This version is no good: {why}."));
                self.standing.trouble(Trouble::NoWayBack(why));
            }
        }
    }
}

/// So that it stands between the kernel's own lines, which are kept.
fn log_to_kernel(text: &str) {
    // Without it the console has the line all the same.
    let _ = std::fs::write("/dev/kmsg", format!("<4>postolka: {text}"));
}
