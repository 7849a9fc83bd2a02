//! Which answers are taken, and what of them.

use super::*;

#[test]
fn the_servers_times_are_taken_only_when_they_make_sense() {
    times(&[], 1800, 3150);
    times(&[DhcpOption::Renewal(100), DhcpOption::Rebinding(200)], 100, 200);
    times(&[DhcpOption::Renewal(100)], 1800, 3150);
    times(
        &[DhcpOption::Renewal(200), DhcpOption::Rebinding(100)],
        1800,
        3150,
    );
    times(&[DhcpOption::Renewal(0), DhcpOption::Rebinding(100)], 1800, 3150);
    times(
        &[DhcpOption::Renewal(100), DhcpOption::Rebinding(3600)],
        1800,
        3150,
    );
}

fn mask(option: Option<[u8; 4]>, expected: Option<u8>) {
    let mut net = Net::new();
    net.until_due().answer(MessageType::Offer, &[]);
    let mut message = reply(MessageType::Ack, net.xid());
    message.opts_mut().remove(OptionCode::SubnetMask);
    if let Some(mask) = option {
        message.opts_mut().insert(DhcpOption::SubnetMask(mask.into()));
    }
    net.receive(&message);
    let prefix = match &net.actions[..] {
        [Action::Lease(lease)] => Some(lease.prefix),
        _ => None,
    };
    assert_eq!(prefix, expected, "{option:?}");
}

#[test]
fn a_mask_is_a_prefix_or_the_answer_is_dropped() {
    mask(Some([255, 255, 255, 0]), Some(24));
    mask(Some([255, 255, 255, 255]), Some(32));
    mask(Some([255, 255, 254, 0]), Some(23));
    mask(Some([255, 0, 255, 0]), None);
    mask(Some([0, 0, 0, 0]), None);
    mask(Some([0, 0, 0, 1]), None);
    // Class C.
    mask(None, Some(24));
}

/// A way to spoil an answer.
type Spoil = fn(&mut v4::Message);

#[test]
fn answers_that_are_not_for_us_or_not_complete_change_nothing() {
    // The last column: whether it counts as malformed.
    let spoils: [(&str, Spoil, bool); 9] = [
        (
            "request",
            |message| {
                message.set_opcode(Opcode::BootRequest);
            },
            false,
        ),
        (
            "transaction",
            |message| {
                message.set_xid(message.xid() ^ 1);
            },
            false,
        ),
        (
            "hardware address",
            |message| {
                message.set_chaddr(&[1; 6]);
            },
            false,
        ),
        (
            "hardware length",
            |message| {
                message.set_chaddr(&[0x52; 16]);
            },
            false,
        ),
        (
            "hardware type",
            |message| {
                message.set_htype(HType::FibreChannel);
            },
            true,
        ),
        (
            "no address",
            |message| {
                message.set_yiaddr(Ipv4Addr::UNSPECIFIED);
            },
            true,
        ),
        (
            "multicast address",
            |message| {
                message.set_yiaddr(Ipv4Addr::new(224, 0, 0, 1));
            },
            true,
        ),
        (
            "no server",
            |message| {
                message.opts_mut().remove(OptionCode::ServerIdentifier);
            },
            true,
        ),
        (
            "no type",
            |message| {
                message.opts_mut().remove(OptionCode::MessageType);
            },
            true,
        ),
    ];
    for (name, spoil, counts) in spoils {
        let mut net = Net::new();
        net.until_due();
        let mut message = reply(MessageType::Offer, net.xid());
        spoil(&mut message);
        let is_malformed = net.hear(&message.to_vec().unwrap()).is_err();
        assert_eq!((net.actions.len(), is_malformed), (0, counts), "{name}");
        assert!(matches!(net.machine.state, State::Selecting { .. }), "{name}");
    }
}

#[test]
fn a_hardware_length_beyond_the_field_is_refused() {
    let mut net = Net::new();
    net.until_due();
    let mut octets = reply(MessageType::Offer, net.xid()).to_vec().unwrap();
    octets[2] = 200;
    assert_eq!(net.hear(&octets), Err(Malformed));
}

#[test]
fn a_wrong_cookie_is_bootp_and_dropped() {
    let mut net = Net::new();
    net.until_due();
    let mut octets = reply(MessageType::Offer, net.xid()).to_vec().unwrap();
    octets[236] ^= 1;
    assert_eq!(net.hear(&octets), Err(Malformed));
}

#[test]
fn an_mtu_out_of_range_is_left_out() {
    for (mtu, expected) in [
        (1400, Some(1400)),
        (1280, Some(1280)),
        (1279, None),
        (0, None),
        (9217, None),
        (9216, Some(9216)),
    ] {
        let mut net = Net::new();
        net.until_due().answer(MessageType::Offer, &[]);
        assert_eq!(
            net.answer(MessageType::Ack, &[DhcpOption::InterfaceMtu(mtu)])
                .lease()
                .mtu,
            expected
        );
    }
}
