//! What a worker tells the loop: one message a packet, over the same kind of socket as maild and netd have.
//!
//! A worker is this very program, so the packet holds text: a letter for the kind, and fields behind it.

use format::State;
use format::boot::Attempt;
use handoff::{DecodeError, Message, PACKET_OCTETS, Packet, ProvisionOrigin};

use crate::settings::{Kind, Record};
use crate::slot::Boot;

/// Between fields. It is no printable character, so that no field has one.
const SEPARATOR: char = '\u{1f}';

const STICK: &str = "stick";
const ESP: &str = "esp";

/// A message of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// A line for the console.
    Say(String),
    /// What is under way, for the page.
    Activity(String),
    /// Something that the page tells from now on: what it is, and what to do.
    Trouble([String; 2]),
    /// The same, of what leaves no place for mail.
    Failed([String; 2]),
    /// What the bootstate says.
    Slots(Slots),
    /// A `postolka.toml`, as a sealed memory file beside this message.
    Provision {
        /// Its size.
        octets: u32,
        /// Where it was found.
        origin: ProvisionOrigin,
    },
    /// Something that init is set to.
    Record(Record),
    /// All that init is set to was told: where nothing was, nobody has set anything.
    Settled,
    /// This is the device that mail is kept on, or was.
    Device(String),
    /// Everything on it is being overwritten, or no more.
    Erasing(bool),
    /// An update is being written, or no more.
    Updating(bool),
    /// The data file system is mounted.
    Mounted,
    /// It is synced, and unmounted or at least not written to any more.
    Unmounted,
    /// Sticks were looked at: mail can be served.
    Ready,
    /// The running slot is good, and the disk knows.
    Good,
    /// An update was taken or refused; the sentence says which or why.
    Update {
        /// Whether it is written and comes first from now on.
        is_taken: bool,
        /// For people.
        text: String,
    },
}

/// The bootstate, as far as the loop decides by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    /// The disk the box was started from.
    pub(crate) disk: String,
    /// Whether the running slot is known to be good.
    pub(crate) is_good: bool,
    /// Whether there is another to go back to.
    pub(crate) is_other_bootable: bool,
}

impl Slots {
    pub(crate) fn of(disk: &str, state: &State, boot: &Boot) -> Self {
        // The loader starts without counting only what is left: a slot that it has just found damaged may still be marked
        // as good, and to go back to that one would be to go round for ever.
        let is_last = boot.attempt == Attempt::Uncounted;
        Self {
            disk: disk.to_owned(),
            is_good: state.slot(boot.slot).is_good,
            is_other_bootable: !is_last && state.slot(boot.slot.other()).is_bootable(),
        }
    }
}

impl Message for Report {
    /// What does not fit the packet is cut: only texts for people can be so long.
    fn encode(&self) -> Packet {
        let flag = |flag: &bool| if *flag { "1" } else { "0" };
        let (kind, fields): (char, Vec<&str>) = match self {
            Self::Say(text) => ('s', vec![text]),
            Self::Activity(text) => ('a', vec![text]),
            Self::Trouble([what, remedy]) => ('t', vec![what, remedy]),
            Self::Failed([what, remedy]) => ('f', vec![what, remedy]),
            Self::Slots(slots) => (
                'b',
                vec![flag(&slots.is_good), flag(&slots.is_other_bootable), &slots.disk],
            ),
            Self::Provision { octets, origin } => {
                let origin = match origin {
                    ProvisionOrigin::Stick => STICK,
                    ProvisionOrigin::Esp => ESP,
                };
                return packet(&format!("p{octets}{SEPARATOR}{origin}"));
            }
            Self::Record(record) => {
                return packet(&format!("k{}{SEPARATOR}{}", record.kind().word(), record.body()));
            }
            Self::Settled => ('q', vec![]),
            Self::Device(device) => ('d', vec![device]),
            Self::Erasing(is_erasing) => ('e', vec![flag(is_erasing)]),
            Self::Updating(is_updating) => ('w', vec![flag(is_updating)]),
            Self::Mounted => ('m', vec![]),
            Self::Unmounted => ('n', vec![]),
            Self::Ready => ('r', vec![]),
            Self::Good => ('g', vec![]),
            Self::Update { is_taken, text } => ('u', vec![flag(is_taken), text]),
        };
        packet(&format!("{kind}{}", fields.join(&SEPARATOR.to_string())))
    }

    fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let end = packet
            .iter()
            .rposition(|&octet| octet != 0)
            .map_or(0, |last| last + 1);
        let text = String::from_utf8_lossy(&packet[..end]);
        let mut letters = text.chars();
        let kind = letters.next().unwrap_or_default();
        let fields: Vec<&str> = letters.as_str().split(SEPARATOR).collect();
        let owned = |text: &&str| (*text).to_owned();
        Ok(match (kind, &fields[..]) {
            ('s', [text]) => Self::Say(owned(text)),
            ('a', [text]) => Self::Activity(owned(text)),
            ('t', [what, remedy]) => Self::Trouble([owned(what), owned(remedy)]),
            ('f', [what, remedy]) => Self::Failed([owned(what), owned(remedy)]),
            ('b', [is_good, is_other_bootable, disk]) => Self::Slots(Slots {
                disk: owned(disk),
                is_good: *is_good == "1",
                is_other_bootable: *is_other_bootable == "1",
            }),
            ('p', [octets, origin]) => Self::Provision {
                octets: octets.parse().map_err(|_| DecodeError::Field("octets"))?,
                origin: match *origin {
                    STICK => ProvisionOrigin::Stick,
                    ESP => ProvisionOrigin::Esp,
                    _ => return Err(DecodeError::Field("origin")),
                },
            },
            ('k', [kind, body]) => Kind::of(kind)
                .and_then(|kind| Record::parse(kind, body))
                .map(Self::Record)
                .ok_or(DecodeError::Field("record"))?,
            ('q', _) => Self::Settled,
            ('d', [device]) => Self::Device(owned(device)),
            ('w', [is_updating]) => Self::Updating(*is_updating == "1"),
            ('e', [is_erasing]) => Self::Erasing(*is_erasing == "1"),
            ('m', _) => Self::Mounted,
            ('n', _) => Self::Unmounted,
            ('r', _) => Self::Ready,
            ('g', _) => Self::Good,
            ('u', [is_taken, text]) => Self::Update {
                is_taken: *is_taken == "1",
                text: owned(text),
            },
            _ => return Err(DecodeError::Kind(kind as u16)),
        })
    }

    fn descriptors(&self) -> usize {
        usize::from(matches!(self, Self::Provision { .. }))
    }
}

/// What the loop tells a worker: here is the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) octets: u32,
}

impl Message for Source {
    fn encode(&self) -> Packet {
        packet(&self.octets.to_string())
    }

    fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let text = String::from_utf8_lossy(packet);
        let octets = text.trim_end_matches('\0').parse();
        Ok(Self {
            octets: octets.map_err(|_| DecodeError::Field("octets"))?,
        })
    }

    fn descriptors(&self) -> usize {
        1
    }
}

fn packet(text: &str) -> Packet {
    let mut packet = [0; PACKET_OCTETS];
    for (to, octet) in packet.iter_mut().zip(text.bytes()) {
        *to = octet;
    }
    packet
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use format::Slot;
    use format::boot::boot;

    use super::*;
    use crate::slot::testing::{Box as Disk, Made};

    /// Starts this box, as the loader would, until `versions` have been given up; gives how the last start was.
    fn given_up(disk: &mut Disk, times: usize) -> (Slot, Attempt) {
        let mut last = None;
        for _ in 0..times {
            disk.started = None;
            boot(disk);
            last = disk.started.map(|(slot, _)| (slot, disk.attempt.unwrap()));
        }
        last.unwrap()
    }

    #[test]
    fn d24_a_version_that_is_started_as_the_last_resort_does_not_go_back_to_a_damaged_one() {
        let mut disk = Disk::with(&Made::version(11), &Made::version(12));
        disk.change(|state| state.install(Slot::B));
        disk.raws.slot(Slot::A).durable_mut(5000, &[1, 2, 3]);
        for (times, expected, has_way_back) in [
            (3, Attempt::Trial(3), true),
            (1, Attempt::Uncounted, false),
            (1, Attempt::Uncounted, false),
        ] {
            let (slot, attempt) = given_up(&mut disk, times);
            assert_eq!((slot, attempt), (Slot::B, expected));
            let boot = Boot {
                slot,
                attempt,
                disk: format::gpt::Guid::ZERO,
                board: format::Board::Virt,
                loader: 1,
            };
            let slots = Slots::of("vda", &disk.state(), &boot);
            assert_eq!((slots.is_other_bootable, slots.is_good), (has_way_back, false));
        }
    }

    #[test]
    fn what_a_worker_says_the_loop_understands() {
        let text = || "It is so: 1, 2.".to_owned();
        let all = [
            Report::Say(text()),
            Report::Activity(text()),
            Report::Trouble([text(), text()]),
            Report::Failed([text(), text()]),
            Report::Slots(Slots {
                disk: "mmcblk0".to_owned(),
                is_good: true,
                is_other_bootable: false,
            }),
            Report::Slots(Slots::default()),
            Report::Provision {
                octets: 65_536,
                origin: ProvisionOrigin::Stick,
            },
            Report::Provision {
                octets: 1,
                origin: ProvisionOrigin::Esp,
            },
            Report::Record(Record::Time(1_795_505_640)),
            Report::Record(Record::Network(handoff::Ipv4Settings::Dynamic)),
            Report::Settled,
            Report::Device("mmcblk0p5".to_owned()),
            Report::Erasing(true),
            Report::Erasing(false),
            Report::Updating(true),
            Report::Updating(false),
            Report::Mounted,
            Report::Unmounted,
            Report::Ready,
            Report::Good,
            Report::Update {
                is_taken: true,
                text: text(),
            },
            Report::Update {
                is_taken: false,
                text: String::new(),
            },
        ];
        for report in all {
            assert_eq!(Report::decode(&report.encode()), Ok(report));
        }
        let source = Source { octets: 17_000_000 };
        assert_eq!(Source::decode(&source.encode()), Ok(source));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_and_nonsense_is_refused() {
        let long = Report::Say("\u{161}".repeat(400));
        assert!(matches!(Report::decode(&long.encode()), Ok(Report::Say(text)) if text.len() > 500));
        for nonsense in [
            "",
            "x",
            "t",
            "pmany",
            "p1\u{1f}moon",
            "b1",
            "kname",
            "kname\u{1f}-",
            "kmail\u{1f}1",
        ] {
            Report::decode(&packet(nonsense)).unwrap_err();
        }
        Source::decode(&packet("-1")).unwrap_err();
    }
}
