//! What listens, and what it says to strangers (P2–P4, T4, D31).

use std::time::Duration;

use e2e::appliance::SENDER;
use e2e::client::http::Http;
use e2e::mail::short_message;
use e2e::runner::Outcome;
use e2e::{Account, Appliance, Conversation, Office, Plan, Service, Smtp, Stage};

e2e::scenarios![shared
    p2_no_other_port_listens,
    p3_a_plain_command_gets_no_greeting_inside_tls_ports,
    p4_imaps_offers_no_starttls,
    t4_a_peer_whose_handshake_fails_may_come_back_in_plain_text,
    a_silent_client_gets_the_greeting_first;
    own d17_too_many_connections_are_told_so_and_the_others_stay,
];

/// P2, D31
fn p2_no_other_port_listens(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let mut expected: Vec<u16> = Service::ALL.into_iter().map(Service::port).collect();
    expected.sort_unstable();
    let mut listening = appliance.listening()?;
    listening.sort_unstable();
    assert_eq!(listening, expected);
    Ok(())
}

/// P3
fn p3_a_plain_command_gets_no_greeting_inside_tls_ports(
    appliance: &dyn Appliance,
    _account: &Account,
) -> Outcome {
    const COMMANDS: [&str; 4] = [
        "a1 NOOP\r\n",
        "EHLO client.example.org\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "a1 LOGIN a b\r\n",
    ];
    let services = [Service::Imaps, Service::Https].into_iter();
    for (service, command) in services.flat_map(|service| COMMANDS.map(|command| (service, command))) {
        let mut conversation = Conversation::connect(appliance.addr(service))?;
        let early = conversation.within(Duration::from_millis(100))?;
        assert!(early.is_empty(), "it spoke first: {}", early.escape_ascii());
        conversation.send(command.as_bytes())?;
        let rest = conversation.rest()?;
        // Nothing, or a TLS alert record (RFC 8446 §5.1: type 21).
        let is_alert = rest.first() == Some(&21) && rest.len() <= 64;
        assert!(
            rest.is_empty() || is_alert,
            "{service:?} {command:?}: {}",
            rest.escape_ascii()
        );
    }
    Ok(())
}

/// P4
fn p4_imaps_offers_no_starttls(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let mut imap = appliance.imap()?;
    let capabilities = imap.ok("CAPABILITY")?;
    let line = &capabilities.untagged.first().ok_or("no CAPABILITY")?.line;
    for absent in ["STARTTLS", "LOGINDISABLED", "NTLM", "SCRAM"] {
        assert!(
            !line.contains(absent) && !imap.greeting.contains(absent),
            "{line}"
        );
    }
    let refused = imap.command("STARTTLS")?;
    assert!(refused.tagged.starts_with("BAD "), "{refused:?}");
    imap.ok("NOOP")?;
    imap.ok("LOGOUT")?;
    assert_eq!(imap.conversation.rest()?, b"");
    Ok(())
}

/// T4
fn t4_a_peer_whose_handshake_fails_may_come_back_in_plain_text(
    appliance: &dyn Appliance,
    account: &Account,
) -> Outcome {
    let mut smtp = appliance.smtp()?;
    assert_eq!(smtp.command("STARTTLS")?.code, 220);
    smtp.conversation.send(b"this is no ClientHello\r\n")?;
    let rest = smtp.conversation.rest()?;
    assert!(
        !rest.windows(4).any(|window| window == b"250 "),
        "{}",
        rest.escape_ascii()
    );
    let message = short_message(SENDER, &account.address, "t4@client.example.org");
    appliance.deliver(account, &message)
}

/// RFC 5321 §4.3.1: the client waits for the greeting, so the server speaks without being asked.
fn a_silent_client_gets_the_greeting_first(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let mut smtp = Smtp::connect(appliance.addr(Service::Smtp))?;
    assert_eq!(smtp.greeting.code, 220);
    // H7: one name, wherever it is told.
    for command in ["HELO client.example.org", "EHLO client.example.org"] {
        let reply = smtp.command(command)?;
        assert_eq!(
            reply.lines[0].split(' ').next(),
            Some(appliance.host_name()),
            "{reply:?}"
        );
    }
    assert!(smtp.greeting.lines[0].contains("ESMTP"), "{:?}", smtp.greeting);
    Ok(())
}

/// D17: thirty connections from one address; the next one is told why it is turned away.
fn d17_too_many_connections_are_told_so_and_the_others_stay(stage: &dyn Stage) -> Outcome {
    let mut office = Office::for_names(["anna"]);
    office.connections_per_address_max = Some(30);
    let appliance = stage.appliance(Plan::of(office))?;
    let mut open: Vec<Smtp> = (0..30).map(|_| appliance.smtp()).collect::<Result<_, _>>()?;
    for _ in 0..3 {
        let refused = Smtp::connect(appliance.addr(Service::Smtp))?;
        assert_eq!(refused.greeting.code, 421, "{:?}", refused.greeting);
    }
    let refused = Conversation::connect_tls(
        appliance.addr(Service::Imaps),
        appliance.tls()?,
        appliance.host_name(),
    );
    let said = refused.and_then(|mut conversation| conversation.rest());
    let said = String::from_utf8_lossy(&said?).into_owned();
    assert!(said.starts_with("* BYE "), "{said}");
    let refused = Http::new(appliance.addr(Service::Https), appliance.tls()?, "localhost").get("/")?;
    assert_eq!(refused.status, 503);
    for smtp in &mut open {
        assert_eq!(smtp.command("NOOP")?.code, 250);
    }
    // One goes, one may come.
    open.pop().ok_or("thirty are open")?.quit()?;
    let until = std::time::Instant::now() + e2e::client::PATIENCE;
    while Smtp::connect(appliance.addr(Service::Smtp))?.greeting.code == 421 {
        assert!(
            std::time::Instant::now() < until,
            "the place of the one that went is not given again"
        );
    }
    Ok(())
}
