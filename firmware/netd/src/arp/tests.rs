//! The guard of an address on a wire with others: RFC 5227's own cases, and any sequence of events.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 15);
const THEIRS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 16);

/// One guard and its time. The random number is 500: waits are 500 and 1 500 ms.
struct Wire {
    machine: Machine<fn() -> u32>,
    now_ms: u64,
}

/// What was seen on the wire, and told.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Probe,
    Announcement,
    Usable,
    Conflict([u8; 6]),
}

fn seen(actions: Vec<Action>) -> Vec<Seen> {
    let one = |action| match action {
        Action::Send(frame) => {
            let packet = Packet::decode(&frame).unwrap();
            assert_eq!((packet.sender_mac, packet.target), (MAC, OURS));
            if packet.is_probe() {
                Seen::Probe
            } else {
                assert_eq!(packet.sender, OURS);
                Seen::Announcement
            }
        }
        Action::Usable => Seen::Usable,
        Action::Conflict(mac) => Seen::Conflict(mac),
    };
    actions.into_iter().map(one).collect()
}

impl Wire {
    fn claiming(pace: Pace) -> Self {
        let mut machine = Machine::new(MAC, (|| 500) as fn() -> u32);
        machine.claim(OURS, pace, 0);
        Self { machine, now_ms: 0 }
    }

    /// A guard whose address was found free, applied and announced, and is no longer probed for.
    fn in_use(pace: Pace) -> Self {
        let mut wire = Self::claiming(pace);
        while wire.machine.deadline_ms().is_some() {
            if wire.due().contains(&Seen::Usable) {
                wire.machine.applied(&[THEIRS, OURS], wire.now_ms);
            }
        }
        wire
    }

    /// Lets the time pass to the next deadline.
    fn due(&mut self) -> Vec<Seen> {
        self.now_ms = self.machine.deadline_ms().unwrap();
        seen(self.machine.tick(self.now_ms))
    }

