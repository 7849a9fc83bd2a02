//! What the store costs, each figure beside its baseline.
//!
//! ```text
//!  cargo bench -p store                        all, some minutes
//!  cargo bench -p store -- deliveries opening  those whose names hold one of the words
//!  cargo bench -p store -- --folder /mnt       on that disk; else in the system's temporary folder
//! ```
//!
//! The ways that are compared run in turn, so that what else the computer does hits all alike; the median of five
//! rounds counts. A table is printed; nothing is asserted, for a figure is of a disk as much as of the store.

mod deliveries;
mod disk;
mod flags;
mod large;
mod message;
mod opening;
mod search;
mod table;
mod wait;

use std::path::{Path, PathBuf};
use table::Table;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Rounds of each way.
pub(crate) const ROUNDS: usize = 5;

type Bench = fn(&Path, &mut Table) -> Result<(), Failure>;

const BENCHES: [(&str, Bench); 8] = [
    ("deliveries of 10 KB", deliveries::of_10_kb),
    ("deliveries of 100 KB", deliveries::of_100_kb),
    ("large: 35 MB in", large::delivery),
    ("large: ranges of 64 KB out", large::ranges),
    ("flags of 50 000 messages", flags::of_50_000),
    ("search in 10 000 messages", search::of_10_000),
    ("opening after a kill, 2 GB", opening::after_a_kill),
    ("opening without an index, 2 GB", opening::without_index),
];

fn main() -> Result<(), Failure> {
    let mut words = Vec::new();
    let mut on = std::env::temp_dir();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo says so.
            "--bench" => (),
            "--folder" => on = PathBuf::from(arguments.next().ok_or("--folder needs a folder")?),
            // The process that is killed.
            opening::CHILD => return opening::child(Path::new(&arguments.next().ok_or("which folder?")?)),
            word if word.starts_with('-') => {
                return Err(format!("{word} is no option; see the head of main.rs").into());
            }
            word => words.push(word.to_owned()),
        }
    }
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    if !BENCHES.iter().any(|(name, _)| chosen(name)) {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        return Err(format!("nothing of this name; there are: {}", names.join(", ")).into());
    }
    let folder = on.join(format!("store-bench-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let mut table = Table::new(&folder)?;
    let measured = BENCHES
        .iter()
        .filter(|(name, _)| chosen(name))
        .try_for_each(|(name, bench)| {
            table.heading(name)?;
            bench(&folder, &mut table)
        });
    std::fs::remove_dir_all(&folder)?;
    measured
}

/// A folder below `folder` for the time of one measurement.
pub(crate) fn with_folder<T>(
    folder: &Path,
    name: &str,
    measure: impl FnOnce(&Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let folder = folder.join(name);
    std::fs::create_dir(&folder)?;
    let measured = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    measured
}

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
