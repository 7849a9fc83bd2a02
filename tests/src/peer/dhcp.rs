//! A DHCP server that does what the test says (RFC 2131), with dhcproto for the octets.

use std::net::{IpAddr, Ipv4Addr};

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};

use super::hostile;
use super::wire::{BROADCAST, Datagram, Station};

/// Where clients listen.
pub(super) const CLIENT_PORT: u16 = 68;
/// Where servers listen.
pub(super) const SERVER_PORT: u16 = 67;

/// How the server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It gives its address to whoever asks, and refuses any other.
    Kind,
    /// It hears everything and says nothing.
    Silent,
    /// It offers, and refuses every request.
    Refusing,
}

/// The server, as plain facts that a test changes at any time.
#[derive(Clone, Debug)]
pub struct Dhcp {
    /// How it behaves.
    pub manner: Manner,
    /// The address it gives. One that was declined makes place for the next.
    pub address: Ipv4Addr,
    /// Its length of the network's part.
    pub prefix: u8,
    /// For how long.
    pub seconds: u32,
    /// T1 and T2, where they are not left to the client.
    pub renew_rebind_seconds: Option<(u32, u32)>,
    /// The default route.
    pub gateway: Option<Ipv4Addr>,
    /// The resolvers.
    pub dns: Vec<Ipv4Addr>,
    /// Option 42.
    pub ntp: Vec<Ipv4Addr>,
    /// Each answer comes behind many damaged ones.
    pub is_garbled: bool,
}

/// What a client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// DISCOVER, REQUEST, DECLINE, RELEASE.
    pub kind: Kind,
    /// Its transaction.
    pub xid: u32,
    /// The address it has and goes on wanting.
    pub ciaddr: Ipv4Addr,
    /// Option 50.
    pub requested: Option<Ipv4Addr>,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// Whether it went to everybody, and not to one server.
    pub is_broadcast: bool,
    /// Its card.
    pub mac: [u8; 6],
}

/// The messages of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Discover,
    Request,
    Decline,
    Release,
    Other,
}

impl Request {
    /// Reads what came to port 67.
    pub(super) fn read(datagram: &Datagram) -> Option<Request> {
        let message = Message::decode(&mut Decoder::new(&datagram.payload)).ok()?;
        let options = message.opts();
        let kind = match options.msg_type()? {
            MessageType::Discover => Kind::Discover,
            MessageType::Request => Kind::Request,
            MessageType::Decline => Kind::Decline,
            MessageType::Release => Kind::Release,
            _ => Kind::Other,
        };
        let address = |code| match options.get(code)? {
            DhcpOption::RequestedIpAddress(ip) | DhcpOption::ServerIdentifier(ip) => Some(*ip),
            _ => None,
        };
        Some(Request {
            kind,
            xid: message.xid(),
            ciaddr: message.ciaddr(),
            requested: address(OptionCode::RequestedIpAddress),
            server: address(OptionCode::ServerIdentifier),
            is_broadcast: datagram.to.mac == BROADCAST,
            mac: message.chaddr().try_into().ok()?,
        })
    }

    /// The address that it wants.
    pub fn wanted(&self) -> Ipv4Addr {
        self.requested.unwrap_or(self.ciaddr)
    }
}

impl Dhcp {
    /// A server that gives an hour of `address`.
    pub(super) fn new(address: Ipv4Addr, gateway: Ipv4Addr) -> Dhcp {
        Dhcp {
            manner: Manner::Kind,
            address,
            prefix: 24,
            seconds: 3600,
            renew_rebind_seconds: None,
            gateway: Some(gateway),
            dns: vec![gateway],
            ntp: Vec::new(),
            is_garbled: false,
        }
    }

    /// What `server` answers.
    pub(super) fn answer(&mut self, request: &Request, server: Station) -> Vec<Datagram> {
        if request.kind == Kind::Decline && request.requested == Some(self.address) {
            self.address = Ipv4Addr::from_bits(self.address.to_bits() + 1);
        }
        let kind = match (self.manner, request.kind) {
            (Manner::Kind | Manner::Refusing, Kind::Discover) => MessageType::Offer,
            (Manner::Kind, Kind::Request) if request.wanted() == self.address => MessageType::Ack,
            (Manner::Kind | Manner::Refusing, Kind::Request) => MessageType::Nak,
            _ => return Vec::new(),
        };
        let reply = self.reply(kind, request, server);
        let mut answers = Vec::new();
        if self.is_garbled {
            answers.extend(hostile::dhcp(&reply).into_iter().map(|(_, datagram)| datagram));
        }
        answers.push(reply);
        answers
    }

