//! The mail service: maild, from its start to its end, again and again.
//!
//! ```text
//! init                                            maild
//!  HostName Addresses Boot Clock Listener(web)…
//!  Provision? Letterbox Start            ───▶     opens the house
//!                                        ◀───     Opened{is_claimed}
//!  Listener(mail)… if it is claimed, Serve ──▶    serves
//!                                        ◀───     Ready
//! ```
//!
//! When the box is claimed while it runs, the second half comes again.

mod letterbox;
mod ports;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitStatus;

use handoff::{
    Boot, ConsoleLine, FINGERPRINT_OCTETS, FromMaild, HostName, Ipv4Settings, Sentence, Status, ToMaild,
};
use letterbox::letterbox;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use ports::Ports;

use crate::child::{Child, Told, ending};
use crate::console::Console;
use crate::network;
use crate::slot;
use crate::spawn::{MAILD, kill_group, spawn};
use crate::stick::Provision;
use crate::supervise::{Crashes, Restarts, Verdict, judge, rest_ms};
use crate::trouble::Trouble;

/// More than a control socket holds.
const LAST_MESSAGES_MAX: usize = 512;

/// maild and what belongs to it.
#[derive(Debug, Default)]
// They are what maild has said, or init, and independent of each other.
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Mail {
    pub(crate) child: Option<Child>,
    restarts: Restarts,
    crashes: Crashes,
    start_ms: Option<u64>,
    ports: Ports,
    provision: Option<Provision>,
    /// Whether the box has an owner. Unknown until maild has said so.
    is_claimed: Option<bool>,
    is_ready: bool,
    /// Whether [`Mail::announcement`] was given for this start.
    is_announced: bool,
    is_stopping: bool,
    fingerprint: Option<[u8; FINGERPRINT_OCTETS]>,
    status: Status,
    /// Until then a press of the button is for maild.
    await_button_ms: Option<u64>,
    /// The last sign of life of this maild, from Ready on.
    alive_ms: Option<u64>,
    aborted_ms: Option<u64>,
    last_end: Option<String>,
    /// What maild is told of the start of the box.
    boot: Boot,
    is_clock_synced: bool,
    /// Where maild puts a firmware update. Not there, if there was no memory for it.
    letterbox: Option<OwnedFd>,
    events: Vec<Event>,
}

/// What maild has said that is not about itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// It has tried itself out.
    SelfTest {
        is_ok: bool,
        /// What failed, or what was tried.
        which: String,
    },
    /// Somebody wants this firmware.
    Update { octets: u32 },
    /// Somebody wants the box to be called this.
    Name(HostName),
    /// Somebody wants it to get its address like this.
    Network(Ipv4Settings),
    /// It has ended, so many times of late.
    Ended(usize),
}

impl Mail {
    /// Has maild started at the next tick.
    pub(crate) fn begin(&mut self, provision: Option<Provision>, now_ms: u64) {
        self.provision = provision;
        self.letterbox = letterbox().ok();
        self.start_ms = Some(now_ms);
    }

    /// Does what is due.
    pub(crate) fn tick(
        &mut self,
        host_name: &HostName,
        addresses: &[(String, IpAddr, u8)],
        console: &mut Console,
        now_ms: u64,
    ) {
        if self.child.is_none() && self.start_ms.is_some_and(|start_ms| start_ms <= now_ms) {
            self.start_ms = None;
            if let Err(error) = self.start(host_name, addresses, now_ms) {
                console.line(&format!("maild could not be started: {error}"));
                self.last_end = Some("could not be started".to_owned());
                self.start_ms = Some(now_ms + self.delay_ms(0, now_ms));
            }
        }
        let Some(child) = &self.child else { return };
        let ran_ms = now_ms.saturating_sub(child.since_ms);
        self.restarts.runs(ran_ms);
        self.crashes.runs(ran_ms);
        // Before it is ready it may be busy for minutes: with a log to replay, with an index to build.
        let Some(alive_ms) = self.alive_ms else { return };
        match judge(alive_ms, self.aborted_ms, now_ms) {
            Verdict::Fine { .. } => {}
            Verdict::Abort => {
                console.line("maild shows no sign of life and is ended.");
                child.signal(Signal::SIGABRT);
                self.aborted_ms = Some(now_ms);
            }
            Verdict::Kill => child.signal(Signal::SIGKILL),
        }
    }

