//! The archive the kernel unpacks into its first root file system, in the `newc` format.
//!
//! Every number in it that a real archive takes from the machine it was made on (inode, device, owner, time) is
//! fixed here, so the same parts give the same octets, and nobody needs to be root for a device node.
//!
//! ```text
//! "070701" ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
//!          (13 numbers of 8 hexadecimal digits)   name NUL   pad to 4   data   pad to 4
//! ```
//!
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.

use thiserror::Error;

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR_FILE: u32 = 0o100_000;

/// What cannot be put into an archive.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum CpioError {
    #[error("'{0}' is not a relative path without empty, '.' or '..' parts")]
    Path(String),
    #[error("'{0}' was added before the folder it is in")]
    NoFolder(String),
    #[error("'{0}' was added twice")]
    Twice(String),
    #[error("'{0}' holds 4 GiB or more, which the format cannot say")]
    TooBig(String),
}

/// An archive being written. Entries appear in the order they are added, a folder before what is in it.
#[derive(Debug, Default)]
pub(crate) struct Cpio {
    octets: Vec<u8>,
    names: Vec<(String, bool)>,
}

/// The fields that differ between entries.
struct Entry<'a> {
    name: &'a str,
    mode: u32,
    links: u32,
    device: (u32, u32),
    data: &'a [u8],
}

impl Cpio {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a folder with permissions such as `0o755`.
    pub(crate) fn folder(&mut self, name: &str, permissions: u32) -> Result<(), CpioError> {
        self.entry(&Entry {
            name,
            mode: DIRECTORY | permissions,
            links: 2,
            device: (0, 0),
            data: &[],
        })
    }

    /// Adds a regular file.
    pub(crate) fn file(&mut self, name: &str, permissions: u32, data: &[u8]) -> Result<(), CpioError> {
        self.entry(&Entry {
            name,
            mode: REGULAR_FILE | permissions,
            links: 1,
            device: (0, 0),
            data,
        })
    }

    /// Adds a character device node.
    pub(crate) fn character_device(
        &mut self,
        name: &str,
        permissions: u32,
        (major, minor): (u32, u32),
    ) -> Result<(), CpioError> {
        self.entry(&Entry {
            name,
            mode: CHARACTER_DEVICE | permissions,
            links: 1,
            device: (major, minor),
            data: &[],
        })
    }

    /// Ends the archive and gives its octets.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.write(
            0,
            &Entry {
                name: TRAILER,
                mode: 0,
                links: 1,
                device: (0, 0),
                data: &[],
            },
            0,
        );
        self.octets
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), CpioError> {
        let name = entry.name;
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(CpioError::Path(name.to_owned()));
        }
        if self.names.iter().any(|(known, _)| known == name) {
            return Err(CpioError::Twice(name.to_owned()));
        }
        if let Some((folder, _)) = name.rsplit_once('/')
            && !self
                .names
                .iter()
                .any(|(known, is_folder)| *is_folder && known == folder)
        {
            return Err(CpioError::NoFolder(name.to_owned()));
        }
        let size = u32::try_from(entry.data.len()).map_err(|_| CpioError::TooBig(name.to_owned()))?;
        self.names.push((name.to_owned(), entry.mode & KIND == DIRECTORY));
        // The inode only has to differ where hard links are meant to be told apart: the running number does.
        let inode = u32::try_from(self.names.len()).map_err(|_| CpioError::TooBig(name.to_owned()))?;
        self.write(inode, entry, size);
        Ok(())
    }

    fn write(&mut self, inode: u32, entry: &Entry<'_>, size: u32) {
        let name_size = u32::try_from(entry.name.len() + 1).unwrap_or(u32::MAX);
        let (major, minor) = entry.device;
        self.octets.extend_from_slice(MAGIC.as_bytes());
        for number in [
            inode,
            entry.mode,
            0,
            0,
            entry.links,
            0,
            size,
            0,
            0,
            major,
            minor,
            name_size,
            0,
        ] {
            self.octets.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.octets.extend_from_slice(entry.name.as_bytes());
        self.octets.push(0);
        self.pad();
        self.octets.extend_from_slice(entry.data);
        self.pad();
    }

    fn pad(&mut self) {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn small() -> Vec<u8> {
        let mut cpio = Cpio::new();
        cpio.folder("dev", 0o755).unwrap();
        cpio.character_device("dev/console", 0o600, (5, 1)).unwrap();
        cpio.file("init", 0o755, b"#!").unwrap();
        cpio.finish()
    }

    #[test]
    fn the_same_parts_packed_twice_are_equal() {
        assert_eq!(small(), small());
    }

    #[test]
    fn an_entry_has_the_documented_layout() {
        let octets = small();
        let head = "07070100000001000041ed00000000000000000000000200000000000000000000000000000000\
                    000000000000000000000004000000006465760000";
        let text = String::from_utf8_lossy(&octets[..110]);
        assert_eq!(&text[..110], &head[..110]);
        assert_eq!(&octets[110..114], b"dev\0");
        assert_eq!(octets.len() % 4, 0);
    }

    /// The judge is another program that reads the format: GNU cpio.
    #[test]
    fn gnu_cpio_lists_what_was_put_in() {
        let mut child = Command::new("cpio")
            .args(["--list", "--verbose", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cpio is installed by tests/run");
        child.stdin.take().unwrap().write_all(&small()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let list = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!(lines.len(), 3, "{list}");
        assert!(
            lines[0].starts_with("drwxr-xr-x") && lines[0].ends_with("dev"),
            "{list}"
        );
        assert!(
            lines[1].starts_with("crw-------") && lines[1].ends_with("dev/console"),
            "{list}"
        );
        assert!(lines[1].contains("5,   1"), "{list}");
        assert!(
            lines[2].starts_with("-rwxr-xr-x") && lines[2].ends_with("init"),
            "{list}"
        );
    }

    #[test]
    fn a_path_the_kernel_would_unpack_elsewhere_is_refused() {
        for name in ["/init", "a//b", "../init", "./init", "dev/", ""] {
            assert_eq!(
                Cpio::new().file(name, 0o644, b""),
                Err(CpioError::Path(name.to_owned()))
            );
        }
    }

    #[test]
    fn a_file_before_its_folder_is_refused() {
        let mut cpio = Cpio::new();
        assert!(matches!(
            cpio.file("dev/null", 0o644, b""),
            Err(CpioError::NoFolder(_))
        ));
        cpio.file("dev", 0o644, b"").unwrap();
        assert!(matches!(
            cpio.file("dev/null", 0o644, b""),
            Err(CpioError::NoFolder(_))
        ));
        assert!(matches!(cpio.folder("dev", 0o755), Err(CpioError::Twice(_))));
    }
}
