#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(test, feature = "socket")), no_std)]

mod codec;
mod maild;
mod netd;
#[cfg(feature = "socket")]
mod socket;
mod text;

pub use codec::{DecodeError, Message, PACKET_OCTETS, Packet, VERSION};
pub use maild::{
    ADDRESSES_MAX, ATTEMPT_MAX, Address, Addresses, Boot, BootSlot, FINGERPRINT_OCTETS, FromMaild,
    PROVISION_OCTETS_MAX, STATUS_LINES_MAX, STOP_DEADLINE_MS_MAX, Status, ToMaild, UPDATE_OCTETS_MAX,
};
pub use netd::{DNS_MAX, FromNetd, LEASE_SECONDS_FOREVER, Lease, MTU_MAX, MTU_MIN, ToNetd, is_unicast};
#[cfg(feature = "socket")]
pub use socket::{Channel, ReceiveError, Received};
pub use text::{ConsoleLine, HostName, InterfaceName, Sentence, TextError};
