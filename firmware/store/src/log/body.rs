//! Bodies on their way in, and bodies being read.
//!
//! ```text
//!  write ─→ memory, up to 256 KiB ─────────────→ seal: one frame, goes into the batch
//!               │ more
//!               └→ bodies/NUMBER, frame by frame ─→ seal: file synced, folder synced; the batch names it
//! ```

use super::frames::{self, Compressors, FRAME_OCTETS, Frame, FrameAt};
use super::seal::Sealer;
use super::{BODIES, record::Place};
use crate::error::StoreError;
use crate::space::SpaceWatch;
use crate::storage::{File, Storage};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use wire::limits::BODY_IN_MEMORY_OCTETS_MAX;

/// Under memory pressure a frame is written when it has this many octets.
const SMALL_FRAME_OCTETS: usize = 16 * 1024;

/// What bodies on their way in have in common.
#[derive(Debug)]
pub(crate) struct Bodies {
    storage: Arc<dyn Storage>,
    sealer: Sealer,
    compressors: Compressors,
    space: Arc<SpaceWatch>,
    /// The number of the next file. A number that a record has named is never given again, for replay
    /// would take one body for another.
    next_file: AtomicU64,
    /// Octets that all writers hold in memory, and how many they should.
    memory_octets: AtomicUsize,
    memory_octets_max: usize,
}

impl Bodies {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        sealer: Sealer,
        space: Arc<SpaceWatch>,
        next_file: u64,
        memory_octets_max: usize,
    ) -> Arc<Bodies> {
        Arc::new(Bodies {
            storage,
            sealer,
            compressors: Compressors::default(),
            space,
            next_file: AtomicU64::new(next_file),
            memory_octets: AtomicUsize::new(0),
            memory_octets_max,
        })
    }

    pub(crate) fn writer(self: &Arc<Bodies>) -> BodyWriter {
        BodyWriter {
            bodies: Arc::clone(self),
            buffer: Vec::new(),
            octets: 0,
            frames: Vec::new(),
            stored_octets: 0,
            file: None,
        }
    }

    fn frame_octets(&self) -> usize {
        if self.memory_octets.load(Ordering::Relaxed) > self.memory_octets_max {
            SMALL_FRAME_OCTETS
        } else {
            FRAME_OCTETS
        }
    }
}

/// The name of body file `number`.
pub(crate) fn file_name(number: u64) -> String {
    format!("{BODIES}/{number:016x}")
}

/// A body file whose name is removed unless a record names it.
#[derive(Debug)]
struct BodyFile {
    number: u64,
    file: Arc<dyn File>,
    storage: Arc<dyn Storage>,
    is_kept: bool,
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // If it stays, the next start sweeps it.
            let _ = self.storage.remove(&file_name(self.number));
        }
    }
}

/// A body on its way in. Dropped before it is sealed, it leaves nothing behind.
#[derive(Debug)]
pub struct BodyWriter {
    bodies: Arc<Bodies>,
    buffer: Vec<u8>,
    /// Octets written, the buffer's included.
    octets: u64,
    frames: Vec<Frame>,
    stored_octets: u64,
    file: Option<BodyFile>,
}

impl BodyWriter {
    /// Adds octets. Synchronous; a body over 256 KiB is written to the page cache, not synced, here.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the disk is low; the body cannot be completed then.
    pub fn write(&mut self, mut octets: &[u8]) -> Result<(), StoreError> {
        while !octets.is_empty() {
            let room = self.bodies.frame_octets().saturating_sub(self.buffer.len());
            if room == 0 {
                self.spill()?;
                continue;
            }
            let (now, later) = octets.split_at(room.min(octets.len()));
            self.buffer.extend_from_slice(now);
            self.octets += now.len() as u64;
            self.bodies.memory_octets.fetch_add(now.len(), Ordering::Relaxed);
            octets = later;
        }
        Ok(())
    }

