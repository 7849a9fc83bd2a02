//! Port 25 on real sockets, in front of a real store.
#![allow(clippy::unwrap_used)]

use delivery::Delivery;
use mail::{Address, Domain, MailboxName};
use net::authority::{Authority, ServerNames};
use net::pump::{self, End};
use net::tls::Tls;
use net::{Stop, Stream, stop_switch};
use smtp::Smtp;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;
use store::{NewAccount, Options, Provision, Store};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use wire::Peer;

/// A box with the accounts anna and bob at firma.test.
struct Server {
    store: Store,
    address: SocketAddr,
    folder: TempDir,
    /// How each connection ended.
    ends: mpsc::UnboundedReceiver<End>,
    _stop: Stop,
}

impl Server {
    async fn start() -> Server {
        let folder = TempDir::new().unwrap();
        let (store, _) = Store::open(&folder.path().join("store"), Options::default()).unwrap();
        let account = |name: &str| NewAccount {
            address: Address::parse(name).unwrap(),
            verifier: "x".to_owned(),
            quota_octets: None,
        };
        let provision = Provision {
            domains: vec![Domain::parse("firma.test").unwrap()],
            accounts: vec![account("anna@firma.test"), account("bob@firma.test")],
            redirects: Vec::new(),
        };
        store.provision(provision).await.unwrap();
        let delivery = Delivery::new(store.clone(), Domain::parse("box.firma.test").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, shutdown) = stop_switch();
        let (sender, ends) = mpsc::unbounded_channel();
        let (smtp, tls) = (Smtp::new(delivery), tls(folder.path()));
        tokio::spawn(async move {
            while let Ok((socket, from)) = listener.accept().await {
                let (smtp, shutdown, sender) = (smtp.clone(), shutdown.clone(), sender.clone());
                let stream = Stream::plain(socket, tls.clone());
                tokio::spawn(async move {
                    let peer = Peer {
                        address: from.ip(),
                        tls: None,
                    };
                    let host = smtp.host(&peer);
                    let end = pump::run(stream, smtp.session(peer), host, shutdown).await;
                    let _ = sender.send(end);
                });
            }
        });
        Server {
            store,
            address,
            folder,
            ends,
            _stop: stop,
        }
    }

    /// The messages in the INBOX of an account.
    fn inbox(&self, account: &str) -> Vec<Vec<u8>> {
        let view = self.store.view().unwrap();
        let account = view
            .account_by_address(&Address::parse(account).unwrap())
            .unwrap()
            .unwrap();
        let inbox = view
            .mailbox_by_name(account.id, &MailboxName::inbox())
            .unwrap()
            .unwrap();
        let entries = view.entries(inbox.id).unwrap();
        let messages = entries.into_iter().map(|entry| {
            let message = view.message(inbox.id, entry.uid).unwrap().unwrap();
            let mut body = view.body(&message).unwrap();
            let mut octets = Vec::new();
            while body.read_at(octets.len() as u64, &mut octets, 64 * 1024).unwrap() > 0 {}
            octets
        });
        messages.collect()
    }
}

fn tls(folder: &Path) -> Tls {
    let authority = Authority::open(folder).unwrap();
    let names = ServerNames {
        host_name: "box.firma.test".to_owned(),
        addresses: Vec::new(),
    };
    Tls::new(authority.server_certificate(&names, SystemTime::now()).unwrap()).unwrap()
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(server: &Server) -> Client {
        let mut client = Client(BufReader::new(TcpStream::connect(server.address).await.unwrap()));
        assert!(client.reply().await.starts_with("220 box.firma.test ESMTP"));
        client
    }

    /// The last line of a reply.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    async fn send(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).await.unwrap();
    }

    async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Sends a message that needs no dots doubled, and gives its trace id.
    async fn message(&mut self, to: &str, message: &[u8]) -> String {
        assert!(
            self.say("MAIL FROM:<a@example.test>")
                .await
                .starts_with("250 2.1.0 ")
        );
        assert!(
            self.say(&format!("RCPT TO:<{to}>"))
                .await
                .starts_with("250 2.1.5 ")
        );
        assert!(self.say("DATA").await.starts_with("354 "));
        self.send(message).await;
        let reply = self.say(".").await;
        reply
            .strip_prefix("250 2.0.0 Accepted as ")
            .expect("accepted")
            .to_owned()
    }
}

