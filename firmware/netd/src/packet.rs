//! Ethernet, IPv4 and UDP around a DHCP message, for a host that has no address yet.
//!
//! Source: RFC 894, RFC 791 §3.1, RFC 768, RFC 1071.

use std::net::Ipv4Addr;

/// Where DHCP servers listen (RFC 2131 §4.1).
pub(crate) const SERVER_PORT: u16 = 67;
/// Where clients listen.
const CLIENT_PORT: u16 = 68;

const ETHERNET_OCTETS: usize = 14;
const IPV4_OCTETS: usize = 20;
const UDP_OCTETS: usize = 8;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_UDP: u8 = 17;
/// RFC 791: the fragment offset and the "more fragments" bit.
const FRAGMENT_MASK: u16 = 0x3fff;

/// A frame from `mac` to everybody that carries `payload` from 0.0.0.0:68 to 255.255.255.255:67.
///
/// `payload` is a DHCP message of ours and so well below the 65 507 octets of a datagram; a longer one is cut.
pub(crate) fn broadcast(mac: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let udp_octets = u16::try_from(UDP_OCTETS + payload.len()).unwrap_or(u16::MAX);
    let ip_octets = udp_octets.saturating_add(20);
    let mut frame = Vec::with_capacity(ETHERNET_OCTETS + usize::from(ip_octets));
    frame.extend([0xff; 6]);
    frame.extend(mac);
    frame.extend(ETHERTYPE_IPV4);

    let mut ip = [0; IPV4_OCTETS];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&ip_octets.to_be_bytes());
    ip[8] = 64;
    ip[9] = PROTOCOL_UDP;
    ip[12..16].copy_from_slice(&Ipv4Addr::UNSPECIFIED.octets());
    ip[16..20].copy_from_slice(&Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);

    let mut udp = [0; UDP_OCTETS];
    udp[0..2].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    udp[2..4].copy_from_slice(&SERVER_PORT.to_be_bytes());
    udp[4..6].copy_from_slice(&udp_octets.to_be_bytes());
    // The pseudo header of RFC 768: addresses, protocol, length.
    let pseudo = [&ip[12..20], &[0, PROTOCOL_UDP], &udp_octets.to_be_bytes()].concat();
    let sum = match checksum(&[&pseudo, &udp, payload]) {
        // RFC 768: a sum of zero is sent as all ones, because zero means "no checksum".
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    frame.extend(udp);
    frame.extend(payload);
    frame
}

/// The payload of a frame that is a whole UDP datagram to port 68 over IPv4.
///
/// Deviation: the UDP checksum is not verified. Between virtual machines and on some network cards it is still to be
/// filled in when a packet socket sees the frame, and a message of the wrong transaction is dropped anyway.
pub(crate) fn datagram(frame: &[u8]) -> Option<&[u8]> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET_OCTETS)?;
    if ethernet[12..14] != ETHERTYPE_IPV4 {
        return None;
    }
    let first = *packet.first()?;
    let header_octets = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_octets < IPV4_OCTETS {
        return None;
    }
    let (ip, _) = packet.split_at_checked(header_octets)?;
    // What is behind the total length is Ethernet padding.
    let (_, segment) = packet
        .get(..usize::from(be16(ip, 2)?))?
        .split_at_checked(header_octets)?;
    if ip[9] != PROTOCOL_UDP || be16(ip, 6)? & FRAGMENT_MASK != 0 || checksum(&[ip]) != 0 {
        return None;
    }
    if be16(segment, 2)? != CLIENT_PORT {
        return None;
    }
    segment.get(UDP_OCTETS..usize::from(be16(segment, 4)?))
}

fn be16(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]))
}

