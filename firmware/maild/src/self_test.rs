//! The box looks whether it works, once at each start: a version on trial is marked good only after this (D24).
//!
//! ```text
//!  ports      each service has a listener, and it greets; under TLS with a certificate of this box
//!  store      what other versions wrote can be read, the counters are right, as far as the time goes
//!  loop mail  in by SMTP, durable, read back octet for octet, gone
//! ```
//!
//! It needs no network, no domain and no account, takes no place from a client, and leaves nothing behind.
//!
//! # Invariants
//! - It is over after half a minute, whatever hangs.
//! - A full disk is no failure (D9): an update may be what helps. The loop mail is left out then, and the log says so.
//! - A box that nobody has claimed has no port of mail open, and so the loop mail is left out there as well.
//! - Neither are messages that a card has spoilt, as long as others can be read: this version did not do that.

use crate::house;
use crate::services::{self, Entry, Protocol, SERVICES};
use delivery::Delivery;
use net::call::{Call, Caller};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use store::{SELF_TEST, Sampled, Space, Store, StoreError, View};
use tokio::task::spawn_blocking;
use tokio::time::{timeout, timeout_at};

/// For the parts together; with [`CLEANING_TIME`] it is over after half a minute.
const TIME_MAX: Duration = Duration::from_secs(28);
/// For one port to greet. A processor that is busy with others takes a while for a handshake.
const GREETING_TIME: Duration = Duration::from_secs(5);
/// For the check of the store: longer, it would keep the card from people's mail.
const STORE_TIME: Duration = Duration::from_secs(3);
/// For the end of the loop mail's traces, behind everything else.
const CLEANING_TIME: Duration = Duration::from_secs(2);

/// What the first page is asked for with: as the box itself, which has a loopback address and nobody else.
const WEB_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Why there was no loop mail.
const FULL: &str = "disk full";
const UNCLAIMED: &str = "nobody has claimed the box";

/// A self-test that can be run.
pub(crate) struct SelfTest {
    /// Whether the box has an owner, and so serves mail.
    pub(crate) is_claimed: bool,
    /// Where each service listens.
    pub(crate) listeners: Vec<(Entry, SocketAddr)>,
    pub(crate) caller: Caller,
    pub(crate) store: Store,
    pub(crate) delivery: Delivery,
    /// Reads what is in the self-test's mailbox. A test puts a fault in its place.
    pub(crate) read_back: ReadBack,
}

/// How it went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The parts that failed, shortly and in ASCII; none: all is well.
    failed: Vec<String>,
    /// The parts that did not, likewise.
    passed: Vec<String>,
}

/// The messages in the self-test's mailbox.
type ReadBack = fn(&Store) -> Result<Vec<Vec<u8>>, StoreError>;

/// Why a part failed, as a sentence for the log.
type Failure = String;

#[derive(Debug, PartialEq, Eq)]
enum LoopMail {
    ReadBack,
    /// It was not sent, for this reason.
    LeftOut(&'static str),
}

impl Outcome {
    pub(crate) fn is_ok(&self) -> bool {
        self.failed.is_empty()
    }

    /// The parts that failed, such as `port 993, loop mail`; if none did, what was tried.
    pub(crate) fn which(&self) -> String {
        if self.is_ok() {
            self.passed.join(", ")
        } else {
            self.failed.join(", ")
        }
    }

