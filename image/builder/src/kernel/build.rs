//! Compiling the kernel: unpack, configure, check the configuration, compile, put into the cache in one step.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::config::Fragment;
use super::source::Source;
use super::{COMPILER, COMPILER_PACKAGE};
use crate::error::Error;
use crate::progress::Progress;
use crate::tool;

/// File names in the cache.
pub(crate) const ZBOOT: &str = "kernel";
pub(crate) const BARE: &str = "Image";

/// Device trees of the boards that do not bring their own: the tree's name, in its folder of the source.
pub(crate) const DEVICE_TREES: [&str; 5] = [
    "bcm2837-rpi-3-a-plus.dtb",
    "bcm2837-rpi-3-b.dtb",
    "bcm2837-rpi-3-b-plus.dtb",
    "bcm2711-rpi-4-b.dtb",
    "bcm2711-rpi-400.dtb",
];
const DEVICE_TREE_VENDOR: &str = "broadcom";

/// What Kbuild would otherwise take from the clock and the machine. Whoever builds gets the same octets.
pub(crate) const IDENTITY: [(&str, &str); 4] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026"),
    ("KBUILD_BUILD_USER", "postolka"),
    ("KBUILD_BUILD_HOST", "image"),
    ("KBUILD_BUILD_VERSION", "1"),
];

/// Lines that `make` wrote when the kernel was last built from nothing; for the progress line only.
const STEPS_EXPECTED: usize = 2_210;
const TAIL_LINES: usize = 15;

/// The programs Kbuild calls, with their Debian packages. It would name a missing one late and in passing.
const TOOLS: [(&str, &str); 9] = [
    (COMPILER, COMPILER_PACKAGE),
    ("gcc", "build-essential"),
    ("make", "build-essential"),
    ("bison", "bison"),
    ("flex", "flex"),
    ("bc", "bc"),
    ("perl", "perl"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// The log of a build, beside its place in the cache. It stays, for the curious as well as for the unlucky.
pub(crate) fn log(place: &Path) -> PathBuf {
    place.with_extension("log")
}

/// Builds the kernel and moves it to `place` as a whole: an interrupted build leaves nothing that looks finished.
pub(crate) fn build(
    source: &Source,
    fragment: &Fragment,
    fragment_text: &str,
    place: &Path,
) -> Result<(), Error> {
    for (program, package) in TOOLS {
        find(program).ok_or(Error::ToolMissing {
            tool: program.to_owned(),
            package,
        })?;
    }
    let work = place.with_extension("build");
    remove_folder(&work)?;
    let (tree, out, finished) = (work.join("source"), work.join("out"), work.join("finished"));
    for folder in [&tree, &out, &finished] {
        fs::create_dir_all(folder).map_err(Error::file("make the folder", folder))?;
    }

    let tarball = source.tarball(&work)?;
    eprintln!("kernel {}: unpacking", source.version);
    tool::output(
        Command::new("tar")
            .args(["--extract", "--strip-components=1", "--file"])
            .arg(&tarball)
            .arg("--directory")
            .arg(&tree),
        "tar",
    )?;
    configure(&tree, &out, fragment, fragment_text)?;
    compile(&tree, &out, &source.version, &log(place))?;

    let boot = out.join("arch/arm64/boot");
    copy(&boot.join("vmlinuz.efi"), &finished.join(ZBOOT))?;
    copy(&boot.join("Image"), &finished.join(BARE))?;
    copy(&out.join(".config"), &finished.join("config"))?;
    let trees = out.join("arch/arm64/boot/dts").join(DEVICE_TREE_VENDOR);
    for name in DEVICE_TREES {
        copy(&trees.join(name), &finished.join(name))?;
    }
    remove_folder(place)?;
    fs::rename(&finished, place).map_err(Error::file("move a kernel to", place))?;
    remove_folder(&work)
}

/// `make` for the box, set up alike for configuring and compiling.
fn make(tree: &Path, out: &Path) -> Command {
    let mut command = Command::new("make");
    command.arg("-C").arg(tree);
    command.arg(format!("O={}", out.display()));
    command.args(["ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"]);
    command.envs(IDENTITY).env("LC_ALL", "C");
    // A make above us, or a developer's habit, must not change what is built.
    for name in [
        "MAKEFLAGS",
        "MAKELEVEL",
        "KCFLAGS",
        "KCPPFLAGS",
        "KAFLAGS",
        "LOCALVERSION",
        "V",
    ] {
        command.env_remove(name);
    }
    command
}

fn configure(tree: &Path, out: &Path, fragment: &Fragment, fragment_text: &str) -> Result<(), Error> {
    let path = out.join("fragment.config");
    fs::write(&path, fragment_text).map_err(Error::file("write", &path))?;
    let said = tool::output(
        make(tree, out)
            .args(["-s", "alldefconfig"])
            .env("KCONFIG_ALLCONFIG", &path)
            .env("KCONFIG_WARN_UNKNOWN_SYMBOLS", "1"),
        "build-essential",
    )?;
    let unknown = unknown_symbols(&String::from_utf8_lossy(&said.stderr));
    if !unknown.is_empty() {
        return Err(Error::UnknownSymbols(unknown.join(", ")));
    }
    let path = out.join(".config");
    let config = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let differences = fragment.differences(&config);
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Error::Config(differences))
    }
}

