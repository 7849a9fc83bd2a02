//! What is known of maild, what it may say when, and what follows from that. Pure: time is an argument; whatever touches a
//! socket or a process is done by [`Mail`](super::Mail).
//!
//! # Invariants
//! - Of one start of maild there are at most two `Opened` and two `Ready`, each expected: so it is told at most twice that mail
//!   is served, whatever maild says, and it cannot have the page go to and fro.
//! - A maild that says what does not fit is ended, and has its restarts counted like any other.

use handoff::{ConsoleLine, FINGERPRINT_OCTETS, FromMaild, Status};

use super::Event;
use super::press::{Asking, Press};
use crate::supervise::{Crashes, OPENING_MS_MAX, Pulse, Restarts, Verdict};

/// maild as init knows it.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    restarts: Restarts,
    crashes: Crashes,
    /// When it is to be started.
    start_ms: Option<u64>,
    /// The start under way.
    run: Option<Run>,
    /// Whether the box has an owner, as it was said last. Unknown until maild has said so.
    is_claimed: Option<bool>,
    is_stopping: bool,
    fingerprint: Option<[u8; FINGERPRINT_OCTETS]>,
    status: Status,
    asking: Asking,
    last_end: Option<String>,
    events: Vec<Event>,
}

/// One start of maild.
#[derive(Debug)]
struct Run {
    since_ms: u64,
    pulse: Pulse,
    /// What it has said of the box since it was started.
    opened: Option<bool>,
    /// Whether it was told to serve and has not answered.
    is_asked: bool,
    is_ready: bool,
    /// Whether [`Conduct::is_to_announce`] has said yes since the last Ready.
    is_announced: bool,
}

/// What is to be done now that maild has said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Have it serve what it has, with the ports of mail if the box has an owner.
    Serve {
        is_claimed: bool,
    },
    /// It is no maild of ours: it is ended, which these words tell.
    End(&'static str),
}

/// What follows when maild has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// For the console.
    pub(super) line: Option<String>,
    /// Whether it ends over and over, so that its ports are to be closed.
    pub(super) is_to_rest: bool,
}

