//! Folders of whoever builds, which must not get into what is built: the names of source files are in panic messages.

use std::path::{Path, PathBuf};

/// Folder and what it is called in the image; a later one goes before an earlier one that it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths(Vec<(PathBuf, &'static str)>);

impl Paths {
    /// The checkout, cargo's folder with the sources of libraries, and the target folder with generated ones.
    pub(crate) fn of(workspace: &Path, target: &Path) -> Self {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo");
        let cargo = std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from);
        Self(vec![
            (cargo, "/cargo"),
            (workspace.to_owned(), "/postolka"),
            (target.to_owned(), "/target"),
        ])
    }

    /// cargo's `--config` for a target: options of rustc, beside those of `.cargo/config.toml`.
    pub(crate) fn config(&self, target: &str) -> String {
        format!(
            "target.{target}.rustflags={:?}",
            self.options("--remap-path-prefix")
        )
    }

    /// Options of a C compiler, to be put behind others. They are split at spaces, so that a folder with one in its name
    /// is better left as it is than torn apart.
    pub(crate) fn c_flags(&self) -> String {
        let mut options = self.options("-ffile-prefix-map");
        options.retain(|option| !option.contains(char::is_whitespace));
        options.join(" ")
    }

    fn options(&self, option: &str) -> Vec<String> {
        self.0
            .iter()
            .map(|(folder, name)| format!("{option}={}={name}", folder.display()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_of_the_builder_has_another_name_in_the_image() {
        let paths = Paths(vec![
            ("/home/me/.cargo".into(), "/cargo"),
            ("/home/me/a b".into(), "/postolka"),
        ]);
        assert_eq!(
            paths.config("some"),
            "target.some.rustflags=[\"--remap-path-prefix=/home/me/.cargo=/cargo\", \
             \"--remap-path-prefix=/home/me/a b=/postolka\"]"
        );
        // The second has a space in it.
        assert_eq!(paths.c_flags(), "-ffile-prefix-map=/home/me/.cargo=/cargo");
    }
}
