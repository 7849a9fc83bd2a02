//! Bodies are kept in frames: pieces of about 256 KiB, each compressed and checked by itself, so that
//! any range can be read without what is before it.

use super::seal::Sealer;
use crate::error::StoreError;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Mutex;

/// Octets of a body in one frame; the last may have fewer, and so may those written while memory is
/// short.
pub(crate) const FRAME_OCTETS: usize = 256 * 1024;

/// Level 1 takes mail to 0.7 of its size; higher levels cost a small processor more than flash costs.
const ZSTD_LEVEL: i32 = 1;

/// A line of a body's frame index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// Octets of the body.
    pub(crate) octets: u32,
    /// Octets as stored. As many as `octets`: they are stored as they are.
    pub(crate) stored_octets: u32,
    /// Of the octets as stored ([`Sealer::frame`]).
    pub(crate) sum: u64,
}

/// Compresses frames. One compressor is kept, the one given back last; it is 0.6 MB.
#[derive(Default)]
pub(crate) struct Compressors {
    idle: Mutex<Option<zstd::bulk::Compressor<'static>>>,
}

impl Compressors {
    /// The frame of `octets`, and what is to be stored if that is not `octets` itself.
    pub(crate) fn frame(&self, place: usize, octets: &[u8], sealer: &Sealer) -> (Frame, Option<Vec<u8>>) {
        let compressed = self
            .compress(octets)
            .filter(|compressed| compressed.len() < octets.len());
        let stored = compressed.as_deref().unwrap_or(octets);
        let length = |octets: &[u8]| u32::try_from(octets.len()).expect("a frame is small");
        let frame = Frame {
            octets: length(octets),
            stored_octets: length(stored),
            sum: sealer.frame(place, stored),
        };
        (frame, compressed)
    }

    fn compress(&self, octets: &[u8]) -> Option<Vec<u8>> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.take());
        let mut compressor = idle.or_else(|| zstd::bulk::Compressor::new(ZSTD_LEVEL).ok())?;
        let compressed = compressor.compress(octets).ok();
        if let Ok(mut idle) = self.idle.lock() {
            *idle = Some(compressor);
        }
        compressed
    }
}

impl std::fmt::Debug for Compressors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressors")
    }
}

/// Where in a body an octet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameAt {
    /// The frame's place in the index.
    pub(crate) place: usize,
    /// Where its stored octets begin, counted from those of the body.
    pub(crate) stored_at: u64,
    /// Where its octets begin in the body.
    pub(crate) octets_at: u64,
}

/// The frame that holds octet `offset`; `None` behind the end.
pub(crate) fn frame_with(frames: &[Frame], offset: u64) -> Option<FrameAt> {
    let mut at = FrameAt {
        place: 0,
        stored_at: 0,
        octets_at: 0,
    };
    for frame in frames {
        if offset < at.octets_at + u64::from(frame.octets) {
            return Some(at);
        }
        at.place += 1;
        at.stored_at += u64::from(frame.stored_octets);
        at.octets_at += u64::from(frame.octets);
    }
    None
}

/// Octets of all frames as stored.
pub(crate) fn stored_octets(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| u64::from(frame.stored_octets)).sum()
}

/// The octets of a frame, verified. `None` if they are not what was written.
///
/// No more than the frame's own octets are ever made, whatever the stored ones claim (AS16).
pub(crate) fn open(frame: &Frame, place: usize, stored: Vec<u8>, sealer: &Sealer) -> Option<Vec<u8>> {
    if sealer.frame(place, &stored) != frame.sum {
        return None;
    }
    if frame.stored_octets == frame.octets {
        return Some(stored);
    }
    let octets = usize::try_from(frame.octets)
        .ok()
        .filter(|octets| *octets <= FRAME_OCTETS)?;
    let opened = zstd::bulk::decompress(&stored, octets).ok()?;
    (opened.len() == octets).then_some(opened)
}

/// Reads one frame from where it is stored.
pub(crate) fn read(
    frame: &Frame,
    at: FrameAt,
    sealer: &Sealer,
    name: &str,
    offset: u64,
    read_exact_at: impl FnOnce(&mut [u8], u64) -> io::Result<()>,
) -> Result<Vec<u8>, StoreError> {
    let offset = offset + at.stored_at;
    let damaged = || StoreError::Damaged {
        name: name.to_owned(),
        offset,
    };
    if usize::try_from(frame.stored_octets).is_ok_and(|octets| octets > FRAME_OCTETS) {
        return Err(damaged());
    }
    let mut stored = vec![0; usize::try_from(frame.stored_octets).map_err(|_| damaged())?];
    match read_exact_at(&mut stored, offset) {
        Ok(()) => open(frame, at.place, stored, sealer).ok_or_else(damaged),
        // A file shorter than its record says has lost its end.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged()),
        Err(error) => Err(StoreError::io(name)(error)),
    }
}
