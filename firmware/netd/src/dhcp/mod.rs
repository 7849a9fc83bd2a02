//! The client of RFC 2131 as a value: datagrams and the time go in, actions come out.
//!
//! # Invariants
//! - Times are milliseconds of a clock that never steps; nothing here reads one.
//! - Between `Lease` and `LeaseLost` the machine holds that lease; no `LeaseLost` comes without a lease before it.
//! - Whatever a server sends, the machine sends at most one datagram for it, and retransmissions wait at least
//!   `RETRY_MS_MIN`: a hostile server cannot make it flood the network.

mod message;

use std::net::Ipv4Addr;

use handoff::{HostName, LEASE_SECONDS_FOREVER, Lease};
use message::{Reply, ReplyKind, Request, RequestKind, Terms};

use crate::count::Malformed;

/// RFC 2131 §4.1: the first retransmission after 4 s, then doubled up to 64 s, each give or take one second.
const RETRY_MS_FIRST: u64 = 4_000;
const RETRY_MS_MAX: u64 = 64_000;
const RETRY_MS_JITTER: u64 = 1_000;
/// What follows from the three above.
#[cfg(test)]
const RETRY_MS_MIN: u64 = RETRY_MS_FIRST - RETRY_MS_JITTER;
/// RFC 2131 §3.1 (5) leaves the number open; four requests take a minute.
const REQUESTS_MAX: u32 = 4;
/// RFC 2131 §4.4.5: while renewing and rebinding, half of the time that is left, but not below a minute.
const EXTEND_MS_MIN: u64 = 60_000;

/// What the owner of the machine is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this to 255.255.255.255:67 from 0.0.0.0, below the kernel's IP.
    Broadcast(Vec<u8>),
    /// Send this to port 67 of a server, from the lease's address.
    Unicast(Ipv4Addr, Vec<u8>),
    /// A lease begins or was extended.
    Lease(Lease),
    /// The lease is over.
    LeaseLost,
}

/// The client of one interface.
#[derive(Debug)]
pub(crate) struct Machine<R> {
    mac: [u8; 6],
    name: HostName,
    random: R,
    xid: u32,
    /// When the search for an address, or the extension of the lease, began.
    began_ms: u64,
    state: State,
    held: Option<Held>,
    /// The time servers that the lease names.
    ntp: Vec<Ipv4Addr>,
    /// How often in a row a server refused what it had offered.
    refusals: u32,
}

/// What is waited for, and until when (`at_ms`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The time to begin.
    Starting { at_ms: u64 },
    /// An offer; `sent` DISCOVERs are out.
    Selecting { sent: u32, at_ms: u64 },
    /// The acknowledgement of the one server whose offer was taken.
    Requesting {
        address: Ipv4Addr,
        server: Ipv4Addr,
        sent: u32,
        sent_ms: u64,
        at_ms: u64,
    },
    /// T1.
    Bound,
    /// The acknowledgement of the lease's own server.
    Renewing { sent_ms: u64, at_ms: u64 },
    /// The acknowledgement of any server.
    Rebinding { sent_ms: u64, at_ms: u64 },
}

/// The lease in force. A lease without an end has no times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    address: Ipv4Addr,
    server: Ipv4Addr,
    times: Option<Times>,
}

// The unit is part of a number's name.
#[allow(clippy::struct_field_names)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    renew_ms: u64,
    rebind_ms: u64,
    expire_ms: u64,
}

impl<R: FnMut() -> u32> Machine<R> {
    /// A client that begins at once. RFC 2131 §4.4.1 would have it wait up to ten seconds, for the sake of many
    /// hosts that power up together. Deviation: an office has few, and waits for its mail.
    pub(crate) fn new(mac: [u8; 6], name: HostName, mut random: R, now_ms: u64) -> Self {
        let xid = random();
        let state = State::Starting { at_ms: now_ms };
        Self {
            mac,
            name,
            random,
            xid,
            began_ms: now_ms,
            state,
            held: None,
            ntp: Vec::new(),
            refusals: 0,
        }
    }

    /// The name that servers are told from the next message on.
    pub(crate) fn rename(&mut self, name: HostName) {
        self.name = name;
    }

    /// The time servers of the lease in force (RFC 2132 §8.3), best first.
    pub(crate) fn ntp(&self) -> &[Ipv4Addr] {
        &self.ntp
    }

