//! The responder against questioners, rivals and liars. Messages are written and read with simple-dns, and where the octets
//! matter, by hand.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;
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

/// RFC 6762 §8.1 and §8.3, octets of the first probe included.
#[test]
fn a_name_is_probed_for_three_times_and_announced_twice() {
    let mut net = Net::probing();
    assert!(net.machine.deadline_ms().unwrap() <= 250);
    let expected = [
        "qd postolka.local ANY QU",
        "qd postolka._https._tcp.local ANY QU",
        "ns postolka.local A 120 192.0.2.15",
        "ns postolka.local AAAA 120 fe80::15",
        "ns postolka._https._tcp.local SRV 120 443 postolka.local",
        "ns postolka._https._tcp.local TXT 4500 ",
    ];
    let mut before_ms = None;
    for _ in 0..3 {
        assert_eq!(net.until_due().told(), expected);
        if let Some(before_ms) = before_ms {
            assert_eq!(net.now_ms - before_ms, 250);
        }
        before_ms = Some(net.now_ms);
    }
    let Action::Multicast(octets) = &net.actions[0] else {
        panic!()
    };
    let start = b"\0\0\0\0\0\x02\0\0\0\x04\0\0\x08postolka\x05local\0\0\xff\x80\x01\x08postolka\x06_https\x04_tcp\xc0\x15";
    assert_eq!(octets[..start.len()], *start);

    assert_eq!(net.until_due().told(), announcement());
    assert_eq!(net.now_ms - before_ms.unwrap(), 250);
    let first_ms = net.now_ms;
    let Action::Multicast(octets) = &net.actions[0] else {
        panic!()
    };
    // Response and authoritative, id 0, no question.
    assert_eq!(octets[..12], *b"\0\0\x84\0\0\0\0\x08\0\0\0\0");
    assert_eq!(net.until_due().told(), announcement());
    assert_eq!(net.now_ms - first_ms, 1_000);
    assert_eq!(net.machine.deadline_ms(), None);
}

/// AX3: nothing but the name, the addresses and the port is in what the box says of itself.
#[test]
fn what_is_announced_tells_nothing_else() {
    for line in announcement() {
        let data = line.rsplit("flush ").next().unwrap();
        assert!(!line.contains("TXT") || data.is_empty(), "{line}");
    }
    let mut net = Net::established();
    let told = net.hear(neighbour(), &query(INSTANCE, TYPE::TXT)).told();
    assert_eq!(told, ["an postolka._https._tcp.local TXT 4500 flush "]);
    // Of a name with a domain behind it the domain is not told.
    let mut machine = Machine::new(&host_name("mail.example.com"), random(1));
    machine.set_addresses(&addresses(), 0);
    machine.set_on(true, 0);
    let [Action::Multicast(octets)] = &machine.tick(250)[..] else {
        panic!()
    };
    let probe = text(octets).concat();
    assert!(
        probe.contains("mail.local") && !probe.contains("example"),
        "{probe}"
    );
}

#[test]
fn nothing_is_said_while_it_is_off_or_has_no_address() {
    let mut machine = Machine::new(&host_name("postolka"), random(1));
    assert_eq!(machine.set_on(true, 0), []);
    assert_eq!(machine.deadline_ms(), None);
    let loopback = Address {
        ip: Ipv4Addr::LOCALHOST.into(),
        prefix: 8,
    };
    assert_eq!(machine.set_addresses(&[loopback], 0), []);
    assert_eq!(machine.deadline_ms(), None);
    machine.set_addresses(&addresses(), 0);
    assert!(machine.deadline_ms().is_some());
    assert_eq!(machine.set_on(false, 10), []);
    assert_eq!(machine.deadline_ms(), None);
    let octets = query(HOST, TYPE::A).build_bytes_vec().unwrap();
    assert_eq!(machine.receive(neighbour(), &octets, 20), Ok(vec![]));
    // Not even noise is looked at.
    assert_eq!(machine.receive(neighbour(), b"noise", 20), Ok(vec![]));
}

#[test]
fn an_address_is_told_at_once_with_the_other_one() {
    let mut net = Net::established();
    let told = net.hear(neighbour(), &query(HOST, TYPE::A)).told();
    assert_eq!(
        told,
        [
            "an postolka.local A 120 flush 192.0.2.15",
            "ad postolka.local AAAA 120 flush fe80::15",
            "ad postolka.local NSEC 120 flush [A, AAAA]",
        ]
    );
    assert_eq!(net.machine.deadline_ms(), None);
}

