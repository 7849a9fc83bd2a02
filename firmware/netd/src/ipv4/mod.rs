//! The IPv4 address of one interface, from a server or chosen by a person: what `dhcp` was given or the settings name
//! goes to init only when `arp` has found nobody else with it, and is taken back when somebody turns up later. Pure.
//!
//! # Invariants
//! - A `Lease` of an address that is not in use yet comes after a quiet while on the wire; no `LeaseLost` comes without
//!   a `Lease` before it.
//! - Each `Conflict` comes while nothing is leased: after `LeaseLost`, if there was a `Lease`.

use std::net::Ipv4Addr;

use handoff::{HostName, Ipv4Settings, LEASE_SECONDS_FOREVER, Lease};

use crate::arp::{self, FRAME_OCTETS, Pace};
use crate::count::Malformed;
use crate::dhcp;

/// RFC 2131 §3.1 (5): at least ten seconds from a DECLINE to the next DISCOVER. A chosen address is tried again as
/// soon.
const PAUSE_MS: u64 = 10_000;
/// RFC 5227 §1.1: after so many conflicts (`MAX_CONFLICTS`) …
const CONFLICTS_MAX: u32 = 10;
/// … one try in this time (`RATE_LIMIT_INTERVAL`).
const PAUSE_MS_MAX: u64 = 60_000;

/// What the owner is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this DHCP message to 255.255.255.255:67 from 0.0.0.0, below the kernel's IP.
    Broadcast(Vec<u8>),
    /// Send this DHCP message to port 67 of a server, from the lease's address.
    Unicast(Ipv4Addr, Vec<u8>),
    /// Send this frame on the ARP socket.
    Arp([u8; FRAME_OCTETS]),
    /// A lease begins or was extended.
    Lease(Lease),
    /// The lease is over.
    LeaseLost,
    /// The machine with this hardware address uses the address.
    Conflict { address: Ipv4Addr, mac: [u8; 6] },
}

/// The address of one interface.
#[derive(Debug)]
pub(crate) struct Ipv4<R> {
    source: Source<R>,
    arp: arp::Machine<R>,
    /// Waits until its address was found free.
    held_back: Option<Lease>,
    /// The address of the lease that init was told.
    leased: Option<Ipv4Addr>,
    /// What the kernel has.
    applied: Vec<Ipv4Addr>,
    /// Since a claim went well.
    conflicts: u32,
}

/// Where the address comes from.
#[derive(Debug)]
enum Source<R> {
    Server(dhcp::Machine<R>),
    /// Chosen, with the time at which to try it (again).
    Chosen {
        lease: Lease,
        try_ms: Option<u64>,
    },
}

impl<R: FnMut() -> u32 + Clone> Ipv4<R> {
    /// Begins at once.
    pub(crate) fn new(mac: [u8; 6], settings: Ipv4Settings, name: HostName, random: R, now_ms: u64) -> Self {
        let source = match settings {
            Ipv4Settings::Dynamic => Source::Server(dhcp::Machine::new(mac, name, random.clone(), now_ms)),
            Ipv4Settings::Static(chosen) => Source::Chosen {
                lease: Lease {
                    address: chosen.address,
                    prefix: chosen.prefix,
                    gateway: chosen.gateway,
                    dns: chosen.dns,
                    mtu: None,
                    seconds: LEASE_SECONDS_FOREVER,
                },
                try_ms: Some(now_ms),
            },
        };
        Self {
            source,
            arp: arp::Machine::new(mac, random),
            held_back: None,
            leased: None,
            applied: Vec::new(),
            conflicts: 0,
        }
    }

    /// The name that servers are told from the next message on.
    pub(crate) fn rename(&mut self, name: HostName) {
        if let Source::Server(dhcp) = &mut self.source {
            dhcp.rename(name);
        }
    }

    /// The time servers that came with the lease.
    pub(crate) fn ntp(&self) -> &[Ipv4Addr] {
        match &self.source {
            Source::Server(dhcp) if self.leased.is_some() => dhcp.ntp(),
            _ => &[],
        }
    }

    /// The IPv4 addresses that the kernel has now.
    pub(crate) fn applied(&mut self, addresses: Vec<Ipv4Addr>, now_ms: u64) {
        self.applied = addresses;
        self.arp.applied(&self.applied, now_ms);
    }

    /// Whether what comes to the ARP socket should be read at once.
    pub(crate) fn is_probing(&self) -> bool {
        self.arp.is_probing()
    }

