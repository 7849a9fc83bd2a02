//! Plain TCP or TLS in one type.

use crate::tls::Tls;
use rustls::CipherSuite;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use wire::limits::{READ_OCTETS, TLS_HANDSHAKE_TIMEOUT};
use wire::{Input, TlsFacts};

/// How long a closed connection waits for the peer to close its side.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// The octets that are read and dropped meanwhile.
const LINGER_OCTETS_MAX: usize = 256 * 1024;

/// One connection, plain or TLS.
#[derive(Debug)]
pub struct Stream {
    state: State,
    tls: Tls,
}

#[derive(Debug)]
enum State {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed, or is under way in a future that was dropped.
    Ended,
}

impl Stream {
    /// A connection that begins in the clear. `tls` is for a later [`start_tls`](Stream::start_tls).
    pub fn plain(socket: TcpStream, tls: Tls) -> Stream {
        // Replies are written whole; Nagle would only hold the last piece back.
        let _ = socket.set_nodelay(true);
        Stream {
            state: State::Plain(socket),
            tls,
        }
    }

    /// A connection that begins with TLS: does the handshake.
    ///
    /// # Errors
    /// What [`start_tls`](Stream::start_tls) says. The peer has had its alert then.
    pub async fn tls(socket: TcpStream, tls: Tls) -> io::Result<(Stream, TlsFacts)> {
        let mut stream = Stream::plain(socket, tls);
        let facts = stream.start_tls().await?;
        Ok((stream, facts))
    }

    /// Does the handshake of TLS as the server, in place.
    ///
    /// # Errors
    /// When the handshake fails, in which case the peer was sent the alert, or takes longer than
    /// [`TLS_HANDSHAKE_TIMEOUT`]. The connection is closed then.
    pub async fn start_tls(&mut self) -> io::Result<TlsFacts> {
        let State::Plain(socket) = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(io::Error::other("TLS has been started already"));
        };
        let handshake = self.tls.acceptor().accept(socket).into_fallible();
        match timeout(TLS_HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => {
                let facts = facts(&stream);
                self.state = State::Tls(Box::new(stream));
                Ok(facts)
            }
            Ok(Err((error, socket))) => {
                // Without this, octets that the peer sent behind its bad hello would make the
                // kernel reset the connection, and the alert would be lost with it (T1).
                linger(socket).await;
                Err(error)
            }
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the TLS handshake took too long",
            )),
        }
    }

    /// The protocol that was agreed on in the handshake (RFC 7301), if one was.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.state {
            State::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            State::Plain(_) | State::Ended => None,
        }
    }

    /// Waits for octets and adds at most [`READ_OCTETS`] of them to `input`. Gives how many; 0 at the
    /// end of the stream. Cancel-safe, and holds no buffer while it waits.
    pub async fn read_into(&mut self, input: &mut Input) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            let mut octets = [const { std::mem::MaybeUninit::uninit() }; READ_OCTETS];
            let mut buffer = ReadBuf::uninit(&mut octets);
            ready!(Pin::new(&mut *self).poll_read(cx, &mut buffer))?;
            input.extend(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
        .await
    }

    /// Says goodbye: `close_notify` under TLS, then the end of our side; then waits a moment for the
    /// peer's, so that the last reply is not lost to a reset.
    pub async fn close(mut self) {
        if timeout(LINGER_TIMEOUT, self.shutdown()).await.is_err() {
            return;
        }
        match self.state {
            State::Plain(socket) => linger(socket).await,
            State::Tls(stream) => linger(stream.into_inner().0).await,
            State::Ended => {}
        }
    }
}

/// Ends our side and drops what still arrives, within bounds.
///
/// Closing a socket while unread octets wait makes the kernel send a reset, which can overtake the
/// last reply and destroy it (RFC 1122 §4.2.2.13).
async fn linger(mut socket: TcpStream) {
    let drain = async {
        let mut octets = [0; 1024];
        let mut count = 0;
        socket.shutdown().await?;
        while count < LINGER_OCTETS_MAX {
            match socket.read(&mut octets).await? {
                0 => break,
                read => count += read,
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(LINGER_TIMEOUT, drain).await;
}

fn facts(stream: &TlsStream<TcpStream>) -> TlsFacts {
    let connection = stream.get_ref().1;
    TlsFacts {
        version: match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher_suite: connection
            .negotiated_cipher_suite()
            .map_or("unknown", |suite| iana_name(suite.suite())),
        server_name: connection.server_name().map(str::to_ascii_lowercase),
    }
}

/// The name of a cipher suite that we offer, as the IANA registry has it.
fn iana_name(suite: CipherSuite) -> &'static str {
    match suite {
        // rustls calls these three TLS13_….
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        suite => suite.as_str().unwrap_or("unknown"),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            State::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            State::Ended => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Plain(socket) => Pin::new(socket).poll_write(cx, octets),
            State::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
            State::Ended => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Plain(socket) => Pin::new(socket).poll_flush(cx),
            State::Tls(stream) => Pin::new(stream).poll_flush(cx),
            State::Ended => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            State::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Ended => Poll::Ready(Ok(())),
        }
    }
}
