//! Writes the pristine file system onto a blank device and gives it an identity of its own.
//!
//! ```text
//! 1  first sector: "being written"                        sync     from here on a power cut leaves an unfinished device
//! 2  everything behind the first sector                   sync
//! 3  the first sector as the image has it (zeros)         sync     from here on it is a file system
//! ```
//!
//! What is written last is the mark and not the superblock: it is one sector, which a disk has whole or not at all. Of
//! anything larger a power cut may leave every other sector.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::content::{UNFINISHED, is_all};
use super::device;

/// The unit of writing; the first holds the superblock.
const CHUNK_OCTETS: usize = 64 * 1024;
/// The smallest that any disk writes whole or not at all.
const SECTOR_OCTETS: usize = 512;

/// What is written to. The tests have one whose power can be cut.
trait Target {
    fn write_at(&mut self, start: u64, octets: &[u8]) -> io::Result<()>;
    /// Zeros from `start` up to `end`, if that costs less than to write them.
    fn zero(&mut self, start: u64, end: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Target for File {
    fn write_at(&mut self, start: u64, octets: &[u8]) -> io::Result<()> {
        self.write_all_at(octets, start)
    }

    fn zero(&mut self, start: u64, end: u64) -> io::Result<()> {
        Ok(device::zero_out(self, start, end)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

// The superblock and its fields (Documentation/filesystems/ext4/super.rst).
const SUPERBLOCK: core::ops::Range<usize> = 1024..2048;
const UUID: core::ops::Range<usize> = 0x68..0x78;
const HASH_SEED: core::ops::Range<usize> = 0xec..0xfc;
const CHECKSUM: core::ops::Range<usize> = 0x3fc..0x400;

/// Writes the zstd-compressed image at `source` to `device`.
///
/// When this returns `Ok` the file system is durable. When the power goes before, the device is recognised as
/// unfinished and can be written again.
pub(super) fn write(source: &Path, device: &Path) -> io::Result<()> {
    let octets = image_octets(source)?;
    let image = zstd::Decoder::new(File::open(source)?)?;
    fill(&mut OpenOptions::new().write(true).open(device)?, image, octets)
}

/// Writes the `octets` of `image` to `target` in the order of the head of this file.
fn fill(target: &mut impl Target, mut image: impl Read, octets: u64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_OCTETS];
    image.read_exact(&mut chunk)?;
    individualise(&mut chunk)?;
    let (sector, rest) = chunk.split_at_mut(SECTOR_OCTETS);
    let first = sector.to_vec();

    target.write_at(0, UNFINISHED)?;
    target.sync()?;

    target.write_at(SECTOR_OCTETS as u64, rest)?;
    // A device that zeroes by itself spares us most of the writing: the image is nearly all zeros.
    let mut start = CHUNK_OCTETS as u64;
    let is_zeroed = target.zero(start, octets).is_ok();
    loop {
        let length = read_full(&mut image, &mut chunk)?;
        if length == 0 {
            break;
        }
        if !is_zeroed || !is_all(&chunk[..length], 0) {
            target.write_at(start, &chunk[..length])?;
        }
        start += length as u64;
    }
    target.sync()?;

    target.write_at(0, &first)?;
    target.sync()
}

/// Gives the file system a random UUID and hash seed: two boxes from one image differ, and nobody outside can build
/// file names that all fall into one hash bucket. The feature `metadata_csum_seed` keeps all other checksums valid.
fn individualise(first: &mut [u8]) -> io::Result<()> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    identify(&mut first[SUPERBLOCK], random);
    Ok(())
}

fn identify(superblock: &mut [u8], random: [u8; 32]) {
    let (uuid, hash_seed) = random.split_at(16);
    superblock[UUID].copy_from_slice(uuid);
    // RFC 9562 §5.4: version 4, variant 1.
    superblock[UUID.start + 6] = superblock[UUID.start + 6] & 0x0f | 0x40;
    superblock[UUID.start + 8] = superblock[UUID.start + 8] & 0x3f | 0x80;
    superblock[HASH_SEED].copy_from_slice(hash_seed);
    let sum = crc32c(&superblock[..CHECKSUM.start]);
    superblock[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
}

/// CRC-32C as ext4 uses it: seeded with ones and not inverted at the end. One kibibyte needs no table.
fn crc32c(octets: &[u8]) -> u32 {
    octets.iter().fold(u32::MAX, |mut sum, &octet| {
        sum ^= u32::from(octet);
        for _ in 0..8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
        sum
    })
}

/// The size that the compressed image says it has.
fn image_octets(source: &Path) -> io::Result<u64> {
    let mut header = Vec::new();
    File::open(source)?.take(64).read_to_end(&mut header)?;
    zstd::zstd_safe::get_frame_content_size(&header)
        .ok()
        .flatten()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the image does not say its size"))
}

/// Fills `chunk` unless the end comes before; gives the octets read.
fn read_full(from: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < chunk.len() {
        match from.read(&mut chunk[length..])? {
            0 => break,
            octets => length += octets,
        }
    }
    Ok(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::content::{Content, recognise};

    /// The check value of CRC-32C is e3069283; ext4's sum is not inverted at the end.
    #[test]
    fn the_checksum_is_that_of_ext4() {
        assert_eq!(!crc32c(b"123456789"), 0xe306_9283);
    }

    fn image() -> Vec<u8> {
        let mut image = vec![0; 300_000];
        image[SUPERBLOCK][0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        image[SUPERBLOCK][0x78..0x7c].copy_from_slice(b"data");
        image[200_000..200_004].copy_from_slice(b"node");
        image
    }

    fn written(device: &[u8]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("image.zst"), folder.path().join("device"));
        fs::write(&source, zstd::bulk::compress(&image(), 3).unwrap()).unwrap();
        fs::write(&target, device).unwrap();
        write(&source, &target).unwrap();
        fs::read(&target).unwrap()
    }

    #[test]
    fn the_image_is_on_the_device_with_an_identity_of_its_own() {
        // Old octets everywhere: what the image has as zero must be zero.
        let (one, other) = (written(&vec![0xff; 400_000]), written(&vec![0xff; 400_000]));
        assert_eq!(recognise(&one, &[]), Content::Data);
        assert_eq!(one[..1024], [0; 1024]);
        assert_eq!(one[2048..300_000], image()[2048..]);
        assert!(one[300_000..].iter().all(|&octet| octet == 0xff));
        let (first, second) = (&one[SUPERBLOCK], &other[SUPERBLOCK]);
        assert_ne!(first[UUID], second[UUID]);
        assert_ne!(first[HASH_SEED], second[HASH_SEED]);
        assert_eq!(first[CHECKSUM], crc32c(&first[..CHECKSUM.start]).to_le_bytes());
        assert_eq!((first[UUID.start + 6] >> 4, first[UUID.start + 8] >> 6), (4, 2));
    }

    /// A disk in memory whose power goes after some number of operations: of what was not synced then, `keeps` says
    /// which sectors are on it.
    struct Cut<'a> {
        durable: Vec<u8>,
        pending: Vec<(usize, [u8; SECTOR_OCTETS])>,
        operations_left: usize,
        has_zeroing: bool,
        keeps: &'a dyn Fn(usize) -> bool,
    }

    impl Cut<'_> {
        fn step(&mut self) -> io::Result<()> {
            if self.operations_left == 0 {
                for (start, octets) in self.pending.drain(..) {
                    if (self.keeps)(start / SECTOR_OCTETS) {
                        self.durable[start..start + SECTOR_OCTETS].copy_from_slice(&octets);
                    }
                }
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.operations_left -= 1;
            Ok(())
        }

        /// A sector as it would be read.
        fn sector(&self, start: usize) -> [u8; SECTOR_OCTETS] {
            let written = self.pending.iter().rev().find(|(at, _)| *at == start);
            written.map_or_else(
                || self.durable[start..start + SECTOR_OCTETS].try_into().unwrap(),
                |(_, octets)| *octets,
            )
        }
    }

    impl Target for Cut<'_> {
        fn write_at(&mut self, start: u64, octets: &[u8]) -> io::Result<()> {
            self.step()?;
            let start = usize::try_from(start).unwrap();
            for (index, part) in octets.chunks(SECTOR_OCTETS).enumerate() {
                let start = start + index * SECTOR_OCTETS;
                let mut sector = self.sector(start);
                sector[..part.len()].copy_from_slice(part);
                self.pending.push((start, sector));
            }
            Ok(())
        }

        fn zero(&mut self, start: u64, end: u64) -> io::Result<()> {
            if !self.has_zeroing {
                return Err(io::ErrorKind::Unsupported.into());
            }
            self.write_at(start, &vec![0; usize::try_from(end - start).unwrap()])
        }

        fn sync(&mut self) -> io::Result<()> {
            self.step()?;
            for (start, octets) in self.pending.drain(..) {
                self.durable[start..start + SECTOR_OCTETS].copy_from_slice(&octets);
            }
            Ok(())
        }
    }

    /// What is on a disk of `old` octets when the power went after `operations`; whether all was done by then.
    fn cut(old: u8, has_zeroing: bool, operations: usize, keeps: &dyn Fn(usize) -> bool) -> (Vec<u8>, bool) {
        let image = image();
        let octets = image.len().next_multiple_of(SECTOR_OCTETS);
        let mut disk = Cut {
            durable: vec![old; octets],
            pending: Vec::new(),
            operations_left: operations,
            has_zeroing,
            keeps,
        };
        let result = fill(&mut disk, &image[..], image.len() as u64);
        (disk.durable, result.is_ok())
    }

    #[test]
    fn whatever_a_power_cut_leaves_is_made_again_or_whole() {
        // Sectors around the mark and the superblock, each alone and each missing, and halves.
        let some = [0, 1, 2, 3, 4, 7, 8, 127, 128, 390];
        let mut keeps: Vec<Box<dyn Fn(usize) -> bool>> = vec![Box::new(|_| false), Box::new(|_| true)];
        keeps.push(Box::new(|sector| sector % 2 == 0));
        keeps.push(Box::new(|sector| sector % 2 == 1));
        for chosen in some {
            keeps.push(Box::new(move |sector| sector == chosen));
            keeps.push(Box::new(move |sector| sector != chosen));
            keeps.push(Box::new(move |sector| sector < chosen));
            keeps.push(Box::new(move |sector| sector >= chosen));
        }
        for (old, has_zeroing) in [(0x00, true), (0x00, false), (0xff, true), (0xff, false)] {
            for keeps in &keeps {
                let mut operations = 0;
                loop {
                    let (disk, is_done) = cut(old, has_zeroing, operations, keeps);
                    match recognise(&disk, &[]) {
                        Content::Blank | Content::Unfinished => assert!(!is_done),
                        Content::Data => assert_eq!(disk[2048..300_000], image()[2048..]),
                        other => panic!("{other:?} after {operations} operations"),
                    }
                    if is_done {
                        break;
                    }
                    operations += 1;
                }
            }
        }
    }

    #[test]
    fn a_device_that_is_too_small_fails_and_stays_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("image.zst");
        fs::write(&source, zstd::bulk::compress(&image(), 3).unwrap()).unwrap();
        write(&source, Path::new("/dev/full")).unwrap_err();
        // Cut in the middle of the compressed image: the device must not look finished.
        let (cut, target) = (folder.path().join("cut.zst"), folder.path().join("device"));
        let whole = fs::read(&source).unwrap();
        fs::write(&cut, &whole[..whole.len() - 6]).unwrap();
        fs::write(&target, vec![0; 400_000]).unwrap();
        if write(&cut, &target).is_err() {
            let content = recognise(&fs::read(&target).unwrap(), &[]);
            assert!(
                matches!(content, Content::Unfinished | Content::Blank),
                "{content:?}"
            );
        }
    }
}
