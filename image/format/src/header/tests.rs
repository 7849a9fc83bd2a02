#![allow(clippy::unwrap_used)]

use std::string::ToString;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::keys::SEED_OCTETS;

const ROOT: [u8; SEED_OCTETS] = [1; SEED_OCTETS];
const RELEASE: [u8; SEED_OCTETS] = [2; SEED_OCTETS];

fn about() -> About<'static> {
    About {
        boards: Board::Virt.bit(),
        version: 7,
        min_from: 3,
        loader_min: 1,
        built: 1_767_225_600,
        name: "0.1.0 (2f91391)",
    }
}

/// A slot with parts of these lengths.
fn slot_with(about: About<'_>, parts: Parts, epoch: u32) -> Vec<u8> {
    let certificate =
        SigningKey::from_seed(ROOT).certify(SigningKey::from_seed(RELEASE).public(), epoch, true);
    let mut slot: Vec<u8> = vec![0; HEADER_OCTETS];
    slot.extend((0..parts.slot_octets() - HEADER_OCTETS).map(|at| u8::try_from(at % 251).unwrap()));
    let header = Header::unsigned(about, parts, certificate).unwrap();
    let header = header
        .sign(&slot[HEADER_OCTETS..], &SigningKey::from_seed(RELEASE))
        .unwrap();
    slot[..HEADER_OCTETS].copy_from_slice(&header);
    slot
}

fn slot() -> Vec<u8> {
    let parts = Parts {
        kernel: 1_500_000,
        cpio: 700_001,
        command_line: 17,
    };
    slot_with(about(), parts, 4)
}

fn read(slot: &[u8]) -> Result<Header, Refusal> {
    let roots = [SigningKey::from_seed(ROOT).public()];
    Header::read(slot[..HEADER_OCTETS].try_into().unwrap(), Roots(&roots))
}

fn needs() -> Needs {
    Needs {
        board: Board::Virt,
        loader: 1,
        min_epoch: 4,
        min_version: 7,
    }
}

#[test]
fn a_signed_slot_is_read_and_every_part_found() {
    let slot = slot();
    let header = read(&slot).unwrap();
    assert_eq!((header.version, header.name.as_str()), (7, "0.1.0 (2f91391)"));
    header.admit(&needs()).unwrap();
    header.check_parts(&slot).unwrap();
    assert_eq!(header.parts.range(Part::Kernel), 4096..1_504_096);
    assert_eq!(header.parts.range(Part::Cpio).start % 4096, 0);
    assert_eq!(header.parts.slot_octets(), slot.len());
    assert_eq!(header.parts.chunks(), 3);
}

#[test]
fn d26_each_need_that_is_not_met_is_named() {
    let header = read(&slot()).unwrap();
    let refused = |needs: Needs, expected: &str| {
        assert_eq!(header.admit(&needs).unwrap_err().to_string(), expected);
    };
    refused(
        Needs {
            board: Board::Rpi,
            ..needs()
        },
        "it is for another board",
    );
    refused(Needs { loader: 0, ..needs() }, "it needs loader 1");
    refused(
        Needs {
            min_epoch: 5,
            ..needs()
        },
        "its key is out of force (epoch 4, at least 5 is needed)",
    );
    refused(
        Needs {
            min_version: 8,
            ..needs()
        },
        "it is too old (version 7, at least 8 is needed)",
    );
}

#[test]
fn d28_another_root_or_another_release_key_is_not_trusted() {
    let slot = slot();
    let other = [SigningKey::from_seed(RELEASE).public()];
    let octets = slot[..HEADER_OCTETS].try_into().unwrap();
    assert_eq!(Header::read(octets, Roots(&other)), Err(Refusal::Untrusted));
    assert_eq!(Header::read(octets, Roots(&[])), Err(Refusal::Untrusted));
    let header = read(&slot).unwrap();
    let forged = header
        .sign(&slot[HEADER_OCTETS..], &SigningKey::from_seed([3; 32]))
        .unwrap();
    assert_eq!(read(&forged), Err(Refusal::Signature));
}

