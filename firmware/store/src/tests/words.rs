//! Bad input: what is told names the file, says what is lost, and what to do.

use super::workload::*;
use super::*;
use crate::StoreError;
use crate::log::scan::Segments;
use crate::log::seal::Sealer;
use crate::storage::Storage;
use crate::storage::sim::{Plan, Sim};

const U1: AccountId = AccountId(1);
const FIRST: &str = "log/0000000000000001";

/// Each of these words is in the sentence.
fn says(told: &str, words: &[&str]) {
    for word in words {
        assert!(told.contains(word), "“{told}” does not say “{word}”");
    }
    assert!(!told.contains('\n'), "“{told}” is one sentence");
}

/// A disk with five messages of U1 in one segment, and where the batches are. The box was switched off.
fn five_messages() -> (Sim, Vec<(u64, u64)>) {
    let sim = Sim::new(7);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    for number in 0..5 {
        let deliver = direct.delivery(&[U1], &noise(number, 3000)).unwrap();
        direct.ask(deliver).unwrap();
    }
    direct.writer.checkpoint();
    let after = sim.reboot(7);
    drop(direct);
    let (segments, _) = Segments::find(Arc::new(after.clone())).unwrap().unwrap();
    let mut batches = Vec::new();
    let mut offset = 0;
    while let Some(batch) = segments.next_batch(&segments.list[0], offset).unwrap() {
        batches.push((batch.at.offset, batch.octets));
        offset = batch.end();
    }
    assert_eq!(batches.len(), 6);
    (after, batches)
}

/// What is said of the only damage there is, and how many messages can be read.
fn damage(sim: &Sim) -> (String, usize) {
    let direct = Direct::open(sim).unwrap();
    assert_eq!(direct.opened.damage.len(), 1, "{:?}", direct.opened.damage);
    let view = direct.view();
    let inbox = mailbox(&view, U1, "INBOX");
    let entries = view.entries(inbox).unwrap();
    let is_whole = |uid| {
        let message = view.message(inbox, uid).unwrap().unwrap();
        view.body(&message)
            .and_then(|mut body| body.read_to_vec())
            .is_ok()
    };
    let whole = entries.iter().filter(|entry| is_whole(entry.uid)).count();
    (direct.opened.damage[0].to_string(), whole)
}

/// D10
#[test]
fn d10_a_damaged_segment_is_named_with_what_is_lost() {
    let (sim, batches) = five_messages();
    let (at, octets) = batches[3];

    // The index is read anew, so that the log is.
    let body = sim.reboot(1);
    Storage::remove(&body, "index.redb").unwrap();
    body.flip(FIRST, at + octets - 500, 1);
    let (told, whole) = damage(&body);
    says(
        &told,
        &[
            FIRST,
            "a message in batch 4 is damaged",
            "nothing else",
            "backup",
            "delete it",
        ],
    );
    assert_eq!(whole, 4);

    let record = sim.reboot(2);
    Storage::remove(&record, "index.redb").unwrap();
    record.flip(FIRST, at + 100, 1);
    let (told, whole) = damage(&record);
    says(
        &told,
        &[
            FIRST,
            "1 changes in batch 4 are lost",
            "the others were read",
            "backup",
        ],
    );
    assert_eq!(whole, 4);

    let header = sim.reboot(3);
    Storage::remove(&header, "index.redb").unwrap();
    header.flip(FIRST, at + 1, 1);
    let (told, whole) = damage(&header);
    says(
        &told,
        &[FIRST, "batches 4 to 4 are lost", "all else is there", "backup"],
    );
    assert_eq!(whole, 4);

    let head = sim.reboot(4);
    head.flip(FIRST, 20, 1);
    head.flip(FIRST, 2048 + 20, 1);
    let error = Direct::open(&head).err().unwrap().to_string();
    says(&error, &["no segment has a readable header", "backup"]);
}

/// D10: the index knows what the segment had.
#[test]
fn d10_a_segment_cut_short_is_named_and_the_messages_before_are_read() {
    let (sim, batches) = five_messages();
    let file = Storage::open(&sim, FIRST).unwrap();
    file.set_length(batches[4].0).unwrap();
    file.sync().unwrap();
    let (told, whole) = damage(&sim);
    says(
        &told,
        &[FIRST, "has lost its end", "the index still lists them", "backup"],
    );
    assert_eq!(whole, 3);
}

