//! `qemu/run` as a person runs it: its words on the terminal, and Ctrl-C.

use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lines::Lines;
use crate::client::PATIENCE;
use crate::tool;

/// A terminal in which `qemu/run` runs. Dropping it kills both, program and box.
#[derive(Debug)]
pub struct QemuRun {
    child: Child,
    lines: Lines,
    /// How far it was waited for.
    mark: usize,
}

impl QemuRun {
    /// Starts it with these words behind those that keep it from building and from the world. What it keeps for a person lies
    /// in `home`.
    ///
    /// # Errors
    /// It does not compile, or does not start.
    pub fn start(home: &Path, words: &[&str]) -> io::Result<QemuRun> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(qemu::workspace()).args([
            "build",
            "--quiet",
            "--profile",
            "ci",
            "--package",
            "qemu",
            "--bin",
            "qemu",
        ]);
        tool::run(&mut build).map_err(|error| io::Error::other(error.to_string()))?;
        let mut command = Command::new(qemu::target().join("ci/qemu"));
        command
            .args(["run", "--no-build", "--offline"])
            .args(words)
            .env("XDG_DATA_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let lines = Lines::default();
        if let Some(stdout) = child.stdout.take() {
            lines.take_in(stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            lines.take_in(stderr);
        }
        Ok(QemuRun {
            child,
            lines,
            mark: 0,
        })
    }

    /// Waits until it says `text` behind what was waited for before; gives the line.
    ///
    /// # Errors
    /// It does not say so.
    pub fn says(&mut self, text: &str) -> io::Result<String> {
        let (line, mark) = self
            .lines
            .wait_for_line(self.mark, text, PATIENCE)
            .ok_or_else(|| {
                let said = self.lines.text();
                io::Error::other(format!("qemu/run does not say '{text}', but:\n{said}"))
            })?;
        self.mark = mark;
        Ok(line)
    }

    /// Everything it has said.
    pub fn text(&self) -> String {
        self.lines.text()
    }

    /// Ctrl-C, once; waits until it has ended.
    ///
    /// # Errors
    /// It goes on.
    pub fn interrupt(mut self) -> io::Result<(ExitStatus, String)> {
        let process = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(process), Signal::SIGINT)?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                self.lines.wait_ended(PATIENCE);
                return Ok((status, self.lines.text()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::other("qemu/run goes on after Ctrl-C"))
    }
}

impl Drop for QemuRun {
    fn drop(&mut self) {
        // Its machine dies with it (`qemu`'s invariant). One that has ended already cannot be killed, and need not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
