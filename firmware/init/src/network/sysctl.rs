//! How the kernel is to treat each card. Set before it is brought up, so that nothing is heard under other rules.

use std::fs;
use std::io;
use std::path::Path;

/// Routes of IPv6 over several cards, by card order: the kernel's own figure for routers it has heard of, and up.
const ROUTER_METRIC_BASE: u32 = 1024;

/// Folder below /proc/sys/net, name, value.
type Setting = (&'static str, &'static str, &'static str);

const SETTINGS: &[Setting] = &[
    // Addresses and routes by router advertisement are the kernel's work (RFC 4862), for a host that forwards nothing.
    ("ipv6", "forwarding", "0"),
    ("ipv6", "accept_ra", "1"),
    ("ipv6", "autoconf", "1"),
    // The address is made of the card's hardware address: it is published in the DNS besides, it is the same after each
    // start and each reset, and it is known before there is a disk that a secret could be read from (RFC 7217 needs one).
    ("ipv6", "addr_gen_mode", "0"),
    // No addresses that change (RFC 8981): mail that is sent has to come from the one that its name is known by.
    ("ipv6", "use_tempaddr", "0"),
    // Deviation: RFC 1122 §3.2.2.2 would have a host follow them. Anybody on the link could draw its traffic to themselves.
    ("ipv6", "accept_redirects", "0"),
    ("ipv4", "accept_redirects", "0"),
    ("ipv4", "secure_redirects", "0"),
    ("ipv4", "send_redirects", "0"),
    // RFC 5095; RFC 7126 §4.3. For IPv6 0 would still take type 2 headers.
    ("ipv6", "accept_source_route", "-1"),
    ("ipv4", "accept_source_route", "0"),
    // With two cards on one link each answers for its own address only: netd would take the other for a stranger.
    ("ipv4", "arp_ignore", "1"),
    ("ipv4", "arp_announce", "2"),
    // A card without a cable keeps its routes; the next card is to take over.
    ("ipv4", "ignore_routes_with_linkdown", "1"),
    ("ipv6", "ignore_routes_with_linkdown", "1"),
];

/// Sets the rules of one card.
///
/// # Errors
/// The first that could not be set, by its name; the others are set all the same.
pub(super) fn prepare(interface: &str, index: u32) -> Result<(), (String, io::Error)> {
    let metric = metric(index);
    let of_this = [("ipv6", "ra_defrtr_metric", metric.as_str())];
    let mut result = Ok(());
    for (family, name, value) in SETTINGS.iter().chain(&of_this) {
        let path = Path::new("/proc/sys/net")
            .join(family)
            .join("conf")
            .join(interface)
            .join(name);
        if let Err(error) = fs::write(path, value) {
            result = result.and(Err((format!("{family} {name}"), error)));
        }
    }
    result
}

/// The card that was there first is preferred.
fn metric(index: u32) -> String {
    ROUTER_METRIC_BASE.saturating_add(index).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_one_that_the_kernel_knows() {
        for (family, name, _) in SETTINGS {
            let path = Path::new("/proc/sys/net").join(family).join("conf/lo").join(name);
            // A machine without IPv6 has none of its rules.
            if Path::new("/proc/sys/net").join(family).exists() {
                assert!(path.exists(), "{}", path.display());
            }
        }
    }

    #[test]
    fn routers_of_the_first_card_are_preferred() {
        assert_eq!(metric(2), "1026");
        assert_eq!(metric(u32::MAX), u32::MAX.to_string());
    }

    #[test]
    fn a_card_that_is_gone_is_an_error_that_names_the_rule() {
        let (rule, error) = prepare("no-such-card", 9).expect_err("there is no such card");
        assert_eq!(rule, "ipv6 forwarding");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
