//! What `init` tells `maild`.

use crate::address::{self, Addresses};
use crate::boot::{self, Boot};
use crate::codec::{DecodeError, Message, Packet, Reader, Writer, ranged};
use crate::text::{self, HostName, Sentence};

/// The largest `postolka.toml`.
pub const PROVISION_OCTETS_MAX: u32 = 64 * 1024;
/// The longest time `init` gives `maild` to stop.
pub const STOP_DEADLINE_MS_MAX: u32 = 60_000;
/// The largest firmware update: as large as a slot.
pub const UPDATE_OCTETS_MAX: u32 = 32 * 1024 * 1024;

/// init → maild.
// Half a kilobyte on the stack for a moment is what it costs to do without an allocator.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaild {
    /// The box's own name. Again when it changes.
    HostName(HostName),
    /// All addresses of the box except loopback. Again when they change.
    Addresses(Addresses),
    /// A listening TCP socket is beside this message. `init` keeps its own copy. Those of the web come before `Start`,
    /// those of mail only once the box is claimed.
    Listener {
        /// The port it listens on; never 0.
        port: u16,
    },
    /// A sealed memfd with a `postolka.toml` is beside this message.
    Provision {
        /// Its size: 1 to [`PROVISION_OCTETS_MAX`].
        octets: u32,
        /// Where it was found, which decides what it may set.
        origin: ProvisionOrigin,
    },
    /// A memory file of [`UPDATE_OCTETS_MAX`] octets is beside this message, for a firmware update: see
    /// [`FromMaild::ApplyUpdate`](crate::FromMaild::ApplyUpdate). It takes room only for what is written to it.
    Letterbox,
    /// How the box was started. Before `Start`, and again when the version that runs was found good.
    Boot(Boot),
    /// How far the clock can be trusted. Before `Start`, and again when that changes or the clock was set.
    Clock {
        /// Whether time servers have been heard. If not, the time is the one that was written down last, or later.
        is_synced: bool,
    },
    /// The button was pressed: the answer to [`FromMaild::AwaitButton`](crate::FromMaild::AwaitButton).
    Button,
    /// What became of an `ApplyUpdate`.
    UpdateResult {
        /// Whether the update is written. The box starts again with it when this is so: `Stop` follows.
        is_taken: bool,
        /// What happened, for people: a sentence.
        text: Sentence,
    },
    /// Everything but the ports of mail was handed over: open the house. Answered by `Opened`.
    Start,
    /// Serve every listener that was handed over so far. Answered by `Ready`.
    Serve,
    /// Finish what is under way, make it durable, and exit.
    Stop {
        /// After this time `init` sends SIGTERM, then SIGKILL: 1 to [`STOP_DEADLINE_MS_MAX`].
        deadline_ms: u32,
    },
}

