//! The loop. One thread, one poll; nothing in here waits for anything else.

mod show;
mod wait;

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use board::Board;
use handoff::HostName;
use nix::sys::signal::Signal;

use crate::button::Buttons;
use crate::console::Console;
use crate::hotplug::{self, Hotplug};
use crate::leave::Feeding;
use crate::led::Lamp;
use crate::links::Links;
use crate::mail::Mail;
use crate::naming::Naming;
use crate::network::{self, Network};
use crate::page::State;
use crate::settings::keeping::Keeping;
use crate::shutdown::{Goal, Order, STOP_MS, Shutdown};
use crate::signals::{self, Signals};
use crate::slot;
use crate::standing::Standing;
use crate::storage::Storage;
use crate::time::Time;
use crate::trouble::Trouble;
use crate::version::Version;
use crate::worker::Task;
use crate::workers::Workers;

use wait::Source;

/// Everything init holds.
pub(crate) struct Machine {
    began: Instant,
    pub(crate) console: Console,
    pub(crate) version: Version,
    board: Board,
    signals: Signals,
    hotplug: Hotplug,
    /// When LED and buttons are looked for, if there were news of devices.
    devices_ms: Option<u64>,
    pub(crate) lamp: Lamp,
    pub(crate) buttons: Buttons,
    pub(crate) feeding: Option<Feeding>,
    /// The device that mail is kept on, once it is known.
    pub(crate) device: Option<String>,
    /// Whether everything on it is being overwritten.
    pub(crate) is_erasing: bool,
    /// Whether an update is being written.
    pub(crate) is_updating: bool,
    pub(crate) links: Links,
    /// As maild was told them last.
    addresses: Vec<(String, IpAddr, u8)>,
    /// What the box is called, as everybody but netd was told.
    pub(crate) host_name: HostName,
    pub(crate) naming: Naming,
    pub(crate) time: Time,
    pub(crate) keeping: Keeping,
    /// Whether somebody has said how the box gets its address, or nobody did when it was asked for.
    pub(crate) is_network_known: bool,
    pub(crate) workers: Workers,
    pub(crate) storage: Storage,
    pub(crate) standing: Standing,
    pub(crate) mail: Mail,
    pub(crate) shutdown: Option<Shutdown>,
    shown: Vec<String>,
    /// The state and the troubles it shows, and since when.
    shown_state: Option<(State, Vec<Trouble>, u64)>,
    page_ms: Option<u64>,
}

impl Machine {
    /// Takes over from the boot story.
    pub(crate) fn new(console: Console, version: Version, time: Time) -> io::Result<Self> {
        let board = board::linux::board();
        let network = Network::open()?;
        network::loopback_up(&network)?;
        let naming = Naming::new(Naming::default_name());
        let host_name = naming.name();
        network::set_host_name(&host_name)?;
        Ok(Self {
            began: Instant::now(),
            console,
            board,
            signals: Signals::open()?,
            hotplug: Hotplug::open()?,
            devices_ms: Some(0),
            lamp: Lamp::new(board.led),
            buttons: Buttons::new(board.button),
            feeding: Feeding::begin(),
            device: None,
            is_erasing: false,
            is_updating: false,
            links: Links::new(network, host_name.clone()),
            addresses: Vec::new(),
            host_name,
            naming,
            time,
            keeping: Keeping::default(),
            is_network_known: false,
            workers: Workers::default(),
            storage: Storage::default(),
            standing: Standing::new(slot::booted(), &version, slot::trial_ms()),
            version,
            mail: Mail::default(),
            shutdown: None,
            shown: Vec::new(),
            shown_state: None,
            page_ms: None,
        })
    }

