//! The conversation, driven in memory by a house that keeps no mail.

use super::*;
use delivery::Target;
use mail::{AccountId, Address, ReversePath};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;
use store::StoreError;
use wire::Session as _;
use wire::testing::{Dialogue, House};

/// A house with a few mailboxes in the domains of the examples.
#[derive(Default)]
struct Town {
    is_disk_low: bool,
    /// Whether content is only counted.
    counts_only: bool,
    content: Option<Vec<u8>>,
    octets: u64,
    discards: usize,
    looked_up: Vec<String>,
    pauses: Vec<Duration>,
    accepted: Vec<(Envelope, Vec<u8>)>,
}

impl Town {
    fn route(&mut self, forward_path: ForwardPath, octets: Option<u64>) -> Result<Route, RouteError> {
        self.looked_up.push(forward_path.to_string());
        let address = match &forward_path {
            ForwardPath::Postmaster => address("postmaster@firma.test"),
            ForwardPath::Address(address) => address.clone(),
        };
        if !["firma.test", "foo.com", "xyz.com"].contains(&address.domain.as_str()) {
            return Err(RouteError::NotHosted);
        }
        let key = address.key();
        let (local_part, _) = key.rsplit_once('@').unwrap();
        match local_part {
            "anna" | "postmaster" => Ok(route(forward_path, ANNA)),
            "bob" | "jones" | "brown" | "admin.mrc" => Ok(route(forward_path, 2..3)),
            "many" => Ok(route(forward_path, 1000..1600)),
            "others" => Ok(route(forward_path, 2000..2600)),
            "small" if octets.unwrap_or(1) <= 1000 => Ok(route(forward_path, 3..4)),
            "small" | "full" => Err(RouteError::OverQuota),
            "disabled" => Err(RouteError::Disabled),
            "circle" => Err(RouteError::Loop),
            "crowd" => Err(RouteError::TooManyTargets),
            "outside" => Err(RouteError::Outside),
            _ => Err(RouteError::UnknownUser),
        }
    }

    fn keep(&mut self, octets: &[u8]) -> Result<(), ContentError> {
        let content = self
            .content
            .as_mut()
            .expect("content is kept only where it was opened");
        self.octets += octets.len() as u64;
        if !self.counts_only {
            content.extend_from_slice(octets);
        }
        if content.starts_with(b"X-Long:") {
            Err(ContentError::HeaderTooLarge)
        } else if content.starts_with(b"X-House: full\r") {
            Err(ContentError::DiskFull)
        } else {
            Ok(())
        }
    }

    fn accept(&mut self, envelope: Envelope) -> Result<TraceId, AcceptError> {
        let content = self.content.take().expect("what is accepted was opened");
        if content.starts_with(b"X-Loop:") {
            return Err(AcceptError::Loop);
        }
        if content.starts_with(b"X-House: full at last") {
            return Err(AcceptError::DiskFull);
        }
        if content.starts_with(b"X-House: stopped") {
            let reason = "/data: input/output error".to_owned();
            return Err(AcceptError::Store(StoreError::Stopped { reason }));
        }
        if content.starts_with(b"X-House: busy") {
            return Err(AcceptError::Busy);
        }
        self.accepted.push((envelope, content));
        Ok(TraceId::from_random([0; 10]))
    }
}

impl House<Session> for Town {
    fn answer(&mut self, need: Need) -> Answer {
        match need {
            Need::Admit { .. } if self.is_disk_low => Answer::Admitted(Err(AdmitError::DiskLow)),
            Need::Admit { .. } => Answer::Admitted(Ok(())),
            Need::Route { forward_path, octets } => Answer::Routed(self.route(forward_path, octets)),
            Need::Open if self.is_disk_low => Answer::Opened(Err(ContentError::DiskFull)),
            Need::Open => {
                self.content = Some(Vec::new());
                self.octets = 0;
                Answer::Opened(Ok(()))
            }
            Need::Keep(octets) => Answer::Kept(self.keep(&octets)),
            Need::Discard => {
                self.discards += 1;
                self.content = None;
                Answer::Done
            }
            Need::Accept(envelope) => Answer::Accepted(self.accept(*envelope)),
            Need::Pause(time) => {
                self.pauses.push(time);
                Answer::Done
            }
        }
    }

