//! A name server (RFC 1035), and a neighbour who speaks mDNS (RFC 6762), with hickory-proto for the octets: netd
//! uses another for the names on the link, and so each of them is read by somebody else's rules.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Where name servers listen.
pub(super) const PORT: u16 = 53;
/// Where everybody on the link listens for names that end in `.local`.
pub(super) const MDNS_PORT: u16 = 5353;
/// The group for mDNS in IPv4.
pub const MDNS_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The same in IPv6.
pub const MDNS_GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

const TTL_SECONDS: u32 = 120;
/// Class IN with the highest bit: the name is one host's alone (RFC 6762 §10.2).
const IN_UNIQUE: DNSClass = DNSClass::Unknown(0x8001);

/// How a name server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It answers: with addresses for the names it knows, and that the others do not exist.
    Kind,
    /// It hears everything and says nothing (D22).
    Silent,
    /// SERVFAIL.
    Failing,
    /// It says that the answer is too long, and nobody listens for TCP.
    Truncating,
}

/// A question that came to a name server or to the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name, without a dot at its end.
    pub name: String,
    /// `A`, `AAAA`, `ANY`.
    pub kind: String,
}

/// An mDNS message from the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mdns {
    /// Whether it is an answer; an unasked one is an announcement.
    pub is_response: bool,
    /// What it asks.
    pub asked: Vec<Asked>,
    /// The addresses in it, by name: answers and additional records.
    pub answers: Vec<(String, IpAddr)>,
    /// The addresses it wants to take, if it is a probe (RFC 6762 §8.2).
    pub claims: Vec<(String, IpAddr)>,
    /// All other records, as text: nothing but what is needed may be told (AX3).
    pub others: Vec<String>,
}

impl Mdns {
    pub(super) fn read(octets: &[u8]) -> Option<Mdns> {
        let message = Message::from_vec(octets).ok()?;
        let named = |record: &Record| Some((text(&record.name), address_of(record)?));
        let answered = || message.answers.iter().chain(&message.additionals);
        let others = answered().filter(|record| address_of(record).is_none());
        Some(Mdns {
            is_response: message.metadata.message_type == MessageType::Response,
            asked: asked(&message),
            answers: answered().filter_map(named).collect(),
            claims: message.authorities.iter().filter_map(named).collect(),
            others: others.map(in_words).collect(),
        })
    }

    /// Whether it asks for this name.
    pub fn asks_for(&self, name: &str) -> bool {
        !self.is_response
            && self
                .asked
                .iter()
                .any(|asked| asked.name.eq_ignore_ascii_case(name))
    }

    /// The addresses it gives this name.
    pub fn addresses_of(&self, name: &str) -> Vec<IpAddr> {
        let named = self
            .answers
            .iter()
            .filter(|(named, _)| named.eq_ignore_ascii_case(name));
        named.map(|(_, ip)| *ip).collect()
    }
}

/// The questions in a message.
pub(super) fn questions(octets: &[u8]) -> Option<Vec<Asked>> {
    Some(asked(&Message::from_vec(octets).ok()?))
}

fn asked(message: &Message) -> Vec<Asked> {
    let asked = |query: &Query| Asked {
        name: text(query.name()),
        kind: query.query_type().to_string(),
    };
    message.queries.iter().map(asked).collect()
}

fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

fn address_of(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

/// `_https._tcp.local PTR postolka._https._tcp.local`.
fn in_words(record: &Record) -> String {
    let data = match &record.data {
        RData::PTR(name) => text(name),
        RData::SRV(srv) => format!("{} {}", srv.port, text(&srv.target)),
        RData::TXT(txt) => {
            let strings = txt
                .txt_data
                .iter()
                .map(|octets| octets.escape_ascii().to_string());
            strings.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let line = format!("{} {} {data}", text(&record.name), record.record_type());
    line.trim_end().to_owned()
}

/// What a name server answers.
pub(super) fn answer(
    manner: Manner,
    zone: &BTreeMap<String, Vec<IpAddr>>,
    request: &[u8],
) -> Option<Vec<u8>> {
    let request = Message::from_vec(request).ok()?;
    let query = request.queries.first()?.clone();
    let mut reply = Message::response(request.metadata.id, OpCode::Query);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    match manner {
        Manner::Silent => return None,
        Manner::Failing => reply.metadata.response_code = ResponseCode::ServFail,
        Manner::Truncating => reply.metadata.truncation = true,
        Manner::Kind => match zone.get(&text(query.name()).to_ascii_lowercase()) {
            None => reply.metadata.response_code = ResponseCode::NXDomain,
            Some(addresses) => {
                let records = addresses.iter().map(|ip| record(query.name().clone(), *ip));
                let wanted = records.filter(|record| record.record_type() == query.query_type());
                reply.add_answers(wanted);
            }
        },
    }
    reply.add_query(query);
    Some(reply.to_vec().expect("a reply of a few records"))
}

/// An mDNS question for the addresses of a name, as a neighbour asks it.
///
/// # Panics
/// It is no name.
pub fn mdns_question(name: &str) -> Vec<u8> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    for kind in [RecordType::A, RecordType::AAAA] {
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    }
    message.to_vec().expect("a question of one name")
}

/// An mDNS answer: this name is mine alone, at this address (RFC 6762 §10.2).
///
/// # Panics
/// It is no name.
pub fn mdns_answer(name: &str, ip: IpAddr) -> Vec<u8> {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = true;
    let mut record = record(Name::from_ascii(name).expect("a name"), ip);
    record.dns_class = IN_UNIQUE;
    message.add_answer(record);
    message.to_vec().expect("an answer of one record")
}

fn record(name: Name, ip: IpAddr) -> Record {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(name, TTL_SECONDS, data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 5));

    #[test]
    fn a_name_server_answers_in_its_manner() {
        let zone = BTreeMap::from([("time.example".to_owned(), vec![IP])]);
        let ask = |manner, name: &str| {
            let reply = answer(manner, &zone, &mdns_question(name))?;
            let message = Message::from_vec(&reply).unwrap();
            let metadata = message.metadata;
            Some((metadata.response_code, message.answers.len(), metadata.truncation))
        };
        assert_eq!(
            ask(Manner::Kind, "time.example"),
            Some((ResponseCode::NoError, 1, false))
        );
        assert_eq!(
            ask(Manner::Kind, "nobody.example"),
            Some((ResponseCode::NXDomain, 0, false))
        );
        assert_eq!(ask(Manner::Silent, "time.example"), None);
        assert_eq!(
            ask(Manner::Failing, "time.example"),
            Some((ResponseCode::ServFail, 0, false))
        );
        assert_eq!(
            ask(Manner::Truncating, "time.example"),
            Some((ResponseCode::NoError, 0, true))
        );
        assert_eq!(answer(Manner::Kind, &zone, b"no packet"), None);
    }

    #[test]
    fn a_neighbour_asks_and_claims() {
        let asked = Mdns::read(&mdns_question("postolka.local")).unwrap();
        assert!(asked.asks_for("Postolka.local") && !asked.asks_for("other.local"));
        let claimed = Mdns::read(&mdns_answer("postolka.local", IP)).unwrap();
        assert_eq!(claimed.addresses_of("postolka.local"), [IP]);
        assert!(claimed.is_response && claimed.others.is_empty());
    }
}
