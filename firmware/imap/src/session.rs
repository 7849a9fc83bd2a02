//! The conversation: what may be said when, and what is answered.
//!
//! ```text
//!  Commands ──LOGIN──► LoggingIn ──► Commands (logged in)
//!     │ │ └─AUTHENTICATE─► Sasl ─┘
//!     │ └──IDLE──► Idling ◄──► Working
//!     ├──APPEND──► Opening ──► Receiving ──► Working ──► Commands
//!     └──the rest► Working ──► Commands                  LOGOUT ──► Closing
//! ```
//!
//! A command is done before the next is read, so replies never mix.

mod append;
mod login;

use crate::command::{Body, Command, Tag};
use crate::framer::{Frame, Framer, Problem};
use crate::op::{BodySource, Copy, Fetch, ManageMailbox, Op, Piece, Search, StoreFlags, Work};
use crate::parse::{self, SyntaxError};
use crate::response::Completion;
use crate::selected::Selected;
use crate::{CAPABILITIES, CAPABILITIES_BEFORE_LOGIN};
use append::Appending;
pub(crate) use append::NewMessage;
use auth::LoginError;
use auth::sasl::{Credentials, Exchange};
use mail::{AccountId, MailboxId};
use std::collections::VecDeque;
use wire::limits::{IMAP_AUTOLOGOUT, IMAP_MISTAKES_MAX, LOGIN_TIMEOUT};
use wire::{Input, Moment, Output, Step, TlsFacts};

/// A question that the house answers.
#[derive(Debug)]
pub struct Need(pub(crate) Question);

/// What the house answers.
#[derive(Debug)]
pub struct Answer(pub(crate) Reply);

#[derive(Debug)]
pub(crate) enum Question {
    /// Are these the login and password of an account?
    LogIn(Credentials),
    /// The rest, which is asked after login only.
    Mailboxes(Request),
}

#[derive(Debug)]
pub(crate) enum Request {
    /// Do the next slice of a command.
    Work(Box<Work>),
    /// May a message of this length be added to this mailbox? Then make room for it.
    OpenMessage {
        account: AccountId,
        mailbox: crate::command::Mailbox,
        octets: u64,
    },
    /// Keep these octets of the message.
    KeepOctets(Vec<u8>),
    /// Forget the message.
    DropMessage,
    /// The message is whole: make it durable.
    AppendMessage(NewMessage),
}

#[derive(Debug)]
pub(crate) enum Reply {
    LoggedIn(Result<AccountId, LoginError>),
    Worked {
        work: Box<Work>,
        pieces: Vec<Piece>,
        /// How the command ended; `None` when there is another slice.
        done: Option<Completion>,
    },
    Opened(Result<MailboxId, Completion>),
    Kept(Result<(), Completion>),
    Dropped,
    Appended(Completion),
    /// Unasked: something has changed in the account.
    Changed,
}

/// An IMAP session.
#[derive(Debug)]
pub struct Session {
    framer: Framer,
    state: State,
    account: Option<AccountId>,
    selected: Option<Selected>,
    /// What is to be sent before anything else happens.
    pieces: VecDeque<Piece>,
    /// The answer to a command whose literal is being dropped.
    refused: Option<(Tag, Completion)>,
    /// Since the last command after login that went well: a client that asks for something unknown now and then
    /// is a client all the same.
    mistakes: usize,
    has_greeted: bool,
    deadline: Option<Moment>,
}

#[derive(Debug)]
enum State {
    /// Waits for a command.
    Commands,
    /// Waits for a line of a SASL exchange.
    Sasl { tag: Tag, exchange: Exchange },
    /// The house judges a login.
    LoggingIn { tag: Tag },
    /// The house works. The work is here until it is given away.
    Working {
        tag: Tag,
        work: Option<Box<Work>>,
        /// Whether the command is an IDLE that goes on.
        is_idle: bool,
    },
    /// IDLE: waits for DONE, or for something to happen.
    Idling { tag: Tag },
    /// An APPEND.
    Appending(Appending),
    /// All is said.
    Closing,
}

impl Session {
    /// A session on a connection that is encrypted already (P3, P4).
    pub(crate) fn new() -> Session {
        Session {
            framer: Framer::new(),
            state: State::Commands,
            account: None,
            selected: None,
            pieces: VecDeque::new(),
            refused: None,
            mistakes: 0,
            has_greeted: false,
            deadline: None,
        }
    }

