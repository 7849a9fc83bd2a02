//! The house of a session: it answers what the session asks, with the help of `auth`, `store` and `delivery`.
//!
//! The only file of this crate that waits for anything.

use crate::command::Mailbox;
use crate::op::{BodySource, Change, Next, Op, Outcome, Piece, Work};
use crate::response::{Completion, Failure};
use crate::session::{Answer, Need, NewMessage, Question, Reply, Request, Session};
use auth::sasl::Credentials;
use auth::{Auth, LoginError};
use delivery::{CheckBuffer, CheckError, Checked};
use mail::{AccountId, InternalDate, MailboxId, Timestamp};
use std::io;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use store::{BodyWriter, Space, Store, StoreError, Watch};
use tokio::sync::Semaphore;
use wire::Peer;

/// IMAP on port 993: makes a session, and the house it talks to, for each connection.
#[derive(Clone)]
pub struct Imap {
    auth: Auth,
    store: Store,
    check_buffer: CheckBuffer,
}

impl Imap {
    /// IMAP in front of `store`. Messages that are appended are looked at in `check_buffer`, the one of the box.
    pub const fn new(auth: Auth, store: Store, check_buffer: CheckBuffer) -> Imap {
        Imap {
            auth,
            store,
            check_buffer,
        }
    }

    /// The conversation with a peer, whose connection began with TLS.
    #[allow(clippy::unused_self)] // The same shape as the other protocols have.
    pub fn session(&self, _peer: &Peer) -> Session {
        Session::new()
    }

    /// The house for that conversation.
    pub fn host(&self, peer: &Peer) -> Host {
        Host {
            auth: self.auth.clone(),
            client: peer.address,
            watch: None,
            mailboxes: Mailboxes::new(self.store.clone(), self.check_buffer.clone()),
        }
    }
}

/// Answers one session.
pub struct Host {
    auth: Auth,
    client: IpAddr,
    /// Listens to the account that is logged in.
    watch: Option<Watch>,
    mailboxes: Mailboxes,
}

impl net::Host<Session> for Host {
    async fn answer(&mut self, need: Need) -> Answer {
        let reply = match need.0 {
            Question::LogIn(credentials) => Reply::LoggedIn(self.log_in(&credentials).await),
            Question::Mailboxes(request) => self.mailboxes.answer(request).await,
        };
        Answer(reply)
    }

    async fn copy(&mut self, source: &mut BodySource, into: &mut Vec<u8>) -> io::Result<bool> {
        let Some(mut reading) = source.take() else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let mut octets = std::mem::take(into);
        let read = move || {
            let more = reading.read(&mut octets);
            (reading, octets, more)
        };
        let (reading, octets, more) = match tokio::task::spawn_blocking(read).await {
            Ok(read) => read,
            Err(error) => return Err(io::Error::other(error)),
        };
        *into = octets;
        source.put(reading);
        more
    }

    async fn notice(&mut self) -> Answer {
        match &mut self.watch {
            Some(watch) => {
                watch.changed().await;
                Answer(Reply::Changed)
            }
            None => std::future::pending().await,
        }
    }
}

impl Host {
    async fn log_in(&mut self, credentials: &Credentials) -> Result<AccountId, LoginError> {
        let Credentials { login, password } = credentials;
        let identity = self.auth.login(login.reveal(), password, self.client).await?;
        // Begun before anything is read, so that no change is missed.
        let watch = self.mailboxes.store.watch(identity.account).map_err(|error| {
            tracing::error!(%error, "the account cannot be watched");
            LoginError::Unavailable
        })?;
        self.watch = Some(watch);
        Ok(identity.account)
    }
}

/// Everything but the login: the mailboxes, and the message that is coming in.
pub(crate) struct Mailboxes {
    store: Store,
    check_buffer: CheckBuffer,
    /// Dropped with the connection, it leaves nothing behind.
    message: Option<BodyWriter>,
}

impl Mailboxes {
    pub(crate) const fn new(store: Store, check_buffer: CheckBuffer) -> Mailboxes {
        Mailboxes {
            store,
            check_buffer,
            message: None,
        }
    }

