//! A router that advertises itself and a network (RFC 4861), and name servers with it (RFC 8106).

use std::net::Ipv6Addr;

use super::wire::{Mac, Station, icmp6_raw};

/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ADVERTISEMENT: u8 = 134;
const SOURCE_LINK_LAYER: u8 = 1;
const PREFIX: u8 = 3;
const RDNSS: u8 = 25;

/// What a router says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// For how long it is a default router; 0 takes it back.
    pub lifetime_seconds: u16,
    /// The network of 64 bits in which hosts make addresses of their own, and for how long.
    pub prefix: Option<(Ipv6Addr, u32)>,
    /// The name servers, and for how long.
    pub dns: Vec<Ipv6Addr>,
    /// For how long; 0 takes them back.
    pub dns_seconds: u32,
}

impl Router {
    /// The message, without a checksum.
    pub fn message(&self, mac: Mac) -> Vec<u8> {
        let mut octets = vec![ADVERTISEMENT, 0, 0, 0, 64, 0];
        octets.extend_from_slice(&self.lifetime_seconds.to_be_bytes());
        octets.extend_from_slice(&[0; 8]);
        octets.extend_from_slice(&[SOURCE_LINK_LAYER, 1]);
        octets.extend_from_slice(&mac);
        if let Some((prefix, seconds)) = self.prefix {
            // On the link, and for addresses that hosts make.
            octets.extend_from_slice(&[PREFIX, 4, 64, 0b1100_0000]);
            octets.extend_from_slice(&seconds.to_be_bytes());
            octets.extend_from_slice(&seconds.to_be_bytes());
            octets.extend_from_slice(&[0; 4]);
            octets.extend_from_slice(&prefix.octets());
        }
        if !self.dns.is_empty() {
            let words = u8::try_from(1 + 2 * self.dns.len()).expect("a router names a handful of servers");
            octets.extend_from_slice(&[RDNSS, words, 0, 0]);
            octets.extend_from_slice(&self.dns_seconds.to_be_bytes());
            octets.extend(self.dns.iter().flat_map(Ipv6Addr::octets));
        }
        octets
    }

    /// To everybody, as a frame.
    pub(super) fn advertisement(&self, router: Station) -> Vec<u8> {
        icmp6_raw(router, Station::group(ALL_NODES), 255, self.message(router.mac))
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{Icmpv6Packet, Icmpv6Repr, NdiscRepr};

    use super::*;

    #[test]
    fn another_program_reads_the_advertisement() {
        let router = Station::new([2, 0, 0, 0, 0, 1], Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 0);
        let frame = Router {
            lifetime_seconds: 1800,
            prefix: Some((prefix, 3600)),
            dns: vec![prefix],
            dns_seconds: 600,
        }
        .advertisement(router);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        let (std::net::IpAddr::V6(source), message) = (router.ip, &frame[14 + 40..]) else {
            panic!("a router with an address of IPv6");
        };
        let packet = Icmpv6Packet::new_checked(message).expect("its length");
        let repr = Icmpv6Repr::parse(&source, &ALL_NODES, &packet, &ChecksumCapabilities::default());
        let Ok(Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert {
            router_lifetime,
            prefix_info: Some(info),
            ..
        })) = repr
        else {
            panic!("{repr:?}");
        };
        assert_eq!(router_lifetime.secs(), 1800);
        assert_eq!((info.prefix, info.prefix_len), (prefix, 64));
        // RFC 8106 §5.1: type, length in eights, two reserved octets, lifetime, addresses.
        assert_eq!(message[16 + 8 + 32..][..8], [25, 3, 0, 0, 0, 0, 2, 88]);
    }
}
