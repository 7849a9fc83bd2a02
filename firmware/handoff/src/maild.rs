//! What `init` and `maild` tell each other.

use core::net::IpAddr;

use heapless::Vec;

use crate::codec::{DecodeError, Message, Packet, Reader, Writer, ranged};
use crate::text::{self, ConsoleLine, HostName, Sentence};

/// The most addresses told at once. A box has a handful; what is over is left out.
pub const ADDRESSES_MAX: usize = 16;
/// The most lines `maild` has on the console page.
pub const STATUS_LINES_MAX: usize = 6;
/// The largest `postolka.toml`.
pub const PROVISION_OCTETS_MAX: u32 = 64 * 1024;
/// The longest time `init` gives `maild` to stop.
pub const STOP_DEADLINE_MS_MAX: u32 = 60_000;
/// The largest firmware update: as large as a slot.
pub const UPDATE_OCTETS_MAX: u32 = 32 * 1024 * 1024;
/// The highest number of a try. The loader gives up after three.
pub const ATTEMPT_MAX: u8 = 3;
/// SHA-256.
pub const FINGERPRINT_OCTETS: usize = 32;

/// init → maild.
// Half a kilobyte on the stack for a moment is what it costs to do without an allocator.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaild {
    /// The box's own name. Again when it changes.
    HostName(HostName),
    /// All addresses of the box except loopback. Again when they change.
    Addresses(Addresses),
    /// A listening TCP socket is beside this message. `init` keeps its own copy for ever.
    Listener {
        /// The port it listens on; never 0.
        port: u16,
    },
    /// A sealed memfd with a `postolka.toml` is beside this message.
    Provision {
        /// Its size: 1 to [`PROVISION_OCTETS_MAX`].
        octets: u32,
    },
    /// A memory file of [`UPDATE_OCTETS_MAX`] octets is beside this message, for a firmware update: see
    /// [`FromMaild::ApplyUpdate`]. It takes room only for what is written to it.
    Letterbox,
    /// How the box was started. Before `Start`, and again when the version that runs was found good.
    Boot(Boot),
    /// What became of an `ApplyUpdate`.
    UpdateResult {
        /// Whether the update is written. The box starts again with it when this is so: `Stop` follows.
        is_taken: bool,
        /// What happened, for people: a sentence.
        text: Sentence,
    },
    /// Everything was handed over: start serving.
    Start,
    /// Finish what is under way, make it durable, and exit.
    Stop {
        /// After this time `init` sends SIGTERM, then SIGKILL: 1 to [`STOP_DEADLINE_MS_MAX`].
        deadline_ms: u32,
    },
}

/// maild → init.
// Half a kilobyte on the stack for a moment is what it costs to do without an allocator.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromMaild {
    /// Serving on every listener.
    Ready {
        /// SHA-256 of the DER of the box's CA certificate, for the console page.
        fingerprint: [u8; FINGERPRINT_OCTETS],
    },
    /// `maild`'s lines on the console page, in place of those before.
    Status(Status),
    /// The executor and the store's writer are alive.
    Alive,
    /// `maild` has tried itself out. A version on trial stays only after this was said with `is_ok`.
    SelfTest {
        /// Whether everything worked.
        is_ok: bool,
        /// What was tried, or what failed.
        which: ConsoleLine,
    },
    /// A firmware update lies in the letterbox: these first octets of it. It is answered with `UpdateResult`, and
    /// verified by `init`, which believes nothing about it. No descriptor comes with it: `maild` may pass none.
    ApplyUpdate {
        /// Its size: 1 to [`UPDATE_OCTETS_MAX`].
        octets: u32,
    },
}

/// One of the two places for a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootSlot {
    /// The first.
    A,
    /// The second.
    B,
}

/// How the box was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// The slot that runs. None if the kernel was started from elsewhere; nothing can be updated then.
    pub slot: Option<BootSlot>,
    /// Which try this is, from 1 to [`ATTEMPT_MAX`]; 0 if tries are not counted, as for a slot that is good.
    pub attempt: u8,
    /// Whether the version still has to prove itself: if it does not, the box goes back to the other slot.
    pub is_trial: bool,
}

impl Boot {
    /// Whether the parts go together: no try and no trial without a slot.
    pub const fn is_possible(&self) -> bool {
        self.attempt <= ATTEMPT_MAX && (self.slot.is_some() || (self.attempt == 0 && !self.is_trial))
    }
}

