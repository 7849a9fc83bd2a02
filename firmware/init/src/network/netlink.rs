//! Five requests to the kernel's routing tables, each answered at once.
//!
//! Ours instead of a crate: the five are one layout each, and neli with its derives would be the larger half of PID 1.
//!
//! ```text
//! nlmsghdr: length u32, type u16, flags u16, sequence u32, port u32     all in the order of the machine
//! body:     ifinfomsg | ifaddrmsg | rtmsg
//! rtattr …: length u16, type u16, value, padded to 4
//! ```
//!
//! Source: netlink(7), rtnetlink(7), include/uapi/linux/{netlink,rtnetlink,if_addr,if_link}.h.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use handoff::Lease;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};

use super::lease;

/// `RTNLGRP` bits of the old-style mask: links, IPv6 addresses.
const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;

/// Routes over several cards coexist; the card that was there first is preferred.
const ROUTE_METRIC_BASE: u32 = 100;

/// A socket for requests.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            socket: route_socket(SockFlag::empty())?,
        })
    }

    pub(super) fn up(&self, index: u32) -> io::Result<()> {
        self.request(&link(index, true, None))
    }

    pub(super) fn mtu(&self, index: u32, mtu: u16) -> io::Result<()> {
        self.request(&link(index, false, Some(mtu)))
    }

    pub(super) fn address(&self, index: u32, lease: &Lease) -> io::Result<()> {
        self.request(&address(libc::RTM_NEWADDR, index, lease))
    }

    pub(super) fn remove_address(&self, index: u32, lease: &Lease) -> io::Result<()> {
        self.request(&address(libc::RTM_DELADDR, index, lease))
    }

    pub(super) fn default_route(&self, index: u32, lease: &Lease, gateway: Ipv4Addr) -> io::Result<()> {
        self.request(&route(index, lease, gateway))
    }

    /// Sends a request and reads its acknowledgement, which is there when the send returns: the kernel works on
    /// routing requests within the call.
    fn request(&self, message: &[u8]) -> io::Result<()> {
        sendto(
            self.socket.as_raw_fd(),
            message,
            &NetlinkAddr::new(0, 0),
            MsgFlags::empty(),
        )?;
        let mut answer = [0; 4096];
        let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
        acknowledgement(&answer[..length])
    }
}

/// A socket that becomes readable when links or IPv6 addresses change.
pub(super) fn events() -> io::Result<OwnedFd> {
    let socket = route_socket(SockFlag::SOCK_NONBLOCK)?;
    bind(
        socket.as_raw_fd(),
        &NetlinkAddr::new(0, RTMGRP_LINK | RTMGRP_IPV6_IFADDR),
    )?;
    Ok(socket)
}

/// Reads until nothing is left. An overrun (`ENOBUFS`) is news as well.
pub(super) fn drain(events: &OwnedFd) {
    let mut octets = [0; 4096];
    while !matches!(
        recv(events.as_raw_fd(), &mut octets, MsgFlags::MSG_DONTWAIT),
        Err(Errno::EAGAIN) | Ok(0)
    ) {}
}

fn route_socket(flags: SockFlag) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    Ok(socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags,
        SockProtocol::NetlinkRoute,
    )?)
}

/// RTM_NEWLINK with IFF_UP and perhaps an MTU.
fn link(index: u32, is_up: bool, mtu: Option<u16>) -> Vec<u8> {
    let up = u32::from(is_up) * libc::IFF_UP.unsigned_abs();
    let mut message = Message::new(libc::RTM_NEWLINK, 0);
    // ifinfomsg: family, pad, type, index, flags, the flags to change.
    message.body(&[0; 4]);
    message.body(&index.to_ne_bytes());
    message.body(&up.to_ne_bytes());
    message.body(&up.to_ne_bytes());
    if let Some(mtu) = mtu {
        message.attribute(libc::IFLA_MTU, &u32::from(mtu).to_ne_bytes());
    }
    message.finish()
}

/// RTM_NEWADDR or RTM_DELADDR. The kernel is told how long the address holds, so that it ends by itself should netd
/// be gone when the lease runs out.
fn address(kind: u16, index: u32, lease: &Lease) -> Vec<u8> {
    let is_new = kind == libc::RTM_NEWADDR;
    let flags = if is_new {
        libc::NLM_F_CREATE | libc::NLM_F_REPLACE
    } else {
        0
    };
    let mut message = Message::new(kind, flags);
    // ifaddrmsg: family, prefix, flags, scope (universe), index.
    message.body(&[
        u8::try_from(libc::AF_INET).unwrap_or_default(),
        lease.prefix,
        0,
        0,
    ]);
    message.body(&index.to_ne_bytes());
    message.attribute(libc::IFA_LOCAL, &lease.address.octets());
    message.attribute(libc::IFA_ADDRESS, &lease.address.octets());
    if is_new {
        if let Some(broadcast) = lease::broadcast(lease) {
            message.attribute(libc::IFA_BROADCAST, &broadcast.octets());
        }
        // ifa_cacheinfo: preferred and valid seconds (all ones is for ever), two times that the kernel fills in.
        let seconds = lease.seconds.to_ne_bytes();
        message.attribute(libc::IFA_CACHEINFO, &[seconds, seconds, [0; 4], [0; 4]].concat());
    }
    message.finish()
}

