//! One interface on a wire with a DHCP server and with others that have, or take, an address.
#![allow(clippy::unwrap_used)]

use dhcproto::v4::{self, DhcpOption, HType, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Encodable};
use handoff::StaticIpv4;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

use MessageType::{Decline, Discover, Request};
use Seen::{Announcement, Conflict, LeaseLost, Probe, Sent};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 15);

/// The wire: a server that gives out addresses from `FIRST` on and skips those that were declined, a machine that may
/// have an address of its own, and init, which applies what it is told.
struct Wire {
    ipv4: Ipv4<fn() -> u32>,
    now_ms: u64,
    offered: Ipv4Addr,
    lease_seconds: u32,
    /// What the other machine has, and answers for.
    taken: Option<Ipv4Addr>,
    kernel: Vec<Ipv4Addr>,
    story: Vec<(u64, Seen)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Sent(MessageType),
    Probe(Ipv4Addr),
    Announcement(Ipv4Addr),
    Lease(Ipv4Addr),
    LeaseLost,
    Conflict(Ipv4Addr),
}

impl Wire {
    fn new(settings: Ipv4Settings) -> Self {
        let name = HostName::new("postolka").unwrap();
        Self {
            ipv4: Ipv4::new(MAC, settings, name, || 500, 0),
            now_ms: 0,
            offered: FIRST,
            lease_seconds: 3600,
            taken: None,
            kernel: Vec::new(),
            story: Vec::new(),
        }
    }

    fn dynamic() -> Self {
        Self::new(Ipv4Settings::Dynamic)
    }

    fn chosen() -> Self {
        Self::new(Ipv4Settings::Static(StaticIpv4 {
            address: FIRST,
            prefix: 24,
            gateway: Some(SERVER),
            dns: std::iter::once(SERVER).collect(),
        }))
    }

    /// Lets everything happen that is due until `until_ms`, with all answers.
    fn until(&mut self, until_ms: u64) -> &mut Self {
        while let Some(at_ms) = self.ipv4.deadline_ms().filter(|&at_ms| at_ms <= until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            let actions = self.ipv4.tick(self.now_ms);
            self.perform(actions);
        }
        self.now_ms = until_ms;
        self
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Broadcast(octets) | Action::Unicast(_, octets) => self.serve(&octets),
                Action::Arp(frame) => self.arp(&frame),
                Action::Lease(lease) => {
                    self.story.push((self.now_ms, Seen::Lease(lease.address)));
                    self.apply(&[lease.address]);
                }
                Action::LeaseLost => {
                    self.story.push((self.now_ms, LeaseLost));
                    self.apply(&[]);
                }
                Action::Conflict { address, mac } => {
                    assert_eq!(mac, OTHER);
                    self.story.push((self.now_ms, Conflict(address)));
                }
            }
        }
    }

    fn apply(&mut self, addresses: &[Ipv4Addr]) {
        self.kernel = addresses.to_vec();
        self.ipv4.applied(self.kernel.clone(), self.now_ms);
    }

    fn serve(&mut self, octets: &[u8]) {
        let message = v4::Message::from_bytes(octets).unwrap();
        let kind = message.opts().msg_type().unwrap();
        self.story.push((self.now_ms, Sent(kind)));
        let answer = match kind {
            Discover => MessageType::Offer,
            Request => MessageType::Ack,
            Decline => {
                let declined = DhcpOption::RequestedIpAddress(self.offered);
                assert_eq!(
                    message.opts().get(OptionCode::RequestedIpAddress),
                    Some(&declined)
                );
                self.offered = Ipv4Addr::from_bits(self.offered.to_bits() + 1);
                return;
            }
            other => panic!("{other:?}"),
        };
        let mut reply = v4::Message::default();
        reply
            .set_opcode(Opcode::BootReply)
            .set_htype(HType::Eth)
            .set_chaddr(&MAC)
            .set_xid(message.xid())
            .set_yiaddr(self.offered);
        for option in [
            DhcpOption::MessageType(answer),
            DhcpOption::ServerIdentifier(SERVER),
            DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
            DhcpOption::AddressLeaseTime(self.lease_seconds),
            DhcpOption::NtpServers(vec![SERVER]),
        ] {
            reply.opts_mut().insert(option);
        }
        let actions = self.ipv4.receive_dhcp(&reply.to_vec().unwrap(), self.now_ms);
        self.perform(actions.unwrap());
    }

    /// What the other machine does when it hears a frame of ours: it answers a probe for its address, and announces
    /// the address when it hears that somebody else has it.
    fn arp(&mut self, frame: &[u8; FRAME_OCTETS]) {
        let octets = |at: usize| Ipv4Addr::from(*frame[at..].first_chunk::<4>().unwrap());
        let (sender, target) = (octets(28), octets(38));
        self.story.push((
            self.now_ms,
            if sender.is_unspecified() {
                Probe(target)
            } else {
                Announcement(target)
            },
        ));
        if self.taken == Some(target) {
            self.hear(target);
        }
    }

    /// The other machine says that it has `address`.
    fn hear(&mut self, address: Ipv4Addr) {
        let mut frame = [0; FRAME_OCTETS];
        frame[12..22].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2]);
        frame[22..28].copy_from_slice(&OTHER);
        frame[28..32].copy_from_slice(&address.octets());
        let actions = self.ipv4.receive_arp(&frame, self.now_ms);
        self.perform(actions.unwrap());
    }

    fn seen(&mut self) -> Vec<Seen> {
        self.story.drain(..).map(|(_, seen)| seen).collect()
    }
}

