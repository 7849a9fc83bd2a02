//! Durable deliveries: how many a second, how many syncs, how many octets written for an octet of mail.

use crate::disk::{Counting, Counts};
use crate::message::{deliver, message, provision};
use crate::table::Table;
use crate::{Failure, ROUNDS, median, with_folder};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use store::{Options, Storage, Store};

pub(crate) fn of_10_kb(folder: &Path, table: &mut Table) -> Result<(), Failure> {
    measure(folder, table, 10_000, [400, 1_600, 3_200])
}

pub(crate) fn of_100_kb(folder: &Path, table: &mut Table) -> Result<(), Failure> {
    measure(folder, table, 100_000, [100, 400, 800])
}

#[derive(Clone, Copy)]
struct Load<'m> {
    producers: usize,
    messages: &'m [Vec<u8>],
}

struct Measured {
    per_second: f64,
    syncs: f64,
    written: f64,
}

type Way = fn(&Path, Load<'_>) -> Result<Measured, Failure>;

fn measure(folder: &Path, table: &mut Table, octets: usize, counts: [u64; 3]) -> Result<(), Failure> {
    for (producers, count) in [1, 8, 64].into_iter().zip(counts) {
        let messages: Vec<Vec<u8>> = (0..count).map(|number| message(number, octets)).collect();
        let ways: [(&str, Way); 3] = [
            ("store", by_store),
            ("append, fdatasync", by_append),
            ("file, fsync, rename, folder", by_files),
        ];
        let mut measured: [Vec<Measured>; 3] = Default::default();
        for round in 0..ROUNDS {
            for ((name, way), measured) in ways.iter().zip(&mut measured) {
                let load = Load {
                    producers,
                    messages: &messages,
                };
                let name = format!("{producers} {round} {name}");
                measured.push(with_folder(folder, &name, |folder| way(folder, load))?);
            }
        }
        let of =
            |place: usize, figure: fn(&Measured) -> f64| median(measured[place].iter().map(figure).collect());
        let speed = |place| of(place, |measured| measured.per_second);
        let producers = format!("{producers} producer{}", if producers == 1 { "" } else { "s" });
        for place in [1, 2] {
            let baseline = Some((ways[place].0, speed(place)));
            table.line(&producers, speed(0), "messages/s", baseline)?;
        }
        for (what, figure) in [
            (
                "written for an octet of mail",
                (|m| m.written) as fn(&Measured) -> f64,
            ),
            ("syncs for a message", |m| m.syncs),
        ] {
            let baseline = Some((ways[2].0, of(2, figure)));
            table.line(&format!("{producers}, {what}"), of(0, figure), "", baseline)?;
        }
    }
    Ok(())
}

/// Gives each message to `deliver`, on as many threads as there are producers.
fn run(load: Load<'_>, deliver: impl Fn(&[u8]) -> Result<(), Failure> + Sync) -> Result<f64, Failure> {
    let next = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let produce = || {
            loop {
                let number = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                match load.messages.get(number) {
                    Some(octets) => deliver(octets)?,
                    None => return Ok::<(), Failure>(()),
                }
            }
        };
        let threads: Vec<_> = (0..load.producers).map(|_| scope.spawn(produce)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a producer panicked")?)
    })?;
    Ok(float(load.messages.len() as u64) / start.elapsed().as_secs_f64())
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

fn counted(per_second: f64, load: Load<'_>, syncs: u64, written: u64) -> Measured {
    let octets: usize = load.messages.iter().map(Vec::len).sum();
    Measured {
        per_second,
        syncs: float(syncs) / float(load.messages.len() as u64),
        written: float(written) / float(octets as u64),
    }
}

fn by_store(folder: &Path, load: Load<'_>) -> Result<Measured, Failure> {
    let (storage, counts) = Counting::open(folder)?;
    let (store, _) = Store::open_in(storage, &Options::default())?;
    provision(&store)?;
    let before = (counts.syncs(), counts.written());
    let per_second = run(load, |octets| deliver(&store, [octets]).map(drop))?;
    // The last checkpoint belongs to it, too.
    store.close();
    let (syncs, written) = (counts.syncs() - before.0, counts.written() - before.1);
    Ok(counted(per_second, load, syncs, written))
}

/// (a) What the disk can do at best without sharing syncs.
fn by_append(folder: &Path, load: Load<'_>) -> Result<Measured, Failure> {
    let (storage, counts) = Counting::open(folder)?;
    let end = Mutex::new((storage.create("messages")?, 0));
    let per_second = run(load, |octets| {
        let mut end = end.lock().map_err(|_| "a producer panicked")?;
        end.0.write_all_at(octets, end.1)?;
        end.1 += octets.len() as u64;
        Ok(end.0.sync()?)
    })?;
    Ok(counted(per_second, load, counts.syncs(), counts.written()))
}

/// (b) As a Maildir is delivered to.
fn by_files(folder: &Path, load: Load<'_>) -> Result<Measured, Failure> {
    std::fs::create_dir(folder.join("tmp"))?;
    std::fs::create_dir(folder.join("new"))?;
    let next = AtomicU64::new(0);
    let counts = Counts::default();
    let per_second = run(load, |octets| {
        let name = next.fetch_add(1, Ordering::Relaxed).to_string();
        maildir(folder, &name, [octets])?;
        counts.add(2, octets.len() as u64);
        Ok(())
    })?;
    Ok(counted(per_second, load, counts.syncs(), counts.written()))
}

/// Writes a file under `tmp`, syncs it, renames it into `new` and syncs that.
pub(crate) fn maildir<'o>(
    folder: &Path,
    name: &str,
    pieces: impl IntoIterator<Item = &'o [u8]>,
) -> Result<(), Failure> {
    let unfinished = folder.join("tmp").join(name);
    let mut file = File::create_new(&unfinished)?;
    for piece in pieces {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    std::fs::rename(unfinished, folder.join("new").join(name))?;
    Ok(File::open(folder.join("new"))?.sync_all()?)
}
