//! How long a conversation may take.

use super::*;

/// D17, RFC 5321 §4.5.3.2
#[test]
fn d17_silence_and_a_trickle_end_the_conversation() {
    let minutes = |count: u64| Moment::START + Duration::from_secs(60 * count);
    let mut wire = Wire::connect(Town::default());
    assert_eq!(wire.session.deadline(), minutes(5));
    // Octets of a line that does not end do not move it.
    wire.now = minutes(2);
    wire.say("NOO");
    assert_eq!(wire.session.deadline(), minutes(5));
    wire.say("P\r\n");
    assert_eq!(wire.session.deadline(), minutes(7));
    wire.session.timed_out(&mut wire.output);
    assert_eq!(wire.output.owed(), b"421 4.4.2 Waited for too long, closing\r\n");

    let mut wire = Wire::open(Town::default());
    assert_eq!(wire.session.deadline(), minutes(5));
    wire.now = minutes(4);
    wire.say("a trickle");
    assert_eq!(wire.session.deadline(), minutes(5), "nine octets in four minutes");
    wire.say(&"x".repeat(60 * 256));
    assert_eq!(wire.session.deadline(), minutes(6), "a minute is earned");
    wire.say(&"x".repeat(60_000));
    assert_eq!(
        wire.session.deadline(),
        minutes(9),
        "but no more than five minutes of silence"
    );
}

/// D17: commands without a message hold a connection for half an hour; with messages it may stay.
#[test]
fn d17_commands_that_bring_no_message_end_the_conversation() {
    let minutes = |count: u64| Moment::START + Duration::from_secs(60 * count);
    let mut wire = Wire::connect(Town::default());
    wire.say("HELO c.test\r\n");
    for minute in 1..30 {
        wire.now = minutes(minute);
        wire.say("NOOP\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<x@elsewhere.test>\r\nRSET\r\n");
        assert_eq!(wire.session.deadline(), minutes((minute + 5).min(30)));
    }
    wire.say("MAIL FROM:<a@example.test>\r\nRCPT TO:<anna@firma.test>\r\n");
    wire.say("DATA\r\n");
    wire.say("a\r\n.\r\n");
    wire.now = minutes(50);
    wire.say("NOOP\r\n");
    assert_eq!(wire.session.deadline(), minutes(55));
}
