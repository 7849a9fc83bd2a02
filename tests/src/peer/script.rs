//! Who is on the cable besides the box, what each does, and what is written down of the box.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use super::dhcp::{self, Dhcp, Request};
use super::names::{self, Asked, MDNS_GROUP, MDNS_GROUP_6, Mdns};
use super::router::{ALL_NODES, Router};
use super::time::{self, TimeServer};
use super::wire::{self, Arp, Datagram, Mac, Packet, Station};

/// The router's card.
pub const ROUTER_MAC: Mac = [0x52, 0x54, 0, 0, 0, 0x01];
/// The gateway, DHCP server and name server.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Another router.
pub const OTHER_ROUTER_MAC: Mac = [0x52, 0x54, 0, 0, 0, 0x02];
/// Its address.
pub const OTHER_ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The router's own address in IPv6.
pub const ROUTER_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The name server in IPv6.
pub const DNS_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 0x53);
/// The network of IPv6.
pub const PREFIX_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 0);
/// The time servers, where a script has them.
pub const TIME_SERVERS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(192, 0, 2, 11),
    Ipv4Addr::new(192, 0, 2, 12),
    Ipv4Addr::new(192, 0, 2, 13),
    Ipv4Addr::new(192, 0, 2, 14),
];
/// The first address that is given.
pub const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// The card of whoever uses what belongs to the box.
pub const STRANGER_MAC: Mac = [0x52, 0x54, 0, 0, 0, 0x66];
/// A host far away, behind the gateway.
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// What everybody on the cable does. Plain facts.
#[derive(Clone, Debug)]
pub struct Script {
    /// Who answers for which address: in ARP, in neighbour discovery, to `ping`.
    pub addresses: BTreeMap<IpAddr, Mac>,
    /// The DHCP server, on the router.
    pub dhcp: Dhcp,
    /// The name server, at every address.
    pub dns: names::Manner,
    /// The names it knows, in small letters.
    pub zone: BTreeMap<String, Vec<IpAddr>>,
    /// The time servers, by address.
    pub time: BTreeMap<IpAddr, TimeServer>,
    /// The router of IPv6, if there is one: it answers whoever solicits.
    pub router: Option<Router>,
    /// Names of the link that belong to somebody else (RFC 6762 §9).
    pub claimed_names: BTreeMap<String, IpAddr>,
}

impl Script {
    /// Everybody is kind; nobody has IPv6 or the time.
    pub(super) fn new() -> Script {
        let mut addresses = BTreeMap::from([
            (ROUTER.into(), ROUTER_MAC),
            (OTHER_ROUTER.into(), OTHER_ROUTER_MAC),
            (ROUTER_6.into(), ROUTER_MAC),
            (DNS_6.into(), ROUTER_MAC),
        ]);
        addresses.extend(TIME_SERVERS.map(|ip| (IpAddr::from(ip), ROUTER_MAC)));
        Script {
            addresses,
            dhcp: Dhcp::new(FIRST, ROUTER),
            dns: names::Manner::Kind,
            zone: BTreeMap::new(),
            time: BTreeMap::new(),
            router: None,
            claimed_names: BTreeMap::new(),
        }
    }
}

/// What the box has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// To DHCP servers.
    Dhcp(Request),
    /// By ARP.
    Arp(Arp),
    /// To a name server.
    Dns(IpAddr, Asked),
    /// To a time server.
    Time(IpAddr),
    /// To its neighbours.
    Mdns(Mdns),
    /// An answer to a ping, and the card it was sent to.
    EchoReply {
        /// Who answers.
        from: IpAddr,
        /// Whom.
        to: IpAddr,
        /// By whose card.
        by: Mac,
        /// To which ping.
        sequence: u16,
    },
    /// It looks for a router.
    RouterSolicitation,
    /// It looks for the card of a neighbour.
    NeighborSolicitation(Ipv6Addr),
}

