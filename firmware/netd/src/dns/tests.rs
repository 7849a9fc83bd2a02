//! The resolver against servers that answer, fail, lie and keep silent. hickory-proto reads what we send and writes what
//! they answer.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name as HickoryName, RData as HickoryData, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 54));
const NAMES: [&str; 2] = ["a.ntp.example", "b.ntp.example"];
const NOTHING: [Vec<IpAddr>; 2] = [Vec::new(), Vec::new()];
const BOTH: Families = Families {
    has_ipv4: true,
    has_ipv6: true,
};
const IPV4: Families = Families {
    has_ipv4: true,
    has_ipv6: false,
};

/// One resolver, the time, and what it did last.
struct Net {
    machine: Machine<Box<dyn FnMut() -> u32>>,
    now_ms: u64,
    actions: Vec<Action>,
}

impl Net {
    fn new(servers: &[IpAddr], families: Families) -> Self {
        // Ids 0x1000, 0x1001 …
        let next = Rc::new(Cell::new(0x1000_0000_u32));
        let random = move || next.replace(next.get() + 0x1_0000);
        let mut machine = Machine::new(Box::new(random) as Box<dyn FnMut() -> u32>);
        assert_eq!(machine.set_servers(servers, 0), []);
        let actions = machine.resolve(&NAMES, families, 0);
        Self {
            machine,
            now_ms: 0,
            actions,
        }
    }

    /// The question that was sent, and to whom.
    fn asked(&self) -> (IpAddr, Message) {
        let [Action::Send(server, octets)] = &self.actions[..] else {
            panic!("no question: {:?}", self.actions)
        };
        (*server, Message::from_vec(octets).unwrap())
    }

    fn answer(&mut self, data: &[HickoryData]) -> &mut Self {
        let (server, question) = self.asked();
        let message = reply(&question, data);
        self.receive(server, &message)
    }

    fn receive(&mut self, from: IpAddr, message: &Message) -> &mut Self {
        let octets = message.to_vec().unwrap();
        self.actions = self.machine.receive(from, &octets, self.now_ms).unwrap();
        self
    }

    /// Receives what is no answer: it changes nothing.
    fn refuse(&mut self, from: IpAddr, message: &Message, name: &str) {
        let before = self.machine.deadline_ms();
        let octets = message.to_vec().unwrap();
        let result = self.machine.receive(from, &octets, self.now_ms);
        assert_eq!(result, Err(Malformed), "{name}");
        assert_eq!(self.machine.deadline_ms(), before);
    }

    fn until_due(&mut self) -> &mut Self {
        self.now_ms = self.machine.deadline_ms().unwrap();
        self.actions = self.machine.tick(self.now_ms);
        self
    }

    fn resolved(&self) -> &[Vec<IpAddr>] {
        let [Action::Resolved(found)] = &self.actions[..] else {
            panic!("not resolved: {:?}", self.actions)
        };
        assert_eq!(self.machine.deadline_ms(), None);
        found
    }
}

fn reply(question: &Message, data: &[HickoryData]) -> Message {
    let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    let query = question.queries[0].clone();
    let mut owner = query.name().clone();
    message.add_query(query);
    for data in data {
        message.add_answer(Record::from_rdata(owner.clone(), 60, data.clone()));
        if let HickoryData::CNAME(alias) = data {
            owner = alias.0.clone();
        }
    }
    message
}

fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))
}

fn v6(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))
}

fn data(address: IpAddr) -> HickoryData {
    match address {
        IpAddr::V4(address) => HickoryData::A(A(address)),
        IpAddr::V6(address) => HickoryData::AAAA(AAAA(address)),
    }
}

fn alias(name: &str) -> HickoryData {
    HickoryData::CNAME(CNAME(HickoryName::from_ascii(name).unwrap()))
}

#[test]
fn each_name_is_asked_for_each_family_and_the_answers_are_put_together() {
    let mut net = Net::new(&[FIRST], BOTH);
    let (server, question) = net.asked();
    assert_eq!(server, FIRST);
    assert_eq!(question.metadata.id, 0x1000);
    assert!(question.metadata.recursion_desired);
    assert_eq!(question.metadata.message_type, MessageType::Query);
    let expected = Query::query(HickoryName::from_ascii("a.ntp.example.").unwrap(), RecordType::A);
    assert_eq!(question.queries, [expected]);

    net.answer(&[data(v4(1)), data(v4(2))]);
    assert_eq!(net.asked().1.queries[0].query_type(), RecordType::AAAA);
    net.answer(&[data(v6(1))]);
    assert_eq!(net.asked().1.queries[0].name().to_string(), "b.ntp.example.");
    net.answer(&[data(v4(3))]).answer(&[]);
    assert_eq!(net.resolved(), [vec![v4(1), v4(2), v6(1)], vec![v4(3)]]);
}

