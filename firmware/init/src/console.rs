//! The console: lines for whoever looks at the screen or at the serial line.
//!
//! # Invariants
//! - Nothing but printable ASCII is written, whoever said it.
//! - The loop never waits for the console: what a slow line cannot take is kept, up to a bound, and then dropped.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{self, O_CLOEXEC, O_NOCTTY, O_NONBLOCK};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, tcgetattr, tcsetattr};

/// Eight pages. A serial line at 115 200 baud takes a second and a half for it.
const PENDING_OCTETS_MAX: usize = 16 * 1024;
/// How long the last lines before power-off may take.
const FLUSH_MAX: Duration = Duration::from_secs(2);
const FLUSH_LOOK: Duration = Duration::from_millis(10);

/// An output for lines.
#[derive(Debug)]
pub(crate) struct Console {
    device: Option<File>,
    pending: Vec<u8>,
}

impl Console {
    /// Opens `/dev/console` anew: the one that the kernel gave us was opened before devtmpfs, and a UART that a
    /// driver brings up late is not behind it.
    ///
    /// Without a console (a Pi without a cable) the box works, silently.
    pub(crate) fn open() -> Self {
        let flags = O_NOCTTY | O_NONBLOCK | O_CLOEXEC;
        let device = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open("/dev/console")
            .ok();
        if let Some(device) = &device {
            // A console that is no terminal has no such settings.
            let _ = ignore_typing(device);
        }
        Self {
            device,
            pending: Vec::new(),
        }
    }

    /// Writes one line of text.
    pub(crate) fn line(&mut self, text: &str) {
        self.write(&ascii(text));
        self.write("\n");
        self.write_pending();
    }

    fn write(&mut self, text: &str) {
        if self.pending.len() + text.len() <= PENDING_OCTETS_MAX {
            self.pending.extend(text.as_bytes());
        }
    }

    /// Whether octets wait for the device.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what the device takes now.
    pub(crate) fn write_pending(&mut self) {
        let Some(device) = &mut self.device else {
            self.pending.clear();
            return;
        };
        while !self.pending.is_empty() {
            match device.write(&self.pending) {
                Ok(octets) => {
                    self.pending.drain(..octets);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A device that is gone: go on without.
                Err(_) => {
                    self.pending.clear();
                    return;
                }
            }
        }
    }

    /// Waits, for a bounded time, until all is written. Only for the way down.
    pub(crate) fn flush(&mut self) {
        let began = Instant::now();
        self.write_pending();
        while (self.is_pending() || self.unsent() > 0) && began.elapsed() < FLUSH_MAX {
            thread::sleep(FLUSH_LOOK);
            self.write_pending();
        }
        // The last octets are in the UART by now, which counts as sent.
        thread::sleep(FLUSH_LOOK);
    }

    /// Octets that the driver still holds, and that would be lost with the power. Not `tcdrain`: that waits for ever
    /// where the other end of the line does not let us send.
    #[allow(unsafe_code)]
    fn unsent(&self) -> libc::c_int {
        nix::ioctl_read_bad!(octets_queued, libc::TIOCOUTQ, libc::c_int);
        let mut octets = 0;
        let Some(device) = &self.device else { return 0 };
        // SAFETY: the descriptor is open for as long as `device` is borrowed, and the request writes one int behind
        // the pointer, where `octets` lives until the call returns.
        let result = unsafe { octets_queued(device.as_raw_fd(), &raw mut octets) };
        result.map_or(0, |_| octets)
    }

    /// The device to poll for room.
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.device.as_ref().map(AsFd::as_fd)
    }
}

/// Nobody reads what is typed on the console. It is not echoed between our lines, and above all does not stop them:
/// Ctrl-S would, and so would the noise on a serial line that nothing is connected to.
fn ignore_typing(device: &File) -> nix::Result<()> {
    let mut settings = tcgetattr(device)?;
    settings.input_flags.remove(InputFlags::IXON);
    settings
        .local_flags
        .remove(LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::ICANON);
    tcsetattr(device, SetArg::TCSANOW, &settings)
}

/// `text` with everything but printable ASCII shown as `?`.
pub(crate) fn ascii(text: &str) -> String {
    text.chars()
        .map(|character| {
            if matches!(character, ' '..='~') {
                character
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::pty::openpty;

    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_gets_through() {
        assert_eq!(ascii("a\x1b[2Jb\r\nc\u{9b}d\u{161}"), "a?[2Jb??c?d?");
    }

    #[test]
    fn what_is_typed_neither_stops_the_console_nor_comes_back() {
        let pair = openpty(None, None).unwrap();
        let (mut terminal, device) = (File::from(pair.master), File::from(pair.slave));
        fcntl(&device, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        ignore_typing(&device).unwrap();
        terminal.write_all(b"abc\x13").unwrap();
        let mut console = Console {
            device: Some(device),
            pending: Vec::new(),
        };
        console.line("STOPPED");
        console.flush();
        assert!(!console.is_pending());
        let mut shown = [0; 64];
        let length = terminal.read(&mut shown).unwrap();
        assert_eq!(&shown[..length], b"STOPPED\r\n");
    }

    #[test]
    fn a_console_that_takes_nothing_does_not_grow_without_bound() {
        let mut console = Console {
            device: None,
            pending: Vec::new(),
        };
        for _ in 0..10_000 {
            console.write("0123456789");
        }
        assert!(console.pending.len() <= PENDING_OCTETS_MAX);
        console.line("x");
        assert!(!console.is_pending());
    }
}
