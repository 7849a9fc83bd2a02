//! Values to octets: every reply of the server, and every error as a reply.
//!
//! Each error of each layer has one arm here and there is no catch-all, so that a new variant asks
//! for its reply. The peer gets a short general text; the cause goes to the log.

use crate::command::CommandError;
use crate::data::DataError;
use crate::session::SequenceError;
use crate::{OFFERED, When};
use delivery::{AcceptError, AdmitError, ContentError, RouteError};
use mail::{Domain, TraceId};
use std::borrow::Cow;
use std::io::Write;
use wire::Output;
use wire::class::{Class, Code};

/// A reply of one line with an enhanced status code (RFC 2034), and whether the connection goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    code: Code,
    text: Cow<'static, str>,
    closes: bool,
}

/// `code` with its class, for the constants below.
const fn success(rest: u16, subject: u16, detail: u16) -> Code {
    Code::new(Class::Success, rest, subject, detail)
}

const fn transient(rest: u16, subject: u16, detail: u16) -> Code {
    Code::new(Class::Transient, rest, subject, detail)
}

const fn permanent(rest: u16, subject: u16, detail: u16) -> Code {
    Code::new(Class::Permanent, rest, subject, detail)
}

impl Reply {
    const fn new(code: Code, text: &'static str) -> Reply {
        Reply {
            code,
            text: Cow::Borrowed(text),
            closes: false,
        }
    }

    const fn closing(code: Code, text: &'static str) -> Reply {
        Reply {
            code,
            text: Cow::Borrowed(text),
            closes: true,
        }
    }

    /// Whether the connection ends with this reply.
    pub(crate) const fn closes(&self) -> bool {
        self.closes
    }

    /// Adds the reply to what is owed.
    ///
    /// ```text
    /// Reply-line = Reply-code [ SP textstring ] CRLF
    /// ```
    ///
    /// Source: RFC 5321 §4.2, RFC 2034 §4.
    pub(crate) fn push_to(&self, output: &mut Output) {
        let (reply, enhanced) = (self.code.reply(), self.code.enhanced());
        line(output, format_args!("{reply} {enhanced} {}", self.text));
    }
}

// What has no enhanced status code: the greeting, the answers to HELO and EHLO (RFC 2034 §4), and
// 354, for whose class there is none.

/// `220`, the first words (RFC 5321 §4.3.1).
pub(crate) fn greeting(host_name: &Domain, output: &mut Output) {
    line(output, format_args!("220 {host_name} ESMTP Postolka"));
}

/// The answer to `HELO`.
pub(crate) fn helo(host_name: &Domain, output: &mut Output) {
    line(output, format_args!("250 {host_name}"));
}

/// The answer to `EHLO`: the extensions of [`OFFERED`], one a line.
pub(crate) fn ehlo(host_name: &Domain, is_tls: bool, output: &mut Output) {
    line(output, format_args!("250-{host_name}"));
    let is_listed = |when: When| when == When::Always || !is_tls;
    let mut listed = OFFERED.iter().filter(|(_, when)| is_listed(*when)).peekable();
    while let Some((extension, _)) = listed.next() {
        let mark = if listed.peek().is_some() { '-' } else { ' ' };
        line(output, format_args!("250{mark}{extension}"));
    }
}

/// `354`: the message may come.
pub(crate) fn start_mail_input(output: &mut Output) {
    line(output, format_args!("354 End data with <CR><LF>.<CR><LF>"));
}

fn line(output: &mut Output, text: std::fmt::Arguments<'_>) {
    write!(output.as_vec_mut(), "{text}\r\n").expect("a Vec takes all octets");
}

// What went well.

