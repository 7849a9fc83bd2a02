//! The programs with somebody inside who tries what the sandbox is to prevent (D43): `maild-hostile` and `netd-hostile`. They
//! are built here, and no image holds them.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::tool;

const TARGET: &str = "aarch64-unknown-linux-musl";

/// Where a program is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On this computer.
    Here,
    /// In the box.
    Box,
}

/// Builds the hostile kind of a program; gives where it lies.
///
/// # Errors
/// It does not compile.
pub(super) fn build(program: &str, place: Place) -> io::Result<PathBuf> {
    let name = format!("{program}-hostile");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(qemu::workspace()).args([
        "build",
        "--quiet",
        "--profile",
        "ci",
        "--package",
        program,
        "--bin",
        &name,
        "--features",
        &format!("{program}/hostile"),
    ]);
    let folder = match place {
        Place::Here => qemu::target(),
        Place::Box => {
            command.args(["--target", TARGET]);
            qemu::target().join(TARGET)
        }
    };
    run(&mut command)?;
    let built = folder.join("ci").join(&name);
    if place == Place::Here {
        return Ok(built);
    }
    let stripped = built.with_extension("stripped");
    run(Command::new("aarch64-linux-gnu-strip")
        .arg("-o")
        .arg(&stripped)
        .arg(&built))?;
    Ok(stripped)
}

fn run(command: &mut Command) -> io::Result<()> {
    tool::run(command)
        .map(drop)
        .map_err(|error| io::Error::other(error.to_string()))
}