/// One address with the length of its subnet prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Octets of IPv4: at most 32; of IPv6: at most 128.
    pub prefix: u8,
}

/// Up to [`ADDRESSES_MAX`] addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(pub Vec<Address, ADDRESSES_MAX>);

/// Up to [`STATUS_LINES_MAX`] console lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The lines, first on top.
    pub lines: Vec<ConsoleLine, STATUS_LINES_MAX>,
}

const HOST_NAME: u16 = 0x0101;
const ADDRESSES: u16 = 0x0102;
const LISTENER: u16 = 0x0103;
const PROVISION: u16 = 0x0104;
const START: u16 = 0x0105;
const STOP: u16 = 0x0106;
const BOOT: u16 = 0x0107;
const UPDATE_RESULT: u16 = 0x0108;
const LETTERBOX: u16 = 0x0109;

const READY: u16 = 0x0201;
const STATUS: u16 = 0x0202;
const ALIVE: u16 = 0x0203;
const SELF_TEST: u16 = 0x0204;
const APPLY_UPDATE: u16 = 0x0205;

impl Message for ToMaild {
    fn encode(&self) -> Packet {
        let mut writer;
        match self {
            Self::HostName(name) => {
                writer = Writer::new(HOST_NAME);
                text::write(&mut writer, name.as_str());
            }
            Self::Addresses(addresses) => {
                writer = Writer::new(ADDRESSES);
                write_addresses(&mut writer, addresses);
            }
            Self::Listener { port } => {
                writer = Writer::new(LISTENER);
                writer.u16(*port);
            }
            Self::Provision { octets } => {
                writer = Writer::new(PROVISION);
                writer.u32(*octets);
            }
            Self::Letterbox => writer = Writer::new(LETTERBOX),
            Self::Boot(boot) => {
                writer = Writer::new(BOOT);
                writer.u8(match boot.slot {
                    None => 0,
                    Some(BootSlot::A) => 1,
                    Some(BootSlot::B) => 2,
                });
                writer.u8(boot.attempt);
                writer.u8(boot.is_trial.into());
            }
            Self::UpdateResult { is_taken, text } => {
                writer = Writer::new(UPDATE_RESULT);
                writer.u8((*is_taken).into());
                text::write(&mut writer, text.as_str());
            }
            Self::Start => writer = Writer::new(START),
            Self::Stop { deadline_ms } => {
                writer = Writer::new(STOP);
                writer.u32(*deadline_ms);
            }
        }
        writer.finish()
    }

    fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = Reader::new(packet)?;
        let message = match kind {
            HOST_NAME => Self::HostName(text::read(&mut reader, "host name", HostName::new)?),
            ADDRESSES => Self::Addresses(read_addresses(&mut reader)?),
            LISTENER => Self::Listener {
                port: ranged(reader.u16("port")?, 1..=u16::MAX, "port")?,
            },
            PROVISION => Self::Provision {
                octets: ranged(reader.u32("octets")?, 1..=PROVISION_OCTETS_MAX, "octets")?,
            },
            LETTERBOX => Self::Letterbox,
            BOOT => Self::Boot(read_boot(&mut reader)?),
            UPDATE_RESULT => Self::UpdateResult {
                is_taken: reader.flag("taken")?,
                text: text::read(&mut reader, "text", Sentence::new)?,
            },
            START => Self::Start,
            STOP => Self::Stop {
                deadline_ms: ranged(reader.u32("deadline")?, 1..=STOP_DEADLINE_MS_MAX, "deadline")?,
            },
            other => return Err(DecodeError::Kind(other)),
        };
        reader.finish(message)
    }

    fn descriptors(&self) -> usize {
        match self {
            Self::Listener { .. } | Self::Provision { .. } | Self::Letterbox => 1,
            Self::HostName(_)
            | Self::Addresses(_)
            | Self::Boot(_)
            | Self::UpdateResult { .. }
            | Self::Start
            | Self::Stop { .. } => 0,
        }
    }
}

