//! Lock files: known versions of something that Debian offers, each with the SHA-256 of what we use of it.
//!
//! ```text
//! # Why.
//! VERSION  SHA256     the first line is the pinned version
//! VERSION  SHA256
//! ```

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::keyfile::hex;

/// A lock file, the pinned version first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    known: Vec<(String, String)>,
}

impl Lock {
    /// `file` is its name, for errors.
    pub(crate) fn parse(file: &'static str, text: &str) -> Result<Self, Error> {
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
                        file,
                        line: index + 1,
                        text: line.trim().to_owned(),
                    });
                }
            }
        }
        if known.is_empty() {
            return Err(Error::LockEmpty { file });
        }
        Ok(Self { known })
    }

    pub(crate) fn pinned(&self) -> &str {
        &self.known[0].0 // `parse` refuses a lock file without a version.
    }

    /// The versions, the pinned one first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|(version, _)| version.as_str())
    }

    pub(crate) fn sha256(&self, version: &str) -> Option<&str> {
        self.known
            .iter()
            .find(|(known, _)| known == version)
            .map(|(_, sha256)| sha256.as_str())
    }

    pub(crate) fn version_of(&self, sha256: &str) -> Option<&str> {
        self.known
            .iter()
            .find(|(_, known)| known == sha256)
            .map(|(version, _)| version.as_str())
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// The SHA-256 of a file, in lower-case hexadecimal digits.
pub(crate) fn sha256_of(path: &Path) -> Result<String, Error> {
    let mut file = fs::File::open(path).map_err(Error::file("open", path))?;
    let mut hash = Hasher(Sha256::new());
    io::copy(&mut file, &mut hash).map_err(Error::file("read", path))?;
    Ok(hex(&hash.0.finalize()))
}

/// The same of some text.
pub(crate) fn sha256_of_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.update(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Lock, Error> {
        Lock::parse("a.lock", text)
    }

    #[test]
    fn a_slip_in_a_lock_file_is_named_with_its_line() {
        let slip = |text: &str| parsed(text).unwrap_err().to_string();
        assert_eq!(slip("# only a comment\n"), "image/a.lock names no version");
        assert!(slip("\n6.12.9-1 abc\n").starts_with("image/a.lock, line 2: "));
        assert!(slip(&format!("6.12.9-1 {} more\n", "a".repeat(64))).contains("line 1"));
    }

    #[test]
    fn versions_and_sums_are_found_by_each_other() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let lock = parsed(&format!("# why\n2-1  {a}\n1-1  {b} # older\n")).unwrap();
        assert_eq!(lock.pinned(), "2-1");
        assert_eq!(lock.versions().collect::<Vec<_>>(), ["2-1", "1-1"]);
        assert_eq!(lock.sha256("1-1"), Some(b.as_str()));
        assert_eq!(lock.version_of(&b), Some("1-1"));
        assert_eq!(lock.sha256("3-1"), None);
    }
}
