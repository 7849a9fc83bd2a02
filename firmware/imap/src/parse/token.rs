//! The words of the grammar.

use crate::command::{Mailbox, Number, Set};
use mail::{Flags, InternalDate, Keyword, MailboxName, SystemFlags};
use winnow::Parser;
use winnow::ascii::{Caseless, dec_uint};
use winnow::combinator::{alt, delimited, eof, fail, opt, preceded, repeat, separated};
use winnow::error::EmptyError;
use winnow::token::{any, one_of, take, take_while};

pub(super) type Input<'a> = &'a [u8];
pub(super) type Parsed<T> = winnow::Result<T, EmptyError>;

/// Flags of one list; more is nonsense.
const FLAGS_MAX: usize = 200;
/// AI6: a set is bounded by the line it stands in; this says so.
const RANGES_MAX: usize = wire::limits::IMAP_LINE_OCTETS_MAX;

pub(super) fn space(input: &mut Input<'_>) -> Parsed<()> {
    b' '.void().parse_next(input)
}

/// The end of the command. A space before it is common and harmless.
pub(super) fn end(input: &mut Input<'_>) -> Parsed<()> {
    (take_while(0.., b' '), eof).void().parse_next(input)
}

/// A word of the grammar, in any case.
pub(super) fn keyword<'a>(word: &'static str) -> impl Parser<Input<'a>, Input<'a>, EmptyError> {
    Caseless(word)
}

/// ```text
/// atom           =  1*ATOM-CHAR
/// atom-specials  =  "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
/// ```
fn is_atom(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet)
}

pub(super) fn atom<'a>(input: &mut Input<'a>) -> Parsed<&'a [u8]> {
    take_while(1.., is_atom).parse_next(input)
}

/// ```text
/// astring        =  1*ASTRING-CHAR / string
/// ASTRING-CHAR   =  ATOM-CHAR / resp-specials
/// ```
pub(super) fn astring(input: &mut Input<'_>) -> Parsed<Vec<u8>> {
    alt((
        string,
        take_while(1.., |octet: u8| is_atom(octet) || octet == b']').map(<[u8]>::to_vec),
    ))
    .parse_next(input)
}

/// ```text
/// list-mailbox  =  1*list-char / string
/// list-char     =  ATOM-CHAR / list-wildcards / resp-specials
/// ```
pub(super) fn list_mailbox(input: &mut Input<'_>) -> Parsed<Vec<u8>> {
    let is_list = |octet: u8| is_atom(octet) || b"%*]".contains(&octet);
    alt((string, take_while(1.., is_list).map(<[u8]>::to_vec))).parse_next(input)
}

/// ```text
/// string  =  quoted / literal
/// ```
pub(super) fn string(input: &mut Input<'_>) -> Parsed<Vec<u8>> {
    alt((quoted, literal)).parse_next(input)
}

/// ```text
/// quoted        =  DQUOTE *QUOTED-CHAR DQUOTE
/// QUOTED-CHAR   =  <any TEXT-CHAR except quoted-specials> / "\" quoted-specials / UTF8-2 / UTF8-3 / UTF8-4
/// ```
///
/// Octets above 127 are let through, as RFC 9051 does; old clients send them, too.
fn quoted(input: &mut Input<'_>) -> Parsed<Vec<u8>> {
    let is_plain = |octet: u8| !b"\"\\\r\n\0".contains(&octet);
    let piece = alt((
        take_while(1.., is_plain).map(<[u8]>::to_vec),
        preceded("\\", one_of(*b"\"\\")).map(|octet| vec![octet]),
    ));
    let content = repeat(0.., piece).fold(Vec::new, |mut content: Vec<u8>, piece: Vec<u8>| {
        content.extend(piece);
        content
    });
    delimited("\"", content, "\"").parse_next(input)
}

/// ```text
/// literal  =  "{" number64 ["+"] "}" CRLF *CHAR8       ; CHAR8 is any octet but NUL
/// ```
fn literal(input: &mut Input<'_>) -> Parsed<Vec<u8>> {
    let octets: u64 = delimited("{", dec_uint, (opt("+"), "}\r\n")).parse_next(input)?;
    let octets = usize::try_from(octets).unwrap_or(usize::MAX);
    take(octets)
        .verify(|octets: &[u8]| !octets.contains(&0))
        .map(<[u8]>::to_vec)
        .parse_next(input)
}

/// ```text
/// mailbox  =  "INBOX" / astring
/// ```
///
/// Names are in modified UTF-7 (RFC 3501 §5.1.3). A name in UTF-8 is understood, too: what is not ASCII can
/// be no modified UTF-7.
pub(super) fn mailbox(input: &mut Input<'_>) -> Parsed<Mailbox> {
    utf8.map(|name| mailbox_name(&name)).parse_next(input)
}

/// The name that CREATE gives. A separator at its end says that mailboxes will be made below (RFC 3501
/// §6.3.3), which every mailbox here can have.
pub(super) fn new_mailbox(input: &mut Input<'_>) -> Parsed<Mailbox> {
    utf8.map(|name| mailbox_name(name.strip_suffix('/').unwrap_or(&name)))
        .parse_next(input)
}

