//! The scenarios on the image in an emulated machine, and those that need one: button, power, disk, memory.

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
#[path = "scenario/sandbox.rs"]
mod sandbox;
#[path = "scenario/update.rs"]
mod update;

use std::process::ExitCode;
use std::sync::Arc;

use e2e::Stage;
use e2e::stage::BootedImage;

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
        [
            scenario::both_stages(),
            board::scenarios(),
            machine::scenarios(),
            sandbox::scenarios(),
            boot_chain::scenarios(),
            update::scenarios(),
            data_disk::scenarios(),
            network::scenarios(),
            clock::scenarios(),
        ]
        .concat(),
    )
}