/// The goal of issue 4 is a second from link to address; of that, looking for others takes 0.2.
#[test]
fn a_lease_is_told_a_fifth_of_a_second_after_the_servers_word() {
    let mut wire = Wire::dynamic();
    wire.until(1_000);
    let expected = [
        (0, Sent(Discover)),
        (0, Sent(Request)),
        (0, Probe(FIRST)),
        (200, Seen::Lease(FIRST)),
        (200, Announcement(FIRST)),
    ];
    assert_eq!(wire.story, expected);
}

#[test]
fn a_lease_whose_address_somebody_has_is_declined_before_init_hears_of_it() {
    let mut wire = Wire::dynamic();
    wire.taken = Some(FIRST);
    wire.until(11_000);
    let next = Ipv4Addr::new(192, 0, 2, 16);
    let expected = [
        (0, Sent(Discover)),
        (0, Sent(Request)),
        (0, Probe(FIRST)),
        (0, Sent(Decline)),
        (0, Conflict(FIRST)),
        (10_000, Sent(Discover)),
        (10_000, Sent(Request)),
        (10_000, Probe(next)),
        (10_200, Seen::Lease(next)),
        (10_200, Announcement(next)),
    ];
    assert_eq!(wire.story, expected);
}

#[test]
fn a_lease_in_use_is_defended_once_and_given_back_the_second_time() {
    let mut wire = Wire::dynamic();
    wire.until(20_000).seen();
    wire.hear(FIRST);
    assert_eq!(wire.seen(), [Announcement(FIRST)]);
    wire.until(25_000).hear(FIRST);
    assert_eq!(wire.seen(), [Sent(Decline), LeaseLost, Conflict(FIRST)]);
    assert_eq!(wire.kernel.len(), 0);
    wire.until(34_999);
    assert_eq!(wire.seen(), []);
    wire.until(36_000);
    let next = Ipv4Addr::new(192, 0, 2, 16);
    assert_eq!(wire.kernel, [next]);
}

/// RFC 5227 §2.1.1: after ten conflicts, one try a minute.
#[test]
fn a_server_whose_addresses_are_all_taken_is_asked_ever_more_slowly() {
    let mut wire = Wire::dynamic();
    let mut times = Vec::new();
    for _ in 0..12 {
        wire.taken = Some(wire.offered);
        let at_ms = wire.ipv4.deadline_ms().unwrap();
        wire.until(at_ms);
        times.push(at_ms / 1000);
        assert_eq!(wire.kernel.len(), 0);
    }
    assert_eq!(times, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 150, 210]);
    // One that went well, and was probed for to the end, begins the count anew.
    wire.until(300_000);
    assert_eq!((wire.kernel.len(), wire.ipv4.conflicts), (1, 0));
}

#[test]
fn a_renewal_of_an_address_in_use_is_told_at_once_and_not_probed_for_again() {
    let mut wire = Wire::dynamic();
    wire.until(60_000).seen();
    wire.until(1_800_000);
    assert_eq!(wire.seen(), [Sent(Request), Seen::Lease(FIRST)]);
    assert_eq!(wire.ipv4.ntp(), [SERVER]);
}

#[test]
fn time_servers_are_of_use_only_with_the_address_they_came_with() {
    let mut wire = Wire::dynamic();
    wire.until(100);
    assert_eq!((wire.ipv4.ntp().len(), wire.kernel.len()), (0, 0));
    wire.until(200);
    assert_eq!((wire.ipv4.ntp().len(), wire.kernel.len()), (1, 1));
}

/// A chosen address: the standard's four to seven seconds, no server, and a lease for ever.
#[test]
fn a_chosen_address_is_probed_for_and_no_server_is_asked() {
    let mut wire = Wire::chosen();
    wire.until(60_000);
    let expected = [Probe(FIRST), Probe(FIRST), Probe(FIRST), Seen::Lease(FIRST)];
    assert_eq!(wire.story[3].0, wire.story[2].0 + 2_000);
    let announced = [Announcement(FIRST), Announcement(FIRST)];
    assert_eq!(wire.seen(), [&expected[..], &announced].concat());
    assert_eq!(wire.ipv4.deadline_ms(), None);
}

