//! The programs of the box, built for it by cargo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::paths::Paths;
use crate::tool;

pub(crate) const TARGET: &str = "aarch64-unknown-linux-musl";

/// As `.cargo/config.toml` has it, which this goes before.
const C_FLAGS: &str = "-U_FORTIFY_SOURCE";
const C_FLAGS_VARIABLE: &str = "CFLAGS_aarch64_unknown_linux_musl";

/// Package, binary and file name in the archive are one word for each of them.
pub(crate) const PROGRAMS: [&str; 3] = ["init", "netd", "maild"];

/// How much is asked of the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build, assertions on: for tests and for trying things out.
    Ci,
    /// Small and optimised as a whole: what people flash.
    Release,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Release => "release",
        }
    }

    /// zstd level of the archive: 19 saves a tenth and costs ten seconds.
    pub(crate) fn compression(self) -> i32 {
        match self {
            Self::Ci => 6,
            Self::Release => 19,
        }
    }

    /// zstd level of the disk image. Most of it is packed already: what is gained is the second slot, at any level.
    pub(crate) fn disk_compression(self) -> i32 {
        match self {
            Self::Ci => 1,
            Self::Release => 12,
        }
    }
}

/// Builds `program` and gives its octets without symbols; the unstripped file stays in the target folder, where
/// the addresses of a backtrace can be looked up.
///
/// One cargo call for each program: a single call would unite the features of their dependencies, and the small
/// ones would carry what only the large one needs.
pub(crate) fn program(
    name: &'static str,
    profile: Profile,
    workspace: &Path,
    target: &Path,
) -> Result<Vec<u8>, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args([
            "build",
            "--profile",
            profile.name(),
            "--target",
            TARGET,
            "--package",
            name,
            "--bin",
            name,
        ])
        .arg("--target-dir")
        .arg(target);
    if profile == Profile::Release {
        let paths = Paths::of(workspace, target);
        command
            .arg("--config")
            .arg(paths.config(TARGET))
            .env(C_FLAGS_VARIABLE, format!("{C_FLAGS} {}", paths.c_flags()));
    }
    // cargo shows its own progress on our terminal.
    let status = command
        .status()
        .map_err(|source| tool::not_run(&command, "rustup", source))?;
    if !status.success() {
        return Err(Error::Program(name));
    }
    stripped(&target.join(TARGET).join(profile.name()).join(name))
}

fn stripped(program: &Path) -> Result<Vec<u8>, Error> {
    let path: PathBuf = program.with_extension("stripped");
    tool::output(
        Command::new("aarch64-linux-gnu-strip")
            .arg("-o")
            .arg(&path)
            .arg(program),
        "binutils-aarch64-linux-gnu",
    )?;
    fs::read(&path).map_err(Error::file("read", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_c_compiler_are_those_of_the_house() {
        let config = include_str!("../../../.cargo/config.toml");
        let line = format!("{C_FLAGS_VARIABLE} = \"{C_FLAGS}\"\n");
        assert!(config.contains(&line), "{config}");
    }
}
