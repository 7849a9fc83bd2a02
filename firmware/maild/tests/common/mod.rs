//! Runs the real program.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Long, because the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One domain and one mailbox.
pub const GOOD: &str = "\
[[domain]]
name = \"firma.test\"

[[mailbox]]
address = \"anna@firma.test\"
password = \"velmi tajné heslo\"
";

/// A program that runs. Dropping it ends it.
pub struct Running {
    pub child: Child,
    /// The lines of standard output, then those of standard error, as they come.
    lines: Receiver<String>,
    said: Vec<String>,
}

pub fn maild() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maild"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// On a computer, on free ports.
pub fn dev(folder: &Path, provision: Option<&Path>) -> Command {
    let mut command = maild();
    command
        .arg("--data")
        .arg(folder.join("data"))
        .args(["--port-base", "0"]);
    if let Some(provision) = provision {
        command.arg("--provision").arg(provision);
    }
    command
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let pipes: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for pipe in pipes {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Running {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// Waits for a line that `is_it`.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            let found = is_it(&line);
            self.said.push(line.clone());
            if found {
                return line;
            }
        }
        panic!("no {what}; it said:\n{}", self.said.join("\n"));
    }

    /// Waits until it serves; gives the address of a service.
    pub fn ready(&mut self) {
        self.wait_for("LISTENING", |line| line == "LISTENING");
    }

    pub fn address(&self, service: &str) -> SocketAddr {
        let prefix = format!("{service} ");
        let line = self.said.iter().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {service}")).parse().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end; gives how it ended and all that it said.
    pub fn end(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < until,
                "it does not end; it said:\n{}",
                self.said.join("\n")
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push(line);
        }
        (status, std::mem::take(&mut self.said).join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection with its first line.
pub fn connect(address: SocketAddr) -> (BufReader<TcpStream>, String) {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    socket.read_line(&mut line).unwrap();
    (socket, line)
}

/// Delivers a message in the clear; gives the last reply.
pub fn deliver(address: SocketAddr, recipient: &str) -> String {
    deliver_text(address, recipient, "Hello\r\n")
}

/// Delivers a message with this text, which is lines without a dot in front.
pub fn deliver_text(address: SocketAddr, recipient: &str, text: &str) -> String {
    let (mut socket, _) = connect(address);
    let mut say = |text: &str| {
        socket.get_mut().write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            socket.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.clone();
            }
        }
    };
    say("EHLO client.example\r\n");
    say("MAIL FROM:<sender@client.example>\r\n");
    let reply = say(&format!("RCPT TO:<{recipient}>\r\n"));
    if !reply.starts_with("250") {
        return reply;
    }
    say("DATA\r\n");
    say(&format!(
        "From: sender@client.example\r\nSubject: test\r\n\r\n{text}.\r\n"
    ))
}