    /// Gives the lease back, because somebody else uses its address, and begins anew after `pause_ms`.
    ///
    /// RFC 2131 §4.4.4: by broadcast, and as a message of its own, which no server answers.
    pub(crate) fn decline(&mut self, pause_ms: u64, now_ms: u64) -> Vec<Action> {
        let Some(Held { address, server, .. }) = self.held else {
            return Vec::new();
        };
        self.xid = (self.random)();
        self.began_ms = now_ms;
        let declined = self.request(RequestKind::Decline { address, server }, now_ms);
        let mut actions = vec![Action::Broadcast(declined)];
        actions.extend(self.lose(now_ms + pause_ms));
        actions
    }

    /// When [`Machine::tick`] has something to do, if nothing is received before. `None`: never.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        let times = self.held.and_then(|held| held.times);
        match self.state {
            State::Starting { at_ms } | State::Selecting { at_ms, .. } | State::Requesting { at_ms, .. } => {
                Some(at_ms)
            }
            State::Bound => times.map(|times| times.renew_ms),
            State::Renewing { at_ms, .. } => times.map(|times| at_ms.min(times.rebind_ms)),
            State::Rebinding { at_ms, .. } => times.map(|times| at_ms.min(times.expire_ms)),
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        if self.deadline_ms().is_none_or(|deadline| now_ms < deadline) {
            return Vec::new();
        }
        if let Some(Held {
            times: Some(times), ..
        }) = self.held
            && now_ms >= times.expire_ms
        {
            let mut actions = self.lose(now_ms);
            actions.extend(self.tick(now_ms));
            return actions;
        }
        match self.state {
            State::Starting { .. } => {
                self.xid = (self.random)();
                self.began_ms = now_ms;
                self.discover(0, now_ms)
            }
            State::Selecting { sent, .. } => self.discover(sent, now_ms),
            State::Requesting {
                sent: REQUESTS_MAX.., ..
            } => {
                self.state = State::Starting { at_ms: now_ms };
                self.tick(now_ms)
            }
            State::Requesting {
                address,
                server,
                sent,
                ..
            } => self.select(address, server, sent, now_ms),
            State::Bound => {
                self.xid = (self.random)();
                self.began_ms = now_ms;
                self.extend(now_ms)
            }
            State::Renewing { .. } | State::Rebinding { .. } => self.extend(now_ms),
        }
    }

    /// Takes one datagram that came to port 68.
    ///
    /// # Errors
    /// [`Malformed`]: a message for us that cannot be used. Nothing has changed.
    pub(crate) fn receive(&mut self, payload: &[u8], now_ms: u64) -> Result<Vec<Action>, Malformed> {
        let reply = Reply::decode(payload, self.mac)?;
        Ok(reply.map_or_else(Vec::new, |reply| self.answered(reply, now_ms)))
    }

    fn answered(&mut self, reply: Reply, now_ms: u64) -> Vec<Action> {
        if reply.xid != self.xid {
            return Vec::new();
        }
        match (self.state, reply.kind) {
            (State::Selecting { .. }, ReplyKind::Offer { address, server }) => {
                self.select(address, server, 0, now_ms)
            }
            // The server that acknowledges is the one that was asked; its identifier may differ behind a relay, the
            // address may not.
            (State::Requesting { address, sent_ms, .. }, ReplyKind::Ack(terms))
                if terms.lease.address == address =>
            {
                self.bind(terms, sent_ms, now_ms)
            }
            (State::Renewing { sent_ms, .. } | State::Rebinding { sent_ms, .. }, ReplyKind::Ack(terms))
                if self.held.is_some_and(|held| held.address == terms.lease.address) =>
            {
                self.bind(terms, sent_ms, now_ms)
            }
            (State::Requesting { server: asked, .. }, ReplyKind::Nak { server })
                if server.is_none_or(|server| server == asked) =>
            {
                self.restart(now_ms);
                Vec::new()
            }
            (State::Renewing { .. } | State::Rebinding { .. }, ReplyKind::Nak { .. }) => self.lose(now_ms),
            // A second offer, a late acknowledgement, an answer to nothing.
            _ => Vec::new(),
        }
    }

