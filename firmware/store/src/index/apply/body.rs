//! Bodies: where they are, and how many messages have them.

use super::{Effects, RecordAt, raise};
use crate::error::StoreError;
use crate::index::rows::{self, BlobPlace, BlobRow, Row};
use crate::index::{Tables, state};
use crate::log::record::{BodyRecord, Place};
use redb::ReadableTable;

/// A body that is new; nobody has it yet.
pub(super) fn add_body(body: &BodyRecord, at: RecordAt, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    raise(tables, state::NEXT_BODY, body.id + 1)?;
    if let Place::File { number } = body.place {
        raise(tables, state::NEXT_BODY_FILE, number + 1)?;
    }
    describe(0, body, at, tables)
}

/// The bodies of a record that was copied, or relocated, are found where the copy is.
pub(crate) fn describe_anew(
    bodies: &[BodyRecord],
    at: RecordAt,
    tables: &mut Tables<'_>,
) -> Result<(), StoreError> {
    for body in bodies {
        let Some((refs, row)) = rows::get_blob(&tables.blob, body.id)? else {
            continue;
        };
        remove_live_octets(body.id, &row, tables)?;
        describe(refs, body, at, tables)?;
    }
    Ok(())
}

fn describe(refs: u32, body: &BodyRecord, at: RecordAt, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let place = match body.place {
        Place::Batch { offset } => BlobPlace::Segment {
            offset: at.body_at.saturating_add(offset),
        },
        Place::File { number } => BlobPlace::File { number },
    };
    let row = BlobRow {
        home: at.segment,
        place,
        octets: body.octets,
        frames: body.frames.clone(),
    };
    tables.blob.insert(body.id, (refs, row.to_octets().as_slice()))?;
    tables.structure.insert(body.id, body.structure.as_slice())?;
    let live = tables.segstat.get(row.home)?.map_or(0, |row| row.value());
    tables
        .segstat
        .insert(row.home, live + row.live_octets(body.structure.len()))?;
    Ok(())
}

/// Counts a message more, or less, that has a body; a body that nobody has goes. Whether there is
/// such a body.
pub(super) fn change_refs(
    body: u64,
    change: i32,
    tables: &mut Tables<'_>,
    effects: &mut Effects,
) -> Result<bool, StoreError> {
    let Some((refs, row)) = rows::get_blob(&tables.blob, body)? else {
        return Ok(false);
    };
    let refs = refs.saturating_add_signed(change);
    if refs > 0 {
        if change != 0 {
            tables.blob.insert(body, (refs, row.to_octets().as_slice()))?;
        }
        return Ok(true);
    }
    remove_live_octets(body, &row, tables)?;
    tables.blob.remove(body)?;
    tables.structure.remove(body)?;
    if let BlobPlace::File { number } = row.place {
        effects.unused_files.push(number);
    }
    Ok(true)
}

fn remove_live_octets(body: u64, row: &BlobRow, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let structure_octets = tables.structure.get(body)?.map_or(0, |row| row.value().len());
    let live = tables.segstat.get(row.home)?.map_or(0, |row| row.value());
    match live.saturating_sub(row.live_octets(structure_octets)) {
        0 => tables.segstat.remove(row.home)?,
        rest => tables.segstat.insert(row.home, rest)?,
    };
    Ok(())
}
