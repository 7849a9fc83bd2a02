//! Whatever happens, in whatever order.

use super::*;

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
