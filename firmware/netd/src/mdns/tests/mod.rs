//! The responder against questioners, rivals and liars. Messages are written and read with simple-dns, and where the octets
//! matter, by hand.
#![allow(clippy::unwrap_used)]

mod answers;
mod name;
mod neighbours;
mod spoilt;

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use simple_dns::rdata::{A, AAAA, PTR, RData, SRV};
use simple_dns::{Name, Question, TYPE};

use super::*;

type Responder = Machine<Box<dyn FnMut() -> u32>>;

const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 15);
const OURS_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x15);
const HOST: &str = "postolka.local";
const INSTANCE: &str = "postolka._https._tcp.local";
const SERVICE: &str = "_https._tcp.local";
const SERVICES: &str = "_services._dns-sd._udp.local";
const REVERSE: &str = "15.2.0.192.in-addr.arpa";

fn neighbour() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 77], PORT))
}

fn legacy() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 77], 40_000))
}

fn host_name(text: &str) -> HostName {
    HostName::new(text).unwrap()
}

fn addresses() -> [Address; 2] {
    [
        Address {
            ip: OURS.into(),
            prefix: 24,
        },
        Address {
            ip: OURS_6.into(),
            prefix: 64,
        },
    ]
}

/// Random numbers that are not: the same sequence for a seed.
fn random(seed: u32) -> Box<dyn FnMut() -> u32> {
    let next = Rc::new(Cell::new(seed));
    Box::new(move || {
        let now = next.get();
        next.set(now.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        now >> 8
    })
}

/// One responder and the time.
struct Net {
    machine: Responder,
    now_ms: u64,
    actions: Vec<Action>,
}

impl Net {
    /// It is on and has its addresses: it probes.
    fn probing() -> Self {
        let mut machine = Machine::new(&host_name("postolka"), random(1));
        assert_eq!(machine.set_addresses(&addresses(), 0), []);
        assert_eq!(machine.deadline_ms(), None);
        assert_eq!(machine.set_on(true, 0), []);
        Self {
            machine,
            now_ms: 0,
            actions: Vec::new(),
        }
    }

    /// Probed, announced twice, and a minute old.
    fn established() -> Self {
        let mut net = Self::probing();
        for _ in 0..PROBES + ANNOUNCEMENTS {
            net.until_due();
        }
        assert_eq!(net.machine.state, State::Established);
        net.now_ms += 60_000;
        net.actions.clear();
        net
    }

    fn until_due(&mut self) -> &mut Self {
        self.now_ms = self.now_ms.max(self.machine.deadline_ms().unwrap());
        self.actions = self.machine.tick(self.now_ms);
        self
    }

    fn hear(&mut self, from: SocketAddr, packet: &Packet<'_>) -> &mut Self {
        let octets = packet.build_bytes_vec_compressed().unwrap();
        self.actions = self.machine.receive(from, &octets, self.now_ms).unwrap();
        self
    }

    /// What was told to all, as text.
    fn told(&self) -> Vec<String> {
        let [Action::Multicast(octets)] = &self.actions[..] else {
            panic!("no message: {:?}", self.actions)
        };
        text(octets)
    }
}

/// The records of a message: `section owner type ttl [flush] data`.
fn text(octets: &[u8]) -> Vec<String> {
    let packet = Packet::parse(octets).unwrap();
    let line = |section: &str, record: &ResourceRecord<'_>| {
        let flush = if record.cache_flush { " flush" } else { "" };
        let data = match &record.rdata {
            RData::A(a) => Ipv4Addr::from(a.address).to_string(),
            RData::AAAA(aaaa) => Ipv6Addr::from(aaaa.address).to_string(),
            RData::PTR(PTR(target)) => target.to_string(),
            RData::SRV(server) => format!("{} {}", server.port, server.target),
            RData::TXT(_) => String::new(),
            RData::NSEC(nsec) => format!("{:?}", nsec.types().collect::<Vec<TYPE>>()),
            other => panic!("{other:?}"),
        };
        let kind = record.rdata.type_code();
        format!("{section} {} {kind:?} {}{flush} {data}", record.name, record.ttl)
    };
    let sections = [
        ("an", &packet.answers),
        ("ns", &packet.name_servers),
        ("ad", &packet.additional_records),
    ];
    let mut lines = Vec::new();
    for question in &packet.questions {
        let unicast = if question.unicast_response { " QU" } else { "" };
        lines.push(format!("qd {} {:?}{unicast}", question.qname, question.qtype));
    }
    for (section, records) in sections {
        lines.extend(records.iter().map(|record| line(section, record)));
    }
    lines
}

fn question(name: &str, kind: Option<TYPE>) -> Question<'_> {
    let kind = kind.map_or(simple_dns::QTYPE::ANY, Into::into);
    Question::new(Name::new_unchecked(name), kind, CLASS::IN.into(), false)
}

fn query(name: &str, kind: TYPE) -> Packet<'_> {
    let mut packet = Packet::new_query(0);
    packet.questions.push(question(name, Some(kind)));
    packet
}

/// The same, for an answer to the questioner alone.
fn query_unicast(name: &str, kind: TYPE) -> Packet<'_> {
    let mut packet = query(name, kind);
    packet.questions[0].unicast_response = true;
    packet
}

fn record<'a>(name: &'a str, seconds: u32, data: RData<'a>) -> ResourceRecord<'a> {
    ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, seconds, data)
}

fn a(last: u8) -> RData<'static> {
    RData::A(A::from(Ipv4Addr::new(192, 0, 2, last)))
}

fn response<'a>(records: &[ResourceRecord<'a>]) -> Packet<'a> {
    let mut packet = Packet::new_reply(0);
    packet.answers.extend_from_slice(records);
    packet
}

fn announcement() -> Vec<String> {
    [
        "an postolka.local A 120 flush 192.0.2.15",
        "an 15.2.0.192.in-addr.arpa PTR 120 flush postolka.local",
        "an postolka.local AAAA 120 flush fe80::15",
        "an 5.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa PTR 120 flush postolka.local",
        "an postolka._https._tcp.local SRV 120 flush 443 postolka.local",
        "an postolka._https._tcp.local TXT 4500 flush ",
        "an _https._tcp.local PTR 4500 postolka._https._tcp.local",
        "an _services._dns-sd._udp.local PTR 4500 _https._tcp.local",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A probe for our name.
fn rival(addresses: &[RData<'static>]) -> Packet<'static> {
    let mut probe = Packet::new_query(0);
    probe.questions.push(question(HOST, None));
    for data in addresses {
        probe.name_servers.push(record(HOST, 120, data.clone()));
    }
    probe
}
