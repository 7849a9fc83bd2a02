//! Dialogues as text, run on a session in memory.
//!
//! ```text
//! # A comment.
//! S: 220 box.example.test ESMTP …
//! C: EHLO client.example.test
//! S: 250-…
//! S: 250 SIZE 52428800
//! C| an octet string without CRLF\r\n\0\x80
//! T: TLSv1.3
//! ```
//!
//! `C:` is a line from the client, CRLF added; `C|` is octets without CRLF. In both, `\r`, `\n`,
//! `\0`, `\t`, `\\` and `\xNN` stand for octets. `S:` is a line from the server, where `…` stands
//! for any octets of that line. `S|` is server octets without CRLF (the end of a literal).
//! `T:` is a TLS handshake with that version. `X:` says that the server closes the connection.
//!
//! A dialogue is run several ways: each turn of the client whole, octet by octet, and cut at every
//! position. The server must say the same each time.

use crate::{Input, Moment, Output, Session, Step, TlsFacts};

/// The house of a dialogue: it answers what the session asks.
pub trait House<S: Session> {
    /// The answer to a question.
    fn answer(&mut self, need: S::Need) -> S::Answer;

    /// All octets of a source.
    fn copy(&mut self, source: S::Source) -> Vec<u8>;
}

/// One line of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    Client(Vec<u8>),
    Server(Vec<u8>),
    Tls,
    Closed,
}

/// A dialogue, parsed.
#[derive(Clone, Debug)]
pub struct Dialogue {
    turns: Vec<Turn>,
}

impl Dialogue {
    /// Parses the text of a dialogue. Neighbouring turns of the same side are one turn.
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
            let (mark, rest) = line.split_at(2.min(line.len()));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            match mark {
                "C:" => add(&mut turns, true, unescape(rest), true),
                "C|" => add(&mut turns, true, unescape(rest), false),
                "S:" => add(&mut turns, false, unescape(rest), true),
                "S|" => add(&mut turns, false, unescape(rest), false),
                "T:" => turns.push(Turn::Tls),
                "X:" => turns.push(Turn::Closed),
                _ => panic!("not a line of a dialogue: {line}"),
            }
        }
        Dialogue { turns }
    }

    /// Runs the dialogue whole, octet by octet and cut at every position, each time on a new session
    /// and house, and compares what the server says.
    ///
    /// # Panics
    /// When the server says anything else.
    pub fn run<S: Session, H: House<S>>(&self, make: impl Fn() -> (S, H)) {
        self.run_cut(&make, "each turn whole", |turn| vec![turn.len()]);
        self.run_cut(&make, "octet by octet", |turn| (1..=turn.len()).collect());
        let longest = self.turns.iter().map(|turn| {
            if let Turn::Client(octets) = turn {
                octets.len()
            } else {
                0
            }
        });
        for cut in 1..longest.max().unwrap_or(0) {
            self.run_cut(&make, &format!("each turn cut at octet {cut}"), |turn| {
                vec![cut.min(turn.len()), turn.len()]
            });
        }
    }

    fn run_cut<S: Session, H: House<S>>(
        &self,
        make: &impl Fn() -> (S, H),
        way: &str,
        cuts: impl Fn(&[u8]) -> Vec<usize>,
    ) {
        let (session, house) = make();
        let mut driver = Driver {
            session,
            house,
            input: Input::new(),
            output: Output::new(),
            state: State::Open,
        };
        driver.go_on();
        for (place, turn) in self.turns.iter().enumerate() {
            match turn {
                Turn::Client(octets) => {
                    let mut start = 0;
                    for end in cuts(octets) {
                        driver.feed(&octets[start..end]);
                        start = end;
                    }
                }
                Turn::Server(expected) => {
                    let said = driver.said();
                    assert!(
                        matches(expected, &said),
                        "{way}, turn {place}:\nexpected {}\n    said {}",
                        expected.escape_ascii(),
                        said.escape_ascii(),
                    );
                }
                Turn::Tls => {
                    assert_eq!(
                        driver.state,
                        State::WantsTls,
                        "{way}, turn {place}: TLS was not asked for"
                    );
                    driver.tls_started();
                }
                Turn::Closed => {
                    assert_eq!(
                        driver.state,
                        State::Closed,
                        "{way}, turn {place}: the connection is open"
                    );
                }
            }
        }
        let said = driver.said();
        assert!(
            said.is_empty(),
            "{way}: said at the end, unasked: {}",
            said.escape_ascii()
        );
    }
}

fn add(turns: &mut Vec<Turn>, is_client: bool, mut octets: Vec<u8>, is_line: bool) {
    if is_line {
        octets.extend_from_slice(b"\r\n");
    }
    match (turns.last_mut(), is_client) {
        (Some(Turn::Client(last)), true) | (Some(Turn::Server(last)), false) => {
            last.extend_from_slice(&octets);
        }
        (_, true) => turns.push(Turn::Client(octets)),
        (_, false) => turns.push(Turn::Server(octets)),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next() {
            Some('r') => octets.push(b'\r'),
            Some('n') => octets.push(b'\n'),
            Some('t') => octets.push(b'\t'),
            Some('0') => octets.push(0),
            Some('\\') => octets.push(b'\\'),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                octets.push(
                    u8::from_str_radix(&digits, 16).expect("\\x is followed by two hexadecimal digits"),
                );
            }
            other => panic!("not an escape of a dialogue: \\{other:?}"),
        }
    }
    octets
}

