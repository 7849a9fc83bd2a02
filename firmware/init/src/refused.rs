//! Which call a program was ended for: the kernel ends it by SIGSYS for one that is not on its list (`seccomp`), and says in
//! its own lines with which registers. On AArch64 the number of a call is in x8.
//!
//! ```text
//! potentially unexpected fatal signal 31.
//! CPU: 0 UID: 1001 PID: 71 Comm: maild Not tainted 6.12.…
//! …
//! x11: 0000000000000000 x10: 0000000000000000 x9 : 0000000000000000
//! x8 : 00000000000000dd x7 : 0000000000000000 x6 : 0000000000000000
//! ```
//!
//! Source: kernel/signal.c (`print_fatal_signal`), arch/arm64/kernel/process.c (`__show_regs`), setting
//! `kernel.print-fatal-signals`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::{self, O_NONBLOCK};

/// As in `kmsg`.
const RECORD_OCTETS_MAX: usize = 8192;
/// What begins the report: SIGSYS is 31.
const BEGINS: &str = "potentially unexpected fatal signal 31.";
const NUMBER_OF_CALL: &str = "x8 : ";

/// The name of the call that was refused last, or its number.
pub(crate) fn last_call() -> Option<String> {
    let mut kernel = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open("/dev/kmsg")
        .ok()?;
    let mut search = Search::default();
    let mut record = [0; RECORD_OCTETS_MAX];
    loop {
        match kernel.read(&mut record) {
            Ok(0) => break,
            Ok(length) => search.feed(&String::from_utf8_lossy(&record[..length])),
            // Lines were overwritten before they were read; the last ones are still to come.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    search.number.map(name)
}

/// Looks through the kernel's lines for the last report.
#[derive(Debug, Default)]
struct Search {
    is_in_report: bool,
    number: Option<u64>,
}

impl Search {
    fn feed(&mut self, record: &str) {
        let text = record.split_once(';').map_or(record, |(_, text)| text);
        if text.contains(BEGINS) {
            (self.is_in_report, self.number) = (true, None);
        }
        if !self.is_in_report {
            return;
        }
        if let Some((_, rest)) = text.split_once(NUMBER_OF_CALL) {
            let digits = rest.split_whitespace().next().unwrap_or_default();
            self.number = u64::from_str_radix(digits, 16).ok();
            self.is_in_report = false;
        }
    }
}

/// The calls that somebody is likely to try who has taken over a program.
// All numbers of calls are small.
#[allow(clippy::cast_sign_loss)]
fn name(number: u64) -> String {
    const NAMES: &[(libc::c_long, &str)] = &[
        (libc::SYS_execve, "execve"),
        (libc::SYS_execveat, "execveat"),
        (libc::SYS_clone, "clone"),
        (libc::SYS_ptrace, "ptrace"),
        (libc::SYS_process_vm_readv, "process_vm_readv"),
        (libc::SYS_process_vm_writev, "process_vm_writev"),
        (libc::SYS_kill, "kill"),
        (libc::SYS_tkill, "tkill"),
        (libc::SYS_tgkill, "tgkill"),
        (libc::SYS_mount, "mount"),
        (libc::SYS_umount2, "umount2"),
        (libc::SYS_unshare, "unshare"),
        (libc::SYS_setns, "setns"),
        (libc::SYS_chroot, "chroot"),
        (libc::SYS_socket, "socket"),
        (libc::SYS_socketpair, "socketpair"),
        (libc::SYS_bind, "bind"),
        (libc::SYS_listen, "listen"),
        (libc::SYS_connect, "connect"),
        (libc::SYS_accept, "accept"),
        (libc::SYS_accept4, "accept4"),
        (libc::SYS_sendmsg, "sendmsg"),
        (libc::SYS_sendmmsg, "sendmmsg"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_openat2, "openat2"),
        (libc::SYS_memfd_create, "memfd_create"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_mmap, "mmap"),
        (libc::SYS_mprotect, "mprotect"),
        (libc::SYS_prctl, "prctl"),
        (libc::SYS_prlimit64, "prlimit64"),
        (libc::SYS_seccomp, "seccomp"),
        (libc::SYS_bpf, "bpf"),
        (libc::SYS_setuid, "setuid"),
        (libc::SYS_setresuid, "setresuid"),
        (libc::SYS_capset, "capset"),
        (libc::SYS_fchmodat, "fchmodat"),
        (libc::SYS_fchownat, "fchownat"),
        (libc::SYS_symlinkat, "symlinkat"),
        (libc::SYS_linkat, "linkat"),
        (libc::SYS_mknodat, "mknodat"),
        (libc::SYS_wait4, "wait4"),
        (libc::SYS_reboot, "reboot"),
    ];
    NAMES
        .iter()
        .find(|(of, _)| *of as u64 == number)
        .map_or_else(|| format!("call {number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(records: &[&str]) -> Option<u64> {
        let mut search = Search::default();
        for record in records {
            search.feed(record);
        }
        search.number
    }

    const REPORT: [&str; 4] = [
        "6,500,1234567,-;potentially unexpected fatal signal 31.\n",
        "4,501,1234568,-;CPU: 0 UID: 1001 PID: 71 Comm: maild Not tainted 6.12.0-postolka #1\n",
        "4,502,1234569,-;x11: 0000000000000001 x10: 0000000000000002 x9 : 0000000000000003\n",
        "4,503,1234570,-;x8 : 00000000000000dd x7 : 0000000000000000 x6 : 0000000000000000\n",
    ];

    #[test]
    fn the_last_report_tells_the_call() {
        assert_eq!(found(&REPORT), Some(0xdd));
        let mut later = REPORT;
        later[3] = "4,603,2234570,-;x8 : 0000000000000075 x7 : 0000000000000000 x6 : 0000000000000000\n";
        assert_eq!(found(&[REPORT, later].concat()), Some(0x75));
        // The second report has no registers: the first is not taken for it.
        assert_eq!(found(&[&REPORT[..], &later[..3]].concat()), None);
    }

    #[test]
    fn registers_of_another_fault_are_none_of_ours() {
        assert_eq!(found(&REPORT[1..]), None);
        assert_eq!(
            found(&["6,1,1,-;potentially unexpected fatal signal 6.\n", REPORT[3]]),
            None
        );
        assert_eq!(found(&[REPORT[0], "4,503,1234570,-;x8 : zz x7"]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn a_call_without_a_name_has_a_number() {
        assert_eq!(name(100_000), "call 100000");
        assert_eq!(
            name(u64::try_from(libc::SYS_execve).expect("it is small")),
            "execve"
        );
    }
}
