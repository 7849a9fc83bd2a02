//! DHCP messages: what we send, and what we take from a server's answer.
//!
//! ```text
//!  0     op, htype, hlen, hops     16  yiaddr            108  file, 128 octets
//!  4     xid                       20  siaddr            236  cookie 63 82 53 63
//!  8     secs, flags               24  giaddr            240  options: code, length, value …
//! 12     ciaddr                    28  chaddr, 16 octets
//!                                  44  sname, 64 octets       all numbers big-endian
//! ```
//!
//! The codec is ours: of a message we need ten options, and dhcproto, the one library for this, panics on some
//! answers (`assert!(len == 3)` for option 94) and brings ICU tables along. It is the oracle of the tests instead.
//!
//! Source: RFC 2131 §2, RFC 2132, RFC 3396.

use std::net::Ipv4Addr;

use handoff::{DNS_MAX, HostName, LEASE_SECONDS_FOREVER, Lease, MTU_MAX, MTU_MIN, is_unicast};

use crate::count::Malformed;

const YIADDR_AT: usize = 16;
const CHADDR_AT: usize = 28;
const SNAME_AT: usize = 44;
const FILE_AT: usize = 108;
const COOKIE_AT: usize = 236;
const OPTIONS_AT: usize = 240;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The shortest lease that is taken, and half of it the shortest time after which one is renewed. The RFC sets no bound;
/// a server that gives seconds would have us, and init with every renewal, busy at the speed of the wire.
const LEASE_SECONDS_MIN: u32 = 20;
/// RFC 1542 §2.1: some relays and servers drop messages below the 300 octets of BOOTP.
const OCTETS_MIN: usize = 300;

// The options (RFC 2132).
const PAD: u8 = 0;
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const HOST_NAME: u8 = 12;
const INTERFACE_MTU: u8 = 26;
const NTP: u8 = 42;
const REQUESTED_ADDRESS: u8 = 50;
const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;
const SERVER_ID: u8 = 54;
const PARAMETERS: u8 = 55;
const RENEWAL_TIME: u8 = 58;
const REBINDING_TIME: u8 = 59;
const CLIENT_ID: u8 = 61;
const END: u8 = 255;

// The message types (RFC 2132 §9.6).
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// The most time servers that are taken from a lease: four are enough to find the one that lies.
pub(crate) const NTP_MAX: usize = 4;

/// A message to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) kind: RequestKind,
    pub(super) mac: [u8; 6],
    /// What people may find the box by in the list of their router.
    pub(super) name: &'a HostName,
    pub(super) xid: u32,
    /// Seconds since we began to look for an address.
    pub(super) secs: u16,
}

/// The kinds we send, with the fields in which they differ (RFC 2131 §4.3.2, table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// Who has an address for me?
    Discover,
    /// I take the address that this server offered.
    Select { address: Ipv4Addr, server: Ipv4Addr },
    /// I have this address and want to keep it. Renewing and rebinding differ only in whom it is sent to.
    Extend { address: Ipv4Addr },
    /// Somebody else uses the address that this server gave me.
    Decline { address: Ipv4Addr, server: Ipv4Addr },
}

impl Request<'_> {
    /// The message as a UDP payload.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut octets = vec![0; OPTIONS_AT];
        octets[..3].copy_from_slice(&[BOOT_REQUEST, ETHERNET, 6]);
        octets[4..8].copy_from_slice(&self.xid.to_be_bytes());
        // The broadcast flag stays clear: the packet socket hears what is sent to our hardware address.
        octets[8..10].copy_from_slice(&self.secs.to_be_bytes());
        octets[CHADDR_AT..CHADDR_AT + 6].copy_from_slice(&self.mac);
        octets[COOKIE_AT..OPTIONS_AT].copy_from_slice(&COOKIE);
        match self.kind {
            RequestKind::Discover => octets.extend([MESSAGE_TYPE, 1, DISCOVER]),
            RequestKind::Select { address, server } | RequestKind::Decline { address, server } => {
                let kind = match self.kind {
                    RequestKind::Decline { .. } => DECLINE,
                    _ => REQUEST,
                };
                octets.extend([MESSAGE_TYPE, 1, kind, REQUESTED_ADDRESS, 4]);
                octets.extend(address.octets());
                octets.extend([SERVER_ID, 4]);
                octets.extend(server.octets());
            }
            RequestKind::Extend { address } => {
                octets[12..16].copy_from_slice(&address.octets());
                octets.extend([MESSAGE_TYPE, 1, REQUEST]);
            }
        }
        // RFC 2132 §9.14. Always sent, so that the server keeps knowing us as one client.
        octets.extend([CLIENT_ID, 7, ETHERNET]);
        octets.extend(self.mac);
        // RFC 2131 §4.4.1, table 5: a DECLINE asks for nothing, and names nobody.
        if !matches!(self.kind, RequestKind::Decline { .. }) {
            let name = self.name.as_str().as_bytes();
            octets.extend([HOST_NAME, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
            octets.extend(name);
            octets.extend([PARAMETERS, 8, SUBNET_MASK, ROUTER, DNS, INTERFACE_MTU, NTP]);
            octets.extend([LEASE_TIME, RENEWAL_TIME, REBINDING_TIME]);
        }
        octets.push(END);
        octets.resize(octets.len().max(OCTETS_MIN), PAD);
        octets
    }
}

