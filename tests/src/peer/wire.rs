//! Frames as values, and values as frames. smoltcp knows the layouts and the checksums; nothing of it is shared with the
//! firmware.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet,
    Ipv6Repr, NdiscNeighborFlags, NdiscRepr, UdpPacket, UdpRepr,
};

use super::names::MDNS_PORT;

const ETHERNET_OCTETS: usize = 14;
const IPV4_OCTETS: usize = 20;
const IPV6_OCTETS: usize = 40;
const UDP_OCTETS: usize = 8;

/// A hardware address.
pub type Mac = [u8; 6];

/// To everybody.
pub const BROADCAST: Mac = [0xff; 6];

/// One end of a packet: the card and the address it goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// Its card.
    pub mac: Mac,
    /// Its address.
    pub ip: IpAddr,
}

impl Station {
    /// A host with this card and this address.
    pub fn new(mac: Mac, ip: impl Into<IpAddr>) -> Station {
        Station { mac, ip: ip.into() }
    }

    /// A multicast group, with the hardware address that belongs to it (RFC 1112 §6.4, RFC 2464 §7).
    pub fn group(ip: impl Into<IpAddr>) -> Station {
        let ip = ip.into();
        let mac = match ip {
            IpAddr::V4(ip) => {
                let [_, a, b, c] = ip.octets();
                [0x01, 0x00, 0x5e, a & 0x7f, b, c]
            }
            IpAddr::V6(ip) => {
                let octets = ip.octets();
                [0x33, 0x33, octets[12], octets[13], octets[14], octets[15]]
            }
        };
        Station { mac, ip }
    }
}

/// A UDP datagram and its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sends it.
    pub from: Station,
    /// From which port.
    pub from_port: u16,
    /// To whom.
    pub to: Station,
    /// To which port.
    pub to_port: u16,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl Datagram {
    /// The way back, with another payload.
    #[must_use]
    pub fn answer(&self, payload: Vec<u8>) -> Datagram {
        Datagram {
            from: self.to,
            from_port: self.to_port,
            to: self.from,
            to_port: self.from_port,
            payload,
        }
    }

    /// As a frame.
    pub fn frame(&self) -> Vec<u8> {
        let repr = UdpRepr {
            src_port: self.from_port,
            dst_port: self.to_port,
        };
        let mut octets = vec![0; UDP_OCTETS + self.payload.len()];
        repr.emit(
            &mut UdpPacket::new_unchecked(&mut octets[..]),
            &self.from.ip.into(),
            &self.to.ip.into(),
            self.payload.len(),
            |payload| payload.copy_from_slice(&self.payload),
            &ChecksumCapabilities::default(),
        );
        // RFC 6762 §11: what is said on the link has come over no router.
        let is_link_local = self.to_port == MDNS_PORT;
        let hop_limit = if is_link_local { 255 } else { 64 };
        ip_frame(self.from, self.to, IpProtocol::Udp, hop_limit, &octets)
    }
}

/// What a frame from the box is, as far as somebody here may have to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Arp(Arp),
    Udp(Datagram),
    EchoRequest {
        from: Station,
        to: Station,
        ident: u16,
        sequence: u16,
    },
    EchoReply {
        from: Station,
        to: Station,
        ident: u16,
        sequence: u16,
    },
    NeighborSolicitation {
        from: Station,
        target: Ipv6Addr,
    },
    RouterSolicitation {
        from: Station,
    },
}

/// An ARP packet (RFC 826). One from 0.0.0.0 is a probe, one in which both addresses are the same an announcement (RFC 5227).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Whether it asks.
    pub is_request: bool,
    /// The card it speaks of.
    pub sender_mac: Mac,
    /// The address of that.
    pub sender_ip: Ipv4Addr,
    /// The card that is answered; zeros in a question.
    pub target_mac: Mac,
    /// The address that is asked for or answered.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// As a frame.
    pub fn frame(&self, to: Mac) -> Vec<u8> {
        let repr = ArpRepr::EthernetIpv4 {
            operation: if self.is_request {
                ArpOperation::Request
            } else {
                ArpOperation::Reply
            },
            source_hardware_addr: EthernetAddress(self.sender_mac),
            source_protocol_addr: self.sender_ip,
            target_hardware_addr: EthernetAddress(self.target_mac),
            target_protocol_addr: self.target_ip,
        };
        let mut octets = vec![0; repr.buffer_len()];
        repr.emit(&mut ArpPacket::new_unchecked(&mut octets[..]));
        ethernet_frame(self.sender_mac, to, EthernetProtocol::Arp, &octets)
    }
}