    /// Octets written so far.
    pub fn len(&self) -> u64 {
        self.octets
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// Whether the body is in memory and would be with `octets` more: then neither writing these nor sealing it
    /// touches the disk, and it may be done where nothing may wait for one.
    pub fn stays_in_memory(&self, octets: usize) -> bool {
        self.file.is_none() && self.buffer.len().saturating_add(octets) <= self.bodies.frame_octets()
    }

    /// Ends the body. What went to a file is durable when this returns; what fits into memory becomes
    /// so with the record that takes it. Synchronous: run it where waiting for a disk is allowed.
    pub fn seal(mut self) -> Result<SealedBody, StoreError> {
        let sealed = if self.file.is_some() || self.buffer.len() > BODY_IN_MEMORY_OCTETS_MAX {
            self.spill()?;
            let file = self.file.take().expect("spill made it");
            let name = file_name(file.number);
            file.file.sync().map_err(StoreError::io(&name))?;
            self.bodies
                .storage
                .sync_folder(BODIES)
                .map_err(StoreError::io(BODIES))?;
            Sealed::File(file)
        } else if self.buffer.is_empty() {
            Sealed::Memory(Vec::new())
        } else {
            let (frame, compressed) = self
                .bodies
                .compressors
                .frame(0, &self.buffer, &self.bodies.sealer);
            self.frames.push(frame);
            self.bodies
                .memory_octets
                .fetch_sub(self.buffer.len(), Ordering::Relaxed);
            let buffer = std::mem::take(&mut self.buffer);
            Sealed::Memory(compressed.unwrap_or(buffer))
        };
        Ok(SealedBody {
            octets: self.octets,
            frames: std::mem::take(&mut self.frames),
            sealed,
            sealer: self.bodies.sealer.clone(),
        })
    }

    /// Writes the buffer as a frame of the body's file, which is made if need be.
    fn spill(&mut self) -> Result<(), StoreError> {
        if self.bodies.space.is_low() {
            return Err(StoreError::Full);
        }
        let bodies = Arc::clone(&self.bodies);
        if self.file.is_none() {
            let number = bodies.next_file.fetch_add(1, Ordering::Relaxed);
            let file = bodies
                .storage
                .create(&file_name(number))
                .map_err(full_or_io(number))?;
            let storage = Arc::clone(&bodies.storage);
            self.file = Some(BodyFile {
                number,
                file,
                storage,
                is_kept: false,
            });
        }
        let file = self.file.as_ref().expect("it was made above");
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (frame, compressed) = bodies
            .compressors
            .frame(self.frames.len(), &self.buffer, &bodies.sealer);
        let stored = compressed.as_deref().unwrap_or(&self.buffer);
        file.file
            .write_all_at(stored, self.stored_octets)
            .map_err(full_or_io(file.number))?;
        bodies.space.written(stored.len() as u64);
        self.stored_octets += stored.len() as u64;
        self.frames.push(frame);
        bodies
            .memory_octets
            .fetch_sub(self.buffer.len(), Ordering::Relaxed);
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        self.bodies
            .memory_octets
            .fetch_sub(self.buffer.len(), Ordering::Relaxed);
    }
}

fn full_or_io(number: u64) -> impl FnOnce(io::Error) -> StoreError {
    move |error| {
        if crate::space::is_full(&error) {
            StoreError::Full
        } else {
            StoreError::io(file_name(number))(error)
        }
    }
}

/// A complete body, ready to be named by a record. Dropped before, it leaves nothing behind.
#[derive(Debug)]
pub struct SealedBody {
    octets: u64,
    frames: Vec<Frame>,
    sealed: Sealed,
    sealer: Sealer,
}

#[derive(Debug)]
enum Sealed {
    /// The one frame, as it will be stored.
    Memory(Vec<u8>),
    File(BodyFile),
}

impl SealedBody {
    /// Octets of the body.
    pub fn len(&self) -> u64 {
        self.octets
    }

    /// Whether the body has no octet.
    pub fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// The whole body. Memory for it is the caller's business.
    pub fn read_to_vec(&self) -> Result<Vec<u8>, StoreError> {
        let mut octets = Vec::new();
        self.read_into(&mut octets)?;
        Ok(octets)
    }

