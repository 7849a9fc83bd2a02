//! An IMAP client that reads just enough of the grammar to find literals, numbers and the tagged line.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use super::Conversation;

/// One response: the line, and in it each literal (RFC 9051 §4.3) where its octets stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The response with the octets of its literals taken out; `{5}` stands where they were.
    pub line: String,
    /// The literals in their order.
    pub literals: Vec<Vec<u8>>,
}

/// What a command brought.
#[derive(Clone, Debug, Default)]
pub struct Completed {
    /// The untagged responses.
    pub untagged: Vec<Response>,
    /// The tagged line without its tag: `OK [READ-WRITE] …`.
    pub tagged: String,
}

impl Completed {
    /// Whether it ended in OK.
    pub fn is_ok(&self) -> bool {
        self.tagged.starts_with("OK ")
    }

    /// The number in an untagged response like `* 7 EXISTS`; the last one counts.
    pub fn number_of(&self, word: &str) -> Option<u64> {
        self.untagged.iter().rev().find_map(|response| {
            let (number, rest) = response.line.strip_prefix("* ")?.split_once(' ')?;
            (rest.split(' ').next() == Some(word)).then(|| number.parse().ok())?
        })
    }

    /// The value of a response code like `[UIDVALIDITY 4]`, tagged or untagged.
    pub fn code(&self, name: &str) -> Option<u64> {
        let lines = self.untagged.iter().map(|response| response.line.as_str());
        lines.chain([self.tagged.as_str()]).find_map(|line| {
            let (_, rest) = line.split_once(&format!("[{name} "))?;
            rest.split([']', ' ']).next()?.parse().ok()
        })
    }
}

/// One message of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its UID.
    pub uid: u32,
    /// RFC822.SIZE.
    pub size: u64,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// One IMAP connection.
pub struct Imap {
    /// The connection, for what no method says.
    pub conversation: Conversation,
    /// The greeting line.
    pub greeting: String,
    last_tag: u32,
}

impl Imap {
    /// Connects inside TLS and reads the greeting.
    ///
    /// # Errors
    /// Nobody listens, the handshake fails, or there is no greeting.
    pub fn connect(addr: SocketAddr, config: Arc<ClientConfig>, name: &str) -> io::Result<Imap> {
        let mut conversation = Conversation::connect_tls(addr, config, name)?;
        let greeting = String::from_utf8_lossy(&conversation.line()?).into_owned();
        if !greeting.starts_with("* OK ") {
            return Err(conversation.failure(io::ErrorKind::InvalidData, "not a greeting of IMAP"));
        }
        Ok(Imap {
            conversation,
            greeting,
            last_tag: 0,
        })
    }

    /// Sends a command with a fresh tag and reads up to its tagged line.
    ///
    /// # Errors
    /// The connection is gone; a BYE is one.
    pub fn command(&mut self, command: &str) -> io::Result<Completed> {
        let tag = self.start(command)?;
        self.finish(&tag)
    }

    /// Sends a command that must end in OK.
    ///
    /// # Errors
    /// It does not.
    pub fn ok(&mut self, command: &str) -> io::Result<Completed> {
        let completed = self.command(command)?;
        if completed.is_ok() {
            return Ok(completed);
        }
        Err(self
            .conversation
            .failure(io::ErrorKind::InvalidData, "expected OK"))
    }

