//! The name servers that routers advertise (RFC 8106) as a value: advertisements and the time go in, lists come out.
//!
//! Addresses and routes of IPv6 are the kernel's business; it leaves name servers to us.
//!
//! **What the caller must check**: nothing more than that the datagram came to the raw ICMPv6 socket of this interface,
//! whose checksum the kernel verifies (RFC 3542 §3.1). It hands over the source and the hop limit (`IPV6_RECVHOPLIMIT`), which are
//! checked here: a limit of 255 shows that no router has forwarded it, and a router's address is link-local (RFC 4861
//! §6.1.2).
//!
//! A link-local name server (`fe80::1`) is left out: it is an address only together with the name of the interface, which
//! neither the messages to `init` nor the resolver of `maild` have. Routers that advertise only such a one have DHCP for
//! IPv4 as well, and tell of a name server there.
//!
//! # Invariants
//! - At most four servers ([`DNS_MAX`]; RFC 8106 §5.3.1 wants three) are told of. Each router that tells of any has one among them as long as there is room; an address
//!   stays as long as one router keeps it alive.
//! - `init` hears of a list when it changes, and of the same list again when half of its time is over: at most once in
//!   `NEWS_MS_MIN`, whatever is advertised.
//! - What is told never outlives its lifetime.

mod message;

use std::net::Ipv6Addr;

use handoff::{DNS_MAX, LEASE_SECONDS_FOREVER};

use crate::count::Malformed;
use crate::dns::is_reachable_6;

/// How many pairs of router and server are kept. More than a few routers on a link are somebody's joke.
const ENTRIES_MAX: usize = 16;
/// RFC 4861 §6.1.2.
const HOP_LIMIT: u8 = 255;
/// How often a list may change.
const NEWS_MS_MIN: u64 = 1_000;
/// RFC 4861 §10: three solicitations, four seconds apart.
const SOLICITATIONS_MAX: u32 = 3;
const SOLICITATION_MS: u64 = 4_000;
/// The kernel solicits as soon as the interface is up, and its answer serves us, too. Only when we come later (netd was
/// started again) we have to do it ourselves.
const SOLICITATION_MS_FIRST: u64 = 1_000;

/// What the owner of the machine is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this from the ICMPv6 socket to all routers (ff02::2) with a hop limit of 255.
    Solicit([u8; 8]),
    /// These are the name servers for so many seconds ([`LEASE_SECONDS_FOREVER`]: until other news); none: no longer any,
    /// for ever.
    Resolvers { dns: Vec<Ipv6Addr>, seconds: u32 },
}

/// The advertisements of one interface.
#[derive(Debug)]
pub(crate) struct Machine {
    entries: Vec<Entry>,
    told: Told,
    /// How many solicitations are out, and when the next is due; `None` once a router was heard.
    solicit: Option<(u32, u64)>,
}

/// A server, and the router that tells of it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    router: Ipv6Addr,
    server: Ipv6Addr,
    /// `None`: never.
    expires_ms: Option<u64>,
}

/// What init knows.
#[derive(Debug, Default)]
struct Told {
    dns: Vec<Ipv6Addr>,
    at_ms: Option<u64>,
    /// `None`: for ever.
    until_ms: Option<u64>,
}

impl Machine {
    /// Without any server. `random` shifts the first solicitation by up to a second.
    pub(crate) fn new(random: u32, now_ms: u64) -> Self {
        let at_ms = now_ms + SOLICITATION_MS_FIRST + u64::from(random) % 1_000;
        Self {
            entries: Vec::new(),
            told: Told::default(),
            solicit: Some((0, at_ms)),
        }
    }

