//! What is kept of the log: the last lines in memory, and more of them on the disk, sparing the card.
//!
//! ```text
//!  a line ─► number, time ─┬─► ring in memory (256 KiB, oldest out)
//!                          └─► batch ── every 10 s, at 16 KiB, at an error, at the stop ──► log/current
//!                                       synced once a minute at most, and at the stop          │ 256 KiB
//!                                                                                              ▼
//!                                                                   log/older-1 … older-3, the oldest gone
//! ```
//!
//! A kept line is `START-NUMBER TIME LEVEL text`: the how-many-eth start of this program it is of, and its number in that.
//! The two together are its id, which never comes twice in one log.
//!
//! # Invariants
//! - Nobody who logs waits for the disk; what the disk cannot take is dropped and counted, and mail goes on (D9).
//! - What is on the disk is bounded, and a line that a power cut tore is skipped by whoever reads.

use super::printable;
use super::syslog::{self, Outbox, Sending, Target};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// In the data folder.
const FOLDER: &str = "log";
const CURRENT: &str = "current";
/// Oldest first.
const OLDER: [&str; 3] = ["older-3", "older-2", "older-1"];
/// Of each file.
const FILE_OCTETS_MAX: u64 = 256 * 1024;
const RING_OCTETS_MAX: usize = 256 * 1024;
/// What waits for the disk. A flood of lines that a slow card cannot follow is dropped beyond it.
const WAITING_OCTETS_MAX: usize = 128 * 1024;
const BATCH_OCTETS: usize = 16 * 1024;
const BATCH_EVERY: Duration = Duration::from_secs(10);
const SYNC_EVERY: Duration = Duration::from_secs(60);
/// After the disk refused a batch.
const PAUSE: Duration = Duration::from_mins(10);

/// Keeps lines. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Keeper(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    /// The number of the next line.
    next: u64,
    ring: VecDeque<Line>,
    ring_octets: usize,
    waiting: Vec<Line>,
    waiting_octets: usize,
    /// Lines that no batch had room for.
    dropped: u64,
    /// Somebody wants to know of it now.
    is_urgent: bool,
    is_stopping: bool,
    /// What another machine is to have as well.
    outbox: Option<Outbox>,
}

/// A line with its number in this start and its time.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) time: String,
    pub(super) text: String,
}

impl Line {
    fn octets(&self) -> usize {
        self.time.len() + self.text.len() + 24
    }
}

impl Keeper {
    /// Takes a line that is printable and has no line end.
    pub(super) fn keep(&self, time: String, text: String, is_error: bool) {
        let (state, changed) = &*self.0;
        let mut state = lock(state);
        let number = state.next;
        state.next += 1;
        let line = Line { number, time, text };
        if let Some(outbox) = &state.outbox {
            outbox.put(line.clone());
        }
        let octets = line.octets();
        state.ring_octets += octets;
        state.ring.push_back(line.clone());
        while state.ring_octets > RING_OCTETS_MAX {
            let Some(oldest) = state.ring.pop_front() else {
                break;
            };
            state.ring_octets -= oldest.octets();
        }
        if state.waiting_octets + octets > WAITING_OCTETS_MAX {
            state.dropped += 1;
        } else {
            state.waiting_octets += octets;
            state.waiting.push(line);
        }
        state.is_urgent |= is_error;
        changed.notify_all();
    }

    /// Begins to send to another machine what was kept so far and what comes.
    pub(crate) fn send_to(&self, target: Target, host_name: &str) -> Sending {
        let outbox = Outbox::default();
        let mut state = lock(&self.0.0);
        let more_than_fit = state.ring.len().saturating_sub(syslog::WAITING_MAX);
        for line in state.ring.iter().skip(more_than_fit) {
            outbox.put(line.clone());
        }
        state.outbox = Some(outbox.clone());
        syslog::send(&outbox, target, host_name)
    }

