//! A client that speaks the protocol by hand, and what a cut leaves it.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tempfile::TempDir;

use super::cache::Cache;
use super::protocol::{FLAG_FUA, OPT_ABORT, OPT_EXPORT_NAME, OPT_GO, REQUEST_OCTETS_MAX, TRANSMISSION_FLAGS};
use super::*;
use crate::disk::OCTETS_MIN;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;

/// QEMU's part.
struct Client(UnixStream);

impl Client {
    fn greeted(socket: &Path) -> Client {
        let mut client = Client(UnixStream::connect(socket).unwrap());
        assert_eq!(client.read(18), b"NBDMAGICIHAVEOPT\x00\x03");
        client.0.write_all(&3_u32.to_be_bytes()).unwrap();
        client
    }

    fn connected(socket: &Path) -> Client {
        let mut client = Client::greeted(socket);
        // 8: structured replies, which QEMU asks for first.
        client.option(8, b"");
        assert_eq!(client.option_reply(8), (0x8000_0001, Vec::new()));
        client.option(OPT_GO, b"\x00\x00\x00\x00\x00\x01\x00\x03");
        let (kind, export) = client.option_reply(OPT_GO);
        assert_eq!((kind, export.len()), (3, 12));
        assert_eq!(export[2..10], OCTETS_MIN.to_be_bytes());
        assert_eq!(export[10..], TRANSMISSION_FLAGS.to_be_bytes());
        let (kind, block) = client.option_reply(OPT_GO);
        assert_eq!((kind, &block[..6]), (3, &b"\x00\x03\x00\x00\x02\x00"[..]));
        assert_eq!(client.option_reply(OPT_GO), (1, Vec::new()));
        client
    }

    fn option(&mut self, option: u32, data: &[u8]) {
        let mut octets = b"IHAVEOPT".to_vec();
        octets.extend(option.to_be_bytes());
        octets.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        octets.extend(data);
        self.0.write_all(&octets).unwrap();
    }

    fn option_reply(&mut self, option: u32) -> (u32, Vec<u8>) {
        assert_eq!(self.read(8), 0x0003_e889_0455_65a9_u64.to_be_bytes());
        assert_eq!(self.read(4), option.to_be_bytes());
        let kind = u32::from_be_bytes(self.read(4).try_into().unwrap());
        let octets = u32::from_be_bytes(self.read(4).try_into().unwrap());
        (kind, self.read(octets as usize))
    }

    fn read(&mut self, octets: usize) -> Vec<u8> {
        let mut read = vec![0; octets];
        self.0.read_exact(&mut read).unwrap();
        read
    }

    fn request(&mut self, command: u16, flags: u16, offset: u64, octets: u32, data: &[u8]) {
        let mut request = 0x2560_9513_u32.to_be_bytes().to_vec();
        request.extend(flags.to_be_bytes());
        request.extend(command.to_be_bytes());
        request.extend(77_u64.to_be_bytes());
        request.extend(offset.to_be_bytes());
        request.extend(octets.to_be_bytes());
        request.extend(data);
        self.0.write_all(&request).unwrap();
    }

    fn error(&mut self) -> u32 {
        let reply = self.read(16);
        assert_eq!(reply[..4], 0x6744_6698_u32.to_be_bytes());
        assert_eq!(reply[8..], 77_u64.to_be_bytes());
        u32::from_be_bytes(reply[4..8].try_into().unwrap())
    }