/// A server's answer to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) xid: u32,
    pub(super) kind: ReplyKind,
}

/// The kinds a client takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReplyKind {
    Offer { address: Ipv4Addr, server: Ipv4Addr },
    Ack(Terms),
    Nak { server: Option<Ipv4Addr> },
}

/// A lease with the times at which to act: T1 ≤ T2 ≤ `lease.seconds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) lease: Lease,
    /// Time servers, at most [`NTP_MAX`].
    pub(super) ntp: Vec<Ipv4Addr>,
    /// Whom to ask for renewal.
    pub(super) server: Ipv4Addr,
    /// T1 of RFC 2131 §4.4.5.
    pub(super) renew_seconds: u32,
    /// T2 of RFC 2131 §4.4.5.
    pub(super) rebind_seconds: u32,
}

impl Reply {
    /// The answer in a UDP payload; nothing when it is for another client, or not for clients at all.
    ///
    /// # Errors
    /// [`Malformed`]: it is for us, as far as one can see, and cannot be used.
    pub(super) fn decode(payload: &[u8], mac: [u8; 6]) -> Result<Option<Self>, Malformed> {
        let (header, _) = payload.split_at_checked(OPTIONS_AT).ok_or(Malformed)?;
        if header[0] == BOOT_REQUEST || header[CHADDR_AT..CHADDR_AT + 6] != mac {
            return Ok(None);
        }
        if header[..3] != [BOOT_REPLY, ETHERNET, 6] || header[COOKIE_AT..] != COOKIE {
            return Err(Malformed);
        }
        let options = Options::of(payload).ok_or(Malformed)?;
        let kind = ReplyKind::of(header, &options).ok_or(Malformed)?;
        let xid = *header[4..].first_chunk().ok_or(Malformed)?;
        Ok(Some(Self {
            xid: u32::from_be_bytes(xid),
            kind,
        }))
    }
}

impl ReplyKind {
    fn of(header: &[u8], options: &Options<'_>) -> Option<Self> {
        let address = v4(&header[YIADDR_AT..])?;
        Some(match options.u8(MESSAGE_TYPE)? {
            OFFER => Self::Offer {
                address: unicast(address)?,
                server: options.address(SERVER_ID)?,
            },
            ACK => Self::Ack(terms(address, options)?),
            NAK => Self::Nak {
                server: options.address(SERVER_ID),
            },
            _ => return None,
        })
    }
}

fn terms(address: Ipv4Addr, options: &Options<'_>) -> Option<Terms> {
    let address = unicast(address)?;
    let seconds = options
        .u32(LEASE_TIME)
        .filter(|&seconds| seconds >= LEASE_SECONDS_MIN)?;
    let prefix = match options.first(SUBNET_MASK) {
        Some(mask) => prefix(v4(mask)?)?,
        None => prefix_of_class(address),
    };
    let (renew_seconds, rebind_seconds) = times(options, seconds);
    let lease = Lease {
        address,
        prefix,
        gateway: options.addresses(ROUTER).next(),
        dns: options.addresses(DNS).take(DNS_MAX).collect(),
        mtu: options
            .u16(INTERFACE_MTU)
            .filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu)),
        seconds,
    };
    Some(Terms {
        lease,
        ntp: options.addresses(NTP).take(NTP_MAX).collect(),
        server: options.address(SERVER_ID)?,
        renew_seconds,
        rebind_seconds,
    })
}

/// T1 and T2: the server's when they make sense, else half and seven eighths (RFC 2131 §4.4.5).
fn times(options: &Options<'_>, seconds: u32) -> (u32, u32) {
    if seconds == LEASE_SECONDS_FOREVER {
        return (seconds, seconds);
    }
    match (options.u32(RENEWAL_TIME), options.u32(REBINDING_TIME)) {
        (Some(renew), Some(rebind))
            if LEASE_SECONDS_MIN / 2 <= renew && renew < rebind && rebind < seconds =>
        {
            (renew, rebind)
        }
        _ => (seconds / 2, seconds - seconds / 8),
    }
}

