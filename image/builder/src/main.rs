#![doc = include_str!("../README.md")]

mod apt;
mod archive;
mod bmap;
mod build;
mod cpio;
mod disk;
mod e2fsck;
mod error;
mod esp;
mod kernel;
mod keyfile;
mod keys;
mod loader;
mod lock;
mod look;
mod options;
mod paths;
mod pi;
mod pristine;
mod programs;
mod progress;
mod show;
mod slot;
mod source;
mod tool;
mod verify;
mod version;

use std::process::ExitCode;

use error::Error;
use options::Task;

pub(crate) use build::read;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match options::parse(&arguments).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Error> {
    match task {
        Task::Help => {
            print!("{}", options::HELP);
            Ok(())
        }
        Task::Build(options) => build::build(&options),
        Task::RootKey { file } => keys::make_root(&file),
        Task::ReleaseKey(new) => keys::make_release(&new),
        Task::Verify { file, keys } => verify::verify(&file, keys),
        Task::Show { file, keys } => show::show(&file, keys),
    }
}
