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
    #[error("image/{file}, line {line}: expected 'VERSION  SHA256', found '{text}'")]
    Lock {
        file: &'static str,
        line: usize,
        text: String,
    },
    #[error("image/{file} names no version")]
    LockEmpty { file: &'static str },
    #[error(
        "apt offers no linux-source-6.12 and none is installed; \
         give a kernel source with --kernel-source FILE (a linux-source-6.12.tar.xz)"
    )]
    NoKernelSource,
    #[error("apt said that it downloaded {0}, and there is no such file")]
    NotDownloaded(String),
    #[error(
        "apt offers no e2fsck-static for arm64, which the box repairs its disk with \
         (the machine's own sources are asked, for another architecture)"
    )]
    NoE2fsck,
    #[error(
        "{} (version {version}) has SHA-256 {found}, which is not what image/{file} says: it is not used",
        path.display()
    )]
    Altered {
        file: &'static str,
        version: String,
        path: PathBuf,
        found: String,
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
        "the loader has {octets} octets, and may have {allowed}: see image/loader/README.md for what makes it large"
    )]
    LoaderTooLarge { octets: usize, allowed: usize },
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
    #[error(
        "the number of the version is unknown: this is no git checkout, or one without its history; \
         give it with --number N"
    )]
    NoNumber,
    #[error("'{0}' is no name for a version")]
    VersionName(String),
    #[error("the {what} has {} MiB; a slot of 32 MiB has no room for it", .octets.div_ceil(1 << 20))]
    TooLarge { what: &'static str, octets: u64 },
    #[error("the ESP could not be made: {0}")]
    Esp(io::Error),
    #[error("the files for the ESP have {wanted} octets; there is room for {place}")]
    EspFull { wanted: u64, place: u64 },
    #[error("no Raspberry Pi would start with the firmware in {}: {missing} missing", folder.display())]
    PiFirmware { folder: PathBuf, missing: String },
    #[error("{}, line {line}: {what}", path.display())]
    KeyFile {
        path: PathBuf,
        line: usize,
        what: String,
    },
    #[error("{} is a '{kind}', not {wanted}", path.display())]
    KeyKind {
        path: PathBuf,
        kind: String,
        wanted: &'static str,
    },
    #[error("{} can be read by others, so its key is not used (chmod 600 makes it private)", .0.display())]
    KeyNotPrivate(PathBuf),
    #[error("{}: {what}", path.display())]
    NotWhole { path: PathBuf, what: String },
    #[error("the system gives no random octets for a key: {0}")]
    Random(String),
    #[error(
        "--release needs --key FILE, a release key. 'cargo image key root ROOT' and \
         'cargo image key release FILE --root ROOT --epoch 1' make one"
    )]
    ReleaseWithoutKey,
    #[error(
        "--release refuses a development key: make a release key with 'cargo image key root ROOT' and \
         'cargo image key release FILE --root ROOT --epoch 1'"
    )]
    ReleaseWithDevelopmentKey,
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
