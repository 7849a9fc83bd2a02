//! LIST and LSUB.

use super::{Next, Piece, push};
use crate::command::List;
use crate::response::{Completion, Failure, write_astring};
use mail::AccountId;
use std::collections::BTreeMap;
use store::{Mailbox, SpecialUse, View};

/// RFC 3501 §6.3.8, §6.3.9, with the attributes of RFC 3348 and RFC 6154.
pub(super) fn run(
    list: &List,
    account: AccountId,
    view: &View,
    out: &mut Vec<Piece>,
) -> Result<Next, Failure> {
    let command = if list.is_lsub { "LSUB" } else { "LIST" };
    let done = Next::Done(Completion::ok("Listed"));
    // The question for the separator.
    if list.pattern.is_empty() && !list.is_lsub {
        push(b"* LIST (\\Noselect) \"/\" \"\"\r\n".to_vec(), out);
        return Ok(done);
    }
    let mailboxes = view.mailboxes(account)?;
    let names = names(&mailboxes, list.is_lsub);
    let pattern = Pattern::new(&format!("{}{}", list.reference, list.pattern));
    let mut octets = Vec::new();
    for (name, found) in &names {
        if !pattern.matches(name) {
            continue;
        }
        // LSUB tells of a name above a subscribed one only where `%` would hide that one (RFC 3501 §6.3.9).
        if list.is_lsub && found.is_none() && !list.pattern.ends_with('%') {
            continue;
        }
        let mut attributes = Vec::new();
        if found.is_none() {
            attributes.push("\\Noselect");
        }
        if !list.is_lsub {
            let below = format!("{name}/");
            let has_children = names
                .range(below.clone()..)
                .next()
                .is_some_and(|(next, _)| next.starts_with(&below));
            attributes.push(if has_children {
                "\\HasChildren"
            } else {
                "\\HasNoChildren"
            });
            attributes.extend(found.and_then(|mailbox| mailbox.special_use).map(attribute));
        }
        octets.extend_from_slice(format!("* {command} ({}) \"/\" ", attributes.join(" ")).as_bytes());
        write_astring(name, &mut octets);
        octets.extend_from_slice(b"\r\n");
    }
    push(octets, out);
    Ok(done)
}

/// The names in modified UTF-7, and those above them that are no mailboxes.
fn names(mailboxes: &[Mailbox], is_lsub: bool) -> BTreeMap<String, Option<&Mailbox>> {
    let mut names: BTreeMap<String, Option<&Mailbox>> = BTreeMap::new();
    for mailbox in mailboxes
        .iter()
        .filter(|mailbox| !is_lsub || mailbox.is_subscribed)
    {
        let mut above = mailbox.name.parent();
        while let Some(name) = above {
            names.entry(name.to_utf7()).or_insert(None);
            above = name.parent();
        }
        names.insert(mailbox.name.to_utf7(), Some(mailbox));
    }
    names
}

/// RFC 6154 §2
fn attribute(special_use: SpecialUse) -> &'static str {
    match special_use {
        SpecialUse::Archive => "\\Archive",
        SpecialUse::Drafts => "\\Drafts",
        SpecialUse::Junk => "\\Junk",
        SpecialUse::Sent => "\\Sent",
        SpecialUse::Trash => "\\Trash",
    }
}

/// A name with wildcards: `*` is any octets, `%` any without the separator.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new(text: &str) -> Pattern {
        let mut pattern = if text.is_ascii() {
            text.as_bytes().to_vec()
        } else {
            // A client that writes UTF-8 means the mailbox that it would have written in modified UTF-7.
            encode(text).into_bytes()
        };
        // INBOX is the same in any case.
        let level = pattern
            .iter()
            .position(|octet| b"/%*".contains(octet))
            .unwrap_or(pattern.len());
        if pattern[..level].eq_ignore_ascii_case(b"INBOX") {
            pattern[..level].make_ascii_uppercase();
        }
        // `*` and wildcards next to it are one `*`, and `%%` is `%`, so that no pattern can be much longer than a
        // name it matches.
        pattern.dedup_by(|next, before| {
            let is_run = b"*%".contains(next) && b"*%".contains(before);
            if is_run && *next == b'*' {
                *before = b'*';
            }
            is_run
        });
        Pattern(pattern)
    }

    /// The places of the pattern that a prefix of the name reaches, octet by octet: the time is the product of
    /// both lengths whatever the wildcards.
    fn matches(&self, name: &str) -> bool {
        if self.0.len() > 2 * name.len() + 1 {
            return false;
        }
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        self.pass_wildcards(&mut reached);
        for &octet in name.as_bytes() {
            let mut next = vec![false; self.0.len() + 1];
            for (place, wanted) in self.0.iter().enumerate() {
                if !reached[place] {
                    continue;
                }
                match wanted {
                    b'*' => next[place] = true,
                    b'%' => next[place] |= octet != b'/',
                    wanted => next[place + 1] |= *wanted == octet,
                }
            }
            self.pass_wildcards(&mut next);
            reached = next;
        }
        reached[self.0.len()]
    }

    /// A wildcard may stand for nothing.
    fn pass_wildcards(&self, reached: &mut [bool]) {
        for (place, wanted) in self.0.iter().enumerate() {
            if reached[place] && b"*%".contains(wanted) {
                reached[place + 1] = true;
            }
        }
    }
}

/// A pattern in modified UTF-7. Wildcards are no octets of a name, so the text between them is encoded.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for piece in text.split_inclusive(['*', '%', '/']) {
        let (name, wildcard) = match piece.strip_suffix(['*', '%', '/']) {
            Some(name) => (name, &piece[name.len()..]),
            None => (piece, ""),
        };
        match mail::MailboxName::parse(name) {
            Ok(name) => encoded.push_str(&name.to_utf7()),
            Err(_) => encoded.push_str(name),
        }
        encoded.push_str(wildcard);
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
    }

    #[test]
    fn wildcards_stand_for_levels_or_for_all() {
        check("*", "a/b", true);
        check("%", "a/b", false);
        check("%", "a", true);
        check("%/%", "a/b", true);
        check("a*c", "a/b/c", true);
        check("a%c", "a/b/c", false);
        check("", "a", false);
        check("inbox", "INBOX", true);
        check("Inbox/%", "INBOX/a", true);
        check("inbox%", "INBOX", true);
        check("a", "A", false);
        check("Účty%", "&ANo-cty", false);
        check("%*%*%*%*%*%*x", &"a".repeat(1000), false);
        check("%*%a%%b**", "xa-b/c", true);
        check("%%", "a/b", false);
        check("*a*b*", "ab", true);
        assert_eq!(Pattern::new(&"*%".repeat(30_000)).0, b"*");
    }

    #[test]
    fn a_pattern_in_utf8_finds_the_name_in_utf7() {
        check("Účty", "&ANoBDQ-ty", true);
        check(
            "Účty/*",
            &format!(
                "{}/a",
                mail::MailboxName::parse("Účty").expect("a name").to_utf7()
            ),
            true,
        );
    }
}
