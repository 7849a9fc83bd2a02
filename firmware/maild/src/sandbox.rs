//! What this process may still do once its start is over: before anything that came from the network is read, and before
//! there is a second thread.
//!
//! The list is that of what runs here: tokio, redb, zstd, AWS-LC, the standard library and an allocator, with musl in the box
//! and glibc on a computer. A call that is missing ends the process, and init says its name; it is added here when it is one
//! that mail needs.

use crate::arguments::BOX_FOLDER;
use crate::trouble::Trouble;
use cage::{Calls, Files, Kernel, Must, Net};
use libc::c_long;
use std::path::Path;

/// Read at the start, for the cost of hashes.
const READABLE: &[&str] = &["/proc/meminfo"];

/// Files and folders, all in the folder of the mail: where they lie is Landlock's.
const FILES: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_copy_file_range,
    libc::SYS_getcwd,
];

/// Sockets, and waiting for them.
const SOCKETS: &[c_long] = &[
    libc::SYS_accept4,
    // UDP; of TCP, Landlock allows port 0 only, and there is no `listen`.
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    // The control socket. There is no `sendmsg`: only init passes descriptors.
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_dup,
    libc::SYS_dup3,
];

/// What glibc says instead on x86-64.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_readlink,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Closes the sandbox around this process, with `data` as its only folder, which is made if it is not there.
///
/// # Errors
/// It could not be closed, and the process has to end. In the box the whole of it is wanted; elsewhere as much of Landlock as
/// the kernel has.
pub(crate) fn close(data: &Path) -> Result<(), Trouble> {
    let (kernel, calls) = if data == Path::new(BOX_FOLDER) {
        (Kernel::Whole, calls())
    } else {
        // Its ports of mail are bound by now, and listened on when the box is claimed. In the box, init does that.
        (Kernel::AsItIs, calls().allow(&[libc::SYS_listen]))
    };
    // What the sandbox is closed around has to be there. In the box, init has made it.
    std::fs::create_dir_all(data).map_err(|source| Trouble::Folder {
        path: data.to_owned(),
        source,
    })?;
    let files = Files {
        own: Some(data),
        readable: READABLE,
    };
    if !cage::close(&files, Net::Connects, &calls, kernel)? {
        tracing::info!(
            "this computer's kernel cannot confine maild to its folder (Landlock); its calls are confined"
        );
    }
    Ok(())
}

fn calls() -> Calls {
    let calls = Calls::common()
        .threads()
        .allow(FILES)
        .allow(SOCKETS)
        .allow(OLDER)
        // Its own limits, such as that of open files.
        .allow_if(libc::SYS_prlimit64, &[Must::Be(0, 0)])
        .allow_if(libc::SYS_ioctl, &[Must::Be(1, request(libc::FIONBIO))])
        .allow_if(libc::SYS_ioctl, &[Must::Be(1, request(libc::FIOCLEX))])
        // How many octets wait in a socket, and whether standard output is a terminal.
        .allow_if(libc::SYS_ioctl, &[Must::Be(1, request(libc::FIONREAD))])
        .allow_if(libc::SYS_ioctl, &[Must::Be(1, request(libc::TCGETS))])
        // tokio hears of signals by a pair of these.
        .allow_if(
            libc::SYS_socketpair,
            &[
                Must::Be(0, libc::AF_UNIX.cast_unsigned()),
                // Above the kind stand SOCK_CLOEXEC and SOCK_NONBLOCK.
                Must::Have(1, 0xf, libc::SOCK_STREAM.cast_unsigned()),
                Must::Be(2, 0),
            ],
        );
    [libc::AF_INET, libc::AF_INET6]
        .into_iter()
        .fold(calls, |calls, family| {
            calls
                .sockets(family, libc::SOCK_STREAM)
                .sockets(family, libc::SOCK_DGRAM)
        })
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
