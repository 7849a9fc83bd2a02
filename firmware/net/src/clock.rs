//! Moments from the monotonic clock.

use std::sync::LazyLock;
use std::time::Duration;
use tokio::time::Instant;
use wire::Moment;

/// The start of the clock: the first time it is asked for.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The present moment. It never goes back, whatever happens to the time of day (D14).
pub fn now() -> Moment {
    let start = *START;
    Moment::START + Instant::now().saturating_duration_since(start)
}

/// The instant to sleep until. Never is a year from now, because a timer wants a number.
pub(crate) fn instant(moment: Moment) -> Instant {
    const FAR: Duration = Duration::from_hours(365 * 24);
    Instant::now() + (moment - now()).min(FAR)
}
