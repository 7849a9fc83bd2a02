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

mod conduct;
mod letterbox;
mod ports;
mod press;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitStatus;

use conduct::{Conduct, Step};
use handoff::{Boot, ConsoleLine, FINGERPRINT_OCTETS, FromMaild, HostName, Ipv4Settings, Sentence, ToMaild};
use letterbox::letterbox;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use ports::Ports;
pub(crate) use press::Press;

use crate::child::{Child, Told, ending};
use crate::console::Console;
use crate::network;
use crate::slot;
use crate::spawn::{MAILD, kill_group, spawn};
use crate::stick::Provision;
use crate::supervise::{Verdict, rest_ms};
use crate::trouble::Trouble;

/// More than a control socket holds.
const LAST_MESSAGES_MAX: usize = 512;

/// maild and what belongs to it.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) child: Option<Child>,
    conduct: Conduct,
    ports: Ports,
    provision: Option<Provision>,
    /// What maild is told of the start of the box.
    boot: Boot,
    is_clock_synced: bool,
    /// Where maild puts a firmware update. Not there, if there was no memory for it.
    letterbox: Option<OwnedFd>,
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
        self.conduct.begin(now_ms);
    }

    /// Does what is due.
    pub(crate) fn tick(
        &mut self,
        host_name: &HostName,
        addresses: &[(String, IpAddr, u8)],
        console: &mut Console,
        now_ms: u64,
    ) {
        if self.conduct.is_due(now_ms) {
            match self.start(host_name, addresses, now_ms) {
                Ok(()) => self.conduct.started(now_ms),
                Err(error) => {
                    console.line(&format!("maild could not be started: {error}"));
                    if self
                        .conduct
                        .could_not_start(rest_ms(&slot::command_line()), now_ms)
                    {
                        self.ports.close();
                    }
                }
            }
        }
        match self.conduct.judge(now_ms) {
            Verdict::Fine => {}
            Verdict::Abort(why) => {
                console.line(&format!("maild {why}."));
                self.signal(Signal::SIGABRT);
            }
            Verdict::Kill => self.signal(Signal::SIGKILL),
        }
    }

    /// When [`Mail::tick`] is to be called.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        self.conduct.deadline_ms()
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
        self.conduct.events()
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

    /// The button was pressed: tells a maild that waits for that.
    pub(crate) fn press(&mut self, now_ms: u64) -> Press {
        let press = self.conduct.press(now_ms);
        if let Some(child) = self.child.as_ref().filter(|_| press == Press::Answer) {
            // One that does not take it misses a press: the page asks again.
            child.send(&ToMaild::Button, &[]);
        }
        press
    }

    /// Whether it waits for the button to be pressed.
    pub(crate) fn awaits_button(&self, now_ms: u64) -> bool {
        self.conduct.awaits_button(now_ms)
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
            Told::Message(received) => match self.conduct.follow(received.message, now_ms) {
                Step::Nothing => {}
                Step::Serve { is_claimed } => self.serve(is_claimed),
                Step::End(why) => self.refuse(why, console),
            },
            Told::Nothing => return false,
            Told::Killed(why) => console.line(&format!("maild {why}.")),
        }
        true
    }

    /// The house is open. Mail comes to a box that has an owner, and to no other.
    fn serve(&mut self, is_claimed: bool) {
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

    /// A child has ended. If it was maild, it is started again, unless the box is on its way down.
    pub(crate) fn ended(&mut self, pid: Pid, status: ExitStatus, console: &mut Console, now_ms: u64) {
        if self.child.as_ref().is_none_or(|child| child.pid != pid) {
            return;
        }
        // What it may have left behind must not write to the next one's mailboxes.
        kill_group(MAILD);
        // Its last words may be why: a status that says what is wrong with the mail.
        for _ in 0..LAST_MESSAGES_MAX {
            if !self.told(console, now_ms) {
                break;
            }
        }
        let Some(child) = self.child.take() else { return };
        for line in child.last_words(now_ms) {
            console.line(&format!("maild: {line}"));
        }
        let rest_ms = rest_ms(&slot::command_line());
        let ended = self
            .conduct
            .ended(ending(status), status.success(), rest_ms, now_ms);
        if ended.is_to_rest {
            self.ports.close();
        }
        if let Some(line) = ended.line {
            console.line(&line);
        }
    }

    /// On the way down: asks maild to finish. It is not started again.
    pub(crate) fn stop(&mut self, deadline_ms: u32) {
        self.conduct.stop();
        if let Some(child) = &self.child {
            child.send(&ToMaild::Stop { deadline_ms }, &[]);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            child.signal(signal);
        }
    }

    /// The line that scripts wait for: each time maild was told to serve and has said that it does.
    pub(crate) fn announcement(&mut self) -> Option<String> {
        if !self.conduct.is_to_announce() {
            return None;
        }
        let ports: Vec<String> = self.ports.numbers().iter().map(u16::to_string).collect();
        Some(format!("LISTENING {}", ports.join(" ")))
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.conduct.is_ready()
    }

    /// Whether maild has ended and is not back yet.
    pub(crate) fn is_restarting(&self) -> bool {
        self.conduct.is_restarting()
    }

    /// Whether it ends over and over, so that its ports are closed and it is tried only now and then.
    pub(crate) fn is_resting(&self) -> bool {
        self.conduct.is_resting()
    }

    /// Where mail is served.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.ports.numbers()
    }

    pub(crate) fn fingerprint(&self) -> Option<[u8; FINGERPRINT_OCTETS]> {
        self.conduct.fingerprint()
    }

    /// Whether the box has an owner; nothing before maild has said so.
    pub(crate) fn is_claimed(&self) -> Option<bool> {
        self.conduct.is_claimed()
    }

    /// Whether maild wants somebody to look.
    pub(crate) fn needs_attention(&self) -> bool {
        self.conduct.needs_attention()
    }

    pub(crate) fn status(&self) -> &[ConsoleLine] {
        self.conduct.status()
    }

    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        let end = self.conduct.troubled_end().map(str::to_owned);
        let end = end.map(|how| {
            if self.is_resting() && !self.is_ready() {
                Trouble::MaildRests(how)
            } else {
                Trouble::MaildEnds(how)
            }
        });
        self.ports.troubles().iter().cloned().chain(end).collect()
    }
}
