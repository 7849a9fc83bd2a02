//! What `qemu/run` keeps for a person between runs: the disk, the provisioning file, the box's CA certificate.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use qemu::Disk;

use super::Trouble;

const DISK_OCTETS: u64 = 4 << 30;
/// Letters and digits that nobody mistakes for others; 2^5 of them, so a random octet picks evenly.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
const PASSWORD_GROUPS: usize = 4;
const PASSWORD_GROUP: usize = 4;

/// The mailbox that is ready when no other file is given.
pub(crate) const ADDRESS: &str = "anna@firma.test";

/// The folder `~/.local/share/postolka/qemu` (XDG Base Directory Specification), readable by its owner only.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
}

impl Home {
    pub(crate) fn open() -> Result<Self, Trouble> {
        let fallback = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/share");
        let folder = std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .unwrap_or_else(fallback)
            .join("postolka/qemu");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(Trouble::file("make the folder", &folder))?;
        Ok(Self { folder })
    }

    /// The disk that is used when no other is named, made when it is not there.
    pub(crate) fn disk(&self) -> Result<Disk, Trouble> {
        let path = self.folder.join("disk.img");
        if path.exists() {
            return Ok(Disk::open(&path)?);
        }
        println!("The box gets a new disk: {}", path.display());
        Ok(Disk::create(&path, DISK_OCTETS)?)
    }

    /// The provisioning file that is used when no other is given, and the password in it.
    pub(crate) fn provision(&self) -> Result<(String, String), Trouble> {
        let path = self.folder.join("postolka.toml");
        if let Ok(text) = fs::read_to_string(&path)
            && let Some(password) = password_in(&text)
        {
            let password = password.to_owned();
            return Ok((text, password));
        }
        let password = password().map_err(Trouble::file("read", Path::new("/dev/urandom")))?;
        let text = provision_text(&password);
        write_private(&path, text.as_bytes()).map_err(Trouble::file("write", &path))?;
        Ok((text, password))
    }

    /// Where the box's CA certificate is kept for mail programs.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }
}

/// A `postolka.toml` with one domain and one mailbox.
fn provision_text(password: &str) -> String {
    format!(
        "# Made by qemu/run at its first run. The box reads it from its stick while it is unclaimed.\n\n\
         [[domain]]\n\
         name = \"firma.test\"\n\n\
         [[mailbox]]\n\
         address = \"{ADDRESS}\"\n\
         password = \"{password}\"\n"
    )
}

fn password_in(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.strip_prefix("password = \""))
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|password| !password.is_empty())
}

/// Eighty random bits, in groups that can be read aloud.
fn password() -> std::io::Result<String> {
    let mut octets = [0; PASSWORD_GROUPS * PASSWORD_GROUP];
    fs::File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(spelt(&octets))
}

fn spelt(octets: &[u8]) -> String {
    let groups: Vec<String> = octets
        .chunks(PASSWORD_GROUP)
        .map(|group| {
            let letter = |octet: &u8| char::from(ALPHABET[usize::from(*octet) % ALPHABET.len()]);
            group.iter().map(letter).collect()
        })
        .collect();
    groups.join("-")
}

fn write_private(path: &Path, octets: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_in_the_file_is_found_again() {
        let text = provision_text("abcd-efgh-jkmn-pqrs");
        assert_eq!(password_in(&text), Some("abcd-efgh-jkmn-pqrs"));
        assert_eq!(password_in("password = \"\"\n"), None);
        assert_eq!(password_in("# password = \"x\"\n"), None);
    }

    #[test]
    fn a_password_is_four_groups_of_letters_nobody_mistakes() {
        assert_eq!(spelt(&[0, 1, 2, 3, 31, 32, 33, 255]), "abcd-9ab9");
        assert!(!ALPHABET.iter().any(|letter| b"1iloO".contains(letter)));
    }

    #[test]
    fn two_passwords_differ() {
        assert!(password().is_ok_and(|one| password().is_ok_and(|other| one != other && one.len() == 19)));
    }
}
