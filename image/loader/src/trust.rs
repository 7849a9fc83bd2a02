//! Whom this loader trusts and which board it is for: compiled in, from the environment of the build.
//!
//! ```text
//! POSTOLKA_ROOTS   root keys, 64 hexadecimal digits each, with commas between them
//! POSTOLKA_BOARD   virt or rpi
//! ```

use format::Board;
use format::keys::{PUBLIC_KEY_OCTETS, public_key_of_hex};

/// The root keys. Without any nobody is trusted.
#[cfg(target_os = "uefi")]
pub(crate) const ROOTS: [[u8; PUBLIC_KEY_OCTETS]; roots_count(ROOTS_TEXT)] = match roots(ROOTS_TEXT) {
    Some(roots) => roots,
    None => panic!(
        "POSTOLKA_ROOTS is not a list of keys of 64 hexadecimal digits (lower case) with commas between"
    ),
};

/// The board. Where nobody is trusted it is never asked for.
#[cfg(target_os = "uefi")]
pub(crate) const BOARD: Board = match option_env!("POSTOLKA_BOARD") {
    Some(name) => match board(name) {
        Some(board) => board,
        None => panic!("POSTOLKA_BOARD is neither virt nor rpi"),
    },
    None if ROOTS.is_empty() => Board::Virt,
    None => panic!("POSTOLKA_ROOTS is set and POSTOLKA_BOARD is not: it is virt or rpi"),
};

#[cfg(target_os = "uefi")]
const ROOTS_TEXT: &[u8] = match option_env!("POSTOLKA_ROOTS") {
    Some(text) => text.as_bytes(),
    None => b"",
};

const HEX_OCTETS: usize = 2 * PUBLIC_KEY_OCTETS;
/// A key and the comma behind it.
const STEP_OCTETS: usize = HEX_OCTETS + 1;

const fn roots_count(text: &[u8]) -> usize {
    text.len().div_ceil(STEP_OCTETS)
}

const fn roots<const COUNT: usize>(text: &[u8]) -> Option<[[u8; PUBLIC_KEY_OCTETS]; COUNT]> {
    let mut roots = [[0; PUBLIC_KEY_OCTETS]; COUNT];
    let mut rest = text;
    let mut index = 0;
    while index < COUNT {
        if index > 0 {
            rest = match rest {
                [b',', rest @ ..] => rest,
                _ => return None,
            };
        }
        let Some((hex, behind)) = rest.split_at_checked(HEX_OCTETS) else {
            return None;
        };
        roots[index] = match public_key_of_hex(hex) {
            Some(root) => root,
            None => return None,
        };
        rest = behind;
        index += 1;
    }
    if rest.is_empty() { Some(roots) } else { None }
}

const fn board(name: &str) -> Option<Board> {
    let mut index = 0;
    while index < Board::ALL.len() {
        let board = Board::ALL[index];
        if is_equal(board.name().as_bytes(), name.as_bytes()) {
            return Some(board);
        }
        index += 1;
    }
    None
}

/// `==` is not for a `const` yet.
const fn is_equal(mut left: &[u8], mut right: &[u8]) -> bool {
    while let ([first, left_rest @ ..], [other, right_rest @ ..]) = (left, right) {
        if *first != *other {
            return false;
        }
        (left, right) = (left_rest, right_rest);
    }
    left.is_empty() && right.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const COUNT: usize>(text: &str, expected: Option<[[u8; PUBLIC_KEY_OCTETS]; COUNT]>) {
        assert_eq!(roots::<COUNT>(text.as_bytes()), expected, "{text}");
        if expected.is_some() {
            assert_eq!(roots_count(text.as_bytes()), COUNT, "{text}");
        }
    }

    #[test]
    fn roots_are_read_as_the_builder_spells_them() {
        let (first, second) = ("01".repeat(32), "fe".repeat(32));
        check("", Some([]));
        check(&first, Some([[1; 32]]));
        check(&format!("{first},{second}"), Some([[1; 32], [0xfe; 32]]));
        check(
            &format!("{first},{second},{first}"),
            Some([[1; 32], [0xfe; 32], [1; 32]]),
        );
    }

    #[test]
    fn d28_what_is_no_list_of_keys_stops_the_build() {
        let key = "ab".repeat(32);
        let refused = |text: &str| match roots_count(text.as_bytes()) {
            1 => check::<1>(text, None),
            2 => check::<2>(text, None),
            3 => check::<3>(text, None),
            other => panic!("{text}: {other} roots"),
        };
        refused(" ");
        refused("ab");
        refused(&key[1..]);
        refused(&format!("{key},"));
        refused(&format!(",{key}"));
        refused(&format!("{key} {key}"));
        refused(&format!("{key},{key},"));
        refused(&key.to_uppercase());
    }

    #[test]
    fn boards_have_the_names_of_the_format() {
        for each in Board::ALL {
            assert_eq!(board(each.name()), Some(each));
        }
        for other in ["", "vir", "virtual", "RPI"] {
            assert_eq!(board(other), None, "{other}");
        }
    }
}
