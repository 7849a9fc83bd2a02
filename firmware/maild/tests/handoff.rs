//! `maild --handoff`, with this test in the place of init.
#![allow(clippy::unwrap_used)]

mod common;

use common::{GOOD, PATIENCE, Running, connect, deliver, maild};
use handoff::{
    Address, Addresses, Boot, BootSlot, Channel, FromMaild, HostName, Ipv4Settings, ProvisionOrigin,
    ReceiveError, ToMaild,
};
use nix::sys::signal::Signal;
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What maild says of a house as it should be.
const ALL_WELL: &str = "port 25, port 993, port 443, store, loop mail";

/// init, its child, and the sockets that init keeps.
struct Box {
    init: Channel,
    maild: Running,
    smtp: TcpListener,
    imaps: TcpListener,
    https: TcpListener,
    /// What maild found when it tried itself out. It comes at any time behind Ready.
    /// As it was told before the last Ready.
    status: RefCell<String>,
    self_test: RefCell<Option<(bool, String)>>,
}

impl Box {
    fn start(folder: &Path) -> Box {
        let (init, theirs) = Channel::pair().unwrap();
        init.set_nonblocking().unwrap();
        let mut command = maild();
        command
            .args(["--handoff", "--data"])
            .arg(folder.join("data"))
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        let socket = || TcpListener::bind("127.0.0.1:0").unwrap();
        Box {
            init,
            maild: Running::start(&mut command),
            smtp: socket(),
            imaps: socket(),
            https: socket(),
            status: RefCell::default(),
            self_test: RefCell::default(),
        }
    }

    /// Hands over what comes before Start, as init does.
    fn hand_over(&self, folder: &Path, provision: Option<&str>) {
        let name = HostName::new("kestrel.example.net").unwrap();
        self.send(&ToMaild::HostName(name));
        self.send(&addresses("192.0.2.7"));
        self.send(&trial(true));
        self.send(&ToMaild::Clock { is_synced: false });
        self.init
            .send(&ToMaild::Listener { port: 443 }, &[self.https.as_fd()])
            .unwrap();
        if let Some(text) = provision {
            let path = folder.join("stick.toml");
            fs::write(&path, text).unwrap();
            let octets = u32::try_from(text.len()).unwrap();
            let origin = ProvisionOrigin::Stick;
            let mut file = File::open(path).unwrap();
            // Whoever read it before left its position at the end.
            file.read_to_end(&mut Vec::new()).unwrap();
            self.init
                .send(&ToMaild::Provision { octets, origin }, &[file.as_fd()])
                .unwrap();
        }
        self.send(&ToMaild::Start);
    }

    /// Waits until the house is open, and hands the ports of mail over when it has an owner, as init does. Gives the
    /// fingerprint that comes with Ready.
    fn serve(&self) -> [u8; 32] {
        self.serve_with(&[(25, &self.smtp), (993, &self.imaps)], true)
    }

    fn serve_with(&self, listeners: &[(u16, &TcpListener)], is_claimed: bool) -> [u8; 32] {
        assert_eq!(self.next_but_alive(), Some(FromMaild::Opened { is_claimed }));
        for &(port, socket) in listeners {
            self.init
                .send(&ToMaild::Listener { port }, &[socket.as_fd()])
                .unwrap();
        }
        self.send(&ToMaild::Serve);
        *self.status.borrow_mut() = text(self.next_but_alive());
        let Some(FromMaild::Ready { fingerprint }) = self.next_but_alive() else {
            panic!("Ready is the answer")
        };
        fingerprint
    }

    fn send(&self, message: &ToMaild) {
        self.init.send(message, &[]).unwrap();
    }

    /// A slow computer takes longer for what comes before Ready than for a sign of life.
    fn next_but_alive(&self) -> Option<FromMaild> {
        loop {
            match self.next() {
                Some(FromMaild::Alive) => {}
                message => return message,
            }
        }
    }

    /// The next message; `None` when the other end is closed.
    fn next(&self) -> Option<FromMaild> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.init.receive::<FromMaild>() {
                Ok(received) => match received.message {
                    FromMaild::SelfTest { is_ok, which } => {
                        let told = self.self_test.replace(Some((is_ok, which.as_str().to_owned())));
                        assert_eq!(told, None, "it is told once");
                    }
                    message => return Some(message),
                },
                Err(ReceiveError::Closed) => return None,
                Err(ReceiveError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < until, "maild says nothing");
                    std::thread::sleep(Duration::from_millis(5));
                }
                // The peer ended while something was on its way to it.
                Err(ReceiveError::Io(error)) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn address(socket: &TcpListener) -> SocketAddr {
        socket.local_addr().unwrap()
    }
}

