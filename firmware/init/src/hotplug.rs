//! News of devices that come and go (Documentation/driver-api/driver-model/binding.rst, `kobject_uevent`).
//!
//! What the kernel says of them is not read: after any of it, what the box has a use for is looked for anew. So nobody
//! who plugs in a device with a strange name has anything to say here, and an idle box need not look every two seconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

/// The kernel's own news; those of a udev, which this box has none of, would be in group 2.
const GROUP_KERNEL: u32 = 1;
/// A device comes with a dozen of its kind; one look after all of them is enough.
pub(crate) const SETTLE_MS: u64 = 100;

/// Where the news come from.
#[derive(Debug)]
pub(crate) struct Hotplug(OwnedFd);

impl Hotplug {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP_KERNEL))?;
        Ok(Self(socket))
    }

    /// Takes the news without reading them. An overrun (`ENOBUFS`) is news as well.
    pub(crate) fn drain(&self) {
        let mut octets = [0; 16];
        while !matches!(
            recv(self.0.as_raw_fd(), &mut octets, MsgFlags::MSG_DONTWAIT),
            Err(Errno::EAGAIN) | Ok(0)
        ) {}
    }
}

impl AsFd for Hotplug {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
