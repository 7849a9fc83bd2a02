//! Messages to send, made from a seed, and what the box may put in front of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::random::Random;

/// S0: the largest message the box takes.
pub const MESSAGE_OCTETS_MAX: usize = 52_428_800;
/// S5: the attachment that must pass.
pub const ATTACHMENT_OCTETS: usize = 36_700_160;

/// A short message of several lines: plain text, a folded field, lines that begin with dots, 8-bit text, and no
/// blank end. `id` is its Message-ID.
pub fn short_message(from: &str, to: &str, id: &str) -> Vec<u8> {
    format!(
        "From: Odes\u{ed}latel <{from}>\r\nTo: <{to}>\r\nSubject: A message that is told\r\n from another by <{id}>\r\n\
         Date: Tue, 24 Nov 2026 09:00:00 +0100\r\nMessage-ID: <{id}>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         P\u{159}\u{ed}li\u{161} \u{17e}lu\u{165}ou\u{10d}k\u{fd} k\u{16f}\u{148}.\r\n.\r\n..two dots\r\n.dot and text\r\n\r\n \ttrailing blanks \t\r\n"
    )
    .into_bytes()
}

/// A message of about `octets` octets in lines of printable characters that only this seed gives.
pub fn random_message(from: &str, to: &str, id: &str, octets: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut message = format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: load\r\nDate: Tue, 24 Nov 2026 09:00:00 +0100\r\n\
         Message-ID: <{id}>\r\n\r\n"
    )
    .into_bytes();
    while message.len() < octets {
        let length = 1 + random.below(76);
        let line = random.octets(length).into_iter().map(|octet| b' ' + octet % 95);
        message.extend(line);
        message.extend_from_slice(b"\r\n");
    }
    message
}

/// Exactly `octets` octets, CRLF line ends included.
pub fn message_of_size(from: &str, to: &str, octets: usize) -> Vec<u8> {
    let mut message =
        format!("From: <{from}>\r\nTo: <{to}>\r\nSubject: exactly {octets} octets\r\n\r\n").into_bytes();
    let line = [
        b"0123456789 the quick brown fox jumps over the lazy dog and runs far away".as_slice(),
        b"\r\n",
    ]
    .concat();
    message.reserve(octets);
    while message.len() + line.len() + 2 <= octets {
        message.extend_from_slice(&line);
    }
    let left = octets - message.len();
    message.extend(std::iter::repeat_n(b'x', left - 2));
    message.extend_from_slice(b"\r\n");
    assert_eq!(message.len(), octets);
    message
}

/// A message with 64 KiB of text and an attachment, and where the attachment's base64 stands in it (S5).
#[derive(Debug)]
pub struct WithAttachment {
    /// The whole message.
    pub message: Vec<u8>,
    /// The octets of the attachment, decoded.
    pub attachment: Vec<u8>,
}

/// Makes an attachment of `octets` random octets, in base64 lines of `columns`.
pub fn with_attachment(from: &str, to: &str, octets: usize, columns: usize, seed: u64) -> WithAttachment {
    let mut random = Random::new(seed);
    let attachment = random.octets(octets);
    let mut message = format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: An attachment\r\nDate: Tue, 24 Nov 2026 09:00:00 +0100\r\n\
         Message-ID: <attachment-{columns}-{seed}@client.example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_between\"\r\n\r\n\
         --=_between\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
    )
    .into_bytes();
    let text_start = message.len();
    while message.len() - text_start < 64 * 1024 {
        message.extend_from_slice(b"A line of the text that goes with the attachment, again and again.\r\n");
    }
    message.extend_from_slice(
        b"--=_between\r\nContent-Type: application/octet-stream\r\n\
          Content-Disposition: attachment; filename=\"random.bin\"\r\n\
          Content-Transfer-Encoding: base64\r\n\r\n",
    );
    let encoded = STANDARD.encode(&attachment);
    message.reserve(encoded.len() + encoded.len() / columns * 2 + 64);
    for line in encoded.as_bytes().chunks(columns) {
        message.extend_from_slice(line);
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"--=_between--\r\n");
    WithAttachment { message, attachment }
}