    fn note<T>(&mut self, part: &str, result: Result<T, Failure>) -> Option<T> {
        match result {
            Ok(value) => {
                self.passed.push(part.to_owned());
                Some(value)
            }
            Err(why) => {
                tracing::error!("self-test: {part}: {why}");
                self.failed.push(part.to_owned());
                None
            }
        }
    }
}

impl SelfTest {
    /// Runs all parts, also when one fails, and says in the log how it went.
    pub(crate) async fn run(self) -> Outcome {
        let begin = Instant::now();
        let deadline = begin + TIME_MAX;
        let mut outcome = Outcome::default();
        let mut summary = String::new();
        let services: Vec<Entry> = services::expected(self.is_claimed).collect();
        for &entry in &services {
            let greeted = in_time(deadline, self.greeted(entry)).await;
            outcome.note(&format!("port {}", entry.port), greeted);
        }
        let checked = in_time(deadline, self.check_store()).await;
        if let Some(sampled) = outcome.note("store", checked) {
            let _ = write!(
                summary,
                ", {} of {} mailboxes counted, {} bodies read",
                sampled.mailboxes,
                sampled.mailboxes_in_all,
                sampled.bodies - sampled.bodies_damaged
            );
        }
        let looped = in_time(deadline, self.loop_mail()).await;
        // Whatever became of it, also when its time was over.
        let cleaned = timeout(CLEANING_TIME, self.store.close_self_test()).await;
        let cleaned = match cleaned {
            // Without room for the record that removes it, the next self-test does.
            Ok(Ok(()) | Err(StoreError::Full)) => Ok(()),
            Ok(closed) => closed.map_err(|error| format!("it cannot be removed: {error}")),
            Err(_) => Err("it cannot be removed: the store does not answer".to_owned()),
        };
        match outcome.note("loop mail", looped.and_then(|looped| cleaned.map(|()| looped))) {
            Some(LoopMail::ReadBack) => summary.push_str(", a message to itself read back"),
            Some(LoopMail::LeftOut(why)) => {
                outcome.passed.pop();
                outcome.passed.push(format!("no loop mail ({why})"));
                let _ = write!(summary, ", no message to itself ({why})");
            }
            None => {}
        }
        let ms = begin.elapsed().as_millis();
        if outcome.is_ok() {
            tracing::info!(
                "self-test passed after {ms} ms: {} greeted{summary}",
                house::counted(services.len() as u64, "port", "ports")
            );
        } else {
            tracing::error!("self-test FAILED after {ms} ms: {}", outcome.which());
        }
        outcome
    }

    /// A call to the listener of a service, which has greeted.
    async fn greeted(&self, entry: Entry) -> Result<Call, Failure> {
        let greeting = timeout(GREETING_TIME, async {
            let mut call = self.call(entry).await?;
            // Who speaks first differs.
            if entry.protocol == Protocol::Web {
                let sent = call.send(WEB_REQUEST).await;
                sent.map_err(|error| format!("nothing can be asked: {error}"))?;
            }
            let line = call.line().await;
            let line = line.map_err(|error| format!("no greeting: {error}"))?;
            Ok::<_, Failure>((call, line))
        });
        let (call, line) = greeting
            .await
            .map_err(|_| format!("no greeting in {} s", GREETING_TIME.as_secs()))??;
        let expected: &[&str] = match entry.protocol {
            Protocol::Smtp => &["220 "],
            Protocol::Imap => &["* OK "],
            // The way to the set-up page, while the box belongs to nobody.
            Protocol::Web => &["HTTP/1.1 200 ", "HTTP/1.1 303 "],
        };
        if expected.iter().any(|expected| line.starts_with(expected)) {
            Ok(call)
        } else {
            Err(format!("the greeting is '{line}'"))
        }
    }

    async fn call(&self, entry: Entry) -> Result<Call, Failure> {
        let listener = self
            .listeners
            .iter()
            .find(|(listening, _)| listening.port == entry.port);
        let (_, address) = listener.ok_or("it has no listener")?;
        let call = self.caller.call(entry.service, *address).await;
        call.map_err(|error| format!("{address} cannot be reached: {error}"))
    }

    /// On a thread that may wait for the disk (D19).
    async fn check_store(&self) -> Result<Sampled, Failure> {
        let store = self.store.clone();
        let checked = spawn_blocking(move || store.check_until(Instant::now() + STORE_TIME)).await;
        let sampled = checked
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        if let Some(flaw) = sampled.checked.flaws.first() {
            let more = sampled.checked.flaws.len() - 1;
            return Err(format!("{flaw} (and {more} more)"));
        }
        if sampled.bodies > 0 && sampled.bodies == sampled.bodies_damaged {
            return Err(format!("none of {} messages can be read", sampled.bodies));
        }
        Ok(sampled)
    }

