//! What no honest neighbour sends, each with a word for what is wrong with it. Nothing of it may change anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::router::{ALL_NODES, Router};
use super::script::{ROUTER_6, ROUTER_MAC, STRANGER_MAC, mdns};
use super::wire::{BROADCAST, Datagram, Station, icmp6_raw};
use crate::random::Random;

/// The fixed part of a DHCP message; the magic cookie is behind it (RFC 2131 §2).
const DHCP_FIXED_OCTETS: usize = 236;

/// A kind of damage, and what is damaged by it.
pub type Damaged<T> = (&'static str, T);

/// A server's answer that a client must not take, made of one that it would take.
pub fn dhcp(valid: &Datagram) -> Vec<Damaged<Datagram>> {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = valid.payload.clone();
        change(&mut payload);
        Datagram {
            payload,
            ..valid.clone()
        }
    };
    let set = |at: usize, octets: &'static [u8]| {
        with(&move |payload| payload[at..at + octets.len()].copy_from_slice(octets))
    };
    let options = |options: &'static [u8]| {
        with(&move |payload| {
            payload.truncate(DHCP_FIXED_OCTETS + 4);
            payload.extend_from_slice(options);
        })
    };
    let mut list = vec![
        ("empty", with(&|payload| payload.clear())),
        ("a request", set(0, &[1])),
        ("another kind of network", set(1, &[6])),
        ("a hardware address of 255 octets", set(2, &[255])),
        ("another transaction", with(&|payload| payload[4] ^= 0x80)),
        ("another client", with(&|payload| payload[28] ^= 0x80)),
        ("no cookie", set(DHCP_FIXED_OCTETS, &[0; 4])),
        ("no address", set(16, &[0; 4])),
        ("everybody's address", set(16, &[255; 4])),
        ("a group's address", set(16, &[224, 0, 0, 1])),
        ("the address of loopback", set(16, &[127, 0, 0, 1])),
        ("no options", options(&[])),
        ("an option without a length", options(&[53])),
        ("an option longer than the message", options(&[53, 200, 5])),
        (
            "no message type",
            options(&[54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 14, 16, 255]),
        ),
        (
            "a message type of two octets",
            options(&[53, 2, 5, 5, 54, 4, 192, 0, 2, 1, 255]),
        ),
        (
            "an unknown message type",
            options(&[53, 1, 99, 54, 4, 192, 0, 2, 1, 255]),
        ),
        (
            "a server identifier of three octets",
            options(&[53, 1, 5, 54, 3, 192, 0, 2, 255]),
        ),
        ("overloaded fields full of nothing", options(&[52, 1, 3, 255])),
    ];
    for length in [1, 43, 100, DHCP_FIXED_OCTETS - 1, DHCP_FIXED_OCTETS + 3] {
        list.push(("cut short", with(&move |payload| payload.truncate(length))));
    }
    list
}

/// Advertisements that a host must not believe (RFC 4861 §6.1.2, RFC 8106 §5), as frames. All would give `dns`.
pub fn advertisements(valid: &Router) -> Vec<Damaged<Vec<u8>>> {
    let router = Station::new(ROUTER_MAC, ROUTER_6);
    let everybody = Station::group(ALL_NODES);
    let message = valid.message(ROUTER_MAC);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = message.clone();
        change(&mut message);
        icmp6_raw(router, everybody, 255, message)
    };
    let outside = Station::new(STRANGER_MAC, Ipv6Addr::new(0x2001, 0xdb8, 9, 9, 0, 0, 0, 9));
    // The option behind the fixed part and the link-layer address is the prefix, or RDNSS.
    let mut wrong_sum = icmp6_raw(router, everybody, 255, message.clone());
    if let Some(last) = wrong_sum.last_mut() {
        *last ^= 1;
    }
    vec![
        (
            "from behind a router",
            icmp6_raw(router, everybody, 64, message.clone()),
        ),
        (
            "from an address that is not of the link",
            icmp6_raw(outside, everybody, 255, message.clone()),
        ),
        ("a wrong checksum", wrong_sum),
        ("another code", with(&|message| message[1] = 1)),
        ("cut short", with(&|message| message.truncate(12))),
        ("an option of no length", with(&|message| message[17] = 0)),
        (
            "an option longer than the message",
            with(&|message| message[17] = 255),
        ),
        (
            "name servers that are cut off",
            with(&|message| {
                message.truncate(16);
                message.extend_from_slice(&[25, 3, 0, 0, 0, 0, 0, 60, 0x20, 0x01]);
            }),
        ),
        (
            "half a name server",
            with(&|message| {
                message.truncate(16);
                message.extend_from_slice(&[25, 2, 0, 0, 0, 0, 0, 60, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1]);
            }),
        ),
        (
            "no name server",
            with(&|message| {
                message.truncate(16);
                message.extend_from_slice(&[25, 1, 0, 0, 0, 0, 0, 60]);
            }),
        ),
    ]
}

/// Messages to everybody who listens for mDNS that are none.
pub fn mdns_messages(name: &str, random: &mut Random) -> Vec<Damaged<Datagram>> {
    let stranger = Station::new(STRANGER_MAC, Ipv4Addr::new(192, 0, 2, 66));
    let header = |counts: [u8; 8]| [&[0, 0, 0, 0][..], &counts].concat();
    let valid = super::mdns_question(name);
    let claim = super::mdns_answer(name, IpAddr::from([192, 0, 2, 66]));
    let one_question = [0, 1, 0, 0, 0, 0, 0, 0];
    let mut list = vec![
        ("empty", Vec::new()),
        ("cut in its header", valid[..11].to_vec()),
        ("a question that is not there", header(one_question)),
        ("65535 of everything", header([255; 8])),
        (
            "a name that points to itself",
            [&header(one_question)[..], &[0xc0, 12, 0, 1, 0, 1]].concat(),
        ),
        ("names that point to each other", {
            [&header(one_question)[..], &[0xc0, 14, 0xc0, 12, 0, 1, 0, 1]].concat()
        }),
        (
            "a name that points forward",
            [&header(one_question)[..], &[0xc0, 200, 0, 1, 0, 1]].concat(),
        ),
        (
            "a label of a kind that is not used",
            [&header(one_question)[..], &[0x80, 1, 0, 0, 1, 0, 1]].concat(),
        ),
        (
            "a name without an end",
            [&header(one_question)[..], &[63; 600]].concat(),
        ),
        ("an answer cut in its record", claim[..claim.len() - 3].to_vec()),
        ("an address of 65535 octets", {
            let mut claim = claim.clone();
            let at = claim.len() - 6;
            claim[at..at + 2].copy_from_slice(&[255, 255]);
            claim
        }),
    ];
    for _ in 0..40 {
        let count = random.below(600);
        list.push(("random octets", random.octets(count)));
    }
    list.into_iter()
        .map(|(what, payload)| (what, mdns(stranger, payload)))
        .collect()
}

/// Frames that are not even packets.
pub fn frames(random: &mut Random) -> Vec<Vec<u8>> {
    let mut frames = vec![vec![0; 14], BROADCAST.to_vec()];
    for ethertype in [[0x08, 0x00], [0x08, 0x06], [0x86, 0xdd]] {
        for count in [0, 1, 19, 27, 39, 60, 300] {
            let mut frame = [&BROADCAST[..], &STRANGER_MAC, &ethertype].concat();
            frame.extend(random.octets(count));
            frames.push(frame);
        }
    }
    frames
}