#[test]
fn a_box_with_one_family_asks_for_that_alone() {
    let mut net = Net::new(&[FIRST], IPV4);
    net.answer(&[data(v4(1))]).answer(&[data(v4(2))]);
    assert_eq!(net.resolved(), [vec![v4(1)], vec![v4(2)]]);
    let neither = Families {
        has_ipv4: false,
        has_ipv6: false,
    };
    assert_eq!(Net::new(&[FIRST], neither).resolved(), NOTHING);
}

#[test]
fn without_servers_nothing_is_found_at_once() {
    assert_eq!(Net::new(&[], BOTH).resolved(), NOTHING);
}

#[test]
fn silent_servers_are_asked_in_turn_each_time_with_a_new_id_and_then_given_up() {
    let mut net = Net::new(&[FIRST, SECOND], IPV4);
    let mut ids = vec![net.asked().1.metadata.id];
    for expected in [SECOND, FIRST, SECOND] {
        let (server, question) = net.until_due().asked();
        assert_eq!(server, expected);
        ids.push(question.metadata.id);
    }
    assert_eq!(ids, [0x1000, 0x1001, 0x1002, 0x1003]);
    // Nobody is there at all: the second name is not asked for.
    assert_eq!(net.until_due().resolved(), NOTHING);
    assert_eq!(net.now_ms, 4 * ANSWER_MS_MAX);
}

#[test]
fn the_longest_lookup_of_one_question_takes_fifteen_seconds() {
    let servers: Vec<IpAddr> = (1..=20).map(v4).collect();
    let mut net = Net::new(&servers, IPV4);
    assert_eq!(net.machine.servers.len(), SERVERS_MAX);
    for _ in 1..ATTEMPTS_MAX {
        net.until_due().asked();
    }
    net.until_due().resolved();
    assert_eq!(net.now_ms, 15_000);
}

#[test]
fn a_server_that_answered_is_asked_first_the_next_time() {
    let mut net = Net::new(&[FIRST, SECOND], IPV4);
    net.until_due().answer(&[data(v4(1))]);
    assert_eq!(net.asked().0, SECOND);
    net.until_due();
    assert_eq!(net.asked().0, FIRST);
}

#[test]
fn a_server_that_cannot_say_is_followed_by_the_next() {
    for spoil in [
        |message: &mut Message| message.metadata.response_code = ResponseCode::ServFail,
        |message: &mut Message| message.metadata.response_code = ResponseCode::Refused,
        |message: &mut Message| message.metadata.truncation = true,
    ] {
        let mut net = Net::new(&[FIRST, SECOND], IPV4);
        let (_, question) = net.asked();
        let mut message = reply(&question, &[data(v4(9))]);
        spoil(&mut message);
        let (server, question) = net.receive(FIRST, &message).asked();
        assert_eq!(server, SECOND);
        assert_eq!(question.queries[0].name().to_string(), "a.ntp.example.");
        net.answer(&[data(v4(1))]).answer(&[]);
        assert_eq!(net.resolved(), [vec![v4(1)], vec![]]);
    }
}

#[test]
fn when_all_servers_fail_for_one_name_the_next_is_still_asked() {
    let mut net = Net::new(&[FIRST], IPV4);
    for _ in 0..2 {
        let (_, question) = net.asked();
        let mut message = reply(&question, &[]);
        message.metadata.response_code = ResponseCode::ServFail;
        net.receive(FIRST, &message);
    }
    net.answer(&[data(v4(2))]);
    assert_eq!(net.resolved(), [vec![], vec![v4(2)]]);
}

#[test]
fn a_name_that_does_not_exist_has_no_addresses() {
    let mut net = Net::new(&[FIRST], IPV4);
    let (_, question) = net.asked();
    let mut message = reply(&question, &[]);
    message.metadata.response_code = ResponseCode::NXDomain;
    net.receive(FIRST, &message).answer(&[data(v4(2))]);
    assert_eq!(net.resolved(), [vec![], vec![v4(2)]]);
}

#[test]
fn aliases_are_followed_and_other_names_are_not_believed() {
    let mut net = Net::new(&[FIRST], IPV4);
    let (_, question) = net.asked();
    let mut message = reply(
        &question,
        &[alias("x.example."), alias("y.example."), data(v4(1))],
    );
    let stranger = HickoryName::from_ascii("z.example.").unwrap();
    message.add_answer(Record::from_rdata(stranger, 60, data(v4(66))));
    net.receive(FIRST, &message).answer(&[]);
    assert_eq!(net.resolved(), [vec![v4(1)], vec![]]);
}

#[test]
fn aliases_in_a_circle_end() {
    let mut net = Net::new(&[FIRST], IPV4);
    let (_, question) = net.asked();
    let message = reply(&question, &[alias("x.example."), alias("a.ntp.example.")]);
    net.receive(FIRST, &message).answer(&[]);
    assert_eq!(net.resolved(), NOTHING);
}

