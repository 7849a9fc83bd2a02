//! The saboteur in the machine. The image stays as it is; this program is appended to its initial file system and
//! named as the first process (`rdinit=/drill`). It leaves a child behind and becomes /init at once.
//!
//! The child takes orders on a serial line of its own, a letter and sometimes a word, and ends each answer with a dot:
//! `k` kills maild, `z` has it stand still, `m` tells what memory is used, `d` tells the size of /data, `p` tells what powers maild and netd have
//! and how /data is mounted, `w` tells how often each program woke up in ten seconds, `f` stops init for good.
//!
//! `h maild` puts /maild-hostile in the place of /maild and has init start it, `g maild` takes that back, and `o NAME` tells
//! somebody inside what to try (D43; see `cage::hostile`).
//!
//! What it adds to the machine for somebody to see and press is in `board.rs`.
//!
//! Compiled by `src/stage/drill.rs`, for the box, with the standard library only.

mod board;

use std::ffi::{CString, c_char, c_int};
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

const LINE: &str = "/dev/hvc0";
const SIGKILL: c_int = 9;
const SIGSTOP: c_int = 19;
/// What a hostile program reads its orders from.
const ORDERS: &str = "/hostile";
const WATCHED: Duration = Duration::from_secs(10);

unsafe extern "C" {
    fn kill(pid: c_int, signal: c_int) -> c_int;
    /// Of musl on aarch64: type, block size, blocks, free, available, …, all of 64 bits.
    fn statfs(path: *const c_char, into: *mut [u64; 16]) -> c_int;
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    // Without its child the box still boots; the test then says that nobody answers.
    let _ = Command::new("/drill").arg("serve").spawn();
    let error = Command::new("/init").exec();
    panic!("/init: {error}");
}

fn serve() {
    let (orders, mut answers) = loop {
        // /init mounts the devices.
        let open = || OpenOptions::new().read(true).write(true).open(LINE);
        if let Ok(both) = open().and_then(|orders| Ok((orders, open()?))) {
            break both;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let board = board::Board::make();
    let mut hostile = fs::File::create(ORDERS);
    for order in BufReader::new(orders).lines().map_while(Result::ok) {
        let (letter, word) = order.trim().split_once(' ').unwrap_or((order.trim(), ""));
        let answer = match letter {
            "k" => signal_all("maild", SIGKILL),
            "z" => signal_all("maild", SIGSTOP),
            "m" => memory(),
            "d" => size_of_data(),
            "p" => powers(),
            "w" => wakings(),
            "f" => said(freeze_init()),
            "h" => said(exchange(word, "-ordinary", "-hostile")),
            "g" => said(exchange(word, "-hostile", "-ordinary")),
            "o" => said(match &mut hostile {
                Ok(file) => file.write_all(format!("{word}\n").as_bytes()),
                Err(error) => Err(io::Error::from(error.kind())),
            }),
            _ => board
                .order(order.trim(), &mut answers)
                .unwrap_or_else(|| "unknown\n".to_owned()),
        };
        let _ = answers.write_all(format!("{answer}.\n").as_bytes());
    }
}

fn said(outcome: io::Result<()>) -> String {
    outcome.map_or_else(|error| format!("{error}\n"), |()| "done\n".to_owned())
}

/// Puts the program aside under the first ending, and the one with the second in its place; init starts that.
fn exchange(program: &str, aside: &str, from: &str) -> io::Result<()> {
    let path = format!("/{program}");
    fs::rename(&path, format!("{path}{aside}"))?;
    fs::rename(format!("{path}{from}"), &path)?;
    signal_all(program, SIGKILL);
    Ok(())
}

/// Nobody can stop process 1 by a signal; a control group can.
fn freeze_init() -> io::Result<()> {
    let group = "/sys/fs/cgroup/frozen";
    fs::create_dir(group)?;
    fs::write(format!("{group}/cgroup.procs"), "1")?;
    fs::write(format!("{group}/cgroup.freeze"), "1")
}

/// How often each program left the processor because it had nothing to do, all its threads together.
fn wakings() -> String {
    let count = |pid: c_int| -> u64 {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        threads
            .filter_map(|thread| {
                let status = fs::read_to_string(thread.path().join("status")).ok()?;
                let line = status
                    .lines()
                    .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
                line.trim().parse::<u64>().ok()
            })
            .sum()
    };
    let programs = || {
        let all = processes().into_iter();
        all.filter(|(_, name)| ["init", "maild", "netd"].contains(&name.as_str()))
    };
    let before: Vec<u64> = programs().map(|(pid, _)| count(pid)).collect();
    std::thread::sleep(WATCHED);
    let mut answer = String::new();
    for ((pid, name), before) in programs().zip(before) {
        answer.push_str(&format!("{name} {}\n", count(pid).saturating_sub(before)));
    }
    answer
}

fn signal_all(program: &str, signal: c_int) -> String {
    let mut count = 0;
    for (pid, name) in processes() {
        // SAFETY: kill has no condition on its arguments.
        if name == program && unsafe { kill(pid, signal) } == 0 {
            count += 1;
        }
    }
    format!("killed {count}\n")
}

fn memory() -> String {
    let mut answer = String::new();
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    for line in info
        .lines()
        .filter(|line| line.starts_with("MemTotal") || line.starts_with("MemAvailable"))
    {
        answer.push_str(&format!("{line}\n"));
    }
    for (pid, name) in processes() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // Threads of the kernel have none.
        if let Some(resident) = status.lines().find(|line| line.starts_with("VmRSS")) {
            answer.push_str(&format!("{name} {resident}\n"));
        }
    }
    answer
}

fn powers() -> String {
    let mut answer = String::new();
    for (pid, name) in processes()
        .into_iter()
        .filter(|(_, name)| name == "maild" || name == "netd")
    {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        for line in status.lines().filter(|line| {
            ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp"]
                .iter()
                .any(|of| line.starts_with(of))
        }) {
            answer.push_str(&format!(
                "{name} {}\n",
                line.split_whitespace().collect::<Vec<_>>().join(" ")
            ));
        }
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts
        .lines()
        .filter(|line| line.split(' ').nth(1) == Some("/data"))
    {
        answer.push_str(&format!("mount {line}\n"));
    }
    answer
}

fn size_of_data() -> String {
    let path = CString::new("/data").expect("it has no NUL");
    let mut about = [0; 16];
    // SAFETY: the path ends in NUL, and the kernel fills at most 15 words.
    if unsafe { statfs(path.as_ptr(), &mut about) } != 0 {
        return "no /data\n".to_owned();
    }
    format!("data {}\n", about[1] * about[2])
}

fn processes() -> Vec<(c_int, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((pid, name.trim().to_owned()))
        })
        .collect()
}
