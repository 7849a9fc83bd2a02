//! Where mail to an address goes.
//!
//! ```text
//!  domain not hosted ─► NotHosted
//!  account disabled ──► Disabled, and its redirect stops too (C4)
//!  redirect ──────────► each target in turn; the address itself among them: its own mailbox as well (R3)
//!  account ───────────► its mailbox, unless it is full
//!  none of these ─────► UnknownUser; postmaster and abuse: the first account of the domain, else of the box (C6)
//! ```
//!
//! # Invariants
//!
//! - An address is looked up once, so a circle of redirects ends (AS18).
//! - There is no catch-all (C3): what is not an account, a redirect or a duty is refused.
//! - If one of the mailboxes behind a redirect is full, the recipient is refused for now. Nobody's copy is
//!   left out in silence.

use mail::{AccountId, Address, ForwardPath, LocalPart};
use std::collections::BTreeSet;
use store::{Account, StoreError, View};
use wire::limits::{REDIRECT_EXPANSIONS_MAX, SMTP_RECIPIENTS_MAX};

/// A recipient, and the mailboxes its mail goes to: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// As the client gave it.
    pub forward_path: ForwardPath,
    /// Each account once.
    pub targets: Vec<Target>,
}

/// A mailbox that mail goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose.
    pub account: AccountId,
    /// The address of the account.
    pub address: Address,
}

/// Why mail cannot go to an address.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// C1: a hosted domain has no such address. For good.
    #[error("no such mailbox")]
    UnknownUser,
    /// C2: the domain is not ours, and nobody may relay through us. For good.
    #[error("the domain is not hosted here")]
    NotHosted,
    /// C4: the account is disabled. For good.
    #[error("the mailbox is disabled")]
    Disabled,
    /// S8: the mailbox is full. May pass.
    #[error("the mailbox is full")]
    OverQuota,
    /// R4: redirects lead in a circle, or through too many steps. For good.
    #[error("redirects lead in a circle")]
    Loop,
    /// AS18: redirects lead to too many addresses. For good.
    #[error("redirects lead to too many addresses")]
    TooManyTargets,
    /// A redirect leads to another server. May pass.
    ///
    /// Not supported: there is no outgoing queue yet, and provisioning refuses such redirects.
    #[error("a redirect leads to another server")]
    Outside,
    /// The store failed. May pass.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

/// AS18: addresses looked up for one recipient; half of them may stand for others.
const LOOKUPS_MAX: usize = 2 * SMTP_RECIPIENTS_MAX;
/// C6, RFC 5321 §4.5.1, RFC 2142 §2.
const DUTIES: [&str; 2] = ["postmaster", "abuse"];

/// Whether a path names somebody who must be reached (C6, RFC 5321 §4.5.1, RFC 2142 §2): no quota and
/// no throttle stands before them.
pub fn is_duty(forward_path: &ForwardPath) -> bool {
    match forward_path {
        ForwardPath::Postmaster => true,
        ForwardPath::Address(address) => DUTIES
            .iter()
            .any(|duty| address.local_part.as_str().eq_ignore_ascii_case(duty)),
    }
}

/// See [`Delivery::route`](crate::Delivery::route).
pub(crate) fn route(
    view: &View,
    forward_path: ForwardPath,
    octets: Option<u64>,
) -> Result<Route, RouteError> {
    let address = match &forward_path {
        ForwardPath::Address(address) => address.clone(),
        ForwardPath::Postmaster => postmaster(view)?,
    };
    if !view.domain(&address.domain)? {
        return Err(RouteError::NotHosted);
    }
    let is_duty = is_duty(&forward_path);
    let expansion = Expansion {
        view,
        // C6: a duty has no quota.
        octets: if is_duty { None } else { Some(octets.unwrap_or(1)) },
        seen: BTreeSet::new(),
        targets: Vec::new(),
        failure: None,
    };
    let targets = match expansion.run(&address) {
        Err(RouteError::Store(error)) => return Err(RouteError::Store(error)),
        Err(error) if is_duty => {
            tracing::debug!(%address, %error, "a duty goes to the first account");
            vec![first_account(view, &address)?]
        }
        Err(error) => return Err(error),
        Ok(targets) => targets,
    };
    Ok(Route {
        forward_path,
        targets,
    })
}

