//! `[box]`: what the box is called, and its fixed address. All of it is for init, which keeps it.

use super::check::Checks;
use super::document::{BoxTable, Text};
use handoff::{DNS_MAX, HostName, Ipv4Settings, StaticIpv4, is_unicast};
use std::net::Ipv4Addr;

/// What init is to be told; `None`: it stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BoxPlan {
    pub(crate) name: Option<HostName>,
    pub(crate) network: Option<Ipv4Settings>,
}

/// A network of more than 2^24 addresses is none that an office has: somebody mistyped the prefix.
const PREFIX_MIN: u8 = 8;
const PREFIX_MAX: u8 = 32;
/// From here on a network has an address of its own and one for everybody in it (RFC 3021 is about 31).
const PREFIX_MAX_WITH_ENDS: u8 = 30;

impl Checks<'_> {
    pub(super) fn this_box(&mut self, table: &BoxTable) -> BoxPlan {
        let name = table.name.as_ref().and_then(|name| self.host_name(name));
        BoxPlan {
            name,
            network: self.network(table),
        }
    }

    fn host_name(&mut self, name: &Text) -> Option<HostName> {
        let lower = name.get_ref().trim().to_ascii_lowercase();
        let host_name = HostName::new(&lower).ok();
        if host_name.is_none() {
            self.mistake(
                name,
                format!(
                    "{:?} is not a name for a box: letters, digits and inner hyphens, such as \"postolka-2\"",
                    name.get_ref()
                ),
            );
        }
        host_name
    }

    fn network(&mut self, table: &BoxTable) -> Option<Ipv4Settings> {
        let Some(written) = &table.address else {
            let without =
                "is of use only with an address: without one the box asks a DHCP server for all of it";
            if let Some(gateway) = &table.gateway {
                self.mistake(gateway, format!("a gateway {without}"));
            } else if let Some(dns) = &table.dns {
                self.mistake(dns, format!("dns {without}"));
            }
            return None;
        };
        let own = self.own_address_of(written);
        let gateway = table.gateway.as_ref().and_then(|text| {
            let gateway = self.ipv4(text)?;
            let (address, prefix) = own?;
            if gateway == address {
                self.mistake(text, "the box cannot be its own gateway");
                return None;
            }
            if network_of(gateway, prefix) != network_of(address, prefix) {
                self.mistake(
                    text,
                    format!("the gateway {gateway} is not in the network of {address}/{prefix}"),
                );
                return None;
            }
            Some(gateway)
        });
        let dns = self.dns(table);
        let (address, prefix) = own?;
        Some(Ipv4Settings::Static(StaticIpv4 {
            address,
            prefix,
            gateway,
            dns,
        }))
    }

    /// `192.0.2.5/24`
    fn own_address_of(&mut self, text: &Text) -> Option<(Ipv4Addr, u8)> {
        let parsed = text
            .get_ref()
            .trim()
            .split_once('/')
            .and_then(|(address, prefix)| {
                let address: Ipv4Addr = address.parse().ok()?;
                // `+24` and `024` are numbers to the library, and nothing that a person means.
                let is_plain = prefix.bytes().all(|octet| octet.is_ascii_digit()) && !prefix.starts_with('0');
                let prefix: u8 = prefix.parse().ok().filter(|_| is_plain)?;
                Some((address, prefix))
            });
        let Some((address, prefix)) = parsed else {
            self.mistake(
                text,
                format!(
                    "{:?} is not an address with its prefix, such as \"192.0.2.5/24\"",
                    text.get_ref()
                ),
            );
            return None;
        };
        if !(PREFIX_MIN..=PREFIX_MAX).contains(&prefix) {
            self.mistake(
                text,
                format!("the prefix /{prefix} is not between /{PREFIX_MIN} and /{PREFIX_MAX}"),
            );
            return None;
        }
        let host = u32::from(address) & !mask(prefix);
        let is_end = prefix <= PREFIX_MAX_WITH_ENDS && (host == 0 || host == !mask(prefix));
        if !is_unicast(address) || is_end {
            self.mistake(
                text,
                format!("no machine can have the address {address}/{prefix}"),
            );
            return None;
        }
        Some((address, prefix))
    }

    fn dns(&mut self, table: &BoxTable) -> heapless::Vec<Ipv4Addr, DNS_MAX> {
        let mut dns = heapless::Vec::new();
        let Some(written) = &table.dns else {
            return dns;
        };
        if written.get_ref().len() > DNS_MAX {
            self.mistake(written, format!("there are {DNS_MAX} DNS servers at most"));
        }
        for text in written.get_ref() {
            let Some(server) = self.ipv4(text) else { continue };
            if dns.contains(&server) {
                self.mistake(text, format!("the DNS server {server} stands here already"));
            }
            // What does not fit was told above.
            let _ = dns.push(server);
        }
        dns
    }

    fn ipv4(&mut self, text: &Text) -> Option<Ipv4Addr> {
        let address = text
            .get_ref()
            .trim()
            .parse()
            .ok()
            .filter(|address| is_unicast(*address));
        if address.is_none() {
            self.mistake(
                text,
                format!("{:?} is not the IPv4 address of a machine", text.get_ref()),
            );
        }
        address
    }
}

const fn mask(prefix: u8) -> u32 {
    match u32::MAX.checked_shl(32 - prefix as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

fn network_of(address: Ipv4Addr, prefix: u8) -> u32 {
    u32::from(address) & mask(prefix)
}
