//! The kernel's clocks.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

use super::keeper::Now;

/// Both clocks, as good as at once.
pub(super) fn now() -> Now {
    Now {
        unix_ms: read_ms(ClockId::CLOCK_REALTIME),
        boot_ms: read_ms(ClockId::CLOCK_BOOTTIME),
    }
}

/// Seconds since 1970, for whoever writes the time down.
pub(crate) fn now_seconds() -> u64 {
    read_ms(ClockId::CLOCK_REALTIME) / 1000
}

/// A clock that is not there is at its beginning. Linux has them both.
fn read_ms(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Sets the clock by so many milliseconds.
pub(super) fn step(by_ms: i64) -> io::Result<()> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
    let by = Duration::from_millis(by_ms.unsigned_abs());
    let to = if by_ms < 0 {
        now.checked_sub(by)
    } else {
        now.checked_add(by)
    };
    let to = to.ok_or(Errno::EINVAL)?;
    Ok(clock_settime(
        ClockId::CLOCK_REALTIME,
        TimeSpec::from_duration(to),
    )?)
}

/// Has the kernel correct the clock by half a millisecond in each second until it is done; what it was at before is
/// given up. The clock never runs backwards by that.
#[allow(unsafe_code)]
pub(super) fn slew(by_ms: i64) -> io::Result<()> {
    // SAFETY: all fields of timex are integers, for which zero is a value.
    let mut request: libc::timex = unsafe { std::mem::zeroed() };
    request.modes = libc::ADJ_OFFSET_SINGLESHOT;
    request.offset = by_ms.saturating_mul(1000);
    // SAFETY: the kernel reads and writes `request`, which lives until the call returns.
    let result = unsafe { libc::adjtimex(&raw mut request) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_go_on() {
        let before = now();
        std::thread::sleep(Duration::from_millis(3));
        let after = now();
        assert!(after.boot_ms > before.boot_ms && after.unix_ms > 1_700_000_000_000);
    }
}
