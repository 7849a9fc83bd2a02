//! The client of SNTPv4 (RFC 4330, RFC 5905 §14) as a value: datagrams and the time go in, actions come out.
//!
//! Up to four servers are asked together. One of them may lie; what it takes for a sample is in this table.
//!
//! | servers | from | agree |
//! | --- | --- | --- |
//! | four | the network (option 42) or names | three |
//! | three | names | all |
//! | one to three | the network | all |
//! | fewer than three | names | no sample |
//!
//! The public servers are strangers, of whom three have to agree. The servers that a network's own DHCP names were chosen
//! by whoever runs that network: often there is a single one, the router, and asking for three would leave such an office
//! without the time. But among two there is no majority; and three of one network follow each other or the same clock, so
//! that a difference means that something is wrong there, and not which of them is right: all have to agree. When they have
//! given no sample three times, the names are asked in three rounds of four: a network that hands out a server which is
//! long gone gets its time all the same, by the stricter rule.
//!
//! ```text
//!  Offline ──set_online──▶ Waiting ──names──▶ Resolving ──resolved──▶ Asking ──all answered, or 2 s──▶ Waiting
//!                             └──────────── option 42 ───────────────▶ ┘
//! ```
//!
//! # Invariants
//! - Times are milliseconds of `CLOCK_BOOTTIME`, which the samples are in; nothing here reads a clock.
//! - Rounds begin at least 16 s apart, whatever the network does (RFC 4330 §10: never below 15 s). In a round each server is
//!   sent one datagram; to an answer nothing is sent.
//! - An answer counts only if it carries the random number of the question to that server, once. Other datagrams change
//!   nothing.

mod message;
mod vote;

use std::net::{IpAddr, Ipv4Addr};

use handoff::UNIX_MS_MAX;
use message::{Response, Saying, Timestamp};

use crate::count::Malformed;
use crate::dns::is_reachable;

/// Whom to ask when the network names no time server. The pool asks makers of devices to apply for names of their own
/// before they ship; a release changes these four words and nothing else.
pub(crate) const NAMES: [&str; 4] = [
    "0.pool.ntp.org",
    "1.pool.ntp.org",
    "2.pool.ntp.org",
    "3.pool.ntp.org",
];

/// How many servers are asked in a round, and how many of them have to agree: the fourth may lie or be silent.
const SERVERS_MAX: usize = 4;
const QUORUM: usize = 3;
/// An answer that took longer says too little: its way may have been all on one side, and the time wrong by half of it.
const DELAY_MS_MAX: i64 = 1_000;
/// The limit of RFC 5905 §A.1.1 (MAXDIST) is a second, that of its implementation 1.5.
const ROOT_DISTANCE_MS_MAX: u32 = 1_500;
/// The clock here counts whole milliseconds, so a delay may come out as less than nothing by one or two.
const DELAY_MS_SLACK: i64 = 2;
/// The longest round: a good answer takes [`DELAY_MS_MAX`], and a server may think about it.
const ROUND_MS_MAX: u64 = 2_000;
/// How long names may take. The resolver ends earlier unless it is led about by servers that fail one by one.
const RESOLVE_MS_MAX: u64 = 60_000;
/// After a round without a sample: 16 s, doubled up to the interval below.
const RETRY_MS_FIRST: u64 = 16_000;
/// After the first sample there is soon a second, for init to compare it with.
const CONFIRM_MS: u64 = 64_000;
/// Then one every 1 024 to 2 048 s, 17 to 34 minutes: the clock of a cheap board is off by 0.2 s after that.
const POLL_MS_MIN: u64 = 1_024_000;
/// Each round in which a server says RATE doubles the interval, up to eight times; each without halves it.
const SLOWER_MAX: u32 = 3;
/// So many rounds without a sample from the network's own servers, and the names are asked.
const OWN_FAILURES_MAX: u32 = 3;
/// Servers that said DENY are not asked again; of more than these the oldest is forgotten.
const DENIED_MAX: usize = 16;

