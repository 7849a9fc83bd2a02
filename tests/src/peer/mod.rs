//! The network at the other end of a box's cable, as friendly or hostile as a scenario wants it.
//!
//! ```text
//!                          ┌ router   .1  ARP, ND · DHCP · DNS · RA · ping           `script`
//!   box ══ cable ══ peer ──┼ time     .11-.14  NTP, each as honest as it is told
//!                          ├ stranger     claims addresses and names
//!                          └ PC      .99  TCP, for clients that connect on loopback  `open_door`
//! ```
//!
//! All in 192.0.2.0/24 and 2001:db8:77::/64 (RFC 5737, RFC 3849). One thread answers, by a script that the test may
//! change at any time; whatever the box says is written down, and the test waits for it.

mod dhcp;
pub mod hostile;
mod names;
mod router;
mod script;
mod stack;
mod time;
mod wire;

use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use qemu::{Cable, CableEnd};
use tempfile::TempDir;

pub use dhcp::{Dhcp, Kind as DhcpKind, Manner as DhcpManner, Request as DhcpRequest};
pub use names::{Asked, MDNS_GROUP, MDNS_GROUP_6, Manner as DnsManner, Mdns, mdns_answer, mdns_question};
pub use router::{ALL_NODES, Router};
pub use script::{
    DNS_6, FAR, FIRST, OTHER_ROUTER, OTHER_ROUTER_MAC, PREFIX_6, ROUTER, ROUTER_6, ROUTER_MAC, STRANGER_MAC,
    Script, Seen, TIME_SERVERS, mdns,
};
pub use stack::{PC, PC_6, PC_MAC};
pub use time::TimeServer;
pub use wire::{Arp, BROADCAST, Datagram, Mac, Station, icmp6_raw};

use stack::Stack;

/// The largest frame on the cable.
const FRAME_OCTETS_MAX: usize = 2048;
/// How long the thread waits for frames: it looks for new clients as often.
const TURN: Duration = Duration::from_millis(50);
const BUSY_TURN: Duration = Duration::from_millis(2);
/// How many things that the box said a failure shows.
const TAIL: usize = 30;

/// The handle that a scenario has.
pub struct Peer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    cable: Cable,
    /// Holds the sockets of the cable.
    _folder: TempDir,
}

struct Shared {
    end: CableEnd,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    script: Script,
    seen: Vec<(Instant, Seen)>,
    stack: Stack,
    is_over: bool,
    /// Why nobody answers any more.
    failure: Option<String>,
}

