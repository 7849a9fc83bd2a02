//! How often is asked.

use super::*;

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
