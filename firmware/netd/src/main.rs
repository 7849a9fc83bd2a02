#![doc = include_str!("../README.md")]

mod dhcp;
mod packet;

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dhcp::{Action, Machine};
use handoff::{Channel, FromNetd, ReceiveError, Received, ToNetd};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The largest frame that is looked at. A DHCP server sends at most 576 octets unasked (RFC 2131 §2).
const FRAME_OCTETS_MAX: usize = 1514;

/// How often the sockets are looked at when nothing is due: `poll` takes at most an int of milliseconds.
const IDLE: Duration = Duration::from_hours(1);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // init shows this on the console, with our name in front.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The sockets of one interface.
struct Link {
    mac: [u8; 6],
    packets: File,
    renewals: UdpSocket,
}

fn run() -> Result<(), Box<dyn Error>> {
    let control = Channel::inherited()?;
    let Received { message, descriptors } = control.receive::<ToNetd>()?;
    let mac = match message {
        ToNetd::Link { mac, .. } => mac,
        ToNetd::Stop => return Ok(()),
    };
    let [packets, renewals] = <[OwnedFd; 2]>::try_from(descriptors.into_iter().collect::<Vec<_>>())
        .map_err(|_| "a link without its two sockets")?;
    let mut link = Link {
        mac,
        packets: packets.into(),
        renewals: renewals.into(),
    };
    let began = Instant::now();
    let now_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut machine = Machine::new(mac, random, now_ms());
    loop {
        let actions = machine.tick(now_ms());
        link.perform(&control, actions)?;

        let wait = machine.deadline_ms().map_or(IDLE, |deadline| {
            Duration::from_millis(deadline.saturating_sub(now_ms())).min(IDLE)
        });
        let mut ready = [
            PollFd::new(control.as_fd(), PollFlags::POLLIN),
            PollFd::new(link.packets.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::try_from(wait)?) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [is_told, is_received] = ready.map(|entry| entry.any().unwrap_or(false));
        if is_told {
            match control.receive::<ToNetd>() {
                // init has stopped us, or has ended.
                Ok(Received {
                    message: ToNetd::Stop,
                    ..
                })
                | Err(ReceiveError::Closed) => return Ok(()),
                Ok(Received {
                    message: ToNetd::Link { .. },
                    ..
                }) => return Err("a second link".into()),
                Err(error) => return Err(error.into()),
            }
        }
        if is_received {
            let mut frame = [0; FRAME_OCTETS_MAX];
            let length = link.receive(&mut frame)?;
            if let Some(payload) = packet::datagram(&frame[..length]) {
                let actions = machine.receive(payload, now_ms());
                link.perform(&control, actions)?;
            }
        }
    }
}

impl Link {
    /// One frame; nothing when the interface is down for the moment.
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        match self.packets.read(frame) {
            Err(error) if is_passing(&error) => Ok(0),
            result => result,
        }
    }

    fn perform(&mut self, control: &Channel, actions: Vec<Action>) -> io::Result<()> {
        for action in actions {
            let result = match action {
                Action::Broadcast(payload) => self
                    .packets
                    .write(&packet::broadcast(self.mac, &payload))
                    .map(drop),
                Action::Unicast(server, payload) => self
                    .renewals
                    .send_to(&payload, SocketAddrV4::new(server, packet::SERVER_PORT))
                    .map(drop),
                Action::Lease(lease) => control.send(&FromNetd::Lease(lease), &[]),
                Action::LeaseLost => control.send(&FromNetd::LeaseLost, &[]),
            };
            match result {
                // What could not be sent now is sent again by the machine: that is what its timers are for.
                Err(error) if !is_passing(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether the network is away for the moment: no link, no route, no room, or an ICMP error to an earlier datagram.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTUNREACH
                | Errno::EADDRNOTAVAIL
                | Errno::ECONNREFUSED
                | Errno::ENOBUFS
                | Errno::EAGAIN
                | Errno::EINTR
        )
    )
}

/// Transaction ids and jitter.
fn random() -> u32 {
    getrandom::u32().expect("getrandom(2) waits until it is ready and then never fails")
}
