//! Values to octets, and errors to replies.

use crate::command::Tag;
use mail::structure::Text;
use mail::{Flags, SystemFlags};
use store::StoreError;

/// How a command ended: the status response (RFC 9051 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    condition: Condition,
    /// The response code, without brackets; may be empty.
    code: String,
    text: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Ok,
    No,
    Bad,
}

impl Completion {
    pub(crate) fn ok(text: &'static str) -> Completion {
        Completion {
            condition: Condition::Ok,
            code: String::new(),
            text,
        }
    }

    pub(crate) fn ok_with(code: String, text: &'static str) -> Completion {
        Completion {
            code,
            ..Completion::ok(text)
        }
    }

    pub(crate) fn no(code: &str, text: &'static str) -> Completion {
        Completion {
            condition: Condition::No,
            code: code.to_owned(),
            text,
        }
    }

    pub(crate) fn bad(text: &'static str) -> Completion {
        Completion {
            condition: Condition::Bad,
            code: String::new(),
            text,
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.condition == Condition::Ok
    }

    /// The tagged response; untagged if there was no tag.
    pub(crate) fn write(&self, tag: Option<&Tag>, out: &mut Vec<u8>) {
        let tag = tag.map_or("*", |tag| &tag.0);
        let condition = match self.condition {
            Condition::Ok => "OK",
            Condition::No => "NO",
            Condition::Bad => "BAD",
        };
        let code = if self.code.is_empty() {
            String::new()
        } else {
            format!("[{}] ", self.code)
        };
        out.extend_from_slice(format!("{tag} {condition} {code}{}\r\n", self.text).as_bytes());
    }
}

/// Why a command could not be done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No mailbox is selected, or another state is missing for the command.
    NotNow,
    /// The mailbox was opened with EXAMINE.
    ReadOnly,
    /// There is no mailbox of this name.
    NoMailbox,
    /// There is none, but the client could make it (RFC 9051 §7.1 TRYCREATE).
    NoMailboxYet,
    /// No mailbox can have this name.
    NotAName,
    /// A sequence number that no message has.
    NoSuchMessage,
    /// Messages that the command names were expunged meanwhile.
    Gone,
    /// What was asked for is more than is sent at once.
    TooMuch,
    /// A SEARCH asks for more texts than are looked for at once.
    TooManyTexts,
    /// The message is larger than S.
    MessageTooBig,
    /// The message has a NUL (RFC 9051 §4.3: a literal cannot hold one, so it could never be read again).
    HasNul,
    /// The literal of an APPEND was followed by something.
    NotSupported,
    /// The check buffer is taken, and many wait for it.
    Busy,
    /// The store said no.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl Failure {
    /// The reply. The cause of what is our fault goes to the log, never to the client.
    pub(crate) fn completion(&self) -> Completion {
        match self {
            Failure::NotNow => Completion::bad("This command is not possible now"),
            Failure::ReadOnly => Completion::no("", "The mailbox is open for reading only"),
            Failure::NoMailbox => Completion::no("NONEXISTENT", "There is no such mailbox"),
            Failure::NoMailboxYet => Completion::no("TRYCREATE", "There is no such mailbox"),
            Failure::NotAName => Completion::no("CANNOT", "A mailbox cannot have this name"),
            Failure::NoSuchMessage => Completion::bad("There is no message with this number"),
            Failure::Gone => Completion::no("EXPUNGEISSUED", "Some of the messages are gone"),
            Failure::TooMuch => Completion::no("LIMIT", "This is more than is sent at once"),
            Failure::TooManyTexts => Completion::no("LIMIT", "A search can be for 64 texts at once"),
            Failure::MessageTooBig => Completion::no("TOOBIG", "The message is too big"),
            Failure::HasNul => Completion::no("CANNOT", "A message cannot have a NUL octet"),
            Failure::NotSupported => Completion::bad("Nothing can follow the message"),
            Failure::Busy => Completion::no("UNAVAILABLE", "Too much to do, try again in a minute"),
            Failure::Store(error) => store_completion(error),
        }
    }

    /// Writes down what is our fault.
    pub(crate) fn log(&self) {
        if let Failure::Store(error) = self
            && !matches!(
                error,
                StoreError::OverQuota
                    | StoreError::NoMailbox
                    | StoreError::MailboxExists
                    | StoreError::IsInbox
                    | StoreError::TooManyKeywords { .. }
                    | StoreError::TooLarge { .. }
                    | StoreError::TooMany { .. }
                    | StoreError::SpecialUseTaken
                    | StoreError::Gone
            )
        {
            tracing::error!(%error, "a command failed");
        }
    }
}