#[test]
fn names_are_compared_without_case_and_any_asks_for_all() {
    let mut net = Net::established();
    assert_eq!(
        net.hear(neighbour(), &query("PoStOlKa.LOCAL", TYPE::A))
            .told()
            .len(),
        3
    );
    let mut net = Net::established();
    let mut packet = Packet::new_query(0);
    packet.questions.push(question(HOST, None));
    let told = net.hear(neighbour(), &packet).told();
    assert_eq!(
        told,
        [
            "an postolka.local A 120 flush 192.0.2.15",
            "an postolka.local AAAA 120 flush fe80::15",
            "ad postolka.local NSEC 120 flush [A, AAAA]",
        ]
    );
}

#[test]
fn an_address_is_found_by_its_reverse_name() {
    let mut net = Net::established();
    let told = net.hear(neighbour(), &query(REVERSE, TYPE::PTR)).told();
    assert_eq!(told, ["an 15.2.0.192.in-addr.arpa PTR 120 flush postolka.local"]);
}

/// RFC 6762 §6: 20 to 120 ms.
#[test]
fn the_service_is_told_after_a_short_wait_with_all_that_belongs_to_it() {
    let mut net = Net::established();
    let asked_ms = net.now_ms;
    net.hear(neighbour(), &query(SERVICE, TYPE::PTR));
    assert_eq!(net.actions, []);
    let told = net.until_due().told();
    assert!((20..=120).contains(&(net.now_ms - asked_ms)));
    assert_eq!(
        told,
        [
            "an _https._tcp.local PTR 4500 postolka._https._tcp.local",
            "ad postolka.local A 120 flush 192.0.2.15",
            "ad postolka.local AAAA 120 flush fe80::15",
            "ad postolka._https._tcp.local SRV 120 flush 443 postolka.local",
            "ad postolka._https._tcp.local TXT 4500 flush ",
            "ad postolka.local NSEC 120 flush [A, AAAA]",
        ]
    );
    let mut net = Net::established();
    net.hear(neighbour(), &query(SERVICES, TYPE::PTR)).until_due();
    assert_eq!(
        net.told(),
        ["an _services._dns-sd._udp.local PTR 4500 _https._tcp.local"]
    );
}

/// RFC 6762 §6.1.
#[test]
fn a_type_that_a_name_does_not_have_is_denied() {
    let mut net = Net::established();
    let told = net.hear(neighbour(), &query(HOST, TYPE::SRV)).told();
    assert_eq!(told, ["an postolka.local NSEC 120 flush [A, AAAA]"]);
    let told = net.hear(neighbour(), &query(INSTANCE, TYPE::A)).told();
    assert_eq!(told, ["an postolka._https._tcp.local NSEC 120 flush [TXT, SRV]"]);
    let mut net = Net::established();
    net.machine.set_addresses(&addresses()[..1], net.now_ms);
    net.until_due();
    net.until_due();
    net.now_ms += 60_000;
    let told = net.hear(neighbour(), &query(HOST, TYPE::AAAA)).told();
    assert_eq!(told[0], "an postolka.local NSEC 120 flush [A]");
}

#[test]
fn questions_for_others_are_not_answered() {
    let mut net = Net::established();
    for (name, kind) in [
        ("other.local", TYPE::A),
        ("local", TYPE::A),
        ("_http._tcp.local", TYPE::PTR),
        // Nobody says what does not exist of a name that is shared.
        (SERVICE, TYPE::TXT),
        ("16.2.0.192.in-addr.arpa", TYPE::PTR),
    ] {
        assert_eq!(net.hear(neighbour(), &query(name, kind)).actions, [], "{name}");
    }
    let mut chaos = query(HOST, TYPE::A);
    chaos.questions[0].qclass = CLASS::CH.into();
    assert_eq!(net.hear(neighbour(), &chaos).actions, []);
    assert_eq!(net.machine.deadline_ms(), None);
}

/// RFC 6762 §7.1.
#[test]
fn what_the_questioner_knows_is_not_told_again() {
    for (seconds, is_told) in [(120, false), (60, false), (59, true), (0, true)] {
        let mut net = Net::established();
        let mut packet = query(HOST, TYPE::A);
        packet.answers.push(record(HOST, seconds, a(15)));
        net.hear(neighbour(), &packet);
        assert_eq!(!net.actions.is_empty(), is_told, "{seconds}");
    }
    let mut net = Net::established();
    let mut packet = query(HOST, TYPE::A);
    packet.answers.push(record(HOST, 120, a(16)));
    assert_ne!(net.hear(neighbour(), &packet).actions, []);
}

