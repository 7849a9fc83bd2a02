//! The slot, which is also the update file: kernel, initial file system and command line behind a signed header.

use format::header::{About, HEADER_OCTETS, NAME_OCTETS_MAX, Part, Parts};
use format::{Board, Header};

use crate::error::Error;
use crate::keys::ReleaseKey;

/// What the slots made here need of the loader. Counts up when they begin to need something that came later.
const LOADER_MIN: u32 = 1;

/// What a slot is made of.
#[derive(Debug, Clone)]
pub(crate) struct Contents<'a> {
    /// The EFI program.
    pub(crate) kernel: &'a [u8],
    /// The archive, packed.
    pub(crate) cpio: &'a [u8],
    pub(crate) command_line: &'a str,
    pub(crate) board: Board,
    /// The version's number, which counts up.
    pub(crate) number: u64,
    /// The lowest number that may be updated to it.
    pub(crate) min_from: u64,
    /// Seconds since 1970.
    pub(crate) built: u64,
    /// What people call it.
    pub(crate) name: &'a str,
}

/// Lays out and signs. The same contents and key give the same octets.
pub(crate) fn pack(contents: &Contents<'_>, key: &ReleaseKey) -> Result<Vec<u8>, Error> {
    let too_large = |what: &'static str, octets: usize| Error::TooLarge {
        what,
        octets: octets as u64,
    };
    let length = |what, octets: usize| u32::try_from(octets).map_err(|_| too_large(what, octets));
    let parts = Parts {
        kernel: length("kernel", contents.kernel.len())?,
        cpio: length("initial file system", contents.cpio.len())?,
        command_line: length("command line", contents.command_line.len())?,
    };
    let about = About {
        boards: contents.board.bit(),
        version: contents.number,
        min_from: contents.min_from,
        loader_min: LOADER_MIN,
        built: contents.built,
        name: contents.name,
    };
    let header = Header::unsigned(about, parts, key.certificate)
        .ok_or_else(|| Error::VersionName(contents.name.to_owned()))?;
    let mut slot = vec![0; parts.slot_octets()];
    for (part, octets) in [
        (Part::Kernel, contents.kernel),
        (Part::Cpio, contents.cpio),
        (Part::CommandLine, contents.command_line.as_bytes()),
    ] {
        slot[parts.range(part)].copy_from_slice(octets);
    }
    let signed = header
        .sign(&slot[HEADER_OCTETS..], &key.key)
        .map_err(|_| too_large("kernel with the initial file system", slot.len()))?;
    slot[..HEADER_OCTETS].copy_from_slice(&signed);
    Ok(slot)
}

/// `0.1.0 (2f91391)`, in printable ASCII and as long as a header has room for.
pub(crate) fn name(commit: &str) -> String {
    let plain: String = commit.chars().filter(char::is_ascii_graphic).collect();
    let version = env!("CARGO_PKG_VERSION");
    let room = NAME_OCTETS_MAX.saturating_sub(version.len() + " ()".len());
    // A commit's digits and '-dirty' stand at the end.
    let commit = &plain[plain.len().saturating_sub(room)..];
    format!("{version} ({commit})")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use format::{Refusal, Roots, SigningKey};
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn key() -> ReleaseKey {
        let (root, key) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
        ReleaseKey {
            certificate: root.certify(key.public(), 3, true),
            roots: vec![root.public()],
            key,
        }
    }

    /// A kernel and an archive that end within a mebibyte each.
    static OCTETS: [u8; 1_500_000] = [7; 1_500_000];

    pub(crate) fn contents() -> Contents<'static> {
        Contents {
            kernel: &OCTETS,
            cpio: &OCTETS[..700_001],
            command_line: "quiet",
            board: Board::Virt,
            number: 12,
            min_from: 3,
            built: 1_795_505_640,
            name: "0.1.0 (2f91391)",
        }
    }

    pub(crate) fn small() -> Vec<u8> {
        let contents = Contents {
            kernel: &OCTETS[..9_000],
            cpio: &OCTETS[..5_000],
            ..contents()
        };
        pack(&contents, &key()).unwrap()
    }

    #[test]
    fn the_same_contents_packed_twice_are_equal() {
        assert_eq!(
            pack(&contents(), &key()).unwrap(),
            pack(&contents(), &key()).unwrap()
        );
    }

    #[test]
    fn what_was_packed_is_read_back() {
        let key = key();
        let slot = pack(&contents(), &key).unwrap();
        let header = Header::read(slot.first_chunk().unwrap(), Roots(&key.roots)).unwrap();
        header.check_parts(&slot).unwrap();
        assert_eq!(
            (header.version, header.min_from, header.built),
            (12, 3, 1_795_505_640)
        );
        assert_eq!(header.name, "0.1.0 (2f91391)");
        assert_eq!(&slot[header.parts.range(Part::Kernel)], contents().kernel);
        assert_eq!(&slot[header.parts.range(Part::Cpio)], contents().cpio);
        assert_eq!(&slot[header.parts.range(Part::CommandLine)], b"quiet");
        assert_eq!(
            Header::read(slot.first_chunk().unwrap(), Roots(&[])),
            Err(Refusal::Untrusted)
        );
    }

    #[test]
    fn what_has_no_room_in_a_slot_is_named() {
        let huge = vec![1; 32 << 20];
        let contents = Contents {
            cpio: &huge,
            ..contents()
        };
        let said = pack(&contents, &key()).unwrap_err().to_string();
        assert!(said.contains("32 MiB"), "{said}");
    }

    proptest! {
        #[test]
        fn a_name_fits_the_header_whatever_the_commit_is_called(commit in "\\PC{0,60}") {
            let name = name(&commit);
            let contents = Contents { name: &name, kernel: b"k", cpio: b"c", ..contents() };
            prop_assert!(pack(&contents, &key()).is_ok(), "{}", name);
        }
    }
}
