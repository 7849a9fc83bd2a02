//! What a Raspberry Pi's own firmware wants on the ESP: its blobs, U-Boot, its configuration, device trees.
//!
//! The blobs are not ours to ship: whoever builds brings them in a folder.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::esp::File;

const CONFIG: &str = "\
# Postolka on a Raspberry Pi: the firmware starts U-Boot, which starts EFI/BOOT/BOOTAA64.EFI.
arm_64bit=1
kernel=u-boot.bin
enable_uart=1
# The device trees beside this file bear the names that Linux has for them.
upstream_kernel=1
";

const U_BOOT: &str = "u-boot.bin";
/// The first steps of a Pi 4 are in its own flash.
const MODELS: [(&str, &[&str]); 2] = [
    (
        "Raspberry Pi 3",
        &["bootcode.bin", "start.elf", "fixup.dat", U_BOOT],
    ),
    ("Raspberry Pi 4", &["start4.elf", "fixup4.dat", U_BOOT]),
];

/// The files for the ESP, and sentences about what is missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PiFiles {
    pub(crate) files: Vec<File>,
    pub(crate) notes: Vec<String>,
}

/// Without a folder the image is made all the same: it holds everything that is ours.
pub(crate) fn files(firmware: Option<&Path>, device_trees: &[PathBuf]) -> Result<PiFiles, Error> {
    let mut files = vec![("config.txt".to_owned(), CONFIG.as_bytes().to_vec())];
    for tree in device_trees {
        let name = tree.file_name().unwrap_or_default().to_string_lossy();
        files.push((name.into_owned(), crate::read(tree)?));
    }
    let mut notes = Vec::new();
    match firmware {
        None => notes.push(
            "this image does not start on a real Raspberry Pi: its firmware and U-Boot are not on it \
             (--pi-firmware DIR puts them there)"
                .to_owned(),
        ),
        Some(folder) => add_firmware(folder, &mut files, &mut notes)?,
    }
    Ok(PiFiles { files, notes })
}

fn add_firmware(folder: &Path, files: &mut Vec<File>, notes: &mut Vec<String>) -> Result<(), Error> {
    let mut names: Vec<&str> = Vec::new();
    let mut missing_everywhere: Vec<&str> = Vec::new();
    for (model, wanted) in MODELS {
        let missing: Vec<&str> = wanted
            .iter()
            .copied()
            .filter(|name| !folder.join(name).is_file())
            .collect();
        if missing.is_empty() {
            names.extend(wanted.iter().filter(|name| **name != U_BOOT));
        } else {
            notes.push(format!(
                "this image does not start on a {model}: {} missing from {}",
                spoken(&missing),
                folder.display()
            ));
            // U-Boot is wanted by both of them.
            missing_everywhere.extend(
                missing
                    .iter()
                    .filter(|name| !missing_everywhere.contains(name))
                    .copied()
                    .collect::<Vec<_>>(),
            );
        }
    }
    if names.is_empty() {
        return Err(Error::PiFirmware {
            folder: folder.to_owned(),
            missing: spoken(&missing_everywhere),
        });
    }
    names.push(U_BOOT);
    for name in names {
        files.push((name.to_owned(), crate::read(&folder.join(name))?));
    }
    Ok(())
}

fn spoken(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(names: &[&str]) -> Result<PiFiles, String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let folder_name = folder.path().display().to_string();
        files(Some(folder.path()), &[]).map_err(|error| error.to_string().replace(&folder_name, "DIR"))
    }

    fn names(files: &PiFiles) -> Vec<&str> {
        files.files.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn without_firmware_the_rest_is_there_and_a_sentence_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("bcm2837-rpi-3-b.dtb");
        std::fs::write(&tree, b"tree").unwrap();
        let files = files(None, &[tree]).unwrap();
        assert_eq!(names(&files), ["config.txt", "bcm2837-rpi-3-b.dtb"]);
        assert!(files.notes[0].contains("--pi-firmware DIR"));
    }

    #[test]
    fn firmware_for_both_models_is_taken_whole() {
        let all = [
            "bootcode.bin",
            "start.elf",
            "fixup.dat",
            "start4.elf",
            "fixup4.dat",
            "u-boot.bin",
        ];
        let files = with(&all).unwrap();
        assert_eq!(names(&files)[1..], all);
        assert_eq!(files.notes, Vec::<String>::new());
    }

    #[test]
    fn firmware_for_one_model_says_what_the_other_lacks() {
        let files = with(&["start4.elf", "fixup4.dat", "u-boot.bin"]).unwrap();
        assert_eq!(names(&files)[1..], ["start4.elf", "fixup4.dat", "u-boot.bin"]);
        assert_eq!(files.notes.len(), 1);
        let said = "does not start on a Raspberry Pi 3: bootcode.bin, start.elf, fixup.dat are missing from";
        assert!(files.notes[0].contains(said), "{:?}", files.notes);
    }

    #[test]
    fn firmware_that_starts_nothing_is_refused_by_the_names_that_are_missing() {
        assert_eq!(
            with(&["bootcode.bin", "start.elf", "fixup.dat"]).unwrap_err(),
            "no Raspberry Pi would start with the firmware in DIR: u-boot.bin, start4.elf, fixup4.dat are missing"
        );
    }
}
