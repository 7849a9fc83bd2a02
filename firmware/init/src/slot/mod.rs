//! The version that runs: which slot it is in, on which disk, whether it is on trial, and what becomes of both slots.
//!
//! [`trial`], [`story`] and what decides in [`check`] and [`bootstate`] are pure or over a trait; [`disk`] asks the kernel.

pub(crate) mod bootstate;
pub(crate) mod check;
pub(crate) mod disk;
pub(crate) mod partition;
pub(crate) mod story;
pub(crate) mod table;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod trial;
pub(crate) mod write;

use std::fs;

use format::keys::{PUBLIC_KEY_OCTETS, public_key_of_hex};
pub(crate) use format::line::Boot;
use format::line::word;

/// How long a version on trial may take to find itself good.
const TRIAL_SECONDS: u64 = 300;

/// What the loader said on the kernel's command line.
pub(crate) fn booted() -> Option<Boot> {
    Boot::of(&command_line())
}

/// How long a trial is: five minutes, or what `postolka.trial_seconds` says.
pub(crate) fn trial_ms() -> u64 {
    trial_ms_of(&command_line())
}

fn trial_ms_of(line: &str) -> u64 {
    let seconds = word(line, "postolka.trial_seconds").and_then(|seconds| seconds.parse().ok());
    seconds.unwrap_or(TRIAL_SECONDS).saturating_mul(1000)
}

/// What the kernel was started with.
pub(crate) fn command_line() -> String {
    fs::read_to_string("/proc/cmdline").unwrap_or_default()
}

/// The root keys of the image. None: nobody is trusted, and no update is taken.
pub(crate) fn roots() -> Vec<[u8; PUBLIC_KEY_OCTETS]> {
    let text = fs::read_to_string("/roots").unwrap_or_default();
    text.lines()
        .filter_map(|line| public_key_of_hex(line.trim().as_bytes()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_lasts_five_minutes_unless_the_command_line_says_otherwise() {
        assert_eq!(trial_ms_of("quiet"), 300_000);
        assert_eq!(trial_ms_of("quiet postolka.trial_seconds=20"), 20_000);
        assert_eq!(trial_ms_of("postolka.trial_seconds=soon"), 300_000);
    }
}
