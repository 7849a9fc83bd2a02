//! The keys that SORT orders messages by (RFC 5256, RFC 5957).

use crate::structure::AddressItem;
use crate::{InternalDate, Structure, Timestamp, fold};

/// Of a text that messages are ordered by, so much counts. Nobody sees an order beyond it, and a mailbox full of long
/// fields does not fill the memory.
pub const KEY_OCTETS_MAX: usize = 255;
/// Of a subject so much is looked at: a line of mail (RFC 5322 §2.1.1).
const SUBJECT_OCTETS_MAX: usize = 998;

/// What messages can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// INTERNALDATE
    Arrival,
    /// The local part of the first address in Cc
    Cc,
    /// When it was sent
    Date,
    /// The local part of the first address in From
    From,
    /// Its octets
    Size,
    /// Its base subject
    Subject,
    /// The local part of the first address in To
    To,
    /// The name, or else the address, of the first in From (RFC 5957)
    DisplayFrom,
    /// The name, or else the address, of the first in To (RFC 5957)
    DisplayTo,
}

/// A criterion of SORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortCriterion {
    /// What is compared.
    pub by: SortBy,
    /// REVERSE: the greatest first.
    pub is_reverse: bool,
}

/// What one criterion compares of one message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey {
    /// A moment or a size.
    Number(i64),
    /// A folded text.
    Text(Box<str>),
}

/// What a message is ordered by. Texts are folded ([`crate::fold()`]), which tells fewer of them apart than the
/// comparator that RFC 5256 §2.1 asks for: a message from Černý stands beside one from Cerny.
pub fn sort_key(by: SortBy, structure: &Structure, internal_date: InternalDate, size_octets: u64) -> SortKey {
    let envelope = &structure.envelope;
    match by {
        SortBy::Arrival => SortKey::Number(internal_date.timestamp().0),
        SortBy::Date => SortKey::Number(sent(structure, internal_date).0),
        SortBy::Size => SortKey::Number(i64::try_from(size_octets).unwrap_or(i64::MAX)),
        SortBy::Cc => mailbox_key(&envelope.cc),
        SortBy::From => mailbox_key(&envelope.from),
        SortBy::To => mailbox_key(&envelope.to),
        SortBy::DisplayFrom => display_key(&envelope.from),
        SortBy::DisplayTo => display_key(&envelope.to),
        SortBy::Subject => SortKey::text(&base_subject(&structure.subject()).text),
    }
}

/// When a message was sent: its Date, or its INTERNALDATE if that makes no sense (RFC 5256 §2.2).
pub fn sent(structure: &Structure, internal_date: InternalDate) -> Timestamp {
    structure.sent().unwrap_or(internal_date).timestamp()
}

impl SortKey {
    fn text(folded: &str) -> SortKey {
        SortKey::Text(folded[..folded.floor_char_boundary(KEY_OCTETS_MAX)].into())
    }
}

/// RFC 5256 §3: the addr-mailbox of the first address; of a group that is its name.
fn mailbox_key(items: &[AddressItem]) -> SortKey {
    let text = match items.first() {
        Some(AddressItem::Mailbox { mailbox: text, .. } | AddressItem::GroupStart(text)) => text.as_bytes(),
        Some(AddressItem::GroupEnd) | None => b"",
    };
    SortKey::text(&fold(&String::from_utf8_lossy(text)))
}

/// RFC 5957 §3: the name of the first address, decoded; without one its local part, an at sign and its domain.
fn display_key(items: &[AddressItem]) -> SortKey {
    let decoded = |text: &crate::structure::Text| crate::structure::decode_field(text.as_bytes());
    let text = match items.first() {
        Some(AddressItem::Mailbox { name: Some(name), .. } | AddressItem::GroupStart(name)) => decoded(name),
        Some(AddressItem::Mailbox { mailbox, host, .. }) => {
            let lossy = |text: &crate::structure::Text| String::from_utf8_lossy(text.as_bytes()).into_owned();
            format!("{}@{}", lossy(mailbox), lossy(host))
        }
        Some(AddressItem::GroupEnd) | None => String::new(),
    };
    SortKey::text(&fold(text.trim()))
}

/// A subject without what answers and forwards put around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseSubject {
    /// Folded.
    pub text: String,
    /// Whether something said that it is a reply or was forwarded.
    pub is_reply: bool,
}

