//! Table tests of the client: a server's answers are written with dhcproto and read back octet by octet.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::rc::Rc;

use dhcproto::v4::{self, DhcpOption, HType, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Encodable};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 15);

/// The network around one client: what it sent last, and the answers a server gives.
struct Net {
    machine: Machine<Box<dyn FnMut() -> u32>>,
    now_ms: u64,
    actions: Vec<Action>,
}

impl Net {
    /// The random numbers are 1000, 1001 …: the jitter is then 1000 ms and a bit more than nothing.
    fn new() -> Self {
        let next = Rc::new(Cell::new(1000));
        let random = move || next.replace(next.get() + 1);
        Self {
            machine: Machine::new(MAC, name(), Box::new(random), 0),
            now_ms: 0,
            actions: Vec::new(),
        }
    }

    /// A client with a lease of an hour from `SERVER`.
    fn bound() -> Self {
        let mut net = Self::new();
        net.until_due();
        net.answer(MessageType::Offer, &[]);
        net.answer(MessageType::Ack, &[]);
        assert!(matches!(net.actions[..], [Action::Lease(_)]), "{:?}", net.actions);
        net
    }

    /// Lets the time pass to the next deadline.
    fn until_due(&mut self) -> &mut Self {
        self.now_ms = self.machine.deadline_ms().unwrap();
        self.actions = self.machine.tick(self.now_ms);
        self
    }

    fn xid(&self) -> u32 {
        self.machine.xid
    }

    /// Receives an answer of `SERVER` that offers `OURS` for an hour, with some options changed.
    fn answer(&mut self, kind: MessageType, options: &[DhcpOption]) -> &mut Self {
        let mut message = reply(kind, self.xid());
        for option in options {
            message.opts_mut().insert(option.clone());
        }
        self.receive(&message)
    }

    fn receive(&mut self, message: &v4::Message) -> &mut Self {
        // What is malformed has no actions.
        let _ = self.hear(&message.to_vec().unwrap());
        self
    }

    fn hear(&mut self, octets: &[u8]) -> Result<(), Malformed> {
        self.actions.clear();
        self.actions = self.machine.receive(octets, self.now_ms)?;
        Ok(())
    }

    /// The message that was sent, and whether to everybody.
    fn sent(&self) -> (v4::Message, Option<Ipv4Addr>) {
        match &self.actions[..] {
            [.., Action::Broadcast(octets)] => (v4::Message::from_bytes(octets).unwrap(), None),
            [.., Action::Unicast(to, octets)] => (v4::Message::from_bytes(octets).unwrap(), Some(*to)),
            other => panic!("nothing was sent: {other:?}"),
        }
    }

    fn lease(&self) -> &Lease {
        let [Action::Lease(lease)] = &self.actions[..] else {
            panic!("no lease: {:?}", self.actions)
        };
        lease
    }

    fn sent_kind(&self) -> MessageType {
        self.sent().0.opts().msg_type().unwrap()
    }
}

fn name() -> HostName {
    HostName::new("postolka").unwrap()
}

fn reply(kind: MessageType, xid: u32) -> v4::Message {
    let mut message = v4::Message::default();
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_chaddr(&MAC)
        .set_xid(xid)
        .set_yiaddr(OURS);
    for option in [
        DhcpOption::MessageType(kind),
        DhcpOption::ServerIdentifier(SERVER),
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
        DhcpOption::Router(vec![SERVER]),
        DhcpOption::DomainNameServer(vec![SERVER, OTHER]),
        DhcpOption::AddressLeaseTime(3600),
    ] {
        message.opts_mut().insert(option);
    }
    message
}

#[test]
fn the_first_discover_goes_out_at_once_and_is_complete() {
    let mut net = Net::new();
    assert_eq!(net.machine.deadline_ms(), Some(0));
    let (message, to) = net.until_due().sent();
    assert_eq!(to, None);
    assert_eq!(message.opcode(), Opcode::BootRequest);
    assert_eq!(
        (message.chaddr(), message.xid(), message.secs()),
        (&MAC[..], net.xid(), 0)
    );
    assert_eq!(message.opts().msg_type(), Some(MessageType::Discover));
    let client = DhcpOption::ClientIdentifier([&[1][..], &MAC].concat());
    assert_eq!(message.opts().get(OptionCode::ClientIdentifier), Some(&client));
    let Action::Broadcast(octets) = &net.actions[0] else {
        panic!()
    };
    assert!(octets.len() >= v4::MIN_PACKET_SIZE);
}

