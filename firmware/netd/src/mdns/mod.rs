//! The responder of RFC 6762 for one link as a value: messages and the time go in, messages and news come out.
//!
//! ```text
//!          on, with a name and an address          3 x 250 ms, nobody objects         twice
//!  Silent ───────────────────────────────▶ Probing ──────────────────────▶ Announcing ─────▶ Established
//!    ▲                                       │ ▲ └─ another probes, and wins: one second          │
//!    └── somebody has the name: NameConflict ┘ └───────── somebody says otherwise ────────────────┘
//! ```
//!
//! Questions are answered from the first announcement on, so that a name is never used that was not asked for. After
//! [`Action::NameConflict`] nothing is said until there is another name.
//!
//! Only who is on the link is heard: a source outside the prefixes of our own addresses is ignored (RFC 6762 §11), also in
//! what came by multicast. Deviation: the RFC believes anything that was sent to the group; a neighbour with an address of
//! another network does not find the box by name here.
//!
//! # Invariants
//! - Times are milliseconds of a clock that never steps.
//! - A record is multicast at most once a second, and once in 250 ms where it answers a probe (RFC 6762 §6). To single
//!   questioners at most `UNICASTS_MAX` messages a second are sent, to each question one at most: the box cannot be made to
//!   flood anybody.
//! - A hostile neighbour can take the name away (that is in the nature of the protocol), but not more often than once in five
//!   seconds after the fifteenth time (RFC 6762 §8.1).
//! - Nothing is sent while it is off, or without an address.
//!
//! What the box itself has said on another of its interfaces is not to be given to it: it would take itself for a stranger.
//!
//! Not supported: several names, subtypes, enumeration of services beyond `_https._tcp`, suppression of answers that another host has just given (RFC 6762 §7.4: no
//! other host has ours).

mod answer;
mod records;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use answer::{MULTICAST_MS_MIN, Pending};
use handoff::{Address, HostName};
use records::Records;
use simple_dns::{CLASS, OPCODE, Packet, PacketFlag, RCODE, ResourceRecord};

use crate::count::Malformed;
use crate::dns::message;

/// RFC 6762 §2.
pub(crate) const PORT: u16 = 5353;

/// RFC 6762 §8.1.
const PROBES: u32 = 3;
const PROBE_MS: u64 = 250;
/// RFC 6762 §8.3.
const ANNOUNCEMENTS: u32 = 2;
const ANNOUNCEMENT_MS: u64 = 1_000;
/// RFC 6762 §8.2: who loses to another that probes at the same time.
const DEFER_MS: u64 = 1_000;
/// RFC 6762 §8.1: after fifteen conflicts in ten seconds each further try waits for five; here, until a minute has passed
/// without one.
const CONFLICTS_MAX: usize = 15;
const CONFLICTS_MS: u64 = 10_000;
const CONFLICTS_WAIT_MS: u64 = 5_000;
const CONFLICTS_CALM_MS: u64 = 60_000;
/// What the owner of the machine is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this to port 5353 of 224.0.0.251 and of ff02::fb, as far as the interface has an address of the kind, from port
    /// 5353, with a time to live of 255 and not to ourselves.
    Multicast(Vec<u8>),
    /// Send this from port 5353 to one address.
    Unicast(SocketAddr, Vec<u8>),
    /// The name belongs to somebody else.
    NameConflict,
}

/// The responder of one interface.
#[derive(Debug)]
pub(crate) struct Machine<R> {
    random: R,
    is_on: bool,
    /// The first label of the host name.
    label: String,
    /// Whether somebody else has it.
    is_lost: bool,
    addresses: Vec<Address>,
    records: Records,
    state: State,
    pending: Vec<Pending>,
    /// When the last conflicts were, the newest last.
    conflicts: VecDeque<u64>,
    /// Until then each try waits.
    crowded_ms: u64,
    /// When the count of messages to single questioners began, and what it is.
    unicasts: (u64, u32),
}

