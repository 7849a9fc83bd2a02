//! What the box is called: the name that was chosen for it, and a number behind it while somebody else on the link has
//! that name (RFC 6762 §9). Pure: time is an argument.

use handoff::HostName;

/// The box's name until somebody gives it another.
const DEFAULT: &str = "postolka";
/// So often is tried whether the chosen name has become free.
const RETRY_MS: u64 = 3_600_000;
/// To find out takes netd a second; then nobody has objected.
const TRIAL_MS: u64 = 10_000;
/// A link on which so many names are taken is one where somebody objects to each.
const NUMBER_MAX: u32 = 99;

/// The name, chosen and actual.
#[derive(Debug)]
pub(crate) struct Naming {
    base: HostName,
    /// 1: the chosen name itself.
    number: u32,
    /// When the chosen name is tried again.
    retry_ms: Option<u64>,
    /// Until when the chosen name is tried: it is announced, and nobody but netd is told.
    trial_ms: Option<u64>,
}

impl Naming {
    pub(crate) fn new(base: HostName) -> Self {
        Self {
            base,
            number: 1,
            retry_ms: None,
            trial_ms: None,
        }
    }

    /// The name nobody has chosen.
    pub(crate) fn default_name() -> HostName {
        HostName::new(DEFAULT).expect("the constant is a host name")
    }

    /// The name that was chosen.
    pub(crate) fn base(&self) -> &HostName {
        &self.base
    }

    /// What the box is called.
    pub(crate) fn name(&self) -> HostName {
        numbered(&self.base, self.number)
    }

    /// What netd is to announce.
    pub(crate) fn announced(&self) -> HostName {
        if self.trial_ms.is_some() {
            self.base.clone()
        } else {
            self.name()
        }
    }

    /// Somebody has chosen this name.
    pub(crate) fn choose(&mut self, base: HostName) {
        if base != self.base {
            *self = Self::new(base);
        }
    }

    /// This name, which was announced, belongs to somebody else; whether that is news. Of several cards on one link each hears
    /// the objection, and the box has another name by the time the second tells it.
    pub(crate) fn conflict(&mut self, taken: &HostName, now_ms: u64) -> bool {
        if *taken != self.announced() {
            return false;
        }
        self.retry_ms = Some(now_ms + RETRY_MS);
        if self.trial_ms.take().is_none() {
            self.number = (self.number + 1).min(NUMBER_MAX);
        }
        true
    }

    /// Nothing is announced any more, so that nobody can object.
    pub(crate) fn forget_conflict(&mut self) {
        *self = Self::new(self.base.clone());
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        if self.trial_ms.is_some_and(|trial_ms| trial_ms <= now_ms) {
            self.forget_conflict();
        } else if self.retry_ms.is_some_and(|retry_ms| retry_ms <= now_ms) {
            self.retry_ms = None;
            self.trial_ms = Some(now_ms + TRIAL_MS);
        }
    }

    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        self.trial_ms.or(self.retry_ms)
    }
}