    fn hears(&mut self, mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<Seen> {
        let packet = Packet {
            sender_mac: mac,
            sender,
            target,
        };
        seen(self.machine.receive(&packet.encode(), self.now_ms).unwrap())
    }

    /// Everything until nothing is due any more, with the times.
    fn story(&mut self, applied: &[Ipv4Addr]) -> Vec<(u64, Seen)> {
        let mut story = Vec::new();
        while self.machine.deadline_ms().is_some() {
            for seen in self.due() {
                if seen == Seen::Usable {
                    self.machine.applied(applied, self.now_ms);
                }
                story.push((self.now_ms, seen));
            }
        }
        story
    }
}

/// RFC 5227 §2.1.1, §2.3.
#[test]
fn a_chosen_address_is_probed_three_times_and_then_announced_twice() {
    use Seen::{Announcement, Probe, Usable};
    let story = Wire::claiming(Pace::Careful).story(&[OURS]);
    let expected = [
        (500, Probe),
        (2000, Probe),
        (3500, Probe),
        (5500, Usable),
        (5500, Announcement),
        (7500, Announcement),
    ];
    assert_eq!(story, expected);
}

#[test]
fn an_assigned_address_is_used_after_the_first_quiet_while_and_probed_on() {
    use Seen::{Announcement, Probe, Usable};
    let story = Wire::claiming(Pace::Prompt).story(&[OURS]);
    let expected = [
        (0, Probe),
        (200, Usable),
        (200, Announcement),
        (1500, Probe),
        (2200, Announcement),
        (3000, Probe),
    ];
    assert_eq!(story, expected);
}

#[test]
fn the_waits_stay_within_the_bounds_of_the_standard() {
    for random in [0, 999, 1000, 1001, u32::MAX] {
        let mut machine = Machine::new(MAC, || random);
        machine.claim(OURS, Pace::Careful, 7_000);
        let mut times = Vec::new();
        while let Some(at_ms) = machine.deadline_ms() {
            assert!(!machine.tick(at_ms).is_empty() || times.len() == 3);
            times.push(at_ms);
        }
        assert!((7_000..=8_000).contains(&times[0]), "{times:?}");
        assert!((1_000..=2_000).contains(&(times[1] - times[0])), "{times:?}");
        assert!((1_000..=2_000).contains(&(times[2] - times[1])), "{times:?}");
        assert_eq!((times[3] - times[2], times.len()), (2_000, 4));
    }
}

#[test]
fn an_address_that_the_kernel_does_not_have_is_not_announced() {
    let story = Wire::claiming(Pace::Careful).story(&[THEIRS]);
    assert!(
        !story.iter().any(|(_, seen)| *seen == Seen::Announcement),
        "{story:?}"
    );
    // Told once more, it is.
    let mut wire = Wire::claiming(Pace::Careful);
    wire.story(&[]);
    wire.machine.applied(&[OURS], wire.now_ms);
    assert_eq!(wire.due(), [Seen::Announcement]);
    // The same news again is no reason to say it again.
    wire.machine.applied(&[OURS, THEIRS], wire.now_ms);
    assert_eq!(wire.due(), [Seen::Announcement]);
    wire.machine.applied(&[OURS], wire.now_ms);
    assert_eq!(wire.machine.deadline_ms(), None);
}

#[test]
fn an_address_that_somebody_answers_for_is_left_before_it_is_used() {
    for pace in [Pace::Careful, Pace::Prompt] {
        for probes in 0..3 {
            let mut wire = Wire::claiming(pace);
            for _ in 0..probes {
                wire.due();
            }
            assert_eq!(wire.hears(OTHER, OURS, THEIRS), [Seen::Conflict(OTHER)]);
            assert_eq!(wire.machine.deadline_ms(), None);
            assert_eq!(wire.hears(OTHER, OURS, THEIRS), []);
        }
    }
}

/// RFC 5227 §2.1.1: also who probes for it at the same time.
#[test]
fn two_that_probe_for_one_address_both_leave_it() {
    let mut wire = Wire::claiming(Pace::Careful);
    wire.due();
    assert_eq!(wire.hears(OTHER, Ipv4Addr::UNSPECIFIED, THEIRS), []);
    assert_eq!(
        wire.hears(OTHER, Ipv4Addr::UNSPECIFIED, OURS),
        [Seen::Conflict(OTHER)]
    );
}

#[test]
fn our_own_frames_that_come_back_and_what_others_do_with_theirs_is_no_conflict() {
    let mut wire = Wire::claiming(Pace::Prompt);
    for _ in 0..3 {
        wire.due();
        assert_eq!(wire.hears(MAC, Ipv4Addr::UNSPECIFIED, OURS), []);
        assert_eq!(wire.hears(MAC, OURS, OURS), []);
        assert_eq!(wire.hears(OTHER, THEIRS, OURS), [], "somebody asks for us");
        assert_eq!(wire.hears(OTHER, THEIRS, THEIRS), []);
    }
}

#[test]
fn an_answer_that_comes_late_takes_a_prompt_address_away_again() {
    let mut wire = Wire::claiming(Pace::Prompt);
    wire.due();
    assert_eq!(wire.due(), [Seen::Usable]);
    wire.machine.applied(&[OURS], wire.now_ms);
    assert!(wire.machine.is_probing());
    assert_eq!(wire.hears(OTHER, OURS, OURS), [Seen::Conflict(OTHER)]);
}

/// RFC 5227 §2.4 (b).
#[test]
fn an_address_in_use_is_defended_once_in_ten_seconds() {
    for pace in [Pace::Careful, Pace::Prompt] {
        let mut wire = Wire::in_use(pace);
        assert!(!wire.machine.is_probing());
        for _ in 0..5 {
            assert_eq!(wire.hears(OTHER, OURS, OURS), [Seen::Announcement]);
            wire.now_ms += DEFEND_INTERVAL_MS;
        }
        assert_eq!(wire.hears(OTHER, OURS, OURS), [Seen::Announcement]);
        wire.now_ms += DEFEND_INTERVAL_MS - 1;
        assert_eq!(wire.hears(OTHER, OURS, OURS), [Seen::Conflict(OTHER)]);
    }
}

#[test]
fn a_probe_for_an_address_in_use_is_left_to_the_kernel_to_answer() {
    let mut wire = Wire::in_use(Pace::Careful);
    assert_eq!(wire.hears(OTHER, Ipv4Addr::UNSPECIFIED, OURS), []);
    assert_eq!(
        wire.hears(OTHER, OURS, OURS),
        [Seen::Announcement],
        "and is no conflict before this"
    );
}

#[test]
fn a_released_address_is_anybodys() {
    let mut wire = Wire::in_use(Pace::Careful);
    wire.machine.release();
    assert_eq!(wire.hears(OTHER, OURS, OURS), []);
    assert_eq!(wire.machine.tick(u64::MAX / 2), []);
}

#[test]
fn a_malformed_frame_changes_nothing() {
    let mut wire = Wire::claiming(Pace::Careful);
    wire.due();
    let before = wire.machine.claim;
    let mut frame = Packet::announcement(OTHER, OURS).encode();
    frame[19] = 6;
    assert_eq!(wire.machine.receive(&frame, wire.now_ms), Err(Malformed));
    assert_eq!(wire.machine.claim, before);
}

/// One thing that happens to a guard.
#[derive(Clone, Debug)]
enum Event {
    Claim(Pace),
    Release,
    Applied(bool),
    Due,
    Wait(u16),
    Heard(bool, bool, bool),
    Noise(Vec<u8>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => prop_oneof![Just(Pace::Careful), Just(Pace::Prompt)].prop_map(Event::Claim),
        1 => Just(Event::Release),
        2 => any::<bool>().prop_map(Event::Applied),
        6 => Just(Event::Due),
        2 => any::<u16>().prop_map(Event::Wait),
        3 => any::<(bool, bool, bool)>().prop_map(|(a, b, c)| Event::Heard(a, b, c)),
        1 => vec(any::<u8>(), 0..60).prop_map(Event::Noise),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever happens: usable once a claim, nothing after a conflict, and at most one frame for what is heard, in
    /// ten seconds.
    #[test]
    fn any_sequence_of_events_keeps_the_invariants(events in vec(event(), 0..60)) {
        let mut wire = Wire { machine: Machine::new(MAC, || 500), now_ms: 0 };
        let (mut is_claimed, mut was_usable, mut defended_ms) = (false, false, None);
        for event in events {
            let is_heard = matches!(event, Event::Heard(..) | Event::Noise(_));
            let actions = match event {
                Event::Claim(pace) => {
                    wire.machine.claim(OURS, pace, wire.now_ms);
                    (is_claimed, was_usable, defended_ms) = (true, false, None);
                    Vec::new()
                }
                Event::Release => {
                    wire.machine.release();
                    is_claimed = false;
                    Vec::new()
                }
                Event::Applied(is_ours) => {
                    let addresses = if is_ours { [OURS] } else { [THEIRS] };
                    wire.machine.applied(&addresses, wire.now_ms);
                    Vec::new()
                }
                Event::Due if wire.machine.deadline_ms().is_none() => Vec::new(),
                Event::Due => wire.due(),
                Event::Wait(ms) => {
                    wire.now_ms += u64::from(ms);
                    seen(wire.machine.tick(wire.now_ms))
                }
                Event::Heard(is_own, is_probe, is_ours) => wire.hears(
                    if is_own { MAC } else { OTHER },
                    if is_probe { Ipv4Addr::UNSPECIFIED } else if is_ours { OURS } else { THEIRS },
                    if is_ours { OURS } else { THEIRS },
                ),
                Event::Noise(octets) => {
                    wire.machine.receive(&octets, wire.now_ms).map(seen).unwrap_or_default()
                }
            };
            prop_assert!(is_claimed || actions.is_empty(), "{actions:?}");
            for seen in actions {
                match seen {
                    Seen::Usable => prop_assert!(!std::mem::replace(&mut was_usable, true)),
                    Seen::Conflict(mac) => {
                        prop_assert_eq!(mac, OTHER);
                        is_claimed = false;
                    }
                    Seen::Announcement if is_heard => {
                        prop_assert!(defended_ms.is_none_or(|at_ms| at_ms + DEFEND_INTERVAL_MS <= wire.now_ms));
                        defended_ms = Some(wire.now_ms);
                    }
                    Seen::Probe | Seen::Announcement => {}
                }
            }
            prop_assert!(is_claimed || wire.machine.deadline_ms().is_none());
        }
    }
}