    /// Begins to write to `data`, in a thread of its own: what was kept so far too. Without a disk that takes it the log
    /// is in memory only.
    pub(crate) fn write_to(&self, data: &Path) -> Writing {
        let keeper = self.clone();
        let folder = data.join(FOLDER);
        let thread = std::thread::Builder::new().name("log".to_owned());
        let thread = thread.spawn(move || keeper.write(&folder));
        Writing {
            keeper: self.clone(),
            thread: thread.ok(),
        }
    }

    fn write(&self, folder: &Path) {
        let mut disk = Disk::open(folder);
        while let Some((batch, dropped)) = self.batch(disk.sync_due()) {
            disk.write(&batch, dropped);
        }
        disk.sync();
    }

    /// The next batch; empty when it is time to sync. `None` at the end, when everything was taken.
    fn batch(&self, sync_due: Option<Instant>) -> Option<(Vec<Line>, u64)> {
        let (state, changed) = &*self.0;
        let mut state = lock(state);
        let mut batch_due: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if !state.waiting.is_empty() {
                let due = *batch_due.get_or_insert(now + BATCH_EVERY);
                let is_full = state.waiting_octets >= BATCH_OCTETS;
                if due <= now || is_full || state.is_urgent || state.is_stopping {
                    state.waiting_octets = 0;
                    state.is_urgent = false;
                    let dropped = std::mem::take(&mut state.dropped);
                    return Some((std::mem::take(&mut state.waiting), dropped));
                }
            } else if state.is_stopping {
                return None;
            }
            if sync_due.is_some_and(|due| due <= now) {
                return Some((Vec::new(), 0));
            }
            let due = [batch_due, sync_due].into_iter().flatten().min();
            state = match due {
                // Nothing to do: no clock wakes this thread.
                None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let waited = changed.wait_timeout(state, due.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

pub(super) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it logged has left whole lines behind.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writing; dropping it writes and syncs what is left.
pub(crate) struct Writing {
    keeper: Keeper,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        let (state, changed) = &*self.keeper.0;
        lock(state).is_stopping = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The files.
struct Disk {
    folder: PathBuf,
    /// Which start of this program it is.
    start: u64,
    file: Option<File>,
    octets: u64,
    /// Since when something is written that may not be on the card.
    unsynced: Option<Instant>,
    /// Until then nothing is tried, because the disk refused the last batch.
    paused_until: Option<Instant>,
    lost: u64,
}

impl Disk {
    fn open(folder: &Path) -> Disk {
        let last = last_start(folder);
        Disk {
            folder: folder.to_owned(),
            start: last + 1,
            file: None,
            octets: 0,
            unsynced: None,
            paused_until: None,
            lost: 0,
        }
    }

    fn sync_due(&self) -> Option<Instant> {
        self.unsynced.map(|since| since + SYNC_EVERY)
    }

    fn write(&mut self, batch: &[Line], dropped: u64) {
        let now = Instant::now();
        if self.sync_due().is_some_and(|due| due <= now) {
            self.sync();
        }
        self.lost += dropped;
        if batch.is_empty() {
            return;
        }
        if self.paused_until.is_some_and(|until| until > now) {
            self.lost += batch.len() as u64;
            return;
        }
        let start = self.start;
        let mut lines = Vec::with_capacity(batch.len() + 1);
        if self.lost > 0 {
            // Under the number of the line behind it: what is missing was before that.
            let Line { number, time, .. } = &batch[0];
            let lost = self.lost;
            lines.push(format!(
                "{start}-{number} {time} WARN {lost} lines before this one are missing: the disk did not take them\n"
            ));
        }
        let kept = batch.iter();
        lines.extend(kept.map(|Line { number, time, text }| format!("{start}-{number} {time} {text}\n")));
        let text = lines.concat();
        match self.append(text.as_bytes()) {
            Ok(()) => {
                self.lost = 0;
                self.paused_until = None;
                self.unsynced.get_or_insert(now);
            }
            Err(error) => {
                self.file = None;
                self.lost += batch.len() as u64;
                self.paused_until = Some(now + PAUSE);
                // Not by tracing: that would come back here.
                let _ = writeln!(
                    io::stderr(),
                    "the log cannot be written for now and is in memory only: {error}"
                );
            }
        }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        // Opened before it is measured: what earlier starts have written counts.
        if self.file.is_none() {
            self.open_current()?;
        }
        if self.octets >= FILE_OCTETS_MAX {
            self.rotate()?;
            self.open_current()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(text)?;
        }
        self.octets += text.len() as u64;
        Ok(())
    }

    fn open_current(&mut self) -> io::Result<()> {
        let (file, octets) = open(&self.folder)?;
        self.octets = octets;
        self.file = Some(file);
        Ok(())
    }

    /// The current file becomes the newest of the older ones, the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        self.sync();
        self.file = None;
        for pair in [OLDER[0], OLDER[1], OLDER[2], CURRENT].windows(2) {
            match fs::rename(self.folder.join(pair[1]), self.folder.join(pair[0])) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.octets = 0;
        Ok(())
    }

    fn sync(&mut self) {
        self.unsynced = None;
        if let Some(file) = &self.file {
            // What it could not make durable may be gone after a power cut, and that is all.
            let _ = file.sync_data();
        }
    }
}

/// Opens the current file to add to it. A line that a power cut tore is ended first.
fn open(folder: &Path) -> io::Result<(File, u64)> {
    fs::create_dir_all(folder)?;
    let path = folder.join(CURRENT);
    let octets = match fs::read(&path) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)?;
    if !matches!(octets.last(), None | Some(b'\n')) {
        file.write_all(b"\n")?;
    }
    Ok((file, octets.len() as u64))
}

/// The lines that are kept in the data folder `data`, oldest first. What is damaged is left out.
///
/// # Errors
/// There is no log, or it cannot be read.
pub(crate) fn read(data: &Path) -> io::Result<Vec<String>> {
    let folder = data.join(FOLDER);
    let mut lines = Vec::new();
    let mut missing = None;
    for name in OLDER.into_iter().chain([CURRENT]) {
        match lines_of(&folder.join(name)) {
            Ok(more) => lines.extend(more),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if lines.is_empty() => Err(error),
        _ => Ok(lines),
    }
}

fn lines_of(path: &Path) -> io::Result<Vec<String>> {
    let mut octets = Vec::new();
    // A file that is longer was not written here.
    let most = FILE_OCTETS_MAX + WAITING_OCTETS_MAX as u64 * 2;
    File::open(path)?.take(most).read_to_end(&mut octets)?;
    let text = String::from_utf8_lossy(&octets);
    // The last one has no line end if it is torn.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().filter(|line| start_of(line).is_some());
    Ok(lines.map(printable).collect())
}

/// Of which start a line is: `START-NUMBER TIME …`.
fn start_of(line: &str) -> Option<u64> {
    let (id, rest) = line.split_once(' ')?;
    let (start, number) = id.split_once('-')?;
    number.parse::<u64>().ok()?;
    let is_time = rest.len() > 20 && rest.as_bytes()[4] == b'-' && rest.as_bytes()[10] == b'T';
    start.parse().ok().filter(|_| is_time)
}

/// The last start that has a line; 0 when none has.
fn last_start(folder: &Path) -> u64 {
    let names = [CURRENT].into_iter().chain(OLDER.into_iter().rev());
    names
        .filter_map(|name| lines_of(&folder.join(name)).ok())
        .find_map(|lines| lines.iter().rev().find_map(|line| start_of(line)))
        .unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-24T08:15:00.000000Z";

    fn keep(keeper: &Keeper, text: &str) {
        keeper.keep(TIME.to_owned(), text.to_owned(), false);
    }

    #[test]
    fn what_is_kept_is_read_again_with_ids_that_never_come_twice() {
        let data = tempfile::tempdir().unwrap();
        assert!(read(data.path()).is_err());
        for start in 1..=3 {
            let keeper = Keeper::default();
            keep(&keeper, "INFO before the disk was there");
            let writing = keeper.write_to(data.path());
            keep(&keeper, "INFO behind it");
            drop(writing);
            let lines = read(data.path()).unwrap();
            assert_eq!(lines.len(), start * 2);
            assert_eq!(lines[start * 2 - 1], format!("{start}-1 {TIME} INFO behind it"));
        }
    }

    #[test]
    fn a_tail_that_is_damaged_is_skipped_and_the_log_goes_on() {
        let data = tempfile::tempdir().unwrap();
        let write = |text: &str| {
            let keeper = Keeper::default();
            let writing = keeper.write_to(data.path());
            keep(&keeper, text);
            drop(writing);
        };
        write("INFO one");
        let file = data.path().join(FOLDER).join(CURRENT);
        for damage in [
            &b"2-0 2026-11-24T08:1"[..],
            b"\xff\xfe\0\0",
            b"77 words\n\n-\n9-\n",
        ] {
            let mut octets = fs::read(&file).unwrap();
            octets.extend_from_slice(damage);
            fs::write(&file, octets).unwrap();
            write("INFO more");
        }
        let lines = read(data.path()).unwrap();
        let texts: Vec<&str> = lines
            .iter()
            .map(|line| line.split_once("INFO ").unwrap().1)
            .collect();
        assert_eq!(texts, ["one", "more", "more", "more"]);
        assert!(lines[3].starts_with("4-0 "), "{}", lines[3]);
    }

    #[test]
    fn memory_and_disk_are_bounded_whatever_is_logged() {
        let data = tempfile::tempdir().unwrap();
        let keeper = Keeper::default();
        // Before somebody writes, what waits is bounded too.
        let long = format!("INFO {}", "x".repeat(900));
        for _ in 0..1000 {
            keep(&keeper, &long);
        }
        assert!(lock(&keeper.0.0).waiting_octets <= WAITING_OCTETS_MAX);
        let writing = keeper.write_to(data.path());
        for _ in 0..4000 {
            keep(&keeper, &long);
        }
        assert!(lock(&keeper.0.0).ring_octets <= RING_OCTETS_MAX);
        drop(writing);
        let sizes: u64 = fs::read_dir(data.path().join(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(
            sizes <= 4 * (FILE_OCTETS_MAX + 2 * WAITING_OCTETS_MAX as u64),
            "{sizes}"
        );
        let lines = read(data.path()).unwrap();
        assert!(
            lines.iter().any(|line| line.contains("are missing")),
            "what was dropped is told"
        );
    }

    /// D21: a program that ends over and over, each time with a few lines.
    #[test]
    fn d21_starts_that_log_a_little_do_not_make_a_file_that_grows_for_ever() {
        let data = tempfile::tempdir().unwrap();
        let long = format!("INFO {}", "x".repeat(900));
        for _ in 0..20 {
            let keeper = Keeper::default();
            for _ in 0..100 {
                keep(&keeper, &long);
            }
            // All of it is one batch.
            drop(keeper.write_to(data.path()));
        }
        let size = |name: &str| fs::metadata(data.path().join(FOLDER).join(name)).unwrap().len();
        for name in OLDER.into_iter().chain([CURRENT]) {
            let most = FILE_OCTETS_MAX + 2 * WAITING_OCTETS_MAX as u64;
            assert!(size(name) <= most, "{name}: {}", size(name));
        }
        assert!(read(data.path()).unwrap().last().unwrap().starts_with("20-99 "));
    }

    /// D9: a disk that takes nothing.
    #[test]
    fn d9_a_disk_that_takes_nothing_harms_nobody() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(FOLDER), "a file where the folder is to be").unwrap();
        let keeper = Keeper::default();
        let writing = keeper.write_to(data.path());
        keeper.keep(TIME.to_owned(), "ERROR it is written at once".to_owned(), true);
        keep(&keeper, "INFO more");
        drop(writing);
        assert_eq!(lock(&keeper.0.0).ring.len(), 2);
    }
}
