//! The box's name on its link: `mdns` with its sockets, one for each kind of address that the interface has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use handoff::{Address, FromNetd, HostName, InterfaceName};

use super::sockets::is_passing;
use super::udp::{self, MDNS_GROUP_4, MDNS_GROUP_6};
use crate::clock::random;
use crate::count::{Counts, Protocol};
use crate::mdns::{self, PORT};

/// RFC 6762 §17: no message is longer, headers included.
const MESSAGE_OCTETS_MAX: usize = 9_000;
/// How many messages are read from one socket before the others have their turn.
const READS_MAX: usize = 16;

/// Answers to the box's name, while that is wanted.
pub(super) struct Names {
    interface: InterfaceName,
    index: u32,
    machine: mdns::Machine<fn() -> u32>,
    /// What is announced.
    name: HostName,
    is_on: bool,
    addresses: Vec<Address>,
    /// Those of all its interfaces: two of them may be on one link, and hear each other.
    of_the_box: Vec<IpAddr>,
    /// With the address that it joined the group by.
    socket4: Option<(Ipv4Addr, UdpSocket)>,
    socket6: Option<UdpSocket>,
}

/// Which of its sockets has something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    Four,
    Six,
}

impl Names {
    /// Says nothing yet.
    pub(super) fn new(interface: InterfaceName, index: u32, name: &HostName) -> Self {
        Self {
            interface,
            index,
            machine: mdns::Machine::new(name, random),
            name: name.clone(),
            is_on: false,
            addresses: Vec::new(),
            of_the_box: Vec::new(),
            socket4: None,
            socket6: None,
        }
    }

    pub(super) fn set_on(&mut self, is_on: bool, now_ms: u64) -> Vec<FromNetd> {
        self.is_on = is_on;
        if is_on {
            self.open();
        }
        let actions = self.machine.set_on(is_on, now_ms);
        let told = self.perform(actions);
        if !is_on {
            // After the goodbye.
            self.open();
        }
        told
    }

    pub(super) fn set_name(&mut self, name: &HostName, now_ms: u64) -> Vec<FromNetd> {
        self.name = name.clone();
        let actions = self.machine.set_name(name, now_ms);
        self.perform(actions)
    }

    pub(super) fn set_addresses(&mut self, addresses: &[Address], now_ms: u64) -> Vec<FromNetd> {
        self.addresses = addresses.to_vec();
        self.open();
        let actions = self.machine.set_addresses(addresses, now_ms);
        self.perform(actions)
    }