impl Conduct {
    /// It is to be started at the next tick.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.start_ms = Some(now_ms);
    }

    /// Whether it is to be started now; said once.
    pub(super) fn is_due(&mut self, now_ms: u64) -> bool {
        self.run.is_none() && self.start_ms.take_if(|start_ms| *start_ms <= now_ms).is_some()
    }

    pub(super) fn started(&mut self, now_ms: u64) {
        self.run = Some(Run {
            since_ms: now_ms,
            pulse: Pulse::new(Some(OPENING_MS_MAX), now_ms),
            opened: None,
            is_asked: false,
            is_ready: false,
            is_announced: false,
        });
    }

    /// It could not be started; whether its ports are to be closed.
    pub(super) fn could_not_start(&mut self, rest_ms: u64, now_ms: u64) -> bool {
        self.last_end = Some("could not be started".to_owned());
        let (delay_ms, is_to_rest) = self.count(0, rest_ms, now_ms);
        self.start_ms = Some(now_ms + delay_ms);
        is_to_rest
    }

    /// Whether it hangs.
    pub(super) fn judge(&mut self, now_ms: u64) -> Verdict {
        let Some(run) = &mut self.run else {
            return Verdict::Fine;
        };
        let ran_ms = now_ms.saturating_sub(run.since_ms);
        self.restarts.runs(ran_ms);
        self.crashes.runs(ran_ms);
        run.pulse.judge(now_ms)
    }

    /// When [`Conduct::is_due`] and [`Conduct::judge`] are to be asked.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match &self.run {
            None => self.start_ms,
            Some(run) => run.pulse.deadline_ms(),
        }
    }

    /// Takes what it has said.
    pub(super) fn follow(&mut self, message: FromMaild, now_ms: u64) -> Step {
        let Some(run) = &mut self.run else {
            return Step::Nothing;
        };
        match message {
            FromMaild::Opened { is_claimed } => {
                match (run.opened, is_claimed) {
                    (None, _) | (Some(false), true) => {}
                    (Some(true), false) => {
                        return Step::End("it has said that the box has no owner any more");
                    }
                    (Some(_), _) => return Step::End("it has opened twice"),
                }
                (run.opened, run.is_asked) = (Some(is_claimed), true);
                self.is_claimed = Some(is_claimed);
                return Step::Serve { is_claimed };
            }
            FromMaild::Ready { fingerprint } => {
                if !std::mem::take(&mut run.is_asked) {
                    return Step::End("it has said that it is ready, and was not asked");
                }
                run.pulse.ready(now_ms);
                (run.is_ready, run.is_announced) = (true, false);
                self.fingerprint = Some(fingerprint);
            }
            FromMaild::Status(status) => self.status = status,
            FromMaild::Alive => run.pulse.beat(now_ms),
            FromMaild::SelfTest { is_ok, which } => {
                let which = which.as_str().to_owned();
                self.events.push(Event::SelfTest { is_ok, which });
            }
            FromMaild::ApplyUpdate { octets } => self.events.push(Event::Update { octets }),
            FromMaild::SetName(name) => self.events.push(Event::Name(name)),
            FromMaild::SetNetwork(settings) => self.events.push(Event::Network(settings)),
            FromMaild::AwaitButton { seconds } => self.asking.ask(seconds, now_ms),
        }
        Step::Nothing
    }

    /// It has ended. It is started again, later each time; on the way down it is not, and only an end that was not clean is
    /// told. `rest_ms`: how long one rests that ends over and over.
    pub(super) fn ended(&mut self, how: String, is_success: bool, rest_ms: u64, now_ms: u64) -> Ended {
        let ran_ms = self
            .run
            .take()
            .map_or(0, |run| now_ms.saturating_sub(run.since_ms));
        self.asking.end(now_ms);
        if self.is_stopping {
            return Ended {
                line: (!is_success).then(|| format!("maild {how}.")),
                is_to_rest: false,
            };
        }
        let (delay_ms, is_to_rest) = self.count(ran_ms, rest_ms, now_ms);
        let (seconds, tenths) = (delay_ms / 1000, delay_ms % 1000 / 100);
        let line = format!("maild {how}; it is started again in {seconds}.{tenths} s.");
        self.last_end = Some(how);
        self.start_ms = Some(now_ms + delay_ms);
        Ended {
            line: Some(line),
            is_to_rest,
        }
    }

    /// It has ended, or could not be started: gives the time until it is to be tried again, and whether it is to rest.
    fn count(&mut self, ran_ms: u64, rest_ms: u64, now_ms: u64) -> (u64, bool) {
        let delay_ms = self.restarts.ended(ran_ms);
        let is_to_rest = self.crashes.ended(ran_ms, now_ms);
        self.events.push(Event::Ended(self.crashes.of_late(now_ms)));
        (if is_to_rest { rest_ms } else { delay_ms }, is_to_rest)
    }

    /// On the way down it is not started again.
    pub(super) fn stop(&mut self) {
        self.start_ms = None;
        self.is_stopping = true;
    }

    /// Whether scripts are to be told now that it serves: once for each Ready.
    pub(super) fn is_to_announce(&mut self) -> bool {
        match &mut self.run {
            Some(run) if run.is_ready && !self.is_stopping => !std::mem::replace(&mut run.is_announced, true),
            _ => false,
        }
    }

    /// The button was pressed.
    pub(super) fn press(&mut self, now_ms: u64) -> Press {
        self.asking.press(now_ms)
    }

    pub(super) fn awaits_button(&self, now_ms: u64) -> bool {
        self.asking.is_open(now_ms)
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.is_ready)
    }

    /// Whether it has ended and is not back yet.
    pub(super) fn is_restarting(&self) -> bool {
        !self.is_ready() && self.last_end.is_some()
    }

    /// Whether it ends over and over, so that its ports are closed and it is tried only now and then.
    pub(super) fn is_resting(&self) -> bool {
        self.crashes.is_resting()
    }

    /// How it ended, where that is trouble; one that serves again has yet to show that it stays up.
    pub(super) fn troubled_end(&self) -> Option<&str> {
        let is_trouble = self.is_resting() || self.restarts.is_troubled();
        self.last_end.as_deref().filter(|_| is_trouble)
    }

    pub(super) fn fingerprint(&self) -> Option<[u8; FINGERPRINT_OCTETS]> {
        self.fingerprint
    }

    pub(super) fn is_claimed(&self) -> Option<bool> {
        self.is_claimed
    }

    pub(super) fn needs_attention(&self) -> bool {
        self.status.needs_attention
    }

    pub(super) fn status(&self) -> &[ConsoleLine] {
        &self.status.lines
    }
}

#[cfg(test)]
mod tests;
