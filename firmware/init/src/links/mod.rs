//! The network cards, each with its netd while it has a carrier.

mod diagnose;
mod link;

use std::net::IpAddr;
use std::process::ExitStatus;

use handoff::{FromNetd, HostName, Ipv4Settings};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::child::{Told, ending};
use crate::console::Console;
use crate::network::{self, Network, Resolver};
use crate::spawn::{NETD, kill_group};
use crate::trouble::Trouble;

use diagnose::diagnose;
use link::{Link, Orders};

/// How long the console page waits for an address before it calls it trouble.
pub(crate) const PATIENCE_MS: u64 = 10_000;
/// So long after init began it is waited for somebody to say how the box gets its address: longer than for sticks, which
/// are given six seconds where there is USB, and a new file system. Most starts know after one or two. A disk that takes
/// longer finds the box asking by DHCP, which is what most are set to.
const SETTLE_MS: u64 = 12_000;
/// So long it is waited for maild to read a `postolka.toml`, which may say so.
const PROVISION_MS: u64 = 15_000;

/// All cards.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) network: Network,
    pub(crate) list: Vec<Link>,
    /// What netd is told, besides its link.
    host_name: HostName,
    is_announced: bool,
    /// How the box gets its address, as it was set.
    ipv4: Ipv4Settings,
    /// From when on that counts as known, and whether it does.
    settled_ms: u64,
    is_settled: bool,
    /// The addresses that IPv6 made by itself, as of the last change.
    ipv6: Vec<(String, IpAddr, u8)>,
    /// The DNS servers of all cards, as they are written down.
    resolvers: Vec<Resolver>,
    events: Vec<Event>,
}

/// What a netd has said that is not about its link alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// What time it was at a moment of `CLOCK_BOOTTIME`.
    Time { unix_ms: u64, boot_ms: u64 },
    /// This name, which was announced, belongs to somebody else.
    NameConflict(HostName),
}