/// What the owner of the machine is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Look these names up and call [`Machine::resolved`].
    Resolve(&'static [&'static str]),
    /// Send this to port 123 of a server, from a socket with a port that the kernel has picked (RFC 9109).
    Send(IpAddr, Vec<u8>),
    /// At `boot_ms` it was `unix_ms`.
    Sample { unix_ms: u64, boot_ms: u64 },
}

/// The client of one interface.
#[derive(Debug)]
pub(crate) struct Machine<R> {
    random: R,
    pivot_unix_seconds: u64,
    /// The servers that the network's DHCP named.
    own: Vec<IpAddr>,
    denied: Vec<IpAddr>,
    state: State,
    /// When the last round began.
    began_ms: Option<u64>,
    rounds: u32,
    samples: u32,
    /// Rounds in a row without a sample.
    failures: u32,
    /// The same, of those with the network's servers.
    own_failures: u32,
    slower: u32,
}

/// What is waited for, and until when (`at_ms`).
#[derive(Debug)]
enum State {
    /// An address of our own.
    Offline,
    /// The next round.
    Waiting { at_ms: u64 },
    /// The addresses of the names.
    Resolving { at_ms: u64 },
    /// Answers.
    Asking { round: Round, at_ms: u64 },
}

/// The questions of one round.
#[derive(Debug)]
struct Round {
    questions: Vec<Question>,
    quorum: usize,
    is_own: bool,
}

#[derive(Debug)]
struct Question {
    server: IpAddr,
    nonce: u64,
    sent_ms: u64,
    answer: Option<Answer>,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Unix time less the time since boot.
    OffsetMs(i64),
    AskedTooOften,
    Denied,
    /// Not usable: its clock is not set, or the answer was under way too long.
    Nothing,
}

impl<R: FnMut() -> u32> Machine<R> {
    /// A client that waits for [`Machine::set_online`].
    ///
    /// NTP counts in eras of 136 years, and era 0 ends in 2036. Times are taken to be within 68 years of
    /// `pivot_unix_seconds`: any date of this firmware's making will do.
    pub(crate) fn new(pivot_unix_seconds: u64, random: R) -> Self {
        Self {
            random,
            pivot_unix_seconds,
            own: Vec::new(),
            denied: Vec::new(),
            state: State::Offline,
            began_ms: None,
            rounds: 0,
            samples: 0,
            failures: 0,
            own_failures: 0,
            slower: 0,
        }
    }

    /// The servers that the lease names (option 42); none: the names are asked. Others than before are asked soon.
    pub(crate) fn set_servers(&mut self, servers: &[Ipv4Addr], now_ms: u64) {
        let mut own: Vec<IpAddr> = Vec::new();
        for &server in servers {
            let server = IpAddr::V4(server);
            if is_reachable(server) && !own.contains(&server) && own.len() < SERVERS_MAX {
                own.push(server);
            }
        }
        if own == self.own {
            return;
        }
        self.own = own;
        self.own_failures = 0;
        self.denied.retain(|server| !self.own.contains(server));
        if !matches!(self.state, State::Offline) {
            self.begin_soon(now_ms);
        }
    }

    /// Whether the interface has an address that datagrams can be sent from. Without one nothing is sent.
    pub(crate) fn set_online(&mut self, is_online: bool, now_ms: u64) {
        match (&self.state, is_online) {
            (State::Offline, true) => {
                self.failures = 0;
                self.begin_soon(now_ms);
            }
            (State::Waiting { .. } | State::Resolving { .. } | State::Asking { .. }, false) => {
                self.state = State::Offline;
            }
            _ => {}
        }
    }

