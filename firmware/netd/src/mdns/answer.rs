//! From a question to its answer: to all or to one, at once or a little later.

use std::net::SocketAddr;

use simple_dns::{Packet, PacketFlag, ResourceRecord};

use super::records::{self, LEGACY_QUESTIONS_MAX, Record};
use super::{Action, Machine, PORT};

/// RFC 6762 §6.
pub(super) const MULTICAST_MS_MIN: u64 = 1_000;
const DEFENCE_MS_MIN: u64 = 250;
/// RFC 6762 §6: answers that others may give as well wait for 20 to 120 ms.
const SHARED_MS: (u64, u64) = (20, 120);
/// RFC 6762 §7.2: more known answers are to follow.
const TRUNCATED_MS: (u64, u64) = (400, 500);
/// How many questions of a message are looked at. Others than attackers have a few.
const QUESTIONS_MAX: usize = 64;
/// How many messages to single questioners are sent in a second. An office asks a few times a minute.
const UNICASTS_MAX: u32 = 20;
const UNICASTS_MS: u64 = 1_000;

/// An answer that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) record: usize,
    pub(super) at_ms: u64,
    /// Who asked, if it was one alone: he may yet say that he knows it.
    pub(super) asker: Option<SocketAddr>,
}

impl<R: FnMut() -> u32> Machine<R> {
    /// Takes a question.
    pub(super) fn hear_query(&mut self, from: SocketAddr, packet: &Packet<'_>, now_ms: u64) -> Vec<Action> {
        let is_legacy = from.port() != PORT;
        // RFC 6762 §7.1: what the questioner knows, and for long enough, is not told again.
        let is_fresh = |at: &usize, seconds: u32| seconds >= self.records.all[*at].rr.ttl.div_ceil(2);
        let known: Vec<usize> = packet
            .answers
            .iter()
            .filter_map(|known| self.records.position(known).filter(|at| is_fresh(at, known.ttl)))
            .collect();
        if packet.questions.is_empty() {
            // §7.2: the rest of what is known, of a question that was truncated.
            self.pending
                .retain(|pending| pending.asker != Some(from) || !known.contains(&pending.record));
            return Vec::new();
        }
        let is_probe = packet
            .name_servers
            .iter()
            .any(|record| self.records.is_probed(&record.name));
        let is_truncated = packet.has_flags(PacketFlag::TRUNCATION);
        let mut to_one = Vec::new();
        let mut to_all = Vec::new();
        let asked = if is_legacy {
            LEGACY_QUESTIONS_MAX
        } else {
            QUESTIONS_MAX
        };
        for question in packet.questions.iter().take(asked) {
            for at in self.records.answers(question) {
                if known.contains(&at) {
                    continue;
                }
                // §5.4: if it was told to all lately, whoever wants it for himself can have it so.
                let ours = &self.records.all[at];
                let lately_ms = u64::from(ours.rr.ttl) * 1_000 / 4;
                let was_lately = ours.multicast_ms.is_some_and(|ms| now_ms < ms + lately_ms);
                let list = if is_legacy || question.unicast_response && was_lately && !is_truncated {
                    &mut to_one
                } else {
                    &mut to_all
                };
                if !list.contains(&at) {
                    list.push(at);
                }
            }
        }
        let between_ms = if is_probe {
            DEFENCE_MS_MIN
        } else {
            MULTICAST_MS_MIN
        };
        let is_shared = to_all.iter().any(|&at| !self.records.all[at].rr.cache_flush);
        let wait_ms = match (is_truncated, is_shared) {
            (true, _) => self.between(TRUNCATED_MS),
            (false, true) => self.between(SHARED_MS),
            (false, false) => 0,
        };
        for at in to_all {
            self.queue(at, between_ms, now_ms + wait_ms, now_ms, Some(from));
        }
        if to_one.is_empty() || !self.may_unicast(now_ms) {
            return Vec::new();
        }
        let additional = self.additional(&to_one, |_| true);
        let answers = self.copies(&to_one);
        let octets = records::unicast(packet, is_legacy, answers, additional);
        vec![Action::Unicast(from, octets)]
    }

    /// Has a record multicast at `at_ms`, unless that would be too soon after the last time.
    pub(super) fn queue(
        &mut self,
        record: usize,
        between_ms: u64,
        at_ms: u64,
        now_ms: u64,
        asker: Option<SocketAddr>,
    ) {
        let last_ms = self.records.all[record].multicast_ms;
        if last_ms.is_some_and(|last_ms| now_ms < last_ms + between_ms) {
            return;
        }
        match self.pending.iter_mut().find(|pending| pending.record == record) {
            Some(pending) => {
                pending.at_ms = pending.at_ms.min(at_ms);
                if pending.asker != asker {
                    pending.asker = None;
                }
            }
            None => self.pending.push(Pending { record, at_ms, asker }),
        }
    }

    /// Multicasts the answers that are due.
    pub(super) fn answer_pending(&mut self, now_ms: u64) -> Vec<Action> {
        let due: Vec<usize> = self
            .pending
            .iter()
            .filter(|pending| now_ms >= pending.at_ms)
            .map(|pending| pending.record)
            .collect();
        if due.is_empty() {
            return Vec::new();
        }
        self.pending.retain(|pending| now_ms < pending.at_ms);
        let is_free = |ours: &Record| ours.multicast_ms.is_none_or(|ms| now_ms >= ms + MULTICAST_MS_MIN);
        let additional = self.additional(&due, is_free);
        let answers = self.copies(&due);
        for (at, ours) in self.records.all.iter_mut().enumerate() {
            if answers.contains(&ours.rr) || additional.contains(&ours.rr) {
                ours.multicast_ms = Some(now_ms);
                // Whoever else waits for it has heard it now.
                self.pending.retain(|pending| pending.record != at);
            }
        }
        let messages = records::multicast(&answers, &additional);
        messages.into_iter().map(Action::Multicast).collect()
    }

    /// What goes with these answers.
    fn additional(
        &self,
        answers: &[usize],
        is_wanted: impl Fn(&Record) -> bool,
    ) -> Vec<ResourceRecord<'static>> {
        let mut found: Vec<usize> = Vec::new();
        for at in answers.iter().flat_map(|&answer| self.records.additional(answer)) {
            if !answers.contains(&at) && !found.contains(&at) && is_wanted(&self.records.all[at]) {
                found.push(at);
            }
        }
        self.copies(&found)
    }

    fn copies(&self, at: &[usize]) -> Vec<ResourceRecord<'static>> {
        at.iter().map(|&at| self.records.all[at].rr.clone()).collect()
    }

    fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        least + u64::from((self.random)()) % (most - least + 1)
    }

    fn may_unicast(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.unicasts.0 + UNICASTS_MS {
            self.unicasts = (now_ms, 0);
        }
        self.unicasts.1 += 1;
        self.unicasts.1 <= UNICASTS_MAX
    }
}
