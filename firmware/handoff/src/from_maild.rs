//! What `maild` tells `init`.

use heapless::Vec;

use crate::address::{self, Ipv4Settings};
use crate::codec::{DecodeError, Message, Packet, Reader, Writer, ranged};
use crate::text::{self, ConsoleLine, HostName};
use crate::to_maild::UPDATE_OCTETS_MAX;

/// The most lines `maild` has on the console page.
pub const STATUS_LINES_MAX: usize = 6;
/// SHA-256.
pub const FINGERPRINT_OCTETS: usize = 32;
/// The longest time a page may ask for the button: it must not be kept from its other meanings for ever.
pub const AWAIT_SECONDS_MAX: u16 = 600;

/// maild → init.
// Half a kilobyte on the stack for a moment is what it costs to do without an allocator.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromMaild {
    /// The house is open, and nothing is served yet. Again when the box is claimed.
    Opened {
        /// Whether the box has an owner. Only then are the ports of mail opened.
        is_claimed: bool,
    },
    /// Serving on every listener that was handed over: the answer to `Serve`.
    Ready {
        /// SHA-256 of the DER of the box's CA certificate, for the console page.
        fingerprint: [u8; FINGERPRINT_OCTETS],
    },
    /// `maild`'s lines on the console page, in place of those before.
    Status(Status),
    /// The executor is alive, and from `Ready` on the store's writer too.
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
    /// What the box is to be called from now on.
    SetName(HostName),
    /// How it is to get its IPv4 address from now on.
    SetNetwork(Ipv4Settings),
    /// A page asks somebody to press the box's button: a press is told with `Button`, and means nothing else.
    AwaitButton {
        /// For how long, up to [`AWAIT_SECONDS_MAX`]; 0: no longer.
        seconds: u16,
    },
}

/// Up to [`STATUS_LINES_MAX`] console lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether somebody should look: the LED says so.
    pub needs_attention: bool,
    /// The lines, first on top.
    pub lines: Vec<ConsoleLine, STATUS_LINES_MAX>,
}

const READY: u16 = 0x0201;
const STATUS: u16 = 0x0202;
const ALIVE: u16 = 0x0203;
const SELF_TEST: u16 = 0x0204;
const APPLY_UPDATE: u16 = 0x0205;
const OPENED: u16 = 0x0206;
const SET_NAME: u16 = 0x0207;
const SET_NETWORK: u16 = 0x0208;
const AWAIT_BUTTON: u16 = 0x0209;

