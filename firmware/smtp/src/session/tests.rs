//! The conversation, driven in memory by a house that keeps no mail.

mod cuts;
mod message;
mod time;

use super::*;
use delivery::Target;
use mail::{AccountId, Address, ReversePath};
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
