//! What is a message and what is not.

use super::*;

/// AS1: in each shape one message goes in, one reply comes out, whichever way it is cut, and what was
/// smuggled is never a message of its own.
#[test]
fn as1_a_smuggled_message_is_never_a_second_one() {
    let shapes = [
        r"\n.\n",
        r"\n.\r\n",
        r"\r\n.\n",
        r"\r.\r",
        r"\r\n.\r",
        r"\r.\r\n",
        r"\n.\r",
        r"\r\r\n.\r\r\n",
        r"\r\n\0.\r\n",
    ];
    for shape in shapes {
        let refusal = match shape {
            r"\r\n\0.\r\n" => "550 5.6.0 NUL in the message",
            r"\n.\n" | r"\n.\r\n" | r"\r\n.\n" => "550 5.5.2 Bare LF around a dot line in the message",
            _ => "550 5.5.2 Bare CR in the message",
        };
        let text = format!(
            r"S: 220 …
              C: HELO c.test
              S: 250 firma.test
              C: MAIL FROM:<a@example.test>
              C: RCPT TO:<anna@firma.test>
              C: DATA
              S: 250 2.1.0 …
              S: 250 2.1.5 …
              S: 354 …
              C| A{shape}MAIL FROM:<e@x>\r\nRCPT TO:<bob@firma.test>\r\nDATA\r\nB\r\n.\r\n
              S: {refusal}
              C: NOOP
              S: 250 2.0.0 Ok"
        );
        Dialogue::parse(&text).run(|| (session("firma.test"), Town::default()));
    }
}

/// S3: exact at the limit, nothing is kept of what is too large, and the connection goes on.
#[test]
fn s3_a_message_at_the_limit_is_accepted_and_an_octet_more_is_not() {
    let line = format!("{}\r\n", "x".repeat(998));
    let block = line.repeat(60);
    let send = |octets: u64| {
        let mut wire = Wire::open(Town {
            counts_only: true,
            ..Town::default()
        });
        // Stuffed dots and the end are not counted: each block begins with one.
        let mut left = octets;
        while left > block.len() as u64 {
            assert_eq!(wire.say(&format!(".{}", block.replacen('x', ".", 1))), "");
            left -= block.len() as u64;
        }
        let rest = usize::try_from(left).unwrap() - 2;
        let reply = wire.say(&format!("{}\r\n.\r\nNOOP\r\n", "y".repeat(rest)));
        (reply, wire.town)
    };
    let (reply, town) = send(MESSAGE_OCTETS_MAX);
    assert_eq!(
        reply,
        "250 2.0.0 Accepted as 0000000000000000\r\n250 2.0.0 Ok\r\n"
    );
    assert_eq!(
        (town.octets, town.accepted.len(), town.discards),
        (MESSAGE_OCTETS_MAX, 1, 0)
    );
    let (reply, town) = send(MESSAGE_OCTETS_MAX + 1);
    assert_eq!(reply, "552 5.3.4 Message too large\r\n250 2.0.0 Ok\r\n");
    assert_eq!((town.accepted.len(), town.discards, town.content), (0, 1, None));
}

/// S3: room is given back when the limit is passed, not when the end comes.
#[test]
fn s3_what_is_too_large_is_forgotten_at_once() {
    let mut wire = Wire::open(Town {
        counts_only: true,
        ..Town::default()
    });
    let block = "x".repeat(64 * 1024);
    for _ in 0..=MESSAGE_OCTETS_MAX / block.len() as u64 {
        wire.say(&block);
    }
    assert_eq!((wire.town.discards, wire.town.content.is_none()), (1, true));
    assert_eq!(wire.say(&block), "");
    assert_eq!(wire.say("\r\n.\r\n"), "552 5.3.4 Message too large\r\n");
}

/// S10
#[test]
fn s10_a_long_line_of_a_message_is_kept_whole() {
    for length in [998, 999, 5000, 100_000] {
        let mut wire = Wire::open(Town::default());
        let line = format!("{}\r\n", "x".repeat(length));
        wire.say(&line);
        assert!(wire.say(".\r\n").starts_with("250 "));
        assert_eq!(wire.town.accepted[0].1, line.as_bytes());
    }
}

/// AS4: a client that did not wait for 354 is not let in further. Whether octets had arrived is all that
/// can be known, so this one case depends on how they were cut.
#[test]
fn as4_a_client_that_does_not_wait_for_354_is_shown_the_door() {
    let mut wire = Wire::connect(Town::default());
    wire.say("HELO c.test\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<anna@firma.test>\r\n");
    let reply = wire.say("DATA\r\nSubject: a\r\n\r\nRSET\r\n.\r\n");
    assert_eq!(
        reply,
        "554 5.5.0 You did not wait for the reply (RFC 2920 3.1)\r\n"
    );
    assert_eq!(wire.ended, Some(Step::Close));
    assert_eq!(wire.town.accepted.len(), 0);
}
