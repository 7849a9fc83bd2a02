//! Octets to whole commands.
//!
//! A command is a line, or several lines with literals between them (RFC 9051 §2.2.1, §4.3). The framer
//! knows no grammar but that: a line that ends in `{n}` is followed by n octets.
//!
//! ```text
//!            ┌──────────────────────────── Command, Failed ◄──────────────┐
//!            ▼          {n}                                               │
//!          Line ──────────────► Announced ── take ─► Literal ─────────► Line (the rest)
//!            │ too long              │ └──── message ─► Message … MessageEnd ─► Line
//!            ▼                       │ refuse
//!          Skip ◄────────────────────┴─ (LITERAL+) Drop ──► Skip
//! ```
//!
//! # Invariants
//! - What is kept of a command is bounded, whatever its lines and literals announce (AI1).
//! - A literal that does not wait for a `+` is read to its end before anything else is understood, so its
//!   octets are never taken for a command (AI2, S6).

use crate::command::Tag;
use wire::{Input, limits};

/// What the framer found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A command, its literals in place, without the last CRLF.
    Command(Vec<u8>),
    /// The command so far, up to the brace of a literal, which the session has to take, refuse, or read as
    /// a message.
    Announced { head: Vec<u8>, literal: Literal },
    /// Octets of a message.
    MessageOctets(Vec<u8>),
    /// The message is whole; this is what stood behind it in its command.
    MessageEnd(Vec<u8>),
    /// A command that was passed over; it has ended.
    Failed { tag: Option<Tag>, problem: Problem },
    /// Nothing sensible can follow; the connection has to end.
    Hopeless,
}

/// An announced literal (RFC 9051 §4.3, RFC 7888).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Literal {
    pub(crate) octets: u64,
    /// Whether the client waits for a `+` before it sends the octets.
    pub(crate) is_synchronising: bool,
}

/// Why a command was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    LineTooLong,
    LiteralTooBig,
    /// The session had an answer of its own.
    Refused,
}

/// Non-synchronising literals up to this are read and dropped; nobody sends a larger one by mistake.
const DROPPED_OCTETS_MAX: u64 = 4 * limits::MESSAGE_OCTETS_MAX;
/// What is kept of the end of a line that is passed over, to see a literal: `{18446744073709551615+}`.
const TAIL_OCTETS: usize = 24;
/// How many octets of a message are handed on at once.
const MESSAGE_PIECE_OCTETS: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Framer {
    line_octets_max: usize,
    literal_octets_max: u64,
    /// The command so far.
    command: Vec<u8>,
    /// Of it octets of lines.
    line_octets: usize,
    /// How much of the waiting input is known to hold no CRLF.
    searched: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Line,
    /// The literal was announced and the session has not said what to do.
    Announced(Literal),
    Literal(u64),
    Message(u64),
    MessageTail,
    Skip {
        tag: Option<Tag>,
        problem: Problem,
        tail: Vec<u8>,
    },
    Drop {
        tag: Option<Tag>,
        problem: Problem,
        left: u64,
    },
}

impl Framer {
    /// A framer with the limits that hold before login (AI1).
    pub(crate) fn new() -> Framer {
        Framer {
            line_octets_max: limits::IMAP_LINE_OCTETS_MAX_BEFORE_LOGIN,
            literal_octets_max: limits::IMAP_LITERAL_OCTETS_MAX_BEFORE_LOGIN,
            command: Vec::new(),
            line_octets: 0,
            searched: 0,
            state: State::Line,
        }
    }

    /// The limits that hold from the next command on.
    pub(crate) fn logged_in(&mut self) {
        self.line_octets_max = limits::IMAP_LINE_OCTETS_MAX;
        self.literal_octets_max = limits::IMAP_LITERAL_OCTETS_MAX;
    }

    /// The next frame; `None` when more octets are needed.
    pub(crate) fn next(&mut self, input: &mut Input) -> Option<Frame> {
        loop {
            match &mut self.state {
                State::Announced(_) => return None,
                State::Line | State::MessageTail => match self.line(input) {
                    Found::Nothing => return None,
                    Found::Frame(frame) => return Some(frame),
                    Found::Again => {}
                },
                State::Literal(left) => {
                    let piece = take(input, left, usize::MAX)?;
                    self.command.extend_from_slice(&piece);
                    if *left == 0 {
                        self.state = State::Line;
                    }
                }
                State::Message(0) => self.state = State::MessageTail,
                State::Message(left) => {
                    return Some(Frame::MessageOctets(take(input, left, MESSAGE_PIECE_OCTETS)?));
                }
                State::Drop { tag, problem, left } => {
                    if *left > 0 {
                        take(input, left, usize::MAX)?;
                    } else {
                        self.state = State::Skip {
                            tag: tag.take(),
                            problem: *problem,
                            tail: Vec::new(),
                        };
                    }
                }
                State::Skip { .. } => match self.skip(input) {
                    Found::Nothing => return None,
                    Found::Frame(frame) => return Some(frame),
                    Found::Again => {}
                },
            }
        }
    }

