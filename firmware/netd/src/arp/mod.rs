//! Address conflict detection (RFC 5227) as a value: frames and the time go in, actions come out.
//!
//! ```text
//!                        ┌──────────────── somebody else has it: Conflict ────────────────┐
//!                        │                                                                │ a second time
//!   claim, Careful ─▶ probes 1, 2, 3 ──quiet──▶ Usable ──applied──▶ announcements 1, 2 ─▶ in use
//!   claim, Prompt ──▶ probe 1 ──200 ms──▶ Usable ──applied──▶ announcements 1, 2            │ the first time:
//!                     and then probes 2, 3, during which nothing is defended yet ────────▶ │ defended once
//! ```
//!
//! # Invariants
//! - Times are milliseconds of a clock that never steps; nothing here reads one.
//! - After `Conflict` nothing is claimed any more, and nothing is sent until the next claim.
//! - `Usable` is said once a claim, and never after its `Conflict`.
//! - Whatever others send, it is answered at most once in `DEFEND_INTERVAL_MS`.

mod message;

use std::net::Ipv4Addr;

pub(crate) use message::FRAME_OCTETS;
use message::Packet;

use crate::count::Malformed;

// RFC 5227 §1.1, in milliseconds.
const PROBE_WAIT_MS: u64 = 1_000;
const PROBE_NUM: u32 = 3;
const PROBE_MIN_MS: u64 = 1_000;
const PROBE_MAX_MS: u64 = 2_000;
const ANNOUNCE_WAIT_MS: u64 = 2_000;
const ANNOUNCE_NUM: u32 = 2;
const ANNOUNCE_INTERVAL_MS: u64 = 2_000;
const DEFEND_INTERVAL_MS: u64 = 10_000;
/// How long an address that a server has just assigned is waited for to be somebody else's before it is used. On a
/// wire an answer takes a millisecond; who sleeps, as a telephone on a wireless net does, is found by the later probes.
const PROMPT_MS: u64 = 200;

/// How sure one is of an address before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A person has chosen it: all probes first, as the RFC says. Four to seven seconds.
    Careful,
    /// A server has assigned it, and may have looked before it did (RFC 2131 §3.1 (2)): `PROMPT_MS` after the first
    /// probe, which does not wait either. The RFC's wait is for many machines that are switched on together, and
    /// asking the server has set them apart. The other probes follow while the address is in use already.
    Prompt,
}

/// What the owner of the machine is to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this frame.
    Send([u8; FRAME_OCTETS]),
    /// Use the claimed address, and say [`Machine::applied`] when the kernel has it.
    Usable,
    /// This machine has the claimed address. Use it no longer.
    Conflict([u8; 6]),
}

/// The guard of one address of one interface.
#[derive(Debug)]
pub(crate) struct Machine<R> {
    mac: [u8; 6],
    random: R,
    claim: Option<Claim>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    address: Ipv4Addr,
    pace: Pace,
    probes_sent: u32,
    /// When the next probe is due, or after the last one, when probing has ended. `None`: it has.
    probe_ms: Option<u64>,
    /// When the first quiet while is over; only at the prompt pace.
    prompt_ms: Option<u64>,
    is_usable: bool,
    is_applied: bool,
    announcements_sent: u32,
    announce_ms: Option<u64>,
    /// When it was defended last.
    defended_ms: Option<u64>,
}

impl<R: FnMut() -> u32> Machine<R> {
    pub(crate) fn new(mac: [u8; 6], random: R) -> Self {
        Self {
            mac,
            random,
            claim: None,
        }
    }

    /// Begins to find out whether `address` is free. What was claimed before is forgotten.
    pub(crate) fn claim(&mut self, address: Ipv4Addr, pace: Pace, now_ms: u64) {
        let wait_ms = match pace {
            Pace::Careful => u64::from((self.random)()) % (PROBE_WAIT_MS + 1),
            Pace::Prompt => 0,
        };
        self.claim = Some(Claim {
            address,
            pace,
            probes_sent: 0,
            probe_ms: Some(now_ms + wait_ms),
            prompt_ms: None,
            is_usable: false,
            is_applied: false,
            announcements_sent: 0,
            announce_ms: None,
            defended_ms: None,
        });
    }

