//! Classic BPF, in which the kernel takes filters for sockets and for system calls.
//!
//! Source: Documentation/networking/filter.rst.

use nix::libc;

/// One instruction; `jt` and `jf` are how many to skip when a comparison is true or false.
pub(crate) const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    // All opcodes of classic BPF are below 0x100.
    #[allow(clippy::cast_possible_truncation)]
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}
