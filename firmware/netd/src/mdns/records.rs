//! The records that the box has on its link, and how they are written into messages.
//!
//! For the name `postolka` and the address 192.0.2.15:
//!
//! | owner | type | data | TTL | |
//! | --- | --- | --- | --- | --- |
//! | `postolka.local` | A, AAAA | each address | 120 s | unique, probed |
//! | `postolka._https._tcp.local` | SRV | `postolka.local`, port 443 | 120 s | unique, probed |
//! | `postolka._https._tcp.local` | TXT | empty | 75 min | unique, probed |
//! | `15.2.0.192.in-addr.arpa` | PTR | `postolka.local` | 120 s | unique |
//! | `_https._tcp.local` | PTR | `postolka._https._tcp.local` | 75 min | shared |
//! | `_services._dns-sd._udp.local` | PTR | `_https._tcp.local` | 75 min | shared |
//! | each unique one | NSEC | the types above | as they | says that there is no other |
//!
//! That is all: no serial number, version, domain or user is in them, and the TXT record is empty (AX3).
//!
//! Source: RFC 6762 §6.1, §10; RFC 6763 §4, §6.1, §9; RFC 1035 §3.5, RFC 3596 §2.5.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use handoff::Address;
use simple_dns::rdata::{NSEC, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, ResourceRecord, TYPE};

/// RFC 6762 §10: records with a host name in them, and the others.
const HOST_SECONDS: u32 = 120;
const OTHER_SECONDS: u32 = 75 * 60;
/// RFC 6762 §6.7: a client that knows nothing of multicast is not to keep an answer longer.
const LEGACY_SECONDS_MAX: u32 = 10;
/// What fits an Ethernet frame behind the headers of IPv6 and UDP, with some room.
const OCTETS_MAX: usize = 1_400;
const HTTPS_PORT: u16 = 443;

/// A record of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// `cache_flush` is set if it is unique.
    pub(super) rr: ResourceRecord<'static>,
    /// Whether it says that others do not exist. It is an answer, and never announced.
    pub(super) is_negative: bool,
    /// When it was last multicast.
    pub(super) multicast_ms: Option<u64>,
}

/// All records of a name with some addresses.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) all: Vec<Record>,
    /// What is probed for: host and instance.
    pub(super) probed: Vec<Name<'static>>,
}

impl Records {
    pub(super) fn new(label: &str, addresses: &[Address]) -> Self {
        let host = name(&format!("{label}.local"));
        let service = name("_https._tcp.local");
        let instance = name(&format!("{label}._https._tcp.local"));
        let services = name("_services._dns-sd._udp.local");

        let mut unique = Vec::new();
        for address in addresses {
            let data = match address.ip {
                IpAddr::V4(ip) => RData::A(ip.into()),
                IpAddr::V6(ip) => RData::AAAA(ip.into()),
            };
            unique.push((host.clone(), HOST_SECONDS, data));
            let reverse = name(&reverse(address.ip));
            unique.push((reverse, HOST_SECONDS, RData::PTR(PTR(host.clone()))));
        }
        let server = SRV {
            priority: 0,
            weight: 0,
            port: HTTPS_PORT,
            target: host.clone(),
        };
        unique.push((instance.clone(), HOST_SECONDS, RData::SRV(server)));
        // RFC 6763 §6.1: an empty record is one empty string.
        let nothing = TXT::new().with_string("").expect("no string is too long");
        unique.push((instance.clone(), OTHER_SECONDS, RData::TXT(nothing)));
        let shared = [
            (service.clone(), OTHER_SECONDS, RData::PTR(PTR(instance.clone()))),
            (services, OTHER_SECONDS, RData::PTR(PTR(service))),
        ];
        let record = |(owner, seconds, data), is_unique| Record {
            rr: ResourceRecord::new(owner, CLASS::IN, seconds, data).with_cache_flush(is_unique),
            is_negative: false,
            multicast_ms: None,
        };
        let mut all: Vec<Record> = unique.into_iter().map(|parts| record(parts, true)).collect();
        let negatives = negatives(&all);
        all.extend(shared.map(|parts| record(parts, false)));
        all.extend(negatives);
        Self {
            all,
            probed: vec![host, instance],
        }
    }

