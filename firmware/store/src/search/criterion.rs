//! What messages are found by (RFC 9051 §6.4.4).

use crate::view::Message;
use mail::{Flags, Uid, fold};
use std::ops::RangeInclusive;

/// A calendar day: year, month, day.
pub type Day = (i16, i8, i8);

/// How a day lies to the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayIs {
    /// BEFORE
    Before,
    /// ON
    On,
    /// SINCE
    Since,
}

impl DayIs {
    /// Whether `day` lies so to `wanted`.
    pub fn holds(self, day: Day, wanted: Day) -> bool {
        match self {
            DayIs::Before => day < wanted,
            DayIs::On => day == wanted,
            DayIs::Since => day >= wanted,
        }
    }
}

/// What a message is found by. Texts are sought as parts of texts, whatever the case and the marks on letters
/// ([`mail::fold()`]).
#[derive(Clone, PartialEq, Eq)]
pub enum Criterion {
    /// It has all these flags; or it has not.
    Flags {
        /// The flags.
        flags: Flags,
        /// Whether it is to lack one of them.
        is_not: bool,
    },
    /// Its UID is in one of these ranges, which ascend and do not meet.
    Among(Vec<RangeInclusive<u32>>),
    /// The day of its INTERNALDATE, at that date's zone.
    Internal(DayIs, Day),
    /// The day of its Date field, at that date's zone.
    Sent(DayIs, Day),
    /// It has more octets.
    Larger(u64),
    /// It has fewer octets.
    Smaller(u64),
    /// A field of its header section with this name has the text in it; any, if the text is empty. Of fields with addresses the
    /// text is that of [`mail::structure::field_text`].
    Header {
        /// The name of the field.
        name: String,
        /// The text.
        text: String,
    },
    /// The text is in its text parts, in the name of an attachment, or in subject and addresses of a message in it.
    Body(String),
    /// The text is there, or in its header section, where a field is `name: text`.
    Text(String),
    /// Not so.
    Not(Box<Criterion>),
    /// One of them at least.
    Or(Vec<Criterion>),
    /// All of them; what `And` of nothing is, every message.
    And(Vec<Criterion>),
}

impl std::fmt::Debug for Criterion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What people look for is nobody's business (D41).
        f.write_str("Criterion")
    }
}

/// Something that a message has to be looked into for. Texts are folded.
pub(super) enum Sought {
    Header { name: String, text: String },
    Body(String),
    Text(String),
    Sent(DayIs, Day),
}

/// A criterion whose texts stand in a list, where all of them are sought at once.
pub(super) enum Expression {
    Flags {
        flags: Flags,
        is_not: bool,
    },
    Among(Vec<RangeInclusive<u32>>),
    Internal(DayIs, Day),
    Larger(u64),
    Smaller(u64),
    /// By place in the list.
    Sought(usize),
    Not(Box<Expression>),
    Or(Vec<Expression>),
    And(Vec<Expression>),
}

impl Expression {
    /// Adds what the criterion seeks to `sought`. The recursion is bounded by whoever made the criterion: IMAP's parser
    /// allows 50 in each other.
    pub(super) fn new(criterion: &Criterion, sought: &mut Vec<Sought>) -> Expression {
        let mut seek = |one: Sought| {
            sought.push(one);
            Expression::Sought(sought.len() - 1)
        };
        match criterion {
            Criterion::Flags { flags, is_not } => Expression::Flags {
                flags: flags.clone(),
                is_not: *is_not,
            },
            Criterion::Among(ranges) => Expression::Among(ranges.clone()),
            Criterion::Internal(day_is, day) => Expression::Internal(*day_is, *day),
            Criterion::Sent(day_is, day) => seek(Sought::Sent(*day_is, *day)),
            Criterion::Larger(octets) => Expression::Larger(*octets),
            Criterion::Smaller(octets) => Expression::Smaller(*octets),
            Criterion::Header { name, text } => seek(Sought::Header {
                name: name.to_ascii_lowercase(),
                text: fold(text),
            }),
            Criterion::Body(text) => seek(Sought::Body(fold(text))),
            Criterion::Text(text) => seek(Sought::Text(fold(text))),
            Criterion::Not(criterion) => Expression::Not(Box::new(Expression::new(criterion, sought))),
            Criterion::Or(criteria) => Expression::Or(
                criteria
                    .iter()
                    .map(|criterion| Expression::new(criterion, sought))
                    .collect(),
            ),
            Criterion::And(criteria) => Expression::And(
                criteria
                    .iter()
                    .map(|criterion| Expression::new(criterion, sought))
                    .collect(),
            ),
        }
    }

    /// Whether a message is found, if that is known from its row and what is known of what is sought.
    pub(super) fn value(&self, message: &Message, known: &[Option<bool>]) -> Option<bool> {
        match self {
            Expression::Flags { flags, is_not } => {
                let has = message.flags.system.contains(flags.system)
                    && flags.keywords.is_subset(&message.flags.keywords);
                Some(has != *is_not)
            }
            Expression::Among(ranges) => Some(is_among(ranges, message.uid)),
            Expression::Internal(day_is, day) => Some(day_is.holds(message.internal_date.day(), *day)),
            Expression::Larger(octets) => Some(message.size_octets > *octets),
            Expression::Smaller(octets) => Some(message.size_octets < *octets),
            Expression::Sought(place) => known[*place],
            Expression::Not(expression) => Some(!expression.value(message, known)?),
            Expression::Or(expressions) => any(expressions.iter().map(|one| one.value(message, known)), true),
            Expression::And(expressions) => {
                any(expressions.iter().map(|one| one.value(message, known)), false)
            }
        }
    }
}

/// `decisive` if one is that, unknown if one is unknown, and else the other.
fn any(values: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut is_known = true;
    for value in values {
        match value {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => is_known = false,
        }
    }
    is_known.then_some(!decisive)
}

fn is_among(ranges: &[RangeInclusive<u32>], uid: Uid) -> bool {
    let behind = ranges.partition_point(|range| *range.end() < uid.get());
    ranges.get(behind).is_some_and(|range| range.contains(&uid.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_needs_nothing_more() {
        let known = [Some(true), Some(false), None];
        let value = |places: &[usize], decisive| any(places.iter().map(|place| known[*place]), decisive);
        assert_eq!(value(&[2, 0], true), Some(true));
        assert_eq!(value(&[2, 1], true), None);
        assert_eq!(value(&[1, 1], true), Some(false));
        assert_eq!(value(&[2, 1], false), Some(false));
        assert_eq!(value(&[0, 2], false), None);
        assert_eq!(value(&[], false), Some(true));
        assert_eq!(value(&[], true), Some(false));
    }

    #[test]
    fn ranges_are_searched() {
        let ranges = [1..=3, 7..=7, 10..=u32::MAX];
        let found = |uid| Uid::new(uid).is_some_and(|uid| is_among(&ranges, uid));
        assert!([1, 3, 7, 10, u32::MAX].into_iter().all(found));
        assert!(![4, 6, 8, 9].into_iter().any(found));
    }
}
