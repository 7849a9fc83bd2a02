//! DNS messages, for the resolver and for the mDNS responder.
//!
//! The codec is simple-dns: one crate without `unsafe`, and 72 KB in the program where hickory-proto is 296 KB and brings
//! ICU tables, `rand` and `url` along. Two things it leaves to its caller are done here.
//!
//! Source: RFC 1035 §4.1.

use std::net::IpAddr;

use simple_dns::rdata::RData;
use simple_dns::{Packet, ResourceRecord};

const HEADER_OCTETS: usize = 12;
/// A question is at least the root name (one octet), type and class.
const QUESTION_OCTETS_MIN: usize = 5;
/// A record is at least the root name, type, class, time to live and length.
const RECORD_OCTETS_MIN: usize = 11;

/// The message in a datagram.
///
/// simple-dns reserves memory for as many questions and records as the header promises, up to 40 MB. So a header that
/// promises more than the datagram can hold is refused first.
///
/// Deviation: a message with the reserved bit Z set, or with a class that nobody has assigned, is refused too, where
/// RFC 6762 §18.7 would ignore the bit. No sender is known to set it.
pub(crate) fn parse(octets: &[u8]) -> Option<Packet<'_>> {
    let (header, body) = octets.split_at_checked(HEADER_OCTETS)?;
    let [questions, answers, authorities, additional] =
        [4, 6, 8, 10].map(|at| usize::from(u16::from_be_bytes([header[at], header[at + 1]])));
    let least = questions * QUESTION_OCTETS_MIN + (answers + authorities + additional) * RECORD_OCTETS_MIN;
    if least > body.len() {
        return None;
    }
    Packet::parse(octets).ok()
}

/// The address in a record of type A or AAAA.
pub(crate) fn address(record: &ResourceRecord<'_>) -> Option<IpAddr> {
    match &record.rdata {
        RData::A(a) => Some(IpAddr::V4(a.address.into())),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.address.into())),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// RFC 1035 §4.1.4: the names F.ISI.ARPA, FOO.F.ISI.ARPA, ARPA and the root, as they would stand at octets 20, 40, 64
    /// and 92; here as four questions, with the pointers moved accordingly.
    #[test]
    fn compressed_names_are_those_of_the_rfc() {
        let mut octets = b"\0\x01\0\0\0\x04\0\0\0\0\0\0".to_vec();
        octets.extend(b"\x01F\x03ISI\x04ARPA\0\0\x01\0\x01");
        octets.extend(b"\x03FOO\xc0\x0c\0\x01\0\x01");
        octets.extend(b"\xc0\x12\0\x01\0\x01");
        octets.extend(b"\0\0\x01\0\x01");
        let packet = parse(&octets).unwrap();
        let names: Vec<String> = packet
            .questions
            .iter()
            .map(|question| question.qname.to_string())
            .collect();
        assert_eq!(names, ["F.ISI.ARPA", "FOO.F.ISI.ARPA", "ARPA", ""]);
    }

    #[test]
    fn a_name_that_points_at_itself_forward_or_in_a_circle_is_refused() {
        let question = |name: &[u8]| [b"\0\x01\0\0\0\x01\0\0\0\0\0\0", name, b"\0\x01\0\x01"].concat();
        assert!(parse(&question(b"\x01a\0")).is_some());
        for name in [
            &b"\xc0\x0c"[..],
            b"\x01a\xc0\x0c",
            b"\xc0\x0e\xc0\x0c",
            b"\xc0\x0e",
            b"\xc0\xff",
        ] {
            assert!(parse(&question(name)).is_none(), "{name:?}");
        }
    }

    /// 65 535 records of each kind in twelve octets.
    #[test]
    fn a_header_that_promises_more_than_there_is_allocates_nothing() {
        for section in [4, 6, 8, 10] {
            let mut octets = [0; 100];
            octets[section] = 0xff;
            octets[section + 1] = 0xff;
            assert!(parse(&octets).is_none());
        }
        // As much as can be there is looked at.
        let mut octets = [0; HEADER_OCTETS + 2 * QUESTION_OCTETS_MIN];
        octets[5] = 2;
        octets[HEADER_OCTETS + 4] = 1;
        octets[HEADER_OCTETS + 9] = 1;
        octets[HEADER_OCTETS + 2] = 1;
        octets[HEADER_OCTETS + 7] = 1;
        assert_eq!(parse(&octets).unwrap().questions.len(), 2);
    }

    /// A message that is one in part: sound header, names that point somewhere, record types of all kinds.
    fn almost() -> impl Strategy<Value = Vec<u8>> {
        let name = prop_oneof![
            Just(b"\x03abc\x05local\0".to_vec()),
            Just(vec![0]),
            (any::<u8>(), any::<u8>()).prop_map(|(a, b)| vec![1, b'x', 0xc0 | (a & 1), b]),
        ];
        let data = vec(
            prop_oneof![Just(0), Just(0xc0), 0..16_u8, any::<u8>()],
            0..40_usize,
        );
        let kind = prop_oneof![0..70_u16, 250..260_u16];
        let record = (name, kind, data).prop_map(|(mut octets, kind, data)| {
            octets.extend(kind.to_be_bytes());
            octets.extend([0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).unwrap_or(0)]);
            octets.extend(data);
            octets
        });
        (vec(record, 0..4), any::<[bool; 2]>()).prop_map(|(records, [is_answer, is_cut])| {
            let mut octets = vec![0; HEADER_OCTETS];
            octets[if is_answer { 7 } else { 11 }] = u8::try_from(records.len()).unwrap_or(0);
            octets.extend(records.concat());
            if is_cut {
                octets.pop();
            }
            octets
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// Whatever comes, it is parsed or refused; what was parsed can be written again.
        #[test]
        fn random_octets_never_panic(octets in vec(any::<u8>(), 0..200)) {
            if let Some(packet) = parse(&octets) {
                let _ = packet.build_bytes_vec_compressed();
            }
        }

        #[test]
        fn almost_messages_never_panic(octets in almost()) {
            if let Some(packet) = parse(&octets) {
                let _ = packet.build_bytes_vec_compressed();
                packet.answers.iter().for_each(|record| { address(record); });
            }
        }
    }
}
