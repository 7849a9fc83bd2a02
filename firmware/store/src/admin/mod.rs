//! What an owner administers: accounts, domains, aliases, roles, settings, and the trail of who did what.
//!
//! The store keeps all this and its own order (nothing is numbered twice, what names another thing names one that is
//! there, limits hold against everybody who asks at once). Who may do what is for those who ask.

mod account;
mod alias;
mod app_password;
mod audit;
mod domain;
mod role;
mod setting;

pub use account::{AccountChange, ChangeAccount, CreateAccount, DeleteAccount, RenameAccount};
pub use alias::{AliasPage, REDIRECT_TARGETS_MAX, RemoveAliases, SetAliases};
pub use app_password::{AddAppPassword, AppPassword, AppPasswordUsed, ChangeAppPassword, RemoveAppPassword};
pub use audit::{AuditLine, Audited};
pub use domain::{AddDomain, ChangeDomain, DomainLimit, HostedDomain, RemoveDomain};
pub use role::SetRole;
pub use setting::{SETTING_OCTETS_MAX, SetSettings, SettingName};

pub(crate) use audit::{PruneAudit, WithAudit};

use crate::error::StoreError;
use std::ops::Bound;

/// Rows that one call looks at when it searches: a few milliseconds. Who wants more asks again from where it ended.
const ROWS_PER_PAGE_MAX: usize = 4096;

/// A part of a list, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What was found.
    pub found: Vec<T>,
    /// Behind which key the next page begins; `None`: that was all.
    pub next: Option<String>,
}

/// What of a list is asked for.
#[derive(Clone, Debug, Default)]
pub struct Find {
    /// A part of it, in any case; empty: all.
    pub text: String,
    /// [`Page::next`] of the page before.
    pub after: Option<String>,
    /// How many at most.
    pub limit: usize,
}

impl Find {
    fn matches<'t>(&self, mut texts: impl Iterator<Item = &'t str>) -> bool {
        let text = self.text.to_lowercase();
        text.is_empty() || texts.any(|found| found.to_lowercase().contains(&text))
    }

    /// Where the rows of a domain begin, of those that are keyed by domain and local part.
    fn start<'k>(&'k self, domain: &'k str) -> Bound<(&'k str, &'k str)> {
        match &self.after {
            Some(after) => Bound::Excluded((domain, after.as_str())),
            None => Bound::Included((domain, "")),
        }
    }
}

/// Collects the rows of a domain that match, up to a page of them.
fn page<T>(
    find: &Find,
    domain: &str,
    rows: impl Iterator<Item = Result<(String, String, Option<T>), StoreError>>,
) -> Result<Page<T>, StoreError> {
    let mut page = Page {
        found: Vec::new(),
        next: None,
    };
    for (looked_at, row) in rows.enumerate() {
        let (of, key, found) = row?;
        if of != domain {
            return Ok(Page { next: None, ..page });
        }
        if page.found.len() >= find.limit || looked_at >= ROWS_PER_PAGE_MAX {
            return Ok(page);
        }
        page.found.extend(found);
        page.next = Some(key);
    }
    Ok(Page { next: None, ..page })
}
