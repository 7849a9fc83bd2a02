//! The running program on sockets of this machine: pairs of unix sockets are the wire, a UDP socket of the loopback
//! interface stands for the one of ICMPv6. The clock is the real one; what takes longest is the fifth of a second that
//! a leased address is waited for.
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::thread::JoinHandle;
use std::time::Duration;

use dhcproto::v4::{self, DhcpOption, HType, MessageType, Opcode};
use dhcproto::{Decodable, Encodable};
use handoff::Address;

use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 15);
/// Whatever is waited for comes before; a machine under load may need some of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running link and the far ends of its sockets.
struct Running {
    control: Channel,
    dhcp: UnixDatagram,
    arp: UnixDatagram,
    thread: JoinHandle<Result<(), String>>,
}

impl Running {
    fn start(settings: Ipv4Settings) -> Self {
        let (control, theirs) = Channel::pair().unwrap();
        let [dhcp, arp] = [(); 2].map(|()| UnixDatagram::pair().unwrap());
        let renewals = UdpSocket::bind("127.0.0.1:0").unwrap();
        let icmp6 = UdpSocket::bind("[::1]:0").unwrap();
        let handed: [OwnedFd; 4] = [dhcp.1.into(), renewals.into(), arp.1.into(), icmp6.into()];
        let sockets = Sockets::new(1, handed).unwrap();
        let card = Card {
            index: 1,
            mac: MAC,
            interface: InterfaceName::new("lo").unwrap(),
            host_name: HostName::new("postolka").unwrap(),
        };
        let link = Link::new(theirs, sockets, card, settings);
        let thread = std::thread::spawn(|| link.run().map_err(|error| error.to_string()));
        for wire in [&dhcp.0, &arp.0] {
            wire.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Self {
            control,
            dhcp: dhcp.0,
            arp: arp.0,
            thread,
        }
    }

    /// The DHCP message that was sent.
    fn asked(&self) -> v4::Message {
        let mut room = [0; FRAME_OCTETS_MAX];
        let length = self.dhcp.recv(&mut room).unwrap();
        // Ethernet, IPv4 and UDP are in front.
        v4::Message::from_bytes(&room[42..length]).unwrap()
    }

    fn answer(&self, asked: &v4::Message, kind: MessageType) {
        let mut reply = v4::Message::default();
        reply
            .set_opcode(Opcode::BootReply)
            .set_htype(HType::Eth)
            .set_chaddr(&MAC)
            .set_xid(asked.xid())
            .set_yiaddr(OURS);
        for option in [
            DhcpOption::MessageType(kind),
            DhcpOption::ServerIdentifier(SERVER),
            DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
            DhcpOption::AddressLeaseTime(3600),
        ] {
            reply.opts_mut().insert(option);
        }
        let mut frame = packet::broadcast(MAC, &reply.to_vec().unwrap());
        // To port 68 instead of from it. The checksum of UDP is not looked at.
        frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
        self.dhcp.send(&frame).unwrap();
    }

    /// Sender and target of the ARP packet that was sent.
    fn heard(&self) -> (Ipv4Addr, Ipv4Addr) {
        let mut room = [0; FRAME_OCTETS_MAX];
        let length = self.arp.recv(&mut room).unwrap();
        assert_eq!(length, 42);
        let address = |at: usize| Ipv4Addr::from(*room[at..].first_chunk::<4>().unwrap());
        (address(28), address(38))
    }

    /// Another machine says that it has our address.
    fn contest(&self) {
        let mut frame = [0; 60];
        frame[12..22].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2]);
        frame[22..28].copy_from_slice(&OTHER);
        frame[28..32].copy_from_slice(&OURS.octets());
        self.arp.send(&frame).unwrap();
    }

    fn told(&self) -> FromNetd {
        self.control.receive().unwrap().message
    }

    fn tell(&self, message: &ToNetd) {
        self.control.send(message, &[]).unwrap();
    }

    /// Up to the lease.
    fn leased() -> Self {
        let running = Self::start(Ipv4Settings::Dynamic);
        for answer in [MessageType::Offer, MessageType::Ack] {
            let asked = running.asked();
            running.answer(&asked, answer);
        }
        assert_eq!(running.heard(), (Ipv4Addr::UNSPECIFIED, OURS));
        let FromNetd::Lease(lease) = running.told() else {
            panic!("no lease")
        };
        assert_eq!(lease.address, OURS);
        running
    }
}

#[test]
fn a_lease_is_got_probed_for_told_and_announced_and_stop_is_the_end() {
    let running = Running::leased();
    let address = Address {
        ip: OURS.into(),
        prefix: 24,
    };
    running.tell(&ToNetd::Addresses(Addresses(std::iter::once(address).collect())));
    assert_eq!(running.heard(), (OURS, OURS));
    running.tell(&ToNetd::Stop);
    assert_eq!(running.thread.join().unwrap(), Ok(()));
}

#[test]
fn an_address_that_somebody_has_is_given_back_and_init_is_told_who() {
    let running = Running::leased();
    running.contest();
    assert_eq!(running.told(), FromNetd::LeaseLost);
    let conflict = FromNetd::AddressConflict {
        address: OURS,
        mac: OTHER,
    };
    assert_eq!(running.told(), conflict);
    assert_eq!(running.asked().opts().msg_type(), Some(MessageType::Decline));
    running.tell(&ToNetd::Stop);
    running.thread.join().unwrap().unwrap();
}

#[test]
fn noise_from_the_network_ends_nothing() {
    let running = Running::start(Ipv4Settings::Dynamic);
    let asked = running.asked();
    for length in [1, 13, 42, 60, 300, 1500] {
        running.dhcp.send(&vec![0x55; length]).unwrap();
        running.arp.send(&vec![0x55; length]).unwrap();
    }
    running.answer(&asked, MessageType::Offer);
    assert_eq!(running.asked().opts().msg_type(), Some(MessageType::Request));
    running.tell(&ToNetd::Stop);
    running.thread.join().unwrap().unwrap();
}

#[test]
fn the_end_of_init_is_the_end_of_netd() {
    let running = Running::start(Ipv4Settings::Dynamic);
    drop(running.control);
    assert_eq!(running.thread.join().unwrap(), Ok(()));
}

#[test]
fn a_second_link_is_an_error() {
    let running = Running::start(Ipv4Settings::Dynamic);
    let link = ToNetd::Link {
        index: 1,
        mac: MAC,
        name: InterfaceName::new("eth0").unwrap(),
        host_name: HostName::new("postolka").unwrap(),
        ipv4: Ipv4Settings::Dynamic,
    };
    let descriptor = io::stderr();
    running.control.send(&link, &[descriptor.as_fd(); 4]).unwrap();
    assert!(running.thread.join().unwrap().is_err());
}
