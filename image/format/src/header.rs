//! A slot, which is also an update file: the same octets.
//!
//! ```text
//!     0  header, 4 KiB, signed
//!  4096  kernel (EFI program), filled to 4 KiB
//!        initial file system (cpio, zstd), filled to 4 KiB
//!        command line (ASCII), filled to 4 KiB
//! ```
//!
//! The header, numbers little-endian:
//!
//! ```text
//!    0  16  "postolka slot v1"
//!   16   4  boards, one bit each
//!   20   4  flags: none yet
//!   24   8  version: counts up with each release
//!   32   8  min_from: the lowest version that may be updated to this one
//!   40   4  loader_min: the lowest version of the loader that can start it
//!   44   4  octets of the kernel
//!   48   4  octets of the initial file system
//!   52   4  octets of the command line
//!   56   8  when it was built, in seconds since 1970: the earliest time it can be
//!   64  32  its name for people, printable ASCII, filled with NUL
//!   96 104  certificate of the release key
//!  256 992  SHA-256 of each mebibyte behind the header, zeros where there is none
//! 4032  64  the release key's signature over all of the above
//! ```

use core::fmt;
use core::ops::Range;

use heapless::String;
use sha2::{Digest, Sha256};

use crate::board::Board;
use crate::keys::{CERTIFICATE_OCTETS, Certificate, Roots, SIGNATURE_OCTETS, SigningKey, verify};
use crate::line::Words;

/// The header, and the unit that parts are filled to.
pub const HEADER_OCTETS: usize = 4096;
/// What one hash is for.
pub const CHUNK_OCTETS: usize = 1 << 20;
/// A slot's partition is 32 MiB: the header, and whole chunks behind it.
pub const CHUNKS_MAX: usize = 31;
/// The longest command line.
pub const COMMAND_LINE_OCTETS_MAX: usize = 1024;
/// The longest name.
pub const NAME_OCTETS_MAX: usize = 32;

const MAGIC: &[u8; 16] = b"postolka slot v1";
const MAGIC_BEFORE_VERSION: usize = 15;
const HASH_OCTETS: usize = 32;
const CERTIFICATE_AT: usize = 96;
const HASHES_AT: usize = 256;
const HASHES_END: usize = HASHES_AT + CHUNKS_MAX * HASH_OCTETS;
const SIGNATURE_AT: usize = HEADER_OCTETS - SIGNATURE_OCTETS;

/// What a slot says of itself. One that was [read](Self::read) is signed by somebody the box trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The boards it runs on: [`Board::bit`] of each.
    pub boards: u32,
    /// Counts up with each release.
    pub version: u64,
    /// The lowest version that may be updated to this one.
    pub min_from: u64,
    /// The lowest version of the loader that can start it.
    pub loader_min: u32,
    /// When it was built, in seconds since 1970.
    pub built: u64,
    /// What people call it: `0.1.0 (2f91391)`.
    pub name: String<NAME_OCTETS_MAX>,
    /// Octets of the parts.
    pub parts: Parts,
    /// The release key, with a root's word for it.
    pub certificate: Certificate,
    hashes: [[u8; HASH_OCTETS]; CHUNKS_MAX],
}

/// How long the three parts are, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The kernel, an EFI program.
    pub kernel: u32,
    /// The initial file system.
    pub cpio: u32,
    /// The command line.
    pub command_line: u32,
}

/// Which part of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The kernel.
    Kernel,
    /// The initial file system.
    Cpio,
    /// The command line.
    CommandLine,
}

/// Why a slot is not started, or an update not taken. Displays as what follows "it" in a sentence: `it is for another
/// board`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Only zeros: nothing was ever written there.
    Empty,
    /// It does not begin as a slot does.
    NotASlot,
    /// A slot of a format that came later.
    Format,
    /// A field holds what it cannot.
    Field(&'static str),
    /// No root key that the box trusts has signed the release key.
    Untrusted,
    /// The release key has not signed this header: it was changed.
    Signature,
    /// It ends before its parts do.
    Truncated,
    /// Something was changed in the mebibyte that begins in this part.
    Hash(Part),
    /// It is for other boards.
    Board,
    /// It needs a loader that came later.
    Loader {
        /// The one it needs.
        needs: u32,
    },
    /// Its release key is out of force.
    Epoch {
        /// The key's.
        epoch: u32,
        /// The lowest one in force.
        min: u32,
    },
    /// It is older than what the box has run for good.
    Version {
        /// Its own.
        version: u64,
        /// The lowest that may run.
        min: u64,
    },
}