#[test]
fn addresses_that_no_server_elsewhere_has_are_left_out_and_the_rest_is_bounded() {
    let mut net = Net::new(&[FIRST], BOTH);
    let nowhere = [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.1.1",
    ];
    let nowhere: Vec<HickoryData> = nowhere.map(|text| data(text.parse().unwrap())).to_vec();
    net.answer(&nowhere);
    let nowhere = ["::", "::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1"];
    let mut answers: Vec<HickoryData> = nowhere.map(|text| data(text.parse().unwrap())).to_vec();
    answers.extend((1..=20).map(|last| data(v6(last))));
    net.answer(&answers).answer(&[]).answer(&[]);
    let eight: Vec<IpAddr> = (1..=8).map(v6).collect();
    assert_eq!(net.resolved(), [eight, vec![]]);
}

/// A way to spoil an answer.
type Spoil = fn(&mut Message);

#[test]
fn what_is_not_the_answer_to_the_question_changes_nothing() {
    let spoils: [(&str, Spoil); 8] = [
        ("id", |message| message.metadata.id ^= 1),
        ("query", |message| {
            message.metadata.message_type = MessageType::Query;
        }),
        ("opcode", |message| message.metadata.op_code = OpCode::Status),
        ("no question", |message| message.queries.clear()),
        ("two questions", |message| {
            message.queries.push(message.queries[0].clone());
        }),
        ("name", |message| {
            message.queries[0].set_name(HickoryName::from_ascii("b.ntp.example.").unwrap());
        }),
        ("type", |message| {
            message.queries[0].set_query_type(RecordType::AAAA);
        }),
        ("class", |message| {
            message.queries[0].set_query_class(hickory_proto::rr::DNSClass::CH);
        }),
    ];
    for (name, spoil) in spoils {
        let mut net = Net::new(&[FIRST, SECOND], IPV4);
        let (_, question) = net.asked();
        let good = reply(&question, &[data(v4(1))]);
        let mut bad = good.clone();
        spoil(&mut bad);
        net.refuse(FIRST, &bad, name);
        net.refuse(SECOND, &good, "of a server that was not asked");
        net.receive(FIRST, &good).asked();
    }
}

#[test]
fn the_case_of_the_name_may_differ() {
    let mut net = Net::new(&[FIRST], IPV4);
    let (_, question) = net.asked();
    let mut message = reply(&question, &[]);
    let shouted = HickoryName::from_ascii("A.NTP.EXAMPLE.").unwrap();
    message.queries[0].set_name(shouted.clone());
    message.add_answer(Record::from_rdata(shouted, 60, data(v4(1))));
    net.receive(FIRST, &message).answer(&[]);
    assert_eq!(net.resolved(), [vec![v4(1)], vec![]]);
}

#[test]
fn new_servers_are_asked_at_once_and_the_same_ones_are_no_news() {
    let mut net = Net::new(&[FIRST], IPV4);
    net.actions = net.machine.set_servers(&[FIRST], 10);
    assert_eq!(net.actions, []);
    net.actions = net.machine.set_servers(&[SECOND], 10);
    assert_eq!(net.asked().0, SECOND);
    net.actions = net.machine.set_servers(&[], 20);
    assert_eq!(net.resolved(), NOTHING);
}

#[test]
fn an_answer_that_comes_too_late_is_no_news() {
    let mut net = Net::new(&[FIRST], IPV4);
    let (_, question) = net.asked();
    let late = reply(&question, &[data(v4(1))]);
    net.answer(&[]).answer(&[]);
    net.resolved();
    assert_eq!(net.receive(FIRST, &late).actions, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_answers_never_panic(mut octets in vec(any::<u8>(), 0..120), is_ours in any::<bool>()) {
        let mut net = Net::new(&[FIRST], BOTH);
        if is_ours && octets.len() > 2 {
            octets[..2].copy_from_slice(&[0x10, 0]);
        }
        let _ = net.machine.receive(FIRST, &octets, 0);
    }

    /// Whatever happens to the octets of a good answer, it is that answer, another verdict, or dropped; and the lookup
    /// ends all the same.
    #[test]
    fn spoilt_answers_never_panic_and_every_lookup_ends(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut net = Net::new(&[FIRST, SECOND], BOTH);
        let (_, question) = net.asked();
        let mut octets = reply(&question, &[alias("x.example."), data(v4(1)), data(v4(2))]).to_vec().unwrap();
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        octets.truncate(cut.index(octets.len() * 4).max(1));
        let result = net.machine.receive(FIRST, &octets, 0);
        net.actions = result.unwrap_or_default();
        let mut sent = 0;
        while net.machine.deadline_ms().is_some() {
            net.until_due();
            sent += 1;
            prop_assert!(sent <= 4 * ATTEMPTS_MAX);
        }
        net.resolved();
    }
}
