//! A mail program: it knows a mailbox as it was when it last looked, and asks for things by that.

use super::super::workload::Dice;
use super::oracle::Command;
use crate::{
    Copy, CreateMailbox, DeleteMailbox, Expunge, FlagChange, RenameMailbox, SpecialUse, StoreFlags,
    Subscribe, View,
};
use mail::{
    AccountId, Flags, InternalDate, Keyword, MailboxId, MailboxName, ModSeq, SystemFlags, Timestamp, Uid,
    UidValidity,
};
use std::collections::BTreeMap;

/// A mail program that keeps up by CONDSTORE and QRESYNC (RFC 7162).
#[derive(Clone, Debug)]
pub(crate) struct Client {
    account: AccountId,
    mailboxes: Vec<MailboxId>,
    selected: Option<Selected>,
}

/// The mailbox it has open, as it was when it looked last.
#[derive(Clone, Debug)]
struct Selected {
    id: MailboxId,
    uid_validity: UidValidity,
    /// All below has been seen: no message may come with such a UID any more.
    uid_next: u64,
    modseq: ModSeq,
    messages: BTreeMap<Uid, (Flags, ModSeq)>,
}

impl Client {
    pub(crate) fn new(account: AccountId) -> Client {
        Client {
            account,
            mailboxes: Vec::new(),
            selected: None,
        }
    }

    /// Brings itself up to date by what changed and what vanished only, and compares that with all there is.
    ///
    /// It must never have seen what is not so any more: it looks at what was acknowledged, before a cut and after.
    pub(crate) fn look(&mut self, view: &View) -> Result<(), String> {
        let mailboxes = view.mailboxes(self.account).map_err(|error| error.to_string())?;
        self.mailboxes = mailboxes.iter().map(|mailbox| mailbox.id).collect();
        let Some(selected) = &mut self.selected else {
            return Ok(());
        };
        if !self.mailboxes.contains(&selected.id) {
            // Somebody deleted it.
            self.selected = None;
            return Ok(());
        }
        selected.resync(view)
    }

    /// Opens another mailbox, from nothing.
    pub(crate) fn select(&mut self, view: &View, dice: &mut Dice) -> Result<(), String> {
        self.selected = None;
        if let Some(id) = dice.pick(&self.mailboxes)
            && let Ok(Some(mailbox)) = view.mailbox(id)
        {
            let mut selected = Selected {
                id,
                uid_validity: mailbox.uid_validity,
                uid_next: 1,
                modseq: ModSeq(0),
                messages: BTreeMap::new(),
            };
            selected.resync(view)?;
            self.selected = Some(selected);
        }
        Ok(())
    }

    /// What it asks for next. It may have been overtaken by others: messages gone, flags changed, a mailbox deleted.
    pub(crate) fn command(&self, dice: &mut Dice, number: u64) -> Command {
        let account = self.account;
        let Some(selected) = &self.selected else {
            return self.of_mailboxes(dice);
        };
        let mailbox = selected.id;
        let mut uids: Vec<Uid> = selected.messages.keys().copied().collect();
        uids.retain(|_| dice.roll(2) == 0);
        if dice.roll(8) == 0 {
            // One that it never saw, and one twice.
            uids.extend(Uid::new(u32::try_from(selected.uid_next).unwrap_or(1)));
            uids.extend(uids.first().copied());
        }
        match dice.roll(12) {
            0..=1 => {
                let message = |_| {
                    let octets = usize::try_from(dice.roll(6) * dice.roll(400)).unwrap();
                    let text = format!(
                        "Subject: {number}\r\n\r\n{}",
                        "All work and no play.\r\n".repeat(40)
                    );
                    let date = InternalDate::new(Timestamp(1_700_000_000 + i64::from(account.0)), 120);
                    (
                        text.as_bytes()[..octets.min(text.len())].to_vec(),
                        flags(dice),
                        date,
                    )
                };
                let messages = (0..=number % 3).map(message).collect();
                Command::Append(account, mailbox, messages)
            }
            2..=5 => {
                let change = match dice.roll(3) {
                    0 => FlagChange::Replace(flags(dice)),
                    1 => FlagChange::Add(flags(dice)),
                    _ => FlagChange::Remove(flags(dice)),
                };
                let unchanged_since = (dice.roll(3) == 0).then_some(selected.modseq);
                Command::Flags(StoreFlags {
                    mailbox,
                    uids,
                    change,
                    unchanged_since,
                })
            }
            6..=7 => Command::Expunge(Expunge {
                mailbox,
                uids: (dice.roll(2) == 0).then_some(uids),
            }),
            8..=10 => Command::Copy(Copy {
                from: mailbox,
                uids,
                to: dice.pick(&self.mailboxes).unwrap_or(mailbox),
                is_move: dice.roll(2) == 0,
            }),
            _ => self.of_mailboxes(dice),
        }
    }

