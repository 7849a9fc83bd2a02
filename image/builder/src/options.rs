//! What was asked for on the command line.

use std::path::PathBuf;

use format::Board;
use format::header::COMMAND_LINE_OCTETS_MAX;
use format::keys::{PUBLIC_KEY_OCTETS, public_key_of_hex};

use crate::error::Error;
use crate::programs::Profile;

pub(crate) const HELP: &str = "\
cargo image [OPTION …]              builds what the box starts: update file and disk image

  --board virt|rpi                  for QEMU and boards with UEFI (the default), or for Raspberry Pi 3 and 4
  --release                         as people flash it: small, optimised as a whole (slow to build); needs --key
  --key FILE                        sign with this release key instead of the development key of this machine
  --number N                        the version's number, which counts up (default: the number of commits)
  --min-from N                      the lowest number that may be updated to this version (default: any)
  --command-line TEXT               the kernel's command line, which is signed with the rest
  --pi-firmware DIR                 put the firmware of the Raspberry Pi and U-Boot from there on the image
  --kernel-source FILE              build the kernel from this linux-source-6.12.tar.xz instead of Debian's package
  --kernel-only                     build (or find in the cache) the kernel and stop

cargo image key root FILE           makes a root key: FILE to lock away, FILE.pub to build with
cargo image key release FILE --root FILE --epoch N [--other-root FILE.pub]
                                    makes a release key that the root vouches for

cargo image verify FILE [KEYS]      says whether an update file, a slot or a disk image is whole and genuine
cargo image show FILE [KEYS]        says what is in it
  KEYS is --key FILE (a key file or its .pub) or --roots HEX[,HEX]; default: the development key of this machine

Writes target/image/PROFILE/postolka-BOARD.{update,img,img.zst,img.bmap}, kernel, Image, initrd and dtb/.
The kernel is kept in ~/.cache/postolka (XDG_CACHE_HOME), the development key in ~/.local/share/postolka (XDG_DATA_HOME).
";

/// One of the things this program does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Build(Build),
    RootKey { file: PathBuf },
    ReleaseKey(NewRelease),
    Verify { file: PathBuf, keys: Keys },
    Show { file: PathBuf, keys: Keys },
}

/// How an image is to be built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) profile: Profile,
    pub(crate) board: Board,
    pub(crate) key: Option<PathBuf>,
    pub(crate) number: Option<u64>,
    pub(crate) min_from: u64,
    pub(crate) command_line: Option<String>,
    pub(crate) pi_firmware: Option<PathBuf>,
    pub(crate) kernel_source: Option<PathBuf>,
    pub(crate) kernel_only: bool,
}

/// A release key to be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewRelease {
    pub(crate) file: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) other_root: Option<PathBuf>,
    pub(crate) epoch: u32,
}

/// Whom to trust.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    Development,
    File(PathBuf),
    Roots(Vec<[u8; PUBLIC_KEY_OCTETS]>),
}

pub(crate) fn parse(arguments: &[String]) -> Result<Task, Error> {
    if arguments
        .iter()
        .any(|argument| argument == "-h" || argument == "--help")
    {
        return Ok(Task::Help);
    }
    let mut words = Words(arguments);
    match arguments.first().map(String::as_str) {
        Some("key") => {
            words.next();
            match words.next() {
                Some("root") => root_key(words),
                Some("release") => release_key(words),
                _ => Err(usage("'key' makes a 'root' or a 'release' key (-h shows how)")),
            }
        }
        Some(task @ ("verify" | "show")) => {
            words.next();
            look(task, words)
        }
        _ => build(words),
    }
}

impl Build {
    /// The image of everyday.
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            profile,
            board: Board::Virt,
            key: None,
            number: None,
            min_from: 0,
            command_line: None,
            pi_firmware: None,
            kernel_source: None,
            kernel_only: false,
        }
    }
}

