//! What may happen next: the conversation as a value.
//!
//! ```text
//!             EHLO            MAIL              RCPT             DATA
//!  Greeting ───────► ready ─────────► mail ───────────► mail ──────────► data ──► ready
//!                    ▲  ▲             (no recipients)   (recipients)              (250 or not)
//!                    │  └──────────── RSET, EHLO ───────────┘
//!  STARTTLS: back to before EHLO
//! ```
//!
//! # Invariants
//!
//! - The final 250 is said only after the house has said that the message is durable (D1).
//! - Behind `DATA`, octets are content up to the true end, whatever went wrong (AS1).
//! - After STARTTLS nothing is left of what was said before (RFC 3207 §4.2), except what was held
//!   against the peer: mistakes and unknown recipients.

mod incoming;

use crate::command::{ClientName, Command, CommandError, Mail};
use crate::reply::{self, Reply};
use delivery::{AcceptError, AdmitError, Client, ContentError, Envelope, Protocol, Route, RouteError};
use incoming::{Incoming, Progress};
use mail::{AccountId, Domain, ForwardPath, TraceId};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use wire::limits::{
    MESSAGE_OCTETS_MAX, SMTP_COMMAND_OCTETS_MAX, SMTP_COMMAND_TIMEOUT, SMTP_MISTAKES_MAX,
    SMTP_RECIPIENTS_MAX, SMTP_UNKNOWN_RECIPIENT_DELAY, SMTP_UNKNOWN_RECIPIENT_DELAYS_MAX,
    SMTP_UNKNOWN_RECIPIENTS_MAX, SMTP_WITHOUT_MESSAGE_MAX,
};
use wire::{Input, Line, LineReader, Moment, Output, Peer, Step, TlsFacts};

/// What only the house can answer.
#[derive(Debug)]
pub enum Need {
    /// May a message come at all? Asked at `MAIL`.
    Admit {
        /// What the client declared.
        octets: Option<u64>,
    },
    /// Where does mail to this path go? Asked at `RCPT`.
    Route {
        /// The recipient.
        forward_path: ForwardPath,
        /// What the client declared at `MAIL`.
        octets: Option<u64>,
    },
    /// A message begins: make room for its content.
    Open,
    /// Keep these octets of the message.
    Keep(Vec<u8>),
    /// Forget the content of the message; it will not be accepted.
    Discard,
    /// The message is whole: make it durable.
    Accept(Box<Envelope>),
    /// Let this time pass.
    Pause(Duration),
}

/// What the house answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Need::Admit`].
    Admitted(Result<(), AdmitError>),
    /// To [`Need::Route`].
    Routed(Result<Route, RouteError>),
    /// To [`Need::Open`].
    Opened(Result<(), ContentError>),
    /// To [`Need::Keep`].
    Kept(Result<(), ContentError>),
    /// To [`Need::Accept`].
    Accepted(Result<TraceId, AcceptError>),
    /// To [`Need::Discard`] and [`Need::Pause`].
    Done,
}

/// Why a command that could be read is not obeyed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// Octets followed `DATA` before it was answered (AS4, RFC 2920 §3.1). Were `DATA` refused, they
    /// would be read as commands.
    #[error("the client did not wait for the answer to DATA")]
    DidNotWait,
    /// `MAIL` before `EHLO` or `HELO`.
    #[error("EHLO is missing")]
    NoHello,
    /// `MAIL` within a transaction.
    #[error("there is a transaction")]
    HasTransaction,
    /// `RCPT` or `DATA` without `MAIL`.
    #[error("there is no transaction")]
    NoTransaction,
    /// `DATA` when no recipient was accepted.
    #[error("there is no recipient")]
    NoRecipients,
    /// `STARTTLS` within TLS.
    #[error("TLS is there already")]
    HasTls,
    /// `AUTH` without TLS (AS7).
    #[error("AUTH without TLS")]
    AuthWithoutTls,
    /// `AUTH` on a port where nobody logs in.
    #[error("AUTH is not offered")]
    AuthNotOffered,
    /// S2: the client declares more octets than a message may have.
    #[error("the declared size is too large")]
    TooLarge,
    /// More recipients than a transaction may have.
    #[error("too many recipients")]
    TooManyRecipients,
    /// C7: `RCPT` after too many unknown recipients.
    #[error("too many unknown recipients")]
    TooManyUnknown,
    /// C7: `MAIL` after too many unknown recipients.
    #[error("too many unknown recipients in this session")]
    Harvesting,
    /// Too many lines that were no commands, or not in order.
    #[error("too many mistakes")]
    TooManyMistakes,
}