    /// The announced literal is to be part of the command. `false` when it is too big; the command is
    /// passed over then.
    pub(crate) fn take_literal(&mut self) -> bool {
        let State::Announced(literal) = self.state else {
            return false;
        };
        let literals = (self.command.len() - self.line_octets) as u64;
        // Literals of one command share their limit with one more: a LOGIN has two.
        let is_fit = literal.octets <= self.literal_octets_max
            && literals + literal.octets <= 2 * self.literal_octets_max;
        if is_fit {
            self.state = State::Literal(literal.octets);
        } else {
            self.pass_over(literal, Problem::LiteralTooBig);
        }
        is_fit
    }

    /// The announced literal is a message, to be given out in pieces.
    pub(crate) fn take_message(&mut self) {
        if let State::Announced(literal) = self.state {
            self.reset();
            self.state = State::Message(literal.octets);
        }
    }

    /// The session has refused the command; if the octets come nevertheless, they are dropped. `true` when
    /// that is so and [`Frame::Failed`] will tell of the end.
    pub(crate) fn refuse(&mut self) -> bool {
        let State::Announced(literal) = self.state else {
            return false;
        };
        self.pass_over(literal, Problem::Refused);
        !literal.is_synchronising
    }

    fn pass_over(&mut self, literal: Literal, problem: Problem) {
        let tag = tag_of(&self.command);
        self.reset();
        if !literal.is_synchronising {
            self.state = State::Drop {
                tag,
                problem,
                left: literal.octets,
            };
        }
    }

    /// A line that is no command: a SASL response, the DONE of IDLE, without its CRLF. `Err` when it was too
    /// long.
    pub(crate) fn bare_line(&mut self, input: &mut Input) -> Option<Result<Vec<u8>, Problem>> {
        if !matches!(self.state, State::Line) {
            // The rest of a line that was too long, and of a literal at its end.
            return self.next(input).map(|_| Err(Problem::LineTooLong));
        }
        let waiting = input.waiting();
        let Some(end) = find_crlf(waiting, &mut self.searched) else {
            if waiting.len() >= self.line_octets_max {
                self.start_skipping(None);
                return self.bare_line(input);
            }
            return None;
        };
        let line = waiting[..end].to_vec();
        input.consume(end + 2);
        Some(if line.len() + 2 > self.line_octets_max {
            Err(Problem::LineTooLong)
        } else {
            Ok(line)
        })
    }

    fn line(&mut self, input: &mut Input) -> Found {
        let room = self.line_octets_max - self.line_octets.min(self.line_octets_max);
        let waiting = input.waiting();
        let Some(end) = find_crlf(waiting, &mut self.searched) else {
            if waiting.len() < room {
                return Found::Nothing;
            }
            let start = [&self.command[..], waiting].concat();
            self.start_skipping(tag_of(&start));
            return Found::Again;
        };
        if end + 2 > room {
            let start = [&self.command[..], &waiting[..end]].concat();
            self.start_skipping(tag_of(&start));
            return Found::Again;
        }
        let line = &waiting[..end];
        let literal = literal_at_end(line);
        let is_message_tail = matches!(self.state, State::MessageTail);
        let kept = match literal {
            Some(_) => end + 2,
            None => end,
        };
        self.command.extend_from_slice(&waiting[..kept]);
        self.line_octets += kept;
        input.consume(end + 2);
        match literal {
            None => {
                let command = std::mem::take(&mut self.command);
                self.reset();
                Found::Frame(if is_message_tail {
                    Frame::MessageEnd(command)
                } else {
                    Frame::Command(command)
                })
            }
            Some(Err(())) => {
                self.reset();
                Found::Frame(Frame::Hopeless)
            }
            Some(Ok(literal)) if is_message_tail => {
                // A second message, or nonsense. Nothing with a literal can follow a message here.
                let command = std::mem::take(&mut self.command);
                self.state = State::Announced(literal);
                self.pass_over(literal, Problem::Refused);
                Found::Frame(Frame::MessageEnd(command))
            }
            Some(Ok(literal)) => {
                self.state = State::Announced(literal);
                Found::Frame(Frame::Announced {
                    head: self.command.clone(),
                    literal,
                })
            }
        }
    }