fn trial(is_trial: bool) -> ToMaild {
    ToMaild::Boot(Boot {
        slot: Some(BootSlot::B),
        attempt: u8::from(is_trial),
        is_trial,
        was_watchdog_reset: false,
    })
}

fn addresses(ip: &str) -> ToMaild {
    let mut list = Addresses::default();
    let ip = ip.parse().unwrap();
    list.0.push(Address { ip, prefix: 24 }).unwrap();
    ToMaild::Addresses(list)
}

fn text(message: Option<FromMaild>) -> String {
    match message {
        Some(FromMaild::Status(status)) => {
            let lines: Vec<&str> = status.lines.iter().map(handoff::ConsoleLine::as_str).collect();
            lines.join(" ")
        }
        other => panic!("a status was expected, not {other:?}"),
    }
}

#[test]
fn what_init_hands_over_is_served_and_told_and_stop_ends_it_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let mut house = Box::start(folder.path());
    house.hand_over(folder.path(), Some(GOOD));
    let fingerprint = house.serve();
    assert_ne!(fingerprint, [0; 32]);
    assert_eq!(house.next(), Some(FromMaild::Alive));
    assert_eq!(house.status.take(), "1 domain, 1 mailbox, 0 messages");

    let smtp = Box::address(&house.smtp);
    assert!(deliver(smtp, "anna@firma.test").starts_with("250 2.0.0"));
    // The console becomes right soon.
    let delivered = Instant::now();
    let status = loop {
        match house.next() {
            Some(FromMaild::Alive) => {}
            message => break text(message),
        }
    };
    assert_eq!(status, "1 domain, 1 mailbox, 1 message");
    assert!(delivered.elapsed() < Duration::from_secs(25));
    let (mut idle, greeting) = connect(smtp);
    assert!(greeting.starts_with("220 kestrel.example.net "), "{greeting}");
    // Found good, and told so. New addresses and a new name are taken while it serves.
    assert_eq!(house.self_test.take(), Some((true, ALL_WELL.to_owned())));
    house.send(&trial(false));
    house.send(&addresses("192.0.2.8"));
    house.send(&ToMaild::HostName(HostName::new("other").unwrap()));
    let renamed = Instant::now();
    while !connect(smtp).1.starts_with("220 other ") {
        assert!(renamed.elapsed() < PATIENCE, "it goes on with the old name");
        std::thread::sleep(Duration::from_millis(20));
    }
    house.send(&ToMaild::Stop { deadline_ms: 10_000 });
    let mut goodbye = String::new();
    idle.read_to_string(&mut goodbye).unwrap();
    assert!(goodbye.starts_with("421 "), "{goodbye}");
    while let Some(message) = house.next() {
        assert!(!matches!(message, FromMaild::Ready { .. }));
    }
    let (status, said) = std::mem::replace(&mut house.maild, Running::start(maild().arg("--help"))).end();
    assert!(status.success(), "{said}");

    // The sockets are init's: they are still there, and the next maild serves them with the same mail
    // and the same authority, and leaves the stick alone.
    let again = Box {
        smtp: house.smtp.try_clone().unwrap(),
        imaps: house.imaps.try_clone().unwrap(),
        https: house.https.try_clone().unwrap(),
        ..Box::start(folder.path())
    };
    again.hand_over(folder.path(), Some("this = \"is not even read\""));
    assert_eq!(again.serve(), fingerprint);
    assert_eq!(again.status.take(), "1 domain, 1 mailbox, 1 message");
}

/// D23: the name and the address that a file gives the box are told before anything is served, and the name is in the
/// first greeting.
#[test]
fn d23_what_a_file_wants_of_init_is_told_before_the_house_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let house = Box::start(folder.path());
    let text =
        format!("{GOOD}\n[box]\nname = \"posta\"\naddress = \"192.0.2.5/24\"\ngateway = \"192.0.2.1\"\n");
    house.hand_over(folder.path(), Some(&text));
    let name = HostName::new("posta").unwrap();
    assert_eq!(house.next(), Some(FromMaild::SetName(name)));
    let Some(FromMaild::SetNetwork(Ipv4Settings::Static(network))) = house.next() else {
        panic!("the address is told")
    };
    assert_eq!((network.address.octets(), network.prefix), ([192, 0, 2, 5], 24));
    house.serve();
    let (_, greeting) = connect(Box::address(&house.smtp));
    assert!(greeting.starts_with("220 posta "), "{greeting}");
}

