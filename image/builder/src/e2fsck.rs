//! The program that repairs a data file system: Debian's static build for the box's processor.
//!
//! `image/e2fsck.lock` pins it, with the SHA-256 of the program. What was decided on for a lock file is kept in the user's
//! cache folder; another lock file decides anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::Apt;
use crate::build::read;
use crate::error::Error;
use crate::lock::{Lock, sha256_of, sha256_of_text};

const LOCK: &str = include_str!("../../e2fsck.lock");
const LOCK_FILE: &str = "e2fsck.lock";
const PACKAGE: &str = "e2fsck-static";
const ARCHITECTURE: &str = "arm64";
/// How the program is called in the cache, before its version.
const PROGRAM: &str = "e2fsck.static-";
/// Where it is in the package. Debian moved it in version 13.
const PLACES: [&str; 2] = ["usr/sbin/e2fsck.static", "sbin/e2fsck.static"];

/// The program and where it is from.
#[derive(Debug)]
pub(crate) struct E2fsck {
    pub(crate) octets: Vec<u8>,
    /// Debian's version.
    pub(crate) version: String,
    /// Whether the lock file vouches for it.
    pub(crate) is_pinned: bool,
}

/// Gives the program from the cache, getting it by apt first where it is not there.
pub(crate) fn e2fsck(cache: &Path) -> Result<E2fsck, Error> {
    let lock = Lock::parse(LOCK_FILE, LOCK)?;
    let folder = folder(cache);
    // The ordinary case, and it asks apt nothing.
    if let Some((version, path)) = kept(&folder) {
        return checked(&lock, &version, &path);
    }
    let work = folder.join(format!("work.{}", std::process::id()));
    fs::create_dir_all(&work).map_err(Error::file("make the folder", &work))?;
    let got = get(&lock, &folder, &work);
    fs::remove_dir_all(&work).map_err(Error::file("remove", &work))?;
    got
}

fn get(lock: &Lock, folder: &Path, work: &Path) -> Result<E2fsck, Error> {
    println!("e2fsck: getting Debian's {PACKAGE} for {ARCHITECTURE} by apt, once");
    let apt = Apt::of_architecture(ARCHITECTURE, work)?;
    let offered = apt.offered(PACKAGE);
    let version = choose(lock, &offered).ok_or(Error::NoE2fsck)?;
    let unpacked = apt.unpacked(PACKAGE, version, work)?;
    let program = PLACES
        .iter()
        .map(|name| unpacked.join(name))
        .find(|path| path.is_file())
        .ok_or(Error::NoE2fsck)?;
    let found = checked(lock, version, &program)?;
    let kept = folder.join(format!("{PROGRAM}{version}"));
    fs::rename(&program, &kept).map_err(Error::file("write", &kept))?;
    Ok(found)
}

/// A version that is known if there is one, the pinned one first; else the newest.
fn choose<'a>(lock: &'a Lock, offered: &'a [String]) -> Option<&'a str> {
    lock.versions()
        .find(|known| offered.iter().any(|version| version == known))
        .or(offered.first().map(String::as_str))
}

/// The program, compared with the lock file.
fn checked(lock: &Lock, version: &str, path: &Path) -> Result<E2fsck, Error> {
    if let Some(expected) = lock.sha256(version) {
        let found = sha256_of(path)?;
        if found != expected {
            return Err(Error::Altered {
                file: LOCK_FILE,
                version: version.to_owned(),
                found,
                path: path.to_owned(),
            });
        }
    }
    Ok(E2fsck {
        octets: read(path)?,
        version: version.to_owned(),
        is_pinned: lock.sha256(version).is_some(),
    })
}

fn folder(cache: &Path) -> PathBuf {
    cache.join("e2fsck").join(&sha256_of_text(LOCK)[..16])
}

/// The program in the folder, which has its version in its name.
fn kept(folder: &Path) -> Option<(String, PathBuf)> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(PROGRAM)?.to_owned();
            Some((version, entry.path()))
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn chosen(offered: &[&str]) -> Option<String> {
        let lock = Lock::parse("a.lock", &format!("2-1  {}\n1-1  {0}\n", "a".repeat(64))).unwrap();
        let offered: Vec<String> = offered.iter().map(|version| (*version).to_owned()).collect();
        choose(&lock, &offered).map(str::to_owned)
    }

    #[test]
    fn a_known_version_is_taken_wherever_it_can_be_had() {
        assert_eq!(chosen(&["3-1", "2-1", "1-1"]).unwrap(), "2-1");
        assert_eq!(chosen(&["3-1", "1-1"]).unwrap(), "1-1");
        assert_eq!(chosen(&["4-1", "3-1"]).unwrap(), "4-1");
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn an_altered_program_is_not_used() {
        let cache = tempfile::tempdir().unwrap();
        let lock = Lock::parse(LOCK_FILE, LOCK).unwrap();
        let folder = folder(cache.path());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{PROGRAM}{}", lock.pinned())), b"#!/bin/sh\n").unwrap();
        let said = e2fsck(cache.path()).unwrap_err().to_string();
        assert!(said.contains("not what image/e2fsck.lock says"), "{said}");
    }
}
