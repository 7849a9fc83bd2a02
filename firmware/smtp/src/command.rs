//! Octets to values: a command line becomes a [`Command`].
//!
//! The line comes without its CRLF. Verbs and keywords are case-insensitive, white space at the end
//! is tolerated (RFC 5321 §2.4, §4.1.1). Above each parser stands its grammar.

mod path;

use mail::{Domain, ForwardPath, ReversePath};
use winnow::Parser;
use winnow::combinator::alt;
use wire::limits::PATH_OCTETS_MAX;

/// What the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `HELO`: the plain protocol, no extensions.
    Helo(ClientName),
    /// `EHLO`: the protocol with extensions.
    Ehlo(ClientName),
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `AUTH`. What was sent with it may be a password and is not kept (D41).
    Auth,
    /// `MAIL FROM`: a transaction begins.
    Mail(Mail),
    /// `RCPT TO`.
    Rcpt(ForwardPath),
    /// `DATA`.
    Data,
    /// `RSET`: the transaction is forgotten.
    Reset,
    /// `NOOP`; its argument means nothing (RFC 5321 §4.1.1.9).
    Noop,
    /// `VRFY`, whatever was asked.
    Verify,
    /// `HELP`, whatever was asked.
    Help,
    /// `QUIT`.
    Quit,
}

/// What a client calls itself.
///
/// A client must not be turned away for its name (RFC 5321 §4.1.4), and many do not know theirs: so
/// any word is taken, and one that is neither a name nor a literal is forgotten (AS27).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(pub Option<Domain>);

/// `MAIL FROM` with what its parameters say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Where reports go.
    pub reverse_path: ReversePath,
    /// `SIZE` (RFC 1870 §6): the octets the client means to send. A number over 64 bits is
    /// `u64::MAX`. `None` when it does not say, or says 0.
    pub size_octets: Option<u64>,
}

/// Why a line is no command. Always the client's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The line is over the limit; its octets were dropped.
    #[error("the line is too long")]
    LineTooLong,
    /// A control character in the line: a bare CR or LF ends nothing (S10).
    #[error("there is a control character in the line")]
    ControlCharacter,
    /// Not a verb of SMTP.
    #[error("the command is unknown")]
    Unknown,
    /// A verb of SMTP that this server does not have.
    #[error("the command is not offered")]
    NotOffered,
    /// `BDAT`, which is not offered: what follows is a chunk of a message and must not be read as
    /// commands (AS3).
    #[error("BDAT is not offered")]
    Chunk,
    /// A request of HTTP: someone has a browser talk to us (AS4).
    #[error("this is HTTP")]
    Http,
    /// `HELO` or `EHLO` without a name, or with several.
    #[error("one name of a host is wanted")]
    ClientName,
    /// `VRFY` without anything.
    #[error("an argument is missing")]
    ArgumentMissing,
    /// A command that takes no argument has one.
    #[error("the command takes no argument")]
    ArgumentUnwanted,
    /// What follows `MAIL` is not `FROM:` and a path.
    #[error("the reverse path cannot be read")]
    ReversePath,
    /// What follows `RCPT` is not `TO:` and a path.
    #[error("the forward path cannot be read")]
    ForwardPath,
    /// The reverse path needs SMTPUTF8, which is not offered (RFC 6531 §3.5).
    #[error("the reverse path is not ASCII")]
    ReversePathNotAscii,
    /// The forward path needs SMTPUTF8, which is not offered.
    #[error("the forward path is not ASCII")]
    ForwardPathNotAscii,
    /// A parameter of an extension that is not offered.
    #[error("the parameter is unknown")]
    ParameterUnknown,
    /// A parameter has no value, a wrong one, or is given twice.
    #[error("the parameter has no such value")]
    ParameterValue,
}

