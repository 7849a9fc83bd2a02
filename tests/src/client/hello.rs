//! A ClientHello written by hand, for what no careful library would send: old versions, weak suites.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// TLS 1.1 on the wire.
pub const TLS_1_1: u16 = 0x0302;
/// TLS 1.2 on the wire.
pub const TLS_1_2: u16 = 0x0303;

/// Suites of T2: what must be taken.
pub const ECDHE_ECDSA_AES_128_GCM: u16 = 0xc02b;
/// The same with an RSA certificate.
pub const ECDHE_RSA_AES_128_GCM: u16 = 0xc02f;

/// Suites that T2 names as refused, with a name for the failure.
pub const REFUSED_SUITES: [(&str, u16); 7] = [
    ("RSA key exchange, AES-128-CBC-SHA", 0x002f),
    ("RSA key exchange, AES-128-GCM", 0x009c),
    ("RSA key exchange, 3DES", 0x000a),
    ("RC4", 0x0005),
    ("DHE, AES-128-GCM", 0x009e),
    ("ECDHE, RSA, AES-128-CBC-SHA", 0xc013),
    ("ECDHE, ECDSA, AES-128-CBC-SHA256", 0xc023),
];

/// What the box answers to a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A ServerHello.
    Hello {
        /// The version it settles on.
        version: u16,
        /// The suite it takes.
        suite: u16,
        /// The compression method; 0 is none.
        compression: u8,
    },
    /// An alert (RFC 8446 §6).
    Alert {
        /// 2 is fatal.
        level: u8,
        /// Why.
        description: u8,
    },
    /// The connection was closed without a record.
    Closed,
    /// Something that is no TLS record.
    Other(u8),
}

/// RFC 8446 §6.2.
pub const HANDSHAKE_FAILURE: u8 = 40;
/// RFC 8446 §6.2.
pub const PROTOCOL_VERSION: u8 = 70;

/// A ClientHello (RFC 5246 §7.4.1.2) with `version` as the highest, these suites, and compression methods.
pub fn client_hello(version: u16, suites: &[u16], compressions: &[u8], server_name: Option<&str>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = server_name {
        // RFC 6066 §3: a list with one host_name.
        let mut list = Vec::new();
        list.push(0);
        with_length_u16(&mut list, name.as_bytes());
        let mut data = Vec::new();
        with_length_u16(&mut data, &list);
        extension(&mut extensions, 0, &data);
    }
    // supported_groups x25519, secp256r1; ec_point_formats uncompressed; signature_algorithms of both key kinds.
    extension(&mut extensions, 10, &[0, 4, 0, 29, 0, 23]);
    extension(&mut extensions, 11, &[1, 0]);
    extension(&mut extensions, 13, &[0, 8, 4, 3, 8, 4, 4, 1, 2, 1]);

    let mut body = version.to_be_bytes().to_vec();
    body.extend_from_slice(&[0x5a; 32]);
    body.push(0);
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    with_length_u16(&mut body, &suites);
    body.push(u8::try_from(compressions.len()).expect("a handful of compression methods"));
    body.extend_from_slice(compressions);
    with_length_u16(&mut body, &extensions);

    let mut handshake = vec![1, 0];
    with_length_u16(&mut handshake, &body);
    let mut record = vec![22, 3, 1];
    with_length_u16(&mut record, &handshake);
    record
}

/// Sends a ClientHello on a connection that waits for one, and reads the first record of the answer.
///
/// # Errors
/// The connection breaks in the middle of a record, or nothing comes.
pub fn ask(stream: &mut TcpStream, hello: &[u8]) -> io::Result<Answer> {
    stream.write_all(hello)?;
    let mut header = [0; 5];
    let mut read = 0;
    while read < header.len() {
        match stream.read(&mut header[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
    }
    if read == 0 {
        return Ok(Answer::Closed);
    }
    if read < header.len() || !matches!(header[0], 21 | 22) {
        return Ok(Answer::Other(header[0]));
    }
    let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut record)?;
    match (header[0], record.as_slice()) {
        (21, &[level, description, ..]) => Ok(Answer::Alert { level, description }),
        // RFC 5246 §7.4.1.3: type, length (3), version (2), random (32), session id, suite (2), compression.
        (22, [2, _, _, _, major, minor, rest @ ..]) if rest.len() > 33 => {
            let after_session = 33 + usize::from(rest[32]);
            let Some(&[first, second, compression]) = rest.get(after_session..after_session + 3) else {
                return Ok(Answer::Other(22));
            };
            Ok(Answer::Hello {
                version: u16::from_be_bytes([*major, *minor]),
                suite: u16::from_be_bytes([first, second]),
                compression,
            })
        }
        _ => Ok(Answer::Other(header[0])),
    }
}

fn extension(extensions: &mut Vec<u8>, kind: u16, data: &[u8]) {
    extensions.extend_from_slice(&kind.to_be_bytes());
    with_length_u16(extensions, data);
}

fn with_length_u16(into: &mut Vec<u8>, octets: &[u8]) {
    let length = u16::try_from(octets.len()).expect("a ClientHello of ours is short");
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(octets);
}
