//! The client against servers that are right, wrong, slow, silent and tired of it.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

mod pace;
mod random;
mod servers;

/// 2026-01-01.
const PIVOT: u64 = 1_767_225_600;
/// What time it was when the box was started: 2026-11-24 12:00.
const BOOT_UNIX_MS: u64 = 1_795_521_600_000;

const NOBODY: [IpAddr; 0] = [];

/// How a server answers.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// How far its clock is off.
    lie_ms: i64,
    /// The way to it and back.
    there_ms: u64,
    back_ms: u64,
    is_silent: bool,
    stratum: u8,
    reference: [u8; 4],
    root_dispersion: u32,
}

const HONEST: Manner = Manner {
    lie_ms: 0,
    there_ms: 10,
    back_ms: 10,
    is_silent: false,
    stratum: 2,
    reference: *b"GPS\0",
    root_dispersion: 0x100,
};
const SILENT: Manner = Manner {
    is_silent: true,
    ..HONEST
};

fn liar(lie_ms: i64) -> Manner {
    Manner { lie_ms, ..HONEST }
}

fn kiss(code: [u8; 4]) -> Manner {
    Manner {
        stratum: 0,
        reference: code,
        ..HONEST
    }
}

/// A client and the network around it.
struct Net {
    machine: Machine<Box<dyn FnMut() -> u32>>,
    now_ms: u64,
    servers: BTreeMap<IpAddr, Manner>,
    /// What the names resolve to.
    found: Vec<Vec<IpAddr>>,
    /// Whom the last round asked.
    asked: Vec<IpAddr>,
    samples: Vec<(u64, u64)>,
}

fn server(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))
}

fn ntp(unix_ms: i64) -> u64 {
    let ms = i128::from(unix_ms) + 2_208_988_800_000;
    u64::try_from(((ms << 32) / 1000).rem_euclid(1 << 64)).unwrap()
}

fn answer(nonce: u64, manner: Manner, received_unix_ms: i64) -> Vec<u8> {
    let mut octets = vec![0; message::OCTETS];
    octets[..2].copy_from_slice(&[0b00_100_100, manner.stratum]);
    octets[8..12].copy_from_slice(&manner.root_dispersion.to_be_bytes());
    octets[12..16].copy_from_slice(&manner.reference);
    octets[24..32].copy_from_slice(&nonce.to_be_bytes());
    octets[32..40].copy_from_slice(&ntp(received_unix_ms + manner.lie_ms).to_be_bytes());
    octets[40..].copy_from_slice(&ntp(received_unix_ms + manner.lie_ms).to_be_bytes());
    octets
}

/// The true time.
fn unix_ms(boot_ms: u64) -> i64 {
    (BOOT_UNIX_MS + boot_ms).cast_signed()
}

impl Net {
    /// Four names with a server each.
    fn new(manners: [Manner; 4]) -> Self {
        let servers = (1..).map(server).zip(manners).collect();
        Self::of(servers, (1..=4).map(|last| vec![server(last)]).collect())
    }

    fn of(servers: BTreeMap<IpAddr, Manner>, found: Vec<Vec<IpAddr>>) -> Self {
        let next = Rc::new(Cell::new(1_u32));
        let random = move || next.replace(next.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let mut machine = Machine::new(PIVOT, Box::new(random) as Box<dyn FnMut() -> u32>);
        machine.set_online(true, 1_000);
        Self {
            machine,
            now_ms: 1_000,
            servers,
            found,
            asked: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// A network whose DHCP names these servers, and where no name resolves.
    fn own(manners: &[Manner]) -> Self {
        let servers: BTreeMap<_, _> = (1..).map(server).zip(manners.iter().copied()).collect();
        let mut net = Self::of(servers.clone(), vec![Vec::new(); 4]);
        net.set_own(servers.keys().copied());
        net
    }

    fn set_own(&mut self, servers: impl IntoIterator<Item = IpAddr>) {
        let own: Vec<Ipv4Addr> = servers
            .into_iter()
            .map(|server| match server {
                IpAddr::V4(server) => server,
                IpAddr::V6(_) => panic!("option 42 is of IPv4"),
            })
            .collect();
        self.machine.set_servers(&own, self.now_ms);
    }

    /// Lets the next round happen, to its end; the time waited before it.
    fn round(&mut self) -> u64 {
        let before_ms = self.now_ms;
        self.now_ms = self.machine.deadline_ms().unwrap();
        let waited_ms = self.now_ms - before_ms;
        let mut actions = self.machine.tick(self.now_ms);
        if actions == [Action::Resolve(&NAMES)] {
            self.now_ms += 5;
            actions = self.machine.resolved(&self.found, self.now_ms);
        }
        self.asked.clear();
        let mut answers = BTreeMap::new();
        for action in actions {
            let Action::Send(to, octets) = action else {
                panic!("{action:?}")
            };
            self.asked.push(to);
            let manner = self.servers.get(&to).copied().unwrap_or(SILENT);
            if manner.is_silent {
                continue;
            }
            let nonce = u64::from_be_bytes(*octets[40..].first_chunk().unwrap());
            let arrives_ms = self.now_ms + manner.there_ms + manner.back_ms;
            let received = unix_ms(self.now_ms + manner.there_ms);
            answers.insert((arrives_ms, to), answer(nonce, manner, received));
        }
        for ((at_ms, from), octets) in answers {
            if self.machine.deadline_ms().unwrap() <= at_ms {
                break;
            }
            self.now_ms = at_ms;
            let actions = self.machine.receive(from, &octets, at_ms).unwrap();
            self.take(&actions);
        }
        if matches!(self.machine.state, State::Asking { .. }) {
            self.now_ms = self.machine.deadline_ms().unwrap();
            let actions = self.machine.tick(self.now_ms);
            self.take(&actions);
        }
        waited_ms
    }

    fn take(&mut self, actions: &[Action]) {
        for action in actions {
            let Action::Sample { unix_ms, boot_ms } = action else {
                panic!("{action:?}")
            };
            self.samples.push((*unix_ms, *boot_ms));
        }
    }

    /// How wrong the samples are that came so far.
    fn errors(&self) -> Vec<i64> {
        let error = |&(told_ms, boot_ms): &(u64, u64)| told_ms.cast_signed() - unix_ms(boot_ms);
        self.samples.iter().map(error).collect()
    }
}

fn check(manners: [Manner; 4], expected: &[i64]) {
    let mut net = Net::new(manners);
    net.round();
    assert_eq!(net.asked.len(), 4);
    let errors = net.errors();
    assert_eq!(errors.len(), expected.len(), "{manners:?}: {errors:?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!((error - expected).abs() <= 2, "{manners:?}: {errors:?}");
    }
}
