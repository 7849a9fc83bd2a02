//! What `init` and `netd` tell each other.

use core::net::{Ipv4Addr, Ipv6Addr};

use heapless::Vec;

use crate::address::{
    self, Addresses, DNS_MAX, Ipv4Settings, read_dns, read_gateway, unicast, write_dns, write_gateway,
};
use crate::codec::{DecodeError, Message, Packet, Reader, Writer, ranged};
use crate::text::{self, HostName, InterfaceName};

/// The least MTU taken from a lease. RFC 2132 §5.1 would have 68; but below 1280 the kernel switches IPv6 off on that
/// interface (RFC 8200 §5), which is not for a DHCPv4 server to decide.
pub const MTU_MIN: u16 = 1280;
/// The largest MTU taken from a lease: jumbo frames.
pub const MTU_MAX: u16 = 9216;
/// The year 3000: no clock that anybody asks says more, and it leaves room to reckon with.
pub const UNIX_MS_MAX: u64 = 32_503_680_000_000;
/// A lease that never ends (RFC 2131 §3.3).
pub const LEASE_SECONDS_FOREVER: u32 = u32::MAX;

/// init → netd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToNetd {
    /// See to this interface. Beside it, all bound to the interface:
    ///
    /// 1. an `AF_PACKET` socket that receives only UDP to port 68,
    /// 2. a UDP socket on port 68,
    /// 3. an `AF_PACKET` socket that receives only ARP,
    /// 4. a raw `ICMPv6` socket that receives only router advertisements.
    Link {
        /// The kernel's number of the interface, 1 and up.
        index: u32,
        /// Its hardware address.
        mac: [u8; 6],
        /// Its name.
        name: InterfaceName,
        /// What the box is called now.
        host_name: HostName,
        /// How the interface gets its address. A static one is said back as a [`Lease`] for ever, once nobody else
        /// was found to use it.
        ipv4: Ipv4Settings,
    },
    /// The box is called this from now on.
    HostName(HostName),
    /// The addresses that the interface has from now on. A lease is of use once it is among them.
    Addresses(Addresses),
    /// All addresses that the box has, on whichever interface: who speaks from one of these is the box itself, and no
    /// stranger with its name.
    BoxAddresses(Addresses),
    /// Whether the box answers to its name (mDNS, AX3). It does not before it was told.
    Mdns {
        /// Whether it does.
        is_on: bool,
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
    /// Somebody else on the link uses an address that the box was given (RFC 5227).
    AddressConflict {
        /// The address.
        address: Ipv4Addr,
        /// Who uses it.
        mac: [u8; 6],
    },
    /// The DNS servers that routers advertise (RFC 8106), in place of those before.
    Resolvers6 {
        /// The servers, best first. None: there are none any more.
        dns: Vec<Ipv6Addr, DNS_MAX>,
        /// How long they hold from now on, 1 and up; [`LEASE_SECONDS_FOREVER`] for ever.
        seconds: u32,
    },
    /// What time it is, by enough servers that agree.
    TimeSample {
        /// Milliseconds since 1970, without leap seconds.
        unix_ms: u64,
        /// When that was, by `CLOCK_BOOTTIME`.
        boot_ms: u64,
    },
    /// Somebody else on the link has the name that the box was announced by (RFC 6762 §9): this one. Several cards may be on
    /// that link, and each says so.
    NameConflict(HostName),
    /// netd's loop has come round; said every few seconds.
    Alive,
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
const HOST_NAME: u16 = 0x0303;
const ADDRESSES: u16 = 0x0304;
const MDNS: u16 = 0x0305;
const BOX_ADDRESSES: u16 = 0x0306;

const LEASE: u16 = 0x0401;
const LEASE_LOST: u16 = 0x0402;
const ADDRESS_CONFLICT: u16 = 0x0403;
const RESOLVERS_6: u16 = 0x0404;
const TIME_SAMPLE: u16 = 0x0405;
const NAME_CONFLICT: u16 = 0x0406;
const NETD_ALIVE: u16 = 0x0407;

impl Message for ToNetd {
    fn encode(&self) -> Packet {
        let mut writer;
        match self {
            Self::Link {
                index,
                mac,
                name,
                host_name,
                ipv4,
            } => {
                writer = Writer::new(LINK);
                writer.u32(*index);
                writer.octets(mac);
                text::write(&mut writer, name.as_str());
                text::write(&mut writer, host_name.as_str());
                address::write_ipv4(&mut writer, ipv4);
            }
            Self::HostName(name) => {
                writer = Writer::new(HOST_NAME);
                text::write(&mut writer, name.as_str());
            }
            Self::Addresses(addresses) => {
                writer = Writer::new(ADDRESSES);
                address::write_addresses(&mut writer, addresses);
            }
            Self::BoxAddresses(addresses) => {
                writer = Writer::new(BOX_ADDRESSES);
                address::write_addresses(&mut writer, addresses);
            }
            Self::Mdns { is_on } => {
                writer = Writer::new(MDNS);
                writer.u8((*is_on).into());
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
                host_name: text::read(&mut reader, "host name", HostName::new)?,
                ipv4: address::read_ipv4(&mut reader)?,
            },
            HOST_NAME => Self::HostName(text::read(&mut reader, "host name", HostName::new)?),
            ADDRESSES => Self::Addresses(address::read_addresses(&mut reader)?),
            BOX_ADDRESSES => Self::BoxAddresses(address::read_addresses(&mut reader)?),
            MDNS => Self::Mdns {
                is_on: reader.flag("on")?,
            },
            STOP => Self::Stop,
            other => return Err(DecodeError::Kind(other)),
        };
        reader.finish(message)
    }

    fn descriptors(&self) -> usize {
        match self {
            Self::Link { .. } => 4,
            Self::HostName(_)
            | Self::Addresses(_)
            | Self::BoxAddresses(_)
            | Self::Mdns { .. }
            | Self::Stop => 0,
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
                write_gateway(&mut writer, lease.gateway);
                // 0 is no MTU: absent.
                writer.u16(lease.mtu.unwrap_or(0));
                writer.u32(lease.seconds);
                write_dns(&mut writer, &lease.dns);
            }
            Self::LeaseLost => writer = Writer::new(LEASE_LOST),
            Self::AddressConflict { address, mac } => {
                writer = Writer::new(ADDRESS_CONFLICT);
                writer.v4(*address);
                writer.octets(mac);
            }
            Self::Resolvers6 { dns, seconds } => {
                writer = Writer::new(RESOLVERS_6);
                writer.u32(*seconds);
                writer.length(dns.len());
                for server in dns {
                    writer.octets(&server.octets());
                }
            }
            Self::TimeSample { unix_ms, boot_ms } => {
                writer = Writer::new(TIME_SAMPLE);
                writer.u64(*unix_ms);
                writer.u64(*boot_ms);
            }
            Self::NameConflict(name) => {
                writer = Writer::new(NAME_CONFLICT);
                text::write(&mut writer, name.as_str());
            }
            Self::Alive => writer = Writer::new(NETD_ALIVE),
        }
        writer.finish()
    }

    fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = Reader::new(packet)?;
        let message = match kind {
            LEASE => Self::Lease(read_lease(&mut reader)?),
            LEASE_LOST => Self::LeaseLost,
            ADDRESS_CONFLICT => Self::AddressConflict {
                address: unicast(reader.v4("address")?, "address")?,
                mac: reader.array("mac")?,
            },
            RESOLVERS_6 => read_resolvers_6(&mut reader)?,
            TIME_SAMPLE => Self::TimeSample {
                unix_ms: ranged(reader.u64("time")?, 0..=UNIX_MS_MAX, "time")?,
                boot_ms: ranged(reader.u64("boot time")?, 0..=UNIX_MS_MAX, "boot time")?,
            },
            NAME_CONFLICT => Self::NameConflict(text::read(&mut reader, "host name", HostName::new)?),
            NETD_ALIVE => Self::Alive,
            other => return Err(DecodeError::Kind(other)),
        };
        reader.finish(message)
    }
}

