//! Each attempt runs in a process of its own: this test program again, with the attempt's name in its environment.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::*;

const ATTEMPT: &str = "CAGE_ATTEMPT";
const FOLDER: &str = "CAGE_FOLDER";

/// How the process of an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was let.
    Let,
    /// The kernel said no.
    Refused(i32),
    /// The kernel ended it.
    Killed(i32),
}

fn tried(attempt: &str) -> End {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let program = std::env::current_exe().expect("a test knows its program");
    let output = Command::new(program)
        .args(["--exact", "tests::an_attempt", "--nocapture"])
        .env(ATTEMPT, attempt)
        .env(FOLDER, folder.path())
        .output()
        .expect("this program can be run again");
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => End::Let,
        (Some(code), _) => End::Refused(code),
        (None, signal) => End::Killed(signal.unwrap_or_default()),
    }
}

/// Does what [`ATTEMPT`] says, in a cage. Without it, nothing.
#[test]
fn an_attempt() {
    let Ok(attempt) = std::env::var(ATTEMPT) else {
        return;
    };
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap_or_default());
    // What the test program has besides stays outside, and ends the process whatever becomes of the attempt.
    let code = std::thread::spawn(move || in_the_cage(&attempt, &folder)).join();
    std::process::exit(code.unwrap_or(100));
}

fn in_the_cage(attempt: &str, folder: &Path) -> i32 {
    let calls = Calls::common()
        .threads()
        .allow(&[libc::SYS_openat, libc::SYS_statx, libc::SYS_bind])
        .sockets(libc::AF_INET, libc::SOCK_DGRAM);
    let files = Files {
        own: Some(folder),
        readable: &["/proc/meminfo", "/no/such/file"],
    };
    let is_whole = files
        .restrict(Net::Nothing, Kernel::AsItIs)
        .expect("every kernel is taken as it is");
    calls.restrict().expect("every kernel has seccomp");
    let number = |error: io::Error| error.raw_os_error().unwrap_or(100);
    let done = |result: io::Result<()>| result.map_or_else(number, |()| 0);
    let made = |family, kind| {
        socket(family, kind, SockFlag::SOCK_CLOEXEC, None).map_or_else(|error| error as i32, |_| 0)
    };
    match attempt {
        "write its own" => done(std::fs::write(folder.join("file"), "x")),
        "read what it may" => done(std::fs::read("/proc/meminfo").map(drop)),
        "read another" if is_whole => done(std::fs::read("/proc/self/status").map(drop)),
        // This kernel has no Landlock, and nothing is shown here.
        "read another" => libc::EACCES,
        "thread" => std::thread::spawn(|| 0).join().unwrap_or(100),
        "udp" => done(UdpSocket::bind("127.0.0.1:0").map(drop)),
        "tcp" => done(TcpListener::bind("127.0.0.1:0").map(drop)),
        "udp6" => made(AddressFamily::Inet6, SockType::Datagram),
        "raw" => made(AddressFamily::Inet, SockType::Raw),
        "unix" => made(AddressFamily::Unix, SockType::Stream),
        "packet" => made(AddressFamily::Packet, SockType::Datagram),
        "program" => done(Command::new("/bin/true").status().map(drop)),
        "signal" => {
            nix::sys::signal::kill(nix::unistd::getppid(), None).map_or_else(|error| error as i32, |()| 0)
        }
        "remove" => done(std::fs::remove_file(folder.join("file"))),
        "abort" => std::process::abort(),
        _ => 99,
    }
}

#[test]
fn what_is_on_the_list_is_done() {
    for attempt in ["write its own", "read what it may", "thread", "udp"] {
        assert_eq!(tried(attempt), End::Let, "{attempt}");
    }
    assert_eq!(tried("abort"), End::Killed(libc::SIGABRT));
}

#[test]
fn a_file_of_others_is_not_there_to_be_read() {
    assert_eq!(tried("read another"), End::Refused(libc::EACCES));
}

#[test]
fn what_is_on_no_list_ends_the_process() {
    for attempt in [
        "tcp", "udp6", "raw", "unix", "packet", "program", "signal", "remove",
    ] {
        assert_eq!(tried(attempt), End::Killed(libc::SIGSYS), "{attempt}");
    }
}

/// The test program has several threads.
#[test]
fn a_cage_is_not_closed_around_a_part() {
    let handle = std::thread::spawn(|| {
        let refused = close(&Files::default(), Net::Nothing, &Calls::common(), Kernel::AsItIs);
        assert!(matches!(refused, Err(CageError::Threads(2..))), "{refused:?}");
    });
    handle.join().expect("the assertion holds");
}
