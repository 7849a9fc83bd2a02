//! What `init` and `netd` tell each other.

use core::net::Ipv4Addr;

use heapless::Vec;

use crate::codec::{DecodeError, Message, Packet, Reader, Writer, ranged};
use crate::text::{self, InterfaceName};

/// The most DNS servers a lease names; resolvers look at three.
pub const DNS_MAX: usize = 4;
/// The least MTU taken from a lease. RFC 2132 §5.1 would have 68; but below 1280 the kernel switches IPv6 off on that
/// interface (RFC 8200 §5), which is not for a DHCPv4 server to decide.
pub const MTU_MIN: u16 = 1280;
/// The largest MTU taken from a lease: jumbo frames.
pub const MTU_MAX: u16 = 9216;
/// A lease that never ends (RFC 2131 §3.3).
pub const LEASE_SECONDS_FOREVER: u32 = u32::MAX;

/// init → netd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToNetd {
    /// Look for a lease on this interface. Beside it: an `AF_PACKET` socket bound to the interface, which receives
    /// only UDP to port 68, and a UDP socket on port 68 bound to the interface.
    Link {
        /// The kernel's number of the interface, 1 and up.
        index: u32,
        /// Its hardware address.
        mac: [u8; 6],
        /// Its name.
        name: InterfaceName,
    },
    /// Exit.
    Stop,
}

/// netd → init.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromNetd {
    /// A lease begins or is renewed.
    Lease(Lease),
    /// The lease has ended; its address must not be used any longer (RFC 2131 §4.4.5).
    LeaseLost,
}

/// A DHCPv4 lease as the server gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The length of the subnet prefix: 1 to 32.
    pub prefix: u8,
    /// The router, if the server named one.
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers, best first.
    pub dns: Vec<Ipv4Addr, DNS_MAX>,
    /// The MTU, [`MTU_MIN`] to [`MTU_MAX`], if the server named one.
    pub mtu: Option<u16>,
    /// How long the lease holds from now on, 1 and up; [`LEASE_SECONDS_FOREVER`] for ever.
    pub seconds: u32,
}

const LINK: u16 = 0x0301;
const STOP: u16 = 0x0302;

const LEASE: u16 = 0x0401;
const LEASE_LOST: u16 = 0x0402;

impl Message for ToNetd {
    fn encode(&self) -> Packet {
        let mut writer;
        match self {
            Self::Link { index, mac, name } => {
                writer = Writer::new(LINK);
                writer.u32(*index);
                writer.octets(mac);
                text::write(&mut writer, name.as_str());
            }
            Self::Stop => writer = Writer::new(STOP),
        }
        writer.finish()
    }

    fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = Reader::new(packet)?;
        let message = match kind {
            LINK => Self::Link {
                // The kernel's interface numbers are positive ints.
                index: ranged(reader.u32("index")?, 1..=i32::MAX.unsigned_abs(), "index")?,
                mac: reader.array("mac")?,
                name: text::read(&mut reader, "name", InterfaceName::new)?,
            },
            STOP => Self::Stop,
            other => return Err(DecodeError::Kind(other)),
        };
        reader.finish(message)
    }

    fn descriptors(&self) -> usize {
        match self {
            Self::Link { .. } => 2,
            Self::Stop => 0,
        }
    }
}

impl Message for FromNetd {
    fn encode(&self) -> Packet {
        let mut writer;
        match self {
            Self::Lease(lease) => {
                writer = Writer::new(LEASE);
                writer.v4(lease.address);
                writer.u8(lease.prefix);
                // 0.0.0.0 is no router, and 0 no MTU: absent.
                writer.v4(lease.gateway.unwrap_or(Ipv4Addr::UNSPECIFIED));
                writer.u16(lease.mtu.unwrap_or(0));
                writer.u32(lease.seconds);
                writer.length(lease.dns.len());
                for server in &lease.dns {
                    writer.v4(*server);
                }
            }
            Self::LeaseLost => writer = Writer::new(LEASE_LOST),
        }
        writer.finish()
    }

    fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = Reader::new(packet)?;
        let message = match kind {
            LEASE => Self::Lease(read_lease(&mut reader)?),
            LEASE_LOST => Self::LeaseLost,
            other => return Err(DecodeError::Kind(other)),
        };
        reader.finish(message)
    }
}

fn read_lease(reader: &mut Reader<'_>) -> Result<Lease, DecodeError> {
    let address = unicast(reader.v4("address")?, "address")?;
    let prefix = ranged(reader.u8("prefix")?, 1..=32, "prefix")?;
    let gateway = match reader.v4("gateway")? {
        Ipv4Addr::UNSPECIFIED => None,
        gateway => Some(unicast(gateway, "gateway")?),
    };
    let mtu = match reader.u16("mtu")? {
        0 => None,
        mtu => Some(ranged(mtu, MTU_MIN..=MTU_MAX, "mtu")?),
    };
    let seconds = ranged(reader.u32("seconds")?, 1..=LEASE_SECONDS_FOREVER, "seconds")?;
    let mut dns = Vec::new();
    for _ in 0..reader.u8("dns count")? {
        let server = unicast(reader.v4("dns")?, "dns")?;
        dns.push(server).map_err(|_| DecodeError::Field("dns count"))?;
    }
    Ok(Lease {
        address,
        prefix,
        gateway,
        dns,
        mtu,
        seconds,
    })
}