/// Reads a frame. `None` for what nobody here answers, and for what is malformed.
pub(super) fn read(frame: &[u8]) -> Option<Packet> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let (from, to) = (ethernet.src_addr().0, ethernet.dst_addr().0);
    match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            let ArpRepr::EthernetIpv4 {
                operation,
                source_hardware_addr,
                source_protocol_addr,
                target_hardware_addr,
                target_protocol_addr,
            } = ArpRepr::parse(&ArpPacket::new_checked(ethernet.payload()).ok()?).ok()?
            else {
                return None;
            };
            Some(Packet::Arp(Arp {
                is_request: operation == ArpOperation::Request,
                sender_mac: source_hardware_addr.0,
                sender_ip: source_protocol_addr,
                target_mac: target_hardware_addr.0,
                target_ip: target_protocol_addr,
            }))
        }
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            let repr = Ipv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()?;
            let (from, to) = (Station::new(from, repr.src_addr), Station::new(to, repr.dst_addr));
            match repr.next_header {
                IpProtocol::Udp => udp(from, to, packet.payload()),
                IpProtocol::Icmp => echo4(from, to, packet.payload()),
                _ => None,
            }
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            let repr = Ipv6Repr::parse(&packet).ok()?;
            let (from, to) = (Station::new(from, repr.src_addr), Station::new(to, repr.dst_addr));
            match repr.next_header {
                IpProtocol::Udp => udp(from, to, packet.payload()),
                IpProtocol::Icmpv6 => icmp6(from, to, &repr, packet.payload()),
                _ => None,
            }
        }
        EthernetProtocol::Unknown(_) => None,
    }
}

fn udp(from: Station, to: Station, octets: &[u8]) -> Option<Packet> {
    let packet = UdpPacket::new_checked(octets).ok()?;
    let caps = ChecksumCapabilities::default();
    let repr = UdpRepr::parse(&packet, &from.ip.into(), &to.ip.into(), &caps).ok()?;
    Some(Packet::Udp(Datagram {
        from,
        from_port: repr.src_port,
        to,
        to_port: repr.dst_port,
        payload: packet.payload().to_vec(),
    }))
}

fn echo4(from: Station, to: Station, octets: &[u8]) -> Option<Packet> {
    let packet = Icmpv4Packet::new_checked(octets).ok()?;
    match Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()? {
        Icmpv4Repr::EchoRequest { ident, seq_no, .. } => Some(Packet::EchoRequest {
            from,
            to,
            ident,
            sequence: seq_no,
        }),
        Icmpv4Repr::EchoReply { ident, seq_no, .. } => Some(Packet::EchoReply {
            from,
            to,
            ident,
            sequence: seq_no,
        }),
        _ => None,
    }
}

fn icmp6(from: Station, to: Station, ip: &Ipv6Repr, octets: &[u8]) -> Option<Packet> {
    let packet = Icmpv6Packet::new_checked(octets).ok()?;
    let caps = ChecksumCapabilities::default();
    match Icmpv6Repr::parse(&ip.src_addr, &ip.dst_addr, &packet, &caps).ok()? {
        Icmpv6Repr::EchoRequest { ident, seq_no, .. } => Some(Packet::EchoRequest {
            from,
            to,
            ident,
            sequence: seq_no,
        }),
        Icmpv6Repr::EchoReply { ident, seq_no, .. } => Some(Packet::EchoReply {
            from,
            to,
            ident,
            sequence: seq_no,
        }),
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, .. }) => {
            Some(Packet::NeighborSolicitation {
                from,
                target: target_addr,
            })
        }
        Icmpv6Repr::Ndisc(NdiscRepr::RouterSolicit { .. }) => Some(Packet::RouterSolicitation { from }),
        _ => None,
    }
}

