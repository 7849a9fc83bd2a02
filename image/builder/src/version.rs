//! `/version` of the image: what it is and when it was made.
//!
//! ```text
//! NAME=Postolka
//! VERSION=0.1.0
//! COMMIT=1a2b3c4
//! BUILD_DATE=1795505640
//! PROFILE=release
//! KERNEL=6.12.117-1~deb12u1 pinned
//! NUMBER=214
//! BOARD=virt
//! DEVELOPMENT=no
//! ```
//!
//! `BUILD_DATE` is in seconds since 1970 and is the date of the commit, so that the same commit gives the same
//! image. The box takes it as the floor of its clock: no moment it lives through is earlier.

use std::path::Path;
use std::process::Command;

use format::Board;

use crate::error::Error;
use crate::kernel::Kernel;
use crate::programs::Profile;
use crate::tool;

/// A commit and its date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) name: String,
    pub(crate) epoch: u64,
}

/// The commit that is checked out; `-dirty` behind its name says that files were changed since.
///
/// `SOURCE_DATE_EPOCH` goes before the commit's date, and stands in for it where there is no git.
pub(crate) fn commit(workspace: &Path) -> Result<Commit, Error> {
    let name = git(workspace, &["describe", "--always", "--dirty"]).unwrap_or_else(|_| "unknown".to_owned());
    let date = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(date) => date,
        Err(_) => git(workspace, &["log", "-1", "--format=%ct"]).map_err(|_| Error::NoDate)?,
    };
    let epoch = date.parse().map_err(|_| Error::Date(date))?;
    Ok(Commit { name, epoch })
}

/// The version's number when none is given: of two commits on one line of history, the later one has the higher.
///
/// A clone that was cut off somewhere counts too few. For a development key that is good enough, and said; a release
/// with too low a number would be one that no box takes.
pub(crate) fn number(workspace: &Path, is_development: bool) -> Result<u64, Error> {
    let count = git(workspace, &["rev-list", "--count", "HEAD"]).ok();
    let count = count.and_then(|text| text.parse().ok());
    let is_whole =
        git(workspace, &["rev-parse", "--is-shallow-repository"]).is_ok_and(|text| text == "false");
    match count {
        Some(count) if is_whole => Ok(count),
        Some(count) if is_development => {
            println!("number    {count}, counted in a clone that is cut short");
            Ok(count)
        }
        _ => Err(Error::NoNumber),
    }
}

fn git(workspace: &Path, arguments: &[&str]) -> Result<String, Error> {
    let mut git = Command::new("git");
    tool::text(git.arg("-C").arg(workspace).args(arguments), "git").map(|text| text.trim().to_owned())
}

/// What the image is told of itself, beyond the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) commit: Commit,
    pub(crate) number: u64,
    pub(crate) board: Board,
    pub(crate) profile: Profile,
    pub(crate) is_development: bool,
}

pub(crate) fn text(about: &About, kernel: &Kernel) -> String {
    format!(
        "NAME=Postolka\nVERSION={}\nCOMMIT={}\nBUILD_DATE={}\nPROFILE={}\nKERNEL={} {}\nNUMBER={}\nBOARD={}\nDEVELOPMENT={}\n",
        env!("CARGO_PKG_VERSION"),
        about.commit.name,
        about.commit.epoch,
        about.profile.name(),
        kernel.version,
        if kernel.pinned { "pinned" } else { "unpinned" },
        about.number,
        about.board.name(),
        if about.is_development { "yes" } else { "no" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_a_line_for_each_thing_and_no_clock() {
        let kernel = Kernel {
            version: "6.12.9-1".to_owned(),
            pinned: false,
            zboot: "kernel".into(),
            bare: "Image".into(),
            device_trees: Vec::new(),
        };
        let about = About {
            commit: Commit {
                name: "1a2b3c4".to_owned(),
                epoch: 1_795_505_640,
            },
            number: 214,
            board: Board::Rpi,
            profile: Profile::Ci,
            is_development: true,
        };
        let text = text(&about, &kernel);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2..],
            [
                "COMMIT=1a2b3c4",
                "BUILD_DATE=1795505640",
                "PROFILE=ci",
                "KERNEL=6.12.9-1 unpinned",
                "NUMBER=214",
                "BOARD=rpi",
                "DEVELOPMENT=yes"
            ]
        );
    }
}