impl Message for FromMaild {
    fn encode(&self) -> Packet {
        let mut writer;
        match self {
            Self::Ready { fingerprint } => {
                writer = Writer::new(READY);
                writer.octets(fingerprint);
            }
            Self::Status(status) => {
                writer = Writer::new(STATUS);
                writer.length(status.lines.len());
                for line in &status.lines {
                    text::write(&mut writer, line.as_str());
                }
            }
            Self::Alive => writer = Writer::new(ALIVE),
            Self::SelfTest { is_ok, which } => {
                writer = Writer::new(SELF_TEST);
                writer.u8((*is_ok).into());
                text::write(&mut writer, which.as_str());
            }
            Self::ApplyUpdate { octets } => {
                writer = Writer::new(APPLY_UPDATE);
                writer.u32(*octets);
            }
        }
        writer.finish()
    }

    fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader) = Reader::new(packet)?;
        let message = match kind {
            READY => Self::Ready {
                fingerprint: reader.array("fingerprint")?,
            },
            STATUS => {
                let mut lines = Vec::new();
                for _ in 0..reader.u8("line count")? {
                    let line = text::read(&mut reader, "line", ConsoleLine::new)?;
                    lines.push(line).map_err(|_| DecodeError::Field("line count"))?;
                }
                Self::Status(Status { lines })
            }
            ALIVE => Self::Alive,
            SELF_TEST => Self::SelfTest {
                is_ok: reader.flag("ok")?,
                which: text::read(&mut reader, "which", ConsoleLine::new)?,
            },
            APPLY_UPDATE => Self::ApplyUpdate {
                octets: ranged(reader.u32("octets")?, 1..=UPDATE_OCTETS_MAX, "octets")?,
            },
            other => return Err(DecodeError::Kind(other)),
        };
        reader.finish(message)
    }
}

fn read_boot(reader: &mut Reader<'_>) -> Result<Boot, DecodeError> {
    let boot = Boot {
        slot: match reader.u8("slot")? {
            0 => None,
            1 => Some(BootSlot::A),
            2 => Some(BootSlot::B),
            _ => return Err(DecodeError::Field("slot")),
        },
        attempt: ranged(reader.u8("attempt")?, 0..=ATTEMPT_MAX, "attempt")?,
        is_trial: reader.flag("trial")?,
    };
    boot.is_possible()
        .then_some(boot)
        .ok_or(DecodeError::Field("slot"))
}

/// A count, then for each address: family (4 or 6), prefix, and four or sixteen octets.
fn write_addresses(writer: &mut Writer, addresses: &Addresses) {
    writer.length(addresses.0.len());
    for address in &addresses.0 {
        match address.ip {
            IpAddr::V4(ip) => {
                writer.u8(4);
                writer.u8(address.prefix);
                writer.octets(&ip.octets());
            }
            IpAddr::V6(ip) => {
                writer.u8(6);
                writer.u8(address.prefix);
                writer.octets(&ip.octets());
            }
        }
    }
}

