//! Where the kernel's source comes from: Debian's package `linux-source-6.12`, in the pinned version if it can
//! be had, and verified by apt's signatures in any case.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::tool;

pub(crate) const PACKAGE: &str = "linux-source-6.12";
const TARBALL: &str = "usr/src/linux-source-6.12.tar.xz";

/// `image/kernel.lock`: known versions with the SHA-256 of their source, the pinned one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    known: Vec<(String, String)>,
}

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

impl Lock {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut known = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_without_comment = line.split('#').next().unwrap_or_default();
            let mut words = line_without_comment.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (None, ..) => {}
                (Some(version), Some(sha256), None) if is_sha256(sha256) => {
                    known.push((version.to_owned(), sha256.to_owned()));
                }
                _ => {
                    return Err(Error::Lock {
                        line: index + 1,
                        text: line.trim().to_owned(),
                    });
                }
            }
        }
        if known.is_empty() {
            return Err(Error::LockEmpty);
        }
        Ok(Self { known })
    }

    fn pinned(&self) -> &str {
        &self.known[0].0 // `parse` refuses a lock file without a version.
    }

    fn sha256(&self, version: &str) -> Option<String> {
        self.known
            .iter()
            .find(|(known, _)| known == version)
            .map(|(_, sha256)| sha256.clone())
    }

    fn version_of(&self, sha256: &str) -> Option<String> {
        self.known
            .iter()
            .find(|(_, known)| known == sha256)
            .map(|(version, _)| version.clone())
    }

    fn source(&self, version: &str, place: Place) -> Source {
        Source {
            version: version.to_owned(),
            sha256: self.sha256(version),
            place,
        }
    }

    /// The pinned version, wherever it may come from. What was built from it before needs no apt at all.
    pub(crate) fn pinned_source(&self) -> Source {
        self.source(self.pinned(), Place::Apt)
    }

    /// Decides where the source comes from: the file that was given, what is installed, what apt offers.
    pub(crate) fn resolve(&self, given: Option<&Path>) -> Result<Source, Error> {
        if let Some(path) = given {
            let sha256 = sha256_of(path)?;
            let version = self.version_of(&sha256).unwrap_or_else(|| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                format!("{name} {}", &sha256[..16])
            });
            return Ok(self.source(&version, Place::File(path.to_owned())));
        }
        let installed = installed_version();
        let offered = offered_versions();
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
        let pinned = self.pinned();
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
                return Err(Error::KernelSourceAltered {
                    version: self.version.clone(),
                    found,
                    expected: expected.clone(),
                });
            }
        }
        Ok(tarball)
    }

    /// apt checks the package against the signed list; root is not needed, for nothing is installed.
    fn download(&self, folder: &Path) -> Result<PathBuf, Error> {
        eprintln!("kernel: getting {PACKAGE} {} by apt", self.version);
        let package = format!("{PACKAGE}={}", self.version);
        tool::output(
            Command::new("apt-get")
                .args(["--quiet", "download", &package])
                .current_dir(folder),
            "apt",
        )?;
        let deb = fs::read_dir(folder)
            .map_err(Error::file("read", folder))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or(Error::NoKernelSource)?;
        let unpacked = folder.join("package");
        tool::output(
            Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked),
            "dpkg",
        )?;
        fs::remove_file(&deb).map_err(Error::file("remove", &deb))?;
        Ok(unpacked.join(TARBALL))
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// The version that dpkg installed, if its tarball is there.
fn installed_version() -> Option<String> {
    let mut query = Command::new("dpkg-query");
    let version = tool::text(query.args(["--show", "--showformat=${Version}", PACKAGE]), "dpkg").ok()?;
    (!version.is_empty() && Path::new("/").join(TARBALL).is_file()).then_some(version)
}

/// The versions apt offers, newest first; none where there is no apt.
fn offered_versions() -> Vec<String> {
    let list = tool::text(Command::new("apt-cache").args(["madison", PACKAGE]), "apt").unwrap_or_default();
    versions(&list)
}

/// `linux-source-6.12 | 6.12.117-1~deb12u1 | archive bookworm-security/main amd64 Packages`, a line each.
fn versions(madison: &str) -> Vec<String> {
    madison
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            (columns.next() == Some(PACKAGE))
                .then(|| columns.next())
                .flatten()
        })
        .filter(|version| version.starts_with("6.12."))
        .map(str::to_owned)
        .collect()
}

fn sha256_of(path: &Path) -> Result<String, Error> {
    let mut file = fs::File::open(path).map_err(Error::file("open", path))?;
    let mut hash = Hasher(Sha256::new());
    std::io::copy(&mut file, &mut hash).map_err(Error::file("read", path))?;
    Ok(hex(&hash.0.finalize()))
}

/// Lower-case hexadecimal digits of the SHA-256 of some text.
pub(crate) fn sha256_of_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(octets: &[u8]) -> String {
    use std::fmt::Write;
    octets.iter().fold(String::new(), |mut out, octet| {
        let _ = write!(out, "{octet:02x}"); // Writing to a String cannot fail.
        out
    })
}

struct Hasher(Sha256);

impl std::io::Write for Hasher {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.update(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        Lock::parse(&format!(
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
    fn apts_list_is_read_newest_first() {
        let list = " linux-source-6.12 | 6.12.11-1 | somewhere bookworm/main amd64 Packages\n \
                    linux-source-6.12 | 6.12.9-1 | elsewhere bookworm/main amd64 Packages\n";
        assert_eq!(versions(list), ["6.12.11-1", "6.12.9-1"]);
        assert_eq!(versions("N: Unable to locate package\n"), Vec::<String>::new());
    }

    #[test]
    fn a_slip_in_the_lock_file_is_named_with_its_line() {
        let slip = |text: &str| Lock::parse(text).unwrap_err().to_string();
        assert!(slip("# only a comment\n").contains("names no version"));
        assert!(slip("\n6.12.9-1 abc\n").contains("line 2"));
        assert!(slip(&format!("6.12.9-1 {} more\n", "a".repeat(64))).contains("line 1"));
    }

    #[test]
    fn an_altered_source_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source.tar.xz");
        fs::write(&path, b"abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let lock = Lock::parse(&format!("6.12.9-1 {abc}\n")).unwrap();
        let source = lock.resolve(Some(&path)).unwrap();
        assert_eq!((source.version.as_str(), source.is_pinned()), ("6.12.9-1", true));
        assert_eq!(source.tarball(folder.path()).unwrap(), path);

        fs::write(&path, b"abd").unwrap();
        let refused = source.tarball(folder.path()).unwrap_err();
        assert!(matches!(refused, Error::KernelSourceAltered { .. }), "{refused}");
    }

    #[test]
    fn the_lock_file_of_the_house_is_well_formed() {
        Lock::parse(include_str!("../../../kernel.lock")).unwrap();
    }
}
