//! A batch: what one group of requests changed, written at once and synced once.
//!
//! ```text
//!  header (96) │ meta 0 │ body 0 │ meta 1 │ body 1 │ … │ table (32 octets a record)
//! ```
//!
//! Header and table have a checksum of their own, each record's metadata has one, and so has each frame
//! of a body; so that when a bit of a batch has rotted, the rest of it can still be told.

use super::record::{DecodeError, Mutation};
use super::seal::{Identity, Purpose, Sealer, Sum};
use super::{octets_at, u16_at, u32_at, u64_at};
use crate::storage::File;
use std::io;

const MAGIC: &[u8; 8] = b"PSTLKBAT";
const FORMAT: u16 = 1;
pub(crate) const HEADER_OCTETS: usize = 96;
const SUM_AT: usize = 80;
const ENTRY_OCTETS: usize = 32;
/// More records than a batch is ever given; bounds what a scan believes.
const RECORDS_MAX: u32 = 65_536;

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchAt {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) number: u64,
}

/// A line of the table of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: u16,
    pub(crate) version: u16,
    meta_octets: u32,
    body_octets: u64,
    meta_sum: Sum,
}

/// A batch being filled.
pub(crate) struct BatchBuilder {
    sealer: Sealer,
    identity: Identity,
    at: BatchAt,
    octets: Vec<u8>,
    entries: Vec<Entry>,
}

impl BatchBuilder {
    pub(crate) fn new(sealer: &Sealer, identity: Identity, at: BatchAt) -> BatchBuilder {
        BatchBuilder {
            sealer: sealer.clone(),
            identity,
            at,
            octets: vec![0; HEADER_OCTETS],
            entries: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Octets so far.
    pub(crate) fn octets(&self) -> u64 {
        self.octets.len() as u64
    }

    /// Adds a record and says where in the segment its bodies begin.
    pub(crate) fn push<'b>(&mut self, mutation: &Mutation, bodies: impl Iterator<Item = &'b [u8]>) -> u64 {
        self.push_encoded(mutation.kind(), mutation.version(), &mutation.encode(), bodies)
    }

    /// As [`BatchBuilder::push`], of any kind.
    pub(crate) fn push_encoded<'b>(
        &mut self,
        kind: u16,
        version: u16,
        meta: &[u8],
        bodies: impl Iterator<Item = &'b [u8]>,
    ) -> u64 {
        let meta_sum = meta_sum(&self.sealer, self.at.number, self.entries.len(), meta);
        self.octets.extend_from_slice(meta);
        let body_at = self.octets.len();
        for body in bodies {
            self.octets.extend_from_slice(body);
        }
        self.entries.push(Entry {
            kind,
            version,
            meta_octets: u32::try_from(meta.len()).expect("metadata is bounded by the size of a request"),
            body_octets: (self.octets.len() - body_at) as u64,
            meta_sum,
        });
        self.at.offset + body_at as u64
    }

    /// The octets to be written at the batch's place.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let payload_sum = self
            .sealer
            .sum(Purpose::BatchPayload, &self.octets[HEADER_OCTETS..]);
        let table_at = self.octets.len();
        for entry in &self.entries {
            entry.encode(&mut self.octets);
        }
        let records = u32::try_from(self.entries.len()).expect("a batch has few records");
        let length = self.octets.len() as u64;
        let (header, rest) = self.octets.split_at_mut(HEADER_OCTETS);
        header[0..8].copy_from_slice(MAGIC);
        header[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        header[12..16].copy_from_slice(&records.to_le_bytes());
        header[16..32].copy_from_slice(&self.identity.id);
        header[56..64].copy_from_slice(&length.to_le_bytes());
        header[64..80].copy_from_slice(&payload_sum);
        place(header, &rest[table_at - HEADER_OCTETS..], self.at, &self.sealer);
        self.octets
    }
}

