//! When a program that ended is started again, and when one that hangs is ended. Pure: time is an argument.

use format::line::word;

/// A program that ends for the first time is back almost at once: clients wait on its listening sockets meanwhile.
pub(crate) const RESTART_DELAY_MS_MIN: u64 = 200;
/// One that cannot run does not keep the processor from those that can.
pub(crate) const RESTART_DELAY_MS_MAX: u64 = 30_000;
/// Having run for so long, it is taken to have been well, and the delays begin anew.
pub(crate) const STEADY_MS: u64 = 60_000;
/// From this many ends in a row the console page says that something is wrong.
pub(crate) const ENDS_TROUBLE: u32 = 3;
/// So many ends …
pub(crate) const ENDS_MAX: usize = 5;
/// … within so long a time are a program that cannot do its work (D21).
pub(crate) const ENDS_WINDOW_MS: u64 = 600_000;
/// It rests, and is tried again after this time, unless `postolka.rest_seconds` on the kernel's command line says otherwise.
const REST_SECONDS: u64 = 300;
/// maild says `Alive` every 5 s, netd every 10 s; many in a row are missing when it is taken to hang.
pub(crate) const ALIVE_MS_MAX: u64 = 60_000;
/// maild is ready by then, or never: making the index anew of a card of 128 GB, which is read at 20 MB/s, takes 1.8 hours.
pub(crate) const OPENING_MS_MAX: u64 = 10_800_000;
/// From SIGABRT, which leaves a trace on the console, to SIGKILL.
pub(crate) const ABORT_MS_MAX: u64 = 5_000;

/// The restarts of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restarts {
    /// Ends in a row, each before [`STEADY_MS`].
    ends: u32,
}

impl Restarts {
    /// It ended after `ran_ms`; gives the delay until it is to be started again.
    pub(crate) fn ended(&mut self, ran_ms: u64) -> u64 {
        if ran_ms >= STEADY_MS {
            self.ends = 0;
        }
        let delay_ms = RESTART_DELAY_MS_MIN
            .checked_shl(self.ends.min(16))
            .unwrap_or(RESTART_DELAY_MS_MAX);
        self.ends = self.ends.saturating_add(1);
        delay_ms.min(RESTART_DELAY_MS_MAX)
    }

    /// Whether it ends over and over.
    pub(crate) fn is_troubled(self) -> bool {
        self.ends >= ENDS_TROUBLE
    }

    /// It has run for `ran_ms` by now: the row is broken.
    pub(crate) fn runs(&mut self, ran_ms: u64) {
        if ran_ms >= STEADY_MS {
            self.ends = 0;
        }
    }
}

/// Whether a program ends so often that its clients are better off with a refusal than waiting for it.
///
/// ```text
///           fifth end in ten minutes                   an end before STEADY_MS: on it goes
///   up ─────────────────────────────▶ resting ◀──────────────────────────────┐
///    ▲                                   └── after a rest ──▶ it is tried ──┤
///    └───────────────────────────────────────── it runs for STEADY_MS ───────┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crashes {
    /// When it ended, the last first.
    ends_ms: [Option<u64>; ENDS_MAX],
    is_resting: bool,
}

/// How long a program rests that does not stay up, by the kernel's command line.
pub(crate) fn rest_ms(line: &str) -> u64 {
    let seconds = word(line, "postolka.rest_seconds").and_then(|seconds| seconds.parse().ok());
    seconds.unwrap_or(REST_SECONDS).saturating_mul(1000)
}

impl Crashes {
    /// It ended after `ran_ms`; whether it is to rest.
    pub(crate) fn ended(&mut self, ran_ms: u64, now_ms: u64) -> bool {
        self.runs(ran_ms);
        self.ends_ms.rotate_right(1);
        self.ends_ms[0] = Some(now_ms);
        self.is_resting |= self.of_late(now_ms) == ENDS_MAX;
        self.is_resting
    }

    /// It has run for `ran_ms` by now. One that was tried and stays up begins anew.
    pub(crate) fn runs(&mut self, ran_ms: u64) {
        if self.is_resting && ran_ms >= STEADY_MS {
            *self = Self::default();
        }
    }

