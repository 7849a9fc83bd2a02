#![doc = include_str!("../README.md")]

mod builder;
mod cable;
mod console;
mod disk;
mod error;
mod firmware;
mod forgetful;
mod image;
mod line;
mod machine;
mod plain;
mod plan;
mod ports;
mod qmp;
mod sparse;
mod stick;

pub use builder::Builder;
pub use cable::{Cable, CableEnd};
pub use console::Console;
pub use disk::{Disk, OCTETS_MIN};
pub use error::Error;
pub use firmware::Firmware;
pub use forgetful::{Flush, ForgetfulDisk, Lost, Random};
pub use image::{Image, target, workspace};
pub use machine::Machine;
pub use plan::{Network, Reset};
pub use ports::{HostPort, SERVICES, Service, free_from};
pub use stick::Stick;