impl CommandError {
    /// Whether it counts as a mistake. A recipient that cannot be read does not: a list has some of these,
    /// and the good ones are to get their message (C5).
    pub(crate) const fn is_mistake(self) -> bool {
        match self {
            CommandError::ForwardPath | CommandError::ForwardPathNotAscii => false,
            CommandError::LineTooLong
            | CommandError::ControlCharacter
            | CommandError::Unknown
            | CommandError::NotOffered
            | CommandError::Chunk
            | CommandError::Http
            | CommandError::ClientName
            | CommandError::ArgumentMissing
            | CommandError::ArgumentUnwanted
            | CommandError::ReversePath
            | CommandError::ReversePathNotAscii
            | CommandError::ParameterUnknown
            | CommandError::ParameterValue => true,
        }
    }
}

/// Verbs that SMTP knows and this server does not have.
const NOT_OFFERED: [&str; 7] = ["EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML"];
/// What a browser, a proxy or a script says first on a port that is not SMTP's (RFC 9110 §9, RFC 9113 §3.4).
const HTTP: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI",
];

impl Command {
    /// Reads a line, given without its CRLF.
    ///
    /// # Errors
    /// When it is no command, or has arguments that cannot be read.
    pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
        if line
            .iter()
            .any(|octet| octet.is_ascii_control() && *octet != b'\t')
        {
            return Err(CommandError::ControlCharacter);
        }
        let line = line.trim_ascii_end();
        let verb_end = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
        let (verb, argument) = line.split_at(verb_end);
        let argument = argument.trim_ascii_start();
        let is = |name: &str| verb.eq_ignore_ascii_case(name.as_bytes());
        let alone = |command: Command| {
            if argument.is_empty() {
                Ok(command)
            } else {
                Err(CommandError::ArgumentUnwanted)
            }
        };
        if is("MAIL") {
            mail(argument).map(Command::Mail)
        } else if is("RCPT") {
            rcpt(argument).map(Command::Rcpt)
        } else if is("DATA") {
            alone(Command::Data)
        } else if is("EHLO") {
            ClientName::parse(argument).map(Command::Ehlo)
        } else if is("HELO") {
            ClientName::parse(argument).map(Command::Helo)
        } else if is("STARTTLS") {
            alone(Command::StartTls)
        } else if is("AUTH") {
            Ok(Command::Auth)
        } else if is("RSET") {
            alone(Command::Reset)
        } else if is("NOOP") {
            Ok(Command::Noop)
        } else if is("QUIT") {
            alone(Command::Quit)
        } else if is("VRFY") {
            if argument.is_empty() {
                Err(CommandError::ArgumentMissing)
            } else {
                Ok(Command::Verify)
            }
        } else if is("HELP") {
            Ok(Command::Help)
        } else if is("BDAT") {
            Err(CommandError::Chunk)
        } else if NOT_OFFERED.into_iter().any(is) {
            Err(CommandError::NotOffered)
        } else if HTTP.into_iter().any(is) {
            Err(CommandError::Http)
        } else {
            Err(CommandError::Unknown)
        }
    }
}

impl ClientName {
    /// ```text
    /// ehlo  = "EHLO" SP ( Domain / address-literal ) CRLF
    /// helo  = "HELO" SP Domain CRLF
    /// ```
    ///
    /// Source: RFC 5321 §4.1.1.1.
    ///
    /// Deviation: any single word is taken, see [`ClientName`].
    fn parse(argument: &[u8]) -> Result<ClientName, CommandError> {
        if argument.is_empty() || argument.contains(&b' ') {
            return Err(CommandError::ClientName);
        }
        Ok(ClientName(
            alt((path::domain, path::address_literal)).parse(argument).ok(),
        ))
    }
}

/// ```text
/// mail  = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
/// ```
///
/// Source: RFC 5321 §4.1.1.2.
///
/// Deviation: white space behind the colon is tolerated; programs have written it for thirty years.
fn mail(argument: &[u8]) -> Result<Mail, CommandError> {
    let (path, parameters) = split_path(argument, "FROM:").ok_or(CommandError::ReversePath)?;
    if !path.is_ascii() {
        return Err(CommandError::ReversePathNotAscii);
    }
    let reverse_path = path::reverse_path
        .parse(path)
        .map_err(|_| CommandError::ReversePath)?;
    let size_octets = mail_parameters(parameters)?;
    Ok(Mail {
        reverse_path,
        size_octets,
    })
}