    /// When [`Ipv4::tick`] has something to do, if nothing is received before. `None`: never.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        let source_ms = match &self.source {
            Source::Server(dhcp) => dhcp.deadline_ms(),
            Source::Chosen { try_ms, .. } => *try_ms,
        };
        source_ms.into_iter().chain(self.arp.deadline_ms()).min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        let mut actions = match &mut self.source {
            Source::Server(dhcp) => {
                let told = dhcp.tick(now_ms);
                self.told(told, now_ms)
            }
            Source::Chosen { lease, try_ms } => {
                if try_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                    *try_ms = None;
                    self.arp.claim(lease.address, Pace::Careful, now_ms);
                    self.held_back = Some(lease.clone());
                }
                Vec::new()
            }
        };
        let found = self.arp.tick(now_ms);
        actions.extend(self.found(found, now_ms));
        actions
    }

    /// Takes one datagram that came to port 68.
    ///
    /// # Errors
    /// [`Malformed`]: nothing has changed.
    pub(crate) fn receive_dhcp(&mut self, payload: &[u8], now_ms: u64) -> Result<Vec<Action>, Malformed> {
        match &mut self.source {
            Source::Server(dhcp) => {
                let told = dhcp.receive(payload, now_ms)?;
                Ok(self.told(told, now_ms))
            }
            // Nobody was asked.
            Source::Chosen { .. } => Ok(Vec::new()),
        }
    }

    /// Takes one frame that came to the ARP socket.
    ///
    /// # Errors
    /// [`Malformed`]: nothing has changed.
    pub(crate) fn receive_arp(&mut self, frame: &[u8], now_ms: u64) -> Result<Vec<Action>, Malformed> {
        let found = self.arp.receive(frame, now_ms)?;
        Ok(self.found(found, now_ms))
    }

    /// What a server's answer, or its silence, means for the address.
    fn told(&mut self, told: Vec<dhcp::Action>, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for action in told {
            match action {
                dhcp::Action::Broadcast(octets) => actions.push(Action::Broadcast(octets)),
                dhcp::Action::Unicast(server, octets) => actions.push(Action::Unicast(server, octets)),
                // Extended: its address is ours already.
                dhcp::Action::Lease(lease) if self.leased == Some(lease.address) => {
                    actions.push(Action::Lease(lease));
                }
                dhcp::Action::Lease(lease) => {
                    self.arp.claim(lease.address, Pace::Prompt, now_ms);
                    self.held_back = Some(lease);
                }
                dhcp::Action::LeaseLost => {
                    self.arp.release();
                    actions.extend(self.lose());
                }
            }
        }
        actions
    }

    /// What the wire, or its silence, means for the address.
    fn found(&mut self, found: Vec<arp::Action>, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for action in found {
            match action {
                arp::Action::Send(frame) => actions.push(Action::Arp(frame)),
                arp::Action::Usable => {
                    if let Some(lease) = self.held_back.take() {
                        self.leased = Some(lease.address);
                        actions.push(Action::Lease(lease));
                        // After a restart of ours, the kernel may have it already.
                        self.arp.applied(&self.applied, now_ms);
                    }
                }
                arp::Action::Conflict(mac) => actions.extend(self.conflict(mac, now_ms)),
            }
        }
        // Probed for to the end, and nobody came: the next conflict is a new story.
        if self.leased.is_some() && !self.arp.is_probing() {
            self.conflicts = 0;
        }
        actions
    }

    fn conflict(&mut self, mac: [u8; 6], now_ms: u64) -> Vec<Action> {
        let claimed = self.held_back.as_ref().map(|lease| lease.address);
        let Some(address) = claimed.or(self.leased) else {
            return Vec::new();
        };
        self.conflicts = self.conflicts.saturating_add(1);
        let pause_ms = if self.conflicts < CONFLICTS_MAX {
            PAUSE_MS
        } else {
            PAUSE_MS_MAX
        };
        let mut actions = match &mut self.source {
            Source::Server(dhcp) => {
                let told = dhcp.decline(pause_ms, now_ms);
                self.told(told, now_ms)
            }
            Source::Chosen { try_ms, .. } => {
                *try_ms = Some(now_ms + pause_ms);
                self.lose()
            }
        };
        actions.push(Action::Conflict { address, mac });
        actions
    }

    fn lose(&mut self) -> Vec<Action> {
        self.held_back = None;
        self.leased
            .take()
            .map(|_| Action::LeaseLost)
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
