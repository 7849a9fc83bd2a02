//! The time service of one link: `sntp` and the resolver for its names, with their sockets.
//!
//! # Invariants
//! - Each question has a socket of its own, connected to the server it goes to: the kernel has picked its port at random,
//!   and hears nobody else on it.
//! - While nothing is asked, no socket is open.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use handoff::{FromNetd, InterfaceName};

use super::sockets::is_passing;
use super::udp;
use crate::clock::random;
use crate::count::{Counts, Protocol};
use crate::dns::{self, Families, is_reachable_6};
use crate::sntp;

const DNS_PORT: u16 = 53;
const NTP_PORT: u16 = 123;
/// Time in NTP comes around every 136 years; it is taken for that within 68 years of 2026-01-01.
const PIVOT_UNIX_SECONDS: u64 = 1_767_225_600;
/// An answer of either protocol that is looked at is smaller: nothing larger was announced (RFC 1035 §4.2.1).
const ANSWER_OCTETS_MAX: usize = 512;
/// How many datagrams are read from one socket before the others have their turn.
const READS_MAX: usize = 16;

/// What of the network matters for asking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    pub(super) addresses: Vec<IpAddr>,
    /// Of the lease.
    pub(super) dns4: Vec<Ipv4Addr>,
    /// Of router advertisements.
    pub(super) dns6: Vec<Ipv6Addr>,
    /// Of the lease.
    pub(super) ntp: Vec<Ipv4Addr>,
}

/// Asks for the time.
pub(super) struct Time {
    interface: InterfaceName,
    index: u32,
    sntp: sntp::Machine<fn() -> u32>,
    dns: dns::Machine<fn() -> u32>,
    families: Families,
    /// For the question of the resolver.
    dns_socket: Option<Asked>,
    /// For those of one round.
    ntp_sockets: Vec<Asked>,
}

struct Asked {
    server: IpAddr,
    socket: UdpSocket,
}

/// Which of its sockets has something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    Dns,
    Ntp(usize),
}

impl Time {
    pub(super) fn new(interface: InterfaceName, index: u32) -> Self {
        Self {
            interface,
            index,
            sntp: sntp::Machine::new(PIVOT_UNIX_SECONDS, random),
            dns: dns::Machine::new(random),
            families: Families {
                has_ipv4: false,
                has_ipv6: false,
            },
            dns_socket: None,
            ntp_sockets: Vec::new(),
        }
    }

    /// The network is like this now.
    pub(super) fn moved(&mut self, to: Surroundings, now_ms: u64) -> Vec<FromNetd> {
        self.families = Families {
            has_ipv4: to.addresses.iter().any(IpAddr::is_ipv4),
            has_ipv6: to
                .addresses
                .iter()
                .any(|address| matches!(address, IpAddr::V6(address) if is_reachable_6(*address))),
        };
        // A server is of use with an address of its own kind only; of IPv6 any will do for one on the link.
        let (mut servers, mut ntp): (Vec<IpAddr>, _) = (Vec::new(), Vec::new());
        if self.families.has_ipv4 {
            servers.extend(to.dns4.into_iter().map(IpAddr::V4));
            ntp = to.ntp;
        }
        servers.extend(to.dns6.into_iter().map(IpAddr::V6));
        let has_address = self.families.has_ipv4 || self.families.has_ipv6;
        // With nobody to ask, a round would only fail, and the next is far off then.
        let is_online = has_address && !(servers.is_empty() && ntp.is_empty());
        let told = self.dns.set_servers(&servers, now_ms);
        let told = self.resolver_says(told, now_ms);
        self.sntp.set_servers(&ntp, now_ms);
        self.sntp.set_online(is_online, now_ms);
        if !is_online {
            self.dns_socket = None;
            self.ntp_sockets.clear();
        }
        told
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let both = [self.sntp.deadline_ms(), self.dns.deadline_ms()];
        both.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<FromNetd> {
        let actions = self.dns.tick(now_ms);
        let mut told = self.resolver_says(actions, now_ms);
        if self.sntp.deadline_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            // Whatever it is that is due, the round before is over.
            self.ntp_sockets.clear();
            let actions = self.sntp.tick(now_ms);
            told.extend(self.client_says(actions, now_ms));
        }
        told
    }

    /// The sockets that are open now.
    pub(super) fn ears(&self) -> impl Iterator<Item = (Ear, BorrowedFd<'_>)> {
        let dns = self
            .dns_socket
            .iter()
            .map(|asked| (Ear::Dns, asked.socket.as_fd()));
        let ntp = self.ntp_sockets.iter().enumerate();
        dns.chain(ntp.map(|(at, asked)| (Ear::Ntp(at), asked.socket.as_fd())))
    }

