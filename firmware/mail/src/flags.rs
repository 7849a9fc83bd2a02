//! The flags of a message.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The flags of a message: the system flags that are set, and the keywords.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// The system flags.
    pub system: SystemFlags,
    /// The keywords. Two that differ in case only are the same keyword; the spelling first seen is kept.
    pub keywords: BTreeSet<Keyword>,
}

/// The system flags of RFC 9051 §2.3.2, one bit each. `\Recent` is not among them: it is a property of
/// a session (RFC 3501 §2.3.2) and gone in RFC 9051.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemFlags(pub u8);

impl SystemFlags {
    /// `\Seen`
    pub const SEEN: SystemFlags = SystemFlags(1);
    /// `\Answered`
    pub const ANSWERED: SystemFlags = SystemFlags(2);
    /// `\Flagged`
    pub const FLAGGED: SystemFlags = SystemFlags(4);
    /// `\Deleted`
    pub const DELETED: SystemFlags = SystemFlags(8);
    /// `\Draft`
    pub const DRAFT: SystemFlags = SystemFlags(16);

    /// Each flag with its name, in the order in which they are listed.
    pub const NAMES: [(SystemFlags, &'static str); 5] = [
        (SystemFlags::ANSWERED, "\\Answered"),
        (SystemFlags::FLAGGED, "\\Flagged"),
        (SystemFlags::DELETED, "\\Deleted"),
        (SystemFlags::SEEN, "\\Seen"),
        (SystemFlags::DRAFT, "\\Draft"),
    ];

    /// The flag with this name, backslash included, in any case.
    pub fn from_name(name: &str) -> Option<SystemFlags> {
        let (flag, _) = SystemFlags::NAMES
            .into_iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))?;
        Some(flag)
    }

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: SystemFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 | other.0)
    }

    /// These flags less those of `other`.
    #[must_use]
    pub const fn without(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 & !other.0)
    }

    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        SystemFlags::NAMES
            .into_iter()
            .filter(move |(flag, _)| self.contains(*flag))
            .map(|(_, name)| name)
    }
}

impl fmt::Debug for SystemFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// A keyword: an atom without a leading backslash, such as `$Forwarded` (RFC 9051 §9 `flag-keyword`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keyword(String);

/// Why a text is not a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeywordError {
    /// Empty, too long, or with an octet that an atom does not have.
    #[error("a keyword is an atom of 1 to {} octets", Keyword::OCTETS_MAX)]
    NotAnAtom,
}

impl Keyword {
    /// The longest keyword kept. Dovecot keeps 50 octets; labels of some programs are longer.
    pub const OCTETS_MAX: usize = 100;

    /// Checks that `text` is an atom.
    pub fn parse(text: &str) -> Result<Keyword, KeywordError> {
        let is_atom_octet = |octet: u8| octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet);
        if text.is_empty() || text.len() > Keyword::OCTETS_MAX || !text.bytes().all(is_atom_octet) {
            return Err(KeywordError::NotAnAtom);
        }
        Ok(Keyword(text.to_owned()))
    }

    /// The keyword as it was first spelt.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Keyword) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Keyword) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Keyword) -> std::cmp::Ordering {
        let ours = self.0.bytes().map(|octet| octet.to_ascii_lowercase());
        ours.cmp(other.0.bytes().map(|octet| octet.to_ascii_lowercase()))
    }
}

impl Flags {
    /// Only these system flags.
    pub fn system(system: SystemFlags) -> Flags {
        Flags {
            system,
            keywords: BTreeSet::new(),
        }
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.system == SystemFlags::default() && self.keywords.is_empty()
    }

    /// Sets all flags of `other`.
    pub fn add(&mut self, other: &Flags) {
        self.system = self.system.with(other.system);
        for keyword in &other.keywords {
            self.keywords.insert(keyword.clone());
        }
    }

    /// Clears all flags of `other`.
    pub fn remove(&mut self, other: &Flags) {
        self.system = self.system.without(other.system);
        self.keywords.retain(|keyword| !other.keywords.contains(keyword));
    }
}

impl fmt::Display for Flags {
    /// The flags as IMAP lists them, without parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = self.system.names().collect();
        names.extend(self.keywords.iter().map(Keyword::as_str));
        f.write_str(&names.join(" "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keywords_that_differ_in_case_are_one() {
        let mut flags = Flags::system(SystemFlags::SEEN);
        flags.keywords.insert(Keyword::parse("$Forwarded").unwrap());
        let mut more = Flags::default();
        more.keywords.insert(Keyword::parse("$forwarded").unwrap());
        flags.add(&more);
        assert_eq!(flags.to_string(), "\\Seen $Forwarded");
        flags.remove(&more);
        assert_eq!(flags.to_string(), "\\Seen");
    }

    #[test]
    fn a_keyword_is_an_atom() {
        for text in ["", "\\Seen", "a b", "a(b", "a]", "é", &"x".repeat(101)] {
            assert_eq!(Keyword::parse(text), Err(KeywordError::NotAnAtom), "{text}");
        }
        assert!(Keyword::parse("NonJunk").is_ok());
    }
}