/// Whom `<postmaster>` means: the postmaster of the owner's domain, where the owner is the first account.
fn postmaster(view: &View) -> Result<Address, RouteError> {
    let accounts = view.accounts()?;
    let owner = accounts
        .into_iter()
        .find(|account| account.is_enabled)
        .ok_or(RouteError::UnknownUser)?;
    Ok(Address {
        local_part: LocalPart::from_unquoted(DUTIES[0]).expect("postmaster is a local part"),
        domain: owner.address.domain,
    })
}

/// Who has the duties of a domain that names nobody: its first account, else the owner of the box.
fn first_account(view: &View, address: &Address) -> Result<Target, RouteError> {
    let mut accounts = view.accounts()?;
    accounts.retain(|account| account.is_enabled);
    let place = accounts
        .iter()
        .position(|account| account.address.domain == address.domain)
        .unwrap_or(0);
    if accounts.is_empty() {
        return Err(RouteError::UnknownUser);
    }
    Ok(accounts.swap_remove(place).into())
}

impl From<Account> for Target {
    fn from(account: Account) -> Target {
        Target {
            account: account.id,
            address: account.address,
        }
    }
}

/// What a recipient stands for, as far as it is known.
struct Expansion<'a> {
    view: &'a View,
    /// What each mailbox must have room for; `None`: no matter.
    octets: Option<u64>,
    /// The keys of the addresses that were looked up.
    seen: BTreeSet<String>,
    targets: Vec<Target>,
    /// Why an address came to nothing.
    failure: Option<RouteError>,
}

impl Expansion<'_> {
    fn run(mut self, address: &Address) -> Result<Vec<Target>, RouteError> {
        let mut level = vec![address.clone()];
        let mut expansions = 0;
        while !level.is_empty() {
            if expansions > REDIRECT_EXPANSIONS_MAX {
                return Err(RouteError::Loop);
            }
            expansions += 1;
            let mut next = Vec::new();
            for address in level {
                self.look_up(&address, &mut next)?;
            }
            level = next;
        }
        if self.targets.is_empty() {
            // Only a circle comes to nothing without any address in it failing.
            return Err(self.failure.unwrap_or(RouteError::Loop));
        }
        if let Some(error) = self.failure {
            tracing::warn!(%address, %error, "a target of a redirect gets no mail");
        }
        Ok(self.targets)
    }

    /// Adds the mailbox of an address to the targets, or the targets of its redirect to `next`.
    fn look_up(&mut self, address: &Address, next: &mut Vec<Address>) -> Result<(), RouteError> {
        let key = address.key();
        if !self.seen.insert(key.clone()) {
            return Ok(());
        }
        if self.seen.len() > LOOKUPS_MAX {
            return Err(RouteError::TooManyTargets);
        }
        if !self.view.domain(&address.domain)? {
            tracing::error!(%address, "a redirect leads to another server");
            return Err(RouteError::Outside);
        }
        let account = self.view.account_by_address(address)?;
        if account.as_ref().is_some_and(|account| !account.is_enabled) {
            self.failure.get_or_insert(RouteError::Disabled);
            return Ok(());
        }
        let Some(redirect) = self.view.redirect(address)? else {
            if let Some(account) = account {
                return self.add(account);
            }
            self.failure.get_or_insert(RouteError::UnknownUser);
            return Ok(());
        };
        let (itself, others): (Vec<Address>, Vec<Address>) = redirect
            .targets
            .into_iter()
            .partition(|target| target.key() == key);
        next.extend(others);
        match account {
            Some(account) if !itself.is_empty() => self.add(account),
            _ => Ok(()),
        }
    }

    fn add(&mut self, account: Account) -> Result<(), RouteError> {
        if self
            .octets
            .is_some_and(|octets| account.is_over_quota_with(octets))
        {
            return Err(RouteError::OverQuota);
        }
        if self.targets.len() >= SMTP_RECIPIENTS_MAX {
            return Err(RouteError::TooManyTargets);
        }
        self.targets.push(account.into());
        Ok(())
    }
}
