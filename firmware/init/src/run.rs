//! The loop. One thread, one poll; nothing in here waits for anything else.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use board::linux::{PowerKey, SysfsLed};
use board::{Board, Button, StatusLed};
use handoff::HostName;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::console::Console;
use crate::leave::Feeding;
use crate::links::{Links, PATIENCE_MS};
use crate::mail::Mail;
use crate::network::{self, Network};
use crate::page::{Page, State};
use crate::shutdown::{Goal, Order, STOP_MS, Shutdown};
use crate::signals::{self, Signals};
use crate::slot;
use crate::standing::Standing;
use crate::storage::Storage;
use crate::trouble::Trouble;
use crate::version::Version;
use crate::worker::Task;
use crate::workers::Workers;

/// Facts that change together are printed together: the page waits this long for more.
const PAGE_DELAY_MS: u64 = 200;
/// While something is under way it waits longer: what is over by then need not be told.
const PAGE_DELAY_BUSY_MS: u64 = 1_000;
/// Pages of one state with the same troubles are so far apart at least: each message changes the page, and a neighbour
/// can have IPv6 addresses come and go by router advertisements. Neither must fill the console.
const PAGE_GAP_MS: u64 = 10_000;
/// How often is looked for power keys that were plugged in.
const KEYS_MS: u64 = 2_000;
/// The loop wakes at least so often, whatever is due.
const IDLE_MS: u64 = 10_000;

/// Everything init holds.
pub(crate) struct Machine {
    began: Instant,
    pub(crate) console: Console,
    pub(crate) version: Version,
    board: Board,
    pub(crate) led: Option<StatusLed<SysfsLed>>,
    led_ms: Option<u64>,
    signals: Signals,
    pub(crate) keys: Vec<PowerKey>,
    keys_ms: u64,
    pub(crate) button: Button,
    /// The press that was warned of, by its begin.
    pub(crate) warned_ms: Option<u64>,
    pub(crate) feeding: Option<Feeding>,
    /// The device that mail is kept on, once it is known.
    pub(crate) device: Option<String>,
    /// Whether everything on it is being overwritten.
    pub(crate) is_erasing: bool,
    links: Links,
    /// As maild was told them last.
    addresses: Vec<(String, IpAddr, u8)>,
    host_name: HostName,
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

/// What a descriptor that is ready belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    Network,
    Console,
    Key(usize),
    MailControl,
    MailOutput,
    LinkControl(usize),
    LinkOutput(usize),
    WorkerControl(usize),
    WorkerOutput(usize),
}

