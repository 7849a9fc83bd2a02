#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(test, feature = "socket")), no_std)]

mod address;
mod boot;
mod codec;
mod from_maild;
mod netd;
#[cfg(feature = "socket")]
mod socket;
mod text;
mod to_maild;

pub use address::{ADDRESSES_MAX, Address, Addresses, DNS_MAX, Ipv4Settings, StaticIpv4, is_unicast};
pub use boot::{ATTEMPT_MAX, Boot, BootSlot};
pub use codec::{DecodeError, Message, PACKET_OCTETS, Packet, VERSION};
pub use from_maild::{AWAIT_SECONDS_MAX, FINGERPRINT_OCTETS, FromMaild, STATUS_LINES_MAX, Status};
pub use netd::{FromNetd, LEASE_SECONDS_FOREVER, Lease, MTU_MAX, MTU_MIN, ToNetd, UNIX_MS_MAX};
#[cfg(feature = "socket")]
pub use socket::{Channel, ReceiveError, Received};
pub use text::{ConsoleLine, HostName, InterfaceName, Printable, Sentence, TextError};
pub use to_maild::{PROVISION_OCTETS_MAX, ProvisionOrigin, STOP_DEADLINE_MS_MAX, ToMaild, UPDATE_OCTETS_MAX};