    /// Adds the whole body to `into`.
    pub fn read_into(&self, into: &mut Vec<u8>) -> Result<(), StoreError> {
        into.reserve(
            usize::try_from(self.octets).map_err(|_| StoreError::TooLarge { octets_max: u64::MAX })?,
        );
        let mut at = FrameAt {
            place: 0,
            stored_at: 0,
            octets_at: 0,
        };
        for frame in &self.frames {
            let octets = match &self.sealed {
                Sealed::Memory(stored) => {
                    let damaged = || StoreError::Damaged {
                        name: "memory".to_owned(),
                        offset: 0,
                    };
                    frames::open(frame, 0, stored.clone(), &self.sealer).ok_or_else(damaged)?
                }
                Sealed::File(file) => {
                    let name = file_name(file.number);
                    frames::read(frame, at, &self.sealer, &name, 0, |octets, offset| {
                        file.file.read_exact_at(octets, offset)
                    })?
                }
            };
            into.extend_from_slice(&octets);
            at.place += 1;
            at.stored_at += u64::from(frame.stored_octets);
        }
        Ok(())
    }

    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// What goes into the batch; nothing for a body that has its own file.
    pub(crate) fn batch_octets(&self) -> &[u8] {
        match &self.sealed {
            Sealed::Memory(stored) => stored,
            Sealed::File(_) => &[],
        }
    }

    /// Where it will be, if its octets come `offset` octets behind the record's metadata.
    pub(crate) fn place(&self, offset: u64) -> Place {
        match &self.sealed {
            Sealed::Memory(_) => Place::Batch { offset },
            Sealed::File(file) => Place::File { number: file.number },
        }
    }

    /// A record that names the body may be on the disk: from now on only the index says whether its
    /// file is needed.
    pub(crate) fn keep(&mut self) {
        if let Sealed::File(file) = &mut self.sealed {
            file.is_kept = true;
        }
    }
}

/// A message being read: its own prefix, then the shared body. Lives on after the view it came from.
#[derive(Debug)]
pub struct BodyReader {
    pub(crate) prefix: Vec<u8>,
    /// Octets of the shared body.
    pub(crate) octets: u64,
    pub(crate) frames: Vec<Frame>,
    pub(crate) file: Arc<dyn File>,
    pub(crate) name: String,
    /// Where in the file the first frame is.
    pub(crate) offset: u64,
    pub(crate) sealer: Sealer,
    /// The frame read last, for the reader that goes on where it stopped.
    pub(crate) opened: Option<(usize, Vec<u8>)>,
}

impl BodyReader {
    /// Octets of the message, prefix and body.
    pub fn len(&self) -> u64 {
        self.prefix.len() as u64 + self.octets
    }

    /// Whether the message has no octet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds up to `octets` octets of the message from `offset` on to `into`, and says how many there
    /// were: fewer at the end only.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if they are not what was written; nothing of that frame is added.
    pub fn read_at(&mut self, offset: u64, into: &mut Vec<u8>, octets: usize) -> Result<usize, StoreError> {
        let before = into.len();
        let prefix_octets = self.prefix.len() as u64;
        if offset < prefix_octets {
            let from = usize::try_from(offset).expect("a prefix is small");
            let to = self.prefix.len().min(from.saturating_add(octets));
            into.extend_from_slice(&self.prefix[from..to]);
        }
        loop {
            let added = into.len() - before;
            let at = (offset + added as u64).saturating_sub(prefix_octets);
            if added == octets || offset + added as u64 >= self.len() {
                return Ok(added);
            }
            let Some(frame_at) = frames::frame_with(&self.frames, at) else {
                return Err(StoreError::Damaged {
                    name: self.name.clone(),
                    offset: self.offset,
                });
            };
            let frame = self.frame(frame_at)?;
            let from = usize::try_from(at - frame_at.octets_at).expect("inside a frame");
            let to = frame.len().min(from + (octets - added));
            into.extend_from_slice(&frame[from..to]);
        }
    }

    /// The whole message. Memory for it is the caller's business.
    pub fn read_to_vec(&mut self) -> Result<Vec<u8>, StoreError> {
        let mut octets = Vec::new();
        let length =
            usize::try_from(self.len()).map_err(|_| StoreError::TooLarge { octets_max: u64::MAX })?;
        self.read_at(0, &mut octets, length)?;
        Ok(octets)
    }

    fn frame(&mut self, at: FrameAt) -> Result<&[u8], StoreError> {
        if self.opened.as_ref().is_none_or(|(place, _)| *place != at.place) {
            // Let go of the old one first: two are twice the memory.
            self.opened = None;
            let octets = frames::read(
                &self.frames[at.place],
                at,
                &self.sealer,
                &self.name,
                self.offset,
                |octets, offset| self.file.read_exact_at(octets, offset),
            )?;
            self.opened = Some((at.place, octets));
        }
        Ok(self
            .opened
            .as_ref()
            .map(|(_, octets)| octets.as_slice())
            .expect("it was set above"))
    }
}
