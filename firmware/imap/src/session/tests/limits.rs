//! Limits, and what a client may rely on when it meets one.

use super::*;

#[test]
fn a_mailbox_that_cannot_be_deleted_stays_open() {
    let store = store();
    let mut anna = Client::anna(&store);
    anna.append("Subject: x\r\n\r\n");
    anna.say("a SELECT INBOX\r\n");
    assert!(anna.say("b DELETE INBOX\r\n").starts_with("b NO [CANNOT]"));
    assert_eq!(
        anna.say("c FETCH 1 UID\r\n"),
        "* 1 FETCH (UID 1)\r\nc OK Fetched\r\n"
    );
    anna.say("d CREATE x\r\ne SELECT x\r\n");
    assert_eq!(anna.say("f DELETE x\r\n"), "f OK Done\r\n");
    assert!(anna.say("g FETCH 1 UID\r\n").starts_with("g BAD"));
}

/// AI5
#[test]
fn ai5_a_search_for_too_many_texts_is_refused() {
    let store = store();
    let mut anna = Client::anna(&store);
    anna.append("Subject: x\r\n\r\nx");
    anna.say("a SELECT INBOX\r\n");
    let search = |count: usize| format!("b SEARCH 1:* (NOT SEEN{})\r\n", " TEXT x".repeat(count));
    assert_eq!(anna.say(&search(64)), "* SEARCH 1\r\nb OK Searched\r\n");
    assert!(anna.say(&search(65)).starts_with("b NO [LIMIT]"));
}

/// AI3: what a message takes is judged again when it is there, because another may have come meanwhile.
#[test]
fn ai3_of_two_messages_at_the_quota_one_is_taken() {
    let store = store();
    let (mut one, mut other) = (Client::bob(&store), Client::bob(&store));
    let half = "x".repeat(300);
    for client in [&mut one, &mut other] {
        assert_eq!(
            client.say("a APPEND INBOX {600}\r\n"),
            "+ Ready for the message\r\n"
        );
        client.say(&half);
    }
    assert!(one.say(&format!("{half}\r\n")).starts_with("a OK [APPENDUID"));
    assert!(other.say(&format!("{half}\r\n")).starts_with("a NO [OVERQUOTA]"));
    assert_eq!(
        other.say("b STATUS INBOX (MESSAGES SIZE)\r\n"),
        "* STATUS INBOX (MESSAGES 1 SIZE 600)\r\nb OK Status given\r\n"
    );
    assert_eq!(
        other.say("c APPEND INBOX {400}\r\n"),
        "+ Ready for the message\r\n"
    );
}

/// RFC 3501 §5.4: a client that has just taken half an hour for a message was not inactive.
#[test]
fn the_time_that_a_message_takes_to_send_is_no_silence() {
    let store = store();
    let mut anna = Client::anna(&store);
    anna.append("Subject: x\r\n\r\nbody");
    anna.say("a SELECT INBOX\r\n");
    anna.input.extend(b"b FETCH 1 BODY.PEEK[TEXT]\r\n");
    let late = Moment::START + IMAP_AUTOLOGOUT;
    let mut now = Moment::START;
    loop {
        match anna.session.advance(&mut anna.input, &mut anna.output, now) {
            Step::Need(need) => {
                let answer = anna.house.answer(need);
                anna.session.answer(answer, &mut anna.output, now);
            }
            // The client takes its time.
            Step::Copy(_) => now = late,
            Step::Read => break,
            step => panic!("{step:?}"),
        }
    }
    assert_eq!(anna.session.deadline(), late + IMAP_AUTOLOGOUT);
}