    /// Who speaks from one of these addresses is the box itself.
    pub(super) fn set_box(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        self.of_the_box = addresses.collect();
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.machine.deadline_ms()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<FromNetd> {
        let actions = self.machine.tick(now_ms);
        self.perform(actions)
    }

    /// The sockets that are open now.
    pub(super) fn ears(&self) -> impl Iterator<Item = (Ear, BorrowedFd<'_>)> {
        let four = self.socket4.iter().map(|(_, socket)| (Ear::Four, socket.as_fd()));
        let six = self.socket6.iter().map(|socket| (Ear::Six, socket.as_fd()));
        four.chain(six)
    }

    /// Takes what came to one of its sockets.
    pub(super) fn read(&mut self, ear: Ear, counts: &mut Counts, now_ms: u64) -> io::Result<Vec<FromNetd>> {
        let mut told = Vec::new();
        let mut room = [0; MESSAGE_OCTETS_MAX];
        for _ in 0..READS_MAX {
            let socket = match ear {
                Ear::Four => self.socket4.as_ref().map(|(_, socket)| socket),
                Ear::Six => self.socket6.as_ref(),
            };
            let Some(socket) = socket else { break };
            let (length, from) = match socket.recv_from(&mut room) {
                Err(error) if is_passing(&error) => break,
                result => result?,
            };
            if self.of_the_box.contains(&from.ip()) {
                continue;
            }
            let actions = counts.sound(
                Protocol::Mdns,
                self.machine.receive(from, &room[..length], now_ms),
            );
            told.extend(self.perform(actions));
        }
        Ok(told)
    }

    /// Opens and closes the sockets as they are needed. One that cannot be opened is tried again when the addresses
    /// change; the box is found by its address meanwhile.
    fn open(&mut self) {
        let four = self.addresses.iter().find_map(|address| match address.ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        let four = four.filter(|_| self.is_on);
        let six = self.is_on && self.addresses.iter().any(|address| address.ip.is_ipv6());
        if self.socket4.as_ref().map(|(address, _)| *address) != four {
            self.socket4 = four.and_then(|address| {
                let socket = told_of(udp::mdns4(&self.interface, address), "IPv4")?;
                Some((address, socket))
            });
        }
        if self.socket6.is_some() != six {
            self.socket6 = six
                .then(|| told_of(udp::mdns6(&self.interface, self.index), "IPv6"))
                .flatten();
        }
    }

    fn perform(&self, actions: Vec<mdns::Action>) -> Vec<FromNetd> {
        let mut told = Vec::new();
        for action in actions {
            // What is not sent now is asked for again.
            match action {
                mdns::Action::Multicast(octets) => {
                    if let Some((_, socket)) = &self.socket4 {
                        let _ = socket.send_to(&octets, (MDNS_GROUP_4, PORT));
                    }
                    if let Some(socket) = &self.socket6 {
                        let to = SocketAddrV6::new(MDNS_GROUP_6, PORT, 0, self.index);
                        let _ = socket.send_to(&octets, to);
                    }
                }
                mdns::Action::Unicast(to, octets) => {
                    let socket = match to {
                        SocketAddr::V4(_) => self.socket4.as_ref().map(|(_, socket)| socket),
                        SocketAddr::V6(_) => self.socket6.as_ref(),
                    };
                    let _ = socket.map(|socket| socket.send_to(&octets, to));
                }
                mdns::Action::NameConflict => told.push(FromNetd::NameConflict(self.name.clone())),
            }
        }
        told
    }
}

/// The socket, or a line about why there is none.
fn told_of(socket: io::Result<UdpSocket>, kind: &str) -> Option<UdpSocket> {
    socket
        .inspect_err(|error| eprintln!("The box does not answer to its name over {kind}: {error}."))
        .ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn names() -> Names {
        let name = HostName::new("postolka").unwrap();
        Names::new(InterfaceName::new("lo").unwrap(), 1, &name)
    }

    fn address(ip: IpAddr) -> Address {
        Address { ip, prefix: 8 }
    }

    #[test]
    fn sockets_are_open_only_while_the_name_is_answered_and_for_the_addresses_there_are() {
        let mut names = names();
        let four = address(Ipv4Addr::LOCALHOST.into());
        let six = address(Ipv6Addr::LOCALHOST.into());
        let ears = |names: &Names| names.ears().map(|(ear, _)| ear).collect::<Vec<Ear>>();
        names.set_addresses(&[four, six], 0);
        assert_eq!(ears(&names), []);
        names.set_on(true, 0);
        assert_eq!(ears(&names), [Ear::Four, Ear::Six]);
        names.set_addresses(&[four], 1);
        assert_eq!(ears(&names), [Ear::Four]);
        let moved = address(Ipv4Addr::new(127, 0, 0, 2).into());
        names.set_addresses(&[moved], 2);
        assert_eq!(names.socket4.as_ref().unwrap().0, Ipv4Addr::new(127, 0, 0, 2));
        names.set_on(false, 3);
        assert_eq!(ears(&names), []);
    }

    #[test]
    fn noise_is_counted_and_ends_nothing() {
        let mut names = names();
        // The machine takes no loopback address for one; it is not what is tested here.
        names.set_addresses(&[address(Ipv4Addr::LOCALHOST.into())], 0);
        names.set_on(true, 0);
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for length in [0, 1, 12, 600, 9_000, 20_000] {
            sender
                .send_to(&vec![0x55; length], (Ipv4Addr::LOCALHOST, PORT))
                .unwrap();
        }
        let told = names.read(Ear::Four, &mut Counts::default(), 5).unwrap();
        assert_eq!(told, []);
    }
}
