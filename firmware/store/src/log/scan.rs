//! Finding one's way in segments: which there are, and which batches are in them.

use super::batch::{self, Batch, FoundBatch};
use super::seal::{Identity, Sealer};
use super::segment::{self, Found, Header};
use super::{BLOCK_OCTETS, SEGMENTS, next_block};
use crate::error::StoreError;
use crate::storage::{File, Storage};
use std::sync::{Arc, Mutex};

/// A segment that was found.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) octets: u64,
    /// `None`: the header is damaged, or not of this store.
    pub(crate) first_batch: Option<u64>,
}

/// The segments of a store, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Segments {
    pub(crate) list: Vec<Segment>,
    storage: Arc<dyn Storage>,
    /// The one opened last. Descriptors are few, and segments may be thousands.
    opened: Mutex<Option<(u64, Arc<dyn File>)>>,
    identity: Identity,
    sealer: Sealer,
}

impl Segments {
    /// Finds all segments. `None`: there is none, not even a damaged one.
    pub(crate) fn find(storage: Arc<dyn Storage>) -> Result<Option<(Segments, Identity)>, StoreError> {
        let mut numbers: Vec<u64> = Vec::new();
        for name in storage.list(SEGMENTS).map_err(StoreError::io(SEGMENTS))? {
            numbers.extend(segment::number(&name));
        }
        numbers.sort_unstable();
        let mut found = Vec::with_capacity(numbers.len());
        for number in numbers {
            let name = segment::name(number);
            let file = storage.open(&name).map_err(StoreError::io(&name))?;
            let octets = file.length().map_err(StoreError::io(&name))?;
            let header = match Header::read(&*file, &name)? {
                Found::Header(header) => Some(header),
                Found::Newer { format } => {
                    return Err(StoreError::Newer {
                        name,
                        what: format!("a segment of format {format}"),
                    });
                }
                Found::Damaged => None,
            };
            found.push((
                Segment {
                    number,
                    name,
                    octets,
                    first_batch: None,
                },
                header,
            ));
        }
        if found.is_empty() {
            return Ok(None);
        }
        // The newest readable header speaks for the store.
        let identity = found
            .iter()
            .rev()
            .find_map(|(_, header)| header.map(|header| header.identity));
        let identity = identity.ok_or(StoreError::LogUnreadable)?;
        let list = found
            .into_iter()
            .map(|(segment, header)| {
                let is_ours =
                    |header: &Header| header.identity == identity && header.number == segment.number;
                Segment {
                    first_batch: header.filter(is_ours).map(|header| header.first_batch),
                    ..segment
                }
            })
            .collect();
        Ok(Some((
            Segments {
                list,
                ..Segments::none(storage, identity)
            },
            identity,
        )))
    }

    /// None yet.
    pub(crate) fn none(storage: Arc<dyn Storage>, identity: Identity) -> Segments {
        Segments {
            list: Vec::new(),
            storage,
            opened: Mutex::default(),
            identity,
            sealer: Sealer::new(&identity),
        }
    }

    /// The file of a segment.
    pub(crate) fn file(&self, segment: &Segment) -> Result<Arc<dyn File>, StoreError> {
        let mut opened = self
            .opened
            .lock()
            .expect("nothing panics while it holds this lock");
        if let Some((number, file)) = &*opened
            && *number == segment.number
        {
            return Ok(Arc::clone(file));
        }
        let file = self.storage.open(&segment.name);
        let file = file.map_err(StoreError::io(&segment.name))?;
        *opened = Some((segment.number, Arc::clone(&file)));
        Ok(file)
    }

    /// The first batch of a segment at `offset` or behind it, whole or damaged.
    ///
    /// # Errors
    /// That of the disk if it could not read a place where a batch may be, and none comes after: then
    /// it is not known whether the log ends here.
    pub(crate) fn next_batch(&self, segment: &Segment, offset: u64) -> Result<Option<Batch>, StoreError> {
        let mut unreadable = None;
        let mut offset = next_block(offset);
        let file = self.file(segment)?;
        while offset < segment.octets {
            let Segment {
                octets, number, name, ..
            } = segment;
            match batch::find(&*file, *octets, *number, offset, &self.identity, &self.sealer) {
                Ok(FoundBatch::Batch(batch)) => return Ok(Some(batch)),
                Ok(FoundBatch::Newer { format }) => {
                    let what = format!("a batch of format {format}");
                    return Err(StoreError::Newer {
                        name: name.clone(),
                        what,
                    });
                }
                Ok(FoundBatch::Nothing) => (),
                Err(error) => unreadable = unreadable.or(Some(error)),
            }
            offset += BLOCK_OCTETS;
        }
        match unreadable {
            None => Ok(None),
            Some(error) => Err(StoreError::io(&segment.name)(error)),
        }
    }

    /// Whether there is a segment of this number, or a later one.
    pub(crate) fn has_from(&self, number: u64) -> bool {
        self.list.last().is_some_and(|last| last.number >= number)
    }

    /// The first number below that of the last segment that no segment has.
    pub(crate) fn missing_before_last(&self) -> Option<u64> {
        let numbers = self.list.iter().map(|segment| segment.number);
        (1..)
            .zip(numbers)
            .find(|(expected, number)| expected != number)
            .map(|(expected, _)| expected)
    }

    /// Batches from this number on do not count in the segment at `place` of the list: they are in
    /// later ones.
    pub(crate) fn limit(&self, place: usize) -> u64 {
        let later = self.list.get(place + 1..).unwrap_or_default();
        later
            .iter()
            .filter_map(|segment| segment.first_batch)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Whether the log has anything that was written after batch `number`, which was found in the
    /// segment at `place` and ends before `offset`. Then that batch had been synced.
    pub(crate) fn has_behind(&self, place: usize, offset: u64, number: u64) -> Result<bool, StoreError> {
        if self.limit(place) != u64::MAX {
            return Ok(true);
        }
        for (segment, from) in std::iter::once((&self.list[place], offset)).chain(
            self.list[place + 1..]
                .iter()
                .map(|segment| (segment, BLOCK_OCTETS)),
        ) {
            if self
                .next_batch(segment, from)?
                .is_some_and(|batch| batch.at.number > number)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// How far the index has come in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The number of the last batch it has; 0: none.
    pub(crate) batch: u64,
    /// The segment of that batch.
    pub(crate) segment: u64,
    /// Where the next batch would begin.
    pub(crate) offset: u64,
}

impl Position {
    /// From where on there may be news in a segment that is not before this position.
    pub(crate) fn offset_in(self, segment: u64) -> u64 {
        if segment == self.segment {
            self.offset
        } else {
            BLOCK_OCTETS
        }
    }
}

impl Batch {
    /// Where the next batch would begin.
    pub(crate) fn end(&self) -> u64 {
        next_block(self.at.offset + self.octets)
    }
}
