//! Starts a program with as little as it needs: a uid of its own, no capability, no way to get one or to pass a
//! descriptor, bounds on memory, processes and descriptors, and three descriptors: the control socket as standard input, and a pipe to init.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use handoff::Channel;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid, setsid, write};

use crate::seccomp;
use crate::worker::WORD;

/// User and group of maild.
pub(crate) const MAILD_ID: u32 = 1001;
/// User and group of netd.
const NETD_ID: u32 = 1002;

/// What the kernel, init and netd need themselves when maild has eaten all it may have.
const RESERVED_OCTETS: u64 = 64 << 20;
/// maild is useless below this, whatever the machine has.
const MAILD_OCTETS_MIN: u64 = 64 << 20;
const NETD_OCTETS: u64 = 16 << 20;
/// Connections, files and the store's own; `wire::limits` stays well below.
const MAILD_DESCRIPTORS_MAX: u64 = 8192;
const NETD_DESCRIPTORS_MAX: u64 = 32;
const MAILD_PROCESSES_MAX: u64 = 256;
const NETD_PROCESSES_MAX: u64 = 16;

const CGROUPS: &str = "/sys/fs/cgroup";

/// A program of the box.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    path: &'static str,
    arguments: &'static [&'static str],
    id: u32,
    descriptors_max: u64,
    /// Who goes first when the whole box has no memory left (proc_pid_oom_score_adj(5)).
    oom_score: &'static [u8],
}

/// The mail service.
pub(crate) const MAILD: Program = Program {
    name: "maild",
    path: "/maild",
    arguments: &["--handoff"],
    id: MAILD_ID,
    descriptors_max: MAILD_DESCRIPTORS_MAX,
    // It has most of it, and is back in a second; clients wait meanwhile.
    oom_score: b"500",
};

/// The DHCP client of one card.
pub(crate) const NETD: Program = Program {
    name: "netd",
    path: "/netd",
    arguments: &[],
    id: NETD_ID,
    descriptors_max: NETD_DESCRIPTORS_MAX,
    // Too small for its end to help anybody.
    oom_score: b"-500",
};

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    /// Our end of its control socket; does not block.
    pub(crate) control: Channel,
    /// What it writes to standard output and standard error; does not block.
    pub(crate) output: PipeReader,
}

/// Makes the control groups with their limits. Without them the box runs, unprotected from a program that grows.
pub(crate) fn prepare_groups() -> io::Result<()> {
    prepare_groups_in(CGROUPS, nix::sys::sysinfo::sysinfo()?.ram_total())
}

fn prepare_groups_in(root: &str, memory: u64) -> io::Result<()> {
    fs::write(format!("{root}/cgroup.subtree_control"), "+memory +pids")?;
    let maild_octets = memory.saturating_sub(RESERVED_OCTETS).max(MAILD_OCTETS_MIN);
    for (program, octets, processes) in [
        (MAILD, maild_octets, MAILD_PROCESSES_MAX),
        (NETD, NETD_OCTETS, NETD_PROCESSES_MAX),
    ] {
        let group = format!("{root}/{}", program.name);
        fs::create_dir(&group)?;
        // Above this, allocations are slowed down while the kernel takes back what it can. A sixteenth is left, so that a
        // program which wants everything is ended within seconds, and does not crawl on.
        fs::write(format!("{group}/memory.high"), (octets - octets / 16).to_string())?;
        fs::write(format!("{group}/memory.max"), octets.to_string())?;
        // No thread is killed alone: the program would limp on without it.
        fs::write(format!("{group}/memory.oom.group"), "1")?;
        fs::write(format!("{group}/pids.max"), processes.to_string())?;
        // Nothing of it is ever swapped out. Nobody sets up swap: a card would wear out, passwords that were in memory only
        // would lie on it, and what zram gains on text it takes from the processor when there is the least of it. Should
        // there be one all the same, a program that wants everything is still ended at its bound, and does not fill that.
        fs::write(format!("{group}/memory.swap.max"), "0")?;
    }
    Ok(())
}

/// Starts `program`.
pub(crate) fn spawn(program: Program) -> io::Result<Spawned> {
    let group = format!("{CGROUPS}/{}/cgroup.procs", program.name);
    let group = OpenOptions::new().write(true).open(group).ok();
    let mut command = Command::new(program.path);
    command.args(program.arguments);
    confine(&mut command, program, group);
    start(command)
}

/// Starts this program again as a worker, with all the rights it has itself.
pub(crate) fn spawn_worker(words: &[&str]) -> io::Result<Spawned> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(WORD).args(words);
    unblock(&mut command);
    start(command)
}

/// Starts a program with three descriptors: its control socket, and a pipe to init twice.
fn start(mut command: Command) -> io::Result<Spawned> {
    let (ours, theirs) = Channel::pair()?;
    ours.set_nonblocking()?;
    let (output, errors) = io::pipe()?;
    let flags = OFlag::from_bits_retain(fcntl(&output, FcntlArg::F_GETFL)?);
    fcntl(&output, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    command
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(errors.try_clone()?)
        .stderr(errors);
    let child = command.spawn()?;
    // The child is reaped by the loop, like every other.
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Spawned {
        pid: Pid::from_raw(pid),
        control: ours,
        output,
    })
}