/// AI1: before login only the name of a command is looked at, unless it is one that comes before login.
#[test]
fn ai1_what_waits_for_the_login_is_not_read_before() {
    let store = store();
    let mut client = Client::new(&store);
    assert!(client.say("").starts_with("* OK"));
    let nested = format!("a SEARCH {}\r\n", "(".repeat(1_000));
    assert_eq!(client.say(&nested), "a BAD Log in first\r\n");
    assert_eq!(client.say("b UID FETCH nonsense\r\n"), "b BAD Log in first\r\n");
    let nested = client.say(&format!("c ID {}\r\n", "(".repeat(1_000)));
    assert!(nested.starts_with("c BAD The arguments"), "{nested}");
    assert!(client.say("d UID XYZZY\r\n").starts_with("d BAD This command"));
}

#[test]
fn a_name_in_bare_utf8_is_told_what_is_wrong() {
    let store = store();
    let mut anna = Client::anna(&store);
    assert_eq!(
        anna.say("a CREATE Účty\r\n"),
        "a BAD Octets above 127 have to be in quotes or in a literal\r\n"
    );
    assert_eq!(
        anna.say("b APPEND Účty {3+}\r\nabc\r\n"),
        "b BAD Octets above 127 have to be in quotes or in a literal\r\n"
    );
    assert_eq!(
        anna.say_octets(b"c CREATE \"\xda\xe8ty\"\r\n"),
        "c BAD Text has to be in UTF-8, names of mailboxes in modified UTF-7 or UTF-8\r\n"
    );
    assert_eq!(anna.say("d CREATE \"Účty\"\r\n"), "d OK Done\r\n");
    assert!(anna.say("e LIST \"\" \"*ty\"\r\n").contains(" &ANoBDQ-ty\r\n"));
}

#[test]
fn twenty_mistakes_in_a_row_end_a_session_and_now_and_then_one_does_not() {
    let store = store();
    let mut anna = Client::anna(&store);
    for _ in 0..IMAP_MISTAKES_MAX {
        assert!(anna.say("a XLIST \"\" *\r\n").starts_with("a BAD"));
        assert!(anna.say("b LIST \"\" INBOX\r\n").ends_with("b OK Listed\r\n"));
    }
    let said = anna.say(&"c XYZZY\r\n".repeat(IMAP_MISTAKES_MAX));
    assert!(said.ends_with("* BYE Too many mistakes\r\n"), "{said}");
    let mut client = Client::new(&store);
    let said = client.say(&"a NOOP\r\nb XYZZY\r\n".repeat(IMAP_MISTAKES_MAX));
    assert!(said.ends_with("* BYE Too many mistakes\r\n"), "{said}");
}

/// S6
#[test]
fn s6_a_message_of_just_the_size_is_taken_and_one_octet_more_is_not() {
    let store = store();
    let mut anna = Client::anna(&store);
    let octets = usize::try_from(wire::limits::MESSAGE_OCTETS_MAX).unwrap();
    assert_eq!(
        anna.say("a APPEND INBOX {52428801}\r\n"),
        "a NO [TOOBIG] The message is too big\r\n"
    );
    let mut message = b"Subject: x\r\n\r\n".to_vec();
    message.resize(octets, b'x');
    assert_eq!(
        anna.say("b APPEND INBOX {52428800}\r\n"),
        "+ Ready for the message\r\n"
    );
    anna.say_octets(&message);
    assert!(anna.say("\r\n").starts_with("b OK [APPENDUID"));
    // AI2: with LITERAL+ the octets come anyhow, and are no commands.
    let commands = b"x DELETE INBOX\r\n".repeat(octets / 16 + 1);
    let literal = &commands[..=octets];
    anna.say("c APPEND INBOX {52428801+}\r\n");
    anna.say_octets(literal);
    assert_eq!(
        anna.say("\r\nd NOOP\r\n"),
        "c NO [TOOBIG] The message is too big\r\nd OK Nothing done\r\n"
    );
    anna.say("e SELECT INBOX\r\n");
    let said = anna.say("f FETCH 1 (RFC822.SIZE BODY.PEEK[TEXT])\r\n");
    let head = "* 1 FETCH (RFC822.SIZE 52428800 BODY[TEXT] {52428786}\r\n";
    let text = said
        .strip_prefix(head)
        .and_then(|said| said.strip_suffix(")\r\nf OK Fetched\r\n"));
    assert!(
        text.unwrap().as_bytes() == &message[14..],
        "the text came back otherwise"
    );
}