/// Writes a batch's place into its header and seals header and table.
fn place(header: &mut [u8], table: &[u8], at: BatchAt, sealer: &Sealer) {
    header[32..40].copy_from_slice(&at.segment.to_le_bytes());
    header[40..48].copy_from_slice(&at.offset.to_le_bytes());
    header[48..56].copy_from_slice(&at.number.to_le_bytes());
    let sum = header_sum(sealer, &header[..SUM_AT], table);
    header[SUM_AT..].copy_from_slice(&sum);
}

fn header_sum(sealer: &Sealer, header: &[u8], table: &[u8]) -> Sum {
    let mut hasher = sealer.start(Purpose::BatchHeader);
    hasher.update(header);
    hasher.update(table);
    hasher.finish()
}

fn meta_sum(sealer: &Sealer, batch: u64, place: usize, meta: &[u8]) -> Sum {
    let mut hasher = sealer.start(Purpose::RecordMeta);
    hasher.update(&batch.to_le_bytes());
    hasher.update(&(place as u64).to_le_bytes());
    hasher.update(meta);
    hasher.finish()
}

impl Entry {
    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.kind.to_le_bytes());
        into.extend_from_slice(&self.version.to_le_bytes());
        into.extend_from_slice(&self.meta_octets.to_le_bytes());
        into.extend_from_slice(&self.body_octets.to_le_bytes());
        into.extend_from_slice(&self.meta_sum);
    }

    fn decode(entry: &[u8; ENTRY_OCTETS]) -> Entry {
        Entry {
            kind: u16_at(entry, 0),
            version: u16_at(entry, 2),
            meta_octets: u32_at(entry, 4),
            body_octets: u64_at(entry, 8),
            meta_sum: octets_at(entry, 16),
        }
    }
}

/// A batch that was found in a segment. Its header and table are as they were written.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) at: BatchAt,
    pub(crate) octets: u64,
    pub(crate) entries: Vec<Entry>,
    /// Whether the rest is as it was written, too.
    pub(crate) is_whole: bool,
}

/// What was found where a batch may begin.
#[derive(Clone, Debug)]
pub(crate) enum FoundBatch {
    Batch(Batch),
    /// Written by a later version of the firmware.
    Newer {
        format: u16,
    },
    /// No batch.
    Nothing,
}

/// Looks for a batch at `offset` of a segment of `file_octets`.
///
/// Anything but a system error is an answer: whatever stands there was either written by us, or it
/// is nothing.
pub(crate) fn find(
    file: &dyn File,
    file_octets: u64,
    segment: u64,
    offset: u64,
    identity: &Identity,
    sealer: &Sealer,
) -> io::Result<FoundBatch> {
    let (mut found, payload_sum) = find_unread(file, file_octets, segment, offset, identity, sealer)?;
    if let FoundBatch::Batch(batch) = &mut found {
        let table_at = offset + batch.octets - (batch.entries.len() * ENTRY_OCTETS) as u64;
        batch.is_whole = sum_of_range(file, offset + HEADER_OCTETS as u64, table_at, sealer)? == payload_sum;
    }
    Ok(found)
}

/// As [`find`], by header and table alone: a batch that is found is not said to be whole, for its records are not read.
/// Gives their checksum, too.
pub(crate) fn find_unread(
    file: &dyn File,
    file_octets: u64,
    segment: u64,
    offset: u64,
    identity: &Identity,
    sealer: &Sealer,
) -> io::Result<(FoundBatch, Sum)> {
    let nothing = Ok((FoundBatch::Nothing, Sum::default()));
    if offset + HEADER_OCTETS as u64 > file_octets {
        return nothing;
    }
    let mut header = [0; HEADER_OCTETS];
    file.read_exact_at(&mut header, offset)?;
    let records = u32_at(&header, 12);
    let octets = u64_at(&header, 56);
    let table_octets = u64::from(records) * ENTRY_OCTETS as u64;
    let is_plausible = header.starts_with(MAGIC)
        && records <= RECORDS_MAX
        && octets >= HEADER_OCTETS as u64 + table_octets
        && octets <= file_octets - offset;
    if !is_plausible {
        return nothing;
    }
    let table_at = offset + octets - table_octets;
    let mut table = vec![0; usize::try_from(table_octets).expect("at most 2 MiB")];
    file.read_exact_at(&mut table, table_at)?;
    let is_ours = header_sum(sealer, &header[..SUM_AT], &table) == header[SUM_AT..]
        && header[16..32] == identity.id
        && u64_at(&header, 32) == segment
        && u64_at(&header, 40) == offset;
    if !is_ours {
        return nothing;
    }
    let format = u16_at(&header, 8);
    if format != FORMAT {
        return Ok((FoundBatch::Newer { format }, Sum::default()));
    }
    let found = FoundBatch::Batch(Batch {
        at: BatchAt {
            segment,
            offset,
            number: u64_at(&header, 48),
        },
        octets,
        entries: table.as_chunks().0.iter().map(Entry::decode).collect(),
        is_whole: false,
    });
    Ok((found, octets_at(&header, 64)))
}