fn read_lease(reader: &mut Reader<'_>) -> Result<Lease, DecodeError> {
    let address = unicast(reader.v4("address")?, "address")?;
    let prefix = ranged(reader.u8("prefix")?, 1..=32, "prefix")?;
    let gateway = read_gateway(reader)?;
    let mtu = match reader.u16("mtu")? {
        0 => None,
        mtu => Some(ranged(mtu, MTU_MIN..=MTU_MAX, "mtu")?),
    };
    let seconds = ranged(reader.u32("seconds")?, 1..=LEASE_SECONDS_FOREVER, "seconds")?;
    let dns = read_dns(reader)?;
    Ok(Lease {
        address,
        prefix,
        gateway,
        dns,
        mtu,
        seconds,
    })
}

fn read_resolvers_6(reader: &mut Reader<'_>) -> Result<FromNetd, DecodeError> {
    let seconds = ranged(reader.u32("seconds")?, 1..=LEASE_SECONDS_FOREVER, "seconds")?;
    let mut dns = Vec::new();
    for _ in 0..reader.u8("dns count")? {
        let server = reader.v6("dns")?;
        if server.is_unspecified() || server.is_loopback() || server.is_multicast() {
            return Err(DecodeError::Field("dns"));
        }
        dns.push(server).map_err(|_| DecodeError::Field("dns count"))?;
    }
    Ok(FromNetd::Resolvers6 { dns, seconds })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::address::strategy::{addresses, ipv4_settings, unicast_v4};
    use crate::codec::PACKET_OCTETS;

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

    fn host_name() -> impl Strategy<Value = HostName> {
        "[a-z0-9]{1,20}(-[a-z0-9]{1,20})?(\\.[a-z0-9]{1,20})?".prop_map(|name| HostName::new(&name).unwrap())
    }

    fn to_netd() -> impl Strategy<Value = ToNetd> {
        let link = (
            1..=0x7fff_ffff_u32,
            any::<[u8; 6]>(),
            "[!-.0-~]{1,15}",
            host_name(),
            ipv4_settings(),
        );
        prop_oneof![
            link.prop_map(|(index, mac, name, host_name, ipv4)| ToNetd::Link {
                index,
                mac,
                name: InterfaceName::new(&name).unwrap(),
                host_name,
                ipv4,
            }),
            host_name().prop_map(ToNetd::HostName),
            addresses().prop_map(ToNetd::Addresses),
            addresses().prop_map(ToNetd::BoxAddresses),
            any::<bool>().prop_map(|is_on| ToNetd::Mdns { is_on }),
            Just(ToNetd::Stop),
        ]
    }

    fn from_netd() -> impl Strategy<Value = FromNetd> {
        let global = (0x2000..0x4000_u16, any::<[u16; 7]>())
            .prop_map(|(a, [b, c, d, e, f, g, h])| Ipv6Addr::new(a, b, c, d, e, f, g, h));
        prop_oneof![
            lease().prop_map(FromNetd::Lease),
            Just(FromNetd::LeaseLost),
            (unicast_v4(), any::<[u8; 6]>())
                .prop_map(|(address, mac)| FromNetd::AddressConflict { address, mac }),
            (vec(global, 0..=DNS_MAX), 1..=u32::MAX).prop_map(|(dns, seconds)| FromNetd::Resolvers6 {
                dns: dns.into_iter().collect(),
                seconds
            }),
            (0..=UNIX_MS_MAX, 0..=UNIX_MS_MAX)
                .prop_map(|(unix_ms, boot_ms)| FromNetd::TimeSample { unix_ms, boot_ms }),
            host_name().prop_map(FromNetd::NameConflict),
            Just(FromNetd::Alive),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn what_init_encodes_netd_decodes(message in to_netd()) {
            prop_assert_eq!(ToNetd::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn what_netd_encodes_init_decodes(message in from_netd()) {
            prop_assert_eq!(FromNetd::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn random_bodies_are_refused_or_mean_one_thing(
            kind in prop_oneof![0x0300..0x0308_u16, 0x0400..0x0409_u16, any::<u16>()],
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
    fn each_field_of_the_other_messages_is_range_checked() {
        let refused = |message: &FromNetd, at: usize, octet: u8, name| {
            let mut packet = message.encode();
            packet[at] = octet;
            assert_eq!(FromNetd::decode(&packet), Err(DecodeError::Field(name)));
        };
        let conflict = FromNetd::AddressConflict {
            address: Ipv4Addr::new(192, 0, 2, 15),
            mac: [2; 6],
        };
        refused(&conflict, 8, 0, "address");
        let resolvers = FromNetd::Resolvers6 {
            dns: core::iter::once("2001:db8::1".parse().unwrap()).collect(),
            seconds: 1,
        };
        refused(&resolvers, 8, 0, "seconds");
        refused(&resolvers, 12, 5, "dns");
        refused(&resolvers, 13, 0xff, "dns");
        let sample = FromNetd::TimeSample {
            unix_ms: UNIX_MS_MAX,
            boot_ms: 7,
        };
        refused(&sample, 15, 1, "time");
        refused(&sample, 23, 1, "boot time");
    }

    #[test]
    fn each_field_of_a_link_is_range_checked() {
        let link = ToNetd::Link {
            index: 1,
            mac: [2; 6],
            name: InterfaceName::new("eth0").unwrap(),
            host_name: HostName::new("box").unwrap(),
            ipv4: Ipv4Settings::Static(crate::StaticIpv4 {
                address: Ipv4Addr::new(192, 0, 2, 15),
                prefix: 24,
                gateway: None,
                dns: Vec::new(),
            }),
        };
        assert_eq!(link.descriptors(), 4);
        assert_eq!(ToNetd::Stop.descriptors(), 0);
        let refused = |at: usize, octet: u8, name| {
            let mut packet = link.encode();
            packet[at] = octet;
            assert_eq!(ToNetd::decode(&packet), Err(DecodeError::Field(name)));
        };
        refused(8, 0, "index");
        refused(19, b'/', "name");
        refused(24, b'.', "host name");
        refused(27, 2, "ipv4 settings");
        refused(28, 0, "address");
        refused(32, 33, "prefix");
        refused(33, 127, "gateway");
        refused(37, 1, "dns");
    }
}