impl Script {
    /// What was seen in a packet, and the frames that answer it.
    pub(super) fn answer(&mut self, packet: Packet) -> (Vec<Seen>, Vec<Vec<u8>>) {
        let one = |seen: Seen, answer: Option<Vec<u8>>| (vec![seen], answer.into_iter().collect());
        match packet {
            Packet::Arp(arp) => {
                let owner = self.addresses.get(&IpAddr::from(arp.target_ip));
                // A probe or a question for what somebody has, and not the announcement of the one who has it.
                let answer = owner
                    .filter(|mac| arp.is_request && **mac != arp.sender_mac)
                    .map(|mac| {
                        let reply = Arp {
                            is_request: false,
                            sender_mac: *mac,
                            sender_ip: arp.target_ip,
                            target_mac: arp.sender_mac,
                            target_ip: arp.sender_ip,
                        };
                        reply.frame(arp.sender_mac)
                    });
                one(Seen::Arp(arp), answer)
            }
            Packet::EchoRequest {
                from,
                to,
                ident,
                sequence,
            } => {
                let answer = self.addresses.contains_key(&to.ip);
                let answer = answer.then(|| wire::echo(to, from, true, ident, sequence));
                (Vec::new(), answer.into_iter().collect())
            }
            Packet::EchoReply {
                from, to, sequence, ..
            } => one(
                Seen::EchoReply {
                    from: from.ip,
                    to: to.ip,
                    by: to.mac,
                    sequence,
                },
                None,
            ),
            Packet::NeighborSolicitation { from, target } => {
                let owner = self.addresses.get(&IpAddr::from(target));
                let answer = owner.and_then(|mac| {
                    // Duplicate address detection asks from no address; the answer goes to everybody then.
                    let to = if from.ip.is_unspecified() {
                        Station::group(ALL_NODES)
                    } else {
                        from
                    };
                    wire::neighbor_advertisement(Station::new(*mac, target), to)
                });
                one(Seen::NeighborSolicitation(target), answer)
            }
            Packet::RouterSolicitation { .. } => {
                let router = Station::new(ROUTER_MAC, ROUTER_6);
                let answer = self
                    .router
                    .as_ref()
                    .map(|advertised| advertised.advertisement(router));
                one(Seen::RouterSolicitation, answer)
            }
            Packet::Udp(datagram) => self.answer_datagram(&datagram),
        }
    }

    fn answer_datagram(&mut self, datagram: &Datagram) -> (Vec<Seen>, Vec<Vec<u8>>) {
        match datagram.to_port {
            dhcp::SERVER_PORT => {
                let Some(request) = Request::read(datagram) else {
                    return (Vec::new(), Vec::new());
                };
                let server = Station::new(ROUTER_MAC, ROUTER);
                let answers = self.dhcp.answer(&request, server);
                let frames = answers.iter().map(Datagram::frame).collect();
                (vec![Seen::Dhcp(request)], frames)
            }
            names::PORT => {
                let asked = names::questions(&datagram.payload).unwrap_or_default();
                let answer = names::answer(self.dns, &self.zone, &datagram.payload);
                let answer = answer.map(|octets| datagram.answer(octets).frame());
                let seen = asked.into_iter().map(|asked| Seen::Dns(datagram.to.ip, asked));
                (seen.collect(), answer.into_iter().collect())
            }
            time::PORT => {
                let server = self.time.get(&datagram.to.ip);
                let answer =
                    server.and_then(|server| time::answer(server, &datagram.payload, SystemTime::now()));
                let answer = answer.map(|octets| datagram.answer(octets).frame());
                (vec![Seen::Time(datagram.to.ip)], answer.into_iter().collect())
            }
            names::MDNS_PORT => {
                let Some(message) = Mdns::read(&datagram.payload) else {
                    return (Vec::new(), Vec::new());
                };
                let claimed = self.claimed_names.iter();
                let answers = claimed
                    .filter(|(name, _)| message.asks_for(name))
                    .map(|(name, ip)| {
                        let stranger = Station::new(STRANGER_MAC, *ip);
                        mdns(stranger, names::mdns_answer(name, *ip)).frame()
                    });
                let answers = answers.collect();
                (vec![Seen::Mdns(message)], answers)
            }
            _ => (Vec::new(), Vec::new()),
        }
    }
}

/// A datagram to everybody who listens for mDNS.
pub fn mdns(from: Station, payload: Vec<u8>) -> Datagram {
    let to = match from.ip {
        IpAddr::V4(_) => Station::group(MDNS_GROUP),
        IpAddr::V6(_) => Station::group(MDNS_GROUP_6),
    };
    Datagram {
        from,
        from_port: names::MDNS_PORT,
        to,
        to_port: names::MDNS_PORT,
        payload,
    }
}