pub(crate) const OK: Reply = Reply::new(success(50, 0, 0), "Ok");
pub(crate) const SENDER: Reply = Reply::new(success(50, 1, 0), "Sender taken");
pub(crate) const RECIPIENT: Reply = Reply::new(success(50, 1, 5), "Recipient taken");
pub(crate) const START_TLS: Reply = Reply::new(success(20, 0, 0), "Ready to start TLS");
/// RFC 5321 §3.5.3: neither confirmed nor denied (AS3, AS28).
pub(crate) const VERIFY: Reply = Reply::new(success(52, 0, 0), "Send some mail, it will be tried");
pub(crate) const HELP: Reply = Reply::new(
    success(14, 0, 0),
    "EHLO HELO STARTTLS MAIL RCPT DATA RSET NOOP VRFY HELP QUIT; see RFC 5321",
);
pub(crate) const QUIT: Reply = Reply::closing(success(21, 0, 0), "Bye");

/// The message is on disk (D1), under this name (D37).
pub(crate) fn accepted(trace: TraceId) -> Reply {
    Reply {
        code: success(50, 0, 0),
        text: Cow::Owned(format!("Accepted as {trace}")),
        closes: false,
    }
}

// The house ends the conversation.

/// RFC 5321 §4.5.3.2: the client was silent for too long, or brought nothing (D17).
pub(crate) const TIMED_OUT: Reply = Reply::closing(transient(21, 4, 2), "Waited for too long, closing");
/// RFC 5321 §3.8: the service stops; the client comes back later.
pub(crate) const SHUT_DOWN: Reply = Reply::closing(transient(21, 3, 2), "Going down for a moment, try again");

// What went wrong, lowest layer first.

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Reply {
        match error {
            CommandError::LineTooLong => Reply::new(permanent(0, 5, 2), "Line too long"),
            CommandError::ControlCharacter => Reply::new(
                permanent(0, 5, 2),
                "Control character in a command; lines end with CRLF",
            ),
            CommandError::Unknown => Reply::new(permanent(0, 5, 2), "Command not recognised"),
            CommandError::NotOffered => Reply::new(permanent(2, 5, 1), "Command not offered"),
            CommandError::Chunk => Reply::closing(
                permanent(2, 5, 1),
                "BDAT not offered; closing, for a chunk is no command",
            ),
            CommandError::Http => Reply::closing(permanent(54, 5, 1), "This is SMTP, not HTTP"),
            CommandError::ClientName => Reply::new(permanent(1, 5, 4), "Give one host name"),
            CommandError::ArgumentMissing => Reply::new(permanent(1, 5, 4), "Argument missing"),
            CommandError::ArgumentUnwanted => Reply::new(permanent(1, 5, 4), "No argument here"),
            CommandError::ReversePath => Reply::new(permanent(1, 1, 7), "Syntax: MAIL FROM:<address>"),
            CommandError::ForwardPath => Reply::new(permanent(1, 1, 3), "Syntax: RCPT TO:<address>"),
            CommandError::ReversePathNotAscii => Reply::new(
                permanent(53, 6, 7),
                "Sender address needs SMTPUTF8, which is not offered",
            ),
            CommandError::ForwardPathNotAscii => Reply::new(
                permanent(53, 6, 7),
                "Recipient address needs SMTPUTF8, which is not offered",
            ),
            CommandError::ParameterUnknown => Reply::new(permanent(55, 5, 4), "Parameter not recognised"),
            CommandError::ParameterValue => Reply::new(permanent(1, 5, 4), "Wrong value of a parameter"),
        }
    }
}

