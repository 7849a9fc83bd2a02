#![doc = include_str!("../README.md")]

mod account;
mod acl;
mod admin;
mod administer;
mod backup;
mod changes;
mod check;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod index;
mod keeper;
mod log;
mod mailbox;
mod message;
mod open;
mod queue;
mod replay;
mod request;
mod restore;
mod search;
mod self_test;
mod shared;
mod snapshot;
mod sort;
mod space;
mod storage;
mod structure;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod thread;
mod vanished;
mod view;
mod writer;

pub use account::{Account, NewAccount, Provision, Redirect};
pub use acl::{AclEntry, SetAcl};
pub use admin::{
    AccountChange, AddAppPassword, AddDomain, AliasPage, AppPassword, AppPasswordUsed, AuditLine, Audited,
    ChangeAccount, ChangeAppPassword, ChangeDomain, CreateAccount, DeleteAccount, DomainLimit, Find,
    HostedDomain, Page, REDIRECT_TARGETS_MAX, RemoveAliases, RemoveAppPassword, RemoveDomain, RenameAccount,
    SETTING_OCTETS_MAX, SetAliases, SetRole, SetSettings, SettingName,
};
pub use backup::Backup;
pub use changes::Watch;
pub use check::{Checked, Flaw};
pub use error::StoreError;
pub use keeper::{DamagedMessage, Health};
pub use log::body::{BodyReader, BodyWriter, SealedBody};
pub use log::record::{
    AccountDetails, AclSubject, Alias, Attempt, AuditEntry, DomainDetails, RecipientState, RecipientStatus,
    Rights, Role, Scopes, SettingValue, SpecialUse,
};
pub use mailbox::{
    CreateMailbox, DeleteMailbox, MAILBOXES_MAX, Mailbox, RenameMailbox, SetSpecialUse, Status, Subscribe,
};
pub use message::{
    Append, Appended, CopiedUids, Copy, Deliver, Delivered, DeliveredCopy, Expunge, FlagChange, FlagsStored,
    KEYWORDS_MAX, NewMessage, StoreFlags,
};
pub use open::Opened;
pub use queue::{
    ATTEMPTS_KEPT, DropQueue, Due, Enqueue, Enqueued, EntryId, HoldQueue, NewEntry, NewRecipient,
    QUEUE_RECIPIENTS_MAX, QueueEntry, Recipient, RetryQueue, Settle, SettleQueue, Token,
};
pub use replay::Damage;
pub use restore::restore;
pub use search::{Criterion, Day, DayIs, Search};
pub use self_test::{SELF_TEST, Sampled};
pub use sort::Sorting;
pub use space::Space;
#[cfg(any(test, feature = "testing"))]
pub use storage::sim;
pub use storage::{File, RealStorage, Room, Storage};
pub use thread::{Threaded, Threading};
pub use vanished::Vanished;
pub use view::{Entry, Message, View};

use account::SetVerifier;
use keeper::Keeper;
use mail::{AccountId, MailboxId, Timestamp, Uid};
use request::{Job, Pending, Pulse, Request};
use self_test::{CloseSelfTest, OpenSelfTest};
use shared::Shared;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use writer::queue::NotSent;

/// How a store is to be run. The defaults are those of the box.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The index's page cache. 16 MiB are enough for 512 MB of memory, 32 MiB suit 1 GB.
    pub index_cache_octets: usize,
    /// The longest time between two checkpoints of a store that is written to. It bounds the replay
    /// after a power cut; no acknowledged change depends on it.
    pub checkpoint_interval: Duration,
    /// How large a segment becomes; `None`: a thirty-second of the disk, 1 MiB to 64 MiB.
    pub segment_octets: Option<u64>,
    /// The free room below which new mail is refused; `None`: three segments and 32 MiB.
    pub reserve_octets: Option<u64>,
    /// The room that is held by a file that is removed when the disk is full to the last octet; `None`: a
    /// sixty-fourth of the disk, 1 MiB to 16 MiB.
    pub ballast_octets: Option<u64>,
    /// How long after an open the keeper begins: a firmware on trial, which takes five minutes, must not write records that
    /// the one before it cannot read.
    pub keeper_delay: Duration,
    /// The most of the time, in percent, that the keeper works; the rest it rests. When room is short it takes more.
    pub keeper_percent: u32,
    /// How often all that is kept is read and verified.
    pub scrub_interval: Duration,
    /// Says what time it is. No correctness depends on it: it counts days while the store is closed.
    pub clock: fn() -> Timestamp,
    /// When bodies on their way in hold more than this in memory together, they go to disk in smaller
    /// pieces.
    pub body_memory_octets: usize,
}

