//! How large a message may be (S0–S6, S9, D36).

use e2e::appliance::SENDER;
use e2e::client::imap::quoted;
use e2e::mail::{
    ATTACHMENT_OCTETS, MESSAGE_OCTETS_MAX, decode_base64, message_of_size, own_prefix, with_attachment,
};
use e2e::runner::Outcome;
use e2e::{Account, Appliance, Smtp};

e2e::scenarios![shared
    s1_the_size_is_offered,
    s2_a_size_over_the_limit_is_refused_at_mail,
    s3_a_message_of_exactly_the_limit_is_taken,
    s3_one_octet_more_is_refused_after_the_dot,
    s5_an_attachment_of_35_mib_in_76_columns,
    s5_an_attachment_of_35_mib_in_72_columns,
    s5_an_attachment_of_35_mib_in_64_columns,
    s6_append_over_the_limit_is_refused_before_the_literal,
    append_comes_back_octet_for_octet,
];

/// S1
fn s1_the_size_is_offered(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    let mut smtp = Smtp::connect(appliance.addr(e2e::Service::Smtp))?;
    let hello = smtp.command("EHLO client.example.org")?;
    for extension in [
        "SIZE 52428800",
        "PIPELINING",
        "8BITMIME",
        "ENHANCEDSTATUSCODES",
        "STARTTLS",
    ] {
        assert!(hello.offers(extension), "{extension}: {hello:?}");
    }
    assert!(!hello.offers_keyword("BINARYMIME"), "S4: {hello:?}");
    assert!(
        smtp.command("HELO client.example.org")?.lines.len() == 1,
        "HELO offers nothing"
    );
    Ok(())
}

/// S2
fn s2_a_size_over_the_limit_is_refused_at_mail(appliance: &dyn Appliance, _account: &Account) -> Outcome {
    for (size, class) in [
        ("52428801", "552 5.3.4"),
        ("99999999999999999999", "552 5.3.4"),
        ("x", "501 5.5.4"),
        ("", "501 5.5.4"),
        ("-1", "501 5.5.4"),
        ("1 SIZE=2", "501 5.5.4"),
    ] {
        let reply = appliance
            .smtp()?
            .command(&format!("MAIL FROM:<{SENDER}> SIZE={size}"))?;
        let is_expected = reply.class() == class || size.len() == 20 && reply.class() == "501 5.5.4";
        assert!(is_expected, "SIZE={size}: {reply:?}");
    }
    for size in ["52428800", "0", "1000"] {
        let reply = appliance
            .smtp()?
            .command(&format!("MAIL FROM:<{SENDER}> SIZE={size}"))?;
        assert_eq!(reply.code, 250, "SIZE={size}: {reply:?}");
    }
    Ok(())
}

/// S3: RFC 1870 §5, doubled dots and the final dot not counted.
fn s3_a_message_of_exactly_the_limit_is_taken(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut message = message_of_size(SENDER, &account.address, MESSAGE_OCTETS_MAX);
    // A thousand lines that begin with a dot: a thousand octets more on the wire.
    let starts: Vec<usize> = (4..200_000)
        .filter(|&at| &message[at - 2..at] == b"\r\n")
        .skip(10)
        .take(1000)
        .collect();
    assert_eq!(starts.len(), 1000);
    for start in starts {
        message[start] = b'.';
    }
    let mut smtp = appliance.smtp()?;
    let reply = smtp.deliver(SENDER, &account.address, &message)?;
    assert_eq!(reply.code, 250, "{reply:?}");
    let mut imap = appliance.imap_of(account)?;
    imap.ok("SELECT INBOX")?;
    let fetched = imap.fetch_all()?;
    own_prefix(&fetched[0].octets, &message)?;
    Ok(())
}

/// S3, D36: also when no SIZE was said, or a wrong one.
fn s3_one_octet_more_is_refused_after_the_dot(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let message = message_of_size(SENDER, &account.address, MESSAGE_OCTETS_MAX + 1);
    let mut smtp = appliance.smtp()?;
    assert_eq!(
        smtp.command(&format!("MAIL FROM:<{SENDER}> SIZE=1000"))?.code,
        250
    );
    assert_eq!(smtp.command(&format!("RCPT TO:<{}>", account.address))?.code, 250);
    assert_eq!(smtp.command("DATA")?.code, 354);
    let reply = smtp.data(&message)?;
    assert_eq!(reply.class(), "552 5.3.4");
    // The connection stays usable, and nothing was stored.
    let small = message_of_size(SENDER, &account.address, 1000);
    assert_eq!(smtp.deliver(SENDER, &account.address, &small)?.code, 250);
    let mut imap = appliance.imap_of(account)?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(1));
    own_prefix(&imap.fetch_all()?[0].octets, &small)?;
    Ok(())
}

fn s5_an_attachment_of_35_mib_in_76_columns(appliance: &dyn Appliance, account: &Account) -> Outcome {
    attachment(appliance, account, 76)
}

fn s5_an_attachment_of_35_mib_in_72_columns(appliance: &dyn Appliance, account: &Account) -> Outcome {
    attachment(appliance, account, 72)
}

fn s5_an_attachment_of_35_mib_in_64_columns(appliance: &dyn Appliance, account: &Account) -> Outcome {
    attachment(appliance, account, 64)
}

