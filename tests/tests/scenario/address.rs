//! Who is a recipient and who is not (C1–C7, AS9), and what else is said on port 25.

use e2e::appliance::SENDER;
use e2e::mail::short_message;
use e2e::office::DOMAIN;
use e2e::runner::Outcome;
use e2e::{Account, Appliance, Smtp};

e2e::scenarios![shared
    c1_an_unknown_mailbox_is_refused_at_rcpt,
    c2_a_domain_that_is_not_hosted_is_refused,
    c5_the_good_recipients_get_what_the_unknown_do_not,
    c6_the_bare_postmaster_is_taken,
    c7_many_unknown_recipients_end_the_session,
    as9_relay_shapes_are_refused,
    as9_addresses_are_compared_without_case,
    redirects_reach_their_target,
    commands_out_of_order_are_refused,
    vrfy_tells_nothing,
];

/// Says MAIL and one RCPT on a new connection, and gives the class of the reply to RCPT.
fn recipient(appliance: &dyn Appliance, path: &str) -> std::io::Result<String> {
    let mut smtp = appliance.smtp()?;
    smtp.command(&format!("MAIL FROM:<{SENDER}>"))?;
    smtp.command(&format!("RCPT TO:{path}"))
        .map(|reply| reply.class())
}

/// C1, D29
fn c1_an_unknown_mailbox_is_refused_at_rcpt(appliance: &dyn Appliance, account: &Account) -> Outcome {
    assert_eq!(recipient(appliance, &format!("<nobody@{DOMAIN}>"))?, "550 5.1.1");
    // With an account of the same beginning, and of the same local part elsewhere.
    assert_eq!(
        recipient(appliance, &format!("<{}>", &account.address[1..]))?,
        "550 5.1.1"
    );
    assert!(recipient(appliance, &format!("<{}>", account.address))?.starts_with("250"));
    Ok(())
}

/// C2, P6, D30
fn c2_a_domain_that_is_not_hosted_is_refused(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let (local_part, _) = account.address.split_once('@').ok_or("an address has an @")?;
    for path in [
        "<someone@elsewhere.example>".to_owned(),
        format!("<{local_part}@elsewhere.example>"),
        format!("<{local_part}@mail.{DOMAIN}>"),
        format!("<{local_part}@x{DOMAIN}>"),
    ] {
        let class = recipient(appliance, &path)?;
        assert!(class == "550 5.7.1" || class == "554 5.7.1", "{path}: {class}");
    }
    Ok(())
}

/// C5
fn c5_the_good_recipients_get_what_the_unknown_do_not(
    appliance: &dyn Appliance,
    account: &Account,
) -> Outcome {
    let mut smtp = appliance.smtp()?;
    smtp.command(&format!("MAIL FROM:<{SENDER}>"))?;
    for unknown in ["nobody", "no-one"] {
        assert_eq!(
            smtp.command(&format!("RCPT TO:<{unknown}@{DOMAIN}>"))?.class(),
            "550 5.1.1"
        );
    }
    assert_eq!(smtp.command(&format!("RCPT TO:<{}>", account.address))?.code, 250);
    assert_eq!(
        smtp.command("RCPT TO:<someone@elsewhere.example>")?.enhanced(),
        Some("5.7.1")
    );
    assert_eq!(smtp.command("DATA")?.code, 354);
    assert_eq!(
        smtp.data(&short_message(SENDER, &account.address, "c5@client.example.org"))?
            .code,
        250
    );
    let mut imap = appliance.imap_of(account)?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(1));
    Ok(())
}

/// C6, RFC 5321 §4.5.1
fn c6_the_bare_postmaster_is_taken(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    for path in [
        "<postmaster>".to_owned(),
        "<Postmaster>".to_owned(),
        format!("<postmaster@{DOMAIN}>"),
        format!("<POSTMASTER@{DOMAIN}>"),
        format!("<abuse@{DOMAIN}>"),
    ] {
        let class = recipient(appliance, &path)?;
        assert!(class.starts_with("250"), "{path}: {class}");
    }
    // It reaches somebody: the message is taken, so it lies in a mailbox of the box.
    let mut smtp = appliance.smtp()?;
    let message = short_message(SENDER, "postmaster", "c6@client.example.org");
    assert_eq!(smtp.deliver(SENDER, "postmaster", &message)?.code, 250);
    let mut imap = appliance.imap_of(appliance.office().owner())?;
    imap.ok("SELECT INBOX")?;
    let answer = imap.ok("SEARCH HEADER Message-ID c6@client.example.org")?;
    let line = &answer.untagged.first().ok_or("no SEARCH")?.line;
    assert_eq!(line.split(' ').count(), 3, "one message: {line}");
    Ok(())
}

/// C7
fn c7_many_unknown_recipients_end_the_session(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut smtp = appliance.smtp()?;
    smtp.command(&format!("MAIL FROM:<{SENDER}>"))?;
    assert_eq!(smtp.command(&format!("RCPT TO:<{}>", account.address))?.code, 250);
    for number in 0..10 {
        let reply = smtp.command(&format!("RCPT TO:<nobody{number}@{DOMAIN}>"))?;
        assert_eq!(reply.class(), "550 5.1.1", "unknown recipient {number}");
    }
    assert_eq!(
        smtp.command(&format!("RCPT TO:<nobody@{DOMAIN}>"))?.class(),
        "452 4.5.3"
    );
    assert_eq!(smtp.command("DATA")?.code, 354);
    assert_eq!(
        smtp.data(&short_message(SENDER, &account.address, "c7@client.example.org"))?
            .code,
        250
    );
    assert_eq!(
        smtp.command(&format!("MAIL FROM:<{SENDER}>"))?.class(),
        "421 4.7.0"
    );
    assert_eq!(smtp.conversation.rest()?, b"");
    let mut imap = appliance.imap_of(account)?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(1));
    Ok(())
}

