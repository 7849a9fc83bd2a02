//! How keys lie in files: text, one `name: value` a line, the first of them the kind of file.
//!
//! ```text
//! # Words for people. Lines like this one are passed over.
//! kind: postolka release key v1
//! seed: 64 hexadecimal digits
//! certificate: 208 hexadecimal digits
//! root: 64 hexadecimal digits
//! root: and the other one
//! ```

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The longest file that is taken for one with keys.
const OCTETS_MAX: u64 = 16 << 10;

/// A file that was read, line by line.
#[derive(Debug)]
pub(crate) struct KeyFile {
    path: PathBuf,
    /// What the first line says it is.
    pub(crate) kind: String,
    lines: Vec<Line>,
    end: usize,
}

/// A line with its number, from 1.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    number: usize,
    name: String,
    value: String,
}

impl KeyFile {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let about = fs::metadata(path).map_err(Error::file("read", path))?;
        if about.len() > OCTETS_MAX {
            return Err(fault(path, 1, "this is no file with keys: it is too long"));
        }
        let octets = fs::read(path).map_err(Error::file("read", path))?;
        let text = String::from_utf8(octets)
            .map_err(|_| fault(path, 1, "this is no file with keys: it is not text"))?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line
                .split_once(": ")
                .ok_or_else(|| fault(path, number, "expected 'name: value'"))?;
            lines.push(Line {
                number,
                name: name.to_owned(),
                value: value.trim().to_owned(),
            });
        }
        let end = text.lines().count().max(1);
        match lines.first() {
            Some(first) if first.name == "kind" => Ok(Self {
                path: path.to_owned(),
                kind: lines.remove(0).value,
                lines,
                end,
            }),
            first => Err(fault(
                path,
                first.map_or(end, |line| line.number),
                "expected 'kind: …', by which a file with keys begins",
            )),
        }
    }

    /// The line of this name, of which there must be one.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Result<&'a Line, Error> {
        let mut found = self.all(name);
        let line = found
            .next()
            .ok_or_else(|| fault(&self.path, self.end, format!("'{name}: …' is missing")))?;
        match found.next() {
            None => Ok(line),
            Some(second) => Err(self.fault(second, format!("a second '{name}'"))),
        }
    }

    /// The lines of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.name == name)
    }

    /// A word that is unknown may be one that matters: it is named instead of passed over.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), Error> {
        match self
            .lines
            .iter()
            .find(|line| !names.contains(&line.name.as_str()))
        {
            None => Ok(()),
            Some(line) => Err(self.fault(line, format!("'{}' does not belong here", line.name))),
        }
    }

    /// The octets of a line.
    pub(crate) fn octets<const N: usize>(&self, line: &Line) -> Result<[u8; N], Error> {
        of_hex(&line.value).ok_or_else(|| {
            self.fault(
                line,
                format!(
                    "'{}' is not {} hexadecimal digits in lower case",
                    line.name,
                    2 * N
                ),
            )
        })
    }

    /// `yes` or `no`.
    pub(crate) fn is_yes(&self, line: &Line) -> Result<bool, Error> {
        match line.value.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(self.fault(line, format!("'{}' is neither yes nor no", line.name))),
        }
    }

    /// An error about a line.
    pub(crate) fn fault(&self, line: &Line, what: impl Into<String>) -> Error {
        fault(&self.path, line.number, what)
    }

    /// A private key that others can read is not private.
    pub(crate) fn check_private(&self) -> Result<(), Error> {
        let about = fs::metadata(&self.path).map_err(Error::file("read", &self.path))?;
        let others = about.permissions().mode() & 0o077;
        if others == 0 {
            Ok(())
        } else {
            Err(Error::KeyNotPrivate(self.path.clone()))
        }
    }
}

fn fault(path: &Path, line: usize, what: impl Into<String>) -> Error {
    Error::KeyFile {
        path: path.to_owned(),
        line,
        what: what.into(),
    }
}

