//! Claiming: a box that belongs to nobody becomes somebody's, once (D39, AX2).
//!
//! ```text
//!  unclaimed ── code or button, address, password ── one record of the store ──► claimed, for ever
//!      │                                                                           │
//!      └ code in its folder and on the console                                     └ code gone, /setup is 410
//! ```
//!
//! # Invariants
//! - The store decides who was first: with two claims at once one account is made.
//! - What the store has made is told to the house, also when the browser has gone meanwhile.

mod button;
mod code;
mod tries;

pub(crate) use button::{Busy, Progress, Token};

use auth::{Cost, PasswordFlaw, password_flaw};
use button::Button;
use code::Code;
use mail::{Address, AddressError, Secret};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{NewAccount, Provision, Store, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tries::Tries;
use wire::limits::PASSWORD_HASHES_AT_ONCE;

/// The claim of this box. Clones are the same one.
#[derive(Clone)]
pub struct Claiming(Arc<Inner>);

struct Inner {
    store: Store,
    cost: Cost,
    folder: PathBuf,
    has_button: bool,
    /// Argon2 takes much memory.
    hashing: Semaphore,
    guarded: Mutex<Guarded>,
    is_claimed: watch::Sender<bool>,
    button_wait: watch::Sender<ButtonWait>,
}

struct Guarded {
    /// `None`: the box is claimed.
    code: Option<Code>,
    tries: Tries,
    button: Button,
}

/// How long a press of the button is wanted from now on; zero: no longer.
pub type ButtonWait = Duration;

/// Why it cannot be told whether the box is claimed, or there is no code.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store does not say.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The code cannot be kept, or there are no random numbers.
    #[error("the claim code cannot be kept: {0}")]
    Code(#[source] io::Error),
}

/// What the form brings.
pub(crate) struct Claim {
    pub(crate) proof: Proof,
    pub(crate) address: String,
    pub(crate) password: Secret<String>,
    pub(crate) again: Secret<String>,
}

pub(crate) enum Proof {
    Code(String),
    Button(Token),
}

/// Why the box is not claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is claimed already")]
    AlreadyClaimed,
    #[error("there were too many wrong codes; {} s are left", .0.as_secs())]
    Locked(Duration),
    #[error("there was no code")]
    NoCode,
    #[error("the code was wrong; {left} more tries")]
    WrongCode { left: u32 },
    #[error("the button was not pressed in time")]
    ButtonOver,
    /// One or more; of them at most one of each field.
    #[error("the form has mistakes")]
    Mistakes(Vec<Mistake>),
    #[error("somebody else was first")]
    SomebodyElse,
    #[error("{0}")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    NoAddress,
    /// C3: `*@firma.cz` would be all addresses, which there is none for.
    CatchAll,
    Address(AddressError),
    Password(PasswordFlaw),
    Again,
}

impl Claiming {
    /// The claim of the box with this store. An unclaimed box has its code from now on, a claimed one none.
    pub fn open(store: Store, folder: &Path, cost: Cost, has_button: bool) -> Result<Claiming, OpenError> {
        let is_claimed = store.view()?.is_claimed()?;
        let code = if is_claimed {
            // Perhaps the power went between the claim and this.
            Code::forget(folder);
            None
        } else {
            Some(Code::kept(folder).map_err(OpenError::Code)?)
        };
        Ok(Claiming(Arc::new(Inner {
            store,
            cost,
            folder: folder.to_owned(),
            has_button,
            hashing: Semaphore::new(PASSWORD_HASHES_AT_ONCE),
            guarded: Mutex::new(Guarded {
                code,
                tries: Tries::default(),
                button: Button::default(),
            }),
            is_claimed: watch::Sender::new(is_claimed),
            button_wait: watch::Sender::new(ButtonWait::ZERO),
        })))
    }

    /// Whether the box belongs to somebody.
    pub fn is_claimed(&self) -> bool {
        *self.0.is_claimed.borrow()
    }

    /// Returns when the box belongs to somebody. Cancel-safe.
    pub async fn claimed(&self) {
        // The sender lives as long as this.
        let _ = self
            .0
            .is_claimed
            .subscribe()
            .wait_for(|is_claimed| *is_claimed)
            .await;
    }

    /// The code for the console; `None` when the box is claimed.
    pub fn code(&self) -> Option<String> {
        self.guarded().code.as_ref().map(ToString::to_string)
    }

    /// Tells each time a press of the button is wanted, and when it is no longer.
    pub fn button_waits(&self) -> watch::Receiver<ButtonWait> {
        self.0.button_wait.subscribe()
    }

    /// The button was pressed.
    pub fn press_button(&self) {
        let pressed = self.guarded().button.press(Instant::now());
        if let Some(from) = pressed {
            tracing::info!(%from, "the button was pressed for the set-up page that waited for it");
            self.0.button_wait.send_replace(ButtonWait::ZERO);
        }
    }

    pub(crate) fn has_button(&self) -> bool {
        self.0.has_button
    }