/// AS9
fn as9_relay_shapes_are_refused(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let (user, _) = account.address.split_once('@').ok_or("an address has an @")?;
    let long = "l".repeat(300);
    let shapes = [
        "<\"\">".to_owned(),
        format!("<\"\"@{DOMAIN}>"),
        format!("<{user}%elsewhere.example@{DOMAIN}>"),
        format!("<elsewhere.example!{user}@{DOMAIN}>"),
        format!("<@{DOMAIN}:{user}@elsewhere.example>"),
        format!("<\"{user}@elsewhere.example\"@{DOMAIN}>"),
        "<u@elsewhere.example>".to_owned(),
        format!("<{user}@[127.0.0.1]>"),
        format!("<{user}@{DOMAIN}@elsewhere.example>"),
        format!("<=?utf-8?q?{user}=40elsewhere.example?=@{DOMAIN}>"),
        format!("<{long}@{DOMAIN}>"),
        "<user@xn--ls8h.example>".to_owned(),
        format!("<{user}@>"),
        "<>".to_owned(),
        format!("<{user}\\@elsewhere.example@{DOMAIN}>"),
        format!("<{user}@{DOMAIN}\0>"),
    ];
    for shape in shapes {
        let class = recipient(appliance, &shape)?;
        assert!(class.starts_with('5'), "{shape}: {class}");
    }
    Ok(())
}

/// AS9, L1
fn as9_addresses_are_compared_without_case(appliance: &dyn Appliance, account: &Account) -> Outcome {
    for path in [
        account.address.to_uppercase(),
        account.address.replace("office", "OffICE"),
    ] {
        let class = recipient(appliance, &format!("<{path}>"))?;
        assert!(class.starts_with("250"), "{path}: {class}");
    }
    // A source route is dropped, not followed (RFC 5321 appendix C).
    let class = recipient(appliance, &format!("<@relay.example:{}>", account.address))?;
    assert!(class.starts_with("250") || class.starts_with('5'), "{class}");
    Ok(())
}

fn redirects_reach_their_target(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let redirect = appliance
        .office()
        .redirect_to(account)
        .ok_or("the office has a redirect to this account")?;
    let message = short_message(SENDER, redirect, "redirect@client.example.org");
    let mut smtp = appliance.smtp()?;
    assert_eq!(smtp.deliver(SENDER, redirect, &message)?.code, 250);
    let mut imap = appliance.imap_of(account)?;
    imap.ok("SELECT INBOX")?;
    let fetched = imap.fetch_all()?;
    assert_eq!(fetched.len(), 1);
    e2e::mail::own_prefix(&fetched[0].octets, &message)?;
    Ok(())
}

/// RFC 5321 §4.1.4
fn commands_out_of_order_are_refused(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut smtp = Smtp::connect(appliance.addr(e2e::Service::Smtp))?;
    assert!(smtp.greeting.code == 220, "{:?}", smtp.greeting);
    assert_eq!(
        smtp.command(&format!("MAIL FROM:<{SENDER}>"))?.code,
        503,
        "MAIL before EHLO"
    );
    assert_eq!(smtp.command("EHLO client.example.org")?.code, 250);
    assert_eq!(
        smtp.command(&format!("RCPT TO:<{}>", account.address))?.code,
        503,
        "RCPT before MAIL"
    );
    assert_eq!(smtp.command("DATA")?.code, 503, "DATA before MAIL");
    assert_eq!(smtp.command(&format!("MAIL FROM:<{SENDER}>"))?.code, 250);
    assert_eq!(
        smtp.command(&format!("MAIL FROM:<{SENDER}>"))?.code,
        503,
        "MAIL in a transaction"
    );
    let data = smtp.command("DATA")?;
    assert!(
        data.code == 503 || data.code == 554,
        "DATA without recipient: {data:?}"
    );
    assert_eq!(smtp.command("RSET")?.code, 250);
    assert_eq!(
        smtp.command(&format!("RCPT TO:<{}>", account.address))?.code,
        503,
        "RCPT after RSET"
    );
    assert_eq!(smtp.command("FLY ME")?.code, 500);
    assert_eq!(smtp.command("NOOP")?.code, 250);
    Ok(smtp.quit()?)
}

/// AS3: RFC 5321 §3.5.3 allows 252; EXPN, ETRN and TURN are not ours.
fn vrfy_tells_nothing(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut smtp = appliance.smtp()?;
    let known = smtp.command(&format!("VRFY {}", account.address))?;
    let unknown = smtp.command(&format!("VRFY nobody@{DOMAIN}"))?;
    assert_eq!((known.code, &known), (252, &unknown));
    for command in ["EXPN staff", "ETRN office.example", "TURN"] {
        assert_eq!(smtp.command(command)?.code, 502, "{command}");
    }
    Ok(())
}
