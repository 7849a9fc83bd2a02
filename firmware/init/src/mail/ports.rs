//! The listening sockets of the box. They are opened here and stay open: clients that come while maild is away wait and
//! are not refused. Only where maild ends over and over are they closed, for then waiting would be for nothing (D21).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use handoff::ToMaild;

use crate::child::Child;
use crate::network;
use crate::trouble::{Trouble, reason};

/// The ports of the web, open from the start: an unclaimed box is claimed there.
const WEB: [u16; 1] = [443];
/// The ports of the mail service (P1). An unclaimed box does not have them open (AX2).
const MAIL: [u16; 2] = [25, 993];

/// All of them, in the order they were opened.
#[derive(Debug, Default)]
pub(super) struct Ports {
    open: Vec<(u16, OwnedFd)>,
    closed: Vec<Trouble>,
}

impl Ports {
    /// Opens those of the web.
    pub(super) fn open_web(&mut self) {
        self.open_all(&WEB);
    }

    /// Opens those of mail, where they are not.
    pub(super) fn open_mail(&mut self) {
        self.open_all(&MAIL);
    }

    fn open_all(&mut self, ports: &[u16]) {
        for &port in ports {
            if self.open.iter().any(|(open, _)| *open == port) {
                continue;
            }
            // What was in the way at another start of maild may be gone.
            self.closed
                .retain(|trouble| !matches!(trouble, Trouble::Port { port: of, .. } if *of == port));
            match network::listener(port) {
                Ok(listener) => self.open.push((port, listener)),
                Err(error) => self.closed.push(Trouble::Port {
                    port,
                    reason: reason(&error),
                }),
            }
        }
    }

    /// Closes them all: whoever comes is refused at once, and a mail server tries again later or elsewhere.
    pub(super) fn close(&mut self) {
        self.open.clear();
    }

    /// Opens anew what the maild before has broken: the sockets are shared with it.
    pub(super) fn mend(&mut self) -> io::Result<()> {
        self.open
            .iter_mut()
            .try_for_each(|(port, listener)| network::mend(listener, *port))
    }

    /// Hands over those of the web; whether maild took them.
    pub(super) fn hand_web(&self, child: &Child) -> bool {
        self.hand(child, &WEB)
    }

    /// Hands over those of mail.
    pub(super) fn hand_mail(&self, child: &Child) -> bool {
        self.hand(child, &MAIL)
    }

    fn hand(&self, child: &Child, ports: &[u16]) -> bool {
        let mut wanted = self.open.iter().filter(|(port, _)| ports.contains(port));
        wanted.all(|(port, listener)| child.send(&ToMaild::Listener { port: *port }, &[listener.as_fd()]))
    }

    /// Those that are open, in order.
    pub(super) fn numbers(&self) -> Vec<u16> {
        let mut numbers: Vec<u16> = self.open.iter().map(|(port, _)| *port).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Those that could not be opened.
    pub(super) fn troubles(&self) -> &[Trouble] {
        &self.closed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_that_could_not_be_opened_is_tried_again() {
        let other = TcpListener::bind("[::]:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let mut ports = Ports::default();
        for _ in 0..2 {
            ports.open_all(&[port]);
            assert_eq!((ports.numbers(), ports.troubles().len()), (vec![], 1));
        }
        drop(other);
        ports.open_all(&[port]);
        assert_eq!((ports.numbers(), ports.troubles().len()), (vec![port], 0));
    }
}
