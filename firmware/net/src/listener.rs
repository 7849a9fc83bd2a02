//! Accepts connections, within limits.
//!
//! The sockets are given: in the box `init` opens them and hands them over. One listener serves one
//! port; all share one [`Gate`], which counts connections on all ports and per source (D17).

use crate::pump::End;
use crate::tls::Tls;
use crate::{Shutdown, Stream};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use wire::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX};
use wire::{Peer, Source};

/// Peers that are told why they are turned away, at once. What comes on top is just closed: saying no
/// must not cost more than saying yes.
const REFUSALS_AT_ONCE: usize = 16;
/// How long saying no may take, handshake included.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// D18: the pause when the system has no descriptor left, first and longest.
const EXHAUSTED_PAUSE_MIN: Duration = Duration::from_millis(50);
const EXHAUSTED_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// On all ports together.
    pub connections_max: usize,
    /// From one source.
    pub connections_per_address_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
        }
    }
}

/// What one port serves.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its name in the log.
    pub name: &'static str,
    /// Whether TLS starts with the first octet (P3).
    pub is_tls_first: bool,
    /// What a peer is told that is turned away, with its CRLF: `421 …`, `* BYE …`.
    pub refusal: &'static str,
}

/// Counts the connections of all listeners. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    limits: Limits,
    open: Mutex<Open>,
    refusals: Arc<Semaphore>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_source: HashMap<Source, usize>,
    /// Where the box calls itself from.
    own: HashSet<SocketAddr>,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections let in.
    pub accepted: AtomicU64,
    /// Connections turned away.
    pub refused: AtomicU64,
    /// Handshakes that failed (T4).
    pub handshakes_failed: AtomicU64,
    /// Sessions that ended by a panic. Each is a fault of ours.
    pub panicked: AtomicU64,
}

/// One connection's place. Dropping it makes room.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    /// `None`: the box itself, which takes no place.
    source: Option<Source>,
}

/// A call of the box to itself that is let in whatever the limits say. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct OwnCall {
    gate: Gate,
    from: SocketAddr,
}

impl Drop for OwnCall {
    fn drop(&mut self) {
        self.gate.open().own.remove(&self.from);
    }
}

impl Gate {
    /// A gate with nobody inside.
    pub fn new(limits: Limits) -> Gate {
        Gate(Arc::new(Counted {
            limits,
            open: Mutex::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE)),
            counters: Counters::default(),
        }))
    }

    /// A place for a connection from `source`; `None` when there is none.
    pub fn enter(&self, source: Source) -> Option<Permit> {
        let limits = self.0.limits;
        let mut open = self.open();
        let from_source = open.by_source.get(&source).copied().unwrap_or(0);
        let is_full =
            open.total >= limits.connections_max || from_source >= limits.connections_per_address_max;
        if is_full {
            return None;
        }
        open.total += 1;
        open.by_source.insert(source, from_source + 1);
        Some(Permit {
            gate: self.clone(),
            source: Some(source),
        })
    }

    /// Lets the box's own connection `from` this address in without counting it: neither is a self-test turned away
    /// because others fill the box, nor is anybody turned away because of it. Nobody else can come from an
    /// address and port that this computer holds.
    pub(crate) fn expect_own(&self, from: SocketAddr) -> OwnCall {
        self.open().own.insert(from);
        OwnCall {
            gate: self.clone(),
            from,
        }
    }

    fn is_own(&self, peer: SocketAddr) -> bool {
        self.open().own.contains(&peer)
    }

    /// What happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.open().total
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it is held.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(source) = self.source else {
            return;
        };
        let mut open = self.gate.open();
        open.total -= 1;
        // Sources without a connection take no memory.
        match open.by_source.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.by_source.remove(&source);
            }
        }
    }
}

/// Serves one port until `shutdown`: each connection is let in or turned away, has its TLS started if
/// the service begins so, and is given to `converse` in a task of its own.
///
/// Returns when the last connection has ended; whoever is in a hurry drops the future, which ends them.
///
/// # Errors
/// When the socket cannot be used at all. A connection that fails is no error.
pub async fn serve<F, C>(
    socket: std::net::TcpListener,
    service: Service,
    tls: Tls,
    gate: Gate,
    mut shutdown: Shutdown,
    converse: F,
) -> io::Result<()>
where
    F: Fn(Stream, Peer) -> C + Clone + Send + 'static,
    C: Future<Output = End> + Send + 'static,
{
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket)?;
    let mut connections = JoinSet::new();
    let mut pause = EXHAUSTED_PAUSE_MIN;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    pause = EXHAUSTED_PAUSE_MIN;
                    admit(socket, peer, service, &tls, &gate, &mut connections, converse.clone());
                }
                Err(error) if is_exhausted(&error) => {
                    tracing::warn!(service = service.name, %error, "no connection can be accepted for a moment");
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = shutdown.requested() => break,
                    }
                    pause = (pause * 2).min(EXHAUSTED_PAUSE_MAX);
                }
                // accept(2): what was wrong with a connection that is already gone is reported here.
                Err(error) => tracing::debug!(service = service.name, %error, "a connection was gone at once"),
            },
            Some(ended) = connections.join_next() => note(&gate, service, ended),
            () = shutdown.requested() => break,
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        note(&gate, service, ended);
    }
    Ok(())
}

