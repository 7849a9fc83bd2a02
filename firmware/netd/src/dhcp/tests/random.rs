//! Whatever happens, in whatever order.

use super::*;

/// One thing that happens to a client.
#[derive(Clone, Debug)]
enum Event {
    Due,
    Wait(u32),
    Answer(MessageType, u32),
    Noise(Vec<u8>),
    Conflict,
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(MessageType::Offer),
        Just(MessageType::Ack),
        Just(MessageType::Nak)
    ];
    let seconds = prop_oneof![Just(1), 1..100_u32, any::<u32>()];
    prop_oneof![
        3 => Just(Event::Due),
        1 => (0..10_000_000_u32).prop_map(Event::Wait),
        4 => (kind, seconds).prop_map(|(kind, seconds)| Event::Answer(kind, seconds)),
        1 => vec(any::<u8>(), 0..400).prop_map(Event::Noise),
        1 => Just(Event::Conflict),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever happens: at most one datagram an event, news in the right order and in range, and never a standstill
    /// without a lease.
    #[test]
    fn any_sequence_of_events_keeps_the_invariants(events in vec(event(), 0..60)) {
        let mut net = Net::new();
        let mut holds = false;
        let mut last_sent_ms = None;
        for event in events {
            let is_tick = matches!(event, Event::Due | Event::Wait(_));
            match event {
                Event::Due => if net.machine.deadline_ms().is_some() { net.until_due(); },
                Event::Wait(ms) => {
                    net.now_ms += u64::from(ms);
                    net.actions = net.machine.tick(net.now_ms);
                }
                Event::Answer(kind, seconds) => {
                    net.answer(kind, &[DhcpOption::AddressLeaseTime(seconds)]);
                }
                Event::Noise(octets) => {
                    let _ = net.hear(&octets);
                }
                // Only what is held can be given back.
                Event::Conflict => net.actions = net.machine.decline(10_000, net.now_ms),
            }
            let mut sent = 0;
            for action in std::mem::take(&mut net.actions) {
                match action {
                    Action::Lease(lease) => {
                        let message = handoff::FromNetd::Lease(lease);
                        prop_assert_eq!(handoff::Message::decode(&handoff::Message::encode(&message)), Ok(message));
                        holds = true;
                    }
                    Action::LeaseLost => {
                        prop_assert!(holds);
                        holds = false;
                    }
                    Action::Broadcast(_) | Action::Unicast(..) => sent += 1,
                }
            }
            prop_assert!(sent <= 1);
            if sent == 1 && is_tick {
                last_sent_ms = Some(net.now_ms);
            }
            if let (Some(sent_ms), Some(deadline_ms)) = (last_sent_ms, net.machine.deadline_ms())
                && matches!(net.machine.state, State::Selecting { .. })
            {
                prop_assert!(deadline_ms >= sent_ms + RETRY_MS_MIN);
            }
            prop_assert_eq!(holds, net.machine.held.is_some());
            prop_assert!(holds || net.machine.deadline_ms().is_some());
        }
    }

    /// What dhcproto makes of our requests is what we meant; the machine's tests read all others with it, too.
    #[test]
    fn requests_decode_to_themselves(xid in any::<u32>(), secs in any::<u16>(), ip in any::<[u8; 4]>()) {
        let address = Ipv4Addr::from(ip);
        let name = name();
        let request = Request { kind: RequestKind::Extend { address }, mac: MAC, name: &name, xid, secs };
        let message = v4::Message::from_bytes(&request.encode()).unwrap();
        prop_assert_eq!((message.xid(), message.secs(), message.ciaddr()), (xid, secs, address));
        prop_assert_eq!(message.chaddr(), &MAC[..]);
    }

    #[test]
    fn random_options_never_panic(mut octets in vec(any::<u8>(), 240..600), xid in Just(1000_u32)) {
        octets[..3].copy_from_slice(&[2, 1, 6]);
        octets[4..8].copy_from_slice(&xid.to_be_bytes());
        octets[28..34].copy_from_slice(&MAC);
        octets[236..240].copy_from_slice(&v4::MAGIC);
        let mut net = Net::new();
        net.until_due();
        let before = net.machine.state;
        if net.hear(&octets).is_err() {
            prop_assert_eq!(net.machine.state, before);
        }
    }
}
