//! Who has to wait before the next try (L5). Pure: time is an argument.
//!
//! Failures are counted per source (an IPv4 address, an IPv6 /64). Three rules keep one telephone with
//! an old password from locking out the office it is in:
//!
//! - The same wrong password for the same account counts once.
//! - A source from which an account logged in within 30 days is, for that account, judged by the
//!   failures of that account alone.
//! - A source on the local network waits ten minutes at most; for others the wait doubles each time.
//!
//! Nothing here tells an account that exists from one that does not, except to a source that has
//! already logged in to it.

use mail::AccountId;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;
use wire::limits::{LOGIN_FAILURES_MAX, LOGIN_FAILURES_WINDOW};
use wire::{Moment, Source};

/// L5: how long a source is known to belong to an account.
const KNOWN_FOR: Duration = Duration::from_hours(30 * 24);
/// The longest wait of a source that comes back and back.
const WAIT_MAX: Duration = Duration::from_hours(24);
/// After this long without a wait, the waits begin small again.
const WAITS_FORGOTTEN_AFTER: Duration = Duration::from_hours(24);
/// Sources with failures that are kept, about a quarter of a KiB each. Over it, the one that was quiet
/// for longest is forgotten: an attacker with so many addresses gains ten more tries for each.
const SOURCES_MAX: usize = 4096;
/// Pairs of source and account that are kept.
const KNOWN_MAX: usize = 4096;

/// How many failures are borne. Lifted for load tests, which all come from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// Failures within [`LOGIN_FAILURES_WINDOW`] that make a source wait; 0 for no throttle.
    pub failures_max: u32,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        ThrottleSettings {
            failures_max: LOGIN_FAILURES_MAX,
        }
    }
}

/// A wrong password for an account, in a form that says neither. Equal for the same password and the
/// same login, whether the account exists or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt(pub u64);

/// The failures of each source, and who has to wait.
#[derive(Debug)]
pub struct Throttle {
    settings: ThrottleSettings,
    sources: Table<Source>,
    known: Table<(Source, AccountId)>,
}

impl Throttle {
    /// A throttle that has seen nothing.
    pub fn new(settings: ThrottleSettings) -> Throttle {
        Throttle {
            settings,
            sources: Table::new(SOURCES_MAX),
            known: Table::new(KNOWN_MAX),
        }
    }

    /// How long `source` has to wait before it may try `account` (`None` when there is no such
    /// account); `None` when it may try now.
    pub fn wait(&self, source: Source, account: Option<AccountId>, now: Moment) -> Option<Duration> {
        let budget = match self.known_budget(source, account, now) {
            Some(own) => own,
            None => self.sources.get(source)?,
        };
        let until = budget.waits_until?;
        (until > now).then(|| until - now)
    }

    /// Counts a failure of `source`. `account` is the one that was tried, if there is one.
    pub fn failed(&mut self, source: Source, account: Option<AccountId>, attempt: Attempt, now: Moment) {
        let Some(rule) = self.rule(source) else { return };
        let is_known = self.known_budget(source, account, now).is_some();
        if let (true, Some(account)) = (is_known, account) {
            self.known
                .change((source, account), now)
                .failed(attempt, rule, now);
        }
        self.sources.change(source, now).failed(attempt, rule, now);
    }

    /// Remembers that `account` logged in from `source`. What others tried from there still counts.
    pub fn succeeded(&mut self, source: Source, account: AccountId, now: Moment) {
        let budget = self.known.change((source, account), now);
        *budget = Budget {
            known_until: Some(now + KNOWN_FOR),
            last_used: now,
            ..Budget::default()
        };
    }

    fn known_budget(&self, source: Source, account: Option<AccountId>, now: Moment) -> Option<&Budget> {
        let budget = self.known.get((source, account?))?;
        budget
            .known_until
            .is_some_and(|until| until > now)
            .then_some(budget)
    }

    fn rule(&self, source: Source) -> Option<Rule> {
        let failures_max = usize::try_from(self.settings.failures_max).unwrap_or(usize::MAX);
        (failures_max > 0).then_some(Rule {
            failures_max,
            wait_max: if source.is_local() {
                LOGIN_FAILURES_WINDOW
            } else {
                WAIT_MAX
            },
        })
    }
}

/// What holds for one source.
#[derive(Clone, Copy)]
struct Rule {
    failures_max: usize,
    wait_max: Duration,
}

/// The failures of one source, or of one account from one source.
#[derive(Debug)]
struct Budget {
    /// Within the window, oldest first; fewer than the rule's `failures_max`.
    failures: Vec<(Moment, Attempt)>,
    waits_until: Option<Moment>,
    /// How often it had to wait, lately.
    waits: u32,
    known_until: Option<Moment>,
    last_used: Moment,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            failures: Vec::new(),
            waits_until: None,
            waits: 0,
            known_until: None,
            last_used: Moment::START,
        }
    }
}

