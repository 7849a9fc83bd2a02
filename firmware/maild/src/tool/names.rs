//! Names of mailboxes as names of files, and flags as their ends.
//!
//! ```text
//! Sent/2024       .Sent.2024        a folder of Maildir++, whose levels are separated by dots
//! Sent/2024       Sent.2024.mbox    an mbox
//! a.b             .a&AC4-b          a dot in a level: modified UTF-7 of the dot, which it would never write itself
//! ```

use mail::{Address, Flags, Keyword, MailboxName, SystemFlags};

/// Stands for a dot in a level.
const DOT: &str = "&AC4-";
/// The longest name of a file.
const FILE_NAME_OCTETS_MAX: usize = 255;
/// What Maildir programs call it: P, "passed".
pub(super) const FORWARDED: &str = "$Forwarded";
/// Keywords with a letter of their own, `a` to `z`.
pub(super) const KEYWORDS_MAX: usize = 26;

/// Flags of a Maildir, in the order in which they have to stand.
const LETTERS: [(char, SystemFlags); 5] = [
    ('D', SystemFlags::DRAFT),
    ('F', SystemFlags::FLAGGED),
    ('R', SystemFlags::ANSWERED),
    ('S', SystemFlags::SEEN),
    ('T', SystemFlags::DELETED),
];

/// The name of an account's folder.
pub(super) fn account_folder(address: &Address) -> String {
    // A local part may hold a slash; nothing of it may lead elsewhere.
    address.to_string().replace('%', "%25").replace('/', "%2F")
}

/// A mailbox's name as one level; `None` if no file can be called that.
pub(super) fn dotted(name: &MailboxName) -> Option<String> {
    let dotted = name.to_utf7().replace('.', DOT).replace('/', ".");
    // ".mbox.place" behind it, or a dot before it.
    (dotted.len() + 12 <= FILE_NAME_OCTETS_MAX).then_some(dotted)
}

/// The mailbox whose name was [`dotted`], by us or by another program.
pub(super) fn from_dotted(dotted: &str) -> Result<MailboxName, mail::MailboxNameError> {
    let levels = dotted.replace('.', "/").replace(DOT, ".");
    MailboxName::parse_utf7(&levels).or_else(|error| MailboxName::parse(&levels).map_err(|_| error))
}

/// The letters behind `:2,`. A keyword gets the letter of its place in `keywords`, which it is added to; gives how many got
/// none.
pub(super) fn letters(flags: &Flags, keywords: &mut Vec<Keyword>) -> (String, usize) {
    let set = |(letter, flag): &(char, SystemFlags)| flags.system.contains(*flag).then_some(*letter);
    let mut letters: Vec<char> = LETTERS.iter().filter_map(set).collect();
    let mut without = 0;
    for keyword in &flags.keywords {
        if keyword.as_str().eq_ignore_ascii_case(FORWARDED) {
            letters.push('P');
            continue;
        }
        let place = keywords.iter().position(|known| known == keyword);
        let place = place.unwrap_or_else(|| {
            keywords.push(keyword.clone());
            keywords.len() - 1
        });
        match (b'a'..=b'z').nth(place) {
            Some(letter) => letters.push(char::from(letter)),
            None => without += 1,
        }
    }
    keywords.truncate(KEYWORDS_MAX);
    letters.sort_unstable();
    (letters.into_iter().collect(), without)
}

/// The flags in the name of a file, whose keywords `dovecot-keywords` names. Letters that nobody knows mean nothing.
pub(super) fn flags_of(file_name: &str, keywords: &[Option<Keyword>]) -> Flags {
    let mut flags = Flags::default();
    let Some((_, letters)) = file_name.rsplit_once(":2,") else {
        return flags;
    };
    for letter in letters.chars() {
        if let Some((_, flag)) = LETTERS.iter().find(|(known, _)| *known == letter) {
            flags.system = flags.system.with(*flag);
        } else if letter == 'P' {
            flags.keywords.extend(Keyword::parse(FORWARDED));
        } else if letter.is_ascii_lowercase() {
            let place = ('a'..=letter).count() - 1;
            flags.keywords.extend(keywords.get(place).cloned().flatten());
        }
    }
    flags
}

/// `dovecot-keywords`: a number and a keyword in each line. What is neither is passed over.
pub(super) fn parse_keywords(text: &str) -> Vec<Option<Keyword>> {
    let mut keywords = vec![None; KEYWORDS_MAX];
    for line in text.lines() {
        let found = line.split_once(' ').and_then(|(number, name)| {
            let place: usize = number.parse().ok()?;
            Some((keywords.get_mut(place)?, Keyword::parse(name.trim()).ok()?))
        });
        if let Some((place, keyword)) = found {
            *place = Some(keyword);
        }
    }
    keywords
}

pub(super) fn write_keywords(keywords: &[Keyword]) -> String {
    let line = |(place, keyword): (usize, &Keyword)| format!("{place} {}\n", keyword.as_str());
    keywords.iter().enumerate().map(line).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_and_leads_nowhere_else() {
        for (name, expected) in [
            ("INBOX", "INBOX"),
            ("Sent/2024", "Sent.2024"),
            ("a.b/c", "a&AC4-b.c"),
            ("../x", "&AC4-&AC4-.x"),
            ("Koš/&x", "Ko&AWE-.&-x"),
            ("š.", "&AWE-&AC4-"),
            ("&AC4-", "&-AC4-"),
        ] {
            let name = MailboxName::parse(name).unwrap();
            let dotted = dotted(&name).unwrap();
            assert_eq!(dotted, expected);
            assert_eq!(from_dotted(&dotted), Ok(name));
        }
        // Dovecot with UTF-8 names.
        assert_eq!(from_dotted("Koš").unwrap().as_str(), "Koš");
        assert!(from_dotted("a..b").is_err());
        assert_eq!(dotted(&MailboxName::parse(&"x".repeat(300)).unwrap()), None);
        let address = Address::parse("\"a/../b\"@firma.test").unwrap();
        assert!(!account_folder(&address).contains('/'));
    }

    #[test]
    fn flags_come_back_with_their_keywords() {
        let mut flags = Flags::system(SystemFlags::SEEN.with(SystemFlags::DRAFT));
        for keyword in ["$Forwarded", "work", "$Label1"] {
            flags.keywords.insert(Keyword::parse(keyword).unwrap());
        }
        let mut keywords = vec![Keyword::parse("WORK").unwrap()];
        let (letters, without) = letters(&flags, &mut keywords);
        assert_eq!((letters.as_str(), without), ("DPSab", 0));
        let kept = parse_keywords(&write_keywords(&keywords));
        assert_eq!(flags_of(&format!("1.x,S=3:2,{letters}"), &kept), flags);
        assert_eq!(flags_of("1.x", &kept), Flags::default());
        assert_eq!(flags_of("1.x:2,Qz!é", &kept), Flags::default());
        let odd = parse_keywords("0 good\nx y\n99 far\n1 a(b\n\n2");
        assert_eq!(odd.iter().flatten().count(), 1);
    }

    #[test]
    fn a_keyword_without_a_letter_is_counted() {
        let mut flags = Flags::default();
        for number in 0..30 {
            flags
                .keywords
                .insert(Keyword::parse(&format!("k{number}")).unwrap());
        }
        let mut keywords = Vec::new();
        let (letters, without) = letters(&flags, &mut keywords);
        assert_eq!((letters.len(), without, keywords.len()), (26, 4, 26));
    }
}