    /// Sends what is ready, and gives away what has to be done elsewhere; `None` when a command is to be read.
    fn pending(&mut self, output: &mut Output) -> Option<Step<Need, BodySource>> {
        while let Some(piece) = self.pieces.pop_front() {
            match piece {
                Piece::Octets(octets) => output.push(&octets),
                Piece::Body(source) => return Some(Step::Copy(source)),
            }
        }
        match &mut self.state {
            State::Closing => Some(Step::Close),
            State::Working { work, .. } => {
                let work = work
                    .take()
                    .expect("the house gives the work back before it asks for more");
                Some(request(Request::Work(work)))
            }
            State::Appending(appending) => appending.request().map(request),
            State::Commands | State::Sasl { .. } | State::LoggingIn { .. } | State::Idling { .. } => None,
        }
    }

    /// Reads on; `None` when something was said or is to be done.
    fn read(
        &mut self,
        input: &mut Input,
        output: &mut Output,
        now: Moment,
    ) -> Option<Step<Need, BodySource>> {
        match &mut self.state {
            State::Sasl { .. } => {
                let Some(line) = self.framer.bare_line(input) else {
                    return Some(Step::Read);
                };
                self.sasl_line(line, output)
            }
            State::Idling { .. } => {
                let Some(line) = self.framer.bare_line(input) else {
                    return Some(Step::Listen);
                };
                self.heard_from(now);
                self.idle_line(line, output);
                None
            }
            State::Commands | State::Appending(_) => {
                let Some(frame) = self.framer.next(input) else {
                    return Some(Step::Read);
                };
                self.heard_from(now);
                self.frame(frame, output)
            }
            State::LoggingIn { .. } | State::Working { .. } | State::Closing => Some(Step::Read),
        }
    }

    /// D17: before login the time is limited as a whole; afterwards it starts anew with each command.
    fn heard_from(&mut self, now: Moment) {
        if self.account.is_some() {
            self.deadline = Some(now + IMAP_AUTOLOGOUT);
        }
    }

    fn frame(&mut self, frame: Frame, output: &mut Output) -> Option<Step<Need, BodySource>> {
        match frame {
            Frame::Command(octets) => {
                let command = match self.account {
                    Some(_) => parse::command(&octets),
                    None => parse::command_before_login(&octets),
                };
                match command {
                    Ok(command) => return self.command(command, output),
                    Err(error) => self.syntax_error(&error, output),
                }
            }
            Frame::Announced { head, literal } => self.literal(&head, literal, output),
            Frame::MessageOctets(octets) => self.message_octets(octets),
            Frame::MessageEnd(tail) => self.message_end(&tail),
            Frame::Failed { tag, problem } => self.passed_over(tag.as_ref(), problem, output),
            Frame::Hopeless => {
                output.push(b"* BYE [TOOBIG] This literal has no end\r\n");
                self.state = State::Closing;
            }
        }
        None
    }

    fn passed_over(&mut self, tag: Option<&Tag>, problem: Problem, output: &mut Output) {
        match problem {
            Problem::Refused => {
                if let Some((tag, completion)) = self.refused.take() {
                    self.finish(&tag, &completion, output);
                }
            }
            Problem::LineTooLong => self.mistake(tag, "The command line is too long", output),
            Problem::LiteralTooBig => {
                Completion::no("TOOBIG", "The literal is too big").write(tag, output.as_vec_mut());
            }
        }
    }

    fn syntax_error(&mut self, error: &SyntaxError, output: &mut Output) {
        self.mistake(error.tag(), error.text(), output);
    }

    /// Something that was not understood. Who makes too many mistakes speaks something else (AX: HTTP, SMTP).
    fn mistake(&mut self, tag: Option<&Tag>, text: &'static str, output: &mut Output) {
        Completion::bad(text).write(tag, output.as_vec_mut());
        self.mistakes += 1;
        if self.mistakes >= IMAP_MISTAKES_MAX {
            output.push(b"* BYE Too many mistakes\r\n");
            self.state = State::Closing;
        }
    }

    fn finish(&mut self, tag: &Tag, completion: &Completion, output: &mut Output) {
        completion.write(Some(tag), output.as_vec_mut());
        self.went(completion);
        if !matches!(self.state, State::Closing) {
            self.state = State::Commands;
        }
    }

    fn went(&mut self, completion: &Completion) {
        if completion.is_ok() && self.account.is_some() {
            self.mistakes = 0;
        }
    }