#[test]
fn an_announcement_that_was_heard_is_a_known_answer_to_everything() {
    let mut net = Net::probing();
    for _ in 0..4 {
        net.until_due();
    }
    let Action::Multicast(octets) = net.actions[0].clone() else {
        panic!()
    };
    net.until_due();
    net.now_ms += 60_000;
    let heard = Packet::parse(&octets).unwrap();
    for name in [HOST, INSTANCE, SERVICE, SERVICES, REVERSE] {
        let mut packet = Packet::new_query(0);
        packet.questions.push(question(name, None));
        packet.answers.clone_from(&heard.answers);
        assert_eq!(net.hear(neighbour(), &packet).actions, [], "{name}");
        assert_eq!(net.machine.deadline_ms(), None, "{name}");
    }
}

/// RFC 6762 §7.2.
#[test]
fn a_truncated_question_waits_for_the_rest_of_what_is_known() {
    let mut net = Net::established();
    let mut packet = query(SERVICE, TYPE::PTR);
    packet.set_flags(PacketFlag::TRUNCATION);
    net.hear(neighbour(), &packet);
    assert_eq!(net.actions, []);
    let wait_ms = net.machine.deadline_ms().unwrap() - net.now_ms;
    assert!((400..=500).contains(&wait_ms), "{wait_ms}");
    net.now_ms += 300;
    let known = record(SERVICE, 4500, RData::PTR(PTR(Name::new_unchecked(INSTANCE))));
    let mut rest = Packet::new_query(0);
    rest.answers.push(known);
    // What another knows is his business.
    let other = SocketAddr::from(([192, 0, 2, 78], PORT));
    net.hear(other, &rest);
    assert!(net.machine.deadline_ms().is_some());
    net.hear(neighbour(), &rest);
    assert_eq!(net.machine.deadline_ms(), None);
    // Two have asked: then it is told, whatever one of them knows.
    net.hear(neighbour(), &packet)
        .hear(other, &packet)
        .hear(neighbour(), &rest);
    assert_eq!(net.until_due().told().len(), 6);
}

/// RFC 6762 §5.4.
#[test]
fn a_questioner_who_wants_it_alone_has_it_alone_if_all_were_told_lately() {
    let mut net = Net::established();
    // A quarter of the two minutes has passed since the announcement.
    let packet = query_unicast(HOST, TYPE::A);
    assert_eq!(net.hear(neighbour(), &packet).told().len(), 3);
    net.now_ms += 5;
    let [Action::Unicast(to, octets)] = &net.hear(neighbour(), &packet).actions[..] else {
        panic!("{:?}", net.actions)
    };
    assert_eq!(*to, neighbour());
    assert_eq!(
        text(octets),
        [
            "an postolka.local A 120 flush 192.0.2.15",
            "ad postolka.local AAAA 120 flush fe80::15",
            "ad postolka.local NSEC 120 flush [A, AAAA]",
        ]
    );
    assert_eq!(octets[..2], [0, 0]);
}

/// RFC 6762 §6.7.
#[test]
fn a_client_of_plain_dns_is_answered_as_it_expects() {
    let mut net = Net::established();
    let mut packet = query(HOST, TYPE::A);
    packet.set_id(0xabcd);
    let [Action::Unicast(to, octets)] = &net.hear(legacy(), &packet).actions[..] else {
        panic!("{:?}", net.actions)
    };
    assert_eq!(*to, legacy());
    assert_eq!(octets[..4], [0xab, 0xcd, 0x84, 0]);
    assert_eq!(
        text(octets),
        [
            "qd postolka.local TYPE(A)",
            "an postolka.local A 10 192.0.2.15",
            "ad postolka.local AAAA 10 fe80::15",
            "ad postolka.local NSEC 10 [A, AAAA]",
        ]
    );
    // The service too, without a wait.
    net.hear(legacy(), &query(SERVICE, TYPE::PTR));
    assert!(matches!(net.actions[..], [Action::Unicast(..)]));
    assert_eq!(net.machine.deadline_ms(), None);
}

/// RFC 6762 §6.
#[test]
fn a_record_is_told_to_all_at_most_once_a_second() {
    let mut net = Net::established();
    let packet = query(HOST, TYPE::A);
    assert_eq!(net.hear(neighbour(), &packet).told().len(), 3);
    net.now_ms += 999;
    assert_eq!(net.hear(neighbour(), &packet).actions, []);
    net.now_ms += 1;
    assert_eq!(net.hear(neighbour(), &packet).told().len(), 3);
}

#[test]
fn whoever_asks_for_himself_in_a_loop_is_answered_twenty_times_a_second() {
    let mut net = Net::established();
    let mut answered = 0;
    for _ in 0..10_000 {
        answered += net.hear(legacy(), &query(HOST, TYPE::A)).actions.len();
    }
    assert_eq!(answered, 20);
    net.now_ms += 1_000;
    assert_eq!(net.hear(legacy(), &query(HOST, TYPE::A)).actions.len(), 1);
}

