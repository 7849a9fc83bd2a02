#![allow(clippy::unwrap_used)]

mod limits;

use super::*;
use crate::serve::Mailboxes;
use delivery::CheckBuffer;
use mail::{Address, Domain};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use store::sim::Sim;
use store::{NewAccount, Options, Provision, Store};
use tokio::runtime::Runtime;
use wire::testing::{Dialogue, House};
use wire::{Moment, Session as _};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

/// Everybody's password, the one that the whole-appliance tests use. It has what breaks careless quoting.
const PASSWORD: &str = "kněž \"na\\ koni\"";

/// A box with anna@firma.test and bob@firma.test.
fn store() -> Store {
    let options = Options {
        index_cache_octets: 1024 * 1024,
        segment_octets: Some(1024 * 1024),
        reserve_octets: Some(0),
        ..Options::default()
    };
    let (store, _) = Store::open_in(Arc::new(Sim::new(1)), &options).unwrap();
    let account = |name: &str, quota_octets| NewAccount {
        address: Address::parse(name).unwrap(),
        verifier: String::new(),
        quota_octets,
    };
    let provision = Provision {
        domains: vec![Domain::parse("firma.test").unwrap()],
        accounts: vec![
            account("anna@firma.test", None),
            account("bob@firma.test", Some(1000)),
        ],
        redirects: Vec::new(),
    };
    RUNTIME.block_on(store.provision(provision)).unwrap();
    store
}

/// The house, with a door of its own: hashing a password for each cut of a dialogue would take minutes.
struct Inside {
    store: Store,
    mailboxes: Mailboxes,
    failures: usize,
}

impl Inside {
    fn new(store: &Store) -> Inside {
        Inside {
            store: store.clone(),
            mailboxes: Mailboxes::new(store.clone(), CheckBuffer::new()),
            failures: 0,
        }
    }

    fn log_in(&mut self, credentials: &Credentials) -> Result<AccountId, LoginError> {
        if self.failures >= 3 {
            return Err(LoginError::Throttled);
        }
        let address = Address::parse(credentials.login.reveal());
        let account = address
            .ok()
            .and_then(|address| self.store.view().unwrap().account_by_address(&address).unwrap());
        match account {
            Some(account) if credentials.password.reveal() == PASSWORD => Ok(account.id),
            _ => {
                self.failures += 1;
                Err(LoginError::Refused)
            }
        }
    }
}

impl House<Session> for Inside {
    fn answer(&mut self, need: Need) -> Answer {
        Answer(match need.0 {
            Question::LogIn(credentials) => Reply::LoggedIn(self.log_in(&credentials)),
            Question::Mailboxes(request) => RUNTIME.block_on(self.mailboxes.answer(request)),
        })
    }

    fn copy(&mut self, mut source: BodySource) -> Vec<u8> {
        let mut octets = Vec::new();
        let mut reading = source.take().unwrap();
        while reading.read(&mut octets).unwrap() {}
        octets
    }
}

fn run(text: &str) {
    Dialogue::parse(text).run(|| {
        let store = store();
        (Session::new(), Inside::new(&store))
    });
}

macro_rules! dialogues {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(include_str!(concat!("../../testdata/", stringify!($name), ".txt")));
            }
        )*
    };
}

dialogues! {
    append
    before_login
    fetch
    fetch_sections
    flags_and_expunge
    idle
    limits
    login
    mailboxes
    search
    select_and_status
    two_parts
}

/// A client by hand: for what needs two of them, or octets that are too many for a dialogue.
struct Client {
    session: Session,
    house: Inside,
    input: Input,
    output: Output,
    is_listening: bool,
}

impl Client {
    fn new(store: &Store) -> Client {
        let mut client = Client {
            session: Session::new(),
            house: Inside::new(store),
            input: Input::new(),
            output: Output::new(),
            is_listening: false,
        };
        client.go_on();
        client
    }

    fn logged_in(store: &Store, login: &str) -> Client {
        let mut client = Client::new(store);
        let password = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
        let said = client.say(&format!("l LOGIN {login} \"{password}\"\r\n"));
        assert!(said.contains("l OK"), "{said}");
        client
    }

    fn anna(store: &Store) -> Client {
        Client::logged_in(store, "anna@firma.test")
    }

    fn bob(store: &Store) -> Client {
        Client::logged_in(store, "bob@firma.test")
    }

