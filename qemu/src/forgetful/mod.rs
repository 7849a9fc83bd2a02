//! A disk with a cache that a power cut empties: what a card does, and a file on this computer does not.
//!
//! `kill -9` of QEMU leaves all it wrote in this computer's page cache, so that a missing flush is never noticed. This
//! disk is served to QEMU by its NBD driver, over a unix socket; what is written stays in memory until the machine asks
//! for a flush, and when the power is cut, a random part of what was not flushed is gone, sector by sector.
//!
//! ```text
//!  QEMU ── unix socket ──→ connection ──→ Cache ──(flush, FUA)──→ the disk's file
//!                                           └───(cut: a random part)──↗
//! ```
//!
//! # Invariants
//! - Nothing is answered after the cut, and nothing is taken: what the machine knows to be flushed is in the file.
//! - What was flushed is never lost. What was not may be there, not be there, or be there as it was before.

mod cache;
mod protocol;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use cache::Lost;
use cache::{Cache, SECTOR_OCTETS};
use protocol::{Command, EINVAL, EIO, REQUEST_OCTETS, Request, simple_reply};

use crate::disk::Disk;
use crate::error::Error;

/// What becomes of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flush {
    /// What was written before is in the file when it is answered.
    #[default]
    Kept,
    /// It is answered and nothing is done: a card that lies, or a file system without barriers.
    Ignored,
    /// It fails, and what was written stays in the cache.
    Fails,
}

/// A disk that is served to one machine after the other. Dropping it is pulling the disk out of a machine that is off:
/// all that is in its cache is written.
#[derive(Debug)]
pub struct ForgetfulDisk {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    /// Counts the cuts. A connection of before the last one is dead.
    era: u64,
    flush: Flush,
    flushes: u64,
    armed: Option<Armed>,
    fell: Option<Lost>,
    is_pulled: bool,
}

/// A cut that falls by itself.
struct Armed {
    /// So many writes and flushes come before it.
    requests: u64,
    random: Random,
}

/// Where the lots come from.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cut in {} requests", self.requests)
    }
}

impl ForgetfulDisk {
    /// Serves `disk` at `socket`, which must not exist yet. Nobody else may write the disk meanwhile.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn serve(disk: &Disk, socket: &Path) -> Result<Self, Error> {
        let cache = Cache::over(disk.path()).map_err(Error::file("open the disk", disk.path()))?;
        let listener = UnixListener::bind(socket).map_err(Error::file("make the socket", socket))?;
        let state = Arc::new(Mutex::new(State {
            cache,
            era: 0,
            flush: Flush::Kept,
            flushes: 0,
            armed: None,
            fell: None,
            is_pulled: false,
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || accept(&listener, &shared));
        Ok(Self {
            socket: socket.to_owned(),
            state,
        })
    }

    /// The socket that QEMU is to open.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The power is gone, now: of each sector that was not flushed some state since the last flush survives, and which is
    /// drawn from `random`. The machine that used the disk hears nothing of it any more and is to be
    /// [cut](crate::Machine::cut) at once; the next may start behind that.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn cut(&self, random: &mut dyn FnMut() -> u64) -> io::Result<Lost> {
        let mut state = self.lock();
        state.armed = None;
        state.era += 1;
        state.cache.cut(random)
    }

    /// The power will go by itself, at the request behind so many writes and flushes: in a write, of which any part may
    /// survive, or before a flush has done anything. Seen from outside, a disk has little to forget at most moments: who
    /// writes flushes at once. [`fell`](Self::fell) tells when it was.
    pub fn cut_in(&self, requests: u64, random: Random) {
        let mut state = self.lock();
        state.fell = None;
        state.armed = Some(Armed { requests, random });
    }

    /// What the cut that was [asked for](Self::cut_in) has done, once it has fallen. Tells it once.
    pub fn fell(&self) -> Option<Lost> {
        self.lock().fell.take()
    }

    /// What becomes of flushes from now on.
    pub fn set_flush(&self, flush: Flush) {
        self.lock().flush = flush;
    }

