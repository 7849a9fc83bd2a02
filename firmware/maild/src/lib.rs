#![doc = include_str!("../README.md")]

mod arguments;
mod dev;
mod handoff;
#[cfg(feature = "hostile")]
pub mod hostile;
mod house;
mod limits;
mod log;
mod opened;
mod provision;
mod sandbox;
mod self_test;
mod services;
mod settings;
mod tool;
mod trouble;

use arguments::Command;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Handle;
use trouble::Trouble;

/// What was typed makes no sense; everything else that goes wrong is 1.
const EXIT_ARGUMENTS: u8 = 2;
/// Threads that may block: two of them hash, two search, the others read mail for IMAP, write what comes in and look
/// through it. More would only wait for the same card.
const BLOCKING_THREADS_MAX: usize = 8;

/// The program.
pub fn main() -> ExitCode {
    with(|_| {})
}

/// The program, which does something more once its runtime is there.
fn with(beside: impl FnOnce(&Handle)) -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    // A name that is not UTF-8 is shown as well as it goes, and is then not found.
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let outcome = match arguments::parse(arguments) {
        Ok(Command::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Handoff { data, log }) => {
            let keeper = log::start(log, false);
            sandbox::close(&data).and_then(|()| {
                // Only now: the sandbox is closed before there is a second thread.
                let _writing = keeper.write_to(&data);
                run(handoff::run(data, keeper.clone()), beside)
            })
        }
        Ok(Command::Dev(dev)) => {
            let keeper = log::start(dev.log, true);
            let open = |dev| {
                let ready = dev::prepare(dev)?;
                sandbox::close(&ready.data)?;
                Ok(ready)
            };
            open(dev).and_then(|ready| {
                let _writing = keeper.write_to(&ready.data);
                run(dev::run(ready, keeper.clone()), beside)
            })
        }
        Ok(Command::Log { data }) => return print_log(&data),
        Ok(Command::Tool(tool)) => return tool::run(&tool),
        Err(sentence) => {
            eprintln!("maild: {}", log::printable(&sentence));
            return ExitCode::from(EXIT_ARGUMENTS);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            for line in trouble.to_string().lines() {
                eprintln!("maild: {}", log::printable(line));
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints what was kept of the log.
fn print_log(data: &Path) -> ExitCode {
    match log::read(data) {
        Ok(lines) => {
            let mut stdout = std::io::stdout().lock();
            // Whoever looked at the beginning only has seen enough.
            let _ = lines.iter().try_for_each(|line| writeln!(stdout, "{line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("maild: the log in {} cannot be read: {error}", data.display());
            ExitCode::FAILURE
        }
    }
}

/// Runs one of the two ways to serve to its end.
fn run(
    serving: impl Future<Output = Result<(), Trouble>>,
    beside: impl FnOnce(&Handle),
) -> Result<(), Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(limits::workers())
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("maild")
        .enable_all()
        .build()
        .map_err(Trouble::System)?;
    beside(runtime.handle());
    let outcome = runtime.block_on(serving);
    // A hash that still runs is of no use to anybody.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}