    fn command(&mut self, command: Command, output: &mut Output) -> Option<Step<Need, BodySource>> {
        let Command { tag, body } = command;
        let completion = match body {
            // In any state
            Body::Capability => {
                let capabilities = self.capabilities();
                output.push(format!("* {capabilities}\r\n").as_bytes());
                Completion::ok("Capabilities listed")
            }
            Body::Logout => {
                output.push(b"* BYE Goodbye\r\n");
                self.state = State::Closing;
                Completion::ok("Logged out")
            }
            Body::Id => {
                output.push(b"* ID (\"name\" \"Postolka\")\r\n");
                Completion::ok("Nice to meet you")
            }
            // P4: the connection is encrypted already.
            Body::StartTls => Completion::bad("The connection is encrypted already"),
            Body::Noop if self.account.is_none() => Completion::ok("Nothing done"),
            // Before login
            Body::Login { .. } | Body::Authenticate { .. } if self.account.is_some() => {
                Completion::bad("You are logged in already")
            }
            Body::Login { login, password } => {
                self.state = State::LoggingIn { tag };
                return Some(Step::Need(Need(Question::LogIn(Credentials { login, password }))));
            }
            Body::Authenticate { mechanism, initial } => {
                return self.authenticate(tag, &mechanism, initial.as_ref(), output);
            }
            // After login
            body => match self.account {
                None => Completion::bad("Log in first"),
                Some(account) if matches!(body, Body::Idle) => {
                    output.push(b"+ Waiting for changes\r\n");
                    self.start(tag, account, Op::Sync(Completion::ok("Idle ended")), true);
                    return None;
                }
                Some(account) => match self.op(body, output) {
                    Ok(op) => {
                        self.start(tag, account, op, false);
                        return None;
                    }
                    Err(completion) => completion,
                },
            },
        };
        self.finish(&tag, &completion, output);
        None
    }

    /// The work behind a command, or how it ends without any.
    fn op(&self, body: Body, output: &mut Output) -> Result<Op, Completion> {
        let is_open = self.selected.is_some();
        let needs_mailbox = |op| {
            if is_open {
                Ok(op)
            } else {
                Err(Completion::bad("Select a mailbox first"))
            }
        };
        match body {
            Body::Noop => Ok(Op::Sync(Completion::ok("Nothing done"))),
            Body::Namespace => {
                output.push(b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
                Err(Completion::ok("Namespaces listed"))
            }
            Body::Select {
                mailbox,
                is_read_only,
            } => Ok(Op::Select {
                mailbox,
                is_read_only,
            }),
            Body::Create(mailbox) => Ok(Op::ManageMailbox(ManageMailbox::Create(mailbox))),
            Body::Delete(mailbox) => Ok(Op::ManageMailbox(ManageMailbox::Delete(mailbox))),
            Body::Rename { from, to } => Ok(Op::ManageMailbox(ManageMailbox::Rename { from, to })),
            Body::Subscribe {
                mailbox,
                is_subscribed,
            } => Ok(Op::ManageMailbox(ManageMailbox::Subscribe {
                mailbox,
                is_subscribed,
            })),
            Body::List(list) => Ok(Op::List(list)),
            Body::Status { mailbox, items } => Ok(Op::Status { mailbox, items }),
            Body::Check => needs_mailbox(Op::Sync(Completion::ok("Checked"))),
            Body::Close => needs_mailbox(Op::Close { is_expunging: true }),
            Body::Unselect => needs_mailbox(Op::Close { is_expunging: false }),
            Body::Expunge => needs_mailbox(Op::Expunge(None)),
            Body::UidExpunge(set) => needs_mailbox(Op::Expunge(Some(set))),
            Body::Search { keys, is_uid } => needs_mailbox(Op::Search(Search::new(keys, is_uid))),
            Body::SearchInUnknownCharset => Err(Completion::no(
                "BADCHARSET (US-ASCII UTF-8)",
                "This charset is not known here",
            )),
            Body::Fetch { set, items, is_uid } => needs_mailbox(Op::Fetch(Fetch::new(set, items, is_uid))),
            Body::Store {
                set,
                change,
                flags,
                is_silent,
                is_uid,
            } => needs_mailbox(Op::StoreFlags(StoreFlags {
                set,
                change,
                flags,
                is_silent,
                is_uid,
                named: 0,
            })),
            Body::Copy {
                set,
                mailbox,
                is_move,
                is_uid,
            } => needs_mailbox(Op::Copy(Copy {
                set,
                mailbox,
                is_move,
                is_uid,
            })),
            Body::Capability
            | Body::Logout
            | Body::Id
            | Body::Idle
            | Body::StartTls
            | Body::Login { .. }
            | Body::Authenticate { .. } => Err(Completion::bad("This command is not possible now")),
        }
    }

    fn start(&mut self, tag: Tag, account: AccountId, op: Op, is_idle: bool) {
        let work = Work {
            account,
            selected: self.selected.take(),
            op,
        };
        self.state = State::Working {
            tag,
            work: Some(Box::new(work)),
            is_idle,
        };
    }

    fn worked(&mut self, work: Box<Work>, pieces: Vec<Piece>, done: Option<Completion>) {
        self.pieces.extend(pieces);
        let State::Working {
            tag,
            work: place,
            is_idle,
        } = &mut self.state
        else {
            return;
        };
        let Some(completion) = done else {
            *place = Some(work);
            return;
        };
        self.selected = work.selected;
        let tag = tag.clone();
        if *is_idle && completion.is_ok() {
            self.state = State::Idling { tag };
            return;
        }
        self.went(&completion);
        let mut octets = Vec::new();
        completion.write(Some(&tag), &mut octets);
        self.pieces.push_back(Piece::Octets(octets));
        self.state = State::Commands;
    }

    /// ```text
    /// idle  =  "IDLE" CRLF "DONE"
    /// ```
    ///
    /// Source: RFC 2177 §4.
    fn idle_line(&mut self, line: Result<Vec<u8>, Problem>, output: &mut Output) {
        let State::Idling { tag } = std::mem::replace(&mut self.state, State::Commands) else {
            return;
        };
        if line.is_ok_and(|line| line.eq_ignore_ascii_case(b"DONE")) {
            self.finish(&tag, &Completion::ok("Idle ended"), output);
        } else {
            self.mistake(Some(&tag), "Idle ends with DONE", output);
        }
    }

    fn capabilities(&self) -> String {
        let capabilities = if self.account.is_some() {
            CAPABILITIES.join(" ")
        } else {
            CAPABILITIES_BEFORE_LOGIN.join(" ")
        };
        format!("CAPABILITY {capabilities}")
    }
}

fn request(request: Request) -> Step<Need, BodySource> {
    Step::Need(Need(Question::Mailboxes(request)))
}

impl wire::Session for Session {
    type Need = Need;
    type Answer = Answer;
    type Source = BodySource;