impl Budget {
    fn failed(&mut self, attempt: Attempt, rule: Rule, now: Moment) {
        self.failures.retain(|(at, _)| now - *at < LOGIN_FAILURES_WINDOW);
        if self.failures.iter().any(|(_, earlier)| *earlier == attempt) {
            return;
        }
        self.failures.push((now, attempt));
        if self.failures.len() < rule.failures_max {
            return;
        }
        self.failures.clear();
        if self
            .waits_until
            .is_some_and(|until| now - until > WAITS_FORGOTTEN_AFTER)
        {
            self.waits = 0;
        }
        let wait = LOGIN_FAILURES_WINDOW * 2_u32.saturating_pow(self.waits.min(16));
        self.waits_until = Some(now + wait.min(rule.wait_max));
        self.waits += 1;
    }

    /// Whether forgetting it changes nothing.
    fn is_over(&self, now: Moment) -> bool {
        let is_quiet = self
            .failures
            .iter()
            .all(|(at, _)| now - *at >= LOGIN_FAILURES_WINDOW);
        let is_free = self
            .waits_until
            .is_none_or(|until| now - until > WAITS_FORGOTTEN_AFTER);
        let is_unknown = self.known_until.is_none_or(|until| until <= now);
        is_quiet && is_free && is_unknown
    }
}

/// Budgets by key, at most so many.
#[derive(Debug)]
struct Table<K> {
    budgets: HashMap<K, Budget>,
    length_max: usize,
}

impl<K: Copy + Eq + Hash> Table<K> {
    fn new(length_max: usize) -> Table<K> {
        Table {
            budgets: HashMap::new(),
            length_max,
        }
    }

    fn get(&self, key: K) -> Option<&Budget> {
        self.budgets.get(&key)
    }

    fn change(&mut self, key: K, now: Moment) -> &mut Budget {
        if self.budgets.len() >= self.length_max && !self.budgets.contains_key(&key) {
            self.make_room(now);
        }
        let budget = self.budgets.entry(key).or_default();
        budget.last_used = now;
        budget
    }