impl Links {
    pub(crate) fn new(network: Network, host_name: HostName) -> Self {
        Self {
            network,
            list: Vec::new(),
            host_name,
            is_announced: false,
            ipv4: Ipv4Settings::Dynamic,
            settled_ms: SETTLE_MS,
            is_settled: false,
            ipv6: Vec::new(),
            resolvers: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Looks at all cards anew: brings up those that appeared, starts netd where there is a carrier, stops it where
    /// there is none any more.
    pub(crate) fn refresh(&mut self, console: &mut Console, now_ms: u64) {
        self.network.drain();
        self.ipv6 = network::ipv6_addresses();
        let cards = network::cards();
        let (network, links) = (&self.network, &mut self.list);
        links.retain_mut(|link| {
            let stays = cards.iter().any(|card| card.index == link.card.index);
            if !stays {
                link.stop(network, now_ms);
            }
            // A card that was pulled out is kept until its netd has ended, so that the end is told.
            stays || link.child.is_some()
        });
        for card in cards {
            if let Some(link) = links.iter_mut().find(|link| link.card.index == card.index) {
                let had_carrier = std::mem::replace(&mut link.card, card).has_carrier;
                match (had_carrier, link.card.has_carrier) {
                    (false, true) => {
                        link.start_ms = Some(now_ms);
                        // One that was told to stop and has not yet holds up the next.
                        link.signal(Signal::SIGKILL);
                    }
                    (true, false) => link.stop(network, now_ms),
                    _ => {}
                }
                continue;
            }
            if let Err(error) = network::prepare(&card) {
                console.line(&format!("{}: {error}", card.name.as_str()));
            }
            if let Err(error) = network.up(card.index) {
                console.line(&format!("{}: {error}", card.name.as_str()));
            }
            links.push(Link::new(card, now_ms));
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, console: &mut Console, now_ms: u64) {
        self.is_settled = now_ms >= self.settled_ms;
        let chosen = self.chosen();
        let addresses = network::listed(&self.addresses());
        let orders = Orders {
            host_name: &self.host_name,
            is_announced: self.is_announced,
            addresses: &addresses,
        };
        for (at, link) in self.list.iter_mut().enumerate() {
            let ipv4 = if at == chosen {
                &self.ipv4
            } else {
                &Ipv4Settings::Dynamic
            };
            link.expire(now_ms);
            link.judge(console, now_ms);
            if self.is_settled {
                link.follow(ipv4, &self.network, now_ms);
                link.start_if_due(ipv4, &orders, console, now_ms);
            }
            link.tell(&orders, &self.ipv6);
        }
        self.write_resolvers(console);
    }

    /// The card that an address of one's own is for: the first that can use it. Two cannot have the same.
    fn chosen(&self) -> usize {
        self.list
            .iter()
            .position(|link| link.card.has_carrier)
            .unwrap_or_default()
    }

    fn write_resolvers(&mut self, console: &mut Console) {
        let resolvers = network::choose_resolvers(self.list.iter().map(Link::learned));
        if resolvers != self.resolvers {
            if let Err(error) = network::write_resolv_conf(&resolvers) {
                console.line(&format!("The DNS servers could not be written down: {error}"));
            }
            self.resolvers = resolvers;
        }
    }

    /// When [`Links::tick`] is to be called.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        self.list
            .iter()
            .filter_map(|link| link.deadline_ms(self.settled_ms))
            .min()
    }

    /// How the box is to get its address from now on.
    pub(crate) fn set_ipv4(&mut self, ipv4: Ipv4Settings) {
        self.ipv4 = ipv4;
    }

    pub(crate) fn ipv4(&self) -> &Ipv4Settings {
        &self.ipv4
    }

    /// How the box gets its address is known, as far as it ever will be.
    pub(crate) fn settle(&mut self) {
        self.settled_ms = 0;
    }

    /// maild is about to read what may say so.
    pub(crate) fn wait_for_provision(&mut self, now_ms: u64) {
        if now_ms < self.settled_ms {
            self.settled_ms = now_ms + PROVISION_MS;
        }
    }

    /// What netd tells of the box, and whether it answers to the name.
    pub(crate) fn announce(&mut self, host_name: HostName, is_announced: bool) {
        (self.host_name, self.is_announced) = (host_name, is_announced);
    }

    /// What came up since this was asked last.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes what the netd of one card has said.
    pub(crate) fn told(&mut self, at: usize, console: &mut Console, now_ms: u64) {
        let Some(link) = self.list.get_mut(at) else {
            return;
        };
        let Some(child) = &mut link.child else { return };
        match child.receive::<FromNetd>() {
            Told::Message(received) if received.message == FromNetd::Alive => link.beat(now_ms),
            // From before it heard that it is to end.
            Told::Message(_) if link.is_stopping() => {}
            Told::Message(received) => match received.message {
                FromNetd::Lease(lease) => link.lease(&self.network, &lease, console, now_ms),
                FromNetd::LeaseLost => link.withdraw(&self.network),
                FromNetd::AddressConflict { address, mac } => link.conflict(address, mac, console),
                FromNetd::Resolvers6 { dns, seconds } => link.resolvers_6(&dns, seconds, now_ms),
                FromNetd::TimeSample { unix_ms, boot_ms } => {
                    self.events.push(Event::Time { unix_ms, boot_ms });
                }
                FromNetd::NameConflict(name) => self.events.push(Event::NameConflict(name)),
                FromNetd::Alive => {}
            },
            Told::Nothing => {}
            Told::Killed(why) => console.line(&format!("netd on {} {why}.", link.card.name.as_str())),
        }
    }

    /// Prints what the netd of one card has written.
    pub(crate) fn said(&mut self, at: usize, console: &mut Console, now_ms: u64) {
        let Some(link) = self.list.get_mut(at) else {
            return;
        };
        let Some(child) = &mut link.child else { return };
        for line in child.read_output(now_ms) {
            console.line(&format!("netd on {}: {line}", link.card.name.as_str()));
        }
    }

    /// A child has ended; whether it was one of these.
    pub(crate) fn ended(&mut self, pid: Pid, status: ExitStatus, console: &mut Console, now_ms: u64) -> bool {
        let is_it = |link: &&mut Link| link.child.as_ref().is_some_and(|child| child.pid == pid);
        let Some(link) = self.list.iter_mut().find(is_it) else {
            return false;
        };
        let Some(child) = link.child.take() else {
            return false;
        };
        let name = link.card.name.as_str();
        let since_ms = child.since_ms;
        for line in child.last_words(now_ms) {
            console.line(&format!("netd on {name}: {line}"));
        }
        // Otherwise it was told to end.
        if link.card.has_carrier && link.start_ms.is_none() {
            let delay_ms = link.restarts.ended(now_ms.saturating_sub(since_ms));
            console.line(&format!(
                "netd on {name} {}; it is started again.",
                ending(status)
            ));
            link.start_ms = Some(now_ms + delay_ms);
        }
        // What one of them may have left behind cannot be told from the others, but when there are none.
        if !self.has_children() {
            kill_group(NETD);
        }
        true
    }

    /// On the way down: no netd is started any more.
    pub(crate) fn stop(&mut self, now_ms: u64) {
        for link in &mut self.list {
            link.end(now_ms);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        for link in &self.list {
            link.signal(signal);
        }
    }

    pub(crate) fn has_children(&self) -> bool {
        self.list.iter().any(|link| link.child.is_some())
    }

    /// All addresses of the box but loopback, those by lease or setting first. On a card without a carrier the kernel keeps
    /// IPv6 addresses, where nobody can use them.
    pub(crate) fn addresses(&self) -> Vec<(String, IpAddr, u8)> {
        let with_carrier = || self.list.iter().filter(|link| link.card.has_carrier);
        let v4 = with_carrier().filter_map(Link::ipv4_address);
        let v6 = with_carrier().flat_map(|link| link.ipv6_addresses(&self.ipv6));
        v4.chain(v6.cloned()).collect()
    }

    /// Whether the box has an address that reaches further than its link.
    pub(crate) fn has_address(&self) -> bool {
        let is_routed = |ip: IpAddr| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        };
        self.addresses().into_iter().any(|(_, ip, _)| is_routed(ip))
    }

    /// What is wrong with the network, once there was time for it to come up.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        if !self.is_settled {
            // Nobody was asked yet.
            return None;
        }
        let carriers: Vec<bool> = self.list.iter().map(|link| link.card.has_carrier).collect();
        let is_dynamic = self.ipv4 == Ipv4Settings::Dynamic;
        let of_links = self.list.iter().filter_map(Link::trouble);
        diagnose(&carriers, self.has_address(), is_dynamic, of_links)
    }
}
