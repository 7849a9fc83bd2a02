//! The sockets that init opens for the others.

use std::ffi::OsString;
use std::io;
use std::mem;
use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, bind, getsockopt,
    listen, setsockopt, socket, sockopt,
};

use crate::bpf::instruction;

/// Connections that wait while maild is started again: as many as the kernel's own bound (somaxconn, 4096) allows.
/// nix's constructor stops at musl's SOMAXCONN of 128, which would be gone in a second on a busy day.
const BACKLOG: Backlog = Backlog::MAXALLOWABLE;
const DHCP_CLIENT_PORT: u16 = 68;

/// A listening TCP socket on all addresses, IPv4 and IPv6 (P1). It does not block.
pub(super) fn listener(port: u16) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Inet6, SockType::Stream, flags, None)?;
    // A restart of the whole box may find connections of before in TIME_WAIT.
    setsockopt(&listener, sockopt::ReuseAddr, &true)?;
    setsockopt(&listener, sockopt::Ipv6V6Only, &false)?;
    let address = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0);
    bind(listener.as_raw_fd(), &SockaddrIn6::from(address))?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Opens a listening socket anew if it listens no more: whoever it was handed to can end that (`shutdown`), for all
/// who share it.
pub(super) fn mend(listening: &mut OwnedFd, port: u16) -> io::Result<()> {
    if getsockopt(listening, sockopt::AcceptConn)? {
        return Ok(());
    }
    // A connection can have been made of it since. Closing it must not wait for its last octets (socket(7)).
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(listening, sockopt::Linger, &at_once)?;
    *listening = listener(port)?;
    Ok(())
}

/// A packet socket on one interface that hears UDP to port 68 over IPv4 and nothing else, whatever its owner tries.
pub(super) fn packet(index: u32) -> io::Result<OwnedFd> {
    // Protocol 0: it hears nothing before it is bound, and so nothing that the filter has not passed.
    let packet = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    set_filter(&packet, &DHCP_FILTER)?;
    bind_packet(&packet, index, libc::ETH_P_IP)?;
    Ok(packet)
}

/// A packet socket on one interface that hears ARP and nothing else, whatever its owner tries.
pub(super) fn arp(index: u32) -> io::Result<OwnedFd> {
    let packet = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    set_filter(&packet, &ARP_FILTER)?;
    bind_packet(&packet, index, libc::ETH_P_ARP)?;
    Ok(packet)
}

/// A raw ICMPv6 socket on one interface that hears router advertisements and nothing else, whatever its owner tries.
pub(super) fn advertisements(interface: &str) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let raw = socket(
        AddressFamily::Inet6,
        SockType::Raw,
        flags,
        Some(SockProtocol::IcmpV6),
    )?;
    set_filter(&raw, &ADVERTISEMENT_FILTER)?;
    setsockopt(&raw, sockopt::BindToDevice, &OsString::from(interface))?;
    Ok(raw)
}

/// A UDP socket on port 68 of one interface that sends and hears nothing: see netd's README.
pub(super) fn renewal(interface: &str) -> io::Result<OwnedFd> {
    let renewal = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    set_filter(&renewal, &DEAF_FILTER)?;
    setsockopt(&renewal, sockopt::BindToDevice, &OsString::from(interface))?;
    let address = SocketAddrV4::new([0, 0, 0, 0].into(), DHCP_CLIENT_PORT);
    bind(renewal.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(renewal)
}

/// Classic BPF, offsets from the Ethernet header (linux/filter.h): type IPv4, protocol UDP, no fragment, port 68.
const DHCP_FILTER: [libc::sock_filter; 11] = {
    use libc::{
        BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET,
    };
    [
        instruction(BPF_LD | BPF_H | BPF_ABS, 0, 0, 12),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 8, 0x0800),
        instruction(BPF_LD | BPF_B | BPF_ABS, 0, 0, 14 + 9),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 6, 17),
        instruction(BPF_LD | BPF_H | BPF_ABS, 0, 0, 14 + 6),
        // "More fragments" or an offset: DHCP is never that large.
        instruction(BPF_JMP | BPF_JSET | BPF_K, 4, 0, 0x3fff),
        // X = 4 * the length nibble of the IPv4 header.
        instruction(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 14),
        instruction(BPF_LD | BPF_H | BPF_IND, 0, 0, 14 + 2),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, DHCP_CLIENT_PORT as u32),
        instruction(BPF_RET | BPF_K, 0, 0, 0xffff),
        instruction(BPF_RET | BPF_K, 0, 0, 0),
    ]
};