    fn start_skipping(&mut self, tag: Option<Tag>) {
        let searched = self.searched;
        self.reset();
        self.searched = searched;
        self.state = State::Skip {
            tag,
            problem: Problem::LineTooLong,
            tail: Vec::new(),
        };
    }

    /// Passes over the rest of a line, and over a literal at its end that comes without being asked for.
    fn skip(&mut self, input: &mut Input) -> Found {
        let State::Skip { tag, problem, tail } = &mut self.state else {
            return Found::Again;
        };
        let waiting = input.waiting();
        let end = find_crlf(waiting, &mut self.searched);
        // A CR at the end may be the first half of the CRLF.
        let passed = end.unwrap_or(waiting.len() - usize::from(waiting.ends_with(b"\r")));
        tail.extend_from_slice(&waiting[passed.saturating_sub(TAIL_OCTETS)..passed]);
        tail.drain(..tail.len().saturating_sub(TAIL_OCTETS));
        if end.is_none() {
            input.consume(passed);
            self.searched = 0;
            return Found::Nothing;
        }
        input.consume(passed + 2);
        let (tag, problem) = (tag.take(), *problem);
        match literal_at_end(tail) {
            Some(Err(())) => {
                self.reset();
                Found::Frame(Frame::Hopeless)
            }
            Some(Ok(Literal {
                octets,
                is_synchronising: false,
            })) => {
                self.reset();
                self.state = State::Drop {
                    tag,
                    problem,
                    left: octets,
                };
                Found::Again
            }
            _ => {
                self.reset();
                Found::Frame(Frame::Failed { tag, problem })
            }
        }
    }

    fn reset(&mut self) {
        self.command = Vec::new();
        self.line_octets = 0;
        self.searched = 0;
        self.state = State::Line;
    }
}

enum Found {
    Nothing,
    Again,
    Frame(Frame),
}

/// Takes up to `left` of the waiting octets; `None` when there are none and some are wanted.
fn take(input: &mut Input, left: &mut u64, octets_max: usize) -> Option<Vec<u8>> {
    let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(octets_max);
    let count = wanted.min(input.len());
    if count == 0 && wanted > 0 {
        return None;
    }
    let piece = input.waiting()[..count].to_vec();
    input.consume(count);
    *left -= count as u64;
    Some(piece)
}

fn find_crlf(octets: &[u8], searched: &mut usize) -> Option<usize> {
    let from = (*searched).min(octets.len());
    let found = memchr::memmem::find(&octets[from..], b"\r\n");
    if let Some(offset) = found {
        *searched = 0;
        return Some(from + offset);
    }
    *searched = octets.len() - usize::from(octets.ends_with(b"\r"));
    None
}

/// ```text
/// literal  =  "{" number64 ["+"] "}" CRLF *CHAR8      ; RFC 9051 §9
/// ```
///
/// `None`: the line ends otherwise. `Err`: it ends in a literal without waiting whose length nobody can
/// mean, so that it is not known where the next command starts.
fn literal_at_end(line: &[u8]) -> Option<Result<Literal, ()>> {
    let inside = line.strip_suffix(b"}")?;
    let brace = memchr::memrchr(b'{', &inside[inside.len().saturating_sub(TAIL_OCTETS)..])?;
    let inside = &inside[inside.len().saturating_sub(TAIL_OCTETS) + brace + 1..];
    let (digits, is_synchronising) = match inside.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (inside, true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let octets = str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(u64::MAX);
    if !is_synchronising && octets > DROPPED_OCTETS_MAX {
        return Some(Err(()));
    }
    Some(Ok(Literal {
        octets,
        is_synchronising,
    }))
}

/// The tag at the start of a command, for an answer to what could not be understood (RFC 9051 §7.1).
pub(crate) fn tag_of(command: &[u8]) -> Option<Tag> {
    const TAG_OCTETS_MAX: usize = 100;
    let end = command
        .iter()
        .take(TAG_OCTETS_MAX)
        .position(|&octet| octet == b' ')?;
    let is_tag = |octet: &u8| octet.is_ascii_graphic() && !b"(){%*\"\\+".contains(octet);
    let tag = &command[..end];
    if tag.is_empty() || !tag.iter().all(is_tag) {
        return None;
    }
    Some(Tag(String::from_utf8(tag.to_vec()).ok()?))
}

#[cfg(test)]
mod tests;
