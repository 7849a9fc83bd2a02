//! Opening a store of 2 GB: after a kill, and without its index.

use crate::deliveries::float;
use crate::message::{deliver, message, provision};
use crate::table::Table;
use crate::{Failure, ROUNDS, median, with_folder};
use std::fs;
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::{Options, Store};

/// The word by which this program is the one that is killed.
pub(crate) const CHILD: &str = "--child";

const MESSAGE_OCTETS: usize = 100_000;
/// 2 GB as stored: base64 takes three quarters of its octets.
const MESSAGES: u64 = 27_000;
/// Deliveries behind the last checkpoint when the kill comes.
const BEHIND: u64 = 500;
const PRODUCERS: u64 = 8;

/// Delivers, says so, and waits for its end.
pub(crate) fn child(folder: &Path) -> Result<(), Failure> {
    let options = Options {
        checkpoint_interval: Duration::from_secs(3_600),
        ..Options::default()
    };
    let (store, _) = Store::open(folder, options)?;
    fill(&store, BEHIND)?;
    writeln!(stdout(), "done")?;
    loop {
        std::thread::park();
    }
}

fn fill(store: &Store, messages: u64) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let produce = |producer: u64| {
            move || {
                for number in (producer..messages).step_by(usize::try_from(PRODUCERS)?) {
                    deliver(store, [message(number, MESSAGE_OCTETS).as_slice()])?;
                }
                Ok::<(), Failure>(())
            }
        };
        let threads: Vec<_> = (0..PRODUCERS)
            .map(|producer| scope.spawn(produce(producer)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a producer panicked")?)
    })
}

fn fill_2_gb(folder: &Path) -> Result<(), Failure> {
    let (store, _) = Store::open(folder, Options::default())?;
    provision(&store)?;
    fill(&store, MESSAGES)?;
    store.close();
    Ok(())
}

pub(crate) fn after_a_kill(folder: &Path, table: &mut Table) -> Result<(), Failure> {
    let (mut killed, mut clean, mut replayed) = (Vec::new(), Vec::new(), Vec::new());
    with_folder(folder, "opening", |folder| {
        fill_2_gb(folder)?;
        for _ in 0..ROUNDS {
            let mut child = Command::new(std::env::current_exe()?)
                .arg(CHILD)
                .arg(folder)
                .stdout(Stdio::piped())
                .spawn()?;
            let said = child.stdout.take().ok_or("no pipe")?;
            let is_done = BufReader::new(said).lines().next().transpose()?;
            child.kill()?;
            child.wait()?;
            if is_done.as_deref() != Some("done") {
                return Err("the process that was to be killed ended by itself".into());
            }
            let start = Instant::now();
            let (store, opened) = Store::open(folder, Options::default())?;
            killed.push(start.elapsed().as_secs_f64());
            replayed.push(float(opened.batches_replayed));
            store.close();
            drop(store);
            let start = Instant::now();
            let (store, _) = Store::open(folder, Options::default())?;
            clean.push(start.elapsed().as_secs_f64());
            store.close();
        }
        Ok(())
    })?;
    let what = format!("{BEHIND} deliveries to replay");
    let baseline = Some(("after a clean stop", median(clean)));
    table.line(&what, median(killed), "s", baseline)?;
    table.line("batches replayed", median(replayed), "", None)
}

pub(crate) fn without_index(folder: &Path, table: &mut Table) -> Result<(), Failure> {
    let (mut anew, mut read) = (Vec::new(), Vec::new());
    with_folder(folder, "index", |folder| {
        fill_2_gb(folder)?;
        // Once less often: it is long.
        for _ in 0..3 {
            fs::remove_file(folder.join("index.redb"))?;
            let start = Instant::now();
            let (store, opened) = Store::open(folder, Options::default())?;
            anew.push(start.elapsed().as_secs_f64());
            if opened.index_rebuilt.is_none() {
                return Err("the index was not made anew".into());
            }
            store.close();
            let start = Instant::now();
            for entry in fs::read_dir(folder.join("log"))? {
                std::io::copy(&mut fs::File::open(entry?.path())?, &mut std::io::sink())?;
            }
            read.push(start.elapsed().as_secs_f64());
        }
        Ok(())
    })?;
    let baseline = Some(("reading the log", median(read)));
    table.line("index made anew", median(anew), "s", baseline)
}