/// RFC 2131 §4.1.
#[test]
fn unanswered_discovers_back_off_to_about_a_minute_for_ever() {
    let mut net = Net::new();
    net.until_due();
    let (mut last_ms, xid) = (net.now_ms, net.xid());
    for seconds in [4, 8, 16, 32, 64, 64, 64] {
        assert_eq!(net.until_due().sent_kind(), MessageType::Discover);
        let waited = net.now_ms - last_ms;
        last_ms = net.now_ms;
        assert!(
            (seconds * 1000 - 1000..=seconds * 1000 + 1000).contains(&waited),
            "{waited}"
        );
        assert_eq!(net.xid(), xid);
    }
    assert_eq!(u64::from(net.sent().0.secs()), net.now_ms / 1000);
}

#[test]
fn the_jitter_spans_two_seconds() {
    for (random, expected) in [(0, 3000), (1000, 4000), (2000, 5000), (2001, 3000)] {
        let mut machine = Machine::new(MAC, name(), || random, 0);
        machine.tick(0);
        assert_eq!(machine.deadline_ms(), Some(expected));
    }
}

#[test]
fn an_offer_is_requested_and_its_acknowledgement_is_the_lease() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    let (message, to) = net.sent();
    assert_eq!(
        (message.opts().msg_type(), to),
        (Some(MessageType::Request), None)
    );
    assert_eq!(message.ciaddr(), Ipv4Addr::UNSPECIFIED);
    let option = |code| message.opts().get(code);
    assert_eq!(
        option(OptionCode::RequestedIpAddress),
        Some(&DhcpOption::RequestedIpAddress(OURS))
    );
    assert_eq!(
        option(OptionCode::ServerIdentifier),
        Some(&DhcpOption::ServerIdentifier(SERVER))
    );
    let expected = Lease {
        address: OURS,
        prefix: 24,
        gateway: Some(SERVER),
        dns: [SERVER, OTHER].into_iter().collect(),
        mtu: None,
        seconds: 3600,
    };
    assert_eq!(net.answer(MessageType::Ack, &[]).lease(), &expected);
    assert_eq!(net.machine.deadline_ms(), Some(1_800_000));
}

#[test]
fn the_lease_counts_from_its_request() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    net.now_ms += 2500;
    assert_eq!(net.answer(MessageType::Ack, &[]).lease().seconds, 3598);
    assert_eq!(net.machine.deadline_ms(), Some(1_800_000));
}

#[test]
fn four_unanswered_requests_start_over_with_a_new_transaction() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    let xid = net.xid();
    for _ in 1..REQUESTS_MAX {
        assert_eq!(net.until_due().sent_kind(), MessageType::Request);
    }
    assert_eq!(net.until_due().sent_kind(), MessageType::Discover);
    assert_ne!(net.xid(), xid);
}

#[test]
fn a_server_that_offers_and_refuses_is_asked_ever_more_slowly() {
    let mut net = Net::new();
    let mut waits = Vec::new();
    for _ in 0..6 {
        net.until_due()
            .answer(MessageType::Offer, &[])
            .answer(MessageType::Nak, &[]);
        assert_eq!(net.actions, []);
        waits.push((net.machine.deadline_ms().unwrap() - net.now_ms + 1000) / 4000);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 16]);
    // A lease ends the series.
    net.until_due()
        .answer(MessageType::Offer, &[])
        .answer(MessageType::Ack, &[]);
    assert_eq!(net.machine.refusals, 0);
}

#[test]
fn a_refusal_by_another_server_is_not_ours() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    net.answer(MessageType::Nak, &[DhcpOption::ServerIdentifier(OTHER)]);
    net.answer(MessageType::Ack, &[]).lease();
}

#[test]
fn at_t1_the_own_server_is_asked_from_the_own_address() {
    let mut net = Net::bound();
    let (message, to) = net.until_due().sent();
    assert_eq!((net.now_ms, to), (1_800_000, Some(SERVER)));
    // RFC 2131 §4.3.2, table 4: ciaddr set, no requested address, no server identifier.
    assert_eq!(
        (message.opts().msg_type(), message.ciaddr()),
        (Some(MessageType::Request), OURS)
    );
    assert!(!message.opts().contains(OptionCode::RequestedIpAddress));
    assert!(!message.opts().contains(OptionCode::ServerIdentifier));
    assert_eq!(net.answer(MessageType::Ack, &[]).lease().seconds, 3600);
    assert_eq!(net.machine.deadline_ms(), Some(3_600_000));
}