/// The Internet checksum over parts, of which only the last may be of odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            // Folded at once: the sum cannot grow past its type.
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    // Folding keeps it in sixteen bits.
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A frame as a server sends it: as ours, with the ports swapped.
    fn answer(payload: &[u8]) -> Vec<u8> {
        let mut frame = broadcast([2, 0, 0, 0, 0, 1], payload);
        let udp = ETHERNET_OCTETS + IPV4_OCTETS;
        frame[udp..udp + 2].copy_from_slice(&SERVER_PORT.to_be_bytes());
        frame[udp + 2..udp + 4].copy_from_slice(&CLIENT_PORT.to_be_bytes());
        frame
    }

    /// RFC 1071 §3: the sum of the example is ddf2, its complement 220d.
    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(
            checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]),
            0x220d
        );
        assert_eq!(checksum(&[&[0xff]]), 0x00ff);
    }

    #[test]
    fn a_broadcast_is_a_frame_that_verifies() {
        let frame = broadcast([2, 0, 0, 0, 0, 1], b"abc");
        assert_eq!(frame[..14], *b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x08\0");
        let ip = &frame[14..34];
        assert_eq!(checksum(&[ip]), 0);
        assert_eq!(be16(ip, 2), Some(31));
        let udp = &frame[34..];
        assert_eq!(udp[..6], [0, 68, 0, 67, 0, 11]);
        let pseudo = [&ip[12..20], &[0, 17, 0, 11]].concat();
        assert_eq!(checksum(&[&pseudo, udp]), 0);
    }

    #[test]
    fn an_answer_is_found_without_its_padding() {
        let mut frame = answer(b"payload");
        frame.extend([0; 30]);
        assert_eq!(datagram(&frame), Some(&b"payload"[..]));
    }

    /// RFC 2131 §4.1: with the broadcast flag clear, a server sends to the offered address and our hardware address;
    /// some do the one or the other whatever the flag says.
    #[test]
    fn an_answer_is_found_whether_it_was_sent_to_everybody_or_to_us() {
        let broadcast = answer(b"payload");
        let mut unicast = broadcast.clone();
        unicast[..6].copy_from_slice(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        unicast[30..34].copy_from_slice(&[192, 0, 2, 15]);
        unicast[24..26].fill(0);
        let sum = checksum(&[&unicast[14..34]]);
        unicast[24..26].copy_from_slice(&sum.to_be_bytes());
        for frame in [broadcast, unicast] {
            assert_eq!(datagram(&frame), Some(&b"payload"[..]));
        }
    }

    #[test]
    fn ip_options_are_stepped_over() {
        let mut frame = answer(b"payload");
        frame[14] = 0x46;
        frame[16..18].copy_from_slice(&39_u16.to_be_bytes());
        frame.splice(34..34, [1, 1, 1, 0]);
        frame[24..26].fill(0);
        let sum = checksum(&[&frame[14..38]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(datagram(&frame), Some(&b"payload"[..]));
    }

    #[test]
    fn what_is_not_a_whole_datagram_to_port_68_is_dropped() {
        let good = answer(b"payload");
        assert!(datagram(&good).is_some());
        // Each octet whose change must be seen: type, version, length, fragment, protocol, checksum, port, UDP length.
        for at in [12, 13, 14, 16, 20, 21, 23, 24, 36, 37, 38] {
            let mut frame = good.clone();
            frame[at] ^= 0x21;
            assert_eq!(datagram(&frame), None, "octet {at}");
        }
        for length in 0..good.len() {
            assert_eq!(datagram(&good[..length]), None, "length {length}");
        }
        // Our own request, which a packet socket may see as well.
        assert_eq!(datagram(&broadcast([2; 6], b"payload")), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn random_frames_never_panic(mut frame in vec(any::<u8>(), 0..120)) {
            datagram(&frame);
            if frame.len() > 20 {
                frame[12..15].copy_from_slice(&[8, 0, 0x45]);
                datagram(&frame);
            }
        }

        #[test]
        fn any_payload_comes_back(payload in vec(any::<u8>(), 0..1400)) {
            let frame = answer(&payload);
            prop_assert_eq!(datagram(&frame), Some(&payload[..]));
        }
    }
}
