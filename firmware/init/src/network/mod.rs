//! Interfaces, addresses, routes: applies what netd was told by a server, after checking it.
//!
//! init reads nothing from the network. What it knows of a lease came through a fixed-size message from netd.

mod address;
mod lease;
mod netlink;
mod resolvers;
mod sockets;
mod sysctl;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use handoff::{ADDRESSES_MAX, Address, Addresses, HostName, InterfaceName, Lease};
pub(crate) use lease::{check, check_static, is_as_set, is_in_the_way};
use netlink::Netlink;
pub(crate) use resolvers::{Learned, Resolver, choose as choose_resolvers};

use crate::mount::RESOLV_CONF;

/// `ARPHRD_ETHER` of linux/if_arp.h.
const ARPHRD_ETHER: &str = "1";

/// A wired network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) index: u32,
    pub(crate) name: InterfaceName,
    pub(crate) mac: [u8; 6],
    pub(crate) has_carrier: bool,
    /// Now, be it the card's own or a lease's.
    pub(crate) mtu: Option<u16>,
}

/// The kernel's network configuration.
#[derive(Debug)]
pub(crate) struct Network {
    netlink: Netlink,
    events: OwnedFd,
}

impl Network {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            netlink: Netlink::open()?,
            events: netlink::events()?,
        })
    }

    /// Readable when a link or an address has changed; [`Network::drain`] takes the news.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Takes the news without reading them: whoever calls this looks at everything anew.
    pub(crate) fn drain(&self) {
        netlink::drain(&self.events);
    }

    /// Brings an interface up. The kernel then gives it its IPv6 link-local address.
    pub(crate) fn up(&self, index: u32) -> io::Result<()> {
        self.netlink.up(index)
    }

    /// Applies a lease that [`check`] has passed: address, default route, MTU (the card's own where the lease names
    /// none: a lease before it may have).
    pub(crate) fn apply(&self, index: u32, lease: &Lease, own_mtu: Option<u16>) -> io::Result<()> {
        self.netlink.address(index, lease)?;
        if let Some(gateway) = lease.gateway {
            self.netlink.default_route(index, lease, gateway)?;
        }
        if let Some(mtu) = lease.mtu.or(own_mtu) {
            self.netlink.mtu(index, mtu)?;
        }
        Ok(())
    }

    /// Takes a lease's address away, and with it the route that prefers it as source.
    pub(crate) fn withdraw(&self, index: u32, lease: &Lease) -> io::Result<()> {
        self.netlink.remove_address(index, lease)
    }
}

/// The wired cards that are there now.
pub(crate) fn cards() -> Vec<Card> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    let mut cards: Vec<Card> = entries
        .filter_map(|entry| card(entry.ok()?.file_name().to_str()?))
        .collect();
    cards.sort_by_key(|card| card.index);
    cards
}

fn card(name: &str) -> Option<Card> {
    let folder = Path::new("/sys/class/net").join(name);
    let read = |file: &str| {
        fs::read_to_string(folder.join(file))
            .ok()
            .map(|text| text.trim().to_owned())
    };
    // Tunnels and bridges have no device behind them.
    if read("type")? != ARPHRD_ETHER || !folder.join("device").exists() {
        return None;
    }
    Some(Card {
        index: read("ifindex")?.parse().ok()?,
        name: InterfaceName::new(name).ok()?,
        mac: address::parse_mac(&read("address")?)?,
        // Unreadable while the interface is down.
        has_carrier: read("carrier").is_some_and(|carrier| carrier == "1"),
        mtu: read("mtu").and_then(|mtu| mtu.parse().ok()),
    })
}

/// Tells the kernel how to treat a card that is not up yet.
pub(crate) fn prepare(card: &Card) -> io::Result<()> {
    let prepared = sysctl::prepare(card.name.as_str(), card.index);
    prepared.map_err(|(rule, error)| io::Error::new(error.kind(), format!("{rule}: {error}")))
}

/// The IPv6 addresses of the box, with interface and prefix length, without loopback.
pub(crate) fn ipv6_addresses() -> Vec<(String, IpAddr, u8)> {
    address::parse_if_inet6(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default())
}

/// Addresses as the others are told them: the first, if there are more than fit. A box has a handful.
pub(crate) fn listed<'a>(addresses: impl IntoIterator<Item = &'a (String, IpAddr, u8)>) -> Addresses {
    let list = addresses.into_iter().map(|(_, ip, prefix)| Address {
        ip: *ip,
        prefix: *prefix,
    });
    Addresses(list.take(ADDRESSES_MAX).collect())
}

/// The sockets that netd needs for one card, in the order of `ToNetd::Link`.
pub(crate) fn link_sockets(card: &Card) -> io::Result<[OwnedFd; 4]> {
    Ok([
        sockets::packet(card.index)?,
        sockets::renewal(card.name.as_str())?,
        sockets::arp(card.index)?,
        sockets::advertisements(card.name.as_str())?,
    ])
}

/// A listening TCP socket for IPv4 and IPv6.
pub(crate) fn listener(port: u16) -> io::Result<OwnedFd> {
    sockets::listener(port)
}

/// Opens a listening socket anew if it listens no more.
pub(crate) fn mend(listener: &mut OwnedFd, port: u16) -> io::Result<()> {
    sockets::mend(listener, port)
}

/// Brings the loopback interface up.
pub(crate) fn loopback_up(network: &Network) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex("lo")?;
    network.up(index)
}

/// Tells the kernel the box's name.
pub(crate) fn set_host_name(name: &HostName) -> io::Result<()> {
    nix::unistd::sethostname(name.as_str()).map_err(io::Error::from)
}

/// A hardware address as people write it.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    address::mac_text(mac)
}

/// Tells the programs of the box whom to ask for names.
pub(crate) fn write_resolv_conf(resolvers: &[Resolver]) -> io::Result<()> {
    // A reader sees the old file or the new one, never half.
    let new = format!("{RESOLV_CONF}.new");
    fs::write(&new, resolvers::resolv_conf(resolvers))?;
    fs::rename(new, RESOLV_CONF)
}