    /// When [`Machine::tick`] has something to do, if nothing is received before. `None`: never.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        let solicit = self.solicit.map(|(_, at_ms)| at_ms);
        let expiry = self.entries.iter().filter_map(|entry| entry.expires_ms).min();
        [solicit, expiry, self.news_ms()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some((sent, at_ms)) = self.solicit
            && now_ms >= at_ms
        {
            actions.push(Action::Solicit(message::SOLICITATION));
            self.solicit = (sent + 1 < SOLICITATIONS_MAX).then_some((sent + 1, now_ms + SOLICITATION_MS));
        }
        self.entries
            .retain(|entry| entry.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms));
        actions.extend(self.news(now_ms));
        actions
    }

    /// Takes one ICMPv6 message that came from `source` with `hop_limit`.
    ///
    /// # Errors
    /// [`Malformed`]: it is no advertisement of a router on this link. It has changed nothing.
    pub(crate) fn receive(
        &mut self,
        source: Ipv6Addr,
        hop_limit: u8,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Action>, Malformed> {
        if hop_limit != HOP_LIMIT || !source.is_unicast_link_local() {
            return Err(Malformed);
        }
        let found = message::name_servers(payload).ok_or(Malformed)?;
        self.solicit = None;
        for servers in found {
            let expires_ms = match servers.seconds {
                LEASE_SECONDS_FOREVER => None,
                seconds => Some(now_ms + u64::from(seconds) * 1_000),
            };
            for server in servers.addresses().filter(|&server| is_reachable_6(server)) {
                self.set(source, server, expires_ms);
            }
        }
        Ok(self.tick(now_ms))
    }

    /// RFC 8106 §6.2. What expires now is dropped by the tick that follows.
    fn set(&mut self, router: Ipv6Addr, server: Ipv6Addr, expires_ms: Option<u64>) {
        let known = self
            .entries
            .iter_mut()
            .find(|entry| entry.router == router && entry.server == server);
        if let Some(entry) = known {
            entry.expires_ms = expires_ms;
        } else if self.entries.len() < ENTRIES_MAX {
            self.entries.push(Entry {
                router,
                server,
                expires_ms,
            });
        }
    }

    /// Tells init what it does not know yet, if it is time for that.
    fn news(&mut self, now_ms: u64) -> Option<Action> {
        if self.news_ms().is_none_or(|at_ms| now_ms < at_ms) {
            return None;
        }
        let (dns, until_ms) = self.servers();
        let seconds = match until_ms {
            None => LEASE_SECONDS_FOREVER,
            // Rounded up, as init may be late; it was at most a `u32` of seconds.
            Some(until_ms) => u32::try_from(until_ms.saturating_sub(now_ms).div_ceil(1_000))
                .unwrap_or(LEASE_SECONDS_FOREVER - 1),
        };
        self.told = Told {
            dns: dns.clone(),
            at_ms: Some(now_ms),
            until_ms,
        };
        Some(Action::Resolvers { dns, seconds })
    }

    /// When init is to be told something; `None`: it knows everything.
    fn news_ms(&self) -> Option<u64> {
        let (dns, until_ms) = self.servers();
        let Some(told_ms) = self.told.at_ms else {
            return (!dns.is_empty()).then_some(0);
        };
        let soon_ms = told_ms + NEWS_MS_MIN;
        if dns != self.told.dns {
            return Some(soon_ms);
        }
        if dns.is_empty() {
            return None;
        }
        match (self.told.until_ms, until_ms) {
            (Some(told), Some(now)) if now < told => Some(soon_ms),
            (Some(told), Some(now)) if now == told => None,
            // It is longer than was said: early enough is halfway.
            (Some(told), _) => Some((told_ms + told.saturating_sub(told_ms) / 2).max(soon_ms)),
            (None, Some(_)) => Some(soon_ms),
            (None, None) => None,
        }
    }

    /// The servers to use: the first of each router, then the second, and so on; and until when all of them are good.
    fn servers(&self) -> (Vec<Ipv6Addr>, Option<u64>) {
        let mut routers: Vec<Ipv6Addr> = Vec::new();
        for entry in &self.entries {
            if !routers.contains(&entry.router) {
                routers.push(entry.router);
            }
        }
        let mut dns = Vec::new();
        for place in 0..self.entries.len() {
            for router in &routers {
                let of_router = self.entries.iter().filter(|entry| entry.router == *router);
                if let Some(entry) = of_router.skip(place).take(1).next()
                    && dns.len() < DNS_MAX
                    && !dns.contains(&entry.server)
                {
                    dns.push(entry.server);
                }
            }
        }
        // A server is good as long as any router says so.
        let good_until = |server: &Ipv6Addr| {
            let of_server = self.entries.iter().filter(|entry| entry.server == *server);
            of_server.map(|entry| entry.expires_ms.unwrap_or(u64::MAX)).max()
        };
        let until_ms = dns.iter().filter_map(good_until).min();
        (dns, until_ms.filter(|&until_ms| until_ms != u64::MAX))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
