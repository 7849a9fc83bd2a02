//! The running program: one loop that waits for init, for the network and for the time, and moves octets between them
//! and the machines of the other modules, which are pure.
//!
//! # Invariants
//! - Nothing here waits but the one `poll`, and for init to take a message.
//! - Without news netd sleeps until the next deadline of a machine, or until init is to hear that it is alive. A busy network wakes it for ARP at most once in
//!   `ARP_REST_MS`, unless an address is being probed for.

mod names;
mod sockets;
mod time;
mod udp;

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};

use handoff::{
    Addresses, Channel, DNS_MAX, FromNetd, HostName, InterfaceName, Ipv4Settings, ReceiveError, Received,
    ToNetd,
};
use names::Names;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
pub(crate) use sockets::Sockets;
use sockets::{FRAME_OCTETS_MAX, frame, is_passing};
use time::{Surroundings, Time};

use crate::clock::{now_ms, random};
use crate::count::{Counts, Malformed, Protocol};
use crate::ipv4::{self, Ipv4};
use crate::packet;
use crate::router;

/// How long it sleeps at most: `poll` takes an int of milliseconds.
const SLEEP_MS_MAX: u64 = 3_600_000;
/// How long ARP is left in its socket once it was read, when no address is being probed for. Everybody on a link hears
/// everybody's questions; a conflict may be found a second later, and what does not fit the socket is lost.
const ARP_REST_MS: u64 = 1_000;
/// How much is read from one socket before the others have their turn.
const READS_MAX: usize = 64;
/// How often init is told that the loop comes round. It takes netd for dead after a minute without.
const ALIVE_EVERY_MS: u64 = 10_000;

/// One interface with everything that netd does for it.
pub(crate) struct Link {
    control: Channel,
    sockets: Sockets,
    mac: [u8; 6],
    ipv4: Ipv4<fn() -> u32>,
    router: router::Machine,
    time: Time,
    names: Names,
    surroundings: Surroundings,
    /// Until then ARP is left where it is.
    arp_rest_ms: u64,
    /// When init is to hear again that the loop comes round.
    alive_ms: u64,
    counts: Counts,
}

/// What is told of an interface besides its sockets and its settings.
pub(crate) struct Card {
    /// The kernel's number of it.
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) interface: InterfaceName,
    /// What the box is called.
    pub(crate) host_name: HostName,
}

/// A socket that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ear {
    Control,
    Dhcp,
    Arp,
    Icmp6,
    Time(time::Ear),
    Names(names::Ear),
}

impl Link {
    pub(crate) fn new(control: Channel, sockets: Sockets, card: Card, settings: Ipv4Settings) -> Self {
        let Card {
            index,
            mac,
            interface,
            host_name,
        } = card;
        let names = Names::new(interface.clone(), index, &host_name);
        Self {
            control,
            sockets,
            mac,
            ipv4: Ipv4::new(mac, settings, host_name, random, now_ms()),
            router: router::Machine::new(random(), now_ms()),
            time: Time::new(interface.clone(), index),
            names,
            surroundings: Surroundings::default(),
            arp_rest_ms: 0,
            alive_ms: now_ms() + ALIVE_EVERY_MS,
            counts: Counts::default(),
        }
    }

    /// Runs until init says stop, or has ended.
    pub(crate) fn run(mut self) -> Result<(), Box<dyn Error>> {
        loop {
            let actions = self.ipv4.tick(now_ms());
            self.perform(actions)?;
            let actions = self.router.tick(now_ms());
            self.heed(actions)?;
            let news = self.time.tick(now_ms());
            self.tell(&news)?;
            let news = self.names.tick(now_ms());
            self.tell(&news)?;
            self.say_alive()?;
            for ear in self.wait()? {
                match ear {
                    Ear::Control => {
                        if self.told()?.is_none() {
                            return Ok(());
                        }
                    }
                    Ear::Dhcp => self.read_dhcp()?,
                    Ear::Arp => self.read_arp()?,
                    Ear::Icmp6 => self.read_icmp6()?,
                    Ear::Names(ear) => {
                        let news = self.names.read(ear, &mut self.counts, now_ms())?;
                        self.tell(&news)?;
                    }
                    Ear::Time(ear) => {
                        let news = self.time.read(ear, &mut self.counts, now_ms())?;
                        self.tell(&news)?;
                    }
                }
            }
        }
    }

