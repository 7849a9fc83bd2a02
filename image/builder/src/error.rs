//! What can go wrong while an image is built, in words for the person who built it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::cpio::CpioError;
use crate::kernel::config::{Difference, FragmentError};

#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("'{tool}' is not installed (Debian: apt install {package})")]
    ToolMissing { tool: String, package: &'static str },
    #[error("'{tool}' could not be run: {source}")]
    ToolNotRun { tool: String, source: io::Error },
    #[error("'{tool}' failed ({status}){}", after_colon(said))]
    ToolFailed {
        tool: String,
        status: String,
        said: String,
    },
    #[error("image/kernel.lock, line {line}: expected 'VERSION  SHA256', found '{text}'")]
    Lock { line: usize, text: String },
    #[error("image/kernel.lock names no version")]
    LockEmpty,
    #[error(
        "apt offers no linux-source-6.12 and none is installed; \
         give a kernel source with --kernel-source FILE (a linux-source-6.12.tar.xz)"
    )]
    NoKernelSource,
    #[error(
        "the kernel source {version} has SHA-256 {found}, but image/kernel.lock says {expected}: it is not used"
    )]
    KernelSourceAltered {
        version: String,
        found: String,
        expected: String,
    },
    #[error("image/kernel.config: {0}")]
    Fragment(#[from] FragmentError),
    #[error("image/kernel.config: the kernel knows no such symbol: {0}")]
    UnknownSymbols(String),
    #[error("the kernel's configuration is not what image/kernel.config asks for:\n{}", listed(.0))]
    Config(Vec<Difference>),
    #[error("the kernel did not build; its last lines:\n{tail}\nAll of them: {}", log.display())]
    Kernel { tail: String, log: PathBuf },
    #[error("{0} did not build (cargo's own words are above)")]
    Program(&'static str),
    #[error(
        "the date of the build is unknown: this is not a git checkout; set SOURCE_DATE_EPOCH to seconds since 1970"
    )]
    NoDate,
    #[error("SOURCE_DATE_EPOCH is '{0}', which is not a number of seconds since 1970")]
    Date(String),
    #[error("the archive: {0}")]
    Cpio(#[from] CpioError),
    #[error("the archive could not be compressed: {0}")]
    Compress(io::Error),
}

impl Error {
    /// For `map_err` around file calls: `.map_err(Error::file("write", &path))`.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}

fn listed(differences: &[Difference]) -> String {
    let lines: Vec<String> = differences.iter().map(|d| format!("  {d}")).collect();
    lines.join("\n")
}

fn after_colon(said: &str) -> String {
    if said.trim().is_empty() {
        String::new()
    } else {
        format!(": {}", said.trim())
    }
}
