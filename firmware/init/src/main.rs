#![doc = include_str!("../README.md")]

mod bpf;
mod button;
mod care;
mod child;
mod console;
mod disk;
mod follow;
mod fsck;
mod hotplug;
mod kmsg;
mod leave;
mod led;
mod links;
mod mail;
mod mount;
mod naming;
mod network;
mod nice;
mod page;
mod refused;
mod reset;
mod run;
mod seccomp;
mod settings;
mod shutdown;
mod signals;
mod slot;
mod spawn;
mod standing;
mod stick;
mod storage;
mod supervise;
mod sysctl;
mod time;
mod trouble;
mod update;
mod version;
mod worker;
mod workers;

use std::process::ExitCode;

use console::Console;
use run::Machine;
use time::Time;
use version::Version;

/// The boot story. Each step says what it needs on the console when it fails, and the box goes on without it as far
/// as it can: a person who sees a sentence can help, one who sees a kernel panic cannot.
fn main() -> ExitCode {
    if std::process::id() != 1 {
        if let Some(code) = worker::main() {
            return code;
        }
        eprintln!("init is the first process of the box and nothing else.");
        return ExitCode::FAILURE;
    }
    let mounted = mount::kernel_file_systems();
    let mut console = Console::open();
    if let Err((target, error)) = mounted {
        console.line(&format!("{target} could not be mounted: {error}"));
    }
    if let Err(error) = mount::root_files() {
        console.line(&format!("/etc could not be filled: {error}"));
    }
    let version = Version::read();
    let (time, line) = Time::start(version.build_date);
    if let Some(line) = line {
        console.line(&line);
    }
    if let Err(sentence) = sysctl::apply() {
        console.line(&sentence);
    }
    if let Err(error) = spawn::prepare_groups() {
        console.line(&format!("Memory limits could not be set: {error}"));
    }
    match Machine::new(console, version, time) {
        Ok(machine) => machine.run(),
        // Without signals or routing there is nothing init could do: the kernel panics and starts the box again.
        Err(error) => {
            eprintln!("init cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}