/// Type ARP. The kernel gives a packet socket that is bound to a type nothing else, but its owner could bind it anew.
const ARP_FILTER: [libc::sock_filter; 4] = {
    use libc::{BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET};
    [
        instruction(BPF_LD | BPF_H | BPF_ABS, 0, 0, 12),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0x0806),
        instruction(BPF_RET | BPF_K, 0, 0, 0xffff),
        instruction(BPF_RET | BPF_K, 0, 0, 0),
    ]
};

/// A raw IPv6 socket hears from the ICMPv6 header on; the filter reaches back to the IPv6 header for the hop limit, which
/// is 255 only if no router was on the way, and for the source, which is link-local (RFC 4861 §6.1.2). Type 134, code 0. The
/// kernel has verified the checksum by then.
const ADVERTISEMENT_FILTER: [libc::sock_filter; 9] = {
    use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET};
    [
        instruction(BPF_LD | BPF_H | BPF_ABS, 0, 0, 0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 6, 134 << 8),
        instruction(BPF_LD | BPF_B | BPF_ABS, 0, 0, NET_OFFSET + 7),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, 255),
        instruction(BPF_LD | BPF_H | BPF_ABS, 0, 0, NET_OFFSET + 8),
        instruction(BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xffc0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0xfe80),
        instruction(BPF_RET | BPF_K, 0, 0, 0xffff),
        instruction(BPF_RET | BPF_K, 0, 0, 0),
    ]
};

/// `SKF_NET_OFF` of linux/filter.h: offsets from the network header.
const NET_OFFSET: u32 = 0xfff0_0000;

const DEAF_FILTER: [libc::sock_filter; 1] = [instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0)];

/// Attaches a filter and locks it: without that, whoever holds the socket could take the filter off (socket(7)).
fn set_filter(socket: &OwnedFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::EINVAL)?,
        // The kernel only reads it, though the type says otherwise.
        filter: filter.as_ptr().cast_mut(),
    };
    set_option(socket, libc::SO_ATTACH_FILTER, &program)?;
    set_option(socket, libc::SO_LOCK_FILTER, &1_i32)
}

#[allow(unsafe_code)]
fn set_option<T>(socket: &OwnedFd, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the pointer and the length describe `value`, which is borrowed until the call returns; a pointer in it
    // (sock_fprog) points to a slice that its caller borrows as long; the kernel reads both and keeps neither.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const *value).cast(),
            length,
        )
    };
    Errno::result(result)?;
    Ok(())
}