#[test]
fn the_gateway_the_name_servers_and_the_time_servers_may_change_at_a_renewal() {
    let mut net = Net::bound();
    assert_eq!(net.machine.ntp().len(), 0);
    let terms = [
        DhcpOption::Router(vec![OTHER]),
        DhcpOption::DomainNameServer(vec![OTHER]),
        DhcpOption::NtpServers(vec![SERVER, OTHER]),
    ];
    net.until_due().answer(MessageType::Ack, &terms);
    let lease = net.lease();
    assert_eq!((lease.address, lease.gateway), (OURS, Some(OTHER)));
    assert_eq!(lease.dns[..], [OTHER]);
    assert_eq!(net.machine.ntp(), [SERVER, OTHER]);
    // A renewal that names none takes them back.
    net.until_due().answer(MessageType::Ack, &[]);
    assert_eq!(net.machine.ntp().len(), 0);
}

#[test]
fn servers_are_told_the_name_and_asked_for_time_servers() {
    let mut net = Net::new();
    let asked = |net: &Net| {
        let (message, _) = net.sent();
        let Some(DhcpOption::ParameterRequestList(list)) =
            message.opts().get(OptionCode::ParameterRequestList)
        else {
            panic!("nothing is asked for")
        };
        assert!(list.contains(&OptionCode::NtpServers));
        let Some(DhcpOption::Hostname(name)) = message.opts().get(OptionCode::Hostname) else {
            panic!("no name")
        };
        name.clone()
    };
    assert_eq!(asked(net.until_due()), "postolka");
    net.machine.rename(HostName::new("postolka-2").unwrap());
    assert_eq!(asked(net.answer(MessageType::Offer, &[])), "postolka-2");
    net.answer(MessageType::Ack, &[]);
    assert_eq!(asked(net.until_due()), "postolka-2");
}

/// RFC 2131 §4.4.1, table 5, and §3.1 (5): at least ten seconds.
#[test]
fn a_lease_that_somebody_else_uses_is_declined_and_asked_for_again_later() {
    let mut net = Net::bound();
    let xid = net.xid();
    net.actions = net.machine.decline(10_000, net.now_ms);
    assert_eq!(net.actions.pop(), Some(Action::LeaseLost));
    let (message, to) = net.sent();
    assert_eq!(to, None);
    assert_eq!(message.opts().msg_type(), Some(MessageType::Decline));
    assert_eq!((message.ciaddr(), message.secs()), (Ipv4Addr::UNSPECIFIED, 0));
    assert_ne!(message.xid(), xid);
    let option = |code| message.opts().get(code);
    assert_eq!(
        option(OptionCode::RequestedIpAddress),
        Some(&DhcpOption::RequestedIpAddress(OURS))
    );
    assert_eq!(
        option(OptionCode::ServerIdentifier),
        Some(&DhcpOption::ServerIdentifier(SERVER))
    );
    assert!(option(OptionCode::ClientIdentifier).is_some());
    assert_eq!(option(OptionCode::ParameterRequestList), None);
    assert_eq!(option(OptionCode::Hostname), None);
    // An acknowledgement that was under way changes nothing any more.
    net.answer(MessageType::Ack, &[]);
    assert_eq!((net.actions.len(), net.machine.deadline_ms()), (0, Some(10_000)));
    assert_eq!(net.until_due().sent_kind(), MessageType::Discover);
    // There is nothing to give back any more.
    assert_eq!(net.machine.decline(10_000, net.now_ms), []);
}

#[test]
fn a_lease_is_declined_also_while_it_is_renewed_or_rebound() {
    for until_ms in [1_800_000, 3_150_000] {
        let mut net = Net::bound();
        while net.now_ms < until_ms {
            net.until_due();
        }
        net.actions = net.machine.decline(10_000, net.now_ms);
        assert_eq!(net.actions.pop(), Some(Action::LeaseLost));
        assert_eq!(net.sent_kind(), MessageType::Decline);
        assert_eq!(net.machine.deadline_ms(), Some(until_ms + 10_000));
    }
}

