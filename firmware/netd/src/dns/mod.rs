//! A stub resolver (RFC 1034 §5.3.1) as a value, for the few names whose addresses this program needs itself.
//!
//! Programs that deliver mail have a resolver of their own that verifies DNSSEC; this one is for the time before the
//! clock is right, when signatures cannot be verified. So its answers are not believed much either: a wrong
//! address of a time server leads to a server that has to agree with others.
//!
//! # Invariants
//! - One question is out at a time, with a new random id; its owner sends it from a new socket with a port that the
//!   kernel picks at random (RFC 5452 §9.2), so that an answer cannot be guessed from elsewhere.
//! - A datagram that is not the answer to that question, octet by octet from the server that was asked, changes nothing.
//! - Every lookup ends, with [`Action::Resolved`], after at most `ATTEMPTS_MAX` datagrams for each question.

pub(crate) mod message;

use std::net::{IpAddr, Ipv6Addr};

use handoff::is_unicast;
use simple_dns::rdata::RData;
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};

use crate::count::Malformed;

/// Four servers from DHCP and four from router advertisements.
const SERVERS_MAX: usize = 8;
/// RFC 1536 §1: servers in turn, a few rounds. With the time below, a question that nobody answers takes 15 s.
const ATTEMPTS_MAX: usize = 6;
/// RFC 1035 §7.2 names 2 to 5 seconds.
const ANSWER_MS_MAX: u64 = 2_500;
/// How many addresses of a name are kept. A pool's name has four.
const ADDRESSES_MAX: usize = 8;
/// How many aliases are followed in one answer.
const ALIASES_MAX: usize = 8;

/// What the owner of the machine is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Close the socket of the question before, and send this to port 53 of a server from a new one (`bind` to port 0
    /// and `connect`).
    Send(IpAddr, Vec<u8>),
    /// The lookup is over; the socket can be closed. For each name, in order, its addresses; none if it has none or
    /// nobody knew.
    Resolved(Vec<Vec<IpAddr>>),
}

/// Which kinds of address are worth asking for: those of which the interface has one itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) has_ipv4: bool,
    pub(crate) has_ipv6: bool,
}

/// The resolver of one interface.
#[derive(Debug)]
pub(crate) struct Machine<R> {
    random: R,
    servers: Vec<IpAddr>,
    /// The server that is asked first: the one that answered last.
    preferred: usize,
    lookup: Option<Lookup>,
}

/// Names that are being resolved.
#[derive(Debug)]
struct Lookup {
    /// The questions that are still to be asked; the last is asked now.
    questions: Vec<Ask>,
    found: Vec<Vec<IpAddr>>,
    /// How often the present question was sent.
    attempts: usize,
    /// Whether any server said anything to it.
    is_answered: bool,
    out: Option<Out>,
}

/// What is asked, and for which of the names.
#[derive(Clone, Copy, Debug)]
struct Ask {
    index: usize,
    name: &'static str,
    kind: TYPE,
}

/// A question on its way.
#[derive(Clone, Copy, Debug)]
struct Out {
    server: usize,
    id: u16,
    at_ms: u64,
}

/// What one answer means for the question.
enum Verdict {
    Found(Vec<IpAddr>),
    /// This server cannot say: truncated, failed, refused.
    AskAnother,
}

impl<R: FnMut() -> u32> Machine<R> {
    /// A resolver without servers.
    pub(crate) fn new(random: R) -> Self {
        Self {
            random,
            servers: Vec::new(),
            preferred: 0,
            lookup: None,
        }
    }

    /// From now on these servers are asked; of more than eight the first. A question that is out is asked anew.
    pub(crate) fn set_servers(&mut self, servers: &[IpAddr], now_ms: u64) -> Vec<Action> {
        let servers: Vec<IpAddr> = servers.iter().copied().take(SERVERS_MAX).collect();
        if servers == self.servers {
            return Vec::new();
        }
        self.servers = servers;
        self.preferred = 0;
        let Some(lookup) = &mut self.lookup else {
            return Vec::new();
        };
        lookup.attempts = 0;
        self.ask(now_ms)
    }