    /// How often it has ended within the last ten minutes, up to [`ENDS_MAX`].
    pub(crate) fn of_late(&self, now_ms: u64) -> usize {
        let is_late = |end_ms: &&u64| now_ms.saturating_sub(**end_ms) < ENDS_WINDOW_MS;
        self.ends_ms.iter().flatten().filter(is_late).count()
    }

    /// Whether it rests, or is being tried after that.
    pub(crate) fn is_resting(&self) -> bool {
        self.is_resting
    }
}

/// The signs of life of a program, from its start to its end.
///
/// ```text
///         a minute without one, or never ready            five seconds
///   lives ────────────────────────────────────▶ aborted ───────────────▶ killed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pulse {
    alive_ms: u64,
    /// By when it has to be ready, until it is.
    ready_ms: Option<u64>,
    aborted_ms: Option<u64>,
    is_killed: bool,
}

/// What to do about a program that should show signs of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// It hangs, which these words tell: SIGABRT.
    Abort(&'static str),
    /// It hangs and has not followed SIGABRT: SIGKILL.
    Kill,
}

impl Pulse {
    /// It was started: that is the first sign. One that has to get ready has so long for it.
    pub(crate) fn new(ready_ms_max: Option<u64>, now_ms: u64) -> Self {
        Self {
            alive_ms: now_ms,
            ready_ms: ready_ms_max.map(|most_ms| now_ms + most_ms),
            aborted_ms: None,
            is_killed: false,
        }
    }

    /// It has shown a sign of life. One that was aborted is on its way out whatever it says.
    pub(crate) fn beat(&mut self, now_ms: u64) {
        self.alive_ms = now_ms;
    }

    /// It is ready.
    pub(crate) fn ready(&mut self, now_ms: u64) {
        self.beat(now_ms);
        self.ready_ms = None;
    }

    /// Gives each step once.
    pub(crate) fn judge(&mut self, now_ms: u64) -> Verdict {
        if self.deadline_ms().is_none_or(|due_ms| now_ms < due_ms) {
            return Verdict::Fine;
        }
        if self.aborted_ms.is_some() {
            self.is_killed = true;
            return Verdict::Kill;
        }
        self.aborted_ms = Some(now_ms);
        if now_ms >= self.alive_ms + ALIVE_MS_MAX {
            Verdict::Abort("shows no sign of life and is ended")
        } else {
            Verdict::Abort("does not get ready and is ended")
        }
    }

    /// When it is to be judged next. When SIGKILL is on its way, nothing is gained by looking before the kernel is done.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        match self.aborted_ms {
            _ if self.is_killed => None,
            Some(aborted_ms) => Some(aborted_ms + ABORT_MS_MAX),
            None => self
                .ready_ms
                .into_iter()
                .chain([self.alive_ms + ALIVE_MS_MAX])
                .min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_a_fifth_of_a_second_to_half_a_minute() {
        let mut restarts = Restarts::default();
        let delays: Vec<u64> = (0..10).map(|_| restarts.ended(10)).collect();
        assert_eq!(
            delays,
            [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]
        );
    }

    #[test]
    fn a_steady_run_starts_the_delays_anew() {
        let mut restarts = Restarts::default();
        for _ in 0..5 {
            restarts.ended(10);
        }
        assert!(restarts.is_troubled());
        assert_eq!(restarts.ended(STEADY_MS), RESTART_DELAY_MS_MIN);
        assert!(!restarts.is_troubled());
    }

    #[test]
    fn trouble_begins_with_the_third_end_in_a_row_and_ends_with_a_steady_run() {
        let mut restarts = Restarts::default();
        for expected in [false, false, true, true] {
            restarts.ended(10);
            assert_eq!(restarts.is_troubled(), expected);
        }
        restarts.runs(STEADY_MS - 1);
        assert!(restarts.is_troubled());
        restarts.runs(STEADY_MS);
        assert!(!restarts.is_troubled());
    }