impl From<SequenceError> for Reply {
    fn from(error: SequenceError) -> Reply {
        match error {
            SequenceError::DidNotWait => Reply::closing(
                permanent(54, 5, 0),
                "You did not wait for the reply (RFC 2920 3.1)",
            ),
            SequenceError::NoHello => Reply::new(permanent(3, 5, 1), "Say EHLO first"),
            SequenceError::HasTransaction => Reply::new(permanent(3, 5, 1), "MAIL was given already"),
            SequenceError::NoTransaction => Reply::new(permanent(3, 5, 1), "Give MAIL first"),
            SequenceError::NoRecipients => Reply::new(permanent(54, 5, 1), "No valid recipients"),
            SequenceError::HasTls => Reply::new(permanent(3, 5, 1), "TLS is there already"),
            SequenceError::AuthWithoutTls => Reply::new(permanent(30, 7, 0), "Must issue STARTTLS first"),
            SequenceError::AuthNotOffered => Reply::new(permanent(2, 5, 1), "AUTH not offered on this port"),
            SequenceError::TooLarge => Reply::new(permanent(52, 3, 4), "Message too large"),
            SequenceError::TooManyRecipients => Reply::new(
                transient(52, 5, 3),
                "Too many recipients; send the rest in another transaction",
            ),
            SequenceError::TooManyUnknown => Reply::new(transient(52, 5, 3), "Too many unknown recipients"),
            SequenceError::Harvesting => {
                Reply::closing(transient(21, 7, 0), "Too many unknown recipients, closing")
            }
            SequenceError::TooManyMistakes => {
                Reply::closing(transient(21, 7, 0), "Too many mistakes, closing")
            }
        }
    }
}

impl From<DataError> for Reply {
    fn from(error: DataError) -> Reply {
        match error {
            DataError::TooLarge => Reply::new(permanent(52, 3, 4), "Message too large"),
            DataError::BareCr => Reply::new(permanent(50, 5, 2), "Bare CR in the message"),
            DataError::DotLine => Reply::new(permanent(50, 5, 2), "Bare LF around a dot line in the message"),
            DataError::Nul => Reply::new(permanent(50, 6, 0), "NUL in the message"),
        }
    }
}

impl From<&AdmitError> for Reply {
    fn from(error: &AdmitError) -> Reply {
        match error {
            AdmitError::DiskLow => DISK_LOW,
        }
    }
}

impl From<&RouteError> for Reply {
    fn from(error: &RouteError) -> Reply {
        match error {
            RouteError::UnknownUser => Reply::new(permanent(50, 1, 1), "No such mailbox here"),
            RouteError::NotHosted => Reply::new(permanent(50, 7, 1), "Not a domain of this server"),
            RouteError::Disabled => Reply::new(permanent(50, 2, 1), "Mailbox disabled"),
            RouteError::OverQuota => Reply::new(transient(52, 2, 2), "Mailbox full"),
            RouteError::Loop => Reply::new(permanent(54, 4, 6), "Redirects lead in a circle"),
            RouteError::TooManyTargets => {
                Reply::new(permanent(50, 2, 4), "Redirects lead to too many mailboxes")
            }
            RouteError::Outside => {
                Reply::new(transient(50, 3, 5), "Redirect to another server not possible yet")
            }
            RouteError::Store(_) => LOCAL_ERROR,
        }
    }
}

impl From<&ContentError> for Reply {
    fn from(error: &ContentError) -> Reply {
        match error {
            ContentError::HeaderTooLarge => Reply::new(permanent(52, 3, 4), "Header section too large"),
            ContentError::DiskFull => DISK_LOW,
            ContentError::Store(_) => LOCAL_ERROR,
        }
    }
}

impl From<&AcceptError> for Reply {
    fn from(error: &AcceptError) -> Reply {
        match error {
            AcceptError::Loop => Reply::new(permanent(54, 4, 6), "Message goes in a circle"),
            AcceptError::Busy => {
                Reply::new(transient(51, 3, 2), "Too many large messages at once, try again")
            }
            AcceptError::DiskFull => DISK_LOW,
            AcceptError::NoContent | AcceptError::Random(_) | AcceptError::Store(_) => LOCAL_ERROR,
        }
    }
}

/// S8, D9.
const DISK_LOW: Reply = Reply::new(transient(52, 3, 1), "Disk low, try again later");
/// The house failed; the log says how.
const LOCAL_ERROR: Reply = Reply::new(transient(51, 3, 0), "Local error, try again later");