/// RFC 2131 §4.4.5: T1, half of the rest to T2 …, T2 by broadcast, …, expiry.
#[test]
fn a_silent_server_is_asked_then_everybody_then_the_lease_is_lost() {
    let mut net = Net::bound();
    let mut asked = Vec::new();
    loop {
        net.until_due();
        if net.actions[0] == Action::LeaseLost {
            break;
        }
        assert_eq!(net.sent_kind(), MessageType::Request);
        asked.push((net.now_ms / 1000, net.sent().1.is_none()));
    }
    let unicast = [
        (1800, false),
        (2475, false),
        (2812, false),
        (2981, false),
        (3065, false),
        (3125, false),
    ];
    let broadcast = [(3150, true), (3375, true), (3487, true), (3547, true)];
    assert_eq!(asked, [&unicast[..], &broadcast[..]].concat());
    assert_eq!(net.now_ms, 3_600_000);
    assert_eq!(net.sent_kind(), MessageType::Discover);
}

#[test]
fn another_server_may_take_over_while_rebinding() {
    let mut net = Net::bound();
    while net.now_ms < 3_150_000 {
        net.until_due();
    }
    let terms = [
        DhcpOption::ServerIdentifier(OTHER),
        DhcpOption::AddressLeaseTime(600),
    ];
    assert_eq!(net.answer(MessageType::Ack, &terms).lease().seconds, 600);
    assert_eq!(net.until_due().sent().1, Some(OTHER));
}

#[test]
fn a_refused_renewal_loses_the_lease_and_searches_at_once() {
    let mut net = Net::bound();
    net.until_due().answer(MessageType::Nak, &[]);
    assert_eq!(net.actions, [Action::LeaseLost]);
    assert_eq!(net.machine.deadline_ms(), Some(net.now_ms));
    assert_eq!(net.until_due().sent_kind(), MessageType::Discover);
}

#[test]
fn an_acknowledgement_of_another_address_is_not_taken() {
    let mut net = Net::bound();
    net.until_due();
    let mut message = reply(MessageType::Ack, net.xid());
    message.set_yiaddr(Ipv4Addr::new(192, 0, 2, 99));
    assert_eq!(net.receive(&message).actions, []);
}

#[test]
fn a_lease_of_twenty_seconds_is_renewed_in_time() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    net.answer(MessageType::Ack, &[DhcpOption::AddressLeaseTime(20)]);
    assert_eq!(net.until_due().now_ms, 10_000);
    assert_eq!(
        net.answer(MessageType::Ack, &[DhcpOption::AddressLeaseTime(20)])
            .lease()
            .seconds,
        20
    );
    assert_eq!(net.machine.deadline_ms(), Some(20_000));
}

#[test]
fn a_lease_that_would_have_us_renew_all_the_time_is_not_taken() {
    for (seconds, is_taken) in [(1, false), (19, false), (20, true)] {
        let mut net = Net::new();
        net.until_due().answer(MessageType::Offer, &[]);
        net.answer(MessageType::Ack, &[DhcpOption::AddressLeaseTime(seconds)]);
        assert_eq!(!net.actions.is_empty(), is_taken, "{seconds}");
        assert!(net.machine.deadline_ms().unwrap() >= net.now_ms + RETRY_MS_MIN);
    }
    // Nor does the server's T1 do it.
    times(&[DhcpOption::Renewal(9), DhcpOption::Rebinding(20)], 1800, 3150);
    times(&[DhcpOption::Renewal(10), DhcpOption::Rebinding(20)], 10, 20);
}

#[test]
fn a_lease_for_ever_has_no_deadline() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    net.answer(MessageType::Ack, &[DhcpOption::AddressLeaseTime(u32::MAX)]);
    assert_eq!(net.lease().seconds, LEASE_SECONDS_FOREVER);
    assert_eq!(net.machine.deadline_ms(), None);
    assert_eq!(net.machine.tick(u64::MAX / 2), []);
}

fn times(options: &[DhcpOption], renew_seconds: u64, rebind_seconds: u64) {
    let mut net = Net::new();
    net.until_due()
        .answer(MessageType::Offer, &[])
        .answer(MessageType::Ack, options);
    let times = net.machine.held.unwrap().times.unwrap();
    assert_eq!(
        (times.renew_ms, times.rebind_ms),
        (renew_seconds * 1000, rebind_seconds * 1000)
    );
}