/// S5, D36: bit for bit, as a whole and as the part a client asks for.
fn attachment(appliance: &dyn Appliance, account: &Account, columns: usize) -> Outcome {
    let made = with_attachment(
        SENDER,
        &account.address,
        ATTACHMENT_OCTETS,
        columns,
        columns as u64,
    );
    appliance.deliver(account, &made.message)?;
    let mut imap = appliance.imap_of(account)?;
    imap.ok("SELECT INBOX")?;
    let fetched = imap.fetch_all()?;
    own_prefix(&fetched[0].octets, &made.message)?;
    // The part a client asks for, as a whole for one of the three: an emulated box needs half a minute to encrypt it.
    let encoded = encoded_attachment(&made.message).ok_or("the message has an attachment")?;
    assert!(
        decode_base64(encoded) == made.attachment,
        "the attachment differs"
    );
    if columns == 76 {
        let part = imap.ok("FETCH 1 (BODY.PEEK[2])")?;
        let part = part
            .untagged
            .iter()
            .find_map(|response| response.literals.first());
        assert!(part.ok_or("no part 2 came")? == encoded, "the part differs");
    }
    // A partial FETCH from the middle is what stands there (RFC 9051 §6.4.5).
    let middle = imap.ok("FETCH 1 (BODY.PEEK[2]<20000000.100000>)")?;
    let middle = middle
        .untagged
        .iter()
        .find_map(|response| response.literals.first())
        .ok_or("no range came")?;
    assert!(
        middle.as_slice() == &encoded[20_000_000..20_100_000],
        "the range differs"
    );
    Ok(())
}

/// The second part of a message of `with_attachment`: without the CRLF that belongs to the boundary (RFC 2046 §5.1.1).
fn encoded_attachment(message: &[u8]) -> Option<&[u8]> {
    let start = b"Content-Transfer-Encoding: base64\r\n\r\n";
    let begin = message.windows(start.len()).position(|window| window == start)? + start.len();
    message[begin..].strip_suffix(b"\r\n--=_between--\r\n")
}

/// S6, AI2
fn s6_append_over_the_limit_is_refused_before_the_literal(
    appliance: &dyn Appliance,
    account: &Account,
) -> Outcome {
    let mut imap = appliance.imap_of(account)?;
    let capabilities = imap.ok("CAPABILITY")?;
    let offered = capabilities
        .untagged
        .iter()
        .any(|response| response.line.contains(" APPENDLIMIT=52428800"));
    assert!(offered, "{capabilities:?}");
    for size in [MESSAGE_OCTETS_MAX as u64 + 1, 4_294_967_296, u64::MAX] {
        let refused = imap.command(&format!("APPEND {} {{{size}}}", quoted("INBOX")))?;
        let is_too_big = refused.tagged.starts_with("NO [TOOBIG]") || size > u64::from(u32::MAX);
        assert!(is_too_big && !refused.is_ok(), "{{{size}}}: {refused:?}");
    }
    // LITERAL+ cannot be stopped: it is read and dropped, and the session goes on. With LITERAL- (RFC 7888 §5) such a
    // literal may not be sent at all.
    let has_literal_plus = capabilities
        .untagged
        .iter()
        .any(|response| response.line.contains(" LITERAL+"));
    if has_literal_plus {
        let message = message_of_size(SENDER, &account.address, MESSAGE_OCTETS_MAX + 1);
        let tag = imap.start(&format!("APPEND INBOX {{{}+}}", message.len()))?;
        imap.conversation.send(&message)?;
        imap.conversation.send(b"\r\n")?;
        let refused = imap.finish(&tag)?;
        assert!(refused.tagged.starts_with("NO [TOOBIG]"), "{refused:?}");
    }
    imap.ok("NOOP")?;
    assert_eq!(imap.ok("SELECT INBOX")?.number_of("EXISTS"), Some(0));
    Ok(())
}

fn append_comes_back_octet_for_octet(appliance: &dyn Appliance, account: &Account) -> Outcome {
    let mut imap = appliance.imap_of(account)?;
    let small = b"Subject: appended\r\n\r\n.dot\r\nno line end".to_vec();
    let large = with_attachment(SENDER, &account.address, 2_000_000, 76, 5).message;
    for message in [&small, &large] {
        let appended = imap.append("INBOX", " (\\Seen) \"24-Nov-2026 09:10:11 +0100\"", message)?;
        assert!(appended.is_ok(), "{appended:?}");
    }
    let selected = imap.ok("SELECT INBOX")?;
    assert_eq!(selected.number_of("EXISTS"), Some(2));
    let fetched = imap.fetch_all()?;
    // Nothing is put in front of what a person stores.
    assert!(
        fetched[0].octets == small && fetched[1].octets == large,
        "an appended message differs"
    );
    let dates = imap.ok("FETCH 1 (FLAGS INTERNALDATE)")?;
    let line = &dates
        .untagged
        .iter()
        .find(|response| response.line.contains("FETCH"))
        .ok_or("no FETCH")?
        .line;
    assert!(
        line.contains("\\Seen") && line.contains("\"24-Nov-2026 09:10:11 +0100\""),
        "{line}"
    );
    Ok(())
}