impl Peer {
    /// Everybody is kind, until [`Peer::script`] says otherwise. `last` tells the cards of boxes apart.
    ///
    /// # Errors
    /// There is no room for a socket.
    pub fn new(last: u8) -> io::Result<Peer> {
        let folder = tempfile::Builder::new().prefix("postolka-").tempdir()?;
        // A card of QEMU's on USB begins with 0x40, whatever it is told.
        let mac = [0x40, 0x54, 0, 0xca, 0xb1, last];
        let (cable, end) = Cable::lay(folder.path(), &format!("lan{last}"), mac).map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            end,
            state: Mutex::new(State {
                script: Script::new(),
                seen: Vec::new(),
                stack: Stack::new(),
                is_over: false,
                failure: None,
            }),
            changed: Condvar::new(),
        });
        let answering = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            if let Err(error) = answering.answer_until_over() {
                answering.lock().failure = Some(error.to_string());
                answering.changed.notify_all();
            }
        });
        Ok(Peer {
            shared,
            thread: Some(thread),
            cable,
            _folder: folder,
        })
    }

    /// The cable, for the machine's end of it.
    pub fn cable(&self) -> &Cable {
        &self.cable
    }

    /// Changes what everybody does, from the next frame on.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.lock().script);
    }

    /// How much was seen until now: a mark for [`Peer::next`].
    pub fn mark(&self) -> usize {
        self.shared.lock().seen.len()
    }

    /// Waits for the next thing, from `mark` on, in which `find` finds something; moves the mark behind it, and tells when
    /// it was. `what` is for the failure.
    ///
    /// # Errors
    /// It does not come within `within`; the error tells what came last.
    pub fn next<T>(
        &self,
        mark: &mut usize,
        what: &str,
        within: Duration,
        find: impl Fn(&Seen) -> Option<T>,
    ) -> io::Result<(Instant, T)> {
        let until = Instant::now() + within;
        let mut state = self.shared.lock();
        loop {
            let mut new = state.seen.iter().enumerate().skip(*mark);
            let found = new.find_map(|(at, (when, seen))| Some((at, *when, find(seen)?)));
            if let Some((at, when, found)) = found {
                *mark = at + 1;
                return Ok((when, found));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.failure.is_some() {
                let first = state.seen.len().saturating_sub(TAIL);
                let now = Instant::now();
                let tail: Vec<String> = state.seen[first..]
                    .iter()
                    .map(|(when, seen)| format!("  {:6.2} s ago: {seen:?}", (now - *when).as_secs_f32()))
                    .collect();
                return Err(io::Error::other(format!(
                    "{what} did not come within {} s ({}); the box said last:\n{}",
                    within.as_secs(),
                    state.failure.as_deref().unwrap_or("the peer is well"),
                    tail.join("\n")
                )));
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Everything from `mark` on in which `find` finds something.
    pub fn all<T>(&self, mark: usize, find: impl Fn(&Seen) -> Option<T>) -> Vec<T> {
        let state = self.shared.lock();
        let new = state.seen.iter().skip(mark);
        new.filter_map(|(_, seen)| find(seen)).collect()
    }

    /// Puts any frame onto the cable.
    ///
    /// # Errors
    /// The socket is of no use.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.shared.end.send(frame)
    }

    /// Has the router advertise itself, unasked, as the script has it.
    ///
    /// # Errors
    /// The socket is of no use, or the script has no router.
    pub fn advertise(&self) -> io::Result<()> {
        let router = self.shared.lock().script.router.clone();
        let router = router.ok_or_else(|| io::Error::other("there is no router of IPv6"))?;
        self.send(&router.advertisement(Station::new(ROUTER_MAC, ROUTER_6)))
    }

    /// A neighbour asks everybody for the addresses of a name.
    ///
    /// # Errors
    /// The socket is of no use.
    pub fn ask_mdns(&self, name: &str) -> io::Result<()> {
        self.send(&mdns(Station::new(PC_MAC, PC), mdns_question(name)).frame())
    }

    /// Sends an echo request to the box, from a host behind this card.
    ///
    /// # Errors
    /// The socket is of no use.
    pub fn ping(&self, from: Station, to: IpAddr, sequence: u16) -> io::Result<()> {
        let to = Station::new(self.cable.mac(), to);
        self.send(&wire::echo(from, to, false, 0x7057, sequence))
    }

    /// Whether the box answers at this address, within a second, its neighbour of the same family.
    ///
    /// # Errors
    /// The socket is of no use.
    pub fn is_answered(&self, at: IpAddr) -> io::Result<bool> {
        let pc = match at {
            IpAddr::V4(_) => Station::new(PC_MAC, PC),
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Station::new(ROUTER_MAC, ROUTER_6),
            IpAddr::V6(_) => Station::new(PC_MAC, PC_6),
        };
        let mut mark = self.mark();
        self.ping(pc, at, 1)?;
        let answer = self.next(
            &mut mark,
            "an answer",
            Duration::from_secs(1),
            |seen| match seen {
                Seen::EchoReply { from, .. } if *from == at => Some(()),
                _ => None,
            },
        );
        Ok(answer.is_ok())
    }

    /// Opens a port on 127.0.0.1 behind which a port of the box is, reached by the office's PC at this address.
    ///
    /// # Errors
    /// There is no free port.
    pub fn open_door(&self, ip: impl Into<IpAddr>, port: u16) -> io::Result<u16> {
        self.shared.lock().stack.open_door((ip.into(), port))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        if let Some(thread) = self.thread.take() {
            // A panic in it was told by its own message.
            let _ = thread.join();
        }
    }
}

impl Shared {
    // A panic elsewhere leaves a whole script and a whole record behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_until_over(&self) -> io::Result<()> {
        let mut frame = [0; FRAME_OCTETS_MAX];
        loop {
            let turn = if self.lock().stack.is_busy() {
                BUSY_TURN
            } else {
                TURN
            };
            let mut ready = [PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
            match poll(
                &mut ready,
                PollTimeout::try_from(turn).unwrap_or(PollTimeout::ZERO),
            ) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut state = self.lock();
            if state.is_over {
                return Ok(());
            }
            loop {
                match self.end.receive(&mut frame) {
                    Ok(length) => self.take(&mut state, &frame[..length])?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            for frame in state.stack.pump() {
                self.end.send(&frame)?;
            }
        }
    }

    /// Writes down what a frame says, and answers it.
    fn take(&self, state: &mut State, frame: &[u8]) -> io::Result<()> {
        state.stack.take(frame);
        let Some(packet) = wire::read(frame) else {
            return Ok(());
        };
        let now = Instant::now();
        let (seen, answers) = state.script.answer(packet);
        state.seen.extend(seen.into_iter().map(|seen| (now, seen)));
        self.changed.notify_all();
        answers.iter().try_for_each(|answer| self.end.send(answer))
    }
}

impl Debug for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Peer")
            .field("cable", &self.cable)
            .finish_non_exhaustive()
    }
}