/// Decodes the base64 of a body part, line ends included.
///
/// # Panics
/// It is no base64.
pub fn decode_base64(part: &[u8]) -> Vec<u8> {
    let octets: Vec<u8> = part
        .iter()
        .copied()
        .filter(|octet| !octet.is_ascii_whitespace())
        .collect();
    STANDARD.decode(octets).expect("the part is base64")
}

/// The fields the box puts in front of a delivered message. All else must come back octet for octet.
const OWN_FIELDS: [&str; 3] = ["Return-Path", "Delivered-To", "Received"];

/// Compares a delivered message with what was sent, and gives the box's own prefix.
///
/// # Errors
/// A sentence with the first place where they differ.
pub fn own_prefix<'a>(fetched: &'a [u8], sent: &[u8]) -> Result<&'a str, String> {
    let Some(prefix_length) = fetched.len().checked_sub(sent.len()) else {
        return Err(format!("{} octets came back of {}", fetched.len(), sent.len()));
    };
    let (prefix, rest) = fetched.split_at(prefix_length);
    if rest != sent {
        let differs = rest
            .iter()
            .zip(sent)
            .rposition(|(one, other)| one != other)
            .unwrap_or(0);
        let start = differs.saturating_sub(40);
        return Err(format!(
            "octet {differs} differs: …{} came back, …{} was sent",
            rest[start..(differs + 20).min(rest.len())].escape_ascii(),
            sent[start..(differs + 20).min(sent.len())].escape_ascii(),
        ));
    }
    let prefix = std::str::from_utf8(prefix).map_err(|_| "the box's own prefix is no text".to_owned())?;
    let mut names = Vec::new();
    for line in prefix.split_inclusive("\r\n") {
        let is_folded = line.starts_with([' ', '\t']);
        let name = line.split(':').next().unwrap_or_default();
        if !line.ends_with("\r\n") || (!is_folded && !OWN_FIELDS.contains(&name)) {
            return Err(format!("not a field of the box's own: {line:?}"));
        }
        if !is_folded {
            names.push(name);
        }
    }
    // RFC 5321 §4.4: a final delivery adds Return-Path, and every receiving server a Received field.
    for name in ["Return-Path", "Received"] {
        if names.iter().filter(|&&found| found == name).count() != 1 {
            return Err(format!("expected one {name} of the box's own, got {names:?}"));
        }
    }
    Ok(prefix)
}

/// The octets of `message` under the field name, unfolded; the first one counts.
pub fn field(message: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    let head = text
        .split("\r\n\r\n")
        .next()?
        .replace("\r\n ", " ")
        .replace("\r\n\t", " ");
    head.split("\r\n").find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &[u8] = b"Return-Path: <a@x>\r\nReceived: from y\r\n\tby z; now\r\n";

    #[test]
    fn a_message_has_the_size_it_was_asked_for() {
        for octets in [1000, 1001, 1074, 1075, 5000] {
            assert_eq!(message_of_size("a@x", "b@y", octets).len(), octets);
        }
    }

    #[test]
    fn the_own_prefix_is_cut_off() {
        let sent = b"Subject: x\r\n\r\nbody\r\n";
        let fetched = [PREFIX, sent].concat();
        assert_eq!(own_prefix(&fetched, sent).map(str::len), Ok(PREFIX.len()));
    }

    #[test]
    fn a_changed_octet_is_noticed() {
        let fetched = [PREFIX, b"Subject: x\r\n\r\nbodY\r\n"].concat();
        let error = own_prefix(&fetched, b"Subject: x\r\n\r\nbody\r\n").expect_err("Y is not y");
        assert!(error.contains("octet 17 differs"), "{error}");
    }

    #[test]
    fn a_field_that_is_not_the_boxs_own_is_noticed() {
        let fetched = [PREFIX, b"X-Spy: 1\r\nSubject: x\r\n\r\n"].concat();
        assert!(own_prefix(&fetched, b"Subject: x\r\n\r\n").is_err());
    }

    #[test]
    fn an_attachment_survives_its_columns() {
        for columns in [76, 72, 64] {
            let made = with_attachment("a@x", "b@y", 1000, columns, 7);
            let text = String::from_utf8(made.message).expect("base64 and English are ASCII");
            let part = text
                .split("base64\r\n\r\n")
                .nth(1)
                .and_then(|part| part.split("--=_").next());
            assert_eq!(
                decode_base64(part.expect("the part is there").as_bytes()),
                made.attachment
            );
        }
    }
}
