//! Reading a snapshot: all of it verified, its rows put into an empty index.

use super::format::{
    self, COPIES_AT, FRAMES_AT, FoundHeader, FrameAt, HEAD_OCTETS, HEADER_OCTETS, Head, Header, Trailer,
};
use super::rows::{Loading, NotLoaded};
use crate::error::StoreError;
use crate::index::{self, Tables};
use crate::log::scan::Position;
use crate::log::seal::Sealer;
use crate::storage::{File, Storage};
use redb::{Database, Durability};
use std::io;
use std::sync::Arc;

/// Why a snapshot was not read.
pub(super) enum Unusable {
    /// It is not what was written, or the disk does not give it; another one may do.
    Damaged(String),
    /// Nothing can be done.
    Failed(StoreError),
}

impl<E: Into<StoreError>> From<E> for Unusable {
    fn from(error: E) -> Unusable {
        Unusable::Failed(error.into())
    }
}

/// An open snapshot.
pub(super) struct Reader {
    file: Arc<dyn File>,
    octets: u64,
    sealer: Sealer,
    pub(super) header: Header,
    at: u64,
    read: Trailer,
}

/// A frame of rows.
pub(super) struct Frame {
    pub(super) table: String,
    pub(super) rows: u32,
    pub(super) octets: Vec<u8>,
}

impl Reader {
    /// Opens a snapshot and reads its header.
    pub(super) fn open(
        storage: &dyn Storage,
        name: &str,
        id: &[u8; 16],
        sealer: &Sealer,
    ) -> Result<Reader, Unusable> {
        let unreadable = |error: io::Error| Unusable::Damaged(error.to_string());
        let file = storage.open(name).map_err(unreadable)?;
        let octets = file.length().map_err(unreadable)?;
        let mut header = Err(Unusable::Damaged("its header is damaged".to_owned()));
        for at in COPIES_AT {
            let mut copy = [0; HEADER_OCTETS];
            if file.read_exact_at(&mut copy, at as u64).is_err() {
                continue;
            }
            let newer = |what: String| {
                Unusable::Failed(StoreError::Newer {
                    name: name.to_owned(),
                    what,
                })
            };
            match Header::decode(&copy, sealer) {
                FoundHeader::Damaged => continue,
                FoundHeader::Newer { format } => {
                    return Err(newer(format!("a snapshot of format {format}")));
                }
                FoundHeader::Header(found) if found.id != *id => {
                    header = Err(Unusable::Damaged("it is of another store".to_owned()));
                }
                FoundHeader::Header(found) if u64::from(found.rows_format) > index::FORMAT => {
                    return Err(newer(format!("an index of format {}", found.rows_format)));
                }
                FoundHeader::Header(found) if u64::from(found.rows_format) < index::FORMAT => {
                    // No other was ever kept. Whoever raises the format reads the rows of the one before here.
                    header = Err(Unusable::Damaged("its rows have an older format".to_owned()));
                }
                FoundHeader::Header(found) => header = Ok(found),
            }
            break;
        }
        Ok(Reader {
            file,
            octets,
            sealer: sealer.clone(),
            header: header?,
            at: FRAMES_AT,
            read: Trailer::default(),
        })
    }

    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// The next frame; `None` behind the last, when the trailer says that it was the last.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Unusable> {
        let damaged = || Unusable::Damaged(format!("octets from {} on are damaged", self.at));
        let read = |octets: &mut [u8], at| {
            self.file.read_exact_at(octets, at).map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    damaged()
                } else {
                    Unusable::Damaged(error.to_string())
                }
            })
        };
        let mut head = [0; HEAD_OCTETS];
        read(&mut head, self.at)?;
        let head = Head::decode(&head).ok_or_else(damaged)?;
        let stored_at = self.at + HEAD_OCTETS as u64;
        let end = stored_at + u64::from(head.stored_octets);
        if end > self.octets {
            return Err(damaged());
        }
        let mut stored = vec![0; usize::try_from(head.stored_octets).map_err(|_| damaged())?];
        read(&mut stored, stored_at)?;
        let at = FrameAt {
            batch: self.header.position.batch,
            place: self.read.frames,
        };
        let octets = format::open(at, &head, stored, &self.sealer).ok_or_else(damaged)?;
        if head.name().is_empty() {
            let is_whole = Trailer::decode(&octets) == Some(self.read) && end == self.octets;
            return if is_whole { Ok(None) } else { Err(damaged()) };
        }
        self.at = end;
        self.read.frames += 1;
        self.read.rows += u64::from(head.rows);
        Ok(Some(Frame {
            table: head.name().to_owned(),
            rows: head.rows,
            octets,
        }))
    }
}

/// Puts the rows of a snapshot into an index that has none, all or nothing. Bodies are not described yet.
pub(super) fn load(mut reader: Reader, database: &Database) -> Result<Position, Unusable> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let mut tables = Tables::open(&transaction)?;
    let mut loading = Loading::default();
    while let Some(frame) = reader.next()? {
        match loading.frame(&frame.table, frame.rows, &frame.octets, &mut tables) {
            Ok(()) => (),
            Err(NotLoaded::Failed(error)) => return Err(error.into()),
            Err(NotLoaded::Malformed) => {
                let reason = format!("its rows of table {} cannot be read", frame.table);
                return Err(Unusable::Damaged(reason));
            }
        }
    }
    loading.finish(&mut tables)?;
    drop(tables);
    let position = reader.header.position;
    crate::writer::set_position(&transaction, position.batch, position.segment, position.offset)?;
    transaction.commit()?;
    Ok(position)
}
