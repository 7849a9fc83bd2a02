//! The box on a network that is not always kind: its other end is a peer in this process, and every frame goes through it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use e2e::appliance::SENDER;
use e2e::client::PATIENCE;
use e2e::mail::{own_prefix, short_message};
use e2e::peer::{
    Arp, BROADCAST, DNS_6, DhcpKind, DhcpManner, DnsManner, FAR, FIRST, Mac, Mdns, OTHER_ROUTER,
    OTHER_ROUTER_MAC, PREFIX_6, Peer, ROUTER, ROUTER_MAC, Router, STRANGER_MAC, Seen, Station, hostile, mdns,
    mdns_answer,
};
use e2e::random::{Random, seeds};
use e2e::runner::Outcome;
use e2e::stage::{Booted, BootedImage};
use e2e::{Appliance, Office, Plan, Stage};

e2e::scenarios![; own
    d23_a_lease_is_renewed_and_given_up_and_the_cable_may_be_pulled,
    d23_ipv6_alone_is_enough_and_nobody_is_believed_blindly,
    d23_an_address_by_hand_needs_no_server_and_yields_to_whoever_has_it,
    d23_cards_may_come_late_and_be_several,
    ax3_the_box_is_found_by_its_name_until_it_is_claimed,
];

/// What the network has to do in this time. The box shares two cores with whatever builds beside it.
const SOON: Duration = Duration::from_secs(60);
/// The shortest lease that the box takes.
const LEASE_SECONDS: u32 = 20;

/// All that an unclaimed box tells its neighbours besides addresses: that there is a page to look at.
const TOLD: [&str; 4] = [
    "_services._dns-sd._udp.local PTR _https._tcp.local",
    "_https._tcp.local PTR postolka._https._tcp.local",
    "postolka._https._tcp.local SRV 443 postolka.local",
    "postolka._https._tcp.local TXT",
];

/// The whole life of a lease, on one box.
fn d23_a_lease_is_renewed_and_given_up_and_the_cable_may_be_pulled(_stage: &dyn Stage) -> Outcome {
    let peer = Peer::new(1)?;
    peer.script(|script| {
        script.dhcp.seconds = LEASE_SECONDS;
        script.dhcp.renew_rebind_seconds = Some((10, 12));
        script.dhcp.is_garbled = true;
    });
    let mut booted = on_cables(Office::for_names(["anna"]), &[&peer])?;
    booted.power_on()?;
    let mut mark = 0;
    asks(&peer, &mut mark, DhcpKind::Request, FIRST)?;
    announces(&peer, &mut mark, FIRST)?;
    booted.says("LISTENING")?;
    booted.reached_at(&peer, FIRST.into())?;
    says_malformed(&booted, "DHCP message")?;
    peer.script(|script| script.dhcp.is_garbled = false);
    mail_comes_and_is_read(&booted, "leased")?;
    assert_eq!(way_out(&peer, FIRST, 1)?, ROUTER_MAC);

    // Renewed from its own server, which now names another gateway.
    peer.script(|script| script.dhcp.gateway = Some(OTHER_ROUTER));
    let (renewed, is_broadcast) = extends(&peer, &mut mark, FIRST)?;
    assert!(!is_broadcast, "a renewal goes to the server alone");
    until("the new gateway is used", |sequence| {
        Ok(way_out(&peer, FIRST, sequence)? == OTHER_ROUTER_MAC)
    })?;

    // The server is gone: asked alone, then everybody, and then the time is over.
    peer.script(|script| script.dhcp.manner = DhcpManner::Silent);
    let (asked, is_broadcast) = extends(&peer, &mut mark, FIRST)?;
    assert!(!is_broadcast, "a renewal goes to the server alone");
    let (everybody, is_broadcast) = extends(&peer, &mut mark, FIRST)?;
    assert!(is_broadcast, "who rebinds asks everybody");
    let (over, ()) = asks_anew(&peer, &mut mark)?;
    println!(
        "a lease of {LEASE_SECONDS} s: renewed, then asked again {:.1} s, rebound {:.1} s, given up {:.1} s later",
        seconds(asked, renewed),
        seconds(everybody, renewed),
        seconds(over, renewed)
    );
    assert!(seconds(over, renewed) > 19.0, "it was given up too early");
    until("the address that ran out is silent", |_| {
        Ok(!peer.is_answered(FIRST.into())?)
    })?;
    booted.says("nobody answers with an address")?;
    let link_local = link_local(&peer);
    // The cable itself is all that the LAN needs: by its link-local address the box is reached as before.
    assert!(peer.is_answered(link_local)?, "{link_local} is silent");
    booted.reached_at(&peer, link_local)?;
    mail_comes_and_is_read(&booted, "link-local")?;

    // The server is back. Then it refuses, and gives another address.
    peer.script(|script| script.dhcp.manner = DhcpManner::Kind);
    announces(&peer, &mut mark, FIRST)?;
    let second = next_of(FIRST, 10);
    peer.script(|script| script.dhcp.address = second);
    asks(&peer, &mut mark, DhcpKind::Request, FIRST)?;
    asks(&peer, &mut mark, DhcpKind::Request, second)?;
    announces(&peer, &mut mark, second)?;
    assert!(!peer.is_answered(FIRST.into())?, "the refused address is kept");
    booted.reached_at(&peer, second.into())?;
    mail_comes_and_is_read(&booted, "second")?;

    // Nobody's cable, and somebody's again.
    let machine = booted.on()?;
    machine.pull(peer.cable())?;
    booted.says("no cable is plugged in")?;
    let plugged = Instant::now();
    booted.on()?.put_back(peer.cable())?;
    let has_address = announces(&peer, &mut mark, second)?;
    println!("an address {:.2} s after the link", seconds(has_address, plugged));
    mail_comes_and_is_read(&booted, "plugged")?;

    // D22: no name server, or a bad one, is no reason to refuse mail.
    for manner in [DnsManner::Silent, DnsManner::Failing, DnsManner::Truncating] {
        peer.script(|script| script.dns = manner);
        mail_comes_and_is_read(&booted, &format!("dns-{manner:?}"))?;
    }
    // AX3: this box is claimed.
    assert!(!is_found(&peer, "postolka.local")?, "a claimed box answers mDNS");
    Ok(())
}

