#![doc = include_str!("../README.md")]

pub mod authority;
pub mod call;
mod clock;
pub mod listener;
pub mod pump;
mod shutdown;
pub mod stream;
pub mod tls;

pub use clock::now;
pub use pump::Host;
pub use shutdown::{Shutdown, Stop, stop_switch};
pub use stream::Stream;
