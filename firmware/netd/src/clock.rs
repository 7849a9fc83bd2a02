//! The one clock that netd reads, and its random numbers.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since the box was started, by `CLOCK_BOOTTIME`: it never steps, and init reckons with the same.
pub(crate) fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .expect("this clock is always there, and the room for it is ours");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec()).unwrap_or(0);
    seconds.saturating_mul(1000) + nanoseconds / 1_000_000
}

/// Transaction ids and jitter.
pub(crate) fn random() -> u32 {
    getrandom::u32().expect("getrandom(2) waits until it is ready and then never fails")
}
