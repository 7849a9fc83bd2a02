//! What `qemu/run` keeps for a person between runs: the disk, the provisioning file, the box's CA certificate.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Trouble;

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

    /// The disk that is used when no other is named.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    /// Puts the disk aside, so that a new one is made. The one that was put aside before is gone then.
    pub(crate) fn put_disk_aside(&self) -> Result<(), Trouble> {
        let old = self.old_disk();
        match fs::rename(self.disk(), &old) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.map_err(Trouble::file("write", &old)),
        }
    }

    /// Where the disk is put aside.
    pub(crate) fn old_disk(&self) -> PathBuf {
        self.folder.join("disk.old.img")
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_put_aside_once_and_only_if_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home {
            folder: folder.path().to_owned(),
        };
        home.put_disk_aside().unwrap();
        assert!(!home.old_disk().exists());
        for mail in ["first", "second"] {
            fs::write(home.disk(), mail).unwrap();
            home.put_disk_aside().unwrap();
            assert!(!home.disk().exists());
            assert_eq!(fs::read_to_string(home.old_disk()).unwrap(), mail);
        }
    }

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
