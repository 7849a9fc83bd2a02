//! What no program of the box may do from its first instruction on: pass a descriptor.
//!
//! Whoever receives a descriptor has to close it, and to close a socket can take as long as its sender has chosen
//! (`SO_LINGER`, socket(7)). init would wait for that, and everything with it. Not to receive it does not help: what
//! lies in a socket's queue is closed in the name of its reader. So the calls that can send one are refused. Only init
//! passes descriptors.
//!
//! Source: seccomp(2), unix(7), Documentation/userspace-api/seccomp_filter.rst.

use nix::errno::Errno;
use nix::libc::{self, BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};

use crate::bpf::instruction;

/// `AUDIT_ARCH_AARCH64` and `AUDIT_ARCH_X86_64` of linux/audit.h. The second is for the tests.
const ARCHITECTURE: u32 = if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    0xc000_003e
};

/// Offsets in `struct seccomp_data` of linux/seccomp.h.
const CALL_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;

/// Refuses `sendmsg` and `sendmmsg`, and whatever is called by another architecture's numbers.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
static FILTER: [libc::sock_filter; 7] = [
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, ARCHITECTURE_AT),
    instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, ARCHITECTURE),
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, CALL_AT),
    instruction(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, libc::SYS_sendmsg as u32),
    instruction(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, libc::SYS_sendmmsg as u32),
    instruction(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    instruction(
        BPF_RET | BPF_K,
        0,
        0,
        libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
    ),
];

/// Confines the calling thread and what it executes, for good. It must have `no_new_privs`.
#[allow(unsafe_code)]
pub(crate) fn confine() -> nix::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(FILTER.len()).map_err(|_| Errno::EINVAL)?,
        // The kernel only reads it, though the type says otherwise.
        filter: FILTER.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `program`, which lives until the call returns, and the instructions it points to, which
    // live for ever; it keeps neither.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
            &raw const program,
        )
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;

    use handoff::{Channel, FromMaild, ToMaild};
    use nix::sys::prctl::set_no_new_privs;

    use super::*;

    #[test]
    fn a_confined_program_says_what_it_has_to_and_passes_no_descriptor() {
        let (ours, theirs) = Channel::pair().unwrap();
        // The filter is a thread's; the other tests go on without.
        std::thread::spawn(move || {
            set_no_new_privs().unwrap();
            confine().unwrap();
            theirs.send(&FromMaild::Alive, &[]).unwrap();
            let descriptor = std::io::stderr();
            let refused = theirs.send(&ToMaild::Listener { port: 25 }, &[descriptor.as_fd()]);
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
        })
        .join()
        .unwrap();
        assert_eq!(ours.receive::<FromMaild>().unwrap().message, FromMaild::Alive);
    }
}
