//! What the loop does about the box's name, its network and its time: what it was set to, and what netd has heard.

use handoff::{HostName, Ipv4Settings};

use crate::links;
use crate::naming::Naming;
use crate::network;
use crate::run::Machine;
use crate::settings::Record;
use crate::time::{Outcome, now_seconds};
use crate::trouble::reason;
use crate::worker::Task;

impl Machine {
    /// What was written down before this start. What was set since counts more.
    pub(crate) fn remember(&mut self, record: Record) {
        if self.keeping.has(record.kind()) {
            return;
        }
        match record {
            Record::Name(name) => self.naming.choose(name),
            Record::Network(settings) => {
                self.links.set_ipv4(settings);
                self.is_network_known = true;
                self.links.settle();
            }
            Record::Time(seconds) => {
                let outcome = self.time.remembers(seconds);
                self.tell_time(outcome);
            }
        }
    }

    /// Nobody will say how the box gets its address before the network is up. Written down, so that the next start need not
    /// wait for anybody.
    pub(crate) fn settle(&mut self) {
        self.links.settle();
        if !std::mem::replace(&mut self.is_network_known, true) {
            self.keeping.put(Record::Network(self.links.ipv4().clone()));
        }
    }

    /// Somebody has given the box a name.
    pub(crate) fn set_name(&mut self, name: HostName) {
        if *self.naming.base() != name {
            self.keeping.put(Record::Name(name.clone()));
            self.naming.choose(name);
        }
    }

    /// Somebody has decided how the box gets its address. maild has looked at it before: it knows the same rules.
    pub(crate) fn set_network(&mut self, settings: Ipv4Settings) {
        if let Ipv4Settings::Static(fixed) = &settings
            && let Err(why) = network::check_static(fixed)
        {
            let why = format!("it has set a network that cannot be ({why})");
            return self.mail.refuse(&why, &mut self.console);
        }
        if *self.links.ipv4() != settings {
            self.keeping.put(Record::Network(settings.clone()));
            self.links.set_ipv4(settings);
        }
        self.settle();
    }

    /// Back to the name and the network that nobody has set: for whoever cannot reach the box any more.
    pub(crate) fn forget_settings(&mut self) {
        // Written down whatever holds now: the records of before may not be read yet, and must not come back.
        self.keeping.put(Record::Name(Naming::default_name()));
        self.keeping.put(Record::Network(Ipv4Settings::Dynamic));
        self.naming.choose(Naming::default_name());
        if *self.links.ipv4() != Ipv4Settings::Dynamic {
            self.links.set_ipv4(Ipv4Settings::Dynamic);
        }
        self.settle();
    }

    /// Takes what netd has said that is not about its link alone.
    pub(crate) fn follow_links(&mut self) {
        let now_ms = self.now_ms();
        for event in self.links.events() {
            match event {
                links::Event::Time { unix_ms, boot_ms } => {
                    let outcome = self.time.sample(unix_ms, boot_ms);
                    self.tell_time(outcome);
                }
                links::Event::NameConflict(taken) => {
                    if self.naming.conflict(&taken, now_ms) {
                        let name = self.naming.name();
                        let (taken, name) = (taken.as_str(), name.as_str());
                        self.console
                            .line(&format!("Another device is called {taken}: this box is {name}."));
                    }
                }
            }
        }
    }

    fn tell_time(&mut self, outcome: Outcome) {
        if let Some(line) = outcome.line {
            self.console.line(&line);
        }
        if outcome.has_jumped {
            self.mail.clock_was_set();
        }
    }

    /// Does what is due while the box is up.
    pub(crate) fn tick_care(&mut self, now_ms: u64) {
        self.follow_links();
        // What a `postolka.toml` says was said before.
        if self.mail.is_claimed().is_some() {
            self.settle();
        }
        // AX3: a box that has an owner is found by the name that it was given in the DNS.
        let is_announced = self.mail.is_claimed() == Some(false);
        if !is_announced {
            self.naming.forget_conflict();
        }
        self.naming.tick(now_ms);
        let name = self.naming.name();
        if name != self.host_name {
            if let Err(error) = network::set_host_name(&name) {
                self.console
                    .line(&format!("The kernel did not take the name: {}.", reason(&error)));
            }
            self.mail.tell_host_name(&name);
            self.host_name = name;
        }
        self.links.announce(self.naming.announced(), is_announced);
        let (has_changed, is_to_be_kept) = self.time.tick();
        if has_changed {
            self.mail.tell_clock(self.time.is_synced());
        }
        if is_to_be_kept {
            self.keeping.put(Record::Time(now_seconds()));
        }
    }

    /// Has the next record written. Also on the way down, before the disk is left.
    pub(crate) fn tick_records(&mut self) {
        if let Some(record) = self.keeping.next() {
            let (kind, body) = (record.kind(), record.body());
            self.start_worker(Task::Keep { kind, body });
        }
    }

    /// When [`Machine::tick_care`] is to be called.
    pub(crate) fn care_deadline_ms(&self, now_ms: u64) -> u64 {
        let time_ms = now_ms.saturating_add(self.time.wait_ms());
        self.naming
            .deadline_ms()
            .map_or(time_ms, |due_ms| due_ms.min(time_ms))
    }
}
