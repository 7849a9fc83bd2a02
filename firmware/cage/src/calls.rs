//! System calls, by seccomp.
//!
//! Two filters, because one has two answers only: the first says `ENOSYS` to what libraries try and do without, the second
//! ends the process at whatever is on no list. Of several filters the strictest answer holds (seccomp(2)).

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use crate::CageError;

/// What every program needs: its memory, the time, its threads' locks, its end.
const COMMON: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_ppoll,
    // glibc on a computer.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// What a thread costs.
const THREADS: &[c_long] = &[
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_getaffinity,
    // musl: the thread that ends tells where its number is to be wiped out.
    libc::SYS_set_tid_address,
];

/// What an argument must be. Arguments are counted from 0; the kernel sees 32 bits of most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// This value.
    Be(u8, u32),
    /// These of its bits (the first number) have these values (the second).
    Have(u8, u32, u32),
}

/// The calls of a program. Whatever is not named ends it.
#[derive(Clone, Debug)]
pub struct Calls {
    /// A call without rules is allowed as it is; one with rules, if one of them fits.
    allowed: BTreeMap<i64, Vec<SeccompRule>>,
    absent: BTreeMap<i64, Vec<SeccompRule>>,
}

impl Calls {
    /// What every program needs.
    #[must_use]
    pub fn common() -> Calls {
        let none = Calls {
            allowed: BTreeMap::new(),
            absent: BTreeMap::new(),
        };
        let executable = bits(libc::PROT_EXEC);
        let abort = bits(libc::SIGABRT);
        none.allow(COMMON)
            // Nothing that was written becomes a program: what runs is what was started.
            .allow_if(libc::SYS_mmap, &[Must::Have(2, executable, 0)])
            .allow_if(libc::SYS_mprotect, &[Must::Have(2, executable, 0)])
            // How abort(3) ends a process: with glibc, with musl. Landlock keeps signals inside.
            .allow_if(
                libc::SYS_tgkill,
                &[Must::Be(0, std::process::id()), Must::Be(2, abort)],
            )
            .allow_if(libc::SYS_tkill, &[Must::Be(1, abort)])
    }

    /// Threads, and no processes.
    #[must_use]
    pub fn threads(self) -> Calls {
        let thread = bits(libc::CLONE_THREAD);
        let mut calls = self
            .allow(THREADS)
            .allow_if(libc::SYS_clone, &[Must::Have(0, thread, thread)])
            // The name of a thread, and nothing else that prctl does.
            .allow_if(libc::SYS_prctl, &[Must::Be(0, bits(libc::PR_SET_NAME))])
            .allow(&[libc::SYS_clone3]);
        // Its flags lie in memory, where a filter cannot look. glibc takes `clone` then; musl does not know it.
        calls.absent.insert(libc::SYS_clone3, Vec::new());
        calls
    }

    /// These calls, whatever their arguments.
    #[must_use]
    pub fn allow(mut self, calls: &[c_long]) -> Calls {
        for call in calls {
            self.allowed.insert(*call, Vec::new());
        }
        self
    }

    /// This call, if its arguments are all as they must be. Said twice, it is allowed in both ways.
    #[must_use]
    pub fn allow_if(mut self, call: c_long, arguments: &[Must]) -> Calls {
        let conditions = arguments.iter().map(|must| {
            let (argument, operator, value) = match *must {
                Must::Be(argument, value) => (argument, SeccompCmpOp::Eq, value),
                Must::Have(argument, mask, value) => (argument, SeccompCmpOp::MaskedEq(mask.into()), value),
            };
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())
                .expect("the lists number arguments from 0 to 5")
        });
        let rule = SeccompRule::new(conditions.collect()).expect("the lists name a condition for each rule");
        self.allowed.entry(call).or_default().push(rule);
        self
    }

    /// Sockets of this family and kind (`SOCK_…`), with its own protocol.
    #[must_use]
    pub fn sockets(self, family: i32, kind: i32) -> Calls {
        let protocol = match kind {
            libc::SOCK_STREAM => libc::IPPROTO_TCP,
            _ => libc::IPPROTO_UDP,
        };
        // Above the kind stand SOCK_CLOEXEC and SOCK_NONBLOCK.
        let family_and_kind = [Must::Be(0, bits(family)), Must::Have(1, 0xf, bits(kind))];
        [0, protocol].into_iter().fold(self, |calls, protocol| {
            let [family, kind] = family_and_kind;
            calls.allow_if(libc::SYS_socket, &[family, kind, Must::Be(2, bits(protocol))])
        })
    }

    /// Confines this thread, and those it starts.
    pub(crate) fn restrict(&self) -> Result<(), CageError> {
        if !self.absent.is_empty() {
            let missing = SeccompAction::Errno(bits(libc::ENOSYS));
            apply_filter(&program(&self.absent, SeccompAction::Allow, missing)?)?;
        }
        apply_filter(&program(
            &self.allowed,
            SeccompAction::KillProcess,
            SeccompAction::Allow,
        )?)?;
        Ok(())
    }
}

fn program(
    rules: &BTreeMap<i64, Vec<SeccompRule>>,
    others: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, seccompiler::Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules.clone(), others, listed, architecture)?;
    Ok(filter.try_into()?)
}

/// The kernel's constants are ints; in a filter their bits count.
const fn bits(constant: i32) -> u32 {
    constant.cast_unsigned()
}