/// An `n` for a symbol that does not exist would look fulfilled for ever. Kconfig knows:
/// `fragment.config:216:warning: unknown symbol: I2C_COMPAT`.
fn unknown_symbols(said: &str) -> Vec<String> {
    said.lines()
        .filter_map(|line| line.split_once("unknown symbol: "))
        .map(|(_, symbol)| symbol.trim().to_owned())
        .collect()
}

fn compile(tree: &Path, out: &Path, version: &str, log: &Path) -> Result<(), Error> {
    let mut progress = Progress::new(&format!("kernel {version}: compiling"));
    let mut file = fs::File::create(log).map_err(Error::file("write", log))?;
    let errors = file.try_clone().map_err(Error::file("write", log))?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = make(tree, out);
    command
        .arg(format!("-j{jobs}"))
        .arg("vmlinuz.efi")
        .args(DEVICE_TREES.map(|name| format!("{DEVICE_TREE_VENDOR}/{name}")))
        .stdout(Stdio::piped())
        .stderr(errors);
    let mut child = command
        .spawn()
        .map_err(|source| tool::not_run(&command, "build-essential", source))?;
    if let Some(stdout) = child.stdout.take() {
        for (steps, line) in BufReader::new(stdout).lines().map_while(Result::ok).enumerate() {
            writeln!(file, "{line}").map_err(Error::file("write", log))?;
            progress.at(steps, STEPS_EXPECTED);
        }
    }
    let status = child
        .wait()
        .map_err(|source| tool::not_run(&command, "build-essential", source))?;
    if status.success() {
        progress.done();
        return Ok(());
    }
    let whole = fs::read(log).map_err(Error::file("read", log))?;
    Err(Error::Kernel {
        tail: tail(&String::from_utf8_lossy(&whole)),
        log: log.to_owned(),
    })
}

/// The last lines of a log, without the steps that went well.
fn tail(log: &str) -> String {
    let telling: Vec<&str> = log.lines().filter(|line| !line.starts_with("  ")).collect();
    telling[telling.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map(|_| ()).map_err(Error::file("copy", from))
}

fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", path)(source))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_the_kernel_does_not_know_is_found_in_what_kconfig_says() {
        let said = "f:216:warning: unknown symbol: I2C_COMPAT\nf:9: other\nf:3:warning: unknown symbol: NOT_A_THING\n";
        assert_eq!(unknown_symbols(said), ["I2C_COMPAT", "NOT_A_THING"]);
    }

    #[test]
    fn the_tail_of_a_log_shows_the_error_and_not_the_steps_around_it() {
        let log = "  CC      a.o\nb.c:1: error: no\n  CC      c.o\nmake: *** [b.o] Error 1\n";
        assert_eq!(tail(log), "b.c:1: error: no\nmake: *** [b.o] Error 1");
    }
}
