//! Router advertisements: which name servers they tell of.
//!
//! ```text
//!  0  type 134, code 0, checksum           option RDNSS:
//!  4  hop limit, flags, router lifetime     0  type 25, length in units of 8 octets, reserved
//!  8  reachable time, retransmission timer  4  lifetime in seconds
//! 16  options: type, length, …              8  addresses, 16 octets each
//! ```
//!
//! Source: RFC 4861 §4.2 and §6.1.2, RFC 8106 §5.1.

use std::net::Ipv6Addr;

const ADVERTISEMENT: u8 = 134;
const OPTIONS_AT: usize = 16;
const OPTION_UNIT_OCTETS: usize = 8;
const RDNSS: u8 = 25;
/// RFC 8106 §5.3.1: with one address.
const RDNSS_UNITS_MIN: u8 = 3;

/// RFC 4861 §6.3.7: 133, code 0; the kernel fills the checksum in (RFC 3542 §3.1). Without our hardware address: a router
/// that answers us alone finds it by asking.
pub(super) const SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];

/// Name servers that are to be used for a time; none any more when that is zero, for ever when it is [`u32::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Servers<'a> {
    pub(super) seconds: u32,
    addresses: &'a [[u8; 16]],
}

impl Servers<'_> {
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.addresses.iter().copied().map(Ipv6Addr::from)
    }
}

/// What an advertisement says of name servers; `None`: it is none, or not as RFC 4861 §6.1.2 wants it.
///
/// An RDNSS option of a length that cannot be is ignored alone (RFC 8106 §5.3.1).
pub(super) fn name_servers(payload: &[u8]) -> Option<Vec<Servers<'_>>> {
    let (header, mut rest) = payload.split_at_checked(OPTIONS_AT)?;
    if header[..2] != [ADVERTISEMENT, 0] {
        return None;
    }
    let mut found = Vec::new();
    while let [kind, units, ..] = *rest {
        let (option, behind) = rest.split_at_checked(usize::from(units) * OPTION_UNIT_OCTETS)?;
        // A length of zero would never end.
        let (head, value) = option.split_first_chunk::<8>()?;
        rest = behind;
        if kind == RDNSS && units >= RDNSS_UNITS_MIN && units % 2 == 1 {
            found.push(Servers {
                seconds: u32::from_be_bytes(*head.last_chunk()?),
                addresses: value.as_chunks().0,
            });
        }
    }
    // What is left over is less than an option.
    rest.is_empty().then_some(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// An advertisement with these options.
    pub(crate) fn advertisement(options: &[Vec<u8>]) -> Vec<u8> {
        let mut octets = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
        octets.extend(options.concat());
        octets
    }

    pub(crate) fn rdnss(seconds: u32, addresses: &[Ipv6Addr]) -> Vec<u8> {
        let mut octets = vec![RDNSS, u8::try_from(1 + 2 * addresses.len()).unwrap(), 0, 0];
        octets.extend(seconds.to_be_bytes());
        octets.extend(addresses.iter().flat_map(Ipv6Addr::octets));
        octets
    }

    fn address(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
    }

    /// As radvd sends it: prefix, MTU, name servers, search list, the router's hardware address.
    fn usual() -> Vec<u8> {
        let mut prefix = vec![3, 4, 64, 0xc0];
        prefix.extend([0; 28]);
        let mtu = vec![5, 1, 0, 0, 0, 0, 5, 0xdc];
        let search = b"\x1f\x02\0\0\0\0\x02\x58\x03lan\0\0\0\0".to_vec();
        let hardware = vec![1, 1, 2, 0, 0, 0, 0, 1];
        advertisement(&[
            prefix,
            mtu,
            rdnss(600, &[address(1), address(2)]),
            search,
            hardware,
        ])
    }

    #[test]
    fn name_servers_are_found_among_other_options() {
        let octets = usual();
        let found = name_servers(&octets).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].seconds, 600);
        let addresses: Vec<Ipv6Addr> = found[0].addresses().collect();
        assert_eq!(addresses, [address(1), address(2)]);
    }

    #[test]
    fn several_options_may_have_several_lifetimes() {
        let octets = advertisement(&[rdnss(600, &[address(1)]), rdnss(0, &[address(2)])]);
        let seconds: Vec<u32> = name_servers(&octets)
            .unwrap()
            .iter()
            .map(|servers| servers.seconds)
            .collect();
        assert_eq!(seconds, [600, 0]);
        assert_eq!(name_servers(&advertisement(&[])), Some(Vec::new()));
    }

    #[test]
    fn what_is_not_a_whole_advertisement_is_refused() {
        let whole = usual();
        let ends = [16, 48, 56, 96, 112, 120];
        for length in 0..=whole.len() {
            let is_whole = ends.contains(&length);
            assert_eq!(name_servers(&whole[..length]).is_some(), is_whole, "{length}");
        }
        for (at, octet) in [(0, 135), (0, 133), (1, 1), (17, 0), (17, 255)] {
            let mut octets = whole.clone();
            octets[at] = octet;
            assert_eq!(name_servers(&octets), None, "{at}: {octet}");
        }
    }

    #[test]
    fn an_option_of_an_impossible_length_is_ignored_alone() {
        // One and two units are too short for an address, four would be an address and a half.
        for units in [1, 2, 4] {
            let mut bad = vec![0; units * OPTION_UNIT_OCTETS];
            bad[..2].copy_from_slice(&[RDNSS, u8::try_from(units).unwrap()]);
            let octets = advertisement(&[bad, rdnss(600, &[address(1)])]);
            assert_eq!(name_servers(&octets).unwrap().len(), 1, "{units}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn random_octets_never_panic(mut octets in vec(any::<u8>(), 0..200), is_ours in any::<bool>()) {
            if is_ours && octets.len() > 2 {
                octets[..2].copy_from_slice(&[134, 0]);
            }
            for servers in name_servers(&octets).unwrap_or_default() {
                prop_assert!(servers.addresses().count() >= 1);
            }
        }

        #[test]
        fn spoilt_advertisements_never_panic(
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut octets = usual();
            for (at, octet) in changes {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
            for servers in name_servers(&octets).unwrap_or_default() {
                // No more than there is room for.
                prop_assert!((1..octets.len() / 16).contains(&servers.addresses().count()));
            }
        }
    }
}
