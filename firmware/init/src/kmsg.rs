//! The kernel's lines, kept on the data disk: after a version did not come up, they are all there is to tell why.
//!
//! ```text
//! /data/system/kernel-log     === version 12 (0.1.0 (1a2b3c4)), slot B, try 2
//! /data/system/kernel-log.1   [    0.512345] ext4: mounted filesystem …
//! ```
//!
//! Two files of 256 KiB: the newer is begun when the older is full. What the kernel says in its very last moment, a panic
//! above all, does not get here: there is no disk any more then.
//!
//! # Invariants
//! - However much the kernel says, a card is not worn by it: there is a budget, and what is over it is counted instead.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::console::ascii;

const NAME: &str = "kernel-log";
const OLD_NAME: &str = "kernel-log.1";
/// Of each file.
const FILE_OCTETS_MAX: usize = 256 * 1024;
/// A record of `/dev/kmsg` is at most so long (`CONSOLE_EXT_LOG_MAX` of kernel/printk).
const RECORD_OCTETS_MAX: usize = 8192;
/// How long is waited for more lines.
const GATHER_MS: u16 = 1000;
/// What may be written at once after the start, and what is added for each minute.
const BUDGET_OCTETS: usize = 128 * 1024;
const BUDGET_OCTETS_MINUTE: usize = 4 * 1024;
/// What begins a start of the box. The kernel's own lines begin with their time.
const HEADING: &str = "=== version ";
/// Shown of a start that failed.
const LAST_LINES: usize = 10;

/// Keeps what the kernel says in `folder`, until SIGTERM; `heading` tells which start of the box this is.
///
/// # Errors
/// The kernel's log or the folder cannot be used. Nothing depends on it.
pub(crate) fn keep(folder: &Path, heading: &str) -> io::Result<()> {
    let terminate: SigSet = [Signal::SIGTERM].into_iter().collect();
    terminate.thread_block()?;
    let terminated = SignalFd::with_flags(&terminate, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut kernel = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open("/dev/kmsg")?;
    let mut log = Log::open(folder)?;
    log.append(&format!("{HEADING}{heading}\n"))?;
    let mut budget = Budget::new(Instant::now());
    loop {
        let text = budget.afford(&read_all(&mut kernel)?, Instant::now());
        if !text.is_empty() {
            log.append(&text)?;
        }
        let mut waited_for = [
            PollFd::new(terminated.as_fd(), PollFlags::POLLIN),
            PollFd::new(kernel.as_fd(), PollFlags::POLLIN),
        ];
        // An interrupted poll has nothing ready; the loop comes back.
        let _ = poll(&mut waited_for, PollTimeout::NONE);
        if matches!(terminated.read_signal(), Ok(Some(_))) {
            // Why the box is stopping may be the last thing that was said.
            let text = budget.afford(&read_all(&mut kernel)?, Instant::now());
            return log.append(&text);
        }
        // Lines that come together are written together; SIGTERM is not kept waiting for that.
        let _ = poll(&mut waited_for[..1], GATHER_MS);
    }
}

/// The heading of a start.
pub(crate) fn heading(version: u64, name: &str, place: &str) -> String {
    format!("{version} ({name}), {place}")
}

/// The last lines of the last start of this version that are kept.
pub(crate) fn last_lines(folder: &Path, version: u64) -> Vec<String> {
    let text = [OLD_NAME, NAME]
        .map(|name| fs::read(folder.join(name)).unwrap_or_default())
        .concat();
    last_lines_of(&String::from_utf8_lossy(&text), version)
}

fn last_lines_of(text: &str, version: u64) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_heading = |line: &&str| line.starts_with(HEADING);
    let beginning = format!("{HEADING}{version} ");
    let Some(start) = lines.iter().rposition(|line| line.starts_with(&beginning)) else {
        return Vec::new();
    };
    let own = &lines[start + 1..];
    let end = own.iter().position(is_heading).unwrap_or(own.len());
    let from = end.saturating_sub(LAST_LINES);
    own[from..end].iter().map(|line| (*line).to_owned()).collect()
}

