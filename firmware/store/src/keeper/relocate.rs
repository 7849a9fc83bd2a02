//! Moves what is live in a segment to the end of the log, in small pieces.
//!
//! # Invariants
//! - What is moved is decided by the writer: a body that was expunged, or moved, since it was read is left out.
//! - Octets are copied as they are. Those that are not what was written are told of, and are no better elsewhere: their
//!   message is damaged already, and no other is.
//! - A body that cannot be read keeps its segment.

use super::segments;
use crate::error::StoreError;
use crate::index::rows::{self, BlobPlace, BlobRow};
use crate::index::{ReadTables, Tables};
use crate::log::frames::{Frame, stored_octets};
use crate::log::record::{BodyRecord, Mutation, Place, Relocated};
use crate::log::seal::Sealer;
use crate::request::Request;
use crate::shared::Shared;
use crate::storage::File;
use redb::ReadableTable;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Octets moved at once: mail that comes in waits for no more than the writing of these.
const PIECE_OCTETS: u64 = 1024 * 1024;
/// Bodies moved at once: one in a file of its own is a description only.
const PIECE_BODIES: usize = 256;

/// A segment being rewritten.
pub(super) struct Rewriting {
    pub(super) segment: u64,
    file: Arc<dyn File>,
    /// Bodies that may be at home here and were not looked at, in the order of the disk.
    bodies: VecDeque<u64>,
    /// Whether the whole index was asked, since the segment did not tell of all.
    is_index_asked: bool,
    is_unreadable: bool,
}

/// What was found while a piece was read.
pub(super) struct Piece {
    /// What is to be moved.
    pub(super) relocate: Option<Relocate>,
    /// Bodies whose octets are not what was written, or cannot be read.
    pub(super) damaged: Vec<(u64, BlobRow)>,
    /// A body cannot be read: the segment stays.
    pub(super) is_unreadable: bool,
    /// Nothing comes after it.
    pub(super) is_last: bool,
}

impl Rewriting {
    pub(super) fn begin(shared: &Shared, segment: u64) -> Result<Rewriting, StoreError> {
        let (file, octets) = segments::open(shared, segment)?;
        let mut bodies = VecDeque::new();
        segments::for_each_body(shared, segment, &*file, octets, &mut |body, _| {
            bodies.push_back(body.id);
        })?;
        Ok(Rewriting {
            segment,
            file,
            bodies,
            is_index_asked: false,
            is_unreadable: false,
        })
    }

    /// Reads the next piece.
    pub(super) fn read(&mut self, shared: &Shared) -> Result<Piece, StoreError> {
        let tables = shared.read()?;
        let mut piece = Piece {
            relocate: None,
            damaged: Vec::new(),
            is_unreadable: false,
            is_last: false,
        };
        let mut bodies = Vec::new();
        let mut octets = 0;
        if self.bodies.is_empty() && !self.is_index_asked && !self.is_unreadable {
            self.ask_index(&tables)?;
        }
        while octets < PIECE_OCTETS && bodies.len() < PIECE_BODIES {
            let Some(id) = self.bodies.pop_front() else { break };
            if bodies.iter().any(|moving: &Moving| moving.id == id) {
                continue;
            }
            let Some((_, row)) = rows::get_blob(&tables.blob, id)? else {
                continue;
            };
            if row.home != self.segment {
                continue;
            }
            let Ok(stored) = self.stored(&row) else {
                self.is_unreadable = true;
                piece.damaged.push((id, row));
                continue;
            };
            octets += stored.len() as u64;
            if !is_as_written(&row, &stored, &shared.sealer) {
                piece.damaged.push((id, row.clone()));
            }
            bodies.push(Moving { id, row, stored });
        }
        piece.is_unreadable = self.is_unreadable;
        piece.is_last = self.bodies.is_empty() && (self.is_index_asked || self.is_unreadable);
        piece.relocate = (!bodies.is_empty()).then_some(Relocate { bodies });
        Ok(piece)
    }

    /// When all that the segment tells of was moved and it is still needed, a record of it cannot be read: the index knows
    /// what is here.
    fn ask_index(&mut self, tables: &ReadTables) -> Result<(), StoreError> {
        self.is_index_asked = true;
        if tables.segstat.get(self.segment)?.is_none() {
            return Ok(());
        }
        for found in tables.blob.iter()? {
            let (id, value) = found?;
            if rows::Row::from_octets(value.value().1).map(|row: BlobRow| row.home)? == self.segment {
                self.bodies.push_back(id.value());
            }
        }
        Ok(())
    }

    /// The stored octets of a body in the segment; none of one in a file. An error keeps the segment.
    fn stored(&self, row: &BlobRow) -> io::Result<Vec<u8>> {
        if !row.is_described() {
            // What was not found may be here all the same.
            return Err(io::ErrorKind::InvalidData.into());
        }
        let BlobPlace::Segment { offset } = row.place else {
            return Ok(Vec::new());
        };
        let octets = usize::try_from(stored_octets(&row.frames)).map_err(io::Error::other)?;
        // Before memory is taken for them: a length that the file does not have is one that was not written.
        if offset.saturating_add(octets as u64) > self.file.length()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut stored = vec![0; octets];
        self.file.read_exact_at(&mut stored, offset)?;
        Ok(stored)
    }
}

fn is_as_written(row: &BlobRow, stored: &[u8], sealer: &Sealer) -> bool {
    if let BlobPlace::File { .. } = row.place {
        return true;
    }
    let mut rest = stored;
    row.frames.iter().enumerate().all(|(place, frame)| {
        let Some((octets, later)) = rest.split_at_checked(length(frame)) else {
            return false;
        };
        rest = later;
        sealer.frame(place, octets) == frame.sum
    })
}

fn length(frame: &Frame) -> usize {
    usize::try_from(frame.stored_octets).unwrap_or(usize::MAX)
}

/// Asks for bodies to be at home at the end of the log from now on.
pub(crate) struct Relocate {
    bodies: Vec<Moving>,
}

/// A body as it was read.
struct Moving {
    id: u64,
    row: BlobRow,
    stored: Vec<u8>,
}

impl Request for Relocate {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let mut bodies = Vec::with_capacity(self.bodies.len());
        let mut offset = 0;
        for moving in &self.bodies {
            let row = rows::get_blob(&tables.blob, moving.id)?;
            if row.is_none_or(|(_, row)| row != moving.row) {
                continue;
            }
            let place = match moving.row.place {
                BlobPlace::Segment { .. } => Place::Batch { offset },
                BlobPlace::File { number } => Place::File { number },
            };
            offset += moving.stored.len() as u64;
            let structure = tables.structure.get(moving.id)?;
            bodies.push(BodyRecord {
                id: moving.id,
                place,
                octets: moving.row.octets,
                frames: moving.row.frames.clone(),
                structure: structure.map(|row| row.value().to_vec()).unwrap_or_default(),
            });
        }
        let relocated = (!bodies.is_empty()).then_some(Mutation::Relocate(Relocated { bodies }));
        Ok((relocated, ()))
    }

    fn stored<'q>(&'q self, mutation: &Mutation) -> Vec<&'q [u8]> {
        let mut moving = self.bodies.iter();
        let stored = |body: &BodyRecord| {
            // Both are in one order, and what was left out is in the first alone.
            let found = moving.find(|moving| moving.id == body.id);
            found.map(|moving| moving.stored.as_slice())
        };
        mutation.bodies().iter().filter_map(stored).collect()
    }

    fn stored_octets(&self) -> u64 {
        self.bodies.iter().map(|moving| moving.stored.len() as u64).sum()
    }
}
