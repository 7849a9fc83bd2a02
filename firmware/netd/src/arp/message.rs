//! ARP over Ethernet for IPv4: the frames we send, and what we take from those of others.
//!
//! ```text
//!  0  to, from          14  htype 1, ptype 0x0800   22  sender's hardware address   32  target's hardware address
//! 12  type 0x0806       18  hlen 6, plen 4          28  sender's IPv4 address       38  target's IPv4 address
//!                       20  operation                                               42  padding
//! ```
//!
//! The codec is ours: it is one constant header and four fields at fixed places, which is less than what it would take
//! to call a library.
//!
//! Source: RFC 826, RFC 5227 §1.1.

use std::net::Ipv4Addr;

/// Ethernet header and packet. What a card adds behind them, up to the 60 octets of the shortest frame, is padding.
pub(crate) const FRAME_OCTETS: usize = 42;

const TYPE_AT: usize = 12;
const OPERATION_AT: usize = 20;
/// Ethertype ARP, hardware Ethernet, protocol IPv4, and the lengths of the two addresses.
const HEADER: [u8; 8] = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// RFC 5227 §2.1.1: the target's hardware address is ignored, and should be zero.
const NOBODY: [u8; 6] = [0; 6];

/// What is looked at of a request or a reply. For finding conflicts the two are the same (RFC 5227 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) sender_mac: [u8; 6],
    /// Unspecified in a probe.
    pub(super) sender: Ipv4Addr,
    pub(super) target: Ipv4Addr,
}

impl Packet {
    /// "Does anybody use this address?" It names no sender, so that nobody's ARP cache is touched by it.
    pub(super) fn probe(mac: [u8; 6], address: Ipv4Addr) -> Self {
        Self {
            sender_mac: mac,
            sender: Ipv4Addr::UNSPECIFIED,
            target: address,
        }
    }

    /// "This address is mine." Caches that still know an earlier owner learn it.
    pub(super) fn announcement(mac: [u8; 6], address: Ipv4Addr) -> Self {
        Self {
            sender_mac: mac,
            sender: address,
            target: address,
        }
    }

    pub(super) fn is_probe(&self) -> bool {
        self.sender.is_unspecified()
    }

    /// A request to everybody.
    pub(super) fn encode(&self) -> [u8; FRAME_OCTETS] {
        let mut frame = [0; FRAME_OCTETS];
        frame[..6].fill(0xff);
        frame[6..TYPE_AT].copy_from_slice(&self.sender_mac);
        frame[TYPE_AT..OPERATION_AT].copy_from_slice(&HEADER);
        frame[OPERATION_AT..22].copy_from_slice(&REQUEST.to_be_bytes());
        frame[22..28].copy_from_slice(&self.sender_mac);
        frame[28..32].copy_from_slice(&self.sender.octets());
        frame[32..38].copy_from_slice(&NOBODY);
        frame[38..].copy_from_slice(&self.target.octets());
        frame
    }

    /// The packet in a frame; nothing when it is cut, of other protocols, neither request nor reply, or sent by a
    /// group of machines.
    pub(super) fn decode(frame: &[u8]) -> Option<Self> {
        let frame: &[u8; FRAME_OCTETS] = frame.first_chunk()?;
        if frame[TYPE_AT..OPERATION_AT] != HEADER {
            return None;
        }
        if !matches!(u16::from_be_bytes([frame[20], frame[21]]), REQUEST | REPLY) {
            return None;
        }
        let sender_mac: [u8; 6] = *frame[22..].first_chunk()?;
        // IEEE 802: the lowest bit of the first octet marks a group. Nobody sends as one, and nobody sends as zero.
        if sender_mac[0] & 1 != 0 || sender_mac == NOBODY {
            return None;
        }
        let sender = Ipv4Addr::from(*frame[28..].first_chunk::<4>()?);
        let target = Ipv4Addr::from(*frame[38..].first_chunk::<4>()?);
        Some(Self {
            sender_mac,
            sender,
            target,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 15);

    /// As Wireshark shows an "ARP Probe" and an "ARP Announcement".
    #[test]
    fn a_probe_and_an_announcement_are_these_octets() {
        let probe = Packet::probe(MAC, ADDRESS).encode();
        assert_eq!(
            probe,
            *b"\xff\xff\xff\xff\xff\xff\x52\x54\0\x12\x34\x56\x08\x06\0\x01\x08\0\x06\x04\0\x01\
               \x52\x54\0\x12\x34\x56\0\0\0\0\0\0\0\0\0\0\xc0\0\x02\x0f"
        );
        let announcement = Packet::announcement(MAC, ADDRESS).encode();
        assert_eq!(announcement[..28], probe[..28]);
        assert_eq!(announcement[28..], *b"\xc0\0\x02\x0f\0\0\0\0\0\0\xc0\0\x02\x0f");
        assert!(Packet::decode(&probe).unwrap().is_probe());
        assert!(!Packet::decode(&announcement).unwrap().is_probe());
    }

    #[test]
    fn a_reply_is_read_without_its_padding() {
        let mut frame = Packet::announcement(MAC, ADDRESS).encode().to_vec();
        frame[21] = 2;
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame.extend([0x55; 18]);
        assert_eq!(Packet::decode(&frame), Some(Packet::announcement(MAC, ADDRESS)));
    }

    #[test]
    fn what_is_no_arp_between_two_machines_is_refused() {
        let good = Packet::announcement(MAC, ADDRESS).encode();
        for length in 0..good.len() {
            assert_eq!(Packet::decode(&good[..length]), None, "length {length}");
        }
        // Type, hardware, protocol, lengths, operation, sender.
        for (at, octet) in [
            (12, 0x86),
            (13, 0),
            (15, 6),
            (16, 0x86),
            (17, 1),
            (18, 8),
            (19, 16),
            (20, 1),
            (21, 0),
            (21, 3),
            (22, 0x53),
        ] {
            let mut frame = good;
            frame[at] = octet;
            assert_eq!(Packet::decode(&frame), None, "octet {at}");
        }
        let mut frame = good;
        frame[22..28].fill(0);
        assert_eq!(Packet::decode(&frame), None, "sent by nobody");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn random_frames_never_panic(mut frame in vec(any::<u8>(), 0..80)) {
            Packet::decode(&frame);
            if frame.len() >= OPERATION_AT {
                frame[TYPE_AT..OPERATION_AT].copy_from_slice(&HEADER);
                Packet::decode(&frame);
            }
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(tail in any::<[u8; 5]>(), sender in any::<u32>(), target in any::<u32>()) {
            let packet = Packet {
                sender_mac: [2, tail[0], tail[1], tail[2], tail[3], tail[4]],
                sender: sender.into(),
                target: target.into(),
            };
            prop_assert_eq!(Packet::decode(&packet.encode()), Some(packet));
        }
    }
}
