//! The repair of a damaged data file system, by e2fsck.
//!
//! Only what can be repaired without losing anything is repaired (`-p`). What is left then asks questions such as "clear
//! inode?", and `-y` answers yes to all: the inode may be the folder that all the mail is in. The box would come up empty,
//! take new mail, and mail programs that synchronise with it would delete their own copies. So the disk stays as it is, the
//! page says so, and a person with a copy of the disk decides.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Debian's static build, in the image.
pub(crate) const PROGRAM: &str = "/e2fsck";

// The superblock (Documentation/filesystems/ext4/super.rst): its state, whether the kernel has found errors.
const STATE_AT: u64 = 1024 + 0x3a;
const ERRORS: u16 = 2;

/// What it says that is shown: the rest is more of the same.
const LINES_MAX: usize = 12;

/// What became of it (e2fsck(8), "exit code").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing was wrong, or it was repaired.
    Whole {
        /// Whether something was.
        was_damaged: bool,
    },
    /// What is wrong cannot be repaired without a decision.
    Damaged,
    /// It could not be checked, for this reason.
    Unchecked(String),
}

/// Whether the kernel has found errors on this file system and has noted that in it.
pub(crate) fn has_errors(device: &Path) -> bool {
    let mut state = [0; 2];
    let read = File::open(device).and_then(|device| device.read_exact_at(&mut state, STATE_AT));
    read.is_ok() && u16::from_le_bytes(state) & ERRORS != 0
}

/// What it tells while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A sentence of its.
    Line(String),
    /// The pass of five, and how far it is: per cent.
    Progress { pass: u32, percent: u64 },
}

/// Checks and repairs `device`, which is not mounted.
pub(crate) fn repair(program: &str, device: &Path, tell: impl FnMut(Note)) -> Outcome {
    match run(program, device, tell) {
        // 1: repaired. 2: and the box would have to start again, if it were the root file system.
        Ok(code @ 0..=3) => Outcome::Whole {
            was_damaged: code != 0,
        },
        Ok(code) if code & 4 != 0 => Outcome::Damaged,
        Ok(code) => Outcome::Unchecked(format!("e2fsck ended with error {code}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Outcome::Unchecked("this image has no e2fsck".to_owned())
        }
        Err(error) => Outcome::Unchecked(crate::trouble::reason(&error)),
    }
}

fn run(program: &str, device: &Path, mut tell: impl FnMut(Note)) -> io::Result<i32> {
    let (output, errors) = io::pipe()?;
    let mut command = Command::new(program);
    command
        // -f: the flag alone makes it check everything; a failed mount does not set it.
        .args(["-p", "-f", "-C", "1"])
        .arg(device)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(errors.try_clone()?)
        .stderr(errors);
    let mut child = command.spawn()?;
    // Our copies of the end that it writes to: with them open, the pipe would never end.
    drop(command);
    let mut shown = 0;
    for line in BufReader::new(output).split(b'\n') {
        match note(&String::from_utf8_lossy(&line?)) {
            Some(Note::Line(_)) if shown == LINES_MAX => {}
            Some(note) => {
                shown += usize::from(matches!(note, Note::Line(_)));
                tell(note);
            }
            None => {}
        }
    }
    let status = child.wait()?;
    status
        .code()
        .ok_or_else(|| io::Error::other(crate::child::ending(status)))
}

/// A line of its output: "2 5 13 /dev/vda5" is the fifth of thirteen parts of pass 2.
fn note(line: &str) -> Option<Note> {
    let line = line.trim();
    let mut words = line.split_ascii_whitespace();
    let mut number = || words.next()?.parse::<u64>().ok();
    if let (Some(pass), Some(now), Some(most)) = (number(), number(), number()) {
        let percent = (now * 100).checked_div(most)?;
        let pass = u32::try_from(pass).ok()?;
        return Some(Note::Progress { pass, percent });
    }
    (!line.is_empty()).then(|| Note::Line(line.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    /// Where Debian has it; the image is built with its sisters.
    const HOST_PROGRAM: &str = "/sbin/e2fsck";

    /// A small file system.
    fn made() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        let made = Command::new("/sbin/mke2fs")
            .args(["-q", "-t", "ext4", "-b", "1024", "-L", "data"])
            .arg(file.path())
            .status()
            .unwrap();
        assert!(made.success());
        file
    }

    fn debugfs(device: &Path, request: &str) -> String {
        let output = Command::new("/sbin/debugfs")
            .args(["-w", "-R", request])
            .arg(device)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn repaired(device: &Path) -> (Outcome, Vec<Note>) {
        let mut notes = Vec::new();
        let outcome = repair(HOST_PROGRAM, device, |note| notes.push(note));
        (outcome, notes)
    }

    #[test]
    fn what_the_kernel_has_noted_is_seen_and_repaired() {
        let file = made();
        assert!(!has_errors(file.path()));
        let whole = Outcome::Whole { was_damaged: false };
        assert_eq!(repaired(file.path()).0, whole);
        debugfs(file.path(), "ssv state 2");
        assert!(has_errors(file.path()));
        let (outcome, notes) = repaired(file.path());
        assert_eq!(outcome, Outcome::Whole { was_damaged: true });
        assert!(!has_errors(file.path()));
        let last = notes
            .iter()
            .rev()
            .find(|note| matches!(note, Note::Progress { .. }));
        assert_eq!(
            last,
            Some(&Note::Progress {
                pass: 5,
                percent: 100
            })
        );
    }

    #[test]
    fn what_asks_for_a_decision_is_left_as_it_is() {
        let file = made();
        // The root folder's inode: with `-y` the folder would be empty after.
        let told = debugfs(file.path(), "imap <2>");
        let block = told.split("at block ").nth(1).unwrap();
        let block: u64 = block.split(',').next().unwrap().parse().unwrap();
        let disk = OpenOptions::new().write(true).open(file.path()).unwrap();
        disk.write_all_at(&[0x5a; 128], block * 1024 + 256).unwrap();
        let before = std::fs::read(file.path()).unwrap();
        let (outcome, notes) = repaired(file.path());
        assert_eq!(outcome, Outcome::Damaged);
        assert!(notes.iter().any(|note| matches!(note, Note::Line(_))));
        // Beyond the superblock with its note that it was checked.
        let after = std::fs::read(file.path()).unwrap();
        assert!(before[2048..] == after[2048..], "it was written to");
    }

    #[test]
    fn without_the_program_that_is_said() {
        let file = made();
        let outcome = repair("/nonexistent", file.path(), |_| {});
        assert_eq!(outcome, Outcome::Unchecked("this image has no e2fsck".to_owned()));
        // No file system at all.
        let empty = tempfile::NamedTempFile::new().unwrap();
        empty.as_file().set_len(1 << 20).unwrap();
        assert!(matches!(repaired(empty.path()).0, Outcome::Unchecked(_)));
    }

    #[test]
    fn a_line_is_progress_or_a_sentence() {
        assert_eq!(
            note("2 5 10 /dev/vda5"),
            Some(Note::Progress { pass: 2, percent: 50 })
        );
        assert_eq!(note("5 0 0 /dev/vda5"), None);
        assert_eq!(note("  \r"), None);
        let line = "/dev/vda5: recovering journal";
        assert_eq!(note(line), Some(Note::Line(line.to_owned())));
    }
}
