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
}

impl Version {
    /// The file of the image.
    pub(crate) fn read() -> Self {
        Self::parse(&fs::read_to_string("/version").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_image_are_read_by_key() {
        let version = Version::parse("NAME=Postolka\nVERSION=0.1.0\nCOMMIT=1a2b3c4\nBUILD_DATE=1795505640\n");
        assert_eq!(
            (version.name.as_str(), version.number.as_str()),
            ("Postolka", "0.1.0")
        );
        assert_eq!(
            (version.commit.as_str(), version.build_date),
            ("1a2b3c4", 1_795_505_640)
        );
    }

    #[test]
    fn an_image_without_the_file_runs_all_the_same() {
        let version = Version::parse("BUILD_DATE=soon\nVERSION");
        assert_eq!((version.number.as_str(), version.build_date), ("?", 0));
    }
}
