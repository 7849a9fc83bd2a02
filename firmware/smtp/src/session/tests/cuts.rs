//! However the octets are cut, the conversation is the same.

use proptest::prelude::*;

use super::*;

/// What is said to each turn, cut into pieces of `piece` octets, and the messages that come of it.
fn said(turns: &[String], piece: usize) -> (Vec<String>, Vec<Vec<u8>>) {
    let mut wire = Wire::connect(Town::default());
    let mut replies = Vec::new();
    for turn in turns {
        let pieces = turn.as_bytes().chunks(piece);
        replies.push(
            pieces
                .map(|piece| wire.say_octets(piece))
                .collect::<Vec<_>>()
                .concat(),
        );
    }
    let messages = wire
        .town
        .accepted
        .into_iter()
        .map(|(_, message)| message)
        .collect();
    (replies, messages)
}

/// A turn of a client: commands and lines that are none, in any order; DATA only at the end.
fn turn() -> impl Strategy<Value = String> {
    let line = proptest::sample::select(vec![
        "EHLO c.test\r\n",
        "HELO c.test\r\n",
        "MAIL FROM:<a@example.test>\r\n",
        "MAIL FROM:<>\r\n",
        "RCPT TO:<anna@firma.test>\r\n",
        "RCPT TO:<nobody@firma.test>\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "Subject: a\r\n",
        "..\r\n",
        ".\r\n",
        "\r\n",
        "\n.\r\n",
        "\r",
        ".",
        "\n",
    ]);
    (
        proptest::collection::vec(line, 0..6),
        proptest::sample::select(vec!["", "DATA\r\n"]),
    )
        .prop_map(|(lines, last)| lines.concat() + last)
}

proptest! {
    /// AS1, and the invariant of the README: how the octets are cut makes no difference, and each message
    /// that was asked for by a 354 has one reply at most.
    #[test]
    fn as1_cuts_make_no_difference_to_any_conversation(
        turns in proptest::collection::vec(turn(), 1..8),
        piece in 1_usize..20,
    ) {
        let turns: Vec<String> = [
            "EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<anna@firma.test>\r\nDATA\r\n".to_owned(),
        ]
        .into_iter()
        .chain(turns)
        .collect();
        let (replies, messages) = said(&turns, usize::MAX);
        prop_assert_eq!(said(&turns, piece), (replies.clone(), messages.clone()));
        let asked = replies.concat().matches("354 ").count();
        prop_assert!(messages.len() <= asked);
        prop_assert_eq!(replies.concat().matches("Accepted as").count(), messages.len());
    }
}