impl Machine {
    /// Takes over from the boot story.
    pub(crate) fn new(console: Console, version: Version, host_name: HostName) -> io::Result<Self> {
        let board = board::linux::board();
        let led = board
            .led
            .and_then(|name| SysfsLed::open(name).ok())
            .map(|pin| StatusLed::new(pin, 0));
        let network = Network::open()?;
        network::loopback_up(&network)?;
        network::set_host_name(&host_name)?;
        Ok(Self {
            began: Instant::now(),
            console,
            board,
            led_ms: led.is_some().then_some(0),
            led,
            signals: Signals::open()?,
            keys: Vec::new(),
            keys_ms: 0,
            button: Button::default(),
            warned_ms: None,
            feeding: Feeding::begin(),
            device: None,
            is_erasing: false,
            links: Links::new(network),
            addresses: Vec::new(),
            host_name,
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
        if now_ms >= self.keys_ms {
            self.keys_ms = now_ms + KEYS_MS;
            self.find_keys();
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
        self.links.tick(&mut self.console, now_ms);
        let addresses = self.links.addresses();
        if addresses != self.addresses {
            self.mail.tell_addresses(&addresses);
            self.addresses = addresses;
        }
        self.mail
            .tick(&self.host_name, &self.addresses, &mut self.console, now_ms);
    }

    fn tick_page(&mut self, now_ms: u64) {
        if self.page_ms.is_some_and(|page_ms| page_ms <= now_ms) {
            self.show_page();
        } else if self.page().render() != self.shown {
            let state = self.state();
            let is_busy = matches!(state, State::Starting(_) | State::Restarting);
            let delay_ms = if is_busy {
                PAGE_DELAY_BUSY_MS
            } else {
                PAGE_DELAY_MS
            };
            let mut due_ms = now_ms + delay_ms;
            if let Some((shown, troubles, shown_ms)) = &self.shown_state
                && *shown == state
                && *troubles == self.troubles()
            {
                due_ms = due_ms.max(shown_ms + PAGE_GAP_MS);
            }
            self.page_ms = Some(self.page_ms.map_or(due_ms, |page_ms| page_ms.min(due_ms)));
        }
    }

    fn tick_led(&mut self, now_ms: u64) {
        let state = if self.is_counting() {
            board::State::Counting
        } else if self.is_erasing {
            board::State::Erasing
        } else {
            led_state(&self.page())
        };
        let Some(led) = &mut self.led else { return };
        led.show(state, now_ms);
        self.led_ms = match led.tick(now_ms) {
            Ok(rest_ms) => rest_ms.map(|rest_ms| now_ms + u64::from(rest_ms)),
            // Tried again when something happens; a LED is not worth a message.
            Err(_) => None,
        };
    }

    /// When the next thing is due.
    fn deadline_ms(&self, now_ms: u64) -> u64 {
        let mut due = vec![now_ms + IDLE_MS, self.keys_ms];
        due.extend(self.page_ms);
        due.extend(self.button_deadline_ms());
        due.extend(self.watchdog_deadline_ms());
        due.extend(self.led_ms);
        if let Some(shutdown) = &self.shutdown {
            due.push(shutdown.until_ms());
        } else {
            due.extend(self.standing.deadline_ms());
            due.extend(self.links.deadline_ms());
            due.extend(self.mail.deadline_ms(now_ms));
            // The moment from which a missing network is trouble.
            due.extend(Some(PATIENCE_MS).filter(|&patience_ms| patience_ms > now_ms));
        }
        due.into_iter().min().unwrap_or(now_ms)
    }

    /// Waits until something is due or ready; gives what is ready.
    fn wait(&mut self) -> Vec<Source> {
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
        ];
        let console = self.console.as_fd().filter(|_| self.console.is_pending());
        all.extend(console.map(|descriptor| (Source::Console, descriptor, PollFlags::POLLOUT)));
        for (at, key) in self.keys.iter().enumerate() {
            all.push((Source::Key(at), key.as_fd(), PollFlags::POLLIN));
        }
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
            Source::Key(at) => self.key(at),
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
        self.links.stop();
        // What they do is safe to be cut off at any moment: the power may go as well.
        self.workers.signal(Signal::SIGTERM);
        self.show_page();
    }

    fn signal(&self, signal: Signal) {
        self.mail.signal(signal);
        self.links.signal(signal);
        self.workers.signal(signal);
    }

    fn show_page(&mut self) {
        self.page_ms = None;
        let lines = self.page().render();
        if lines != self.shown {
            for line in &lines {
                self.console.line(line);
            }
            self.shown = lines;
            self.shown_state = Some((self.state(), self.troubles(), self.now_ms()));
        }
    }

    fn page(&self) -> Page {
        Page {
            title: format!("{} {}", self.version.name, self.version.spoken()),
            board: self.board.name,
            state: self.state(),
            host_name: self.host_name.as_str().to_owned(),
            version: self.standing.sentence(),
            is_development: self.version.is_development,
            addresses: self
                .addresses
                .iter()
                .map(|(interface, ip, _)| (interface.clone(), *ip))
                .collect(),
            ports: self.mail.ports(),
            fingerprint: self.mail.fingerprint(),
            status: self.mail.status().to_vec(),
            troubles: self.troubles(),
        }
    }

    fn state(&self) -> State {
        if self.shutdown.is_some() {
            State::Stopping
        } else if self.storage.has_failed() {
            State::NoMail
        } else if self.mail.is_ready() {
            State::Ready
        } else if self.mail.is_restarting() {
            State::Restarting
        } else {
            State::Starting(self.storage.activity())
        }
    }

    fn troubles(&self) -> Vec<Trouble> {
        if self.shutdown.is_some() {
            return Vec::new();
        }
        let network = Some(())
            .filter(|()| self.now_ms() >= PATIENCE_MS)
            .and_then(|()| self.links.trouble());
        let storage = self.storage.troubles().iter().cloned();
        let standing = self.standing.troubles().iter().cloned();
        let before = storage.chain(standing);
        before.chain(self.mail.troubles()).chain(network).collect()
    }
}

/// What the LED says about a page.
fn led_state(page: &Page) -> board::State {
    match page.state {
        State::Starting(_) => board::State::Booting,
        State::Ready if page.troubles.is_empty() => board::State::Ok,
        State::Ready | State::Restarting | State::NoMail => board::State::Attention,
        State::Stopping => board::State::Stopping,
    }
}