#[test]
fn the_servers_times_are_taken_only_when_they_make_sense() {
    times(&[], 1800, 3150);
    times(&[DhcpOption::Renewal(100), DhcpOption::Rebinding(200)], 100, 200);
    times(&[DhcpOption::Renewal(100)], 1800, 3150);
    times(
        &[DhcpOption::Renewal(200), DhcpOption::Rebinding(100)],
        1800,
        3150,
    );
    times(&[DhcpOption::Renewal(0), DhcpOption::Rebinding(100)], 1800, 3150);
    times(
        &[DhcpOption::Renewal(100), DhcpOption::Rebinding(3600)],
        1800,
        3150,
    );
}

fn mask(option: Option<[u8; 4]>, expected: Option<u8>) {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    let mut message = reply(MessageType::Ack, net.xid());
    message.opts_mut().remove(OptionCode::SubnetMask);
    if let Some(mask) = option {
        message.opts_mut().insert(DhcpOption::SubnetMask(mask.into()));
    }
    net.receive(&message);
    let prefix = match &net.actions[..] {
        [Action::Lease(lease)] => Some(lease.prefix),
        _ => None,
    };
    assert_eq!(prefix, expected, "{option:?}");
}

#[test]
fn a_mask_is_a_prefix_or_the_answer_is_dropped() {
    mask(Some([255, 255, 255, 0]), Some(24));
    mask(Some([255, 255, 255, 255]), Some(32));
    mask(Some([255, 255, 254, 0]), Some(23));
    mask(Some([255, 0, 255, 0]), None);
    mask(Some([0, 0, 0, 0]), None);
    mask(Some([0, 0, 0, 1]), None);
    // Class C.
    mask(None, Some(24));
}

/// A way to spoil an answer.
type Spoil = fn(&mut v4::Message);

#[test]
fn answers_that_are_not_for_us_or_not_complete_change_nothing() {
    // The last column: whether it counts as malformed.
    let spoils: [(&str, Spoil, bool); 9] = [
        (
            "request",
            |message| {
                message.set_opcode(Opcode::BootRequest);
            },
            false,
        ),
        (
            "transaction",
            |message| {
                message.set_xid(message.xid() ^ 1);
            },
            false,
        ),
        (
            "hardware address",
            |message| {
                message.set_chaddr(&[1; 6]);
            },
            false,
        ),
        (
            "hardware length",
            |message| {
                message.set_chaddr(&[0x52; 16]);
            },
            false,
        ),
        (
            "hardware type",
            |message| {
                message.set_htype(HType::FibreChannel);
            },
            true,
        ),
        (
            "no address",
            |message| {
                message.set_yiaddr(Ipv4Addr::UNSPECIFIED);
            },
            true,
        ),
        (
            "multicast address",
            |message| {
                message.set_yiaddr(Ipv4Addr::new(224, 0, 0, 1));
            },
            true,
        ),
        (
            "no server",
            |message| {
                message.opts_mut().remove(OptionCode::ServerIdentifier);
            },
            true,
        ),
        (
            "no type",
            |message| {
                message.opts_mut().remove(OptionCode::MessageType);
            },
            true,
        ),
    ];
    for (name, spoil, counts) in spoils {
        let mut net = Net::new();
        net.until_due();
        let mut message = reply(MessageType::Offer, net.xid());
        spoil(&mut message);
        let is_malformed = net.hear(&message.to_vec().unwrap()).is_err();
        assert_eq!((net.actions.len(), is_malformed), (0, counts), "{name}");
        assert!(matches!(net.machine.state, State::Selecting { .. }), "{name}");
    }
}

#[test]
fn a_hardware_length_beyond_the_field_is_refused() {
    let mut net = Net::new();
    net.until_due();
    let mut octets = reply(MessageType::Offer, net.xid()).to_vec().unwrap();
    octets[2] = 200;
    assert_eq!(net.hear(&octets), Err(Malformed));
}

#[test]
fn a_wrong_cookie_is_bootp_and_dropped() {
    let mut net = Net::new();
    net.until_due();
    let mut octets = reply(MessageType::Offer, net.xid()).to_vec().unwrap();
    octets[236] ^= 1;
    assert_eq!(net.hear(&octets), Err(Malformed));
}

#[test]
fn an_mtu_out_of_range_is_left_out() {
    for (mtu, expected) in [
        (1400, Some(1400)),
        (1280, Some(1280)),
        (1279, None),
        (0, None),
        (9217, None),
        (9216, Some(9216)),
    ] {
        let mut net = Net::new();
        net.until_due().answer(MessageType::Offer, &[]);
        assert_eq!(
            net.answer(MessageType::Ack, &[DhcpOption::InterfaceMtu(mtu)])
                .lease()
                .mtu,
            expected
        );
    }
}

