//! Verifies a slot, and writes one: for an update, and to repair the slot that does not run.
//!
//! ```text
//! 1  the old header is overwritten with zeros   sync     from here on the slot does not verify
//! 2  each chunk: read into a buffer of our own, verified, and this buffer written
//! 3                                             sync
//! 4  the header                                 sync     from here on it does
//! 5  everything is read back from the disk and verified once more
//! ```

use std::fmt;
use std::io;

use format::header::{CHUNK_OCTETS, HEADER_OCTETS};
use format::{Fault, Header, Refusal, Roots};

use super::partition::Raw;

/// Why a slot was not written.
#[derive(Debug)]
pub(crate) enum WriteFault {
    /// What is written could not be read.
    Source(io::Error),
    /// It was not what its header says.
    Refused(Refusal),
    /// The disk did not take it.
    Target(io::Error),
    /// The disk took it and gives something else back.
    ReadBack(Fault),
}

impl fmt::Display for WriteFault {
    /// What follows a colon in a sentence.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(to, "it cannot be read ({})", crate::trouble::reason(error)),
            Self::Refused(refusal) => refusal.fmt(to),
            Self::Target(error) => write!(to, "the disk did not take it ({})", crate::trouble::reason(error)),
            Self::ReadBack(fault) => write!(to, "what the disk gives back {fault}: it may be broken"),
        }
    }
}

/// Whether the slot holds a version that is genuine and whole; gives its header.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn verify(slot: &mut impl Raw, roots: Roots<'_>) -> Result<Header, Fault> {
    let header = read_header(slot, roots)?;
    match check(&header, |at, into| slot.read_at(at, into)) {
        Ok(()) => Ok(header),
        Err(WriteFault::Refused(refusal)) => Err(refusal.into()),
        Err(_) => Err(Fault::Unreadable),
    }
}

/// Whether the version with this header, whose octets `read` gives from an offset, is whole. Nothing is written.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(
    header: &Header,
    read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> Result<(), WriteFault> {
    each_chunk(header, read, |_, _, _| Ok(()))
}

/// Reads chunk by chunk, and hands on what was verified with its number and its place: these very octets, as the source may
/// be somebody's to change.
fn each_chunk(
    header: &Header,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    mut each: impl FnMut(usize, u64, &[u8]) -> Result<(), WriteFault>,
) -> Result<(), WriteFault> {
    let mut buffer = vec![0; CHUNK_OCTETS];
    for chunk in 0..header.parts.chunks() {
        let range = header.parts.chunk_range(chunk);
        let octets = &mut buffer[..range.len()];
        read(range.start as u64, octets).map_err(WriteFault::Source)?;
        header.check_chunk(chunk, octets).map_err(WriteFault::Refused)?;
        each(chunk, range.start as u64, octets)?;
    }
    Ok(())
}

/// The header of what the slot holds; whether the parts fit it is another question.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_header(slot: &mut impl Raw, roots: Roots<'_>) -> Result<Header, Fault> {
    let mut octets = [0; HEADER_OCTETS];
    slot.read_at(0, &mut octets).map_err(|_| Fault::Unreadable)?;
    Ok(Header::read(&octets, roots)?)
}

/// Writes the version with this header, whose octets `read` gives from an offset. `progress` is told the per cent.
///
/// # Errors
/// The slot does not verify then, unless the header was written and only the reading back failed.
pub(crate) fn write(
    octets: &[u8; HEADER_OCTETS],
    header: &Header,
    read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    slot: &mut impl Raw,
    roots: Roots<'_>,
    mut progress: impl FnMut(usize),
) -> Result<(), WriteFault> {
    slot.write_at(0, &[0; HEADER_OCTETS])
        .map_err(WriteFault::Target)?;
    slot.settle().map_err(WriteFault::Target)?;
    let chunks = header.parts.chunks();
    each_chunk(header, read, |chunk, at, octets| {
        progress(chunk * 100 / chunks);
        slot.write_at(at, octets).map_err(WriteFault::Target)
    })?;
    slot.settle().map_err(WriteFault::Target)?;
    slot.write_at(0, octets).map_err(WriteFault::Target)?;
    slot.settle().map_err(WriteFault::Target)?;
    match verify(slot, roots) {
        Ok(back) if back == *header => Ok(()),
        Ok(_) => Err(WriteFault::ReadBack(Fault::Hash)),
        Err(fault) => Err(WriteFault::ReadBack(fault)),
    }
}