    /// How many flushes it was asked for.
    pub fn flushes(&self) -> u64 {
        self.lock().flushes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for ForgetfulDisk {
    fn drop(&mut self) {
        let mut state = self.lock();
        // The file is a scratch file of a test: what cannot be written is seen by whoever reads it.
        let _ = state.cache.flush();
        state.era += 1;
        state.is_pulled = true;
        drop(state);
        // Wakes the thread that accepts.
        let _ = UnixStream::connect(&self.socket);
        let _ = fs::remove_file(&self.socket);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &UnixListener, state: &Arc<Mutex<State>>) {
    for stream in listener.incoming() {
        let (era, is_pulled) = {
            let state = lock(state);
            (state.era, state.is_pulled)
        };
        let Ok(stream) = stream else { continue };
        if is_pulled {
            return;
        }
        let state = Arc::clone(state);
        // An error is a machine that is gone: QEMU was killed, or has ended.
        std::thread::spawn(move || {
            let _ = converse(stream, era, &state);
        });
    }
}

/// Serves one QEMU until it says goodbye, is killed, or the power is cut.
fn converse(mut stream: UnixStream, era: u64, state: &Mutex<State>) -> io::Result<()> {
    let octets = lock(state).cache.octets();
    if !protocol::shake_hands(&mut stream, octets)? {
        return Ok(());
    }
    loop {
        let mut header = [0; REQUEST_OCTETS];
        stream.read_exact(&mut header)?;
        let request = Request::parse(&header)?;
        let mut data = Vec::new();
        if request.command == Command::Write {
            data = vec![0; request.octets as usize];
            stream.read_exact(&mut data)?;
        }
        if request.command == Command::Disconnect {
            return Ok(());
        }
        let mut locked = lock(state);
        if locked.era != era {
            drop(locked);
            // A machine without power that is not quite dead: it is listened to, so that it waits, and is not answered.
            return io::copy(&mut stream, &mut io::sink()).map(drop);
        }
        let is_cut = locked.is_cut_at(&request);
        let error = match locked.run(&request, &mut data, is_cut) {
            Ok(()) => 0,
            Err(error) => error,
        };
        if is_cut {
            locked.fall()?;
            continue;
        }
        // Answered under the lock: a cut comes before the answer, or behind it.
        stream.write_all(&simple_reply(request.cookie, error))?;
        if request.command == Command::Read && error == 0 {
            stream.write_all(&data)?;
        }
    }
}

impl State {
    /// Whether the cut that was asked for falls at this request.
    fn is_cut_at(&mut self, request: &Request) -> bool {
        let Some(armed) = self.armed.as_mut() else {
            return false;
        };
        if !matches!(request.command, Command::Write | Command::Flush) {
            return false;
        }
        let is_now = armed.requests == 0;
        armed.requests = armed.requests.saturating_sub(1);
        is_now
    }

    /// The cut that was asked for falls.
    fn fall(&mut self) -> io::Result<()> {
        if let Some(mut armed) = self.armed.take() {
            self.era += 1;
            self.fell = Some(self.cache.cut(&mut armed.random)?);
        }
        Ok(())
    }

    /// Does what is asked for. What is read is put into `data`. If the power goes in it, a write is in the cache and no
    /// further, and a flush does nothing.
    fn run(&mut self, request: &Request, data: &mut Vec<u8>, is_cut: bool) -> Result<(), u32> {
        let Request { offset, octets, .. } = *request;
        let has_data = matches!(request.command, Command::Read | Command::Write);
        let end = offset.checked_add(u64::from(octets)).ok_or(EINVAL)?;
        let is_whole = offset.is_multiple_of(SECTOR_OCTETS) && end.is_multiple_of(SECTOR_OCTETS);
        if has_data && (!is_whole || end > self.cache.octets()) {
            return Err(EINVAL);
        }
        match request.command {
            Command::Read => {
                data.resize(octets as usize, 0);
                self.cache.read(offset, data).map_err(|_| EIO)
            }
            Command::Write if request.is_fua && !is_cut => {
                self.cache.write_through(offset, data).map_err(|_| EIO)
            }
            Command::Write => self.cache.write(offset, data).map_err(|_| EIO),
            Command::Flush if is_cut => Ok(()),
            Command::Flush => {
                self.flushes += 1;
                match self.flush {
                    Flush::Kept => self.cache.flush().map_err(|_| EIO),
                    Flush::Ignored => Ok(()),
                    Flush::Fails => Err(EIO),
                }
            }
            Command::Disconnect => Ok(()),
            Command::Unknown => Err(EINVAL),
        }
    }
}