/// P1 in IPv6: no DHCP at all, and a router that advertises; between false ones.
fn d23_ipv6_alone_is_enough_and_nobody_is_believed_blindly(_stage: &dyn Stage) -> Outcome {
    let peer = Peer::new(2)?;
    peer.script(|script| {
        script.dhcp.manner = DhcpManner::Silent;
        script.dns = DnsManner::Failing;
    });
    let mut booted = on_cables(Office::for_names(["anna"]), &[&peer])?;
    booted.power_on()?;
    booted.says("LISTENING")?;
    // Nobody gives an address: the page says so, and mail comes by the link itself.
    booted.reached_at(&peer, link_local(&peer))?;
    mail_comes_and_is_read(&booted, "link-local")?;
    booted.says("nobody answers with an address")?;

    let router = Router {
        lifetime_seconds: 1800,
        prefix: None,
        dns: vec![DNS_6],
        dns_seconds: 600,
    };
    let mut mark = peer.mark();
    for (what, frame) in hostile::advertisements(&router) {
        peer.send(&frame)?;
        assert!(!frame.is_empty(), "{what}");
    }
    let mut random = Random::new(seed());
    for frame in hostile::frames(&mut random) {
        peer.send(&frame)?;
    }
    says_malformed(&booted, "router advertisement")?;
    assert!(peer.is_answered(link_local(&peer))?, "the box is gone");
    let asked_dns =
        |seen: &Seen| matches!(seen, Seen::Dns(server, _) if *server == IpAddr::from(DNS_6)).then_some(());
    assert!(
        peer.all(mark, asked_dns).is_empty(),
        "a false name server is asked"
    );

    peer.script(|script| {
        script.router = Some(Router {
            prefix: Some((PREFIX_6, 3600)),
            ..router
        });
    });
    peer.advertise()?;
    let address = own_address(&peer, PREFIX_6);
    until("the address of the advertised network is there", |_| {
        peer.is_answered(address)
    })?;
    booted.says(&address.to_string())?;
    booted.reached_at(&peer, address)?;
    mail_comes_and_is_read(&booted, "advertised")?;
    // The name server of the advertisement is the one that is asked: for the time, as nobody else named a server.
    peer.next(
        &mut mark,
        "a question to the advertised name server",
        SOON,
        asked_dns,
    )?;
    Ok(())
}

