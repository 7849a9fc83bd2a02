//! Words of folded texts, and what a text that is sought says of the words around it.
//!
//! # Invariants
//!
//! - If a text contains what is sought, then for each [`Piece`] of that one of the text's words, as [`Words`] collects them,
//!   matches. The other way round it need not hold: what was found by words is looked at again.

use memchr::memmem;
use std::collections::HashSet;

/// A longer word is kept in windows of so many octets that overlap by half.
const WORD_OCTETS_MAX: usize = 128;
/// Of a longer piece so much is compared: with what a cut between characters may take off, it lies in one window.
const PIECE_OCTETS_MAX: usize = 60;

fn is_of_word(char: char) -> bool {
    char.is_alphanumeric()
}

/// The different words of a text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Words {
    found: HashSet<Box<str>>,
    octets: usize,
    octets_max: usize,
    /// The word at the end of what has come, which may go on.
    last: String,
}

impl Words {
    /// Collects until the different words have more than `octets_max` octets.
    pub(super) fn new(octets_max: usize) -> Words {
        Words {
            octets_max,
            ..Words::default()
        }
    }

    /// Takes the next piece of the text.
    pub(super) fn feed(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() && !self.is_full() {
            let end = rest.find(|char| !is_of_word(char)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            self.extend(word);
            rest = behind.trim_start_matches(|char| !is_of_word(char));
            if !behind.is_empty() {
                self.end_word();
            }
        }
    }

    /// There are more different words than are collected.
    pub(super) fn is_full(&self) -> bool {
        self.octets > self.octets_max
    }

    /// The words; `None` if there were too many.
    pub(super) fn finish(mut self) -> Option<HashSet<Box<str>>> {
        self.end_word();
        (!self.is_full()).then_some(self.found)
    }

    fn extend(&mut self, word: &str) {
        let mut word = word;
        while self.last.len() + word.len() > WORD_OCTETS_MAX {
            let room = word.floor_char_boundary((WORD_OCTETS_MAX + 4).saturating_sub(self.last.len()));
            self.last.push_str(&word[..room]);
            word = &word[room..];
            let window = self.last.floor_char_boundary(WORD_OCTETS_MAX);
            self.insert(self.last[..window].into());
            let half = self.last.floor_char_boundary(WORD_OCTETS_MAX / 2);
            self.last.drain(..half);
            if self.is_full() {
                return;
            }
        }
        self.last.push_str(word);
    }

    fn end_word(&mut self) {
        if !self.last.is_empty() {
            let word = std::mem::take(&mut self.last);
            self.insert(word.into());
        }
    }

    fn insert(&mut self, word: Box<str>) {
        let octets = word.len();
        if self.found.insert(word) {
            self.octets += octets;
        }
    }
}

/// A run of letters and digits in what is sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Separators, or the ends of the text, are around it.
    Whole,
    /// A word begins with it.
    Beginning,
    /// A word ends with it.
    End,
    /// It may be anywhere in a word.
    Inside,
}

/// The pieces of a folded text that is sought; none if it has no letter and no digit.
pub(super) fn pieces(sought: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut place = 0;
    for word in sought.split(|char| !is_of_word(char)) {
        let (start, end) = (place, place + word.len());
        let separator = sought[end..].chars().next().map_or(0, char::len_utf8);
        place = end + separator;
        if word.is_empty() {
            continue;
        }
        let kind = match (start > 0, end < sought.len()) {
            (true, true) => Kind::Whole,
            (true, false) => Kind::Beginning,
            (false, true) => Kind::End,
            (false, false) => Kind::Inside,
        };
        let piece = match kind {
            kind if word.len() <= PIECE_OCTETS_MAX => (word, kind),
            Kind::End => (
                &word[word.ceil_char_boundary(word.len() - PIECE_OCTETS_MAX)..],
                Kind::End,
            ),
            Kind::Whole | Kind::Beginning => (
                &word[..word.floor_char_boundary(PIECE_OCTETS_MAX)],
                Kind::Beginning,
            ),
            Kind::Inside => (&word[..word.floor_char_boundary(PIECE_OCTETS_MAX)], Kind::Inside),
        };
        pieces.push(Piece {
            text: piece.0.to_owned(),
            kind: piece.1,
        });
    }
    pieces
}

/// Tells whether words match a piece.
pub(super) struct PieceFinder<'p> {
    piece: &'p Piece,
    finder: memmem::Finder<'p>,
}

impl<'p> PieceFinder<'p> {
    pub(super) fn new(piece: &'p Piece) -> PieceFinder<'p> {
        PieceFinder {
            piece,
            finder: memmem::Finder::new(&piece.text),
        }
    }

    pub(super) fn matches(&self, word: &[u8]) -> bool {
        let text = self.piece.text.as_bytes();
        match self.piece.kind {
            Kind::Whole => word == text,
            Kind::Beginning => word.starts_with(text),
            Kind::End => word.ends_with(text),
            Kind::Inside => self.finder.find(word).is_some(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_that_is_sought_says_how_words_begin_and_end() {
        let shown: Vec<(String, Kind)> = pieces("ab, cd-ef")
            .into_iter()
            .map(|piece| (piece.text, piece.kind))
            .collect();
        let expected = [("ab", Kind::End), ("cd", Kind::Whole), ("ef", Kind::Beginning)];
        assert_eq!(shown, expected.map(|(text, kind)| (text.to_owned(), kind)));
        assert_eq!(pieces("ab")[0].kind, Kind::Inside);
        assert_eq!(pieces(" ab ")[0].kind, Kind::Whole);
        assert_eq!(pieces("--- "), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// The invariant, for texts with long words of one to three octets a character, and any part of them.
        #[test]
        fn whatever_is_in_a_text_has_its_words(
            text in "([a-c]{0,4}[ ,-]|[a-cč漢]{0,150} ?){1,4}",
            from in any::<prop::sample::Index>(),
            length in 0_usize..200,
            cut in any::<prop::sample::Index>(),
        ) {
            let start = text.floor_char_boundary(from.index(text.len() + 1));
            let end = text.floor_char_boundary(text.len().min(start + length));
            let cut = text.floor_char_boundary(cut.index(text.len() + 1));
            let mut words = Words::new(usize::MAX);
            words.feed(&text[..cut]);
            words.feed(&text[cut..]);
            let words = words.finish().unwrap();
            for piece in pieces(&text[start..end]) {
                let finder = PieceFinder::new(&piece);
                prop_assert!(words.iter().any(|word| finder.matches(word.as_bytes())), "{:?} in {:?}", piece, words);
            }
            prop_assert!(words.iter().all(|word| word.len() <= WORD_OCTETS_MAX));
        }
    }

    #[test]
    fn too_many_words_are_none() {
        let mut words = Words::new(1_000);
        for number in 0..1_000_000 {
            words.feed(&format!("word{number} "));
            if words.is_full() {
                break;
            }
        }
        assert!(words.found.len() < 300);
        assert_eq!(words.finish(), None);
    }
}
