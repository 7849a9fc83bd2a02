//! The work behind the commands: plain synchronous functions over one [`View`] of the store.
//!
//! A command that changes something says what is to be changed and is asked again with the outcome; one that
//! takes long stops after a slice and is asked again (AI5). So nothing here waits, and no view lives longer
//! than a slice.

mod copy;
mod expunge;
pub(crate) mod fetch;
mod list;
mod mailbox;
mod search;
pub(crate) mod section;
mod select;
mod status;
mod store_flags;

pub(crate) use copy::Copy;
pub(crate) use fetch::Fetch;
pub(crate) use mailbox::ManageMailbox;
pub(crate) use search::Search;
pub use section::BodySource;
pub(crate) use store_flags::StoreFlags;

use crate::command::{List, Mailbox, Set, StatusItem};
use crate::response::{Completion, Failure};
use crate::selected::Selected;
use mail::{AccountId, MailboxName, Uid};
use store::{CopiedUids, FlagsStored, StoreError, View};

/// A command under way, with all it needs. It travels between the session and the house.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) account: AccountId,
    pub(crate) selected: Option<Selected>,
    pub(crate) op: Op,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Op {
    /// Nothing but to tell what is new; then the command ends like this.
    Sync(Completion),
    List(List),
    Status {
        mailbox: Mailbox,
        items: Vec<StatusItem>,
    },
    Select {
        mailbox: Mailbox,
        is_read_only: bool,
    },
    /// CLOSE and UNSELECT.
    Close {
        is_expunging: bool,
    },
    Expunge(Option<Set>),
    Fetch(Fetch),
    Search(Search),
    StoreFlags(StoreFlags),
    Copy(Copy),
    ManageMailbox(ManageMailbox),
}

/// What is sent to the client, in order.
#[derive(Debug)]
pub(crate) enum Piece {
    Octets(Vec<u8>),
    /// Octets of a message, which are read while they are sent.
    Body(BodySource),
}

/// What comes next of a command.
#[derive(Debug)]
pub(crate) enum Next {
    /// Another slice.
    Again,
    /// The store has to change; then the command goes on with the outcome.
    Change(Change),
    /// The command has ended.
    Done(Completion),
}

/// A change of the store.
#[derive(Debug)]
pub(crate) enum Change {
    Flags(store::StoreFlags),
    Expunge(store::Expunge),
    Copy(store::Copy),
    Create(store::CreateMailbox),
    Delete(store::DeleteMailbox),
    Rename(store::RenameMailbox),
    Subscribe(store::Subscribe),
}

/// What became of a [`Change`].
#[derive(Debug)]
pub(crate) enum Outcome {
    Flags(FlagsStored),
    Expunged,
    Copied(CopiedUids),
    Done,
}

/// A slice of octets after which a command lets others have their turn.
pub(crate) const SLICE_OCTETS: usize = 32 * 1024;

impl Work {
    /// Does the next slice. `outcome` is that of the change last asked for.
    pub(crate) fn run(&mut self, view: &View, outcome: Option<Outcome>, out: &mut Vec<Piece>) -> Next {
        let next = match self.step(view, outcome, out) {
            Ok(next) => next,
            Err(failure) => {
                failure.log();
                Next::Done(failure.completion())
            }
        };
        let Next::Done(completion) = next else {
            return next;
        };
        match self.tell_changes(view, out) {
            Ok(()) => Next::Done(completion),
            // The mailbox was deleted meanwhile. What the client knows of it is worth nothing now.
            Err(StoreError::NoMailbox) => {
                self.selected = None;
                Next::Done(Completion::no(
                    "NONEXISTENT",
                    "The mailbox was deleted; select another one",
                ))
            }
            Err(error) => {
                let failure = Failure::from(error);
                failure.log();
                Next::Done(failure.completion())
            }
        }
    }

    fn step(&mut self, view: &View, outcome: Option<Outcome>, out: &mut Vec<Piece>) -> Result<Next, Failure> {
        let Work {
            account,
            selected,
            op,
        } = self;
        match op {
            Op::Sync(completion) => Ok(Next::Done(completion.clone())),
            Op::List(list) => list::run(list, *account, view, out),
            Op::Status { mailbox, items } => status::run(mailbox, items, *account, view, out),
            Op::Select {
                mailbox,
                is_read_only,
            } => select::run(mailbox, *is_read_only, *account, selected, view, out),
            Op::Close { is_expunging } => Ok(expunge::close(*is_expunging, selected, outcome.is_some())),
            Op::Expunge(set) => expunge::run(set.as_ref(), open(selected)?, outcome.is_some()),
            Op::Fetch(fetch) => fetch.run(open(selected)?, view, outcome, out),
            Op::Search(search) => search.run(open(selected)?, view, out),
            Op::StoreFlags(store_flags) => store_flags.run(open(selected)?, outcome, out),
            Op::Copy(copy) => copy.run(*account, open(selected)?, view, outcome, out),
            Op::ManageMailbox(manage) => manage.run(*account, selected, view, outcome.is_some()),
        }
    }

    /// What is new in the open mailbox, as far as it may be told at the end of this command.
    ///
    /// Source: RFC 9051 §7.5.1: no EXPUNGE at the end of FETCH, STORE and SEARCH, but at that of UID FETCH and
    /// so on. RFC 3501 §6.4.8: what UID commands cause to be told has the UID in it.
    fn tell_changes(&mut self, view: &View, out: &mut Vec<Piece>) -> Result<(), StoreError> {
        let (is_uid, may_expunge) = match &self.op {
            Op::Fetch(Fetch { is_uid, .. })
            | Op::Search(Search { is_uid, .. })
            | Op::StoreFlags(StoreFlags { is_uid, .. }) => (*is_uid, *is_uid),
            Op::Copy(Copy { is_uid, .. }) => (*is_uid, true),
            Op::Sync(_)
            | Op::List(_)
            | Op::Status { .. }
            | Op::Select { .. }
            | Op::Close { .. }
            | Op::Expunge(_)
            | Op::ManageMailbox(_) => (false, true),
        };
        if let Some(selected) = &mut self.selected {
            let mut octets = Vec::new();
            selected.sync(view, may_expunge)?.write(is_uid, &mut octets);
            push(octets, out);
        }
        Ok(())
    }
}

fn open(selected: &mut Option<Selected>) -> Result<&mut Selected, Failure> {
    selected.as_mut().ok_or(Failure::NotNow)
}

/// Adds octets to what is sent, if there are any.
fn push(octets: Vec<u8>, out: &mut Vec<Piece>) {
    if !octets.is_empty() {
        out.push(Piece::Octets(octets));
    }
}

/// The mailbox of a name.
fn find(mailbox: &Mailbox, account: AccountId, view: &View) -> Result<store::Mailbox, Failure> {
    let name = name(mailbox)?;
    view.mailbox_by_name(account, name)?.ok_or(Failure::NoMailbox)
}

/// The name, if it is one.
fn name(mailbox: &Mailbox) -> Result<&MailboxName, Failure> {
    mailbox.as_ref().map_err(|_| Failure::NotAName)
}

/// The messages that a command names.
fn resolve(set: &Set, is_uid: bool, selected: &Selected) -> Result<Vec<Uid>, Failure> {
    if is_uid {
        Ok(selected.by_uids(set))
    } else {
        selected.by_numbers(set).ok_or(Failure::NoSuchMessage)
    }
}