/// Whether one machine can have this address: not 0/8, not loopback, not multicast, reserved or broadcast (224/3).
pub fn is_unicast(address: Ipv4Addr) -> bool {
    matches!(address.octets()[0], 1..=126 | 128..=223)
}

fn unicast(address: Ipv4Addr, name: &'static str) -> Result<Ipv4Addr, DecodeError> {
    if is_unicast(address) {
        Ok(address)
    } else {
        Err(DecodeError::Field(name))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::PACKET_OCTETS;

    fn unicast_v4() -> impl Strategy<Value = Ipv4Addr> {
        (prop_oneof![1..=126_u8, 128..=223_u8], any::<[u8; 3]>())
            .prop_map(|(first, [b, c, d])| Ipv4Addr::new(first, b, c, d))
    }

    fn lease() -> impl Strategy<Value = Lease> {
        (
            unicast_v4(),
            1..=32_u8,
            option::of(unicast_v4()),
            vec(unicast_v4(), 0..=DNS_MAX),
            option::of(MTU_MIN..=MTU_MAX),
            1..=u32::MAX,
        )
            .prop_map(|(address, prefix, gateway, dns, mtu, seconds)| Lease {
                address,
                prefix,
                gateway,
                dns: dns.into_iter().collect(),
                mtu,
                seconds,
            })
    }

    fn link() -> impl Strategy<Value = ToNetd> {
        (1..=0x7fff_ffff_u32, any::<[u8; 6]>(), "[!-.0-~]{1,15}").prop_map(|(index, mac, name)| {
            ToNetd::Link {
                index,
                mac,
                name: InterfaceName::new(&name).unwrap(),
            }
        })
    }

    proptest! {
        #[test]
        fn what_init_encodes_netd_decodes(message in link()) {
            prop_assert_eq!(ToNetd::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn what_netd_encodes_init_decodes(message in lease().prop_map(FromNetd::Lease)) {
            prop_assert_eq!(FromNetd::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn random_bodies_are_refused_or_mean_one_thing(
            kind in prop_oneof![0x0300..0x0304_u16, 0x0400..0x0404_u16, any::<u16>()],
            body in vec(prop_oneof![2 => Just(0_u8), 1 => any::<u8>()], 0..PACKET_OCTETS - 8),
        ) {
            let mut packet = Writer::new(kind).finish();
            packet[8..8 + body.len()].copy_from_slice(&body);
            if let Ok(message) = ToNetd::decode(&packet) {
                prop_assert_eq!(message.encode(), packet);
            }
            if let Ok(message) = FromNetd::decode(&packet) {
                prop_assert_eq!(message.encode(), packet);
            }
        }

        #[test]
        fn random_octets_never_panic(octets in vec(any::<u8>(), 0..PACKET_OCTETS + 8)) {
            prop_assert!(ToNetd::decode(&octets).is_err());
            prop_assert!(FromNetd::decode(&octets).is_err());
        }
    }

    fn check(change: impl FnOnce(&mut Lease), expected: Option<&'static str>) {
        let mut lease = Lease {
            address: Ipv4Addr::new(192, 0, 2, 15),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
            dns: core::iter::once(Ipv4Addr::new(192, 0, 2, 1)).collect(),
            mtu: Some(1500),
            seconds: 3600,
        };
        change(&mut lease);
        let message = FromNetd::Lease(lease);
        let expected = match expected {
            None => Ok(message.clone()),
            Some(field) => Err(DecodeError::Field(field)),
        };
        assert_eq!(FromNetd::decode(&message.encode()), expected);
    }

    #[test]
    fn each_field_of_a_lease_is_range_checked() {
        check(|_| (), None);
        check(|lease| lease.address = Ipv4Addr::UNSPECIFIED, Some("address"));
        check(|lease| lease.address = Ipv4Addr::BROADCAST, Some("address"));
        check(
            |lease| lease.address = Ipv4Addr::new(224, 0, 0, 1),
            Some("address"),
        );
        check(|lease| lease.address = Ipv4Addr::LOCALHOST, Some("address"));
        check(|lease| lease.prefix = 0, Some("prefix"));
        check(|lease| lease.prefix = 33, Some("prefix"));
        check(
            |lease| lease.gateway = Some(Ipv4Addr::new(240, 0, 0, 1)),
            Some("gateway"),
        );
        check(|lease| lease.mtu = Some(1279), Some("mtu"));
        check(|lease| lease.mtu = Some(9217), Some("mtu"));
        check(|lease| lease.seconds = 0, Some("seconds"));
        check(|lease| lease.dns[0] = Ipv4Addr::LOCALHOST, Some("dns"));
    }

    #[test]
    fn more_dns_servers_than_fit_are_refused() {
        let mut packet = FromNetd::Lease(Lease {
            address: Ipv4Addr::new(192, 0, 2, 15),
            prefix: 24,
            gateway: None,
            dns: Vec::new(),
            mtu: None,
            seconds: 1,
        })
        .encode();
        packet[23] = 5;
        packet[24..44].fill(9);
        assert_eq!(FromNetd::decode(&packet), Err(DecodeError::Field("dns count")));
    }

    #[test]
    fn a_link_carries_two_descriptors() {
        let name = InterfaceName::new("eth0").unwrap();
        assert_eq!(
            ToNetd::Link {
                index: 1,
                mac: [2; 6],
                name
            }
            .descriptors(),
            2
        );
        assert_eq!(ToNetd::Stop.descriptors(), 0);
    }
}