    /// Begins to look `names` up; a lookup before it is forgotten.
    pub(crate) fn resolve(
        &mut self,
        names: &'static [&'static str],
        families: Families,
        now_ms: u64,
    ) -> Vec<Action> {
        let kinds = [(TYPE::A, families.has_ipv4), (TYPE::AAAA, families.has_ipv6)];
        let mut questions: Vec<Ask> = names
            .iter()
            .enumerate()
            .flat_map(|(index, name)| {
                let wanted = kinds.into_iter().filter(|&(_, is_wanted)| is_wanted);
                wanted.map(move |(kind, _)| Ask { index, name, kind })
            })
            .collect();
        questions.reverse();
        self.lookup = Some(Lookup {
            questions,
            found: vec![Vec::new(); names.len()],
            attempts: 0,
            is_answered: false,
            out: None,
        });
        self.ask(now_ms)
    }

    /// When [`Machine::tick`] has something to do, if nothing is received before. `None`: never.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        Some(self.lookup.as_ref()?.out?.at_ms)
    }

    /// Asks again what was not answered in time.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        if self.deadline_ms().is_none_or(|deadline| now_ms < deadline) {
            return Vec::new();
        }
        self.ask(now_ms)
    }

    /// Takes one datagram that came from port 53 of `from`.
    ///
    /// # Errors
    /// [`Malformed`]: it is not the answer to the question that is out. It has changed nothing.
    pub(crate) fn receive(
        &mut self,
        from: IpAddr,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Action>, Malformed> {
        if self.lookup.is_none() {
            return Ok(Vec::new());
        }
        let verdict = self.verdict(from, payload).ok_or(Malformed)?;
        let Some(lookup) = &mut self.lookup else {
            return Ok(Vec::new());
        };
        lookup.is_answered = true;
        if let Verdict::Found(addresses) = verdict {
            if let Some(out) = lookup.out {
                self.preferred = out.server;
            }
            if let Some(ask) = lookup.questions.pop() {
                let known = &mut lookup.found[ask.index];
                let room = ADDRESSES_MAX.saturating_sub(known.len());
                known.extend(addresses.into_iter().take(room));
            }
            lookup.attempts = 0;
            lookup.is_answered = false;
        }
        Ok(self.ask(now_ms))
    }

    /// What an answer says; `None` if it is not the answer to the question that is out.
    fn verdict(&self, from: IpAddr, payload: &[u8]) -> Option<Verdict> {
        let lookup = self.lookup.as_ref()?;
        let (out, ask) = (lookup.out?, lookup.questions.last()?);
        if self.servers.get(out.server) != Some(&from) {
            return None;
        }
        let packet = message::parse(payload)?;
        let name = Name::new(ask.name).ok()?;
        let [question] = &packet.questions[..] else {
            return None;
        };
        // RFC 5452 §9.1: id and question are those that were sent.
        let is_ours = packet.has_flags(PacketFlag::RESPONSE)
            && packet.opcode() == OPCODE::StandardQuery
            && packet.id() == out.id
            && question.qname == name
            && question.qtype == QTYPE::TYPE(ask.kind)
            && question.qclass == QCLASS::CLASS(CLASS::IN);
        if !is_ours {
            return None;
        }
        // Of a truncated answer the rest would come by TCP. The names asked for have short answers; another server
        // is quicker.
        if packet.has_flags(PacketFlag::TRUNCATION) {
            return Some(Verdict::AskAnother);
        }
        match packet.rcode() {
            RCODE::NoError => Some(Verdict::Found(addresses(&packet, name, ask.kind))),
            RCODE::NameError => Some(Verdict::Found(Vec::new())),
            _ => Some(Verdict::AskAnother),
        }
    }

    /// Sends the present question to the next server, or goes on to the next question, or ends.
    fn ask(&mut self, now_ms: u64) -> Vec<Action> {
        let Some(lookup) = &mut self.lookup else {
            return Vec::new();
        };
        let attempts_max = ATTEMPTS_MAX.min(2 * self.servers.len());
        if lookup.attempts >= attempts_max {
            if lookup.is_answered {
                lookup.questions.pop();
                lookup.attempts = 0;
                lookup.is_answered = false;
            } else {
                // Nobody is there: the other names need not be tried.
                lookup.questions.clear();
            }
        }
        let Some(ask) = lookup.questions.last().filter(|_| attempts_max > 0) else {
            let found = std::mem::take(&mut lookup.found);
            self.lookup = None;
            return vec![Action::Resolved(found)];
        };
        let server = (self.preferred + lookup.attempts) % self.servers.len();
        let id = (self.random)().to_be_bytes();
        let id = u16::from_be_bytes([id[0], id[1]]);
        lookup.attempts += 1;
        lookup.out = Some(Out {
            server,
            id,
            at_ms: now_ms + ANSWER_MS_MAX,
        });
        vec![Action::Send(self.servers[server], query(id, ask))]
    }
}

fn query(id: u16, ask: &Ask) -> Vec<u8> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new_unchecked(ask.name),
        ask.kind.into(),
        CLASS::IN.into(),
        false,
    ));
    packet
        .build_bytes_vec()
        .expect("a name of ours is well-formed, and memory can be written to")
}

/// The addresses in the answers, by way of their aliases (RFC 1034 §5.2.2).
fn addresses(packet: &Packet<'_>, name: Name<'_>, kind: TYPE) -> Vec<IpAddr> {
    let of = |owner: &Name<'_>| {
        let owner = owner.clone().into_owned();
        let is_of = move |record: &&ResourceRecord<'_>| record.class == CLASS::IN && record.name == owner;
        packet.answers.iter().filter(is_of)
    };
    let mut owner = name;
    for _ in 0..ALIASES_MAX {
        let alias = of(&owner).find_map(|record| match &record.rdata {
            RData::CNAME(alias) => Some(alias.0.clone()),
            _ => None,
        });
        match alias {
            Some(alias) => owner = alias,
            None => break,
        }
    }
    of(&owner)
        .filter(|record| record.rdata.type_code() == kind)
        .filter_map(message::address)
        .filter(|&address| is_reachable(address))
        .collect()
}

/// Whether a server elsewhere can have this address. A link-local one is told nobody without its link.
pub(crate) fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_unicast(address) && !address.is_link_local(),
        IpAddr::V6(address) => is_reachable_6(address),
    }
}

pub(crate) fn is_reachable_6(address: Ipv6Addr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !address.is_unicast_link_local()
        && address.to_ipv4_mapped().is_none()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
