//! Two readers must see the same end of a message (AS1, S10), and nothing passes a handshake (AS4–AS6).

use std::io::ErrorKind;

use e2e::appliance::SENDER;
use e2e::mail::own_prefix;
use e2e::office::DOMAIN;
use e2e::runner::Outcome;
use e2e::{Account, Appliance, Conversation, Service};

e2e::scenarios![shared
    as1_only_crlf_dot_crlf_ends_the_data,
    as1_no_cut_makes_two_messages_of_one,
    s10_a_bare_lf_is_stored_as_crlf,
    s10_a_bare_cr_is_refused_after_the_true_end,
    s10_lines_are_never_cut_silently,
    as4_talking_too_early_is_not_rewarded,
    as4_a_web_browser_is_sent_away,
    as5_nothing_sent_before_the_handshake_is_run_after_it,
    as6_the_handshake_forgets_what_was_said_before,
    as7_no_password_is_taken_before_tls,
];

/// What stands between the first and the second message. None of them is `CR LF . CR LF`.
const ENDS: [&[u8]; 9] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
];

/// One message in which a second one is hidden behind `end`.
fn smuggled(end: &[u8], account: &Account) -> Vec<u8> {
    let hidden = format!(
        "MAIL FROM:<{SENDER}>\r\nRCPT TO:<{}>\r\nDATA\r\nSubject: smuggled\r\n\r\nB\r\n.\r\n",
        account.address
    );
    [b"Subject: outer\r\n\r\nA", end, hidden.as_bytes()].concat()
}

/// Sends `octets` behind a 354 in pieces that end at `cuts`, then NOOP, and gives the replies up to that of NOOP.
fn send(
    appliance: &dyn Appliance,
    account: &Account,
    octets: &[u8],
    cuts: &[usize],
) -> std::io::Result<Vec<String>> {
    let mut smtp = appliance.smtp()?;
    smtp.begin(SENDER, &account.address)?;
    let mut start = 0;
    for &end in cuts.iter().chain([&octets.len()]) {
        smtp.conversation.send(&octets[start..end])?;
        start = end;
    }
    let mut replies = vec![smtp.reply()?.class()];
    // A session that saw more than one message would owe more replies before this one's.
    let answer = smtp.command("VRFY the-end")?;
    replies.push(answer.class());
    smtp.conversation.send_line("QUIT")?;
    let rest = String::from_utf8_lossy(&smtp.conversation.rest()?).into_owned();
    replies.extend(rest.lines().map(|line| line.chars().take(3).collect()));
    Ok(replies)
}

/// AS1: whole, each in one write.
fn as1_only_crlf_dot_crlf_ends_the_data(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut imap = appliance.imap_of(account)?;
    let mut stored = 0;
    for end in ENDS {
        let octets = smuggled(end, account);
        let replies = send(appliance, account, &octets, &[])?;
        let shown = end.escape_ascii();
        assert!(replies.len() == 3, "{shown}: {replies:?}");
        assert!(
            replies[1].starts_with("252") && replies[2] == "221",
            "{shown}: {replies:?}"
        );
        let has_bare_cr =
            end.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n') || end.ends_with(b"\r");
        let has_bare_dot_line = end != b"\r\n\0.\r\n";
        if has_bare_cr || has_bare_dot_line {
            assert_eq!(replies[0], "550 5.5.2", "{shown}");
        } else if replies[0].starts_with("250") {
            stored += 1;
        } else {
            assert!(replies[0].starts_with("55"), "{shown}: {replies:?}");
        }
        let exists = imap.ok("SELECT INBOX")?.number_of("EXISTS");
        assert_eq!(exists, Some(stored), "{shown}: at most one message of one");
    }
    for message in imap.fetch_all().unwrap_or_default() {
        assert!(
            message
                .octets
                .windows(14)
                .any(|window| window == b"Subject: outer"),
            "the hidden message is there"
        );
    }
    Ok(())
}

/// AS1: cut at every position around the hidden end.
fn as1_no_cut_makes_two_messages_of_one(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let start = b"Subject: outer\r\n\r\nA".len();
    for end in ENDS.iter().filter(|end| **end != b"\r\n\0.\r\n") {
        let octets = smuggled(end, account);
        for cut in start..=start + end.len() {
            let replies = send(appliance, account, &octets, &[cut])?;
            let shown = end.escape_ascii();
            assert_eq!(
                replies.first().map(String::as_str),
                Some("550 5.5.2"),
                "{shown} cut at {cut}"
            );
            assert_eq!(replies.len(), 3, "{shown} cut at {cut}: {replies:?}");
        }
    }
    // The true end, cut anywhere, is one.
    let octets = b"Subject: whole\r\n\r\nA\r\n.\r\n";
    for cut in octets.len() - 5..octets.len() {
        let replies = send(appliance, account, octets, &[cut])?;
        assert!(
            replies.len() == 3 && replies[0].starts_with("250"),
            "cut at {cut}: {replies:?}"
        );
    }
    let mut imap = appliance.imap_of(account)?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(5));
    Ok(())
}

