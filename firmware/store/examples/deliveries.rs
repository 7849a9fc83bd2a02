//! Durable deliveries: how many a second, how many syncs, how many octets written for an octet of mail.
//!
//! `cargo run --release -p store --example deliveries [FOLDER]`, by hand; it asserts nothing. FOLDER is on
//! the disk to be measured, by default the system's temporary folder. Three ways in the same run, one after
//! the other, three times; the medians are printed:
//!
//! - the store;
//! - one redb value per message, each committed durably, as a store without a log would do;
//! - a bare append and fdatasync per message, what the disk can do at best without sharing syncs.

use mail::{AccountId, Address, Domain, Flags, Timestamp};
use redb::{Database, TableDefinition};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;
use store::{
    Deliver, DeliveredCopy, File, NewAccount, Options, Provision, RealStorage, Room, Storage, Store,
    StoreError,
};

const MESSAGE_OCTETS: usize = 10_000;
const MESSAGES: usize = 2_000;
const ROUNDS: usize = 3;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("store-deliveries-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let result = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn measure(folder: &Path) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{MESSAGES} messages of {MESSAGE_OCTETS} octets, median of {ROUNDS}, on {}",
        folder.display()
    )?;
    writeln!(
        out,
        "{:28} {:>12} {:>14} {:>16}",
        "", "messages/s", "syncs/message", "written/octet"
    )?;
    for clients in [1, 8] {
        let ways: [(&str, Way); 3] = [
            ("store", by_store),
            ("redb value per message", by_redb),
            ("append and fdatasync", by_append),
        ];
        let mut measured: [Vec<Measured>; 3] = Default::default();
        for round in 0..ROUNDS {
            for ((name, way), measured) in ways.iter().zip(&mut measured) {
                let folder = folder.join(format!("{clients} {round} {name}"));
                std::fs::create_dir(&folder)?;
                measured.push(way(&folder, clients)?);
                std::fs::remove_dir_all(&folder)?;
            }
        }
        for ((name, _), measured) in ways.iter().zip(&mut measured) {
            measured.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
            let Measured {
                per_second,
                syncs,
                written,
            } = measured[ROUNDS / 2];
            let name = format!("{name}, {clients} client{}", if clients == 1 { "" } else { "s" });
            writeln!(out, "{name:34} {per_second:>6.0} {syncs:>14.2} {written:>16.2}")?;
        }
    }
    Ok(())
}

type Way = fn(&Path, usize) -> Result<Measured, Failure>;

#[derive(Clone, Copy)]
struct Measured {
    per_second: f64,
    syncs: f64,
    written: f64,
}

/// Runs `deliver` for each message, on as many threads as there are clients.
fn run(
    clients: usize,
    counts: &Counts,
    deliver: &(dyn Fn(&[u8]) -> Result<(), Failure> + Sync),
) -> Result<Measured, Failure> {
    let (syncs, written) = counts.get();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    for number in 0..MESSAGES / clients {
                        deliver(&message((client * MESSAGES + number) as u64))?;
                    }
                    Ok::<(), Failure>(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a client panicked")?)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let (syncs_after, written_after) = counts.get();
    let float = |number: u64| u32::try_from(number).map_or(f64::INFINITY, f64::from);
    let messages = float(MESSAGES as u64);
    Ok(Measured {
        per_second: messages / seconds,
        syncs: float(syncs_after - syncs) / messages,
        written: float(written_after - written) / (messages * float(MESSAGE_OCTETS as u64)),
    })
}

/// A message like most: some text, an attachment in base64.
fn message(number: u64) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut octets = format!(
        "Received: from mail.example.com by mx.example.org; Tue, 24 Nov 2026 08:00:00 +0000\r\n\
         From: sender{number}@example.com\r\nTo: u1@example.org\r\nSubject: Message {number}\r\n\
         Message-ID: <{number}@example.com>\r\nMIME-Version: 1.0\r\n\r\n"
    )
    .into_bytes();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while octets.len() < MESSAGE_OCTETS {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        octets.push(ALPHABET[usize::from((state >> 58).to_le_bytes()[0])]);
        if octets.len() % 78 == 76 {
            octets.extend_from_slice(b"\r\n");
        }
    }
    octets.truncate(MESSAGE_OCTETS);
    octets
}

