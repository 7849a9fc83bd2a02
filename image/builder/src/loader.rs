//! The loader, built for UEFI with the roots and the board it is for.

use std::path::Path;
use std::process::Command;

use format::Board;
use format::keys::PUBLIC_KEY_OCTETS;

use crate::error::Error;
use crate::keys;
use crate::paths::Paths;
use crate::tool;

/// The only place that names it. The firmware's own toolchain has no standard library for the target.
const TOOLCHAIN: &str = "1.95.0";
const TARGET: &str = "aarch64-unknown-uefi";
/// cargo's profile, in the workspace's manifest.
const PROFILE: &str = "loader";

/// What the loader may have. It is read by firmware of all kinds, lies on each card unsigned and is never updated with the
/// versions: what it cannot do cannot go wrong, and nobody puts a parser in by the way.
const OCTETS_MAX: usize = 40 << 10;

/// Builds the loader and gives its octets.
pub(crate) fn loader(
    board: Board,
    roots: &[[u8; PUBLIC_KEY_OCTETS]],
    workspace: &Path,
    target: &Path,
) -> Result<Vec<u8>, Error> {
    install_toolchain()?;
    // Its own folder: another compiler would throw away what the firmware's has built.
    let target = target.join("loader");
    let mut command = Command::new("rustup");
    command
        .current_dir(workspace)
        .args(["run", TOOLCHAIN, "cargo", "build", "--quiet", "--locked"])
        .args(["--package", "loader", "--target", TARGET, "--profile", PROFILE])
        .arg("--target-dir")
        .arg(&target)
        .env("POSTOLKA_ROOTS", keys::spelt(roots, ","))
        .env("POSTOLKA_BOARD", board.name())
        // Of the cargo that runs this program; the other one finds its own.
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTFLAGS");
    command
        .arg("--config")
        .arg(Paths::of(workspace, &target).config(TARGET));
    let status = command
        .status()
        .map_err(|source| tool::not_run(&command, "rustup", source))?;
    if !status.success() {
        return Err(Error::Program("loader"));
    }
    within(crate::read(
        &target.join(TARGET).join(PROFILE).join("loader.efi"),
    )?)
}

/// The loader, if it is as small as it is to be.
fn within(loader: Vec<u8>) -> Result<Vec<u8>, Error> {
    let octets = loader.len();
    if octets > OCTETS_MAX {
        return Err(Error::LoaderTooLarge {
            octets,
            allowed: OCTETS_MAX,
        });
    }
    Ok(loader)
}

fn install_toolchain() -> Result<(), Error> {
    let list = ["target", "list", "--installed", "--toolchain", TOOLCHAIN];
    // It fails where the toolchain is not there, and says so in its own words.
    let installed = Command::new("rustup").args(list).output();
    let is_there = installed.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .any(|line| line.trim() == TARGET)
    });
    if is_there {
        return Ok(());
    }
    println!("loader: installing the Rust toolchain {TOOLCHAIN} for {TARGET}, once");
    let install = [
        "toolchain",
        "install",
        TOOLCHAIN,
        "--profile",
        "minimal",
        "--target",
        TARGET,
    ];
    tool::output(Command::new("rustup").args(install), "rustup").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_that_has_grown_over_its_goal_is_refused() {
        assert!(matches!(within(vec![0; OCTETS_MAX]), Ok(loader) if loader.len() == OCTETS_MAX));
        let refused = within(vec![0; OCTETS_MAX + 1]).map_err(|error| error.to_string());
        let said = "the loader has 40961 octets, and may have 40960: ";
        assert!(refused.is_err_and(|refused| refused.starts_with(said)));
    }
}