/// RFC 6762 §11.
#[test]
fn only_neighbours_are_heard() {
    let outside: [SocketAddr; 4] = [
        ([198, 51, 100, 1], PORT).into(),
        ([192, 0, 3, 15], PORT).into(),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), PORT).into(),
        // Ourselves, by way of a mirror.
        (OURS, PORT).into(),
    ];
    let mut net = Net::established();
    for from in outside {
        assert_eq!(net.hear(from, &query(HOST, TYPE::A)).actions, [], "{from}");
        net.hear(from, &response(&[record(HOST, 120, a(66))]));
        assert_eq!(net.machine.state, State::Established, "{from}");
    }
    let inside: [SocketAddr; 3] = [
        ([192, 0, 2, 254], PORT).into(),
        ([169, 254, 7, 7], PORT).into(),
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, 4), PORT).into(),
    ];
    for from in inside {
        net.now_ms += 2_000;
        assert_ne!(net.hear(from, &query(HOST, TYPE::A)).actions, [], "{from}");
    }
}

#[test]
fn a_prefix_of_any_length_is_understood() {
    let ours = |ip: &str, prefix| Address {
        ip: ip.parse().unwrap(),
        prefix,
    };
    for (address, ours, expected) in [
        ("192.0.2.1", ours("192.0.2.2", 32), false),
        ("192.0.2.2", ours("192.0.2.2", 32), true),
        ("192.0.3.1", ours("192.0.2.2", 23), true),
        ("192.0.4.1", ours("192.0.2.2", 23), false),
        ("8.8.8.8", ours("192.0.2.2", 0), true),
        ("2001:db8::1", ours("192.0.2.2", 0), false),
        ("2001:db8::1", ours("2001:db8::ffff", 64), true),
        ("2001:db8:0:1::1", ours("2001:db8::ffff", 64), false),
        ("::1", ours("8000::", 0), true),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(is_within(address, &ours), expected, "{address} {ours:?}");
    }
}

#[test]
fn a_name_that_somebody_has_is_given_up_and_another_is_tried() {
    let foreign: [ResourceRecord<'_>; 3] = [
        record(HOST, 120, a(66)),
        // Whatever type it is of.
        record(HOST, 120, RData::PTR(PTR(Name::new_unchecked("x.local")))),
        record(
            INSTANCE,
            120,
            RData::SRV(SRV {
                priority: 0,
                weight: 0,
                port: 443,
                target: Name::new_unchecked("x.local"),
            }),
        ),
    ];
    for foreign in foreign {
        let mut net = Net::probing();
        net.until_due();
        assert_eq!(
            net.hear(neighbour(), &response(&[foreign])).actions,
            [Action::NameConflict]
        );
        assert_eq!(net.machine.deadline_ms(), None);
        assert_eq!(net.hear(neighbour(), &query(HOST, TYPE::A)).actions, []);
        let now_ms = net.now_ms;
        assert_eq!(net.machine.set_name(&host_name("postolka-2"), now_ms), []);
        for _ in 0..3 {
            assert_eq!(net.until_due().told()[0], "qd postolka-2.local ANY QU");
        }
        assert_eq!(
            net.until_due().told()[0],
            "an postolka-2.local A 120 flush 192.0.2.15"
        );
    }
}

#[test]
fn the_same_name_may_be_tried_again_after_a_conflict() {
    let mut net = Net::probing();
    net.hear(neighbour(), &response(&[record(HOST, 120, a(66))]));
    let now_ms = net.now_ms;
    net.machine.set_name(&host_name("postolka"), now_ms);
    assert_eq!(net.until_due().told()[0], "qd postolka.local ANY QU");
    // While nothing is wrong with it, it is no news.
    let deadline_ms = net.machine.deadline_ms();
    net.machine.set_name(&host_name("postolka"), now_ms);
    assert_eq!(net.machine.deadline_ms(), deadline_ms);
}

#[test]
fn what_is_ours_is_no_conflict_nor_is_what_is_no_longer_true() {
    let harmless = [
        // A mirror on the link repeats what we say.
        record(HOST, 120, a(15)),
        record(HOST, 0, a(66)),
        record("other.local", 120, a(66)),
        record(
            SERVICE,
            4500,
            RData::PTR(PTR(Name::new_unchecked("other._https._tcp.local"))),
        ),
        record(REVERSE, 120, RData::PTR(PTR(Name::new_unchecked("other.local")))),
    ];
    let mut net = Net::probing();
    net.until_due();
    assert_eq!(net.hear(neighbour(), &response(&harmless)).actions, []);
    assert!(matches!(net.machine.state, State::Probing { sent: 1, .. }));
    let mut net = Net::established();
    assert_eq!(net.hear(neighbour(), &response(&harmless)).actions, []);
    assert_eq!(net.machine.state, State::Established);
    // A response from another port is none.
    net.hear(legacy(), &response(&[record(HOST, 120, a(66))]));
    assert_eq!(net.machine.state, State::Established);
}