/// The options of a message: up to three areas (RFC 2131 §4.1: the field "file" and then "sname" may hold more).
struct Options<'a> {
    areas: [&'a [u8]; 3],
}

impl<'a> Options<'a> {
    /// `None`: an area that ends in the middle of an option. Such a message was cut on its way.
    fn of(payload: &'a [u8]) -> Option<Self> {
        let mut areas = [payload.get(OPTIONS_AT..)?, &[], &[]];
        let overload = Self { areas }.u8(OVERLOAD).unwrap_or(0);
        if overload & 1 != 0 {
            areas[1] = &payload[FILE_AT..COOKIE_AT];
        }
        if overload & 2 != 0 {
            areas[2] = &payload[SNAME_AT..FILE_AT];
        }
        let is_whole = areas.iter().all(|area| {
            let mut walk = Walk { rest: area };
            walk.by_ref().count();
            walk.rest.is_empty()
        });
        is_whole.then_some(Self { areas })
    }

    /// The values of an option, in order. RFC 3396 §5: a long value comes in several parts.
    fn all(&self, code: u8) -> impl Iterator<Item = &'a [u8]> {
        let walk = self.areas.into_iter().flat_map(|area| Walk { rest: area });
        walk.filter_map(move |(found, value)| (found == code).then_some(value))
    }

    fn first(&self, code: u8) -> Option<&'a [u8]> {
        self.all(code).next()
    }

    fn u8(&self, code: u8) -> Option<u8> {
        self.exact(code).map(u8::from_be_bytes)
    }

    fn u16(&self, code: u8) -> Option<u16> {
        self.exact(code).map(u16::from_be_bytes)
    }

    fn u32(&self, code: u8) -> Option<u32> {
        self.exact(code).map(u32::from_be_bytes)
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.exact::<4>(code).map(Ipv4Addr::from).and_then(unicast)
    }

    /// The first value, if it has exactly `N` octets.
    fn exact<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        self.first(code)?.try_into().ok()
    }

    /// The addresses of a list that one machine can have.
    fn addresses(&self, code: u8) -> impl Iterator<Item = Ipv4Addr> {
        self.all(code)
            .flat_map(|value| value.as_chunks::<4>().0)
            .copied()
            .map(Ipv4Addr::from)
            .filter_map(unicast)
    }
}

/// Steps through one area; stops at its end, with `rest` empty, or where it is cut.
struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Walk<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.rest {
                [PAD, ref rest @ ..] => self.rest = rest,
                [END, ..] => self.rest = &[],
                [code, length, ref rest @ ..] => {
                    let (value, rest) = rest.split_at_checked(usize::from(length))?;
                    self.rest = rest;
                    return Some((code, value));
                }
                // The end, or a code without its length.
                [] | [_] => return None,
            }
        }
    }
}

fn v4(octets: &[u8]) -> Option<Ipv4Addr> {
    octets.first_chunk::<4>().copied().map(Ipv4Addr::from)
}

/// What init would refuse, and end us for, is not told to it.
fn unicast(address: Ipv4Addr) -> Option<Ipv4Addr> {
    Some(address).filter(|&address| is_unicast(address))
}

/// The length of a mask whose ones stand together, 1 to 32.
fn prefix(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    if ones == 0 || bits.count_ones() != ones {
        None
    } else {
        u8::try_from(ones).ok()
    }
}

