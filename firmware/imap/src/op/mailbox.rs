//! CREATE, DELETE, RENAME, SUBSCRIBE and UNSUBSCRIBE.

use super::{Change, Next, find, name};
use crate::command::Mailbox;
use crate::response::{Completion, Failure};
use crate::selected::Selected;
use mail::AccountId;
use store::{StoreError, View};

/// What is to become of a mailbox.
#[derive(Debug)]
pub(crate) enum ManageMailbox {
    Create(Mailbox),
    Delete(Mailbox),
    Rename { from: Mailbox, to: Mailbox },
    Subscribe { mailbox: Mailbox, is_subscribed: bool },
}

impl ManageMailbox {
    /// RFC 3501 §6.3.3 to §6.3.7
    pub(super) fn run(
        &mut self,
        account: AccountId,
        selected: &mut Option<Selected>,
        view: &View,
        is_done: bool,
    ) -> Result<Next, Failure> {
        if is_done {
            // Who deletes the mailbox that is open has closed it. Not before: INBOX cannot be deleted, and stays
            // open.
            if let (ManageMailbox::Delete(_), Some(open)) = (&*self, selected.as_ref())
                && matches!(view.status(open.mailbox), Err(StoreError::NoMailbox))
            {
                *selected = None;
            }
            return Ok(Next::Done(Completion::ok("Done")));
        }
        let change = match self {
            ManageMailbox::Create(mailbox) => Change::Create(store::CreateMailbox {
                account,
                name: name(mailbox)?.clone(),
                special_use: None,
            }),
            ManageMailbox::Delete(mailbox) => Change::Delete(store::DeleteMailbox {
                mailbox: find(mailbox, account, view)?.id,
            }),
            ManageMailbox::Rename { from, to } => {
                find(from, account, view)?;
                Change::Rename(store::RenameMailbox {
                    account,
                    from: name(from)?.clone(),
                    to: name(to)?.clone(),
                })
            }
            ManageMailbox::Subscribe {
                mailbox,
                is_subscribed,
            } => Change::Subscribe(store::Subscribe {
                mailbox: find(mailbox, account, view)?.id,
                is_subscribed: *is_subscribed,
            }),
        };
        Ok(Next::Change(change))
    }
}
