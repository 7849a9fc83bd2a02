//! The one way to log in.

use crate::cache::Cache;
use crate::slots::{SlotError, Slots};
use crate::throttle::{Attempt, Throttle, ThrottleSettings};
use crate::verifier::{Cost, HashError, Verifier};
use mail::{AccountId, Address, Secret};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use store::{Account, Store, StoreError};
use wire::limits::PASSWORD_OCTETS_MAX;
use wire::{Moment, Source};

/// How logins are to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What a hash costs; see [`Cost::for_memory`].
    pub cost: Cost,
    /// How many failures are borne.
    pub throttle: ThrottleSettings,
}

/// The door. Clones are the same door, with the same counters.
#[derive(Clone)]
pub struct Auth {
    house: Arc<House>,
}

struct House {
    store: Store,
    cost: Cost,
    /// Keys what the throttle remembers; drawn at the start.
    attempt_key: [u8; blake3::KEY_LEN],
    throttle: Mutex<Throttle>,
    cache: Mutex<Cache>,
    slots: Slots,
    started: Instant,
}

/// Who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountId,
    /// Its address, as it was set up and not as it was typed.
    pub address: Address,
}

/// Why somebody did not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Unknown user, wrong password, missing domain, disabled mailbox: nobody learns which (L2).
    #[error("the login or the password is wrong")]
    Refused,
    /// Too many failures from this source (L5). The connection should end.
    #[error("too many failures, try again later")]
    Throttled,
    /// Too many want to log in at this moment.
    #[error("too many logins at once, try again later")]
    Busy,
    /// The store cannot be read.
    #[error("logins are not possible at the moment")]
    Unavailable,
}

/// A login as it is being judged.
struct Claim<'a> {
    peer: IpAddr,
    source: Source,
    account: Option<Account>,
    password: &'a Secret<String>,
    attempt: Attempt,
}

impl Auth {
    /// A door to the accounts of `store`.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(store: Store, settings: Settings) -> Result<Auth, HashError> {
        Ok(Auth {
            house: Arc::new(House {
                store,
                cost: settings.cost,
                attempt_key: random_key()?,
                throttle: Mutex::new(Throttle::new(settings.throttle)),
                cache: Mutex::new(Cache::new(random_key()?)),
                slots: Slots::new(),
                started: Instant::now(),
            }),
        })
    }

    /// Judges a login that came from `peer`. `login` is the full address in any spelling (L1).
    ///
    /// Every failure but [`LoginError::Busy`] and [`LoginError::Unavailable`] has taken the time of one
    /// hash, except where the source has to wait (L5) or a text is longer than any that exists.
    pub async fn login(
        &self,
        login: &str,
        password: &Secret<String>,
        peer: IpAddr,
    ) -> Result<Identity, LoginError> {
        let house = &self.house;
        let claim = Claim {
            peer,
            source: Source::of(peer),
            account: house.find(login)?,
            password,
            attempt: house.attempt(login, password),
        };
        if house.must_wait(&claim) {
            return Err(LoginError::Throttled);
        }
        if login.len() > PASSWORD_OCTETS_MAX || password.reveal().len() > PASSWORD_OCTETS_MAX {
            return Err(house.refuse(&claim));
        }
        if let Some(account) = house.known_a_moment_ago(&claim) {
            return Ok(house.admit(&claim, account));
        }
        let account = house.verify(&claim).await?;
        Ok(house.admit(&claim, &account))
    }

    /// A verifier of `password`, made in its turn between the logins.
    pub async fn hash(&self, password: &Secret<String>) -> Result<String, HashError> {
        let (cost, password) = (self.house.cost, password.clone());
        let outcome = self
            .house
            .slots
            .run(false, || true, move || cost.hash(&password), |_| ())
            .await;
        outcome.ok().flatten().unwrap_or(Err(HashError))
    }
}

impl House {
    fn find(&self, login: &str) -> Result<Option<Account>, LoginError> {
        // L2: what is no address is nobody's.
        let Ok(address) = Address::parse(login) else {
            return Ok(None);
        };
        let look_up = || self.store.view()?.account_by_address(&address);
        look_up().map_err(|error: StoreError| {
            tracing::error!(%error, "an account could not be looked up");
            LoginError::Unavailable
        })
    }

    fn must_wait(&self, claim: &Claim<'_>) -> bool {
        let account = claim.account.as_ref().map(|account| account.id);
        let wait = self.throttle().wait(claim.source, account, self.now());
        if let Some(wait) = wait {
            tracing::info!(source = %claim.source, seconds = wait.as_secs(), "a login has to wait");
        }
        wait.is_some()
    }

    fn known_a_moment_ago<'a>(&self, claim: &'a Claim<'_>) -> Option<&'a Account> {
        let account = claim.account.as_ref().filter(|account| account.is_enabled)?;
        self.cache()
            .has(account.id, &account.verifier, claim.password, self.now())
            .then_some(account)
    }

