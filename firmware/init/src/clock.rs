//! The clock's floor. A box without a clock module wakes in 1970, in which no certificate is valid.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

/// Sets the clock to `floor`, seconds since 1970, if it is behind; whether it was.
pub(crate) fn raise_to(floor: u64) -> nix::Result<bool> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let floor = TimeSpec::from_duration(Duration::from_secs(floor));
    if now >= floor {
        return Ok(false);
    }
    clock_settime(ClockId::CLOCK_REALTIME, floor)?;
    Ok(true)
}