/// RFC 6762 §9.
#[test]
fn a_contested_name_is_probed_for_again_and_lost_only_if_it_is_defended() {
    for foreign in [
        record(HOST, 120, a(66)),
        record(HOST, 120, RData::AAAA(AAAA::from(Ipv6Addr::LOCALHOST))),
    ] {
        let mut net = Net::established();
        let response = response(&[foreign]);
        assert_eq!(net.hear(neighbour(), &response).actions, []);
        assert!(matches!(net.machine.state, State::Probing { sent: 0, .. }));
        // Nobody is there any more.
        for _ in 0..3 {
            net.until_due();
        }
        assert_eq!(net.until_due().told(), announcement());
        // Somebody is.
        net.hear(neighbour(), &response).until_due();
        assert_eq!(net.hear(neighbour(), &response).actions, [Action::NameConflict]);
    }
}

/// RFC 6762 §8.1: fifteen in ten seconds.
#[test]
fn after_many_conflicts_each_further_name_waits_for_five_seconds() {
    let mut net = Net::probing();
    let mut waits = Vec::new();
    let mut lose = |net: &mut Net, at: usize| {
        let label = format!("{}.local", net.machine.label);
        let foreign = response(&[record(&label, 120, a(66))]);
        assert_eq!(net.hear(neighbour(), &foreign).actions, [Action::NameConflict]);
        let now_ms = net.now_ms;
        net.machine
            .set_name(&host_name(&format!("postolka-{at}")), now_ms);
        waits.push(net.machine.deadline_ms().unwrap() - now_ms);
        net.until_due();
    };
    for at in 0..40 {
        lose(&mut net, at);
    }
    net.now_ms += CONFLICTS_CALM_MS;
    lose(&mut net, 40);
    assert!(waits[..14].iter().all(|wait_ms| *wait_ms <= 250), "{waits:?}");
    let slow = 5_000..=5_250;
    assert!(
        waits[14..40].iter().all(|wait_ms| slow.contains(wait_ms)),
        "{waits:?}"
    );
    assert!(waits[40] <= 250, "{waits:?}");
}

/// RFC 6762 §6.6 and §10.1: somebody says our records are over.
#[test]
fn a_record_that_others_would_forget_is_told_again() {
    for (seconds, is_told) in [(0, true), (59, true), (60, false), (120, false)] {
        let mut net = Net::established();
        net.hear(neighbour(), &response(&[record(HOST, seconds, a(15))]));
        assert_eq!(!net.actions.is_empty(), is_told, "{seconds}");
    }
}

/// RFC 6762 §6 and §8.1.
#[test]
fn a_name_is_defended_against_whoever_probes_for_it() {
    let mut net = Net::established();
    let mut probe = Packet::new_query(0);
    probe.questions.push(question(HOST, None));
    probe.questions[0].unicast_response = true;
    probe.name_servers.push(record(HOST, 120, a(66)));
    assert_eq!(net.hear(neighbour(), &probe).told().len(), 3);
    // Again after 250 ms, if he did not hear it; in between to himself.
    net.now_ms += 100;
    assert!(matches!(
        net.hear(neighbour(), &probe).actions[..],
        [Action::Unicast(..)]
    ));
    probe.questions[0].unicast_response = false;
    assert_eq!(net.hear(neighbour(), &probe).actions, []);
    net.now_ms += 150;
    assert_eq!(
        net.hear(neighbour(), &probe).told()[0],
        "an postolka.local A 120 flush 192.0.2.15"
    );
}

