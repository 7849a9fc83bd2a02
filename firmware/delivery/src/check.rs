//! The one place that may hold a whole message.
//!
//! The parser needs a message in one piece. A small one is read into memory there and then; a large one
//! waits for its turn, so that the box needs memory for one of them and not for as many as come at once
//! (D16, S9).

use mail::Structure;
use std::sync::Arc;
use store::{BodyWriter, SealedBody, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::limits::{CHECK_QUEUE_MAX, CHECK_WITHOUT_WAITING_OCTETS_MAX};

/// Messages that are parsed at once without being large: as many mebibytes.
const SMALL_AT_ONCE: usize = 4;

/// Gives out turns. Clones give out the same turns.
#[derive(Clone, Debug)]
pub struct CheckBuffer {
    large: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

/// A message that was looked at.
#[derive(Debug)]
pub struct Checked {
    /// Its octets. Those of a large message are durable already.
    pub body: SealedBody,
    /// What it is made of.
    pub structure: Structure,
}

/// Why a message was not looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// More large messages wait than may. Passes.
    #[error("too many large messages wait to be looked at")]
    Busy,
    /// The store failed. May pass.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

impl Default for CheckBuffer {
    fn default() -> CheckBuffer {
        CheckBuffer::new()
    }
}

impl CheckBuffer {
    /// A buffer that nobody uses.
    pub fn new() -> CheckBuffer {
        CheckBuffer {
            large: Arc::new(Semaphore::new(1)),
            queue: Arc::new(Semaphore::new(CHECK_QUEUE_MAX)),
            small: Arc::new(Semaphore::new(SMALL_AT_ONCE)),
        }
    }

    /// Seals a message and finds out what it is made of.
    ///
    /// # Errors
    /// [`CheckError::Busy`] at once when the message is large and the queue is full.
    pub async fn check(&self, body: BodyWriter) -> Result<Checked, CheckError> {
        if body.stays_in_memory(0) {
            // No disk, and less work than handing it to another thread.
            return check(body);
        }
        let turn = self.turn(body.len()).await?;
        let work = move || {
            let checked = check(body);
            drop(turn);
            checked
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(checked) => checked,
            // A parser that panics fails this message, like a panic in a session ends that session.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(CheckError::Busy),
            },
        }
    }

    /// Waits until a message of `octets` may be in memory.
    async fn turn(&self, octets: u64) -> Result<OwnedSemaphorePermit, CheckError> {
        let closed = |_| CheckError::Busy;
        if octets <= CHECK_WITHOUT_WAITING_OCTETS_MAX {
            return Arc::clone(&self.small).acquire_owned().await.map_err(closed);
        }
        if let Ok(turn) = Arc::clone(&self.large).try_acquire_owned() {
            return Ok(turn);
        }
        let place = self.queue.try_acquire().map_err(|_| CheckError::Busy)?;
        let turn = Arc::clone(&self.large).acquire_owned().await.map_err(closed);
        drop(place);
        turn
    }
}

fn check(body: BodyWriter) -> Result<Checked, CheckError> {
    let body = body.seal()?;
    let octets = body.read_to_vec()?;
    let structure = Structure::parse(&octets);
    Ok(Checked { body, structure })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LARGE: u64 = CHECK_WITHOUT_WAITING_OCTETS_MAX + 1;

    #[tokio::test]
    async fn one_large_message_is_held_a_queue_waits_and_the_next_is_told_to_come_back() {
        let buffer = CheckBuffer::new();
        let first = buffer.turn(LARGE).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..CHECK_QUEUE_MAX {
            let buffer = buffer.clone();
            waiting.push(tokio::spawn(async move { buffer.turn(LARGE).await.map(drop) }));
        }
        while buffer.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(buffer.turn(LARGE).await, Err(CheckError::Busy)));
        // A small one does not wait for them.
        drop(buffer.turn(CHECK_WITHOUT_WAITING_OCTETS_MAX).await.unwrap());
        drop(first);
        for turn in waiting {
            turn.await.unwrap().unwrap();
        }
        drop(buffer.turn(LARGE).await.unwrap());
    }
}