    /// Said behind the machines' turn, so that one of them that does not come to an end is a sign of life that is missing.
    fn say_alive(&mut self) -> io::Result<()> {
        let now_ms = now_ms();
        if now_ms >= self.alive_ms {
            self.alive_ms = now_ms + ALIVE_EVERY_MS;
            self.control.send(&FromNetd::Alive, &[])?;
        }
        Ok(())
    }

    /// Sleeps until there is something to do, and gives what there is to read.
    fn wait(&self) -> Result<Vec<Ear>, Box<dyn Error>> {
        let now_ms = now_ms();
        let is_resting = now_ms < self.arp_rest_ms && !self.ipv4.is_probing();
        let rest_ms = is_resting.then_some(self.arp_rest_ms);
        let deadlines = [
            self.ipv4.deadline_ms(),
            self.router.deadline_ms(),
            self.time.deadline_ms(),
            self.names.deadline_ms(),
            rest_ms,
            Some(self.alive_ms),
        ];
        let deadline_ms = deadlines.into_iter().flatten().min();
        let wait_ms = deadline_ms.map_or(SLEEP_MS_MAX, |at_ms| at_ms.saturating_sub(now_ms));

        let mut ears: Vec<(Ear, BorrowedFd<'_>)> = vec![
            (Ear::Control, self.control.as_fd()),
            (Ear::Dhcp, self.sockets.dhcp.as_fd()),
            (Ear::Icmp6, self.sockets.icmp6.as_fd()),
        ];
        if !is_resting {
            ears.push((Ear::Arp, self.sockets.arp.as_fd()));
        }
        ears.extend(self.names.ears().map(|(ear, socket)| (Ear::Names(ear), socket)));
        ears.extend(self.time.ears().map(|(ear, socket)| (Ear::Time(ear), socket)));
        let mut polled: Vec<PollFd<'_>> = ears
            .iter()
            .map(|&(_, socket)| PollFd::new(socket, PollFlags::POLLIN))
            .collect();
        match poll(&mut polled, PollTimeout::try_from(wait_ms.min(SLEEP_MS_MAX))?) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let is_ready = |entry: &PollFd<'_>| entry.any().unwrap_or(false);
        let heard = ears.iter().zip(&polled).filter(|(_, entry)| is_ready(entry));
        Ok(heard.map(|(&(ear, _), _)| ear).collect())
    }

    /// Takes what init says. `None`: it has stopped us, or has ended.
    fn told(&mut self) -> Result<Option<()>, Box<dyn Error>> {
        let message = match self.control.receive::<ToNetd>() {
            Ok(Received { message, .. }) => message,
            Err(ReceiveError::Closed) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match message {
            ToNetd::Stop => {
                // The goodbye.
                self.names.set_on(false, now_ms());
                return Ok(None);
            }
            ToNetd::Link { .. } => return Err("a second link".into()),
            ToNetd::HostName(name) => {
                let news = self.names.set_name(&name, now_ms());
                self.ipv4.rename(name);
                self.tell(&news)?;
            }
            ToNetd::Addresses(Addresses(addresses)) => {
                let news = self.names.set_addresses(&addresses, now_ms());
                self.tell(&news)?;
                let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.ip).collect();
                self.ipv4.applied(ipv4_of(&addresses), now_ms());
                self.surroundings.addresses = addresses;
                self.moved()?;
            }
            ToNetd::BoxAddresses(Addresses(addresses)) => {
                self.names.set_box(addresses.iter().map(|address| address.ip));
            }
            ToNetd::Mdns { is_on } => {
                let news = self.names.set_on(is_on, now_ms());
                self.tell(&news)?;
            }
        }
        Ok(Some(()))
    }

