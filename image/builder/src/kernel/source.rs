//! Where the kernel's source comes from: Debian's package `linux-source-6.12`, in the pinned version if it can
//! be had, and verified by apt's signatures in any case.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt::Apt;
use crate::error::Error;
use crate::lock::{Lock, sha256_of};
use crate::tool;

pub(crate) const LOCK_FILE: &str = "kernel.lock";
pub(crate) const PACKAGE: &str = "linux-source-6.12";
const VERSIONS: &str = "6.12.";
const TARBALL: &str = "usr/src/linux-source-6.12.tar.xz";

/// `image/kernel.lock`: known versions with the SHA-256 of their source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelLock(Lock);

/// A source that was decided on. It may not be on this machine yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Debian's version (`6.12.117-1~deb12u1`), or the name of a file that was given and is not known.
    pub(crate) version: String,
    /// The SHA-256 the lock file has for it, if any.
    pub(crate) sha256: Option<String>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Apt,
}

impl KernelLock {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        Lock::parse(LOCK_FILE, text).map(Self)
    }

    fn source(&self, version: &str, place: Place) -> Source {
        Source {
            version: version.to_owned(),
            sha256: self.0.sha256(version).map(str::to_owned),
            place,
        }
    }

    /// The pinned version, wherever it may come from. What was built from it before needs no apt at all.
    pub(crate) fn pinned_source(&self) -> Source {
        self.source(self.0.pinned(), Place::Apt)
    }

    /// Decides where the source comes from: the file that was given, what is installed, what apt offers.
    pub(crate) fn resolve(&self, given: Option<&Path>) -> Result<Source, Error> {
        if let Some(path) = given {
            let sha256 = sha256_of(path)?;
            let version = self.0.version_of(&sha256).map_or_else(
                || {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    format!("{name} {}", &sha256[..16])
                },
                str::to_owned,
            );
            return Ok(self.source(&version, Place::File(path.to_owned())));
        }
        let installed = installed_version();
        let mut offered = Apt::of_machine().offered(PACKAGE);
        offered.retain(|version| version.starts_with(VERSIONS));
        let version = self
            .choose(installed.as_deref(), &offered)
            .ok_or(Error::NoKernelSource)?;
        let place = if installed.as_deref() == Some(version.as_str()) {
            Place::File(Path::new("/").join(TARBALL))
        } else {
            Place::Apt
        };
        Ok(self.source(&version, place))
    }

    /// Pinned if possible, else the newest that apt offers (it lists the newest first), else what is installed.
    fn choose(&self, installed: Option<&str>, offered: &[String]) -> Option<String> {
        let pinned = self.0.pinned();
        if installed == Some(pinned) || offered.iter().any(|version| version == pinned) {
            return Some(pinned.to_owned());
        }
        offered
            .first()
            .map(String::as_str)
            .or(installed)
            .map(str::to_owned)
    }
}

impl Source {
    /// Whether the lock file vouches for it.
    pub(crate) fn is_pinned(&self) -> bool {
        self.sha256.is_some()
    }

    /// The tarball on this machine, downloaded into `folder` if need be, compared with the lock file.
    pub(crate) fn tarball(&self, folder: &Path) -> Result<PathBuf, Error> {
        let tarball = match &self.place {
            Place::File(path) => path.clone(),
            Place::Apt => self.download(folder)?,
        };
        if let Some(expected) = &self.sha256 {
            let found = sha256_of(&tarball)?;
            if found != *expected {
                return Err(Error::Altered {
                    file: LOCK_FILE,
                    version: self.version.clone(),
                    path: tarball,
                    found,
                });
            }
        }
        Ok(tarball)
    }

    /// apt checks the package against the signed list; root is not needed, for nothing is installed.
    fn download(&self, folder: &Path) -> Result<PathBuf, Error> {
        eprintln!("kernel: getting {PACKAGE} {} by apt", self.version);
        let unpacked = Apt::of_machine().unpacked(PACKAGE, &self.version, folder)?;
        Ok(unpacked.join(TARBALL))
    }
}

/// The version that dpkg installed, if its tarball is there.
fn installed_version() -> Option<String> {
    let mut query = Command::new("dpkg-query");
    let version = tool::text(query.args(["--show", "--showformat=${Version}", PACKAGE]), "dpkg").ok()?;
    (!version.is_empty() && Path::new("/").join(TARBALL).is_file()).then_some(version)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn lock() -> KernelLock {
        KernelLock::parse(&format!(
            "# why\n6.12.9-1  {}\n6.12.8-1  {}\n",
            "a".repeat(64),
            "b".repeat(64)
        ))
        .unwrap()
    }

    fn chosen(installed: Option<&str>, offered: &[&str]) -> Option<String> {
        let offered: Vec<String> = offered.iter().map(|version| (*version).to_owned()).collect();
        lock().choose(installed, &offered)
    }

    #[test]
    fn the_pinned_version_is_taken_wherever_it_can_be_had() {
        assert_eq!(chosen(Some("6.12.9-1"), &["6.12.11-1"]).unwrap(), "6.12.9-1");
        assert_eq!(
            chosen(Some("6.12.8-1"), &["6.12.11-1", "6.12.9-1"]).unwrap(),
            "6.12.9-1"
        );
    }

    #[test]
    fn without_the_pinned_version_the_newest_offered_is_taken() {
        assert_eq!(
            chosen(Some("6.12.7-1"), &["6.12.11-1", "6.12.8-1"]).unwrap(),
            "6.12.11-1"
        );
        assert_eq!(chosen(Some("6.12.7-1"), &[]).unwrap(), "6.12.7-1");
        assert_eq!(chosen(None, &[]), None);
    }

    #[test]
    fn a_version_the_lock_file_does_not_know_is_unpinned() {
        assert!(lock().pinned_source().is_pinned());
        assert!(lock().source("6.12.8-1", Place::Apt).is_pinned());
        assert!(!lock().source("6.12.11-1", Place::Apt).is_pinned());
    }

    #[test]
    fn an_altered_source_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source.tar.xz");
        fs::write(&path, b"abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let lock = KernelLock::parse(&format!("6.12.9-1 {abc}\n")).unwrap();
        let source = lock.resolve(Some(&path)).unwrap();
        assert_eq!((source.version.as_str(), source.is_pinned()), ("6.12.9-1", true));
        assert_eq!(source.tarball(folder.path()).unwrap(), path);

        fs::write(&path, b"abd").unwrap();
        let refused = source.tarball(folder.path()).unwrap_err();
        assert!(matches!(refused, Error::Altered { .. }), "{refused}");
    }

    #[test]
    fn the_lock_file_of_the_house_is_well_formed() {
        KernelLock::parse(include_str!("../../../kernel.lock")).unwrap();
    }
}
