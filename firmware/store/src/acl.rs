//! Who may do what with others' mailboxes (RFC 4314). The store keeps the lists; who asks obeys them.

use crate::error::StoreError;
use crate::index::Tables;
use crate::index::apply::{subject_key, subject_of};
use crate::log::record::{AclSet, AclSubject, Mutation, Rights};
use crate::mailbox::{self, Mailbox};
use crate::request::Request;
use crate::view::View;
use mail::{AccountId, MailboxId};
use redb::ReadableTable;
use std::fmt;

/// The most identifiers in the list of one mailbox.
const SUBJECTS_MAX: usize = 1000;

impl Rights {
    /// The letters, in the order of their bits (RFC 4314 §2.1).
    const LETTERS: &'static str = "lrswipkxtea";

    /// All of them: what an owner has.
    pub const ALL: Rights = Rights((1 << Rights::LETTERS.len()) - 1);

    /// Reads letters; `None`: one of them is no right. `c` and `d` are what they were in RFC 2086 (RFC 4314 §2.1.1).
    pub fn parse(letters: &str) -> Option<Rights> {
        let mut rights = Rights::default();
        for letter in letters.chars() {
            rights.0 |= match letter {
                'c' => Rights::parse("kx")?.0,
                'd' => Rights::parse("te")?.0,
                letter => 1 << Rights::LETTERS.find(letter)?,
            };
        }
        Some(rights)
    }

    /// These and `more`.
    #[must_use]
    pub const fn with(self, more: Rights) -> Rights {
        Rights(self.0 | more.0)
    }

    /// These without `less`.
    #[must_use]
    pub const fn without(self, less: Rights) -> Rights {
        Rights(self.0 & !less.0)
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in Rights::LETTERS.chars().enumerate() {
            if self.0 & (1 << bit) != 0 {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// An entry of a mailbox's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// Whom it is about.
    pub subject: AclSubject,
    /// Whether the rights are taken away.
    pub is_negative: bool,
    /// Which.
    pub rights: Rights,
}

/// Sets somebody's rights to a mailbox (RFC 4314 §3.1), or takes them out of its list (§3.2).
///
/// # Errors
/// [`StoreError::NoMailbox`], [`StoreError::NoAccount`], [`StoreError::TooMany`].
#[derive(Clone, Copy, Debug)]
pub struct SetAcl {
    /// Of which.
    pub mailbox: MailboxId,
    /// Whose.
    pub subject: AclSubject,
    /// Whether the rights are taken away.
    pub is_negative: bool,
    /// The rights; `None`: out of the list.
    pub rights: Option<Rights>,
}

impl Request for SetAcl {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        mailbox::row(tables, self.mailbox)?;
        if let AclSubject::Account(account) = self.subject
            && tables.account.get(account.0)?.is_none()
        {
            return Err(StoreError::NoAccount);
        }
        let key = (self.mailbox.0, subject_key(self.subject), self.is_negative);
        let before = tables.acl.get(key)?.map(|row| Rights(row.value()));
        if before == self.rights {
            return Ok((None, ()));
        }
        let list = (self.mailbox.0, 0, false)..=(self.mailbox.0, u32::MAX, true);
        if before.is_none() && tables.acl.range(list)?.count() >= SUBJECTS_MAX {
            return Err(StoreError::TooMany {
                what: "identifiers in the list of a mailbox",
                max: SUBJECTS_MAX,
            });
        }
        let set = AclSet {
            mailbox: self.mailbox,
            subject: self.subject,
            is_negative: self.is_negative,
            rights: self.rights,
        };
        Ok((Some(Mutation::SetAcl(set)), ()))
    }
}

impl View {
    /// The list of a mailbox; its owner, who has every right, is in it only if somebody put them there.
    pub fn acl(&self, mailbox: MailboxId) -> Result<Vec<AclEntry>, StoreError> {
        let mut entries = Vec::new();
        for found in self
            .tables
            .acl
            .range((mailbox.0, 0, false)..=(mailbox.0, u32::MAX, true))?
        {
            let (key, rights) = found?;
            let (_, subject, is_negative) = key.value();
            entries.push(AclEntry {
                subject: subject_of(subject),
                is_negative,
                rights: Rights(rights.value()),
            });
        }
        Ok(entries)
    }

    /// The rights of an account to a mailbox (RFC 4314 §2): its own has all; else what it and anyone were given, without
    /// what they were refused.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`].
    pub fn rights(&self, mailbox: MailboxId, account: AccountId) -> Result<Rights, StoreError> {
        let found = self.mailbox(mailbox)?.ok_or(StoreError::NoMailbox)?;
        if found.account == account {
            return Ok(Rights::ALL);
        }
        let (mut given, mut refused) = (Rights::default(), Rights::default());
        for subject in [AclSubject::Anyone, AclSubject::Account(account)] {
            let rights = |is_negative| -> Result<Rights, StoreError> {
                let key = (mailbox.0, subject_key(subject), is_negative);
                Ok(self
                    .tables
                    .acl
                    .get(key)?
                    .map_or(Rights(0), |row| Rights(row.value())))
            };
            given = given.with(rights(false)?);
            refused = refused.with(rights(true)?);
        }
        Ok(given.without(refused))
    }

    /// The mailboxes of others in whose lists an account is, or anyone.
    pub fn shared_with(&self, account: AccountId) -> Result<Vec<Mailbox>, StoreError> {
        let mut mailboxes = std::collections::BTreeSet::new();
        for subject in [AclSubject::Anyone, AclSubject::Account(account)] {
            let subject = subject_key(subject);
            for found in self.tables.shared.range((subject, 0)..=(subject, u32::MAX))? {
                mailboxes.insert(found?.0.value().1);
            }
        }
        let mut shared = Vec::new();
        for mailbox in mailboxes {
            shared.extend(self.mailbox(MailboxId(mailbox))?);
        }
        shared.retain(|mailbox| mailbox.account != account);
        Ok(shared)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Rights;

    /// RFC 4314 §2.1, §2.1.1
    #[test]
    fn rights_are_letters_and_the_old_ones_stand_for_the_new() {
        assert_eq!(Rights::ALL.to_string(), "lrswipkxtea");
        assert_eq!(Rights::parse("lrs").unwrap().to_string(), "lrs");
        assert_eq!(Rights::parse("dc").unwrap().to_string(), "kxte");
        assert_eq!(Rights::parse(""), Some(Rights(0)));
        assert_eq!(Rights::parse("lz"), None);
        assert!(Rights::ALL.contains(Rights::parse("ea").unwrap()));
        assert_eq!(
            Rights::ALL
                .without(Rights::parse("rswipkxtea").unwrap())
                .to_string(),
            "l"
        );
    }
}