fn admit<F, C>(
    socket: TcpStream,
    peer: SocketAddr,
    service: Service,
    tls: &Tls,
    gate: &Gate,
    connections: &mut JoinSet<()>,
    converse: F,
) where
    F: Fn(Stream, Peer) -> C + Send + 'static,
    C: Future<Output = End> + Send + 'static,
{
    // A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
    let address = peer.ip().to_canonical();
    let source = Source::of(address);
    let tls = tls.clone();
    let is_own = gate.is_own(SocketAddr::new(address, peer.port()));
    let permit = if is_own {
        let gate = gate.clone();
        Some(Permit { gate, source: None })
    } else {
        gate.enter(source)
    };
    let Some(permit) = permit else {
        gate.counters().refused.fetch_add(1, Ordering::Relaxed);
        tracing::info!(service = service.name, %address, "turned away: too many connections");
        if let Ok(place) = Arc::clone(&gate.0.refusals).try_acquire_owned() {
            connections.spawn(async move {
                let _ = timeout(REFUSAL_TIMEOUT, refuse(socket, service, tls)).await;
                drop(place);
            });
        }
        return;
    };
    if !is_own {
        gate.counters().accepted.fetch_add(1, Ordering::Relaxed);
    }
    connections.spawn(async move {
        tracing::debug!(service = service.name, %address, "connected");
        let end = if service.is_tls_first {
            match Stream::tls(socket, tls).await {
                Ok((stream, facts)) => {
                    converse(
                        stream,
                        Peer {
                            address,
                            tls: Some(facts),
                        },
                    )
                    .await
                }
                Err(error) => End::Handshake(error),
            }
        } else {
            converse(Stream::plain(socket, tls), Peer { address, tls: None }).await
        };
        log_end(&permit, service, address, &end);
    });
}

/// Says why, and closes. Under TLS, where the peer would not understand it otherwise, after a handshake.
async fn refuse(socket: TcpStream, service: Service, tls: Tls) -> io::Result<()> {
    let mut stream = if service.is_tls_first {
        Stream::tls(socket, tls.speaking_last()).await?.0
    } else {
        Stream::plain(socket, tls)
    };
    stream.write_all(service.refusal.as_bytes()).await?;
    stream.flush().await?;
    stream.close().await;
    Ok(())
}

fn log_end(permit: &Permit, service: Service, address: std::net::IpAddr, end: &End) {
    let counters = permit.gate.counters();
    let service = service.name;
    match end {
        End::Handshake(error) => {
            counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            tracing::info!(service, %address, %error, "the TLS handshake failed");
        }
        // A fault of ours or of the box.
        End::SessionStuck | End::Source(_) => tracing::error!(service, %address, %end, "disconnected"),
        _ => tracing::debug!(service, %address, %end, "disconnected"),
    }
}

fn note(gate: &Gate, service: Service, ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        gate.counters().panicked.fetch_add(1, Ordering::Relaxed);
        tracing::error!(service = service.name, "a session panicked and was ended");
    }
}

/// D18: out of descriptors or of memory for sockets. The waiting connection stays in the queue, so that
/// trying again at once would only spin.
fn is_exhausted(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(number: u8) -> Source {
        Source::of(std::net::Ipv4Addr::new(198, 51, 100, number).into())
    }

    /// D17
    #[test]
    fn d17_a_place_is_free_again_when_its_connection_ends() {
        let gate = Gate::new(Limits {
            connections_max: 3,
            connections_per_address_max: 2,
        });
        let first = gate.enter(source(1)).unwrap();
        let second = gate.enter(source(1)).unwrap();
        assert!(gate.enter(source(1)).is_none(), "a third from one source");
        let other = gate.enter(source(2)).unwrap();
        assert!(gate.enter(source(3)).is_none(), "a fourth in all");
        drop(first);
        assert!(gate.enter(source(3)).is_some());
        drop((second, other));
        assert_eq!(gate.connections(), 0);
        assert!(
            gate.open().by_source.is_empty(),
            "sources without connections take no memory"
        );
    }
}
