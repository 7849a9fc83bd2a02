//! Logins that succeeded a moment ago.
//!
//! A mail program opens five to ten connections at once, and each would cost a hash of 7 or 19 MiB. What
//! is kept is a keyed digest of account, *stored verifier* and password: with another verifier the digest
//! is another, so a changed password fails at once and no account can be taken for another (AS31).

use mail::{AccountId, Secret};
use std::collections::HashMap;
use std::time::Duration;
use wire::Moment;

/// How long a success is remembered. Short, because it is all that stands in memory of a password.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Accounts remembered; over it, all are forgotten, which costs each one hash.
const ACCOUNTS_MAX: usize = 1024;

pub(crate) struct Cache {
    /// Drawn at the start of the process and never stored.
    key: [u8; blake3::KEY_LEN],
    successes: HashMap<AccountId, Success>,
}

struct Success {
    digest: blake3::Hash,
    until: Moment,
}

impl Cache {
    pub(crate) fn new(key: [u8; blake3::KEY_LEN]) -> Cache {
        Cache {
            key,
            successes: HashMap::new(),
        }
    }

    /// Whether this password was verified against this verifier of this account a moment ago.
    pub(crate) fn has(
        &self,
        account: AccountId,
        verifier: &str,
        password: &Secret<String>,
        now: Moment,
    ) -> bool {
        self.successes.get(&account).is_some_and(|success| {
            // blake3 compares in constant time.
            success.until > now && success.digest == self.digest(account, verifier, password)
        })
    }

    pub(crate) fn remember(
        &mut self,
        account: AccountId,
        verifier: &str,
        password: &Secret<String>,
        now: Moment,
    ) {
        if self.successes.len() >= ACCOUNTS_MAX {
            self.successes.clear();
        }
        let digest = self.digest(account, verifier, password);
        let until = now + KEPT_FOR;
        self.successes.insert(account, Success { digest, until });
    }

    fn digest(&self, account: AccountId, verifier: &str, password: &Secret<String>) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&account.0.to_le_bytes());
        // With its length, so that no two pairs of verifier and password are the same octets.
        hasher.update(&verifier.len().to_le_bytes());
        hasher.update(verifier.as_bytes());
        hasher.update(password.reveal().as_bytes());
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    /// AS31
    #[test]
    fn as31_a_success_is_of_one_account_one_verifier_and_one_password() {
        let mut cache = Cache::new([7; 32]);
        let now = Moment::START;
        cache.remember(AccountId(1), "$a", &secret("bc"), now);
        assert!(cache.has(AccountId(1), "$a", &secret("bc"), now));
        assert!(
            !cache.has(AccountId(2), "$a", &secret("bc"), now),
            "another account"
        );
        assert!(
            !cache.has(AccountId(1), "$b", &secret("bc"), now),
            "another verifier"
        );
        assert!(
            !cache.has(AccountId(1), "$a", &secret("bd"), now),
            "another password"
        );
        assert!(
            !cache.has(AccountId(1), "$ab", &secret("c"), now),
            "the same octets, cut elsewhere"
        );
    }

    #[test]
    fn a_success_is_forgotten_after_five_minutes() {
        let mut cache = Cache::new([7; 32]);
        cache.remember(AccountId(1), "$a", &secret("b"), Moment::START);
        assert!(!cache.has(AccountId(1), "$a", &secret("b"), Moment::START + KEPT_FOR));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = Cache::new([7; 32]);
        for number in 0..5000 {
            cache.remember(AccountId(number), "$a", &secret("b"), Moment::START);
        }
        assert!(cache.successes.len() <= ACCOUNTS_MAX);
        assert!(cache.has(AccountId(4999), "$a", &secret("b"), Moment::START));
    }
}
