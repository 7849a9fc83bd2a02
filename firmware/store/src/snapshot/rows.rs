//! The rows of a snapshot: what the tables hold that bodies cannot give.

use crate::error::StoreError;
use crate::index::rows::{BlobPlace, BlobRow, Row};
use crate::index::{Tables, Visitor, WriteVisitor};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is not in a snapshot as it is. The store's id is in its header; modseqs follow from the flags, octets in use and
/// what is known of bodies from the segments; the rest is not from the log. Of a blob there is a [`BlobLine`].
const LEFT_OUT: [&str; 10] = [
    "identity",
    "modseq",
    "segstat",
    "structure",
    "blob",
    "search",
    "searched",
    "keeper",
    "ageing",
    "damaged",
];
pub(super) const BLOB: &str = "blob";
const FLAGS: &str = "flags";

/// What a snapshot knows of a body: its frames and its structure are found where it is at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BlobLine {
    body: u64,
    refs: u32,
    home: u64,
    place: BlobPlace,
    octets: u64,
}

/// Takes the octets of one row of a table.
pub(super) trait Sink {
    /// Gives room for a row of the table.
    fn row(
        &mut self,
        table: &'static str,
        write: &mut dyn FnMut(Vec<u8>) -> Option<Vec<u8>>,
    ) -> Result<(), StoreError>;
}

/// Gives every row to `sink`.
pub(super) fn write(tables: &crate::index::ReadTables, sink: &mut impl Sink) -> Result<(), StoreError> {
    struct Rows<'s, S>(&'s mut S);
    impl<S: Sink> Visitor for Rows<'_, S> {
        fn table<K, V>(
            &mut self,
            name: &'static str,
            table: &redb::ReadOnlyTable<K, V>,
        ) -> Result<(), StoreError>
        where
            K: redb::Key + 'static,
            V: redb::Value + 'static,
            for<'a> K::SelfType<'a>: Serialize,
            for<'a> V::SelfType<'a>: Serialize,
        {
            if LEFT_OUT.contains(&name) {
                return Ok(());
            }
            for found in table.iter()? {
                let (key, value) = found?;
                self.0.row(name, &mut |octets| {
                    let octets = postcard::to_extend(&key.value(), octets).ok()?;
                    postcard::to_extend(&value.value(), octets).ok()
                })?;
            }
            Ok(())
        }
    }
    tables.visit(&mut Rows(sink))?;
    for found in tables.blob.iter()? {
        let (key, value) = found?;
        let (refs, row) = value.value();
        let row = BlobRow::from_octets(row)?;
        let line = BlobLine {
            body: key.value(),
            refs,
            home: row.home,
            place: row.place,
            octets: row.octets,
        };
        sink.row(BLOB, &mut |octets| postcard::to_extend(&line, octets).ok())?;
    }
    Ok(())
}

/// Rows that are put into the tables of an empty index.
#[derive(Default)]
pub(super) struct Loading {
    /// Home → octets that are needed of it as long as its bodies are not described.
    live_octets: BTreeMap<u64, u64>,
}

/// Why rows were not taken.
pub(super) enum NotLoaded {
    /// There is no such table, or they are no rows of it.
    Malformed,
    Failed(StoreError),
}

impl<E: Into<StoreError>> From<E> for NotLoaded {
    fn from(error: E) -> NotLoaded {
        NotLoaded::Failed(error.into())
    }
}

impl Loading {
    /// Puts the rows of one frame into its table.
    pub(super) fn frame(
        &mut self,
        name: &str,
        rows: u32,
        octets: &[u8],
        tables: &mut Tables<'_>,
    ) -> Result<(), NotLoaded> {
        if name == BLOB {
            return self.blobs(rows, octets, tables);
        }
        if name == FLAGS {
            modseqs(rows, octets, tables)?;
        }
        let mut frame = Frame {
            name,
            rows,
            octets,
            is_loaded: false,
        };
        tables.visit(&mut frame)?;
        if frame.is_loaded {
            Ok(())
        } else {
            Err(NotLoaded::Malformed)
        }
    }

    fn blobs(&mut self, rows: u32, mut octets: &[u8], tables: &mut Tables<'_>) -> Result<(), NotLoaded> {
        for _ in 0..rows {
            let line: BlobLine = take(&mut octets)?;
            let row = BlobRow {
                home: line.home,
                place: line.place,
                octets: line.octets,
                frames: Vec::new(),
            };
            let live_octets = self.live_octets.entry(line.home).or_default();
            *live_octets += row.live_octets(0);
            tables
                .blob
                .insert(line.body, (line.refs, row.to_octets().as_slice()))?;
        }
        ends(octets)
    }

    /// What follows from all rows.
    pub(super) fn finish(self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        for (home, octets) in self.live_octets {
            tables.segstat.insert(home, octets)?;
        }
        Ok(())
    }
}

/// The rows of the table `modseq`, which those of `flags` give.
fn modseqs(rows: u32, mut octets: &[u8], tables: &mut Tables<'_>) -> Result<(), NotLoaded> {
    for _ in 0..rows {
        let ((mailbox, uid), (modseq, _, _)): ((u32, u32), (u64, u8, &str)) = take(&mut octets)?;
        tables.modseq.insert((mailbox, modseq, uid), ())?;
    }
    ends(octets)
}

fn take<'o, T: Deserialize<'o>>(octets: &mut &'o [u8]) -> Result<T, NotLoaded> {
    let (row, rest) = postcard::take_from_bytes(octets).map_err(|_| NotLoaded::Malformed)?;
    *octets = rest;
    Ok(row)
}

fn ends(octets: &[u8]) -> Result<(), NotLoaded> {
    if octets.is_empty() {
        Ok(())
    } else {
        Err(NotLoaded::Malformed)
    }
}

/// The rows of one frame, on their way into the table that has its name.
struct Frame<'f> {
    name: &'f str,
    rows: u32,
    octets: &'f [u8],
    is_loaded: bool,
}

impl WriteVisitor for Frame<'_> {
    fn table<K, V>(&mut self, name: &'static str, table: &mut redb::Table<'_, K, V>) -> Result<(), StoreError>
    where
        K: redb::Key + 'static,
        V: redb::Value + 'static,
        for<'a> K::SelfType<'a>: Deserialize<'a>,
        for<'a> V::SelfType<'a>: Deserialize<'a>,
    {
        if name != self.name || LEFT_OUT.contains(&name) {
            return Ok(());
        }
        let mut octets = self.octets;
        for _ in 0..self.rows {
            let Ok((key, rest)) = postcard::take_from_bytes::<K::SelfType<'_>>(octets) else {
                return Ok(());
            };
            let Ok((value, rest)) = postcard::take_from_bytes::<V::SelfType<'_>>(rest) else {
                return Ok(());
            };
            table.insert(key, value)?;
            octets = rest;
        }
        self.is_loaded = octets.is_empty();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::NAME_OCTETS;
    use crate::index::NAMES;

    #[test]
    fn the_name_of_every_table_fits_into_a_frame() {
        for name in NAMES {
            assert!(name.len() <= NAME_OCTETS && !name.is_empty(), "{name}");
        }
    }
}
