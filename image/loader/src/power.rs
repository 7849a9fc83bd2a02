//! The firmware's watchdog, and beginning anew.

use core::time::Duration;

use uefi::runtime::ResetType;
use uefi::{Status, boot, runtime};

/// How long somebody has to read why the box restarts.
pub(crate) const RESTART_DELAY: Duration = Duration::from_secs(30);

/// Longer than two slots of 32 MiB take from a slow card, and longer than [`RESTART_DELAY`].
const LOADING_SECONDS_MAX: usize = 60;
/// Numbers up to 0xffff are the firmware's (UEFI 2.10 §7.5).
const WATCHDOG_CODE: u64 = 0x1_0000;

/// From now on the firmware resets the box when the loader does not get anywhere.
pub(crate) fn limit_loading() {
    set_watchdog(LOADING_SECONDS_MAX);
}

/// What is started now may take its time: the kernel has a watchdog of its own.
pub(crate) fn end_limit() {
    set_watchdog(0);
}

/// Waits, and resets the box.
pub(crate) fn restart_later() -> ! {
    // A reset that does not work is then the watchdog's to do.
    limit_loading();
    boot::stall(RESTART_DELAY);
    runtime::reset(ResetType::COLD, Status::ABORTED, None)
}

fn set_watchdog(seconds: usize) {
    // A firmware without a watchdog starts the box as well.
    let _ = boot::set_watchdog_timer(seconds, WATCHDOG_CODE, None);
}
