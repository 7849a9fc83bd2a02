//! The box's clock. What is believed about the time is [`keeper`]'s, how the clock is set is [`clock`]'s.

mod clock;
mod date;
mod keeper;
#[cfg(test)]
mod tests;

use std::io;

use board::linux::Rtc;

use crate::trouble::Trouble;
use keeper::{Bounds, Keeper, Now, Order, Remark};

pub(crate) use clock::now_seconds;

/// How often the time is written down.
const KEEP_MS: u64 = 15 * 60_000;
/// So long after the start a time server should have been heard.
const PATIENCE_MS: u64 = 15 * 60_000;
/// The kernel's clock and the one with the battery drift apart by a second or so in a day.
const RTC_MS: u64 = 6 * 3_600_000;

/// The clock, and what is known of it.
#[derive(Debug)]
pub(crate) struct Time {
    keeper: Keeper,
    /// As maild was told last.
    is_synced: bool,
    /// Whether a refusal was said: one line is enough.
    was_refused: bool,
    keep_ms: u64,
    rtc: Option<Rtc>,
    rtc_ms: u64,
}

/// What came of a time that was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// A line for the console.
    pub(crate) line: Option<String>,
    /// Whether the clock has jumped.
    pub(crate) has_jumped: bool,
}

impl Time {
    /// At the start of the box; gives a line for the console.
    pub(crate) fn start(build_date: u64) -> (Self, Option<String>) {
        let now = clock::now();
        let keeper = Keeper::new(Bounds::new(build_date), now.unix_ms);
        let line = match keeper.start(now) {
            Order::Keep => None,
            order => Some(match obey(order) {
                Ok(()) => {
                    "The clock had no possible time and was set to the date of this firmware.".to_owned()
                }
                Err(error) => format!("The clock could not be set: {error}"),
            }),
        };
        let time = Self {
            keeper,
            is_synced: false,
            was_refused: false,
            keep_ms: now.boot_ms + KEEP_MS,
            rtc: Rtc::open().ok(),
            rtc_ms: 0,
        };
        (time, line)
    }

    /// The time as it was written down last: seconds since 1970.
    pub(crate) fn remembers(&mut self, kept_seconds: u64) -> Outcome {
        let order = self
            .keeper
            .remembers(kept_seconds.saturating_mul(1000), clock::now());
        match order {
            Order::Keep => Outcome::default(),
            order => done(order, "The clock goes on from when the box ran last"),
        }
    }

    /// Takes what netd has heard.
    pub(crate) fn sample(&mut self, unix_ms: u64, boot_ms: u64) -> Outcome {
        let now = clock::now();
        let was_synced = self.keeper.is_synced(now.boot_ms);
        match self.keeper.sample(unix_ms, boot_ms, now) {
            Ok(Order::Keep) => Outcome::default(),
            Ok(order @ Order::Slew(_)) => match obey(order) {
                Ok(()) => Outcome::default(),
                Err(error) => failed(&error),
            },
            Ok(order @ Order::Step(_)) => {
                // What the battery keeps is wrong by as much.
                self.rtc_ms = 0;
                let what = if was_synced {
                    "The time servers say another time; the clock was set"
                } else {
                    "The time is known; the clock was set"
                };
                done(order, what)
            }
            Err(refusal) => {
                let is_new = !std::mem::replace(&mut self.was_refused, true);
                let why = match refusal {
                    keeper::Refusal::Bounds => "it cannot be with this firmware",
                    keeper::Refusal::Age => "it is not of now",
                };
                let date = date::date(unix_ms);
                Outcome {
                    line: is_new.then(|| format!("A time was refused ({date}): {why}.")),
                    has_jumped: false,
                }
            }
        }
    }

    /// Does what is due; gives whether maild is to be told anew, and whether the time is to be written down.
    pub(crate) fn tick(&mut self) -> (bool, bool) {
        let now = clock::now();
        let is_synced = self.keeper.is_synced(now.boot_ms);
        let has_changed = is_synced != self.is_synced;
        self.is_synced = is_synced;
        if is_synced && now.boot_ms >= self.rtc_ms {
            self.rtc_ms = now.boot_ms + RTC_MS;
            if let Some(rtc) = &self.rtc {
                // One that cannot be set is one without a battery: the next start asks the time servers.
                let seconds = i64::try_from(now.unix_ms / 1000).unwrap_or(i64::MAX);
                let _ = rtc.set(seconds);
            }
        }
        let is_due = now.boot_ms >= self.keep_ms;
        if is_due {
            self.keep_ms = now.boot_ms + KEEP_MS;
        }
        (has_changed, is_due)
    }

    /// In how many milliseconds [`Time::tick`] is to be called.
    pub(crate) fn wait_ms(&self) -> u64 {
        let boot_ms = clock::now().boot_ms;
        let rtc_ms = (self.is_synced && self.rtc.is_some()).then_some(self.rtc_ms);
        let due = [Some(self.keep_ms), rtc_ms, self.keeper.deadline_ms(boot_ms)];
        let first_ms = due.into_iter().flatten().min().unwrap_or(u64::MAX);
        first_ms.saturating_sub(boot_ms)
    }

    /// Whether the time can be trusted.
    pub(crate) fn is_synced(&self) -> bool {
        self.keeper.is_synced(clock::now().boot_ms)
    }

    /// What is wrong with the time. `has_address`: without one nobody can be asked, and that is told already.
    pub(crate) fn trouble(&self, has_address: bool) -> Option<Trouble> {
        trouble(&self.keeper, has_address, clock::now())
    }
}

/// What is wrong with the time. Pure.
fn trouble(keeper: &Keeper, has_address: bool, now: Now) -> Option<Trouble> {
    match keeper.remark(now) {
        Some(Remark::Doubted { theirs_ms }) => Some(Trouble::TimeDoubted {
            theirs: date::date(theirs_ms),
            ours: date::date(now.unix_ms),
        }),
        Some(Remark::Stepped { from_ms, to_ms }) => Some(Trouble::TimeStepped {
            from: date::date(from_ms),
            to: date::date(to_ms),
        }),
        None if has_address && now.boot_ms >= PATIENCE_MS && !keeper.is_synced(now.boot_ms) => {
            Some(Trouble::NoTime(keeper.refused()))
        }
        None => None,
    }
}

fn obey(order: Order) -> io::Result<()> {
    match order {
        Order::Keep => Ok(()),
        Order::Step(by_ms) => clock::step(by_ms),
        Order::Slew(by_ms) => clock::slew(by_ms),
    }
}

/// A step, told.
fn done(order: Order, what: &str) -> Outcome {
    match obey(order) {
        Ok(()) => Outcome {
            line: Some(format!("{what}: {} UTC.", date::moment(clock::now().unix_ms))),
            has_jumped: true,
        },
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> Outcome {
    Outcome {
        line: Some(format!("The clock could not be set: {error}")),
        has_jumped: false,
    }
}
