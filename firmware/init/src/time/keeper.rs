//! What is believed about the time, and what is done to the clock. Pure: clocks are arguments.
//!
//! | the time servers say | what is done |
//! | --- | --- |
//! | a time outside floor and ceiling, or of another moment than now | refused and counted |
//! | anything, for the first time | the clock is set |
//! | up to half a second off | the clock is slewed: it never jumps, nor runs backwards |
//! | up to a day off | the clock is set |
//! | more | the clock is set when a second round says the same, and the page tells it |

/// The floor is the date of the firmware; it is not used for longer than this behind it.
const CEILING_MS: u64 = 15 * 366 * DAY_MS;
const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;
/// Within the kernel's half a millisecond a second this is corrected in a quarter of an hour.
const SLEW_MS_MAX: u64 = 500;
/// A time that differs by more is a second opinion's to confirm.
const STEP_MS_MAX: u64 = DAY_MS;
/// Two rounds agree when they differ by no more: the clock drifts between them, and an answer may be late by a second.
const AGREE_MS: u64 = 2_000;
/// What comes sooner after the one before is the same round, heard by another card's netd, or a netd that has gone mad.
const ROUNDS_GAP_MS: u64 = 10_000;
/// netd tells a time when it has it. What is older was held back by somebody.
const AGE_MS_MAX: u64 = 10_000;
/// A clock that nobody has confirmed for so long may be off by ten seconds (a hundred millionths, which is a poor quartz).
const SYNC_MS_MAX: u64 = 24 * HOUR_MS;
/// So long the page tells that the clock was set by more than a day.
const TOLD_MS: u64 = 24 * HOUR_MS;

/// What two clocks say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// The time: milliseconds since 1970.
    pub(crate) unix_ms: u64,
    /// `CLOCK_BOOTTIME`, which is never set.
    pub(crate) boot_ms: u64,
}

/// Between which times the box can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    floor_ms: u64,
    ceiling_ms: u64,
}

impl Bounds {
    /// Of a firmware of this date, in seconds since 1970.
    pub(crate) fn new(build_date: u64) -> Self {
        let floor_ms = build_date.saturating_mul(1000).min(handoff::UNIX_MS_MAX);
        let ceiling_ms = match build_date {
            // A firmware that does not know its date knows no end either.
            0 => handoff::UNIX_MS_MAX,
            _ => floor_ms + CEILING_MS,
        };
        Self { floor_ms, ceiling_ms }
    }

    pub(crate) fn has(self, unix_ms: u64) -> bool {
        (self.floor_ms..=self.ceiling_ms).contains(&unix_ms)
    }
}

/// What is to be done to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing: it is right, or another round is waited for.
    Keep,
    /// Advance it by so many milliseconds, or set it back, at once.
    Step(i64),
    /// The same, little by little.
    Slew(i64),
}

/// Why a time was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Before the firmware was made, or long after.
    Bounds,
    /// Not of now.
    Age,
}

/// A difference that is not believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Doubt {
    /// How far the clock would have to be set.
    offset_ms: i64,
}

/// For the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// The time servers say this, which is not believed yet.
    Doubted { theirs_ms: u64 },
    /// The clock was set by more than a day.
    Stepped { from_ms: u64, to_ms: u64 },
}

/// The clock as it is known.
#[derive(Debug)]
pub(crate) struct Keeper {
    bounds: Bounds,
    /// Whether the clock held a possible time when the box started: it has a battery, or it did not start anew.
    has_rtc: bool,
    /// Whether a time server was ever heard.
    was_synced: bool,
    /// Until when it is taken to be right, by `CLOCK_BOOTTIME`.
    synced_until_ms: Option<u64>,
    doubt: Option<Doubt>,
    /// When the last time was heard that was not refused.
    heard_ms: Option<u64>,
    stepped: Option<(Remark, u64)>,
    refused: u64,
}

impl Keeper {
    /// At the start, with the clock as it was found.
    pub(crate) fn new(bounds: Bounds, found_ms: u64) -> Self {
        Self {
            bounds,
            has_rtc: bounds.has(found_ms),
            was_synced: false,
            synced_until_ms: None,
            doubt: None,
            heard_ms: None,
            stepped: None,
            refused: 0,
        }
    }

