//! Tests of the store as a whole. Each ends with [`finish`], which runs the check.

mod admin;
mod admin_cuts;
mod backup;
mod basics;
mod damage;
mod describe;
mod failures;
mod fixtures;
mod kill;
pub(crate) mod model;
mod panics;
mod power_cut;
mod self_test;
mod snapshots;
mod words;
pub(crate) mod workload;

use crate::{
    Append, Deliver, DeliveredCopy, NewAccount, NewMessage, Options, Provision, Redirect, SealedBody, Store,
    View,
};
use mail::{AccountId, Address, Domain, Flags, InternalDate, MailboxId, MailboxName, Timestamp, Uid};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// Runs a future on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Small segments, so that a test sees several, and no checkpoint but the last.
pub(crate) fn options() -> Options {
    Options {
        index_cache_octets: 1024 * 1024,
        checkpoint_interval: Duration::from_secs(3600),
        segment_octets: Some(64 * 1024),
        reserve_octets: Some(0),
        ..Options::default()
    }
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A box with `accounts` accounts, `u1@example.org` and so on.
pub(crate) fn provision(store: &Store, accounts: usize) {
    let provision = Provision {
        domains: vec![Domain::parse("example.org").unwrap()],
        accounts: (1..=accounts)
            .map(|number| NewAccount {
                address: address(&format!("u{number}@example.org")),
                verifier: "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA".to_owned(),
                quota_octets: None,
            })
            .collect(),
        redirects: vec![Redirect {
            address: address("office@example.org"),
            targets: vec![address("u1@example.org"), address("else@example.com")],
        }],
    };
    wait(store.provision(provision)).unwrap();
}

pub(crate) fn body(store: &Store, octets: &[u8]) -> SealedBody {
    let mut body = store.body();
    body.write(octets).unwrap();
    body.seal().unwrap()
}

pub(crate) fn deliver(store: &Store, accounts: &[AccountId], octets: &[u8]) -> Vec<crate::Delivered> {
    let deliver = Deliver {
        body: body(store, octets),
        structure: b"structure".to_vec(),
        received: Timestamp(1_790_000_000),
        copies: accounts
            .iter()
            .map(|account| DeliveredCopy {
                account: *account,
                header: format!("Delivered-To: {account}\r\n").into_bytes(),
                flags: Flags::default(),
            })
            .collect(),
    };
    wait(store.deliver(deliver)).unwrap()
}

pub(crate) fn append(store: &Store, mailbox: MailboxId, octets: &[u8], flags: Flags) -> Uid {
    let account = store.view().unwrap().mailbox(mailbox).unwrap().unwrap().account;
    let message = NewMessage {
        body: body(store, octets),
        structure: Vec::new(),
        flags,
        internal_date: InternalDate::new(Timestamp(1_790_000_001), 60),
    };
    wait(store.append(Append {
        account,
        mailbox,
        messages: vec![message],
    }))
    .unwrap()
    .uids[0]
}

pub(crate) fn mailbox(view: &View, account: AccountId, name: &str) -> MailboxId {
    view.mailbox_by_name(account, &MailboxName::parse(name).unwrap())
        .unwrap()
        .unwrap()
        .id
}

pub(crate) fn read(view: &View, mailbox: MailboxId, uid: Uid) -> Vec<u8> {
    let message = view.message(mailbox, uid).unwrap().unwrap();
    view.body(&message).unwrap().read_to_vec().unwrap()
}

/// Octets that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, octets: usize) -> Vec<u8> {
    let mut octets = vec![0; octets];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut octets);
    octets
}

/// Runs the check; nothing may be flawed.
pub(crate) fn finish(store: &Store) {
    let checked = store.check().unwrap();
    assert_eq!(checked.flaws, [], "the check finds nothing wrong");
}