/// ```text
/// rcpt  = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path )
///         [SP Rcpt-parameters] CRLF
/// ```
///
/// Source: RFC 5321 §4.1.1.3. Not supported: parameters, because no extension that is offered has one.
///
/// Deviation: white space behind the colon is tolerated, as in `MAIL`.
fn rcpt(argument: &[u8]) -> Result<ForwardPath, CommandError> {
    let (path, parameters) = split_path(argument, "TO:").ok_or(CommandError::ForwardPath)?;
    if !path.is_ascii() {
        return Err(CommandError::ForwardPathNotAscii);
    }
    let forward_path = path::forward_path
        .parse(path)
        .map_err(|_| CommandError::ForwardPath)?;
    if parameters.is_empty() {
        Ok(forward_path)
    } else {
        Err(CommandError::ParameterUnknown)
    }
}

/// Divides the argument of `MAIL` or `RCPT` into the path and what follows it. The path ends at the
/// first `>` outside quotes.
fn split_path<'a>(argument: &'a [u8], keyword: &str) -> Option<(&'a [u8], &'a [u8])> {
    let (start, path) = argument.split_at_checked(keyword.len())?;
    if !start.eq_ignore_ascii_case(keyword.as_bytes()) {
        return None;
    }
    let path = path.trim_ascii_start();
    let mut is_quoted = false;
    let mut is_escaped = false;
    let end = path.iter().position(|&octet| {
        let ends = octet == b'>' && !is_quoted;
        (is_quoted, is_escaped) = match octet {
            b'"' if !is_escaped => (!is_quoted, false),
            b'\\' => (is_quoted, is_quoted && !is_escaped),
            _ => (is_quoted, false),
        };
        ends
    })?;
    let (path, parameters) = path.split_at(end + 1);
    if path.len() > PATH_OCTETS_MAX || !(parameters.is_empty() || parameters.starts_with(b" ")) {
        return None;
    }
    Some((path, parameters.trim_ascii_start()))
}