    fn reply(&self, kind: MessageType, request: &Request, server: Station) -> Datagram {
        let IpAddr::V4(server_ip) = server.ip else {
            panic!("a DHCP server of IPv4 at {}", server.ip);
        };
        let mut message = Message::default();
        message
            .set_opcode(Opcode::BootReply)
            .set_xid(request.xid)
            .set_chaddr(&request.mac);
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(server_ip));
        if kind != MessageType::Nak {
            options.insert(DhcpOption::AddressLeaseTime(self.seconds));
            if let Some((renew, rebind)) = self.renew_rebind_seconds {
                options.insert(DhcpOption::Renewal(renew));
                options.insert(DhcpOption::Rebinding(rebind));
            }
            let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
            options.insert(DhcpOption::SubnetMask(Ipv4Addr::from_bits(mask)));
            if let Some(gateway) = self.gateway {
                options.insert(DhcpOption::Router(vec![gateway]));
            }
            if !self.dns.is_empty() {
                options.insert(DhcpOption::DomainNameServer(self.dns.clone()));
            }
            if !self.ntp.is_empty() {
                options.insert(DhcpOption::NtpServers(self.ntp.clone()));
            }
            message.set_yiaddr(self.address);
        }
        // RFC 2131 §4.1: whoever has an address gets the answer there; a refusal goes to everybody.
        let to = if request.ciaddr.is_unspecified() || kind == MessageType::Nak {
            Station::new(BROADCAST, Ipv4Addr::BROADCAST)
        } else {
            Station::new(request.mac, request.ciaddr)
        };
        Datagram {
            from: server,
            from_port: SERVER_PORT,
            to,
            to_port: CLIENT_PORT,
            payload: message
                .to_vec()
                .expect("a message with a dozen short options can be encoded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn request(kind: Kind, requested: Option<Ipv4Addr>) -> Request {
        Request {
            kind,
            xid: 7,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            requested,
            server: None,
            is_broadcast: true,
            mac: [2; 6],
        }
    }

    fn check(manner: Manner, request: &Request, expected: Option<MessageType>) {
        let mut dhcp = Dhcp::new(ADDRESS, SERVER);
        dhcp.manner = manner;
        let answer = dhcp.answer(request, Station::new([1; 6], SERVER));
        let kind = answer.first().map(|answer| {
            let message = Message::decode(&mut Decoder::new(&answer.payload)).expect("it encoded it");
            message.opts().msg_type().expect("it set it")
        });
        assert_eq!(kind, expected, "{manner:?} {request:?}");
    }

    #[test]
    fn each_manner_answers_as_it_says() {
        let (discover, wanted) = (
            request(Kind::Discover, None),
            request(Kind::Request, Some(ADDRESS)),
        );
        let other = request(Kind::Request, Some(SERVER));
        check(Manner::Kind, &discover, Some(MessageType::Offer));
        check(Manner::Kind, &wanted, Some(MessageType::Ack));
        check(Manner::Kind, &other, Some(MessageType::Nak));
        check(Manner::Refusing, &discover, Some(MessageType::Offer));
        check(Manner::Refusing, &wanted, Some(MessageType::Nak));
        for asked in [&discover, &wanted, &other] {
            check(Manner::Silent, asked, None);
        }
    }

    #[test]
    fn a_declined_address_makes_place_for_the_next() {
        let mut dhcp = Dhcp::new(ADDRESS, SERVER);
        let server = Station::new([1; 6], SERVER);
        assert_eq!(dhcp.answer(&request(Kind::Decline, Some(SERVER)), server), []);
        assert_eq!(dhcp.address, ADDRESS);
        assert_eq!(dhcp.answer(&request(Kind::Decline, Some(ADDRESS)), server), []);
        assert_eq!(dhcp.address, Ipv4Addr::new(192, 0, 2, 51));
    }
}
