#![allow(clippy::unwrap_used)]

mod hostile;
mod limits;

use super::*;
use crate::serve::Mailboxes;
use delivery::CheckBuffer;
use mail::{Address, Domain};
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
    clients
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