    fn read_dhcp(&mut self) -> io::Result<()> {
        let mut room = [0; FRAME_OCTETS_MAX];
        for _ in 0..READS_MAX {
            let Some(length) = frame(&self.sockets.dhcp, &mut room)? else {
                break;
            };
            let result = packet::datagram(&room[..length])
                .ok_or(Malformed)
                .and_then(|payload| self.ipv4.receive_dhcp(payload, now_ms()));
            let actions = self.counts.sound(Protocol::Dhcp, result);
            self.perform(actions)?;
        }
        Ok(())
    }

    fn read_arp(&mut self) -> io::Result<()> {
        let mut room = [0; FRAME_OCTETS_MAX];
        for _ in 0..READS_MAX {
            let Some(length) = frame(&self.sockets.arp, &mut room)? else {
                break;
            };
            let result = self.ipv4.receive_arp(&room[..length], now_ms());
            let actions = self.counts.sound(Protocol::Arp, result);
            self.perform(actions)?;
        }
        self.arp_rest_ms = now_ms() + ARP_REST_MS;
        Ok(())
    }

    fn read_icmp6(&mut self) -> io::Result<()> {
        let mut room = [0; FRAME_OCTETS_MAX];
        for _ in 0..READS_MAX {
            let Some(advertised) = self.sockets.advertised(&mut room)? else {
                break;
            };
            let result = self.router.receive(
                advertised.source,
                advertised.hop_limit,
                &room[..advertised.octets],
                now_ms(),
            );
            let actions = self.counts.sound(Protocol::RouterAdvertisement, result);
            self.heed(actions)?;
        }
        Ok(())
    }

    fn perform(&mut self, actions: Vec<ipv4::Action>) -> io::Result<()> {
        for action in actions {
            match action {
                ipv4::Action::Broadcast(payload) => {
                    let frame = packet::broadcast(self.mac, &payload);
                    unless_passing(self.sockets.broadcast(&frame))?;
                }
                ipv4::Action::Unicast(server, payload) => {
                    unless_passing(self.sockets.renew(server, &payload))?;
                }
                ipv4::Action::Arp(frame) => unless_passing(self.sockets.send_arp(&frame))?,
                ipv4::Action::Lease(lease) => {
                    self.surroundings.dns4 = lease.dns.to_vec();
                    self.surroundings.ntp = self.ipv4.ntp().to_vec();
                    self.control.send(&FromNetd::Lease(lease), &[])?;
                    self.moved()?;
                }
                ipv4::Action::LeaseLost => {
                    self.surroundings.dns4.clear();
                    self.surroundings.ntp.clear();
                    self.control.send(&FromNetd::LeaseLost, &[])?;
                    self.moved()?;
                }
                ipv4::Action::Conflict { address, mac } => {
                    self.control
                        .send(&FromNetd::AddressConflict { address, mac }, &[])?;
                }
            }
        }
        Ok(())
    }

    /// Does what the advertisements of routers lead to.
    fn heed(&mut self, actions: Vec<router::Action>) -> io::Result<()> {
        for action in actions {
            match action {
                router::Action::Solicit(message) => unless_passing(self.sockets.solicit(&message))?,
                router::Action::Resolvers { dns, seconds } => {
                    let message = FromNetd::Resolvers6 {
                        dns: dns.iter().copied().take(DNS_MAX).collect(),
                        seconds,
                    };
                    self.control.send(&message, &[])?;
                    self.surroundings.dns6 = dns;
                    self.moved()?;
                }
            }
        }
        Ok(())
    }

    /// The network is not what it was.
    fn moved(&mut self) -> io::Result<()> {
        let news = self.time.moved(self.surroundings.clone(), now_ms());
        self.tell(&news)
    }

    fn tell(&self, news: &[FromNetd]) -> io::Result<()> {
        news.iter()
            .try_for_each(|message| self.control.send(message, &[]))
    }
}

/// What could not be sent now is sent again by its machine: that is what its timers are for.
fn unless_passing(sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Err(error) if is_passing(&error) => Ok(()),
        result => result,
    }
}

fn ipv4_of(addresses: &[IpAddr]) -> Vec<Ipv4Addr> {
    let four = |address: &IpAddr| match address {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    };
    addresses.iter().filter_map(four).collect()
}

#[cfg(test)]
mod tests;