    /// When [`Machine::tick`] has something to do, if nothing is received before. `None`: never.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Offline => None,
            State::Waiting { at_ms } | State::Resolving { at_ms } | State::Asking { at_ms, .. } => {
                Some(at_ms)
            }
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        if self.deadline_ms().is_none_or(|deadline| now_ms < deadline) {
            return Vec::new();
        }
        match self.state {
            State::Offline => Vec::new(),
            State::Waiting { .. } => self.begin(now_ms),
            State::Resolving { .. } => {
                self.fail(now_ms);
                Vec::new()
            }
            State::Asking { .. } => self.conclude(now_ms),
        }
    }

    /// Takes the addresses of [`NAMES`], in their order.
    pub(crate) fn resolved(&mut self, found: &[Vec<IpAddr>], now_ms: u64) -> Vec<Action> {
        if !matches!(self.state, State::Resolving { .. }) {
            return Vec::new();
        }
        let servers = self.one_of_each(found);
        if servers.len() < QUORUM {
            self.fail(now_ms);
            return Vec::new();
        }
        self.ask(servers, false, now_ms)
    }

    /// Takes one datagram that came from port 123 of `from`.
    ///
    /// # Errors
    /// [`Malformed`]: it is not the answer to a question that is out. It has changed nothing.
    pub(crate) fn receive(
        &mut self,
        from: IpAddr,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Action>, Malformed> {
        let State::Asking { round, .. } = &mut self.state else {
            // Too late, and no fault of the server.
            return Ok(Vec::new());
        };
        let response = Response::decode(payload).ok_or(Malformed)?;
        let question = round
            .questions
            .iter_mut()
            .find(|question| {
                question.server == from && question.nonce == response.nonce && question.answer.is_none()
            })
            .ok_or(Malformed)?;
        question.answer = Some(match response.saying() {
            Saying::Time {
                receive,
                transmit,
                root_distance_ms,
            } if root_distance_ms <= ROOT_DISTANCE_MS_MAX => {
                match delay_ms(question.sent_ms, now_ms, receive, transmit) {
                    Some(delay_ms) => Answer::OffsetMs(
                        transmit.unix_ms(self.pivot_unix_seconds) + delay_ms / 2
                            - i64::try_from(now_ms).unwrap_or(i64::MAX / 2),
                    ),
                    None => Answer::Nothing,
                }
            }
            Saying::Time { .. } | Saying::Nothing => Answer::Nothing,
            Saying::AskedTooOften => Answer::AskedTooOften,
            Saying::Denied => Answer::Denied,
        });
        if round.questions.iter().all(|question| question.answer.is_some()) {
            return Ok(self.conclude(now_ms));
        }
        Ok(Vec::new())
    }

    /// Begins a round as soon as the one before allows it.
    fn begin_soon(&mut self, now_ms: u64) {
        let earliest_ms = self.began_ms.map_or(0, |began_ms| began_ms + RETRY_MS_FIRST);
        self.state = State::Waiting {
            at_ms: now_ms.max(earliest_ms),
        };
    }

    fn begin(&mut self, now_ms: u64) -> Vec<Action> {
        self.began_ms = Some(now_ms);
        self.rounds = self.rounds.wrapping_add(1);
        let own: Vec<IpAddr> = self
            .own
            .iter()
            .copied()
            .filter(|server| !self.denied.contains(server))
            .collect();
        let is_their_turn = self.own_failures < OWN_FAILURES_MAX || self.rounds.is_multiple_of(4);
        if !own.is_empty() && is_their_turn {
            return self.ask(own, true, now_ms);
        }
        self.state = State::Resolving {
            at_ms: now_ms + RESOLVE_MS_MAX,
        };
        vec![Action::Resolve(&NAMES)]
    }

    /// Four servers of different names as far as possible: the first address of each name, then the second, and so on.
    /// Where one name alone has addresses (of the pool's names a single one has IPv6), they are all of that.
    fn one_of_each(&self, found: &[Vec<IpAddr>]) -> Vec<IpAddr> {
        let mut servers = Vec::new();
        let longest = found.iter().map(Vec::len).max().unwrap_or(0);
        for place in 0..longest {
            for &server in found.iter().filter_map(|addresses| addresses.get(place)) {
                let is_new =
                    is_reachable(server) && !servers.contains(&server) && !self.denied.contains(&server);
                if is_new && servers.len() < SERVERS_MAX {
                    servers.push(server);
                }
            }
        }
        servers
    }

    fn ask(&mut self, servers: Vec<IpAddr>, is_own: bool, now_ms: u64) -> Vec<Action> {
        let quorum = if is_own { servers.len().min(QUORUM) } else { QUORUM };
        let mut actions = Vec::new();
        let mut questions = Vec::new();
        for server in servers {
            let nonce = u64::from((self.random)()) << 32 | u64::from((self.random)());
            actions.push(Action::Send(server, message::request(nonce)));
            questions.push(Question {
                server,
                nonce,
                sent_ms: now_ms,
                answer: None,
            });
        }
        self.state = State::Asking {
            round: Round {
                questions,
                quorum,
                is_own,
            },
            at_ms: now_ms + ROUND_MS_MAX,
        };
        actions
    }

    /// Ends the round with what was answered.
    fn conclude(&mut self, now_ms: u64) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, State::Waiting { at_ms: now_ms });
        let State::Asking { round, .. } = state else {
            return Vec::new();
        };
        let mut offsets = Vec::new();
        let mut is_too_often = false;
        for question in &round.questions {
            match question.answer {
                Some(Answer::OffsetMs(offset)) => offsets.push(offset),
                Some(Answer::AskedTooOften) => is_too_often = true,
                Some(Answer::Denied) => {
                    if self.denied.len() == DENIED_MAX {
                        self.denied.remove(0);
                    }
                    self.denied.push(question.server);
                }
                Some(Answer::Nothing) | None => {}
            }
        }
        self.slower = if is_too_often {
            (self.slower + 1).min(SLOWER_MAX)
        } else {
            self.slower.saturating_sub(1)
        };
        let sample = vote::agreed(offsets, round.quorum)
            .and_then(|offset| now_ms.checked_add_signed(offset))
            // What init would end us for.
            .filter(|&unix_ms| unix_ms <= UNIX_MS_MAX)
            .map(|unix_ms| Action::Sample {
                unix_ms,
                boot_ms: now_ms,
            });
        if round.is_own {
            self.own_failures = match sample {
                Some(_) => 0,
                None => self.own_failures.saturating_add(1),
            };
        }
        let Some(sample) = sample else {
            self.fail(now_ms);
            return Vec::new();
        };
        self.failures = 0;
        self.samples = self.samples.saturating_add(1);
        let wait_ms = if self.samples == 1 {
            CONFIRM_MS
        } else {
            self.jittered(POLL_MS_MIN, POLL_MS_MIN)
        };
        self.state = State::Waiting {
            at_ms: now_ms + (wait_ms << self.slower),
        };
        vec![sample]
    }

    /// Ends the round without a sample.
    fn fail(&mut self, now_ms: u64) {
        let doubled = RETRY_MS_FIRST << self.failures.min(6);
        let wait_ms = self.jittered(doubled, doubled / 4);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting {
            at_ms: now_ms + (wait_ms << self.slower),
        };
    }

    /// `ms`, and at random up to `spread_ms` more: boxes that lost their network together do not ask together.
    fn jittered(&mut self, ms: u64, spread_ms: u64) -> u64 {
        ms + u64::from((self.random)()) % (spread_ms + 1)
    }
}

/// How long question and answer were under way, without the time that the server kept the question. `None`: too long, or
/// less than nothing.
fn delay_ms(sent_ms: u64, received_ms: u64, receive: Timestamp, transmit: Timestamp) -> Option<i64> {
    let kept_ms = transmit.ms_since(receive);
    let away_ms = i64::try_from(received_ms.saturating_sub(sent_ms)).ok()?;
    let delay_ms = away_ms.checked_sub(kept_ms)?;
    let is_sane = kept_ms >= 0 && (-DELAY_MS_SLACK..=DELAY_MS_MAX).contains(&delay_ms);
    is_sane.then_some(delay_ms.max(0))
}

#[cfg(test)]
mod tests;
