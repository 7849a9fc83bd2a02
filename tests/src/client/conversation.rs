//! A connection that remembers what was said on it, so that a failure can be read.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// How long anything may take. Generous: the emulated box shares two cores with whatever builds beside it.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// How many lines of the past a failure shows.
const REMEMBERED_LINES: usize = 12;

/// One connects after the other. QEMU's user network listens with a queue of one: of connections that come at the same
/// moment Linux answers some with a SYN cookie, and one whose last ACK is then dropped believes for ever that it is
/// connected and waits for a greeting nobody will send. Once connected, all talk at the same time.
static CONNECTING: Mutex<()> = Mutex::new(());

/// One connection to the box, plain or inside TLS.
pub struct Conversation {
    stream: Option<Stream>,
    received: Vec<u8>,
    used: usize,
    past: VecDeque<String>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Conversation {
    /// Connects in plain text.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(addr: SocketAddr) -> io::Result<Conversation> {
        let turn = CONNECTING.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        drop(turn);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Conversation {
            stream: Some(Stream::Plain(stream)),
            received: Vec::new(),
            used: 0,
            past: VecDeque::new(),
        })
    }

    /// Connects inside TLS from the first octet.
    ///
    /// # Errors
    /// Nobody listens there, or the handshake fails.
    pub fn connect_tls(addr: SocketAddr, config: Arc<ClientConfig>, name: &str) -> io::Result<Conversation> {
        let mut conversation = Conversation::connect(addr)?;
        conversation.start_tls(config, name)?;
        Ok(conversation)
    }

    /// The TLS handshake, on a connection that was plain until now.
    ///
    /// # Errors
    /// The handshake fails, or the peer had already sent octets for the time after it.
    pub fn start_tls(&mut self, config: Arc<ClientConfig>, name: &str) -> io::Result<()> {
        if self.received.len() > self.used {
            return Err(self.failure(io::ErrorKind::InvalidData, "octets before the TLS handshake"));
        }
        let Some(Stream::Plain(mut tcp)) = self.stream.take() else {
            return Err(io::Error::other("TLS inside TLS"));
        };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            if let Err(error) = tls.complete_io(&mut tcp) {
                return Err(self.failure(error.kind(), &format!("TLS handshake: {error}")));
            }
        }
        self.remember("T:", b"handshake");
        self.stream = Some(Stream::Tls(Box::new(StreamOwned::new(tls, tcp))));
        Ok(())
    }

    /// The socket itself, for a client that does its own TLS.
    ///
    /// # Errors
    /// Octets have been read ahead, or the connection is inside TLS.
    pub fn into_tcp(self) -> io::Result<TcpStream> {
        match self.stream {
            Some(Stream::Plain(tcp)) if self.used == self.received.len() => Ok(tcp),
            _ => Err(io::Error::other("the socket alone is not the whole conversation")),
        }
    }

    /// What TLS has settled on, if the connection is inside TLS.
    pub fn tls(&self) -> Option<&ClientConnection> {
        match &self.stream {
            Some(Stream::Tls(tls)) => Some(&tls.conn),
            _ => None,
        }
    }

    /// Sends octets and sees them out.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.remember("C:", octets);
        let result = match &mut self.stream {
            Some(Stream::Plain(tcp)) => tcp.write_all(octets),
            Some(Stream::Tls(tls)) => tls.write_all(octets).and_then(|()| tls.flush()),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        result.map_err(|error| self.failure(error.kind(), &format!("sending: {error}")))
    }

    /// Sends a line; CRLF is added.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send_line(&mut self, line: &str) -> io::Result<()> {
        self.send(format!("{line}\r\n").as_bytes())
    }

    /// The next line, without its CRLF.
    ///
    /// # Errors
    /// The connection ends, or nothing comes for [`PATIENCE`].
    pub fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = find_crlf(&self.received[self.used..]) {
                let line = self.received[self.used..self.used + length].to_vec();
                self.used += length + 2;
                self.remember("S:", &line);
                return Ok(line);
            }
            if self.read_some()? == 0 {
                return Err(self.failure(io::ErrorKind::UnexpectedEof, "the box closed the connection"));
            }
        }
    }

    /// The next `count` octets.
    ///
    /// # Errors
    /// The connection ends, or nothing comes for [`PATIENCE`].
    pub fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.received.len() - self.used < count {
            if self.read_some()? == 0 {
                return Err(self.failure(io::ErrorKind::UnexpectedEof, "the box closed inside a literal"));
            }
        }
        let octets = self.received[self.used..self.used + count].to_vec();
        self.used += count;
        Ok(octets)
    }

    /// Everything until the connection ends. A reset is an end too: what counts is what was said before.
    ///
    /// # Errors
    /// The connection is still open after [`PATIENCE`].
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.read_some() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(error);
                }
                Err(_) => break,
            }
        }
        let rest = self.received.split_off(self.used);
        self.remember("S:", &rest);
        Ok(rest)
    }

    /// What comes within `wait`; the connection may stay open. For things that must not be said.
    ///
    /// # Errors
    /// The socket cannot be asked.
    pub fn within(&mut self, wait: Duration) -> io::Result<Vec<u8>> {
        let end = Instant::now() + wait;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.set_read_timeout(left)?;
            if matches!(self.read_some(), Ok(0) | Err(_)) {
                break;
            }
        }
        self.set_read_timeout(PATIENCE)?;
        let came = self.received.split_off(self.used);
        self.remember("S:", &came);
        Ok(came)
    }

    /// Whether the box ends the connection within `wait` without having said anything.
    ///
    /// # Errors
    /// The socket cannot be asked.
    pub fn closes_within(&mut self, wait: Duration) -> io::Result<bool> {
        self.set_read_timeout(wait)?;
        let closes = match self.read_some() {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        };
        self.set_read_timeout(PATIENCE)?;
        Ok(closes)
    }

    /// Ends our direction; the box may still talk.
    pub fn finish(&mut self) {
        // The peer may be gone already, which is an end as well.
        let _ = match &mut self.stream {
            Some(Stream::Plain(tcp)) => tcp.shutdown(std::net::Shutdown::Write),
            Some(Stream::Tls(tls)) => {
                tls.conn.send_close_notify();
                tls.flush()
            }
            None => Ok(()),
        };
    }

    /// An error that tells what was said before it.
    pub fn failure(&self, kind: io::ErrorKind, what: &str) -> io::Error {
        let past: Vec<&str> = self.past.iter().map(String::as_str).collect();
        io::Error::new(kind, format!("{what}; before that:\n  {}", past.join("\n  ")))
    }

    fn read_some(&mut self) -> io::Result<usize> {
        if self.used > 0 && self.used == self.received.len() {
            self.received.clear();
            self.used = 0;
        }
        let mut buffer = [0; 16 * 1024];
        let result = match &mut self.stream {
            Some(Stream::Plain(tcp)) => tcp.read(&mut buffer),
            Some(Stream::Tls(tls)) => tls.read(&mut buffer),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match result {
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(count)
            }
            Err(error) => Err(self.failure(error.kind(), &format!("reading: {error}"))),
        }
    }

    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match &self.stream {
            Some(Stream::Plain(tcp)) => tcp.set_read_timeout(Some(timeout)),
            Some(Stream::Tls(tls)) => tls.sock.set_read_timeout(Some(timeout)),
            None => Ok(()),
        }
    }

    fn remember(&mut self, mark: &str, octets: &[u8]) {
        let shown = &octets[..octets.len().min(160)];
        let cut = if shown.len() < octets.len() { " …" } else { "" };
        self.past
            .push_back(format!("{mark} {}{cut}", shown.escape_ascii()));
        if self.past.len() > REMEMBERED_LINES {
            self.past.pop_front();
        }
    }
}

fn find_crlf(octets: &[u8]) -> Option<usize> {
    octets.windows(2).position(|pair| pair == b"\r\n")
}
