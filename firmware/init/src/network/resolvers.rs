//! Which DNS servers the programs of the box ask, and in which order. Pure.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Resolvers look at no more (`MAXNS` of resolv.h), and each that is dead costs a timeout.
const RESOLVERS_MAX: usize = 3;

/// A server, and the interface that it is on where its address alone does not say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolver {
    ip: IpAddr,
    interface: Option<String>,
}

/// What one card has learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned<'a> {
    pub(crate) interface: &'a str,
    /// By lease, or set.
    pub(crate) v4: &'a [Ipv4Addr],
    /// By router advertisements.
    pub(crate) v6: &'a [Ipv6Addr],
}

/// The servers to ask, best first: card by card, in each the two families by turns, so that one family that is broken
/// costs one timeout.
pub(crate) fn choose<'a>(cards: impl IntoIterator<Item = Learned<'a>>) -> Vec<Resolver> {
    let mut chosen: Vec<Resolver> = Vec::new();
    for card in cards {
        let most = card.v4.len().max(card.v6.len());
        for at in 0..most {
            let v4 = card.v4.get(at).map(|ip| Resolver {
                ip: IpAddr::from(*ip),
                interface: None,
            });
            let v6 = card.v6.get(at).map(|ip| Resolver {
                ip: IpAddr::from(*ip),
                interface: ip.is_unicast_link_local().then(|| card.interface.to_owned()),
            });
            for resolver in v4.into_iter().chain(v6) {
                if !chosen.contains(&resolver) {
                    chosen.push(resolver);
                }
            }
        }
    }
    chosen.truncate(RESOLVERS_MAX);
    chosen
}

/// As resolv.conf(5) has it.
pub(super) fn resolv_conf(resolvers: &[Resolver]) -> String {
    let mut text = String::new();
    for Resolver { ip, interface } in resolvers {
        let scope = interface
            .as_ref()
            .map_or(String::new(), |name| format!("%{name}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "nameserver {ip}{scope}");
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(cards: &[(&str, &[&str], &[&str])], expected: &[&str]) {
        let owned: Vec<(&str, Vec<Ipv4Addr>, Vec<Ipv6Addr>)> = cards
            .iter()
            .map(|(interface, v4, v6)| {
                let v4 = v4.iter().map(|ip| ip.parse().unwrap()).collect();
                let v6 = v6.iter().map(|ip| ip.parse().unwrap()).collect();
                (*interface, v4, v6)
            })
            .collect();
        let learned = owned
            .iter()
            .map(|(interface, v4, v6)| Learned { interface, v4, v6 });
        let text = resolv_conf(&choose(learned));
        let lines: Vec<&str> = text.lines().collect();
        let expected: Vec<String> = expected.iter().map(|ip| format!("nameserver {ip}")).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_two_families_take_turns_and_three_are_enough() {
        check(
            &[(
                "eth0",
                &["192.0.2.1", "192.0.2.2"],
                &["2001:db8::1", "2001:db8::2"],
            )],
            &["192.0.2.1", "2001:db8::1", "192.0.2.2"],
        );
        check(&[("eth0", &[], &["2001:db8::1"])], &["2001:db8::1"]);
        check(&[("eth0", &["192.0.2.1"], &[])], &["192.0.2.1"]);
        check(&[], &[]);
    }

    #[test]
    fn the_first_card_comes_first_and_nobody_is_asked_twice() {
        check(
            &[
                ("eth0", &["192.0.2.1"], &[]),
                ("eth1", &["192.0.2.1", "198.51.100.1"], &["2001:db8::1"]),
            ],
            &["192.0.2.1", "2001:db8::1", "198.51.100.1"],
        );
    }

    #[test]
    fn a_link_local_server_is_named_with_its_link() {
        check(
            &[("eth0", &[], &["fe80::1"]), ("eth1", &[], &["fe80::1"])],
            &["fe80::1%eth0", "fe80::1%eth1"],
        );
    }
}
