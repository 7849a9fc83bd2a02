//! Paths: the grammar of RFC 5321 §4.1.2 and §4.1.3.

use mail::{Address, Domain, ForwardPath, LocalPart, ReversePath};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use winnow::ascii::Caseless;
use winnow::combinator::{alt, delimited, opt, preceded, repeat, separated};
use winnow::prelude::*;
use winnow::token::{one_of, take_while};

/// ```text
/// Reverse-path  = Path / "<>"
/// ```
pub(super) fn reverse_path(input: &mut &[u8]) -> winnow::Result<ReversePath> {
    alt((b"<>".value(ReversePath::Null), path.map(ReversePath::Address))).parse_next(input)
}

/// ```text
/// "<Postmaster>" / Forward-path
/// Forward-path  = Path
/// ```
pub(super) fn forward_path(input: &mut &[u8]) -> winnow::Result<ForwardPath> {
    alt((
        Caseless(&b"<postmaster>"[..]).value(ForwardPath::Postmaster),
        path.map(ForwardPath::Address),
    ))
    .parse_next(input)
}

/// ```text
/// Path       = "<" [ A-d-l ":" ] Mailbox ">"
/// A-d-l      = At-domain *( "," At-domain )
/// At-domain  = "@" Domain
/// ```
///
/// A source route is read and ignored (RFC 5321 §3.6.1, appendix C).
fn path(input: &mut &[u8]) -> winnow::Result<Address> {
    let at_domain = || preceded(b'@', domain);
    let source_route = (separated::<_, _, (), _, _, _, _>(1.., at_domain(), b','), b':');
    delimited((b'<', opt(source_route)), mailbox, b'>').parse_next(input)
}

/// ```text
/// Mailbox  = Local-part "@" ( Domain / address-literal )
/// ```
fn mailbox(input: &mut &[u8]) -> winnow::Result<Address> {
    (local_part, b'@', alt((domain, address_literal)))
        .map(|(local_part, _, domain)| Address { local_part, domain })
        .parse_next(input)
}

/// ```text
/// Local-part     = Dot-string / Quoted-string
/// Dot-string     = Atom *("."  Atom)
/// Quoted-string  = DQUOTE *QcontentSMTP DQUOTE
/// QcontentSMTP   = qtextSMTP / quoted-pairSMTP
/// quoted-pairSMTP = %d92 %d32-126
/// qtextSMTP      = %d32-33 / %d35-91 / %d93-126
/// ```
///
/// Deviation: the empty quoted string, which the grammar has, names no mailbox and is refused (AS9).
fn local_part(input: &mut &[u8]) -> winnow::Result<LocalPart> {
    let quoted_pair = preceded(b'\\', one_of(b' '..=b'~'));
    let quoted_text = one_of((b' '..=b'!', b'#'..=b'[', b']'..=b'~'));
    let quoted = delimited(b'"', repeat(0.., alt((quoted_pair, quoted_text))), b'"');
    let dot_string = separated::<_, _, (), _, _, _, _>(1.., take_while(1.., is_atext), b'.')
        .take()
        .map(<[u8]>::to_vec);
    alt((quoted, dot_string))
        .verify_map(|octets: Vec<u8>| {
            let text = String::from_utf8(octets).ok()?;
            LocalPart::from_unquoted(&text).ok()
        })
        .parse_next(input)
}

/// `atext` (RFC 5322 §3.2.3).
fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet)
}

/// ```text
/// Domain      = sub-domain *("." sub-domain)
/// sub-domain  = Let-dig [Ldh-str]
/// Let-dig     = ALPHA / DIGIT
/// Ldh-str     = *( ALPHA / DIGIT / "-" ) Let-dig
/// ```
pub(super) fn domain(input: &mut &[u8]) -> winnow::Result<Domain> {
    let label = take_while(1.., |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-');
    separated::<_, _, (), _, _, _, _>(1.., label, b'.')
        .take()
        .verify_map(|name: &[u8]| Domain::parse(str::from_utf8(name).ok()?).ok())
        .parse_next(input)
}

/// ```text
/// address-literal       = "[" ( IPv4-address-literal / IPv6-address-literal /
///                         General-address-literal ) "]"
/// IPv6-address-literal  = "IPv6:" IPv6-addr
/// ```
///
/// Source: RFC 5321 §4.1.3. Not supported: General-address-literal, of which none was ever registered.
pub(super) fn address_literal(input: &mut &[u8]) -> winnow::Result<Domain> {
    let ipv6 = preceded(Caseless(&b"IPv6:"[..]), ip_address::<Ipv6Addr>).map(IpAddr::V6);
    let ipv4 = ip_address::<Ipv4Addr>.map(IpAddr::V4);
    delimited(b'[', alt((ipv6, ipv4)), b']')
        .map(Domain::literal)
        .parse_next(input)
}

/// The forms of an address are those that the standard library reads (RFC 5321 §4.1.3 has the same).
fn ip_address<A: FromStr>(input: &mut &[u8]) -> winnow::Result<A> {
    take_while(1.., |octet: u8| {
        octet.is_ascii_hexdigit() || b":.".contains(&octet)
    })
    .verify_map(|text| str::from_utf8(text).ok()?.parse().ok())
    .parse_next(input)
}
