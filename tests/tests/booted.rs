//! The scenarios on the image in an emulated machine, and those that need one: button, power, disk, memory.

/// What a scenario prints stands under its name: several run at once.
macro_rules! println {
    ($($text:tt)*) => { e2e::runner::tell(format_args!($($text)*)) };
}

mod scenario;

#[path = "scenario/board.rs"]
mod board;
#[path = "scenario/boot_chain.rs"]
mod boot_chain;
#[path = "scenario/clock.rs"]
mod clock;
#[path = "scenario/data_disk.rs"]
mod data_disk;
#[path = "scenario/machine.rs"]
mod machine;
#[path = "scenario/network.rs"]
mod network;
#[path = "scenario/power.rs"]
mod power;
#[path = "scenario/sandbox.rs"]
mod sandbox;
#[path = "scenario/update.rs"]
mod update;

use std::process::ExitCode;
use std::sync::Arc;

use e2e::Stage;
use e2e::stage::BootedImage;

/// How many machines run at once, on the two cores that a computer has at least.
const MACHINES: usize = 3;

fn main() -> ExitCode {
    let stage: Arc<dyn Stage> = match BootedImage::new() {
        Ok(stage) => Arc::new(stage),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    e2e::runner::main(
        &stage,
        // Those of their own boxes begin in this order; the longest are not to be the last.
        [
            update::scenarios(),
            board::scenarios(),
            network::scenarios(),
            clock::scenarios(),
            boot_chain::scenarios(),
            power::scenarios(),
            machine::scenarios(),
            sandbox::scenarios(),
            scenario::both_stages(),
            data_disk::scenarios(),
        ]
        .concat(),
        MACHINES,
    )
}
