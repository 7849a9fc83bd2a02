//! The self-test in houses that are as they should be, and in houses that are not.

use super::*;
use crate::house::{House, Options, ProvisionFile};
use mail::Domain;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;
use store::sim::{Plan, Sim};

const TWO: &str = "\
[[domain]]
name = \"firma.test\"

[[mailbox]]
address = \"anna@firma.test\"
password = \"velmi tajné heslo\"

[[mailbox]]
address = \"bob@firma.test\"
password = \"velmi tajné heslo\"

[limits]
connections = 2
connections_per_address = 1
";

/// A house on a simulated disk.
struct Built {
    house: House,
    sim: Sim,
    _folder: tempfile::TempDir,
}

async fn build(provision: Option<&str>, options: store::Options, ports: &[u16]) -> Built {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::new(1);
    let (store, _) = Store::open_in(Arc::new(sim.clone()), &options).unwrap();
    let provision = provision.map(|text| ProvisionFile {
        name: "postolka.toml".to_owned(),
        octets: text.as_bytes().to_vec(),
        is_named: true,
    });
    let options = Options {
        has_button: false,
        folder: folder.path().to_owned(),
        host_name: Domain::parse("box.example.net").unwrap(),
        addresses: Vec::new(),
        provision,
    };
    let mut house = House::open_on(store, options).await.unwrap();
    for entry in SERVICES.into_iter().filter(|entry| ports.contains(&entry.port)) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        house.serve(entry, socket);
    }
    Built {
        house,
        sim,
        _folder: folder,
    }
}

fn small() -> store::Options {
    store::Options {
        segment_octets: Some(1024 * 1024),
        reserve_octets: Some(0),
        ..store::Options::default()
    }
}

const ALL: &[u16] = &[25, 993, 443];