    fn copy(&mut self, source: Infallible) -> Vec<u8> {
        match source {}
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// The account of anna, who has the duties too.
const ANNA: Range<u32> = 1..2;

fn route(forward_path: ForwardPath, accounts: Range<u32>) -> Route {
    let target = |number| Target {
        account: AccountId(number),
        address: address("anna@firma.test"),
    };
    Route {
        forward_path,
        targets: accounts.map(target).collect(),
    }
}

fn session(host_name: &str) -> Session {
    let peer = Peer {
        address: "192.0.2.1".parse().unwrap(),
        tls: None,
    };
    Session::new(Domain::parse(host_name).unwrap(), peer)
}

macro_rules! dialogues {
    ($($name:ident: $file:literal at $host:literal;)*) => {$(
        #[test]
        fn $name() {
            let text = include_str!(concat!("../../testdata/", $file));
            Dialogue::parse(text).run(|| (session($host), Town::default()));
        }
    )*};
}

dialogues! {
    rfc5321_d1_a_typical_transaction: "rfc5321-d1.txt" at "foo.com";
    rfc5321_d2_an_aborted_transaction: "rfc5321-d2.txt" at "foo.com";
    rfc5321_d3_relayed_mail_at_its_end: "rfc5321-d3.txt" at "xyz.com";
    rfc5321_d4_verifying_and_sending: "rfc5321-d4.txt" at "foo.com";
    each_command_alone_has_its_reply: "commands.txt" at "firma.test";
    commands_out_of_order_are_refused_and_change_nothing: "order.txt" at "firma.test";
    c1_c2_each_recipient_has_its_own_answer: "recipients.txt" at "firma.test";
    as9_no_shape_of_an_address_makes_us_relay: "as9-relay.txt" at "firma.test";
    as10_what_is_a_command_elsewhere_is_a_word_here: "as10-injection.txt" at "firma.test";
    an_address_beyond_ascii_has_its_own_refusal: "smtputf8.txt" at "firma.test";
    s1_s2_the_size_is_listed_and_judged_at_mail: "s2-size.txt" at "firma.test";
    as6_as7_nothing_said_before_tls_counts_after_it: "starttls.txt" at "firma.test";
    pipelined_commands_are_answered_in_their_order: "pipelining.txt" at "firma.test";
    s10_a_refused_message_is_read_to_its_end: "data-refused.txt" at "firma.test";
    p6_without_tls_mail_comes_in_and_nobody_logs_in: "p6-plain.txt" at "firma.test";
    d8_d16_s8_as11_as17_what_the_house_refuses_is_read_to_its_end: "house-refuses.txt" at "firma.test";
    s8_a_full_mailbox_is_refused_at_rcpt: "s8-quota.txt" at "firma.test";
    as3_a_chunk_is_never_read_as_commands: "as3-bdat.txt" at "firma.test";
    as4_http_is_shown_the_door: "as4-http.txt" at "firma.test";
    twenty_mistakes_end_the_conversation: "mistakes.txt" at "firma.test";
    c7_ten_unknown_recipients_end_the_looking_up: "c7-unknown.txt" at "firma.test";
}

/// A conversation whose octets arrive as the test says, once.
struct Wire {
    session: Session,
    town: Town,
    input: Input,
    output: Output,
    now: Moment,
    ended: Option<Step<(), Infallible>>,
    /// The most that was owed when the pump could have written.
    owed_octets_max: usize,
}

impl Wire {
    /// Up to the greeting.
    fn connect(town: Town) -> Wire {
        let mut wire = Wire {
            session: session("firma.test"),
            town,
            input: Input::new(),
            output: Output::new(),
            now: Moment::START,
            ended: None,
            owed_octets_max: 0,
        };
        assert_eq!(wire.say(""), "220 firma.test ESMTP Postolka\r\n");
        wire
    }

    /// Up to where a message may come.
    fn open(town: Town) -> Wire {
        let mut wire = Wire::connect(town);
        wire.say("HELO c.test\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<anna@firma.test>\r\n");
        assert!(wire.say("DATA\r\n").starts_with("354 "));
        wire
    }

    /// Sends octets and gives what is said to them.
    fn say(&mut self, text: &str) -> String {
        self.say_octets(text.as_bytes())
    }

    fn say_octets(&mut self, octets: &[u8]) -> String {
        self.input.extend(octets);
        while self.ended.is_none() {
            let step = self.session.advance(&mut self.input, &mut self.output, self.now);
            self.owed_octets_max = self.owed_octets_max.max(self.output.len());
            match step {
                Step::Read | Step::Listen => break,
                Step::Need(need) => {
                    if self.output.len() >= wire::limits::OUTPUT_OCTETS_MAX {
                        self.output.written();
                    }
                    let answer = self.town.answer(need);
                    self.session.answer(answer, &mut self.output, self.now);
                }
                Step::Copy(source) => match source {},
                Step::StartTls => self.ended = Some(Step::StartTls),
                Step::Close => self.ended = Some(Step::Close),
            }
        }
        String::from_utf8(std::mem::take(self.output.as_vec_mut())).unwrap()
    }
}

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

/// AS4: what is said before the greeting is answered behind it, in its order.
#[test]
fn as4_a_client_that_speaks_first_is_greeted_first() {
    let mut session = session("firma.test");
    let (mut input, mut output) = (Input::new(), Output::new());
    input.extend(b"NOOP\r\nQUIT\r\n");
    while !matches!(
        session.advance(&mut input, &mut output, Moment::START),
        Step::Close
    ) {}
    assert_eq!(
        output.owed(),
        b"220 firma.test ESMTP Postolka\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n"
    );
}

/// AS5: what follows STARTTLS in the same write is left where the pump sees it, and not obeyed.
#[test]
fn as5_nothing_behind_starttls_is_obeyed() {
    let mut wire = Wire::connect(Town::default());
    let reply = wire.say("EHLO c.test\r\nSTARTTLS\r\nRSET\r\nNOOP\r\n");
    assert!(reply.ends_with("220 2.0.0 Ready to start TLS\r\n"), "{reply}");
    assert_eq!(wire.ended, Some(Step::StartTls));
    assert_eq!(wire.input.waiting(), b"RSET\r\nNOOP\r\n");
}

/// C7
#[test]
fn c7_the_tenth_unknown_recipient_waits_and_later_ones_are_not_looked_up() {
    let mut wire = Wire::connect(Town::default());
    wire.say("HELO c.test\r\nMAIL FROM:<a@example.test>\r\n");
    for number in 1..=9 {
        wire.say(&format!("RCPT TO:<u{number}@firma.test>\r\n"));
    }
    assert_eq!(wire.town.pauses.len(), 0);
    assert!(wire.say("RCPT TO:<u10@firma.test>\r\n").starts_with("550 5.1.1 "));
    assert!(
        wire.say("RCPT TO:<anna@firma.test>\r\n")
            .starts_with("452 4.5.3 ")
    );
    assert_eq!(wire.town.pauses, [SMTP_UNKNOWN_RECIPIENT_DELAY; 2]);
    assert_eq!(wire.town.looked_up.len(), 10);
    // C6: the duties are exempt.
    assert!(
        wire.say("RCPT TO:<postmaster@firma.test>\r\n")
            .starts_with("250 ")
    );
    wire.say("RSET\r\n");
    assert!(
        wire.say("MAIL FROM:<a@example.test>\r\n")
            .starts_with("421 4.7.0 ")
    );
    assert_eq!(wire.ended, Some(Step::Close));
}

/// C7, D17: who sends hundreds of recipients at once and leaves does not keep the connection for half an hour.
#[test]
fn c7_a_minute_is_held_back_in_a_session_and_no_more() {
    let mut wire = Wire::connect(Town::default());
    wire.say("HELO c.test\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<anna@firma.test>\r\n");
    let many: Vec<String> = (0..500)
        .map(|number| format!("RCPT TO:<u{number}@firma.test>\r\n"))
        .collect();
    let replies = wire.say(&many.concat());
    assert_eq!(replies.matches("550 5.1.1 ").count(), 10);
    assert_eq!(replies.matches("452 4.5.3 ").count(), 490);
    wire.town.pauses.retain(|pause| !pause.is_zero());
    assert_eq!(
        wire.town.pauses,
        [SMTP_UNKNOWN_RECIPIENT_DELAY; SMTP_UNKNOWN_RECIPIENT_DELAYS_MAX]
    );
    // The good one gets the message (C5).
    wire.say("DATA\r\n");
    assert!(wire.say("a\r\n.\r\n").starts_with("250 "));
}

/// AS6, C7: TLS does not wash off what is held against a peer.
#[test]
fn c7_tls_does_not_reset_the_count_of_unknown_recipients() {
    let mut wire = Wire::connect(Town::default());
    wire.say("HELO c.test\r\nMAIL FROM:<a@example.test>\r\n");
    for number in 1..=10 {
        wire.say(&format!("RCPT TO:<u{number}@firma.test>\r\n"));
    }
    wire.say("STARTTLS\r\n");
    wire.ended = None;
    let tls = TlsFacts {
        version: "TLSv1.3",
        cipher_suite: "TLS_AES_128_GCM_SHA256",
        server_name: None,
    };
    wire.session.tls_started(tls, wire.now);
    wire.say("EHLO c.test\r\n");
    assert!(
        wire.say("MAIL FROM:<a@example.test>\r\n")
            .starts_with("421 4.7.0 ")
    );
}

#[test]
fn a_transaction_has_a_thousand_recipients_and_no_more() {
    let mut wire = Wire::connect(Town::default());
    wire.say("HELO c.test\r\nMAIL FROM:<a@example.test>\r\n");
    for _ in 0..SMTP_RECIPIENTS_MAX {
        assert!(wire.say("RCPT TO:<anna@firma.test>\r\n").starts_with("250 "));
    }
    assert!(
        wire.say("RCPT TO:<anna@firma.test>\r\n")
            .starts_with("452 4.5.3 ")
    );
    wire.say("DATA\r\n");
    assert!(wire.say("a\r\n.\r\n").starts_with("250 "));
}

/// D16: a mailbox that gets the message already takes no more memory.
#[test]
fn d16_recipients_that_lead_to_the_same_mailboxes_are_kept_once() {
    let mut wire = Wire::connect(Town::default());
    wire.say("HELO c.test\r\nMAIL FROM:<a@example.test>\r\n");
    for to in ["many", "anna", "Anna", "postmaster", "many", "bob"].repeat(50) {
        assert!(
            wire.say(&format!("RCPT TO:<{to}@firma.test>\r\n"))
                .starts_with("250 ")
        );
    }
    wire.say("DATA\r\n");
    assert!(wire.say("a\r\n.\r\n").starts_with("250 "));
    let path = |to: &str| ForwardPath::Address(address(to));
    assert_eq!(
        wire.town.accepted[0].0.recipients,
        [
            route(path("many@firma.test"), 1000..1600),
            route(path("anna@firma.test"), ANNA),
            route(path("bob@firma.test"), 2..3),
        ]
    );
}

/// C5: recipients that cannot be read are no reason to end a conversation with good ones.
#[test]
fn c5_many_bad_recipients_do_not_cost_the_good_one_its_message() {
    let mut wire = Wire::connect(Town::default());
    wire.say("HELO c.test\r\nMAIL FROM:<a@example.test>\r\n");
    for bad in ["<a b@firma.test>", "<nov\u{e1}@firma.test>"].repeat(SMTP_MISTAKES_MAX) {
        assert!(wire.say(&format!("RCPT TO:{bad}\r\n")).starts_with('5'));
    }
    assert!(wire.say("RCPT TO:<anna@firma.test>\r\n").starts_with("250 "));
    wire.say("DATA\r\n");
    assert!(wire.say("a\r\n.\r\n").starts_with("250 "));
}

/// AS18: redirects count by what they lead to.
#[test]
fn as18_a_transaction_leads_to_a_thousand_mailboxes_and_no_more() {
    let mut wire = Wire::connect(Town::default());
    wire.say("HELO c.test\r\nMAIL FROM:<a@example.test>\r\n");
    assert!(wire.say("RCPT TO:<many@firma.test>\r\n").starts_with("250 "));
    assert!(
        wire.say("RCPT TO:<others@firma.test>\r\n")
            .starts_with("452 4.5.3 ")
    );
    assert!(wire.say("RCPT TO:<anna@firma.test>\r\n").starts_with("250 "));
}

#[test]
fn a_line_too_long_is_one_mistake_and_the_next_command_lives() {
    let longest = format!("NOOP {}", "x".repeat(SMTP_COMMAND_OCTETS_MAX - 7));
    let mut wire = Wire::connect(Town::default());
    assert_eq!(wire.say(&format!("{longest}\r\n")), "250 2.0.0 Ok\r\n");
    assert_eq!(wire.say(&format!("{longest}x")), "");
    assert_eq!(
        wire.say("\r\nNOOP\r\n"),
        "500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n"
    );
}

/// S8, D9
#[test]
fn s8_a_low_disk_refuses_mail_before_it_is_sent() {
    let mut wire = Wire::connect(Town {
        is_disk_low: true,
        ..Town::default()
    });
    wire.say("HELO c.test\r\n");
    assert!(
        wire.say("MAIL FROM:<a@example.test>\r\n")
            .starts_with("452 4.3.1 ")
    );
    assert!(wire.say("RCPT TO:<anna@firma.test>\r\n").starts_with("503 "));
    wire.town.is_disk_low = false;
    wire.say("MAIL FROM:<a@example.test>\r\nRCPT TO:<anna@firma.test>\r\n");
    wire.town.is_disk_low = true;
    assert!(wire.say("DATA\r\n").starts_with("452 4.3.1 "));
    // The transaction stands: when there is room again, DATA is enough.
    wire.town.is_disk_low = false;
    assert!(wire.say("DATA\r\n").starts_with("354 "));
}

#[test]
fn the_envelope_says_who_brought_the_message() {
    let mut wire = Wire::connect(Town::default());
    wire.say("STARTTLS\r\n");
    wire.ended = None;
    let tls = TlsFacts {
        version: "TLSv1.3",
        cipher_suite: "TLS_AES_128_GCM_SHA256",
        server_name: None,
    };
    wire.session.tls_started(tls.clone(), wire.now);
    wire.say("EHLO Client.Example.test\r\nMAIL FROM:<\"a b\"@example.test>\r\nRCPT TO:<Anna@firma.test>\r\n");
    wire.say("DATA\r\n");
    wire.say("Subject: a\r\n\r\n..b\r\n.\r\n");
    let (envelope, content) = &wire.town.accepted[0];
    assert_eq!(content, b"Subject: a\r\n\r\n.b\r\n");
    assert_eq!(
        envelope.client,
        Client {
            address: "192.0.2.1".parse().unwrap(),
            name: Some(Domain::parse("client.example.test").unwrap()),
            protocol: Protocol::Esmtp,
            tls: Some(tls),
        }
    );
    assert_eq!(
        envelope.reverse_path,
        ReversePath::Address(address("\"a b\"@example.test"))
    );
    assert_eq!(
        envelope.recipients,
        [route(ForwardPath::Address(address("Anna@firma.test")), ANNA)]
    );
}

/// AS27: a name that is no name does not reach the Received field.
#[test]
fn as27_a_client_without_a_usable_name_has_none() {
    for name in [
        ")",
        "a_b.test",
        "\u{159}",
        &"x".repeat(500),
        "[192.0.2.999]",
        "-a.test",
        "(x)",
    ] {
        let mut wire = Wire::connect(Town::default());
        assert!(
            wire.say(&format!("EHLO {name}\r\n")).starts_with("250-"),
            "{name}"
        );
        wire.say("MAIL FROM:<>\r\nRCPT TO:<anna@firma.test>\r\n");
        wire.say("DATA\r\n");
        wire.say(".\r\n");
        assert_eq!(wire.town.accepted[0].0.client.name, None, "{name}");
    }
}

/// D16: a flood of commands with long answers never makes much be owed.
#[test]
fn d16_many_answers_are_owed_in_small_lots() {
    let mut wire = Wire::connect(Town::default());
    wire.say(&"EHLO a\r\n".repeat(8_000));
    assert!(
        wire.owed_octets_max < 64 * 1024,
        "{} octets",
        wire.owed_octets_max
    );
}

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

#[test]
fn a_box_that_goes_down_says_so() {
    let mut wire = Wire::open(Town::default());
    wire.say("half a message\r\n");
    wire.session.shut_down(&mut wire.output);
    assert!(wire.output.owed().starts_with(b"421 4.3.2 "));
    assert_eq!(wire.town.accepted.len(), 0);
}

/// The table of replies is complete.
#[test]
fn every_error_has_a_row_in_the_readme() {
    let readme = include_str!("../../README.md");
    let rows: BTreeSet<&str> = readme
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    for (file, text) in [
        ("command.rs", include_str!("../command.rs")),
        ("session.rs", include_str!("../session.rs")),
        ("data.rs", include_str!("../data.rs")),
    ] {
        let mut is_error = false;
        for line in text.lines() {
            is_error = (is_error && line != "}") || (line.starts_with("pub enum") && line.contains("Error"));
            let name = line.trim().trim_end_matches(',');
            let is_variant = name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
            if is_error && is_variant {
                assert!(rows.contains(name), "{file}: {name} has no row in the README");
            }
        }
    }
}
