//! A panic in the writer ends the process: what it had begun must not be seen by anyone.

use super::workload::*;
use super::*;
use crate::StoreError;
use crate::index::Tables;
use crate::log::record::Mutation;
use crate::request::Request;
use crate::storage::sim::Sim;
use std::os::unix::process::ExitStatusExt;

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
    let Direct { shared, writer, .. } = Direct::open(&Sim::new(1)).unwrap();
    let (job, _reply) = pending(Panics);
    let thread = std::thread::spawn(move || writer.run());
    assert!(wait(shared.queue.send(job)).is_ok());
    let _ = thread.join();
}

#[test]
fn a_panic_in_the_writer_ends_the_process() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::panics::the_child_that_panics"])
        .env("STORE_PANIC", "1")
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
}
