//! SEARCH.

use super::token::{Input, Parsed, astring, date, end, keyword, keyword_flag, number, sequence_set, space};
use crate::command::{Body, DayIs, SearchKey};
use mail::{Flags, SystemFlags};
use winnow::Parser;
use winnow::combinator::{fail, opt, preceded};
use winnow::token::take_while;
use wire::limits::IMAP_NESTING_MAX;

/// Keys of one SEARCH.
const KEYS_MAX: usize = 1_000;

/// ```text
/// search          =  "SEARCH" [SP "CHARSET" SP charset] 1*(SP search-key)
/// ```
///
/// Source: RFC 3501 §9. Texts are UTF-8; US-ASCII is a part of it.
pub(super) fn search(is_uid: bool, input: &mut Input<'_>) -> Parsed<Body> {
    let charset = preceded((space, keyword("CHARSET"), space), astring);
    let charset: Option<Vec<u8>> = opt(charset).parse_next(input)?;
    let is_known = charset.is_none_or(|charset| {
        charset.eq_ignore_ascii_case(b"UTF-8") || charset.eq_ignore_ascii_case(b"US-ASCII")
    });
    if !is_known {
        return Ok(Body::SearchInUnknownCharset);
    }
    let keys = keys(0, false, input)?;
    end(input)?;
    Ok(Body::Search { keys, is_uid })
}

/// Keys with spaces before them, or with `is_list` between them, up to what is no key.
fn keys(depth: usize, is_list: bool, input: &mut Input<'_>) -> Parsed<Vec<SearchKey>> {
    let mut keys = Vec::new();
    loop {
        if !(is_list && keys.is_empty()) {
            space(input)?;
        }
        keys.push(key(depth, input)?);
        let is_end = input.is_empty() || input.starts_with(b")") || input.iter().all(|octet| *octet == b' ');
        if is_end {
            return Ok(keys);
        }
        if keys.len() >= KEYS_MAX {
            return fail.parse_next(input);
        }
    }
}

/// ```text
/// search-key  =  "ALL" / "ANSWERED" / … / "OR" SP search-key SP search-key / sequence-set /
///                "(" search-key *(SP search-key) ")"
/// ```
///
/// The recursion ends at [`IMAP_NESTING_MAX`] (AI5).
fn key(depth: usize, input: &mut Input<'_>) -> Parsed<SearchKey> {
    if depth > IMAP_NESTING_MAX {
        return fail.parse_next(input);
    }
    if input.first() == Some(&b'(') {
        *input = &input[1..];
        let keys = keys(depth + 1, true, input)?;
        ")".parse_next(input)?;
        return Ok(SearchKey::And(keys));
    }
    if input
        .first()
        .is_some_and(|octet| octet.is_ascii_digit() || *octet == b'*')
    {
        return sequence_set.map(SearchKey::Sequence).parse_next(input);
    }
    let name = take_while(2..=10, |octet: u8| octet.is_ascii_alphabetic()).parse_next(input)?;
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    named(&name, depth, input)
}

fn named(name: &str, depth: usize, input: &mut Input<'_>) -> Parsed<SearchKey> {
    let system = |flags, is_not| {
        Ok(SearchKey::Flags {
            flags: Flags::system(flags),
            is_not,
        })
    };
    match name {
        "ALL" | "OLD" => Ok(SearchKey::All),
        "NEW" | "RECENT" => Ok(SearchKey::Never),
        "ANSWERED" => system(SystemFlags::ANSWERED, false),
        "UNANSWERED" => system(SystemFlags::ANSWERED, true),
        "DELETED" => system(SystemFlags::DELETED, false),
        "UNDELETED" => system(SystemFlags::DELETED, true),
        "DRAFT" => system(SystemFlags::DRAFT, false),
        "UNDRAFT" => system(SystemFlags::DRAFT, true),
        "FLAGGED" => system(SystemFlags::FLAGGED, false),
        "UNFLAGGED" => system(SystemFlags::FLAGGED, true),
        "SEEN" => system(SystemFlags::SEEN, false),
        "UNSEEN" => system(SystemFlags::SEEN, true),
        "KEYWORD" | "UNKEYWORD" => {
            let flags = preceded(space, keyword_flag).parse_next(input)?;
            Ok(SearchKey::Flags {
                flags,
                is_not: name == "UNKEYWORD",
            })
        }
        "UID" => preceded(space, sequence_set)
            .map(SearchKey::Uid)
            .parse_next(input),
        "BEFORE" => day(SearchKey::Internal, DayIs::Before, input),
        "ON" => day(SearchKey::Internal, DayIs::On, input),
        "SINCE" => day(SearchKey::Internal, DayIs::Since, input),
        "SENTBEFORE" => day(SearchKey::Sent, DayIs::Before, input),
        "SENTON" => day(SearchKey::Sent, DayIs::On, input),
        "SENTSINCE" => day(SearchKey::Sent, DayIs::Since, input),
        "LARGER" => preceded(space, number).map(SearchKey::Larger).parse_next(input),
        "SMALLER" => preceded(space, number).map(SearchKey::Smaller).parse_next(input),
        "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => {
            Ok(SearchKey::Header(name.to_ascii_lowercase(), text(input)?))
        }
        "HEADER" => Ok(SearchKey::Header(text(input)?, text(input)?)),
        "BODY" => Ok(SearchKey::Body(text(input)?)),
        "TEXT" => Ok(SearchKey::Text(text(input)?)),
        "NOT" => {
            space(input)?;
            Ok(SearchKey::Not(Box::new(key(depth + 1, input)?)))
        }
        "OR" => {
            space(input)?;
            let one = key(depth + 1, input)?;
            space(input)?;
            Ok(SearchKey::Or(Box::new(one), Box::new(key(depth + 1, input)?)))
        }
        _ => fail.parse_next(input),
    }
}

fn day(
    key: impl Fn(DayIs, (i16, i8, i8)) -> SearchKey,
    day_is: DayIs,
    input: &mut Input<'_>,
) -> Parsed<SearchKey> {
    preceded(space, date)
        .map(|date| key(day_is, date))
        .parse_next(input)
}

/// A text to search for, in lower case: SEARCH does not tell cases apart (RFC 3501 §6.4.4). What is not UTF-8
/// is found nowhere.
fn text(input: &mut Input<'_>) -> Parsed<String> {
    let octets = preceded(space, astring).parse_next(input)?;
    Ok(String::from_utf8_lossy(&octets).to_lowercase())
}
