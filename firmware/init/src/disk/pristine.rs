//! Writes the pristine file system onto a blank device and gives it an identity of its own.
//!
//! ```text
//! 1  first sector: "being written"        sync     from here on a power cut leaves an unfinished device
//! 2  everything from 64 KiB on            sync
//! 3  the first 64 KiB, with superblock    sync     from here on it is a file system
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use super::content::{UNFINISHED, is_all};

/// The unit of writing; the first holds the superblock.
const CHUNK_OCTETS: usize = 64 * 1024;

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
    let mut image = zstd::Decoder::new(File::open(source)?)?;
    let mut device = OpenOptions::new().write(true).open(device)?;
    let mut first = vec![0; CHUNK_OCTETS];
    image.read_exact(&mut first)?;
    individualise(&mut first)?;

    device.write_all(UNFINISHED)?;
    device.sync_all()?;

    let mut chunk = vec![0; CHUNK_OCTETS];
    // A device that zeroes by itself spares us most of the writing: the image is nearly all zeros.
    let is_zeroed = zero_out(&device, CHUNK_OCTETS as u64, image_octets(source)?).is_ok();
    let mut start = CHUNK_OCTETS as u64;
    loop {
        let length = read_full(&mut image, &mut chunk)?;
        if length == 0 {
            break;
        }
        if !is_zeroed || !is_all(&chunk[..length], 0) {
            device.seek(SeekFrom::Start(start))?;
            device.write_all(&chunk[..length])?;
        }
        start += length as u64;
    }
    device.sync_all()?;

    device.rewind()?;
    device.write_all(&first)?;
    device.sync_all()
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

/// `BLKZEROOUT` of linux/fs.h: zeros from `start` up to `end`.
#[allow(unsafe_code)]
fn zero_out(device: &File, start: u64, end: u64) -> nix::Result<()> {
    // _IO(0x12, 127), though it reads an argument: it is older than the macros that say so.
    nix::ioctl_write_ptr_bad!(blk_zero_out, nix::request_code_none!(0x12, 127), [u64; 2]);
    let range = [start, end.saturating_sub(start)];
    // SAFETY: the descriptor is open for as long as `device` is borrowed, the request reads two u64 behind the
    // pointer, and `range` lives until the call returns.
    unsafe { blk_zero_out(device.as_raw_fd(), &raw const range) }.map(drop)
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
        assert_eq!(recognise(&one), Content::Data);
        assert_eq!(one[..1024], [0; 1024]);
        assert_eq!(one[2048..300_000], image()[2048..]);
        assert!(one[300_000..].iter().all(|&octet| octet == 0xff));
        let (first, second) = (&one[SUPERBLOCK], &other[SUPERBLOCK]);
        assert_ne!(first[UUID], second[UUID]);
        assert_ne!(first[HASH_SEED], second[HASH_SEED]);
        assert_eq!(first[CHECKSUM], crc32c(&first[..CHECKSUM.start]).to_le_bytes());
        assert_eq!((first[UUID.start + 6] >> 4, first[UUID.start + 8] >> 6), (4, 2));
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
            let content = recognise(&fs::read(&target).unwrap());
            assert!(
                matches!(content, Content::Unfinished | Content::Blank),
                "{content:?}"
            );
        }
    }
}