/// What is in the index, but the counter of bodies.
fn dump(store: &Store) -> String {
    let dump = store.view().unwrap().dump().unwrap();
    let lines = dump.lines().filter(|line| !line.contains("next body"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The parts that fail.
async fn failed(built: &Built) -> String {
    built.house.self_test().unwrap().run().await.failed.join(", ")
}

/// D24: on a box with accounts and on one without, with or without a place left for a client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d24_it_passes_in_a_good_house_and_leaves_nothing() {
    for provision in [None, Some(TWO)] {
        let built = build(provision, small(), ALL).await;
        let store = built.house.store().clone();
        let before = (dump(&store), built.house.summary().unwrap());
        // The one place that a client has: neither is disturbed.
        let smtp = built.house.self_test().unwrap().listeners[0].1;
        let mut held = tokio::net::TcpStream::connect(smtp).await.unwrap();
        let mut greeting = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut held, &mut greeting)
            .await
            .unwrap();
        assert_eq!(&greeting, b"220 ");
        for _ in 0..3 {
            assert_eq!(failed(&built).await, "");
            assert_eq!((dump(&store), built.house.summary().unwrap()), before);
        }
        drop(held);
        let checked = spawn_blocking(move || store.check().unwrap());
        assert_eq!(checked.await.unwrap().flaws, []);
        built.house.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_missing_is_named() {
    for (ports, named) in [
        (&[25, 443][..], "port 993"),
        (&[993, 443][..], "port 25, loop mail"),
        (&[25, 993][..], "port 443"),
        (&[], "port 25, port 993, port 443, loop mail"),
    ] {
        let built = build(Some(TWO), small(), ports).await;
        assert_eq!(failed(&built).await, named);
        // A service that ended, or that somebody else took the port of.
        let built = build(Some(TWO), small(), ALL).await;
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = socket.local_addr().unwrap();
        drop(socket);
        let mut test = built.house.self_test().unwrap();
        for (entry, address) in &mut test.listeners {
            if !ports.contains(&entry.port) {
                *address = dead;
            }
        }
        assert_eq!(test.run().await.failed.join(", "), named);
    }
}

/// Each is there, but speaks another protocol: 25 answers on the socket of 993, and the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_speaks_something_else_is_named() {
    let built = build(Some(TWO), small(), ALL).await;
    let mut test = built.house.self_test().unwrap();
    let [smtp, imap] = [test.listeners[0].1, test.listeners[1].1];
    test.listeners[1].1 = smtp;
    assert_eq!(test.run().await.failed.join(", "), "port 993");
    let mut test = built.house.self_test().unwrap();
    test.listeners[0].1 = imap;
    assert_eq!(test.run().await.failed.join(", "), "port 25, loop mail");
    let mut test = built.house.self_test().unwrap();
    test.listeners[2].1 = imap;
    assert_eq!(test.run().await.failed.join(", "), "port 443");
}

/// A listener of another box, as it were: its certificate is of another authority.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_the_boxs_own_is_named() {
    let (one, other) = (
        build(Some(TWO), small(), ALL).await,
        build(None, small(), ALL).await,
    );
    let mut test = one.house.self_test().unwrap();
    test.listeners[1] = other.house.self_test().unwrap().listeners[1];
    assert_eq!(test.run().await.failed.join(", "), "port 993");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_refuses_writes_is_named() {
    let built = build(Some(TWO), small(), ALL).await;
    built.sim.plan(Plan {
        failing_syncs: Some("log/"),
        ..Plan::default()
    });
    assert_eq!(failed(&built).await, "loop mail");
    // Reading goes on, and so does everything else.
    assert_eq!(failed(&built).await, "loop mail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_which_nothing_can_be_read_is_named() {
    let built = build(Some(TWO), small(), ALL).await;
    let store = built.house.store().clone();
    for number in 0..3 {
        deliver(&store, &format!("Subject: {number}\r\n\r\nhello {number}\r\n")).await;
    }
    assert_eq!(failed(&built).await, "");
    // One that is spoilt is the card's doing, all of them are not.
    for (spoilt, named) in [(&[0][..], ""), (&[1, 2][..], "store")] {
        for number in spoilt {
            spoil(&built.sim, format!("hello {number}").as_bytes());
        }
        assert_eq!(failed(&built).await, named, "{spoilt:?}");
    }
}

async fn deliver(store: &Store, text: &str) {
    let account = store.view().unwrap().accounts().unwrap()[0].id;
    let mut body = store.body();
    body.write(text.as_bytes()).unwrap();
    let deliver = store::Deliver {
        body: body.seal().unwrap(),
        structure: Vec::new(),
        received: mail::Timestamp(0),
        copies: vec![store::DeliveredCopy {
            account,
            header: Vec::new(),
            flags: mail::Flags::default(),
        }],
    };
    store.deliver(deliver).await.unwrap();
}

fn spoil(sim: &Sim, octets: &[u8]) {
    for name in sim.names().iter().filter(|name| name.starts_with("log/")) {
        let content = sim.content(name);
        let found = content.windows(octets.len()).position(|window| window == octets);
        if let Some(at) = found {
            return sim.flip(name, at as u64, 1);
        }
    }
    panic!("the message is not found on the disk");
}

/// What may become of a message between two versions of a program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_mail_that_comes_back_changed_is_named() {
    let faults: [ReadBack; 5] = [
        |store| {
            let mut found = read_back(store)?;
            found[0][100] ^= 0x20;
            Ok(found)
        },
        |store| {
            let mut found = read_back(store)?;
            found[0].pop();
            Ok(found)
        },
        |store| Ok([read_back(store)?, read_back(store)?].concat()),
        |_| Ok(Vec::new()),
        |_| {
            Err(StoreError::Damaged {
                name: "log".to_owned(),
                offset: 0,
            })
        },
    ];
    let built = build(Some(TWO), small(), ALL).await;
    let before = dump(built.house.store());
    for fault in faults {
        let mut test = built.house.self_test().unwrap();
        test.read_back = fault;
        assert_eq!(test.run().await.failed.join(", "), "loop mail");
        assert_eq!(dump(built.house.store()), before, "it is removed all the same");
    }
}

/// D9: a full box can be updated all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d9_a_full_disk_leaves_the_loop_mail_out_and_fails_nothing() {
    let full = store::Options {
        reserve_octets: Some(u64::MAX),
        ..small()
    };
    let built = build(None, full, ALL).await;
    assert_eq!(built.house.store().space(), Space::Low);
    // Its accounts are from before it was full.
    let claimed = || {
        let mut test = built.house.self_test().unwrap();
        test.is_claimed = true;
        test
    };
    assert_eq!(claimed().loop_mail().await, Ok(LoopMail::LeftOut(FULL)));
    let outcome = claimed().run().await;
    assert!(outcome.is_ok());
    assert_eq!(
        outcome.which(),
        "port 25, port 993, port 443, store, no loop mail (disk full)"
    );
}

/// Somebody who listens and says nothing: the test ends, and says which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_silent_is_named_in_time() {
    let built = build(Some(TWO), small(), ALL).await;
    let silent = TcpListener::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0)).unwrap();
    let mut test = built.house.self_test().unwrap();
    test.listeners[1].1 = silent.local_addr().unwrap();
    let begin = Instant::now();
    assert_eq!(test.run().await.failed.join(", "), "port 993");
    assert!(begin.elapsed() < TIME_MAX);
}

#[test]
fn what_is_told_is_short_ascii() {
    let mut outcome = Outcome::default();
    for entry in SERVICES {
        outcome.failed.push(format!("port {}", entry.port));
    }
    outcome
        .failed
        .extend(["store".to_owned(), "loop mail".to_owned()]);
    let which = outcome.which();
    assert_eq!(
        handoff::ConsoleLine::lossy(&which).as_str(),
        which,
        "it fits as it is"
    );
    assert!(!outcome.is_ok());
}

/// A conversation on a listener of the house, as a client has it.
struct Client(Call);