/// ```text
/// Mail-parameters  = esmtp-param *(SP esmtp-param)
/// esmtp-param      = esmtp-keyword ["=" esmtp-value]
/// esmtp-keyword    = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
/// esmtp-value      = 1*(%d33-60 / %d62-126)
/// size-value       = 1*20DIGIT
/// body-value       = "7BIT" / "8BITMIME"
/// ```
///
/// Source: RFC 5321 §4.1.2, RFC 1870 §6, RFC 6152 §2. What `BODY` says changes nothing here: the
/// octets are kept as they come.
fn mail_parameters(parameters: &[u8]) -> Result<Option<u64>, CommandError> {
    let mut size = None;
    let mut has_body = false;
    for parameter in parameters
        .split(|octet| *octet == b' ')
        .filter(|parameter| !parameter.is_empty())
    {
        let (keyword, value) = match parameter.iter().position(|octet| *octet == b'=') {
            Some(at) => (&parameter[..at], &parameter[at + 1..]),
            None => (parameter, &b""[..]),
        };
        if keyword.eq_ignore_ascii_case(b"SIZE") {
            let is_size = (1..=20).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            if !is_size || size.is_some() {
                return Err(CommandError::ParameterValue);
            }
            size = Some(number(value));
        } else if keyword.eq_ignore_ascii_case(b"BODY") {
            let is_body = value.eq_ignore_ascii_case(b"7BIT") || value.eq_ignore_ascii_case(b"8BITMIME");
            if !is_body || has_body {
                return Err(CommandError::ParameterValue);
            }
            has_body = true;
        } else {
            return Err(CommandError::ParameterUnknown);
        }
    }
    Ok(size.filter(|octets| *octets > 0))
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number: u64, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mail::{Address, LocalPart};
    use proptest::prelude::*;
    use smtp_proto::Request;

    #[allow(clippy::needless_pass_by_value)] // So that the many calls are short.
    fn check(line: &str, expected: Result<Command, CommandError>) {
        assert_eq!(Command::parse(line.as_bytes()), expected, "{line}");
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    /// The reverse path of `MAIL FROM:` + `path`.
    fn reverse_path(path: &str) -> Result<ReversePath, CommandError> {
        match Command::parse(format!("MAIL FROM:{path}").as_bytes())? {
            Command::Mail(mail) => Ok(mail.reverse_path),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn verbs_are_known_in_any_case_and_only_whole() {
        check("DATA", Ok(Command::Data));
        check("dAtA \t", Ok(Command::Data));
        check("DATAX", Err(CommandError::Unknown));
        check("DAT", Err(CommandError::Unknown));
        check(" DATA", Err(CommandError::Unknown));
        check("DATA\t1", Err(CommandError::Unknown));
        check("", Err(CommandError::Unknown));
        check("MAIL", Err(CommandError::ReversePath));
        check("RCPT FROM:<a@b.test>", Err(CommandError::ForwardPath));
        check(
            "mAiL fRoM:<>",
            Ok(Command::Mail(Mail {
                reverse_path: ReversePath::Null,
                size_octets: None,
            })),
        );
        check("RCPT TO:<pOSTMASTER>", Ok(Command::Rcpt(ForwardPath::Postmaster)));
    }

    /// D41: what came with AUTH is not kept.
    #[test]
    fn d41_auth_keeps_nothing() {
        check("AUTH PLAIN AGFubmEAc2VjcmV0", Ok(Command::Auth));
    }

    /// RFC 5321 §4.1.2, §4.1.3
    #[test]
    fn a_path_is_read_as_the_grammar_says() {
        for (path, expected) in [
            ("<a@b.test>", "a@b.test"),
            (" <A.b+c@B.Test>", "A.b+c@b.test"),
            ("<\"a b\"@b.test>", "\"a b\"@b.test"),
            ("<\"a>b\"@b.test>", "\"a>b\"@b.test"),
            (r#"<"a\"\\>b"@b.test>"#, r#""a\"\\>b"@b.test"#),
            ("<\"a\"@b.test>", "a@b.test"),
            ("<@one.test,@two.test:a@b.test>", "a@b.test"),
            ("<a@localhost>", "a@localhost"),
            ("<a@xn--hky-ela4t.test>", "a@xn--hky-ela4t.test"),
        ] {
            assert_eq!(
                reverse_path(path),
                Ok(ReversePath::Address(address(expected))),
                "{path}"
            );
        }
        for (path, literal) in [
            ("<a@[192.0.2.1]>", "192.0.2.1"),
            ("<a@[ipv6:2001:db8::1]>", "2001:db8::1"),
        ] {
            let domain = Domain::literal(literal.parse().unwrap());
            let expected = Address {
                domain,
                ..address("a@b.test")
            };
            assert_eq!(reverse_path(path), Ok(ReversePath::Address(expected)), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long_local_part = format!("<{}@b.test>", "a".repeat(65));
        let long_path = format!("<a@{}>", "a.".repeat(200));
        for path in [
            "",
            "<",
            ">",
            "a@b.test",
            "<a>",
            "<@b.test>",
            "<a@>",
            "<a@b.test",
            "<a@b.test>>",
            "<<a@b.test>>",
            "<a b@b.test>",
            "<.a@b.test>",
            "<a.@b.test>",
            "<a..b@b.test>",
            "<a@b..test>",
            "<a@-b.test>",
            "<a@b_c.test>",
            "<a@b.test.>",
            "<a@b.test@c.test>",
            "<\"\"@b.test>",
            "<\"a@b.test>",
            "<\"a\"b@b.test>",
            "<a@[192.0.2]>",
            "<a@[192.0.2.1>",
            "<a@[2001:db8::1]>",
            "<a@[IPv6:192.0.2.1]>",
            "<a@[IPv6:fe80::1%1]>",
            "<@one.test:>",
            "<@one.test a@b.test>",
            "<a@b.test>x",
            "< a@b.test>",
            "<a@b.test >",
            &long_local_part,
            &long_path,
        ] {
            assert_eq!(reverse_path(path), Err(CommandError::ReversePath), "{path}");
        }
    }

    #[test]
    fn a_client_name_is_a_name_a_literal_or_nothing() {
        let name = |text: &str| match Command::parse(format!("EHLO {text}").as_bytes()) {
            Ok(Command::Ehlo(ClientName(name))) => name.map(|name| name.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(name("Client.Test").as_deref(), Some("client.test"));
        assert_eq!(name("[192.0.2.1]").as_deref(), Some("[192.0.2.1]"));
        assert_eq!(name("[IPv6:::1]").as_deref(), Some("[IPv6:::1]"));
        assert_eq!(name("client.test)"), None);
        assert_eq!(name("[IPv6:]"), None);
    }

    fn mail_line() -> impl Strategy<Value = String> {
        let atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,8}";
        let local_part = proptest::collection::vec(atom, 1..4).prop_map(|atoms| atoms.join("."));
        let label = "[a-z]([a-z0-9-]{0,5}[a-z0-9])?";
        // Two hyphens at the third place are for A-labels.
        let label = label.prop_filter("no A-label", |label: &String| label.get(2..4) != Some("--"));
        let domain = proptest::collection::vec(label, 1..4).prop_map(|labels| labels.join("."));
        let parameters = prop_oneof![
            Just(String::new()),
            (1_u32..).prop_map(|size| format!(" SIZE={size}")),
            Just(" BODY=8BITMIME".to_owned()),
            Just(" BODY=7BIT SIZE=7".to_owned()),
        ];
        (local_part, domain, parameters).prop_map(|(local_part, domain, parameters)| {
            format!("MAIL FROM:<{local_part}@{domain}>{parameters}")
        })
    }

    proptest! {
        #[test]
        fn any_octets_are_a_command_or_an_error(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn any_path_is_a_path_or_an_error(path in "[<>\"\\\\@a.,:\\[\\] 1é]{0,20}") {
            let _ = reverse_path(&path);
        }

        #[test]
        fn a_written_path_reads_back(local_part in "[ -~]{1,20}") {
            let local_part = LocalPart::from_unquoted(&local_part).unwrap();
            let path = ReversePath::Address(Address { local_part, ..address("a@b.test") });
            prop_assert_eq!(reverse_path(&path.to_string()), Ok(path));
        }

        /// What the grammar makes, another implementation reads as we do.
        #[test]
        fn mail_is_read_as_smtp_proto_reads_it(line in mail_line()) {
            let Ok(Command::Mail(ours)) = Command::parse(line.as_bytes()) else {
                return Err(TestCaseError::fail(format!("refused: {line}")));
            };
            let with_end = format!("{line}\r\n");
            let Ok(Request::Mail { from: theirs }) = Request::parse(&mut with_end.as_bytes().iter()) else {
                return Err(TestCaseError::fail(format!("smtp-proto refuses: {line}")));
            };
            let ReversePath::Address(ours_address) = ours.reverse_path else {
                return Err(TestCaseError::fail("null"));
            };
            prop_assert_eq!(ours_address.to_string(), theirs.address);
            prop_assert_eq!(ours.size_octets.unwrap_or(0), theirs.size as u64);
        }

        /// What we take as a command of a form that smtp-proto knows, it takes too.
        #[test]
        fn what_we_take_smtp_proto_takes(
            verb in "(EHLO|HELO|RCPT TO:|MAIL FROM:|NOOP|VRFY|HELP|DATA|RSET|QUIT|STARTTLS)",
            // White space behind the colon and two spaces for one are our tolerance; they keep quotes.
            rest in "(<?[a@.\\[\\]1]{1,8}(b\\.test)?>?( [a1=]{0,3})?)?",
        ) {
            let separator = if verb.ends_with(':') || rest.is_empty() { "" } else { " " };
            let line = format!("{verb}{separator}{rest}");
            let with_end = format!("{line}\r\n");
            if Command::parse(line.as_bytes()).is_ok() {
                prop_assert!(Request::parse(&mut with_end.as_bytes().iter()).is_ok(), "{}", line);
            }
        }
    }
}