/// A conversation on port 25.
#[derive(Debug)]
pub struct Session {
    host_name: Domain,
    peer: Peer,
    lines: LineReader,
    state: State,
    hello: Option<Hello>,
    transaction: Option<Transaction>,
    mistakes: usize,
    unknown_recipients: usize,
    /// Replies that were held back.
    delays: usize,
    /// When the next line must have come.
    deadline: Moment,
    /// When the next message must have begun.
    message_deadline: Moment,
}

#[derive(Debug)]
enum State {
    /// Nothing was said yet.
    New,
    /// A command is awaited.
    Command,
    /// `STARTTLS` was obeyed; the handshake is next.
    StartingTls,
    /// A reply that is held back for a while (C7).
    HeldBack(Reply),
    /// The content of a message is awaited.
    Data(Box<Incoming>),
    /// The last words were said.
    Closing,
}

/// What the client said in `EHLO` or `HELO`.
#[derive(Clone, Debug)]
struct Hello {
    name: ClientName,
    protocol: Protocol,
}

/// What `MAIL` and `RCPT` gathered.
#[derive(Debug)]
struct Transaction {
    envelope: Envelope,
    declared_octets: Option<u64>,
    /// Recipients that were taken.
    recipients: usize,
    /// The mailboxes they lead to.
    mailboxes: BTreeSet<AccountId>,
}

/// So many commands are obeyed before the pump may write and let others run: the answer to EHLO is
/// twenty times as long as the command.
const COMMANDS_AT_ONCE: usize = 64;

impl SequenceError {
    /// Whether it counts as a mistake. A client that pipelines cannot know that what came before was
    /// refused.
    const fn is_mistake(self) -> bool {
        match self {
            SequenceError::NoHello
            | SequenceError::HasTransaction
            | SequenceError::HasTls
            | SequenceError::AuthWithoutTls
            | SequenceError::AuthNotOffered => true,
            SequenceError::DidNotWait
            | SequenceError::NoTransaction
            | SequenceError::NoRecipients
            | SequenceError::TooLarge
            | SequenceError::TooManyRecipients
            | SequenceError::TooManyUnknown
            | SequenceError::Harvesting
            | SequenceError::TooManyMistakes => false,
        }
    }
}

impl Session {
    /// A conversation of the box called `host_name` with `peer`.
    pub fn new(host_name: Domain, peer: Peer) -> Session {
        Session {
            host_name,
            peer,
            lines: LineReader::new(SMTP_COMMAND_OCTETS_MAX),
            state: State::New,
            hello: None,
            transaction: None,
            mistakes: 0,
            unknown_recipients: 0,
            delays: 0,
            deadline: Moment::START + SMTP_COMMAND_TIMEOUT,
            message_deadline: Moment::START + SMTP_WITHOUT_MESSAGE_MAX,
        }
    }

    fn say(&mut self, reply: &Reply, output: &mut Output) {
        reply.push_to(output);
        if reply.closes() {
            self.state = State::Closing;
        }
    }

    /// C7: says it after a while, unless enough was held back in this session.
    fn say_late(&mut self, reply: Reply, output: &mut Output) {
        if self.delays < SMTP_UNKNOWN_RECIPIENT_DELAYS_MAX {
            self.delays += 1;
            self.state = State::HeldBack(reply);
        } else {
            self.say(&reply, output);
        }
    }

