#![doc = include_str!("../README.md")]

mod calls;
mod files;
#[cfg(feature = "hostile")]
pub mod hostile;

pub use calls::{Calls, Must};
pub use files::{Files, Kernel, Net};

use std::io;

/// Why a cage could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum CageError {
    /// Threads that run already would stay outside.
    #[error("the cage has to be closed before there are threads, and there are {0}")]
    Threads(usize),
    /// A folder or file that is to stay open cannot be looked at.
    #[error("{path} cannot be kept open in the cage: {source}")]
    Path {
        /// Which.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel is older than the program asks for, or was built without.
    #[error("this kernel cannot confine the program to its files (Landlock): {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// The list of calls was refused.
    #[error("this kernel cannot confine the program to its system calls (seccomp): {0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// Closes the cage around this process, for good. Gives whether the kernel enforces all of it.
///
/// # Errors
/// The program has to end: it may be half closed.
pub fn close(files: &Files<'_>, net: Net, calls: &Calls, kernel: Kernel) -> Result<bool, CageError> {
    // No thread may be left outside. Where there is no /proc, there is no box either.
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(CageError::Threads(threads));
    }
    let is_whole = files.restrict(net, kernel)?;
    calls.restrict()?;
    Ok(is_whole)
}

#[cfg(test)]
mod tests;
