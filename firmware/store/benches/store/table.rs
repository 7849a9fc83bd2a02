//! The table that is printed.

use crate::Failure;
use std::fmt::Write as _;
use std::io::{Stdout, Write, stdout};
use std::path::Path;

pub(crate) struct Table {
    out: Stdout,
}

impl Table {
    pub(crate) fn new(folder: &Path) -> Result<Table, Failure> {
        let threads = std::thread::available_parallelism()?;
        let mut out = stdout();
        writeln!(out, "on {}, {threads} processors", folder.display())?;
        Ok(Table { out })
    }

    pub(crate) fn heading(&mut self, name: &str) -> Result<(), Failure> {
        Ok(writeln!(self.out, "\n{name}")?)
    }

    /// A figure of the store, and the same of something plain; `None`: there is nothing to compare it with.
    pub(crate) fn line(
        &mut self,
        what: &str,
        figure: f64,
        unit: &str,
        baseline: Option<(&str, f64)>,
    ) -> Result<(), Failure> {
        let digits = if figure < 10.0 { 2 } else { 0 };
        let mut line = format!("  {what:34} {figure:>9.digits$} {unit:14}");
        if let Some((name, than)) = baseline {
            let ratio = figure / than;
            write!(line, " {ratio:>6.2} times {name} ({than:.digits$})")?;
        }
        Ok(writeln!(self.out, "{}", line.trim_end())?)
    }
}
