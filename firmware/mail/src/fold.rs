//! Text made comparable: without case, and without the marks on letters.
//!
//! # Invariants
//!
//! - What two texts fold to, one behind the other, is what the whole folds to, but for white space, which
//!   [`Folder`] joins over the seam. So a text can be folded in pieces, cut between any two characters.
//! - Folding what was folded changes nothing.

use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;

/// Folds a text: `Žluťoučký KŮŇ` and `zlutoucky kun` become the same, as do `STRASSE` and `Straße`.
///
/// Each character is decomposed (NFKD), marks above, below and through letters are left out, and the rest is
/// case-folded in full. Letters with a stroke and ligatures, which Unicode does not decompose, become what they are
/// sorted with (UTS #10). The Turkish `ı` and `İ` become `i`: nobody knows the language of a mail. Characters that
/// nobody sees (soft hyphens, zero-width spaces) are left out. A run of white space becomes one space, so that a
/// sentence is found wherever its lines were broken.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    Folder::default().fold_into(text, &mut folded);
    folded
}

/// Folds a text that comes in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Folder {
    /// The last character was white space.
    is_behind_space: bool,
}

impl Folder {
    /// Adds the next piece of the text, folded, to `into`.
    pub fn fold_into(&mut self, text: &str, into: &mut String) {
        for char in text.chars() {
            if char.is_ascii() {
                self.push(char.to_ascii_lowercase(), into);
            } else {
                self.fold_char(char, into);
            }
        }
    }

    fn push(&mut self, char: char, into: &mut String) {
        let is_space = char.is_whitespace() || char.is_ascii_control();
        if !is_space {
            into.push(char);
        } else if !self.is_behind_space {
            into.push(' ');
        }
        self.is_behind_space = is_space;
    }

    fn fold_char(&mut self, char: char, into: &mut String) {
        if is_invisible(char) {
            return;
        }
        // One character at a time, so that marks are never put into another order over a place where a text was cut.
        for part in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(std::iter::once(char)) {
            if is_mark_left_out(part) {
                continue;
            }
            if let Some(letters) = without_stroke(part) {
                into.push_str(letters);
                self.is_behind_space = false;
                continue;
            }
            // Lower case first for ẞ, upper case then for ß, ς and ı.
            let cased = part
                .to_lowercase()
                .flat_map(char::to_uppercase)
                .flat_map(char::to_lowercase);
            for folded in cased {
                // Upper case may bring a mark of its own.
                if !is_mark_left_out(folded) {
                    self.push(folded, into);
                }
            }
        }
    }
}

/// Marks are told by their combining class. Signs that are letters of their own in their scripts have class 0 and
/// stay; so does the voicing of kana, class 8: か and が are as far apart as k and g.
fn is_mark_left_out(char: char) -> bool {
    const CLASSES: CanonicalCombiningClassMapBorrowed<'static> = CanonicalCombiningClassMapBorrowed::new();
    !char.is_ascii() && !matches!(CLASSES.get_u8(char), 0 | 8)
}

/// Default_Ignorable_Code_Point, as far as mail has them.
fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

fn without_stroke(char: char) -> Option<&'static str> {
    Some(match char {
        'Æ' | 'æ' => "ae",
        'Œ' | 'œ' => "oe",
        'Ø' | 'ø' => "o",
        'Ł' | 'ł' => "l",
        'Đ' | 'đ' | 'Ð' | 'ð' => "d",
        'Ħ' | 'ħ' => "h",
        'Ŧ' | 'ŧ' => "t",
        'Þ' | 'þ' => "th",
        'ĸ' => "k",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(one: &str, other: &str) {
        assert_eq!(fold(one), fold(other), "{one} and {other}");
    }

    #[test]
    fn case_and_marks_do_not_count() {
        assert_eq!(fold("Příliš žluťoučký KŮŇ"), "prilis zlutoucky kun");
        // The same letters, composed and not.
        check("Č\u{11b}", "C\u{30c}e\u{30c}");
        check("Straße STRAẞE", "strasse strasse");
        check("İSTANBUL ılık", "istanbul ILIK");
        check("ΆΝΝΑΣ", "αννας");
        check("Ἀθῆναι ᾳ", "αθηναι α");
        check("Ёлка", "елка");
        check("Łódź, Øresund, Ærø", "lodz, oresund, aero");
        check("ﬁn ＡＢＣ ①", "fin abc 1");
        check("a\u{ad}b\u{200b}c", "abc");
        check("two\r\n  lines\tand\u{a0}more", "two lines and more");
    }

    #[test]
    fn what_is_another_letter_stays_one() {
        assert_ne!(fold("が"), fold("か"));
        assert_ne!(fold("कि"), fold("का"));
        assert_ne!(fold("a"), fold("b"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn pieces_fold_like_the_whole(text in "\\PC{0,12}|[a-zÀ-žͰ-ϿＡ-ｚ \\n\u{300}-\u{345}\u{3099}\u{94d}]{0,12}", place in 0_usize..13) {
            let cut = text.char_indices().nth(place).map_or(text.len(), |(at, _)| at);
            let mut folder = Folder::default();
            let mut pieces = String::new();
            folder.fold_into(&text[..cut], &mut pieces);
            folder.fold_into(&text[cut..], &mut pieces);
            prop_assert_eq!(&pieces, &fold(&text));
            prop_assert_eq!(fold(&pieces), pieces.clone());
        }

        #[test]
        fn upper_and_lower_case_are_one(text in "[a-zÀ-žΑ-ωА-я]{0,12}") {
            prop_assert_eq!(fold(&text.to_uppercase()), fold(&text.to_lowercase()), "{}", text);
        }
    }
}
