//! What the kernel unpacks at start: the programs, the empty file system, the version, and nothing to log in to.

use std::io::Write;

use crate::cpio::Cpio;
use crate::error::Error;

/// Folders that init mounts things on.
const FOLDERS: [&str; 6] = ["data", "dev", "proc", "run", "sys", "tmp"];

/// 64 MiB.
const DISK_WINDOW_LOG: u32 = 26;

/// What goes into the archive, as octets.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// File name and octets, `init` among them.
    pub(crate) programs: Vec<(&'static str, Vec<u8>)>,
    /// `mkfs.ext4`'s empty file system, as zstd.
    pub(crate) pristine: Vec<u8>,
    /// The text of `/version`.
    pub(crate) version: String,
    /// The text of `/roots`: whom the box trusts, a key a line.
    pub(crate) roots: String,
}

/// Packs the parts. The same parts give the same octets.
pub(crate) fn pack(parts: &Parts, level: i32) -> Result<Vec<u8>, Error> {
    let mut cpio = Cpio::new();
    for folder in FOLDERS {
        cpio.folder(folder, 0o755)?;
    }
    // The kernel opens this for init's first words, before init has mounted devtmpfs over it.
    cpio.character_device("dev/console", 0o600, (5, 1))?;
    // On a board without a console init starts with no descriptor open; Rust's runtime then opens this for them,
    // and aborts if it cannot.
    cpio.character_device("dev/null", 0o666, (1, 3))?;
    for (name, octets) in &parts.programs {
        cpio.file(name, 0o755, octets)?;
    }
    cpio.file("pristine.ext4.zst", 0o644, &parts.pristine)?;
    cpio.file("version", 0o644, parts.version.as_bytes())?;
    cpio.file("roots", 0o644, parts.roots.as_bytes())?;
    compress(&cpio.finish(), level)
}

/// zstd on one thread: with several, the octets would depend on their number. The frame states its checksum and
/// its size.
pub(crate) fn compress(octets: &[u8], level: i32) -> Result<Vec<u8>, Error> {
    let encoder = zstd::Encoder::new(Vec::new(), level).map_err(Error::Compress)?;
    finish(encoder, octets)
}

/// The same for a disk, on which slot B lies 32 MiB behind slot A: the window reaches back that far, and long matches
/// are looked for, so that B costs nothing. `zstd -d` takes windows of up to 27 without being told to.
pub(crate) fn compress_disk(octets: &[u8], level: i32) -> Result<Vec<u8>, Error> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level).map_err(Error::Compress)?;
    encoder.long_distance_matching(true).map_err(Error::Compress)?;
    encoder.window_log(DISK_WINDOW_LOG).map_err(Error::Compress)?;
    finish(encoder, octets)
}

fn finish(mut encoder: zstd::Encoder<'_, Vec<u8>>, octets: &[u8]) -> Result<Vec<u8>, Error> {
    encoder.include_checksum(true).map_err(Error::Compress)?;
    encoder
        .set_pledged_src_size(Some(octets.len() as u64))
        .map_err(Error::Compress)?;
    encoder.write_all(octets).map_err(Error::Compress)?;
    encoder.finish().map_err(Error::Compress)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        Parts {
            programs: vec![
                ("init", vec![7; 300_000]),
                ("maild", (0..=255).cycle().take(2_000_000).collect()),
            ],
            pristine: b"small".to_vec(),
            version: "NAME=x\n".to_owned(),
            roots: "ab\n".to_owned(),
        }
    }

    #[test]
    fn the_same_parts_packed_twice_are_equal() {
        for level in [6, 19] {
            assert_eq!(pack(&parts(), level).unwrap(), pack(&parts(), level).unwrap());
        }
    }

    #[test]
    fn another_octet_in_a_part_gives_another_archive() {
        let mut other = parts();
        other.programs[1].1[1_000_000] ^= 1;
        assert_ne!(pack(&parts(), 6).unwrap(), pack(&other, 6).unwrap());
    }

    #[test]
    fn what_was_packed_unpacks_to_an_archive_with_all_parts() {
        let packed = pack(&parts(), 6).unwrap();
        let cpio = zstd::decode_all(packed.as_slice()).unwrap();
        assert!(cpio.starts_with(b"070701"));
        for name in [
            "init",
            "maild",
            "pristine.ext4.zst",
            "version",
            "roots",
            "dev/console",
            "TRAILER!!!",
        ] {
            let named = [name.as_bytes(), b"\0"].concat();
            assert!(cpio.windows(named.len()).any(|window| window == named), "{name}");
        }
    }
}