/// No server, and none is needed. Somebody else has the address at first, and at last.
fn d23_an_address_by_hand_needs_no_server_and_yields_to_whoever_has_it(_stage: &dyn Stage) -> Outcome {
    const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
    let peer = Peer::new(3)?;
    peer.script(|script| {
        script.dhcp.manner = DhcpManner::Silent;
        script.addresses.insert(OURS.into(), STRANGER_MAC);
    });
    let mut office = Office::for_names(["anna"]);
    office.first_line = format!(
        "[box]\nname = \"posta\"\naddress = \"{OURS}/24\"\ngateway = \"{ROUTER}\"\ndns = [\"{ROUTER}\"]"
    );
    let mut booted = on_cables(office, &[&peer])?;
    booted.power_on()?;
    booted.says(&format!(
        "Another device ({}) uses the address {OURS}",
        text(STRANGER_MAC)
    ))?;
    let by_hand = peer.mark();
    let mut mark = by_hand;
    peer.script(|script| {
        script.addresses.remove(&OURS.into());
    });
    announces(&peer, &mut mark, OURS)?;
    booted.reached_at(&peer, OURS.into())?;
    mail_comes_and_is_read(&booted, "by-hand")?;
    assert_eq!(way_out(&peer, OURS, 1)?, ROUTER_MAC);
    booted.on()?.console().wait_for("  Name        posta", SOON)?;

    // Contested once: defended. Again at once: given up, and taken back when the other has gone.
    let (mut defended, told) = (peer.mark(), booted.on()?.console().mark());
    contest(&peer, OURS)?;
    announces(&peer, &mut defended, OURS)?;
    peer.script(|script| {
        script.addresses.insert(OURS.into(), STRANGER_MAC);
    });
    contest(&peer, OURS)?;
    until("a contested address is given up", |_| {
        Ok(!peer.is_answered(OURS.into())?)
    })?;
    let other = format!("Another device ({}) uses the address {OURS}", text(STRANGER_MAC));
    booted.on()?.console().wait_for_after(told, &other, SOON)?;
    let mut mark = peer.mark();
    peer.script(|script| {
        script.addresses.remove(&OURS.into());
    });
    announces(&peer, &mut mark, OURS)?;
    mail_comes_and_is_read(&booted, "by-hand-again")?;
    let asked = |since| peer.all(since, |seen| matches!(seen, Seen::Dhcp(_)).then(|| seen.clone()));
    // On its first start the box may look for a server until the stick has been read.
    println!("before its address was set by hand, it asked: {:?}", asked(0));
    assert_eq!(
        asked(by_hand),
        [],
        "an address by hand, and a server is asked all the same"
    );
    Ok(())
}

/// No card when it starts; then one, whose address somebody has; then another.
fn d23_cards_may_come_late_and_be_several(_stage: &dyn Stage) -> Outcome {
    let (peer, other) = (Peer::new(4)?, Peer::new(5)?);
    let (taken, free) = (FIRST, next_of(FIRST, 1));
    peer.script(|script| {
        script.addresses.insert(taken.into(), STRANGER_MAC);
    });
    let mut booted = on_cables(Office::for_names(["anna"]), &[])?;
    booted.power_on()?;
    // On a page, which may come before mail is served or behind it.
    booted
        .on()?
        .console()
        .wait_for("there is no network card", PATIENCE)?;
    booted.says("LISTENING")?;

    // AX3, RFC 2131 §3.1 (5): somebody has the offered address; it is declined, and the next one taken.
    let plugged = Instant::now();
    booted.on()?.plug(peer.cable())?;
    let mut mark = 0;
    asks(&peer, &mut mark, DhcpKind::Decline, taken)?;
    asks(&peer, &mut mark, DhcpKind::Request, free)?;
    let has_address = announces(&peer, &mut mark, free)?;
    println!(
        "a card plugged in late: the second address {:.1} s later",
        seconds(has_address, plugged)
    );
    booted.says(&format!(
        "Another device ({}) uses the address {taken}",
        text(STRANGER_MAC)
    ))?;
    booted.reached_at(&peer, free.into())?;
    mail_comes_and_is_read(&booted, "late")?;

    // A second one, in a network of its own.
    let second = Ipv4Addr::new(192, 0, 2, 150);
    other.script(|script| script.dhcp.address = second);
    booted.on()?.plug(other.cable())?;
    announces(&other, &mut 0, second)?;
    booted.says(&second.to_string())?;
    assert!(peer.is_answered(link_local(&peer))? && other.is_answered(link_local(&other))?);

    // And the first one is taken out again.
    booted.on()?.unplug(peer.cable())?;
    booted.reached_at(&other, second.into())?;
    mail_comes_and_is_read(&booted, "second")?;
    assert!(
        !peer.is_answered(link_local(&peer))?,
        "a card that is not there answers"
    );
    Ok(())
}