    fn of_mailboxes(&self, dice: &mut Dice) -> Command {
        let account = self.account;
        let name = |dice: &mut Dice| {
            let whole = [
                "Work/Old/May",
                "Work/New",
                "Work.old",
                "Home",
                "INBOX/Sub",
                "INBOX",
            ];
            let name = whole[usize::try_from(dice.roll(6)).unwrap()];
            let end = match name.find('/') {
                Some(end) if dice.roll(2) == 0 => end,
                _ => name.len(),
            };
            MailboxName::parse(&name[..end]).unwrap()
        };
        let mailbox = dice.pick(&self.mailboxes).unwrap_or(MailboxId(1));
        match dice.roll(8) {
            0..=3 => Command::Create(CreateMailbox {
                account,
                name: name(dice),
                special_use: (dice.roll(4) == 0).then_some(SpecialUse::Archive),
            }),
            4..=5 => Command::Rename(RenameMailbox {
                account,
                from: name(dice),
                to: name(dice),
            }),
            6 => Command::Subscribe(Subscribe {
                mailbox,
                is_subscribed: dice.roll(2) == 0,
            }),
            // Not its first ones: somebody has to have mail.
            _ => Command::Delete(DeleteMailbox { mailbox }),
        }
    }
}

fn flags(dice: &mut Dice) -> Flags {
    let mut flags = Flags::system(SystemFlags(u8::try_from(dice.roll(32)).unwrap()));
    if dice.roll(2) == 0 {
        let keyword = ["$Junk", "$Forwarded", "work"][usize::try_from(dice.roll(3)).unwrap()];
        flags.keywords.insert(Keyword::parse(keyword).unwrap());
    }
    flags
}

impl Selected {
    fn resync(&mut self, view: &View) -> Result<(), String> {
        let text = |error: crate::StoreError| error.to_string();
        let id = self.id;
        let status = view.status(id).map_err(text)?;
        if status.uid_validity != self.uid_validity {
            return Err(format!("mailbox {id} has another UIDVALIDITY"));
        }
        if status.uid_next < self.uid_next || status.highest_modseq < self.modseq {
            return Err(format!("mailbox {id} went back to {status:?} from {self:?}"));
        }
        let crate::Vanished::Uids(vanished) = view.vanished_since(id, self.modseq).map_err(text)? else {
            return Err(format!("mailbox {id} has forgotten what was expunged"));
        };
        for uid in vanished {
            self.messages.remove(&uid);
        }
        for entry in view.changed_since(id, self.modseq).map_err(text)? {
            let is_new = self
                .messages
                .insert(entry.uid, (entry.flags, entry.modseq))
                .is_none();
            if is_new && u64::from(entry.uid.get()) < self.uid_next {
                return Err(format!("mailbox {id} gave UID {} twice", entry.uid));
            }
        }
        let all: BTreeMap<Uid, (Flags, ModSeq)> = view
            .entries(id)
            .map_err(text)?
            .into_iter()
            .map(|entry| (entry.uid, (entry.flags, entry.modseq)))
            .collect();
        if all != self.messages {
            return Err(format!(
                "since {} of mailbox {id} a client was told of {:?}, and there is {all:?}",
                self.modseq.0, self.messages
            ));
        }
        self.uid_next = status.uid_next;
        self.modseq = status.highest_modseq;
        Ok(())
    }
}
