//! FETCH.

use super::only;
use super::token::{Input, Parsed, astring, keyword, number, nz_number, sequence_set, space};
use crate::command::{Body, FetchItem, Partial, Section, SectionText};
use winnow::Parser;
use winnow::combinator::{alt, delimited, opt, preceded, separated, separated_pair};

/// Items of one FETCH. A client asks for some ten; each section of a body holds a reader open.
const ITEMS_MAX: usize = 100;
/// Field names of one HEADER.FIELDS.
const FIELDS_MAX: usize = 1_000;

/// ```text
/// fetch  =  "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
/// ```
pub(super) fn fetch(is_uid: bool, input: &mut Input<'_>) -> Parsed<Body> {
    let items = alt((
        delimited("(", separated(1..=ITEMS_MAX, item, space), ")"),
        macros,
        item.map(|item| vec![item]),
    ));
    let (set, items) = only((preceded(space, sequence_set), preceded(space, items)), input)?;
    Ok(Body::Fetch { set, items, is_uid })
}

/// RFC 9051 §6.4.5
fn macros(input: &mut Input<'_>) -> Parsed<Vec<FetchItem>> {
    let fast = [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size];
    let all = [&fast[..], &[FetchItem::Envelope]].concat();
    let full = [&all[..], &[FetchItem::Body]].concat();
    alt((
        keyword("ALL").value(all),
        keyword("FAST").value(fast.to_vec()),
        keyword("FULL").value(full),
    ))
    .parse_next(input)
}

/// ```text
/// fetch-att  =  "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822" [".HEADER" / ".SIZE" / ".TEXT"] /
///               "BODY" ["STRUCTURE"] / "UID" / "BODY" section ["<" number "." nz-number ">"] /
///               "BODY.PEEK" section ["<" number "." nz-number ">"]
/// ```
fn item(input: &mut Input<'_>) -> Parsed<FetchItem> {
    alt((
        keyword("ENVELOPE").value(FetchItem::Envelope),
        keyword("FLAGS").value(FetchItem::Flags),
        keyword("INTERNALDATE").value(FetchItem::InternalDate),
        keyword("UID").value(FetchItem::Uid),
        rfc822,
        body,
    ))
    .parse_next(input)
}

fn rfc822(input: &mut Input<'_>) -> Parsed<FetchItem> {
    alt((
        keyword("RFC822.HEADER").value(FetchItem::Rfc822Header),
        keyword("RFC822.SIZE").value(FetchItem::Size),
        keyword("RFC822.TEXT").value(FetchItem::Rfc822Text),
        keyword("RFC822").value(FetchItem::Rfc822),
    ))
    .parse_next(input)
}

fn body(input: &mut Input<'_>) -> Parsed<FetchItem> {
    alt((
        keyword("BODYSTRUCTURE").value(FetchItem::BodyStructure),
        preceded(keyword("BODY.PEEK"), section_item(true)),
        preceded(keyword("BODY"), section_item(false)),
        keyword("BODY").value(FetchItem::Body),
    ))
    .parse_next(input)
}

fn section_item<'a>(is_peek: bool) -> impl Parser<Input<'a>, FetchItem, winnow::error::EmptyError> {
    let partial = delimited("<", separated_pair(number, ".", nz_number), ">")
        .map(|(offset, count)| Partial { offset, count });
    (section, opt(partial)).map(move |(section, partial)| FetchItem::Section {
        section,
        is_peek,
        partial,
    })
}

/// ```text
/// section          =  "[" [section-spec] "]"
/// section-spec     =  section-msgtext / (section-part ["." section-text])
/// section-part     =  nz-number *("." nz-number)
/// ```
fn section(input: &mut Input<'_>) -> Parsed<Section> {
    let part = separated(1..=wire::limits::MIME_DEPTH_MAX * 2, nz_number, ".");
    let of_part = (
        part,
        opt(preceded(
            ".",
            alt((section_text, keyword("MIME").value(SectionText::Mime))),
        )),
    )
        .map(|(part, text)| Section {
            part,
            text: text.unwrap_or(SectionText::All),
        });
    let of_message = opt(section_text).map(|text| Section {
        part: Vec::new(),
        text: text.unwrap_or(SectionText::All),
    });
    delimited("[", alt((of_part, of_message)), "]").parse_next(input)
}

/// ```text
/// section-msgtext  =  "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
/// header-list      =  "(" header-fld-name *(SP header-fld-name) ")"
/// ```
fn section_text(input: &mut Input<'_>) -> Parsed<SectionText> {
    let names = || delimited("(", separated(1..=FIELDS_MAX, astring, space), ")");
    alt((
        preceded((keyword("HEADER.FIELDS.NOT"), space), names())
            .map(|names| SectionText::HeaderFields { names, is_not: true }),
        preceded((keyword("HEADER.FIELDS"), space), names())
            .map(|names| SectionText::HeaderFields { names, is_not: false }),
        keyword("HEADER").value(SectionText::Header),
        keyword("TEXT").value(SectionText::Text),
    ))
    .parse_next(input)
}
