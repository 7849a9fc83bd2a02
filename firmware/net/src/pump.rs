//! Drives a session on a stream.
//!
//! ```text
//!          ┌──────────────────── advance ◄───────────────────┐
//!          ▼                                                 │
//!  Read, Listen ── write what is owed, wait ── octets ───────┤
//!                    │        │        └────── notice ─ answer
//!                    │        └ deadline ─ timed_out ┐       │
//!                    └ shutdown ─ shut_down ─────────┤       │
//!  Need ─────────── host.answer ─ answer ────────────┼───────┤
//!  Copy ─────────── host.copy … ─ write ─────────────┼───────┤
//!  StartTls ─────── write, handshake ─ tls_started ──┼───────┘
//!  Close ────────────────────────────────────────────┴─► write, close
//! ```

use crate::clock;
use crate::{Shutdown, Stream};
use std::future::Future;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep_until, timeout};
use wire::limits::{INPUT_OCTETS_MAX, OUTPUT_OCTETS_MAX, WRITE_TIMEOUT};
use wire::{Input, Output, Session, Step};

/// The house of a session: it answers what the session asks. One per connection.
pub trait Host<S: Session>: Send {
    /// Answers a question. The session stands still meanwhile, and nothing is read.
    fn answer(&mut self, need: S::Need) -> impl Future<Output = S::Answer> + Send;

    /// Adds the next piece of `source` to `into`, some tens of KiB at most. `false` says that this
    /// was the last piece.
    ///
    /// # Errors
    /// When the octets cannot be had. The peer was promised them, so the connection ends.
    fn copy(
        &mut self,
        source: &mut S::Source,
        into: &mut Vec<u8>,
    ) -> impl Future<Output = io::Result<bool>> + Send;

    /// Waits for something the session did not ask for, such as a change of the mailbox; it is given
    /// to the session as an answer. Only waited for during [`Step::Listen`], and dropped there when
    /// something else comes first, so it must lose nothing then.
    fn notice(&mut self) -> impl Future<Output = S::Answer> + Send {
        std::future::pending()
    }
}

/// How a connection ended, for the log.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The session said so.
    #[error("closed")]
    Closed,
    /// The peer closed the connection, in the middle of what was being said or not.
    #[error("the peer closed the connection")]
    PeerClosed,
    /// The peer said nothing until the session's deadline.
    #[error("the peer was silent for too long")]
    TimedOut,
    /// The peer took no octet for [`WRITE_TIMEOUT`] while some were owed.
    #[error("the peer did not take what it was sent")]
    PeerStalled,
    /// The box, or this service, stops.
    #[error("the service stops")]
    ShutDown,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// P5: octets arrived behind the command that starts TLS.
    #[error("octets came behind the command that starts TLS")]
    OctetsBeforeTls,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
    /// The house could not give the octets that the peer was promised.
    #[error("what was being sent could not be read: {0}")]
    Source(#[source] io::Error),
    /// The session wants more octets although all that may wait are waiting. A fault of ours.
    #[error("the session does not use what it is given")]
    SessionStuck,
}

/// Drives `session` on `stream` until it ends.
///
/// Run it in a task of its own: a panic of the session or the house then ends this connection only.
pub async fn run<S, H>(stream: Stream, session: S, host: H, shutdown: Shutdown) -> End
where
    S: Session + Send,
    S::Need: Send,
    S::Answer: Send,
    S::Source: Send,
    H: Host<S>,
{
    let mut pump = Pump {
        stream,
        session,
        host,
        shutdown,
        input: Input::new(),
        output: Output::new(),
    };
    let end = match pump.converse().await {
        Ok(end) | Err(end) => end,
    };
    match &end {
        // The peer may want to read the last words, or under TLS waits for our close_notify.
        End::Closed | End::PeerClosed | End::TimedOut | End::ShutDown | End::OctetsBeforeTls => {
            pump.stream.close().await;
        }
        End::PeerStalled | End::Handshake(_) | End::Io(_) | End::Source(_) | End::SessionStuck => {}
    }
    end
}

struct Pump<S, H> {
    stream: Stream,
    session: S,
    host: H,
    shutdown: Shutdown,
    input: Input,
    output: Output,
}

/// What a waiting connection woke up for.
enum Event<A> {
    Octets(usize),
    Notice(A),
    DeadlinePassed,
    ShutDown,
}

