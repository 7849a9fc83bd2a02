//! How a snapshot lies in its file: a header, frames of rows, a trailer. Pure functions of octets.
//!
//! ```text
//!  header (80) … its copy at 2048 … │ at 4096: head (48) │ rows, zstd │ head │ rows │ … │ trailer
//! ```

use crate::index;
use crate::log::scan::Position;
use crate::log::seal::{Purpose, Sealer, Sum};
use crate::log::{BLOCK_OCTETS, octets_at, u16_at, u32_at, u64_at};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"PSTLKSNP";
const FORMAT: u16 = 1;
/// Two copies of the header, in different sectors, stand in the first block.
pub(super) const COPIES_AT: [usize; 2] = [0, 2048];
pub(super) const HEADER_OCTETS: usize = 80;
/// Where the first frame begins.
pub(super) const FRAMES_AT: u64 = BLOCK_OCTETS;
pub(super) const HEAD_OCTETS: usize = 48;
/// A frame is closed when its rows have so many octets.
pub(super) const FRAME_OCTETS: usize = 256 * 1024;
/// No frame has more: it is closed behind a row, and a row is a part of what one request may be.
const FRAME_OCTETS_MAX: u32 = 32 * 1024 * 1024;
/// Octets of a table's name.
pub(super) const NAME_OCTETS: usize = 16;
const ZSTD_LEVEL: i32 = 3;

/// What the first block of a snapshot says: of what moment it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The store it is of.
    pub(crate) id: [u8; 16],
    /// The format of the index whose rows it has.
    pub(crate) rows_format: u16,
    /// How far in the log it is.
    pub(crate) position: Position,
}

/// What was found at the head of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundHeader {
    Header(Header),
    /// Written by a later version of the firmware.
    Newer {
        format: u16,
    },
    Damaged,
}

impl Header {
    pub(super) fn new(id: [u8; 16], position: Position) -> Header {
        Header {
            id,
            rows_format: u16::try_from(index::FORMAT).expect("formats are few"),
            position,
        }
    }

    /// The first block.
    pub(super) fn encode(&self, sealer: &Sealer) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_OCTETS);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&self.rows_format.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&self.id);
        header.extend_from_slice(&self.position.batch.to_le_bytes());
        header.extend_from_slice(&self.position.segment.to_le_bytes());
        header.extend_from_slice(&self.position.offset.to_le_bytes());
        header.extend_from_slice(&[0; 8]);
        header.extend_from_slice(&sealer.sum(Purpose::SnapshotHeader, &header));
        let mut block = vec![0; usize::try_from(FRAMES_AT).expect("4096 fits")];
        for at in COPIES_AT {
            block[at..at + HEADER_OCTETS].copy_from_slice(&header);
        }
        block
    }

    pub(super) fn decode(header: &[u8; HEADER_OCTETS], sealer: &Sealer) -> FoundHeader {
        let (covered, sum) = header.split_at(HEADER_OCTETS - 16);
        if !covered.starts_with(MAGIC) || sealer.sum(Purpose::SnapshotHeader, covered) != sum {
            return FoundHeader::Damaged;
        }
        let format = u16_at(header, 8);
        if format != FORMAT {
            return FoundHeader::Newer { format };
        }
        FoundHeader::Header(Header {
            id: octets_at(header, 16),
            rows_format: u16_at(header, 10),
            position: Position {
                batch: u64_at(header, 32),
                segment: u64_at(header, 40),
                offset: u64_at(header, 48),
            },
        })
    }
}

/// Where a frame stands: in which snapshot, and the how many'th it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameAt {
    pub(super) batch: u64,
    pub(super) place: u64,
}

/// What stands before the rows of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    name: [u8; NAME_OCTETS],
    pub(super) rows: u32,
    octets: u32,
    /// As many as `octets`: they are stored as they are.
    pub(super) stored_octets: u32,
    sum: Sum,
}

impl Head {
    /// `None`: no frame of ours says such.
    pub(super) fn decode(octets: &[u8; HEAD_OCTETS]) -> Option<Head> {
        let head = Head {
            name: octets_at(octets, 0),
            rows: u32_at(octets, 16),
            octets: u32_at(octets, 20),
            stored_octets: u32_at(octets, 24),
            sum: octets_at(octets, 32),
        };
        let is_plausible = head.octets <= FRAME_OCTETS_MAX && head.stored_octets <= head.octets;
        (is_plausible && u32_at(octets, 28) == 0).then_some(head)
    }

    /// The table's name; empty: this is the trailer.
    pub(super) fn name(&self) -> &str {
        let end = self
            .name
            .iter()
            .position(|octet| *octet == 0)
            .unwrap_or(NAME_OCTETS);
        std::str::from_utf8(&self.name[..end]).unwrap_or("?")
    }

    fn covered(&self) -> [u8; 32] {
        let mut covered = [0; 32];
        covered[..16].copy_from_slice(&self.name);
        covered[16..20].copy_from_slice(&self.rows.to_le_bytes());
        covered[20..24].copy_from_slice(&self.octets.to_le_bytes());
        covered[24..28].copy_from_slice(&self.stored_octets.to_le_bytes());
        covered
    }

    fn sum_of(&self, at: FrameAt, stored: &[u8], sealer: &Sealer) -> Sum {
        let mut hasher = sealer.start(Purpose::SnapshotFrame);
        hasher.update(&at.batch.to_le_bytes());
        hasher.update(&at.place.to_le_bytes());
        hasher.update(&self.covered());
        hasher.update(stored);
        hasher.finish()
    }
}

