//! The packet: header, little-endian fields, and the checks every kind shares.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Every packet has this many octets, whatever its kind.
pub const PACKET_OCTETS: usize = 512;

/// The version of the whole contract. The programs come from one image, so another version is an error.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"hand";
const HEADER_OCTETS: usize = 8;

/// A message as it travels.
pub type Packet = [u8; PACKET_OCTETS];

/// One direction of one control socket.
pub trait Message: Sized {
    /// The message as a packet.
    fn encode(&self) -> Packet;

    /// The message in `packet`.
    ///
    /// # Errors
    /// [`DecodeError`]: the peer broke the contract. A retry does not help; the receiver ends the peer.
    fn decode(packet: &[u8]) -> Result<Self, DecodeError>;

    /// How many descriptors travel beside this message.
    fn descriptors(&self) -> usize {
        0
    }
}

/// Why a packet is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not [`PACKET_OCTETS`] long.
    Size(usize),
    /// The first four octets are not ours.
    Magic,
    /// Another version of the contract.
    Version(u16),
    /// No kind of this direction.
    Kind(u16),
    /// A field is out of its range.
    Field(&'static str),
    /// Octets that are not zero behind the last field.
    Trailing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(octets) => write!(f, "a packet of {octets} octets"),
            Self::Magic => write!(f, "not a handoff packet"),
            Self::Version(version) => write!(f, "version {version} of the contract"),
            Self::Kind(kind) => write!(f, "kind {kind:#06x} is unknown in this direction"),
            Self::Field(name) => write!(f, "field '{name}' is out of range"),
            Self::Trailing => write!(f, "octets behind the last field"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Fills a packet from the front.
pub(crate) struct Writer {
    packet: Packet,
    at: usize,
}

impl Writer {
    pub(crate) fn new(kind: u16) -> Self {
        let mut writer = Self {
            packet: [0; PACKET_OCTETS],
            at: 0,
        };
        writer.octets(&MAGIC);
        writer.u16(VERSION);
        writer.u16(kind);
        writer
    }

    /// Appends octets. All bodies are bounded by their types to fit; the tests encode the largest of each kind.
    pub(crate) fn octets(&mut self, octets: &[u8]) {
        let end = self.at + octets.len();
        self.packet[self.at..end].copy_from_slice(octets);
        self.at = end;
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.octets(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.octets(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.octets(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.octets(&value.to_le_bytes());
    }

    pub(crate) fn v4(&mut self, value: Ipv4Addr) {
        self.octets(&value.octets());
    }

    /// The length of a list or text, which its type bounds to less than 256, in one octet.
    pub(crate) fn length(&mut self, value: usize) {
        self.u8(u8::try_from(value).unwrap_or(u8::MAX));
    }

    pub(crate) fn finish(self) -> Packet {
        self.packet
    }
}

/// Reads a packet from the front.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the header and gives the kind and the body.
    pub(crate) fn new(packet: &'a [u8]) -> Result<(u16, Self), DecodeError> {
        if packet.len() != PACKET_OCTETS {
            return Err(DecodeError::Size(packet.len()));
        }
        let (header, rest) = packet.split_at(HEADER_OCTETS);
        let mut header = Self { rest: header };
        if header.array::<4>("magic")? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = header.u16("version")?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = header.u16("kind")?;
        Ok((kind, Self { rest }))
    }

    pub(crate) fn slice(&mut self, octets: usize, name: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(octets)
            .ok_or(DecodeError::Field(name))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(N, name)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, name: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array(name)?))
    }

    /// A question's answer: 0 or 1.
    pub(crate) fn flag(&mut self, name: &'static str) -> Result<bool, DecodeError> {
        Ok(ranged(self.u8(name)?, 0..=1, name)? == 1)
    }

    pub(crate) fn u16(&mut self, name: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(name)?))
    }

    pub(crate) fn u32(&mut self, name: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(name)?))
    }

    pub(crate) fn u64(&mut self, name: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(name)?))
    }

    pub(crate) fn v4(&mut self, name: &'static str) -> Result<Ipv4Addr, DecodeError> {
        Ok(Ipv4Addr::from(self.array::<4>(name)?))
    }

    pub(crate) fn v6(&mut self, name: &'static str) -> Result<Ipv6Addr, DecodeError> {
        Ok(Ipv6Addr::from(self.array::<16>(name)?))
    }

    /// The message is complete: what is left must be zero.
    pub(crate) fn finish<T>(self, message: T) -> Result<T, DecodeError> {
        if self.rest.iter().all(|&octet| octet == 0) {
            Ok(message)
        } else {
            Err(DecodeError::Trailing)
        }
    }
}

/// `value` if it lies in `range`.
pub(crate) fn ranged<T: PartialOrd>(
    value: T,
    range: core::ops::RangeInclusive<T>,
    name: &'static str,
) -> Result<T, DecodeError> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(DecodeError::Field(name))
    }
}
