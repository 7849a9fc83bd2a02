//! A program that runs, and what it says.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use handoff::{Channel, Message, ReceiveError, Received};
use nix::libc::SIGSYS;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::console::ascii;
use crate::refused;
use crate::spawn::Spawned;

/// Columns of a line of a child on the console; what is longer is continued on the next.
const LINE_OCTETS_MAX: usize = 160;
/// Lines of a child in one second. A program that babbles must not bury what others say.
const LINES_MAX: u32 = 40;
const LINES_PERIOD_MS: u64 = 1000;

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) since_ms: u64,
    /// Gone when the child has closed its end or has broken the contract.
    control: Option<Channel>,
    /// Gone when it has closed its end.
    output: Option<std::io::PipeReader>,
    lines: Lines,
}

/// What came over the control socket.
pub(crate) enum Told<M> {
    Message(Received<M>),
    /// Nothing more for now.
    Nothing,
    /// It broke the contract and was killed; these are the words for the console.
    Killed(String),
}

impl Child {
    pub(crate) fn new(spawned: Spawned, now_ms: u64) -> Self {
        Self {
            pid: spawned.pid,
            since_ms: now_ms,
            control: Some(spawned.control),
            output: Some(spawned.output),
            lines: Lines::default(),
        }
    }

    pub(crate) fn control_fd(&self) -> Option<BorrowedFd<'_>> {
        self.control.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn output_fd(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// Sends a message; whether it was taken. A child that does not read for more than a hundred messages misses some:
    /// init does not wait for it.
    pub(crate) fn send<M: Message>(&self, message: &M, descriptors: &[BorrowedFd<'_>]) -> bool {
        self.control
            .as_ref()
            .is_some_and(|control| control.send(message, descriptors).is_ok())
    }

    /// Takes the next message. A child that sends nonsense is ended: it is not the program we started any more.
    pub(crate) fn receive<M: Message>(&mut self) -> Told<M> {
        let Some(control) = &self.control else {
            return Told::Nothing;
        };
        match control.receive() {
            Ok(received) => Told::Message(received),
            Err(ReceiveError::Io(error)) if error.kind() == ErrorKind::WouldBlock => Told::Nothing,
            Err(ReceiveError::Closed) => {
                // It is about to end; one that closed the socket and lives on is of no use to anybody.
                self.control = None;
                self.signal(Signal::SIGTERM);
                Told::Nothing
            }
            Err(error) => {
                self.control = None;
                self.signal(Signal::SIGKILL);
                let cause =
                    std::error::Error::source(&error).map_or(String::new(), |cause| format!(" ({cause})"));
                Told::Killed(format!("was ended, because {error}{cause}"))
            }
        }
    }

    /// Takes what the child has written; gives complete lines for the console.
    pub(crate) fn read_output(&mut self, now_ms: u64) -> Vec<String> {
        let Some(output) = &mut self.output else {
            return Vec::new();
        };
        let mut octets = [0; 4096];
        match output.read(&mut octets) {
            Ok(0) => self.output = None,
            Ok(length) => return self.lines.feed(&octets[..length], now_ms),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.output = None,
        }
        Vec::new()
    }

    /// The last words of a child that has ended.
    pub(crate) fn last_words(mut self, now_ms: u64) -> Vec<String> {
        let mut lines = Vec::new();
        // Sixteen buffers are the whole pipe.
        for _ in 0..16 {
            if self.output.is_none() {
                break;
            }
            lines.extend(self.read_output(now_ms));
        }
        lines.extend(self.lines.rest());
        lines
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended already; it is a zombie then and nobody else.
        let _ = kill(self.pid, signal);
    }
}

/// Cuts a stream of octets into lines. Pure.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    period: u64,
    shown: u32,
    left_out: u32,
}

impl Lines {
    fn feed(&mut self, octets: &[u8], now_ms: u64) -> Vec<String> {
        let mut lines = Vec::new();
        let period = now_ms / LINES_PERIOD_MS;
        if period != self.period {
            if self.left_out > 0 {
                lines.push(format!("({} more lines)", self.left_out));
            }
            (self.period, self.shown, self.left_out) = (period, 0, 0);
        }
        for &octet in octets {
            if octet != b'\n' {
                self.line.push(octet);
            }
            if octet == b'\n' || self.line.len() == LINE_OCTETS_MAX {
                lines.extend(self.take());
            }
        }
        lines
    }

    /// The line as it stands, unless it is empty or one too many.
    fn take(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            return None;
        }
        if self.shown == LINES_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.shown += 1;
        Some(ascii(text))
    }

    /// What is left when the stream has ended.
    fn rest(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = self.take().into_iter().collect();
        if self.left_out > 0 {
            lines.push(format!("({} more lines)", self.left_out));
        }
        lines
    }
}

/// How a child ended, in words that follow its name.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended".to_owned(),
        (Some(code), _) => format!("ended with error {code}"),
        (None, Some(SIGSYS)) => {
            let call = refused::last_call().map_or(String::new(), |call| format!(" ({call})"));
            format!("was ended: it tried something it may not do{call}")
        }
        (None, signal) => {
            let number = signal.unwrap_or_default();
            // Real-time signals have no name.
            let name =
                Signal::try_from(number).map_or(format!("signal {number}"), |signal| signal.to_string());
            format!("was ended by {name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(lines: &mut Lines, text: &str, now_ms: u64, expected: &[&str]) {
        assert_eq!(lines.feed(text.as_bytes(), now_ms), expected);
    }

    #[test]
    fn lines_are_whole_whatever_pieces_they_come_in() {
        let mut lines = Lines::default();
        feed(&mut lines, "one\nt", 0, &["one"]);
        feed(&mut lines, "wo\r\n\n", 0, &["two"]);
        feed(&mut lines, "Po\u{161}ta \x1b[2J\n", 0, &["Po?ta ?[2J"]);
        feed(&mut lines, "last", 0, &[]);
        assert_eq!(lines.rest(), ["last"]);
    }

    #[test]
    fn a_long_line_is_continued_and_never_held_whole() {
        let mut lines = Lines::default();
        let long = "x".repeat(LINE_OCTETS_MAX * 2 + 1);
        let piece = "x".repeat(LINE_OCTETS_MAX);
        feed(&mut lines, &long, 0, &[&piece, &piece]);
        feed(&mut lines, "\n", 0, &["x"]);
    }

    #[test]
    fn a_babbling_child_is_cut_and_counted() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed("x\n".repeat(100).as_bytes(), 10).len(), 40);
        feed(&mut lines, "y\n", 999, &[]);
        feed(&mut lines, "z\n", 1000, &["(61 more lines)", "z"]);
        assert_eq!(lines.feed("x\n".repeat(50).as_bytes(), 1500).len(), 39);
        assert_eq!(lines.rest(), ["(11 more lines)"]);
    }

    #[test]
    fn endings_are_told_in_words() {
        let check = |status: i32, expected: &str| assert_eq!(ending(ExitStatus::from_raw(status)), expected);
        check(0, "ended");
        check(101 << 8, "ended with error 101");
        check(11, "was ended by SIGSEGV");
        check(35, "was ended by signal 35");
    }
}