    fn mistake(&mut self, reply: &Reply, output: &mut Output) {
        self.mistakes += 1;
        if self.mistakes >= SMTP_MISTAKES_MAX {
            self.say(&SequenceError::TooManyMistakes.into(), output);
        } else {
            self.say(reply, output);
        }
    }

    fn obey(&mut self, line: Line, input: &Input, output: &mut Output) -> Option<Need> {
        let command = match line {
            Line::TooLong => Err(CommandError::LineTooLong),
            Line::Complete(line) => Command::parse(&line),
        };
        let refusal = match command {
            Ok(command) => match self.command(command, input, output) {
                Ok(need) => return need,
                Err(error) => (Reply::from(error), error.is_mistake()),
            },
            Err(error) => (Reply::from(error), error.is_mistake()),
        };
        match refusal {
            (reply, true) => self.mistake(&reply, output),
            (reply, false) => self.say(&reply, output),
        }
        None
    }

    /// Obeys a command, or says why not now.
    fn command(
        &mut self,
        command: Command,
        input: &Input,
        output: &mut Output,
    ) -> Result<Option<Need>, SequenceError> {
        match command {
            Command::Ehlo(name) => {
                reply::ehlo(&self.host_name, self.peer.tls.is_some(), output);
                self.hello(name, Protocol::Esmtp);
            }
            Command::Helo(name) => {
                reply::helo(&self.host_name, output);
                self.hello(name, Protocol::Smtp);
            }
            Command::StartTls => {
                if self.peer.tls.is_some() {
                    return Err(SequenceError::HasTls);
                }
                self.say(&reply::START_TLS, output);
                self.state = State::StartingTls;
            }
            Command::Auth => {
                return Err(if self.peer.tls.is_some() {
                    SequenceError::AuthNotOffered
                } else {
                    SequenceError::AuthWithoutTls
                });
            }
            Command::Mail(mail) => return self.mail(mail).map(Some),
            Command::Rcpt(forward_path) => return self.rcpt(forward_path, output),
            Command::Data => return self.data(input).map(Some),
            Command::Reset => {
                self.transaction = None;
                self.say(&reply::OK, output);
            }
            Command::Noop => self.say(&reply::OK, output),
            Command::Verify => self.say(&reply::VERIFY, output),
            Command::Help => self.say(&reply::HELP, output),
            Command::Quit => self.say(&reply::QUIT, output),
        }
        Ok(None)
    }

    /// RFC 5321 §4.1.4: EHLO in the middle of a transaction resets it.
    fn hello(&mut self, name: ClientName, protocol: Protocol) {
        self.hello = Some(Hello { name, protocol });
        self.transaction = None;
    }

    fn mail(&mut self, mail: Mail) -> Result<Need, SequenceError> {
        if self.unknown_recipients >= SMTP_UNKNOWN_RECIPIENTS_MAX {
            return Err(SequenceError::Harvesting);
        }
        let hello = self.hello.as_ref().ok_or(SequenceError::NoHello)?;
        if self.transaction.is_some() {
            return Err(SequenceError::HasTransaction);
        }
        if mail.size_octets.is_some_and(|octets| octets > MESSAGE_OCTETS_MAX) {
            return Err(SequenceError::TooLarge);
        }
        // Taken back when the house says no.
        self.transaction = Some(Transaction {
            envelope: Envelope {
                client: Client {
                    address: self.peer.address,
                    name: hello.name.0.clone(),
                    protocol: hello.protocol,
                    tls: self.peer.tls.clone(),
                },
                reverse_path: mail.reverse_path,
                recipients: Vec::new(),
            },
            declared_octets: mail.size_octets,
            recipients: 0,
            mailboxes: BTreeSet::new(),
        });
        Ok(Need::Admit {
            octets: mail.size_octets,
        })
    }