    fn ask(&mut self, command: u16, flags: u16, offset: u64, octets: u32, data: &[u8]) -> u32 {
        self.request(command, flags, offset, octets, data);
        self.error()
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> u32 {
        self.ask(WRITE, 0, offset, u32::try_from(data.len()).unwrap(), data)
    }

    fn flush(&mut self) -> u32 {
        self.ask(FLUSH, 0, 0, 0, b"")
    }

    fn sector(&mut self, number: u64) -> u8 {
        assert_eq!(self.ask(READ, 0, number * 512, 512, b""), 0);
        let octets = self.read(512);
        assert!(octets.iter().all(|octet| *octet == octets[0]), "a sector is torn");
        octets[0]
    }

    /// Whether the server answers nothing and does not hang up.
    fn hears_nothing(&mut self) -> bool {
        let within = Some(std::time::Duration::from_millis(200));
        self.0.set_read_timeout(within).unwrap();
        let error = self.0.read(&mut [0]).map_err(|error| error.kind());
        error == Err(io::ErrorKind::WouldBlock)
    }
}

struct Rig {
    served: ForgetfulDisk,
    disk: Disk,
    socket: PathBuf,
    _folder: TempDir,
}

fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::create(&folder.path().join("disk"), OCTETS_MIN).unwrap();
    let socket = folder.path().join("nbd");
    Rig {
        served: ForgetfulDisk::serve(&disk, &socket).unwrap(),
        disk,
        socket,
        _folder: folder,
    }
}

/// SplitMix64, so that a seed gives the same cut again.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn filled(octet: u8, sectors: usize) -> Vec<u8> {
    vec![octet; sectors * 512]
}

fn on_disk(disk: &Disk, sector: u64) -> u8 {
    let mut octets = [0; 512];
    disk.read_at(sector * 512, &mut octets).unwrap();
    octets[0]
}

#[test]
fn what_is_written_is_read_and_reaches_the_file_by_a_flush() {
    let rig = rig();
    let mut client = Client::connected(&rig.socket);
    assert_eq!(client.write(5 * 512, &filled(1, 3)), 0);
    assert_eq!(client.write(6 * 512, &filled(2, 1)), 0);
    let seen: Vec<u8> = (4..9).map(|number| client.sector(number)).collect();
    assert_eq!(seen, [0, 1, 2, 1, 0]);
    assert_eq!(on_disk(&rig.disk, 5), 0, "before the flush");
    assert_eq!(client.flush(), 0);
    let kept: Vec<u8> = (4..9).map(|number| on_disk(&rig.disk, number)).collect();
    assert_eq!(kept, [0, 1, 2, 1, 0]);
    assert_eq!(rig.served.flushes(), 1);
}

#[test]
fn a_write_with_fua_is_durable_alone() {
    let rig = rig();
    let mut client = Client::connected(&rig.socket);
    assert_eq!(client.write(0, &filled(1, 1)), 0);
    assert_eq!(client.write(512, &filled(1, 1)), 0);
    assert_eq!(client.ask(WRITE, FLAG_FUA, 512, 512, &filled(2, 1)), 0);
    assert_eq!((on_disk(&rig.disk, 0), on_disk(&rig.disk, 1)), (0, 2));
    // What was there before FUA does not come back.
    rig.served.cut(&mut || 7).unwrap();
    assert_eq!((on_disk(&rig.disk, 0), on_disk(&rig.disk, 1)), (0, 2));
}

/// What the rig is for: both see the same client, which has flushed nothing.
#[test]
fn a_cut_loses_what_was_not_flushed_and_a_killed_client_loses_nothing() {
    let (killed, cut) = (rig(), rig());
    for rig in [&killed, &cut] {
        let mut client = Client::connected(&rig.socket);
        assert_eq!(client.write(0, &filled(1, 100)), 0);
        assert_eq!(client.flush(), 0);
        assert_eq!(client.write(0, &filled(2, 100)), 0);
        // Its end is that of a process that was killed: no goodbye.
    }
    let after_kill: Vec<u8> = {
        let mut client = Client::connected(&killed.socket);
        (0..100).map(|number| client.sector(number)).collect()
    };
    assert_eq!(after_kill, [2; 100]);
    let lost = cut.served.cut(&mut random(3)).unwrap();
    let mut client = Client::connected(&cut.socket);
    let after_cut: Vec<u8> = (0..100).map(|number| client.sector(number)).collect();
    let [mut old, mut new] = [0; 2];
    for octet in after_cut {
        *(if octet == 1 { &mut old } else { &mut new }) += 1;
        assert!(matches!(octet, 1 | 2), "a sector is {octet}");
    }
    assert_eq!((lost.unflushed, lost.lost, old + new), (100, old, 100));
    assert!(old > 0 && new > 0, "{lost}");
}

