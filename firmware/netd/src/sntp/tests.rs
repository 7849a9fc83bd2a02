//! The client against servers that are right, wrong, slow, silent and tired of it.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// 2026-01-01.
const PIVOT: u64 = 1_767_225_600;
/// What time it was when the box was started: 2026-11-24 12:00.
const BOOT_UNIX_MS: u64 = 1_795_521_600_000;

const NOBODY: [IpAddr; 0] = [];

/// How a server answers.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// How far its clock is off.
    lie_ms: i64,
    /// The way to it and back.
    there_ms: u64,
    back_ms: u64,
    is_silent: bool,
    stratum: u8,
    reference: [u8; 4],
    root_dispersion: u32,
}

const HONEST: Manner = Manner {
    lie_ms: 0,
    there_ms: 10,
    back_ms: 10,
    is_silent: false,
    stratum: 2,
    reference: *b"GPS\0",
    root_dispersion: 0x100,
};
const SILENT: Manner = Manner {
    is_silent: true,
    ..HONEST
};

fn liar(lie_ms: i64) -> Manner {
    Manner { lie_ms, ..HONEST }
}

fn kiss(code: [u8; 4]) -> Manner {
    Manner {
        stratum: 0,
        reference: code,
        ..HONEST
    }
}

/// A client and the network around it.
struct Net {
    machine: Machine<Box<dyn FnMut() -> u32>>,
    now_ms: u64,
    servers: BTreeMap<IpAddr, Manner>,
    /// What the names resolve to.
    found: Vec<Vec<IpAddr>>,
    /// Whom the last round asked.
    asked: Vec<IpAddr>,
    samples: Vec<(u64, u64)>,
}

fn server(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))
}

fn ntp(unix_ms: i64) -> u64 {
    let ms = i128::from(unix_ms) + 2_208_988_800_000;
    u64::try_from(((ms << 32) / 1000).rem_euclid(1 << 64)).unwrap()
}

fn answer(nonce: u64, manner: Manner, received_unix_ms: i64) -> Vec<u8> {
    let mut octets = vec![0; message::OCTETS];
    octets[..2].copy_from_slice(&[0b00_100_100, manner.stratum]);
    octets[8..12].copy_from_slice(&manner.root_dispersion.to_be_bytes());
    octets[12..16].copy_from_slice(&manner.reference);
    octets[24..32].copy_from_slice(&nonce.to_be_bytes());
    octets[32..40].copy_from_slice(&ntp(received_unix_ms + manner.lie_ms).to_be_bytes());
    octets[40..].copy_from_slice(&ntp(received_unix_ms + manner.lie_ms).to_be_bytes());
    octets
}

/// The true time.
fn unix_ms(boot_ms: u64) -> i64 {
    (BOOT_UNIX_MS + boot_ms).cast_signed()
}

impl Net {
    /// Four names with a server each.
    fn new(manners: [Manner; 4]) -> Self {
        let servers = (1..).map(server).zip(manners).collect();
        Self::of(servers, (1..=4).map(|last| vec![server(last)]).collect())
    }