/// Takes from a decoded subject what answers and forwards put around it.
///
/// ```text
/// subj-refwd    =  ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
/// subj-blob     =  "[" *BLOBCHAR "]" *WSP
/// subj-leader   =  (*subj-blob subj-refwd) / WSP
/// subj-trailer  =  "(fwd)" / WSP
/// ```
///
/// Source: RFC 5256 §2.1.
pub fn base_subject(subject: &str) -> BaseSubject {
    // (1); folding also makes the comparisons below those of any case.
    let text = fold(&subject[..subject.floor_char_boundary(SUBJECT_OCTETS_MAX)]);
    let mut rest = text.as_str();
    let mut is_reply = false;
    loop {
        // (2)
        rest = rest.trim_end_matches(' ');
        while let Some(before) = rest.strip_suffix("(fwd)") {
            is_reply = true;
            rest = before.trim_end_matches(' ');
        }
        // (3) to (5)
        loop {
            rest = rest.trim_start_matches(' ');
            if let Some(behind) = without_leader(rest) {
                is_reply = true;
                rest = behind;
            } else if let Some(behind) = without_blob(rest).filter(|behind| !behind.is_empty()) {
                rest = behind;
            } else {
                break;
            }
        }
        // (6)
        let inner = rest
            .strip_prefix("[fwd:")
            .and_then(|inner| inner.strip_suffix(']'));
        let Some(inner) = inner else {
            break;
        };
        is_reply = true;
        rest = inner;
    }
    BaseSubject {
        text: rest.to_owned(),
        is_reply,
    }
}

fn without_leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(behind) = without_blob(rest) {
        rest = behind;
    }
    let behind = rest
        .strip_prefix("re")
        .or_else(|| rest.strip_prefix("fwd"))
        .or_else(|| rest.strip_prefix("fw"))?;
    let behind = behind.trim_start_matches(' ');
    without_blob(behind).unwrap_or(behind).strip_prefix(':')
}

fn without_blob(text: &str) -> Option<&str> {
    let behind = text.strip_prefix('[')?;
    let end = behind.find(['[', ']'])?;
    Some(behind[end..].strip_prefix(']')?.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(subject: &str, text: &str, is_reply: bool) {
        let expected = BaseSubject {
            text: text.to_owned(),
            is_reply,
        };
        assert_eq!(base_subject(subject), expected, "{subject}");
    }

    #[test]
    fn what_answers_and_forwards_add_is_taken_away() {
        check("Oběd", "obed", false);
        check("Re: Oběd", "obed", true);
        check("RE : re:Fwd: [list] FW[2]: Oběd (fwd)  (FWD) ", "obed", true);
        check("[list] [other] Oběd", "obed", false);
        check("[list] Re: Oběd", "obed", true);
        check("[fwd: [fwd: Re: a] (fwd)]", "a", true);
        check("[list]", "[list]", false);
        check("Re:", "", true);
        check("", "", false);
        check("real: a", "real: a", false);
        check("re a", "re a", false);
        check("[a[b] c", "[a[b] c", false);
        check("a\t b", "a b", false);
    }

    #[test]
    fn each_criterion_has_its_key() {
        let structure = Structure::parse(
            "From: =?utf-8?Q?=C4=8Cern=C3=BD?= <Karel@a.test>\r\nTo: b@b.test, c@c.test\r\nSubject: Re: Ž\r\nDate: 1 Jan 1970 01:00:07 +0100\r\n\r\n".as_bytes(),
        );
        let key = |by| sort_key(by, &structure, InternalDate::utc(Timestamp(9)), 5);
        let text = |text: &str| SortKey::Text(text.into());
        assert_eq!(key(SortBy::Arrival), SortKey::Number(9));
        assert_eq!(key(SortBy::Date), SortKey::Number(7));
        assert_eq!(key(SortBy::Size), SortKey::Number(5));
        assert_eq!(key(SortBy::From), text("karel"));
        assert_eq!(key(SortBy::DisplayFrom), text("cerny"));
        assert_eq!(key(SortBy::To), text("b"));
        assert_eq!(key(SortBy::DisplayTo), text("b@b.test"));
        assert_eq!(key(SortBy::Cc), text(""));
        assert_eq!(key(SortBy::Subject), text("z"));
        let without_date = Structure::parse(b"To: A Group:;\r\nDate: tomorrow\r\n\r\n");
        assert_eq!(
            sort_key(SortBy::Date, &without_date, InternalDate::utc(Timestamp(9)), 5),
            SortKey::Number(9)
        );
        assert_eq!(
            sort_key(SortBy::To, &without_date, InternalDate::utc(Timestamp(9)), 5),
            text("a group")
        );
    }

    /// AS11
    #[test]
    fn as11_a_hundred_thousand_blobs_take_no_time() {
        for subject in [
            "[a]".repeat(100_000),
            "re:".repeat(100_000),
            "[fwd:".repeat(100_000),
            "[".repeat(100_000),
        ] {
            let base = base_subject(&subject);
            assert!(base.text.len() <= SUBJECT_OCTETS_MAX);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        /// RFC 5256 §2.1: nothing is left to be taken away.
        #[test]
        fn a_base_subject_is_its_own(subject in "(re|fwd|fw|[:\\[\\] a-c]|\\(fwd\\)|\\[fwd:|č){0,16}") {
            let base = base_subject(&subject);
            prop_assert_eq!(base_subject(&base.text), BaseSubject { text: base.text.clone(), is_reply: false });
        }
    }
}