    fn rcpt(
        &mut self,
        forward_path: ForwardPath,
        output: &mut Output,
    ) -> Result<Option<Need>, SequenceError> {
        let transaction = self.transaction.as_ref().ok_or(SequenceError::NoTransaction)?;
        // C7, from which the duties are exempt (C6).
        let is_throttled = self.unknown_recipients >= SMTP_UNKNOWN_RECIPIENTS_MAX;
        if is_throttled && !delivery::is_duty(&forward_path) {
            self.say_late(SequenceError::TooManyUnknown.into(), output);
            return Ok(None);
        }
        if transaction.recipients >= SMTP_RECIPIENTS_MAX {
            return Err(SequenceError::TooManyRecipients);
        }
        Ok(Some(Need::Route {
            forward_path,
            octets: transaction.declared_octets,
        }))
    }

    fn data(&self, input: &Input) -> Result<Need, SequenceError> {
        // RFC 2920 §3.1: DATA is the last command of a group.
        if !input.is_empty() {
            return Err(SequenceError::DidNotWait);
        }
        let transaction = self.transaction.as_ref().ok_or(SequenceError::NoTransaction)?;
        if transaction.envelope.recipients.is_empty() {
            return Err(SequenceError::NoRecipients);
        }
        Ok(Need::Open)
    }
}

impl wire::Session for Session {
    type Need = Need;
    type Answer = Answer;
    type Source = Infallible;

    fn advance(&mut self, input: &mut Input, output: &mut Output, now: Moment) -> Step<Need, Infallible> {
        for _ in 0..COMMANDS_AT_ONCE {
            match &mut self.state {
                State::New => self.greet(output, now),
                State::Command => {
                    let Some(line) = self.lines.next(input) else {
                        return Step::Read;
                    };
                    self.deadline = now + SMTP_COMMAND_TIMEOUT;
                    if let Some(need) = self.obey(line, input, output) {
                        return Step::Need(need);
                    }
                }
                State::StartingTls => return Step::StartTls,
                State::HeldBack(_) => break,
                State::Data(data) => match data.advance(input, now) {
                    Progress::Read => return Step::Read,
                    Progress::Need(need) => return Step::Need(need),
                    Progress::GoOn => {}
                    Progress::End(refusal) => {
                        if let Some(need) = self.end_of_data(refusal, output, now) {
                            return Step::Need(need);
                        }
                    }
                },
                State::Closing => return Step::Close,
            }
        }
        Step::Need(Need::Pause(match self.state {
            State::HeldBack(_) => SMTP_UNKNOWN_RECIPIENT_DELAY,
            _ => Duration::ZERO,
        }))
    }

    fn answer(&mut self, answer: Answer, output: &mut Output, now: Moment) {
        // The time the house took is not the client's.
        self.deadline = now + SMTP_COMMAND_TIMEOUT;
        if let State::Data(data) = &mut self.state {
            data.go_on(now);
        }
        match answer {
            Answer::Admitted(Ok(())) => self.say(&reply::SENDER, output),
            Answer::Admitted(Err(error)) => {
                self.transaction = None;
                self.say(&Reply::from(&error), output);
            }
            Answer::Routed(routed) => self.routed(routed, output),
            Answer::Opened(Ok(())) => {
                reply::start_mail_input(output);
                self.state = State::Data(Box::new(Incoming::new(now)));
            }
            Answer::Opened(Err(error)) => self.say(&Reply::from(&error), output),
            Answer::Kept(Ok(())) => {}
            Answer::Kept(Err(error)) => {
                if let State::Data(data) = &mut self.state {
                    data.fail(Reply::from(&error));
                }
            }
            Answer::Accepted(Ok(trace)) => self.say(&reply::accepted(trace), output),
            Answer::Accepted(Err(error)) => self.say(&Reply::from(&error), output),
            Answer::Done => {
                if let State::HeldBack(reply) = &self.state {
                    let reply = reply.clone();
                    self.state = State::Command;
                    self.say(&reply, output);
                }
            }
        }
    }

