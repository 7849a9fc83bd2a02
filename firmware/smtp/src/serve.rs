//! The house of a session: it answers what the session asks, with the help of `delivery`.
//!
//! The only file of this crate that waits for anything.

use crate::session::{Answer, Need, Session};
use delivery::{AcceptError, Accepted, Content, ContentError, Delivery, Envelope, Route, RouteError};
use mail::{Domain, ForwardPath, TraceId};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use wire::Peer;

/// SMTP on port 25: makes a session, and the house it talks to, for each connection.
#[derive(Clone)]
pub struct Smtp {
    delivery: Delivery,
}

impl Smtp {
    /// SMTP in front of `delivery`.
    pub const fn new(delivery: Delivery) -> Smtp {
        Smtp { delivery }
    }

    /// The conversation with a peer.
    pub fn session(&self, peer: Peer) -> Session {
        Session::new(Domain::clone(&self.delivery.host_name()), peer)
    }

    /// The house for that conversation.
    pub fn host(&self, peer: &Peer) -> Host {
        Host {
            delivery: self.delivery.clone(),
            client: peer.address,
            content: None,
        }
    }
}

/// Answers one session.
pub struct Host {
    delivery: Delivery,
    client: IpAddr,
    /// The message that is coming in. Dropped with the connection, it leaves nothing behind.
    content: Option<Content>,
}

impl net::Host<Session> for Host {
    async fn answer(&mut self, need: Need) -> Answer {
        match need {
            Need::Admit { octets } => Answer::Admitted(self.delivery.admit(octets)),
            Need::Route { forward_path, octets } => Answer::Routed(self.route(forward_path, octets)),
            Need::Open => Answer::Opened(self.open()),
            Need::Keep(octets) => Answer::Kept(self.keep(octets).await),
            Need::Discard => {
                self.content = None;
                Answer::Done
            }
            Need::Accept(envelope) => Answer::Accepted(self.accept(*envelope).await),
            Need::Pause(time) => {
                if !time.is_zero() {
                    tokio::time::sleep(time).await;
                }
                Answer::Done
            }
        }
    }

    /// SMTP sends nothing long.
    #[allow(clippy::unused_async_trait_impl)] // The trait is for protocols that do.
    async fn copy(&mut self, source: &mut Infallible, _into: &mut Vec<u8>) -> io::Result<bool> {
        match *source {}
    }
}

impl Host {
    fn route(&self, forward_path: ForwardPath, octets: Option<u64>) -> Result<Route, RouteError> {
        let recipient = forward_path.to_string();
        let routed = self.delivery.route(forward_path, octets);
        match &routed {
            Ok(_) => {}
            Err(RouteError::Store(error)) => tracing::error!(%recipient, %error, "recipient not looked up"),
            Err(error) => tracing::info!(client = %self.client, %recipient, %error, "recipient refused"),
        }
        routed
    }

    fn open(&mut self) -> Result<(), ContentError> {
        self.content = Some(self.delivery.open()?);
        Ok(())
    }

    async fn keep(&mut self, octets: Vec<u8>) -> Result<(), ContentError> {
        let Some(content) = self.content.take() else {
            return Ok(());
        };
        match content.add(octets).await {
            Ok(content) => {
                self.content = Some(content);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(client = %self.client, %error, "message not kept");
                Err(error)
            }
        }
    }

    async fn accept(&mut self, envelope: Envelope) -> Result<TraceId, AcceptError> {
        let accepted = match self.content.take() {
            Some(content) => self.delivery.accept(envelope, content).await,
            None => Err(AcceptError::NoContent),
        };
        match accepted {
            Ok(Accepted { trace }) => Ok(trace),
            Err(error) => {
                tracing::warn!(client = %self.client, %error, "message not accepted");
                Err(error)
            }
        }
    }
}
