//! Making a snapshot: the rows of one view, frame by frame, into a file that gets its name when it is whole.

use super::format::{self, FRAME_OCTETS, FRAMES_AT, FrameAt, Header, Trailer};
use super::rows::{self, Sink};
use super::{Kept, SNAPSHOTS, UNFINISHED, name};
use crate::error::StoreError;
use crate::index::ReadTables;
use crate::log::scan::Position;
use crate::log::seal::Sealer;
use crate::shared::Shared;
use crate::space;
use crate::storage::File;
use std::sync::Arc;

/// Writes the snapshot of `tables`, which are at `position`, and makes it durable.
///
/// # Errors
/// [`StoreError::Full`] when there is no room, [`StoreError::Closed`] when the store is being closed. Nothing is left
/// then.
pub(super) fn write(shared: &Shared, tables: &ReadTables, position: Position) -> Result<Kept, StoreError> {
    let storage = &*shared.storage;
    let unfinished = format!("{SNAPSHOTS}/{UNFINISHED}");
    let name = name(position.batch);
    let written = write_unfinished(shared, tables, position, &unfinished).and_then(|octets| {
        storage
            .rename(&unfinished, &name)
            .map_err(StoreError::io(&name))?;
        Ok(octets)
    });
    let octets = written.map_err(|error| {
        // If it stays, the next start removes it.
        let _ = storage.remove(&unfinished);
        shared.space.freed();
        match error {
            StoreError::Io { source, .. } if space::is_full(&source) => StoreError::Full,
            error => error,
        }
    })?;
    storage
        .sync_folder(SNAPSHOTS)
        .map_err(StoreError::io(SNAPSHOTS))?;
    shared.space.written(octets);
    Ok(Kept {
        name,
        position,
        octets,
    })
}

fn write_unfinished(
    shared: &Shared,
    tables: &ReadTables,
    position: Position,
    unfinished: &str,
) -> Result<u64, StoreError> {
    let file = shared
        .storage
        .create(unfinished)
        .map_err(StoreError::io(unfinished))?;
    let mut frames = Frames {
        shared,
        file: FrameFile {
            file,
            name: unfinished,
            at: FRAMES_AT,
            batch: position.batch,
            trailer: Trailer::default(),
        },
        table: "",
        rows: 0,
        octets: Vec::new(),
    };
    let header = Header::new(shared.identity.id, position).encode(&shared.sealer);
    let io = || StoreError::io(unfinished);
    frames.file.file.write_all_at(&header, 0).map_err(io())?;
    rows::write(tables, &mut frames)?;
    frames.close()?;
    let Frames { mut file, .. } = frames;
    let trailer = file.trailer.encode();
    file.write("", 0, &trailer, &shared.sealer)?;
    file.file.sync().map_err(io())?;
    Ok(file.at)
}

/// Rows on their way into frames.
struct Frames<'s> {
    shared: &'s Shared,
    file: FrameFile<'s>,
    /// The table whose rows are at hand.
    table: &'static str,
    rows: u32,
    octets: Vec<u8>,
}

/// The file, and how far it is.
struct FrameFile<'s> {
    file: Arc<dyn File>,
    name: &'s str,
    at: u64,
    batch: u64,
    trailer: Trailer,
}

impl Sink for Frames<'_> {
    fn row(
        &mut self,
        table: &'static str,
        write: &mut dyn FnMut(Vec<u8>) -> Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        if table != self.table || self.octets.len() >= FRAME_OCTETS {
            self.close()?;
            self.table = table;
        }
        self.octets = write(std::mem::take(&mut self.octets)).ok_or(StoreError::IndexRow { table })?;
        self.rows += 1;
        Ok(())
    }
}

impl Frames<'_> {
    fn close(&mut self) -> Result<(), StoreError> {
        if self.rows == 0 {
            return Ok(());
        }
        if self.shared.wakes.is_ending() {
            return Err(StoreError::Closed);
        }
        self.file
            .write(self.table, self.rows, &self.octets, &self.shared.sealer)?;
        self.rows = 0;
        self.octets.clear();
        Ok(())
    }
}

impl FrameFile<'_> {
    fn write(
        &mut self,
        table: &'static str,
        rows: u32,
        octets: &[u8],
        sealer: &Sealer,
    ) -> Result<(), StoreError> {
        let at = FrameAt {
            batch: self.batch,
            place: self.trailer.frames,
        };
        let frame = format::seal(at, table, rows, octets, sealer).ok_or(StoreError::IndexRow { table })?;
        self.file
            .write_all_at(&frame, self.at)
            .map_err(StoreError::io(self.name))?;
        self.at += frame.len() as u64;
        self.trailer.frames += 1;
        self.trailer.rows += u64::from(rows);
        Ok(())
    }
}
