//! A whole command to its value.
//!
//! The grammar is that of RFC 9051 §9 where RFC 3501 has the same, and RFC 3501 §9 where it differs, because
//! the box speaks IMAP4rev1. The ABNF stands above each parser.

mod fetch;
mod search;
mod token;

use crate::command::{Append, Body, Change, Command, List, StatusItem, Tag};
use crate::framer::tag_of;
use mail::{Flags, Secret};
use token::{
    Input, Parsed, astring, end, flag_list, keyword, list_mailbox, mailbox, new_mailbox, sequence_set, space,
    store_flags, utf8,
};
use winnow::Parser;
use winnow::combinator::{alt, delimited, eof, opt, preceded, separated, separated_pair, terminated};
use winnow::token::take_while;

/// Why a command is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SyntaxError {
    /// There is no tag.
    NoTag,
    /// The name of the command is not known here.
    UnknownCommand(Tag),
    /// What follows the name makes no sense.
    Arguments(Tag),
    /// That, and octets above 127 stand where only ASCII can: in front of all in names of mailboxes.
    BareOctets(Tag),
    /// That, and it is not in UTF-8.
    NotUtf8(Tag),
    /// The command has to wait for the login.
    LogInFirst(Tag),
}

impl SyntaxError {
    /// The tag of the answer.
    pub(crate) fn tag(&self) -> Option<&Tag> {
        match self {
            SyntaxError::NoTag => None,
            SyntaxError::UnknownCommand(tag)
            | SyntaxError::Arguments(tag)
            | SyntaxError::BareOctets(tag)
            | SyntaxError::NotUtf8(tag)
            | SyntaxError::LogInFirst(tag) => Some(tag),
        }
    }

    /// What the client is told.
    pub(crate) fn text(&self) -> &'static str {
        match self {
            SyntaxError::NoTag => "A command starts with a tag",
            SyntaxError::UnknownCommand(_) => "This command is not known here",
            SyntaxError::Arguments(_) => "The arguments of this command make no sense",
            SyntaxError::BareOctets(_) => "Octets above 127 have to be in quotes or in a literal",
            SyntaxError::NotUtf8(_) => {
                "Text has to be in UTF-8, names of mailboxes in modified UTF-7 or UTF-8"
            }
            SyntaxError::LogInFirst(_) => "Log in first",
        }
    }

    /// What is wrong with arguments that make no sense, as far as it can be told.
    fn of_arguments(tag: Tag, arguments: &[u8]) -> SyntaxError {
        if str::from_utf8(arguments).is_err() {
            return SyntaxError::NotUtf8(tag);
        }
        // Every second piece is in quotes. An escaped quote, or one in a literal, can make this wrong, and then
        // another sentence is sent.
        let mut bare = arguments.split(|octet| *octet == b'"').step_by(2);
        if bare.any(|octets| !octets.is_ascii()) {
            SyntaxError::BareOctets(tag)
        } else {
            SyntaxError::Arguments(tag)
        }
    }
}

/// Reads a command.
///
/// ```text
/// command  =  tag SP (command-any / command-auth / command-nonauth / command-select) CRLF
/// ```
pub(crate) fn command(octets: &[u8]) -> Result<Command, SyntaxError> {
    let tag = tag_of(octets).ok_or(SyntaxError::NoTag)?;
    let mut rest = &octets[tag.0.len() + 1..];
    let name = name(&mut rest).map_err(|_| SyntaxError::UnknownCommand(tag.clone()))?;
    let arguments = rest;
    match body(&name, &mut rest) {
        None => Err(SyntaxError::UnknownCommand(tag)),
        Some(Err(_)) => Err(SyntaxError::of_arguments(tag, arguments)),
        Some(Ok(body)) => Ok(Command { tag, body }),
    }
}

/// Reads a command before login. Of one that has to wait for it only the name is looked at, so that nothing
/// nests whose client is not known (AI1): the one list in parentheses is that of ID.
pub(crate) fn command_before_login(octets: &[u8]) -> Result<Command, SyntaxError> {
    const COMMANDS: [&str; 7] = [
        "CAPABILITY",
        "NOOP",
        "LOGOUT",
        "STARTTLS",
        "ID",
        "LOGIN",
        "AUTHENTICATE",
    ];
    let tag = tag_of(octets).ok_or(SyntaxError::NoTag)?;
    let name = name(&mut &octets[tag.0.len() + 1..]);
    match name {
        Ok(name) if !COMMANDS.contains(&name.as_str()) && body(&name, &mut &b""[..]).is_some() => {
            Err(SyntaxError::LogInFirst(tag))
        }
        _ => command(octets),
    }
}

