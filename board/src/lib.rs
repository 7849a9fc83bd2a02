#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(test, feature = "linux")), no_std)]

mod gesture;
mod led;
#[cfg(feature = "linux")]
pub mod linux;
pub mod sim;
mod table;

pub use gesture::{Button, Gesture, HELD_MS};
pub use led::{State, StatusLed};
pub use table::Board;
