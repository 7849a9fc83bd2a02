#![doc = include_str!("../README.md")]
#![no_std]

#[cfg(test)]
extern crate std;

mod board;
pub mod boot;
pub mod bootstate;
pub mod gpt;
pub mod header;
pub mod keys;
pub mod layout;
pub mod line;

pub use board::Board;
pub use bootstate::{Fault, Slot, State};
pub use header::{Header, Needs, Refusal};
pub use keys::{Certificate, Roots, SigningKey};