/// A file being written.
#[derive(Debug)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn new(words: &str, kind: &str) -> Self {
        Self(format!("# {words}\nkind: {kind}\n"))
    }

    #[must_use]
    pub(crate) fn line(mut self, name: &str, value: &str) -> Self {
        for piece in [name, ": ", value, "\n"] {
            self.0.push_str(piece);
        }
        self
    }

    #[must_use]
    pub(crate) fn octets(self, name: &str, octets: &[u8]) -> Self {
        self.line(name, &hex(octets))
    }

    /// Writes it to a file that does not exist yet: a key that is overwritten is lost.
    pub(crate) fn write_new(&self, path: &Path, mode: u32) -> Result<(), Error> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path);
        file.and_then(|mut file| {
            file.write_all(self.0.as_bytes())?;
            file.sync_all()
        })
        .map_err(Error::file("write the new file", path))
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(octets: &[u8]) -> String {
    use std::fmt::Write;
    octets.iter().fold(String::new(), |mut out, octet| {
        let _ = write!(out, "{octet:02x}"); // Writing to a String cannot fail.
        out
    })
}

fn of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower = text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 2 * N || !is_lower {
        return None;
    }
    let mut octets = [0; N];
    for (index, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(octets)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<KeyFile, String> {
        KeyFile::parse(Path::new("my.key"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_found_by_name() {
        let file = parsed("# words\n\nkind: some\nroot: 00ff\nroot: 1234\nnew: yes\n").unwrap();
        assert_eq!(file.kind, "some");
        let roots: Vec<[u8; 2]> = file.all("root").map(|line| file.octets(line).unwrap()).collect();
        assert_eq!(roots, [[0, 0xff], [0x12, 0x34]]);
        assert!(file.is_yes(file.one("new").unwrap()).unwrap());
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        let check = |text: &str, expected: &str| {
            let said = parsed(text)
                .and_then(|file| {
                    let one = file.one("seed").and_then(|line| file.octets::<2>(line));
                    one.and_then(|_| file.only(&["seed"]))
                        .map_err(|error| error.to_string())
                })
                .unwrap_err();
            assert_eq!(said, expected);
        };
        check(
            "",
            "my.key, line 1: expected 'kind: …', by which a file with keys begins",
        );
        check(
            "seed: 00\n",
            "my.key, line 1: expected 'kind: …', by which a file with keys begins",
        );
        check("kind: x\n#\nseed\n", "my.key, line 3: expected 'name: value'");
        check("kind: x\n#\n", "my.key, line 2: 'seed: …' is missing");
        check(
            "kind: x\nseed: 0000\nseed: 0001\n",
            "my.key, line 3: a second 'seed'",
        );
        for wrong in ["000", "00000", "00FF", "zzzz", "0é0"] {
            let said = "my.key, line 2: 'seed' is not 4 hexadecimal digits in lower case";
            check(&format!("kind: x\nseed: {wrong}\n"), said);
        }
        check(
            "kind: x\nseed: 0000\nmore: 1\n",
            "my.key, line 3: 'more' does not belong here",
        );
    }

    #[test]
    fn a_key_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let text = Text::new("words", "some").octets("seed", &[1]);
        text.write_new(&path, 0o600).unwrap();
        let file = KeyFile::read(&path).unwrap();
        file.check_private().unwrap();
        assert!(
            text.write_new(&path, 0o600)
                .unwrap_err()
                .to_string()
                .contains("a.key")
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let said = file.check_private().unwrap_err().to_string();
        assert!(said.contains("chmod 600"), "{said}");
    }

    proptest! {
        #[test]
        fn octets_written_are_read(octets: [u8; 32]) {
            prop_assert_eq!(of_hex(&hex(&octets)), Some(octets));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parsed(&format!("kind: {text}")).map(|file| file.one("seed").is_ok());
            let _ = parsed(&text);
            let _ = of_hex::<3>(&text);
        }
    }
}
