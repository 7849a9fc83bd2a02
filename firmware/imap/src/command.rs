//! What a client can ask for.

use mail::{Flags, InternalDate, MailboxName, MailboxNameError, Secret};
use std::ops::RangeInclusive;

/// A command with its tag.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) tag: Tag,
    pub(crate) body: Body,
}

/// What a client calls its command, to find the answer again (RFC 9051 §2.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) String);

/// A command without its tag.
#[derive(Debug)]
pub(crate) enum Body {
    Capability,
    Noop,
    Logout,
    Id,
    Namespace,
    StartTls,
    Login {
        login: Secret<String>,
        password: Secret<String>,
    },
    Authenticate {
        mechanism: Vec<u8>,
        initial: Option<Secret<Vec<u8>>>,
    },
    Select {
        mailbox: Mailbox,
        is_read_only: bool,
    },
    Create(Mailbox),
    Delete(Mailbox),
    Rename {
        from: Mailbox,
        to: Mailbox,
    },
    Subscribe {
        mailbox: Mailbox,
        is_subscribed: bool,
    },
    List(List),
    Status {
        mailbox: Mailbox,
        items: Vec<StatusItem>,
    },
    Idle,
    Check,
    Close,
    Unselect,
    Expunge,
    UidExpunge(Set),
    Search {
        keys: Vec<SearchKey>,
        is_uid: bool,
    },
    /// SEARCH in a charset that is not known here.
    SearchInUnknownCharset,
    Fetch {
        set: Set,
        items: Vec<FetchItem>,
        is_uid: bool,
    },
    Store {
        set: Set,
        change: Change,
        flags: Flags,
        is_silent: bool,
        is_uid: bool,
    },
    Copy {
        set: Set,
        mailbox: Mailbox,
        is_move: bool,
        is_uid: bool,
    },
}

/// The name of a mailbox, or why it is none. A name that is none is no syntax error: it is a mailbox that
/// does not exist, and cannot.
pub(crate) type Mailbox = Result<MailboxName, MailboxNameError>;

/// What stands before the message of an APPEND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Append {
    pub(crate) tag: Tag,
    pub(crate) mailbox: Mailbox,
    pub(crate) flags: Flags,
    pub(crate) internal_date: Option<InternalDate>,
}

/// LIST, or LSUB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) reference: String,
    pub(crate) pattern: String,
    pub(crate) is_lsub: bool,
}

/// What to do with flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Replace,
    Add,
    Remove,
}

/// RFC 9051 §6.3.11, RFC 7889 §4 (APPENDLIMIT), RFC 8438 (SIZE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    Size,
    AppendLimit,
}

/// Sequence numbers or UIDs, as the command says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set(pub(crate) Vec<(Number, Number)>);

/// A number of a [`Set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// A number, never 0.
    Value(u32),
    /// `*`: the largest in use.
    Last,
}

impl Set {
    /// The ranges with `*` replaced by `last`, each in ascending order (RFC 9051 §9 `seq-range`: `4:2` is
    /// `2:4`).
    pub(crate) fn ranges(&self, last: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let value = move |number| match number {
            Number::Value(value) => value,
            Number::Last => last,
        };
        self.0.iter().map(move |&(from, to)| {
            let (from, to) = (value(from), value(to));
            (from.min(to), from.max(to))
        })
    }
}

/// UIDs as ascending ranges that do not touch. A set may list thousands of ranges, and SEARCH asks it about
/// each message: one is found here in logarithmic time (AI6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UidRanges(Vec<(u32, u32)>);

impl UidRanges {
    pub(crate) fn new(ranges: impl Iterator<Item = (u32, u32)>) -> UidRanges {
        let mut ranges: Vec<(u32, u32)> = ranges.collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, before| {
            let is_touching = next.0 <= before.1.saturating_add(1);
            if is_touching {
                before.1 = before.1.max(next.1);
            }
            is_touching
        });
        UidRanges(ranges)
    }

    pub(crate) fn inclusive(&self) -> Vec<RangeInclusive<u32>> {
        self.0.iter().map(|(from, to)| *from..=*to).collect()
    }
}

/// What FETCH is to tell of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FetchItem {
    Flags,
    Uid,
    InternalDate,
    Size,
    Envelope,
    /// BODY without a section: BODYSTRUCTURE without extensions.
    Body,
    BodyStructure,
    /// RFC822, RFC822.HEADER and RFC822.TEXT are sections with names of their own.
    Rfc822,
    Rfc822Header,
    Rfc822Text,
    Section {
        section: Section,
        is_peek: bool,
        partial: Option<Partial>,
    },
}

/// `<offset.count>` (RFC 9051 §6.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) offset: u32,
    /// Never 0.
    pub(crate) count: u32,
}

/// What is between the brackets of `BODY[…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// The part, empty for the message itself.
    pub(crate) part: Vec<u32>,
    pub(crate) text: SectionText,
}

/// Which octets of the part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SectionText {
    /// All of the message; of a part, its body.
    All,
    Header,
    /// `HEADER.FIELDS`, or with `is_not` `HEADER.FIELDS.NOT`. The names are as the client wrote them.
    HeaderFields {
        names: Vec<Vec<u8>>,
        is_not: bool,
    },
    Text,
    Mime,
}

/// What a message is asked for by SEARCH (RFC 9051 §6.4.4). Texts are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SearchKey {
    All,
    /// Has all of these flags, or with `is_not` not.
    Flags {
        flags: Flags,
        is_not: bool,
    },
    /// NEW and RECENT find nothing, OLD finds all: `\Recent` is never set.
    Never,
    Sequence(Set),
    Uid(Set),
    /// The day of the INTERNALDATE, as (year, month, day).
    Internal(DayIs, (i16, i8, i8)),
    /// The day of the Date field.
    Sent(DayIs, (i16, i8, i8)),
    Larger(u32),
    Smaller(u32),
    /// A field with this name has this text in it.
    Header(String, String),
    Body(String),
    Text(String),
    Not(Box<SearchKey>),
    Or(Box<SearchKey>, Box<SearchKey>),
    And(Vec<SearchKey>),
}

/// How a day is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DayIs {
    Before,
    On,
    Since,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AI6
    #[test]
    fn ai6_ranges_that_overlap_or_touch_are_one() {
        let ranges =
            UidRanges::new([(7, 9), (1, 2), (3, 3), (8, 12), (20, u32::MAX), (4, u32::MAX)].into_iter());
        assert_eq!(ranges, UidRanges(vec![(1, u32::MAX)]));
        let many = UidRanges::new((0..10_000).map(|_| (1, 1_000_000)));
        assert_eq!(many, UidRanges(vec![(1, 1_000_000)]));
    }

    #[test]
    fn ranges_are_told_in_order() {
        let ranges = UidRanges::new([(5, 6), (2, 2), (9, 11)].into_iter());
        assert_eq!(ranges.inclusive(), [2..=2, 5..=6, 9..=11]);
        assert_eq!(UidRanges::new(std::iter::empty()).inclusive(), []);
    }
}
