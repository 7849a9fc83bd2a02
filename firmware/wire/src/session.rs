//! A conversation as a value.

use crate::{Input, Moment, Output};
use std::net::IpAddr;

/// A conversation with one peer, without the socket.
///
/// Whoever drives it (the pump of `net`, a dialogue in a test) repeats:
/// call [`advance`](Session::advance), write out what is owed, do what the [`Step`] says.
pub trait Session {
    /// A question that only the house can answer: is this a recipient, is this the password,
    /// keep this message.
    type Need;
    /// The answer to a question.
    type Answer;
    /// Something long that is copied to the peer without passing through the session, such as the
    /// body of a message.
    type Source;

    /// Goes as far as the octets in `input` allow. Used octets are consumed; replies go to `output`.
    fn advance(
        &mut self,
        input: &mut Input,
        output: &mut Output,
        now: Moment,
    ) -> Step<Self::Need, Self::Source>;

    /// Takes the answer to the question of the last [`Step::Need`], or the notice that arrived
    /// during a [`Step::Listen`].
    fn answer(&mut self, answer: Self::Answer, output: &mut Output, now: Moment);

    /// The handshake that [`Step::StartTls`] asked for is done.
    fn tls_started(&mut self, tls: TlsFacts, now: Moment);

    /// When the peer must have said something.
    fn deadline(&self) -> Moment;

    /// The deadline passed: say so. The connection is closed afterwards.
    fn timed_out(&mut self, output: &mut Output);

    /// The box stops, or restarts this service: say so. The connection is closed afterwards.
    /// Called only between a [`Step::Read`] or [`Step::Listen`] and the next octet.
    fn shut_down(&mut self, output: &mut Output);
}

/// What is to happen next. Before any of these is done, what is owed is written out, except that a
/// [`Step::Read`] or [`Step::Need`] may wait until more is owed.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<N, C> {
    /// More octets are wanted.
    Read,
    /// More octets are wanted, and the peer wants to hear of what happens meanwhile (IDLE).
    Listen,
    /// The house has to answer a question; [`Session::answer`] brings the answer.
    Need(N),
    /// All of the source is to be sent, then the conversation goes on.
    Copy(C),
    /// Everything owed is to be sent, everything read so far is to be dropped, then TLS starts.
    /// If octets are waiting in the input, the connection ends (P5).
    StartTls,
    /// Everything owed is to be sent, then the connection is closed.
    Close,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address the connection came from; an IPv4 peer of a dual-stack socket is IPv4 here.
    pub address: IpAddr,
    /// The TLS of the connection, when it began with TLS.
    pub tls: Option<TlsFacts>,
}

/// What is known of the TLS of a connection, for trace fields and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher_suite: &'static str,
    /// The name the client asked for, lower case.
    pub server_name: Option<String>,
}
