//! The sockets of one interface: those that init has handed over.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, recv, recvmsg, sendto, setsockopt, sockopt,
};

use crate::packet::SERVER_PORT;

/// The largest frame that is looked at. A DHCP server sends at most 576 octets unasked (RFC 2131 §2), and a router
/// advertisement fits a frame (RFC 4861 §6.2.1).
pub(crate) const FRAME_OCTETS_MAX: usize = 1514;

/// RFC 4291 §2.7.1.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// A raw socket takes its own protocol for the port that an address has (raw(7)).
const ICMPV6: u16 = 58;
/// RFC 4861 §4.1: a router takes no solicitation with less, as another may have forwarded it.
const ND_HOPS: i32 = 255;

/// What init hands over with a link, in its order.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Hears IPv4 to UDP port 68, and sends any frame.
    pub(super) dhcp: File,
    /// Sends from port 68, and hears nothing.
    renewals: UdpSocket,
    pub(super) arp: File,
    /// Hears router advertisements, and sends solicitations.
    pub(super) icmp6: OwnedFd,
    /// The kernel's number of the interface.
    index: u32,
}

/// A router advertisement as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advertised {
    pub(super) octets: usize,
    pub(super) source: Ipv6Addr,
    pub(super) hop_limit: u8,
}

impl Sockets {
    /// # Errors
    /// Another number of descriptors than a link has.
    pub(crate) fn new(index: u32, handed: impl IntoIterator<Item = OwnedFd>) -> io::Result<Self> {
        let handed: Vec<OwnedFd> = handed.into_iter().collect();
        let [dhcp, renewals, arp, icmp6] = <[OwnedFd; 4]>::try_from(handed)
            .map_err(|_| io::Error::other("a link came without its four sockets"))?;
        // RFC 4861 §6.1.2: an advertisement that a router has forwarded shows by its hop limit.
        setsockopt(&icmp6, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(&icmp6, sockopt::Ipv6MulticastHops, &ND_HOPS)?;
        Ok(Self {
            dhcp: dhcp.into(),
            renewals: renewals.into(),
            arp: arp.into(),
            icmp6,
            index,
        })
    }

    /// Sends a DHCP message to everybody, below the kernel's IP.
    pub(super) fn broadcast(&mut self, frame: &[u8]) -> io::Result<()> {
        self.dhcp.write(frame).map(drop)
    }

    /// Sends a DHCP message to one server.
    pub(super) fn renew(&self, server: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        let to = SocketAddrV4::new(server, SERVER_PORT);
        self.renewals.send_to(payload, to).map(drop)
    }

    pub(super) fn send_arp(&mut self, frame: &[u8]) -> io::Result<()> {
        self.arp.write(frame).map(drop)
    }

    /// Asks all routers of the link for an advertisement.
    pub(super) fn solicit(&self, message: &[u8]) -> io::Result<()> {
        let to = SocketAddrV6::new(ALL_ROUTERS, ICMPV6, 0, self.index);
        sendto(
            self.icmp6.as_raw_fd(),
            message,
            &SockaddrIn6::from(to),
            MsgFlags::empty(),
        )?;
        Ok(())
    }

    /// A router advertisement, without its IPv6 header; `None` when none is there.
    pub(super) fn advertised(&self, room: &mut [u8]) -> io::Result<Option<Advertised>> {
        let mut space = nix::cmsg_space!(i32);
        let mut parts = [io::IoSliceMut::new(room)];
        let received = match recvmsg::<SockaddrIn6>(
            self.icmp6.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_DONTWAIT,
        ) {
            Err(error) if is_passing(&error.into()) => return Ok(None),
            result => result?,
        };
        let mut hop_limit = 0;
        for message in received.cmsgs()? {
            if let ControlMessageOwned::Ipv6HopLimit(limit) = message {
                hop_limit = u8::try_from(limit).unwrap_or(0);
            }
        }
        Ok(Some(Advertised {
            octets: received.bytes,
            source: received
                .address
                .map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip()),
            hop_limit,
        }))
    }
}

/// One frame of a packet socket; `None` when none is there, or the interface is down for the moment.
pub(super) fn frame(socket: &File, room: &mut [u8]) -> io::Result<Option<usize>> {
    match recv(socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT) {
        Err(error) if is_passing(&error.into()) => Ok(None),
        result => Ok(Some(result?)),
    }
}

/// Whether the network is away for the moment: no link, no route, no room, or an ICMP error to an earlier datagram. Those
/// that end a question are whatever the kernel makes of them (`icmp_err_convert`, `tab_unreach` of `ICMPv6`): anybody on the
/// way may send them, as a firewall does that forbids NTP.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTUNREACH
                | Errno::EADDRNOTAVAIL
                | Errno::ECONNREFUSED
                | Errno::EACCES
                | Errno::EHOSTDOWN
                | Errno::EMSGSIZE
                | Errno::ENONET
                | Errno::ENOPROTOOPT
                | Errno::EOPNOTSUPP
                | Errno::EPROTO
                | Errno::ENOBUFS
                | Errno::EAGAIN
                | Errno::EINTR
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D23: a firewall that refuses NTP or DNS by ICMP is as one that drops it, and not the end of netd.
    #[test]
    fn no_icmp_error_is_the_end() {
        for errno in [
            Errno::ENETUNREACH,
            Errno::EHOSTUNREACH,
            Errno::ENOPROTOOPT,
            Errno::ECONNREFUSED,
            Errno::EMSGSIZE,
            Errno::EOPNOTSUPP,
            Errno::EHOSTDOWN,
            Errno::ENONET,
            Errno::EPROTO,
            Errno::EACCES,
        ] {
            assert!(is_passing(&errno.into()), "{errno}");
        }
        assert!(!is_passing(&Errno::EBADF.into()));
    }
}
