//! A message that is coming in.

use super::Need;
use crate::data::{Decoder, Piece};
use crate::reply::Reply;
use std::time::Duration;
use wire::limits::{MESSAGE_OCTETS_MAX, SMTP_DATA_OCTETS_PER_SECOND_MIN, SMTP_DATA_TIMEOUT};
use wire::{Input, Moment};

/// The content of a message, from 354 to the true end.
#[derive(Debug)]
pub(super) struct Incoming {
    decoder: Decoder,
    /// Whether the house keeps what has come so far.
    is_kept: bool,
    /// Why the house does not.
    failure: Option<Reply>,
    started: Moment,
    octets: u64,
    deadline: Moment,
}

/// How far a message has come.
pub(super) enum Progress {
    Read,
    Need(Need),
    GoOn,
    /// The true end, and why the message is not taken.
    End(Option<Reply>),
}

impl Incoming {
    /// 354 was said.
    pub(super) fn new(now: Moment) -> Incoming {
        Incoming {
            decoder: Decoder::new(MESSAGE_OCTETS_MAX),
            is_kept: true,
            failure: None,
            started: now,
            octets: 0,
            deadline: now + SMTP_DATA_TIMEOUT,
        }
    }

    /// Goes as far as the octets in `input` allow.
    pub(super) fn advance(&mut self, input: &mut Input, now: Moment) -> Progress {
        let waiting = input.len();
        let piece = self.decoder.next(input);
        let used = waiting - input.len();
        if used > 0 {
            self.octets += used as u64;
            self.set_deadline(now);
        }
        let refusal = self.decoder.refusal().map(Reply::from);
        if self.is_kept && refusal.is_some() {
            // Room is given back at once, not when the end has come. The end will be found again.
            self.is_kept = false;
            return Progress::Need(Need::Discard);
        }
        match piece {
            None => Progress::Read,
            Some(Piece::Octets(octets)) if self.is_kept => Progress::Need(Need::Keep(octets)),
            Some(Piece::Octets(_)) => Progress::GoOn,
            Some(Piece::End) => Progress::End(refusal.or_else(|| self.failure.take())),
        }
    }

    /// The house kept the last piece, or forgot what there was, which took until `now`.
    pub(super) fn go_on(&mut self, now: Moment) {
        self.set_deadline(now);
    }

    /// The house does not take the content: `reply` is said when the end has come.
    pub(super) fn fail(&mut self, reply: Reply) {
        self.is_kept = false;
        self.failure = Some(reply);
    }

    /// When the peer must have said something.
    pub(super) const fn deadline(&self) -> Moment {
        self.deadline
    }

    /// D17: silence ends the conversation, and so does a trickle.
    fn set_deadline(&mut self, now: Moment) {
        let earned = Duration::from_secs(self.octets / SMTP_DATA_OCTETS_PER_SECOND_MIN);
        let trickle = self.started + SMTP_DATA_TIMEOUT + earned;
        self.deadline = trickle.min(now + SMTP_DATA_TIMEOUT);
    }
}
