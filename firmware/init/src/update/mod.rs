//! Takes a firmware update: verifies it, writes it into the slot that does not run, and has it started on trial.
//!
//! ```text
//! 1  the header is read once, verified, and judged: board, loader, floors, age, and whether the other slot can be spared
//! 2  all of it is verified once, so that what is damaged costs nobody the slot that it would be written to
//! 3  bootstate: the other slot is not to be started       durable, before the first octet of it is written
//! 4  the slot is written and read back                    see slot/write
//! 5  bootstate: the other slot comes first, three tries   durable; from here on it is the next to be started
//! ```
//!
//! The source is not trusted: it may be changed while it is read. What is verified is what is written, chunk by chunk.
//!
//! # Invariants
//! - The running slot is not written to, and stays bootable: whenever the power goes, it or the whole update starts (D24).
//! - A version is on trial only when it lies whole on the disk, read back (D26).

mod source;
pub(crate) mod stick;

use std::fmt;
use std::io;

use format::boot::Attempt;
use format::header::HEADER_OCTETS;
use format::{Fault, Header, Needs, Refusal, Roots, Slot, State};

pub(crate) use source::FileSource;

use crate::slot::bootstate;
use crate::slot::check::{self, Raws};
use crate::slot::partition::Raw;
use crate::slot::write::{self, WriteFault};
use crate::trouble::reason;

/// Where an update comes from.
pub(crate) trait Source {
    /// Its size.
    fn octets(&self) -> u64;
    /// Fills the buffer from an offset, or fails.
    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

/// The box that an update is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Box<'a> {
    pub(crate) running: Slot,
    /// How it was started.
    pub(crate) attempt: Attempt,
    /// The version that runs.
    pub(crate) version: u64,
    /// The floors of it are those of the bootstate, whatever stands here.
    pub(crate) needs: Needs,
    pub(crate) roots: Roots<'a>,
}

/// An update that may be taken. It is this header that is written, whatever the source says later.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) header: Header,
    octets: [u8; HEADER_OCTETS],
}

/// What was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) version: u64,
    /// What people call it.
    pub(crate) name: String,
}

/// Why an update was not taken. Displays as what follows a colon.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// The header is not acceptable.
    Refused(Refusal),
    /// The version that runs is on trial itself.
    OnTrial,
    /// It is this version.
    Same(u64),
    /// It is older than the version that runs.
    Older { version: u64, running: u64 },
    /// It cannot follow the version that runs.
    TooFar { min_from: u64, running: u64 },
    /// It was written before, tried, and did not come up. Only sticks are refused for it: nobody asks them twice.
    Tried(u64),
    /// The source could not be read.
    Source(io::Error),
    /// The slot could not be written.
    Slot(WriteFault),
    /// The bootstate could not be written.
    Bootstate(io::Error),
    /// That it is tried now could not be written down, and a stick may stay plugged in.
    Memory(io::Error),
}

impl fmt::Display for Rejection {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(to),
            Self::OnTrial => to.write_str("the version that runs has to prove itself first"),
            Self::Same(version) => write!(to, "it is version {version}, which runs already"),
            Self::Older { version, running } => write!(
                to,
                "it is version {version}, which is older than version {running} that runs"
            ),
            Self::TooFar { min_from, running } => write!(
                to,
                "version {running}, which runs, is too old for it (version {min_from} can be updated to it)"
            ),
            Self::Tried(version) => {
                write!(to, "version {version} was tried before and did not come up")
            }
            Self::Source(error) => write!(to, "it cannot be read ({})", reason(error)),
            Self::Slot(fault) => fault.fmt(to),
            Self::Bootstate(error) => write!(to, "the bootstate cannot be written ({})", reason(error)),
            Self::Memory(error) => write!(to, "the data disk cannot be written ({})", reason(error)),
        }
    }
}

/// The sentence about an update that was not taken; `running` is what people call the version that goes on.
pub(crate) fn refusal_sentence(rejection: &Rejection, running: &str) -> String {
    format!("The update was not taken: {rejection}. {running} goes on running.")
}

