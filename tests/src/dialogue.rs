//! Dialogues as text, run on a real connection.
//!
//! The same text that `firmware/wire/src/testing.rs` describes and runs on a session in memory; this runner shares
//! no line with it. `C:` is a line from the client and `S:` one from the server, CRLF added; `C|` and `S|` are octets
//! without CRLF; `T:` is a TLS handshake; `X:` says that the box closes. `\r \n \t \0 \\ \xNN` stand for octets, `…`
//! in a server line for any octets of that line.
//!
//! A dialogue runs against a box if one of its comments is `# on a box`: then it uses nothing but what
//! [`Office::of_dialogues`](crate::Office::of_dialogues) has, and leaves nothing behind that the next run would notice.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::client::Conversation;

/// The comment that marks a dialogue as fit for a real box.
const MARK: &str = "# on a box";

/// The trace id that the in-memory tests give to every message.
const TRACE_ID_IN_MEMORY: &str = "0000000000000000";

/// What a turn consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    /// What the client says before it listens again.
    Client(Vec<u8>),
    /// A line of the server, with `…` in it.
    Line(String),
    /// Octets of the server, taken word for word.
    Octets(Vec<u8>),
    Tls,
    Closed,
}

/// A dialogue, parsed.
#[derive(Clone, Debug)]
pub struct Dialogue {
    turns: Vec<Turn>,
}

/// How the client's turns are cut into writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each turn is one write.
    Whole,
    /// Each octet is one.
    OctetByOctet,
    /// Two writes, the first of this many octets.
    CutAt(usize),
}

impl Dialogue {
    /// Whether the text says that it is fit for a real box.
    pub fn is_for_a_box(text: &str) -> bool {
        text.lines().any(|line| line.trim() == MARK)
    }

    /// Parses the text.
    ///
    /// # Panics
    /// On a line it does not know: the dialogue is part of a test.
    pub fn parse(text: &str) -> Dialogue {
        let mut turns = Vec::new();
        for line in text.lines() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (mark, rest) = line.split_at(line.len().min(2));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            match mark {
                "C:" => say(&mut turns, &[octets(rest), b"\r\n".to_vec()].concat()),
                "C|" => say(&mut turns, &octets(rest)),
                "S:" => turns.push(Turn::Line(rest.to_owned())),
                "S|" => turns.push(Turn::Octets(octets(rest))),
                "T:" => turns.push(Turn::Tls),
                "X:" => turns.push(Turn::Closed),
                _ => panic!("not a line of a dialogue: {line}"),
            }
        }
        Dialogue { turns }
    }

    /// How much the client says in all.
    pub fn octets(&self) -> usize {
        self.lengths().sum()
    }

    /// The octets of its longest client turn: cuts make sense below that.
    pub fn longest_turn(&self) -> usize {
        self.lengths().max().unwrap_or(0)
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.turns.iter().map(|turn| {
            if let Turn::Client(octets) = turn {
                octets.len()
            } else {
                0
            }
        })
    }

    /// Runs it on a new connection.
    ///
    /// # Errors
    /// The box says something else; the error tells what was said.
    pub fn run(
        &self,
        mut box_side: Conversation,
        tls: &Arc<ClientConfig>,
        name: &str,
        way: Way,
    ) -> io::Result<()> {
        let mut is_greeting = true;
        for turn in &self.turns {
            match turn {
                Turn::Client(octets) => {
                    is_greeting = is_greeted(octets);
                    let cut = match way {
                        Way::Whole => octets.len(),
                        Way::OctetByOctet => 1,
                        Way::CutAt(at) => at.clamp(1, octets.len()),
                    };
                    let (first, rest) = octets.split_at(cut);
                    box_side.send(first)?;
                    let size = if way == Way::OctetByOctet {
                        1
                    } else {
                        rest.len().max(1)
                    };
                    for piece in rest.chunks(size) {
                        box_side.send(piece)?;
                    }
                }
                Turn::Line(expected) => {
                    let said = box_side.line()?;
                    if !is_like(&pieces(&on_the_box(expected, is_greeting, name)), &said) {
                        return Err(unexpected(&box_side, way, expected));
                    }
                    is_greeting = false;
                }
                Turn::Octets(expected) => {
                    if box_side.exactly(expected.len())? != *expected {
                        return Err(unexpected(&box_side, way, &expected.escape_ascii().to_string()));
                    }
                }
                Turn::Tls => box_side.start_tls(Arc::clone(tls), name)?,
                Turn::Closed => {
                    let rest = box_side.rest()?;
                    if !rest.is_empty() {
                        return Err(unexpected(&box_side, way, "the end of the connection"));
                    }
                }
            }
        }
        box_side.finish();
        let rest = box_side.rest()?;
        if rest.is_empty() || self.turns.last() == Some(&Turn::Closed) {
            return Ok(());
        }
        // A session that is cut off may say goodbye (421, BYE), and nothing else.
        let goodbye = [b"421".as_slice(), b"* BYE"]
            .iter()
            .any(|start| rest.starts_with(start));
        if goodbye {
            Ok(())
        } else {
            Err(unexpected(&box_side, way, "nothing more"))
        }
    }
}

fn unexpected(box_side: &Conversation, way: Way, expected: &str) -> io::Error {
    box_side.failure(
        io::ErrorKind::InvalidData,
        &format!("{way:?}: expected {expected}"),
    )
}