/// Reads what stands before the message of an APPEND; `None` when this is no APPEND, or the literal that
/// follows is the name of the mailbox.
///
/// ```text
/// append          =  "APPEND" SP mailbox SP [flag-list SP] [date-time SP] append-data
/// ```
pub(crate) fn append(head: &[u8]) -> Option<Result<Append, SyntaxError>> {
    let tag = tag_of(head)?;
    let mut rest = &head[tag.0.len() + 1..];
    if !name(&mut rest).is_ok_and(|name| name == "APPEND") {
        return None;
    }
    let brace = memchr::memrchr(b'{', rest)?;
    rest = &rest[..brace];
    if rest == b" " {
        return None;
    }
    let arguments = rest;
    let parsed: Parsed<_> = (
        preceded(space, mailbox),
        opt(preceded(space, flag_list)),
        opt(preceded(space, token::date_time)),
        terminated(space, eof),
    )
        .parse_next(&mut rest);
    Some(match parsed {
        Ok((mailbox, flags, internal_date, ())) => Ok(Append {
            tag,
            mailbox,
            flags: flags.unwrap_or_default(),
            internal_date,
        }),
        Err(_) => Err(SyntaxError::of_arguments(tag, arguments)),
    })
}

/// The name of a command, in upper case, `UID` and what follows it together.
fn name(input: &mut Input<'_>) -> Parsed<String> {
    let first = word(input)?;
    if first != "UID" {
        return Ok(first);
    }
    let second = preceded(space, word).parse_next(input)?;
    Ok(format!("UID {second}"))
}

fn word(input: &mut Input<'_>) -> Parsed<String> {
    let word = take_while(1..=20, |octet: u8| octet.is_ascii_alphabetic()).parse_next(input)?;
    Ok(String::from_utf8_lossy(word).to_ascii_uppercase())
}

/// The body of the command with this name; `None` when it is not known.
fn body(name: &str, input: &mut Input<'_>) -> Option<Parsed<Body>> {
    let is_uid = name.starts_with("UID ");
    Some(match name {
        "CAPABILITY" => alone(Body::Capability, input),
        "NOOP" => alone(Body::Noop, input),
        "LOGOUT" => alone(Body::Logout, input),
        "NAMESPACE" => alone(Body::Namespace, input),
        "STARTTLS" => alone(Body::StartTls, input),
        "CHECK" => alone(Body::Check, input),
        "CLOSE" => alone(Body::Close, input),
        "UNSELECT" => alone(Body::Unselect, input),
        "EXPUNGE" => alone(Body::Expunge, input),
        "IDLE" => alone(Body::Idle, input),
        "ID" => id(input),
        "LOGIN" => login(input),
        "AUTHENTICATE" => authenticate(input),
        "SELECT" | "EXAMINE" => only(preceded(space, mailbox), input).map(|mailbox| Body::Select {
            mailbox,
            is_read_only: name == "EXAMINE",
        }),
        "CREATE" => only(preceded(space, new_mailbox), input).map(Body::Create),
        "DELETE" => only(preceded(space, mailbox), input).map(Body::Delete),
        "RENAME" => only(preceded(space, separated_pair(mailbox, space, mailbox)), input)
            .map(|(from, to)| Body::Rename { from, to }),
        "SUBSCRIBE" | "UNSUBSCRIBE" => only(preceded(space, mailbox), input).map(|mailbox| Body::Subscribe {
            mailbox,
            is_subscribed: name == "SUBSCRIBE",
        }),
        "LIST" | "LSUB" => list(name == "LSUB", input),
        "STATUS" => status(input),
        "SEARCH" | "UID SEARCH" => search::search(is_uid, input),
        "FETCH" | "UID FETCH" => fetch::fetch(is_uid, input),
        "STORE" | "UID STORE" => store(is_uid, input),
        "COPY" | "UID COPY" | "MOVE" | "UID MOVE" => copy(name.ends_with("MOVE"), is_uid, input),
        "UID EXPUNGE" => only(preceded(space, sequence_set), input).map(Body::UidExpunge),
        _ => return None,
    })
}

fn alone(body: Body, input: &mut Input<'_>) -> Parsed<Body> {
    end(input)?;
    Ok(body)
}

fn only<'a, T>(
    mut parser: impl Parser<Input<'a>, T, winnow::error::EmptyError>,
    input: &mut Input<'a>,
) -> Parsed<T> {
    let value = parser.parse_next(input)?;
    end(input)?;
    Ok(value)
}