    fn say(&mut self, octets: &str) -> String {
        self.say_octets(octets.as_bytes())
    }

    fn say_octets(&mut self, octets: &[u8]) -> String {
        for piece in octets.chunks(wire::limits::READ_OCTETS) {
            self.input.extend(piece);
            self.go_on();
            assert!(
                self.input.len() < wire::limits::INPUT_OCTETS_MAX,
                "the session is stuck"
            );
        }
        String::from_utf8_lossy(&std::mem::take(self.output.as_vec_mut())).into_owned()
    }

    /// Something happened in the account; a client that listens hears of it.
    fn notice(&mut self) -> String {
        assert!(self.is_listening);
        self.session
            .answer(Answer(Reply::Changed), &mut self.output, Moment::START);
        self.go_on();
        self.say("")
    }

    fn go_on(&mut self) {
        loop {
            let step = self
                .session
                .advance(&mut self.input, &mut self.output, Moment::START);
            self.is_listening = matches!(step, Step::Listen);
            match step {
                Step::Read | Step::Listen | Step::Close => return,
                Step::Need(need) => {
                    let answer = self.house.answer(need);
                    self.session.answer(answer, &mut self.output, Moment::START);
                }
                Step::Copy(source) => {
                    let octets = self.house.copy(source);
                    self.output.push(&octets);
                }
                Step::StartTls => panic!("no STARTTLS here"),
            }
        }
    }