fn rival(addresses: &[RData<'static>]) -> Packet<'static> {
    let mut probe = Packet::new_query(0);
    probe.questions.push(question(HOST, None));
    for data in addresses {
        probe.name_servers.push(record(HOST, 120, data.clone()));
    }
    probe
}

/// RFC 6762 §8.2: 169.254.200.50 is later than 169.254.99.200, and wins.
#[test]
fn of_two_who_probe_at_the_same_time_the_later_in_the_alphabet_wins() {
    let of = |text: &str| RData::A(A::from(text.parse::<Ipv4Addr>().unwrap()));
    for (ours, theirs, is_lost) in [
        ("169.254.99.200", vec![of("169.254.200.50")], true),
        ("169.254.200.50", vec![of("169.254.99.200")], false),
        // The same host on another way.
        ("169.254.99.200", vec![of("169.254.99.200")], false),
        // §8.2.1: more records of which the first are the same are later.
        (
            "169.254.99.200",
            vec![of("169.254.99.200"), of("169.254.99.100")],
            false,
        ),
        (
            "169.254.99.200",
            vec![of("169.254.99.200"), of("169.254.99.201")],
            true,
        ),
        // In whatever order they come.
        (
            "169.254.99.200",
            vec![of("169.254.99.201"), of("169.254.99.200")],
            true,
        ),
        // AAAA is later than A.
        (
            "169.254.99.200",
            vec![RData::AAAA(AAAA::from(Ipv6Addr::UNSPECIFIED))],
            true,
        ),
        ("169.254.99.200", vec![], false),
    ] {
        let mut machine = Machine::new(&host_name("postolka"), random(1));
        let address = Address {
            ip: ours.parse().unwrap(),
            prefix: 16,
        };
        machine.set_addresses(&[address], 0);
        machine.set_on(true, 0);
        let at_ms = machine.deadline_ms().unwrap();
        machine.tick(at_ms);
        let octets = rival(&theirs).build_bytes_vec().unwrap();
        let from = SocketAddr::from(([169, 254, 7, 7], PORT));
        assert_eq!(machine.receive(from, &octets, at_ms + 10), Ok(vec![]));
        let wait_ms = machine.deadline_ms().unwrap() - at_ms;
        assert_eq!(wait_ms >= 1_000, is_lost, "{ours}, {theirs:?}: {wait_ms}");
    }
}

#[test]
fn a_question_without_proposals_is_no_rival() {
    let mut net = Net::probing();
    net.until_due();
    let deadline_ms = net.machine.deadline_ms();
    assert_eq!(net.hear(neighbour(), &query(HOST, TYPE::A)).actions, []);
    assert_eq!(net.machine.deadline_ms(), deadline_ms);
}

#[test]
fn at_the_end_everything_is_taken_back() {
    let mut net = Net::established();
    let now_ms = net.now_ms;
    net.actions = net.machine.set_on(false, now_ms);
    let told = net.told();
    assert_eq!(told.len(), announcement().len());
    assert!(
        told.iter().all(|line| line.split(' ').nth(3) == Some("0")),
        "{told:?}"
    );
    assert_eq!(net.machine.set_on(false, now_ms), []);
}

#[test]
fn a_new_name_takes_the_old_one_back_and_is_probed_for() {
    let mut net = Net::established();
    let now_ms = net.now_ms;
    net.actions = net.machine.set_name(&host_name("mail"), now_ms);
    assert_eq!(net.told()[0], "an postolka.local A 0 flush 192.0.2.15");
    assert_eq!(net.hear(neighbour(), &query(HOST, TYPE::A)).actions, []);
    assert_eq!(net.until_due().told()[0], "qd mail.local ANY QU");
}

/// RFC 6762 §8.4.
#[test]
fn a_new_address_is_announced_and_the_old_one_taken_back() {
    let mut net = Net::established();
    let new = Address {
        ip: Ipv4Addr::new(192, 0, 2, 16).into(),
        prefix: 24,
    };
    let now_ms = net.now_ms;
    net.actions = net.machine.set_addresses(&[new, addresses()[1]], now_ms);
    assert_eq!(
        net.told(),
        [
            "an postolka.local A 0 flush 192.0.2.15",
            "an 15.2.0.192.in-addr.arpa PTR 0 flush postolka.local",
        ]
    );
    assert_eq!(
        net.until_due().told()[0],
        "an postolka.local A 120 flush 192.0.2.16"
    );
    assert_eq!(net.now_ms, now_ms);
    net.until_due();
    assert_eq!(net.now_ms, now_ms + 1_000);
    // All gone: there is nothing to send from.
    assert_eq!(net.machine.set_addresses(&[], net.now_ms), []);
    assert_eq!(net.machine.deadline_ms(), None);
    // And back: another network, perhaps.
    net.machine.set_addresses(&addresses(), net.now_ms);
    assert_eq!(net.until_due().told()[0], "qd postolka.local ANY QU");
}

#[test]
fn many_addresses_are_announced_in_several_messages_that_fit() {
    let mut net = Net::probing();
    let many: Vec<Address> = (0..16)
        .map(|at| Address {
            ip: Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, at).into(),
            prefix: 64,
        })
        .collect();
    net.machine.set_addresses(&many, 0);
    let mut announced = 0;
    for _ in 0..5 {
        net.until_due();
        for action in &net.actions {
            let Action::Multicast(octets) = action else {
                panic!()
            };
            assert!(octets.len() <= 1_400, "{}", octets.len());
            announced += Packet::parse(octets).unwrap().answers.len();
        }
    }
    assert_eq!(announced, 2 * (16 + 16 + 4));
    net.now_ms += 60_000;
    for from in [neighbour(), legacy(), "[2001:db8:1:2::9]:40000".parse().unwrap()] {
        net.hear(from, &query(SERVICE, TYPE::PTR));
        for action in &net.actions {
            let Action::Unicast(_, octets) = action else {
                panic!()
            };
            assert!(octets.len() <= 1_400);
        }
    }
}

#[test]
fn what_is_no_message_is_malformed_and_what_is_another_is_ignored() {
    let mut net = Net::established();
    let octets = query(HOST, TYPE::A).build_bytes_vec().unwrap();
    let now_ms = net.now_ms;
    for length in 0..octets.len() {
        let result = net.machine.receive(neighbour(), &octets[..length], now_ms);
        assert_eq!(result, Err(Malformed), "{length}");
    }
    // Opcode "status", response code "refused".
    for (at, bits) in [(2, 0x10), (3, 0x05)] {
        let mut other = octets.clone();
        other[at] |= bits;
        assert_eq!(net.machine.receive(neighbour(), &other, now_ms), Ok(vec![]));
    }
}

/// Several responders on one link, who all want the same name. Who loses it takes another.
struct Neighbours {
    machines: Vec<Responder>,
    names: Vec<u32>,
    now_ms: u64,
}

impl Neighbours {
    fn address(at: usize) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 10 + u8::try_from(at).unwrap())
    }

    fn new(seeds: &[u32]) -> Self {
        let machines = seeds.iter().enumerate().map(|(at, &seed)| {
            let mut machine = Machine::new(&host_name("postolka"), random(seed));
            let address = Address {
                ip: Self::address(at).into(),
                prefix: 24,
            };
            machine.set_addresses(&[address], 0);
            machine
        });
        Self {
            machines: machines.collect(),
            names: vec![1; seeds.len()],
            now_ms: 0,
        }
    }

    fn switch_on(&mut self, at: usize) {
        let actions = self.machines[at].set_on(true, self.now_ms);
        self.perform(at, actions);
    }

    /// Lets the time pass.
    fn until(&mut self, until_ms: u64) {
        for _ in 0..100_000 {
            let next = (0..self.machines.len())
                .filter_map(|at| Some((self.machines[at].deadline_ms()?, at)))
                .min();
            let Some((at_ms, at)) = next.filter(|&(at_ms, _)| at_ms <= until_ms) else {
                self.now_ms = until_ms;
                return;
            };
            self.now_ms = self.now_ms.max(at_ms);
            let actions = self.machines[at].tick(self.now_ms);
            self.perform(at, actions);
        }
        panic!("they do not come to rest");
    }

    fn perform(&mut self, from: usize, actions: Vec<Action>) {
        for action in actions {
            let source = SocketAddr::from((Self::address(from), PORT));
            match action {
                Action::Multicast(octets) => {
                    for to in (0..self.machines.len()).filter(|&to| to != from) {
                        let actions = self.machines[to].receive(source, &octets, self.now_ms).unwrap();
                        self.perform(to, actions);
                    }
                }
                Action::Unicast(to, octets) => {
                    let is_it = |at: &usize| IpAddr::V4(Self::address(*at)) == to.ip();
                    let to = (0..self.machines.len()).find(is_it).unwrap();
                    let actions = self.machines[to].receive(source, &octets, self.now_ms).unwrap();
                    self.perform(to, actions);
                }
                Action::NameConflict => {
                    // As init does.
                    self.names[from] += 1;
                    let name = host_name(&format!("postolka-{}", self.names[from]));
                    let actions = self.machines[from].set_name(&name, self.now_ms);
                    self.perform(from, actions);
                }
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.machines
            .iter()
            .all(|machine| machine.state == State::Established)
    }

    /// The names, sorted.
    fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = self
            .machines
            .iter()
            .map(|machine| machine.label.as_str())
            .collect();
        labels.sort_unstable();
        labels
    }
}