    pub(crate) async fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Work(work) => work_on(&self.store, work).await,
            Request::OpenMessage {
                account,
                mailbox,
                octets,
            } => {
                let opened = self.open_message(account, &mailbox, octets);
                Reply::Opened(opened.map_err(|failure| said(&failure)))
            }
            Request::KeepOctets(octets) => {
                let kept = self.keep(octets).await;
                Reply::Kept(kept.map_err(|failure| said(&failure)))
            }
            Request::DropMessage => {
                self.message = None;
                Reply::Dropped
            }
            Request::AppendMessage(message) => {
                let appended = self.append(message).await;
                Reply::Appended(appended.unwrap_or_else(|failure| said(&failure)))
            }
        }
    }

    /// AI2: what can be known before the octets of a message come.
    fn open_message(
        &mut self,
        account: AccountId,
        mailbox: &Mailbox,
        octets: u64,
    ) -> Result<MailboxId, Failure> {
        let view = self.store.view()?;
        let name = mailbox.as_ref().map_err(|_| Failure::NotAName)?;
        let mailbox = view
            .mailbox_by_name(account, name)?
            .ok_or(Failure::NoMailboxYet)?;
        let account = view.account(account)?.ok_or(StoreError::NoAccount)?;
        if account.is_over_quota_with(octets) {
            return Err(StoreError::OverQuota.into());
        }
        if matches!(self.store.space(), Space::Low) {
            return Err(StoreError::Full.into());
        }
        self.message = Some(self.store.body());
        Ok(mailbox.id)
    }

    /// On a thread that may wait when the octets go to the disk, as in `delivery` (D19). Nothing is left of a
    /// message of which a part could not be kept.
    async fn keep(&mut self, octets: Vec<u8>) -> Result<(), Failure> {
        let Some(mut message) = self.message.take() else {
            return Ok(());
        };
        if message.stays_in_memory(octets.len()) {
            message.write(&octets)?;
            self.message = Some(message);
            return Ok(());
        }
        let write = move || message.write(&octets).map(|()| message);
        let written = match tokio::task::spawn_blocking(write).await {
            Ok(written) => written,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends.
                Err(_) => Err(StoreError::Closed),
            },
        };
        self.message = Some(written?);
        Ok(())
    }

    async fn append(&mut self, message: NewMessage) -> Result<Completion, Failure> {
        let body = self.message.take().ok_or(Failure::NotNow)?;
        let Checked { body, structure } =
            self.check_buffer.check(body).await.map_err(|error| match error {
                CheckError::Busy => Failure::Busy,
                CheckError::Store(error) => Failure::Store(error),
            })?;
        let append = store::Append {
            account: message.account,
            mailbox: message.mailbox,
            messages: vec![store::NewMessage {
                body,
                structure: structure.encode(),
                flags: message.flags,
                internal_date: message.internal_date.unwrap_or_else(|| InternalDate::utc(now())),
            }],
        };
        let appended = self.store.append_at(append, now()).await?;
        let code = format!(
            "APPENDUID {} {}",
            appended.uid_validity,
            crate::response::uid_set(&appended.uids)
        );
        Ok(Completion::ok_with(code, "Appended"))
    }
}

/// What the client is told of a failure; the log gets the cause.
fn said(failure: &Failure) -> Completion {
    failure.log();
    failure.completion()
}

/// D19: of the threads that may wait for the disk, so many search at once, whoever asks for it. A slice that is
/// one long message takes seconds, and meanwhile the others read their mail.
static SEARCHES: Semaphore = Semaphore::const_new(2);

/// Does slices of a command until there is something to send.
async fn work_on(store: &Store, mut work: Box<Work>) -> Reply {
    let mut outcome = None;
    let mut pieces = Vec::new();
    loop {
        let turn = match work.op {
            Op::Search(_) => SEARCHES.acquire().await.ok(),
            _ => None,
        };
        let looking = store.clone();
        let slice = move || {
            let _turn = turn;
            look(&looking, work, outcome, pieces)
        };
        let next;
        (work, pieces, next) = match tokio::task::spawn_blocking(slice).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                // A panic in a command ends its session, like any other panic in a session.
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends before the slice has begun, and this session with it.
                Err(_) => std::future::pending().await,
            },
        };
        let done = match next {
            Next::Change(asked) => match change(store, asked).await {
                Ok(changed) => {
                    outcome = Some(changed);
                    continue;
                }
                Err(error) => Some(said(&Failure::Store(error))),
            },
            Next::Again if pieces.is_empty() => {
                outcome = None;
                continue;
            }
            Next::Again => None,
            Next::Done(completion) => Some(completion),
        };
        return Reply::Worked { work, pieces, done };
    }
}

/// One slice over one view.
fn look(
    store: &Store,
    mut work: Box<Work>,
    outcome: Option<Outcome>,
    mut pieces: Vec<Piece>,
) -> (Box<Work>, Vec<Piece>, Next) {
    let next = match store.view() {
        Ok(view) => work.run(&view, outcome, &mut pieces),
        Err(error) => Next::Done(said(&Failure::Store(error))),
    };
    (work, pieces, next)
}

async fn change(store: &Store, change: Change) -> Result<Outcome, StoreError> {
    Ok(match change {
        Change::Flags(change) => Outcome::Flags(store.store_flags(change).await?),
        Change::Expunge(change) => {
            store.expunge(change).await?;
            Outcome::Expunged
        }
        Change::Copy(change) => Outcome::Copied(store.copy_at(change, now()).await?),
        Change::Create(change) => {
            store.create_mailbox(change).await?;
            Outcome::Done
        }
        Change::Delete(change) => {
            store.delete_mailbox(change).await?;
            Outcome::Done
        }
        Change::Rename(change) => {
            store.rename_mailbox(change).await?;
            Outcome::Done
        }
        Change::Subscribe(change) => {
            store.subscribe(change).await?;
            Outcome::Done
        }
    })
}

/// The wall clock.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
