//! The command line of `qemu/run`.

use std::path::{Path, PathBuf};

use qemu::Firmware;
use thiserror::Error;

/// Also what the shell script shows, which must not need a toolchain for it.
pub(crate) const HELP: &str = include_str!("../../help.txt");

const MEMORY_MIB: u32 = 512;
/// Below this, kernel and initial file system do not fit.
const MEMORY_MIB_MIN: u32 = 128;
const MEMORY_MIB_MAX: u32 = 65_536;

/// What was asked for. Files are as given, made absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each is a switch of the command line, independent of the others.
pub(crate) struct Options {
    /// `None`: QEMU puts the kernel into memory itself.
    pub(crate) firmware: Option<Firmware>,
    pub(crate) memory_mib: u32,
    pub(crate) disk: Option<PathBuf>,
    pub(crate) fresh: bool,
    pub(crate) snapshot: bool,
    pub(crate) provision: Option<PathBuf>,
    /// No stick: somebody claims the box in a browser.
    pub(crate) is_unclaimed: bool,
    /// A firmware update for the box's stick.
    pub(crate) update: Option<PathBuf>,
    /// From inside nothing beyond this computer is reached.
    pub(crate) is_offline: bool,
    pub(crate) kernel_log: bool,
    pub(crate) release: bool,
    pub(crate) no_build: bool,
}

/// What is wrong with the command line.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum OptionError {
    #[error("'{0}' is not an option (-h lists them)")]
    Unknown(String),
    #[error("{option} needs {what} behind it")]
    NoValue { option: String, what: &'static str },
    #[error(
        "--memory needs a number of MiB from {MEMORY_MIB_MIN} to {MEMORY_MIB_MAX} behind it, and '{0}' is none"
    )]
    Memory(String),
    #[error("--firmware needs uboot, edk2 or direct behind it, and '{0}' is none of them")]
    Firmware(String),
    #[error(
        "--fresh is for the disk that qemu/run keeps; to start anew with a file of your own, give --disk one that is \
         empty or not there"
    )]
    FreshFile,
    #[error("--unclaimed is a box without a stick, and --provision says what is on it: give one of them")]
    ClaimedTwice,
    #[error(
        "--update needs a box that starts from its disk: with --firmware direct there is no slot to write it to"
    )]
    UpdateDirect,
    #[error(
        "--kernel-log needs --firmware direct: behind a firmware the kernel's command line is signed into the image"
    )]
    SignedLine,
}

/// Reads the command line; `None` if help was asked for.
pub(crate) fn parse(arguments: &[String]) -> Result<Option<Options>, OptionError> {
    let mut options = Options {
        firmware: Some(Firmware::UBoot),
        memory_mib: MEMORY_MIB,
        disk: None,
        fresh: false,
        snapshot: false,
        provision: None,
        is_unclaimed: false,
        update: None,
        is_offline: false,
        kernel_log: false,
        release: false,
        no_build: false,
    };
    // The script changes into the checkout before it runs this, and says where it was called from.
    let mut from = PathBuf::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = |what| {
            words.next().ok_or_else(|| OptionError::NoValue {
                option: word.clone(),
                what,
            })
        };
        match word.as_str() {
            "-h" | "--help" => return Ok(None),
            "--firmware" => options.firmware = firmware(value("uboot, edk2 or direct")?)?,
            "--memory" => options.memory_mib = memory(value("a number of MiB")?)?,
            "--disk" => options.disk = Some(PathBuf::from(value("a file")?)),
            "--provision" => options.provision = Some(PathBuf::from(value("a file")?)),
            "--update" => options.update = Some(PathBuf::from(value("a file")?)),
            "--from" => from = PathBuf::from(value("a folder")?),
            "--unclaimed" => options.is_unclaimed = true,
            "--fresh" => options.fresh = true,
            "--snapshot" => options.snapshot = true,
            "--offline" => options.is_offline = true,
            "--kernel-log" => options.kernel_log = true,
            "--release" => options.release = true,
            "--no-build" => options.no_build = true,
            _ => return Err(OptionError::Unknown(word.clone())),
        }
    }
    if options.is_unclaimed && options.provision.is_some() {
        return Err(OptionError::ClaimedTwice);
    }
    if options.fresh && options.disk.is_some() {
        return Err(OptionError::FreshFile);
    }
    if options.update.is_some() && options.firmware.is_none() {
        return Err(OptionError::UpdateDirect);
    }
    if options.kernel_log && options.firmware.is_some() {
        return Err(OptionError::SignedLine);
    }
    let absolute = |file: Option<PathBuf>| file.map(|file| Path::new(&from).join(file));
    options.disk = absolute(options.disk);
    options.provision = absolute(options.provision);
    options.update = absolute(options.update);
    Ok(Some(options))
}

