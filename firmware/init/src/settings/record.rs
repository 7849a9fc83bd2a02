//! The envelope of a record: what it is, which layout, and whether it is whole. Text, so that a person who holds the card
//! can read it. Pure.
//!
//! ```text
//! postolka network 1
//! 192.0.2.5/24 via 192.0.2.1 dns 192.0.2.1
//! crc32 1a2b3c4d            of everything before this line
//! ```

use std::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

use super::{Kind, Record};

/// The layout of all records. A version writes only what the other slot can read too.
const LAYOUT: u32 = 1;
const MAGIC: &str = "postolka";
const CRC_WORD: &str = "crc32 ";
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// Why what lies there is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be read; what the kernel said.
    Unreadable(String),
    /// It is not whole, or not what was written.
    Damaged,
    /// It has another layout.
    Layout,
    /// It is whole, and says what cannot be.
    Meaning,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(reason) => write!(f, "cannot be read ({reason})"),
            Self::Damaged => write!(f, "is damaged"),
            Self::Layout => write!(f, "was written by another version"),
            Self::Meaning => write!(f, "makes no sense"),
        }
    }
}

pub(super) fn encode(record: &Record) -> String {
    let text = format!("{MAGIC} {} {LAYOUT}\n{}\n", record.kind().word(), record.body());
    let crc = CRC.checksum(text.as_bytes());
    format!("{text}{CRC_WORD}{crc:08x}\n")
}

pub(super) fn decode(kind: Kind, octets: &[u8]) -> Result<Record, Fault> {
    let text = std::str::from_utf8(octets).map_err(|_| Fault::Damaged)?;
    let lines = text.strip_suffix('\n').ok_or(Fault::Damaged)?;
    let (_, crc) = lines.rsplit_once('\n').ok_or(Fault::Damaged)?;
    let signed = &text[..lines.len() - crc.len()];
    if crc != format!("{CRC_WORD}{:08x}", CRC.checksum(signed.as_bytes())) {
        return Err(Fault::Damaged);
    }
    // From here on it is what somebody has written.
    let (head, body) = signed.split_once('\n').ok_or(Fault::Meaning)?;
    if head != format!("{MAGIC} {} {LAYOUT}", kind.word()) {
        return Err(Fault::Layout);
    }
    let body = body.strip_suffix('\n').ok_or(Fault::Meaning)?;
    Record::parse(kind, body).ok_or(Fault::Meaning)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use handoff::HostName;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn name() -> Record {
        Record::Name(HostName::new("postolka").unwrap())
    }

    #[test]
    fn a_record_says_what_it_is_and_ends_in_its_checksum() {
        // The figure is zlib's.
        let text = encode(&name());
        assert_eq!(text, "postolka name 1\npostolka\ncrc32 58c631bc\n");
        assert_eq!(decode(Kind::Name, text.as_bytes()), Ok(name()));
    }

    #[test]
    fn each_changed_octet_and_each_cut_is_noticed() {
        let text = encode(&name());
        for at in 0..text.len() {
            assert_eq!(
                decode(Kind::Name, &text.as_bytes()[..at]),
                Err(Fault::Damaged),
                "{at}"
            );
            for bit in 0..8 {
                let mut octets = text.clone().into_bytes();
                octets[at] ^= 1 << bit;
                assert_eq!(decode(Kind::Name, &octets), Err(Fault::Damaged), "{at}");
            }
        }
    }

    fn check(kind: Kind, signed: &str, expected: Fault) {
        let text = format!("{signed}{CRC_WORD}{:08x}\n", CRC.checksum(signed.as_bytes()));
        assert_eq!(decode(kind, text.as_bytes()), Err(expected), "{text}");
    }

    #[test]
    fn what_is_whole_and_not_ours_is_told_apart() {
        check(Kind::Name, "postolka name 2\npostolka\n", Fault::Layout);
        check(Kind::Network, "postolka name 1\npostolka\n", Fault::Layout);
        check(Kind::Name, "postolka name 1\n-\n", Fault::Meaning);
        check(Kind::Name, "postolka name 1\n", Fault::Meaning);
        check(Kind::Name, "", Fault::Damaged);
    }

    #[test]
    fn faults_are_told_in_words() {
        let told = |fault: Fault| format!("The record of the name {fault}.");
        assert_eq!(told(Fault::Damaged), "The record of the name is damaged.");
        assert_eq!(
            told(Fault::Unreadable("Input/output error".to_owned())),
            "The record of the name cannot be read (Input/output error)."
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn random_octets_are_no_record(octets in vec(any::<u8>(), 0..200)) {
            for kind in Kind::ALL {
                prop_assert_eq!(decode(kind, &octets), Err(Fault::Damaged));
            }
        }

        /// Also behind a good checksum.
        #[test]
        fn no_signed_text_panics(signed in "(postolka (name|network|time) 1\n)?[a-z0-9./ \n]{0,60}") {
            let text = format!("{signed}{CRC_WORD}{:08x}\n", CRC.checksum(signed.as_bytes()));
            for kind in Kind::ALL {
                if let Ok(record) = decode(kind, text.as_bytes()) {
                    prop_assert_eq!(record.kind(), kind);
                }
            }
        }
    }
}