/// AX3: an unclaimed box tells its name and nothing else, and takes another name when somebody has it.
fn ax3_the_box_is_found_by_its_name_until_it_is_claimed(_stage: &dyn Stage) -> Outcome {
    let peer = Peer::new(6)?;
    let mut booted = on_cables(Office::for_names([]), &[&peer])?;
    // No postolka.toml: nobody has claimed it.
    booted.insert(&[("readme.txt", b"nothing to see")])?;
    booted.power_on()?;
    let mut mark = 0;
    announces(&peer, &mut mark, FIRST)?;
    until("it is found by its name", |_| is_found(&peer, "postolka.local"))?;
    let told = peer.all(0, |seen| match seen {
        Seen::Mdns(message) if message.is_response => Some(message.clone()),
        _ => None,
    });
    for Mdns { answers, others, .. } in &told {
        for (name, ip) in answers {
            assert_eq!(name, "postolka.local");
            assert!([IpAddr::from(FIRST), link_local(&peer)].contains(ip), "{ip}");
        }
        for other in others {
            let is_reverse = other.ends_with(".arpa PTR postolka.local");
            assert!(
                is_reverse || TOLD.contains(&other.as_str()),
                "told to everybody: {other}"
            );
        }
    }

    // What is no message changes nothing.
    let mut random = Random::new(seed());
    for (_, datagram) in hostile::mdns_messages("postolka.local", &mut random) {
        peer.send(&datagram.frame())?;
    }
    says_malformed(&booted, "mDNS message")?;
    assert!(
        is_found(&peer, "postolka.local")?,
        "a malformed message has silenced it"
    );

    // Somebody else has the name, and says so whenever he is asked.
    let stranger = Ipv4Addr::new(192, 0, 2, 66);
    peer.script(|script| {
        script
            .claimed_names
            .insert("postolka.local".to_owned(), stranger.into());
    });
    let claim = mdns_answer("postolka.local", stranger.into());
    peer.send(&mdns(Station::new(STRANGER_MAC, stranger), claim).frame())?;
    until("it has another name", |_| is_found(&peer, "postolka-2.local"))?;
    assert!(!is_found(&peer, "postolka.local")?, "two hosts have one name");
    booted.says("postolka-2")?;
    Ok(())
}

/// A box that is plugged into these, and not yet on.
fn on_cables(office: Office, peers: &[&Peer]) -> Result<Booted, Box<dyn std::error::Error>> {
    let mut booted = BootedImage::new()?.machine(Plan::of(office))?;
    booted.on_cables(peers);
    Ok(booted)
}

/// A message is taken on port 25, and read over IMAP.
pub(crate) fn mail_comes_and_is_read(booted: &Booted, id: &str) -> Outcome {
    let account = booted.office().accounts[0].clone();
    let appliance: &dyn Appliance = booted;
    let message = short_message(SENDER, &account.address, &format!("{id}@client.example.org"));
    appliance.deliver(&account, &message)?;
    let mut imap = appliance.imap_of(&account)?;
    imap.ok("SELECT INBOX")?;
    own_prefix(&imap.fetch("*")?[0].octets, &message)?;
    Ok(())
}

/// Waits for a message of this kind about this address.
fn asks(peer: &Peer, mark: &mut usize, kind: DhcpKind, address: Ipv4Addr) -> std::io::Result<Instant> {
    let what = format!("{kind:?} for {address}");
    let found = peer.next(mark, &what, SOON, |seen| match seen {
        Seen::Dhcp(request) if request.kind == kind && request.wanted() == address => Some(()),
        _ => None,
    });
    Ok(found?.0)
}

