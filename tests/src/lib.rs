#![doc = include_str!("../README.md")]

pub mod appliance;
pub mod client;
pub mod dialogue;
pub mod mail;
pub mod office;
pub mod oracle;
pub mod peer;
pub mod power_cut;
pub mod random;
pub mod runner;
pub mod slot;
pub mod stage;
pub mod tool;

pub use appliance::{Appliance, Plan, Service, Stage};
pub use client::{Conversation, Imap, Smtp};
pub use office::{Account, Office};
pub use runner::Scenario;