    /// Whether a foreign record is one of ours, owner, type and data alike.
    pub(super) fn position(&self, foreign: &ResourceRecord<'_>) -> Option<usize> {
        self.all.iter().position(|ours| ours.rr == *foreign)
    }

    pub(super) fn is_probed(&self, owner: &Name<'_>) -> bool {
        self.probed.iter().any(|probed| probed == owner)
    }

    /// What answers a question: the records of that name and type, or the one that says that there are none of the type.
    pub(super) fn answers(&self, question: &Question<'_>) -> Vec<usize> {
        let is_of_name =
            |ours: &Record| ours.rr.name == question.qname && ours.rr.match_qclass(question.qclass);
        let is_of_type = |ours: &Record| match question.qtype {
            QTYPE::ANY => !ours.is_negative,
            QTYPE::TYPE(kind) => ours.rr.rdata.type_code() == kind,
            _ => false,
        };
        let found = self.positions(|ours| is_of_name(ours) && is_of_type(ours));
        if !found.is_empty() {
            return found;
        }
        self.positions(|ours| is_of_name(ours) && ours.is_negative)
    }

    /// What whoever hears `answer` will ask next (RFC 6762 §6.1, RFC 6763 §12).
    pub(super) fn additional(&self, answer: usize) -> Vec<usize> {
        let Some(answer) = self.all.get(answer) else {
            return Vec::new();
        };
        let addresses = |ours: &Record| {
            matches!(ours.rr.rdata.type_code(), TYPE::A | TYPE::AAAA)
                || ours.is_negative && Some(&ours.rr.name) == self.probed.first()
        };
        match &answer.rr.rdata {
            RData::PTR(PTR(target)) if self.probed.get(1) == Some(target) => {
                self.positions(|ours| ours.rr.name == *target && !ours.is_negative || addresses(ours))
            }
            RData::SRV(_) | RData::A(_) | RData::AAAA(_) => self.positions(addresses),
            _ => Vec::new(),
        }
    }

    fn positions(&self, is_wanted: impl Fn(&Record) -> bool) -> Vec<usize> {
        let found = self.all.iter().enumerate().filter(|(_, ours)| is_wanted(ours));
        found.map(|(at, _)| at).collect()
    }
}

/// RFC 6762 §6.1: for each unique name, which types it has.
fn negatives(unique: &[Record]) -> Vec<Record> {
    let mut negatives: Vec<Record> = Vec::new();
    for Record { rr: owner, .. } in unique {
        if negatives.iter().any(|known| known.rr.name == owner.name) {
            continue;
        }
        let of_owner = unique.iter().filter(|other| other.rr.name == owner.name);
        let kinds: Vec<TYPE> = of_owner.map(|other| other.rr.rdata.type_code()).collect();
        let data = RData::NSEC(NSEC::from_types(owner.name.clone(), &kinds));
        negatives.push(Record {
            rr: ResourceRecord::new(owner.name.clone(), CLASS::IN, HOST_SECONDS, data).with_cache_flush(true),
            is_negative: true,
            multicast_ms: None,
        });
    }
    negatives
}

/// A name of ours. Its labels are those of a host name, at most 63 octets, and few.
fn name(text: &str) -> Name<'static> {
    Name::new_unchecked(text).into_owned()
}

/// The name of an address.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => reverse_6(ip),
    }
}

fn reverse_6(ip: Ipv6Addr) -> String {
    let mut text = String::with_capacity(72);
    for octet in ip.octets().into_iter().rev() {
        write!(text, "{:x}.{:x}.", octet & 0x0f, octet >> 4).expect("a string takes what it is given");
    }
    text + "ip6.arpa"
}

