//! The life of a lease: found, requested, renewed, rebound, declined, lost.

use super::*;

#[test]
fn the_first_discover_goes_out_at_once_and_is_complete() {
    let mut net = Net::new();
    assert_eq!(net.machine.deadline_ms(), Some(0));
    let (message, to) = net.until_due().sent();
    assert_eq!(to, None);
    assert_eq!(message.opcode(), Opcode::BootRequest);
    assert_eq!(
        (message.chaddr(), message.xid(), message.secs()),
        (&MAC[..], net.xid(), 0)
    );
    assert_eq!(message.opts().msg_type(), Some(MessageType::Discover));
    let client = DhcpOption::ClientIdentifier([&[1][..], &MAC].concat());
    assert_eq!(message.opts().get(OptionCode::ClientIdentifier), Some(&client));
    let Action::Broadcast(octets) = &net.actions[0] else {
        panic!()
    };
    assert!(octets.len() >= v4::MIN_PACKET_SIZE);
}

/// RFC 2131 §4.1.
#[test]
fn unanswered_discovers_back_off_to_about_a_minute_for_ever() {
    let mut net = Net::new();
    net.until_due();
    let (mut last_ms, xid) = (net.now_ms, net.xid());
    for seconds in [4, 8, 16, 32, 64, 64, 64] {
        assert_eq!(net.until_due().sent_kind(), MessageType::Discover);
        let waited = net.now_ms - last_ms;
        last_ms = net.now_ms;
        assert!(
            (seconds * 1000 - 1000..=seconds * 1000 + 1000).contains(&waited),
            "{waited}"
        );
        assert_eq!(net.xid(), xid);
    }
    assert_eq!(u64::from(net.sent().0.secs()), net.now_ms / 1000);
}

#[test]
fn the_jitter_spans_two_seconds() {
    for (random, expected) in [(0, 3000), (1000, 4000), (2000, 5000), (2001, 3000)] {
        let mut machine = Machine::new(MAC, name(), || random, 0);
        machine.tick(0);
        assert_eq!(machine.deadline_ms(), Some(expected));
    }
}

#[test]
fn an_offer_is_requested_and_its_acknowledgement_is_the_lease() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    let (message, to) = net.sent();
    assert_eq!(
        (message.opts().msg_type(), to),
        (Some(MessageType::Request), None)
    );
    assert_eq!(message.ciaddr(), Ipv4Addr::UNSPECIFIED);
    let option = |code| message.opts().get(code);
    assert_eq!(
        option(OptionCode::RequestedIpAddress),
        Some(&DhcpOption::RequestedIpAddress(OURS))
    );
    assert_eq!(
        option(OptionCode::ServerIdentifier),
        Some(&DhcpOption::ServerIdentifier(SERVER))
    );
    let expected = Lease {
        address: OURS,
        prefix: 24,
        gateway: Some(SERVER),
        dns: [SERVER, OTHER].into_iter().collect(),
        mtu: None,
        seconds: 3600,
    };
    assert_eq!(net.answer(MessageType::Ack, &[]).lease(), &expected);
    assert_eq!(net.machine.deadline_ms(), Some(1_800_000));
}

#[test]
fn the_lease_counts_from_its_request() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    net.now_ms += 2500;
    assert_eq!(net.answer(MessageType::Ack, &[]).lease().seconds, 3598);
    assert_eq!(net.machine.deadline_ms(), Some(1_800_000));
}

#[test]
fn four_unanswered_requests_start_over_with_a_new_transaction() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    let xid = net.xid();
    for _ in 1..REQUESTS_MAX {
        assert_eq!(net.until_due().sent_kind(), MessageType::Request);
    }
    assert_eq!(net.until_due().sent_kind(), MessageType::Discover);
    assert_ne!(net.xid(), xid);
}

#[test]
fn a_server_that_offers_and_refuses_is_asked_ever_more_slowly() {
    let mut net = Net::new();
    let mut waits = Vec::new();
    for _ in 0..6 {
        net.until_due()
            .answer(MessageType::Offer, &[])
            .answer(MessageType::Nak, &[]);
        assert_eq!(net.actions, []);
        waits.push((net.machine.deadline_ms().unwrap() - net.now_ms + 1000) / 4000);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 16]);
    // A lease ends the series.
    net.until_due()
        .answer(MessageType::Offer, &[])
        .answer(MessageType::Ack, &[]);
    assert_eq!(net.machine.refusals, 0);
}

