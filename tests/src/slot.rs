//! Versions of the box that were never released: the image that was built last, changed in one thing and signed again with
//! this computer's development key, as its own maker would.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use format::header::{About, HEADER_OCTETS, NAME_OCTETS_MAX, Part, Parts};
use format::{Board, Header, Roots, SigningKey};

use crate::stage::saboteur;

/// A version, with what one may want to be wrong in it.
#[derive(Clone, Debug)]
pub struct Version {
    /// Counts up with each release.
    pub number: u64,
    /// The lowest version that may be updated to it.
    pub min_from: u64,
    /// The lowest version of the loader that can start it.
    pub loader_min: u32,
    /// The boards it is for, a bit each.
    pub boards: u32,
    /// The epoch of its release key.
    pub epoch: u32,
    /// The kernel's command line.
    pub command_line: String,
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The initial file system.
    pub cpio: Vec<u8>,
    /// When it was built, in seconds since 1970.
    pub built: u64,
}

impl Version {
    /// The one that `cargo image` wrote last.
    ///
    /// # Errors
    /// There is none, or it is not signed by this computer's development key.
    pub fn built() -> io::Result<Version> {
        let path = qemu::target().join("image/ci/postolka-virt.update");
        let octets = fs::read(&path).map_err(|error| {
            io::Error::other(format!("{}: {error}; 'cargo image' makes it", path.display()))
        })?;
        let root = development_key("root.key")?.public();
        let header = octets
            .first_chunk()
            .ok_or_else(|| io::Error::other("the update file is cut short"))?;
        let header = Header::read(header, Roots(&[root]))
            .map_err(|refusal| io::Error::other(format!("{}: {refusal}", path.display())))?;
        let part = |part| octets.get(header.parts.range(part)).unwrap_or_default().to_vec();
        let command_line = part(Part::CommandLine);
        Ok(Version {
            number: header.version,
            min_from: header.min_from,
            loader_min: header.loader_min,
            boards: header.boards,
            epoch: header.certificate.epoch,
            command_line: String::from_utf8_lossy(&command_line).into_owned(),
            kernel: part(Part::Kernel),
            cpio: part(Part::Cpio),
            built: header.built,
        })
    }

    /// The same, so many numbers later.
    #[must_use]
    pub fn later(mut self, by: u64) -> Version {
        self.number += by;
        self
    }

    /// The same with more words on the kernel's command line.
    #[must_use]
    pub fn with_words(mut self, words: &str) -> Version {
        self.command_line = format!("{} {words}", self.command_line);
        self
    }

    /// The same with a first process that fails in this way; see `drill/saboteur.rs`.
    ///
    /// # Errors
    /// The saboteur does not compile.
    pub fn sabotaged(mut self, how: &str) -> io::Result<Version> {
        saboteur(&mut self.cpio, "saboteur")?;
        Ok(self.with_words(&format!("rdinit=/saboteur saboteur={how}")))
    }

    /// The same with a mail process that never says a word.
    ///
    /// # Errors
    /// The saboteur does not compile.
    pub fn with_mute_maild(mut self) -> io::Result<Version> {
        saboteur(&mut self.cpio, "maild")?;
        Ok(self)
    }

    /// The same for another board only.
    #[must_use]
    pub fn for_another_board(mut self) -> Version {
        self.boards = Board::Rpi.bit();
        self
    }

    /// What people call it.
    pub fn name(&self) -> String {
        let name = format!("test {}", self.number);
        name.chars().take(NAME_OCTETS_MAX).collect()
    }

    /// Where a part lies in it, for damaging it.
    pub fn range(&self, part: Part) -> std::ops::Range<usize> {
        self.parts().range(part)
    }

    fn parts(&self) -> Parts {
        let length = |octets: usize| u32::try_from(octets).unwrap_or(u32::MAX);
        Parts {
            kernel: length(self.kernel.len()),
            cpio: length(self.cpio.len()),
            command_line: length(self.command_line.len()),
        }
    }

    /// The slot, which is also the update file.
    ///
    /// # Errors
    /// It has no room for all of it, or there is no development key.
    pub fn pack(&self) -> io::Result<Vec<u8>> {
        self.signed_by(&development_key("release.key")?)
    }

    /// The same, signed with a key that no root vouches for.
    ///
    /// # Errors
    /// As [`pack`](Self::pack).
    pub fn forged(&self) -> io::Result<Vec<u8>> {
        self.signed_by(&SigningKey::from_seed([7; 32]))
    }

    fn signed_by(&self, key: &SigningKey) -> io::Result<Vec<u8>> {
        let parts = self.parts();
        let mut slot = vec![0; parts.slot_octets()];
        for (part, octets) in [
            (Part::Kernel, self.kernel.as_slice()),
            (Part::Cpio, &self.cpio),
            (Part::CommandLine, self.command_line.as_bytes()),
        ] {
            slot[parts.range(part)].copy_from_slice(octets);
        }
        let release = development_key("release.key")?.public();
        let certificate = development_key("root.key")?.certify(release, self.epoch, true);
        let name = self.name();
        let about = About {
            boards: self.boards,
            version: self.number,
            min_from: self.min_from,
            loader_min: self.loader_min,
            built: self.built,
            name: &name,
        };
        let header = Header::unsigned(about, parts, certificate)
            .and_then(|header| header.sign(&slot[HEADER_OCTETS..], key).ok())
            .ok_or_else(|| io::Error::other("this version has no room in a slot"))?;
        slot[..HEADER_OCTETS].copy_from_slice(&header);
        Ok(slot)
    }
}

/// A key of this computer's own, which `cargo image` made.
fn development_key(name: &str) -> io::Result<SigningKey> {
    let path = data_folder().join("postolka/development").join(name);
    let wrong = |what: &str| io::Error::other(format!("{}: {what}", path.display()));
    let text =
        fs::read_to_string(&path).map_err(|error| wrong(&format!("{error}; 'cargo image' makes it")))?;
    let seed = text.lines().find_map(|line| line.strip_prefix("seed: "));
    // A private key is written as a public one is: 64 digits.
    let seed = seed.and_then(|hex| format::keys::public_key_of_hex(hex.trim().as_bytes()));
    Ok(SigningKey::from_seed(
        seed.ok_or_else(|| wrong("it has no seed"))?,
    ))
}

/// The user's folder for data (XDG Base Directory Specification).
fn data_folder() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/share");
    std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| Path::is_absolute(path))
        .unwrap_or_else(home)
}