    /// When [`Mail::tick`] is to be called.
    pub(crate) fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        if self.child.is_none() {
            return self.start_ms;
        }
        match judge(self.alive_ms?, self.aborted_ms, now_ms) {
            Verdict::Fine { again_ms } => Some(again_ms),
            Verdict::Abort => Some(now_ms),
            // SIGKILL is on its way; nothing is gained by looking before the kernel is done.
            Verdict::Kill => None,
        }
    }

    /// Starts maild and hands over what does not depend on whether the box is claimed.
    fn start(
        &mut self,
        host_name: &HostName,
        addresses: &[(String, IpAddr, u8)],
        now_ms: u64,
    ) -> io::Result<()> {
        // What can fail comes before the start: a maild that is running is one that is kept.
        self.ports.open_web();
        self.ports.mend()?;
        let provision = match &self.provision {
            // Opened anew each time: the one before has read its descriptor to the end.
            Some(Provision {
                file, octets, origin, ..
            }) => {
                let file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                Some((file, *octets, *origin))
            }
            None => None,
        };
        let child = Child::new(spawn(MAILD)?, now_ms);
        (self.alive_ms, self.aborted_ms) = (None, None);
        let mut is_sent = child.send(&ToMaild::HostName(host_name.clone()), &[])
            && child.send(&ToMaild::Addresses(network::listed(addresses)), &[])
            && child.send(&ToMaild::Boot(self.boot), &[])
            && child.send(&self.clock(), &[])
            && self.ports.hand_web(&child);
        if let Some((file, octets, origin)) = provision {
            is_sent &= child.send(&ToMaild::Provision { octets, origin }, &[file.as_fd()]);
        }
        if let Some(letterbox) = &self.letterbox {
            is_sent &= child.send(&ToMaild::Letterbox, &[letterbox.as_fd()]);
        }
        is_sent &= child.send(&ToMaild::Start, &[]);
        if !is_sent {
            // It has ended before it was told everything; that is told when it is reaped.
            child.signal(Signal::SIGKILL);
        }
        self.child = Some(child);
        Ok(())
    }

    /// What came up since this was asked last.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What lies in the letterbox, if there is one.
    pub(crate) fn letterbox(&self) -> Option<&OwnedFd> {
        self.letterbox.as_ref()
    }

    /// How the box was started; a running maild is told when that changes.
    pub(crate) fn tell_boot(&mut self, boot: Boot) {
        if self.boot != boot {
            self.boot = boot;
            if let Some(child) = &self.child {
                child.send(&ToMaild::Boot(boot), &[]);
            }
        }
    }

    /// How far the clock can be trusted; a running maild is told when that changes.
    pub(crate) fn tell_clock(&mut self, is_synced: bool) {
        if self.is_clock_synced != is_synced {
            self.is_clock_synced = is_synced;
            self.clock_was_set();
        }
    }

    /// The clock was set: what maild reckons by it is to be reckoned anew.
    pub(crate) fn clock_was_set(&self) {
        if let Some(child) = &self.child {
            child.send(&self.clock(), &[]);
        }
    }

    fn clock(&self) -> ToMaild {
        ToMaild::Clock {
            is_synced: self.is_clock_synced,
        }
    }

    /// The box has another name.
    pub(crate) fn tell_host_name(&self, host_name: &HostName) {
        if let Some(child) = &self.child {
            child.send(&ToMaild::HostName(host_name.clone()), &[]);
        }
    }

    /// The button was pressed; whether maild has waited for that, so that it means nothing else.
    pub(crate) fn take_button(&mut self, now_ms: u64) -> bool {
        let is_awaited = self
            .await_button_ms
            .take()
            .is_some_and(|until_ms| now_ms < until_ms);
        match &self.child {
            Some(child) if is_awaited => child.send(&ToMaild::Button, &[]),
            _ => false,
        }
    }

    /// Whether it waits for the button to be pressed.
    pub(crate) fn awaits_button(&self, now_ms: u64) -> bool {
        self.await_button_ms.is_some_and(|until_ms| now_ms < until_ms)
    }

    /// What it has said cannot be followed: it is ended, as for any other breach of the contract.
    pub(crate) fn refuse(&self, why: &str, console: &mut Console) {
        if let Some(child) = &self.child {
            console.line(&format!("maild is ended: {why}."));
            child.signal(Signal::SIGKILL);
        }
    }

    /// What became of an update. A maild that was started since does not wait for it, and may know it all the same.
    pub(crate) fn tell_update(&self, is_taken: bool, text: &str) {
        if let Some(child) = &self.child {
            let text = Sentence::lossy(text);
            child.send(&ToMaild::UpdateResult { is_taken, text }, &[]);
        }
    }

    /// Tells a running maild the addresses of now.
    pub(crate) fn tell_addresses(&self, addresses: &[(String, IpAddr, u8)]) {
        if let Some(child) = &self.child {
            child.send(&ToMaild::Addresses(network::listed(addresses)), &[]);
        }
    }

    /// Takes what maild has said; whether there was something.
    pub(crate) fn told(&mut self, console: &mut Console, now_ms: u64) -> bool {
        let Some(child) = &mut self.child else {
            return false;
        };
        match child.receive::<FromMaild>() {
            Told::Message(received) => self.follow(received.message, now_ms),
            Told::Nothing => return false,
            Told::Killed(why) => console.line(&format!("maild {why}.")),
        }
        true
    }

    fn follow(&mut self, message: FromMaild, now_ms: u64) {
        match message {
            FromMaild::Opened { is_claimed } => self.opened(is_claimed),
            FromMaild::Ready { fingerprint } => {
                self.fingerprint = Some(fingerprint);
                (self.is_ready, self.is_announced) = (true, false);
                self.alive_ms = Some(now_ms);
            }
            FromMaild::Status(status) => self.status = status,
            FromMaild::Alive => self.alive_ms = Some(now_ms),
            FromMaild::SelfTest { is_ok, which } => {
                let which = which.as_str().to_owned();
                self.events.push(Event::SelfTest { is_ok, which });
            }
            FromMaild::ApplyUpdate { octets } => self.events.push(Event::Update { octets }),
            FromMaild::SetName(name) => self.events.push(Event::Name(name)),
            FromMaild::SetNetwork(settings) => self.events.push(Event::Network(settings)),
            FromMaild::AwaitButton { seconds } => {
                self.await_button_ms = (seconds > 0).then(|| now_ms + u64::from(seconds) * 1000);
            }
        }
    }

    /// The house is open. Mail comes to a box that has an owner, and to no other.
    fn opened(&mut self, is_claimed: bool) {
        self.is_claimed = Some(is_claimed);
        if is_claimed {
            self.ports.open_mail();
        }
        let Some(child) = &self.child else { return };
        let is_sent = (!is_claimed || self.ports.hand_mail(child)) && child.send(&ToMaild::Serve, &[]);
        if !is_sent {
            // It has ended meanwhile, which is told when it is reaped.
            child.signal(Signal::SIGKILL);
        }
    }

    /// Prints what maild has written.
    pub(crate) fn said(&mut self, console: &mut Console, now_ms: u64) {
        let Some(child) = &mut self.child else { return };
        for line in child.read_output(now_ms) {
            console.line(&format!("maild: {line}"));
        }
    }

    /// A child has ended. If it was maild, it is started again, later each time; on the way down it is not, and only
    /// an end that was not clean is told.
    pub(crate) fn ended(&mut self, pid: Pid, status: ExitStatus, console: &mut Console, now_ms: u64) {
        if self.child.as_ref().is_none_or(|child| child.pid != pid) {
            return;
        }
        // What it may have left behind must not write to the next one's mailboxes.
        kill_group(MAILD);
        // Its last words may be why: a status that says what is wrong with postolka.toml.
        for _ in 0..LAST_MESSAGES_MAX {
            if !self.told(console, now_ms) {
                break;
            }
        }
        let Some(child) = self.child.take() else { return };
        let ran_ms = now_ms.saturating_sub(child.since_ms);
        for line in child.last_words(now_ms) {
            console.line(&format!("maild: {line}"));
        }
        (self.is_ready, self.is_announced) = (false, false);
        self.await_button_ms = None;
        let how = ending(status);
        if self.is_stopping {
            if !status.success() {
                console.line(&format!("maild {how}."));
            }
            return;
        }
        let delay_ms = self.delay_ms(ran_ms, now_ms);
        let (seconds, tenths) = (delay_ms / 1000, delay_ms % 1000 / 100);
        console.line(&format!(
            "maild {how}; it is started again in {seconds}.{tenths} s."
        ));
        self.last_end = Some(how);
        self.start_ms = Some(now_ms + delay_ms);
    }

    /// It has ended, or could not be started. Gives the time until it is to be tried again.
    fn delay_ms(&mut self, ran_ms: u64, now_ms: u64) -> u64 {
        let delay_ms = self.restarts.ended(ran_ms);
        let is_to_rest = self.crashes.ended(ran_ms, now_ms);
        if is_to_rest {
            self.ports.close();
        }
        let ends = self.crashes.of_late(now_ms);
        self.events.push(Event::Ended(ends));
        if is_to_rest {
            rest_ms(&slot::command_line())
        } else {
            delay_ms
        }
    }

    /// On the way down: asks maild to finish. It is not started again.
    pub(crate) fn stop(&mut self, deadline_ms: u32) {
        self.start_ms = None;
        self.is_stopping = true;
        if let Some(child) = &self.child {
            child.send(&ToMaild::Stop { deadline_ms }, &[]);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            child.signal(signal);
        }
    }

    /// The line that scripts wait for: once for each start, when maild has said that it serves.
    pub(crate) fn announcement(&mut self) -> Option<String> {
        if !self.is_ready || self.is_stopping || std::mem::replace(&mut self.is_announced, true) {
            return None;
        }
        let ports: Vec<String> = self.ports.numbers().iter().map(u16::to_string).collect();
        Some(format!("LISTENING {}", ports.join(" ")))
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether maild has ended and is not back yet.
    pub(crate) fn is_restarting(&self) -> bool {
        !self.is_ready && self.last_end.is_some()
    }

    /// Whether it ends over and over, so that its ports are closed and it is tried only now and then.
    pub(crate) fn is_resting(&self) -> bool {
        self.crashes.is_resting()
    }

    /// Where mail is served.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.ports.numbers()
    }

    pub(crate) fn fingerprint(&self) -> Option<[u8; FINGERPRINT_OCTETS]> {
        self.fingerprint
    }

    /// Whether the box has an owner; nothing before maild has said so.
    pub(crate) fn is_claimed(&self) -> Option<bool> {
        self.is_claimed
    }

    /// Whether maild wants somebody to look.
    pub(crate) fn needs_attention(&self) -> bool {
        self.status.needs_attention
    }

    pub(crate) fn status(&self) -> &[ConsoleLine] {
        &self.status.lines
    }

    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        let ends = self.last_end.clone().and_then(|how| {
            let is_resting = self.crashes.is_resting();
            if is_resting && !self.is_ready {
                return Some(Trouble::MaildRests(how));
            }
            // One that serves again has yet to show that it stays up.
            (is_resting || self.restarts.is_troubled()).then_some(Trouble::MaildEnds(how))
        });
        self.ports.troubles().iter().cloned().chain(ends).collect()
    }
}