#[test]
fn d26_a_signed_header_with_another_payload_is_refused() {
    let (one, mut other) = (slot(), slot());
    for (at, part) in [
        (4096, Part::Kernel),
        (1_507_328, Part::Kernel),
        (one.len() - 1, Part::Cpio),
    ] {
        other[at] ^= 0x40;
        let refusal = read(&one).unwrap().check_parts(&other).unwrap_err();
        // The chunk is named by what it begins with.
        assert_eq!(refusal, Refusal::Hash(part));
        other[at] ^= 0x40;
    }
    assert_eq!(
        read(&one).unwrap().check_parts(&one[..one.len() - 1]),
        Err(Refusal::Truncated)
    );
}

#[test]
fn what_is_no_slot_says_what_it_is() {
    assert_eq!(read(&[0; HEADER_OCTETS]), Err(Refusal::Empty));
    assert_eq!(read(&[0xff; HEADER_OCTETS]), Err(Refusal::NotASlot));
    let mut later = slot();
    later[15] = b'2';
    assert_eq!(read(&later), Err(Refusal::Format));
}

#[test]
fn lengths_that_do_not_fit_are_refused_even_when_they_are_signed() {
    for (kernel, cpio, command_line) in [
        (0, 1, 0),
        (1, 0, 0),
        (u32::MAX, u32::MAX, 1),
        (31 << 20, 1, 0),
        (1, 1, 1025),
    ] {
        let parts = Parts {
            kernel,
            cpio,
            command_line,
        };
        let certificate = SigningKey::from_seed(ROOT).certify([0; 32], 1, true);
        let header = Header::unsigned(about(), parts, certificate).unwrap();
        let refusal = header.sign(&[], &SigningKey::from_seed(RELEASE)).unwrap_err();
        assert!(matches!(refusal, Refusal::Field(_)), "{refusal:?}");
    }
    // The largest that fits.
    let parts = Parts {
        kernel: 20 << 20,
        cpio: (11 << 20) - 4096,
        command_line: 1024,
    };
    let slot = slot_with(about(), parts, 1);
    read(&slot).unwrap().check_parts(&slot).unwrap();
    assert_eq!(read(&slot).unwrap().parts.chunks(), CHUNKS_MAX);
}

#[test]
fn a_name_is_printable_and_fits() {
    let certificate = SigningKey::from_seed(ROOT).certify([0; 32], 1, true);
    let parts = read(&slot()).unwrap().parts;
    for name in ["tab\t", "žluťoučký", "123456789012345678901234567890123"] {
        assert!(Header::unsigned(About { name, ..about() }, parts, certificate).is_none());
    }
}

#[test]
fn a_name_is_told_of_whatever_begins_as_a_slot_even_when_nobody_vouches_for_it() {
    let mut slot = slot();
    slot[SIGNATURE_AT] ^= 1;
    let told = |slot: &[u8]| Header::told_name(slot[..HEADER_OCTETS].try_into().unwrap());
    assert_eq!(told(&slot).unwrap(), about().name);
    slot[64] = 0x1b;
    assert_eq!(told(&slot), None);
    assert_eq!(told(&[b'a'; HEADER_OCTETS]), None);
}

proptest! {
    /// D26, D28: no octet of the header can be changed.
    #[test]
    fn every_flipped_bit_of_the_header_is_noticed(at in 0..HEADER_OCTETS, bit in 0..8) {
        let mut slot = slot_with(about(), Parts { kernel: 5, cpio: 5, command_line: 0 }, 1);
        slot[at] ^= 1_u8 << bit;
        prop_assert!(read(&slot).is_err());
    }

    /// Whatever a disk gives: a value or a refusal, even when it is signed.
    #[test]
    fn random_headers_never_panic(octets in proptest::collection::vec(any::<u8>(), HEADER_OCTETS)) {
        let mut header: [u8; HEADER_OCTETS] = octets.try_into().unwrap();
        header[..16].copy_from_slice(MAGIC);
        header[20..24].fill(0);
        let release = SigningKey::from_seed(RELEASE);
        let certificate = SigningKey::from_seed(ROOT).certify(release.public(), 1, false);
        header[CERTIFICATE_AT..CERTIFICATE_AT + CERTIFICATE_OCTETS].copy_from_slice(&certificate.encode());
        let signature = release.sign(&header[..SIGNATURE_AT]);
        header[SIGNATURE_AT..].copy_from_slice(&signature);
        if let Ok(header) = read(&header) {
            prop_assert!(header.parts.slot_octets() <= HEADER_OCTETS + CHUNKS_MAX * CHUNK_OCTETS);
            let _ = header.check_parts(&[0; 8192]);
        }
    }
}