impl Client {
    async fn of(built: &Built, port: u16) -> Client {
        let test = built.house.self_test().unwrap();
        let entry = services::of_port(port).unwrap();
        let mut client = Client(test.call(entry).await.unwrap());
        client.0.line().await.unwrap();
        client
    }

    /// The last line of the reply to an SMTP command.
    async fn smtp(&mut self, command: &str) -> String {
        self.0.send(format!("{command}\r\n").as_bytes()).await.unwrap();
        loop {
            let line = self.0.line().await.unwrap();
            if line.as_bytes()[3] != b'-' {
                return line;
            }
        }
    }

    /// All lines of the response to an IMAP command.
    async fn imap(&mut self, command: &str) -> Vec<String> {
        self.0.send(format!("t {command}\r\n").as_bytes()).await.unwrap();
        let mut lines = Vec::new();
        loop {
            lines.push(self.0.line().await.unwrap());
            if lines.last().unwrap().starts_with("t ") {
                return lines;
            }
        }
    }
}

/// Whoever does not know the address of the moment is refused like everybody who writes to a foreign domain, by each way
/// that a path can be written; and who knows it, once it was used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_reaches_the_mailbox_by_smtp() {
    let built = build(Some(TWO), small(), ALL).await;
    let test = built.house.self_test().unwrap();
    let mut smtp = Client::of(&built, 25).await;
    let mut greet = Client::of(&built, 25).await;
    greet.smtp("HELO client.example").await;
    assert_eq!(&smtp.smtp("EHLO client.example").await[..3], "250");
    let foreign = "550 5.7.1";
    for is_under_way in [false, true] {
        let door = is_under_way.then(|| test.delivery.open_self_test().unwrap());
        built.house.store().open_self_test().await.unwrap();
        for sender in ["<>", "<anna@firma.test>", "<x@self-test.invalid>"] {
            smtp.smtp("RSET").await;
            assert_eq!(&smtp.smtp(&format!("MAIL FROM:{sender}")).await[..3], "250");
            let zeros = "0".repeat(32);
            for path in [
                "<self-test@self-test.invalid>",
                "<postmaster@self-test.invalid>",
                "<\"\\0\"@self-test.invalid>",
                "<@firma.test:self-test@self-test.invalid>",
                &format!("<{zeros}@self-test.invalid>"),
                &format!("<{zeros}@SELF-TEST.invalid>"),
                "<0@[127.0.0.1]>",
            ] {
                let reply = smtp.smtp(&format!("RCPT TO:{path}")).await;
                assert!(reply.starts_with(foreign), "{path}: {reply}");
            }
            let reply = smtp.smtp("RCPT TO:<0@firma.test>").await;
            assert!(reply.starts_with("550 5.1.1"), "{reply}");
            assert_eq!(&smtp.smtp("DATA").await[..3], "554");
        }
        if let Some(door) = door {
            let to = door.address().to_string();
            assert_eq!(&greet.smtp("MAIL FROM:<>").await[..3], "250");
            assert_eq!(&greet.smtp(&format!("RCPT TO:<{to}>")).await[..3], "250");
            // It was used.
            let reply = greet.smtp(&format!("RCPT TO:<{to}>")).await;
            assert!(reply.starts_with(foreign), "{reply}");
            // Who named it in time and comes late finds no mailbox.
            assert_eq!(&greet.smtp("DATA").await[..3], "354");
            drop(door);
            built.house.store().close_self_test().await.unwrap();
            let reply = greet.smtp("Subject: late\r\n\r\nlate\r\n.").await;
            assert!(reply.starts_with("451 "), "{reply}");
        }
    }
}

/// With a message in it, while people use the box.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_the_mailbox_by_imap_or_in_a_count() {
    let built = build(Some(TWO), small(), ALL).await;
    let test = built.house.self_test().unwrap();
    let summary = built.house.summary().unwrap();
    let mut before = Client::of(&built, 993).await;
    before
        .imap("LOGIN bob@firma.test {18+}\r\nvelmi tajné heslo")
        .await;
    let list = "LIST \"\" \"*\"";
    let usual = before.imap(list).await;
    assert_eq!(
        usual.iter().filter(|line| line.starts_with("* LIST ")).count(),
        6,
        "{usual:?}"
    );

    test.store.open_self_test().await.unwrap();
    let door = test.delivery.open_self_test().unwrap();
    let address = door.address().to_string();
    test.send(&address, &message(&address)).await.unwrap();
    assert_eq!(read_back(&test.store).unwrap(), [message(&address)]);
    assert_eq!(before.imap(list).await, usual);
    assert_eq!(built.house.summary().unwrap(), summary);
    for login in [&address, "self-test@self-test.invalid", ""] {
        let mut other = Client::of(&built, 993).await;
        let reply = other.imap(&format!("LOGIN \"{login}\" \"\"")).await;
        assert!(reply.last().unwrap().starts_with("t NO "), "{reply:?}");
    }
    test.store.close_self_test().await.unwrap();
    assert_eq!(before.imap(list).await, usual);
}