/// Waits for a request to keep an address, and tells whether it went to everybody.
fn extends(peer: &Peer, mark: &mut usize, address: Ipv4Addr) -> std::io::Result<(Instant, bool)> {
    let what = format!("a request to keep {address}");
    peer.next(mark, &what, SOON, |seen| match seen {
        Seen::Dhcp(request) if request.kind == DhcpKind::Request && request.ciaddr == address => {
            Some(request.is_broadcast)
        }
        _ => None,
    })
}

/// Waits for the search to begin anew.
fn asks_anew(peer: &Peer, mark: &mut usize) -> std::io::Result<(Instant, ())> {
    peer.next(mark, "DISCOVER", SOON, |seen| match seen {
        Seen::Dhcp(request) if request.kind == DhcpKind::Discover => Some(()),
        _ => None,
    })
}

/// Waits until the box says that it has this address (RFC 5227 §2.3).
fn announces(peer: &Peer, mark: &mut usize, address: Ipv4Addr) -> std::io::Result<Instant> {
    let what = format!("the announcement of {address}");
    let found = peer.next(mark, &what, SOON, |seen| match seen {
        Seen::Arp(arp) if arp.sender_ip == address && arp.target_ip == address => Some(()),
        _ => None,
    });
    Ok(found?.0)
}

/// By whose card the box answers a host that is far away.
fn way_out(peer: &Peer, address: Ipv4Addr, sequence: u16) -> std::io::Result<Mac> {
    let mut mark = peer.mark();
    peer.ping(Station::new(ROUTER_MAC, FAR), address.into(), sequence)?;
    let found = peer.next(
        &mut mark,
        "an answer to a host far away",
        SOON,
        |seen| match seen {
            Seen::EchoReply {
                to, by, sequence: of, ..
            } if *to == IpAddr::from(FAR) && *of == sequence => Some(*by),
            _ => None,
        },
    );
    Ok(found?.1)
}

/// Asks until it is so.
fn until(what: &str, mut is_so: impl FnMut(u16) -> std::io::Result<bool>) -> std::io::Result<()> {
    let end = Instant::now() + SOON;
    for sequence in 100.. {
        if is_so(sequence)? {
            return Ok(());
        }
        if Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Err(std::io::Error::other(format!(
        "{what}: not within {} s",
        SOON.as_secs()
    )))
}

/// Whether somebody answers to this name within a second, with an address of the box.
fn is_found(peer: &Peer, name: &str) -> std::io::Result<bool> {
    let mut mark = peer.mark();
    peer.ask_mdns(name)?;
    let found = peer.next(&mut mark, name, Duration::from_secs(1), |seen| match seen {
        Seen::Mdns(message) if message.is_response && !message.addresses_of(name).is_empty() => Some(()),
        _ => None,
    });
    Ok(found.is_ok())
}

/// A stranger announces the box's address as his own.
fn contest(peer: &Peer, address: Ipv4Addr) -> std::io::Result<()> {
    let arp = Arp {
        is_request: true,
        sender_mac: STRANGER_MAC,
        sender_ip: address,
        target_mac: [0; 6],
        target_ip: address,
    };
    peer.send(&arp.frame(BROADCAST))
}

/// What came malformed is counted, and told.
fn says_malformed(booted: &Booted, what: &str) -> Outcome {
    let console = booted.on()?.console();
    console.wait_for(&format!("A malformed {what} was ignored."), SOON)?;
    Ok(())
}

/// The address that the box makes in a network of 64 bits from that of its card (RFC 4291, appendix A).
fn own_address(peer: &Peer, network: Ipv6Addr) -> IpAddr {
    let mac = peer.cable().mac();
    let mut octets = network.octets();
    octets[8..11].copy_from_slice(&mac[..3]);
    octets[8] ^= 2;
    octets[11..13].copy_from_slice(&[0xff, 0xfe]);
    octets[13..].copy_from_slice(&mac[3..]);
    Ipv6Addr::from(octets).into()
}

/// The same on the link.
fn link_local(peer: &Peer) -> IpAddr {
    own_address(peer, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0))
}

fn next_of(address: Ipv4Addr, by: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() + by)
}

fn text(mac: Mac) -> String {
    let octets: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

fn seconds(later: Instant, earlier: Instant) -> f32 {
    later.saturating_duration_since(earlier).as_secs_f32()
}

fn seed() -> u64 {
    let seed = seeds(&[20_261_124])[0];
    println!("seed {seed}");
    seed
}
