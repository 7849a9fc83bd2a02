//! One card with its netd.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use handoff::{Addresses, HostName, Ipv4Settings, LEASE_SECONDS_FOREVER, Lease, ToNetd};
use nix::sys::signal::Signal;

use crate::child::Child;
use crate::console::Console;
use crate::network::{self, Card, Learned, Network};
use crate::spawn::{NETD, spawn};
use crate::supervise::{Pulse, Restarts, Verdict};
use crate::trouble::{Trouble, reason};

/// A netd that was told to end has so long for it.
const STOP_MS: u64 = 1_000;

/// One card.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) card: Card,
    /// Before any lease.
    own_mtu: Option<u16>,
    pub(crate) child: Option<Child>,
    /// Its signs of life.
    pulse: Option<Pulse>,
    pub(super) restarts: Restarts,
    pub(super) start_ms: Option<u64>,
    /// When a netd that was told to end is ended.
    kill_ms: Option<u64>,
    held: Option<Held<Lease>>,
    resolvers_6: Option<Held<Vec<Ipv6Addr>>>,
    trouble: Option<Trouble>,
    /// What this netd was started with.
    ipv4: Ipv4Settings,
    told: Heard,
}

/// What holds for a time.
#[derive(Debug)]
struct Held<T> {
    value: T,
    ends_ms: Option<u64>,
}

/// What all netds are told.
#[derive(Debug)]
pub(super) struct Orders<'a> {
    pub(super) host_name: &'a HostName,
    pub(super) is_announced: bool,
    /// All addresses of the box.
    pub(super) addresses: &'a Addresses,
}

/// What this netd was told last.
#[derive(Debug, Default)]
struct Heard {
    host_name: Option<HostName>,
    is_announced: Option<bool>,
    addresses: Option<Addresses>,
    box_addresses: Option<Addresses>,
}

impl<T> Held<T> {
    fn new(value: T, seconds: u32, now_ms: u64) -> Self {
        let is_endless = seconds == LEASE_SECONDS_FOREVER;
        Self {
            value,
            ends_ms: (!is_endless).then(|| now_ms + u64::from(seconds) * 1000),
        }
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.ends_ms.is_some_and(|ends_ms| ends_ms <= now_ms)
    }
}

impl Link {
    pub(super) fn new(card: Card, now_ms: u64) -> Self {
        Self {
            own_mtu: card.mtu,
            start_ms: card.has_carrier.then_some(now_ms),
            card,
            child: None,
            pulse: None,
            restarts: Restarts::default(),
            kill_ms: None,
            held: None,
            resolvers_6: None,
            trouble: None,
            ipv4: Ipv4Settings::Dynamic,
            told: Heard::default(),
        }
    }