    /// Sends a message to the self-test's mailbox, and finds it there as it was.
    async fn loop_mail(&self) -> Result<LoopMail, Failure> {
        if !self.is_claimed {
            return Ok(LoopMail::LeftOut(UNCLAIMED));
        }
        match self.store.open_self_test().await {
            Ok(()) => {}
            Err(StoreError::Full) => return Ok(LoopMail::LeftOut(FULL)),
            Err(error) => return Err(format!("no mailbox: {error}")),
        }
        let door = self
            .delivery
            .open_self_test()
            .map_err(|error| format!("no random octets: {error}"))?;
        let recipient = door.address().to_string();
        let message = message(&recipient);
        if let Err(refusal) = self.send(&recipient, &message).await {
            // It was full after all, or became so.
            if refusal.starts_with("452 ") && self.store.space() == Space::Low {
                return Ok(LoopMail::LeftOut(FULL));
            }
            return Err(format!("not taken: {refusal}"));
        }
        let (store, read_back) = (self.store.clone(), self.read_back);
        let found = spawn_blocking(move || read_back(&store))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("it cannot be read: {error}"))?;
        match found.as_slice() {
            [found] if *found == message => Ok(LoopMail::ReadBack),
            [_] => Err("it came back changed".to_owned()),
            found => Err(format!("{} messages came of one", found.len())),
        }
    }

    /// Hands a message in as a server does. An error is the reply that refuses it, or says what broke.
    async fn send(&self, recipient: &str, message: &[u8]) -> Result<(), String> {
        let [smtp, ..] = SERVICES;
        let mut call = self.greeted(smtp).await?;
        for (command, code) in [
            ("EHLO localhost\r\n", "250"),
            // A report, which nobody answers.
            ("MAIL FROM:<>\r\n", "250"),
            (&format!("RCPT TO:<{recipient}>\r\n"), "250"),
            ("DATA\r\n", "354"),
        ] {
            say(&mut call, command.as_bytes(), code).await?;
        }
        let mut data = Vec::new();
        for line in message.split_inclusive(|octet| *octet == b'\n') {
            // RFC 5321 §4.5.2: a leading dot is doubled.
            if line.starts_with(b".") {
                data.push(b'.');
            }
            data.extend(line);
        }
        data.extend(b".\r\n");
        say(&mut call, &data, "250").await?;
        // It is taken; whether the other side also says goodbye is no matter.
        let _ = say(&mut call, b"QUIT\r\n", "221").await;
        Ok(())
    }
}

/// What has not ended at `deadline` has failed.
async fn in_time<T>(deadline: Instant, part: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match timeout_at(deadline.into(), part).await {
        Ok(result) => result,
        Err(_) => Err("the time is over".to_owned()),
    }
}

async fn say(call: &mut Call, octets: &[u8], code: &str) -> Result<(), String> {
    call.send(octets).await.map_err(|error| error.to_string())?;
    expect(call, code).await
}

/// Reads a reply to its last line (RFC 5321 §4.2.1).
async fn expect(call: &mut Call, code: &str) -> Result<(), String> {
    loop {
        let line = call.line().await.map_err(|error| error.to_string())?;
        if !line.starts_with(code) {
            return Err(line);
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

/// A message with what has ever gone wrong on such a way: dots, octets over 127, long and empty lines, space at the end.
/// The recipient, which is another each time, makes it another message each time.
fn message(recipient: &str) -> Vec<u8> {
    let mut text = format!(
        "From: <{recipient}>\r\nTo: <{recipient}>\r\nSubject: self-test\r\nMessage-ID: <{recipient}>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         .\r\n..\r\n.dot\r\n\r\nPříliš žluťoučký kůň \t \r\n"
    );
    for line in 0..20 {
        let _ = writeln!(text, "{line}: {}\r", recipient.repeat(5));
    }
    // RFC 5321 §4.5.3.1.6: 998 octets and CRLF.
    let _ = writeln!(text, "{}\r\n\r", "x".repeat(998));
    text.into_bytes()
}

/// The messages in the self-test's mailbox as they came, without the fields of delivery.
pub(crate) fn read_back(store: &Store) -> Result<Vec<Vec<u8>>, StoreError> {
    let view = store.view()?;
    let inbox = view.mailbox_by_name(SELF_TEST, &mail::MailboxName::inbox())?;
    let inbox = inbox.ok_or(StoreError::NoMailbox)?;
    let entries = view.entries(inbox.id)?;
    let read = |entry: store::Entry| read_one(&view, inbox.id, entry.uid);
    entries.into_iter().map(read).collect()
}

fn read_one(view: &View, mailbox: mail::MailboxId, uid: mail::Uid) -> Result<Vec<u8>, StoreError> {
    let message = view.message(mailbox, uid)?.ok_or(StoreError::Gone)?;
    let whole = view.body(&message)?.read_to_vec()?;
    Ok(whole
        .strip_prefix(message.prefix())
        .map_or(whole.clone(), <[u8]>::to_vec))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
