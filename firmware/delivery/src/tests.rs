//! The door, in front of a real store.

mod route;

use crate::{
    AcceptError, Accepted, Client, Content, ContentError, Delivery, Envelope, Protocol, Route, RouteError,
};
use mail::{Address, Domain, ForwardPath, MailboxName, ReversePath, Structure};
use std::time::Duration;
use store::{NewAccount, Options, Provision, Redirect, Store};
use tempfile::TempDir;

/// A store that is looked through to the last row when the test is over.
struct House {
    store: Store,
    delivery: Delivery,
    folder: TempDir,
}

impl Drop for House {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let checked = self.store.check().unwrap();
            assert!(checked.flaws.is_empty(), "{:?}", checked.flaws);
        }
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn path(text: &str) -> ForwardPath {
    ForwardPath::Address(address(text))
}

/// A box with these accounts (with a quota) and redirects, in the domains firma.test and dilna.test.
async fn house_with(
    accounts: &[(&str, Option<u64>)],
    redirects: &[(&str, &[&str])],
    options: Options,
) -> House {
    let folder = TempDir::new().unwrap();
    let (store, _) = Store::open(folder.path(), options).unwrap();
    let provision = Provision {
        domains: ["firma.test", "dilna.test"]
            .map(|name| Domain::parse(name).unwrap())
            .to_vec(),
        accounts: accounts
            .iter()
            .map(|(name, quota_octets)| NewAccount {
                address: address(name),
                verifier: "x".to_owned(),
                quota_octets: *quota_octets,
            })
            .collect(),
        redirects: redirects
            .iter()
            .map(|(name, targets)| Redirect {
                address: address(name),
                targets: targets.iter().map(|target| address(target)).collect(),
            })
            .collect(),
    };
    store.provision(provision).await.unwrap();
    let delivery = Delivery::new(store.clone(), Domain::parse("box.firma.test").unwrap());
    House {
        store,
        delivery,
        folder,
    }
}

async fn house(redirects: &[(&str, &[&str])]) -> House {
    let accounts = [
        ("anna@firma.test", None),
        ("bob@firma.test", None),
        ("cyril@dilna.test", Some(1000)),
    ];
    house_with(&accounts, redirects, Options::default()).await
}

impl House {
    /// The addresses of the mailboxes that mail to `to` goes to.
    fn route(&self, to: &str) -> Result<Vec<String>, RouteError> {
        let route = self.delivery.route(path(to), None)?;
        Ok(route
            .targets
            .iter()
            .map(|target| target.address.to_string())
            .collect())
    }

    fn content(&self, octets: &[u8]) -> Result<Content, ContentError> {
        let mut content = self.delivery.open()?;
        for piece in octets.chunks(10_000) {
            content.write(piece)?;
        }
        Ok(content)
    }

    async fn send(&self, to: &[&str], octets: &[u8]) -> Result<Accepted, AcceptError> {
        let routes = to
            .iter()
            .map(|to| self.delivery.route(path(to), None).unwrap())
            .collect();
        self.delivery
            .accept(envelope(routes), self.content(octets).unwrap())
            .await
    }

    /// The messages in the INBOX of `account`: their octets, and their structure.
    fn inbox(&self, account: &str) -> Vec<(Vec<u8>, Structure)> {
        let view = self.store.view().unwrap();
        let account = view.account_by_address(&address(account)).unwrap().unwrap();
        let inbox = view
            .mailbox_by_name(account.id, &MailboxName::inbox())
            .unwrap()
            .unwrap();
        let messages = view.entries(inbox.id).unwrap().into_iter().map(|entry| {
            let message = view.message(inbox.id, entry.uid).unwrap().unwrap();
            let structure = Structure::decode(&view.structure(&message).unwrap()).unwrap();
            let mut octets = Vec::new();
            let mut body = view.body(&message).unwrap();
            while body.read_at(octets.len() as u64, &mut octets, 64 * 1024).unwrap() > 0 {}
            (octets, structure)
        });
        messages.collect()
    }
}

fn envelope(recipients: Vec<Route>) -> Envelope {
    Envelope {
        client: Client {
            address: "192.0.2.1".parse().unwrap(),
            name: Some(Domain::parse("client.example.test").unwrap()),
            protocol: Protocol::Esmtp,
            tls: None,
        },
        reverse_path: ReversePath::Address(address("a@example.test")),
        recipients,
    }
}

