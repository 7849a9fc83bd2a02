//! The kernel of the box: decided on, built once, and kept in the user's cache folder.

pub(crate) mod config;

mod build;
mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::lock::sha256_of_text;
use crate::tool;
use config::Fragment;
use source::{KernelLock, Source};

const FRAGMENT: &str = include_str!("../../../kernel.config");
const LOCK: &str = include_str!("../../../kernel.lock");
const COMPILER: &str = "aarch64-linux-gnu-gcc";
const COMPILER_PACKAGE: &str = "gcc-aarch64-linux-gnu";

/// A finished kernel, twice: the same build in the two shapes that firmware and emulator start.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Debian's version of the source.
    pub(crate) version: String,
    /// Whether `image/kernel.lock` vouches for the source.
    pub(crate) pinned: bool,
    /// The EFI program that unpacks itself (zstd): what UEFI and U-Boot start.
    pub(crate) zboot: PathBuf,
    /// The bare kernel: what `qemu-system-aarch64 -kernel` starts. QEMU 10.0 unpacks gzip zboots only.
    pub(crate) bare: PathBuf,
    /// The device trees of the boards whose firmware brings none.
    pub(crate) device_trees: Vec<PathBuf>,
}

/// Gives the kernel from the cache, building it first where it is not there.
///
/// A kernel in the cache is found again by the version of its source, the fragment and the compiler.
/// `given` is a source tarball that somebody wants instead of Debian's package.
pub(crate) fn kernel(cache: &Path, given: Option<&Path>) -> Result<Kernel, Error> {
    let fragment = Fragment::parse(FRAGMENT)?;
    let lock = KernelLock::parse(LOCK)?;
    let compiler = tool::text(Command::new(COMPILER).arg("--version"), COMPILER_PACKAGE)?;
    let place = |source: &Source| cache.join("kernel").join(key(source, &compiler));

    if given.is_none() {
        // The ordinary case, and it asks apt nothing.
        let source = lock.pinned_source();
        if let Some(kernel) = cached(&place(&source), &source) {
            return Ok(kernel);
        }
    }
    let source = lock.resolve(given)?;
    let place = place(&source);
    if let Some(kernel) = cached(&place, &source) {
        return Ok(kernel);
    }
    let folder = cache.join("kernel");
    fs::create_dir_all(&folder).map_err(Error::file("make the folder", &folder))?;
    let _only_one = only_one(&folder)?;
    // Another build may have finished it while this one waited.
    if let Some(kernel) = cached(&place, &source) {
        return Ok(kernel);
    }
    build::build(&source, &fragment, FRAGMENT, &place)?;
    cached(&place, &source).ok_or_else(|| Error::Kernel {
        tail: format!("no kernel in {}", place.display()),
        log: build::log(&place),
    })
}

/// Everything that the octets of the kernel depend on, in sixteen digits.
fn key(source: &Source, compiler: &str) -> String {
    let compiler = compiler.lines().next().unwrap_or_default();
    let all = format!(
        "{}\n{}\n{compiler}\n{FRAGMENT}",
        source.version,
        build::IDENTITY
            .map(|(name, value)| format!("{name}={value}"))
            .join("\n")
    );
    sha256_of_text(&all)[..16].to_owned()
}

fn cached(place: &Path, source: &Source) -> Option<Kernel> {
    let (zboot, bare) = (place.join(build::ZBOOT), place.join(build::BARE));
    let device_trees: Vec<PathBuf> = build::DEVICE_TREES.map(|name| place.join(name)).into();
    let is_whole = [&zboot, &bare]
        .into_iter()
        .chain(&device_trees)
        .all(|file| file.is_file());
    is_whole.then(|| Kernel {
        version: source.version.clone(),
        pinned: source.is_pinned(),
        zboot,
        bare,
        device_trees,
    })
}

/// Two builds at once would compile the same thing twice and get in each other's way.
fn only_one(folder: &Path) -> Result<fs::File, Error> {
    let path = folder.join("lock");
    let file = fs::File::create(&path).map_err(Error::file("open", &path))?;
    if file.try_lock().is_err() {
        eprintln!("kernel: another build is running; waiting for it");
        file.lock().map_err(Error::file("lock", &path))?;
    }
    Ok(file)
}
