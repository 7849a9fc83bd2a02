//! The box calls itself: a client for its own listeners, over loopback.
//!
//! It trusts the box's own authority and nobody else, and takes no place from anybody ([`Gate`]). Waits have no limit
//! here: whoever calls sets one for the whole.

use crate::authority::Authority;
use crate::listener::{Gate, OwnCall, Service};
use crate::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// Every certificate of the box has this name.
const NAME: &str = "localhost";
/// The longest line of a reply (RFC 5321 §4.5.3.1.5 has 512 octets, IMAP greetings are shorter than this).
const LINE_OCTETS_MAX: u64 = 1024;

/// Makes calls.
#[derive(Clone)]
pub struct Caller {
    config: Arc<ClientConfig>,
    gate: Gate,
}

/// One call.
pub struct Call {
    stream: BufReader<Box<dyn Octets>>,
    /// The gate knows it as long as it lives.
    _own: OwnCall,
}

trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Octets for T {}

impl Caller {
    /// Calls listeners whose connections `gate` counts, and whose certificate is of `authority`.
    ///
    /// # Errors
    /// When the library refuses the authority's certificate.
    pub fn new(authority: &Authority, gate: Gate) -> Result<Caller, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(tls::provider(true)))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Caller {
            config: Arc::new(config),
            gate,
        })
    }

    /// Calls the listener of `service` whose own address is `listener`; where that is every address of the box, over
    /// loopback. Does the handshake where TLS comes first, and nothing is taken that a client would not take.
    ///
    /// # Errors
    /// Nobody listens, or the handshake fails.
    pub async fn call(&self, service: Service, listener: SocketAddr) -> io::Result<Call> {
        let address = SocketAddr::new(reachable(listener.ip()), listener.port());
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // Before it connects, so that the listener cannot see it before the gate knows it.
        socket.bind(SocketAddr::new(address.ip(), 0))?;
        let own = self.gate.expect_own(socket.local_addr()?);
        let socket = socket.connect(address).await?;
        socket.set_nodelay(true)?;
        let stream: Box<dyn Octets> = if service.is_tls_first {
            let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
            let connector = TlsConnector::from(Arc::clone(&self.config));
            Box::new(connector.connect(name, socket).await?)
        } else {
            Box::new(socket)
        };
        Ok(Call {
            stream: BufReader::new(stream),
            _own: own,
        })
    }
}

/// Where a socket that is bound to every address is reached from the box itself.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

impl Call {
    /// The next line, without its line end.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when there is none, or one that is too long.
    pub async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.stream)
            .take(LINE_OCTETS_MAX)
            .read_until(b'\n', &mut line)
            .await?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line);
        Ok(line.trim_end_matches('\r').to_owned())
    }

    /// Sends octets.
    ///
    /// # Errors
    /// When the other side does not take them.
    pub async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::reachable;

    #[test]
    fn a_listener_on_every_address_is_called_over_loopback() {
        for (listener, called) in [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "::1"),
            ("127.0.0.1", "127.0.0.1"),
            ("192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(reachable(listener.parse().unwrap()).to_string(), called);
        }
    }
}