/// Has the child give everything up between fork and exec.
#[allow(unsafe_code)]
fn confine(command: &mut Command, program: Program, group: Option<File>) {
    let surrender = move || surrender(program, group.as_ref().map(AsFd::as_fd)).map_err(io::Error::from);
    // SAFETY: between fork and exec only system calls are made: `surrender` neither allocates nor takes a lock (and
    // init has a single thread, so that no lock is held by another).
    unsafe { command.pre_exec(surrender) };
}

/// Has a worker listen to signals again, between fork and exec: init has them blocked, and takes them from a descriptor.
#[allow(unsafe_code)]
fn unblock(command: &mut Command) {
    let listen = || {
        SigSet::empty().thread_set_mask()?;
        setsid()?;
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made: nothing allocates or takes a lock (and init has a single
    // thread, so that no lock is held by another).
    unsafe { command.pre_exec(listen) };
}

/// What the child does to itself. The order matters: each step needs what a later one gives up.
fn surrender(program: Program, group: Option<BorrowedFd<'_>>) -> nix::Result<()> {
    if let Some(group) = group {
        // "0" is whoever writes it.
        write(group, b"0")?;
    }
    let score = open(
        c"/proc/self/oom_score_adj",
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    write(&score, program.oom_score)?;
    // init takes its signals from a descriptor and has them blocked; the standard library leaves that as it is.
    SigSet::empty().thread_set_mask()?;
    setsid()?;
    umask(Mode::from_bits_truncate(0o077));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(
        Resource::RLIMIT_NOFILE,
        program.descriptors_max,
        program.descriptors_max,
    )?;
    drop_bounding_set()?;
    let (uid, gid) = (Uid::from_raw(program.id), Gid::from_raw(program.id));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    // With the last root uid go the permitted and effective capabilities; the inheritable and ambient sets are empty
    // since boot (capabilities(7), "Effect of user ID changes").
    setresuid(uid, uid, uid)?;
    set_no_new_privs()?;
    seccomp::confine()
}

/// Takes all capabilities off the bounding set, so that no program file could give one back.
#[allow(unsafe_code)]
fn drop_bounding_set() -> nix::Result<()> {
    for capability in 0..libc::c_ulong::from(u64::BITS) {
        // SAFETY: this request takes one integer and touches no memory of ours.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            // The first number beyond the kernel's last capability.
            Err(Errno::EINVAL) => break,
            result => result?,
        };
    }
    Ok(())
}

/// Ends whatever is left in a program's control group.
pub(crate) fn kill_group(program: Program) {
    // Without control groups there is no such file, and nothing more to do.
    let _ = fs::write(format!("{CGROUPS}/{}/cgroup.kill", program.name), "1");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use nix::sys::signal::Signal;

    use super::*;

    /// Nothing is swapped out, and what grows is ended as a whole, within its bounds.
    #[test]
    fn the_control_groups_have_their_bounds() {
        const MIB: u64 = 1 << 20;
        let root = tempfile::tempdir().unwrap();
        prepare_groups_in(root.path().to_str().unwrap(), 256 * MIB).unwrap();
        let check = |program: &str, octets: u64, processes: &str| {
            let value = |name: &str| fs::read_to_string(root.path().join(program).join(name)).unwrap();
            assert_eq!(value("memory.max"), octets.to_string());
            assert_eq!(value("memory.high"), (octets / 16 * 15).to_string());
            assert_eq!(
                (value("memory.swap.max"), value("memory.oom.group")),
                ("0".into(), "1".into())
            );
            assert_eq!(value("pids.max"), processes);
        };
        check("maild", 192 * MIB, "256");
        check("netd", 16 * MIB, "16");
    }

    /// Needs the rights of root, as init has them; elsewhere the first step that needs one says so.
    #[test]
    fn a_child_has_given_up_everything_before_it_runs() {
        let blocked: SigSet = [Signal::SIGTERM, Signal::SIGCHLD].into_iter().collect();
        blocked.thread_block().unwrap();
        let (mut output, errors) = io::pipe().unwrap();
        let mut command = Command::new("/bin/cat");
        command
            .arg("/proc/self/status")
            .stdin(Stdio::null())
            .stdout(errors);
        confine(&mut command, MAILD, None);
        let spawned = command.spawn();
        drop(command);
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if !nix::unistd::geteuid().is_root() => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let mut status = String::new();
        output.read_to_string(&mut status).unwrap();
        assert!(child.wait().unwrap().success());
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(field("Uid:"), "1001 1001 1001 1001");
        assert_eq!(field("Gid:"), "1001 1001 1001 1001");
        assert_eq!(field("Groups:"), "");
        for set in ["SigBlk:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
    }
}