/// S10
fn s10_a_bare_lf_is_stored_as_crlf(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut smtp = appliance.smtp()?;
    smtp.begin(SENDER, &account.address)?;
    smtp.conversation
        .send(b"Subject: bare\n\none\ntwo\r\nthree\n\n.\r\n")?;
    let reply = smtp.conversation.within(std::time::Duration::from_millis(300))?;
    assert!(
        reply.is_empty(),
        "LF . CR LF ended the data: {}",
        reply.escape_ascii()
    );
    smtp.conversation.send(b"four\r\n.\r\n")?;
    // A dot line made with a bare LF stood in it.
    assert_eq!(smtp.reply()?.class(), "550 5.5.2");

    let sent = b"Subject: bare\n\none\ntwo\r\nthree\n\nfour\r\n";
    let stored = b"Subject: bare\r\n\r\none\r\ntwo\r\nthree\r\n\r\nfour\r\n";
    smtp.begin(SENDER, &account.address)?;
    smtp.conversation.send(sent)?;
    smtp.conversation.send(b".\r\n")?;
    assert_eq!(smtp.reply()?.code, 250);
    let mut imap = appliance.imap_of(account)?;
    imap.ok("SELECT INBOX")?;
    let fetched = imap.fetch_all()?;
    assert_eq!(fetched.len(), 1);
    own_prefix(&fetched[0].octets, stored)?;
    Ok(())
}

/// S10: nor does a bare CR or LF end a command.
fn s10_a_bare_cr_is_refused_after_the_true_end(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut smtp = appliance.smtp()?;
    smtp.begin(SENDER, &account.address)?;
    smtp.conversation.send(b"Subject: bare\r\n\r\na\rb\r\n")?;
    let early = smtp.conversation.within(std::time::Duration::from_millis(300))?;
    assert!(
        early.is_empty(),
        "it spoke before the end: {}",
        early.escape_ascii()
    );
    smtp.conversation.send(b".\r\n")?;
    assert_eq!(smtp.reply()?.class(), "550 5.5.2");
    for line in [b"NOOP\rNOOP\r\n".as_slice(), b"NOOP\nNOOP\r\n", b"\rNOOP\r\n"] {
        smtp.conversation.send(line)?;
        let reply = smtp.reply()?;
        assert!(
            reply.code == 500 || reply.code == 501,
            "{}: {reply:?}",
            line.escape_ascii()
        );
    }
    // One reply each: the next command is answered as itself.
    assert_eq!(smtp.command("VRFY x")?.code, 252);
    let mut imap = appliance.imap_of(account)?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(0));
    Ok(())
}

/// S10
fn s10_lines_are_never_cut_silently(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut imap = appliance.imap_of(account)?;
    let mut stored = 0;
    for length in [998, 1000, 5000, 200_000] {
        let message = [
            b"Subject: long\r\n\r\n",
            vec![b'x'; length].as_slice(),
            b"\r\nlast line\r\n",
        ]
        .concat();
        let mut smtp = appliance.smtp()?;
        let reply = smtp.deliver(SENDER, &account.address, &message)?;
        if length > 998 && (500..600).contains(&reply.code) {
            continue;
        }
        assert_eq!(reply.code, 250, "a line of {length}");
        stored += 1;
        assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(stored));
        let fetched = imap.fetch("*")?;
        own_prefix(&fetched[0].octets, &message).map_err(|error| format!("a line of {length}: {error}"))?;
    }
    Ok(())
}

/// AS4
fn as4_talking_too_early_is_not_rewarded(appliance: &dyn Appliance, account: &Account) -> Outcome {
    // The body in the same packet as DATA, before the 354: at most one message, and nothing of it is a command.
    let mut smtp = appliance.smtp()?;
    smtp.conversation.send(
        format!(
            "MAIL FROM:<{SENDER}>\r\nRCPT TO:<{}>\r\nDATA\r\nSubject: early\r\n\r\nNOOP\r\n.\r\n",
            account.address
        )
        .as_bytes(),
    )?;
    let replies = [smtp.reply()?, smtp.reply()?, smtp.reply()?].map(|reply| reply.code);
    let last = smtp.reply().map_or(0, |reply| reply.code);
    assert!(
        replies == [250, 250, 354] && last == 250 || replies[2] >= 500,
        "{replies:?}, then {last}"
    );
    Ok(())
}

