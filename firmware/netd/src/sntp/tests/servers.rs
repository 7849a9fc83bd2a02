//! Who is asked, and who is believed.

use super::*;

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
