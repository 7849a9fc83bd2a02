//! The network cards, each with its netd while it has a carrier.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::ExitStatus;

use handoff::{FromNetd, HostName, Ipv4Settings, LEASE_SECONDS_FOREVER, Lease, ToNetd};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::child::{Child, Told, ending};
use crate::console::Console;
use crate::network::{self, Card, Network};
use crate::spawn::{NETD, kill_group, spawn};
use crate::supervise::Restarts;
use crate::trouble::Trouble;

/// How long the console page waits for an address before it calls it trouble.
pub(crate) const PATIENCE_MS: u64 = 10_000;

/// One card.
#[derive(Debug)]
pub(crate) struct Link {
    card: Card,
    /// Before any lease.
    own_mtu: Option<u16>,
    pub(crate) child: Option<Child>,
    restarts: Restarts,
    start_ms: Option<u64>,
    held: Option<Held>,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    ends_ms: Option<u64>,
}

/// All cards.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) network: Network,
    pub(crate) list: Vec<Link>,
    /// The DNS servers of all leases, as they are written down.
    resolvers: Vec<Ipv4Addr>,
}

impl Links {
    pub(crate) fn new(network: Network) -> Self {
        Self {
            network,
            list: Vec::new(),
            resolvers: Vec::new(),
        }
    }