impl<S, H> Pump<S, H>
where
    S: Session + Send,
    S::Need: Send,
    S::Answer: Send,
    S::Source: Send,
    H: Host<S>,
{
    /// Both arms are an end; `Err` is one that leaves by `?`.
    async fn converse(&mut self) -> Result<End, End> {
        loop {
            // D19: a long pipeline of cheap commands lets the others run in between.
            tokio::task::coop::consume_budget().await;
            match self
                .session
                .advance(&mut self.input, &mut self.output, clock::now())
            {
                Step::Read => {
                    if let Some(end) = self.wait(false).await? {
                        return Ok(end);
                    }
                }
                Step::Listen => {
                    if let Some(end) = self.wait(true).await? {
                        return Ok(end);
                    }
                }
                Step::Need(need) => {
                    // Replies to pipelined commands go out together (RFC 2920 §3.2), unless they are many.
                    if self.output.len() >= OUTPUT_OCTETS_MAX {
                        self.write().await?;
                    }
                    let answer = self.host.answer(need).await;
                    self.session.answer(answer, &mut self.output, clock::now());
                }
                Step::Copy(source) => self.copy(source).await?,
                Step::StartTls => self.start_tls().await?,
                Step::Close => {
                    self.write().await?;
                    return Ok(End::Closed);
                }
            }
        }
    }

    /// Writes what is owed, then waits until the session can go on; gives the end if it cannot.
    async fn wait(&mut self, is_listening: bool) -> Result<Option<End>, End> {
        self.write().await?;
        if self.input.len() >= INPUT_OCTETS_MAX {
            return Err(End::SessionStuck);
        }
        self.release_buffers();
        match self.event(is_listening).await? {
            Event::Octets(0) => Ok(Some(End::PeerClosed)),
            Event::Octets(_) => Ok(None),
            Event::Notice(answer) => {
                self.session.answer(answer, &mut self.output, clock::now());
                Ok(None)
            }
            Event::DeadlinePassed => {
                self.session.timed_out(&mut self.output);
                self.write().await?;
                Ok(Some(End::TimedOut))
            }
            Event::ShutDown => {
                self.session.shut_down(&mut self.output);
                self.write().await?;
                Ok(Some(End::ShutDown))
            }
        }
    }

    async fn event(&mut self, is_listening: bool) -> Result<Event<S::Answer>, End> {
        let deadline = self.session.deadline();
        // Asked first, so that a peer that sends an octet all the time gains nothing by it (D17).
        if deadline <= clock::now() {
            return Ok(Event::DeadlinePassed);
        }
        tokio::select! {
            read = self.stream.read_into(&mut self.input) => read.map(Event::Octets).map_err(gone),
            notice = self.host.notice(), if is_listening => Ok(Event::Notice(notice)),
            () = sleep_until(clock::instant(deadline)) => Ok(Event::DeadlinePassed),
            () = self.shutdown.requested() => Ok(Event::ShutDown),
        }
    }

    async fn copy(&mut self, mut source: S::Source) -> Result<(), End> {
        loop {
            let has_more = self
                .host
                .copy(&mut source, self.output.as_vec_mut())
                .await
                .map_err(End::Source)?;
            // Small things that are fetched by the thousand share a write.
            if self.output.len() >= OUTPUT_OCTETS_MAX {
                self.write().await?;
            }
            if !has_more {
                return Ok(());
            }
        }
    }

    async fn start_tls(&mut self) -> Result<(), End> {
        self.write().await?;
        if !self.input.is_empty() {
            return Err(End::OctetsBeforeTls);
        }
        let facts = self.stream.start_tls().await.map_err(End::Handshake)?;
        self.session.tls_started(facts, clock::now());
        Ok(())
    }

    /// Writes out all that is owed.
    async fn write(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let mut rest = self.output.owed();
        while !rest.is_empty() {
            let written = in_time(self.stream.write(rest)).await?;
            rest = rest.get(written..).unwrap_or_default();
        }
        self.output.written();
        in_time(self.stream.flush()).await
    }

    /// A connection waits much longer than it works; a thousand that wait must be cheap (D16).
    fn release_buffers(&mut self) {
        if self.input.is_empty() {
            self.input.clear();
        }
        self.output = Output::new();
    }
}

/// One write: it has [`WRITE_TIMEOUT`] to make progress.
async fn in_time<T>(write: impl Future<Output = io::Result<T>>) -> Result<T, End> {
    match timeout(WRITE_TIMEOUT, write).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(gone(error)),
        Err(_) => Err(End::PeerStalled),
    }
}

/// The ways in which a peer just goes away are no failure.
fn gone(error: io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        // TLS without close_notify; most clients end like that.
        | io::ErrorKind::UnexpectedEof => End::PeerClosed,
        _ => End::Io(error),
    }
}