    /// Does one hash, whoever it is. Gives the account as it now is when the password is right.
    async fn verify(&self, claim: &Claim<'_>) -> Result<Account, LoginError> {
        let verifier = claim.account.as_ref().and_then(|account| {
            Verifier::parse(&account.verifier)
                .inspect_err(
                    |error| tracing::error!(account = %account.id, %error, "a stored verifier is unreadable"),
                )
                .ok()
        });
        let is_large = verifier.as_ref().is_some_and(Verifier::is_large);
        let is_enabled = claim.account.as_ref().is_some_and(|account| account.is_enabled);
        let (cost, password) = (self.cost, claim.password.clone());
        let work = move || {
            let Some(verifier) = verifier else {
                return (cost.verify_nobody(&password), None);
            };
            let is_right = verifier.verify(&password);
            // L3: an imported hash is replaced by one of ours, now that the password is here.
            let is_replaced = is_right && is_enabled && !verifier.is_our_own();
            (is_right, is_replaced.then(|| cost.hash(&password)))
        };
        // Asked again after the queue, and counted before the next one asks: thirty connections at once
        // must not have thirty tries (L5).
        let is_wanted = || !self.must_wait(claim);
        let judge = |(is_right, _): &(bool, _)| {
            if !(*is_right && is_enabled) {
                self.refuse(claim);
            }
        };
        let (is_right, replacement) = match self.slots.run(is_large, is_wanted, work, judge).await {
            Ok(Some(done)) => done,
            Ok(None) => return Err(LoginError::Throttled),
            Err(SlotError::Busy) => return Err(LoginError::Busy),
            Err(SlotError::Lost) => return Err(LoginError::Unavailable),
        };
        let Some(mut account) = claim.account.clone().filter(|_| is_right && is_enabled) else {
            return Err(LoginError::Refused);
        };
        if let Some(Ok(verifier)) = replacement {
            match self.replace(&account, verifier.clone()).await {
                Ok(true) => account.verifier = verifier,
                Ok(false) => {}
                // The old one is as good as before; the next login tries again.
                Err(error) => {
                    tracing::warn!(account = %account.id, %error, "an imported hash was not replaced");
                }
            }
        }
        Ok(account)
    }

    /// Replaces a verifier, unless the password was changed while the new one was computed.
    async fn replace(&self, account: &Account, verifier: String) -> Result<bool, StoreError> {
        let now = self.store.view()?.account(account.id)?;
        if now.is_none_or(|now| now.verifier != account.verifier) {
            return Ok(false);
        }
        self.store.set_verifier(account.id, verifier).await?;
        Ok(true)
    }

    fn admit(&self, claim: &Claim<'_>, account: &Account) -> Identity {
        let now = self.now();
        self.throttle().succeeded(claim.source, account.id, now);
        self.cache()
            .remember(account.id, &account.verifier, claim.password, now);
        // For all protocols; the address as it was set up, never as it was typed (D38).
        tracing::info!(client = %claim.peer, account = %account.address, "logged in");
        Identity {
            account: account.id,
            address: account.address.clone(),
        }
    }

    fn refuse(&self, claim: &Claim<'_>) -> LoginError {
        let account = claim.account.as_ref().map(|account| account.id);
        self.throttle()
            .failed(claim.source, account, claim.attempt, self.now());
        // The account only as a number, and no login: it may be a password typed in the wrong place (D38).
        let account = account.map(tracing::field::display);
        tracing::info!(source = %claim.source, account, "a login was refused");
        LoginError::Refused
    }

    /// Equal for the same login in any spelling with the same password.
    fn attempt(&self, login: &str, password: &Secret<String>) -> Attempt {
        let login = Address::parse(login).map_or_else(|_| login.to_lowercase(), |address| address.key());
        let mut hasher = blake3::Hasher::new_keyed(&self.attempt_key);
        hasher.update(&login.len().to_le_bytes());
        hasher.update(login.as_bytes());
        hasher.update(password.reveal().as_bytes());
        let digest = hasher.finalize();
        let octets = digest.as_bytes().first_chunk().expect("a digest has 32 octets");
        Attempt(u64::from_le_bytes(*octets))
    }

    fn now(&self) -> Moment {
        Moment::START + self.started.elapsed()
    }