/// ```text
/// id                 =  "ID" SP id-params-list
/// id-params-list     =  "(" [string SP nstring *(SP string SP nstring)] ")" / nil
/// ```
///
/// Source: RFC 2971 §3.1. What it says is not kept.
fn id(input: &mut Input<'_>) -> Parsed<Body> {
    let value = |input: &mut Input<'_>| -> Parsed<()> { astring.void().parse_next(input) };
    let fields = separated::<_, _, Vec<()>, _, _, _, _>(0..=60, value, space).void();
    only(
        preceded(
            space,
            alt((delimited("(", fields, ")").void(), keyword("NIL").void())),
        ),
        input,
    )?;
    Ok(Body::Id)
}

/// ```text
/// login  =  "LOGIN" SP userid SP password
/// ```
fn login(input: &mut Input<'_>) -> Parsed<Body> {
    let argument = || preceded(space, utf8.map(Secret::new));
    let (login, password) = only((argument(), argument()), input)?;
    Ok(Body::Login { login, password })
}

/// ```text
/// authenticate      =  "AUTHENTICATE" SP auth-type [SP initial-resp]
/// initial-resp      =  (base64 / "=")
/// ```
///
/// Source: RFC 4959 §3.
fn authenticate(input: &mut Input<'_>) -> Parsed<Body> {
    let mechanism = take_while(1..=40, |octet: u8| octet.is_ascii_graphic());
    let response = take_while(1.., |octet: u8| {
        octet.is_ascii_alphanumeric() || b"+/=".contains(&octet)
    });
    let (mechanism, initial): (&[u8], Option<&[u8]>) = only(
        (preceded(space, mechanism), opt(preceded(space, response))),
        input,
    )?;
    Ok(Body::Authenticate {
        mechanism: mechanism.to_vec(),
        initial: initial.map(|response| Secret::new(response.to_vec())),
    })
}

/// ```text
/// list  =  "LIST" SP mailbox SP list-mailbox
/// lsub  =  "LSUB" SP mailbox SP list-mailbox
/// ```
///
/// Source: RFC 3501 §9.
fn list(is_lsub: bool, input: &mut Input<'_>) -> Parsed<Body> {
    let text = |octets: Vec<u8>| String::from_utf8(octets).ok();
    let (reference, pattern) = only(
        (
            preceded(space, utf8),
            preceded(space, list_mailbox.verify_map(text)),
        ),
        input,
    )?;
    Ok(Body::List(List {
        reference,
        pattern,
        is_lsub,
    }))
}

/// ```text
/// status      =  "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"
/// status-att  =  "MESSAGES" / "RECENT" / "UIDNEXT" / "UIDVALIDITY" / "UNSEEN" / "DELETED" / "SIZE" /
///                "APPENDLIMIT"
/// ```
///
/// Source: RFC 3501 §9, RFC 8438 §3, RFC 7889 §5.
fn status(input: &mut Input<'_>) -> Parsed<Body> {
    let item = alt((
        keyword("MESSAGES").value(StatusItem::Messages),
        keyword("RECENT").value(StatusItem::Recent),
        keyword("UIDNEXT").value(StatusItem::UidNext),
        keyword("UIDVALIDITY").value(StatusItem::UidValidity),
        keyword("UNSEEN").value(StatusItem::Unseen),
        keyword("DELETED").value(StatusItem::Deleted),
        keyword("SIZE").value(StatusItem::Size),
        keyword("APPENDLIMIT").value(StatusItem::AppendLimit),
    ));
    let items = delimited("(", separated(1..=20, item, space), ")");
    let (mailbox, items) = only((preceded(space, mailbox), preceded(space, items)), input)?;
    Ok(Body::Status { mailbox, items })
}

/// ```text
/// store            =  "STORE" SP sequence-set SP store-att-flags
/// store-att-flags  =  (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
/// ```
fn store(is_uid: bool, input: &mut Input<'_>) -> Parsed<Body> {
    let sign = opt(alt(("+".value(Change::Add), "-".value(Change::Remove))));
    let (set, change, _, silent, flags): (_, Option<Change>, _, Option<()>, Flags) = only(
        (
            preceded(space, sequence_set),
            preceded(space, sign),
            keyword("FLAGS"),
            opt(preceded(".", keyword("SILENT")).void()),
            preceded(space, store_flags),
        ),
        input,
    )?;
    Ok(Body::Store {
        set,
        change: change.unwrap_or(Change::Replace),
        flags,
        is_silent: silent.is_some(),
        is_uid,
    })
}

/// ```text
/// copy  =  "COPY" SP sequence-set SP mailbox
/// move  =  "MOVE" SP sequence-set SP mailbox
/// ```
fn copy(is_move: bool, is_uid: bool, input: &mut Input<'_>) -> Parsed<Body> {
    let (set, mailbox) = only((preceded(space, sequence_set), preceded(space, mailbox)), input)?;
    Ok(Body::Copy {
        set,
        mailbox,
        is_move,
        is_uid,
    })
}

#[cfg(test)]
mod tests;
