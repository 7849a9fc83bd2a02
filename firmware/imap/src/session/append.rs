//! APPEND, and literals in general.
//!
//! The message never is in one piece here: its octets go to the house as they come.
//!
//! ```text
//! Opening ──(may it come?)──► Receiving ──octets, octets…──► Ending ──► Working (what is new)
//! ```

use super::{Request, Session, State};
use crate::command::{Append, Tag};
use crate::framer::Literal;
use crate::op::Op;
use crate::parse;
use crate::response::{Completion, Failure};
use mail::{AccountId, Flags, InternalDate, MailboxId};
use wire::Output;
use wire::limits::MESSAGE_OCTETS_MAX;

/// An APPEND under way.
#[derive(Debug)]
pub(super) struct Appending {
    account: AccountId,
    append: Append,
    is_synchronising: bool,
    /// Where it goes, once that is known.
    mailbox: Option<MailboxId>,
    /// Why the message will not be added; its octets are dropped.
    failure: Option<Completion>,
    /// What the house is to be asked next.
    request: Option<Request>,
}

/// A whole message that is to be added.
#[derive(Debug)]
pub(crate) struct NewMessage {
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
    pub(crate) flags: Flags,
    pub(crate) internal_date: Option<InternalDate>,
}

impl Appending {
    pub(super) fn request(&mut self) -> Option<Request> {
        self.request.take()
    }
}

impl Session {
    /// A literal was announced.
    pub(super) fn literal(&mut self, head: &[u8], literal: Literal, output: &mut Output) {
        let append = self
            .account
            .and_then(|account| Some((account, parse::append(head)?)));
        match append {
            Some((_, Err(error))) => {
                if let Some(tag) = error.tag() {
                    self.refuse(tag.clone(), Completion::bad(error.text()), output);
                }
            }
            // AI2, S6: judged before the octets come.
            Some((_, Ok(append))) if literal.octets > MESSAGE_OCTETS_MAX => {
                self.refuse(append.tag, Failure::MessageTooBig.completion(), output);
            }
            Some((account, Ok(append))) => {
                let request = Request::OpenMessage {
                    account,
                    mailbox: append.mailbox.clone(),
                    octets: literal.octets,
                };
                self.state = State::Appending(Appending {
                    account,
                    append,
                    is_synchronising: literal.is_synchronising,
                    mailbox: None,
                    failure: None,
                    request: Some(request),
                });
            }
            None => {
                if self.framer.take_literal() {
                    if literal.is_synchronising {
                        output.push(b"+ Go on\r\n");
                    }
                } else if literal.is_synchronising {
                    let tag = crate::framer::tag_of(head);
                    Completion::no("TOOBIG", "The literal is too big")
                        .write(tag.as_ref(), output.as_vec_mut());
                }
            }
        }
    }

    /// Ends a command whose literal was announced. If the octets come all the same, the answer waits for their
    /// end: a client may not read before it has sent all.
    fn refuse(&mut self, tag: Tag, completion: Completion, output: &mut Output) {
        if self.framer.refuse() {
            self.refused = Some((tag, completion));
            self.state = State::Commands;
        } else {
            self.finish(&tag, &completion, output);
        }
    }

    pub(super) fn opened(&mut self, result: Result<MailboxId, Completion>, output: &mut Output) {
        let State::Appending(appending) = &mut self.state else {
            return;
        };
        match result {
            Ok(mailbox) => {
                appending.mailbox = Some(mailbox);
                if appending.is_synchronising {
                    output.push(b"+ Ready for the message\r\n");
                }
                self.framer.take_message();
            }
            Err(completion) => {
                let tag = appending.append.tag.clone();
                self.refuse(tag, completion, output);
            }
        }
    }

    pub(super) fn message_octets(&mut self, octets: Vec<u8>) {
        let State::Appending(appending) = &mut self.state else {
            return;
        };
        if appending.failure.is_some() {
            return;
        }
        if memchr::memchr(0, &octets).is_some() {
            appending.failure = Some(Failure::HasNul.completion());
            return;
        }
        appending.request = Some(Request::KeepOctets(octets));
    }

    pub(super) fn kept(&mut self, result: Result<(), Completion>) {
        if let State::Appending(appending) = &mut self.state
            && let Err(completion) = result
        {
            appending.failure = Some(completion);
        }
    }

    /// The message is whole. Not supported: more than one in a command (RFC 3502).
    pub(super) fn message_end(&mut self, tail: &[u8]) {
        let State::Appending(appending) = &mut self.state else {
            return;
        };
        if !tail.trim_ascii().is_empty() {
            appending
                .failure
                .get_or_insert(Failure::NotSupported.completion());
        }
        let Some(mailbox) = appending.mailbox else {
            return;
        };
        appending.request = Some(if appending.failure.is_some() {
            Request::DropMessage
        } else {
            Request::AppendMessage(NewMessage {
                account: appending.account,
                mailbox,
                flags: appending.append.flags.clone(),
                internal_date: appending.append.internal_date,
            })
        });
    }

    pub(super) fn dropped(&mut self, output: &mut Output) {
        if let State::Appending(appending) = &mut self.state
            && let Some(completion) = appending.failure.take()
        {
            let tag = appending.append.tag.clone();
            self.finish(&tag, &completion, output);
        }
    }

    /// The message is durable, or refused. If it went into the open mailbox, the client is told before the end
    /// of the command (RFC 3501 §6.3.11).
    pub(super) fn appended(&mut self, completion: &Completion, output: &mut Output) {
        let State::Appending(appending) = &self.state else {
            return;
        };
        let (tag, account) = (appending.append.tag.clone(), appending.account);
        if completion.is_ok() {
            self.start(tag, account, Op::Sync(completion.clone()), false);
        } else {
            self.finish(&tag, completion, output);
        }
    }
}
