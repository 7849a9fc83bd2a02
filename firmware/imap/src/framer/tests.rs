use super::*;
use proptest::prelude::*;

/// What a session that takes every literal, and reads those of APPEND as messages, would see.
fn frames(octets: &[u8], cuts: &[usize]) -> Vec<String> {
    let mut framer = Framer::new();
    let mut input = Input::new();
    let mut shown: Vec<String> = Vec::new();
    let mut message = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([octets.len()]) {
        input.extend(&octets[start..end]);
        start = end;
        while let Some(frame) = framer.next(&mut input) {
            match frame {
                Frame::Announced { head, .. } if head.starts_with(b"m APPEND") => framer.take_message(),
                Frame::Announced { .. } => {
                    let _ = framer.take_literal();
                }
                Frame::MessageOctets(octets) => message.extend_from_slice(&octets),
                Frame::MessageEnd(tail) => {
                    let message = std::mem::take(&mut message);
                    shown.push(format!(
                        "message {} tail {}",
                        message.escape_ascii(),
                        tail.escape_ascii()
                    ));
                }
                Frame::Command(command) => shown.push(format!("command {}", command.escape_ascii())),
                Frame::Failed { tag, problem } => {
                    shown.push(format!(
                        "failed {} {problem:?}",
                        tag.map_or("*".to_owned(), |tag| tag.0)
                    ));
                }
                Frame::Hopeless => shown.push("hopeless".to_owned()),
            }
        }
        assert!(
            input.len() <= limits::IMAP_LINE_OCTETS_MAX_BEFORE_LOGIN,
            "too much waits"
        );
    }
    shown
}

fn check(octets: &[u8], expected: &[&str]) {
    assert_eq!(frames(octets, &[]), expected, "in one piece");
    let every: Vec<usize> = (1..octets.len()).collect();
    if octets.len() < 20_000 {
        assert_eq!(frames(octets, &every), expected, "octet by octet");
    }
    for cut in every
        .into_iter()
        .filter(|cut| *cut < 300 || cut + 300 > octets.len())
    {
        assert_eq!(frames(octets, &[cut]), expected, "cut at {cut}");
    }
}

#[test]
fn literals_are_part_of_their_command() {
    check(
        b"a LOGIN {4}\r\nanna {6+}\r\nse\r\n12\r\nb NOOP\r\n",
        &[
            "command a LOGIN {4}\\r\\nanna {6+}\\r\\nse\\r\\n12",
            "command b NOOP",
        ],
    );
    check(
        b"a X {0}\r\n\r\nb X {0+}\r\n y\r\n",
        &["command a X {0}\\r\\n", "command b X {0+}\\r\\n y"],
    );
}

#[test]
fn a_message_comes_in_pieces_with_what_stands_behind_it() {
    check(
        b"m APPEND x {5+}\r\na\r\n\0b\r\nb NOOP\r\nm APPEND x {1+}\r\nx {2+}\r\nab\r\nc NOOP\r\n",
        &[
            "message a\\r\\n\\x00b tail ",
            "command b NOOP",
            "message x tail  {2+}\\r\\n",
            "failed * Refused",
            "command c NOOP",
        ],
    );
}

/// AI1
#[test]
fn ai1_a_line_of_ten_megabytes_is_passed_over() {
    let mut octets = b"a LOGIN ".to_vec();
    octets.extend(vec![b'('; 10 << 20]);
    octets.extend(b"\r\nb NOOP\r\n");
    let cuts: Vec<usize> = (0..octets.len()).step_by(4096).collect();
    assert_eq!(frames(&octets, &cuts), ["failed a LineTooLong", "command b NOOP"]);
}

/// AI1
#[test]
fn ai1_literals_that_nobody_can_mean_are_refused() {
    // A client that waits does not send them.
    check(b"a LOGIN {2147483647}\r\nb NOOP\r\n", &["command b NOOP"]);
    check(
        b"a LOGIN {18446744073709551616}\r\nb NOOP\r\n",
        &["command b NOOP"],
    );
    check(
        b"a LOGIN {-1}\r\nb NOOP\r\n",
        &["command a LOGIN {-1}", "command b NOOP"],
    );
    check(
        b"a LOGIN {18446744073709551616+}\r\nb NOOP\r\n",
        &["hopeless", "command b NOOP"],
    );
    let mut many = b"a LOGIN".to_vec();
    many.extend(b" {5+}\r\nabcde".repeat(1_000));
    many.extend(b"\r\nb NOOP\r\n");
    check(&many, &["failed a LiteralTooBig", "command b NOOP"]);
}

/// AI2
#[test]
fn ai2_a_literal_without_waiting_is_never_taken_for_commands() {
    let mut octets = b"a LOGIN {2000+}\r\n".to_vec();
    octets.extend(b"x DELETE INBOX\r\n".repeat(125));
    octets.extend(b" {7+}\r\nx NOOP\n {1}\r\nb NOOP\r\n");
    check(&octets, &["failed a LiteralTooBig", "command b NOOP"]);
}

#[test]
fn a_literal_behind_a_long_line_is_dropped_too() {
    let mut octets = b"a LOGIN ".to_vec();
    octets.extend(vec![b'x'; 9_000]);
    octets.extend(b" {8+}\r\nx NOOP\r\n y\r\nb NOOP\r\n");
    check(&octets, &["failed a LineTooLong", "command b NOOP"]);
}

/// S10
#[test]
fn s10_a_bare_line_feed_ends_nothing() {
    check(b"a NOOP\nb NOOP\r\n", &["command a NOOP\\nb NOOP"]);
}

proptest! {
    #[test]
    fn cuts_make_no_difference(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("a NOOP"), Just("\r\n"), Just("\r"), Just("\n"), Just("{3}"), Just("{3+}\r\n"),
                Just("{0}\r\n"), Just("m APPEND x {4+}\r\n"), Just("m APPEND {1}\r\n"), Just("{99999}\r\n"),
                Just("{99999+}\r\n"), Just("x")
            ],
            0..20,
        ),
        cut in 0_usize..100,
    ) {
        let octets = pieces.concat().into_bytes();
        let cut = cut.min(octets.len());
        prop_assert_eq!(frames(&octets, &[cut]), frames(&octets, &[]));
    }
}
