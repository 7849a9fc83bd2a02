//! Running the tools an image is built with, and naming the package of the one that is missing.

use std::io;
use std::process::{Command, Output};

use crate::error::Error;

/// Runs a tool to its end and gives what it wrote; a tool that fails is an error with its own words.
pub(crate) fn output(command: &mut Command, package: &'static str) -> Result<Output, Error> {
    let output = command
        .output()
        .map_err(|source| not_run(command, package, source))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Error::ToolFailed {
        tool: name(command),
        status: output.status.to_string(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Standard output of a tool as text.
pub(crate) fn text(command: &mut Command, package: &'static str) -> Result<String, Error> {
    let output = output(command, package)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The error for a tool that did not start.
pub(crate) fn not_run(command: &Command, package: &'static str, source: io::Error) -> Error {
    let tool = name(command);
    if source.kind() == io::ErrorKind::NotFound {
        Error::ToolMissing { tool, package }
    } else {
        Error::ToolNotRun { tool, source }
    }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
