//! What `/version` of the image says: lines of `KEY=value`.

use std::fs;

/// The firmware this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) number: String,
    pub(crate) commit: String,
    /// Seconds since 1970. The clock of the box is never before it.
    pub(crate) build_date: u64,
    /// Counts up with each release; 0 where the image does not say.
    pub(crate) counter: u64,
    /// Whether it is signed with a key that lies about on a developer's machine.
    pub(crate) is_development: bool,
}

impl Version {
    /// The file of the image.
    pub(crate) fn read() -> Self {
        Self::parse(&fs::read_to_string("/version").unwrap_or_default())
    }

    pub(crate) fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let text = |key, otherwise: &str| value(key).unwrap_or(otherwise).to_owned();
        Self {
            name: text("NAME", "Postolka"),
            number: text("VERSION", "?"),
            commit: text("COMMIT", "?"),
            build_date: value("BUILD_DATE")
                .and_then(|date| date.parse().ok())
                .unwrap_or(0),
            counter: value("NUMBER")
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
            is_development: value("DEVELOPMENT") == Some("yes"),
        }
    }

    /// What people call it: `0.1.0 (1a2b3c4)`.
    pub(crate) fn spoken(&self) -> String {
        format!("{} ({})", self.number, self.commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_image_are_read_by_key() {
        let version = Version::parse(
            "NAME=Postolka\nVERSION=0.1.0\nCOMMIT=1a2b3c4\nBUILD_DATE=1795505640\nNUMBER=214\nDEVELOPMENT=yes\n",
        );
        assert_eq!(
            (version.name.as_str(), version.number.as_str()),
            ("Postolka", "0.1.0")
        );
        assert_eq!(
            (version.commit.as_str(), version.build_date),
            ("1a2b3c4", 1_795_505_640)
        );
        assert_eq!((version.counter, version.is_development), (214, true));
        assert_eq!(version.spoken(), "0.1.0 (1a2b3c4)");
    }

    #[test]
    fn an_image_without_the_file_runs_all_the_same() {
        let version = Version::parse("BUILD_DATE=soon\nVERSION");
        assert_eq!((version.number.as_str(), version.build_date), ("?", 0));
        assert_eq!((version.counter, version.is_development), (0, false));
    }
}