    fn tls_started(&mut self, tls: TlsFacts, now: Moment) {
        self.peer.tls = Some(tls);
        self.hello = None;
        self.transaction = None;
        self.state = State::Command;
        self.deadline = now + SMTP_COMMAND_TIMEOUT;
    }

    fn deadline(&self) -> Moment {
        match &self.state {
            State::Data(data) => data.deadline(),
            State::New | State::Command | State::StartingTls | State::HeldBack(_) | State::Closing => {
                self.deadline.min(self.message_deadline)
            }
        }
    }

    fn timed_out(&mut self, output: &mut Output) {
        self.say(&reply::TIMED_OUT, output);
    }

    fn shut_down(&mut self, output: &mut Output) {
        self.say(&reply::SHUT_DOWN, output);
    }
}

impl Session {
    /// Not supported: noticing a client that speaks before it is greeted (AS4). On a socket that can only be
    /// seen by holding the greeting back, and what was said too early is answered in its order.
    fn greet(&mut self, output: &mut Output, now: Moment) {
        self.deadline = now + SMTP_COMMAND_TIMEOUT;
        self.message_deadline = now + SMTP_WITHOUT_MESSAGE_MAX;
        self.state = State::Command;
        reply::greeting(&self.host_name, output);
    }

    fn routed(&mut self, routed: Result<Route, RouteError>, output: &mut Output) {
        let error = match routed {
            Ok(route) => return self.recipient(route, output),
            Err(error) => error,
        };
        let is_unknown = matches!(error, RouteError::UnknownUser);
        self.unknown_recipients += usize::from(is_unknown);
        if is_unknown && self.unknown_recipients >= SMTP_UNKNOWN_RECIPIENTS_MAX {
            self.say_late(Reply::from(&error), output);
        } else {
            self.say(&Reply::from(&error), output);
        }
    }

    /// Adds a recipient, unless the mailboxes behind all of them become too many for one record of
    /// the store. The first is always taken; its redirects were bounded by themselves (AS18).
    ///
    /// A mailbox gets the message for the first recipient that leads there, and of a recipient only the
    /// mailboxes that are new are kept: a thousand spellings of one address take no memory (D16).
    fn recipient(&mut self, mut route: Route, output: &mut Output) {
        let Some(transaction) = &mut self.transaction else {
            return self.say(&SequenceError::NoTransaction.into(), output);
        };
        let mailboxes = &mut transaction.mailboxes;
        route
            .targets
            .retain(|target| !mailboxes.contains(&target.account));
        if mailboxes.len() + route.targets.len() > SMTP_RECIPIENTS_MAX && !mailboxes.is_empty() {
            return self.say(&SequenceError::TooManyRecipients.into(), output);
        }
        mailboxes.extend(route.targets.iter().map(|target| target.account));
        transaction.recipients += 1;
        if !route.targets.is_empty() {
            transaction.envelope.recipients.push(route);
        }
        self.say(&reply::RECIPIENT, output);
    }

    /// RFC 5321 §4.1.1.4: the end of the data ends the transaction, whatever becomes of the message.
    fn end_of_data(&mut self, refusal: Option<Reply>, output: &mut Output, now: Moment) -> Option<Need> {
        self.state = State::Command;
        self.deadline = now + SMTP_COMMAND_TIMEOUT;
        self.message_deadline = now + SMTP_WITHOUT_MESSAGE_MAX;
        match (self.transaction.take(), refusal) {
            (Some(transaction), None) => Some(Need::Accept(Box::new(transaction.envelope))),
            (_, Some(reply)) => {
                self.say(&reply, output);
                None
            }
            (None, None) => {
                self.say(&SequenceError::NoTransaction.into(), output);
                None
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
