//! What the page says about the network: the first thing to look at, from the cable up. Pure.

use crate::trouble::Trouble;

/// `carriers`: whether each card has one. `is_dynamic`: nobody has set an address. `of_links` is what each card has met with.
pub(super) fn diagnose<'a>(
    carriers: &[bool],
    has_address: bool,
    is_dynamic: bool,
    of_links: impl IntoIterator<Item = &'a Trouble>,
) -> Option<Trouble> {
    if carriers.is_empty() {
        return Some(Trouble::NoCard);
    }
    if !carriers.contains(&true) {
        return Some(Trouble::NoCarrier);
    }
    let of_links: Vec<&Trouble> = of_links.into_iter().collect();
    let is_conflict = |trouble: &&&Trouble| matches!(trouble, Trouble::AddressConflict { .. });
    if let Some(conflict) = of_links.iter().find(is_conflict) {
        // Also with an address by IPv6: whoever has both will be looking for the other.
        return Some((*conflict).clone());
    }
    if has_address {
        return None;
    }
    match of_links.first() {
        Some(refused) => Some((*refused).clone()),
        None if is_dynamic => Some(Trouble::NoLease),
        // It is being probed for, which takes some seconds; if somebody else has it, that is told.
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_network_is_judged_from_the_cable_up() {
        let refused = || Trouble::BadLease("gateway".to_owned());
        let check = |carriers: &[bool], address, troubles: &[Trouble], expected| {
            assert_eq!(diagnose(carriers, address, true, troubles), expected);
        };
        check(&[], false, &[], Some(Trouble::NoCard));
        check(&[false, false], true, &[], Some(Trouble::NoCarrier));
        check(&[false, true], false, &[], Some(Trouble::NoLease));
        check(&[true], false, &[refused()], Some(refused()));
        check(&[true], true, &[refused()], None);
    }

    #[test]
    fn an_address_that_somebody_else_has_is_told_also_when_there_is_another() {
        let conflict = Trouble::AddressConflict {
            address: Ipv4Addr::new(192, 0, 2, 5),
            mac: [2; 6],
        };
        let refused = Trouble::BadLease("gateway".to_owned());
        let troubles = [refused, conflict.clone()];
        for has_address in [false, true] {
            assert_eq!(
                diagnose(&[true], has_address, false, &troubles),
                Some(conflict.clone())
            );
        }
    }

    #[test]
    fn who_has_set_an_address_is_not_told_of_a_server() {
        assert_eq!(diagnose(&[true], false, false, &[]), None);
    }
}
