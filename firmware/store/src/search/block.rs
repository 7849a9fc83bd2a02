//! A block: the words of up to 256 bodies, and which of the bodies has which.
//!
//! ```text
//! row      =  version (1 octet), octets when unpacked (4), zstd of the following
//! content  =  postcard of { bodies, open, heads, texts, postings }
//! ```
//!
//! The words are sorted; each is kept as what it has in common with the one before and the rest. `heads` has these two
//! lengths, an octet each, `texts` the rest, `postings` an octet with the number of bodies (0: 256) and an octet for each
//! body, its place in the block.

use super::words::{Piece, PieceFinder};
use crate::error::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Bodies of one block; a place fits an octet.
pub(super) const BODIES_MAX: usize = 256;
/// A block whose words have more octets takes no further body. It bounds the memory of who makes one.
const WORDS_OCTETS_MAX: usize = 1024 * 1024;
/// No block has more, whatever its row says (AS16).
const CONTENT_OCTETS_MAX: usize = 32 * 1024 * 1024;
const VERSION: u8 = 1;
const ZSTD_LEVEL: i32 = 3;

/// A set of bodies of a block, by their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places([u64; 4]);

impl Places {
    pub(super) const ALL: Places = Places([u64::MAX; 4]);

    pub(super) fn insert(&mut self, place: u8) {
        self.0[usize::from(place / 64)] |= 1 << (place % 64);
    }

    pub(super) fn contains(&self, place: u8) -> bool {
        self.0[usize::from(place / 64)] & 1 << (place % 64) != 0
    }

