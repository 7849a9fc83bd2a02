//! A message of 35 MB, the largest that is taken: how fast it comes in, how much memory that needs, and how fast a piece of
//! it is read.

use crate::deliveries::{float, maildir};
use crate::disk::Counting;
use crate::message::{deliver, message, provision};
use crate::table::Table;
use crate::{Failure, ROUNDS, median, with_folder};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;
use store::{Options, Store};

const OCTETS: usize = 35 * 1024 * 1024;
/// What a session reads from its socket at once.
const PIECE_OCTETS: usize = 64 * 1024;
const RANGE_OCTETS: usize = 64 * 1024;
const RANGES: u64 = 300;
const MB: f64 = 1_000_000.0;

pub(crate) fn delivery(folder: &Path, table: &mut Table) -> Result<(), Failure> {
    let octets = message(1, OCTETS);
    let mail = float(octets.len() as u64);
    let (mut store_seconds, mut file_seconds) = (Vec::new(), Vec::new());
    let (mut written, mut memory) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        with_folder(folder, &format!("{round} store"), |folder| {
            let (storage, counts) = Counting::open(folder)?;
            let options = Options::default();
            let (store, _) = Store::open_in(storage, &options)?;
            provision(&store)?;
            let before = counts.written();
            let resting = memory_octets("VmRSS")?;
            forget_peak()?;
            let start = Instant::now();
            deliver(&store, octets.chunks(PIECE_OCTETS))?;
            store_seconds.push(start.elapsed().as_secs_f64());
            memory.push(float(memory_octets("VmHWM")?.saturating_sub(resting)));
            store.close();
            written.push(float(counts.written() - before));
            Ok(())
        })?;
        with_folder(folder, &format!("{round} file"), |folder| {
            fs::create_dir(folder.join("tmp"))?;
            fs::create_dir(folder.join("new"))?;
            let start = Instant::now();
            maildir(folder, "1", octets.chunks(PIECE_OCTETS))?;
            file_seconds.push(start.elapsed().as_secs_f64());
            Ok(())
        })?;
    }
    let speed = |seconds| mail / MB / median(seconds);
    let baseline = Some(("file, fsync, rename, folder", speed(file_seconds)));
    table.line("35 MB in", speed(store_seconds), "MB/s", baseline)?;
    table.line("written for an octet of mail", median(written) / mail, "", None)?;
    table.line("memory above that at rest", median(memory) / MB, "MB", None)
}

/// A figure of this process, in octets.
fn memory_octets(name: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .ok_or("the kernel does not tell")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// VmHWM begins anew at what there is now.
fn forget_peak() -> Result<(), Failure> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

pub(crate) fn ranges(folder: &Path, table: &mut Table) -> Result<(), Failure> {
    let octets = message(1, OCTETS);
    let (mut store_figures, mut file_figures) = (Vec::new(), Vec::new());
    with_folder(folder, "ranges", |folder| {
        let (store, _) = Store::open(folder, Options::default())?;
        provision(&store)?;
        let delivered = deliver(&store, octets.chunks(PIECE_OCTETS))?;
        let plain = folder.join("plain");
        fs::write(&plain, &octets)?;
        let plain = fs::File::open(plain)?;
        let ends = octets.len() - RANGE_OCTETS;
        let begins = |number: u64| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ends as u64) & !511;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for number in 0..RANGES {
                // As a command does: look, open, read, let go.
                let view = store.view()?;
                let message = view
                    .message(delivered.mailbox, delivered.uid)?
                    .ok_or("no message")?;
                let mut body = view.body(&message)?;
                let mut read = Vec::with_capacity(RANGE_OCTETS);
                let mut at = begins(number);
                while read.len() < RANGE_OCTETS {
                    let wanted = RANGE_OCTETS - read.len();
                    let count = body.read_at(at, &mut read, wanted)?;
                    if count == 0 {
                        return Err("the message is shorter than it was".into());
                    }
                    at += count as u64;
                }
            }
            store_figures.push(float(RANGES) / start.elapsed().as_secs_f64());
            let start = Instant::now();
            for number in 0..RANGES {
                let mut read = vec![0; RANGE_OCTETS];
                plain.read_exact_at(&mut read, begins(number))?;
                std::hint::black_box(read);
            }
            file_figures.push(float(RANGES) / start.elapsed().as_secs_f64());
        }
        store.close();
        Ok(())
    })?;
    let baseline = Some(("pread from the page cache", median(file_figures)));
    table.line("ranges of 64 KB", median(store_figures), "ranges/s", baseline)
}
