//! The blocks of words: they are made in the background, from what the index has, and are not in the log.
//!
//! # Invariants
//!
//! - Blocks do not overlap, and a body between the first and the last of a block that was live when it was made is in it.
//! - A body is never given another content, so that a block is never wrong; when its messages are expunged it only has too
//!   much. It goes when a quarter of its bodies have, or a month after one has: words are content, too (D45).

use super::block::{BODIES_MAX, Block, BlockBuilder};
use super::words::Words;
use crate::check::Checked;
use crate::error::StoreError;
use crate::index::rows::counter;
use crate::index::{ReadTables, Tables};
use crate::log::body::BodyReader;
use crate::shared::Shared;
use crate::structure::header_octets;
use crate::view::View;
use mail::Structure;
use mail::search_text::{SearchText, header_text};
use redb::{Durability, ReadableTable};
use std::sync::Arc;

/// Octets that are read for one piece of work, and a body more.
const PIECE_OCTETS: u64 = 8 * 1024 * 1024;
/// A body with more octets of different words is looked at by every search.
const BODY_WORDS_OCTETS_MAX: usize = 64 * 1024;
/// Of the blocks that are there so many are looked at when nothing else is to be done.
const BLOCKS_LOOKED_AT: usize = 16;
/// A block with something dead in it is made anew when it is so old, in seconds.
const DEAD_SECONDS_MAX: u64 = 30 * 86_400;

/// Keys of the table `keeper`: where the look at old blocks goes on, and the keeper's age of the store.
const LOOK_AT: &str = "search block";
const AGE: &str = "age seconds";

/// Does a piece of work: makes a block of the oldest bodies that are in none, or looks whether old blocks have too much.
/// `false`: there is nothing to be done until more mail has come.
pub(crate) fn index_next(shared: &Arc<Shared>) -> Result<bool, StoreError> {
    index_next_of(shared, BODIES_MAX)
}

/// As [`index_next`], for blocks of `bodies_max` bodies.
pub(super) fn index_next_of(shared: &Arc<Shared>, bodies_max: usize) -> Result<bool, StoreError> {
    let view = View::new(Arc::clone(shared))?;
    // A new one grows the index, and nothing depends on it; words of what was expunged go all the same (D45).
    if shared.space.is_low() {
        return look_at_old(shared, &view);
    }
    let bodies = next_bodies(view.tables(), bodies_max)?;
    if bodies.is_empty() {
        return look_at_old(shared, &view);
    }
    let mut builder = BlockBuilder::default();
    let mut octets_read = 0;
    for body in bodies {
        if builder.is_full() || octets_read >= PIECE_OCTETS {
            break;
        }
        let words = match words_of(&view, body, &mut octets_read) {
            // It may be readable at another time, or be gone when anybody asks; a body that makes no sense is not to keep
            // those behind it from a block.
            Err(StoreError::Damaged { .. } | StoreError::Gone | StoreError::IndexRow { .. }) => None,
            words => words?,
        };
        builder.add(body, words);
    }
    let made_at = counter(&view.tables().keeper, AGE)?;
    drop(view);
    insert(shared, builder, made_at)?;
    Ok(true)
}

/// The next bodies that are in no block: enough for one, or all before the next block.
fn next_bodies(tables: &ReadTables, bodies_max: usize) -> Result<Vec<u64>, StoreError> {
    let mut from = 0;
    for found in tables.searched.iter()? {
        let (first, value) = found?;
        let bodies = bodies_between(tables, from, first.value(), bodies_max)?;
        if !bodies.is_empty() {
            return Ok(bodies);
        }
        from = value.value().0 + 1;
    }
    let bodies = bodies_between(tables, from, u64::MAX, bodies_max)?;
    // What comes in now waits until it fills a block.
    Ok(if bodies.len() < bodies_max {
        Vec::new()
    } else {
        bodies
    })
}

fn bodies_between(
    tables: &ReadTables,
    from: u64,
    to: u64,
    bodies_max: usize,
) -> Result<Vec<u64>, StoreError> {
    let found = tables.blob.range(from..to)?.take(bodies_max);
    found.map(|found| Ok(found?.0.value())).collect()
}

/// The words of a body's header section and texts; `None` if there are too many.
fn words_of(
    view: &View,
    body: u64,
    octets_read: &mut u64,
) -> Result<Option<std::collections::HashSet<Box<str>>>, StoreError> {
    let mut reader = view.body_alone(body)?;
    let structure = structure_of(view, body, &mut reader)?;
    let mut words = Words::new(BODY_WORDS_OCTETS_MAX);
    let mut octets = Vec::new();
    reader.read_at(0, &mut octets, header_octets(&structure))?;
    *octets_read += octets.len() as u64;
    let mut text = String::new();
    header_text(&octets, &mut text);
    drop(octets);
    words.feed(&text);
    let mut texts = SearchText::new(structure);
    loop {
        text.clear();
        let has_more = texts.next(&mut text, |range, octets| {
            *octets_read += u64::from(range.end - range.start);
            let wanted = usize::try_from(range.end - range.start).expect("a window is small");
            reader.read_at(u64::from(range.start), octets, wanted).map(|_| ())
        })?;
        words.feed(&text);
        if !has_more || words.is_full() {
            return Ok(words.finish());
        }
    }
}

