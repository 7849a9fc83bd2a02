//! Counts what came malformed and says so, without letting whoever sends it fill the console: the first, and then at
//! each doubling of the number.

use std::fmt;

/// Octets that are not what they should be. They have changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// How much was malformed, by protocol.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    of: [u64; Protocol::ALL],
}

/// What netd reads from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Dhcp,
    Arp,
    RouterAdvertisement,
    Mdns,
    Ntp,
    Dns,
}

impl Protocol {
    const ALL: usize = Self::Dns as usize + 1;
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dhcp => "DHCP message",
            Self::Arp => "ARP packet",
            Self::RouterAdvertisement => "router advertisement",
            Self::Mdns => "mDNS message",
            Self::Ntp => "NTP answer",
            Self::Dns => "DNS answer",
        })
    }
}

impl Counts {
    /// Counts one, and gives the line to print when it is time for one.
    fn malformed(&mut self, protocol: Protocol) -> Option<String> {
        let count = &mut self.of[protocol as usize];
        *count = count.saturating_add(1);
        match *count {
            1 => Some(format!("A malformed {protocol} was ignored.")),
            count if count.is_power_of_two() => Some(format!(
                "{count} malformed {protocol}s were ignored since the start."
            )),
            _ => None,
        }
    }

    /// What is to be done for something that came: nothing when it was malformed, which is counted and told.
    pub(crate) fn sound<T>(&mut self, protocol: Protocol, result: Result<Vec<T>, Malformed>) -> Vec<T> {
        result.unwrap_or_else(|Malformed| {
            if let Some(line) = self.malformed(protocol) {
                eprintln!("{line}");
            }
            Vec::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_malformed_packets_is_told_in_a_few_lines() {
        let mut counts = Counts::default();
        let lines: Vec<String> = (0..1_000_000)
            .filter_map(|_| counts.malformed(Protocol::Arp))
            .collect();
        assert_eq!(lines.len(), 20);
        assert_eq!(lines[0], "A malformed ARP packet was ignored.");
        assert_eq!(lines[1], "2 malformed ARP packets were ignored since the start.");
        assert_eq!(
            lines[19],
            "524288 malformed ARP packets were ignored since the start."
        );
    }

    #[test]
    fn each_protocol_is_counted_by_itself() {
        let mut counts = Counts::default();
        for protocol in [
            Protocol::Dhcp,
            Protocol::Arp,
            Protocol::RouterAdvertisement,
            Protocol::Mdns,
            Protocol::Ntp,
            Protocol::Dns,
        ] {
            let line = counts.malformed(protocol);
            assert_eq!(line, Some(format!("A malformed {protocol} was ignored.")));
        }
    }
}
