//! The targets on the stable compiler: what is kept, and as much again made from it.

use super::*;
use crate::tests::model::first_seed;
use crate::tests::workload::{Dice, Direct, step};
use redb::ReadableTable;
use std::path::Path;

/// What there is to begin with: something of each kind, and the inputs in `corpus` that once broke something.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut corpus = seeds(name);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/fuzz/corpus")
        .join(name);
    if folder.exists() {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        corpus.extend(names.into_iter().map(|name| std::fs::read(name).unwrap()));
    }
    corpus
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    match name {
        "segment" => {
            let (_, segment) = STORE[0];
            vec![segment[..4096].to_vec()]
        }
        "batch" => {
            let mut octets = vec![0];
            for record in records() {
                let (head, meta) = record.split_at(4);
                octets.extend_from_slice(head);
                octets.extend([u8::try_from(meta.len()).unwrap_or(u8::MAX), 3]);
                octets.extend_from_slice(meta);
                octets.extend_from_slice(b"abc");
            }
            let changed = [&[1, 9, 1, 0, 0, 0x80][..], &octets[1..]].concat();
            vec![octets, changed]
        }
        "record" => records(),
        "frame" => {
            let text = b"The quick brown fox jumps over the lazy dog.\r\n".repeat(20);
            let stored = zstd::bulk::compress(&text, 1).unwrap();
            let frame = |octets: usize, stored: &[u8]| {
                [&u32::try_from(octets).unwrap().to_le_bytes()[..], &[0], stored].concat()
            };
            vec![frame(text.len(), &stored), frame(text.len(), &text)]
        }
        "row" => rows(),
        "replay" => vec![vec![0, 0, 0x11, 0, 0, 3, 1], vec![1, 0, 1, 0, 0, 255, 0]],
        _ => panic!("{name} has nothing to begin with"),
    }
}

/// The octets of a record of each kind, as the list of layouts keeps them.
fn records() -> Vec<Vec<u8>> {
    let record = |line: &str| {
        let mut fields = line.split(' ');
        let mut octets = Vec::new();
        for _ in 0..2 {
            let number: u16 = fields.next().unwrap().parse().unwrap();
            octets.extend_from_slice(&number.to_le_bytes());
        }
        let digits = fields.next().unwrap();
        let octet = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        octets.extend((0..digits.len()).step_by(2).map(octet));
        octets
    };
    include_str!("../log/testdata/records.txt")
        .lines()
        .map(record)
        .collect()
}

/// The octets of rows as a store has them.
fn rows() -> Vec<Vec<u8>> {
    let sim = Sim::new(1);
    let mut direct = Direct::open(&sim).unwrap();
    for number in 0..12 {
        step(&mut direct, 1, number).unwrap();
    }
    let tables = direct.shared.read().unwrap();
    let mut rows = Vec::new();
    let mut add = |which: u8, octets: &[u8]| rows.push([&[which], octets].concat());
    for found in tables.account.iter().unwrap() {
        add(0, found.unwrap().1.value());
    }
    for found in tables.mailbox.iter().unwrap() {
        add(2, found.unwrap().1.value());
    }
    for found in tables.message.iter().unwrap() {
        add(3, found.unwrap().1.value());
    }
    for found in tables.blob.iter().unwrap() {
        add(4, found.unwrap().1.value().1);
    }
    rows
}

/// Writes what there is to begin with into the folder that `STORE_CORPUS` names, for `tests/fuzz`.
#[test]
fn the_corpus_is_written_when_asked_for() {
    let asked = std::env::var_os("STORE_CORPUS").map(std::path::PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let folder = asked.as_deref().unwrap_or(temporary.path());
    for (name, _) in TARGETS {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, octets) in corpus(name).iter().enumerate() {
            std::fs::write(folder.join(number.to_string()), octets).unwrap();
        }
    }
}

/// Another input, made of those there are.
fn mutated(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let place = |dice: &mut Dice, octets: usize| usize::try_from(dice.roll(octets as u64 + 1)).unwrap();
    let mut octets = dice.pick(corpus).unwrap();
    for _ in 0..=dice.roll(4) {
        let at = place(dice, octets.len());
        let octet = dice.roll(256).to_le_bytes()[0];
        match dice.roll(6) {
            0 => octets.truncate(at),
            1 => octets.insert(at, octet),
            2 => {
                let other = dice.pick(corpus).unwrap();
                octets.truncate(at);
                octets.extend_from_slice(&other[place(dice, other.len())..]);
            }
            3 => octets.extend((0..dice.roll(20)).map(|_| dice.roll(256).to_le_bytes()[0])),
            _ => {
                if let Some(changed) = octets.get_mut(at) {
                    // The ends of a range more often than what is between.
                    *changed = [octet, octet, 0, 1, 0x7f, 0x80, 0xff][place(dice, 6)];
                }
            }
        }
    }
    octets
}

fn try_out(name: &str, inputs: usize) {
    let corpus = corpus(name);
    for octets in &corpus {
        run(name, octets);
    }
    let seed = first_seed();
    let mut dice = Dice(seed);
    for number in 0..inputs {
        let octets = mutated(&corpus, &mut dice);
        let result = std::panic::catch_unwind(|| run(name, &octets));
        assert!(
            result.is_ok(),
            "STORE_SEED={seed}: input {number} of {name} is one for src/fuzz/corpus/{name}: {octets:02x?}"
        );
    }
}

#[test]
fn any_head_of_a_segment_is_read_or_refused() {
    try_out("segment", 10_000);
}

#[test]
fn any_batch_is_what_was_written_or_is_not_found() {
    try_out("batch", 10_000);
}

#[test]
fn any_record_is_read_or_refused() {
    try_out("record", 10_000);
}

#[test]
fn any_frame_is_opened_or_refused() {
    try_out("frame", 10_000);
}

#[test]
fn any_row_is_read_or_refused() {
    try_out("row", 10_000);
}

/// D10, D11
#[test]
fn d10_any_damage_to_a_store_is_contained() {
    try_out("replay", 200);
}