/// S8: the quota is judged by what is declared, and when it is used up by nothing at all.
#[tokio::test]
async fn s8_a_full_mailbox_is_said_at_rcpt() {
    let house = house(&[("both@firma.test", &["anna@firma.test", "cyril@dilna.test"])]).await;
    let cyril = path("cyril@dilna.test");
    assert!(house.delivery.route(cyril.clone(), Some(1000)).is_ok());
    assert!(matches!(
        house.delivery.route(cyril.clone(), Some(1001)),
        Err(RouteError::OverQuota)
    ));
    house.send(&["cyril@dilna.test"], &[b'x'; 2000]).await.unwrap();
    assert!(matches!(
        house.delivery.route(cyril, None),
        Err(RouteError::OverQuota)
    ));
    let both = house.route("both@firma.test");
    assert!(
        matches!(both, Err(RouteError::OverQuota)),
        "no copy is left out in silence"
    );
}

/// S8, D37: one body, and in front of it for each mailbox what is its own.
#[tokio::test]
async fn s8_a_message_to_many_is_one_body_with_a_prefix_for_each() {
    let house = house(&[("office@firma.test", &["bob@firma.test", "cyril@dilna.test"])]).await;
    let text = b"Subject: a\r\nContent-Type: text/plain\r\n\r\nHello\r\n";
    let accepted = house
        .send(&["anna@firma.test", "office@firma.test", "bob@firma.test"], text)
        .await
        .unwrap();
    for (account, to) in [
        ("anna@firma.test", "anna@firma.test"),
        ("bob@firma.test", "office@firma.test"),
        ("cyril@dilna.test", "office@firma.test"),
    ] {
        let inbox = house.inbox(account);
        assert_eq!(inbox.len(), 1, "{account} has it once");
        let (octets, structure) = &inbox[0];
        assert!(octets.ends_with(text));
        let prefix = String::from_utf8(octets[..octets.len() - text.len()].to_vec()).unwrap();
        let start = format!(
            "Return-Path: <a@example.test>\r\nDelivered-To: {account}\r\n\
             Received: from client.example.test ([192.0.2.1])\r\n\
             \tby box.firma.test with ESMTP id {}\r\n\tfor <{to}>;\r\n\t",
            accepted.trace
        );
        assert!(prefix.starts_with(&start), "{prefix}");
        assert_eq!(structure, &Structure::parse(text));
    }
    assert_eq!(
        house.store.check().unwrap().body_octets,
        text.len() as u64,
        "kept once"
    );
}

/// AS17: what was delivered here before comes back no more, nor does what has a hundred hops.
#[tokio::test]
async fn as17_a_message_that_goes_in_a_circle_is_refused() {
    let house = house(&[]).await;
    let text = b"Subject: a\r\n\r\nb\r\n";
    house.send(&["anna@firma.test"], text).await.unwrap();
    let (delivered, _) = house.inbox("anna@firma.test").remove(0);
    let again = house
        .send(&["bob@firma.test", "anna@firma.test"], &delivered)
        .await;
    assert!(matches!(again, Err(AcceptError::Loop)));
    house.send(&["bob@firma.test"], &delivered).await.unwrap();
    let tired = [b"Received: x\r\n".repeat(101), text.to_vec()].concat();
    assert!(matches!(
        house.send(&["bob@firma.test"], &tired).await,
        Err(AcceptError::Loop)
    ));
    assert_eq!(house.inbox("anna@firma.test").len(), 1);
    assert_eq!(house.inbox("bob@firma.test").len(), 1);
}

/// S9: a message larger than what is looked at at once arrives whole.
#[tokio::test]
async fn s9_a_large_message_arrives_whole() {
    let house = house(&[]).await;
    let line = format!("{}\r\n", "x".repeat(76));
    let text = format!("Subject: large\r\n\r\n{}", line.repeat(40_000)).into_bytes();
    house
        .send(&["anna@firma.test", "bob@firma.test"], &text)
        .await
        .unwrap();
    for account in ["anna@firma.test", "bob@firma.test"] {
        let (octets, structure) = house.inbox(account).remove(0);
        assert!(octets.ends_with(&text));
        assert_eq!(structure, Structure::parse(&text));
    }
}

