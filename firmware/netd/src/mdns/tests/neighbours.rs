//! Several responders on one link, who all want the same name. Who loses it takes another.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

struct Neighbours {
    machines: Vec<Responder>,
    names: Vec<u32>,
    now_ms: u64,
}

impl Neighbours {
    fn address(at: usize) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 10 + u8::try_from(at).unwrap())
    }

    fn new(seeds: &[u32]) -> Self {
        let machines = seeds.iter().enumerate().map(|(at, &seed)| {
            let mut machine = Machine::new(&host_name("postolka"), random(seed));
            let address = Address {
                ip: Self::address(at).into(),
                prefix: 24,
            };
            machine.set_addresses(&[address], 0);
            machine
        });
        Self {
            machines: machines.collect(),
            names: vec![1; seeds.len()],
            now_ms: 0,
        }
    }

    fn switch_on(&mut self, at: usize) {
        let actions = self.machines[at].set_on(true, self.now_ms);
        self.perform(at, actions);
    }

    /// Lets the time pass.
    fn until(&mut self, until_ms: u64) {
        for _ in 0..100_000 {
            let next = (0..self.machines.len())
                .filter_map(|at| Some((self.machines[at].deadline_ms()?, at)))
                .min();
            let Some((at_ms, at)) = next.filter(|&(at_ms, _)| at_ms <= until_ms) else {
                self.now_ms = until_ms;
                return;
            };
            self.now_ms = self.now_ms.max(at_ms);
            let actions = self.machines[at].tick(self.now_ms);
            self.perform(at, actions);
        }
        panic!("they do not come to rest");
    }

    fn perform(&mut self, from: usize, actions: Vec<Action>) {
        for action in actions {
            let source = SocketAddr::from((Self::address(from), PORT));
            match action {
                Action::Multicast(octets) => {
                    for to in (0..self.machines.len()).filter(|&to| to != from) {
                        let actions = self.machines[to].receive(source, &octets, self.now_ms).unwrap();
                        self.perform(to, actions);
                    }
                }
                Action::Unicast(to, octets) => {
                    let is_it = |at: &usize| IpAddr::V4(Self::address(*at)) == to.ip();
                    let to = (0..self.machines.len()).find(is_it).unwrap();
                    let actions = self.machines[to].receive(source, &octets, self.now_ms).unwrap();
                    self.perform(to, actions);
                }
                Action::NameConflict => {
                    // As init does.
                    self.names[from] += 1;
                    let name = host_name(&format!("postolka-{}", self.names[from]));
                    let actions = self.machines[from].set_name(&name, self.now_ms);
                    self.perform(from, actions);
                }
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.machines
            .iter()
            .all(|machine| machine.state == State::Established)
    }

    /// The names, sorted.
    fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = self
            .machines
            .iter()
            .map(|machine| machine.label.as_str())
            .collect();
        labels.sort_unstable();
        labels
    }
}

#[test]
fn who_comes_first_keeps_the_name() {
    let mut link = Neighbours::new(&[1, 2]);
    link.switch_on(0);
    link.until(10_000);
    link.switch_on(1);
    link.until(30_000);
    assert!(link.is_settled());
    assert_eq!(link.machines[0].label, "postolka");
    assert_eq!(link.machines[1].label, "postolka-2");
}

/// Two networks are joined by a cable.
#[test]
fn two_who_have_the_same_name_already_come_to_terms_when_they_meet() {
    let mut link = Neighbours::new(&[1, 2]);
    for at in [0, 1] {
        // Nobody hears the other.
        let machine = &mut link.machines[at];
        machine.set_on(true, 0);
        while let Some(at_ms) = machine.deadline_ms() {
            machine.tick(at_ms);
        }
    }
    link.now_ms = 60_000;
    let octets = query(HOST, TYPE::A).build_bytes_vec().unwrap();
    for at in [0, 1] {
        let actions = link.machines[at].receive(neighbour(), &octets, 60_000).unwrap();
        link.perform(at, actions);
    }
    link.until(90_000);
    assert!(link.is_settled());
    assert_eq!(link.labels(), ["postolka", "postolka-2"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// However they come, in the end each has a name of its own, and one of them the first.
    #[test]
    fn neighbours_always_end_with_different_names(
        seeds in vec(any::<u32>(), 2..6),
        starts in vec(0..2_000_u64, 6),
    ) {
        let mut link = Neighbours::new(&seeds);
        let mut order: Vec<(u64, usize)> = starts.into_iter().zip(0..seeds.len()).collect();
        order.sort_unstable();
        for (at_ms, at) in order {
            link.until(at_ms);
            link.switch_on(at);
        }
        link.until(120_000);
        prop_assert!(link.is_settled());
        let mut labels = link.labels();
        prop_assert_eq!(labels[0], "postolka");
        labels.dedup();
        prop_assert_eq!(labels.len(), seeds.len());
    }
}