/// An `astring` that is text.
pub(super) fn utf8(input: &mut Input<'_>) -> Parsed<String> {
    astring
        .verify_map(|octets| String::from_utf8(octets).ok())
        .parse_next(input)
}

fn mailbox_name(name: &str) -> Mailbox {
    if name.is_ascii() {
        MailboxName::parse_utf7(name)
    } else {
        MailboxName::parse(name)
    }
}

/// ```text
/// flag-list  =  "(" [flag *(SP flag)] ")"
/// ```
pub(super) fn flag_list(input: &mut Input<'_>) -> Parsed<Flags> {
    delimited("(", flags(0), ")").parse_next(input)
}

/// ```text
/// flag-list / (flag *(SP flag))
/// ```
pub(super) fn store_flags(input: &mut Input<'_>) -> Parsed<Flags> {
    alt((flag_list, flags(1))).parse_next(input)
}

fn flags<'a>(at_least: usize) -> impl Parser<Input<'a>, Flags, EmptyError> {
    separated(at_least..=FLAGS_MAX, flag, space).map(|list: Vec<Option<Flags>>| {
        let mut flags = Flags::default();
        for flag in list.iter().flatten() {
            flags.add(flag);
        }
        flags
    })
}

/// ```text
/// flag            =  "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension
/// ```
///
/// `\Recent` cannot be set and is passed over, so that copying flags from one server to another works. Other
/// flag extensions are not known and refused.
fn flag(input: &mut Input<'_>) -> Parsed<Option<Flags>> {
    if input.first() == Some(&b'\\') {
        let name = preceded("\\", atom).take().parse_next(input)?;
        let name = String::from_utf8_lossy(name);
        if name.eq_ignore_ascii_case("\\Recent") {
            return Ok(None);
        }
        return match SystemFlags::from_name(&name) {
            Some(flag) => Ok(Some(Flags::system(flag))),
            None => fail.parse_next(input),
        };
    }
    keyword_flag.map(Some).parse_next(input)
}

/// ```text
/// flag-keyword  =  "$MDNSent" / "$Forwarded" / "$Junk" / "$NotJunk" / "$Phishing" / atom
/// ```
pub(super) fn keyword_flag(input: &mut Input<'_>) -> Parsed<Flags> {
    let keyword = atom.verify_map(|octets| Keyword::parse(str::from_utf8(octets).ok()?).ok());
    keyword
        .map(|keyword| {
            let mut flags = Flags::default();
            flags.keywords.insert(keyword);
            flags
        })
        .parse_next(input)
}

/// ```text
/// sequence-set  =  (seq-number / seq-range) ["," sequence-set]
/// seq-range     =  seq-number ":" seq-number
/// seq-number    =  nz-number / "*"
/// ```
pub(super) fn sequence_set(input: &mut Input<'_>) -> Parsed<Set> {
    let range = (number_or_last, opt(preceded(":", number_or_last)))
        .map(|(from, to): (Number, Option<Number>)| (from, to.unwrap_or(from)));
    separated(1..=RANGES_MAX, range, ",").map(Set).parse_next(input)
}

fn number_or_last(input: &mut Input<'_>) -> Parsed<Number> {
    alt(("*".value(Number::Last), nz_number.map(Number::Value))).parse_next(input)
}

/// ```text
/// number     =  1*DIGIT         ; 0 to 4,294,967,295
/// ```
pub(super) fn number(input: &mut Input<'_>) -> Parsed<u32> {
    take_while(1..=10, b'0'..=b'9')
        .verify_map(|digits| str::from_utf8(digits).ok()?.parse().ok())
        .parse_next(input)
}

/// ```text
/// nz-number  =  digit-nz *DIGIT
/// ```
pub(super) fn nz_number(input: &mut Input<'_>) -> Parsed<u32> {
    number.verify(|number| *number > 0).parse_next(input)
}

/// ```text
/// date-time  =  DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
/// ```
pub(super) fn date_time(input: &mut Input<'_>) -> Parsed<InternalDate> {
    delimited("\"", take(26_usize), "\"")
        .verify_map(|text| InternalDate::parse(str::from_utf8(text).ok()?).ok())
        .parse_next(input)
}

/// ```text
/// date       =  date-text / DQUOTE date-text DQUOTE
/// date-text  =  date-day "-" date-month "-" date-year
/// date-day   =  1*2DIGIT
/// ```
pub(super) fn date(input: &mut Input<'_>) -> Parsed<(i16, i8, i8)> {
    alt((delimited("\"", date_text, "\""), date_text)).parse_next(input)
}

fn date_text(input: &mut Input<'_>) -> Parsed<(i16, i8, i8)> {
    let digits = |count| take_while(count, b'0'..=b'9');
    let (day, _, month, _, year): (&[u8], _, &[u8], _, &[u8]) =
        (digits(1..=2), "-", (any, any, any).take(), "-", digits(4..=4)).parse_next(input)?;
    let text = |octets| String::from_utf8_lossy(octets).into_owned();
    // The day is checked by whoever knows the calendar.
    let whole = format!("{:>2}-{}-{} 00:00:00 +0000", text(day), text(month), text(year));
    match InternalDate::parse(&whole) {
        Ok(date) => Ok(date.day()),
        Err(_) => fail.parse_next(input),
    }
}