    /// What is to be done about the clock at the start.
    pub(crate) fn start(&self, now: Now) -> Order {
        if self.has_rtc {
            Order::Keep
        } else {
            Order::Step(signed(self.bounds.floor_ms) - signed(now.unix_ms))
        }
    }

    /// The time as it was written down last. It is only where to begin from: a time server that lied once must not have
    /// the last word for ever.
    pub(crate) fn remembers(&self, kept_ms: u64, now: Now) -> Order {
        if self.has_rtc || self.was_synced || !self.bounds.has(kept_ms) || kept_ms <= now.unix_ms {
            return Order::Keep;
        }
        Order::Step(signed(kept_ms) - signed(now.unix_ms))
    }

    /// The time servers have said what time it was at `boot_ms`.
    ///
    /// # Errors
    /// It cannot be; nothing changes.
    pub(crate) fn sample(&mut self, unix_ms: u64, boot_ms: u64, now: Now) -> Result<Order, Refusal> {
        let order = self.judge(unix_ms, boot_ms, now);
        if order.is_err() {
            self.refused = self.refused.saturating_add(1);
        }
        order
    }

    fn judge(&mut self, unix_ms: u64, boot_ms: u64, now: Now) -> Result<Order, Refusal> {
        let age_ms = now.boot_ms.checked_sub(boot_ms).ok_or(Refusal::Age)?;
        if age_ms > AGE_MS_MAX {
            return Err(Refusal::Age);
        }
        let theirs_ms = unix_ms.saturating_add(age_ms);
        if !self.bounds.has(theirs_ms) {
            return Err(Refusal::Bounds);
        }
        if self
            .heard_ms
            .is_some_and(|heard_ms| now.boot_ms < heard_ms + ROUNDS_GAP_MS)
        {
            return Ok(Order::Keep);
        }
        self.heard_ms = Some(now.boot_ms);
        let offset_ms = signed(theirs_ms) - signed(now.unix_ms);
        let order = match offset_ms.unsigned_abs() {
            ..=SLEW_MS_MAX => match offset_ms {
                0 => Order::Keep,
                offset_ms => Order::Slew(offset_ms),
            },
            distance_ms if self.was_synced && distance_ms > STEP_MS_MAX => {
                if !self.is_second_opinion(offset_ms) {
                    return Ok(Order::Keep);
                }
                let remark = Remark::Stepped {
                    from_ms: now.unix_ms,
                    to_ms: theirs_ms,
                };
                self.stepped = Some((remark, now.boot_ms + TOLD_MS));
                Order::Step(offset_ms)
            }
            _ => Order::Step(offset_ms),
        };
        self.doubt = None;
        self.was_synced = true;
        self.synced_until_ms = Some(now.boot_ms + SYNC_MS_MAX);
        Ok(order)
    }

    /// Whether the round before said the same. If not, this is the one to be confirmed.
    fn is_second_opinion(&mut self, offset_ms: i64) -> bool {
        let before = self.doubt.replace(Doubt { offset_ms });
        before.is_some_and(|doubt| doubt.offset_ms.abs_diff(offset_ms) <= AGREE_MS)
    }

    /// Whether the time can be trusted. Not while the time servers say another than the clock.
    pub(crate) fn is_synced(&self, boot_ms: u64) -> bool {
        self.doubt.is_none() && self.synced_until_ms.is_some_and(|until_ms| boot_ms < until_ms)
    }

    /// What the page has to tell.
    pub(crate) fn remark(&self, now: Now) -> Option<Remark> {
        let doubted = self.doubt.map(|doubt| Remark::Doubted {
            theirs_ms: now.unix_ms.saturating_add_signed(doubt.offset_ms),
        });
        let stepped = self.stepped.filter(|(_, until_ms)| now.boot_ms < *until_ms);
        doubted.or(stepped.map(|(remark, _)| remark))
    }

    /// When what this says changes by itself.
    pub(crate) fn deadline_ms(&self, boot_ms: u64) -> Option<u64> {
        let told_ms = self.stepped.map(|(_, until_ms)| until_ms);
        let due = told_ms.into_iter().chain(self.synced_until_ms);
        due.filter(|due_ms| *due_ms > boot_ms).min()
    }

    /// Times that were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

/// Times are below the year 3000: see [`handoff::UNIX_MS_MAX`].
fn signed(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX)
}
