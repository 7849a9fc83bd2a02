//! A machine without a system in it: what is promised about its power, its ports and its disk holds for any.
//!
//! These tests start QEMU, and fail where it is not installed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use qemu::{Builder, Cable, Disk, Error, Firmware, HostPort, Image, Machine, Network, OCTETS_MIN, Reset};

const SOON: Duration = Duration::from_secs(60);

/// A kernel of zeros: the processor turns in circles, which is all these tests want of it.
fn hollow(folder: &Path) -> Builder {
    for name in ["Image", "initrd"] {
        fs::write(folder.join(name), [0; 4096]).unwrap();
    }
    Machine::builder(&Image::in_folder(folder).unwrap())
        .memory(64)
        .cpus(1)
        .network(Network::Closed)
}

fn is_running(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn free_ports_are_told_and_accept_on_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let builder = hollow(folder.path())
        .forward(25, HostPort::Free)
        .forward(993, HostPort::Free);
    let machine = builder.start().unwrap();
    let (smtp, imaps) = (machine.port(25).unwrap(), machine.port(993).unwrap());
    assert_ne!(smtp, imaps);
    assert_eq!(machine.port(143), None);
    TcpStream::connect((Ipv4Addr::LOCALHOST, smtp)).unwrap();
    TcpStream::connect((Ipv4Addr::LOCALHOST, imaps)).unwrap();
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left_running() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = hollow(folder.path())
        .forward(25, HostPort::At(port))
        .start()
        .unwrap_err();
    assert!(
        matches!(error, Error::PortTaken(named) if named == port),
        "{error}"
    );
}

#[test]
fn a_disk_serves_one_machine_at_a_time_and_the_next_one_after_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::create(&folder.path().join("disk"), OCTETS_MIN).unwrap();
    let builder = hollow(folder.path()).disk(&disk);
    let machine = builder.start().unwrap();
    let second = builder.start().unwrap_err();
    assert!(matches!(second, Error::DiskInUse), "{second}");
    machine.grow_disk(2 * OCTETS_MIN).unwrap();
    assert_eq!(fs::metadata(disk.path()).unwrap().len(), 2 * OCTETS_MIN);
    machine.cut().unwrap();
    builder.start().unwrap().cut().unwrap();
}

#[test]
fn a_machine_is_gone_when_it_is_cut_dropped_or_told_to_quit() {
    let folder = tempfile::tempdir().unwrap();
    let builder = hollow(folder.path());

    let machine = builder.start().unwrap();
    let process = machine.process_id();
    assert!(is_running(process));
    machine.cut().unwrap();
    assert!(!is_running(process));

    let machine = builder.start().unwrap();
    let process = machine.process_id();
    drop(machine);
    assert!(!is_running(process));

    let mut machine = builder.start().unwrap();
    assert!(!machine.has_ended());
    let running = machine.wait_exit(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(running, Error::StillRuns { .. }), "{running}");
    machine.control("quit", &serde_json::json!({})).unwrap();
    assert!(machine.wait_exit(SOON).unwrap().success());
    assert!(machine.has_ended());
}

#[test]
fn a_cable_is_pulled_and_put_back_and_a_card_is_plugged_in_while_the_machine_runs() {
    let folder = tempfile::tempdir().unwrap();
    let lay = |name, last| Cable::lay(folder.path(), name, [0x52, 0x54, 0, 0xca, 0xb1, last]).unwrap();
    let ((first, _first_end), (late, _late_end)) = (lay("first", 1), lay("late", 2));
    let builder = hollow(folder.path()).network(Network::Absent).cable(&first).usb();
    let machine = builder.start().unwrap();
    machine.pull(&first).unwrap();
    machine.put_back(&first).unwrap();
    machine.plug(&late).unwrap();
    machine.pull(&late).unwrap();
    machine.unplug(&late).unwrap();
    assert!(machine.pull(&late).is_err(), "it is no longer there");
    machine.plug(&late).unwrap();
    machine.cut().unwrap();
    // The sockets of the machine before are in nobody's way.
    builder.start().unwrap().pull(&first).unwrap();
}

/// What a firmware says first, and what it says when nothing on the disk can be started.
const FIRST_WORDS: [(Firmware, &str, &str); 2] = [
    (Firmware::UBoot, "U-Boot 20", "scanning bus for devices"),
    (Firmware::Edk2, "UEFI firmware", "BdsDxe: failed to load Boot0001"),
];

#[test]
fn a_firmware_runs_from_power_on_looks_at_the_disk_and_runs_again_after_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    for (firmware, first, looks) in FIRST_WORDS {
        let disk = Disk::create(&folder.path().join(firmware.name()), OCTETS_MIN).unwrap();
        let machine = Machine::from_disk(&disk, firmware).start().unwrap();
        let console = machine.console();
        let mut mark = 0;
        console.wait_for_next(&mut mark, first, SOON).unwrap();
        console.wait_for_next(&mut mark, looks, SOON).unwrap();
        machine.press_reset().unwrap();
        console.wait_for_next(&mut mark, first, SOON).unwrap();
        console.wait_for_nth(2, first, SOON).unwrap();
    }
}

#[test]
fn a_reset_ends_a_machine_that_is_not_to_start_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = hollow(folder.path()).reset(Reset::Ends).start().unwrap();
    machine.press_reset().unwrap();
    assert!(machine.wait_exit(SOON).unwrap().success());
}

#[test]
fn words_for_a_kernel_that_a_firmware_starts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::create(&folder.path().join("disk"), OCTETS_MIN).unwrap();
    let refused = Machine::from_disk(&disk, Firmware::UBoot)
        .kernel_words("ignore_loglevel")
        .start()
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("'ignore_loglevel'") && refused.contains("signed"),
        "{refused}"
    );
}

#[test]
fn the_button_can_be_held() {
    let folder = tempfile::tempdir().unwrap();
    let machine = hollow(folder.path()).start().unwrap();
    machine.hold_key(Duration::from_millis(10)).unwrap();
    machine.key_down().unwrap();
    machine.key_up().unwrap();
}

/// The thread that started a machine may end (a test's does); the machine must not end with it.
#[test]
fn a_machine_outlives_the_thread_that_started_it() {
    let folder = tempfile::tempdir().unwrap();
    let builder = hollow(folder.path());
    let machine = std::thread::spawn(move || builder.start().unwrap())
        .join()
        .unwrap();
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        assert!(is_running(machine.process_id()));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process that started a machine may be killed; the machine must end with it.
///
/// This test starts itself again as that process: the second time it only starts a machine, says which, and waits.
#[test]
fn a_machine_dies_with_the_process_that_started_it() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    const SAY: &str = "machine-is-process ";
    const ME: &str = "a_machine_dies_with_the_process_that_started_it";
    if let Some(folder) = std::env::var_os("QEMU_TEST_HOLD") {
        let machine = hollow(Path::new(&folder)).start().unwrap();
        println!("\n{SAY}{}", machine.process_id());
        std::thread::sleep(SOON);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", ME, "--nocapture"])
        .env("QEMU_TEST_HOLD", folder.path())
        // What it cannot clear away, being killed, goes with our folder.
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let process: u32 = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(SAY).and_then(|number| number.parse().ok()))
        .unwrap();
    assert!(is_running(process));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let until = Instant::now() + SOON;
    while is_running(process) {
        assert!(Instant::now() < until, "QEMU {process} outlived its owner");
        std::thread::sleep(Duration::from_millis(10));
    }
}