#[test]
fn every_cut_keeps_what_was_flushed_and_a_seed_gives_the_same_again() {
    let mut results = Vec::new();
    let mut losses = [0; 3];
    for seed in (0..40).chain(0..40) {
        let rig = rig();
        let mut client = Client::connected(&rig.socket);
        assert_eq!(client.write(0, &filled(1, 32)), 0);
        assert_eq!(client.flush(), 0);
        assert_eq!(client.write(8 * 512, &filled(2, 8)), 0);
        assert_eq!(client.write(8 * 512, &filled(3, 8)), 0);
        rig.served.cut(&mut random(seed)).unwrap();
        let after: Vec<u8> = (0..32).map(|number| on_disk(&rig.disk, number)).collect();
        let untouched = [&after[..8], &after[16..]].concat();
        assert_eq!(untouched, [1; 24], "seed {seed}");
        for octet in &after[8..16] {
            losses[usize::from(*octet) - 1] += 1;
        }
        results.push(after);
    }
    assert_eq!(results[..40], results[40..]);
    assert!(
        losses.iter().all(|count| *count > 40),
        "old, older, newest: {losses:?}"
    );
}

#[test]
fn nothing_is_answered_or_taken_behind_a_cut() {
    let rig = rig();
    let mut client = Client::connected(&rig.socket);
    assert_eq!(client.write(0, &filled(1, 1)), 0);
    rig.served.cut(&mut || 0).unwrap();
    client.request(WRITE, FLAG_FUA, 0, 512, &filled(2, 1));
    client.request(FLUSH, 0, 0, 0, b"");
    assert!(client.hears_nothing());
    let mut next = Client::connected(&rig.socket);
    assert_eq!(next.sector(0), 0);
    assert_eq!(next.write(0, &filled(3, 1)), 0);
    assert_eq!(next.flush(), 0);
    assert_eq!(on_disk(&rig.disk, 0), 3);
}

#[test]
fn a_cut_falls_in_the_request_that_was_named() {
    for (requests, kept, expected) in [(2, 7, [1, 2]), (2, 0, [1, 0]), (1, 0, [0, 0]), (3, 0, [1, 2])] {
        let rig = rig();
        let mut client = Client::connected(&rig.socket);
        let mut drawn = [kept].into_iter();
        rig.served
            .cut_in(requests, Box::new(move || drawn.next().unwrap_or(0)));
        assert_eq!(client.write(0, &filled(1, 1)), 0);
        assert_eq!(client.sector(0), 1, "reading counts for nothing");
        client.request(FLUSH, 0, 0, 0, b"");
        client.request(WRITE, FLAG_FUA, 512, 512, &filled(2, 1));
        client.request(FLUSH, 0, 0, 0, b"");
        let answers = usize::try_from(requests).unwrap() - 1;
        (0..answers).for_each(|_| assert_eq!(client.error(), 0));
        assert!(client.hears_nothing());
        let lost = rig.served.fell().unwrap();
        let sectors = [on_disk(&rig.disk, 0), on_disk(&rig.disk, 1)];
        // Behind a write with FUA nothing is left to lose.
        assert_eq!((sectors, lost.unflushed), (expected, usize::from(requests < 3)));
        assert_eq!(rig.served.fell(), None);
    }
}

#[test]
fn a_flush_that_is_ignored_keeps_nothing_and_one_that_fails_says_so() {
    let rig = rig();
    let mut client = Client::connected(&rig.socket);
    rig.served.set_flush(Flush::Ignored);
    assert_eq!(client.write(0, &filled(1, 1)), 0);
    assert_eq!(client.flush(), 0);
    rig.served.cut(&mut || 0).unwrap();
    assert_eq!(on_disk(&rig.disk, 0), 0);
    let mut client = Client::connected(&rig.socket);
    rig.served.set_flush(Flush::Fails);
    assert_eq!(client.write(0, &filled(1, 1)), 0);
    assert_eq!(client.flush(), EIO);
    assert_eq!(on_disk(&rig.disk, 0), 0);
    rig.served.set_flush(Flush::Kept);
    assert_eq!(client.flush(), 0);
    assert_eq!(on_disk(&rig.disk, 0), 1);
}