    /// Runs until the power goes off.
    pub(crate) fn run(mut self) -> ! {
        if self.feeding.as_ref().is_some_and(Feeding::was_reset) {
            self.standing.trouble(Trouble::WatchdogReset);
        }
        self.show_page();
        let now_ms = self.now_ms();
        self.start_worker(Task::BringUp);
        self.links.refresh(&mut self.console, now_ms);
        loop {
            self.tick();
            for source in self.wait() {
                self.dispatch(source);
            }
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Does what is due. Does not return from the last thing to do.
    fn tick(&mut self) {
        let now_ms = self.now_ms();
        self.tick_records();
        if let Some(shutdown) = &mut self.shutdown {
            let has_children =
                self.mail.child.is_some() || self.links.has_children() || !self.workers.list.is_empty();
            match shutdown.next(has_children, now_ms) {
                Order::Wait => {}
                Order::Terminate => self.signal(Signal::SIGTERM),
                Order::Kill => self.signal(Signal::SIGKILL),
                Order::Finish => self.unmount(),
                Order::Leave => self.leave(false),
            }
        } else {
            self.tick_up(now_ms);
        }
        if self.devices_ms.is_some_and(|devices_ms| devices_ms <= now_ms) {
            self.devices_ms = None;
            self.buttons.find();
            self.lamp.find(now_ms);
        }
        self.tick_button(now_ms);
        self.tick_watchdog(now_ms);
        self.tick_page(now_ms);
        self.tick_led(now_ms);
    }

    /// What is due on the way up and while running.
    fn tick_up(&mut self, now_ms: u64) {
        let verdict = self.standing.tick(now_ms);
        self.follow(verdict);
        self.mail.tell_boot(self.standing.message());
        self.tick_care(now_ms);
        self.links.tick(&mut self.console, now_ms);
        let addresses = self.links.addresses();
        if addresses != self.addresses {
            self.mail.tell_addresses(&addresses);
            self.addresses = addresses;
        }
        self.mail
            .tick(&self.host_name, &self.addresses, &mut self.console, now_ms);
        self.follow_mail();
    }

    /// Takes what is ready. Positions in lists hold because only signals and the network, which come first in the
    /// order of [`Machine::descriptors`], change the lists, and a position that is gone is passed over.
    fn dispatch(&mut self, source: Source) {
        let now_ms = self.now_ms();
        match source {
            Source::Signals => {
                if let Some(goal) = self.signals.goal() {
                    self.stop(goal);
                }
                self.reap();
            }
            Source::Network => self.links.refresh(&mut self.console, now_ms),
            Source::Console => self.console.write_pending(),
            Source::Hotplug => {
                self.hotplug.drain();
                self.devices_ms = Some(now_ms + hotplug::SETTLE_MS);
            }
            Source::Key(at) => self.key(at),
            // It is looked at whenever the loop comes round.
            Source::Line => {}
            Source::MailControl => {
                self.mail.told(&mut self.console, now_ms);
                self.follow_mail();
                if let Some(line) = self.mail.announcement() {
                    // The page first: who waits for the line finds the fingerprint above it.
                    self.show_page();
                    self.console.line(&line);
                }
            }
            Source::MailOutput => self.mail.said(&mut self.console, now_ms),
            Source::LinkControl(at) => self.links.told(at, &mut self.console, now_ms),
            Source::LinkOutput(at) => self.links.said(at, &mut self.console, now_ms),
            Source::WorkerControl(at) => {
                if let Some(mut received) = self.workers.told(at, &mut self.console) {
                    let file = received.descriptors.pop();
                    self.hear(received.message, file);
                }
            }
            Source::WorkerOutput(at) => self.workers.said(at, &mut self.console, now_ms),
        }
    }

    fn reap(&mut self) {
        let now_ms = self.now_ms();
        for (pid, status) in signals::reap() {
            let console = &mut self.console;
            if self.links.ended(pid, status, console, now_ms) {
                // Its card may be gone, and was kept for this moment.
                self.links.refresh(console, now_ms);
            } else if let Some(ended) = self.workers.ended(pid, status, console, now_ms) {
                self.worker_ended(ended);
            } else {
                self.mail.ended(pid, status, console, now_ms);
                self.follow_mail();
            }
        }
    }

    /// Begins the way down. What is under way goes on; a second press changes nothing.
    pub(crate) fn stop(&mut self, goal: Goal) {
        if self.shutdown.is_some() {
            return;
        }
        self.shutdown = Some(Shutdown::begin(goal, self.now_ms()));
        self.mail.stop(STOP_MS);
        self.links.stop(self.now_ms());
        // What they do is safe to be cut off at any moment: the power may go as well.
        self.workers.ask_to_end();
        self.show_page();
    }

    fn signal(&self, signal: Signal) {
        self.mail.signal(signal);
        self.links.signal(signal);
        self.workers.signal(signal);
    }
}