    /// Forgets what is over, else the one that was quiet for longest.
    fn make_room(&mut self, now: Moment) {
        self.budgets.retain(|_, budget| !budget.is_over(now));
        if self.budgets.len() >= self.length_max {
            let quietest = self.budgets.iter().min_by_key(|(_, budget)| budget.last_used);
            if let Some(key) = quietest.map(|(key, _)| *key) {
                self.budgets.remove(&key);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const ANNA: AccountId = AccountId(1);
    const BOB: AccountId = AccountId(2);

    fn throttle() -> Throttle {
        Throttle::new(ThrottleSettings::default())
    }

    fn outside() -> Source {
        Source::of("198.51.100.7".parse().unwrap())
    }

    fn office() -> Source {
        Source::of("192.168.1.20".parse().unwrap())
    }

    fn at(minutes: u64) -> Moment {
        Moment::from_millis(minutes * 60_000)
    }

    /// `count` different wrong passwords at one moment.
    fn fail(throttle: &mut Throttle, source: Source, account: Option<AccountId>, count: u64, now: Moment) {
        for number in 0..count {
            let account_part = account.map_or(0, |account| u64::from(account.0) << 32);
            throttle.failed(
                source,
                account,
                Attempt(now.millis() << 8 ^ account_part ^ number),
                now,
            );
        }
    }

    /// L5
    #[test]
    fn l5_the_tenth_failure_in_ten_minutes_makes_a_source_wait() {
        let mut throttle = throttle();
        fail(&mut throttle, outside(), Some(ANNA), 9, at(0));
        assert_eq!(throttle.wait(outside(), Some(ANNA), at(0)), None);
        fail(&mut throttle, outside(), None, 1, at(9));
        assert_eq!(throttle.wait(outside(), Some(BOB), at(9)), Some(10 * MINUTE));
        assert_eq!(throttle.wait(outside(), None, at(9)), Some(10 * MINUTE));
        let other = Source::of("198.51.100.8".parse().unwrap());
        assert_eq!(throttle.wait(other, Some(ANNA), at(9)), None);
        assert_eq!(throttle.wait(outside(), Some(ANNA), at(19)), None, "it is over");
    }

    /// L5
    #[test]
    fn l5_failures_older_than_ten_minutes_do_not_count() {
        let mut throttle = throttle();
        fail(&mut throttle, outside(), Some(ANNA), 9, at(0));
        fail(&mut throttle, outside(), Some(ANNA), 9, at(10));
        assert_eq!(throttle.wait(outside(), Some(ANNA), at(10)), None);
    }

    /// L5
    #[test]
    fn l5_all_of_a_slash_64_is_one_source() {
        let mut throttle = throttle();
        for host in 0..10 {
            let source = Source::of(format!("2001:db8:1:2::{host}").parse().unwrap());
            throttle.failed(source, Some(ANNA), Attempt(host), at(0));
        }
        let neighbour = Source::of("2001:db8:1:2:ffff::9".parse().unwrap());
        assert!(throttle.wait(neighbour, Some(ANNA), at(0)).is_some());
        let stranger = Source::of("2001:db8:1:3::9".parse().unwrap());
        assert_eq!(throttle.wait(stranger, Some(ANNA), at(0)), None);
    }

    /// L5: the telephone with the old password.
    #[test]
    fn l5_the_same_wrong_password_for_the_same_account_counts_once() {
        let mut throttle = throttle();
        for minute in 0..60 {
            throttle.failed(office(), Some(ANNA), Attempt(1), at(minute));
        }
        assert_eq!(throttle.wait(office(), Some(ANNA), at(60)), None);
        assert_eq!(throttle.wait(office(), Some(BOB), at(60)), None);
    }

    /// L5: several people behind one address.
    #[test]
    fn l5_who_logged_in_from_there_is_not_shut_out_by_others() {
        let mut throttle = throttle();
        throttle.succeeded(outside(), ANNA, at(0));
        fail(&mut throttle, outside(), Some(BOB), 10, at(1));
        assert!(throttle.wait(outside(), Some(BOB), at(1)).is_some());
        assert_eq!(throttle.wait(outside(), Some(ANNA), at(1)), None);
        // But by own failures.
        fail(&mut throttle, outside(), Some(ANNA), 10, at(2));
        assert_eq!(throttle.wait(outside(), Some(ANNA), at(2)), Some(10 * MINUTE));
    }

    /// L5
    #[test]
    fn l5_a_login_is_remembered_for_thirty_days() {
        let day = 24 * 60;
        let mut throttle = throttle();
        throttle.succeeded(outside(), ANNA, at(0));
        fail(&mut throttle, outside(), Some(BOB), 10, at(30 * day - 1));
        assert_eq!(throttle.wait(outside(), Some(ANNA), at(30 * day - 1)), None);
        assert!(throttle.wait(outside(), Some(ANNA), at(30 * day)).is_some());
    }

    /// An attacker with an account must not buy fresh tries with it.
    #[test]
    fn a_success_does_not_pay_for_failures_with_other_accounts() {
        let mut throttle = throttle();
        for round in 0..10 {
            fail(
                &mut throttle,
                outside(),
                Some(ANNA),
                1,
                at(round) + Duration::from_millis(1),
            );
            throttle.succeeded(outside(), BOB, at(round));
        }
        assert!(throttle.wait(outside(), Some(ANNA), at(9)).is_some());
    }

    /// L5
    #[test]
    fn l5_the_wait_doubles_outside_and_stays_at_ten_minutes_on_the_local_network() {
        for (source, expected) in [
            (outside(), [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]),
            (office(), [10; 10]),
        ] {
            let mut throttle = throttle();
            let mut now = at(0);
            for minutes in expected {
                fail(&mut throttle, source, Some(ANNA), 10, now);
                let wait = throttle.wait(source, Some(ANNA), now).unwrap();
                assert_eq!(wait, minutes * MINUTE, "{source}");
                now = now + wait;
            }
        }
    }

    #[test]
    fn after_a_quiet_day_the_waits_begin_small_again() {
        let mut throttle = throttle();
        fail(&mut throttle, outside(), Some(ANNA), 10, at(0));
        fail(&mut throttle, outside(), Some(ANNA), 10, at(10));
        fail(&mut throttle, outside(), Some(ANNA), 10, at(30 + 24 * 60 + 1));
        assert_eq!(
            throttle.wait(outside(), Some(ANNA), at(30 + 24 * 60 + 1)),
            Some(10 * MINUTE)
        );
    }

    #[test]
    fn no_throttle_when_it_is_lifted() {
        let mut throttle = Throttle::new(ThrottleSettings { failures_max: 0 });
        fail(&mut throttle, outside(), Some(ANNA), 1000, at(0));
        assert_eq!(throttle.wait(outside(), Some(ANNA), at(0)), None);
    }

    /// AS29: a hundred thousand addresses must not fill the memory, nor free the loudest.
    #[test]
    fn as29_the_table_is_bounded_and_forgets_the_quietest() {
        let mut throttle = throttle();
        fail(&mut throttle, outside(), Some(ANNA), 10, at(1000));
        for number in 0_u32..20_000 {
            let source = Source::of(std::net::Ipv4Addr::from(0x0b00_0000 + number).into());
            throttle.failed(source, None, Attempt(1), at(u64::from(number / 100)));
        }
        assert!(throttle.sources.budgets.len() <= SOURCES_MAX);
        assert!(throttle.wait(outside(), Some(ANNA), at(1000)).is_some());
    }
}