    fn advance(&mut self, input: &mut Input, output: &mut Output, now: Moment) -> Step<Need, BodySource> {
        if !self.has_greeted {
            self.has_greeted = true;
            self.deadline = Some(now + LOGIN_TIMEOUT);
            let capabilities = self.capabilities();
            output.push(format!("* OK [{capabilities}] Ready\r\n").as_bytes());
        }
        // Who has just taken a long answer was not inactive, whatever time it took.
        if !self.pieces.is_empty() && matches!(self.state, State::Commands) {
            self.heard_from(now);
        }
        loop {
            if let Some(step) = self.pending(output) {
                return step;
            }
            if let Some(step) = self.read(input, output, now) {
                return step;
            }
        }
    }

    fn answer(&mut self, answer: Answer, output: &mut Output, now: Moment) {
        match answer.0 {
            Reply::LoggedIn(result) => self.logged_in(result, output, now),
            Reply::Worked { work, pieces, done } => self.worked(work, pieces, done),
            Reply::Opened(result) => self.opened(result, output),
            Reply::Kept(result) => self.kept(result),
            Reply::Dropped => self.dropped(output),
            Reply::Appended(completion) => self.appended(&completion, output),
            Reply::Changed => {
                if let (State::Idling { tag }, Some(account)) = (&self.state, self.account) {
                    let tag = tag.clone();
                    self.start(tag, account, Op::Sync(Completion::ok("Idle ended")), true);
                }
            }
        }
    }

    fn tls_started(&mut self, _tls: TlsFacts, _now: Moment) {}

    fn deadline(&self) -> Moment {
        self.deadline.unwrap_or(Moment::START)
    }

    fn timed_out(&mut self, output: &mut Output) {
        output.push(b"* BYE You were silent for too long\r\n");
        self.state = State::Closing;
    }

    fn shut_down(&mut self, output: &mut Output) {
        output.push(b"* BYE The server stops; come back in a moment\r\n");
        self.state = State::Closing;
    }
}

#[cfg(test)]
mod tests;
