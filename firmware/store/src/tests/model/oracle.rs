//! What IMAP says that a store holds: plain maps, and nothing of the store's own code.
//!
//! A [`Command`] is told to both, to the store as a request and to the [`Oracle`] as it is. Both must give the same
//! answer, and afterwards both are described in the same words.

use super::super::describe::digest;
use crate::{
    Appended, CopiedUids, Copy, CreateMailbox, DeleteMailbox, Delivered, Expunge, FlagChange, FlagsStored,
    RenameMailbox, SpecialUse, StoreFlags, Subscribe, View,
};
use mail::{AccountId, Flags, InternalDate, MailboxId, MailboxName, ModSeq, SystemFlags, Uid, UidValidity};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};

/// What a client, or the mail that comes in, asks for.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Accounts with these limits.
    Provision(Vec<Option<u64>>),
    Deliver(Vec<AccountId>, Vec<u8>),
    Append(AccountId, MailboxId, Vec<(Vec<u8>, Flags, InternalDate)>),
    Flags(StoreFlags),
    Expunge(Expunge),
    Copy(Copy),
    Create(CreateMailbox),
    Rename(RenameMailbox),
    Delete(DeleteMailbox),
    Subscribe(Subscribe),
    Verifier(AccountId, String),
}

impl Command {
    /// Whether it may be refused when the disk is nearly full: what is new. What removes, and what an administrator needs,
    /// may not (S8, D9).
    pub(crate) fn needs_room(&self) -> bool {
        match self {
            Command::Deliver(..) | Command::Append(..) | Command::Create(_) => true,
            Command::Copy(copy) => !copy.is_move,
            _ => false,
        }
    }
}

/// The header fields that are put before a delivered body.
pub(crate) fn prefix(account: AccountId) -> Vec<u8> {
    format!("Return-Path: <>\r\nDelivered-To: {account}\r\n").into_bytes()
}

/// What is given with a body.
pub(crate) fn structure(octets: &[u8]) -> Vec<u8> {
    octets[..octets.len().min(40)].to_vec()
}

/// The date of every delivery.
pub(crate) const RECEIVED: i64 = 1_790_000_000;

/// The answer in Debug's words, or the error's.
pub(crate) type Answer = Result<String, String>;

type Expected<T> = Result<T, &'static str>;

fn answer<T: Debug>(expected: Expected<T>) -> Answer {
    expected.map(|reply| format!("{reply:?}")).map_err(str::to_owned)
}

#[derive(Clone, Debug)]
struct Account {
    quota_octets: Option<u64>,
    verifier: String,
    /// Of its last change.
    modseq: u64,
}

#[derive(Clone, Debug)]
struct Mailbox {
    account: AccountId,
    name: String,
    uid_validity: u32,
    uid_next: u32,
    special_use: Option<SpecialUse>,
    is_subscribed: bool,
    modseq: u64,
    messages: BTreeMap<u32, Message>,
    vanished: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
struct Message {
    flags: Flags,
    modseq: u64,
    date: InternalDate,
    size_octets: u64,
    octets: String,
    structure: String,
}

impl Message {
    fn new(prefix: &[u8], body: &[u8], flags: Flags, date: InternalDate, modseq: u64) -> Message {
        let whole = [prefix, body].concat();
        Message {
            flags,
            modseq,
            date,
            size_octets: whole.len() as u64,
            octets: digest(&whole),
            structure: digest(&structure(body)),
        }
    }
}

impl Mailbox {
    /// Gives a message the next UID (RFC 9051 §2.3.1.1).
    fn add(&mut self, message: Message) -> Uid {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.modseq = self.modseq.max(message.modseq);
        self.messages.insert(uid, message);
        Uid::new(uid).unwrap()
    }

    fn remove(&mut self, uid: u32, modseq: u64) {
        self.messages.remove(&uid).unwrap();
        self.vanished.insert(uid);
        self.modseq = self.modseq.max(modseq);
    }
}

/// The store as it should be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    accounts: BTreeMap<AccountId, Account>,
    mailboxes: BTreeMap<MailboxId, Mailbox>,
    next_mailbox: u32,
    next_uid_validity: u32,
}