fn build(mut words: Words<'_>) -> Result<Task, Error> {
    let mut build = Build::new(Profile::Ci);
    while let Some(word) = words.next() {
        match word {
            "--release" => build.profile = Profile::Release,
            "--kernel-only" => build.kernel_only = true,
            "--board" => {
                let name = words.value(word, "a board")?;
                build.board = Board::named(name)
                    .ok_or_else(|| usage(format!("'{name}' is not a board: there are virt and rpi")))?;
            }
            "--key" => build.key = Some(words.file(word)?),
            "--number" => build.number = Some(words.number(word)?),
            "--min-from" => build.min_from = words.number(word)?,
            "--command-line" => build.command_line = Some(command_line(words.value(word, "a text")?)?),
            "--pi-firmware" => build.pi_firmware = Some(PathBuf::from(words.value(word, "a folder")?)),
            "--kernel-source" => build.kernel_source = Some(words.file(word)?),
            other => return Err(unknown(other)),
        }
    }
    if build.pi_firmware.is_some() && build.board != Board::Rpi {
        return Err(usage("--pi-firmware is for --board rpi"));
    }
    Ok(Task::Build(build))
}

/// What the loader hands to the kernel as it is.
fn command_line(text: &str) -> Result<String, Error> {
    if let Some(other) = text.chars().find(|letter| !(' '..='~').contains(letter)) {
        return Err(usage(format!(
            "--command-line holds '{}', which is not printable ASCII",
            other.escape_default()
        )));
    }
    if text.len() > COMMAND_LINE_OCTETS_MAX {
        return Err(usage(format!(
            "--command-line has {} characters; a slot has room for {COMMAND_LINE_OCTETS_MAX}",
            text.len()
        )));
    }
    Ok(text.to_owned())
}

fn root_key(mut words: Words<'_>) -> Result<Task, Error> {
    let mut file = None;
    while let Some(word) = words.next() {
        only(&mut file, word)?;
    }
    let file = file.ok_or_else(|| usage("'key root' needs the name of the file to write"))?;
    Ok(Task::RootKey { file })
}

fn release_key(mut words: Words<'_>) -> Result<Task, Error> {
    let (mut file, mut root, mut other_root, mut epoch) = (None, None, None, None);
    while let Some(word) = words.next() {
        match word {
            "--root" => root = Some(words.file(word)?),
            "--other-root" => other_root = Some(words.file(word)?),
            "--epoch" => {
                let number = words.number(word)?;
                let narrow = u32::try_from(number).ok().filter(|epoch| *epoch > 0);
                epoch = Some(narrow.ok_or_else(|| usage("--epoch is between 1 and 4294967295"))?);
            }
            other => only(&mut file, other)?,
        }
    }
    Ok(Task::ReleaseKey(NewRelease {
        file: file.ok_or_else(|| usage("'key release' needs the name of the file to write"))?,
        root: root.ok_or_else(|| usage("'key release' needs --root FILE, the root key that vouches for it"))?,
        other_root,
        epoch: epoch.ok_or_else(|| {
            usage("'key release' needs --epoch N: 1 for the first, one more each time earlier keys are put out of force")
        })?,
    }))
}

fn look(task: &str, mut words: Words<'_>) -> Result<Task, Error> {
    let (mut file, mut keys) = (None, Keys::Development);
    while let Some(word) = words.next() {
        match word {
            "--key" => keys = Keys::File(words.file(word)?),
            "--roots" => keys = Keys::Roots(roots(words.value(word, "one or two root keys")?)?),
            other => only(&mut file, other)?,
        }
    }
    let file = file.ok_or_else(|| usage(format!("'{task}' needs a file to look at")))?;
    Ok(if task == "verify" {
        Task::Verify { file, keys }
    } else {
        Task::Show { file, keys }
    })
}

fn roots(text: &str) -> Result<Vec<[u8; PUBLIC_KEY_OCTETS]>, Error> {
    text.split(',')
        .map(|hex| {
            public_key_of_hex(hex.as_bytes()).ok_or_else(|| {
                usage(format!(
                    "'{hex}' is not a key of 64 hexadecimal digits (lower case)"
                ))
            })
        })
        .collect()
}

/// The one word that is not an option.
fn only(file: &mut Option<PathBuf>, word: &str) -> Result<(), Error> {
    if word.starts_with('-') {
        return Err(unknown(word));
    }
    if file.is_some() {
        return Err(usage(format!("'{word}' is one file too many")));
    }
    *file = Some(PathBuf::from(word));
    Ok(())
}