#[test]
fn who_comes_first_keeps_the_name() {
    let mut link = Neighbours::new(&[1, 2]);
    link.switch_on(0);
    link.until(10_000);
    link.switch_on(1);
    link.until(30_000);
    assert!(link.is_settled());
    assert_eq!(link.machines[0].label, "postolka");
    assert_eq!(link.machines[1].label, "postolka-2");
}

/// Two networks are joined by a cable.
#[test]
fn two_who_have_the_same_name_already_come_to_terms_when_they_meet() {
    let mut link = Neighbours::new(&[1, 2]);
    for at in [0, 1] {
        // Nobody hears the other.
        let machine = &mut link.machines[at];
        machine.set_on(true, 0);
        while let Some(at_ms) = machine.deadline_ms() {
            machine.tick(at_ms);
        }
    }
    link.now_ms = 60_000;
    let octets = query(HOST, TYPE::A).build_bytes_vec().unwrap();
    for at in [0, 1] {
        let actions = link.machines[at].receive(neighbour(), &octets, 60_000).unwrap();
        link.perform(at, actions);
    }
    link.until(90_000);
    assert!(link.is_settled());
    assert_eq!(link.labels(), ["postolka", "postolka-2"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// However they come, in the end each has a name of its own, and one of them the first.
    #[test]
    fn neighbours_always_end_with_different_names(
        seeds in vec(any::<u32>(), 2..6),
        starts in vec(0..2_000_u64, 6),
    ) {
        let mut link = Neighbours::new(&seeds);
        let mut order: Vec<(u64, usize)> = starts.into_iter().zip(0..seeds.len()).collect();
        order.sort_unstable();
        for (at_ms, at) in order {
            link.until(at_ms);
            link.switch_on(at);
        }
        link.until(120_000);
        prop_assert!(link.is_settled());
        let mut labels = link.labels();
        prop_assert_eq!(labels[0], "postolka");
        labels.dedup();
        prop_assert_eq!(labels.len(), seeds.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_octets_never_panic(
        octets in vec(any::<u8>(), 0..200),
        is_probing in any::<bool>(),
        port in prop_oneof![Just(PORT), any::<u16>()],
    ) {
        let mut net = if is_probing { Net::probing() } else { Net::established() };
        let from = SocketAddr::from(([192, 0, 2, 77], port));
        let _ = net.machine.receive(from, &octets, net.now_ms);
    }

    /// Whatever becomes of a good message on its way: at most one message is sent to one, few to all, and it goes on.
    #[test]
    fn spoilt_messages_never_panic(
        which in 0..4_usize,
        is_probing in any::<bool>(),
        is_legacy in any::<bool>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut net = if is_probing { Net::probing() } else { Net::established() };
        let mut asks = query(HOST, TYPE::A);
        asks.questions.push(question(SERVICE, None));
        asks.answers.push(record(HOST, 120, a(15)));
        let mut octets = match which {
            0 => asks.build_bytes_vec_compressed(),
            1 => rival(&[a(15), a(16)]).build_bytes_vec_compressed(),
            2 => response(&[record(HOST, 120, a(15)), record(INSTANCE, 0, a(1))]).build_bytes_vec_compressed(),
            _ => Ok(records::probe(&Records::new("postolka", &addresses()))),
        }.unwrap();
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        octets.truncate(cut.index(octets.len() * 4).max(1));
        let from = if is_legacy { legacy() } else { neighbour() };
        let before = net.machine.state;
        match net.machine.receive(from, &octets, net.now_ms) {
            Err(Malformed) => prop_assert_eq!(net.machine.state, before),
            Ok(actions) => {
                let to_one = actions.iter().filter(|action| matches!(action, Action::Unicast(..))).count();
                prop_assert!(to_one <= 1 && actions.len() <= 2);
            }
        }
        for _ in 0..10 {
            if net.machine.deadline_ms().is_some() {
                net.until_due();
            }
        }
        let is_at_rest = matches!(net.machine.state, State::Silent | State::Established);
        prop_assert!(is_at_rest, "{:?}", net.machine.state);
        prop_assert_eq!(net.machine.state == State::Silent, net.machine.is_lost);
    }

    /// However it is asked, a record is not told to all twice within a second.
    #[test]
    fn no_record_is_told_to_all_twice_within_a_second(
        events in vec((0..6_usize, any::<[bool; 3]>(), 0..700_u64), 1..40),
    ) {
        let mut net = Net::established();
        let mut last_ms = std::collections::BTreeMap::new();
        for (which, [is_unicast, is_truncated, is_any], wait_ms) in events {
            let name = [HOST, INSTANCE, SERVICE, SERVICES, REVERSE, "other.local"][which];
            let mut packet = Packet::new_query(0);
            let kind = if is_any { None } else { Some(TYPE::PTR) };
            packet.questions.push(question(name, kind));
            packet.questions[0].unicast_response = is_unicast;
            if is_truncated {
                packet.set_flags(PacketFlag::TRUNCATION);
            }
            net.hear(neighbour(), &packet);
            let until_ms = net.now_ms + wait_ms;
            loop {
                for action in std::mem::take(&mut net.actions) {
                    let Action::Multicast(octets) = action else { continue };
                    for line in text(&octets) {
                        let line = line.split_once(' ').unwrap().1.to_owned();
                        if let Some(before_ms) = last_ms.insert(line.clone(), net.now_ms) {
                            prop_assert!(net.now_ms >= before_ms + 1_000, "{}", line);
                        }
                    }
                }
                match net.machine.deadline_ms() {
                    Some(at_ms) if at_ms <= until_ms => net.until_due(),
                    _ => break,
                };
            }
            net.now_ms = until_ms;
        }
    }
}
