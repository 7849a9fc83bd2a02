#![doc = include_str!("../README.md")]

mod assets;
mod claim;
mod connection;
mod guard;
mod language;
mod pages;
mod patient;
mod place;
mod same_origin;
#[cfg(test)]
mod tests;
mod web;

pub use claim::{ButtonWait, Claiming, OpenError};
pub use place::Place;
pub use web::{ALPN, Web};
