//! An update in a file that somebody else may still hold.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use format::layout::SLOT_A;

use super::Source;

/// A regular file or a memory file.
#[derive(Debug)]
pub(crate) struct FileSource {
    file: File,
    octets: u64,
}

impl FileSource {
    /// Takes `file`, which is to have `octets` octets. It may be shorter by now, or become so: that shows in reading.
    ///
    /// # Errors
    /// It is nothing that is read at once: a pipe or a terminal could be waited for until the power goes.
    pub(crate) fn new(file: File, octets: u64) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if kind.is_dir() {
            return wrong("it is a folder");
        }
        if !kind.is_file() {
            return wrong("it is not a file");
        }
        if octets > SLOT_A.octets {
            return wrong("it is larger than a slot");
        }
        Ok(Self { file, octets })
    }

    /// Takes `file` as long as it is.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn whole(file: File) -> io::Result<Self> {
        let octets = file.metadata()?.len();
        Self::new(file, octets)
    }
}

impl Source for FileSource {
    fn octets(&self) -> u64 {
        self.octets
    }

    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        match self.file.read_exact_at(into, at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut short"))
            }
            result => result,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    fn refused(file: File, expected: &str) {
        assert_eq!(FileSource::new(file, 9).unwrap_err().to_string(), expected);
    }

    #[test]
    fn only_a_file_is_read_from() {
        refused(File::open("/").unwrap(), "it is a folder");
        refused(File::open("/dev/null").unwrap(), "it is not a file");
        let (pipe, _end) = io::pipe().unwrap();
        refused(File::from(OwnedFd::from(pipe)), "it is not a file");
        let (socket, _end) = std::os::unix::net::UnixStream::pair().unwrap();
        refused(File::from(OwnedFd::from(socket)), "it is not a file");
    }

    #[test]
    fn a_file_that_is_shorter_than_was_said_is_told_so() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut source = FileSource::new(file.try_clone().unwrap(), 100).unwrap();
        let mut octets = [0; 8];
        source.read_at(2, &mut octets).unwrap();
        assert_eq!(&octets, b"23456789");
        assert_eq!(
            source.read_at(3, &mut octets).unwrap_err().to_string(),
            "it is cut short"
        );
        assert_eq!(FileSource::whole(file.try_clone().unwrap()).unwrap().octets(), 10);
        let error = FileSource::new(file, SLOT_A.octets + 1).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than a slot");
    }
}