/// What is done next, and when (`at_ms`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Silent,
    Probing { sent: u32, at_ms: u64 },
    Announcing { sent: u32, at_ms: u64 },
    Established,
}

impl<R: FnMut() -> u32> Machine<R> {
    /// A responder that is off.
    pub(crate) fn new(name: &HostName, random: R) -> Self {
        Self {
            random,
            is_on: false,
            label: label(name),
            is_lost: false,
            addresses: Vec::new(),
            records: Records::default(),
            state: State::Silent,
            pending: Vec::new(),
            conflicts: VecDeque::new(),
            crowded_ms: 0,
            unicasts: (0, 0),
        }
    }

    /// On: the name is probed for and announced. Off: it is taken back, and nothing more is said. Also right before the end.
    pub(crate) fn set_on(&mut self, is_on: bool, now_ms: u64) -> Vec<Action> {
        if is_on == self.is_on {
            return Vec::new();
        }
        let actions = self.withdraw();
        self.is_on = is_on;
        self.is_lost = false;
        self.start(now_ms);
        actions
    }

    /// The name to have from now on. Of a name with several labels the first counts: what is behind it is a domain, and the
    /// domain here is `local`.
    pub(crate) fn set_name(&mut self, name: &HostName, now_ms: u64) -> Vec<Action> {
        let label = label(name);
        if label == self.label && !self.is_lost {
            return Vec::new();
        }
        let actions = self.withdraw();
        self.label = label;
        self.is_lost = false;
        self.start(now_ms);
        actions
    }

    /// The addresses that the interface has now.
    pub(crate) fn set_addresses(&mut self, addresses: &[Address], now_ms: u64) -> Vec<Action> {
        let is_told = |address: &&Address| {
            !address.ip.is_unspecified() && !address.ip.is_loopback() && !address.ip.is_multicast()
        };
        let addresses: Vec<Address> = addresses.iter().filter(is_told).copied().collect();
        if addresses == self.addresses {
            return Vec::new();
        }
        self.addresses = addresses;
        match self.state {
            State::Silent | State::Probing { .. } => {
                self.start(now_ms);
                Vec::new()
            }
            // Nothing can be sent any more.
            _ if self.addresses.is_empty() => {
                self.rest();
                Vec::new()
            }
            // RFC 6762 §8.4: other data of the same names need no probing.
            State::Announcing { .. } | State::Established => {
                let new = Records::new(&self.label, &self.addresses);
                let old = std::mem::replace(&mut self.records, new);
                let is_gone = |ours: &&records::Record| self.records.position(&ours.rr).is_none();
                let gone = records::goodbye(old.all.iter().filter(is_gone));
                for ours in &mut self.records.all {
                    let before = old.position(&ours.rr).and_then(|at| old.all.get(at));
                    ours.multicast_ms = before.and_then(|before| before.multicast_ms);
                }
                self.pending.clear();
                let last_ms = self.records.all.iter().filter_map(|ours| ours.multicast_ms).max();
                let earliest_ms = last_ms.map_or(0, |last_ms| last_ms + MULTICAST_MS_MIN);
                self.state = State::Announcing {
                    sent: 0,
                    at_ms: now_ms.max(earliest_ms),
                };
                gone.into_iter().map(Action::Multicast).collect()
            }
        }
    }

