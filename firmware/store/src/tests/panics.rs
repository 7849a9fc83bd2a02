//! A panic in the writer ends the process: what it had begun must not be seen by anyone.

use super::workload::*;
use super::*;
use crate::StoreError;
use crate::index::Tables;
use crate::log::record::Mutation;
use crate::open::{Ready, open};
use crate::request::Request;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

const SIGABRT: i32 = 6;

struct Panics;

impl Request for Panics {
    type Reply = ();

    fn decide(&self, _: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        panic!("as a fault in decide or apply would");
    }
}

/// The child of the test below; alone it does nothing.
#[test]
fn the_child_that_panics() {
    if std::env::var_os("STORE_PANIC").is_none() {
        return;
    }
    let folder = std::env::var_os("STORE_PANIC").unwrap();
    let storage = crate::RealStorage::open(Path::new(&folder)).unwrap().unwrap();
    let storage: Arc<dyn crate::Storage> = Arc::new(storage);
    let Ready { shared, writer, .. } = open(storage, &options()).unwrap();
    let (job, _reply) = pending(Panics);
    let thread = std::thread::spawn(move || writer.run());
    assert!(wait(shared.queue.send(job)).is_ok());
    let _ = thread.join();
}

/// D11: and when the index may have been the cause, it is not gone on with unseen.
#[test]
fn a_panic_in_the_writer_ends_the_process_and_the_next_verifies_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), options()).unwrap();
    provision(&store, 2);
    for number in 0..20 {
        deliver(&store, &[AccountId(1)], &noise(number, 3_000));
    }
    let dump = store.view().unwrap().dump().unwrap();
    store.close();
    drop(store);
    // The name of a mailbox, in a page that no start looks at.
    let index = folder.path().join("index.redb");
    let mut octets = std::fs::read(&index).unwrap();
    let mut hits = 0;
    for at in 0..octets.len() - 7 {
        if &octets[at..at + 7] == b"Archive" {
            octets[at] = b'a';
            hits += 1;
        }
    }
    assert!(hits > 0);
    std::fs::write(&index, octets).unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::panics::the_child_that_panics"])
        .env("STORE_PANIC", folder.path())
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    let (store, opened) = Store::open(folder.path(), options()).unwrap();
    assert!(!folder.path().join("index.suspect").exists(), "once is enough");
    assert!(opened.index_rebuilt.is_some());
    assert_eq!(store.view().unwrap().dump().unwrap(), dump);
    finish(&store);
}
