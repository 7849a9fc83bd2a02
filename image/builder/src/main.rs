#![doc = include_str!("../README.md")]

mod archive;
mod cpio;
mod error;
mod kernel;
mod pristine;
mod programs;
mod progress;
mod tool;
mod version;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use archive::Parts;
use error::Error;
use programs::{PROGRAMS, Profile};

const HELP: &str = "\
cargo image [OPTION …]    builds what the box starts: kernel and initial file system

  --release             as people flash it: small, optimised as a whole (slow to build)
  --kernel-source FILE  build the kernel from this linux-source-6.12.tar.xz instead of Debian's package
  --kernel-only         build (or find in the cache) the kernel and stop
  -h, --help            this text

Writes target/image/PROFILE/{kernel,Image,initrd}. The kernel is kept in ~/.cache/postolka (XDG_CACHE_HOME).
";

/// What was asked for on the command line.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    profile: Profile,
    kernel_source: Option<PathBuf>,
    kernel_only: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == "-h" || argument == "--help")
    {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match options(&arguments).and_then(|options| build(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Result<Options, Error> {
    let mut options = Options {
        profile: Profile::Ci,
        kernel_source: None,
        kernel_only: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--release" => options.profile = Profile::Release,
            "--kernel-only" => options.kernel_only = true,
            "--kernel-source" => {
                let file = arguments
                    .next()
                    .ok_or_else(|| Error::Usage("--kernel-source needs a file".to_owned()))?;
                options.kernel_source = Some(PathBuf::from(file));
            }
            other => {
                return Err(Error::Usage(format!(
                    "'{other}' is not an option (-h lists them)"
                )));
            }
        }
    }
    Ok(options)
}

/// The whole story: kernel, programs, file system, archive.
fn build(options: &Options) -> Result<(), Error> {
    let started = Instant::now();
    let workspace = workspace();
    let kernel = kernel::kernel(&cache(), options.kernel_source.as_deref())?;
    if !kernel.pinned {
        println!(
            "kernel: unpinned ({} is not in image/kernel.lock)",
            kernel.version
        );
    }
    let target = target(&workspace);
    let place = target.join("image").join(options.profile.name());
    fs::create_dir_all(&place).map_err(Error::file("make the folder", &place))?;
    put(&place, "kernel", &read(&kernel.zboot)?)?;
    put(&place, "Image", &read(&kernel.bare)?)?;
    println!(
        "kernel    {}  {}",
        size_of(&place.join("kernel"))?,
        kernel.version
    );
    if options.kernel_only {
        return Ok(());
    }

    let work = place.join("work");
    fs::create_dir_all(&work).map_err(Error::file("make the folder", &work))?;
    let mut parts = Parts {
        programs: Vec::new(),
        pristine: pristine::pristine(&work)?,
        version: version::text(&version::commit(&workspace)?, options.profile, &kernel),
    };
    fs::remove_dir_all(&work).map_err(Error::file("remove", &work))?;
    for name in PROGRAMS {
        let octets = programs::program(name, options.profile, &workspace, &target)?;
        println!("{name:9} {}  of program", spoken(octets.len() as u64));
        parts.programs.push((name, octets));
    }
    println!(
        "data      {}  of empty file system",
        spoken(parts.pristine.len() as u64)
    );
    put(
        &place,
        "initrd",
        &archive::pack(&parts, options.profile.compression())?,
    )?;
    println!(
        "initrd    {}  of programs and file system, packed",
        size_of(&place.join("initrd"))?
    );
    println!(
        "image     {}  in all, in {} ({})",
        spoken(length(&place.join("kernel"))? + length(&place.join("initrd"))?),
        place.display(),
        progress::spoken(started.elapsed())
    );
    Ok(())
}

/// Writes a finished file in one step, so that a machine being started never meets half of it.
fn put(place: &Path, name: &str, octets: &[u8]) -> Result<(), Error> {
    let (path, new) = (place.join(name), place.join(format!("{name}.new")));
    fs::write(&new, octets).map_err(Error::file("write", &new))?;
    fs::rename(&new, &path).map_err(Error::file("write", &path))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::file("read", path))
}

fn length(path: &Path) -> Result<u64, Error> {
    fs::metadata(path)
        .map(|about| about.len())
        .map_err(Error::file("read", path))
}

fn size_of(path: &Path) -> Result<String, Error> {
    length(path).map(spoken)
}

/// `  3.7 MiB`, `  2.1 KiB`: right-aligned for the list of parts.
fn spoken(octets: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = octets.saturating_mul(10) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    if octets >= 1 << 20 {
        format!("{:>6} MiB", tenths(1 << 20))
    } else {
        format!("{:>6} KiB", tenths(1 << 10))
    }
}

/// The checkout this program was built from.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn target(workspace: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from)
}

/// The user's cache folder (XDG Base Directory Specification).
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .unwrap_or_else(home)
        .join("postolka")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Options, String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        options(&arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read() {
        let plain = parsed(&[]).unwrap();
        assert_eq!(
            (plain.profile, plain.kernel_source, plain.kernel_only),
            (Profile::Ci, None, false)
        );
        let all = parsed(&["--release", "--kernel-only", "--kernel-source", "a.tar.xz"]).unwrap();
        assert_eq!(all.profile, Profile::Release);
        assert_eq!(all.kernel_source, Some(PathBuf::from("a.tar.xz")));
        assert!(all.kernel_only);
    }

    #[test]
    fn an_option_that_does_not_exist_is_named() {
        assert_eq!(
            parsed(&["--relaese"]).unwrap_err(),
            "'--relaese' is not an option (-h lists them)"
        );
        assert_eq!(
            parsed(&["--kernel-source"]).unwrap_err(),
            "--kernel-source needs a file"
        );
    }

    #[test]
    fn sizes_are_spoken_in_the_unit_that_fits() {
        assert_eq!(spoken(2_150), "   2.0 KiB");
        assert_eq!(spoken(3_900_000), "   3.7 MiB");
    }
}
