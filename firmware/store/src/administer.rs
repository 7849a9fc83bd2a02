//! What an owner asks of the store, each as one call; and the same with a line in the audit trail.

use crate::account::SetVerifier;
use crate::admin::{PruneAudit, WithAudit};
use crate::message::SavedAt;
use crate::queue::PruneTokens;
use crate::vanished::{PruneVanished, VANISHED_RUNS_MAX};
use crate::{
    AddAppPassword, AddDomain, AppPasswordUsed, Append, Appended, AuditEntry, Audited, ChangeAccount,
    ChangeAppPassword, ChangeDomain, CopiedUids, Copy, CreateAccount, CreateMailbox, DeleteAccount,
    DeleteMailbox, DropQueue, Enqueue, Enqueued, EntryId, HoldQueue, RemoveAliases, RemoveAppPassword,
    RemoveDomain, RenameAccount, RenameMailbox, RetryQueue, SetAcl, SetAliases, SetRole, SetSettings,
    SetSpecialUse, SettleQueue, Store, StoreError,
};
use mail::{AccountId, MailboxId, Timestamp};

macro_rules! requests {
    ($($name:ident($request:ident) -> $reply:ty;)*) => {
        impl Store {$(
            #[doc = concat!("See [`struct@", stringify!($request), "`]. Durable when it returns `Ok`.")]
            pub async fn $name(&self, request: $request) -> Result<$reply, StoreError> {
                self.ask(request).await
            }
        )*}

        impl Audited<'_> {$(
            #[doc = concat!("See [`struct@", stringify!($request), "`]. Durable, with its line, when it returns `Ok`; if nothing was to be done, there is no line.")]
            pub async fn $name(&self, request: $request) -> Result<$reply, StoreError> {
                self.ask(request).await
            }
        )*}
    };
}

requests! {
    create_account(CreateAccount) -> AccountId;
    change_account(ChangeAccount) -> ();
    rename_account(RenameAccount) -> ();
    delete_account(DeleteAccount) -> ();
    add_app_password(AddAppPassword) -> u32;
    change_app_password(ChangeAppPassword) -> ();
    remove_app_password(RemoveAppPassword) -> ();
    add_domain(AddDomain) -> ();
    change_domain(ChangeDomain) -> ();
    remove_domain(RemoveDomain) -> ();
    set_role(SetRole) -> ();
    set_aliases(SetAliases) -> ();
    remove_aliases(RemoveAliases) -> ();
    set_settings(SetSettings) -> ();
    set_special_use(SetSpecialUse) -> ();
    set_acl(SetAcl) -> ();
    hold_queue(HoldQueue) -> Vec<EntryId>;
    retry_queue(RetryQueue) -> Vec<EntryId>;
    drop_queue(DropQueue) -> Vec<EntryId>;
}

impl Audited<'_> {
    async fn ask<Q: crate::request::Request>(&self, request: Q) -> Result<Q::Reply, StoreError> {
        let entry = self.entry.clone();
        self.store.ask(WithAudit { request, entry }).await
    }

    /// As [`Store::set_verifier`], with its line.
    pub async fn set_verifier(&self, account: AccountId, verifier: String) -> Result<(), StoreError> {
        self.ask(SetVerifier { account, verifier }).await
    }

    /// As [`Store::create_mailbox`], with its line.
    pub async fn create_mailbox(&self, create: CreateMailbox) -> Result<MailboxId, StoreError> {
        self.ask(create).await
    }

    /// As [`Store::rename_mailbox`], with its line.
    pub async fn rename_mailbox(&self, rename: RenameMailbox) -> Result<(), StoreError> {
        self.ask(rename).await
    }

    /// As [`Store::delete_mailbox`], with its line.
    pub async fn delete_mailbox(&self, delete: DeleteMailbox) -> Result<(), StoreError> {
        self.ask(delete).await
    }
}

impl Store {
    /// The store, with a line of the audit trail for each change that is asked for. A change and its line are one
    /// record: neither is without the other.
    pub fn audited(&self, entry: AuditEntry) -> Audited<'_> {
        Audited { store: self, entry }
    }

    /// Adds a line to the audit trail about something that is no change of the store. Durable when it returns `Ok`.
    pub async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.ask(entry).await
    }

    /// Forgets the lines of the audit trail from before a time; the newest 20 000 are kept in any case at most. Ask when
    /// the clock is known to be right.
    pub async fn prune_audit(&self, before: Timestamp) -> Result<(), StoreError> {
        self.ask(PruneAudit { before }).await
    }

    /// See [`AppPasswordUsed`]. Durable when it returns `Ok`.
    pub async fn app_password_used(&self, used: AppPasswordUsed) -> Result<(), StoreError> {
        self.ask(used).await
    }

    /// As [`Store::append`], and notes when (RFC 8514).
    pub async fn append_at(&self, request: Append, at: Timestamp) -> Result<Appended, StoreError> {
        self.ask(SavedAt { request, at }).await
    }

    /// As [`Store::copy`], and notes when (RFC 8514).
    pub async fn copy_at(&self, request: Copy, at: Timestamp) -> Result<CopiedUids, StoreError> {
        self.ask(SavedAt { request, at }).await
    }

    /// See [`Enqueue`]. Durable when it returns `Ok`.
    pub async fn enqueue(&self, enqueue: Enqueue) -> Result<Enqueued, StoreError> {
        self.ask(enqueue).await
    }

    /// See [`SettleQueue`]. Durable when it returns `Ok`.
    pub async fn settle_queue(&self, settle: SettleQueue) -> Result<(), StoreError> {
        self.ask(settle).await
    }

    /// Forgets the tokens that expired before a time (R5).
    pub async fn prune_tokens(&self, expired_before: Timestamp) -> Result<(), StoreError> {
        self.ask(PruneTokens { expired_before }).await
    }

    /// Forgets what was expunged long ago, where a mailbox remembers more than 50 000 runs of UIDs. Returns in how many.
    pub async fn prune_vanished(&self) -> Result<usize, StoreError> {
        let overgrown = self.view()?.overgrown(VANISHED_RUNS_MAX)?;
        let mut pruned = 0;
        for mailbox in overgrown {
            let prune = PruneVanished {
                mailbox,
                runs_kept: VANISHED_RUNS_MAX,
            };
            match self.ask(prune).await {
                Ok(is_pruned) => pruned += usize::from(is_pruned),
                Err(StoreError::NoMailbox) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }
}