/// The name with a number behind its first label, which is what is announced. A long label gives way to the number.
fn numbered(base: &HostName, number: u32) -> HostName {
    if number < 2 {
        return base.clone();
    }
    let (label, domain) = match base.as_str().split_once('.') {
        Some((label, domain)) => (label, format!(".{domain}")),
        None => (base.as_str(), String::new()),
    };
    let suffix = format!("-{number}{domain}");
    let room = HostName::OCTETS_MAX.saturating_sub(suffix.len());
    let label = label[..label.len().min(room)].trim_end_matches('-');
    // A name whose domain leaves no room stays as it is.
    HostName::new(&format!("{label}{suffix}")).unwrap_or_else(|_| base.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = RETRY_MS;

    fn naming() -> Naming {
        Naming::new(Naming::default_name())
    }

    fn conflict(naming: &mut Naming, now_ms: u64) {
        assert!(naming.conflict(&naming.announced(), now_ms));
    }

    fn check(naming: &Naming, name: &str, announced: &str) {
        let (is, says) = (naming.name(), naming.announced());
        assert_eq!((is.as_str(), says.as_str()), (name, announced));
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number_and_the_next_one() {
        let mut naming = naming();
        check(&naming, "postolka", "postolka");
        conflict(&mut naming, 0);
        check(&naming, "postolka-2", "postolka-2");
        conflict(&mut naming, 1_000);
        check(&naming, "postolka-3", "postolka-3");
        for _ in 0..1000 {
            conflict(&mut naming, 2_000);
        }
        check(&naming, "postolka-99", "postolka-99");
    }

    #[test]
    fn the_chosen_name_is_tried_again_each_hour_and_the_box_keeps_its_number_meanwhile() {
        let mut naming = naming();
        conflict(&mut naming, 0);
        assert_eq!(naming.deadline_ms(), Some(HOUR));
        naming.tick(HOUR - 1);
        check(&naming, "postolka-2", "postolka-2");
        naming.tick(HOUR);
        check(&naming, "postolka-2", "postolka");
        // It is still taken.
        conflict(&mut naming, HOUR + 500);
        check(&naming, "postolka-2", "postolka-2");
        naming.tick(HOUR + 20_000);
        check(&naming, "postolka-2", "postolka-2");
        // It is free.
        naming.tick(2 * HOUR + 500);
        naming.tick(2 * HOUR + 500 + TRIAL_MS - 1);
        check(&naming, "postolka-2", "postolka");
        naming.tick(2 * HOUR + 500 + TRIAL_MS);
        check(&naming, "postolka", "postolka");
        assert_eq!(naming.deadline_ms(), None);
    }

    #[test]
    fn another_chosen_name_and_silence_end_the_conflict() {
        let mut naming = naming();
        conflict(&mut naming, 0);
        naming.choose(Naming::default_name());
        check(&naming, "postolka-2", "postolka-2");
        naming.choose(HostName::new("mail.example.net").unwrap());
        check(&naming, "mail.example.net", "mail.example.net");
        conflict(&mut naming, 0);
        check(&naming, "mail-2.example.net", "mail-2.example.net");
        naming.forget_conflict();
        check(&naming, "mail.example.net", "mail.example.net");
        assert_eq!(naming.deadline_ms(), None);
    }

    #[test]
    fn two_cards_that_lose_a_name_raise_the_number_once() {
        let mut naming = naming();
        let taken = naming.announced();
        assert!(naming.conflict(&taken, 0));
        assert!(!naming.conflict(&taken, 0));
        check(&naming, "postolka-2", "postolka-2");
        // The same when the chosen name is tried again.
        naming.tick(HOUR);
        assert!(naming.conflict(&taken, HOUR + 500));
        assert!(!naming.conflict(&taken, HOUR + 501));
        check(&naming, "postolka-2", "postolka-2");
    }

    #[test]
    fn a_long_name_gives_way_to_its_number() {
        let check = |base: String, expected: String| {
            assert_eq!(numbered(&HostName::new(&base).unwrap(), 12).as_str(), expected);
        };
        check("a".repeat(63), format!("{}-12", "a".repeat(60)));
        check(format!("{}--a", "a".repeat(58)), format!("{}-12", "a".repeat(58)));
        // No room: the domain is most of it.
        let full = format!("a.{}", "b".repeat(61));
        check(full.clone(), full);
    }

    proptest! {
        #[test]
        fn each_number_makes_a_host_name_of_its_own(
            base in "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?(\\.[a-z0-9]{1,20})?",
            number in 2..=NUMBER_MAX,
        ) {
            let base = HostName::new(&base).unwrap();
            let name = numbered(&base, number);
            prop_assert_ne!(&name, &base);
            prop_assert_ne!(name, numbered(&base, number - 1));
        }
    }
}
