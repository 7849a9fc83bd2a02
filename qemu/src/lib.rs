#![doc = include_str!("../README.md")]

mod console;
mod disk;
mod error;
mod image;
mod machine;
mod plan;
mod ports;
mod qmp;
mod stick;

pub use console::Console;
pub use disk::{Disk, OCTETS_MIN};
pub use error::Error;
pub use image::{Image, target, workspace};
pub use machine::{Builder, Machine};
pub use plan::{Network, Reset};
pub use ports::{HostPort, SERVICES, Service, free_from};
pub use stick::Stick;
