//! Where hashes are computed: two at once, and a bounded queue before them.
//!
//! Argon2 is a memory bomb on a small box. Whoever comes when the queue is full is told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;
use wire::limits::{PASSWORD_HASH_QUEUE_MAX, PASSWORD_HASHES_AT_ONCE};

pub(crate) struct Slots {
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// Why a piece of work was not done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SlotError {
    /// The queue is full.
    Busy,
    /// The work panicked, or the process ends.
    Lost,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots {
            free: Arc::new(Semaphore::new(PASSWORD_HASHES_AT_ONCE)),
            waiting: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Waits for a slot, or for all of them when the work is large; then asks `is_wanted`, and does the
    /// work on a thread that may block. `None` when it was not wanted any more.
    ///
    /// The slot is held until the work is done, even when nobody waits for it any more, and then until
    /// `judge` has seen the outcome: what it counts is counted before the next one asks.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        is_large: bool,
        is_wanted: impl FnOnce() -> bool,
        work: impl FnOnce() -> T + Send + 'static,
        judge: impl FnOnce(&T),
    ) -> Result<Option<T>, SlotError> {
        let place = Place::take(&self.waiting).ok_or(SlotError::Busy)?;
        let count = if is_large { PASSWORD_HASHES_AT_ONCE } else { 1 };
        let count = u32::try_from(count).expect("a handful of slots");
        let slots = Arc::clone(&self.free)
            .acquire_many_owned(count)
            .await
            .map_err(|_| SlotError::Lost)?;
        drop(place);
        if !is_wanted() {
            return Ok(None);
        }
        let work = move || (work(), slots);
        match tokio::task::spawn_blocking(work).await {
            Ok((done, slots)) => {
                judge(&done);
                drop(slots);
                Ok(Some(done))
            }
            Err(_) => Err(SlotError::Lost),
        }
    }
}

/// A place in the queue.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(Arc::clone(waiting));
        // The two that find a free slot at once stand here for a moment as well.
        let before = waiting.fetch_add(1, Ordering::AcqRel);
        (before < PASSWORD_HASH_QUEUE_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Work that ends when it is told to, and says when it has begun.
    fn held(
        slots: &Arc<Slots>,
        is_large: bool,
        begun: mpsc::Sender<()>,
    ) -> (
        mpsc::Sender<()>,
        tokio::task::JoinHandle<Result<Option<()>, SlotError>>,
    ) {
        let (end, ended) = mpsc::channel::<()>();
        let slots = Arc::clone(slots);
        let work = move || {
            begun.send(()).unwrap();
            let _ = ended.recv();
        };
        (
            end,
            tokio::spawn(async move { slots.run(is_large, || true, work, |()| ()).await }),
        )
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_run_a_queue_waits_and_the_next_is_told_that_it_is_busy() {
        let slots = Arc::new(Slots::new());
        let (begun, has_begun) = mpsc::channel();
        let mut held_ones: Vec<_> = (0..2).map(|_| held(&slots, false, begun.clone())).collect();
        has_begun.recv().unwrap();
        has_begun.recv().unwrap();
        for _ in 0..PASSWORD_HASH_QUEUE_MAX {
            held_ones.push(held(&slots, false, begun.clone()));
        }
        while slots.waiting.load(Ordering::Acquire) < PASSWORD_HASH_QUEUE_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            slots.run(false, || true, || (), |()| ()).await,
            Err(SlotError::Busy)
        );
        assert!(has_begun.try_recv().is_err(), "a third one runs");
        let (ends, handles): (Vec<_>, Vec<_>) = held_ones.into_iter().unzip();
        drop(ends);
        for handle in handles {
            assert_eq!(handle.await.unwrap(), Ok(Some(())));
        }
        assert_eq!(slots.run(false, || true, || 7, |_| ()).await, Ok(Some(7)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn large_work_runs_alone() {
        let slots = Arc::new(Slots::new());
        let (begun, has_begun) = mpsc::channel();
        let (end, large) = held(&slots, true, begun.clone());
        has_begun.recv().unwrap();
        let (_end, small) = held(&slots, false, begun);
        tokio::task::yield_now().await;
        assert!(has_begun.try_recv().is_err(), "something runs beside it");
        drop(end);
        large.await.unwrap().unwrap();
        has_begun.recv().unwrap();
        small.abort();
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_slot_back() {
        let slots = Slots::new();
        for _ in 0..=PASSWORD_HASHES_AT_ONCE {
            let outcome = slots
                .run(false, || true, || panic!("a fault in a hash"), |()| ())
                .await;
            assert_eq!(outcome, Err::<Option<()>, _>(SlotError::Lost));
        }
        assert_eq!(slots.run(true, || true, || 7, |_| ()).await, Ok(Some(7)));
        assert_eq!(slots.run(false, || false, || 7, |_| ()).await, Ok(None));
    }
}
