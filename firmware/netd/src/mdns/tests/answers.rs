//! Who is told what, and when.

use super::*;

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

#[test]
fn of_very_many_questions_the_first_are_answered() {
    for (before, is_told) in [(0, true), (63, true), (64, false)] {
        let mut net = Net::established();
        let mut packet = Packet::new_query(0);
        packet.questions = vec![question("other.local", None); before];
        packet.questions.push(question(HOST, Some(TYPE::A)));
        net.hear(neighbour(), &packet);
        assert_eq!(!net.actions.is_empty(), is_told, "{before}");
    }
    // As many as the largest message holds.
    let mut net = Net::established();
    let mut packet = Packet::new_query(0);
    packet.questions = vec![question(HOST, None); 690];
    packet.answers = vec![record(HOST, 59, a(15)); 300];
    assert_eq!(net.hear(neighbour(), &packet).told().len(), 3);
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

/// What simple-dns has written, hickory-proto reads: class IN with the cache-flush bit, names, data.
#[test]
fn another_codec_reads_the_same() {
    use hickory_proto::op::Message;
    use hickory_proto::rr::{DNSClass, RData as HickoryData};

    let mut net = Net::probing();
    let mut heard = Vec::new();
    for _ in 0..4 {
        net.until_due();
        heard.push(net.actions[0].clone());
    }
    let read = |action: &Action| {
        let Action::Multicast(octets) = action else {
            panic!()
        };
        Message::from_vec(octets).unwrap()
    };
    let probe = read(&heard[0]);
    assert_eq!((probe.queries.len(), probe.authorities.len()), (2, 4));
    assert_eq!(probe.queries[0].name().to_string(), "postolka.local.");
    assert_eq!(u16::from(probe.queries[0].query_class()), 0x8001);
    let lines: Vec<String> = read(&heard[3])
        .answers
        .iter()
        .map(|record| {
            let class = match record.dns_class {
                DNSClass::IN => "shared",
                DNSClass::Unknown(0x8001) => "unique",
                _ => panic!("another class"),
            };
            let data = match &record.data {
                HickoryData::A(a) => a.0.to_string(),
                HickoryData::AAAA(aaaa) => aaaa.0.to_string(),
                HickoryData::PTR(target) => target.0.to_string(),
                HickoryData::SRV(server) => format!("{} {}", server.port, server.target),
                HickoryData::TXT(text) => format!("{:?}", text.txt_data),
                _ => panic!("another type"),
            };
            format!("{} {} {class} {data}", record.name, record.ttl)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "postolka.local. 120 unique 192.0.2.15",
            "15.2.0.192.in-addr.arpa. 120 unique postolka.local.",
            "postolka.local. 120 unique fe80::15",
            "5.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa. 120 unique postolka.local.",
            "postolka._https._tcp.local. 120 unique 443 postolka.local.",
            "postolka._https._tcp.local. 4500 unique [[]]",
            "_https._tcp.local. 4500 shared postolka._https._tcp.local.",
            "_services._dns-sd._udp.local. 4500 shared _https._tcp.local.",
        ]
    );
}
