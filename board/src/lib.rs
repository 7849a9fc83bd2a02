#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(test, feature = "linux")), no_std)]

mod debounce;
mod gesture;
mod led;
#[cfg(feature = "linux")]
pub mod linux;
pub mod sim;
mod table;

pub use debounce::{Change, Debounce, SETTLE_MS};
pub use gesture::{Button, Gesture, HELD_MS, NEAR_MS, Phase};
pub use led::{State, StatusLed};
pub use table::{Board, Line};