    fn union(self, other: Places) -> Places {
        Places(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    fn intersection(self, other: Places) -> Places {
        Places(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |place| self.contains(*place))
    }
}

/// Makes a block.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    bodies: Vec<u64>,
    open: Places,
    words: BTreeMap<Box<str>, Places>,
    words_octets: usize,
}

impl BlockBuilder {
    /// Adds a body; the bodies come in ascending order. Without words it counts as having all.
    pub(super) fn add(&mut self, body: u64, words: Option<HashSet<Box<str>>>) {
        let place = u8::try_from(self.bodies.len()).expect("is_full was asked");
        self.bodies.push(body);
        let Some(words) = words else {
            self.open.insert(place);
            return;
        };
        for word in words {
            let octets = word.len();
            let places = self.words.entry(word).or_insert_with(|| {
                self.words_octets += octets;
                Places::default()
            });
            places.insert(place);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.bodies.len() >= BODIES_MAX || self.words_octets > WORDS_OCTETS_MAX
    }

    pub(super) fn bodies(&self) -> &[u64] {
        &self.bodies
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut content = Content {
            bodies: self.bodies,
            open: self.open.0,
            heads: Vec::with_capacity(self.words.len() * 2),
            texts: Vec::new(),
            postings: Vec::new(),
        };
        let mut before: &[u8] = b"";
        for (word, places) in &self.words {
            let word = word.as_bytes();
            let common = before
                .iter()
                .zip(word)
                .take_while(|(one, other)| one == other)
                .count();
            let octet = |number: usize| u8::try_from(number).expect("no word is that long");
            content.heads.extend([octet(common), octet(word.len() - common)]);
            content.texts.extend_from_slice(&word[common..]);
            let count: u32 = places.0.iter().map(|bits| bits.count_ones()).sum();
            content.postings.push(u8::try_from(count).unwrap_or(0));
            content.postings.extend(places.iter());
            before = word;
        }
        let content = postcard::to_stdvec(&content).expect("a block has no type that postcard cannot write");
        let packed = zstd::bulk::compress(&content, ZSTD_LEVEL).expect("memory takes it");
        let length = u32::try_from(content.len()).expect("a block is small");
        [&[VERSION][..], &length.to_le_bytes(), &packed].concat()
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    bodies: Vec<u64>,
    open: [u64; 4],
    heads: Vec<u8>,
    texts: Vec<u8>,
    postings: Vec<u8>,
}

/// A block that is asked.
pub(super) struct Block(Content);

impl Block {
    pub(super) fn read(row: &[u8]) -> Result<Block, StoreError> {
        Block::unpack(row).ok_or(StoreError::IndexRow { table: "search" })
    }

    fn unpack(row: &[u8]) -> Option<Block> {
        let (&version, rest) = row.split_first()?;
        let (length, packed) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        if version != VERSION || length > CONTENT_OCTETS_MAX {
            return None;
        }
        let content = zstd::bulk::decompress(packed, length).ok()?;
        let content: Content = postcard::from_bytes(&content).ok()?;
        (content.bodies.len() <= BODIES_MAX && content.bodies.is_sorted()).then_some(Block(content))
    }

    /// The bodies, ascending.
    pub(super) fn bodies(&self) -> &[u64] {
        &self.0.bodies
    }

    /// For each of the texts that are sought, given by its pieces, the bodies that may have it.
    pub(super) fn candidates(&self, sought: &[Vec<Piece>]) -> Result<Vec<Places>, StoreError> {
        let finders: Vec<PieceFinder<'_>> = sought.iter().flatten().map(PieceFinder::new).collect();
        let mut found = vec![Places::default(); finders.len()];
        self.for_each_word(|word, postings| {
            for (finder, places) in finders.iter().zip(&mut found) {
                if finder.matches(word) {
                    for place in postings {
                        places.insert(*place);
                    }
                }
            }
        })
        .ok_or(StoreError::IndexRow { table: "search" })?;
        let mut found = found.into_iter();
        let candidates = sought.iter().map(|pieces| {
            let all = found
                .by_ref()
                .take(pieces.len())
                .fold(Places::ALL, Places::intersection);
            all.union(Places(self.0.open))
        });
        Ok(candidates.collect())
    }

    /// `None`: the block is not one.
    fn for_each_word(&self, mut each: impl FnMut(&[u8], &[u8])) -> Option<()> {
        let Content {
            heads,
            texts,
            postings,
            ..
        } = &self.0;
        let (mut texts, mut postings) = (texts.as_slice(), postings.as_slice());
        let mut word = Vec::new();
        let (heads, _) = heads.as_chunks::<2>();
        for [common, rest] in heads {
            let (text, texts_behind) = texts.split_at_checked(usize::from(*rest))?;
            texts = texts_behind;
            word.truncate(usize::from(*common));
            word.extend_from_slice(text);
            let (count, postings_behind) = postings.split_first()?;
            let count = if *count == 0 {
                BODIES_MAX
            } else {
                usize::from(*count)
            };
            let (places, postings_behind) = postings_behind.split_at_checked(count)?;
            postings = postings_behind;
            each(&word, places);
        }
        Some(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::words::pieces;
    use super::*;
    use proptest::prelude::*;

    fn block(bodies: &[Option<Vec<String>>]) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        for (body, words) in (100..).zip(bodies) {
            let words = words
                .as_ref()
                .map(|words| words.iter().map(|word| word.as_str().into()).collect());
            builder.add(body, words);
        }
        builder.finish()
    }

    proptest! {
        #[test]
        fn a_block_has_what_was_put_in(
            bodies in proptest::collection::vec(
                proptest::option::weighted(0.9, proptest::collection::vec("[ab]{1,6}|č{1,60}", 0..6)),
                0..256,
            ),
            sought in "[ab]{1,3}|č",
        ) {
            let block = Block::read(&block(&bodies)).unwrap();
            prop_assert!(block.bodies().iter().copied().eq((100..).take(bodies.len())));
            let candidates = block.candidates(&[pieces(&sought), pieces("")]).unwrap();
            for (place, words) in (0..=u8::MAX).zip(&bodies) {
                let expected = words.as_ref().is_none_or(|words| words.iter().any(|word| word.contains(&sought)));
                prop_assert_eq!(candidates[0].contains(place), expected);
                prop_assert!(candidates[1].contains(place));
            }
        }

        /// AS16: any octets are a block or none.
        #[test]
        fn as16_any_octets_are_a_block_or_an_error(
            octets in proptest::collection::vec(any::<u8>(), 0..100),
            length in any::<u32>(),
            heads in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let content = Content {
                bodies: vec![1, 2],
                open: [0; 4],
                heads,
                texts: octets.clone(),
                postings: octets.clone(),
            };
            let content = postcard::to_stdvec(&content).unwrap();
            let packed = zstd::bulk::compress(&content, 1).unwrap();
            for row in [
                octets.clone(),
                [&[VERSION][..], &length.to_le_bytes(), &octets].concat(),
                [&[VERSION][..], &length.to_le_bytes(), &packed].concat(),
                [&[VERSION][..], &u32::try_from(content.len()).unwrap().to_le_bytes(), &packed].concat(),
            ] {
                if let Ok(block) = Block::read(&row) {
                    let _ = block.candidates(&[pieces("a")]);
                }
            }
        }
    }

    #[test]
    fn a_word_of_all_bodies_is_one_word() {
        let bodies = vec![Some(vec!["same".to_owned()]); 256];
        let row = block(&bodies);
        assert!(row.len() < 1_000, "{} octets", row.len());
        let block = Block::read(&row).unwrap();
        assert_eq!(block.candidates(&[pieces("am")]).unwrap(), [Places::ALL]);
        assert_eq!(block.candidates(&[pieces("other")]).unwrap(), [Places::default()]);
    }
}
