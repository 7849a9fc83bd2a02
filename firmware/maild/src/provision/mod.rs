//! `postolka.toml`: what an installer writes, checked whole before any of it is applied.
//!
//! ```text
//! text ─ document ─► Document, each value with its place ─ check ─► Plan, or every mistake with its line
//! ```

mod check;
mod document;
mod this_box;

pub(crate) use document::LimitsTable;
pub(crate) use this_box::BoxPlan;

use crate::log::Target;
use mail::{Address, Domain, Secret};
use std::fmt;

/// The largest file that is read.
pub(crate) const FILE_OCTETS_MAX: u64 = handoff::PROVISION_OCTETS_MAX as u64;

/// A provisioning file without a mistake.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) host_name: Option<Domain>,
    pub(crate) this_box: BoxPlan,
    pub(crate) domains: Vec<Domain>,
    pub(crate) mailboxes: Vec<NewMailbox>,
    pub(crate) redirects: Vec<store::Redirect>,
    pub(crate) limits: LimitsTable,
    /// Where the log is sent to as well.
    pub(crate) syslog: Option<Target>,
}

/// A mailbox to be made.
#[derive(Debug)]
pub(crate) struct NewMailbox {
    pub(crate) address: Address,
    pub(crate) password: Password,
    pub(crate) quota_octets: Option<u64>,
}

/// What lets somebody in.
#[derive(Debug)]
pub(crate) enum Password {
    /// To be hashed.
    Plain(Secret<String>),
    /// A verifier that is known to be readable.
    Hash(String),
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// From 1.
    pub(crate) line: usize,
    /// A sentence without the full stop. Never has a password in it.
    pub(crate) text: String,
}

/// All that is wrong with a file, in the order of its lines; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

/// More mistakes than these are only counted.
const SHOWN_MAX: usize = 4;

/// Reads and checks a file.
pub(crate) fn parse(octets: &[u8]) -> Result<Plan, Mistakes> {
    let (text, document) = read(octets)?;
    check::check(text, document)
}

/// The same for a file of the boot partition, which every computer can write to and which stays there: it may say how
/// the box is called and where it is, and nothing else.
pub(crate) fn parse_box(octets: &[u8]) -> Result<BoxPlan, Mistakes> {
    let (text, document) = read(octets)?;
    check::check_box(text, &document)
}

fn read(octets: &[u8]) -> Result<(&str, document::Document), Mistakes> {
    let one = |line, text: &str| {
        Mistakes(vec![Mistake {
            line,
            text: text.to_owned(),
        }])
    };
    if octets.len() as u64 > FILE_OCTETS_MAX {
        return Err(one(1, "the file is larger than 64 KiB"));
    }
    let text = std::str::from_utf8(octets).map_err(|error| {
        let line = document::line_of(octets, error.valid_up_to());
        one(line, "the file is not in UTF-8")
    })?;
    Ok((text, document::parse(text)?))
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, mistake) in self.0.iter().take(SHOWN_MAX).enumerate() {
            let border = if place == 0 { "" } else { "\n" };
            write!(f, "{border}line {}: {}", mistake.line, mistake.text)?;
        }
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            1 => f.write_str("\nand one more mistake"),
            more => write!(f, "\nand {more} more mistakes"),
        }
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests;