/// D24: what is broken is said, and is no reason to stop what is not.
#[test]
fn d24_a_failed_self_test_is_told_and_the_rest_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let house = Box::start(folder.path());
    house.hand_over(folder.path(), Some(GOOD));
    house.serve_with(&[(25, &house.smtp)], true);
    while house.self_test.borrow().is_none() {
        assert!(house.next().is_some());
    }
    assert_eq!(house.self_test.take(), Some((false, "port 993".to_owned())));
    assert!(deliver(Box::address(&house.smtp), "anna@firma.test").starts_with("250 2.0.0"));
}

#[test]
fn ax2_a_box_without_an_owner_serves_no_mail_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let house = Box::start(folder.path());
    house.hand_over(folder.path(), None);
    house.serve_with(&[], false);
    // D39: where to go, and what to take along.
    let text = house.status.take();
    let code = fs::read_to_string(folder.path().join("data/claim-code")).unwrap();
    let says = format!("Open https://192.0.2.7/ and enter the code {}.", code.trim());
    assert!(text.contains(&says), "{text}");
    while house.self_test.borrow().is_none() {
        assert!(house.next().is_some());
    }
    let well = "port 443, store, no loop mail (nobody has claimed the box)";
    assert_eq!(house.self_test.take(), Some((true, well.to_owned())));
}

/// Whoever put the stick in sees what is wrong, and may set the box up by its web page instead.
#[test]
fn a_wrong_file_is_told_on_the_console_page_and_the_box_belongs_to_nobody() {
    // One with a mistake of grammar, one with a wrong number, one with a wrong address.
    for (wrong, mistake) in [
        (
            "colour = \"blue\"\n".to_owned(),
            "line 1: the key `colour` is not known",
        ),
        (
            GOOD.to_owned() + "[limits]\nconnections = \"many\"\n",
            "line 8: this is not u32",
        ),
        (
            GOOD.to_owned() + "[box]\naddress = \"192.0.2.0/24\"\n",
            "192.0.2.0/24",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let house = Box::start(folder.path());
        house.hand_over(folder.path(), Some(&wrong));
        house.serve_with(&[], false);
        let status = house.status.take();
        for part in [
            "enter the code",
            "postolka.toml was not applied, because of",
            mistake,
        ] {
            assert!(status.contains(part), "{part}: {status}");
        }
        while house.self_test.borrow().is_none() {
            // Nothing of the file, neither name nor address, reaches init.
            let told = house.next().unwrap();
            assert!(
                !matches!(told, FromMaild::SetName(_) | FromMaild::SetNetwork(_)),
                "{told:?}"
            );
        }
        let well = "port 443, store, no loop mail (nobody has claimed the box)";
        assert_eq!(house.self_test.take(), Some((true, well.to_owned())));
        house.maild.signal(Signal::SIGTERM);
        let (status, said) = house.maild.end();
        assert!(status.success() && said.contains(mistake), "{said}");
        // The same box with a right file.
        let house = Box::start(folder.path());
        house.hand_over(folder.path(), Some(GOOD));
        house.serve();
        assert!(!house.status.take().contains("postolka.toml"));
    }
}

/// D20: init has not told it to start, as it would be with a store that takes minutes to open.
#[test]
fn d20_signs_of_life_come_before_the_house_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let house = Box::start(folder.path());
    assert_eq!(house.next(), Some(FromMaild::Alive));
    house.hand_over(folder.path(), Some(GOOD));
    house.serve();
}

#[test]
fn it_ends_when_init_ends_or_says_what_makes_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let house = Box::start(folder.path());
    drop(house.init);
    let (status, said) = house.maild.end();
    assert_eq!(status.code(), Some(1), "{said}");

    let house = Box::start(folder.path());
    house.hand_over(folder.path(), None);
    house.serve_with(&[], false);
    // A message of the other direction.
    house.init.send(&FromMaild::Alive, &[]).unwrap();
    let (status, said) = house.maild.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("init cannot be understood"), "{said}");
}

#[test]
fn sigterm_ends_it_cleanly_while_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let house = Box::start(folder.path());
    house.hand_over(folder.path(), Some(GOOD));
    house.serve();
    house.maild.signal(Signal::SIGTERM);
    let (status, said) = house.maild.end();
    assert!(status.success(), "{said}");
}

/// Standard input that is no control socket.
#[test]
fn without_init_it_says_so() {
    let (status, said) = Running::start(maild().arg("--handoff")).end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with("maild: ") && !said.contains("panic"), "{said}");
}