/// The payload's checksum, read in pieces: a batch may be larger than memory should be.
fn sum_of_range(file: &dyn File, from: u64, to: u64, sealer: &Sealer) -> io::Result<Sum> {
    const PIECE_OCTETS: u64 = 64 * 1024;
    let mut hasher = sealer.start(Purpose::BatchPayload);
    let mut at = from;
    let mut piece = Vec::new();
    while at < to {
        let octets = PIECE_OCTETS.min(to - at);
        piece.resize(usize::try_from(octets).expect("at most 64 KiB"), 0);
        file.read_exact_at(&mut piece, at)?;
        hasher.update(&piece);
        at += octets;
    }
    Ok(hasher.finish())
}

/// A record of a batch. One lives at a time, so its size does not matter.
#[allow(clippy::large_enum_variant)]
pub(crate) enum FoundRecord {
    /// The change, and where in the segment its bodies begin.
    Mutation { mutation: Mutation, body_at: u64 },
    /// A kind or a version of a later firmware.
    Newer { kind: u16, version: u16 },
    /// The metadata is not what was written.
    Damaged,
}

impl Batch {
    /// Reads the records in order. In a whole batch none is damaged.
    pub(crate) fn records(
        &self,
        file: &dyn File,
        sealer: &Sealer,
    ) -> impl Iterator<Item = io::Result<FoundRecord>> {
        self.records_of(file, sealer, |_| true)
    }

    /// As [`Batch::records`]; those of other kinds are passed over unread.
    pub(crate) fn records_of(
        &self,
        file: &dyn File,
        sealer: &Sealer,
        is_wanted: fn(u16) -> bool,
    ) -> impl Iterator<Item = io::Result<FoundRecord>> {
        let mut at = self.at.offset + HEADER_OCTETS as u64;
        let placed = self.entries.iter().enumerate().map(move |(place, entry)| {
            let meta_at = at;
            let body_at = meta_at + u64::from(entry.meta_octets);
            at = body_at + entry.body_octets;
            (place, entry, meta_at, body_at)
        });
        let wanted = placed.filter(move |(_, entry, ..)| is_wanted(entry.kind));
        wanted.map(move |(place, entry, meta_at, body_at)| {
            let mut meta = vec![0; usize::try_from(entry.meta_octets).expect("usize has 32 bits")];
            file.read_exact_at(&mut meta, meta_at)?;
            if meta_sum(sealer, self.at.number, place, &meta) != entry.meta_sum {
                return Ok(FoundRecord::Damaged);
            }
            Ok(match Mutation::decode(entry.kind, entry.version, &meta) {
                Ok(mutation) => FoundRecord::Mutation { mutation, body_at },
                Err(DecodeError::Newer) => FoundRecord::Newer {
                    kind: entry.kind,
                    version: entry.version,
                },
                // Sealed by us, and yet not readable: written wrongly. Nothing better can be said of it.
                Err(DecodeError::Malformed) => FoundRecord::Damaged,
            })
        })
    }