/// What a slot must meet beyond being genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The board it is to run on.
    pub board: Board,
    /// The version of the loader that is to start it.
    pub loader: u32,
    /// The lowest epoch of a release key in force.
    pub min_epoch: u32,
    /// The lowest version that may run.
    pub min_version: u64,
}

impl Parts {
    /// Where a part lies in the slot.
    pub fn range(&self, part: Part) -> Range<usize> {
        let kernel = HEADER_OCTETS..HEADER_OCTETS + self.kernel as usize;
        let cpio_at = filled(kernel.end);
        let cpio = cpio_at..cpio_at + self.cpio as usize;
        let line_at = filled(cpio.end);
        match part {
            Part::Kernel => kernel,
            Part::Cpio => cpio,
            Part::CommandLine => line_at..line_at + self.command_line as usize,
        }
    }

    /// The whole slot, header included.
    pub fn slot_octets(&self) -> usize {
        filled(self.range(Part::CommandLine).end)
    }

    /// How many chunks are hashed.
    pub fn chunks(&self) -> usize {
        (self.slot_octets() - HEADER_OCTETS).div_ceil(CHUNK_OCTETS)
    }

    /// Where a chunk lies in the slot. The last one is shorter.
    pub fn chunk_range(&self, chunk: usize) -> Range<usize> {
        let start = HEADER_OCTETS + chunk * CHUNK_OCTETS;
        start..(start + CHUNK_OCTETS).min(self.slot_octets())
    }

    fn check(&self) -> Result<(), Refusal> {
        // One by one: their sum must not overflow before it is compared.
        let most = (CHUNKS_MAX * CHUNK_OCTETS) as u64;
        for (octets, name) in [(self.kernel, "kernel length"), (self.cpio, "cpio length")] {
            if octets == 0 || u64::from(octets) > most {
                return Err(Refusal::Field(name));
            }
        }
        if self.command_line as usize > COMMAND_LINE_OCTETS_MAX {
            return Err(Refusal::Field("command line length"));
        }
        if self.chunks() > CHUNKS_MAX {
            return Err(Refusal::Field("length"));
        }
        Ok(())
    }

    /// Which part a chunk begins in. It may go on into the next.
    fn part_of(&self, chunk: usize) -> Part {
        let start = self.chunk_range(chunk).start;
        if start < filled(self.range(Part::Kernel).end) {
            Part::Kernel
        } else if start < filled(self.range(Part::Cpio).end) {
            Part::Cpio
        } else {
            Part::CommandLine
        }
    }
}

impl Header {
    /// Reads a header and verifies that it is genuine: that one of `roots` vouches for the release key, and this key
    /// for every octet. It says nothing yet of the parts ([`check_chunk`](Self::check_chunk)) or of whether it may run
    /// here ([`admit`](Self::admit)).
    ///
    /// # Errors
    /// The first of the things above that does not hold.
    pub fn read(octets: &[u8; HEADER_OCTETS], roots: Roots<'_>) -> Result<Self, Refusal> {
        if octets.iter().all(|&octet| octet == 0) {
            return Err(Refusal::Empty);
        }
        if octets[..MAGIC_BEFORE_VERSION] != MAGIC[..MAGIC_BEFORE_VERSION] {
            return Err(Refusal::NotASlot);
        }
        if octets[..MAGIC.len()] != MAGIC[..] {
            return Err(Refusal::Format);
        }
        // Trust comes before meaning: what nobody vouches for is not looked into.
        let certificate = array::<CERTIFICATE_OCTETS>(octets, CERTIFICATE_AT);
        let certificate = Certificate::decode(&certificate).ok_or(Refusal::Field("certificate"))?;
        if !certificate.is_trusted(roots) {
            return Err(Refusal::Untrusted);
        }
        let signature = array::<SIGNATURE_OCTETS>(octets, SIGNATURE_AT);
        if !verify(&certificate.key, &octets[..SIGNATURE_AT], &signature) {
            return Err(Refusal::Signature);
        }
        let header = Self {
            boards: u32_at(octets, 16),
            version: u64_at(octets, 24),
            min_from: u64_at(octets, 32),
            loader_min: u32_at(octets, 40),
            parts: Parts {
                kernel: u32_at(octets, 44),
                cpio: u32_at(octets, 48),
                command_line: u32_at(octets, 52),
            },
            built: u64_at(octets, 56),
            name: name(&octets[64..96]).ok_or(Refusal::Field("name"))?,
            certificate,
            hashes: core::array::from_fn(|chunk| array(octets, HASHES_AT + chunk * HASH_OCTETS)),
        };
        header.parts.check()?;
        // Flags that are not known yet may mean that it must not be started so.
        if u32_at(octets, 20) != 0 {
            return Err(Refusal::Field("flags"));
        }
        if octets[CERTIFICATE_AT + CERTIFICATE_OCTETS..HASHES_AT]
            .iter()
            .chain(&octets[HASHES_END..SIGNATURE_AT])
            .any(|&octet| octet != 0)
        {
            return Err(Refusal::Field("reserved"));
        }
        Ok(header)
    }

