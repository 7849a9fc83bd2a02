//! What an owner administers, on a real folder.

mod accounts;
mod mailboxes;
mod queue;
mod trail;

use super::*;
use crate::*;
use mail::{ModSeq, SystemFlags};

const U1: AccountId = AccountId(1);
const U2: AccountId = AccountId(2);

fn new_store(accounts: usize) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), options()).unwrap();
    provision(&store, accounts);
    (folder, store)
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// Checks, closes, deletes the index, opens and compares (D6).
fn finish_anew(folder: &tempfile::TempDir, store: Store) {
    finish(&store);
    let dump = store.view().unwrap().dump().unwrap();
    store.close();
    drop(store);
    std::fs::remove_file(folder.path().join("index.redb")).unwrap();
    let (store, _) = Store::open(folder.path(), options()).unwrap();
    assert_eq!(
        store.view().unwrap().dump().unwrap(),
        dump,
        "the log says the same"
    );
    finish(&store);
}

fn create(store: &Store, text: &str, details: AccountDetails) -> Result<AccountId, StoreError> {
    wait(store.create_account(CreateAccount {
        address: address(text),
        verifier: "v".to_owned(),
        details,
        created: Timestamp(1_790_000_000),
    }))
}

fn change(store: &Store, account: AccountId, change: AccountChange) -> Result<(), StoreError> {
    wait(store.change_account(ChangeAccount { account, change }))
}

fn set_alias(store: &Store, alias: Alias) -> Result<(), StoreError> {
    wait(store.set_aliases(SetAliases { aliases: vec![alias] }))
}

fn alias(text: &str, targets: &[&str]) -> Alias {
    Alias::new(
        address(text),
        targets.iter().map(|target| address(target)).collect(),
    )
}

fn find(text: &str, after: Option<String>, limit: usize) -> Find {
    Find {
        text: text.to_owned(),
        after,
        limit,
    }
}
