#![doc = include_str!("../README.md")]

mod buffer;
pub mod class;
pub mod limits;
mod line;
mod moment;
mod session;
mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use buffer::{Input, Output};
pub use line::{Line, LineReader};
pub use moment::Moment;
pub use session::{Peer, Session, Step, TlsFacts};
pub use source::Source;