#[test]
fn a_chosen_address_is_a_lease_for_ever_with_what_was_set() {
    let mut wire = Wire::chosen();
    let lease = loop {
        let at_ms = wire.ipv4.deadline_ms().unwrap();
        if let Some(Action::Lease(lease)) = wire.ipv4.tick(at_ms).pop() {
            break lease;
        }
    };
    assert_eq!(
        lease,
        Lease {
            address: FIRST,
            prefix: 24,
            gateway: Some(SERVER),
            dns: std::iter::once(SERVER).collect(),
            mtu: None,
            seconds: LEASE_SECONDS_FOREVER,
        }
    );
}

#[test]
fn a_chosen_address_that_somebody_has_is_tried_again_until_it_is_free() {
    let mut wire = Wire::chosen();
    wire.taken = Some(FIRST);
    wire.until(25_000);
    let tried: Vec<Seen> = (0..3).flat_map(|_| [Probe(FIRST), Conflict(FIRST)]).collect();
    assert_eq!(wire.seen(), tried);
    wire.taken = None;
    wire.until(60_000);
    assert_eq!(wire.kernel, [FIRST]);
    // And is given up when another takes it and does not yield, and tried again.
    wire.seen();
    wire.hear(FIRST);
    wire.hear(FIRST);
    assert_eq!(wire.seen(), [Announcement(FIRST), LeaseLost, Conflict(FIRST)]);
    wire.until(80_000);
    assert_eq!(wire.kernel, [FIRST]);
}

#[test]
fn an_address_that_the_kernel_has_already_is_announced_like_a_new_one() {
    let mut wire = Wire::chosen();
    wire.ipv4.applied(vec![FIRST], 0);
    let mut announced = 0;
    while let Some(at_ms) = wire.ipv4.deadline_ms() {
        let actions = wire.ipv4.tick(at_ms);
        announced += actions
            .iter()
            .filter(|action| matches!(action, Action::Arp(frame) if frame[28..32] == FIRST.octets()))
            .count();
    }
    assert_eq!(announced, 2);
}

#[test]
fn an_expired_lease_is_nobodys_to_defend() {
    let mut wire = Wire::dynamic();
    wire.until(60_000).seen();
    // The server is gone: nobody answers from here on.
    while wire.kernel == [FIRST] {
        wire.now_ms = wire.ipv4.deadline_ms().unwrap();
        let actions = wire.ipv4.tick(wire.now_ms);
        let is_news = |action: &Action| !matches!(action, Action::Broadcast(_) | Action::Unicast(..));
        wire.perform(actions.into_iter().filter(is_news).collect());
    }
    assert_eq!((wire.now_ms, wire.seen()), (3_600_000, vec![LeaseLost]));
    wire.hear(FIRST);
    assert_eq!(wire.seen(), []);
}

/// One thing that happens on the wire.
#[derive(Clone, Debug)]
enum Event {
    Wait(u32),
    Taken(bool),
    Heard,
    Seconds(u32),
    Kernel(bool),
    Noise(Vec<u8>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..20_000_u32).prop_map(Event::Wait),
        1 => (0..2_000_000_u32).prop_map(Event::Wait),
        2 => any::<bool>().prop_map(Event::Taken),
        2 => Just(Event::Heard),
        1 => (20..100_u32).prop_map(Event::Seconds),
        1 => any::<bool>().prop_map(Event::Kernel),
        1 => vec(any::<u8>(), 0..300).prop_map(Event::Noise),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever happens: a new address comes after a probe for it, losses after leases, conflicts with nothing leased.
    #[test]
    fn any_sequence_of_events_keeps_the_invariants(is_chosen in any::<bool>(), events in vec(event(), 0..40)) {
        let mut wire = if is_chosen { Wire::chosen() } else { Wire::dynamic() };
        let (mut leased, mut probed) = (None, None);
        for event in events {
            match event {
                Event::Wait(ms) => {
                    wire.until(wire.now_ms + u64::from(ms));
                }
                Event::Taken(is_taken) => wire.taken = is_taken.then_some(wire.offered),
                Event::Heard => wire.hear(wire.offered),
                Event::Seconds(seconds) => wire.lease_seconds = seconds,
                Event::Kernel(has_it) => {
                    let addresses = if has_it { vec![wire.offered] } else { Vec::new() };
                    wire.ipv4.applied(addresses, wire.now_ms);
                }
                Event::Noise(octets) => {
                    if let Ok(actions) = wire.ipv4.receive_arp(&octets, wire.now_ms) {
                        wire.perform(actions);
                    }
                    if let Ok(actions) = wire.ipv4.receive_dhcp(&octets, wire.now_ms) {
                        wire.perform(actions);
                    }
                }
            }
            for seen in wire.seen() {
                match seen {
                    Seen::Lease(address) => {
                        prop_assert!(leased == Some(address) || probed == Some(address));
                        leased = Some(address);
                    }
                    LeaseLost => prop_assert!(leased.take().is_some()),
                    Conflict(_) => prop_assert_eq!(leased, None),
                    Probe(address) => probed = Some(address),
                    Sent(_) | Announcement(_) => {}
                }
            }
            prop_assert_eq!(leased, wire.ipv4.leased);
            prop_assert!(leased.is_some() || wire.ipv4.deadline_ms().is_some());
        }
    }
}
