//! Who is counted as one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// What limits per address count: an IPv4 address, or the /64 of an IPv6 address, because one
/// subscriber has all of it (L5, D17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl Source {
    /// The source that `address` belongs to. An IPv4-mapped address is its IPv4 address.
    pub fn of(address: IpAddr) -> Source {
        Source(match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }

    /// Whether it is on a private network or this machine, which from outside nobody can be (RFC 1918,
    /// RFC 3927, RFC 4193, RFC 4291).
    pub fn is_local(self) -> bool {
        match self.0 {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            // The /64 of ::1 is ::.
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(text: &str) -> String {
        Source::of(text.parse().unwrap()).to_string()
    }

    /// L5
    #[test]
    fn l5_an_ipv6_subscriber_is_one_source() {
        assert_eq!(source("2001:db8:1:2:aaaa::1"), "2001:db8:1:2::/64");
        assert_eq!(source("2001:db8:1:2::ffff"), "2001:db8:1:2::/64");
        assert_eq!(source("2001:db8:1:3::1"), "2001:db8:1:3::/64");
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        assert_eq!(source("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn the_local_network_is_known() {
        for text in [
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.9",
            "127.0.0.1",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(Source::of(text.parse().unwrap()).is_local(), "{text}");
        }
        for text in ["192.0.2.1", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!Source::of(text.parse().unwrap()).is_local(), "{text}");
        }
    }
}