impl Default for Options {
    fn default() -> Options {
        const MIB: usize = 1024 * 1024;
        Options {
            index_cache_octets: 16 * MIB,
            checkpoint_interval: Duration::from_secs(5),
            segment_octets: None,
            reserve_octets: None,
            ballast_octets: None,
            keeper_delay: Duration::from_mins(15),
            keeper_percent: 10,
            scrub_interval: Duration::from_hours(7 * 24),
            clock: || {
                let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
                Timestamp(i64::try_from(since_1970.as_secs()).unwrap_or_default())
            },
            body_memory_octets: 16 * MIB,
        }
    }
}

/// A handle on the store; clones are the same store. Dropping the last closes it.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    #[cfg(any(test, feature = "testing"))]
    keeper: Arc<Mutex<Keeper>>,
    keeper_thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store in `folder`, which is made if it is missing. Returns when every acknowledged
    /// change is in the index and nothing that is shown can be lost.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open. [`StoreError::Newer`] when a later
    /// firmware wrote it; nothing was changed then. [`StoreError::LogMissing`] and
    /// [`StoreError::LogUnreadable`] say what to do.
    pub fn open(folder: &Path, options: Options) -> Result<(Store, Opened), StoreError> {
        let name = folder.display().to_string();
        let storage = RealStorage::open(folder)
            .map_err(StoreError::io(name))?
            .ok_or(StoreError::InUse)?;
        Store::open_in(Arc::new(storage), &options)
    }

    /// As [`Store::open`], on any storage.
    pub fn open_in(storage: Arc<dyn Storage>, options: &Options) -> Result<(Store, Opened), StoreError> {
        let open::Ready {
            shared,
            writer,
            keeper,
            opened,
        } = open::open(storage, options)?;
        for damage in &opened.damage {
            tracing::error!(%damage, "the log is damaged");
        }
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(StoreError::io("thread"))?;
        let keeper = Arc::new(Mutex::new(keeper));
        let keeper_thread = {
            let (keeper, shared) = (Arc::clone(&keeper), Arc::clone(&shared));
            std::thread::Builder::new()
                .name("store keeper".to_owned())
                .spawn(move || Keeper::run(&keeper, &shared))
        };
        let handle = Arc::new(Handle {
            shared,
            writer: Mutex::new(Some(thread)),
            #[cfg(any(test, feature = "testing"))]
            keeper,
            // Dropping the handle ends the writer.
            keeper_thread: Mutex::default(),
        });
        let keeper_thread = keeper_thread.map_err(StoreError::io("thread"))?;
        *handle.keeper_thread.lock().expect("nobody else has it yet") = Some(keeper_thread);
        Ok((Store { handle }, opened))
    }

    /// Finishes what was asked for, writes the last checkpoint and lets the folder go. Later requests
    /// are answered with [`StoreError::Closed`]; readers that are still open go on.
    pub fn close(&self) {
        self.handle.close();
    }

    /// Looks at the store as it is now.
    pub fn view(&self) -> Result<View, StoreError> {
        View::new(Arc::clone(&self.handle.shared))
    }

    /// Begins a body.
    pub fn body(&self) -> BodyWriter {
        self.handle.shared.bodies.writer()
    }

    /// Whether there is room for new mail.
    pub fn space(&self) -> Space {
        self.space_for(0)
    }

    /// Whether there is room for new mail of `octets`.
    pub fn space_for(&self, octets: u64) -> Space {
        if self.handle.shared.space.is_low_with(octets) {
            Space::Low
        } else {
            Space::Enough
        }
    }

    /// Listens to the changes of an account.
    pub fn watch(&self, account: AccountId) -> Result<Watch, StoreError> {
        let tables = self.handle.shared.read()?;
        let (_, _, modseq) = index::rows::quota(&tables.quota, account)?;
        Ok(self.handle.shared.changes.watch(account, mail::ModSeq(modseq)))
    }

    /// Waits until the writer has stopped because of an error of the disk, and says which. It does not
    /// start again: the store has to be opened anew. Pending for ever if all is well.
    pub async fn stopped(&self) -> String {
        let mut stopped = self.handle.shared.stopped.subscribe();
        match stopped.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Goes once through the writer's queue and changes nothing: whoever gets an answer knows that the
    /// writer lives (the box's `Alive`).
    pub async fn pulse(&self) -> Result<(), StoreError> {
        self.ask(Pulse).await
    }

    /// How the store is: how much of the log is live, when all was last verified, and what is damaged. Reads all rows of
    /// messages if any is.
    pub fn health(&self) -> Result<Health, StoreError> {
        keeper::health(&self.handle.shared)
    }

    /// Does now, and to the end, what the keeper does in its time: snapshots, rewriting, removing, verifying. Says how many
    /// pieces of work that were.
    #[cfg(any(test, feature = "testing"))]
    pub fn keep_now(&self) -> Result<u64, StoreError> {
        let shared = &self.handle.shared;
        let mut keeper = self.handle.keeper.lock().map_err(|_| StoreError::Closed)?;
        keeper.keep(&mut |job| keeper::send(shared, job))
    }

    /// Writes down what the index holds that bodies cannot give, so that it can be made anew without all of the log.
    /// Durable when it returns `Ok` with the octets it took. It may take a while; the store goes on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room for it.
    pub fn make_snapshot(&self) -> Result<u64, StoreError> {
        Ok(snapshot::make(&self.handle.shared)?.octets)
    }

    /// Makes a backup: a folder of links to all that the store is now, to be copied away and given to [`restore()`]. The store
    /// goes on; what is deleted meanwhile keeps its room until [`Store::drop_backup`], for a day at most, and not when the
    /// disk is low. It does not outlive this process. Blocks as long as making a snapshot does.
    ///
    /// # Errors
    /// [`StoreError::BackupName`] when `name` is not of letters, digits and hyphens, or there is one of this name;
    /// [`StoreError::Full`] when the disk is low. Nothing is left of it then.
    pub fn backup(&self, name: &str) -> Result<Backup, StoreError> {
        let shared = &self.handle.shared;
        backup::make(shared, name, || {
            let (to, reply) = oneshot::channel();
            let seal = backup::SealAndLook {
                shared: Arc::clone(shared),
            };
            let mut job: Box<dyn Job> = Box::new(Pending::new(seal, to));
            while let Err(error) = shared.queue.try_send(job) {
                job = match error {
                    NotSent::NoRoom(job) => job,
                    NotSent::Closed => return Err(StoreError::Closed),
                };
                std::thread::sleep(Duration::from_millis(10));
            }
            reply.blocking_recv().unwrap_or(Err(StoreError::Closed))
        })
    }

    /// Removes the links of a backup that was copied, or is not wanted.
    pub fn drop_backup(&self, name: &str) -> Result<(), StoreError> {
        backup::drop_backup(&self.handle.shared, name)
    }

    /// Recomputes every invariant from nothing and says which do not hold. Reads all there is.
    pub fn check(&self) -> Result<Checked, StoreError> {
        check::check(&self.handle.shared)
    }

    /// Checks as much as can be checked until `until`, on a store of any size: that this version reads what it finds
    /// (all accounts and mailboxes, the newest and the oldest bodies), and then one mailbox after the other, its
    /// counters against its messages. The log behind the last checkpoint was checked when the store was opened.
    pub fn check_until(&self, until: Instant) -> Result<Sampled, StoreError> {
        self_test::check_until(&self.handle.shared, until)
    }

    /// Makes the mailbox of the self-test, whose account is [`SELF_TEST`]. No login reaches it. Durable when it
    /// returns `Ok`.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the disk is low.
    pub async fn open_self_test(&self) -> Result<(), StoreError> {
        // A power cut may have left it.
        self.close_self_test().await?;
        self.ask(OpenSelfTest).await
    }

    /// Deletes the mailbox of the self-test, if it is there, with what is in it. Durable when it returns `Ok`.
    pub async fn close_self_test(&self) -> Result<(), StoreError> {
        self.ask(CloseSelfTest).await
    }

    async fn ask<Q: Request>(&self, request: Q) -> Result<Q::Reply, StoreError> {
        let (to, reply) = oneshot::channel();
        let queue = &self.handle.shared.queue;
        queue
            .send(Box::new(Pending::new(request, to)))
            .await
            .map_err(|_| StoreError::Closed)?;
        // The writer answers all it takes; it is gone only when the store is closed.
        reply.await.unwrap_or(Err(StoreError::Closed))
    }

    /// See [`Deliver`]. Durable when it returns `Ok`.
    pub async fn deliver(&self, deliver: Deliver) -> Result<Vec<Delivered>, StoreError> {
        self.ask(deliver).await
    }

    /// See [`Append`]. Durable when it returns `Ok`.
    pub async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.ask(append).await
    }

    /// See [`StoreFlags`]. Durable when it returns `Ok`.
    pub async fn store_flags(&self, store_flags: StoreFlags) -> Result<FlagsStored, StoreError> {
        self.ask(store_flags).await
    }

    /// See [`Expunge`]. Durable when it returns `Ok`.
    pub async fn expunge(&self, expunge: Expunge) -> Result<Vec<Uid>, StoreError> {
        self.ask(expunge).await
    }

    /// See [`struct@Copy`]. Durable when it returns `Ok`.
    pub async fn copy(&self, copy: Copy) -> Result<CopiedUids, StoreError> {
        self.ask(copy).await
    }

    /// See [`CreateMailbox`]. Durable when it returns `Ok`.
    pub async fn create_mailbox(&self, create: CreateMailbox) -> Result<MailboxId, StoreError> {
        self.ask(create).await
    }

    /// See [`RenameMailbox`]. Durable when it returns `Ok`.
    pub async fn rename_mailbox(&self, rename: RenameMailbox) -> Result<(), StoreError> {
        self.ask(rename).await
    }

    /// See [`DeleteMailbox`]. Durable when it returns `Ok`.
    pub async fn delete_mailbox(&self, delete: DeleteMailbox) -> Result<(), StoreError> {
        self.ask(delete).await
    }

    /// See [`Subscribe`]. Durable when it returns `Ok`.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<(), StoreError> {
        self.ask(subscribe).await
    }

    /// See [`Provision`]. Durable when it returns `Ok`.
    pub async fn provision(&self, provision: Provision) -> Result<(), StoreError> {
        self.ask(provision).await
    }

    /// Gives an account another password verifier. Durable when it returns `Ok`.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`].
    pub async fn set_verifier(&self, account: AccountId, verifier: String) -> Result<(), StoreError> {
        self.ask(SetVerifier { account, verifier }).await
    }
}

impl Handle {
    fn close(&self) {
        // First, for it waits for answers of the writer.
        self.shared.wakes.end();
        let keeper = self
            .keeper_thread
            .lock()
            .ok()
            .and_then(|mut thread| thread.take());
        if keeper.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's keeper panicked");
        }
        self.shared.queue.close();
        let thread = self.writer.lock().ok().and_then(|mut writer| writer.take());
        if let Some(thread) = thread {
            // A writer that panicked has ended the process.
            let _ = thread.join();
        }
        if let Ok(mut database) = self.shared.database.lock() {
            *database = None;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
