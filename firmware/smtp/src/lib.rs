#![doc = include_str!("../README.md")]

mod command;
mod data;
mod reply;
mod serve;
mod session;

pub use command::{ClientName, Command, CommandError, Mail};
pub use data::DataError;
pub use serve::{Host, Smtp};
pub use session::{Answer, Need, SequenceError, Session};