    /// Takes what came to one of its sockets.
    pub(super) fn read(&mut self, ear: Ear, counts: &mut Counts, now_ms: u64) -> io::Result<Vec<FromNetd>> {
        let mut told = Vec::new();
        let mut room = [0; ANSWER_OCTETS_MAX];
        for _ in 0..READS_MAX {
            let asked = match ear {
                Ear::Dns => self.dns_socket.as_ref(),
                Ear::Ntp(at) => self.ntp_sockets.get(at),
            };
            // Closed, as the answer before was the last that was waited for.
            let Some(&Asked { server, ref socket }) = asked else {
                break;
            };
            let length = match socket.recv(&mut room) {
                Err(error) if is_passing(&error) => break,
                result => result?,
            };
            let octets = &room[..length];
            match ear {
                Ear::Dns => {
                    let actions = counts.sound(Protocol::Dns, self.dns.receive(server, octets, now_ms));
                    told.extend(self.resolver_says(actions, now_ms));
                }
                Ear::Ntp(_) => {
                    let actions = counts.sound(Protocol::Ntp, self.sntp.receive(server, octets, now_ms));
                    told.extend(self.client_says(actions, now_ms));
                }
            }
        }
        Ok(told)
    }

    fn resolver_says(&mut self, actions: Vec<dns::Action>, now_ms: u64) -> Vec<FromNetd> {
        let mut told = Vec::new();
        for action in actions {
            match action {
                dns::Action::Send(server, octets) => {
                    self.dns_socket = self.ask(server, DNS_PORT, &octets);
                }
                dns::Action::Resolved(found) => {
                    self.dns_socket = None;
                    let actions = self.sntp.resolved(&found, now_ms);
                    told.extend(self.client_says(actions, now_ms));
                }
            }
        }
        told
    }

    fn client_says(&mut self, actions: Vec<sntp::Action>, now_ms: u64) -> Vec<FromNetd> {
        let mut told = Vec::new();
        for action in actions {
            match action {
                sntp::Action::Resolve(names) => {
                    let actions = self.dns.resolve(names, self.families, now_ms);
                    told.extend(self.resolver_says(actions, now_ms));
                }
                sntp::Action::Send(server, octets) => {
                    let asked = self.ask(server, NTP_PORT, &octets);
                    self.ntp_sockets.extend(asked);
                }
                sntp::Action::Sample { unix_ms, boot_ms } => {
                    self.ntp_sockets.clear();
                    told.push(FromNetd::TimeSample { unix_ms, boot_ms });
                }
            }
        }
        told
    }

    /// Sends a question. `None`: it could not be sent, which is for the machine's timers to mend, as if it had been lost.
    fn ask(&self, server: IpAddr, port: u16, octets: &[u8]) -> Option<Asked> {
        let to = match server {
            // A router that names itself may do so by its address on this link.
            IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, port, 0, self.index).into(),
            ip => SocketAddr::new(ip, port),
        };
        let socket = udp::question(&self.interface, to).ok()?;
        socket.send(octets).ok()?;
        Some(Asked { server, socket })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 15));
    const OURS_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 15));
    const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 15));
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const SERVER_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

    fn time() -> Time {
        Time::new(InterfaceName::new("lo").unwrap(), 1)
    }

    /// Whether the time is asked for at once.
    fn asks(addresses: &[IpAddr], dns4: &[Ipv4Addr], dns6: &[Ipv6Addr], ntp: &[Ipv4Addr]) -> bool {
        let mut time = time();
        let to = Surroundings {
            addresses: addresses.to_vec(),
            dns4: dns4.to_vec(),
            dns6: dns6.to_vec(),
            ntp: ntp.to_vec(),
        };
        assert_eq!(time.moved(to, 5), []);
        assert!(time.deadline_ms().is_none_or(|at_ms| at_ms == 5));
        time.deadline_ms().is_some()
    }

    #[test]
    fn the_time_is_asked_for_as_soon_as_there_is_an_address_and_somebody_to_ask() {
        assert!(asks(&[OURS], &[SERVER], &[], &[]));
        assert!(asks(&[OURS], &[], &[], &[SERVER]));
        assert!(asks(&[OURS_6], &[], &[SERVER_6], &[]));
        assert!(asks(&[OURS, LINK_LOCAL], &[SERVER], &[], &[]));
        assert!(!asks(&[], &[SERVER], &[SERVER_6], &[SERVER]));
        assert!(!asks(&[OURS, OURS_6], &[], &[], &[]));
        // The lease is there, its address is not yet.
        assert!(!asks(&[LINK_LOCAL], &[SERVER], &[], &[SERVER]));
        assert!(!asks(&[OURS_6], &[SERVER], &[], &[SERVER]));
    }

    #[test]
    fn without_an_address_nothing_is_asked_any_more() {
        let mut time = time();
        let to = Surroundings {
            addresses: vec![OURS],
            ntp: vec![SERVER],
            ..Surroundings::default()
        };
        time.moved(to, 0);
        // The question cannot be sent from the loopback interface, which is as if it was lost.
        assert_eq!(time.tick(0), []);
        assert!(time.deadline_ms().is_some());
        assert_eq!(time.moved(Surroundings::default(), 10), []);
        assert_eq!((time.deadline_ms(), time.ears().count()), (None, 0));
    }
}
