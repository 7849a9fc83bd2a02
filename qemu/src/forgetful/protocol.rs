//! What is spoken with QEMU: the NBD protocol as far as QEMU 10 needs it.
//!
//! Source: the protocol's specification, `doc/proto.md` of the NBD project: fixed newstyle handshake with `NBD_OPT_GO`,
//! simple replies. Not supported: structured replies, TLS, several exports, trimming; whoever asks is told so.

use std::io::{self, ErrorKind, Read, Write};

const MAGIC: u64 = u64::from_be_bytes(*b"NBDMAGIC");
const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// Handshake flags: fixed newstyle, and no zeros behind the answer to `NBD_OPT_EXPORT_NAME`.
const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;

pub(super) const OPT_EXPORT_NAME: u32 = 1;
pub(super) const OPT_ABORT: u32 = 2;
pub(super) const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_ERR_UNSUP: u32 = 0x8000_0001;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;
/// An option's data is an export's name and a list of what is asked for.
const OPTION_OCTETS_MAX: u32 = 64 * 1024;

/// Transmission flags: there are flags, FLUSH is understood, and so is FUA.
pub(super) const TRANSMISSION_FLAGS: u16 = 1 | 4 | 8;
pub(super) const FLAG_FUA: u16 = 1;
/// What the specification lets a client take for granted.
pub(super) const REQUEST_OCTETS_MAX: u32 = 32 << 20;
/// A request without its data.
pub(super) const REQUEST_OCTETS: usize = 28;

pub(super) const EIO: u32 = 5;
pub(super) const EINVAL: u32 = 22;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) command: Command,
    /// Whether a write is to be durable when it is answered.
    pub(super) is_fua: bool,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) octets: u32,
}

impl Request {
    /// # Errors
    /// What is no request, or wants more data at once than is allowed: the connection is of no use any more.
    pub(super) fn parse(header: &[u8; REQUEST_OCTETS]) -> io::Result<Self> {
        let mut rest = header.as_slice();
        if u32::from_be_bytes(take(&mut rest)?) != REQUEST_MAGIC {
            return Err(broken("a request without its magic"));
        }
        let flags = u16::from_be_bytes(take(&mut rest)?);
        let command = match u16::from_be_bytes(take(&mut rest)?) {
            0 => Command::Read,
            1 => Command::Write,
            2 => Command::Disconnect,
            3 => Command::Flush,
            _ => Command::Unknown,
        };
        let request = Self {
            command,
            is_fua: flags & FLAG_FUA != 0,
            cookie: u64::from_be_bytes(take(&mut rest)?),
            offset: u64::from_be_bytes(take(&mut rest)?),
            octets: u32::from_be_bytes(take(&mut rest)?),
        };
        if request.octets > REQUEST_OCTETS_MAX && matches!(command, Command::Read | Command::Write) {
            return Err(broken("a request for too much at once"));
        }
        Ok(request)
    }
}

/// The answer to a request; behind one that succeeded comes what was read.
pub(super) fn simple_reply(cookie: u64, error: u32) -> [u8; 16] {
    let mut reply = [0; 16];
    reply[..4].copy_from_slice(&REPLY_MAGIC.to_be_bytes());
    reply[4..8].copy_from_slice(&error.to_be_bytes());
    reply[8..].copy_from_slice(&cookie.to_be_bytes());
    reply
}

/// Agrees with the client on what it gets: one export of `octets`, whatever name it asks for. Says whether it wants it.
pub(super) fn shake_hands(stream: &mut (impl Read + Write), octets: u64) -> io::Result<bool> {
    let mut greeting = Vec::new();
    greeting.extend(MAGIC.to_be_bytes());
    greeting.extend(OPTION_MAGIC.to_be_bytes());
    greeting.extend((FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes());
    stream.write_all(&greeting)?;
    let client_flags = u32::from_be_bytes(read(stream)?);
    loop {
        if u64::from_be_bytes(read(stream)?) != OPTION_MAGIC {
            return Err(broken("an option without its magic"));
        }
        let option = u32::from_be_bytes(read(stream)?);
        let data_octets = u32::from_be_bytes(read(stream)?);
        if data_octets > OPTION_OCTETS_MAX {
            return Err(broken("an option that is too long"));
        }
        io::copy(&mut Read::take(&mut *stream, data_octets.into()), &mut io::sink())?;
        match option {
            OPT_EXPORT_NAME => {
                let mut export = octets.to_be_bytes().to_vec();
                export.extend(TRANSMISSION_FLAGS.to_be_bytes());
                if client_flags & u32::from(NO_ZEROES) == 0 {
                    export.extend([0; 124]);
                }
                stream.write_all(&export)?;
                return Ok(true);
            }
            OPT_GO => {
                let mut export = INFO_EXPORT.to_be_bytes().to_vec();
                export.extend(octets.to_be_bytes());
                export.extend(TRANSMISSION_FLAGS.to_be_bytes());
                stream.write_all(&option_reply(option, REP_INFO, &export))?;
                let mut block = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
                for size in [512, 4096, REQUEST_OCTETS_MAX] {
                    block.extend(size.to_be_bytes());
                }
                stream.write_all(&option_reply(option, REP_INFO, &block))?;
                stream.write_all(&option_reply(option, REP_ACK, &[]))?;
                return Ok(true);
            }
            OPT_ABORT => {
                stream.write_all(&option_reply(option, REP_ACK, &[]))?;
                return Ok(false);
            }
            _ => stream.write_all(&option_reply(option, REP_ERR_UNSUP, &[]))?,
        }
    }
}

fn option_reply(option: u32, reply: u32, data: &[u8]) -> Vec<u8> {
    let mut octets = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    octets.extend(option.to_be_bytes());
    octets.extend(reply.to_be_bytes());
    let length = u32::try_from(data.len()).expect("what is told of an export is short");
    octets.extend(length.to_be_bytes());
    octets.extend(data);
    octets
}

fn read<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    stream.read_exact(&mut octets)?;
    Ok(octets)
}

fn take<const N: usize>(octets: &mut &[u8]) -> io::Result<[u8; N]> {
    read(octets)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