#[test]
fn a_refusal_by_another_server_is_not_ours() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    net.answer(MessageType::Nak, &[DhcpOption::ServerIdentifier(OTHER)]);
    net.answer(MessageType::Ack, &[]).lease();
}

#[test]
fn at_t1_the_own_server_is_asked_from_the_own_address() {
    let mut net = Net::bound();
    let (message, to) = net.until_due().sent();
    assert_eq!((net.now_ms, to), (1_800_000, Some(SERVER)));
    // RFC 2131 §4.3.2, table 4: ciaddr set, no requested address, no server identifier.
    assert_eq!(
        (message.opts().msg_type(), message.ciaddr()),
        (Some(MessageType::Request), OURS)
    );
    assert!(!message.opts().contains(OptionCode::RequestedIpAddress));
    assert!(!message.opts().contains(OptionCode::ServerIdentifier));
    assert_eq!(net.answer(MessageType::Ack, &[]).lease().seconds, 3600);
    assert_eq!(net.machine.deadline_ms(), Some(3_600_000));
}

#[test]
fn the_gateway_the_name_servers_and_the_time_servers_may_change_at_a_renewal() {
    let mut net = Net::bound();
    assert_eq!(net.machine.ntp().len(), 0);
    let terms = [
        DhcpOption::Router(vec![OTHER]),
        DhcpOption::DomainNameServer(vec![OTHER]),
        DhcpOption::NtpServers(vec![SERVER, OTHER]),
    ];
    net.until_due().answer(MessageType::Ack, &terms);
    let lease = net.lease();
    assert_eq!((lease.address, lease.gateway), (OURS, Some(OTHER)));
    assert_eq!(lease.dns[..], [OTHER]);
    assert_eq!(net.machine.ntp(), [SERVER, OTHER]);
    // A renewal that names none takes them back.
    net.until_due().answer(MessageType::Ack, &[]);
    assert_eq!(net.machine.ntp().len(), 0);
}

#[test]
fn servers_are_told_the_name_and_asked_for_time_servers() {
    let mut net = Net::new();
    let asked = |net: &Net| {
        let (message, _) = net.sent();
        let Some(DhcpOption::ParameterRequestList(list)) =
            message.opts().get(OptionCode::ParameterRequestList)
        else {
            panic!("nothing is asked for")
        };
        assert!(list.contains(&OptionCode::NtpServers));
        let Some(DhcpOption::Hostname(name)) = message.opts().get(OptionCode::Hostname) else {
            panic!("no name")
        };
        name.clone()
    };
    assert_eq!(asked(net.until_due()), "postolka");
    net.machine.rename(HostName::new("postolka-2").unwrap());
    assert_eq!(asked(net.answer(MessageType::Offer, &[])), "postolka-2");
    net.answer(MessageType::Ack, &[]);
    assert_eq!(asked(net.until_due()), "postolka-2");
}

/// RFC 2131 §4.4.1, table 5, and §3.1 (5): at least ten seconds.
#[test]
fn a_lease_that_somebody_else_uses_is_declined_and_asked_for_again_later() {
    let mut net = Net::bound();
    let xid = net.xid();
    net.actions = net.machine.decline(10_000, net.now_ms);
    assert_eq!(net.actions.pop(), Some(Action::LeaseLost));
    let (message, to) = net.sent();
    assert_eq!(to, None);
    assert_eq!(message.opts().msg_type(), Some(MessageType::Decline));
    assert_eq!((message.ciaddr(), message.secs()), (Ipv4Addr::UNSPECIFIED, 0));
    assert_ne!(message.xid(), xid);
    let option = |code| message.opts().get(code);
    assert_eq!(
        option(OptionCode::RequestedIpAddress),
        Some(&DhcpOption::RequestedIpAddress(OURS))
    );
    assert_eq!(
        option(OptionCode::ServerIdentifier),
        Some(&DhcpOption::ServerIdentifier(SERVER))
    );
    assert!(option(OptionCode::ClientIdentifier).is_some());
    assert_eq!(option(OptionCode::ParameterRequestList), None);
    assert_eq!(option(OptionCode::Hostname), None);
    // An acknowledgement that was under way changes nothing any more.
    net.answer(MessageType::Ack, &[]);
    assert_eq!((net.actions.len(), net.machine.deadline_ms()), (0, Some(10_000)));
    assert_eq!(net.until_due().sent_kind(), MessageType::Discover);
    // There is nothing to give back any more.
    assert_eq!(net.machine.decline(10_000, net.now_ms), []);
}