#[test]
fn a_request_that_makes_no_sense_is_refused_and_the_next_is_served() {
    let rig = rig();
    let mut client = Client::connected(&rig.socket);
    for (offset, octets) in [
        (OCTETS_MIN, 512),
        (OCTETS_MIN - 512, 1024),
        (1, 512),
        (0, 511),
        (u64::MAX - 511, 512),
    ] {
        assert_eq!(
            client.ask(READ, 0, offset, octets, b""),
            EINVAL,
            "{offset} {octets}"
        );
        let data = vec![9; octets as usize];
        assert_eq!(
            client.ask(WRITE, 0, offset, octets, &data),
            EINVAL,
            "{offset} {octets}"
        );
    }
    // 4: trimming, which was not offered.
    assert_eq!(client.ask(4, 0, 0, 512, b""), EINVAL);
    assert_eq!(client.sector(0), 0);
    client.request(DISCONNECT, 0, 0, 0, b"");
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "it hangs up");
}

#[test]
fn what_is_no_nbd_ends_the_connection_and_costs_no_memory() {
    let rig = rig();
    for octets in [[0xff; 28].to_vec(), {
        let mut request = 0x2560_9513_u32.to_be_bytes().to_vec();
        request.extend([0, 0, 0, 1]);
        request.extend([0; 16]);
        request.extend((REQUEST_OCTETS_MAX + 1).to_be_bytes());
        request
    }] {
        let mut client = Client::connected(&rig.socket);
        client.0.write_all(&octets).unwrap();
        assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "it hangs up");
    }
    let mut client = Client::greeted(&rig.socket);
    client
        .0
        .write_all(b"IHAVEOPT\x00\x00\x00\x07\xff\xff\xff\xff")
        .unwrap();
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "it hangs up");
}

#[test]
fn older_clients_and_those_that_change_their_mind_are_understood() {
    let rig = rig();
    let mut client = Client::greeted(&rig.socket);
    client.option(OPT_EXPORT_NAME, b"disk");
    let export = client.read(10);
    assert_eq!(export[..8], OCTETS_MIN.to_be_bytes());
    assert_eq!(client.sector(3), 0);
    let mut client = Client::greeted(&rig.socket);
    client.option(OPT_ABORT, b"");
    assert_eq!(client.option_reply(OPT_ABORT), (1, Vec::new()));
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "it hangs up");
}

#[test]
fn a_disk_that_is_pulled_has_all_of_it_and_zeros_take_no_room() {
    let Rig {
        served,
        disk,
        socket,
        _folder,
    } = rig();
    let mut client = Client::connected(&socket);
    assert_eq!(client.write(0, &vec![0; 8 << 20]), 0);
    assert_eq!(client.write(16 << 20, &filled(1, 1)), 0);
    drop(served);
    assert_eq!(on_disk(&disk, (16 << 20) / 512), 1);
    let blocks = fs::metadata(disk.path()).unwrap().blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
    assert!(!socket.exists());
}

#[test]
fn a_full_cache_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::create(&folder.path().join("disk"), OCTETS_MIN).unwrap();
    let mut cache = Cache::over(disk.path()).unwrap().holding_at_most(10);
    cache.write(0, &filled(1, 10)).unwrap();
    assert_eq!(on_disk(&disk, 0), 0);
    cache.write(0, &filled(2, 1)).unwrap();
    assert_eq!((on_disk(&disk, 0), on_disk(&disk, 9)), (2, 1));
    assert_eq!(cache.cut(&mut || 0).unwrap(), Lost::default());
}