/// An echo request (`ping`) or its answer.
pub(super) fn echo(from: Station, to: Station, is_reply: bool, ident: u16, sequence: u16) -> Vec<u8> {
    let caps = ChecksumCapabilities::default();
    let data = b"postolka".as_slice();
    match (from.ip, to.ip) {
        (IpAddr::V4(_), _) => {
            let repr = if is_reply {
                Icmpv4Repr::EchoReply {
                    ident,
                    seq_no: sequence,
                    data,
                }
            } else {
                Icmpv4Repr::EchoRequest {
                    ident,
                    seq_no: sequence,
                    data,
                }
            };
            let mut octets = vec![0; repr.buffer_len()];
            repr.emit(&mut Icmpv4Packet::new_unchecked(&mut octets[..]), &caps);
            ip_frame(from, to, IpProtocol::Icmp, 64, &octets)
        }
        (IpAddr::V6(_), _) => {
            let repr = if is_reply {
                Icmpv6Repr::EchoReply {
                    ident,
                    seq_no: sequence,
                    data,
                }
            } else {
                Icmpv6Repr::EchoRequest {
                    ident,
                    seq_no: sequence,
                    data,
                }
            };
            icmp6_frame(from, to, &repr)
        }
    }
}

/// `from` has the address that it sends this from (RFC 4861 §7.2.4).
pub(super) fn neighbor_advertisement(from: Station, to: Station) -> Option<Vec<u8>> {
    let IpAddr::V6(target_addr) = from.ip else {
        return None;
    };
    let repr = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
        target_addr,
        lladdr: Some(EthernetAddress(from.mac).into()),
    });
    Some(icmp6_frame(from, to, &repr))
}

fn icmp6_frame(from: Station, to: Station, repr: &Icmpv6Repr<'_>) -> Vec<u8> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (from.ip, to.ip) else {
        return Vec::new();
    };
    let mut octets = vec![0; repr.buffer_len()];
    repr.emit(
        &source,
        &destination,
        &mut Icmpv6Packet::new_unchecked(&mut octets[..]),
        &ChecksumCapabilities::default(),
    );
    ip_frame(from, to, IpProtocol::Icmpv6, 255, &octets)
}

/// An ICMPv6 message that was put together by hand: its checksum is filled in, and nothing else of it looked at.
pub fn icmp6_raw(from: Station, to: Station, hop_limit: u8, mut message: Vec<u8>) -> Vec<u8> {
    if let (IpAddr::V6(source), IpAddr::V6(destination)) = (from.ip, to.ip)
        && message.len() >= 4
    {
        Icmpv6Packet::new_unchecked(&mut message[..]).fill_checksum(&source, &destination);
    }
    ip_frame(from, to, IpProtocol::Icmpv6, hop_limit, &message)
}

/// A frame with an IP packet of the family that `from` has.
fn ip_frame(from: Station, to: Station, protocol: IpProtocol, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    match (from.ip, to.ip) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let repr = Ipv4Repr {
                src_addr: source,
                dst_addr: destination,
                next_header: protocol,
                payload_len: payload.len(),
                hop_limit,
            };
            let mut octets = vec![0; IPV4_OCTETS + payload.len()];
            octets[IPV4_OCTETS..].copy_from_slice(payload);
            repr.emit(
                &mut Ipv4Packet::new_unchecked(&mut octets[..]),
                &ChecksumCapabilities::default(),
            );
            ethernet_frame(from.mac, to.mac, EthernetProtocol::Ipv4, &octets)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let repr = Ipv6Repr {
                src_addr: source,
                dst_addr: destination,
                next_header: protocol,
                payload_len: payload.len(),
                hop_limit,
            };
            let mut octets = vec![0; IPV6_OCTETS + payload.len()];
            octets[IPV6_OCTETS..].copy_from_slice(payload);
            repr.emit(&mut Ipv6Packet::new_unchecked(&mut octets[..]));
            ethernet_frame(from.mac, to.mac, EthernetProtocol::Ipv6, &octets)
        }
        _ => panic!("a packet from {} to {}: two families", from.ip, to.ip),
    }
}

fn ethernet_frame(from: Mac, to: Mac, ethertype: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let repr = EthernetRepr {
        src_addr: EthernetAddress(from),
        dst_addr: EthernetAddress(to),
        ethertype,
    };
    let mut octets = vec![0; ETHERNET_OCTETS + payload.len()];
    octets[ETHERNET_OCTETS..].copy_from_slice(payload);
    repr.emit(&mut EthernetFrame::new_unchecked(&mut octets[..]));
    octets
}