fn say(turns: &mut Vec<Turn>, octets: &[u8]) {
    if let Some(Turn::Client(last)) = turns.last_mut() {
        last.extend_from_slice(octets);
    } else {
        turns.push(Turn::Client(octets.to_vec()));
    }
}

/// Resolves the escapes of a text.
fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        octets.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest[at + 1..]
            .chars()
            .next()
            .expect("a backslash is followed by its letter");
        let mut length = 1 + escape.len_utf8();
        octets.push(match escape {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            'x' => {
                length += 2;
                u8::from_str_radix(&rest[at + 2..at + 4], 16)
                    .expect("\\x is followed by two hexadecimal digits")
            }
            other => panic!("not an escape of a dialogue: \\{other}"),
        });
        rest = &rest[at + length..];
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}

/// A server line of the in-memory tests as this box says it: with any trace id, and with its own name where it greets.
fn on_the_box(expected: &str, is_greeting: bool, name: &str) -> String {
    let expected = expected.replace(TRACE_ID_IN_MEMORY, "…");
    if is_greeting
        && let Some((code @ ("220" | "250"), rest)) = expected.split_at_checked(3)
        && let Some(rest) = rest.strip_prefix(['-', ' '])
    {
        let separator = &expected[3..4];
        let (own, more) = rest
            .split_once(' ')
            .map_or((rest, ""), |(own, _)| (own, &rest[own.len()..]));
        if own.contains('.') {
            return format!("{code}{separator}{name}{more}");
        }
    }
    expected
}

/// Whether the next reply of the box begins with its name (RFC 5321 §4.2, §4.3.1).
fn is_greeted(said: &[u8]) -> bool {
    let word = said.get(..5).unwrap_or_default().to_ascii_uppercase();
    word == b"EHLO " || word == b"HELO "
}

/// A server line, cut at its ellipses.
fn pieces(expected: &str) -> Vec<Vec<u8>> {
    expected.split('…').map(octets).collect()
}

/// Whether a line consists of the pieces in their order, with anything between them.
fn is_like(pieces: &[Vec<u8>], said: &[u8]) -> bool {
    let [first, middle @ ..] = pieces else {
        return said.is_empty();
    };
    let Some(mut rest) = said.strip_prefix(first.as_slice()) else {
        return false;
    };
    let Some((last, middle)) = middle.split_last() else {
        return rest.is_empty();
    };
    for piece in middle.iter().filter(|piece| !piece.is_empty()) {
        let Some(at) = rest
            .windows(piece.len())
            .position(|window| window == piece.as_slice())
        else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn an_ellipsis_stands_for_anything_in_its_line() {
        let like = |expected: &str, said: &str| is_like(&pieces(expected), said.as_bytes());
        assert!(like("250 … c", "250 a b c"));
        assert!(like("250-…", "250-"));
        assert!(like(
            "* …LIST (…) … INBOX",
            "* LIST (\\HasNoChildren) \"/\" INBOX"
        ));
        assert!(!like("250 a", "250 a b"));
        assert!(!like("250 … c", "250 a b d"));
    }

    #[test]
    fn name_and_trace_id_are_the_boxs_own() {
        assert_eq!(
            on_the_box("250-firma.test", true, "box.example"),
            "250-box.example"
        );
        assert_eq!(
            on_the_box("220 foo.com …", true, "box.example"),
            "220 box.example …"
        );
        assert_eq!(
            on_the_box("250 firma.test", false, "box.example"),
            "250 firma.test"
        );
        assert_eq!(
            on_the_box("250 2.0.0 Accepted as 0000000000000000", false, "x"),
            "250 2.0.0 Accepted as …"
        );
        assert!(is_greeted(b"ehlo a\r\n") && !is_greeted(b"NOOP\r\n"));
    }

    #[test]
    fn escapes_are_octets() {
        assert_eq!(octets("a\\x80\\r\\n\\0\\\\…"), b"a\x80\r\n\0\\\xe2\x80\xa6");
    }

    /// A server that says each line back, then closes at `quit`.
    fn echo(dialogue: &str, way: Way) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let server = std::thread::spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.write_all(b"hello from box 7\r\n")?;
            let mut lines = BufReader::new(stream.try_clone()?);
            let mut line = String::new();
            while lines.read_line(&mut line)? > 0 && line != "quit\r\n" {
                stream.write_all(line.to_ascii_uppercase().as_bytes())?;
                line.clear();
            }
            Ok(())
        });
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
        let result = Dialogue::parse(dialogue).run(Conversation::connect(addr)?, &Arc::new(tls), "box", way);
        // A dialogue that fails leaves the server with a broken connection.
        let _ = server.join().expect("the server does not panic");
        result
    }

    #[test]
    fn a_dialogue_runs_in_every_way() {
        let text = "S: hello …\nC: abc\nC: def\nS: ABC\nS| DE\nS: F\nC: quit\nX:";
        for way in [Way::Whole, Way::OctetByOctet, Way::CutAt(2), Way::CutAt(7)] {
            echo(text, way).expect("the dialogue is what the server says");
        }
    }

    #[test]
    fn another_reply_is_noticed() {
        let error = echo("S: hello …\nC: abc\nS: ABX\nC: quit\nX:", Way::Whole).expect_err("ABC is not ABX");
        assert!(error.to_string().contains("expected ABX"), "{error}");
    }

    #[test]
    fn a_reply_too_many_is_noticed() {
        let error = echo("S: hello …\nC: abc\nC: def\nS: ABC", Way::Whole).expect_err("DEF was said too");
        assert!(error.to_string().contains("expected nothing more"), "{error}");
    }
}