    /// Looks at all cards anew: brings up those that appeared, starts netd where there is a carrier, stops it where
    /// there is none any more.
    pub(crate) fn refresh(&mut self, console: &mut Console, now_ms: u64) {
        self.network.drain();
        let cards = network::cards();
        let (network, links) = (&self.network, &mut self.list);
        links.retain_mut(|link| {
            let stays = cards.iter().any(|card| card.index == link.card.index);
            if !stays {
                link.stop(network);
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
                    (true, false) => link.stop(network),
                    _ => {}
                }
                continue;
            }
            if let Err(error) = network.up(card.index) {
                console.line(&format!("{}: {error}", card.name.as_str()));
            }
            let start_ms = card.has_carrier.then_some(now_ms);
            let restarts = Restarts::default();
            links.push(Link {
                own_mtu: card.mtu,
                card,
                child: None,
                restarts,
                start_ms,
                held: None,
                trouble: None,
            });
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, host_name: &HostName, console: &mut Console, now_ms: u64) {
        for link in &mut self.list {
            // The kernel ends the address at the same time.
            if link
                .held
                .as_ref()
                .and_then(|held| held.ends_ms)
                .is_some_and(|ends_ms| ends_ms <= now_ms)
            {
                link.held = None;
            }
            if link.child.is_none() && link.start_ms.is_some_and(|start_ms| start_ms <= now_ms) {
                link.start_ms = None;
                if let Err(error) = link.start(host_name, now_ms) {
                    console.line(&format!(
                        "netd on {} could not be started: {error}",
                        link.card.name.as_str()
                    ));
                    link.start_ms = Some(now_ms + link.restarts.ended(0));
                }
            }
        }
        self.write_resolvers(console);
    }

    fn write_resolvers(&mut self, console: &mut Console) {
        let leases = self
            .list
            .iter()
            .filter_map(|link| Some(&link.held.as_ref()?.lease));
        let resolvers: Vec<Ipv4Addr> = leases.flat_map(|lease| &lease.dns).copied().collect();
        if resolvers != self.resolvers {
            if let Err(error) = network::write_resolv_conf(&resolvers) {
                console.line(&format!("The DNS servers could not be written down: {error}"));
            }
            self.resolvers = resolvers;
        }
    }

    /// When [`Links::tick`] is to be called.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        let of = |link: &Link| {
            let start_ms = link.start_ms.filter(|_| link.child.is_none());
            let ends_ms = link.held.as_ref().and_then(|held| held.ends_ms);
            start_ms.into_iter().chain(ends_ms).min()
        };
        self.list.iter().filter_map(of).min()
    }

    /// Takes what the netd of one card has said.
    pub(crate) fn told(&mut self, at: usize, console: &mut Console, now_ms: u64) {
        let Some(link) = self.list.get_mut(at) else {
            return;
        };
        let Some(child) = &mut link.child else { return };
        match child.receive::<FromNetd>() {
            // From before it heard that the carrier is gone.
            Told::Message(_) if !link.card.has_carrier => {}
            Told::Message(received) => match received.message {
                FromNetd::Lease(lease) => link.lease(&self.network, lease, console, now_ms),
                FromNetd::LeaseLost => link.withdraw(&self.network),
                FromNetd::AddressConflict { .. }
                | FromNetd::Resolvers6 { .. }
                | FromNetd::TimeSample { .. }
                | FromNetd::NameConflict => {}
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
        // Without a carrier it was told to end.
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
    pub(crate) fn stop(&mut self) {
        for link in &mut self.list {
            link.start_ms = None;
            link.card.has_carrier = false;
            if let Some(child) = &link.child {
                child.send(&ToNetd::Stop, &[]);
            }
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

    /// All addresses of the box but loopback: those by lease, and those that IPv6 made by itself.
    pub(crate) fn addresses(&self) -> Vec<(String, IpAddr, u8)> {
        let leased = self.list.iter().filter_map(|link| {
            let lease = &link.held.as_ref()?.lease;
            Some((
                link.card.name.as_str().to_owned(),
                IpAddr::from(lease.address),
                lease.prefix,
            ))
        });
        leased.chain(self.ipv6_addresses()).collect()
    }

    /// IPv6 addresses on cards with a carrier. On others the kernel keeps them, where nobody can use them.
    fn ipv6_addresses(&self) -> impl Iterator<Item = (String, IpAddr, u8)> {
        network::ipv6_addresses().into_iter().filter(|(interface, _, _)| {
            let mut links = self.list.iter();
            links.any(|link| link.card.has_carrier && link.card.name.as_str() == interface)
        })
    }

    /// What is wrong with the network, once there was time for it to come up.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let is_routed =
            |(_, ip, _): (String, IpAddr, u8)| matches!(ip, IpAddr::V6(ip) if !ip.is_unicast_link_local());
        let has_address =
            self.list.iter().any(|link| link.held.is_some()) || self.ipv6_addresses().any(is_routed);
        let refused = self.list.iter().find_map(|link| link.trouble.clone());
        let has_carrier = self.list.iter().any(|link| link.card.has_carrier);
        diagnose(!self.list.is_empty(), has_carrier, has_address, refused)
    }
}

/// The first thing to look at, from the cable up. Pure.
fn diagnose(
    has_card: bool,
    has_carrier: bool,
    has_address: bool,
    refused: Option<Trouble>,
) -> Option<Trouble> {
    if !has_card {
        Some(Trouble::NoCard)
    } else if !has_carrier {
        Some(Trouble::NoCarrier)
    } else if has_address {
        None
    } else {
        refused.or(Some(Trouble::NoLease))
    }
}

impl Link {
    fn start(&mut self, host_name: &HostName, now_ms: u64) -> std::io::Result<()> {
        let sockets = network::link_sockets(&self.card)?;
        let child = Child::new(spawn(NETD)?, now_ms);
        let Card { index, mac, .. } = self.card;
        let link = ToNetd::Link {
            index,
            mac,
            name: self.card.name.clone(),
            host_name: host_name.clone(),
            ipv4: Ipv4Settings::Dynamic,
        };
        if !child.send(&link, &sockets.each_ref().map(AsFd::as_fd)) {
            // It has ended before it was told anything; that is told when it is reaped.
            child.signal(Signal::SIGKILL);
        }
        self.child = Some(child);
        Ok(())
    }

    fn lease(&mut self, network: &Network, lease: Lease, console: &mut Console, now_ms: u64) {
        let name = self.card.name.as_str();
        if let Err(why) = network::check(&lease) {
            let trouble = Some(Trouble::BadLease(why.to_owned()));
            // Said once: a server, or a netd that was taken over, may send the same for ever.
            if self.trouble != trouble {
                console.line(&format!("{name}: a lease was refused: {why}."));
            }
            self.withdraw(network);
            self.trouble = trouble;
            return;
        }
        self.trouble = None;
        let held = self.held.as_ref().map(|held| &held.lease);
        if held.is_some_and(|held| network::is_in_the_way(held, &lease)) {
            self.withdraw(network);
        }
        if let Err(error) = network.apply(self.card.index, &lease, self.own_mtu) {
            let name = self.card.name.as_str();
            console.line(&format!("{name}: the lease could not be applied: {error}"));
        }
        let is_endless = lease.seconds == LEASE_SECONDS_FOREVER;
        let ends_ms = (!is_endless).then(|| now_ms + u64::from(lease.seconds) * 1000);
        self.held = Some(Held { lease, ends_ms });
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            child.signal(signal);
        }
    }

    fn withdraw(&mut self, network: &Network) {
        if let Some(held) = self.held.take() {
            // Gone already when the card is, or when its time has passed.
            let _ = network.withdraw(self.card.index, &held.lease);
        }
    }

    /// No carrier: the address is of no use, and another network may be at the other end next time.
    fn stop(&mut self, network: &Network) {
        self.withdraw(network);
        self.start_ms = None;
        // Also of a card that was pulled out: its netd is not started again.
        self.card.has_carrier = false;
        self.trouble = None;
        if let Some(child) = &self.child {
            child.send(&ToNetd::Stop, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_judged_from_the_cable_up() {
        let refused = || Some(Trouble::BadLease("gateway".to_owned()));
        assert_eq!(diagnose(false, false, false, None), Some(Trouble::NoCard));
        assert_eq!(diagnose(true, false, true, None), Some(Trouble::NoCarrier));
        assert_eq!(diagnose(true, true, false, None), Some(Trouble::NoLease));
        assert_eq!(diagnose(true, true, false, refused()), refused());
        assert_eq!(diagnose(true, true, true, refused()), None);
    }
}
