//! Ports of the box, as seen from the computer it runs on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

/// A service of the box and where a person finds it on the computer that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// What people call it.
    pub name: &'static str,
    /// The port in the box.
    pub guest: u16,
    /// The port on the computer, if it is free.
    pub host: u16,
}

/// The services that exist. Later ones (465 on 2465, 587 on 2587, 995 on 2995) are lines here.
pub const SERVICES: [Service; 3] = [
    Service {
        name: "Web",
        guest: 443,
        host: 2443,
    },
    Service {
        name: "SMTP",
        guest: 25,
        host: 2525,
    },
    Service {
        name: "IMAP over TLS",
        guest: 993,
        host: 2993,
    },
];

/// Where on the computer a port of the box appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPort {
    /// Any free port; QEMU takes it, so no other program can come in between.
    Free,
    /// This one.
    At(u16),
}

/// `wanted`, or the next port above it that is free on loopback.
///
/// Another program may take it before the machine does; the machine's start then says so.
pub fn free_from(wanted: u16) -> Option<u16> {
    (wanted..=u16::MAX).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// Reads QEMU's `info usernet`: port in the box → port on the computer.
///
/// ```text
///   Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
///   TCP[HOST_FORWARD]   8       127.0.0.1 42839       10.0.2.15    25     0     0
/// ```
pub(crate) fn forwarded(usernet: &str) -> BTreeMap<u16, u16> {
    usernet
        .lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            match columns.as_slice() {
                ["TCP[HOST_FORWARD]", _, _, host, _, guest, ..] => {
                    Some((guest.parse().ok()?, host.parse().ok()?))
                }
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_gives_the_next_free_one() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let chosen = free_from(port).unwrap();
        assert!(chosen > port, "{chosen} is not above {port}");
        drop(taken);
        assert_eq!(free_from(port), Some(port));
    }

    #[test]
    fn the_forwarded_ports_are_read_from_qemus_table() {
        let table = "Hub -1 (n):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                     TCP[HOST_FORWARD]   8       127.0.0.1 42839       10.0.2.15    25     0     0\r\n  \
                     TCP[ESTABLISHED]    9       127.0.0.1 42839       10.0.2.15    25     0     0\r\n  \
                     TCP[HOST_FORWARD]   3       127.0.0.1 40141       10.0.2.15   993     0     0\r\n";
        assert_eq!(forwarded(table), BTreeMap::from([(25, 42839), (993, 40141)]));
    }

    #[test]
    fn no_two_services_share_a_port() {
        for (index, one) in SERVICES.iter().enumerate() {
            for other in &SERVICES[index + 1..] {
                assert!(one.guest != other.guest && one.host != other.host);
            }
        }
    }
}