/// RTM_NEWROUTE of the default route.
fn route(index: u32, lease: &Lease, gateway: Ipv4Addr) -> Vec<u8> {
    let mut message = Message::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
    // rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
    message.body(&[u8::try_from(libc::AF_INET).unwrap_or_default(), 0, 0, 0]);
    message.body(&[
        libc::RT_TABLE_MAIN,
        RTPROT_DHCP,
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNICAST,
    ]);
    let on_link = if lease::is_on_link(lease, gateway) {
        0
    } else {
        RTNH_F_ONLINK
    };
    message.body(&on_link.to_ne_bytes());
    message.attribute(libc::RTA_GATEWAY, &gateway.octets());
    message.attribute(libc::RTA_OIF, &index.to_ne_bytes());
    // The route leaves with the address it prefers.
    message.attribute(libc::RTA_PREFSRC, &lease.address.octets());
    message.attribute(libc::RTA_PRIORITY, &(ROUTE_METRIC_BASE + index).to_ne_bytes());
    message.finish()
}

/// Of linux/rtnetlink.h; not in the libc crate.
const RTPROT_DHCP: u8 = 16;
const RTNH_F_ONLINK: u32 = 4;

/// A request being written.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: libc::c_int) -> Self {
        let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let mut octets = vec![0; 4];
        octets.extend(kind.to_ne_bytes());
        octets.extend(
            u16::try_from(flags)
                .expect("netlink flags are sixteen bits")
                .to_ne_bytes(),
        );
        // One request is under way at a time, so that sequence numbers tell nothing.
        octets.extend([0; 8]);
        Self(octets)
    }

    fn body(&mut self, octets: &[u8]) {
        self.0.extend(octets);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).expect("attributes here are at most sixteen octets");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("a request is at most some hundred octets");
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// NLMSG_ERROR, whose first word is 0 or a negative errno.
fn acknowledgement(answer: &[u8]) -> io::Result<()> {
    let kind = answer
        .get(4..6)
        .and_then(|kind| kind.try_into().ok())
        .map(u16::from_ne_bytes);
    let error = answer
        .get(16..20)
        .and_then(|error| error.try_into().ok())
        .map(i32::from_ne_bytes);
    match (kind.map(i32::from), error) {
        (Some(libc::NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(libc::NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
            dns: std::iter::empty().collect(),
            mtu: None,
            seconds: 86_400,
        }
    }

    /// The messages as `ip` of iproute2 sends them, in hexadecimal with a blank before each attribute.
    #[cfg(target_endian = "little")]
    fn check(message: &[u8], expected: &str) {
        let octets: Vec<u8> = expected
            .split_ascii_whitespace()
            .flat_map(|part| part.as_bytes().chunks(2))
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(message, octets);
    }

    #[test]
    fn link_requests_are_laid_out_as_the_kernel_reads_them() {
        check(
            &link(2, true, None),
            "20000000 1000 0500 00000000 00000000 00000000 02000000 01000000 01000000",
        );
        check(
            &link(2, false, Some(1400)),
            "28000000 1000 0500 00000000 00000000 00000000 02000000 00000000 00000000 0800 0400 78050000",
        );
    }

    #[test]
    fn address_requests_are_laid_out_as_the_kernel_reads_them() {
        check(
            &address(libc::RTM_NEWADDR, 2, &lease()),
            "44000000 1400 0505 00000000 00000000 02180000 02000000 \
             0800 0200 0a00020f  0800 0100 0a00020f  0800 0400 0a0002ff \
             1400 0600 80510100 80510100 00000000 00000000",
        );
        check(
            &address(libc::RTM_DELADDR, 2, &lease()),
            "28000000 1500 0500 00000000 00000000 02180000 02000000 0800 0200 0a00020f  0800 0100 0a00020f",
        );
    }

    #[test]
    fn route_requests_are_laid_out_as_the_kernel_reads_them() {
        let attributes = "0800 0400 02000000  0800 0700 0a00020f  0800 0600 66000000";
        let head = "3c000000 1800 0505 00000000 00000000 02000000 fe100001";
        let gateway = Ipv4Addr::new(10, 0, 2, 2);
        check(
            &route(2, &lease(), gateway),
            &format!("{head} 00000000 0800 0500 0a000202 {attributes}"),
        );
        let far = Ipv4Addr::new(10, 9, 9, 9);
        check(
            &route(2, &lease(), far),
            &format!("{head} 04000000 0800 0500 0a090909 {attributes}"),
        );
    }

    #[test]
    fn answers_are_an_acknowledgement_or_the_kernels_error() {
        let answer = |kind: u16, error: i32| {
            let mut octets = vec![0; 36];
            octets[4..6].copy_from_slice(&kind.to_ne_bytes());
            octets[16..20].copy_from_slice(&error.to_ne_bytes());
            acknowledgement(&octets)
        };
        answer(2, 0).unwrap();
        assert_eq!(answer(2, -17).unwrap_err().raw_os_error(), Some(17));
        assert_eq!(answer(2, i32::MIN).unwrap_err().raw_os_error(), Some(i32::MAX));
        answer(3, 0).unwrap_err();
        acknowledgement(&[2; 19]).unwrap_err();
        acknowledgement(&[]).unwrap_err();
    }

    #[test]
    fn a_request_on_the_loopback_interface_is_answered() {
        // It is up on any machine, and setting what is set needs a privilege all the same.
        let index = nix::net::if_::if_nametoindex("lo").unwrap();
        let result = Netlink::open().unwrap().up(index);
        if let Err(error) = result {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        }
    }
}