impl Oracle {
    pub(crate) fn is_new(&self) -> bool {
        self.accounts.is_empty()
    }

    pub(crate) fn has_no_mailboxes(&self) -> bool {
        !self.is_new() && self.mailboxes.is_empty()
    }

    /// Learns what only the store can know: which numbers the first mailboxes got. Everything after follows.
    pub(crate) fn learn(&mut self, view: &View) {
        for id in self.accounts.keys() {
            let mailboxes = view.mailboxes(*id).unwrap();
            let names: Vec<&str> = mailboxes.iter().map(|mailbox| mailbox.name.as_str()).collect();
            assert_eq!(names, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
            for mailbox in mailboxes {
                let is_new = self.mailboxes.insert(
                    mailbox.id,
                    Mailbox {
                        account: *id,
                        name: mailbox.name.as_str().to_owned(),
                        uid_validity: mailbox.uid_validity.get(),
                        uid_next: 1,
                        special_use: mailbox.special_use,
                        is_subscribed: true,
                        modseq: 1,
                        messages: BTreeMap::new(),
                        vanished: BTreeSet::new(),
                    },
                );
                assert!(is_new.is_none(), "two mailboxes have one number");
            }
        }
        let validities: BTreeSet<u32> = self
            .mailboxes
            .values()
            .map(|mailbox| mailbox.uid_validity)
            .collect();
        assert_eq!(
            validities.len(),
            self.mailboxes.len(),
            "each has a UIDVALIDITY of its own"
        );
        self.next_mailbox = self.mailboxes.keys().last().unwrap().0 + 1;
        self.next_uid_validity = validities.last().unwrap() + 1;
    }

    /// Does what is asked, and says what the answer must be.
    pub(crate) fn answer(&mut self, command: &Command) -> Answer {
        match command {
            Command::Provision(quotas) => {
                for (number, quota_octets) in (1..).zip(quotas) {
                    let account = Account {
                        quota_octets: *quota_octets,
                        verifier: "verifier".to_owned(),
                        modseq: 1,
                    };
                    self.accounts.insert(AccountId(number), account);
                }
                answer(Ok(()))
            }
            Command::Deliver(accounts, octets) => answer(Ok(self.deliver(accounts, octets))),
            Command::Append(account, mailbox, messages) => answer(self.append(*account, *mailbox, messages)),
            Command::Flags(asked) => answer(self.flags(asked)),
            Command::Expunge(asked) => answer(self.expunge(asked)),
            Command::Copy(asked) => answer(self.copy(asked)),
            Command::Create(asked) => answer(self.create(asked)),
            Command::Rename(asked) => answer(self.rename(asked)),
            Command::Delete(asked) => answer(self.delete(*asked)),
            Command::Subscribe(asked) => answer(self.mailbox_mut(asked.mailbox).map(|mailbox| {
                mailbox.is_subscribed = asked.is_subscribed;
            })),
            Command::Verifier(account, verifier) => {
                let account = self.accounts.get_mut(account).ok_or("NoAccount");
                answer(account.map(|account| account.verifier.clone_from(verifier)))
            }
        }
    }

    fn mailbox(&self, id: MailboxId) -> Expected<&Mailbox> {
        self.mailboxes.get(&id).ok_or("NoMailbox")
    }

    fn mailbox_mut(&mut self, id: MailboxId) -> Expected<&mut Mailbox> {
        self.mailboxes.get_mut(&id).ok_or("NoMailbox")
    }

    fn by_name(&self, account: AccountId, name: &str) -> Option<MailboxId> {
        let is_it = |mailbox: &Mailbox| mailbox.account == account && mailbox.name == name;
        let found = self.mailboxes.iter().find(|(_, mailbox)| is_it(mailbox));
        found.map(|(id, _)| *id)
    }

    /// The modseq of a change: above all of the account so far (RFC 7162 §3.1).
    fn next_modseq(&mut self, account: AccountId) -> u64 {
        let account = self.accounts.get_mut(&account).unwrap();
        account.modseq += 1;
        account.modseq
    }

    fn used_octets(&self, account: AccountId) -> u64 {
        let mailboxes = self
            .mailboxes
            .values()
            .filter(|mailbox| mailbox.account == account);
        mailboxes
            .flat_map(|mailbox| mailbox.messages.values())
            .map(|message| message.size_octets)
            .sum()
    }

    fn has_room(&self, account: AccountId, octets: u64) -> Expected<()> {
        let quota = self.accounts[&account].quota_octets;
        if quota.is_some_and(|quota| self.used_octets(account) + octets > quota) {
            return Err("OverQuota");
        }
        Ok(())
    }

    /// S8: whatever the quota says by now.
    fn deliver(&mut self, accounts: &[AccountId], body: &[u8]) -> Vec<Delivered> {
        let mut delivered = Vec::new();
        for account in accounts {
            let modseq = self.next_modseq(*account);
            let mailbox = self.by_name(*account, "INBOX").unwrap();
            let date = InternalDate::utc(mail::Timestamp(RECEIVED));
            let message = Message::new(&prefix(*account), body, Flags::default(), date, modseq);
            let uid = self.mailboxes.get_mut(&mailbox).unwrap().add(message);
            delivered.push(Delivered {
                account: *account,
                mailbox,
                uid,
            });
        }
        delivered
    }

    /// RFC 9051 §6.3.12, RFC 3502: all or none.
    fn append(
        &mut self,
        account: AccountId,
        id: MailboxId,
        messages: &[(Vec<u8>, Flags, InternalDate)],
    ) -> Expected<Appended> {
        let mailbox = self.mailbox(id)?;
        if mailbox.account != account {
            return Err("NoMailbox");
        }
        let uid_validity = UidValidity::new(mailbox.uid_validity).unwrap();
        let octets = messages.iter().map(|(octets, _, _)| octets.len() as u64).sum();
        self.has_room(account, octets)?;
        let modseq = self.next_modseq(account);
        let mailbox = self.mailbox_mut(id)?;
        let add = |(octets, flags, date): &(Vec<u8>, Flags, InternalDate)| {
            mailbox.add(Message::new(b"", octets, flags.clone(), *date, modseq))
        };
        let uids = messages.iter().map(add).collect();
        Ok(Appended { uid_validity, uids })
    }

    /// RFC 9051 §6.4.6, RFC 7162 §3.1.3.
    fn flags(&mut self, asked: &StoreFlags) -> Expected<FlagsStored> {
        let account = self.mailbox(asked.mailbox)?.account;
        let mut stored = FlagsStored::default();
        let new_modseq = ModSeq(self.accounts[&account].modseq + 1);
        let mailbox = self.mailbox_mut(asked.mailbox)?;
        for uid in asked.uids.iter().collect::<BTreeSet<_>>() {
            let Some(message) = mailbox.messages.get_mut(&uid.get()) else {
                continue;
            };
            if asked
                .unchanged_since
                .is_some_and(|since| message.modseq > since.0)
            {
                stored.modified.push(*uid);
                continue;
            }
            let mut flags = message.flags.clone();
            match &asked.change {
                FlagChange::Replace(new) => flags.clone_from(new),
                FlagChange::Add(more) => {
                    flags.system = flags.system.with(more.system);
                    flags.keywords.extend(more.keywords.iter().cloned());
                }
                FlagChange::Remove(less) => {
                    flags.system = flags.system.without(less.system);
                    flags.keywords.retain(|keyword| !less.keywords.contains(keyword));
                }
            }
            if flags == message.flags {
                stored.unchanged.push((*uid, flags, ModSeq(message.modseq)));
            } else {
                message.flags = flags.clone();
                message.modseq = new_modseq.0;
                mailbox.modseq = new_modseq.0;
                stored.changed.push((*uid, flags, new_modseq));
            }
        }
        if !stored.changed.is_empty() {
            self.next_modseq(account);
        }
        Ok(stored)
    }

    /// RFC 9051 §6.4.3, §6.4.9.
    fn expunge(&mut self, asked: &Expunge) -> Expected<Vec<Uid>> {
        let mailbox = self.mailbox(asked.mailbox)?;
        let is_asked = |uid: u32| match &asked.uids {
            None => true,
            Some(uids) => uids.iter().any(|asked| asked.get() == uid),
        };
        let is_deleted = |message: &Message| message.flags.system.contains(SystemFlags::DELETED);
        let gone: Vec<u32> = mailbox
            .messages
            .iter()
            .filter(|(uid, message)| is_deleted(message) && is_asked(**uid))
            .map(|(uid, _)| *uid)
            .collect();
        if !gone.is_empty() {
            let modseq = self.next_modseq(mailbox.account);
            let mailbox = self.mailbox_mut(asked.mailbox)?;
            for uid in &gone {
                mailbox.remove(*uid, modseq);
            }
        }
        Ok(gone.into_iter().filter_map(Uid::new).collect())
    }

    /// RFC 9051 §6.4.7, §6.4.8.
    fn copy(&mut self, asked: &Copy) -> Expected<CopiedUids> {
        let from = self.mailbox(asked.from)?;
        let to = self.mailbox(asked.to)?;
        let account = to.account;
        let source = from.account;
        let uid_validity = UidValidity::new(to.uid_validity).unwrap();
        let asked_uids: BTreeSet<u32> = asked.uids.iter().map(|uid| uid.get()).collect();
        let copies: Vec<(u32, Message)> = asked_uids
            .into_iter()
            .filter_map(|uid| Some((uid, from.messages.get(&uid)?.clone())))
            .collect();
        let mut uids = Vec::new();
        if !copies.is_empty() {
            if !asked.is_move || source != account {
                self.has_room(
                    account,
                    copies.iter().map(|(_, message)| message.size_octets).sum(),
                )?;
            }
            let modseq = self.next_modseq(account);
            let modseq_from = if source == account {
                modseq
            } else {
                self.next_modseq(source)
            };
            for (uid, message) in copies {
                let new = self.mailbox_mut(asked.to)?.add(Message { modseq, ..message });
                uids.push((Uid::new(uid).unwrap(), new));
                if asked.is_move {
                    self.mailbox_mut(asked.from)?.remove(uid, modseq_from);
                }
            }
        }
        Ok(CopiedUids { uid_validity, uids })
    }

    /// RFC 9051 §6.3.4: those above it are made, too.
    fn create(&mut self, asked: &CreateMailbox) -> Expected<MailboxId> {
        let account = asked.account;
        let modseq = self.accounts.get(&account).ok_or("NoAccount")?.modseq;
        if self.by_name(account, asked.name.as_str()).is_some() {
            return Err("MailboxExists");
        }
        let is_used = |mailbox: &Mailbox| {
            mailbox.account == account
                && asked.special_use.is_some()
                && mailbox.special_use == asked.special_use
        };
        if self.mailboxes.values().any(is_used) {
            return Err("SpecialUseTaken");
        }
        let whole = asked.name.as_str();
        let ends = whole.match_indices('/').map(|(at, _)| at).chain([whole.len()]);
        let mut id = MailboxId(0);
        for name in ends.map(|end| &whole[..end]) {
            if self.by_name(account, name).is_some() {
                continue;
            }
            id = MailboxId(self.next_mailbox);
            self.next_mailbox += 1;
            let mailbox = Mailbox {
                account,
                name: name.to_owned(),
                uid_validity: self.next_uid_validity,
                uid_next: 1,
                special_use: asked.special_use.filter(|_| name == whole),
                is_subscribed: false,
                modseq,
                messages: BTreeMap::new(),
                vanished: BTreeSet::new(),
            };
            self.next_uid_validity += 1;
            self.mailboxes.insert(id, mailbox);
        }
        Ok(id)
    }

    /// RFC 9051 §6.3.6: those below it go along.
    fn rename(&mut self, asked: &RenameMailbox) -> Expected<()> {
        let (from, to) = (asked.from.as_str(), asked.to.as_str());
        if asked.to.is_inbox() {
            return Err("IsInbox");
        }
        if asked.from.is_inbox() {
            return self.rename_inbox(asked);
        }
        let moved: BTreeMap<MailboxId, String> = self
            .mailboxes
            .iter()
            .filter(|(_, mailbox)| mailbox.account == asked.account)
            .filter_map(|(id, mailbox)| {
                let rest = mailbox.name.strip_prefix(from)?;
                (rest.is_empty() || rest.starts_with('/')).then(|| (*id, format!("{to}{rest}")))
            })
            .collect();
        if moved.is_empty() {
            return Err("NoMailbox");
        }
        let is_below_itself = to == from || to.strip_prefix(from).is_some_and(|rest| rest.starts_with('/'));
        let is_taken = |name: &String| {
            self.by_name(asked.account, name)
                .is_some_and(|id| !moved.contains_key(&id))
        };
        if is_below_itself || moved.values().any(is_taken) {
            return Err("MailboxExists");
        }
        for (id, name) in moved {
            self.mailbox_mut(id)?.name = name;
        }
        Ok(())
    }

    /// RFC 9051 §6.3.6: its messages go to a new mailbox, and it stays.
    fn rename_inbox(&mut self, asked: &RenameMailbox) -> Expected<()> {
        let account = asked.account;
        let inbox = self.by_name(account, asked.from.as_str()).ok_or("NoMailbox")?;
        let to = self.create(&CreateMailbox {
            account,
            name: asked.to.clone(),
            special_use: None,
        })?;
        let modseq = self.next_modseq(account);
        let inbox = self.mailbox_mut(inbox)?;
        let messages = std::mem::take(&mut inbox.messages);
        inbox.vanished.extend(messages.keys());
        inbox.modseq = modseq;
        let uid_next = inbox.uid_next;
        let to = self.mailbox_mut(to)?;
        to.uid_next = uid_next;
        for (uid, message) in messages {
            to.modseq = modseq;
            to.messages.insert(uid, Message { modseq, ..message });
        }
        Ok(())
    }

    /// RFC 9051 §6.3.5: those below it stay.
    fn delete(&mut self, asked: DeleteMailbox) -> Expected<()> {
        if self.mailbox(asked.mailbox)?.name == MailboxName::inbox().as_str() {
            return Err("IsInbox");
        }
        self.mailboxes.remove(&asked.mailbox);
        Ok(())
    }

    /// In the words of [`describe`](super::super::describe::describe).
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        if !self.is_new() {
            text.push_str("domain example.org\n");
        }
        for (id, account) in &self.accounts {
            let mut mailboxes: Vec<(&MailboxId, &Mailbox)> = self
                .mailboxes
                .iter()
                .filter(|(_, mailbox)| mailbox.account == *id)
                .collect();
            mailboxes.sort_by_key(|(_, mailbox)| &mailbox.name);
            let quota = account.quota_octets.map(|quota| quota.to_string());
            writeln!(
                text,
                "account {id} u{id}@example.org enabled: verifier {}, {} octets of {}, {} messages",
                account.verifier,
                self.used_octets(*id),
                quota.unwrap_or_else(|| "any".to_owned()),
                mailboxes
                    .iter()
                    .map(|(_, mailbox)| mailbox.messages.len())
                    .sum::<usize>(),
            )
            .unwrap();
            for (id, mailbox) in mailboxes {
                mailbox.describe(*id, &mut text);
            }
        }
        text
    }
}

impl Mailbox {
    fn describe(&self, id: MailboxId, text: &mut String) {
        let messages = || self.messages.values();
        let with = |flag| {
            messages()
                .filter(|message| message.flags.system.contains(flag))
                .count()
        };
        writeln!(
            text,
            "mailbox {id} of {} {}: uidvalidity {}, uidnext {}, modseq {}, {} messages, {} unseen, {} deleted, \
             {} octets, for {:?}, {}",
            self.account,
            self.name,
            self.uid_validity,
            self.uid_next,
            self.modseq,
            self.messages.len(),
            self.messages.len() - with(SystemFlags::SEEN),
            with(SystemFlags::DELETED),
            messages().map(|message| message.size_octets).sum::<u64>(),
            self.special_use,
            if self.is_subscribed { "subscribed" } else { "not subscribed" },
        )
        .unwrap();
        for (uid, message) in &self.messages {
            writeln!(
                text,
                "message {uid} of {id}: modseq {}, {}, {}, {}, structure {}",
                message.modseq, message.flags, message.date, message.octets, message.structure,
            )
            .unwrap();
        }
        for uid in &self.vanished {
            writeln!(text, "vanished {uid} of {id}").unwrap();
        }
    }
}
