//! Our end of the control socket, for tokio.

use crate::trouble::Trouble;
use handoff::{Channel, Message, ReceiveError, Received, ToMaild};
use std::io;
use std::os::fd::AsFd;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// Our end of the control socket.
pub(super) struct Control {
    channel: Channel,
    /// The same socket once more, only to learn from tokio when it is ready. To the kernel's epoll a
    /// SOCK_SEQPACKET is a socket like any other, and so this needs no `unsafe`, which `AsyncFd` would.
    ready: UnixDatagram,
}

impl Control {
    pub(super) fn inherited() -> io::Result<Control> {
        let channel = Channel::inherited()?;
        channel.set_nonblocking()?;
        let same = channel.as_fd().try_clone_to_owned()?;
        let ready = UnixDatagram::from_std(same.into())?;
        Ok(Control { channel, ready })
    }

    /// Cancel-safe: a message is taken whole or not at all.
    pub(super) async fn receive(&self) -> Result<Received<ToMaild>, Trouble> {
        let receive = || match self.channel.receive() {
            // What waits for the socket has to be an io::Error.
            Err(ReceiveError::Io(error)) => Err(error),
            other => Ok(other),
        };
        match self.ready.async_io(Interest::READABLE, receive).await {
            Ok(Ok(received)) => Ok(received),
            Ok(Err(error)) => Err(Trouble::Handoff(error.to_string())),
            Err(error) => Err(Trouble::Handoff(error.to_string())),
        }
    }

    pub(super) async fn send<M: Message>(&self, message: &M) -> io::Result<()> {
        let send = || self.channel.send(message, &[]);
        self.ready.async_io(Interest::WRITABLE, send).await
    }
}