/// AS14, AS26: lines that are no fields stand neither among our fields nor at their end.
#[tokio::test]
async fn as26_a_message_without_a_header_section_is_all_body() {
    let house = house(&[]).await;
    let texts = [
        " with ESMTPS id forged\r\nSubject: a\r\n\r\nb\r\n",
        "\tx\r\n",
        "Hello,\r\nSubject: a\r\n\r\nb\r\n",
        "",
    ];
    for text in texts {
        house.send(&["anna@firma.test"], text.as_bytes()).await.unwrap();
    }
    for ((octets, structure), text) in house.inbox("anna@firma.test").into_iter().zip(texts) {
        let octets = String::from_utf8(octets).unwrap();
        let (header, body) = octets.split_once("\r\n\r\n").unwrap();
        assert!(header.ends_with("+0000"), "{octets}");
        assert_eq!(body, text);
        assert_eq!(structure.envelope.subject, None);
    }
}

/// D1, D2: what was accepted is there after the store is opened anew; what was not leaves nothing.
#[tokio::test]
async fn d1_what_was_accepted_is_there_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let (store, _) = Store::open(folder.path(), Options::default()).unwrap();
    let provision = Provision {
        domains: vec![Domain::parse("firma.test").unwrap()],
        accounts: vec![NewAccount {
            address: address("anna@firma.test"),
            verifier: "x".to_owned(),
            quota_octets: None,
        }],
        redirects: Vec::new(),
    };
    store.provision(provision).await.unwrap();
    let delivery = Delivery::new(store.clone(), Domain::parse("box.firma.test").unwrap());
    let mut half = delivery.open().unwrap();
    half.write(&vec![b'x'; 1_000_000]).unwrap();
    let mut whole = delivery.open().unwrap();
    whole.write(b"Subject: whole\r\n\r\n").unwrap();
    let route = delivery.route(path("anna@firma.test"), None).unwrap();
    delivery.accept(envelope(vec![route]), whole).await.unwrap();
    drop(half);
    store.close();
    drop((delivery, store));
    let (store, _) = Store::open(folder.path(), Options::default()).unwrap();
    let delivery = Delivery::new(store.clone(), Domain::parse("box.firma.test").unwrap());
    let house = House {
        store,
        delivery,
        folder,
    };
    let inbox = house.inbox("anna@firma.test");
    assert_eq!(inbox.len(), 1);
    assert!(inbox[0].0.ends_with(b"\r\nSubject: whole\r\n\r\n"));
    let bodies = std::fs::read_dir(house.folder.path().join("bodies"))
        .unwrap()
        .count();
    assert_eq!(bodies, 0, "half a message leaves nothing behind");
}

/// D19: what goes to the disk is written, synced and read on threads that may wait, never on those that drive
/// everybody's conversations; what stays in memory needs no thread.
#[test]
fn d19_nothing_waits_for_the_disk_where_conversations_are_driven() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let options = Options {
        // As when memory is short: frames are small, so that a small message has a file too.
        body_memory_octets: 0,
        ..Options::default()
    };
    runtime.block_on(async {
        let house = house_with(&[("anna@firma.test", None)], &[], options).await;
        let route = house.delivery.route(path("anna@firma.test"), None).unwrap();
        // The only thread that may wait does so until the end.
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let holder = tokio::task::spawn_blocking(move || held.recv());

        let small = b"Subject: small\r\n\r\n".to_vec();
        let content = house.delivery.open().unwrap().add(small).await.unwrap();
        let envelope_of = |route: &Route| envelope(vec![route.clone()]);
        house.delivery.accept(envelope_of(&route), content).await.unwrap();

        let mut sealed = house.delivery.open().unwrap();
        sealed.write(b"Subject: a\r\n\r\n").unwrap();
        sealed.write(&b"x\r\n".repeat(20_000)).unwrap();
        let mut written = house.delivery.open().unwrap();
        written.write(b"Subject: a\r\n\r\n").unwrap();
        let mut write = Box::pin(written.add(b"x\r\n".repeat(20_000)));
        let mut check = Box::pin(house.delivery.check_buffer().check(sealed.finish().0));
        std::future::poll_fn(|context| {
            assert!(write.as_mut().poll(context).is_pending(), "written here");
            assert!(check.as_mut().poll(context).is_pending(), "sealed here");
            std::task::Poll::Ready(())
        })
        .await;
        let_go.send(()).unwrap();
        holder.await.unwrap().unwrap();
        drop(check.await.unwrap());
        let content = write.await.unwrap();
        house.delivery.accept(envelope_of(&route), content).await.unwrap();
        assert_eq!(house.inbox("anna@firma.test").len(), 2);
    });
}

