//! The UDP sockets that netd opens itself, all on its own interface: for multicast DNS, and for questions to a server.
//! It needs no privilege for them.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use handoff::InterfaceName;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, setsockopt, socket, sockopt,
};

use crate::mdns::PORT;

/// RFC 6762 §3.
pub(super) const MDNS_GROUP_4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
pub(super) const MDNS_GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// RFC 6762 §11: what is sent has this, so that the oldest responders take it for local.
const MDNS_HOPS: u8 = 255;

/// Hears and sends multicast DNS over IPv4 on the interface that has `address`.
pub(super) fn mdns4(interface: &InterfaceName, address: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = open(AddressFamily::Inet, interface)?;
    // Each interface has its own netd, and each of these its own socket on the port.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let port = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT);
    bind(socket.as_raw_fd(), &SockaddrIn::from(port))?;
    socket.join_multicast_v4(&MDNS_GROUP_4, &address)?;
    socket.set_multicast_ttl_v4(MDNS_HOPS.into())?;
    // RFC 6762 §11: also what is answered to one machine.
    socket.set_ttl(MDNS_HOPS.into())?;
    socket.set_multicast_loop_v4(false)?;
    Ok(socket)
}

/// Hears and sends multicast DNS over IPv6 on one interface.
pub(super) fn mdns6(interface: &InterfaceName, index: u32) -> io::Result<UdpSocket> {
    let socket = open(AddressFamily::Inet6, interface)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    let port = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0);
    bind(socket.as_raw_fd(), &SockaddrIn6::from(port))?;
    socket.join_multicast_v6(&MDNS_GROUP_6, index)?;
    setsockopt(&socket, sockopt::Ipv6MulticastHops, &MDNS_HOPS.into())?;
    setsockopt(&socket, sockopt::Ipv6Ttl, &MDNS_HOPS.into())?;
    socket.set_multicast_loop_v6(false)?;
    Ok(socket)
}

/// A socket for one question to one server: its port is the kernel's random choice, and it hears nobody else.
pub(super) fn question(interface: &InterfaceName, server: SocketAddr) -> io::Result<UdpSocket> {
    let family = match server {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = open(family, interface)?;
    // The kernel binds it as it is connected.
    socket.connect(server)?;
    Ok(socket)
}

/// A socket on one interface that does not block.
fn open(family: AddressFamily, interface: &InterfaceName) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(
        &socket,
        sockopt::BindToDevice,
        &OsString::from(interface.as_str()),
    )?;
    Ok(socket.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The loopback interface has number 1 on every Linux.
    fn loopback() -> InterfaceName {
        InterfaceName::new("lo").unwrap()
    }

    #[test]
    fn two_processes_can_have_the_port_of_multicast_dns() {
        let first = mdns4(&loopback(), Ipv4Addr::LOCALHOST).unwrap();
        let second = mdns4(&loopback(), Ipv4Addr::LOCALHOST).unwrap();
        let both: Vec<UdpSocket> = (0..2).map(|_| mdns6(&loopback(), 1).unwrap()).collect();
        assert_eq!(first.ttl().unwrap(), 255);
        assert_eq!(second.multicast_ttl_v4().unwrap(), 255);
        assert_eq!(both[1].local_addr().unwrap().port(), PORT);
    }

    #[test]
    fn a_question_is_answered_by_the_one_who_was_asked() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let question = question(&loopback(), server.local_addr().unwrap()).unwrap();
        question.send(b"question").unwrap();
        let mut room = [0; 16];
        let (length, from) = server.recv_from(&mut room).unwrap();
        assert_eq!(&room[..length], b"question");
        other.send_to(b"forged", from).unwrap();
        server.send_to(b"answer", from).unwrap();
        question.set_nonblocking(false).unwrap();
        question.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let length = question.recv(&mut room).unwrap();
        assert_eq!(&room[..length], b"answer");
    }

    #[test]
    fn two_questions_have_different_ports() {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let ports: Vec<u16> = (0..3)
            .map(|_| question(&loopback(), server).unwrap())
            .collect::<Vec<UdpSocket>>()
            .iter()
            .map(|socket| socket.local_addr().unwrap().port())
            .collect();
        assert!(ports[0] != ports[1] && ports[1] != ports[2], "{ports:?}");
    }
}