/// D1, D37: when 250 is there, so is the message, octet for octet, under the name that the reply says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d37_a_message_is_there_when_250_is_said_under_the_name_it_says() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.say("EHLO client.example.test").await, "250 HELP");
    let small = b"Subject: small\r\n\r\na b \xe9\r\n".to_vec();
    let large = format!(
        "Subject: large\r\n\r\n{}",
        format!("{}\r\n", "y".repeat(900)).repeat(3000)
    );
    for message in [small, large.into_bytes()] {
        let trace = client.message("anna@firma.test", &message).await;
        let inbox = server.inbox("anna@firma.test");
        let delivered = inbox.last().unwrap();
        assert!(delivered.ends_with(&message));
        let prefix = String::from_utf8(delivered[..delivered.len() - message.len()].to_vec()).unwrap();
        assert!(
            prefix.contains(&format!(" with ESMTP id {trace}\r\n")),
            "{prefix}"
        );
        assert!(
            prefix.contains("Received: from client.example.test ([127.0.0.1])\r\n"),
            "{prefix}"
        );
    }
    assert_eq!(client.say("QUIT").await, "221 2.0.0 Bye");
    assert_eq!(server.store.check().unwrap().flaws, [] as [store::Flaw; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_connections_at_once_lose_nothing_and_mix_nothing_up() {
    let server = Server::start().await;
    let send = async |name: usize| {
        let mut client = Client::connect(&server).await;
        client.say("HELO client.example.test").await;
        let to = if name.is_multiple_of(2) {
            "anna@firma.test"
        } else {
            "bob@firma.test"
        };
        for number in 0..10 {
            let message = format!("Subject: {name}/{number}\r\n\r\n");
            client.message(to, message.as_bytes()).await;
        }
    };
    tokio::join!(
        send(0),
        send(1),
        send(2),
        send(3),
        send(4),
        send(5),
        send(6),
        send(7)
    );
    for (account, remainder) in [("anna@firma.test", 0), ("bob@firma.test", 1)] {
        let mut subjects: Vec<String> = server
            .inbox(account)
            .iter()
            .map(|octets| {
                let text = String::from_utf8(octets.clone()).unwrap();
                text.split_once("Subject: ").unwrap().1.trim().to_owned()
            })
            .collect();
        subjects.sort();
        let mut expected: Vec<String> = (0..80)
            .map(|count| (count / 10, count % 10))
            .filter(|(name, _)| name % 2 == remainder)
            .map(|(name, number)| format!("{name}/{number}"))
            .collect();
        expected.sort();
        assert_eq!(subjects, expected);
    }
    assert_eq!(server.store.check().unwrap().flaws, [] as [store::Flaw; 0]);
}

/// D2: a message whose end never came leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_half_a_message_leaves_nothing_behind() {
    let mut server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.say("EHLO client.example.test").await;
    client.say("MAIL FROM:<a@example.test>").await;
    client.say("RCPT TO:<anna@firma.test>").await;
    client.say("DATA").await;
    client.send(&b"x: y\r\n".repeat(100_000)).await;
    drop(client);
    assert!(matches!(server.ends.recv().await, Some(End::PeerClosed)));
    assert_eq!(server.inbox("anna@firma.test").len(), 0);
    let bodies = std::fs::read_dir(server.folder.path().join("store/bodies")).unwrap();
    assert_eq!(bodies.count(), 0);
}

/// AS5, P5: commands behind STARTTLS in one write are answered neither before nor within TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as5_commands_behind_starttls_are_never_answered() {
    let mut server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.say("EHLO client.example.test").await;
    client.send(b"STARTTLS\r\nRSET\r\nNOOP\r\n").await;
    let mut said = String::new();
    client.0.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "220 2.0.0 Ready to start TLS\r\n");
    assert!(matches!(server.ends.recv().await, Some(End::OctetsBeforeTls)));
}
