//! What this process may still do once it runs: talk on the sockets it was given, and on UDP sockets of its own for mDNS, DNS
//! and NTP. No file, no TCP, no second thread, no other program.

use cage::{CageError, Calls, Files, Kernel, Must, Net};
use libc::c_long;

const SOCKETS: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    // The control socket, and whose address a datagram comes from. There is no `sendmsg`: only init passes descriptors.
    libc::SYS_recvmsg,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
];

/// Closes the sandbox around this process, before it has taken anything from init.
///
/// # Errors
/// It could not be closed, and the process has to end.
pub(crate) fn close() -> Result<(), CageError> {
    let calls = Calls::common()
        .allow(SOCKETS)
        // Not to wait for a socket.
        .allow_if(libc::SYS_ioctl, &[Must::Be(1, request(libc::FIONBIO))])
        .sockets(libc::AF_INET, libc::SOCK_DGRAM)
        .sockets(libc::AF_INET6, libc::SOCK_DGRAM);
    cage::close(&Files::default(), Net::Nothing, &calls, Kernel::Whole).map(drop)
}

/// A request of ioctl(2): musl counts them as int, glibc as unsigned long; the numbers are the same and small.
// With one of the two each cast is one of those that the lints do not like.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unnecessary_cast
)]
const fn request(number: libc::Ioctl) -> u32 {
    number as u32
}