/// Where a `postolka.toml` was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvisionOrigin {
    /// On a stick: it may set up everything.
    Stick,
    /// On the box's own boot partition, where whoever flashed the card can put it: name and network only.
    Esp,
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
const CLOCK: u16 = 0x010a;
const BUTTON: u16 = 0x010b;
const SERVE: u16 = 0x010c;

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
                address::write_addresses(&mut writer, addresses);
            }
            Self::Listener { port } => {
                writer = Writer::new(LISTENER);
                writer.u16(*port);
            }
            Self::Provision { octets, origin } => {
                writer = Writer::new(PROVISION);
                writer.u32(*octets);
                writer.u8(match origin {
                    ProvisionOrigin::Stick => 0,
                    ProvisionOrigin::Esp => 1,
                });
            }
            Self::Letterbox => writer = Writer::new(LETTERBOX),
            Self::Boot(boot) => {
                writer = Writer::new(BOOT);
                boot::write(&mut writer, *boot);
            }
            Self::UpdateResult { is_taken, text } => {
                writer = Writer::new(UPDATE_RESULT);
                writer.u8((*is_taken).into());
                text::write(&mut writer, text.as_str());
            }
            Self::Clock { is_synced } => {
                writer = Writer::new(CLOCK);
                writer.u8((*is_synced).into());
            }
            Self::Button => writer = Writer::new(BUTTON),
            Self::Start => writer = Writer::new(START),
            Self::Serve => writer = Writer::new(SERVE),
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
            ADDRESSES => Self::Addresses(address::read_addresses(&mut reader)?),
            LISTENER => Self::Listener {
                port: ranged(reader.u16("port")?, 1..=u16::MAX, "port")?,
            },
            PROVISION => Self::Provision {
                octets: ranged(reader.u32("octets")?, 1..=PROVISION_OCTETS_MAX, "octets")?,
                origin: match reader.u8("origin")? {
                    0 => ProvisionOrigin::Stick,
                    1 => ProvisionOrigin::Esp,
                    _ => return Err(DecodeError::Field("origin")),
                },
            },
            LETTERBOX => Self::Letterbox,
            BOOT => Self::Boot(boot::read(&mut reader)?),
            UPDATE_RESULT => Self::UpdateResult {
                is_taken: reader.flag("taken")?,
                text: text::read(&mut reader, "text", Sentence::new)?,
            },
            CLOCK => Self::Clock {
                is_synced: reader.flag("synced")?,
            },
            BUTTON => Self::Button,
            START => Self::Start,
            SERVE => Self::Serve,
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
            | Self::Clock { .. }
            | Self::Button
            | Self::Start
            | Self::Serve
            | Self::Stop { .. } => 0,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::address::{ADDRESSES_MAX, Address, strategy};
    use crate::boot::{ATTEMPT_MAX, BootSlot};
    use crate::codec::PACKET_OCTETS;
    use crate::from_maild::FromMaild;

    fn boot() -> impl Strategy<Value = Boot> {
        let slot = prop_oneof![Just(BootSlot::A), Just(BootSlot::B)];
        prop_oneof![
            Just(Boot::default()),
            (slot, 0..=ATTEMPT_MAX, any::<[bool; 2]>()).prop_map(
                |(slot, attempt, [is_trial, was_watchdog_reset])| Boot {
                    slot: Some(slot),
                    attempt,
                    is_trial,
                    was_watchdog_reset,
                }
            ),
        ]
    }

    fn to_maild() -> impl Strategy<Value = ToMaild> {
        prop_oneof![
            "[a-z0-9]{1,20}(-[a-z0-9]{1,20})?(\\.[a-z0-9]{1,20})?"
                .prop_map(|name| ToMaild::HostName(HostName::new(&name).unwrap())),
            strategy::addresses().prop_map(ToMaild::Addresses),
            (1..=u16::MAX).prop_map(|port| ToMaild::Listener { port }),
            (1..=PROVISION_OCTETS_MAX, any::<bool>()).prop_map(|(octets, is_esp)| ToMaild::Provision {
                octets,
                origin: if is_esp {
                    ProvisionOrigin::Esp
                } else {
                    ProvisionOrigin::Stick
                },
            }),
            Just(ToMaild::Letterbox),
            boot().prop_map(ToMaild::Boot),
            (any::<bool>(), "[ -~]{0,240}").prop_map(|(is_taken, text)| ToMaild::UpdateResult {
                is_taken,
                text: Sentence::new(&text).unwrap()
            }),
            any::<bool>().prop_map(|is_synced| ToMaild::Clock { is_synced }),
            Just(ToMaild::Button),
            Just(ToMaild::Start),
            Just(ToMaild::Serve),
            (1..=STOP_DEADLINE_MS_MAX).prop_map(|deadline_ms| ToMaild::Stop { deadline_ms }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn what_init_encodes_maild_decodes(message in to_maild()) {
            prop_assert_eq!(ToMaild::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn a_message_is_refused_in_the_other_direction(message in to_maild()) {
            let refused = matches!(FromMaild::decode(&message.encode()), Err(DecodeError::Kind(_)));
            prop_assert!(refused);
        }

        /// Random octets behind a good header reach every field check; what passes them encodes to the same octets.
        #[test]
        fn random_bodies_are_refused_or_mean_one_thing(
            kind in prop_oneof![0x0100..0x010e_u16, any::<u16>()],
            body in vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..PACKET_OCTETS - 8),
        ) {
            let mut packet = Writer::new(kind).finish();
            packet[8..8 + body.len()].copy_from_slice(&body);
            if let Ok(message) = ToMaild::decode(&packet) {
                prop_assert_eq!(message.encode(), packet);
            }
        }

        #[test]
        fn random_octets_never_panic(octets in vec(any::<u8>(), 0..PACKET_OCTETS + 8)) {
            prop_assert!(ToMaild::decode(&octets).is_err());
        }
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
        let provision = ToMaild::Provision {
            octets: 1,
            origin: ProvisionOrigin::Stick,
        };
        refused(&provision, 8, 0, DecodeError::Field("octets"));
        refused(&provision, 10, 1, DecodeError::Field("octets"));
        refused(&provision, 12, 2, DecodeError::Field("origin"));
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
            was_watchdog_reset: false,
        });
        refused(&started, 11, 2, DecodeError::Field("watchdog"));
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
    fn the_largest_of_each_list_fits_the_packet() {
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

    #[test]
    fn init_passes_one_descriptor_at_a_time() {
        let origin = ProvisionOrigin::Stick;
        assert_eq!(ToMaild::Letterbox.descriptors(), 1);
        assert_eq!(ToMaild::Listener { port: 25 }.descriptors(), 1);
        assert_eq!(ToMaild::Provision { octets: 9, origin }.descriptors(), 1);
        assert_eq!(ToMaild::Start.descriptors(), 0);
    }
}
