//! Reads the kernel's texts about addresses. Pure.

use std::net::{IpAddr, Ipv6Addr};

/// `52:54:00:12:34:56`.
pub(super) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

pub(super) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// `IFA_F_TENTATIVE` and `IFA_F_DADFAILED` of linux/if_addr.h: not (yet) to be used.
const UNUSABLE: u8 = 0x40 | 0x08;

/// `/proc/net/if_inet6`: address, interface number, prefix length, scope and flags in hexadecimal, interface name.
/// Left out are loopback and what duplicate address detection has not passed.
pub(super) fn parse_if_inet6(text: &str) -> Vec<(String, IpAddr, u8)> {
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let address = fields.next().filter(|field| field.len() == 32)?;
        let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        let prefix = u8::from_str_radix(fields.nth(1)?, 16)
            .ok()
            .filter(|prefix| *prefix <= 128)?;
        let flags = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
        let interface = fields.next()?;
        let is_usable = flags & UNUSABLE == 0 && !address.is_loopback();
        is_usable.then(|| (interface.to_owned(), address.into(), prefix))
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_six_pairs() {
        assert_eq!(
            parse_mac("52:54:00:12:34:5f"),
            Some([0x52, 0x54, 0, 0x12, 0x34, 0x5f])
        );
        assert_eq!(mac_text([0x52, 0x54, 0, 0x12, 0x34, 0x5f]), "52:54:00:12:34:5f");
        for text in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54:00:12:34:5",
            "52:54:00:12:34:xx",
        ] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }

    #[test]
    fn usable_addresses_are_read_from_the_kernels_table() {
        let text = "\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000505400fffe123456 02 40 20 80     eth0
fec0000000000000505400fffe123456 02 40 40 00     eth0
20010db8000000000000000000000001 02 40 00 40     eth0
20010db8000000000000000000000002 02 40 00 c8     eth0
garbage
";
        let addresses = parse_if_inet6(text);
        let expected = [("fe80::5054:ff:fe12:3456", 64), ("fec0::5054:ff:fe12:3456", 64)];
        let expected: Vec<_> = expected
            .iter()
            .map(|(ip, prefix)| ("eth0".to_owned(), ip.parse().unwrap(), *prefix))
            .collect();
        assert_eq!(addresses, expected);
    }
}