/// RFC 6762 §8.1: who has these names? I would give them these records.
pub(super) fn probe(records: &Records) -> Vec<u8> {
    let mut packet = Packet::new_query(0);
    for owner in &records.probed {
        packet
            .questions
            .push(Question::new(owner.clone(), QTYPE::ANY, CLASS::IN.into(), true));
    }
    let proposed = records
        .all
        .iter()
        .filter(|ours| records.is_probed(&ours.rr.name) && !ours.is_negative);
    // RFC 6762 §10.2: without the cache-flush bit.
    packet
        .name_servers
        .extend(proposed.map(|ours| ours.rr.clone().with_cache_flush(false)));
    octets(&packet)
}

/// Answers for everybody, in as many messages as it takes.
pub(super) fn multicast(
    answers: &[ResourceRecord<'static>],
    additional: &[ResourceRecord<'static>],
) -> Vec<Vec<u8>> {
    if answers.is_empty() {
        return Vec::new();
    }
    let mut packet = response(0);
    packet.answers.extend_from_slice(answers);
    packet.additional_records.extend_from_slice(additional);
    let whole = octets(&packet);
    if whole.len() <= OCTETS_MAX {
        return vec![whole];
    }
    if !additional.is_empty() {
        // It is a courtesy.
        return multicast(answers, &[]);
    }
    if answers.len() < 2 {
        return vec![whole];
    }
    let (front, back) = answers.split_at(answers.len() / 2);
    [multicast(front, &[]), multicast(back, &[])].concat()
}

/// RFC 6762 §10.1: these are no longer true.
pub(super) fn goodbye<'a>(gone: impl IntoIterator<Item = &'a Record>) -> Vec<Vec<u8>> {
    let gone = gone.into_iter().filter(|ours| !ours.is_negative);
    let answers: Vec<ResourceRecord<'static>> = gone
        .map(|ours| ResourceRecord {
            ttl: 0,
            ..ours.rr.clone()
        })
        .collect();
    multicast(&answers, &[])
}

/// The answer to one questioner who speaks multicast DNS (RFC 6762 §5.4), or plain DNS (§6.7). What does not fit is left
/// out.
pub(super) fn unicast(
    query: &Packet<'_>,
    is_legacy: bool,
    mut answers: Vec<ResourceRecord<'static>>,
    mut additional: Vec<ResourceRecord<'static>>,
) -> Vec<u8> {
    loop {
        let mut packet = response(if is_legacy { query.id() } else { 0 });
        packet.answers.clone_from(&answers);
        packet.additional_records.clone_from(&additional);
        if is_legacy {
            let questions = query.questions.iter().cloned().map(|question| Question {
                unicast_response: false,
                ..question
            });
            packet.questions.extend(questions.take(LEGACY_QUESTIONS_MAX));
            let records = packet.answers.iter_mut().chain(&mut packet.additional_records);
            for record in records {
                record.cache_flush = false;
                record.ttl = record.ttl.min(LEGACY_SECONDS_MAX);
            }
        }
        let octets = octets(&packet);
        if octets.len() <= OCTETS_MAX || answers.len() < 2 {
            return octets;
        }
        if additional.is_empty() {
            answers.pop();
        }
        additional.clear();
    }
}

/// A client that knows nothing of multicast DNS asks one question at a time.
pub(super) const LEGACY_QUESTIONS_MAX: usize = 1;

fn response(id: u16) -> Packet<'static> {
    let mut packet = Packet::new_reply(id);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet
}

fn octets(packet: &Packet<'_>) -> Vec<u8> {
    packet
        .build_bytes_vec_compressed()
        .expect("names that were parsed or are ours are well-formed, and memory can be written to")
}

/// A record as RFC 6762 §8.2 compares it: class, type, and the data without compression.
pub(super) fn comparable(record: &ResourceRecord<'_>) -> (u16, u16, Vec<u8>) {
    /// Header, the root as owner, and type, class, time to live and length.
    const DATA_AT: usize = 12 + 1 + 10;
    let mut packet = Packet::new_reply(0);
    packet.answers.push(ResourceRecord {
        name: Name::new_unchecked(""),
        ..record.clone()
    });
    let mut data = packet.build_bytes_vec().unwrap_or_default();
    data.drain(..DATA_AT.min(data.len()));
    (record.class.into(), record.rdata.type_code().into(), data)
}
