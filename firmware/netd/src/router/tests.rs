//! Routers come, go, disagree and shout.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use handoff::{FromNetd, Message};
use proptest::collection::vec;
use proptest::prelude::*;

use super::message::tests::{advertisement, rdnss};
use super::*;

fn router(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
}

fn server(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

/// A machine that was heard before: it does not solicit.
fn machine() -> Machine {
    let mut machine = Machine::new(0, 0);
    assert_eq!(
        machine.receive(router(99), 255, &advertisement(&[]), 0),
        Ok(vec![])
    );
    assert_eq!(machine.deadline_ms(), None);
    machine
}

fn hear(machine: &mut Machine, from: u16, seconds: u32, servers: &[u16], now_ms: u64) -> Vec<Action> {
    let servers: Vec<Ipv6Addr> = servers.iter().copied().map(server).collect();
    let octets = advertisement(&[rdnss(seconds, &servers)]);
    machine.receive(router(from), 255, &octets, now_ms).unwrap()
}

fn told(servers: &[u16], seconds: u32) -> Vec<Action> {
    vec![Action::Resolvers {
        dns: servers.iter().copied().map(server).collect(),
        seconds,
    }]
}

#[test]
fn the_servers_of_a_router_are_told_and_expire() {
    let mut machine = machine();
    assert_eq!(hear(&mut machine, 1, 600, &[1, 2], 1_000), told(&[1, 2], 600));
    assert_eq!(machine.deadline_ms(), Some(601_000));
    assert_eq!(machine.tick(600_999), []);
    assert_eq!(machine.tick(601_000), told(&[], LEASE_SECONDS_FOREVER));
    assert_eq!(machine.deadline_ms(), None);
}

#[test]
fn the_same_again_is_told_at_half_time_even_when_no_other_comes() {
    let mut machine = machine();
    hear(&mut machine, 1, 600, &[1], 0);
    assert_eq!(hear(&mut machine, 1, 600, &[1], 200_000), []);
    assert_eq!(machine.deadline_ms(), Some(300_000));
    assert_eq!(machine.tick(300_000), told(&[1], 500));
    assert_eq!(machine.deadline_ms(), Some(800_000));
    assert_eq!(hear(&mut machine, 1, 600, &[1], 700_000), told(&[1], 600));
}

#[test]
fn a_lifetime_of_zero_takes_a_server_back_at_once() {
    let mut machine = machine();
    hear(&mut machine, 1, 600, &[1, 2], 0);
    assert_eq!(hear(&mut machine, 1, 0, &[1], 5_000), told(&[2], 595));
    assert_eq!(
        hear(&mut machine, 1, 0, &[2], 10_000),
        told(&[], LEASE_SECONDS_FOREVER)
    );
    // What was never told need not be taken back.
    assert_eq!(hear(&mut machine, 1, 0, &[3], 15_000), []);
}

#[test]
fn a_server_may_stay_for_ever_and_later_no_longer() {
    let mut machine = machine();
    let forever = told(&[1], LEASE_SECONDS_FOREVER);
    assert_eq!(hear(&mut machine, 1, u32::MAX, &[1], 0), forever);
    assert_eq!(machine.deadline_ms(), None);
    assert_eq!(hear(&mut machine, 1, u32::MAX, &[1], 5_000), []);
    assert_eq!(hear(&mut machine, 1, 60, &[1], 10_000), told(&[1], 60));
    assert_eq!(hear(&mut machine, 1, u32::MAX, &[1], 20_000), []);
    assert_eq!(machine.tick(40_000), forever);
    // The longest lifetime that ends.
    let longest = u32::MAX - 1;
    assert_eq!(hear(&mut machine, 1, longest, &[1], 50_000), told(&[1], longest));
}

#[test]
fn a_shorter_lifetime_is_told_at_once() {
    let mut machine = machine();
    hear(&mut machine, 1, 600, &[1], 0);
    assert_eq!(hear(&mut machine, 1, 30, &[1], 5_000), told(&[1], 30));
}

#[test]
fn each_of_several_routers_has_a_server_among_the_four() {
    let mut machine = machine();
    hear(&mut machine, 1, 600, &[1, 2, 3, 4, 5], 0);
    assert_eq!(
        hear(&mut machine, 2, 300, &[21, 22], 10_000),
        told(&[1, 21, 2, 22], 300)
    );
    // The second goes, and the third and fourth of the first are back.
    assert_eq!(
        hear(&mut machine, 2, 0, &[21, 22], 20_000),
        told(&[1, 2, 3, 4], 580)
    );
}

#[test]
fn a_server_stays_as_long_as_one_router_tells_of_it() {
    let mut machine = machine();
    hear(&mut machine, 1, 100, &[1], 0);
    assert_eq!(hear(&mut machine, 2, 600, &[1], 10_000), []);
    assert_eq!(hear(&mut machine, 1, 0, &[1], 20_000), []);
    assert_eq!(machine.tick(50_000), told(&[1], 560));
    assert_eq!(machine.tick(610_000), told(&[], LEASE_SECONDS_FOREVER));
}

#[test]
fn addresses_that_are_none_of_a_server_elsewhere_are_left_out() {
    let mut machine = machine();
    let nowhere: Vec<Ipv6Addr> = ["fe80::1", "::", "::1", "ff02::fb", "::ffff:192.0.2.1"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    let octets = advertisement(&[rdnss(600, &nowhere)]);
    assert_eq!(machine.receive(router(1), 255, &octets, 0), Ok(vec![]));
    let unique_local: Ipv6Addr = "fd00::1".parse().unwrap();
    let octets = advertisement(&[rdnss(600, &[nowhere[0], unique_local])]);
    let expected = Action::Resolvers {
        dns: vec![unique_local],
        seconds: 600,
    };
    assert_eq!(machine.receive(router(1), 255, &octets, 0), Ok(vec![expected]));
}

#[test]
fn what_a_router_has_forwarded_or_no_router_has_sent_changes_nothing() {
    let mut machine = machine();
    let octets = advertisement(&[rdnss(600, &[server(1)])]);
    for (source, hop_limit) in [
        (router(1), 254),
        (router(1), 0),
        (server(9), 255),
        (Ipv6Addr::UNSPECIFIED, 255),
    ] {
        assert_eq!(machine.receive(source, hop_limit, &octets, 0), Err(Malformed));
    }
    assert_eq!(machine.receive(router(1), 255, &octets[1..], 0), Err(Malformed));
    assert_eq!(machine.deadline_ms(), None);
}

#[test]
fn many_routers_fill_a_bounded_list_and_init_hears_once_a_second() {
    let mut machine = machine();
    let mut news = 0;
    for at in 0..10_000_u16 {
        let actions = hear(&mut machine, at, 600, &[at, at + 1], u64::from(at));
        news += actions.len();
        // And the oldest is withdrawn again, so that the list does change.
        news += hear(
            &mut machine,
            at.saturating_sub(3),
            0,
            &[at.saturating_sub(3)],
            u64::from(at),
        )
        .len();
        assert!(machine.entries.len() <= ENTRIES_MAX);
    }
    assert!((2..=10).contains(&news), "{news}");
}

#[test]
fn three_solicitations_are_sent_when_no_router_is_heard() {
    let mut machine = Machine::new(2_500, 10_000);
    let solicit = [Action::Solicit([133, 0, 0, 0, 0, 0, 0, 0])];
    assert_eq!(machine.tick(10_000), []);
    for expected_ms in [11_500, 15_500, 19_500] {
        assert_eq!(machine.deadline_ms(), Some(expected_ms));
        assert_eq!(machine.tick(expected_ms), solicit);
    }
    assert_eq!(machine.deadline_ms(), None);
}

#[test]
fn once_a_router_is_heard_none_is_solicited() {
    let mut machine = Machine::new(0, 0);
    assert_eq!(machine.tick(1_000).len(), 1);
    hear(&mut machine, 1, 600, &[1], 1_100);
    assert_eq!(machine.deadline_ms(), Some(601_100));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever routers say: what init believes is never longer than what a router said, never more than four, and news
    /// come at most once a second.
    #[test]
    fn what_is_told_is_what_some_router_said(
        events in vec(
            (
                1..4_u16,
                prop_oneof![Just(0), 1..5_u32, 1..2_000_u32, Just(u32::MAX)],
                vec(0..6_u16, 1..4),
                0..3_000_u64,
            ),
            0..25,
        ),
    ) {
        let mut machine = machine();
        let mut model = Model::default();
        let mut now_ms = 0;
        for (from, seconds, servers, wait_ms) in events {
            // Time passes from deadline to deadline.
            let until_ms = now_ms + wait_ms;
            while let Some(at_ms) = machine.deadline_ms().filter(|&at_ms| at_ms <= until_ms) {
                now_ms = now_ms.max(at_ms);
                model.check(machine.tick(now_ms), now_ms);
            }
            now_ms = until_ms;
            for &last in &servers {
                model.alive.insert((router(from), server(last)), end_ms(seconds, now_ms));
            }
            model.check(hear(&mut machine, from, seconds, &servers, now_ms), now_ms);
        }
        // In the end init learns the truth.
        while let Some(at_ms) = machine.deadline_ms() {
            now_ms = now_ms.max(at_ms);
            model.check(machine.tick(now_ms), now_ms);
        }
        prop_assert_eq!(model.known, machine.servers().0);
        let is_forever = |entry: &Entry| entry.expires_ms.is_none();
        prop_assert!(machine.entries.iter().all(is_forever));
    }
}

/// What the routers have said, and what init knows of it.
#[derive(Default)]
struct Model {
    /// Until when each router lets each server live.
    alive: BTreeMap<(Ipv6Addr, Ipv6Addr), u64>,
    known: Vec<Ipv6Addr>,
    last_ms: Option<u64>,
}

impl Model {
    fn check(&mut self, actions: Vec<Action>, at_ms: u64) {
        for action in actions {
            let Action::Resolvers { dns, seconds } = action else {
                panic!("{action:?}")
            };
            let news = FromNetd::Resolvers6 {
                dns: dns.iter().copied().collect(),
                seconds,
            };
            assert_eq!(FromNetd::decode(&news.encode()), Ok(news));
            assert!(self.last_ms.is_none_or(|last_ms| at_ms >= last_ms + NEWS_MS_MIN));
            self.last_ms = Some(at_ms);
            let until_ms = end_ms(seconds, at_ms);
            // A list that is empty holds until there is another.
            assert!(!dns.is_empty() || seconds == LEASE_SECONDS_FOREVER);
            for server in &dns {
                let of_server = self.alive.iter().filter(|((_, of), _)| of == server);
                let best_ms = of_server.map(|(_, &ends_ms)| ends_ms).max().unwrap();
                assert!(best_ms > at_ms);
                // Rounded up to the second.
                assert!(until_ms < best_ms.saturating_add(1_000), "{until_ms} {best_ms}");
            }
            self.known = dns;
        }
    }
}

fn end_ms(seconds: u32, now_ms: u64) -> u64 {
    match seconds {
        LEASE_SECONDS_FOREVER => u64::MAX - 1,
        seconds => now_ms + u64::from(seconds) * 1_000,
    }
}