    #[test]
    fn very_many_ends_do_not_overflow() {
        let mut restarts = Restarts { ends: u32::MAX };
        assert_eq!(restarts.ended(0), RESTART_DELAY_MS_MAX);
    }

    #[test]
    fn d21_the_fifth_end_in_ten_minutes_is_one_too_many() {
        let mut crashes = Crashes::default();
        for now_ms in [0, 100_000, 200_000, 300_000] {
            assert!(!crashes.ended(90_000, now_ms));
        }
        assert_eq!((crashes.of_late(300_000), crashes.is_resting()), (4, false));
        assert!(crashes.ended(90_000, 599_999));
        assert!(crashes.is_resting());
    }

    #[test]
    fn five_ends_in_more_than_ten_minutes_are_five_ends() {
        let mut crashes = Crashes::default();
        for now_ms in [0, 100_000, 200_000, 300_000, 600_000] {
            assert!(!crashes.ended(90_000, now_ms));
        }
        // The first is too long ago; the next makes five again.
        assert_eq!(crashes.of_late(600_000), 4);
        assert!(crashes.ended(10, 699_999));
    }

    #[test]
    fn what_rests_is_tried_every_five_minutes_until_it_stays_up() {
        let mut crashes = Crashes::default();
        for now_ms in 0..5 {
            crashes.ended(10, now_ms);
        }
        // Long after the ten minutes: one end is enough while nothing has shown that it is well.
        assert!(crashes.ended(STEADY_MS - 1, 2_000_000));
        crashes.runs(STEADY_MS - 1);
        assert!(crashes.is_resting());
        crashes.runs(STEADY_MS);
        assert!(!crashes.is_resting());
        assert!(!crashes.ended(STEADY_MS, 2_100_000));
    }

    /// D20
    #[test]
    fn d20_a_silent_program_is_aborted_and_then_killed_and_each_once() {
        let mut pulse = Pulse::new(None, 1000);
        assert_eq!(
            (pulse.judge(60_999), pulse.deadline_ms()),
            (Verdict::Fine, Some(61_000))
        );
        pulse.beat(31_000);
        assert_eq!(
            (pulse.judge(90_999), pulse.deadline_ms()),
            (Verdict::Fine, Some(91_000))
        );
        assert!(matches!(pulse.judge(91_000), Verdict::Abort(why) if why.contains("no sign of life")));
        // A sign that comes now changes nothing.
        pulse.beat(92_000);
        assert_eq!(
            (pulse.judge(95_999), pulse.deadline_ms()),
            (Verdict::Fine, Some(96_000))
        );
        assert_eq!(pulse.judge(96_000), Verdict::Kill);
        assert_eq!((pulse.judge(200_000), pulse.deadline_ms()), (Verdict::Fine, None));
    }

    /// D20: signs of life alone are not enough for ever, before it is ready.
    #[test]
    fn d20_a_program_that_never_gets_ready_is_aborted_however_alive_it_is() {
        let beaten = |is_ready| {
            let mut pulse = Pulse::new(Some(OPENING_MS_MAX), 0);
            for now_ms in (0..2 * OPENING_MS_MAX).step_by(5000) {
                pulse.beat(now_ms);
                if is_ready && now_ms == OPENING_MS_MAX / 2 {
                    pulse.ready(now_ms);
                }
                if let Verdict::Abort(why) = pulse.judge(now_ms) {
                    return Some((now_ms, why));
                }
            }
            None
        };
        let never = Some((OPENING_MS_MAX, "does not get ready and is ended"));
        assert_eq!((beaten(false), beaten(true)), (never, None));
        // One that hangs while it opens is not waited for so long.
        let mut pulse = Pulse::new(Some(OPENING_MS_MAX), 0);
        assert!(matches!(pulse.judge(ALIVE_MS_MAX), Verdict::Abort(_)));
    }

    #[test]
    fn it_rests_five_minutes_unless_the_command_line_says_otherwise() {
        assert_eq!(rest_ms("quiet"), 300_000);
        assert_eq!(rest_ms("quiet postolka.rest_seconds=40"), 40_000);
        assert_eq!(rest_ms("postolka.rest_seconds=soon"), 300_000);
    }
}