    /// The address is not ours any more.
    pub(crate) fn release(&mut self) {
        self.claim = None;
    }

    /// The kernel has these addresses now. An address that is usable is announced as soon as it is among them.
    pub(crate) fn applied(&mut self, addresses: &[Ipv4Addr], now_ms: u64) {
        let Some(claim) = self.claim.as_mut().filter(|claim| claim.is_usable) else {
            return;
        };
        let was_applied = std::mem::replace(&mut claim.is_applied, addresses.contains(&claim.address));
        if claim.is_applied && !was_applied {
            claim.announcements_sent = 0;
            claim.announce_ms = Some(now_ms);
        } else if !claim.is_applied {
            claim.announce_ms = None;
        }
    }

    /// When [`Machine::tick`] has something to do, if nothing is received before. `None`: never.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        let claim = self.claim.as_ref()?;
        [claim.probe_ms, claim.prompt_ms, claim.announce_ms]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether an answer decides now whether the address is ours, and so should be read at once.
    pub(crate) fn is_probing(&self) -> bool {
        self.claim.is_some_and(|claim| claim.probe_ms.is_some())
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(claim) = &mut self.claim else {
            return actions;
        };
        let is_due = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if is_due(claim.prompt_ms) {
            claim.prompt_ms = None;
            claim.is_usable = true;
            actions.push(Action::Usable);
        }
        if is_due(claim.probe_ms) {
            if claim.probes_sent == PROBE_NUM {
                claim.probe_ms = None;
                if !std::mem::replace(&mut claim.is_usable, true) {
                    actions.push(Action::Usable);
                }
            } else {
                claim.probes_sent += 1;
                if claim.probes_sent == 1 && claim.pace == Pace::Prompt {
                    claim.prompt_ms = Some(now_ms + PROMPT_MS);
                }
                let wait_ms = if claim.probes_sent == PROBE_NUM {
                    ANNOUNCE_WAIT_MS
                } else {
                    PROBE_MIN_MS + u64::from((self.random)()) % (PROBE_MAX_MS - PROBE_MIN_MS + 1)
                };
                claim.probe_ms = Some(now_ms + wait_ms);
                actions.push(Action::Send(Packet::probe(self.mac, claim.address).encode()));
            }
        }
        if is_due(claim.announce_ms) {
            claim.announcements_sent += 1;
            claim.announce_ms =
                (claim.announcements_sent < ANNOUNCE_NUM).then_some(now_ms + ANNOUNCE_INTERVAL_MS);
            actions.push(Action::Send(
                Packet::announcement(self.mac, claim.address).encode(),
            ));
        }
        actions
    }

    /// Takes one frame that came to the ARP socket.
    ///
    /// # Errors
    /// [`Malformed`]: it is no ARP for IPv4 over Ethernet. Nothing has changed.
    pub(crate) fn receive(&mut self, frame: &[u8], now_ms: u64) -> Result<Vec<Action>, Malformed> {
        let packet = Packet::decode(frame).ok_or(Malformed)?;
        let Some(claim) = &mut self.claim else {
            return Ok(Vec::new());
        };
        // Some switches send what we sent back to us (RFC 5227 §2.1.1).
        if packet.sender_mac == self.mac {
            return Ok(Vec::new());
        }
        // RFC 5227 §2.1.1: two that probe for the same address at the same time both leave it. Once the kernel has
        // it, it answers those who probe, and they go elsewhere.
        let is_rival = packet.is_probe() && packet.target == claim.address && !claim.is_applied;
        if packet.sender != claim.address && !is_rival {
            return Ok(Vec::new());
        }
        // RFC 5227 §2.4 (b): defended, if that has not been necessary a short while ago. As long as it is probed for,
        // and when the kernel does not have it, there is nothing to defend.
        let is_defended = claim.is_applied
            && claim.probe_ms.is_none()
            && claim
                .defended_ms
                .is_none_or(|at_ms| at_ms + DEFEND_INTERVAL_MS <= now_ms);
        if is_defended {
            claim.defended_ms = Some(now_ms);
            let announcement = Packet::announcement(self.mac, claim.address);
            return Ok(vec![Action::Send(announcement.encode())]);
        }
        self.claim = None;
        Ok(vec![Action::Conflict(packet.sender_mac)])
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