/// The sentence about one that was.
pub(crate) fn taken_sentence(taken: &Taken) -> String {
    format!(
        "The update to version {} ({}) is written; the box starts again with it.",
        taken.version, taken.name
    )
}

/// Reads the header and judges it; nothing is written.
///
/// # Errors
/// Why it would not be taken.
pub(crate) fn judge(
    source: &mut impl Source,
    raws: &mut Raws<impl Raw>,
    own: &Box<'_>,
) -> Result<Judged, Rejection> {
    let state = bootstate::load(&mut raws.bootstate).map_err(Rejection::Bootstate)?;
    let mut octets = [0; HEADER_OCTETS];
    if source.octets() < HEADER_OCTETS as u64 {
        return Err(Rejection::Refused(Refusal::Truncated));
    }
    source.read_at(0, &mut octets).map_err(Rejection::Source)?;
    let header = Header::read(&octets, own.roots).map_err(Rejection::Refused)?;
    let needs = Needs {
        min_epoch: state.min_epoch,
        min_version: state.min_version,
        ..own.needs
    };
    header.admit(&needs).map_err(Rejection::Refused)?;
    if source.octets() < header.parts.slot_octets() as u64 {
        return Err(Rejection::Refused(Refusal::Truncated));
    }
    let (version, running) = (header.version, own.version);
    if version == running {
        return Err(Rejection::Same(version));
    }
    if version < running {
        return Err(Rejection::Older { version, running });
    }
    if header.min_from > running {
        return Err(Rejection::TooFar {
            min_from: header.min_from,
            running,
        });
    }
    // Last: it is the one that passes by itself.
    if !state.slot(own.running).is_good && has_way_back(raws, &state, own, &needs) {
        return Err(Rejection::OnTrial);
    }
    Ok(Judged { header, octets })
}

/// Whether a version that has not found itself good has another to go back to, which must not be written over. One that
/// the loader could not start beside it is none: then an update is the only help.
fn has_way_back(raws: &mut Raws<impl Raw>, state: &State, own: &Box<'_>, needs: &Needs) -> bool {
    let other = own.running.other();
    let remembered = state.slot(other);
    own.attempt != Attempt::Uncounted
        || remembered.is_bootable()
            && remembered.fault != Some(Fault::Load)
            && check::usable(raws.slot(other), state, other, needs, own.roots).is_ok()
}

/// Takes an update that was judged. `progress` is told the per cent; `before_switch` is called when the version lies whole
/// on the disk, and may still refuse it.
///
/// When this returns `Ok` the version is the next to be started, whatever happens to the power.
///
/// # Errors
/// Why not. The version that runs stays the one to be started.
pub(crate) fn apply(
    source: &mut impl Source,
    Judged { header, octets }: &Judged,
    raws: &mut Raws<impl Raw>,
    own: &Box<'_>,
    progress: impl FnMut(usize),
    before_switch: impl FnOnce() -> Result<(), Rejection>,
) -> Result<Taken, Rejection> {
    write::check(header, |at, into| source.read_at(at, into)).map_err(Rejection::Slot)?;
    let slot = own.running.other();
    let mut state = bootstate::load(&mut raws.bootstate).map_err(Rejection::Bootstate)?;
    state.abandon(slot);
    bootstate::store(&mut raws.bootstate, &state).map_err(Rejection::Bootstate)?;
    write::write(
        octets,
        header,
        |at, into| source.read_at(at, into),
        raws.slot(slot),
        own.roots,
        progress,
    )
    .map_err(Rejection::Slot)?;
    before_switch()?;
    state.install(slot);
    bootstate::store(&mut raws.bootstate, &state).map_err(Rejection::Bootstate)?;
    Ok(Taken {
        version: header.version,
        name: header.name.as_str().to_owned(),
    })
}

#[cfg(test)]
mod tests;