fn structure_of(view: &View, body: u64, reader: &mut BodyReader) -> Result<Structure, StoreError> {
    let row = view.tables().structure.get(body)?;
    match row.and_then(|row| Structure::decode(row.value())) {
        Some(structure) => Ok(structure),
        None => Ok(Structure::parse(&reader.read_to_vec()?)),
    }
}

fn insert(shared: &Shared, builder: BlockBuilder, made_at: u64) -> Result<(), StoreError> {
    let bodies = builder.bodies();
    let (Some(first), Some(last)) = (bodies.first().copied(), bodies.last().copied()) else {
        return Ok(());
    };
    let count = u32::try_from(bodies.len()).expect("a block has 256 bodies");
    let row = builder.finish();
    let mut transaction = shared.database()?.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let mut tables = Tables::open(&transaction)?;
    tables.search.insert(first, row.as_slice())?;
    tables.searched.insert(first, (last, count, made_at))?;
    drop(tables);
    transaction.commit()?;
    Ok(())
}

/// Looks at the next few blocks that are there; those with too much go, and are made anew next. Whether one went.
fn look_at_old(shared: &Shared, view: &View) -> Result<bool, StoreError> {
    let tables = view.tables();
    let from = counter(&tables.keeper, LOOK_AT)?;
    let age = counter(&tables.keeper, AGE)?;
    let (mut gone, mut next) = (Vec::new(), 0);
    for (number, found) in tables.searched.range(from..)?.enumerate() {
        let (first, value) = found?;
        let (first, (last, count, made_at)) = (first.value(), value.value());
        if number == BLOCKS_LOOKED_AT {
            next = first;
            break;
        }
        let live = tables.blob.range(first..=last)?.count();
        let dead = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(live);
        let is_old = age.saturating_sub(made_at) >= DEAD_SECONDS_MAX;
        if dead > 0 && (is_old || dead * 4 >= usize::try_from(count).unwrap_or(usize::MAX)) {
            gone.push(first);
        }
    }
    if gone.is_empty() && next == from {
        return Ok(false);
    }
    let mut transaction = shared.database()?.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let mut tables = Tables::open(&transaction)?;
    for first in &gone {
        tables.search.remove(first)?;
        tables.searched.remove(first)?;
    }
    tables.keeper.insert(LOOK_AT, next)?;
    drop(tables);
    transaction.commit()?;
    Ok(!gone.is_empty())
}

impl View {
    /// The first body of the block that a body is in, or would be.
    pub(super) fn block_of(&self, body: u64) -> Result<Option<u64>, StoreError> {
        let Some(found) = self.tables().searched.range(..=body)?.next_back() else {
            return Ok(None);
        };
        let (first, value) = found?;
        Ok((body <= value.value().0).then(|| first.value()))
    }

    pub(super) fn block(&self, first: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables().search.get(first)?.map(|row| row.value().to_vec()))
    }
}

/// Blocks can be read, do not overlap, and have the live bodies between their ends.
pub(crate) fn check(tables: &ReadTables, checked: &mut Checked) -> Result<(), StoreError> {
    let mut from = 0;
    for found in tables.searched.iter()? {
        let (first, value) = found?;
        let (first, (last, count, _)) = (first.value(), value.value());
        checked.expect(first >= from && last >= first, || {
            format!("the block of words at body {first} overlaps the one before")
        });
        from = last.saturating_add(1);
        let Some(block) = tables
            .search
            .get(first)?
            .and_then(|row| Block::read(row.value()).ok())
        else {
            checked.expect(false, || {
                format!("the block of words at body {first} cannot be read")
            });
            continue;
        };
        let bodies = block.bodies();
        checked.expect(
            bodies.first() == Some(&first) && bodies.last() == Some(&last) && bodies.len() == count as usize,
            || format!("the block of words at body {first} has other bodies than its row says"),
        );
        for found in tables.blob.range(first..=last)? {
            let body = found?.0.value();
            checked.expect(bodies.binary_search(&body).is_ok(), || {
                format!("body {body} is missing in the block of words at body {first}")
            });
        }
    }
    for found in tables.search.iter()? {
        let first = found?.0.value();
        checked.expect(tables.searched.get(first)?.is_some(), || {
            format!("a block of words at body {first} is told of nowhere")
        });
    }
    Ok(())
}