    // A panic while one of these is held leaves nothing half done that matters.
    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random_key() -> Result<[u8; blake3::KEY_LEN], HashError> {
    let mut key = [0; blake3::KEY_LEN];
    getrandom::fill(&mut key).map_err(|_| HashError)?;
    Ok(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;
    use store::{NewAccount, Options, Provision};

    const ANNA: &str = "anna@firma.cz";
    const BOB: &str = "bob@firma.cz";

    /// `$6$` of "correct horse battery staple", made by crypt(3).
    const IMPORTED: &str = "{SHA512-CRYPT}$6$usesomesillystri$OLEL4Znhd0dw1Ze2wphEQCpjmrJvJ0Lp/9vKzw3KHdj6YH4L/jTT3ph84uzXzCQcGds4wKcC0JIV3wrS1hxLr.";
    const IMPORTED_PASSWORD: &str = "correct horse battery staple";

    struct Box {
        auth: Auth,
        store: Store,
        _folder: tempfile::TempDir,
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn peer(number: u8) -> IpAddr {
        std::net::Ipv4Addr::new(198, 51, 100, number).into()
    }

    /// A box with these accounts and verifiers.
    async fn house(accounts: &[(&str, &str)]) -> Box {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), Options::default()).unwrap();
        let accounts = accounts.iter().map(|(address, verifier)| NewAccount {
            address: Address::parse(address).unwrap(),
            verifier: (*verifier).to_owned(),
            quota_octets: None,
        });
        let provision = Provision {
            domains: vec![
                mail::Domain::parse("firma.cz").unwrap(),
                mail::Domain::parse("háčky.cz").unwrap(),
            ],
            accounts: accounts.collect(),
            redirects: Vec::new(),
        };
        store.provision(provision).await.unwrap();
        let settings = Settings {
            cost: Cost::Small,
            throttle: ThrottleSettings::default(),
        };
        let auth = Auth::new(store.clone(), settings).unwrap();
        Box {
            auth,
            store,
            _folder: folder,
        }
    }

    async fn anna_and_bob() -> Box {
        let hash = |password| Cost::Small.hash(&secret(password)).unwrap();
        house(&[(ANNA, &hash("kůň")), (BOB, &hash("slon"))]).await
    }

    impl Box {
        async fn login(&self, login: &str, password: &str) -> Result<String, LoginError> {
            self.login_from(peer(1), login, password).await
        }

        async fn login_from(&self, peer: IpAddr, login: &str, password: &str) -> Result<String, LoginError> {
            let identity = self.auth.login(login, &secret(password), peer).await?;
            Ok(identity.address.to_string())
        }
    }

    /// L1
    #[tokio::test]
    async fn l1_the_login_is_the_address_in_any_spelling() {
        let hash = Cost::Small.hash(&secret("kůň")).unwrap();
        let house = house(&[(ANNA, &hash), ("eva@háčky.cz", &hash)]).await;
        for login in [
            "anna@firma.cz",
            "Anna@Firma.CZ",
            "ANNA@firma.cz.",
            " anna@firma.cz",
        ] {
            assert_eq!(house.login(login, "kůň").await.as_deref(), Ok(ANNA), "{login}");
        }
        for login in ["eva@háčky.cz", "eva@HÁČKY.cz", "eva@xn--hky-ela4t.cz"] {
            assert_eq!(
                house.login(login, "kůň").await.as_deref(),
                Ok("eva@xn--hky-ela4t.cz"),
                "{login}"
            );
        }
        assert_eq!(house.login("anna", "kůň").await, Err(LoginError::Refused));
    }

    /// L2
    #[tokio::test]
    async fn l2_every_reason_is_the_same_refusal() {
        let house = anna_and_bob().await;
        for (place, (login, password)) in (0_u8..).zip([
            (ANNA, "slon"),
            ("nobody@firma.cz", "kůň"),
            ("anna@elsewhere.cz", "kůň"),
            ("anna", "kůň"),
            ("", ""),
            ("@", "@"),
            (ANNA, ""),
            (ANNA, "kůň "),
            (&"a".repeat(2000), "kůň"),
            (ANNA, &"k".repeat(2000)),
        ]) {
            let outcome = house.login_from(peer(place), login, password).await;
            assert_eq!(outcome, Err(LoginError::Refused), "{login} {password}");
        }
    }

    /// AS30: the time of one hash, whoever it is.
    #[tokio::test]
    async fn as30_a_user_who_does_not_exist_costs_the_same_time() {
        let house = anna_and_bob().await;
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        // Interleaved, so that whatever else the machine does hits all alike; from many addresses.
        for round in 0_u8..15 {
            for (kind, login) in [ANNA, "nobody@firma.cz", "anna"].into_iter().enumerate() {
                let start = Instant::now();
                let outcome = house.login_from(peer(round), login, "wrong").await;
                times[kind].push(start.elapsed());
                assert_eq!(outcome, Err(LoginError::Refused));
            }
        }
        let [known, unknown, no_domain] = times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        });
        for other in [unknown, no_domain] {
            assert!(other * 2 > known && known * 2 > other, "{known:?} {other:?}");
        }
    }

    /// L3
    #[tokio::test]
    async fn l3_an_imported_hash_is_replaced_at_the_first_login() {
        let house = house(&[(ANNA, IMPORTED)]).await;
        let stored = || {
            let view = house.store.view().unwrap();
            view.account_by_address(&Address::parse(ANNA).unwrap())
                .unwrap()
                .unwrap()
                .verifier
        };
        assert_eq!(house.login(ANNA, "wrong").await, Err(LoginError::Refused));
        assert_eq!(stored(), IMPORTED);
        assert_eq!(house.login(ANNA, IMPORTED_PASSWORD).await.as_deref(), Ok(ANNA));
        let replaced = stored();
        assert!(
            replaced.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"),
            "{replaced}"
        );
        assert_eq!(house.login(ANNA, "wrong").await, Err(LoginError::Refused));
        assert_eq!(house.login(ANNA, IMPORTED_PASSWORD).await.as_deref(), Ok(ANNA));
        assert_eq!(stored(), replaced, "it is replaced once");
    }

    /// L5
    #[tokio::test]
    async fn l5_the_eleventh_wrong_password_is_not_looked_at() {
        let house = anna_and_bob().await;
        for number in 0..10 {
            let outcome = house.login(ANNA, &format!("wrong {number}")).await;
            assert_eq!(outcome, Err(LoginError::Refused));
        }
        assert_eq!(house.login(ANNA, "kůň").await, Err(LoginError::Throttled));
        assert_eq!(house.login_from(peer(2), ANNA, "kůň").await.as_deref(), Ok(ANNA));
    }

    /// L5: one telephone with an old password.
    #[tokio::test]
    async fn l5_an_old_password_tried_for_ever_locks_nobody_out() {
        let house = anna_and_bob().await;
        for spelling in [ANNA, "Anna@firma.cz"].into_iter().cycle().take(30) {
            assert_eq!(house.login(spelling, "old").await, Err(LoginError::Refused));
        }
        assert_eq!(house.login(ANNA, "kůň").await.as_deref(), Ok(ANNA));
        assert_eq!(house.login(BOB, "slon").await.as_deref(), Ok(BOB));
    }

    /// L5: thirty tries at once are no way around.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn l5_tries_at_once_are_counted_like_tries_in_turn() {
        let house = anna_and_bob().await;
        let tries: Vec<_> = (0..30)
            .map(|number| {
                let auth = house.auth.clone();
                tokio::spawn(async move {
                    auth.login(ANNA, &secret(&format!("wrong {number}")), peer(1))
                        .await
                })
            })
            .collect();
        let mut refused = 0;
        for outcome in tries {
            refused += usize::from(outcome.await.unwrap() == Err(LoginError::Refused));
        }
        // Ten, and the one that was being hashed beside the tenth.
        assert!((10..=11).contains(&refused), "{refused}");
    }

    /// AS31
    #[tokio::test]
    async fn as31_a_changed_password_makes_the_old_one_fail_at_once() {
        let house = anna_and_bob().await;
        let anna = house.auth.login(ANNA, &secret("kůň"), peer(1)).await.unwrap();
        let verifier = house.auth.hash(&secret("osel")).await.unwrap();
        house.store.set_verifier(anna.account, verifier).await.unwrap();
        assert_eq!(house.login(ANNA, "kůň").await, Err(LoginError::Refused));
        assert_eq!(house.login(ANNA, "osel").await.as_deref(), Ok(ANNA));
    }

    /// AS31
    #[tokio::test]
    async fn as31_interleaved_users_are_never_mixed_up() {
        let house = anna_and_bob().await;
        for round in 0..1000 {
            assert_eq!(house.login(ANNA, "kůň").await.as_deref(), Ok(ANNA));
            assert_eq!(house.login(BOB, "slon").await.as_deref(), Ok(BOB));
            if round % 500 == 0 {
                assert_eq!(house.login(ANNA, "slon").await, Err(LoginError::Refused));
                assert_eq!(house.login(BOB, "kůň").await, Err(LoginError::Refused));
            }
        }
    }

    /// Ten connections of one mail program cost one hash.
    #[tokio::test]
    async fn a_login_that_just_succeeded_costs_nothing() {
        let house = anna_and_bob().await;
        let start = Instant::now();
        house.login(ANNA, "kůň").await.unwrap();
        let first = start.elapsed();
        let start = Instant::now();
        for _ in 0..10 {
            house.login(ANNA, "kůň").await.unwrap();
        }
        assert!(
            start.elapsed() < first.max(Duration::from_millis(5)),
            "{first:?} {:?}",
            start.elapsed()
        );
    }

    #[tokio::test]
    async fn a_store_that_is_closed_is_not_a_wrong_password() {
        let house = anna_and_bob().await;
        house.store.close();
        assert_eq!(house.login(ANNA, "kůň").await, Err(LoginError::Unavailable));
    }
}