/// D10: a segment in the middle is gone.
#[test]
fn d10_a_segment_that_is_gone_is_named() {
    let sim = Sim::new(7);
    let mut direct = Direct::open(&sim).unwrap();
    step(&mut direct, 1, 0).unwrap();
    for number in 0..4 {
        let deliver = direct.delivery(&[U1], &noise(number, 40_000)).unwrap();
        direct.ask(deliver).unwrap();
    }
    direct.writer.checkpoint();
    let last = sim
        .names()
        .into_iter()
        .rfind(|name| name.starts_with("log/"))
        .unwrap();
    let sim = sim.reboot(7);
    drop(direct);

    let head = sim.reboot(8);
    head.flip(FIRST, 20, 1);
    head.flip(FIRST, 2048 + 20, 1);
    let (told, whole) = damage(&head);
    says(
        &told,
        &[
            FIRST,
            "the header is damaged",
            "nothing is lost",
            "nothing is to be done",
        ],
    );
    assert_eq!(whole, 4);

    let sim = sim.reboot(9);
    Storage::remove(&sim, &last).unwrap();
    let (told, _) = damage(&sim);
    says(
        &told,
        &[&last, "is missing", "the index still lists them", "backup"],
    );
}

/// D6
#[test]
fn d6_a_missing_index_is_said_and_nothing_is_lost() {
    let (sim, _) = five_messages();
    Storage::remove(&sim, "index.redb").unwrap();
    let direct = Direct::open(&sim).unwrap();
    let told = direct.opened.index_rebuilt.clone().unwrap();
    says(&told, &["missing"]);
    assert_eq!(direct.opened.damage, []);
    let view = direct.view();
    assert_eq!(view.entries(mailbox(&view, U1, "INBOX")).unwrap().len(), 5);
    direct.check();
}

/// A segment and a batch of formats to come. Nothing is changed.
#[test]
fn a_store_of_a_newer_format_is_left_alone() {
    let (sim, batches) = five_messages();
    let (_, identity) = Segments::find(Arc::new(sim.clone())).unwrap().unwrap();

    let newer_segment = sim.reboot(1);
    let mut head = newer_segment.content(FIRST)[..80].to_vec();
    head[8] = 2;
    let sum = blake3::hash(&head[..64]);
    head[64..80].copy_from_slice(&sum.as_bytes()[..16]);
    let file = Storage::open(&newer_segment, FIRST).unwrap();
    for at in [0, 2048] {
        file.write_all_at(&head, at).unwrap();
    }
    file.sync().unwrap();
    left_alone(&newer_segment, &[FIRST, "a segment of format 2"]);

    let newer_batch = sim.reboot(2);
    Storage::remove(&newer_batch, "index.redb").unwrap();
    Storage::sync_folder(&newer_batch, "").unwrap();
    let file = Storage::open(&newer_batch, FIRST).unwrap();
    let (segments, _) = Segments::find(Arc::new(newer_batch.clone())).unwrap().unwrap();
    let batch = segments
        .next_batch(&segments.list[0], batches[3].0)
        .unwrap()
        .unwrap();
    file.write_all_at(&[2], batch.at.offset + 8).unwrap();
    // Put where it is, it is sealed as it is now.
    let sealed = batch.moved(&*file, batch.at, &Sealer::new(&identity)).unwrap();
    file.write_all_at(&sealed, batch.at.offset).unwrap();
    file.sync().unwrap();
    left_alone(&newer_batch, &[FIRST, "a batch of format 2"]);
}

fn left_alone(sim: &Sim, words: &[&str]) {
    let log = |sim: &Sim| -> Vec<Vec<u8>> {
        let names = sim.names().into_iter().filter(|name| name.starts_with("log/"));
        names.map(|name| sim.content(&name)).collect()
    };
    let before = log(sim);
    let error = Direct::open(sim).err().unwrap();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    says(&error.to_string(), words);
    says(
        &error.to_string(),
        &["newer version", "nothing was changed", "start that version"],
    );
    assert_eq!(before, log(sim));
}

#[test]
fn a_read_only_disk_is_said_with_what_to_do() {
    let (sim, _) = five_messages();
    let names = sim.names();
    sim.plan(Plan {
        is_read_only: true,
        ..Plan::default()
    });
    let told = Direct::open(&sim).err().unwrap().to_string();
    says(
        &told,
        &[
            "the folder of the store",
            "read-only",
            "nothing is lost",
            "make the disk writable",
        ],
    );
    assert_eq!(sim.names(), names);
    sim.plan(Plan::default());
    let direct = Direct::open(&sim).unwrap();
    let view = direct.view();
    assert_eq!(view.entries(mailbox(&view, U1, "INBOX")).unwrap().len(), 5);
}

/// D9: a disk with no room for even an empty store, and one that fills up.
#[test]
fn d9_a_full_disk_is_said_with_what_to_do() {
    let sim = Sim::new(1);
    sim.plan(Plan {
        capacity_octets: Some(0),
        ..Plan::default()
    });
    let told = Direct::open(&sim).err().unwrap().to_string();
    says(&told, &["disk", "full"]);
    assert!(StoreError::Full.is_temporary());

    let full = StoreError::io("bodies/0000000000000007")(std::io::ErrorKind::StorageFull.into());
    says(
        &full.to_string(),
        &["bodies/0000000000000007", "nothing is lost", "make room"],
    );
}