/// S8, D9: with the disk low, mail is refused before it is sent; what is there can be read.
#[tokio::test]
async fn s8_a_low_disk_takes_no_mail() {
    let options = Options {
        reserve_octets: Some(u64::MAX / 2),
        checkpoint_interval: Duration::from_secs(1),
        ..Options::default()
    };
    let house = house_with(&[("anna@firma.test", None)], &[], options).await;
    assert!(house.delivery.admit(None).is_err());
    assert!(matches!(house.delivery.open(), Err(ContentError::DiskFull)));
    assert_eq!(house.route("anna@firma.test").unwrap(), ["anna@firma.test"]);
    assert_eq!(house.inbox("anna@firma.test").len(), 0);
}

/// AS11
#[tokio::test]
async fn as11_a_header_bomb_is_not_kept() {
    let house = house(&[]).await;
    let bomb = b"a:b\r\n".repeat(300_000);
    assert!(matches!(house.content(&bomb), Err(ContentError::HeaderTooLarge)));
    let unending = vec![b'x'; 2_000_000];
    assert!(matches!(
        house.content(&unending),
        Err(ContentError::HeaderTooLarge)
    ));
}

/// S2: a size that the disk has no room for is refused when it is declared, a smaller one is not.
#[tokio::test]
async fn s2_a_declared_size_without_room_is_refused_before_it_is_sent() {
    let house = house_with(&[("anna@firma.test", None)], &[], Options::default()).await;
    assert!(house.delivery.admit(Some(1000)).is_ok());
    assert!(matches!(
        house.delivery.admit(Some(u64::MAX)),
        Err(crate::AdmitError::DiskLow)
    ));
}

/// The self-test's address is one only while a self-test is under way, only once, and only for who knows it.
#[tokio::test]
async fn the_door_of_the_self_test_opens_once_and_for_its_address_alone() {
    let house = house(&[]).await;
    let refused = |to: &str| matches!(house.route(to), Err(RouteError::NotHosted));
    let old = house.delivery.open_self_test().unwrap().address().to_string();
    assert!(refused(&old), "it is shut with its door");

    let door = house.delivery.open_self_test().unwrap();
    let to = door.address().to_string();
    assert_ne!(to, old);
    let (local_part, domain) = to.split_once('@').unwrap();
    assert_eq!(local_part.len(), 32);
    assert!(refused(&old), "another time's address");
    for wrong in [
        format!("postmaster@{domain}"),
        format!("{}@{domain}", &local_part[1..]),
        format!("{local_part}x@{domain}"),
    ] {
        assert!(refused(&wrong), "{wrong}");
    }
    let at_home = house.route(&format!("{local_part}@firma.test"));
    assert!(matches!(at_home, Err(RouteError::UnknownUser)));
    let first = house.delivery.route(path("anna@firma.test"), None).unwrap();
    let route = house.delivery.route(path(&to), None).unwrap();
    assert_eq!(route.targets.len(), 1);
    assert_eq!(route.targets[0].account, store::SELF_TEST);
    assert!(refused(&to), "a second recipient of that name");

    // The message is in the mailbox, if that is there, and in no other.
    let text = b"Subject: to myself\r\n\r\nhello\r\n";
    let accept = |route: Route| {
        let content = house.content(text).unwrap();
        house.delivery.accept(envelope(vec![route]), content)
    };
    let without = accept(route.clone()).await;
    assert!(matches!(
        without,
        Err(AcceptError::Store(store::StoreError::NoAccount))
    ));
    house.store.open_self_test().await.unwrap();
    accept(route).await.unwrap();
    let view = house.store.view().unwrap();
    let mailbox = view.mailbox_by_name(store::SELF_TEST, &MailboxName::inbox());
    assert_eq!(view.status(mailbox.unwrap().unwrap().id).unwrap().messages, 1);
    assert_eq!(house.inbox("anna@firma.test").len(), 0);
    accept(first).await.unwrap();
    assert_eq!(house.inbox("anna@firma.test").len(), 1);
    drop(view);
    house.store.close_self_test().await.unwrap();
}