/// A frame as it is to be written. `None`: it would be larger than any is.
pub(super) fn seal(at: FrameAt, name: &str, rows: u32, octets: &[u8], sealer: &Sealer) -> Option<Vec<u8>> {
    let mut padded = [0; NAME_OCTETS];
    padded.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    let compressed = zstd::bulk::compress(octets, ZSTD_LEVEL)
        .ok()
        .filter(|compressed| compressed.len() < octets.len());
    let stored = compressed.as_deref().unwrap_or(octets);
    let length = |octets: &[u8]| {
        u32::try_from(octets.len())
            .ok()
            .filter(|octets| *octets <= FRAME_OCTETS_MAX)
    };
    let mut head = Head {
        name: padded,
        rows,
        octets: length(octets)?,
        stored_octets: length(stored)?,
        sum: Sum::default(),
    };
    head.sum = head.sum_of(at, stored, sealer);
    let mut frame = Vec::with_capacity(HEAD_OCTETS + stored.len());
    frame.extend_from_slice(&head.covered());
    frame.extend_from_slice(&head.sum);
    frame.extend_from_slice(stored);
    Some(frame)
}

/// The rows of a frame, verified. `None` if they are not what was written.
pub(super) fn open(at: FrameAt, head: &Head, stored: Vec<u8>, sealer: &Sealer) -> Option<Vec<u8>> {
    if head.sum_of(at, &stored, sealer) != head.sum {
        return None;
    }
    if head.stored_octets == head.octets {
        return Some(stored);
    }
    let octets = usize::try_from(head.octets).ok()?;
    let opened = zstd::bulk::decompress(&stored, octets).ok()?;
    (opened.len() == octets).then_some(opened)
}

/// What the trailer counts: a snapshot that lost its end has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trailer {
    pub(super) frames: u64,
    pub(super) rows: u64,
}

impl Trailer {
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("numbers can be written")
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Trailer> {
        match postcard::take_from_bytes(octets) {
            Ok((trailer, [])) => Some(trailer),
            Ok(_) | Err(_) => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::log::seal::Identity;
    use proptest::prelude::*;

    const IDENTITY: Identity = Identity {
        id: [1; 16],
        key: [2; 16],
    };
    const POSITION: Position = Position {
        batch: 77,
        segment: 3,
        offset: 8192,
    };
    const AT: FrameAt = FrameAt { batch: 77, place: 5 };

    fn sealer() -> Sealer {
        Sealer::new(&IDENTITY)
    }

    /// The head and the rest of a sealed frame.
    fn parts(frame: &[u8]) -> Option<(Head, Vec<u8>)> {
        let (head, stored) = frame.split_first_chunk::<HEAD_OCTETS>()?;
        let head = Head::decode(head)?;
        (stored.len() == usize::try_from(head.stored_octets).unwrap()).then(|| (head, stored.to_vec()))
    }

    #[test]
    fn either_copy_of_the_header_says_all() {
        let header = Header::new(IDENTITY.id, POSITION);
        let block = header.encode(&sealer());
        assert_eq!(block.len(), 4096);
        for at in COPIES_AT {
            let copy = octets_at(&block, at);
            assert_eq!(Header::decode(&copy, &sealer()), FoundHeader::Header(header));
            for place in 0..HEADER_OCTETS {
                let mut flipped = copy;
                flipped[place] ^= 4;
                assert_eq!(Header::decode(&flipped, &sealer()), FoundHeader::Damaged);
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_noticed() {
        let frame = seal(AT, "flags", 3, &[7; 300], &sealer()).unwrap();
        let (head, stored) = parts(&frame).unwrap();
        assert_eq!((head.name(), head.rows), ("flags", 3));
        assert_eq!(open(AT, &head, stored.clone(), &sealer()).unwrap(), [7; 300]);
        let other = FrameAt { batch: 77, place: 6 };
        assert_eq!(
            open(other, &head, stored.clone(), &sealer()),
            None,
            "another place"
        );
        let other = FrameAt { batch: 78, place: 5 };
        assert_eq!(open(other, &head, stored, &sealer()), None, "another snapshot");
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut flipped = frame.clone();
                flipped[at] ^= 1 << bit;
                let opened = parts(&flipped).and_then(|(head, stored)| open(AT, &head, stored, &sealer()));
                assert_eq!(opened, None, "bit {bit} of octet {at}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn what_is_sealed_can_be_opened(octets in proptest::collection::vec(any::<u8>(), 0..600), rows in any::<u32>()) {
            let frame = seal(AT, "msg", rows, &octets, &sealer()).unwrap();
            let (head, stored) = parts(&frame).unwrap();
            prop_assert_eq!(head.rows, rows);
            prop_assert_eq!(open(AT, &head, stored, &sealer()).unwrap(), octets);
        }

        #[test]
        fn any_octets_are_no_snapshot(octets in proptest::collection::vec(any::<u8>(), HEADER_OCTETS..300), magic in any::<bool>()) {
            let mut header: [u8; HEADER_OCTETS] = octets_at(&octets, 0);
            if magic {
                header[..8].copy_from_slice(MAGIC);
            }
            prop_assert_eq!(Header::decode(&header, &sealer()), FoundHeader::Damaged);
            if let Some(head) = Head::decode(&octets_at(&octets, 0)) {
                prop_assert_eq!(open(AT, &head, octets[HEAD_OCTETS..].to_vec(), &sealer()), None);
            }
            if let Some(trailer) = Trailer::decode(&octets) {
                prop_assert_eq!(Trailer::decode(&trailer.encode()), Some(trailer));
            }
        }
    }
}