/// One thing that happens to a client.
#[derive(Clone, Debug)]
enum Event {
    Due,
    Wait(u32),
    Answer(MessageType, u32),
    Noise(Vec<u8>),
    Conflict,
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(MessageType::Offer),
        Just(MessageType::Ack),
        Just(MessageType::Nak)
    ];
    let seconds = prop_oneof![Just(1), 1..100_u32, any::<u32>()];
    prop_oneof![
        3 => Just(Event::Due),
        1 => (0..10_000_000_u32).prop_map(Event::Wait),
        4 => (kind, seconds).prop_map(|(kind, seconds)| Event::Answer(kind, seconds)),
        1 => vec(any::<u8>(), 0..400).prop_map(Event::Noise),
        1 => Just(Event::Conflict),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever happens: at most one datagram an event, news in the right order and in range, and never a standstill
    /// without a lease.
    #[test]
    fn any_sequence_of_events_keeps_the_invariants(events in vec(event(), 0..60)) {
        let mut net = Net::new();
        let mut holds = false;
        let mut last_sent_ms = None;
        for event in events {
            let is_tick = matches!(event, Event::Due | Event::Wait(_));
            match event {
                Event::Due => if net.machine.deadline_ms().is_some() { net.until_due(); },
                Event::Wait(ms) => {
                    net.now_ms += u64::from(ms);
                    net.actions = net.machine.tick(net.now_ms);
                }
                Event::Answer(kind, seconds) => {
                    net.answer(kind, &[DhcpOption::AddressLeaseTime(seconds)]);
                }
                Event::Noise(octets) => {
                    let _ = net.hear(&octets);
                }
                // Only what is held can be given back.
                Event::Conflict => net.actions = net.machine.decline(10_000, net.now_ms),
            }
            let mut sent = 0;
            for action in std::mem::take(&mut net.actions) {
                match action {
                    Action::Lease(lease) => {
                        let message = handoff::FromNetd::Lease(lease);
                        prop_assert_eq!(handoff::Message::decode(&handoff::Message::encode(&message)), Ok(message));
                        holds = true;
                    }
                    Action::LeaseLost => {
                        prop_assert!(holds);
                        holds = false;
                    }
                    Action::Broadcast(_) | Action::Unicast(..) => sent += 1,
                }
            }
            prop_assert!(sent <= 1);
            if sent == 1 && is_tick {
                last_sent_ms = Some(net.now_ms);
            }
            if let (Some(sent_ms), Some(deadline_ms)) = (last_sent_ms, net.machine.deadline_ms())
                && matches!(net.machine.state, State::Selecting { .. })
            {
                prop_assert!(deadline_ms >= sent_ms + RETRY_MS_MIN);
            }
            prop_assert_eq!(holds, net.machine.held.is_some());
            prop_assert!(holds || net.machine.deadline_ms().is_some());
        }
    }

    /// What dhcproto makes of our requests is what we meant; the machine's tests read all others with it, too.
    #[test]
    fn requests_decode_to_themselves(xid in any::<u32>(), secs in any::<u16>(), ip in any::<[u8; 4]>()) {
        let address = Ipv4Addr::from(ip);
        let name = name();
        let request = Request { kind: RequestKind::Extend { address }, mac: MAC, name: &name, xid, secs };
        let message = v4::Message::from_bytes(&request.encode()).unwrap();
        prop_assert_eq!((message.xid(), message.secs(), message.ciaddr()), (xid, secs, address));
        prop_assert_eq!(message.chaddr(), &MAC[..]);
    }

    #[test]
    fn random_options_never_panic(mut octets in vec(any::<u8>(), 240..600), xid in Just(1000_u32)) {
        octets[..3].copy_from_slice(&[2, 1, 6]);
        octets[4..8].copy_from_slice(&xid.to_be_bytes());
        octets[28..34].copy_from_slice(&MAC);
        octets[236..240].copy_from_slice(&v4::MAGIC);
        let mut net = Net::new();
        net.until_due();
        let before = net.machine.state;
        if net.hear(&octets).is_err() {
            prop_assert_eq!(net.machine.state, before);
        }
    }
}
