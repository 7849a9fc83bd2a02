//! How a name is got, defended, lost and given back.

use super::*;

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