/// AS4
fn as4_a_web_browser_is_sent_away(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let mut smtp = e2e::Smtp::connect(appliance.addr(Service::Smtp))?;
    smtp.conversation.send(
        b"POST / HTTP/1.1\r\nHost: office.example\r\nContent-Length: 70\r\n\r\n\
          MAIL FROM:<web@example.org>\r\nRCPT TO:<postmaster>\r\nDATA\r\n",
    )?;
    let rest = String::from_utf8_lossy(&smtp.conversation.rest()?).into_owned();
    assert!(rest.starts_with("521") || rest.starts_with("554"), "{rest}");
    assert_eq!(rest.lines().count(), 1, "it went on: {rest}");
    Ok(())
}

/// AS5, P5: RFC 3207 §4.2
fn as5_nothing_sent_before_the_handshake_is_run_after_it(
    appliance: &dyn Appliance,
    _account: &Account,
) -> Outcome {
    let name = appliance.host_name();
    for injected in ["RSET\r\nNOOP\r\n", "MAIL FROM:<a@example.org>\r\n", "X"] {
        let mut smtp = appliance.smtp()?;
        smtp.conversation
            .send(format!("STARTTLS\r\n{injected}").as_bytes())?;
        let ended = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::InvalidData => Ok(()),
            _ => Err(error),
        };
        match smtp.reply() {
            Ok(reply) if reply.code == 220 => {}
            Ok(reply) => {
                assert!(reply.code >= 500, "{injected:?}: {reply:?}");
                continue;
            }
            Err(error) => {
                ended(error)?;
                continue;
            }
        }
        // The injected octets end the handshake, or they were dropped: then the first reply inside is EHLO's.
        if let Err(error) = smtp.conversation.start_tls(appliance.tls()?, name) {
            ended(error)?;
            continue;
        }
        let reply = smtp.command("EHLO inside.example.org")?;
        assert!(
            reply.code == 250 && reply.offers_keyword("SIZE"),
            "{injected:?} was run inside TLS: {reply:?}"
        );
        assert_eq!(smtp.command("VRFY x")?.code, 252, "{injected:?}");
    }
    Ok(())
}

/// AS6: RFC 3207 §4.2
fn as6_the_handshake_forgets_what_was_said_before(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let name = appliance.host_name();
    let mut smtp = appliance.smtp()?;
    smtp.start_tls(appliance.tls()?, name)?;
    assert_eq!(
        smtp.command(&format!("MAIL FROM:<{SENDER}>"))?.code,
        503,
        "MAIL before EHLO inside TLS"
    );
    let inside = smtp.command("EHLO client.example.org")?;
    assert!(
        inside.code == 250 && !inside.offers_keyword("STARTTLS"),
        "{inside:?}"
    );
    assert_eq!(smtp.command("STARTTLS")?.code, 503, "a second STARTTLS");

    let mut smtp = appliance.smtp()?;
    assert_eq!(smtp.command(&format!("MAIL FROM:<{SENDER}>"))?.code, 250);
    let reply = smtp.command("STARTTLS")?;
    if reply.code == 220 {
        smtp.conversation.start_tls(appliance.tls()?, name)?;
        smtp.command("EHLO client.example.org")?;
        assert_eq!(
            smtp.command(&format!("RCPT TO:<{}>", account.address))?.code,
            503,
            "RCPT of before"
        );
    } else {
        assert_eq!(reply.code, 503, "STARTTLS in a transaction");
    }
    Ok(())
}

/// AS7, P6, D31
fn as7_no_password_is_taken_before_tls(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let mut smtp = e2e::Smtp::connect(appliance.addr(Service::Smtp))?;
    let hello = smtp.command("EHLO client.example.org")?;
    assert!(
        hello.offers("STARTTLS") && !hello.offers_keyword("AUTH"),
        "{hello:?}"
    );
    let reply = smtp.command("AUTH PLAIN AHUAcA==")?;
    assert!(
        reply.class() == "530 5.7.0" || reply.class() == "538 5.7.11",
        "{reply:?}"
    );
    let reply = smtp.command("AUTH LOGIN")?;
    assert!(
        reply.class() == "530 5.7.0" || reply.class() == "538 5.7.11",
        "{reply:?}"
    );
    assert!(smtp.command(&format!("MAIL FROM:<x@{DOMAIN}>"))?.is_positive());
    let _: Conversation = smtp.conversation;
    Ok(())
}