/// Binds a packet socket to one type (`ETH_P_IP`) on one interface. nix has no way to make the address.
#[allow(unsafe_code)]
fn bind_packet(socket: &OwnedFd, index: u32, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: all fields of sockaddr_ll are integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(|_| Errno::EINVAL)?;
    address.sll_protocol = u16::try_from(kind).map_err(|_| Errno::EINVAL)?.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(|_| Errno::ENODEV)?;
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the pointer and the length describe `address`, which lives until the call returns.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
    use std::time::{Duration, Instant};

    use nix::sys::socket::{Shutdown, connect, getsockname, shutdown};

    use super::*;

    #[test]
    fn a_listener_takes_both_families_and_lets_clients_wait() {
        let listener = TcpListener::from(listener(0).unwrap());
        let port = listener.local_addr().unwrap().port();
        // Nobody accepts yet, and neither is refused.
        let mut four = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let _six = TcpStream::connect((Ipv6Addr::LOCALHOST, port));
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.write_all(b"220").unwrap();
        let mut octets = [0; 3];
        four.read_exact(&mut octets).unwrap();
        assert_eq!(&octets, b"220");
    }

    #[test]
    fn a_listener_that_another_has_made_a_connection_of_is_opened_anew_at_once() {
        let mut ours = listener(0).unwrap();
        let theirs = TcpListener::from(ours.try_clone().unwrap());
        let port = theirs.local_addr().unwrap().port();
        mend(&mut ours, port).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();

        let peer = listener(0).unwrap();
        let peer_port = getsockname::<SockaddrIn6>(peer.as_raw_fd()).unwrap().port();
        shutdown(theirs.as_raw_fd(), Shutdown::Read).unwrap();
        let address = SocketAddrV6::new(Ipv6Addr::LOCALHOST, peer_port, 0, 0);
        let _ = connect(theirs.as_raw_fd(), &SockaddrIn6::from(address));
        let mut stream = TcpStream::from(OwnedFd::from(theirs));
        let patience = libc::linger {
            l_onoff: 1,
            l_linger: 30,
        };
        setsockopt(&stream, sockopt::Linger, &patience).unwrap();
        while stream.write(&[0; 8192]).is_ok() {}
        drop(stream);

        let began = Instant::now();
        mend(&mut ours, port).unwrap();
        assert!(began.elapsed() < Duration::from_secs(10));
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let first = TcpListener::from(listener(0).unwrap());
        let port = first.local_addr().unwrap().port();
        assert_eq!(listener(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_deaf_socket_hears_nothing_and_stays_deaf() {
        let deaf = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        set_filter(&deaf, &DEAF_FILTER).unwrap();
        let error = set_filter(&deaf, &DHCP_FILTER).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let deaf = UdpSocket::from(deaf);
        deaf.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"x", deaf.local_addr().unwrap()).unwrap();
        assert_eq!(
            deaf.recv(&mut [0; 8]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    /// Runs a filter as the kernel does, for the few instructions that there are. `network` is where the network header of
    /// `frame` begins, `data` what the socket hears.
    fn passes_at(filter: &[libc::sock_filter], frame: &[u8], network: usize, data: usize) -> bool {
        // The kernel counts both from where the socket's part begins, and reaches back for those above `NET_OFFSET`.
        let place = |at: usize| match at.checked_sub(usize::try_from(NET_OFFSET).unwrap()) {
            Some(behind) => network + behind,
            None => data + at,
        };
        let octet = |at: usize| frame.get(place(at)).map(|&octet| u32::from(octet));
        let half = |at: usize| Some(octet(at)? << 8 | octet(at + 1)?);
        let (mut a, mut x, mut at) = (0, 0, 0);
        loop {
            let step = filter[at];
            let k = usize::try_from(step.k).unwrap();
            at += 1;
            // A load behind the end drops the frame.
            let loaded = match step.code {
                0x28 => half(k),
                0x30 => octet(k),
                0x48 => half(k + x),
                0xb1 => octet(k).map(|octet| {
                    x = 4 * usize::try_from(octet & 15).unwrap();
                    a
                }),
                0x15 => {
                    at += usize::from(if a == step.k { step.jt } else { step.jf });
                    Some(a)
                }
                0x45 => {
                    at += usize::from(if a & step.k != 0 { step.jt } else { step.jf });
                    Some(a)
                }
                0x54 => Some(a & step.k),
                0x06 => return step.k != 0,
                other => panic!("instruction {other:#x}"),
            };
            match loaded {
                Some(value) => a = value,
                None => return false,
            }
        }
    }

    fn passes(frame: &[u8]) -> bool {
        passes_at(&DHCP_FILTER, frame, 14, 0)
    }

    #[test]
    fn the_filter_passes_arp_and_nothing_else() {
        let passes = |kind: [u8; 2]| {
            let mut frame = [0; 60];
            frame[12..14].copy_from_slice(&kind);
            passes_at(&ARP_FILTER, &frame, 14, 0)
        };
        assert!(passes([0x08, 0x06]));
        for other in [[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00], [0x08, 0x35]] {
            assert!(!passes(other), "{other:?}");
        }
        assert!(!passes_at(&ARP_FILTER, &[8; 13], 14, 0));
    }

    #[test]
    fn the_filter_passes_router_advertisements_of_the_link_and_nothing_else() {
        let mut good = [0; 40 + 16];
        good[7] = 255;
        good[8..10].copy_from_slice(&[0xfe, 0x80]);
        good[40] = 134;
        let passes = |frame: &[u8]| passes_at(&ADVERTISEMENT_FILTER, frame, 0, 40);
        assert!(passes(&good));
        let changed = |at: usize, octet: u8| {
            let mut packet = good;
            packet[at] = octet;
            passes(&packet)
        };
        assert!(!changed(40, 133), "a solicitation");
        assert!(!changed(40, 137), "a redirect");
        assert!(!changed(41, 1), "another code");
        assert!(!changed(7, 254), "from behind a router");
        assert!(!changed(8, 0x20), "a global source");
        assert!(!changed(9, 0xc0), "a site-local source");
        assert!(changed(9, 0xbf), "the last of fe80::/10");
        assert!(!passes(&good[..41]));
    }

    #[test]
    fn the_filter_passes_dhcp_answers_and_nothing_else() {
        let mut good = [0; 14 + 20 + 8 + 300];
        good[12] = 0x08;
        good[14] = 0x45;
        good[23] = 17;
        good[37] = 68;
        assert!(passes(&good));
        let changed = |at: usize, octet: u8| {
            let mut frame = good;
            frame[at] = octet;
            passes(&frame)
        };
        assert!(!changed(13, 6), "ARP");
        assert!(!changed(12, 0x86), "IPv6");
        assert!(!changed(23, 6), "TCP");
        assert!(!changed(37, 67), "port 67");
        assert!(!changed(36, 1), "port 324");
        assert!(!changed(20, 0x20), "first fragment");
        assert!(!changed(21, 1), "later fragment");
        assert!(changed(20, 0x40), "don't fragment");
        assert!(!passes(&good[..37]));
        // With IP options the port is further behind.
        let mut options = good;
        options[14] = 0x46;
        assert!(!passes(&options));
        options[41] = 68;
        assert!(passes(&options));
    }
}
