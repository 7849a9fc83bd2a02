//! The log, sent on to another machine as well: RFC 5424 lines, by UDP (RFC 5426) or TCP with octet counting (RFC 6587 §3.4.1).
//!
//! # Invariants
//! - Nobody who logs waits for the network. What waits is bounded, and what does not fit or cannot be sent is dropped, counted,
//!   and told to the receiver as soon as it hears again.
//! - Nothing is sent that is not in the log: no line has a secret (D41), and control characters are escaped (AW16).

use super::keeper::{Line, lock};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that wait; with some hundred octets each that is less than what the ring keeps.
pub(super) const WAITING_MAX: usize = 1_000;
/// For a connection, and for the receiver to take a line.
const PATIENCE: Duration = Duration::from_secs(5);
/// After the receiver could not be reached. Lines wait meanwhile.
const PAUSE: Duration = Duration::from_secs(10);
/// RFC 5424 §6.2.1: the mail system.
const FACILITY: u8 = 2;
/// RFC 5424 §7.3.1.
const SEQUENCE_MAX: u64 = 2_147_483_647;

/// Where the log is sent to: `192.0.2.9:514`, or `tcp:192.0.2.9:601`. An address and no name: the log tells what is wrong when
/// names cannot be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    is_tcp: bool,
    address: SocketAddr,
}

impl FromStr for Target {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (is_tcp, address) = match text.trim().strip_prefix("tcp:") {
            Some(address) => (true, address),
            None => (false, text.trim()),
        };
        let address: SocketAddr = address.parse().map_err(drop)?;
        let is_machine = match address.ip() {
            IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
            IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        };
        if !is_machine || address.port() == 0 {
            return Err(());
        }
        Ok(Self { is_tcp, address })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_tcp { "tcp:" } else { "" };
        write!(f, "{kind}{}", self.address)
    }
}

/// What waits to be sent. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Outbox(Arc<(Mutex<Waiting>, Condvar)>);

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Line>,
    lost: u64,
    is_closed: bool,
}

impl Outbox {
    /// Takes a line, or counts it.
    pub(super) fn put(&self, line: Line) {
        let (waiting, changed) = &*self.0;
        let mut waiting = lock(waiting);
        if waiting.lines.len() < WAITING_MAX {
            waiting.lines.push_back(line);
        } else {
            waiting.lost += 1;
        }
        changed.notify_all();
    }

    fn close(&self) {
        let (waiting, changed) = &*self.0;
        lock(waiting).is_closed = true;
        changed.notify_all();
    }

    /// The next line, with the number of those lost so far. `None` once it is closed and empty.
    fn next(&self) -> Option<(Line, u64)> {
        let (waiting, changed) = &*self.0;
        let mut waiting = lock(waiting);
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                return Some((line, std::mem::take(&mut waiting.lost)));
            }
            if waiting.is_closed {
                return None;
            }
            waiting = changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the end or for so long; whether it is the end.
    fn rest(&self, pause: Duration) -> bool {
        let (waiting, changed) = &*self.0;
        let until = Instant::now() + pause;
        let mut waiting = lock(waiting);
        while !waiting.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = changed.wait_timeout(waiting, left);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// The sending; dropping it ends that. What waits still is in the log on the disk.
pub(crate) struct Sending(Outbox);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Begins to send what comes into `outbox`, in a thread of its own.
pub(super) fn send(outbox: &Outbox, target: Target, host_name: &str) -> Sending {
    let (taken, host_name) = (outbox.clone(), host_name.to_owned());
    let thread = std::thread::Builder::new().name("syslog".to_owned());
    // Without a thread the outbox fills, and what does not fit is counted.
    let _ = thread.spawn(move || run(&taken, target, &host_name));
    Sending(outbox.clone())
}

fn run(outbox: &Outbox, target: Target, host_name: &str) {
    let mut wire = None;
    let mut lost = 0;
    while let Some((line, lost_before)) = outbox.next() {
        lost += lost_before;
        let mut text = String::new();
        if lost > 0 {
            let count = Line {
                text: format!("WARN {lost} lines before this one were not sent"),
                ..line.clone()
            };
            text = frame(target, &message(&count, host_name));
        }
        let whole = frame(target, &message(&line, host_name));
        let sent = Wire::open(&mut wire, target).and_then(|wire| {
            if !text.is_empty() {
                wire.send(text.as_bytes(), target)?;
                lost = 0;
            }
            wire.send(whole.as_bytes(), target)
        });
        if sent.is_err() {
            // A line that went half is cut off with the connection.
            wire = None;
            lost += 1;
            if outbox.rest(PAUSE) {
                return;
            }
        }
    }
}

/// A socket that lines go to.
enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Wire {
    fn open(wire: &mut Option<Wire>, target: Target) -> io::Result<&mut Wire> {
        if let Some(wire) = wire {
            return Ok(wire);
        }
        let opened = if target.is_tcp {
            let stream = TcpStream::connect_timeout(&target.address, PATIENCE)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Wire::Tcp(stream)
        } else {
            let own: IpAddr = match target.address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((own, 0))?;
            socket.set_nonblocking(true)?;
            Wire::Udp(socket)
        };
        Ok(wire.insert(opened))
    }

    fn send(&mut self, octets: &[u8], target: Target) -> io::Result<()> {
        match self {
            // Whether somebody hears it is not known (RFC 5426 §4.1).
            Wire::Udp(socket) => socket.send_to(octets, target.address).map(drop),
            Wire::Tcp(stream) => stream.write_all(octets),
        }
    }
}

fn frame(target: Target, message: &str) -> String {
    if target.is_tcp {
        // RFC 6587 §3.4.1: MSG-LEN SP SYSLOG-MSG
        format!("{} {message}", message.len())
    } else {
        message.to_owned()
    }
}

/// A line as RFC 5424 §6 has it.
///
/// ```text
/// <22>1 2026-11-24T08:15:00.123456Z postolka maild - - [meta sequenceId="42"] BOM recipient refused client=192.0.2.7
/// ```
fn message(line: &Line, host_name: &str) -> String {
    let (level, text) = line.text.split_once(' ').unwrap_or(("INFO", &line.text));
    // RFC 5424 §6.2.1, table 2.
    let severity = match level {
        "ERROR" => 3,
        "WARN" => 4,
        "INFO" => 6,
        _ => 7,
    };
    let priority = FACILITY * 8 + severity;
    // §6.2.4: PRINTUSASCII, or NILVALUE.
    let is_name = !host_name.is_empty() && host_name.bytes().all(|octet| octet.is_ascii_graphic());
    let host_name = if is_name { host_name } else { "-" };
    let sequence = line.number % SEQUENCE_MAX + 1;
    let Line { time, .. } = line;
    // §6.4: a message in UTF-8 begins with the BOM.
    format!(
        "<{priority}>1 {time} {host_name} maild - - [meta sequenceId=\"{sequence}\"] \u{feff}{}",
        text.trim_start()
    )
}

#[cfg(test)]
mod tests;
