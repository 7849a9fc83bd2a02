//! Clients of our own, which share no code with the firmware: what they say is written out in the scenario.

pub mod conversation;
pub mod hello;
pub mod http;
pub mod imap;
pub mod smtp;
pub mod tls;

pub use conversation::{Conversation, PATIENCE};
pub use imap::Imap;
pub use smtp::{Reply, Smtp};