#[test]
fn a_lease_is_declined_also_while_it_is_renewed_or_rebound() {
    for until_ms in [1_800_000, 3_150_000] {
        let mut net = Net::bound();
        while net.now_ms < until_ms {
            net.until_due();
        }
        net.actions = net.machine.decline(10_000, net.now_ms);
        assert_eq!(net.actions.pop(), Some(Action::LeaseLost));
        assert_eq!(net.sent_kind(), MessageType::Decline);
        assert_eq!(net.machine.deadline_ms(), Some(until_ms + 10_000));
    }
}

/// RFC 2131 §4.4.5: T1, half of the rest to T2 …, T2 by broadcast, …, expiry.
#[test]
fn a_silent_server_is_asked_then_everybody_then_the_lease_is_lost() {
    let mut net = Net::bound();
    let mut asked = Vec::new();
    loop {
        net.until_due();
        if net.actions[0] == Action::LeaseLost {
            break;
        }
        assert_eq!(net.sent_kind(), MessageType::Request);
        asked.push((net.now_ms / 1000, net.sent().1.is_none()));
    }
    let unicast = [
        (1800, false),
        (2475, false),
        (2812, false),
        (2981, false),
        (3065, false),
        (3125, false),
    ];
    let broadcast = [(3150, true), (3375, true), (3487, true), (3547, true)];
    assert_eq!(asked, [&unicast[..], &broadcast[..]].concat());
    assert_eq!(net.now_ms, 3_600_000);
    assert_eq!(net.sent_kind(), MessageType::Discover);
}

#[test]
fn another_server_may_take_over_while_rebinding() {
    let mut net = Net::bound();
    while net.now_ms < 3_150_000 {
        net.until_due();
    }
    let terms = [
        DhcpOption::ServerIdentifier(OTHER),
        DhcpOption::AddressLeaseTime(600),
    ];
    assert_eq!(net.answer(MessageType::Ack, &terms).lease().seconds, 600);
    assert_eq!(net.until_due().sent().1, Some(OTHER));
}

#[test]
fn a_refused_renewal_loses_the_lease_and_searches_at_once() {
    let mut net = Net::bound();
    net.until_due().answer(MessageType::Nak, &[]);
    assert_eq!(net.actions, [Action::LeaseLost]);
    assert_eq!(net.machine.deadline_ms(), Some(net.now_ms));
    assert_eq!(net.until_due().sent_kind(), MessageType::Discover);
}

#[test]
fn an_acknowledgement_of_another_address_is_not_taken() {
    let mut net = Net::bound();
    net.until_due();
    let mut message = reply(MessageType::Ack, net.xid());
    message.set_yiaddr(Ipv4Addr::new(192, 0, 2, 99));
    assert_eq!(net.receive(&message).actions, []);
}

#[test]
fn a_lease_of_twenty_seconds_is_renewed_in_time() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    net.answer(MessageType::Ack, &[DhcpOption::AddressLeaseTime(20)]);
    assert_eq!(net.until_due().now_ms, 10_000);
    assert_eq!(
        net.answer(MessageType::Ack, &[DhcpOption::AddressLeaseTime(20)])
            .lease()
            .seconds,
        20
    );
    assert_eq!(net.machine.deadline_ms(), Some(20_000));
}

#[test]
fn a_lease_that_would_have_us_renew_all_the_time_is_not_taken() {
    for (seconds, is_taken) in [(1, false), (19, false), (20, true)] {
        let mut net = Net::new();
        net.until_due().answer(MessageType::Offer, &[]);
        net.answer(MessageType::Ack, &[DhcpOption::AddressLeaseTime(seconds)]);
        assert_eq!(!net.actions.is_empty(), is_taken, "{seconds}");
        assert!(net.machine.deadline_ms().unwrap() >= net.now_ms + RETRY_MS_MIN);
    }
    // Nor does the server's T1 do it.
    times(&[DhcpOption::Renewal(9), DhcpOption::Rebinding(20)], 1800, 3150);
    times(&[DhcpOption::Renewal(10), DhcpOption::Rebinding(20)], 10, 20);
}

#[test]
fn a_lease_for_ever_has_no_deadline() {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    net.answer(MessageType::Ack, &[DhcpOption::AddressLeaseTime(u32::MAX)]);
    assert_eq!(net.lease().seconds, LEASE_SECONDS_FOREVER);
    assert_eq!(net.machine.deadline_ms(), None);
    assert_eq!(net.machine.tick(u64::MAX / 2), []);
}