/// The words that are left.
struct Words<'a>(&'a [String]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn value(&mut self, option: &str, what: &str) -> Result<&'a str, Error> {
        self.next().ok_or_else(|| usage(format!("{option} needs {what}")))
    }

    fn file(&mut self, option: &str) -> Result<PathBuf, Error> {
        self.value(option, "a file").map(PathBuf::from)
    }

    fn number(&mut self, option: &str) -> Result<u64, Error> {
        let text = self.value(option, "a number")?;
        text.parse()
            .map_err(|_| usage(format!("{option} needs a number, and '{text}' is none")))
    }
}

fn unknown(option: &str) -> Error {
    usage(format!("'{option}' is not an option (-h lists them)"))
}

fn usage(text: impl Into<String>) -> Error {
    Error::Usage(text.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&arguments).map_err(|error| error.to_string())
    }

    fn built(line: &str) -> Build {
        match parsed(line) {
            Ok(Task::Build(build)) => build,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_options_the_image_of_everyday_is_built() {
        let plain = built("");
        assert_eq!((plain.profile, plain.board), (Profile::Ci, Board::Virt));
        assert_eq!(
            (plain.number, plain.min_from, plain.kernel_only),
            (None, 0, false)
        );
    }

    #[test]
    fn options_of_a_build_are_read() {
        let all = built(
            "--release --board rpi --key k --number 7 --min-from 3 --command-line quiet --pi-firmware d \
             --kernel-only --kernel-source a.tar.xz",
        );
        assert_eq!((all.profile, all.board), (Profile::Release, Board::Rpi));
        assert_eq!((all.number, all.min_from), (Some(7), 3));
        assert_eq!(all.key, Some(PathBuf::from("k")));
        assert_eq!(all.command_line.as_deref(), Some("quiet"));
        assert_eq!(all.pi_firmware, Some(PathBuf::from("d")));
        assert_eq!(all.kernel_source, Some(PathBuf::from("a.tar.xz")));
        assert!(all.kernel_only);
    }

    #[test]
    fn keys_and_looks_are_read() {
        assert_eq!(
            parsed("key release new --root r --epoch 2 --other-root o.pub").unwrap(),
            Task::ReleaseKey(NewRelease {
                file: "new".into(),
                root: "r".into(),
                other_root: Some("o.pub".into()),
                epoch: 2
            })
        );
        assert_eq!(
            parsed("key root new").unwrap(),
            Task::RootKey { file: "new".into() }
        );
        let hex = "ab".repeat(32);
        assert_eq!(
            parsed(&format!("verify a.img --roots {hex},{hex}")).unwrap(),
            Task::Verify {
                file: "a.img".into(),
                keys: Keys::Roots(vec![[0xab; 32]; 2])
            }
        );
        assert_eq!(
            parsed("show a.update").unwrap(),
            Task::Show {
                file: "a.update".into(),
                keys: Keys::Development
            }
        );
        assert_eq!(parsed("verify --help").unwrap(), Task::Help);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let check = |line: &str, expected: &str| {
            let said = parsed(line).unwrap_err();
            assert!(said.contains(expected), "{line}: {said}");
        };
        check("--relaese", "'--relaese' is not an option (-h lists them)");
        check("--kernel-source", "--kernel-source needs a file");
        check("--board pi", "'pi' is not a board: there are virt and rpi");
        check("--number x", "--number needs a number, and 'x' is none");
        check("--number -1", "--number needs a number, and '-1' is none");
        check("--command-line é", "is not printable ASCII");
        check(
            &format!("--command-line {}", "a".repeat(1025)),
            "has 1025 characters",
        );
        check("--pi-firmware d", "--pi-firmware is for --board rpi");
        check("key", "'key' makes a 'root' or a 'release' key");
        check("key root", "needs the name of the file");
        check("key root a b", "'b' is one file too many");
        check("key release a --epoch 1", "needs --root FILE");
        check("key release a --root r", "needs --epoch N");
        check("key release a --root r --epoch 0", "--epoch is between");
        check("verify", "'verify' needs a file");
        check("verify a --roots abc", "'abc' is not a key");
        check("show a --frob", "'--frob' is not an option");
    }
}