fn by_store(folder: &Path, clients: usize) -> Result<Measured, Failure> {
    let counts = Arc::new(Counts::default());
    let real = RealStorage::open(folder)?.ok_or("the folder is in use")?;
    let storage = Counting {
        real,
        counts: Arc::clone(&counts),
    };
    let (store, _) = Store::open_in(Arc::new(storage), &Options::default())?;
    wait(store.provision(Provision {
        domains: vec![Domain::parse("example.org")?],
        accounts: vec![NewAccount {
            address: Address::parse("u1@example.org")?,
            verifier: String::new(),
            quota_octets: None,
        }],
        redirects: Vec::new(),
    }))?;
    let deliver = |octets: &[u8]| -> Result<(), StoreError> {
        let mut body = store.body();
        body.write(octets)?;
        wait(store.deliver(Deliver {
            body: body.seal()?,
            structure: vec![0; 300],
            received: Timestamp(0),
            copies: vec![DeliveredCopy {
                account: AccountId(1),
                header: b"Delivered-To: u1@example.org\r\n".to_vec(),
                flags: Flags::default(),
            }],
        }))?;
        Ok(())
    };
    let closing = |octets: &[u8]| deliver(octets).map_err(Failure::from);
    let before = counts.get();
    let mut measured = run(clients, &counts, &closing)?;
    // The last checkpoint belongs to it, too.
    store.close();
    let octets = u32::try_from(counts.get().1 - before.1)?;
    let mail = u32::try_from(MESSAGES * MESSAGE_OCTETS)?;
    measured.written = f64::from(octets) / f64::from(mail);
    Ok(measured)
}

fn by_redb(folder: &Path, clients: usize) -> Result<Measured, Failure> {
    const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("messages");
    let counts = Arc::new(Counts::default());
    let real = RealStorage::open(folder)?.ok_or("the folder is in use")?;
    let storage = Counting {
        real,
        counts: Arc::clone(&counts),
    };
    let database = Database::builder()
        .set_cache_size(16 * 1024 * 1024)
        .create_with_backend(Backend(storage.create("messages.redb")?))?;
    let next = AtomicU64::new(1);
    let deliver = |octets: &[u8]| -> Result<(), Failure> {
        let transaction = database.begin_write()?;
        transaction
            .open_table(TABLE)?
            .insert(next.fetch_add(1, Ordering::Relaxed), octets)?;
        transaction.commit()?;
        Ok(())
    };
    run(clients, &counts, &deliver)
}

fn by_append(folder: &Path, clients: usize) -> Result<Measured, Failure> {
    let counts = Arc::new(Counts::default());
    let real = RealStorage::open(folder)?.ok_or("the folder is in use")?;
    let storage = Counting {
        real,
        counts: Arc::clone(&counts),
    };
    let end = Mutex::new((storage.create("messages")?, 0));
    let deliver = |octets: &[u8]| -> Result<(), Failure> {
        let mut end = end.lock().map_err(|_| "a client panicked")?;
        end.0.write_all_at(octets, end.1)?;
        end.1 += octets.len() as u64;
        Ok(end.0.sync()?)
    };
    run(clients, &counts, &deliver)
}

/// Runs a future on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    syncs: AtomicU64,
    written: AtomicU64,
}

impl Counts {
    fn get(&self) -> (u64, u64) {
        (
            self.syncs.load(Ordering::Relaxed),
            self.written.load(Ordering::Relaxed),
        )
    }
}

/// The disk, with a count of what is done to it.
#[derive(Debug)]
struct Counting {
    real: RealStorage,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn File>,
    counts: Arc<Counts>,
}

impl Storage for Counting {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CountingFile {
            file: self.real.create(name)?,
            counts: Arc::clone(&self.counts),
        }))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CountingFile {
            file: self.real.open(name)?,
            counts: Arc::clone(&self.counts),
        }))
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.real.list(folder)
    }
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.real.create_folder(folder)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.real.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.real.remove(name)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.real.sync_folder(folder)
    }
    fn room(&self) -> io::Result<Room> {
        self.real.room()
    }
    fn fill_random(&self, octets: &mut [u8]) -> io::Result<()> {
        self.real.fill_random(octets)
    }
}

impl File for CountingFile {
    fn read_exact_at(&self, octets: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(octets, offset)
    }
    fn write_all_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        // What reaches a card is whole pages.
        let pages = (offset + octets.len() as u64).div_ceil(4096) - offset / 4096;
        self.counts.written.fetch_add(pages * 4096, Ordering::Relaxed);
        self.file.write_all_at(octets, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn set_length(&self, octets: u64) -> io::Result<()> {
        self.file.set_length(octets)
    }
    fn sync(&self) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }
}

/// The same counting file for the plain redb variant.
#[derive(Debug)]
struct Backend(Arc<dyn File>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_length(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}