/// All records that wait, as lines.
fn read_all(kernel: &mut impl Read) -> io::Result<String> {
    let mut text = String::new();
    let mut record = [0; RECORD_OCTETS_MAX];
    loop {
        match kernel.read(&mut record) {
            Ok(0) => return Ok(text),
            Ok(length) => {
                if let Some(line) = line(&String::from_utf8_lossy(&record[..length])) {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
            // The kernel's memory of its lines went round before they were read.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => text.push_str("(lines were lost)\n"),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(text),
            Err(error) => return Err(error),
        }
    }
}

/// A record as people know it from `dmesg`. Its shape (Documentation/ABI/testing/dev-kmsg): level, number, microseconds and
/// more before a semicolon, the text behind it, and a dictionary in lines of its own.
fn line(record: &str) -> Option<String> {
    let (head, rest) = record.split_once(';')?;
    let microseconds: u64 = head.split(',').nth(2)?.parse().ok()?;
    let text = rest.split('\n').next().unwrap_or_default();
    // D41: a register holds eight octets of anything, a password or a key. Where it stopped, and by which way it got there,
    // is told by other lines.
    if is_of_registers(text) {
        return None;
    }
    let (seconds, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
    Some(format!("[{seconds:5}.{rest:06}] {}", ascii(text)))
}

/// Whether it is a line like `x29: ffff800080003f40 x28: …` of a report of registers.
fn is_of_registers(text: &str) -> bool {
    let number = text
        .trim_start()
        .strip_prefix('x')
        .and_then(|rest| rest.split_once(':'));
    number.is_some_and(|(number, _)| number.trim().parse::<u8>().is_ok())
}

/// What may be written.
struct Budget {
    octets: usize,
    since: Instant,
    left_out: usize,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            octets: BUDGET_OCTETS,
            since: now,
            left_out: 0,
        }
    }

    /// As many lines as there is room for; the others are counted.
    fn afford(&mut self, text: &str, now: Instant) -> String {
        let minutes = now.saturating_duration_since(self.since).as_secs() / 60;
        let more = usize::try_from(minutes).unwrap_or(usize::MAX);
        self.since += Duration::from_secs(minutes * 60);
        self.octets = self
            .octets
            .saturating_add(more.saturating_mul(BUDGET_OCTETS_MINUTE))
            .min(BUDGET_OCTETS);
        let mut afforded = String::new();
        for line in text.lines() {
            match self.octets.checked_sub(line.len() + 1) {
                Some(rest) => {
                    self.octets = rest;
                    if self.left_out > 0 {
                        // Writing to a String cannot fail.
                        let _ = writeln!(afforded, "({} lines left out)", self.left_out);
                        self.left_out = 0;
                    }
                    afforded.push_str(line);
                    afforded.push('\n');
                }
                None => self.left_out += 1,
            }
        }
        afforded
    }
}

/// The two files.
struct Log {
    folder: PathBuf,
    file: File,
    octets: usize,
}

impl Log {
    fn open(folder: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(folder.join(NAME))?;
        let octets = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        Ok(Self {
            folder: folder.to_owned(),
            file,
            octets,
        })
    }

    /// Durable when it returns.
    fn append(&mut self, text: &str) -> io::Result<()> {
        if self.octets.saturating_add(text.len()) > FILE_OCTETS_MAX {
            fs::rename(self.folder.join(NAME), self.folder.join(OLD_NAME))?;
            *self = Self::open(&self.folder)?;
        }
        self.file.write_all(text.as_bytes())?;
        self.octets += text.len();
        self.file.sync_data()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_line_as_dmesg_has_it() {
        let record =
            "6,339,5140900,-;NET: Registered PF_INET6 protocol family\n SUBSYSTEM=net\n DEVICE=+net:eth0\n";
        assert_eq!(
            line(record).unwrap(),
            "[    5.140900] NET: Registered PF_INET6 protocol family"
        );
        assert_eq!(
            line("4,1,61000001,-,caller=T1;postolka: \x1b[2J\n").unwrap(),
            "[   61.000001] postolka: ?[2J"
        );
        for nonsense in ["", "6,339;x", "a,b,c,-;x"] {
            assert_eq!(line(nonsense), None, "{nonsense}");
        }
    }

    /// D41: what a program had in its registers when it was ended is kept nowhere.
    #[test]
    fn d41_registers_are_left_out() {
        for registers in [
            "x8 : 00000000000000dd x7 : 736563726574",
            "x29: 0000ffff x28: 0 x27: 0",
        ] {
            assert_eq!(line(&format!("4,503,1234570,-;{registers}\n")), None);
        }
        assert_eq!(
            line("4,1,5000001,-;xhci_hcd 0000:01: x8\n").unwrap(),
            "[    5.000001] xhci_hcd 0000:01: x8"
        );
        assert!(line("4,1,5000001,-;pc : do_exit+0x1c/0x800\n").is_some());
    }

    #[test]
    fn two_files_hold_the_newest_lines_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        for number in 0..2_000 {
            if number % 500 == 0 {
                log = Log::open(folder.path()).unwrap();
            }
            log.append(&format!("[{number:5}.000000] {}\n", "x".repeat(300)))
                .unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let (old, new) = (read(OLD_NAME), read(NAME));
        assert!(old.len() <= FILE_OCTETS_MAX && new.len() <= FILE_OCTETS_MAX);
        assert!(old.len() > FILE_OCTETS_MAX - 400);
        assert!(new.contains("[ 1999.000000]"));
        // Without a gap between them.
        let number = |line: &str| line[1..6].trim().parse::<u32>().unwrap();
        let last = number(old.lines().last().unwrap());
        assert_eq!(number(new.lines().next().unwrap()), last + 1);
    }

    #[test]
    fn the_last_lines_are_those_of_the_last_start_of_that_version() {
        let mut text = String::new();
        for (version, start) in [(11, 1), (12, 2), (12, 3), (11, 4)] {
            let heading = heading(version, "0.1.0 (1a2b3c4)", "slot B, try 1");
            writeln!(text, "{HEADING}{heading}").unwrap();
            for number in 0..15 {
                writeln!(text, "[    {start}.{number:06}] line").unwrap();
            }
        }
        let lines = last_lines_of(&text, 12);
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines[0], "[    3.000005] line");
        assert_eq!(lines[9], "[    3.000014] line");
        assert_eq!(last_lines_of(&text, 1), Vec::<String>::new());
        assert_eq!(last_lines_of("", 12), Vec::<String>::new());
    }

    #[test]
    fn a_kernel_that_babbles_does_not_wear_the_card() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let line = format!("{}\n", "x".repeat(99));
        let flood = line.repeat(5000);
        let afforded = budget.afford(&flood, start);
        assert!(afforded.len() <= BUDGET_OCTETS && afforded.len() > BUDGET_OCTETS - 200);
        assert_eq!(budget.afford(&flood, start), "");
        let later = budget.afford(&line, start + Duration::from_secs(61));
        let lost = 10_000 - afforded.len() / 100;
        assert_eq!(later, format!("({lost} lines left out)\n{line}"));
        // However long it was quiet.
        let much_later = start + Duration::from_secs(1_000_000);
        assert!(budget.afford(&flood, much_later).len() <= BUDGET_OCTETS + 100);
    }
}