    /// When [`Machine::tick`] has something to do, if nothing is received before. `None`: never.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        let state = match self.state {
            State::Silent | State::Established => None,
            State::Probing { at_ms, .. } | State::Announcing { at_ms, .. } => Some(at_ms),
        };
        let pending = self.pending.iter().map(|pending| pending.at_ms).min();
        [state, pending].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        match self.state {
            State::Probing { sent, at_ms } if now_ms >= at_ms => {
                if sent < PROBES {
                    actions.push(Action::Multicast(records::probe(&self.records)));
                    self.state = State::Probing {
                        sent: sent + 1,
                        at_ms: now_ms + PROBE_MS,
                    };
                } else {
                    actions.extend(self.announce(0, now_ms));
                }
            }
            State::Announcing { sent, at_ms } if now_ms >= at_ms => {
                actions.extend(self.announce(sent, now_ms));
            }
            _ => {}
        }
        actions.extend(self.answer_pending(now_ms));
        actions
    }

    /// Takes one message that came to port 5353, by multicast or not.
    ///
    /// # Errors
    /// [`Malformed`]: it is no message. It has changed nothing.
    pub(crate) fn receive(
        &mut self,
        from: SocketAddr,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Action>, Malformed> {
        if self.state == State::Silent || !self.is_on_link(from.ip()) {
            return Ok(Vec::new());
        }
        let packet = message::parse(payload).ok_or(Malformed)?;
        // RFC 6762 §18.3, §18.11: others are ignored.
        if packet.opcode() != OPCODE::StandardQuery || packet.rcode() != RCODE::NoError {
            return Ok(Vec::new());
        }
        let mut actions = if packet.has_flags(PacketFlag::RESPONSE) {
            // RFC 6762 §6: a response from another port is none.
            if from.port() != PORT {
                return Ok(Vec::new());
            }
            self.hear_response(&packet, now_ms)
        } else if matches!(self.state, State::Probing { .. }) {
            self.hear_probe(&packet, now_ms);
            Vec::new()
        } else {
            self.hear_query(from, &packet, now_ms)
        };
        actions.extend(self.answer_pending(now_ms));
        Ok(actions)
    }

    /// Begins to probe, if there is everything for it.
    fn start(&mut self, now_ms: u64) {
        self.rest();
        if !self.is_on || self.is_lost || self.addresses.is_empty() {
            return;
        }
        self.records = Records::new(&self.label, &self.addresses);
        self.probe_after(0, now_ms);
    }

    /// RFC 6762 §8.1: the first probe waits for up to 250 ms, and longer after many conflicts.
    fn probe_after(&mut self, wait_ms: u64, now_ms: u64) {
        let wait_ms = if now_ms < self.crowded_ms {
            wait_ms.max(CONFLICTS_WAIT_MS)
        } else {
            wait_ms
        };
        self.state = State::Probing {
            sent: 0,
            at_ms: now_ms + wait_ms + u64::from((self.random)()) % (PROBE_MS + 1),
        };
    }

    /// Says goodbye to what was announced.
    fn withdraw(&mut self) -> Vec<Action> {
        let gone = match self.state {
            State::Silent | State::Probing { .. } => Vec::new(),
            State::Announcing { .. } | State::Established => records::goodbye(&self.records.all),
        };
        self.rest();
        gone.into_iter().map(Action::Multicast).collect()
    }

    fn rest(&mut self) {
        self.state = State::Silent;
        self.pending.clear();
        self.records = Records::default();
    }

    fn announce(&mut self, sent: u32, now_ms: u64) -> Vec<Action> {
        let mut answers = Vec::new();
        for ours in self.records.all.iter_mut().filter(|ours| !ours.is_negative) {
            ours.multicast_ms = Some(now_ms);
            answers.push(ours.rr.clone());
        }
        self.state = if sent + 1 < ANNOUNCEMENTS {
            State::Announcing {
                sent: sent + 1,
                at_ms: now_ms + ANNOUNCEMENT_MS,
            }
        } else {
            State::Established
        };
        // What waited was just said.
        self.pending.clear();
        let messages = records::multicast(&answers, &[]);
        messages.into_iter().map(Action::Multicast).collect()
    }

    /// RFC 6762 §8.1, §9: does somebody else have the name? And §6.6: does somebody forget our records too early?
    fn hear_response(&mut self, packet: &Packet<'_>, now_ms: u64) -> Vec<Action> {
        let heard = packet.answers.iter().chain(&packet.additional_records);
        let is_probing = matches!(self.state, State::Probing { .. });
        let mut is_contested = false;
        let mut is_forgotten = Vec::new();
        for record in heard.filter(|record| record.class == CLASS::IN) {
            match self.records.position(record) {
                Some(at) => {
                    let ours = &self.records.all[at].rr;
                    if !is_probing && record.ttl < ours.ttl / 2 {
                        is_forgotten.push(at);
                    }
                }
                None => {
                    is_contested |= record.ttl > 0
                        && self.records.is_probed(&record.name)
                        && (is_probing || self.has_type(record));
                }
            }
        }
        if !is_contested {
            for at in is_forgotten {
                self.queue(at, MULTICAST_MS_MIN, now_ms, now_ms, None);
            }
            return Vec::new();
        }
        self.count_conflict(now_ms);
        if is_probing {
            self.rest();
            self.is_lost = true;
            return vec![Action::NameConflict];
        }
        // Back to the beginning: whoever was first defends the name.
        self.start(now_ms);
        Vec::new()
    }

    fn count_conflict(&mut self, now_ms: u64) {
        if self.conflicts.len() == CONFLICTS_MAX {
            self.conflicts.pop_front();
        }
        self.conflicts.push_back(now_ms);
        let first_ms = self.conflicts.front().copied().unwrap_or(now_ms);
        let are_many = self.conflicts.len() == CONFLICTS_MAX && now_ms <= first_ms + CONFLICTS_MS;
        if are_many || now_ms < self.crowded_ms {
            self.crowded_ms = now_ms + CONFLICTS_CALM_MS;
        }
    }

    /// Whether this type is one that we speak for. Of addresses it is both, even if we have one only: we say that the other
    /// does not exist.
    fn has_type(&self, record: &ResourceRecord<'_>) -> bool {
        use simple_dns::TYPE::{A, AAAA, SRV, TXT};
        match record.rdata.type_code() {
            A | AAAA => self.records.probed.first() == Some(&record.name),
            SRV | TXT => self.records.probed.get(1) == Some(&record.name),
            _ => false,
        }
    }

    /// RFC 6762 §8.2: another probes for the same name at the same time. Whose records are later in the alphabet, wins.
    fn hear_probe(&mut self, packet: &Packet<'_>, now_ms: u64) {
        let is_lost = self.records.probed.iter().any(|name| {
            let theirs = packet.name_servers.iter().filter(|record| record.name == *name);
            let mut theirs: Vec<_> = theirs.map(records::comparable).collect();
            let ours = self.records.all.iter().filter(|ours| !ours.is_negative);
            let ours = ours.map(|ours| &ours.rr).filter(|record| record.name == *name);
            let mut ours: Vec<_> = ours.map(records::comparable).collect();
            theirs.sort_unstable();
            ours.sort_unstable();
            ours < theirs
        });
        if is_lost {
            self.probe_after(DEFER_MS, now_ms);
        }
    }

    /// Whether this is a neighbour; we are none of ours.
    fn is_on_link(&self, from: IpAddr) -> bool {
        if self.addresses.iter().any(|ours| ours.ip == from) {
            return false;
        }
        let is_link_local = match from {
            IpAddr::V4(from) => from.is_link_local(),
            IpAddr::V6(from) => from.is_unicast_link_local(),
        };
        is_link_local || self.addresses.iter().any(|ours| is_within(from, ours))
    }
}

fn label(name: &HostName) -> String {
    let text = name.as_str();
    text.split('.').next().unwrap_or(text).to_owned()
}

/// Whether an address is in the subnet of `ours`.
fn is_within(address: IpAddr, ours: &Address) -> bool {
    match (address, ours.ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let apart = a.to_bits() ^ b.to_bits();
            apart.leading_zeros() >= ours.prefix.into()
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let apart = a.to_bits() ^ b.to_bits();
            apart.leading_zeros() >= ours.prefix.into()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
