//! Where the box stands: what it is called, and which networks it is on.

use axum::http::uri::Authority;
use std::net::IpAddr;

/// Names and networks of the box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    names: Vec<String>,
    addresses: Vec<(IpAddr, u8)>,
}

/// What a self-made certificate and mDNS call every box until it has a name of its own.
const COMMON_NAMES: [&str; 2] = ["localhost", "postolka.local"];

impl Place {
    /// A box with these full names and these addresses, each with the length of its network's prefix. A name of one
    /// label is also one of mDNS (RFC 6762 §3).
    pub fn new(names: impl IntoIterator<Item = String>, addresses: Vec<(IpAddr, u8)>) -> Place {
        let mut all: Vec<String> = COMMON_NAMES.map(str::to_owned).to_vec();
        for name in names {
            let name = name.to_ascii_lowercase();
            if !name.contains('.') {
                all.push(format!("{name}.local"));
            }
            all.push(name);
        }
        all.sort_unstable();
        all.dedup();
        Place {
            names: all,
            addresses,
        }
    }

    /// H6, AW14: whether a request for this host is one for this box. The port does not matter: the box may be behind
    /// a router that has it on another.
    pub(crate) fn is_called(&self, host: &Authority) -> bool {
        let host = host.host().trim_end_matches('.').to_ascii_lowercase();
        let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match literal.unwrap_or(&host).parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || self.addresses.iter().any(|(own, _)| *own == address),
            Err(_) => self.names.contains(&host),
        }
    }

    /// AX2: whether a peer is on a network the box itself is on. Nobody but the box has a loopback address.
    pub(crate) fn has_neighbour(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        peer.is_loopback()
            || self
                .addresses
                .iter()
                .any(|(own, prefix)| shares_network(*own, peer, *prefix))
    }
}

/// A prefix of no octet is no network: everybody would be in it.
fn shares_network(own: IpAddr, peer: IpAddr, prefix: u8) -> bool {
    let (difference, width) = match (own, peer) {
        (IpAddr::V4(own), IpAddr::V4(peer)) => (u128::from(u32::from(own) ^ u32::from(peer)) << 96, 32),
        (IpAddr::V6(own), IpAddr::V6(peer)) => (u128::from(own) ^ u128::from(peer), 128),
        _ => return false,
    };
    (8..=width).contains(&prefix) && difference.leading_zeros() >= u32::from(prefix)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn place() -> Place {
        let addresses = vec![
            ("192.0.2.5".parse().unwrap(), 24),
            ("2001:db8::5".parse().unwrap(), 64),
            ("fe80::5".parse().unwrap(), 64),
            ("203.0.113.9".parse().unwrap(), 0),
        ];
        Place::new(["Mail.Firma.cz".to_owned(), "schranka".to_owned()], addresses)
    }

    /// H6, AW14
    #[test]
    fn h6_the_box_answers_to_its_names_and_addresses_only() {
        for host in [
            "mail.firma.cz",
            "MAIL.firma.CZ.",
            "schranka",
            "schranka.local:8443",
            "localhost",
            "postolka.local",
            "192.0.2.5",
            "192.0.2.5:443",
            "[2001:db8::5]:443",
            "127.0.0.1:20443",
            "[::1]",
        ] {
            assert!(place().is_called(&host.parse().unwrap()), "{host}");
        }
        for host in [
            "evil.test",
            "firma.cz",
            "192.0.2.6",
            "mail.firma.cz.evil.test",
            "[2001:db8::6]",
        ] {
            assert!(!place().is_called(&host.parse().unwrap()), "{host}");
        }
    }

    /// AX2
    #[test]
    fn ax2_only_whoever_is_on_a_network_of_the_box_is_a_neighbour() {
        for peer in [
            "192.0.2.1",
            "::ffff:192.0.2.200",
            "2001:db8::1:2:3:4",
            "fe80::1",
            "127.0.0.1",
            "::1",
        ] {
            assert!(place().has_neighbour(peer.parse().unwrap()), "{peer}");
        }
        for peer in [
            "192.0.3.1",
            "198.51.100.1",
            "2001:db8:0:1::1",
            "fe80:0:0:1::1",
            "10.0.0.1",
        ] {
            assert!(!place().has_neighbour(peer.parse().unwrap()), "{peer}");
        }
        let whole = Place::new(
            [],
            vec![("10.1.2.3".parse().unwrap(), 32), ("::9".parse().unwrap(), 128)],
        );
        assert!(whole.has_neighbour("10.1.2.3".parse().unwrap()));
        assert!(!whole.has_neighbour("10.1.2.2".parse().unwrap()));
        assert!(!whole.has_neighbour("::8".parse().unwrap()));
    }
}
