//! Stands back behind everybody else.

use nix::errno::Errno;
use nix::libc;

/// `IOPRIO_WHO_PROCESS` and `IOPRIO_CLASS_IDLE` of linux/ioprio.h, the latter shifted to its place.
const THIS_PROCESS: libc::c_int = 1;
const IDLE: libc::c_int = 3 << 13;
/// The highest niceness.
const NICE: libc::c_int = 19;

/// Gives this process the processor and the disk only when nobody else wants them. That it could not is no reason not to
/// do the work.
#[allow(unsafe_code)]
pub(crate) fn be_idle() {
    // SAFETY: both take integers and touch no memory of ours.
    let results = unsafe {
        [
            i64::from(libc::setpriority(libc::PRIO_PROCESS, 0, NICE)),
            // glibc and musl have no function for this one.
            libc::syscall(libc::SYS_ioprio_set, THIS_PROCESS, 0, IDLE),
        ]
    };
    for result in results {
        let _ = Errno::result(result);
    }
}
