//! A computer of the office on the same cable: it opens TCP connections to the box for whoever connects on loopback here.
//!
//! So every client of these tests works on a cable as it is, and what it says goes through an address that the box got
//! from our own DHCP server or router. The TCP is smoltcp's.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};

use super::wire::Mac;

/// The computer's card.
pub const PC_MAC: Mac = [0x52, 0x54, 0, 0, 0, 0x99];
/// Its address in the network of IPv4.
pub const PC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
/// Its address in the network that the router advertises.
pub const PC_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 0x99);
const PC_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);

const BUFFER_OCTETS: usize = 64 * 1024;
/// A box that is not there answers nothing at all.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// RFC 6335 §6: the dynamic ports.
const FIRST_PORT: u16 = 49152;
const FRAME_OCTETS_MAX: usize = 1514;

/// The computer.
pub(super) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    queue: Queue,
    doors: Vec<Door>,
    bridges: Vec<Bridge>,
    next_port: u16,
    began: std::time::Instant,
}

/// Frames that came, and those to be sent.
#[derive(Default)]
struct Queue {
    came: VecDeque<Vec<u8>>,
    going: Vec<Vec<u8>>,
}

/// A port on loopback behind which a port of the box is.
struct Door {
    listener: TcpListener,
    to: (IpAddr, u16),
}

/// One connection, on loopback and on the cable.
struct Bridge {
    client: TcpStream,
    socket: SocketHandle,
    /// From the box, not yet taken by the client.
    pending: Vec<u8>,
    has_client_ended: bool,
    was_connected: bool,
    is_told: bool,
}

impl Stack {
    pub(super) fn new() -> Stack {
        let mut queue = Queue::default();
        let config = Config::new(EthernetAddress(PC_MAC).into());
        let mut interface = Interface::new(config, &mut queue, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            for (ip, prefix) in [
                (IpAddr::from(PC), 24),
                (PC_6.into(), 64),
                (PC_LINK_LOCAL.into(), 64),
            ] {
                addresses
                    .push(IpCidr::new(ip.into(), prefix))
                    .expect("there is room for four addresses");
            }
        });
        Stack {
            interface,
            sockets: SocketSet::new(Vec::new()),
            queue,
            doors: Vec::new(),
            bridges: Vec::new(),
            next_port: FIRST_PORT,
            began: std::time::Instant::now(),
        }
    }

    /// Opens a door to a port of the box, and gives its port on loopback.
    pub(super) fn open_door(&mut self, to: (IpAddr, u16)) -> io::Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        self.doors.push(Door { listener, to });
        Ok(port)
    }

    /// Takes a frame that came over the cable.
    pub(super) fn take(&mut self, frame: &[u8]) {
        let is_ours = frame.get(..6).is_some_and(|to| to == PC_MAC || to[0] & 1 == 1);
        if is_ours {
            self.queue.came.push_back(frame.to_vec());
        }
    }

    /// Does what can be done now, and gives the frames to send.
    pub(super) fn pump(&mut self) -> Vec<Vec<u8>> {
        self.let_in();
        let now = Instant::from_micros(i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX));
        // What the clients said goes out in this round, and what came in it goes to the clients.
        let (bridges, sockets) = (&mut self.bridges, &mut self.sockets);
        for bridge in bridges.iter_mut() {
            bridge.carry_to_box(sockets.get_mut(bridge.socket));
        }
        self.interface.poll(now, &mut self.queue, sockets);
        bridges.retain_mut(|bridge| {
            let stays = bridge.carry_to_client(sockets.get_mut(bridge.socket));
            if !stays {
                sockets.remove(bridge.socket);
            }
            stays
        });
        // Room that was made in a window is told at once.
        self.interface.poll(now, &mut self.queue, sockets);
        std::mem::take(&mut self.queue.going)
    }

    /// Whether there are connections that want more than the usual attention.
    pub(super) fn is_busy(&self) -> bool {
        !self.bridges.is_empty()
    }

    /// New clients.
    fn let_in(&mut self) {
        for door in &self.doors {
            while let Ok((client, _)) = door.listener.accept() {
                if client.set_nonblocking(true).is_err() {
                    continue;
                }
                let buffer = || SocketBuffer::new(vec![0; BUFFER_OCTETS]);
                let mut socket = Socket::new(buffer(), buffer());
                socket.set_timeout(Some(SILENCE_MAX.into()));
                socket.set_nagle_enabled(false);
                let port = self.next_port;
                self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
                if socket.connect(self.interface.context(), door.to, port).is_err() {
                    // The client sees its connection end.
                    continue;
                }
                self.bridges.push(Bridge {
                    client,
                    socket: self.sockets.add(socket),
                    pending: Vec::new(),
                    has_client_ended: false,
                    was_connected: false,
                    is_told: false,
                });
            }
        }
    }
}

impl Bridge {
    fn carry_to_box(&mut self, socket: &mut Socket<'_>) {
        while !self.has_client_ended && socket.can_send() {
            let read = socket.send(|room| match self.client.read(room) {
                Ok(count) => (count, Ok(count)),
                Err(error) => (0, Err(error)),
            });
            match read {
                Ok(Ok(0)) => self.has_client_ended = true,
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(Err(_)) | Err(_) => {
                    socket.abort();
                    self.has_client_ended = true;
                }
            }
            if self.has_client_ended {
                socket.close();
            }
        }
    }

    /// Whether there is still something to come.
    fn carry_to_client(&mut self, socket: &mut Socket<'_>) -> bool {
        if socket.may_send() && !self.was_connected {
            self.was_connected = true;
            // A session may be silent for long; only a connection that nobody answers ends by itself.
            socket.set_timeout(None);
        }
        loop {
            if self.pending.is_empty() && socket.can_recv() {
                let _ = socket.recv(|octets| {
                    self.pending.extend_from_slice(octets);
                    (octets.len(), ())
                });
            }
            if self.pending.is_empty() {
                break;
            }
            match self.client.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => {
                    socket.abort();
                    return false;
                }
            }
        }
        let has_box_ended = self.was_connected && !socket.may_recv() && !socket.can_recv();
        if has_box_ended && !self.is_told {
            self.is_told = true;
            // The client may be gone, which is an end as well.
            let _ = self.client.shutdown(Shutdown::Write);
        }
        socket.state() != State::Closed
    }
}

impl Device for Queue {
    type RxToken<'a> = Came;
    type TxToken<'a> = Going<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Came, Going<'_>)> {
        let frame = self.came.pop_front()?;
        Some((Came(frame), Going(&mut self.going)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Going<'_>> {
        Some(Going(&mut self.going))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_OCTETS_MAX;
        capabilities
    }
}

/// A frame that came.
struct Came(Vec<u8>);

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

/// Room for one that goes.
struct Going<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Going<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, octets: usize, fill: F) -> R {
        let mut frame = vec![0; octets];
        let result = fill(&mut frame);
        self.0.push(frame);
        result
    }
}
