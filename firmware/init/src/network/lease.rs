//! Whether a lease fits together. Its fields are in range already: that is checked when the message is decoded. Pure.

use std::net::Ipv4Addr;

use handoff::{Ipv4Settings, LEASE_SECONDS_FOREVER, Lease, StaticIpv4};

/// What does not fit.
///
/// # Errors
/// A few words for the console page.
pub(crate) fn check(lease: &Lease) -> Result<(), &'static str> {
    let mask = mask(lease.prefix);
    let host = lease.address.to_bits() & !mask;
    // In a subnet of two addresses or one both ends are hosts (RFC 3021).
    if lease.prefix < 31 && (host == 0 || host == !mask) {
        return Err("the address is its network's");
    }
    if lease.gateway == Some(lease.address) {
        return Err("the gateway is the box itself");
    }
    if lease.address.is_link_local() {
        return Err("the address is link-local");
    }
    Ok(())
}

/// What does not fit in an address that somebody has set.
///
/// # Errors
/// As for a lease.
pub(crate) fn check_static(fixed: &StaticIpv4) -> Result<(), &'static str> {
    check(&Lease {
        address: fixed.address,
        prefix: fixed.prefix,
        gateway: fixed.gateway,
        dns: fixed.dns.clone(),
        mtu: None,
        seconds: LEASE_SECONDS_FOREVER,
    })
}

/// Whether this lease may be said by a netd with these settings: where an address was set, that one and no other.
pub(crate) fn is_as_set(settings: &Ipv4Settings, lease: &Lease) -> bool {
    match settings {
        Ipv4Settings::Dynamic => true,
        Ipv4Settings::Static(fixed) => {
            (lease.address, lease.prefix, lease.gateway) == (fixed.address, fixed.prefix, fixed.gateway)
                && lease.dns == fixed.dns
                // Nobody can set one.
                && lease.mtu.is_none()
        }
    }
}

/// Whether the lease held before must be taken back before `new` is applied: applying replaces what both have, and
/// leaves what only the old one has.
pub(crate) fn is_in_the_way(held: &Lease, new: &Lease) -> bool {
    (held.address, held.prefix) != (new.address, new.prefix)
        || held.gateway.is_some() && new.gateway.is_none()
}

/// Whether the gateway can be reached directly. Some providers put it outside the subnet on purpose, mostly with a
/// prefix of 32; then the route must say that it is on the link.
pub(super) fn is_on_link(lease: &Lease, gateway: Ipv4Addr) -> bool {
    let mask = mask(lease.prefix);
    lease.address.to_bits() & mask == gateway.to_bits() & mask
}

/// The subnet's broadcast address, where it has one.
pub(super) fn broadcast(lease: &Lease) -> Option<Ipv4Addr> {
    (lease.prefix < 31).then(|| Ipv4Addr::from_bits(lease.address.to_bits() | !mask(lease.prefix)))
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(address: [u8; 4], prefix: u8, gateway: [u8; 4]) -> Lease {
        Lease {
            address: address.into(),
            prefix,
            gateway: Some(gateway.into()),
            dns: std::iter::empty().collect(),
            mtu: None,
            seconds: 3600,
        }
    }

    #[test]
    fn an_address_is_a_host_of_its_subnet() {
        let router = [192, 0, 2, 1];
        assert_eq!(check(&lease([192, 0, 2, 15], 24, router)), Ok(()));
        for host in [0, 255] {
            assert_eq!(
                check(&lease([192, 0, 2, host], 24, router)),
                Err("the address is its network's")
            );
        }
        assert_eq!(check(&lease([192, 0, 2, 0], 31, router)), Ok(()));
        assert_eq!(check(&lease([192, 0, 2, 255], 32, router)), Ok(()));
        assert_eq!(check(&lease([192, 0, 2, 255], 23, router)), Ok(()));
    }

    #[test]
    fn an_address_that_nobody_can_reach_is_refused() {
        assert_eq!(
            check(&lease([192, 0, 2, 1], 24, [192, 0, 2, 1])),
            Err("the gateway is the box itself")
        );
        assert_eq!(
            check(&lease([169, 254, 9, 9], 16, [169, 254, 0, 1])),
            Err("the address is link-local")
        );
    }

    #[test]
    fn a_renewed_lease_replaces_and_a_poorer_one_is_preceded_by_taking_back() {
        let held = lease([192, 0, 2, 15], 24, [192, 0, 2, 1]);
        let check = |change: fn(&mut Lease), expected: bool| {
            let mut new = held.clone();
            change(&mut new);
            assert_eq!(is_in_the_way(&held, &new), expected, "{new:?}");
        };
        check(|new| new.seconds = 7, false);
        check(|new| new.gateway = Some([192, 0, 2, 2].into()), false);
        check(|new| new.address = [192, 0, 2, 16].into(), true);
        check(|new| new.prefix = 23, true);
        check(|new| new.gateway = None, true);
    }

    #[test]
    fn an_address_that_was_set_is_the_only_one() {
        let said = lease([192, 0, 2, 15], 24, [192, 0, 2, 1]);
        let fixed = StaticIpv4 {
            address: said.address,
            prefix: 24,
            gateway: said.gateway,
            dns: std::iter::empty().collect(),
        };
        assert_eq!(check_static(&fixed), Ok(()));
        let settings = Ipv4Settings::Static(fixed.clone());
        assert!(is_as_set(&settings, &said) && is_as_set(&Ipv4Settings::Dynamic, &said));
        for change in [
            |lease: &mut Lease| lease.address = [192, 0, 2, 16].into(),
            |lease: &mut Lease| lease.prefix = 16,
            |lease: &mut Lease| lease.gateway = None,
            |lease: &mut Lease| lease.mtu = Some(1280),
            |lease: &mut Lease| lease.dns = std::iter::once([192, 0, 2, 66].into()).collect(),
        ] {
            let mut other = said.clone();
            change(&mut other);
            assert!(!is_as_set(&settings, &other), "{other:?}");
            assert!(is_as_set(&Ipv4Settings::Dynamic, &other));
        }
        let wrong = StaticIpv4 {
            address: [192, 0, 2, 255].into(),
            ..fixed
        };
        assert_eq!(check_static(&wrong), Err("the address is its network's"));
    }

    #[test]
    fn a_gateway_outside_the_subnet_is_known() {
        let near = lease([192, 0, 2, 15], 24, [192, 0, 2, 1]);
        assert!(is_on_link(&near, [192, 0, 2, 1].into()));
        assert!(!is_on_link(&near, [192, 0, 3, 1].into()));
        assert!(!is_on_link(
            &lease([10, 0, 0, 5], 32, [10, 0, 0, 1]),
            [10, 0, 0, 1].into()
        ));
    }

    #[test]
    fn broadcast_addresses_follow_the_prefix() {
        assert_eq!(
            broadcast(&lease([192, 0, 2, 15], 24, [0; 4])),
            Some([192, 0, 2, 255].into())
        );
        assert_eq!(
            broadcast(&lease([10, 1, 2, 3], 8, [0; 4])),
            Some([10, 255, 255, 255].into())
        );
        assert_eq!(broadcast(&lease([192, 0, 2, 15], 31, [0; 4])), None);
        assert_eq!(broadcast(&lease([192, 0, 2, 15], 32, [0; 4])), None);
    }
}
