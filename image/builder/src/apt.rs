//! apt, which verifies what it downloads. Nothing is installed with it, so root is not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::tool;

/// apt as the machine has it, or with lists of its own for another architecture.
#[derive(Debug, Default)]
pub(crate) struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// With the lists that the machine has.
    pub(crate) fn of_machine() -> Self {
        Self::default()
    }

    /// For packages of another architecture: from the machine's own sources, with lists in `folder`. What the machine
    /// has installed, and what it knows of, stays as it is.
    pub(crate) fn of_architecture(architecture: &str, folder: &Path) -> Result<Self, Error> {
        for part in ["lists/partial", "archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(Error::file("make the folder", &path))?;
        }
        let status = folder.join("status");
        fs::write(&status, "").map_err(Error::file("write", &status))?;
        let place = folder.display();
        let options = [
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            format!("Dir::State={place}"),
            format!("Dir::State::lists={place}/lists"),
            format!("Dir::State::status={place}/status"),
            format!("Dir::Cache={place}"),
            "Acquire::Languages=none".to_owned(),
        ];
        let apt = Self {
            options: options
                .into_iter()
                .flat_map(|option| ["-o".to_owned(), option])
                .collect(),
        };
        // A source that has nothing for this architecture is no fault: what is missing is noticed when it is asked for.
        match tool::output(&mut apt.command("apt-get", &["--quiet", "update"]), "apt") {
            Ok(_) | Err(Error::ToolFailed { .. }) => Ok(apt),
            Err(error) => Err(error),
        }
    }

    /// The versions of a package that apt offers, newest first; none where there is no apt.
    pub(crate) fn offered(&self, package: &str) -> Vec<String> {
        let list = tool::text(&mut self.command("apt-cache", &["madison", package]), "apt");
        versions(package, &list.unwrap_or_default())
    }

    /// Downloads a package and unpacks it below `folder`; gives the folder its files are in.
    pub(crate) fn unpacked(&self, package: &str, version: &str, folder: &Path) -> Result<PathBuf, Error> {
        let wanted = format!("{package}={version}");
        tool::output(
            self.command("apt-get", &["--quiet", "download", &wanted])
                .current_dir(folder),
            "apt",
        )?;
        let deb = fs::read_dir(folder)
            .map_err(Error::file("read", folder))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or(Error::NotDownloaded(wanted))?;
        let unpacked = folder.join("package");
        tool::output(
            Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked),
            "dpkg",
        )?;
        fs::remove_file(&deb).map_err(Error::file("remove", &deb))?;
        Ok(unpacked)
    }

    fn command(&self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool);
        command.args(&self.options).args(arguments);
        command
    }
}

/// `linux-source-6.12 | 6.12.117-1~deb12u1 | archive bookworm-security/main amd64 Packages`, a line each.
fn versions(package: &str, madison: &str) -> Vec<String> {
    madison
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            (columns.next() == Some(package))
                .then(|| columns.next())
                .flatten()
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_list_is_read_newest_first() {
        let list = " linux-source-6.12 | 6.12.11-1 | somewhere bookworm/main amd64 Packages\n \
                    linux-source-6.12 | 6.12.9-1 | elsewhere bookworm/main amd64 Packages\n \
                    linux-source-6.12-rt | 6.12.12-1 | elsewhere bookworm/main amd64 Packages\n";
        assert_eq!(versions("linux-source-6.12", list), ["6.12.11-1", "6.12.9-1"]);
        assert_eq!(
            versions("linux-source-6.12", "N: Unable to locate package\n"),
            Vec::<String>::new()
        );
    }
}