fn store_completion(error: &StoreError) -> Completion {
    const OURS: &str = "The server has a problem, try again later";
    match error {
        StoreError::OverQuota => Completion::no("OVERQUOTA", "The mailbox would be over its quota"),
        StoreError::Full => Completion::no("OVERQUOTA", "The disk of the server is full"),
        StoreError::TooLarge { .. } => Completion::no("TOOBIG", "This is more than fits at once"),
        StoreError::NoMailbox => Completion::no("NONEXISTENT", "There is no such mailbox"),
        StoreError::MailboxExists => Completion::no("ALREADYEXISTS", "There is a mailbox of this name"),
        StoreError::IsInbox => Completion::no("CANNOT", "INBOX cannot be deleted or replaced"),
        StoreError::TooManyKeywords { .. } => {
            Completion::no("LIMIT", "A message cannot have so many keywords")
        }
        StoreError::TooMany { .. } => Completion::no("LIMIT", "There are too many already"),
        // RFC 6154 §3
        StoreError::SpecialUseTaken => Completion::no("USEATTR", "Another mailbox has this use"),
        StoreError::Gone => Completion::no("EXPUNGEISSUED", "Some of the messages are gone"),
        StoreError::Damaged { .. } => {
            Completion::no("SERVERBUG", "This message is damaged on the disk of the server")
        }
        StoreError::UidsExhausted => Completion::no("LIMIT", "The mailbox can take no message any more"),
        StoreError::NoAccount => Completion::no("UNAVAILABLE", "The account is gone"),
        StoreError::Io { .. }
        | StoreError::Index(_)
        | StoreError::IndexRow { .. }
        | StoreError::Stopped { .. }
        | StoreError::Closed
        | StoreError::InUse
        | StoreError::Newer { .. }
        | StoreError::LogMissing { .. }
        | StoreError::LogIncomplete { .. }
        | StoreError::RestoreUnfinished
        | StoreError::NoBackup
        | StoreError::NotEmpty
        | StoreError::BackupName
        | StoreError::LogUnreadable
        | StoreError::AlreadyClaimed
        | StoreError::UnknownDomain(_)
        | StoreError::AddressTaken(_)
        | StoreError::CatchAll(_)
        | StoreError::DomainExists(_)
        | StoreError::NotADomainName(_)
        | StoreError::ServerNameTaken { .. }
        | StoreError::IsAliasDomain(_)
        | StoreError::DomainInUse(_)
        | StoreError::DomainLimit { .. }
        | StoreError::LastOwner
        | StoreError::RedirectLoop(_)
        | StoreError::NoAppPassword
        | StoreError::NoQueueEntry => Completion::no("UNAVAILABLE", OURS),
    }
}

/// ```text
/// string  =  quoted / literal
/// ```
///
/// Octets that a quoted string of RFC 3501 cannot hold make it a literal: above 127, CR, LF. NUL fits into
/// neither and becomes a space.
pub(crate) fn write_string(octets: &[u8], out: &mut Vec<u8>) {
    const QUOTED_OCTETS_MAX: usize = 1000;
    let is_quotable = |octet: &u8| octet.is_ascii() && !matches!(octet, b'\r' | b'\n' | 0);
    if octets.len() <= QUOTED_OCTETS_MAX && octets.iter().all(is_quotable) {
        out.push(b'"');
        for octet in octets {
            if matches!(octet, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*octet);
        }
        out.push(b'"');
        return;
    }
    write_literal_head(octets.len() as u64, out);
    out.extend(octets.iter().map(|octet| if *octet == 0 { b' ' } else { *octet }));
}

/// The announcement of a literal.
pub(crate) fn write_literal_head(octets: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{{octets}}}\r\n").as_bytes());
}

/// ```text
/// nstring  =  string / nil
/// ```
pub(crate) fn write_nstring(text: Option<&Text>, out: &mut Vec<u8>) {
    match text {
        Some(text) => write_string(text.as_bytes(), out),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// ```text
/// astring  =  1*ASTRING-CHAR / string
/// ```
pub(crate) fn write_astring(text: &str, out: &mut Vec<u8>) {
    let is_atom = |octet: u8| octet.is_ascii_alphanumeric() || b"-._/+,=&!#$:;<>@?~'|^`".contains(&octet);
    if !text.is_empty() && text.bytes().all(is_atom) && !text.eq_ignore_ascii_case("NIL") {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_string(text.as_bytes(), out);
    }
}

/// `FLAGS (\Seen …)`
pub(crate) fn write_flags(flags: &Flags, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("FLAGS ({flags})").as_bytes());
}

/// The flags that a mailbox can have, for FLAGS and PERMANENTFLAGS.
pub(crate) fn all_system_flags() -> String {
    let names: Vec<&str> = SystemFlags::NAMES.into_iter().map(|(_, name)| name).collect();
    names.join(" ")
}

/// ```text
/// uid-set  =  (uniqueid / uid-range) *("," uid-set)      ; RFC 4315 §4
/// ```
pub(crate) fn uid_set(uids: &[mail::Uid]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for uid in uids {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == uid.get() => *last = uid.get(),
            _ => ranges.push((uid.get(), uid.get())),
        }
    }
    let shown: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}:{last}")
            }
        })
        .collect();
    shown.join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mail::Uid;

    fn string(octets: &[u8]) -> String {
        let mut out = Vec::new();
        write_string(octets, &mut out);
        out.escape_ascii().to_string()
    }

    #[test]
    fn a_quoted_string_has_no_octet_that_it_cannot_have() {
        assert_eq!(string(b"a \"b\" \\"), r#"\"a \\\"b\\\" \\\\\""#);
        assert_eq!(string("č".as_bytes()), r"{2}\r\n\xc4\x8d");
        assert_eq!(string(b"a\r\nb"), r"{4}\r\na\r\nb");
        assert_eq!(string(b"a\0b"), r"{3}\r\na b");
        assert_eq!(string(b""), r#"\"\""#);
        assert!(string(&[b'x'; 2000]).starts_with("{2000}"));
    }

    #[test]
    fn runs_of_uids_are_ranges() {
        let uids: Vec<Uid> = [1, 2, 3, 7, 9, 10]
            .into_iter()
            .map(|uid| Uid::new(uid).unwrap())
            .collect();
        assert_eq!(uid_set(&uids), "1:3,7,9:10");
    }

    #[test]
    fn a_mailbox_called_nil_is_quoted() {
        let mut out = Vec::new();
        write_astring("Nil", &mut out);
        assert_eq!(out, b"\"Nil\"");
    }
}
