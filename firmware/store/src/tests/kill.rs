//! The process is killed under load (rig R2): it finds mistakes in what is done, not missing syncs.

use super::*;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const CLIENTS: u64 = 4;

fn octets(number: u64) -> Vec<u8> {
    // Every ninth has a file of its own.
    noise(number, if number.is_multiple_of(9) { 400_000 } else { 3_000 })
}

/// The child of the test below: delivers from several threads until it is killed, and prints each number
/// when its message is acknowledged.
#[test]
fn the_child_that_is_killed() {
    let Some(folder) = std::env::var_os("STORE_KILL") else {
        return;
    };
    let options = Options {
        checkpoint_interval: Duration::from_millis(20),
        ..options()
    };
    let (store, _) = Store::open(Path::new(&folder), options).unwrap();
    if !store.view().unwrap().is_claimed().unwrap() {
        provision(&store, 1);
    }
    let base: u64 = std::env::var("STORE_KILL_BASE").unwrap().parse().unwrap();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let store = &store;
            scope.spawn(move || {
                for number in (base + client..).step_by(usize::try_from(CLIENTS).unwrap()) {
                    deliver(store, &[AccountId(1)], &octets(number));
                    println!("\nacknowledged {number}");
                }
            });
        }
    });
}

/// D2
#[test]
fn d2_what_was_acknowledged_survives_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..4_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "tests::kill::the_child_that_is_killed"])
            .env("STORE_KILL", folder.path())
            .env("STORE_KILL_BASE", (round * 100_000).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 20 + round * 7;
        for line in lines.by_ref() {
            if let Some(number) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged.push(number.parse::<u64>().unwrap());
                left = left.saturating_sub(1);
                if left == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert_eq!(left, 0, "the child ended by itself");

        let (store, opened) = Store::open(folder.path(), options()).unwrap();
        assert_eq!(opened.damage, []);
        let view = store.view().unwrap();
        let inbox = mailbox(&view, AccountId(1), "INBOX");
        let mut found = std::collections::HashMap::<blake3::Hash, u32>::new();
        for entry in view.entries(inbox).unwrap() {
            let octets = read(&view, inbox, entry.uid);
            *found
                .entry(blake3::hash(&octets["Delivered-To: 1\r\n".len()..]))
                .or_default() += 1;
        }
        for number in &acknowledged {
            let count = found.get(&blake3::hash(&octets(*number)));
            assert_eq!(count, Some(&1), "message {number} is there once");
        }
        finish(&store);
        store.close();
    }
}