    fn of(servers: BTreeMap<IpAddr, Manner>, found: Vec<Vec<IpAddr>>) -> Self {
        let next = Rc::new(Cell::new(1_u32));
        let random = move || next.replace(next.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let mut machine = Machine::new(PIVOT, Box::new(random) as Box<dyn FnMut() -> u32>);
        machine.set_online(true, 1_000);
        Self {
            machine,
            now_ms: 1_000,
            servers,
            found,
            asked: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// A network whose DHCP names these servers, and where no name resolves.
    fn own(manners: &[Manner]) -> Self {
        let servers: BTreeMap<_, _> = (1..).map(server).zip(manners.iter().copied()).collect();
        let mut net = Self::of(servers.clone(), vec![Vec::new(); 4]);
        net.set_own(servers.keys().copied());
        net
    }

    fn set_own(&mut self, servers: impl IntoIterator<Item = IpAddr>) {
        let own: Vec<Ipv4Addr> = servers
            .into_iter()
            .map(|server| match server {
                IpAddr::V4(server) => server,
                IpAddr::V6(_) => panic!("option 42 is of IPv4"),
            })
            .collect();
        self.machine.set_servers(&own, self.now_ms);
    }

    /// Lets the next round happen, to its end; the time waited before it.
    fn round(&mut self) -> u64 {
        let before_ms = self.now_ms;
        self.now_ms = self.machine.deadline_ms().unwrap();
        let waited_ms = self.now_ms - before_ms;
        let mut actions = self.machine.tick(self.now_ms);
        if actions == [Action::Resolve(&NAMES)] {
            self.now_ms += 5;
            actions = self.machine.resolved(&self.found, self.now_ms);
        }
        self.asked.clear();
        let mut answers = BTreeMap::new();
        for action in actions {
            let Action::Send(to, octets) = action else {
                panic!("{action:?}")
            };
            self.asked.push(to);
            let manner = self.servers.get(&to).copied().unwrap_or(SILENT);
            if manner.is_silent {
                continue;
            }
            let nonce = u64::from_be_bytes(*octets[40..].first_chunk().unwrap());
            let arrives_ms = self.now_ms + manner.there_ms + manner.back_ms;
            let received = unix_ms(self.now_ms + manner.there_ms);
            answers.insert((arrives_ms, to), answer(nonce, manner, received));
        }
        for ((at_ms, from), octets) in answers {
            if self.machine.deadline_ms().unwrap() <= at_ms {
                break;
            }
            self.now_ms = at_ms;
            let actions = self.machine.receive(from, &octets, at_ms).unwrap();
            self.take(&actions);
        }
        if matches!(self.machine.state, State::Asking { .. }) {
            self.now_ms = self.machine.deadline_ms().unwrap();
            let actions = self.machine.tick(self.now_ms);
            self.take(&actions);
        }
        waited_ms
    }

    fn take(&mut self, actions: &[Action]) {
        for action in actions {
            let Action::Sample { unix_ms, boot_ms } = action else {
                panic!("{action:?}")
            };
            self.samples.push((*unix_ms, *boot_ms));
        }
    }

    /// How wrong the samples are that came so far.
    fn errors(&self) -> Vec<i64> {
        let error = |&(told_ms, boot_ms): &(u64, u64)| told_ms.cast_signed() - unix_ms(boot_ms);
        self.samples.iter().map(error).collect()
    }
}

fn check(manners: [Manner; 4], expected: &[i64]) {
    let mut net = Net::new(manners);
    net.round();
    assert_eq!(net.asked.len(), 4);
    let errors = net.errors();
    assert_eq!(errors.len(), expected.len(), "{manners:?}: {errors:?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!((error - expected).abs() <= 2, "{manners:?}: {errors:?}");
    }
}

#[test]
fn four_servers_that_agree_give_a_sample_at_once() {
    let mut net = Net::new([HONEST; 4]);
    assert_eq!(net.machine.deadline_ms(), Some(1_000));
    net.round();
    assert_eq!(net.errors(), [0]);
    // 5 ms for the names, 20 ms for the answers; no waiting for the end of the round.
    assert_eq!(net.samples[0].1, 1_025);
}

#[test]
fn a_liar_or_a_silent_one_among_four_is_outvoted() {
    for lie_ms in [-40 * 365 * 86_400_000, -5_000, 1_500, 86_400_000] {
        check([HONEST, liar(lie_ms), HONEST, HONEST], &[0]);
    }
    check([HONEST, HONEST, HONEST, SILENT], &[0]);
}

#[test]
fn two_liars_of_four_give_no_sample() {
    check([HONEST, liar(5_000), liar(5_000), HONEST], &[]);
    check([HONEST, liar(5_000), SILENT, HONEST], &[]);
    check([HONEST, SILENT, SILENT, HONEST], &[]);
}

#[test]
fn a_way_that_is_all_on_one_side_makes_at_most_half_a_second() {
    let aside = Manner {
        there_ms: 1_000,
        back_ms: 0,
        ..HONEST
    };
    check([aside; 4], &[500]);
    let aside = Manner {
        there_ms: 0,
        back_ms: 1_000,
        ..HONEST
    };
    check([aside; 4], &[-500]);
    let too_slow = Manner {
        there_ms: 1_001,
        back_ms: 0,
        ..HONEST
    };
    check([too_slow; 4], &[]);
    check([too_slow, HONEST, HONEST, HONEST], &[0]);
}

#[test]
fn servers_that_are_not_sure_themselves_do_not_count() {
    for spoil in [
        Manner {
            stratum: 16,
            ..HONEST
        },
        Manner { stratum: 0, ..HONEST },
        // 1.5 s is believed, more is not.
        Manner {
            root_dispersion: 0x0001_8100,
            ..HONEST
        },
    ] {
        check([spoil, spoil, HONEST, HONEST], &[]);
        check([spoil, HONEST, HONEST, HONEST], &[0]);
    }
    let barely = Manner {
        root_dispersion: 0x0001_8000,
        ..HONEST
    };
    check([barely; 4], &[0]);
}

#[test]
fn an_answer_that_was_kept_longer_than_it_was_away_is_nothing() {
    assert_eq!(delay_ms(0, 100, Timestamp(0), Timestamp(1 << 32)), None);
    // Sent before it came, by a second and by a quarter of one.
    assert_eq!(delay_ms(0, 100, Timestamp(1 << 32), Timestamp(0)), None);
    assert_eq!(delay_ms(0, 100, Timestamp(1 << 30), Timestamp(0)), None);
    assert_eq!(delay_ms(0, 1_100, Timestamp(0), Timestamp(1 << 32)), Some(100));
    assert_eq!(delay_ms(0, 999, Timestamp(0), Timestamp(1 << 32)), Some(0));
    assert_eq!(delay_ms(0, u64::MAX, Timestamp(0), Timestamp(0)), None);
    assert_eq!(delay_ms(5, 0, Timestamp(0), Timestamp(0)), Some(0));
}

#[test]
fn the_servers_of_the_network_are_asked_and_all_have_to_agree() {
    for (manners, expected) in [
        (&[HONEST][..], 1),
        (&[HONEST, HONEST], 1),
        (&[HONEST, HONEST, HONEST], 1),
        (&[HONEST, liar(3_000)], 0),
        (&[HONEST, SILENT], 0),
        (&[HONEST, HONEST, liar(3_000)], 0),
        (&[HONEST, HONEST, SILENT], 0),
        (&[SILENT], 0),
        (&[HONEST, HONEST, HONEST, liar(3_000)], 1),
        (&[HONEST, HONEST, liar(-3_000), liar(3_000)], 0),
    ] {
        let mut net = Net::own(manners);
        net.round();
        assert_eq!(
            (net.asked.len(), net.samples.len()),
            (manners.len(), expected),
            "{manners:?}"
        );
    }
    // Of six the first four.
    let mut net = Net::own(&[HONEST; 6]);
    net.round();
    assert_eq!(net.asked, [1, 2, 3, 4].map(server));
}

#[test]
fn when_the_servers_of_the_network_keep_failing_the_names_are_asked() {
    let mut net = Net::new([HONEST; 4]);
    net.set_own([server(77)]);
    let mut asked = Vec::new();
    for _ in 0..8 {
        net.round();
        asked.push(net.asked.clone());
    }
    let names = [1, 2, 3, 4].map(server);
    assert_eq!(asked[..3], [[server(77)]; 3]);
    // In the fourth round it is their turn again, then three times the names'.
    assert_eq!(asked[3], [server(77)]);
    assert_eq!(asked[4..7], [names; 3]);
    assert_eq!(asked[7], [server(77)]);
    assert_eq!(net.samples.len(), 3);
    // It comes back, and is the only one asked from then on.
    net.servers.insert(server(77), HONEST);
    for _ in 0..4 {
        net.round();
    }
    net.round();
    assert_eq!(net.asked, [server(77)]);
    net.round();
    assert_eq!(net.asked, [server(77)]);
}

#[test]
fn fewer_than_three_servers_by_name_are_not_even_asked() {
    let mut net = Net::of(
        BTreeMap::new(),
        vec![vec![server(1)], vec![server(1), server(2)], vec![], vec![]],
    );
    net.round();
    assert_eq!(net.asked, NOBODY);
    assert!(net.machine.deadline_ms().unwrap() >= net.now_ms + RETRY_MS_FIRST);
}

#[test]
fn servers_are_taken_from_different_names_first() {
    let all = vec![
        vec![server(1), server(2), server(3)],
        vec![server(1), server(11)],
        vec![],
        vec![server(31)],
    ];
    let mut net = Net::of(BTreeMap::new(), all);
    net.round();
    assert_eq!(net.asked, [1, 31, 2, 11].map(server));
    // Of the pool's names one alone has IPv6.
    let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    let mut net = Net::of(
        BTreeMap::new(),
        vec![vec![], vec![], (1..=4).map(v6).collect(), vec![]],
    );
    net.round();
    assert_eq!(net.asked, [1, 2, 3, 4].map(v6));
}

#[test]
fn polls_are_quick_at_first_then_every_17_to_34_minutes() {
    let mut net = Net::new([HONEST; 4]);
    net.round();
    assert_eq!(net.round(), CONFIRM_MS);
    let mut waits = Vec::new();
    for _ in 0..50 {
        waits.push(net.round() / 60_000);
    }
    assert!(
        waits.iter().all(|minutes| (17..=34).contains(minutes)),
        "{waits:?}"
    );
    assert!(
        waits.iter().min() < Some(&22) && waits.iter().max() > Some(&29),
        "{waits:?}"
    );
    assert_eq!(net.errors(), [0; 52]);
}

#[test]
fn rounds_without_a_sample_back_off_to_the_same_interval() {
    let mut net = Net::new([SILENT; 4]);
    assert_eq!(net.round(), 0);
    for seconds in [16, 32, 64, 128, 256, 512, 1024, 1024, 1024] {
        let waited = net.round() / 1000;
        assert!(
            (seconds..=seconds * 5 / 4).contains(&waited),
            "{seconds}: {waited}"
        );
    }
    // Once it answers, there is soon a second sample.
    net.servers = (1..=4).map(|last| (server(last), HONEST)).collect();
    net.round();
    assert_eq!(net.round(), CONFIRM_MS);
}

/// RFC 5905 §7.4.
#[test]
fn a_server_that_is_asked_too_often_slows_us_down() {
    let mut net = Net::new([HONEST, HONEST, kiss(*b"RATE"), HONEST]);
    net.round();
    assert_eq!(net.errors(), [0]);
    assert_eq!(net.round(), 2 * CONFIRM_MS);
    for times in [4, 8, 8, 8] {
        let minutes = net.round() / 60_000;
        assert!((17 * times..=35 * times).contains(&minutes), "{times}: {minutes}");
    }
    net.servers.insert(server(3), HONEST);
    net.round();
    for times in [4, 2, 1, 1] {
        let minutes = net.round() / 60_000;
        assert!((17 * times..=35 * times).contains(&minutes), "{times}: {minutes}");
    }
}

#[test]
fn a_server_that_denies_is_not_asked_again() {
    for code in [*b"DENY", *b"RSTR"] {
        let mut net = Net::new([HONEST, HONEST, kiss(code), HONEST]);
        net.found[2].push(server(5));
        net.servers.insert(server(5), HONEST);
        net.round();
        assert_eq!(net.asked, [1, 2, 3, 4].map(server));
        net.round();
        assert_eq!(net.asked, [1, 2, 4, 5].map(server));
        assert_eq!(net.errors(), [0, 0]);
    }
    let mut net = Net::own(&[kiss(*b"DENY")]);
    net.round();
    net.round();
    assert_eq!(net.asked, NOBODY);
}

#[test]
fn the_list_of_those_who_denied_is_bounded() {
    let mut net = Net::new([kiss(*b"DENY"); 4]);
    for round in 0..10 {
        net.found = (0..4).map(|at| vec![server(10 + round * 4 + at)]).collect();
        net.servers = net.found.iter().map(|found| (found[0], kiss(*b"DENY"))).collect();
        net.round();
    }
    assert_eq!(net.machine.denied.len(), DENIED_MAX);
}

#[test]
fn a_forged_answer_changes_nothing() {
    let mut net = Net::own(&[HONEST]);
    let actions = net.machine.tick(1_000);
    let [Action::Send(to, octets)] = &actions[..] else {
        panic!("{actions:?}")
    };
    let nonce = u64::from_be_bytes(*octets[40..].first_chunk().unwrap());
    let good = answer(nonce, HONEST, unix_ms(1_010));
    let forged = answer(nonce ^ 1, liar(86_400_000), unix_ms(1_010));
    let machine = &mut net.machine;
    assert_eq!(machine.receive(*to, &forged, 1_010), Err(Malformed));
    assert_eq!(machine.receive(server(99), &good, 1_010), Err(Malformed));
    assert_eq!(machine.receive(*to, octets, 1_010), Err(Malformed));
    assert_eq!(machine.receive(*to, &good[..47], 1_010), Err(Malformed));
    // A kiss of death is believed no more than an answer.
    let death = answer(nonce ^ 1, kiss(*b"DENY"), 0);
    assert_eq!(machine.receive(*to, &death, 1_010), Err(Malformed));
    let news = machine.receive(*to, &good, 1_020).unwrap();
    let unix_ms = BOOT_UNIX_MS + 1_020;
    assert_eq!(
        news,
        [Action::Sample {
            unix_ms,
            boot_ms: 1_020
        }]
    );
    // Sent again, it is too late.
    assert_eq!(machine.receive(*to, &good, 1_030), Ok(vec![]));
}

#[test]
fn a_second_answer_to_the_same_question_does_not_count() {
    let mut net = Net::own(&[HONEST, HONEST]);
    let actions = net.machine.tick(1_000);
    let Action::Send(to, octets) = &actions[0] else {
        panic!("{actions:?}")
    };
    let nonce = u64::from_be_bytes(*octets[40..].first_chunk().unwrap());
    let first = answer(nonce, HONEST, unix_ms(1_010));
    assert_eq!(net.machine.receive(*to, &first, 1_020), Ok(vec![]));
    assert_eq!(net.machine.receive(*to, &first, 1_030), Err(Malformed));
}

#[test]
fn the_time_is_right_across_the_end_of_the_era() {
    // 2036-02-07 06:28:15, one second before the roll-over: half of the servers answer after it.
    let mut net = Net::new([HONEST; 4]);
    let last = 2_085_978_495_990_i64;
    net.now_ms = net.machine.deadline_ms().unwrap();
    net.machine.tick(net.now_ms);
    let actions = net.machine.resolved(&net.found, net.now_ms);
    let mut news = Vec::new();
    for (action, later_ms) in actions.iter().zip([0, 5, 15, 20]) {
        let Action::Send(to, octets) = action else {
            panic!()
        };
        let nonce = u64::from_be_bytes(*octets[40..].first_chunk().unwrap());
        let octets = answer(nonce, HONEST, last + later_ms);
        news = net
            .machine
            .receive(*to, &octets, net.now_ms + later_ms.cast_unsigned())
            .unwrap();
    }
    let [Action::Sample { unix_ms, .. }] = news[..] else {
        panic!("{news:?}")
    };
    assert!(unix_ms.abs_diff(last.cast_unsigned() + 20) <= 10, "{unix_ms}");
}

#[test]
fn nothing_is_sent_without_an_address_and_rounds_keep_their_distance() {
    let mut net = Net::new([HONEST; 4]);
    net.round();
    net.machine.set_online(false, net.now_ms);
    assert_eq!(net.machine.deadline_ms(), None);
    assert_eq!(net.machine.tick(u64::MAX / 2), []);
    assert_eq!(net.machine.resolved(&net.found, net.now_ms), []);
    let began_ms = net.machine.began_ms.unwrap();
    net.machine.set_online(true, net.now_ms);
    assert_eq!(net.machine.deadline_ms(), Some(began_ms + RETRY_MS_FIRST));
    net.set_own([server(9)]);
    assert_eq!(net.machine.deadline_ms(), Some(began_ms + RETRY_MS_FIRST));
    net.machine.set_online(true, net.now_ms + 60_000);
    net.set_own([server(9)]);
    assert_eq!(net.machine.deadline_ms(), Some(began_ms + RETRY_MS_FIRST));
}

#[test]
fn names_that_do_not_resolve_in_time_are_a_round_without_a_sample() {
    let mut net = Net::new([HONEST; 4]);
    assert_eq!(net.machine.tick(1_000), [Action::Resolve(&NAMES)]);
    assert_eq!(net.machine.deadline_ms(), Some(1_000 + RESOLVE_MS_MAX));
    assert_eq!(net.machine.tick(1_000 + RESOLVE_MS_MAX), []);
    assert!(matches!(net.machine.state, State::Waiting { .. }));
    assert_eq!(net.machine.resolved(&net.found, 70_000), []);
}

/// One thing that happens to a client.
#[derive(Clone, Debug)]
enum Event {
    Round([Manner; 4]),
    Own(Vec<u8>),
    Online(bool),
    Wait(u64),
    Noise(u8, Vec<u8>),
}

fn manner() -> impl Strategy<Value = Manner> {
    let lie = prop_oneof![3 => Just(0), 1 => -3_000..3_000_i64, 1 => -10_000_000_000..10_000_000_000_i64];
    let code = prop_oneof![Just(*b"GPS\0"), Just(*b"RATE"), Just(*b"DENY")];
    (lie, 0..700_u64, 0..700_u64, any::<[bool; 4]>(), 0..17_u8, code).prop_map(
        |(lie_ms, there_ms, back_ms, silent, stratum, reference)| Manner {
            lie_ms,
            there_ms,
            back_ms,
            is_silent: silent == [true; 4],
            stratum: if silent[0] { stratum } else { 2 },
            reference,
            root_dispersion: 0,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (manner(), manner(), manner(), manner()).prop_map(|(a, b, c, d)| Event::Round([a, b, c, d])),
        1 => vec(0..6_u8, 0..6).prop_map(Event::Own),
        1 => any::<bool>().prop_map(Event::Online),
        1 => (0..3_000_000_u64).prop_map(Event::Wait),
        1 => (0..6_u8, vec(any::<u8>(), 0..60)).prop_map(|(from, octets)| Event::Noise(from, octets)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens: rounds keep their distance, at most four datagrams a round, and online there is always a next one.
    #[test]
    fn any_sequence_of_events_keeps_the_invariants(events in vec(event(), 0..30)) {
        let mut net = Net::new([HONEST; 4]);
        let mut began_ms = None;
        for event in events {
            match event {
                Event::Round(manners) if net.machine.deadline_ms().is_some() => {
                    net.servers = (1..).map(server).zip(manners).collect();
                    net.round();
                    prop_assert!(net.asked.len() <= SERVERS_MAX);
                    if let (Some(before), Some(now)) = (began_ms, net.machine.began_ms) {
                        prop_assert!(now >= before + RETRY_MS_FIRST);
                    }
                    began_ms = net.machine.began_ms;
                }
                Event::Round(_) => {}
                Event::Own(last) => net.set_own(last.into_iter().map(server)),
                Event::Online(is_online) => net.machine.set_online(is_online, net.now_ms),
                Event::Wait(ms) => {
                    if net.machine.deadline_ms().is_none_or(|deadline| net.now_ms + ms < deadline) {
                        net.now_ms += ms;
                    }
                }
                Event::Noise(from, octets) => {
                    let _ = net.machine.receive(server(from), &octets, net.now_ms);
                }
            }
            let is_offline = matches!(net.machine.state, State::Offline);
            prop_assert_eq!(is_offline, net.machine.deadline_ms().is_none());
        }
    }

    /// Three honest servers, with ways of up to half a second there and back, and a fourth that does what it likes.
    #[test]
    fn one_server_alone_never_makes_the_clock_wrong(
        ways in vec((0..500_u64, 0..500_u64), 3),
        stranger in manner(),
        at in 0..4_usize,
    ) {
        let mut manners: Vec<Manner> = ways
            .into_iter()
            .map(|(there_ms, back_ms)| Manner { there_ms, back_ms, ..HONEST })
            .collect();
        manners.insert(at, stranger);
        let mut net = Net::new(manners.try_into().unwrap());
        net.round();
        let errors = net.errors();
        prop_assert_eq!(errors.len(), 1);
        prop_assert!(errors[0].abs() <= DELAY_MS_MAX / 2 + 2, "{:?}", errors);
    }

    #[test]
    fn spoilt_answers_change_nothing_or_are_nothing(
        changes in vec((0..message::OCTETS, any::<u8>()), 1..5),
    ) {
        let mut net = Net::own(&[HONEST]);
        let actions = net.machine.tick(1_000);
        let Action::Send(to, octets) = &actions[0] else { panic!() };
        let nonce = u64::from_be_bytes(*octets[40..].first_chunk().unwrap());
        let mut octets = answer(nonce, HONEST, unix_ms(1_010));
        for (at, octet) in changes {
            octets[at] = octet;
        }
        let before_ms = net.machine.deadline_ms();
        if net.machine.receive(*to, &octets, 1_020).is_err() {
            prop_assert_eq!(net.machine.deadline_ms(), before_ms);
        } else {
            prop_assert!(matches!(net.machine.state, State::Waiting { .. }), "the round is over");
        }
    }
}