/// Whether `said` is `expected`, where `…` stands for any octets without CR.
fn matches(expected: &[u8], said: &[u8]) -> bool {
    let mut pieces = split_on(expected, "…".as_bytes()).into_iter();
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = said.strip_prefix(first) else {
        return false;
    };
    let mut last_was_open = false;
    for piece in pieces {
        last_was_open = piece.is_empty();
        if last_was_open {
            continue;
        }
        let line_end = if piece.starts_with(b"\r") {
            rest.len()
        } else {
            end_of_line(rest) + piece.len()
        };
        let window = &rest[..line_end.min(rest.len())];
        let Some(at) = memchr::memmem::find(window, piece) else {
            return false;
        };
        if rest[..at].contains(&b'\r') {
            return false;
        }
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty() || last_was_open
}

fn end_of_line(octets: &[u8]) -> usize {
    memchr::memchr(b'\r', octets).unwrap_or(octets.len())
}

fn split_on<'a>(octets: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for at in memchr::memmem::find_iter(octets, separator) {
        pieces.push(&octets[start..at]);
        start = at + separator.len();
    }
    pieces.push(&octets[start..]);
    pieces
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    WantsTls,
    Closed,
}

/// Drives a session in memory, as the pump does on a socket.
struct Driver<S, H> {
    session: S,
    house: H,
    input: Input,
    output: Output,
    state: State,
}

impl<S: Session, H: House<S>> Driver<S, H> {
    fn feed(&mut self, octets: &[u8]) {
        if self.state == State::Open {
            self.input.extend(octets);
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        loop {
            match self
                .session
                .advance(&mut self.input, &mut self.output, Moment::START)
            {
                Step::Read | Step::Listen => return,
                Step::Need(need) => {
                    let answer = self.house.answer(need);
                    self.session.answer(answer, &mut self.output, Moment::START);
                }
                Step::Copy(source) => {
                    let octets = self.house.copy(source);
                    self.output.push(&octets);
                }
                Step::StartTls => {
                    self.state = if self.input.is_empty() {
                        State::WantsTls
                    } else {
                        State::Closed
                    };
                    return;
                }
                Step::Close => {
                    self.state = State::Closed;
                    return;
                }
            }
        }
    }

    fn tls_started(&mut self) {
        self.state = State::Open;
        let tls = TlsFacts {
            version: "TLSv1.3",
            cipher_suite: "TLS13_AES_128_GCM_SHA256",
            server_name: None,
        };
        self.session.tls_started(tls, Moment::START);
        self.go_on();
    }

    fn said(&mut self) -> Vec<u8> {
        std::mem::take(self.output.as_vec_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Line, LineReader};

    /// Says back each line, upper case when the house says so; `tls` and `quit` are commands.
    struct Echo {
        lines: LineReader,
        asked: bool,
        has_greeted: bool,
    }

    struct Loud;

    impl House<Echo> for Loud {
        fn answer(&mut self, need: Vec<u8>) -> Vec<u8> {
            need.to_ascii_uppercase()
        }

        fn copy(&mut self, source: &'static str) -> Vec<u8> {
            source.as_bytes().to_vec()
        }
    }

    impl Session for Echo {
        type Need = Vec<u8>;
        type Answer = Vec<u8>;
        type Source = &'static str;

        fn advance(
            &mut self,
            input: &mut Input,
            output: &mut Output,
            _now: Moment,
        ) -> Step<Self::Need, Self::Source> {
            if !self.has_greeted {
                self.has_greeted = true;
                output.push(b"hello from box 7\r\n");
            }
            match self.lines.next(input) {
                None => Step::Read,
                Some(Line::TooLong) => Step::Close,
                Some(Line::Complete(line)) => match line.as_slice() {
                    b"tls" => Step::StartTls,
                    b"quit" => Step::Close,
                    b"copy" => Step::Copy("a copy\r\n"),
                    _ => {
                        self.asked = true;
                        Step::Need(line)
                    }
                },
            }
        }

        fn answer(&mut self, answer: Vec<u8>, output: &mut Output, _now: Moment) {
            output.push(&answer);
            output.push(b"\r\n");
        }

        fn tls_started(&mut self, _tls: TlsFacts, _now: Moment) {}

        fn deadline(&self) -> Moment {
            Moment::START
        }

        fn timed_out(&mut self, _output: &mut Output) {}

        fn shut_down(&mut self, _output: &mut Output) {}
    }

    fn echo() -> (Echo, Loud) {
        (
            Echo {
                lines: LineReader::new(100),
                asked: false,
                has_greeted: false,
            },
            Loud,
        )
    }

    #[test]
    fn a_dialogue_runs_cut_anywhere() {
        Dialogue::parse(
            "S: hello from …
             C: abc\\x64
             S: ABCD
             C: tls
             T: TLSv1.3
             C: one
             C: copy
             S: ONE
             S: a copy
             C: quit
             X:",
        )
        .run(echo);
    }

    #[test]
    #[should_panic(expected = "expected ABX")]
    fn another_reply_is_noticed() {
        Dialogue::parse("S: hello from …\nC: abc\nS: ABX").run(echo);
    }

    #[test]
    #[should_panic(expected = "unasked")]
    fn a_reply_too_many_is_noticed() {
        Dialogue::parse("S: hello from …\nC: abc").run(echo);
    }

    #[test]
    fn the_wildcard_stays_in_its_line() {
        assert!(matches("250-…\r\n250 b\r\n".as_bytes(), b"250-xyz\r\n250 b\r\n"));
        assert!(matches("250-a … c\r\n".as_bytes(), b"250-a b c\r\n"));
        assert!(!matches(
            "250-…\r\n250 b\r\n".as_bytes(),
            b"250-xyz\r\n250-q\r\n250 b\r\n"
        ));
        assert!(!matches("250 a\r\n".as_bytes(), b"250 a\r\n250 b\r\n"));
    }
}