    fn append(&mut self, message: &str) {
        let said = self.say(&format!("a APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len()));
        assert!(said.contains("a OK [APPENDUID"), "{said}");
    }
}

#[test]
fn an_idling_client_hears_of_everything_at_once() {
    let store = store();
    let (mut anna, mut other) = (Client::anna(&store), Client::anna(&store));
    anna.append("Subject: one\r\n\r\n");
    anna.append("Subject: two\r\n\r\n");
    assert!(anna.say("a SELECT INBOX\r\n").contains("* 2 EXISTS"));
    assert_eq!(anna.say("b IDLE\r\n"), "+ Waiting for changes\r\n");
    other.append("Subject: three\r\n\r\n");
    assert_eq!(anna.notice(), "* 3 EXISTS\r\n");
    other.say("c SELECT INBOX\r\nd STORE 1 +FLAGS (\\Deleted kw)\r\n");
    assert_eq!(anna.notice(), "* 1 FETCH (FLAGS (\\Deleted kw))\r\n");
    other.say("e EXPUNGE\r\n");
    assert_eq!(anna.notice(), "* 1 EXPUNGE\r\n");
    assert_eq!(anna.notice(), "");
    assert_eq!(anna.say("DONE\r\n"), "b OK Idle ended\r\n");
}

/// RFC 9051 §7.5.1
#[test]
fn numbers_do_not_change_under_a_command_that_names_them() {
    let store = store();
    let (mut anna, mut other) = (Client::anna(&store), Client::anna(&store));
    for number in 1..=3 {
        anna.append(&format!("Subject: {number}\r\n\r\n"));
    }
    anna.say("a SELECT INBOX\r\n");
    other.say("a SELECT INBOX\r\nb STORE 1 +FLAGS.SILENT (\\Deleted)\r\nc EXPUNGE\r\n");
    assert_eq!(
        anna.say("d FETCH 1:3 UID\r\n"),
        "* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\nd NO [EXPUNGEISSUED] Some of the messages are gone\r\n"
    );
    assert_eq!(anna.say("e SEARCH ALL\r\n"), "* SEARCH 2 3\r\ne OK Searched\r\n");
    assert_eq!(
        anna.say("f STORE 3 +FLAGS (\\Seen)\r\n"),
        "* 3 FETCH (FLAGS (\\Seen))\r\nf OK Stored\r\n"
    );
    // What names messages by UID may be followed by the news, and passes over what is gone.
    assert_eq!(
        anna.say("g UID FETCH 1:* FLAGS\r\n"),
        "* 2 FETCH (UID 2 FLAGS ())\r\n* 3 FETCH (UID 3 FLAGS (\\Seen))\r\n* 1 EXPUNGE\r\ng OK Fetched\r\n"
    );
    assert_eq!(
        anna.say("h FETCH 1:2 UID\r\n"),
        "* 1 FETCH (UID 2)\r\n* 2 FETCH (UID 3)\r\nh OK Fetched\r\n"
    );
}

#[test]
fn a_mailbox_that_is_deleted_under_a_client_is_closed() {
    let store = store();
    let (mut anna, mut other) = (Client::anna(&store), Client::anna(&store));
    anna.say("a CREATE x\r\nb SELECT x\r\n");
    assert_eq!(other.say("a DELETE x\r\n"), "a OK Done\r\n");
    assert!(anna.say("c NOOP\r\n").starts_with("c NO [NONEXISTENT]"));
    assert_eq!(anna.say("d NOOP\r\n"), "d OK Nothing done\r\n");
    assert!(anna.say("e FETCH 1 UID\r\n").starts_with("e BAD"));
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

/// AI7
#[test]
fn ai7_nobody_sees_the_mailbox_of_somebody_else() {
    let store = store();
    let mut anna = Client::anna(&store);
    anna.append("Subject: secret of anna\r\n\r\n");
    anna.say("a CREATE only-anna\r\n");
    let mut bob = Client::bob(&store);
    let said =
        bob.say("a LIST \"\" *\r\nb SELECT INBOX\r\nc SEARCH ALL\r\nd STATUS only-anna (MESSAGES)\r\n");
    assert!(
        !said.contains("only-anna\r\n") && said.contains("* 0 EXISTS") && said.contains("* SEARCH\r\n"),
        "{said}"
    );
    assert!(said.contains("d NO [NONEXISTENT]"), "{said}");
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

/// What the box adds in front of a message counts, and a structure of another version is made anew.
#[test]
fn a_delivered_message_has_its_own_fields_in_front() {
    let store = store();
    let message = b"Subject: x\r\n\r\nbody";
    for structure in [mail::Structure::parse(message).encode(), vec![0xff]] {
        let mut body = store.body();
        body.write(message).unwrap();
        let account = store
            .view()
            .unwrap()
            .account_by_address(&Address::parse("anna@firma.test").unwrap());
        let deliver = store::Deliver {
            body: body.seal().unwrap(),
            structure,
            received: mail::Timestamp(0),
            copies: vec![store::DeliveredCopy {
                account: account.unwrap().unwrap().id,
                header: b"Return-Path: <>\r\n".to_vec(),
                flags: mail::Flags::default(),
            }],
        };
        RUNTIME.block_on(store.deliver(deliver)).unwrap();
    }
    let mut anna = Client::anna(&store);
    anna.say("a EXAMINE INBOX\r\n");
    for number in 1..=2 {
        let said = anna.say(&format!(
            "b FETCH {number} (RFC822.SIZE BODY[HEADER] BODY[TEXT] BODY[1] BODY[HEADER.FIELDS (return-path)] BODY)\r\n"
        ));
        let expected = concat!(
            " FETCH (RFC822.SIZE 35 BODY[HEADER] {31}\r\nReturn-Path: <>\r\nSubject: x\r\n\r\n BODY[TEXT] {4}\r\nbody",
            " BODY[1] {4}\r\nbody BODY[HEADER.FIELDS (return-path)] {19}\r\nReturn-Path: <>\r\n\r\n",
            " BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 4 0))\r\nb OK Fetched\r\n"
        );
        assert_eq!(said, format!("* {number}{expected}"));
    }
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

/// What a client knows who hears nothing but the responses: the flags by sequence number, as far as told.
#[derive(Default)]
struct Listener(Vec<Option<String>>);

impl Listener {
    fn hear(&mut self, said: &str) {
        for line in said.lines().filter(|line| line.starts_with("* ")) {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let Ok(number) = words[1].parse::<usize>() else {
                continue;
            };
            match words[2] {
                "EXPUNGE" => drop(self.0.remove(number - 1)),
                "EXISTS" => {
                    assert!(number >= self.0.len(), "{said}");
                    self.0.resize(number, None);
                }
                "FETCH" => {
                    let flags = words[3].split("FLAGS ").nth(1);
                    self.0[number - 1] = flags.map(|flags| flags.replace("))", ")"));
                }
                _ => {}
            }
        }
    }
}

fn command() -> impl Strategy<Value = String> {
    let number = 1..5_u32;
    let flag = prop::sample::select(vec!["\\Seen", "\\Deleted", "\\Flagged", "kw"]);
    let sign = prop::sample::select(vec!["", "+", "-", "+"]);
    prop_oneof![
        Just("APPEND INBOX {3+}\r\nx:y".to_owned()),
        (number.clone(), sign.clone(), flag.clone())
            .prop_map(|(n, sign, flag)| format!("STORE {n} {sign}FLAGS ({flag})")),
        (number.clone(), sign, flag)
            .prop_map(|(n, sign, flag)| format!("UID STORE {n}:* {sign}FLAGS ({flag})")),
        number.clone().prop_map(|n| format!("FETCH {n} BODY[]")),
        number.clone().prop_map(|n| format!("UID MOVE {n} Trash")),
        number.prop_map(|n| format!("SEARCH {n}")),
        Just("EXPUNGE".to_owned()),
        Just("NOOP".to_owned()),
    ]
}

/// Pieces of which hostile conversations are made.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "a ",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "{3}\r\n",
        "{3+}\r\nabc",
        "{0+}\r\n",
        "{99999+}\r\n",
        "(",
        ")",
        "1:*",
        "*",
        "FETCH 1:* (UID BODY[])\r\n",
        "a UID FETCH 1:* ",
        "a SEARCH OR ",
        "a STORE 1 +FLAGS (\\Deleted)\r\n",
        "a EXPUNGE\r\n",
        "a SELECT INBOX\r\n",
        "a IDLE\r\n",
        "DONE\r\n",
        "a CLOSE\r\n",
        "a APPEND INBOX {5+}\r\nx:\r\n",
        "a LIST \"\" ",
        "a LOGOUT\r\n",
        "a AUTHENTICATE PLAIN\r\n",
        "a COPY 1:* Sent\r\n",
        "BODY[HEADER.FIELDS (",
        "\"",
        "NOT ",
    ]);
    prop_oneof![
        6 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// AI1, AI2: whatever is said, the session goes on or ends, and says the same however the octets were cut.
    #[test]
    fn no_conversation_panics(pieces in prop::collection::vec(piece(), 0..30), cut in 0..200_usize) {
        let octets = pieces.concat();
        let mut said = [cut.min(octets.len()), 0].map(|cut| {
            let store = store();
            let mut anna = Client::anna(&store);
            anna.append("Subject: x\r\n\r\n");
            anna.say("s SELECT INBOX\r\n");
            let (first, rest) = octets.split_at(cut);
            anna.say_octets(first) + &anna.say_octets(rest)
        });
        for said in &mut said {
            // What differs from store to store.
            *said = said.lines().filter(|line| !line.contains("UIDVALIDITY") && !line.contains("UID ")).collect();
        }
        prop_assert_eq!(&said[0], &said[1]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Two sessions on one mailbox: each, replaying what it was told, ends up with what is there.
    #[test]
    fn two_clients_that_listen_see_the_same_mailbox(
        commands in prop::collection::vec((any::<bool>(), command()), 1..40),
    ) {
        let store = store();
        let mut clients = [Client::anna(&store), Client::anna(&store)];
        let mut listeners = [Listener::default(), Listener::default()];
        for (client, listener) in clients.iter_mut().zip(&mut listeners) {
            client.say("s SELECT INBOX\r\n");
            listener.0.clear();
        }
        for (which, command) in commands {
            let said = clients[usize::from(which)].say(&format!("c {command}\r\n"));
            prop_assert!(said.contains("\r\nc ") || said.starts_with("c "), "{}", said);
            listeners[usize::from(which)].hear(&said);
        }
        for (client, listener) in clients.iter_mut().zip(&mut listeners) {
            let said = client.say("n NOOP\r\ns STATUS INBOX (MESSAGES)\r\n");
            listener.hear(&said);
            prop_assert!(said.contains(&format!("MESSAGES {})", listener.0.len())), "{} {:?}", said, listener.0);
            let mut truth = Listener(vec![None; listener.0.len()]);
            truth.hear(&client.say("f FETCH 1:* FLAGS\r\n"));
            for (known, is) in listener.0.iter().zip(&truth.0) {
                prop_assert!(known.is_none() || known == is, "{:?} {:?}", listener.0, truth.0);
            }
        }
        let views: Vec<String> = clients.iter_mut().map(|client| client.say("u UID FETCH 1:* FLAGS\r\n")).collect();
        prop_assert_eq!(&views[0], &views[1]);
    }
}
