//! Records as files. Only workers call this: the loop touches no disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::record::{self, Fault};
use super::{Kind, Record};
use crate::trouble::reason;

/// The longest record has some two hundred octets.
const OCTETS_MAX: u64 = 1024;

/// Reads the record of this kind, if there is one.
///
/// # Errors
/// What lies there is no record; it stays where it is until the next one is written.
pub(crate) fn read(folder: &Path, kind: Kind) -> Result<Option<Record>, Fault> {
    match octets(&folder.join(kind.word())) {
        Ok(octets) => record::decode(kind, &octets).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::Unreadable(reason(&error))),
    }
}

fn octets(path: &Path) -> io::Result<Vec<u8>> {
    // The disk may have been in other hands: a link is not followed, and a pipe is not waited for.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut octets = Vec::new();
    file.take(OCTETS_MAX).read_to_end(&mut octets)?;
    Ok(octets)
}

/// Writes a record in place of the one before. When this returns `Ok`, it survives a power cut; when the power is cut
/// before, the old one is there, whole.
pub(crate) fn write(folder: &Path, record: &Record) -> io::Result<()> {
    write_on(&mut Folder(folder), record)
}

/// What writing a record asks of the folder that it lies in: a trait, so that the tests can cut the power at each call.
trait Place {
    /// A file of this name that was not there before.
    type File;

    fn remove(&mut self, name: &str) -> io::Result<()>;
    fn create(&mut self, name: &str) -> io::Result<Self::File>;
    fn write(&mut self, file: &mut Self::File, octets: &[u8]) -> io::Result<()>;
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync_names(&mut self) -> io::Result<()>;
}

fn write_on(place: &mut impl Place, record: &Record) -> io::Result<()> {
    let name = record.kind().word();
    let new = format!("{name}.new");
    // Left behind by a power cut, or put there by somebody.
    match place.remove(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = place.create(&new)?;
    place.write(&mut file, record::encode(record).as_bytes())?;
    place.sync(&file)?;
    place.rename(&new, name)?;
    // The new name is on the disk when its folder is.
    place.sync_names()
}

/// A folder of the file system.
struct Folder<'a>(&'a Path);

impl Place for Folder<'_> {
    type File = File;

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn create(&mut self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.0.join(name))
    }

    fn write(&mut self, file: &mut File, octets: &[u8]) -> io::Result<()> {
        file.write_all(octets)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(self.0)?.sync_all()
    }
}

#[cfg(test)]
mod cut;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use handoff::{HostName, Ipv4Settings};
    use nix::sys::stat::Mode;

    use super::*;

    fn name(text: &str) -> Record {
        Record::Name(HostName::new(text).unwrap())
    }

    #[test]
    fn what_is_written_is_read_back_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path(), Kind::Name), Ok(None));
        for text in ["postolka", "mail"] {
            write(folder.path(), &name(text)).unwrap();
            assert_eq!(read(folder.path(), Kind::Name), Ok(Some(name(text))));
        }
        let network = Record::Network(Ipv4Settings::Dynamic);
        write(folder.path(), &network).unwrap();
        assert_eq!(read(folder.path(), Kind::Network), Ok(Some(network)));
        let mode = fs::metadata(folder.path().join("name"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_the_old_record_and_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &name("postolka")).unwrap();
        fs::write(folder.path().join("name.new"), "postolka na").unwrap();
        assert_eq!(read(folder.path(), Kind::Name), Ok(Some(name("postolka"))));
        write(folder.path(), &name("mail")).unwrap();
        assert_eq!(read(folder.path(), Kind::Name), Ok(Some(name("mail"))));
        assert!(!folder.path().join("name.new").exists());
    }

    #[test]
    fn what_is_no_file_is_not_followed_or_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        write(elsewhere.path(), &name("mail")).unwrap();
        symlink(elsewhere.path().join("name"), folder.path().join("name")).unwrap();
        assert!(matches!(
            read(folder.path(), Kind::Name),
            Err(Fault::Unreadable(_))
        ));
        // It is replaced, and what it led to stays.
        write(folder.path(), &name("postolka")).unwrap();
        assert_eq!(read(folder.path(), Kind::Name), Ok(Some(name("postolka"))));
        assert_eq!(read(elsewhere.path(), Kind::Name), Ok(Some(name("mail"))));

        nix::unistd::mkfifo(&folder.path().join("time"), Mode::S_IRWXU).unwrap();
        assert_eq!(
            read(folder.path(), Kind::Time),
            Err(Fault::Unreadable("it is not a file".to_owned()))
        );
        fs::create_dir(folder.path().join("network")).unwrap();
        assert!(matches!(
            read(folder.path(), Kind::Network),
            Err(Fault::Unreadable(_))
        ));
    }

    #[test]
    fn an_endless_file_is_damaged_and_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("name")).unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(read(folder.path(), Kind::Name), Err(Fault::Damaged));
    }
}
