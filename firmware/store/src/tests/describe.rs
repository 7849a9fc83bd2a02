//! What a store holds as IMAP and an administrator see it, as text: two stores hold the same when these are equal.
//!
//! It asks the views and nothing below them, and a line keeps its form when the store learns more: the texts
//! that lie beside the stores of earlier formats are compared with it.

use super::*;
use crate::{Mailbox, Vanished};
use mail::ModSeq;
use std::fmt::Write;

/// Everything there is, a line for each thing.
pub(crate) fn describe(view: &View) -> String {
    let mut text = String::new();
    for domain in view.domains().unwrap() {
        writeln!(text, "domain {domain}").unwrap();
    }
    for account in view.accounts().unwrap() {
        writeln!(
            text,
            "account {} {} {}: verifier {}, {} octets of {}, {} messages",
            account.id,
            account.address,
            if account.is_enabled { "enabled" } else { "disabled" },
            account.verifier,
            account.used_octets,
            account
                .quota_octets
                .map_or_else(|| "any".to_owned(), |quota| quota.to_string()),
            account.messages,
        )
        .unwrap();
        for mailbox in view.mailboxes(account.id).unwrap() {
            describe_mailbox(view, &mailbox, &mut text);
        }
    }
    text
}

fn describe_mailbox(view: &View, mailbox: &Mailbox, text: &mut String) {
    let status = view.status(mailbox.id).unwrap();
    writeln!(
        text,
        "mailbox {} of {} {}: uidvalidity {}, uidnext {}, modseq {}, {} messages, {} unseen, {} deleted, \
         {} octets, for {:?}, {}",
        mailbox.id,
        mailbox.account,
        mailbox.name.as_str(),
        mailbox.uid_validity,
        status.uid_next,
        status.highest_modseq.0,
        status.messages,
        status.unseen,
        status.deleted,
        status.size_octets,
        mailbox.special_use,
        if mailbox.is_subscribed {
            "subscribed"
        } else {
            "not subscribed"
        },
    )
    .unwrap();
    for entry in view.entries(mailbox.id).unwrap() {
        let message = view.message(mailbox.id, entry.uid).unwrap().unwrap();
        let octets = view
            .body(&message)
            .and_then(|mut body| body.read_to_vec())
            .unwrap_or_else(|error| panic!("message {} of mailbox {}: {error}", entry.uid, mailbox.id));
        assert_eq!(octets.len() as u64, message.size_octets);
        writeln!(
            text,
            "message {} of {}: modseq {}, {}, {}, {}, structure {}",
            entry.uid,
            mailbox.id,
            entry.modseq.0,
            message.flags,
            message.internal_date,
            digest(&octets),
            digest(&view.structure(&message).unwrap()),
        )
        .unwrap();
    }
    let Vanished::Uids(vanished) = view.vanished_since(mailbox.id, ModSeq(0)).unwrap() else {
        writeln!(text, "vanished of {}: forgotten", mailbox.id).unwrap();
        return;
    };
    for uid in vanished {
        writeln!(text, "vanished {uid} of {}", mailbox.id).unwrap();
    }
}

/// How many octets, and which.
pub(crate) fn digest(octets: &[u8]) -> String {
    let hash = blake3::hash(octets).to_hex();
    format!("{} octets {}", octets.len(), &hash[..16])
}