/// What was meant before masks were sent: classes A, B and C (RFC 791 §3.2).
fn prefix_of_class(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// An answer with these options.
    fn answer(options: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; OPTIONS_AT];
        octets[..3].copy_from_slice(&[BOOT_REPLY, ETHERNET, 6]);
        octets[YIADDR_AT..YIADDR_AT + 4].copy_from_slice(&[192, 0, 2, 15]);
        octets[CHADDR_AT..CHADDR_AT + 6].copy_from_slice(&MAC);
        octets[COOKIE_AT..].copy_from_slice(&COOKIE);
        octets.extend(options);
        octets
    }

    fn acknowledged(payload: &[u8]) -> Terms {
        let Ok(Some(Reply {
            kind: ReplyKind::Ack(terms),
            ..
        })) = Reply::decode(payload, MAC)
        else {
            panic!("no acknowledgement in {payload:?}")
        };
        terms
    }

    const PLAIN: [u8; 15] = [53, 1, 5, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 14, 16];

    /// RFC 3396 §5.
    #[test]
    fn a_list_in_two_parts_is_one_list() {
        let parts = [6, 4, 192, 0, 2, 7, 6, 8, 192, 0, 2, 8, 192, 0, 2, 9, END];
        let terms = acknowledged(&answer(&[&PLAIN[..], &parts].concat()));
        let last: Vec<u8> = terms.lease.dns.iter().map(|server| server.octets()[3]).collect();
        assert_eq!(last, [7, 8, 9]);
    }

    /// RFC 2131 §4.1.
    #[test]
    fn options_may_go_on_in_the_fields_file_and_sname() {
        let mut octets = answer(&[&PLAIN[..], &[52, 1, 3, END]].concat());
        octets[FILE_AT..FILE_AT + 7].copy_from_slice(&[3, 4, 192, 0, 2, 1, END]);
        octets[SNAME_AT..SNAME_AT + 5].copy_from_slice(&[26, 2, 5, 0xdc, END]);
        let lease = acknowledged(&octets).lease;
        assert_eq!(
            (lease.gateway, lease.mtu),
            (Some(Ipv4Addr::new(192, 0, 2, 1)), Some(1500))
        );
        // Without option 52 these are a file name and a server name.
        octets[OPTIONS_AT + PLAIN.len()..].fill(PAD);
        assert_eq!(acknowledged(&octets).lease.gateway, None);
    }

    #[test]
    fn addresses_that_no_machine_has_are_left_out_of_lists() {
        let lists = [
            6, 12, 0, 0, 0, 0, 127, 0, 0, 1, 192, 0, 2, 7, 3, 8, 224, 0, 0, 1, 192, 0, 2, 1,
        ];
        let lease = acknowledged(&answer(&[&PLAIN[..], &lists].concat())).lease;
        assert_eq!(&lease.dns[..], [Ipv4Addr::new(192, 0, 2, 7)]);
        assert_eq!(lease.gateway, Some(Ipv4Addr::new(192, 0, 2, 1)));
    }

    #[test]
    fn an_answer_that_is_cut_in_an_option_is_dropped() {
        let whole = answer(&[&PLAIN[..], &[3, 4, 192, 0, 2, 1]].concat());
        acknowledged(&whole);
        for length in [0, 1, 2, 3, 4, 5] {
            let cut = &whole[..OPTIONS_AT + PLAIN.len() + length];
            assert_eq!(Reply::decode(cut, MAC).is_ok(), length == 0, "{length}");
        }
        for length in 0..OPTIONS_AT {
            assert_eq!(Reply::decode(&whole[..length], MAC), Err(Malformed));
        }
    }

    #[test]
    fn an_option_of_the_wrong_length_is_no_value() {
        for spoilt in [&[53, 2, 5, 0][..], &[53, 0], &[]] {
            let octets = answer(&[spoilt, &PLAIN[3..]].concat());
            assert_eq!(Reply::decode(&octets, MAC), Err(Malformed), "{spoilt:?}");
        }
        let octets = answer(&[&PLAIN[..], &[26, 1, 5], &[1, 3, 255, 255, 255]].concat());
        assert_eq!(
            Reply::decode(&octets, MAC),
            Err(Malformed),
            "a mask of three octets"
        );
    }

    #[test]
    fn of_the_time_servers_of_a_lease_four_are_taken() {
        let mut servers = vec![42, 24];
        for last in [0, 1, 2, 3, 4, 5] {
            // The first is nobody's address.
            servers.extend([if last == 0 { 0 } else { 192 }, 0, 2, last]);
        }
        let ntp = acknowledged(&answer(&[&PLAIN[..], &servers].concat())).ntp;
        let last: Vec<u8> = ntp.iter().map(|server| server.octets()[3]).collect();
        assert_eq!(last, [1, 2, 3, 4]);
        assert_eq!(acknowledged(&answer(&PLAIN)).ntp.len(), 0);
    }

    #[test]
    fn what_is_for_another_client_or_for_a_server_is_not_malformed() {
        let mut octets = answer(&PLAIN);
        octets[CHADDR_AT] ^= 4;
        assert_eq!(Reply::decode(&octets, MAC), Ok(None));
        octets = answer(&[]);
        octets[0] = BOOT_REQUEST;
        assert_eq!(Reply::decode(&octets, MAC), Ok(None));
        octets[0] = 3;
        assert_eq!(Reply::decode(&octets, MAC), Err(Malformed));
    }
}