    /// The octets of this batch as they must stand at another place.
    pub(crate) fn moved(&self, file: &dyn File, to: BatchAt, sealer: &Sealer) -> io::Result<Vec<u8>> {
        let mut octets = vec![0; usize::try_from(self.octets).map_err(io::Error::other)?];
        file.read_exact_at(&mut octets, self.at.offset)?;
        let (header, rest) = octets.split_at_mut(HEADER_OCTETS);
        let table_at = rest.len() - self.entries.len() * ENTRY_OCTETS;
        place(header, &rest[table_at..], to, sealer);
        Ok(octets)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::log::record::Subscribed;
    use crate::storage::Storage;
    use crate::storage::sim::Sim;
    use mail::MailboxId;
    use proptest::prelude::*;
    use std::sync::Arc;

    const IDENTITY: Identity = Identity {
        id: [1; 16],
        key: [2; 16],
    };
    const AT: BatchAt = BatchAt {
        segment: 3,
        offset: 4096,
        number: 9,
    };

    fn file(octets: &[u8]) -> Arc<dyn File> {
        let file = Sim::new(1).create("x").unwrap();
        file.write_all_at(octets, 0).unwrap();
        file
    }

    fn look(octets: &[u8], segment: u64, offset: u64, identity: &Identity) -> FoundBatch {
        let sealer = Sealer::new(identity);
        find(
            &*file(octets),
            octets.len() as u64,
            segment,
            offset,
            identity,
            &sealer,
        )
        .unwrap()
    }

    /// A segment with one batch of two records with a body each.
    fn segment() -> Vec<u8> {
        let mut batch = BatchBuilder::new(&Sealer::new(&IDENTITY), IDENTITY, AT);
        for (mailbox, body) in [(4, b"body"), (5, b"more")] {
            let record = Subscribed {
                mailbox: MailboxId(mailbox),
                is_subscribed: true,
            };
            let body_at = batch.push(&Mutation::Subscribe(record), std::iter::once(&body[..]));
            assert!(body_at > AT.offset);
        }
        let mut octets = vec![0; 4096];
        octets.extend_from_slice(&batch.finish());
        octets
    }

    #[test]
    fn a_batch_is_found_where_it_was_written_and_nowhere_else() {
        let octets = segment();
        let FoundBatch::Batch(batch) = look(&octets, 3, 4096, &IDENTITY) else {
            panic!("not found")
        };
        assert!(batch.is_whole);
        assert_eq!(batch.at, AT);
        let sealer = Sealer::new(&IDENTITY);
        let file = file(&octets);
        let mut mailboxes = Vec::new();
        for record in batch.records(&*file, &sealer) {
            let FoundRecord::Mutation {
                mutation: Mutation::Subscribe(record),
                body_at,
            } = record.unwrap()
            else {
                panic!("another record");
            };
            let mut body = [0; 4];
            file.read_exact_at(&mut body, body_at).unwrap();
            mailboxes.push((record.mailbox.0, body));
        }
        assert_eq!(mailboxes, [(4, *b"body"), (5, *b"more")]);

        let mut elsewhere = octets.clone();
        elsewhere.splice(0..0, vec![0; 4096]);
        assert!(
            matches!(look(&elsewhere, 3, 8192, &IDENTITY), FoundBatch::Nothing),
            "another offset"
        );
        assert!(
            matches!(look(&octets, 4, 4096, &IDENTITY), FoundBatch::Nothing),
            "another segment"
        );
        let other = Identity {
            id: [1; 16],
            key: [3; 16],
        };
        assert!(
            matches!(look(&octets, 3, 4096, &other), FoundBatch::Nothing),
            "another key"
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let octets = segment();
        for at in 4096..octets.len() {
            for bit in 0..8 {
                let mut flipped = octets.clone();
                flipped[at] ^= 1 << bit;
                match look(&flipped, 3, 4096, &IDENTITY) {
                    FoundBatch::Batch(batch) => assert!(!batch.is_whole, "bit {bit} of octet {at}"),
                    FoundBatch::Newer { .. } => panic!("bit {bit} of octet {at}: believed"),
                    FoundBatch::Nothing => (),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_no_batch(mut octets in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
            if magic && octets.len() >= 8 {
                octets[..8].copy_from_slice(MAGIC);
            }
            prop_assert!(matches!(look(&octets, 3, 0, &IDENTITY), FoundBatch::Nothing));
        }
    }
}
