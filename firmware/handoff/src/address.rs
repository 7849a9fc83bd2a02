//! Addresses and what is set about them, as they travel.

use core::net::{IpAddr, Ipv4Addr};

use heapless::Vec;

use crate::codec::{DecodeError, Reader, Writer, ranged};

/// The most addresses told at once. A box has a handful; what is over is left out.
pub const ADDRESSES_MAX: usize = 16;
/// The most DNS servers that are named at once; resolvers look at three.
pub const DNS_MAX: usize = 4;

/// One address with the length of its subnet prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Octets of IPv4: at most 32; of IPv6: at most 128.
    pub prefix: u8,
}

/// Up to [`ADDRESSES_MAX`] addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(pub Vec<Address, ADDRESSES_MAX>);

/// How the box gets its IPv4 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ipv4Settings {
    /// From a DHCP server.
    #[default]
    Dynamic,
    /// It was given one.
    Static(StaticIpv4),
}

/// A fixed IPv4 address and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticIpv4 {
    /// The address.
    pub address: Ipv4Addr,
    /// The length of the subnet prefix: 1 to 32.
    pub prefix: u8,
    /// The router, if there is one.
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers, best first.
    pub dns: Vec<Ipv4Addr, DNS_MAX>,
}

/// Whether one machine can have this address: not 0/8, not loopback, not multicast, reserved or broadcast (224/3).
pub fn is_unicast(address: Ipv4Addr) -> bool {
    matches!(address.octets()[0], 1..=126 | 128..=223)
}

pub(crate) fn unicast(address: Ipv4Addr, name: &'static str) -> Result<Ipv4Addr, DecodeError> {
    if is_unicast(address) {
        Ok(address)
    } else {
        Err(DecodeError::Field(name))
    }
}

/// 0.0.0.0 is no router: absent.
pub(crate) fn write_gateway(writer: &mut Writer, gateway: Option<Ipv4Addr>) {
    writer.v4(gateway.unwrap_or(Ipv4Addr::UNSPECIFIED));
}

pub(crate) fn read_gateway(reader: &mut Reader<'_>) -> Result<Option<Ipv4Addr>, DecodeError> {
    match reader.v4("gateway")? {
        Ipv4Addr::UNSPECIFIED => Ok(None),
        gateway => unicast(gateway, "gateway").map(Some),
    }
}

/// A count, then the servers.
pub(crate) fn write_dns(writer: &mut Writer, servers: &[Ipv4Addr]) {
    writer.length(servers.len());
    for server in servers {
        writer.v4(*server);
    }
}

pub(crate) fn read_dns(reader: &mut Reader<'_>) -> Result<Vec<Ipv4Addr, DNS_MAX>, DecodeError> {
    let mut servers = Vec::new();
    for _ in 0..reader.u8("dns count")? {
        let server = unicast(reader.v4("dns")?, "dns")?;
        servers
            .push(server)
            .map_err(|_| DecodeError::Field("dns count"))?;
    }
    Ok(servers)
}

/// A count, then for each address: family (4 or 6), prefix, and four or sixteen octets.
pub(crate) fn write_addresses(writer: &mut Writer, addresses: &Addresses) {
    writer.length(addresses.0.len());
    for address in &addresses.0 {
        match address.ip {
            IpAddr::V4(ip) => {
                writer.u8(4);
                writer.u8(address.prefix);
                writer.octets(&ip.octets());
            }
            IpAddr::V6(ip) => {
                writer.u8(6);
                writer.u8(address.prefix);
                writer.octets(&ip.octets());
            }
        }
    }
}

pub(crate) fn read_addresses(reader: &mut Reader<'_>) -> Result<Addresses, DecodeError> {
    let mut addresses = Vec::new();
    for _ in 0..reader.u8("address count")? {
        let family = reader.u8("address family")?;
        let prefix = reader.u8("prefix")?;
        let address = match family {
            4 => Address {
                ip: reader.v4("address")?.into(),
                prefix: ranged(prefix, 0..=32, "prefix")?,
            },
            6 => Address {
                ip: reader.v6("address")?.into(),
                prefix: ranged(prefix, 0..=128, "prefix")?,
            },
            _ => return Err(DecodeError::Field("address family")),
        };
        addresses
            .push(address)
            .map_err(|_| DecodeError::Field("address count"))?;
    }
    Ok(Addresses(addresses))
}

/// 0 for dynamic; 1 and the four parts for static.
pub(crate) fn write_ipv4(writer: &mut Writer, settings: &Ipv4Settings) {
    match settings {
        Ipv4Settings::Dynamic => writer.u8(0),
        Ipv4Settings::Static(fixed) => {
            writer.u8(1);
            writer.v4(fixed.address);
            writer.u8(fixed.prefix);
            write_gateway(writer, fixed.gateway);
            write_dns(writer, &fixed.dns);
        }
    }
}

pub(crate) fn read_ipv4(reader: &mut Reader<'_>) -> Result<Ipv4Settings, DecodeError> {
    match reader.u8("ipv4 settings")? {
        0 => Ok(Ipv4Settings::Dynamic),
        1 => Ok(Ipv4Settings::Static(StaticIpv4 {
            address: unicast(reader.v4("address")?, "address")?,
            prefix: ranged(reader.u8("prefix")?, 1..=32, "prefix")?,
            gateway: read_gateway(reader)?,
            dns: read_dns(reader)?,
        })),
        _ => Err(DecodeError::Field("ipv4 settings")),
    }
}

/// What the tests of the messages generate.
#[cfg(test)]
pub(crate) mod strategy {
    use core::net::Ipv6Addr;

    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn unicast_v4() -> impl Strategy<Value = Ipv4Addr> {
        (prop_oneof![1..=126_u8, 128..=223_u8], any::<[u8; 3]>())
            .prop_map(|(first, [b, c, d])| Ipv4Addr::new(first, b, c, d))
    }

    pub(crate) fn addresses() -> impl Strategy<Value = Addresses> {
        let address = prop_oneof![
            (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(ip, prefix)| Address {
                ip: Ipv4Addr::from(ip).into(),
                prefix
            }),
            (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(ip, prefix)| Address {
                ip: Ipv6Addr::from(ip).into(),
                prefix
            }),
        ];
        vec(address, 0..=ADDRESSES_MAX).prop_map(|list| Addresses(list.into_iter().collect()))
    }

    pub(crate) fn ipv4_settings() -> impl Strategy<Value = Ipv4Settings> {
        let fixed = (
            unicast_v4(),
            1..=32_u8,
            option::of(unicast_v4()),
            vec(unicast_v4(), 0..=DNS_MAX),
        );
        prop_oneof![
            Just(Ipv4Settings::Dynamic),
            fixed.prop_map(
                |(address, prefix, gateway, dns)| Ipv4Settings::Static(StaticIpv4 {
                    address,
                    prefix,
                    gateway,
                    dns: dns.into_iter().collect(),
                })
            ),
        ]
    }
}