    fn discover(&mut self, sent: u32, now_ms: u64) -> Vec<Action> {
        let at_ms = now_ms + self.retry_ms(sent);
        self.state = State::Selecting {
            sent: sent + 1,
            at_ms,
        };
        vec![Action::Broadcast(self.request(RequestKind::Discover, now_ms))]
    }

    fn select(&mut self, address: Ipv4Addr, server: Ipv4Addr, sent: u32, now_ms: u64) -> Vec<Action> {
        let at_ms = now_ms + self.retry_ms(sent);
        self.state = State::Requesting {
            address,
            server,
            sent: sent + 1,
            sent_ms: now_ms,
            at_ms,
        };
        vec![Action::Broadcast(
            self.request(RequestKind::Select { address, server }, now_ms),
        )]
    }

    /// Asks to keep the lease: its own server before T2, everybody after.
    fn extend(&mut self, now_ms: u64) -> Vec<Action> {
        let Some(Held {
            address,
            server,
            times: Some(times),
        }) = self.held
        else {
            // States after Bound are entered with a lease that ends; without one there is nothing to extend.
            self.restart(now_ms);
            return Vec::new();
        };
        let octets = self.request(RequestKind::Extend { address }, now_ms);
        let wait = |until_ms: u64| now_ms + (until_ms.saturating_sub(now_ms) / 2).max(EXTEND_MS_MIN);
        if now_ms < times.rebind_ms {
            self.state = State::Renewing {
                sent_ms: now_ms,
                at_ms: wait(times.rebind_ms),
            };
            vec![Action::Unicast(server, octets)]
        } else {
            self.state = State::Rebinding {
                sent_ms: now_ms,
                at_ms: wait(times.expire_ms),
            };
            vec![Action::Broadcast(octets)]
        }
    }

    /// RFC 2131 §4.4.1: the lease counts from when its request was sent.
    fn bind(&mut self, terms: Terms, sent_ms: u64, now_ms: u64) -> Vec<Action> {
        let mut lease = terms.lease;
        let after = |seconds: u32| sent_ms + u64::from(seconds) * 1000;
        let times = (lease.seconds != LEASE_SECONDS_FOREVER).then(|| Times {
            renew_ms: after(terms.renew_seconds),
            rebind_ms: after(terms.rebind_seconds),
            expire_ms: after(lease.seconds),
        });
        if let Some(times) = times {
            let left_ms = times.expire_ms.saturating_sub(now_ms);
            // It was granted in whole seconds below the "for ever", so what is left of it fits.
            lease.seconds = u32::try_from(left_ms.div_ceil(1000))
                .unwrap_or(lease.seconds)
                .max(1);
        }
        self.ntp = terms.ntp;
        self.held = Some(Held {
            address: lease.address,
            server: terms.server,
            times,
        });
        self.state = State::Bound;
        self.refusals = 0;
        vec![Action::Lease(lease)]
    }

    /// Gives the lease up and begins anew at `at_ms`. When it expired or was refused, that is at once: the network
    /// has changed, and the first try of a new search need not wait.
    fn lose(&mut self, at_ms: u64) -> Vec<Action> {
        self.held = None;
        self.ntp.clear();
        self.state = State::Starting { at_ms };
        vec![Action::LeaseLost]
    }

    /// Begins anew after a refusal, later each time, so that a server which offers and refuses is not asked in a
    /// tight loop.
    fn restart(&mut self, now_ms: u64) {
        let at_ms = now_ms + self.retry_ms(self.refusals);
        self.refusals = self.refusals.saturating_add(1);
        self.state = State::Starting { at_ms };
    }

    /// The wait after the `sent`-th retransmission.
    fn retry_ms(&mut self, sent: u32) -> u64 {
        let base = RETRY_MS_FIRST
            .checked_shl(sent.min(8))
            .unwrap_or(RETRY_MS_MAX)
            .min(RETRY_MS_MAX);
        base - RETRY_MS_JITTER + u64::from((self.random)()) % (2 * RETRY_MS_JITTER + 1)
    }

    fn request(&self, kind: RequestKind, now_ms: u64) -> Vec<u8> {
        let secs = now_ms.saturating_sub(self.began_ms) / 1000;
        let secs = u16::try_from(secs).unwrap_or(u16::MAX);
        Request {
            kind,
            mac: self.mac,
            name: &self.name,
            xid: self.xid,
            secs,
        }
        .encode()
    }
}

#[cfg(test)]
mod tests;
