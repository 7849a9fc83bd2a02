//! Passwords that are no passwords.

use wire::limits::PASSWORD_OCTETS_MAX;

/// The shortest one, in characters.
const CHARACTERS_MIN: usize = 8;

/// What every attacker tries first and is long enough.
const COMMON: [&str; 20] = [
    "password",
    "passw0rd",
    "password1",
    "password123",
    "12345678",
    "123456789",
    "1234567890",
    "11111111",
    "qwertyui",
    "qwertyuiop",
    "qwertzuiop",
    "asdfghjk",
    "1q2w3e4r",
    "1qaz2wsx",
    "heslo123",
    "heslo1234",
    "tajneheslo",
    "administrator",
    "changeme",
    "postolka",
];

/// Why a password is not taken. Its text is for a log or a file; a page has its own words for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFlaw {
    /// There is none.
    #[error("the password is empty")]
    Empty,
    /// Under 8 characters.
    #[error("the password is shorter than 8 characters")]
    Short,
    /// Over [`PASSWORD_OCTETS_MAX`].
    #[error("the password is longer than 1024 octets")]
    Long,
    /// NUL separates the parts of AUTH PLAIN (RFC 4616 §2).
    #[error("the password has a NUL in it, which no mail program can send")]
    Nul,
    /// `aaaaaaaa`.
    #[error("the password is one character over and over")]
    OneCharacter,
    /// Everybody has it.
    #[error("the password is one that everybody tries first")]
    Common,
    /// It is known to whoever knows the address.
    #[error("the password is in the address")]
    InAddress,
}

/// Why `password` is not taken for `address`; `None` when it is.
pub fn password_flaw(password: &str, address: &str) -> Option<PasswordFlaw> {
    let lower = password.to_lowercase();
    let address = address.to_lowercase();
    let mut characters = lower.chars();
    let first = characters.next();
    if first.is_none() {
        Some(PasswordFlaw::Empty)
    } else if password.chars().count() < CHARACTERS_MIN {
        Some(PasswordFlaw::Short)
    } else if password.len() > PASSWORD_OCTETS_MAX {
        Some(PasswordFlaw::Long)
    } else if password.contains('\0') {
        Some(PasswordFlaw::Nul)
    } else if characters.all(|character| Some(character) == first) {
        Some(PasswordFlaw::OneCharacter)
    } else if COMMON.contains(&lower.as_str()) {
        Some(PasswordFlaw::Common)
    } else if address.contains(&lower) {
        Some(PasswordFlaw::InAddress)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flaw_is_seen_and_a_sentence_is_none() {
        let flaw = |password: &str| password_flaw(password, "anna.novakova@firma.cz");
        assert_eq!(flaw(""), Some(PasswordFlaw::Empty));
        assert_eq!(flaw("krátké1"), Some(PasswordFlaw::Short));
        assert_eq!(flaw(&"ab".repeat(513)), Some(PasswordFlaw::Long));
        assert_eq!(flaw("nul\0inside"), Some(PasswordFlaw::Nul));
        assert_eq!(flaw("aaaaaaaaaa"), Some(PasswordFlaw::OneCharacter));
        assert_eq!(flaw("Heslo1234"), Some(PasswordFlaw::Common));
        assert_eq!(flaw("Novakova"), Some(PasswordFlaw::InAddress));
        assert_eq!(flaw("kůň ve stáji"), None);
    }
}