fn read_addresses(reader: &mut Reader<'_>) -> Result<Addresses, DecodeError> {
    let mut addresses = Vec::new();
    for _ in 0..reader.u8("address count")? {
        let family = reader.u8("address family")?;
        let prefix = reader.u8("prefix")?;
        let address = match family {
            4 => Address {
                ip: reader.v4("address")?.into(),
                prefix: ranged(prefix, 0..=32, "prefix")?,
            },
            6 => Address {
                ip: reader.v6("address")?.into(),
                prefix: ranged(prefix, 0..=128, "prefix")?,
            },
            _ => return Err(DecodeError::Field("address family")),
        };
        addresses
            .push(address)
            .map_err(|_| DecodeError::Field("address count"))?;
    }
    Ok(Addresses(addresses))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::PACKET_OCTETS;

    fn address() -> impl Strategy<Value = Address> {
        prop_oneof![
            (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(ip, prefix)| Address {
                ip: Ipv4Addr::from(ip).into(),
                prefix
            }),
            (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(ip, prefix)| Address {
                ip: Ipv6Addr::from(ip).into(),
                prefix
            }),
        ]
    }

    fn boot() -> impl Strategy<Value = Boot> {
        let slot = prop_oneof![Just(BootSlot::A), Just(BootSlot::B)];
        prop_oneof![
            Just(Boot::default()),
            (slot, 0..=ATTEMPT_MAX, any::<bool>()).prop_map(|(slot, attempt, is_trial)| Boot {
                slot: Some(slot),
                attempt,
                is_trial
            }),
        ]
    }

    fn to_maild() -> impl Strategy<Value = ToMaild> {
        prop_oneof![
            "[a-z0-9]{1,20}(-[a-z0-9]{1,20})?(\\.[a-z0-9]{1,20})?"
                .prop_map(|name| ToMaild::HostName(HostName::new(&name).unwrap())),
            vec(address(), 0..=ADDRESSES_MAX)
                .prop_map(|list| ToMaild::Addresses(Addresses(list.into_iter().collect()))),
            (1..=u16::MAX).prop_map(|port| ToMaild::Listener { port }),
            (1..=PROVISION_OCTETS_MAX).prop_map(|octets| ToMaild::Provision { octets }),
            Just(ToMaild::Letterbox),
            boot().prop_map(ToMaild::Boot),
            (any::<bool>(), "[ -~]{0,240}").prop_map(|(is_taken, text)| ToMaild::UpdateResult {
                is_taken,
                text: Sentence::new(&text).unwrap()
            }),
            Just(ToMaild::Start),
            (1..=STOP_DEADLINE_MS_MAX).prop_map(|deadline_ms| ToMaild::Stop { deadline_ms }),
        ]
    }

    fn from_maild() -> impl Strategy<Value = FromMaild> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(|fingerprint| FromMaild::Ready { fingerprint }),
            vec("[ -~]{0,76}", 0..=STATUS_LINES_MAX).prop_map(|lines| {
                let lines = lines.iter().map(|line| ConsoleLine::new(line).unwrap()).collect();
                FromMaild::Status(Status { lines })
            }),
            Just(FromMaild::Alive),
            (any::<bool>(), "[ -~]{0,76}").prop_map(|(is_ok, which)| FromMaild::SelfTest {
                is_ok,
                which: ConsoleLine::new(&which).unwrap()
            }),
            (1..=UPDATE_OCTETS_MAX).prop_map(|octets| FromMaild::ApplyUpdate { octets }),
        ]
    }

    proptest! {
        #[test]
        fn what_init_encodes_maild_decodes(message in to_maild()) {
            prop_assert_eq!(ToMaild::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn what_maild_encodes_init_decodes(message in from_maild()) {
            prop_assert_eq!(FromMaild::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn a_message_is_refused_in_the_other_direction(message in to_maild()) {
            let refused = matches!(FromMaild::decode(&message.encode()), Err(DecodeError::Kind(_)));
            prop_assert!(refused);
        }

        /// Random octets behind a good header reach every field check; what passes them encodes to the same octets.
        #[test]
        fn random_bodies_are_refused_or_mean_one_thing(
            kind in prop_oneof![0x0100..0x010b_u16, 0x0200..0x0207_u16, any::<u16>()],
            body in vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..PACKET_OCTETS - 8),
        ) {
            let mut packet = Writer::new(kind).finish();
            packet[8..8 + body.len()].copy_from_slice(&body);
            if let Ok(message) = ToMaild::decode(&packet) {
                prop_assert_eq!(message.encode(), packet);
            }
            if let Ok(message) = FromMaild::decode(&packet) {
                prop_assert_eq!(message.encode(), packet);
            }
        }

        #[test]
        fn random_octets_never_panic(octets in vec(any::<u8>(), 0..PACKET_OCTETS + 8)) {
            prop_assert!(ToMaild::decode(&octets).is_err());
            prop_assert!(FromMaild::decode(&octets).is_err());
        }
    }

    #[test]
    fn the_largest_of_each_list_fits_the_packet() {
        let line = ConsoleLine::new(&"x".repeat(ConsoleLine::OCTETS_MAX)).unwrap();
        let status = FromMaild::Status(Status {
            lines: core::iter::repeat_n(line.clone(), STATUS_LINES_MAX).collect(),
        });
        assert_eq!(FromMaild::decode(&status.encode()), Ok(status));
        let tested = FromMaild::SelfTest {
            is_ok: false,
            which: line,
        };
        assert_eq!(FromMaild::decode(&tested.encode()), Ok(tested));
        let result = ToMaild::UpdateResult {
            is_taken: false,
            text: Sentence::new(&"x".repeat(Sentence::OCTETS_MAX)).unwrap(),
        };
        assert_eq!(ToMaild::decode(&result.encode()), Ok(result));

        let address = Address {
            ip: Ipv6Addr::from([0xff; 16]).into(),
            prefix: 128,
        };
        let list = core::iter::repeat_n(address, ADDRESSES_MAX).collect();
        let addresses = ToMaild::Addresses(Addresses(list));
        assert_eq!(ToMaild::decode(&addresses.encode()), Ok(addresses));
    }

    fn refused(message: &ToMaild, at: usize, octet: u8, expected: DecodeError) {
        let mut packet = message.encode();
        packet[at] = octet;
        assert_eq!(ToMaild::decode(&packet), Err(expected));
    }

    #[test]
    fn each_part_of_the_header_is_checked() {
        refused(&ToMaild::Start, 0, b'H', DecodeError::Magic);
        refused(&ToMaild::Start, 4, 2, DecodeError::Version(2));
        refused(&ToMaild::Start, 6, 0x7f, DecodeError::Kind(0x017f));
        refused(&ToMaild::Start, 511, 1, DecodeError::Trailing);
        assert_eq!(
            ToMaild::decode(&ToMaild::Start.encode()[..511]),
            Err(DecodeError::Size(511))
        );
        assert_eq!(ToMaild::decode(&[]), Err(DecodeError::Size(0)));
    }

    #[test]
    fn each_number_is_range_checked() {
        refused(&ToMaild::Listener { port: 25 }, 8, 0, DecodeError::Field("port"));
        refused(
            &ToMaild::Provision { octets: 1 },
            8,
            0,
            DecodeError::Field("octets"),
        );
        refused(
            &ToMaild::Provision { octets: 1 },
            10,
            1,
            DecodeError::Field("octets"),
        );
        refused(
            &ToMaild::Stop { deadline_ms: 1 },
            8,
            0,
            DecodeError::Field("deadline"),
        );
        refused(
            &ToMaild::Stop { deadline_ms: 1 },
            11,
            1,
            DecodeError::Field("deadline"),
        );
        let started = ToMaild::Boot(Boot {
            slot: Some(BootSlot::B),
            attempt: 2,
            is_trial: true,
        });
        refused(&started, 8, 3, DecodeError::Field("slot"));
        refused(&started, 9, 4, DecodeError::Field("attempt"));
        refused(&started, 10, 2, DecodeError::Field("trial"));
        // A try of nothing.
        refused(&started, 8, 0, DecodeError::Field("slot"));
        let address = Address {
            ip: Ipv4Addr::LOCALHOST.into(),
            prefix: 8,
        };
        let addresses = ToMaild::Addresses(Addresses(core::iter::once(address).collect()));
        refused(&addresses, 8, 17, DecodeError::Field("address family"));
        refused(&addresses, 9, 5, DecodeError::Field("address family"));
        refused(&addresses, 10, 33, DecodeError::Field("prefix"));
        refused(
            &ToMaild::HostName(HostName::new("a").unwrap()),
            9,
            b'/',
            DecodeError::Field("host name"),
        );
    }

    #[test]
    fn each_number_of_mailds_is_range_checked() {
        let refused = |message: &FromMaild, at: usize, octet: u8, name| {
            let mut packet = message.encode();
            packet[at] = octet;
            assert_eq!(FromMaild::decode(&packet), Err(DecodeError::Field(name)));
        };
        let update = FromMaild::ApplyUpdate { octets: 1 };
        refused(&update, 8, 0, "octets");
        // One more than a slot holds.
        let largest = FromMaild::ApplyUpdate {
            octets: UPDATE_OCTETS_MAX,
        };
        refused(&largest, 8, 1, "octets");
        let tested = FromMaild::SelfTest {
            is_ok: true,
            which: ConsoleLine::new("ports").unwrap(),
        };
        refused(&tested, 8, 2, "ok");
        refused(&tested, 10, 0x1b, "which");
    }

    #[test]
    fn init_passes_one_descriptor_at_a_time_and_maild_none() {
        assert_eq!(FromMaild::ApplyUpdate { octets: 9 }.descriptors(), 0);
        assert_eq!(ToMaild::Letterbox.descriptors(), 1);
        assert_eq!(ToMaild::Listener { port: 25 }.descriptors(), 1);
        assert_eq!(ToMaild::Provision { octets: 9 }.descriptors(), 1);
        assert_eq!(ToMaild::Start.descriptors(), 0);
        assert_eq!(FromMaild::Alive.descriptors(), 0);
    }
}
