//! `maild check` and `maild rebuild`.

use super::progress::{Progress, size};
use super::{Report, ToolError, counted, of_store, open, store_folder};
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use store::{Opened, RealStorage, Storage, StoreError};

/// The index, and what it is called while there is another.
const INDEX: &str = "index.redb";
const INDEX_BEFORE: &str = "index.before";
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Recomputes every invariant and reads every octet.
pub(super) fn check(data: &Path) -> Result<Report, ToolError> {
    let folder = store_folder(data)?;
    let (log, bodies) = (octets_in(&folder.join("log")), octets_in(&folder.join("bodies")));
    // The log is read for the bodies in it, and again to be replayed.
    let reading = Reading::begin("checked", 2 * log + bodies);
    let (store, opened) = open(data)?;
    let checked = store.check().map_err(of_store(data))?;
    store.close();
    drop(reading);
    let damaged = say_what_was_found(&opened);
    for flaw in &checked.flaws {
        say(&flaw.to_string());
    }
    let read = size(checked.body_octets);
    let seen = format!(
        "checked {} and {read} of mail",
        counted(checked.messages, "message")
    );
    let flaws = damaged + checked.flaws.len() as u64;
    let summary = if flaws == 0 {
        format!("{seen}: everything is as it was written")
    } else {
        // Where octets of a message are gone, only a backup has them.
        format!(
            "{seen}: {}, named above. What the log has lost is in a backup, or nowhere; 'maild export' saves what can be read. \
             'maild rebuild {}' mends an index that is wrong, and refuses where mail would be lost by it",
            counted(flaws, "flaw"),
            data.display()
        )
    };
    Ok(Report {
        summary,
        is_told: flaws > 0,
    })
}

/// Makes the index anew from what is on the disk, unless the index knows of mail that the log has lost: the end of the log that
/// has rotted looks like one that was never acknowledged, and only the index knows better. The one before is kept until there
/// is another.
pub(super) fn rebuild(data: &Path) -> Result<Report, ToolError> {
    let folder = store_folder(data)?;
    refuse_to_lose(data)?;
    let in_use = || of_store(data)(StoreError::InUse);
    let storage = RealStorage::open(&folder)
        .map_err(ToolError::file(&folder))?
        .ok_or_else(in_use)?;
    let names = storage.list("").map_err(ToolError::file(&folder))?;
    let has_index = names.iter().any(|name| name == INDEX);
    if has_index {
        storage
            .rename(INDEX, INDEX_BEFORE)
            .map_err(ToolError::file(&folder.join(INDEX)))?;
    }
    // The store locks its folder itself.
    drop(storage);
    let reading = Reading::begin("read", octets_in(&folder.join("log")));
    let opened = open(data).and_then(|(store, opened)| {
        let view = store.view().map_err(of_store(data))?;
        let accounts = view.accounts().map_err(of_store(data))?;
        drop(view);
        store.close();
        Ok((accounts, opened))
    });
    drop(reading);
    let before = folder.join(INDEX_BEFORE);
    let (accounts, opened) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            if has_index {
                fs::rename(&before, folder.join(INDEX)).map_err(ToolError::file(&before))?;
            }
            return Err(error);
        }
    };
    if has_index {
        fs::remove_file(&before).map_err(ToolError::file(&before))?;
    }
    let damaged = say_what_was_found(&opened);
    let messages = accounts.iter().map(|account| account.messages).sum();
    let has = format!(
        "the index was made anew: {}, {}",
        counted(accounts.len() as u64, "account"),
        counted(messages, "message")
    );
    let summary = if damaged == 0 {
        has
    } else {
        format!("{has}; what the log has lost is named above, and is in a backup, or nowhere")
    };
    Ok(Report {
        summary,
        is_told: damaged > 0,
    })
}

/// Tables whose rows no other row can give: one that the log does not have would be lost with the index.
const NEEDED: [&str; 7] = [
    "msg",
    "mailbox",
    "account",
    "queue",
    "recipient",
    "blob",
    "redirect",
];

/// # Errors
/// Mail would be lost with the index.
fn refuse_to_lose(data: &Path) -> Result<(), ToolError> {
    let (store, opened) = open(data)?;
    // An index that could not be used is another by now, and knows no more than the log.
    if opened.index_rebuilt.is_some() {
        store.close();
        return Ok(());
    }
    let checked = store.check().map_err(of_store(data))?;
    store.close();
    // Where there are too many flaws to tell, it cannot be told either whether one is of this kind.
    let is_loss = |flaw: &str| {
        let known_to_index_alone = flaw.strip_prefix("only the index says: ");
        flaw.contains("damaged")
            || flaw.contains(" are lost")
            || flaw.starts_with("and ")
            || known_to_index_alone
                .is_some_and(|row| NEEDED.iter().any(|table| row.starts_with(&format!("{table} "))))
    };
    if opened.damage.is_empty() && !checked.flaws.iter().any(|flaw| is_loss(&flaw.0)) {
        return Ok(());
    }
    say_what_was_found(&opened);
    for flaw in &checked.flaws {
        say(&flaw.to_string());
    }
    Err(ToolError::Said(format!(
        "the index in {} was left as it is: the log is damaged, as named above, and the index knows of mail that would be lost \
         with it. 'maild export' saves what can be read",
        data.display()
    )))
}

/// Says what opening found, and how much of it is damage.
fn say_what_was_found(opened: &Opened) -> u64 {
    for damage in &opened.damage {
        say(&damage.to_string());
    }
    for sentence in crate::opened::sentences(opened) {
        say(&sentence);
    }
    opened.damage.len() as u64
}

fn say(sentence: &str) {
    eprintln!("maild: {}", crate::log::printable(sentence));
}

/// What the files of a folder hold.
fn octets_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}

/// Tells, from a thread of its own, how much of something this process has read. The store has no word for how far it is;
/// the kernel counts what it reads.
struct Reading {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    fn begin(verb: &'static str, octets: u64) -> Reading {
        let (stop, stopped) = mpsc::channel();
        let tell = move || {
            let before = octets_read();
            let mut progress = Progress::new(verb, octets);
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                progress.set(octets_read().saturating_sub(before));
            }
        };
        // Without a thread nobody is told, and the work is done all the same.
        let thread = std::thread::Builder::new().spawn(tell).ok();
        Reading {
            stop: Some(stop),
            thread,
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `rchar: 323934931` in `/proc/self/io`.
fn octets_read() -> u64 {
    let told = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|octets| octets.parse().ok()).unwrap_or_default()
}