fn firmware(text: &str) -> Result<Option<Firmware>, OptionError> {
    match Firmware::named(text) {
        None if text != "direct" => Err(OptionError::Firmware(text.to_owned())),
        firmware => Ok(firmware),
    }
}

fn memory(text: &str) -> Result<u32, OptionError> {
    // `512M` is what people type who know QEMU.
    let digits = text.strip_suffix(['M', 'm']).unwrap_or(text);
    digits
        .parse()
        .ok()
        .filter(|mib| (MEMORY_MIB_MIN..=MEMORY_MIB_MAX).contains(mib))
        .ok_or_else(|| OptionError::Memory(text.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Options>, OptionError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn every_option_of_the_help_is_known() {
        let named = HELP
            .split_whitespace()
            .map(|word| word.trim_end_matches(','))
            .filter(|word| word.starts_with('-') && word.len() > 1);
        for option in named {
            let tried = parsed(&format!("{option} 300"));
            assert!(
                !matches!(&tried, Err(OptionError::Unknown(word)) if word == option),
                "{option}"
            );
        }
    }

    #[test]
    fn files_are_taken_from_where_the_person_stands() {
        let options = parsed("--from /home/anna --disk my.img --update new.update --provision /etc/p.toml")
            .unwrap()
            .unwrap();
        assert_eq!(options.disk.unwrap(), Path::new("/home/anna/my.img"));
        assert_eq!(options.update.unwrap(), Path::new("/home/anna/new.update"));
        assert_eq!(options.provision.unwrap(), Path::new("/etc/p.toml"));
    }

    #[test]
    fn memory_is_a_number_in_range() {
        assert_eq!(parsed("--memory 256").unwrap().unwrap().memory_mib, 256);
        assert_eq!(parsed("--memory 1024M").unwrap().unwrap().memory_mib, 1024);
        for wrong in ["64", "much", "-1", "2G", "999999999999"] {
            let refused = parsed(&format!("--memory {wrong}")).unwrap_err().to_string();
            assert!(
                refused.contains("from 128 to 65536") && refused.contains(wrong),
                "{refused}"
            );
        }
        let missing = parsed("--memory").unwrap_err();
        assert_eq!(missing.to_string(), "--memory needs a number of MiB behind it");
    }

    #[test]
    fn the_firmware_is_one_of_three_and_uboot_unless_another_is_named() {
        let firmware = |line| parsed(line).map(|options| options.unwrap().firmware);
        assert_eq!(firmware(""), Ok(Some(Firmware::UBoot)));
        assert_eq!(firmware("--firmware edk2"), Ok(Some(Firmware::Edk2)));
        assert_eq!(firmware("--firmware direct"), Ok(None));
        let refused = firmware("--firmware bios").unwrap_err().to_string();
        assert!(refused.contains("uboot, edk2 or direct") && refused.contains("'bios'"));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        assert_eq!(parsed("--disk a --fresh"), Err(OptionError::FreshFile));
        assert_eq!(parsed("--kernel-log"), Err(OptionError::SignedLine));
        parsed("--kernel-log --firmware direct").unwrap();
        assert_eq!(
            parsed("--update a --firmware direct"),
            Err(OptionError::UpdateDirect)
        );
    }

    #[test]
    fn help_comes_before_anything_else() {
        assert_eq!(parsed("--snapshot --help --nonsense"), Ok(None));
        assert_eq!(
            parsed("--nonsense"),
            Err(OptionError::Unknown("--nonsense".to_owned()))
        );
    }
}