    /// What a header calls itself, whoever vouches for it: to be told to people, never to be decided by.
    pub fn told_name(octets: &[u8; HEADER_OCTETS]) -> Option<String<NAME_OCTETS_MAX>> {
        (octets[..MAGIC.len()] == MAGIC[..]).then(|| name(&octets[64..96]))?
    }

    /// Whether it may run on this box.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, needs: &Needs) -> Result<(), Refusal> {
        if self.boards & needs.board.bit() == 0 {
            return Err(Refusal::Board);
        }
        if self.loader_min > needs.loader {
            return Err(Refusal::Loader {
                needs: self.loader_min,
            });
        }
        if self.certificate.epoch < needs.min_epoch {
            return Err(Refusal::Epoch {
                epoch: self.certificate.epoch,
                min: needs.min_epoch,
            });
        }
        if self.version < needs.min_version {
            return Err(Refusal::Version {
                version: self.version,
                min: needs.min_version,
            });
        }
        Ok(())
    }

    /// Verifies one chunk. What is used afterwards must be these very octets, not what is read a second time.
    ///
    /// # Errors
    /// [`Refusal::Truncated`] for too few octets, [`Refusal::Hash`] for others.
    pub fn check_chunk(&self, chunk: usize, octets: &[u8]) -> Result<(), Refusal> {
        if octets.len() != self.parts.chunk_range(chunk).len() {
            return Err(Refusal::Truncated);
        }
        let expected = self.hashes.get(chunk).ok_or(Refusal::Truncated)?;
        if Sha256::digest(octets)[..] == expected[..] {
            Ok(())
        } else {
            Err(Refusal::Hash(self.parts.part_of(chunk)))
        }
    }

    /// Verifies everything behind the header of a `slot` that lies in memory whole. It may be followed by more.
    ///
    /// # Errors
    /// As [`check_chunk`](Self::check_chunk).
    pub fn check_parts(&self, slot: &[u8]) -> Result<(), Refusal> {
        (0..self.parts.chunks()).try_for_each(|chunk| {
            let octets = slot
                .get(self.parts.chunk_range(chunk))
                .ok_or(Refusal::Truncated)?;
            self.check_chunk(chunk, octets)
        })
    }

    /// Makes the header of a slot whose octets behind the header are `payload`, and signs it. `certificate` is for
    /// `key`.
    ///
    /// # Errors
    /// [`Refusal::Field`] for lengths that do not fit, [`Refusal::Truncated`] if `payload` has another length than the
    /// parts have.
    pub fn sign(mut self, payload: &[u8], key: &SigningKey) -> Result<[u8; HEADER_OCTETS], Refusal> {
        self.parts.check()?;
        if payload.len() + HEADER_OCTETS != self.parts.slot_octets() {
            return Err(Refusal::Truncated);
        }
        for (hash, chunk) in self.hashes.iter_mut().zip(payload.chunks(CHUNK_OCTETS)) {
            hash.copy_from_slice(&Sha256::digest(chunk));
        }
        let mut octets = [0; HEADER_OCTETS];
        octets[..MAGIC.len()].copy_from_slice(MAGIC);
        let mut put = |at: usize, field: &[u8]| octets[at..at + field.len()].copy_from_slice(field);
        put(16, &self.boards.to_le_bytes());
        put(24, &self.version.to_le_bytes());
        put(32, &self.min_from.to_le_bytes());
        put(40, &self.loader_min.to_le_bytes());
        put(44, &self.parts.kernel.to_le_bytes());
        put(48, &self.parts.cpio.to_le_bytes());
        put(52, &self.parts.command_line.to_le_bytes());
        put(56, &self.built.to_le_bytes());
        put(64, self.name.as_bytes());
        put(CERTIFICATE_AT, &self.certificate.encode());
        put(HASHES_AT, self.hashes.as_flattened());
        let signature = key.sign(&octets[..SIGNATURE_AT]);
        octets[SIGNATURE_AT..].copy_from_slice(&signature);
        Ok(octets)
    }

    /// A header that has no hashes and no signature yet, for [`sign`](Self::sign).
    #[allow(clippy::too_many_arguments)]
    pub fn unsigned(about: About<'_>, parts: Parts, certificate: Certificate) -> Option<Self> {
        let name = about.name;
        let is_printable = name.bytes().all(|octet| (b' '..=b'~').contains(&octet));
        Some(Self {
            boards: about.boards,
            version: about.version,
            min_from: about.min_from,
            loader_min: about.loader_min,
            built: about.built,
            name: String::try_from(name).ok().filter(|_| is_printable)?,
            parts,
            certificate,
            hashes: [[0; HASH_OCTETS]; CHUNKS_MAX],
        })
    }
}

