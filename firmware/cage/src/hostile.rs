//! What somebody tries who has taken a program over (D43): for the programs `maild-hostile` and `netd-hostile`, which are in
//! no image and exist only with the feature `hostile`.
//!
//! Whoever tests adds orders to a file, a name a line. It is opened before the cage is closed, and read
//! from there on. What came of an attempt is one line on standard error; where the kernel ends the process for it, there is none.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, IoSlice, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::kill;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use nix::unistd::Pid;

/// Where the orders are in the box; on a computer the variable says.
const ORDERS: &str = "/hostile";
const ORDERS_VARIABLE: &str = "POSTOLKA_HOSTILE";
const ORDER_OCTETS_MAX: usize = 64;

/// Files of others. Some of them everybody may read who is not confined.
const OTHERS_FILES: [&str; 9] = [
    "/",
    "/etc/hosts",
    "/dev/kmsg",
    "/proc/cmdline",
    "/proc/1/status",
    "/proc/self/mem",
    "/sys/kernel",
    "/data/system",
    "/maild",
];
/// Places where there is nothing of ours to be.
const OTHERS_PLACES: [&str; 4] = [
    "/hostile-was-here",
    "/data/hostile",
    "/run/hostile",
    "/dev/shm-hostile",
];

const MEMORY_OCTETS: usize = 1 << 30;
const PIECE_OCTETS: usize = 1 << 20;
const STACK_OCTETS: usize = 16 * 1024;
const THREADS_MAX: usize = 10_000;
const THREAD_LIFE: Duration = Duration::from_secs(5);

/// The file with the orders.
#[derive(Debug)]
pub struct Orders {
    file: File,
    /// A line that is not whole yet.
    line: Vec<u8>,
}

impl Orders {
    /// Opens it, before the cage is closed. What stands in it already is not for this process.
    ///
    /// # Errors
    /// There is none.
    pub fn open() -> io::Result<Orders> {
        let path = std::env::var_os(ORDERS_VARIABLE).unwrap_or_else(|| ORDERS.into());
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Orders {
            file,
            line: Vec::new(),
        })
    }

    /// A new order, if there is one. Only `read` is called, which every list has.
    pub fn fresh(&mut self) -> Option<String> {
        let mut octets = [0; ORDER_OCTETS_MAX];
        let length = self.file.read(&mut octets).ok()?;
        self.line.extend(&octets[..length]);
        let end = self.line.iter().position(|octet| *octet == b'\n')?;
        let line: Vec<u8> = self.line.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }
}

/// Does what `name` says, and tells what came of it.
pub fn attempt(name: &str) {
    let outcome = match name {
        "open" => {
            say_each("open", OTHERS_FILES, |path| File::open(path).map(drop));
            say_each("create", OTHERS_PLACES, |path| fs::write(path, "x"));
            return;
        }
        "bind" => TcpListener::bind("0.0.0.0:8080").map(drop),
        "program" => Command::new("/init").spawn().map(drop),
        "execute" => Err(Command::new("/init").exec()),
        "trace" => nix::sys::ptrace::attach(nix::unistd::getppid()).map_err(io::Error::from),
        // Only asks whether it may: the list of calls does not look at the signal.
        "signal" => kill(Pid::from_raw(1), None).map_err(io::Error::from),
        "mount" => mount(
            None::<&str>,
            "/data",
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .map_err(io::Error::from),
        "raw" => open_socket(AddressFamily::Inet, SockType::Raw),
        "packet" => open_socket(AddressFamily::Packet, SockType::Raw),
        "unix" => reach_unix(),
        "pass" => pass_descriptor(),
        "memory" => take_memory(),
        "threads" => start_threads(),
        _ => Err(io::Error::other("there is no such attempt")),
    };
    say(name, &outcome);
}

fn say_each<const N: usize>(name: &str, paths: [&str; N], attempt: impl Fn(&str) -> io::Result<()>) {
    for path in paths {
        say(&format!("{name} {path}"), &attempt(path));
    }
}

fn say(name: &str, outcome: &io::Result<()>) {
    match outcome {
        Ok(()) => eprintln!("hostile: {name}: DONE"),
        Err(error) => eprintln!("hostile: {name}: refused: {error}"),
    }
}

fn open_socket(family: AddressFamily, kind: SockType) -> io::Result<()> {
    socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    Ok(())
}

fn reach_unix() -> io::Result<()> {
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    connect(socket.as_raw_fd(), &UnixAddr::new_abstract(b"nobody")?)?;
    Ok(())
}

/// To init: whoever closes a descriptor waits as long as its sender has chosen.
fn pass_descriptor() -> io::Result<()> {
    let control: RawFd = io::stdin().as_raw_fd();
    let descriptors = [control];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<()>(control, &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None)?;
    Ok(())
}

/// Piece by piece: all of it at once the kernel refuses without ending anybody.
fn take_memory() -> io::Result<()> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for _ in 0..MEMORY_OCTETS / PIECE_OCTETS {
        let mut piece = Vec::new();
        piece
            .try_reserve_exact(PIECE_OCTETS)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        // Not zeros, which an allocator may leave to the kernel.
        piece.resize(PIECE_OCTETS, 1);
        taken.push(piece);
    }
    black_box(&taken);
    Ok(())
}

/// As many as there may be. They end by themselves, so that the process can be used again.
fn start_threads() -> io::Result<()> {
    for _ in 0..THREADS_MAX {
        std::thread::Builder::new()
            .stack_size(STACK_OCTETS)
            .spawn(|| std::thread::sleep(THREAD_LIFE))?;
    }
    Ok(())
}
