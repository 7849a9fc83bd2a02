//! What maild does besides serving: `check`, `rebuild`, `export`, `import`, each on a store that nobody serves.
//!
//! | exit code | |
//! | --- | --- |
//! | 0 | all is well |
//! | 1 | it could not be done; the sentence says why, and what to do |
//! | 2 | what was typed makes no sense |
//! | 3 | it was done, and there is something to know: damage, or what could not be exported or imported |

mod check;
mod export;
mod import;
mod lines;
mod mbox;
mod names;
mod options;
mod progress;
mod source;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use options::{Tool, parse};

use crate::log::printable;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::{Opened, Store, StoreError};

/// Done, with something to know.
const EXIT_TOLD: u8 = 3;

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
enum ToolError {
    #[error("there is no store in {}; what is wanted is the folder of the data, in which 'store' lies", .0.display())]
    NoStore(PathBuf),
    #[error(
        "the store in {} is in use; stop the maild that uses it (on a computer by Ctrl-C or SIGTERM, a box by its button) and \
         try again",
        .0.display()
    )]
    InUse(PathBuf),
    #[error("the store in {} cannot be used: {source}", .folder.display())]
    Store {
        folder: PathBuf,
        #[source]
        source: StoreError,
    },
    #[error("{}: {source}", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Said(String),
}

impl ToolError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> ToolError {
        let path = path.to_owned();
        move |source| ToolError::File { path, source }
    }
}

/// What there is to say in the end.
struct Report {
    /// On standard output.
    summary: String,
    /// Whether it is not only good.
    is_told: bool,
}

/// Does it.
pub(crate) fn run(tool: &Tool) -> ExitCode {
    let report = match tool {
        Tool::Check { data } => check::check(data),
        Tool::Rebuild { data } => check::rebuild(data),
        Tool::Export(export) => export::export(export),
        Tool::Import(import) => import::import(import),
    };
    match report {
        Ok(report) => {
            println!("{}", printable(&report.summary));
            if report.is_told {
                ExitCode::from(EXIT_TOLD)
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(error) => {
            eprintln!("maild: {}", printable(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// The folder of the store in the folder of the data, if there is a store.
fn store_folder(data: &Path) -> Result<PathBuf, ToolError> {
    let folder = data.join("store");
    // Opening makes what is missing; a folder that was mistyped is to stay as it is.
    if folder.join("log").is_dir() {
        Ok(folder)
    } else {
        Err(ToolError::NoStore(data.to_owned()))
    }
}

fn open(data: &Path) -> Result<(Store, Opened), ToolError> {
    let folder = store_folder(data)?;
    Store::open(&folder, store::Options::default()).map_err(of_store(data))
}

fn of_store(data: &Path) -> impl Fn(StoreError) -> ToolError {
    let folder = data.to_owned();
    move |source| match source {
        StoreError::InUse => ToolError::InUse(folder.clone()),
        source => ToolError::Store {
            folder: folder.clone(),
            source,
        },
    }
}

/// `1 message`, `2 messages`.
fn counted(count: u64, one: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {one}{end}")
}