/// AI5
#[test]
fn ai5_a_text_is_found_across_the_windows_of_a_long_body() {
    let store = store();
    let mut anna = Client::anna(&store);
    let mut message =
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            .to_owned();
    while message.len() < 256 * 1024 - 60 {
        message.push_str("p=C5=99=C3=ADli=C5=A1 =\r\n");
    }
    message.push_str("=C5=BDlu=C5=A5ou=C4=8Dk=C3=BD k=C5=AF=\r\n=C5=88 p=C4=9Bl\r\nkonec");
    anna.append(&message);
    anna.append("Subject: x\r\n\r\nnic");
    anna.say("a SELECT INBOX\r\n");
    let search = |anna: &mut Client, text: &str| {
        anna.say(&format!(
            "s SEARCH CHARSET UTF-8 BODY {{{}+}}\r\n{text}\r\n",
            text.len()
        ))
    };
    for text in ["žluťoučký KŮŇ pěl", "Příliš", "konec", "pěl\r\nkonec"] {
        assert_eq!(
            search(&mut anna, text),
            "* SEARCH 1\r\ns OK Searched\r\n",
            "{text}"
        );
    }
    assert_eq!(
        search(&mut anna, "kůň žluťoučký"),
        "* SEARCH\r\ns OK Searched\r\n"
    );
}

/// AI5
#[test]
fn ai5_the_same_header_a_hundred_times_is_too_much() {
    let store = store();
    let mut anna = Client::anna(&store);
    anna.append(&format!("Subject: {}\r\n\r\n", "x".repeat(100_000)));
    anna.say("a SELECT INBOX\r\n");
    let items = vec!["BODY.PEEK[HEADER.FIELDS (subject)]"; 100].join(" ");
    assert_eq!(
        anna.say(&format!("b FETCH 1 ({items})\r\n")),
        "b NO [LIMIT] This is more than is sent at once\r\n"
    );
    let items = vec!["UID"; 101].join(" ");
    assert!(anna.say(&format!("c FETCH 1 ({items})\r\n")).starts_with("c BAD"));
}

/// AI2, S8
#[test]
fn ai2_a_message_over_the_quota_is_refused_before_it_comes() {
    let store = store();
    let mut bob = Client::bob(&store);
    assert!(
        bob.say("a APPEND INBOX {1001}\r\n")
            .starts_with("a NO [OVERQUOTA]")
    );
    assert_eq!(
        bob.say("b APPEND INBOX {1000}\r\n"),
        "+ Ready for the message\r\n"
    );
}

/// D17
#[test]
fn d17_the_time_to_log_in_does_not_start_anew() {
    let store = store();
    let mut client = Client::new(&store);
    let before = client.session.deadline();
    client.say("a NOOP\r\nb NOOP\r\n");
    assert_eq!(client.session.deadline(), before);
    assert_eq!(before, Moment::START + LOGIN_TIMEOUT);
    assert_eq!(
        Client::anna(&store).session.deadline(),
        Moment::START + IMAP_AUTOLOGOUT
    );
}

/// L5
#[test]
fn l5_a_throttled_client_hears_bye() {
    let store = store();
    let mut client = Client::new(&store);
    for _ in 0..3 {
        let said = client.say("a LOGIN anna@firma.test wrong\r\n");
        assert!(said.contains("a NO [AUTHENTICATIONFAILED]"), "{said}");
    }
    assert_eq!(
        client.say("b LOGIN anna@firma.test wrong\r\nc NOOP\r\n"),
        "* BYE Too many failed logins, try again later\r\n"
    );
}