/// What the maker of a slot says of it. See the fields of the same name in [`Header`].
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// [`Header::boards`].
    pub boards: u32,
    /// [`Header::version`].
    pub version: u64,
    /// [`Header::min_from`].
    pub min_from: u64,
    /// [`Header::loader_min`].
    pub loader_min: u32,
    /// [`Header::built`].
    pub built: u64,
    /// [`Header::name`]: printable ASCII, [`NAME_OCTETS_MAX`] at most.
    pub name: &'a str,
}

impl fmt::Display for Part {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Kernel => "kernel",
            Self::Cpio => "file system",
            Self::CommandLine => "command line",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => to.write_str("it is empty"),
            Self::NotASlot => to.write_str("it is no version of Postolka"),
            Self::Format => to.write_str("it has a format that is not known here"),
            Self::Field(name) => write!(to, "its {} is impossible", Words(name)),
            Self::Untrusted => to.write_str("nobody whom this box trusts vouches for its key"),
            Self::Signature => to.write_str("its header was changed: the signature does not fit"),
            Self::Truncated => to.write_str("it is cut short"),
            Self::Hash(part) => write!(to, "an octet near its {part} is not as it was signed"),
            Self::Board => to.write_str("it is for another board"),
            Self::Loader { needs } => write!(to, "it needs loader {needs}"),
            Self::Epoch { epoch, min } => {
                write!(
                    to,
                    "its key is out of force (epoch {epoch}, at least {min} is needed)"
                )
            }
            Self::Version { version, min } => {
                write!(to, "it is too old (version {version}, at least {min} is needed)")
            }
        }
    }
}

impl core::error::Error for Refusal {}

/// The next multiple of [`HEADER_OCTETS`].
fn filled(octets: usize) -> usize {
    octets.next_multiple_of(HEADER_OCTETS)
}

fn name(field: &[u8]) -> Option<String<NAME_OCTETS_MAX>> {
    let end = field.iter().position(|&octet| octet == 0).unwrap_or(field.len());
    let (name, rest) = field.split_at(end);
    let is_plain =
        rest.iter().all(|&octet| octet == 0) && name.iter().all(|octet| (b' '..=b'~').contains(octet));
    let text = core::str::from_utf8(name).ok().filter(|_| is_plain)?;
    String::try_from(text).ok()
}

/// Fields lie inside of the header by the layout above.
fn array<const N: usize>(octets: &[u8; HEADER_OCTETS], at: usize) -> [u8; N] {
    core::array::from_fn(|index| octets[at + index])
}

fn u32_at(octets: &[u8; HEADER_OCTETS], at: usize) -> u32 {
    u32::from_le_bytes(array(octets, at))
}

fn u64_at(octets: &[u8; HEADER_OCTETS], at: usize) -> u64 {
    u64::from_le_bytes(array(octets, at))
}

#[cfg(test)]
mod tests;
