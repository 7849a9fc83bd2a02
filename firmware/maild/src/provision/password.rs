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

/// Why `password` is not taken for `address`; `None` when it is.
pub(super) fn flaw(password: &str, address: &str) -> Option<&'static str> {
    let lower = password.to_lowercase();
    let address = address.to_lowercase();
    let mut characters = lower.chars();
    let first = characters.next();
    if first.is_none() {
        Some("the password is empty")
    } else if password.chars().count() < CHARACTERS_MIN {
        Some("the password is shorter than 8 characters")
    } else if password.len() > PASSWORD_OCTETS_MAX {
        Some("the password is longer than 1024 octets")
    } else if password.contains('\0') {
        Some("the password has a NUL in it, which no mail program can send")
    } else if characters.all(|character| Some(character) == first) {
        Some("the password is one character over and over")
    } else if COMMON.contains(&lower.as_str()) {
        Some("the password is one that everybody tries first")
    } else if address.contains(&lower) {
        Some("the password is in the address")
    } else {
        None
    }
}
