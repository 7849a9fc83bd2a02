//! What can go wrong with a machine, in words for the person who started it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// Everything this crate reports.
#[derive(Debug, Error)]
pub enum Error {
    /// A program or a firmware that is needed is not installed.
    #[error("'{what}' is not installed (Debian package: {package})")]
    Missing {
        /// What was to be run.
        what: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A file could not be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// The verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no image to boot.
    #[error("{} is not there: 'cargo image' builds it", .0.display())]
    NoImage(PathBuf),
    /// The disk file does not exist.
    #[error("the disk {} is not there (a new, empty one: truncate -s 4G {})", .0.display(), .0.display())]
    NoDisk(PathBuf),
    /// The disk file holds something else.
    #[error("{} is not a disk of the box: {why}", path.display())]
    NotADisk {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// The image does not fit on the disk that it is to be flashed to.
    #[error("a disk of {octets} octets is too small for the image, which has {needed}")]
    DiskTooSmall {
        /// What the disk was to have.
        octets: u64,
        /// What it must have.
        needed: u64,
    },
    /// Words for the kernel of a machine whose kernel's command line cannot be changed.
    #[error("'{0}' cannot be told the kernel: behind a firmware its command line is signed into the image")]
    SignedLine(String),
    /// Another machine uses the disk.
    #[error("the disk is in use by another machine that runs")]
    DiskInUse,
    /// A port on this computer is taken.
    #[error("port {0} on this computer is taken by another program")]
    PortTaken(u16),
    /// QEMU ended before the machine was up.
    #[error("QEMU did not start the machine: {0}")]
    NotStarted(String),
    /// The machine's control socket failed or refused.
    #[error("QEMU's control socket (QMP): {0}")]
    Control(String),
    /// A line that was waited for did not come.
    #[error("'{text}' was not on the console within {} s; its last lines:\n{tail}", within.as_secs())]
    NotSeen {
        /// What was waited for.
        text: String,
        /// How long.
        within: Duration,
        /// The end of the console.
        tail: String,
    },
    /// The machine ended while a line was waited for.
    #[error("the machine ended before '{text}' was on the console; its last lines:\n{tail}")]
    Ended {
        /// What was waited for.
        text: String,
        /// The end of the console.
        tail: String,
    },
    /// The machine still runs.
    #[error("the machine still runs after {} s; the last lines of its console:\n{tail}", within.as_secs())]
    StillRuns {
        /// How long was waited.
        within: Duration,
        /// The end of the console.
        tail: String,
    },
}

impl Error {
    /// For `map_err` around file calls: `.map_err(Error::file("write", &path))`.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}
