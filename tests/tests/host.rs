//! The scenarios on the mail process of this computer, and those that only make sense there.

/// What a scenario prints stands under its name: several run at once.
macro_rules! println {
    ($($text:tt)*) => { e2e::runner::tell(format_args!($($text)*)) };
}

mod scenario;

#[path = "scenario/hostile.rs"]
mod hostile;
#[path = "scenario/process.rs"]
mod process;

use std::process::ExitCode;
use std::sync::Arc;

use e2e::Stage;
use e2e::stage::HostProcess;

fn main() -> ExitCode {
    let stage: Arc<dyn Stage> = Arc::new(HostProcess);
    e2e::runner::main(
        &stage,
        [
            scenario::both_stages(),
            process::scenarios(),
            hostile::scenarios(),
        ]
        .concat(),
        1,
    )
}
