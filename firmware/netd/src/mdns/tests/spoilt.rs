//! Octets that nobody meant, and questions in any order.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

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