    /// Sends a command and leaves its responses unread; gives the tag.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn start(&mut self, command: &str) -> io::Result<String> {
        self.last_tag += 1;
        let tag = format!("t{}", self.last_tag);
        self.conversation.send_line(&format!("{tag} {command}"))?;
        Ok(tag)
    }

    /// Reads up to the tagged line.
    ///
    /// # Errors
    /// The connection is gone, or the box asks for more (`+`).
    pub fn finish(&mut self, tag: &str) -> io::Result<Completed> {
        let mut completed = Completed::default();
        loop {
            let response = self.response()?;
            if let Some(rest) = response.line.strip_prefix(&format!("{tag} ")) {
                rest.clone_into(&mut completed.tagged);
                return Ok(completed);
            }
            if !response.line.starts_with("* ") {
                return Err(self
                    .conversation
                    .failure(io::ErrorKind::InvalidData, "neither untagged nor ours"));
            }
            completed.untagged.push(response);
        }
    }

    /// Reads one response with its literals.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn response(&mut self) -> io::Result<Response> {
        let mut response = Response::default();
        loop {
            let line = self.conversation.line()?;
            response.line.push_str(&String::from_utf8_lossy(&line));
            let Some(length) = literal_length(&line) else {
                return Ok(response);
            };
            response.literals.push(self.conversation.exactly(length)?);
        }
    }

    /// LOGIN with quoted strings.
    ///
    /// # Errors
    /// The box refuses.
    pub fn login(&mut self, login: &str, password: &str) -> io::Result<()> {
        self.ok(&format!("LOGIN {} {}", quoted(login), quoted(password)))
            .map(drop)
    }

    /// APPEND with a synchronising literal.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn append(&mut self, mailbox: &str, arguments: &str, message: &[u8]) -> io::Result<Completed> {
        let tag = self.start(&format!(
            "APPEND {}{arguments} {{{}}}",
            quoted(mailbox),
            message.len()
        ))?;
        let response = self.response()?;
        if let Some(rest) = response.line.strip_prefix(&format!("{tag} ")) {
            return Ok(Completed {
                untagged: Vec::new(),
                tagged: rest.to_owned(),
            });
        }
        if !response.line.starts_with("+ ") {
            return Err(self
                .conversation
                .failure(io::ErrorKind::InvalidData, "neither + nor tagged"));
        }
        self.conversation.send(message)?;
        self.conversation.send(b"\r\n")?;
        self.finish(&tag)
    }

    /// All messages of the selected mailbox, by UID. Nothing is marked as seen.
    ///
    /// # Errors
    /// The connection is gone, or an answer is not understood.
    pub fn fetch_all(&mut self) -> io::Result<Vec<Fetched>> {
        self.fetch("1:*")
    }

    /// The messages with these UIDs, in the order the box tells them.
    ///
    /// # Errors
    /// The connection is gone, or an answer is not understood.
    pub fn fetch(&mut self, uids: &str) -> io::Result<Vec<Fetched>> {
        let completed = self.ok(&format!("UID FETCH {uids} (UID RFC822.SIZE BODY.PEEK[])"))?;
        let mut messages = Vec::new();
        for response in completed.untagged {
            if !response.line.contains(" FETCH (") || response.literals.is_empty() {
                continue;
            }
            let numbers = numbers(&response.line);
            let (Some(&uid), Some(&size)) = (numbers.get("UID"), numbers.get("RFC822.SIZE")) else {
                return Err(self
                    .conversation
                    .failure(io::ErrorKind::InvalidData, "FETCH without UID or size"));
            };
            let uid = u32::try_from(uid).map_err(io::Error::other)?;
            let octets = response.literals.into_iter().next().unwrap_or_default();
            messages.push(Fetched { uid, size, octets });
        }
        Ok(messages)
    }
}

/// A quoted string (RFC 9051 §4.3).
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The length at the end of a line that announces a literal: `… {310}`.
fn literal_length(line: &[u8]) -> Option<usize> {
    let digits = line.strip_suffix(b"}")?;
    let open = digits.iter().rposition(|&octet| octet == b'{')?;
    std::str::from_utf8(&digits[open + 1..]).ok()?.parse().ok()
}

/// The items of a FETCH response whose value is a number.
fn numbers(line: &str) -> BTreeMap<&str, u64> {
    let words: Vec<&str> = line.split([' ', '(', ')']).collect();
    words
        .windows(2)
        .filter_map(|pair| Some((pair[0], pair[1].parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_announced_at_the_end_of_a_line() {
        assert_eq!(literal_length(b"* 1 FETCH (UID 4 BODY[] {310}"), Some(310));
        assert_eq!(literal_length(b"* OK {310} octets"), None);
        assert_eq!(literal_length(b"* OK }"), None);
    }

    #[test]
    fn numbers_of_a_fetch_are_found_in_any_order() {
        let found = numbers("* 12 FETCH (RFC822.SIZE 44827 FLAGS (\\Seen) UID 7 BODY[] {9})");
        assert_eq!(
            (found.get("UID"), found.get("RFC822.SIZE")),
            (Some(&7), Some(&44_827))
        );
    }

    #[test]
    fn a_number_before_its_word_is_read() {
        let completed = Completed {
            untagged: vec![
                Response {
                    line: "* 3 EXISTS".to_owned(),
                    literals: Vec::new(),
                },
                Response {
                    line: "* OK [UIDVALIDITY 99] fixed".to_owned(),
                    literals: Vec::new(),
                },
            ],
            tagged: "OK done".to_owned(),
        };
        assert_eq!(completed.number_of("EXISTS"), Some(3));
        assert_eq!(completed.code("UIDVALIDITY"), Some(99));
    }
}