impl Message for FromMaild {
    fn encode(&self) -> Packet {
        let mut writer;
        match self {
            Self::Ready { fingerprint } => {
                writer = Writer::new(READY);
                writer.octets(fingerprint);
            }
            Self::Opened { is_claimed } => {
                writer = Writer::new(OPENED);
                writer.u8((*is_claimed).into());
            }
            Self::Status(status) => {
                writer = Writer::new(STATUS);
                writer.u8(status.needs_attention.into());
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
            Self::SetName(name) => {
                writer = Writer::new(SET_NAME);
                text::write(&mut writer, name.as_str());
            }
            Self::SetNetwork(settings) => {
                writer = Writer::new(SET_NETWORK);
                address::write_ipv4(&mut writer, settings);
            }
            Self::AwaitButton { seconds } => {
                writer = Writer::new(AWAIT_BUTTON);
                writer.u16(*seconds);
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
            OPENED => Self::Opened {
                is_claimed: reader.flag("claimed")?,
            },
            STATUS => {
                let needs_attention = reader.flag("attention")?;
                let mut lines = Vec::new();
                for _ in 0..reader.u8("line count")? {
                    let line = text::read(&mut reader, "line", ConsoleLine::new)?;
                    lines.push(line).map_err(|_| DecodeError::Field("line count"))?;
                }
                Self::Status(Status {
                    needs_attention,
                    lines,
                })
            }
            ALIVE => Self::Alive,
            SELF_TEST => Self::SelfTest {
                is_ok: reader.flag("ok")?,
                which: text::read(&mut reader, "which", ConsoleLine::new)?,
            },
            APPLY_UPDATE => Self::ApplyUpdate {
                octets: ranged(reader.u32("octets")?, 1..=UPDATE_OCTETS_MAX, "octets")?,
            },
            SET_NAME => Self::SetName(text::read(&mut reader, "host name", HostName::new)?),
            SET_NETWORK => Self::SetNetwork(address::read_ipv4(&mut reader)?),
            AWAIT_BUTTON => Self::AwaitButton {
                seconds: ranged(reader.u16("seconds")?, 0..=AWAIT_SECONDS_MAX, "seconds")?,
            },
            other => return Err(DecodeError::Kind(other)),
        };
        reader.finish(message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::address::strategy;
    use crate::codec::PACKET_OCTETS;

    fn from_maild() -> impl Strategy<Value = FromMaild> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(|fingerprint| FromMaild::Ready { fingerprint }),
            (any::<bool>(), vec("[ -~]{0,76}", 0..=STATUS_LINES_MAX)).prop_map(|(needs_attention, lines)| {
                let lines = lines.iter().map(|line| ConsoleLine::new(line).unwrap()).collect();
                FromMaild::Status(Status {
                    needs_attention,
                    lines,
                })
            }),
            any::<bool>().prop_map(|is_claimed| FromMaild::Opened { is_claimed }),
            "[a-z0-9]{1,20}".prop_map(|name| FromMaild::SetName(HostName::new(&name).unwrap())),
            strategy::ipv4_settings().prop_map(FromMaild::SetNetwork),
            (0..=AWAIT_SECONDS_MAX).prop_map(|seconds| FromMaild::AwaitButton { seconds }),
            Just(FromMaild::Alive),
            (any::<bool>(), "[ -~]{0,76}").prop_map(|(is_ok, which)| FromMaild::SelfTest {
                is_ok,
                which: ConsoleLine::new(&which).unwrap()
            }),
            (1..=UPDATE_OCTETS_MAX).prop_map(|octets| FromMaild::ApplyUpdate { octets }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn what_maild_encodes_init_decodes(message in from_maild()) {
            prop_assert_eq!(FromMaild::decode(&message.encode()), Ok(message));
        }

        /// Random octets behind a good header reach every field check; what passes them encodes to the same octets.
        #[test]
        fn random_bodies_are_refused_or_mean_one_thing(
            kind in prop_oneof![0x0200..0x020b_u16, any::<u16>()],
            body in vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..PACKET_OCTETS - 8),
        ) {
            let mut packet = Writer::new(kind).finish();
            packet[8..8 + body.len()].copy_from_slice(&body);
            if let Ok(message) = FromMaild::decode(&packet) {
                prop_assert_eq!(message.encode(), packet);
            }
        }

        #[test]
        fn random_octets_never_panic(octets in vec(any::<u8>(), 0..PACKET_OCTETS + 8)) {
            prop_assert!(FromMaild::decode(&octets).is_err());
        }
    }

    #[test]
    fn the_largest_of_each_list_fits_the_packet() {
        let line = ConsoleLine::new(&"x".repeat(ConsoleLine::OCTETS_MAX)).unwrap();
        let status = FromMaild::Status(Status {
            needs_attention: true,
            lines: core::iter::repeat_n(line.clone(), STATUS_LINES_MAX).collect(),
        });
        assert_eq!(FromMaild::decode(&status.encode()), Ok(status));
        let tested = FromMaild::SelfTest {
            is_ok: false,
            which: line,
        };
        assert_eq!(FromMaild::decode(&tested.encode()), Ok(tested));
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
        refused(&FromMaild::Opened { is_claimed: true }, 8, 2, "claimed");
        refused(&FromMaild::AwaitButton { seconds: 0 }, 9, 3, "seconds");
        refused(
            &FromMaild::SetNetwork(Ipv4Settings::Dynamic),
            8,
            2,
            "ipv4 settings",
        );
        refused(
            &FromMaild::SetName(HostName::new("a").unwrap()),
            9,
            b'_',
            "host name",
        );
        refused(&FromMaild::Status(Status::default()), 8, 2, "attention");
    }

    #[test]
    fn maild_passes_no_descriptor() {
        assert_eq!(FromMaild::ApplyUpdate { octets: 9 }.descriptors(), 0);
        assert_eq!(FromMaild::Alive.descriptors(), 0);
    }
}
