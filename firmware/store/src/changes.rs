//! Tells sessions that something has changed.
//!
//! # Invariants
//! - A change is published after its commit, and in commit order, by the writer alone.
//! - A listener that is slow sees the newest state only; it never holds the writer up.

use mail::{AccountId, ModSeq};
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::sync::watch;

/// Who listens.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    listeners: Mutex<HashMap<AccountId, watch::Sender<ModSeq>>>,
}

impl Changes {
    /// A listener for an account whose highest modseq is `now`, or was a moment ago.
    pub(crate) fn watch(&self, account: AccountId, now: ModSeq) -> Watch {
        let mut listeners = self
            .listeners
            .lock()
            .expect("nothing panics while it holds this lock");
        let sender = listeners
            .entry(account)
            .or_insert_with(|| watch::Sender::new(now));
        Watch {
            receiver: sender.subscribe(),
        }
    }

    /// Tells the account's listeners its highest modseq.
    pub(crate) fn publish(&self, account: AccountId, modseq: ModSeq) {
        let mut listeners = self
            .listeners
            .lock()
            .expect("nothing panics while it holds this lock");
        let Some(sender) = listeners.get(&account) else {
            return;
        };
        if sender.receiver_count() == 0 {
            listeners.remove(&account);
        } else {
            sender.send_replace(modseq);
        }
    }
}

/// Listens to the changes of one account: flags, new and expunged messages, mailboxes.
///
/// Begin to watch before looking at the state, and no change is missed.
#[derive(Debug)]
pub struct Watch {
    receiver: watch::Receiver<ModSeq>,
}

impl Watch {
    /// Waits for a change since the last call, or since the watch began, and returns the account's
    /// highest modseq; changes to mailboxes leave it as it was. Pending for ever once the store is gone.
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> ModSeq {
        match self.receiver.changed().await {
            Ok(()) => *self.receiver.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }
}