    /// Gives up what has run out. The kernel ends an address at the same time.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.held.take_if(|held| held.is_over(now_ms));
        self.resolvers_6.take_if(|held| held.is_over(now_ms));
        if self.kill_ms.take_if(|kill_ms| *kill_ms <= now_ms).is_some() {
            self.signal(Signal::SIGKILL);
        }
    }

    /// Ends a netd that hangs. One that is to end anyway has less time than that.
    pub(super) fn judge(&mut self, console: &mut Console, now_ms: u64) {
        let Some(pulse) = self.pulse.as_mut().filter(|_| self.child.is_some()) else {
            return;
        };
        match pulse.judge(now_ms) {
            Verdict::Fine => {}
            Verdict::Abort(why) => {
                console.line(&format!("netd on {} {why}.", self.card.name.as_str()));
                self.signal(Signal::SIGABRT);
            }
            Verdict::Kill => self.signal(Signal::SIGKILL),
        }
    }

    /// It has shown a sign of life.
    pub(super) fn beat(&mut self, now_ms: u64) {
        if let Some(pulse) = &mut self.pulse {
            pulse.beat(now_ms);
        }
    }

    /// Another way to get an address is another netd's work.
    pub(super) fn follow(&mut self, ipv4: &Ipv4Settings, network: &Network, now_ms: u64) {
        if self.child.is_none() || self.is_stopping() || self.ipv4 == *ipv4 {
            return;
        }
        self.withdraw(network);
        self.trouble = None;
        self.start_ms = Some(now_ms);
        self.kill_ms = Some(now_ms + STOP_MS);
        self.send_stop();
    }

    pub(super) fn start_if_due(
        &mut self,
        ipv4: &Ipv4Settings,
        orders: &Orders<'_>,
        console: &mut Console,
        now_ms: u64,
    ) {
        if self.child.is_some() || self.start_ms.is_none_or(|start_ms| start_ms > now_ms) {
            return;
        }
        self.start_ms = None;
        if let Err(error) = self.start(ipv4, orders, now_ms) {
            let name = self.card.name.as_str();
            console.line(&format!("netd on {name} could not be started: {error}"));
            self.start_ms = Some(now_ms + self.restarts.ended(0));
        }
    }

    fn start(&mut self, ipv4: &Ipv4Settings, orders: &Orders<'_>, now_ms: u64) -> io::Result<()> {
        let sockets = network::link_sockets(&self.card)?;
        let child = Child::new(spawn(NETD)?, now_ms);
        let Card { index, mac, .. } = self.card;
        let link = ToNetd::Link {
            index,
            mac,
            name: self.card.name.clone(),
            host_name: orders.host_name.clone(),
            ipv4: ipv4.clone(),
        };
        if !child.send(&link, &sockets.each_ref().map(AsFd::as_fd)) {
            // It has ended before it was told anything; that is told when it is reaped.
            child.signal(Signal::SIGKILL);
        }
        self.child = Some(child);
        self.pulse = Some(Pulse::new(None, now_ms));
        self.ipv4 = ipv4.clone();
        self.kill_ms = None;
        self.told = Heard {
            host_name: Some(orders.host_name.clone()),
            ..Heard::default()
        };
        Ok(())
    }

    /// Tells netd what has changed for it. What it does not take it is told the next time.
    pub(super) fn tell(&mut self, orders: &Orders<'_>, ipv6: &[(String, IpAddr, u8)]) {
        let addresses = self.all_addresses(ipv6);
        let Some(child) = self.child.as_ref().filter(|_| !self.is_stopping()) else {
            return;
        };
        let told = &mut self.told;
        if told.addresses.as_ref() != Some(&addresses)
            && child.send(&ToNetd::Addresses(addresses.clone()), &[])
        {
            told.addresses = Some(addresses);
        }
        // Before the name: who asks for it from there is the box itself.
        if told.box_addresses.as_ref() != Some(orders.addresses)
            && child.send(&ToNetd::BoxAddresses(orders.addresses.clone()), &[])
        {
            told.box_addresses = Some(orders.addresses.clone());
        }
        if told.host_name.as_ref() != Some(orders.host_name)
            && child.send(&ToNetd::HostName(orders.host_name.clone()), &[])
        {
            told.host_name = Some(orders.host_name.clone());
        }
        let is_on = orders.is_announced;
        if told.is_announced != Some(is_on) && child.send(&ToNetd::Mdns { is_on }, &[]) {
            told.is_announced = Some(is_on);
        }
    }

    fn all_addresses(&self, ipv6: &[(String, IpAddr, u8)]) -> Addresses {
        let v4 = self.ipv4_address();
        network::listed(v4.iter().chain(self.ipv6_addresses(ipv6)))
    }

    /// When something is due, none of it before `not_before_ms` that has to do with netd.
    pub(super) fn deadline_ms(&self, not_before_ms: u64) -> Option<u64> {
        let start_ms = self.start_ms.filter(|_| self.child.is_none());
        let start_ms = start_ms.map(|start_ms| start_ms.max(not_before_ms));
        let lease_ms = self.held.as_ref().and_then(|held| held.ends_ms);
        let resolvers_ms = self.resolvers_6.as_ref().and_then(|held| held.ends_ms);
        let pulse = self.pulse.filter(|_| self.child.is_some());
        let pulse_ms = pulse.and_then(|pulse| pulse.deadline_ms());
        let due = [start_ms, self.kill_ms, lease_ms, resolvers_ms, pulse_ms];
        due.into_iter().flatten().min()
    }

    /// Whether its netd is to end, or is not there.
    pub(super) fn is_stopping(&self) -> bool {
        !self.card.has_carrier || self.start_ms.is_some()
    }

    /// A lease begins, is renewed, or an address that was set turned out to be free.
    pub(super) fn lease(&mut self, network: &Network, lease: &Lease, console: &mut Console, now_ms: u64) {
        if !network::is_as_set(&self.ipv4, lease) {
            let name = self.card.name.as_str();
            console.line(&format!(
                "netd on {name} is ended: it has said an address that was not set."
            ));
            return self.signal(Signal::SIGKILL);
        }
        if let Err(why) = network::check(lease) {
            self.withdraw(network);
            return self.refuse(why.to_owned(), console);
        }
        if let Some(held) = &self.held
            && network::is_in_the_way(&held.value, lease)
        {
            self.withdraw(network);
        }
        if let Err(error) = network.apply(self.card.index, lease, self.own_mtu) {
            // What was applied of it goes as well: netd is not to take it for an address.
            let _ = network.withdraw(self.card.index, lease);
            self.held = None;
            return self.refuse(format!("it cannot be applied, {}", reason(&error)), console);
        }
        self.trouble = None;
        self.held = Some(Held::new(lease.clone(), lease.seconds, now_ms));
    }

    fn refuse(&mut self, why: String, console: &mut Console) {
        let name = self.card.name.as_str();
        let line = format!("{name}: a lease was refused: {why}.");
        let trouble = Some(Trouble::BadLease(why));
        // Said once: a server, or a netd that was taken over, may send the same for ever.
        if self.trouble != trouble {
            console.line(&line);
        }
        self.trouble = trouble;
    }

    /// Somebody else has an address that this card was given.
    pub(super) fn conflict(&mut self, address: Ipv4Addr, mac: [u8; 6], console: &mut Console) {
        let trouble = Trouble::AddressConflict { address, mac };
        if self.trouble.as_ref() != Some(&trouble) {
            let name = self.card.name.as_str();
            console.line(&format!("{name}: {}", trouble.lines()[0]));
        }
        self.trouble = Some(trouble);
    }

    /// The DNS servers that routers name.
    pub(super) fn resolvers_6(&mut self, dns: &[Ipv6Addr], seconds: u32, now_ms: u64) {
        let has_some = !dns.is_empty();
        self.resolvers_6 = has_some.then(|| Held::new(dns.to_vec(), seconds, now_ms));
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            child.signal(signal);
        }
    }

    pub(super) fn withdraw(&mut self, network: &Network) {
        if let Some(held) = self.held.take() {
            // Gone already when the card is, or when its time has passed.
            let _ = network.withdraw(self.card.index, &held.value);
        }
    }

    /// No carrier: the address is of no use, and another network may be at the other end next time.
    pub(super) fn stop(&mut self, network: &Network, now_ms: u64) {
        self.withdraw(network);
        self.resolvers_6 = None;
        self.trouble = None;
        self.end(now_ms);
    }

    /// Has netd end, and no other started: the carrier is gone, or the card, or the box is on its way down.
    pub(super) fn end(&mut self, now_ms: u64) {
        self.start_ms = None;
        self.kill_ms = self.child.is_some().then_some(now_ms + STOP_MS);
        self.card.has_carrier = false;
        self.send_stop();
    }

    fn send_stop(&self) {
        if let Some(child) = &self.child {
            child.send(&ToNetd::Stop, &[]);
        }
    }

    /// The address by lease or setting.
    pub(super) fn ipv4_address(&self) -> Option<(String, IpAddr, u8)> {
        let lease = &self.held.as_ref()?.value;
        let name = self.card.name.as_str().to_owned();
        Some((name, lease.address.into(), lease.prefix))
    }

    /// Those of all IPv6 addresses that are this card's.
    pub(super) fn ipv6_addresses<'a>(
        &self,
        all: &'a [(String, IpAddr, u8)],
    ) -> impl Iterator<Item = &'a (String, IpAddr, u8)> + use<'a> {
        let name = self.card.name.clone();
        all.iter()
            .filter(move |(interface, _, _)| *interface == name.as_str())
    }

    /// The DNS servers that were named on this card.
    pub(super) fn learned(&self) -> Learned<'_> {
        Learned {
            interface: self.card.name.as_str(),
            v4: self.held.as_ref().map_or(&[], |held| &held.value.dns),
            v6: self.resolvers_6.as_ref().map_or(&[], |held| &held.value),
        }
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }
}
