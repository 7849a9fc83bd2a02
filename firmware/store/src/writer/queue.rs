//! Requests on their way to the writer.

use crate::request::Job;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Semaphore, TryAcquireError};

/// Requests that may wait; who comes later waits outside, holding what it holds already.
const WAITING_MAX: usize = 1024;
/// Requests in one batch.
const BATCH_REQUESTS_MAX: usize = 256;
/// Octets of bodies in one batch, give or take the last request.
const BATCH_OCTETS_MAX: u64 = 8 * 1024 * 1024;

/// A bounded queue with many senders and one taker. Senders wait as tasks, the taker as a thread.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    room: Semaphore,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Box<dyn Job>>,
    is_closed: bool,
}

/// What the writer finds.
pub(crate) enum Taken {
    /// Requests, in the order in which they came.
    Jobs(Vec<Box<dyn Job>>),
    /// None within the time.
    Nothing,
    /// None, and none will come.
    Closed,
}

/// Why a request was not sent.
pub(crate) enum NotSent {
    /// Many wait. Here it is again.
    NoRoom(Box<dyn Job>),
    /// The queue is closed.
    Closed,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        Queue {
            state: Mutex::new(State::default()),
            arrived: Condvar::new(),
            room: Semaphore::new(WAITING_MAX),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    /// Adds a request. Gives it back when the queue is closed.
    pub(crate) async fn send(&self, job: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        let Ok(permit) = self.room.acquire().await else {
            return Err(job);
        };
        permit.forget();
        let mut state = self.state();
        if state.is_closed {
            return Err(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// As [`Queue::send`], for a thread that is in no hurry.
    pub(crate) fn try_send(&self, job: Box<dyn Job>) -> Result<(), NotSent> {
        let permit = match self.room.try_acquire() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => return Err(NotSent::NoRoom(job)),
            Err(TryAcquireError::Closed) => return Err(NotSent::Closed),
        };
        permit.forget();
        let mut state = self.state();
        if state.is_closed {
            return Err(NotSent::Closed);
        }
        state.jobs.push_back(job);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes what is there, up to a batch; waits up to `at_most` if nothing is.
    pub(crate) fn take(&self, at_most: Option<Duration>) -> Taken {
        let mut state = self.state();
        while state.jobs.is_empty() {
            if state.is_closed {
                return Taken::Closed;
            }
            match at_most {
                None => {
                    let woken = self.arrived.wait(state);
                    state = woken.expect("nothing panics while it holds this lock");
                }
                Some(time) => {
                    let (back, timeout) = self
                        .arrived
                        .wait_timeout(state, time)
                        .expect("nothing panics while it holds this lock");
                    state = back;
                    if timeout.timed_out() && state.jobs.is_empty() && !state.is_closed {
                        return Taken::Nothing;
                    }
                }
            }
        }
        let mut jobs = Vec::new();
        let mut octets = 0;
        while jobs.len() < BATCH_REQUESTS_MAX && octets < BATCH_OCTETS_MAX {
            let Some(job) = state.jobs.pop_front() else { break };
            octets += job.body_octets();
            jobs.push(job);
        }
        drop(state);
        self.room.add_permits(jobs.len());
        Taken::Jobs(jobs)
    }

    /// Takes no more. What waits is still done.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.room.close();
        self.arrived.notify_all();
    }
}
