#![doc = include_str!("../README.md")]

mod cache;
mod login;
mod password;
pub mod sasl;
mod slots;
mod throttle;
mod verifier;

pub use login::{Auth, Identity, LoginError, Settings};
pub use password::{PasswordFlaw, password_flaw};
pub use throttle::{Attempt, Throttle, ThrottleSettings};
pub use verifier::{Cost, HashError, Verifier, VerifierError};