    /// A page wants the button to be pressed.
    pub(crate) fn ask_for_button(
        &self,
        token: Option<Token>,
        from: IpAddr,
    ) -> io::Result<Result<Token, Busy>> {
        let asked = self.guarded().button.ask(token, from, Instant::now())?;
        Ok(asked.map(|(token, wait)| {
            tracing::info!(%from, "a set-up page waits for a press of the button");
            self.0.button_wait.send_replace(wait);
            token
        }))
    }

    pub(crate) fn button_progress(&self, token: Token) -> Progress {
        self.guarded().button.progress(token, Instant::now())
    }

    /// How long no code is taken; `None` when one is.
    pub(crate) fn locked_for(&self) -> Option<Duration> {
        self.guarded().tries.locked_for(Instant::now())
    }

    /// Claims the box, if the proof is right and the form has no mistake.
    pub(crate) async fn claim(&self, claim: Claim, from: IpAddr) -> Result<(), Refused> {
        if self.is_claimed() {
            return Err(Refused::AlreadyClaimed);
        }
        self.prove(&claim.proof, from)?;
        let address = check(&claim).map_err(Refused::Mistakes)?;
        // A browser that goes now takes nobody with it.
        let claiming = self.clone();
        let made = tokio::spawn(async move { claiming.make(address, claim.password).await });
        made.await
            .unwrap_or_else(|error| Err(Refused::Fault(error.into())))
    }

    fn prove(&self, proof: &Proof, from: IpAddr) -> Result<(), Refused> {
        let now = Instant::now();
        let mut guarded = self.guarded();
        let text = match proof {
            Proof::Button(token) => {
                return match guarded.button.progress(*token, now) {
                    Progress::Pressed => Ok(()),
                    Progress::Waiting(_) | Progress::Over => Err(Refused::ButtonOver),
                };
            }
            Proof::Code(text) => text,
        };
        if let Some(left) = guarded.tries.locked_for(now) {
            return Err(Refused::Locked(left));
        }
        // Whoever forgot it has not tried.
        if text.trim().is_empty() {
            return Err(Refused::NoCode);
        }
        let code = guarded.code.as_ref().ok_or(Refused::AlreadyClaimed)?;
        if Code::typed(text).is_some_and(|typed| typed.is(code)) {
            return Ok(());
        }
        let left = guarded.tries.count(now);
        tracing::warn!(%from, left, "a wrong claim code");
        Err(Refused::WrongCode { left })
    }

    async fn make(&self, address: Address, password: Secret<String>) -> Result<(), Refused> {
        let fault = |error: Box<dyn std::error::Error + Send + Sync>| Refused::Fault(error);
        let place = self
            .0
            .hashing
            .acquire()
            .await
            .map_err(|error| fault(error.into()))?;
        if self.is_claimed() {
            return Err(Refused::SomebodyElse);
        }
        let cost = self.0.cost;
        let verifier = tokio::task::spawn_blocking(move || cost.hash(&password)).await;
        drop(place);
        let verifier = verifier
            .map_err(|error| fault(error.into()))?
            .map_err(|error| fault(error.into()))?;
        let provision = Provision {
            domains: vec![address.domain.clone()],
            accounts: vec![NewAccount {
                address: address.clone(),
                verifier,
                quota_octets: None,
            }],
            redirects: Vec::new(),
        };
        match self.0.store.provision(provision).await {
            Ok(()) => {}
            Err(StoreError::AlreadyClaimed) => return Err(Refused::SomebodyElse),
            Err(error) => return Err(fault(error.into())),
        }
        tracing::info!(%address, "the box is claimed: this is its first mailbox");
        self.guarded().code = None;
        let folder = self.0.folder.clone();
        let _ = tokio::task::spawn_blocking(move || Code::forget(&folder)).await;
        self.0.button_wait.send_replace(ButtonWait::ZERO);
        self.0.is_claimed.send_replace(true);
        Ok(())
    }

    fn guarded(&self) -> MutexGuard<'_, Guarded> {
        // Nothing panics while it is held.
        self.0.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(claim: &Claim) -> Result<Address, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let written = claim.address.trim();
    let address = match Address::parse(written) {
        Ok(_) if written.contains('*') => {
            mistakes.push(Mistake::CatchAll);
            None
        }
        // Mail from outside comes to no domain of one label; somebody forgot the rest.
        Ok(address) if !address.domain.as_str().contains('.') => {
            mistakes.push(Mistake::Address(AddressError::Domain));
            None
        }
        Ok(address) => Some(address),
        Err(_) if written.is_empty() => {
            mistakes.push(Mistake::NoAddress);
            None
        }
        Err(error) => {
            mistakes.push(Mistake::Address(error));
            None
        }
    };
    if let Some(flaw) = password_flaw(claim.password.reveal(), written) {
        mistakes.push(Mistake::Password(flaw));
    } else if claim.password.reveal() != claim.again.reveal() {
        mistakes.push(Mistake::Again);
    }
    address.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}
