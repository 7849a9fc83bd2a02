//! The grammar of the file: which keys there are, and of which type.

use super::{Mistake, Mistakes};
use serde::Deserialize;
use toml::Spanned;

/// A string, with its place in the file.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) host_name: Option<Text>,
    #[serde(default, rename = "domain")]
    pub(super) domains: Vec<DomainTable>,
    #[serde(default, rename = "mailbox")]
    pub(super) mailboxes: Vec<MailboxTable>,
    #[serde(default, rename = "redirect")]
    pub(super) redirects: Vec<RedirectTable>,
    #[serde(rename = "box")]
    pub(super) this_box: Option<Spanned<BoxTable>>,
    pub(super) limits: Option<Spanned<LimitsTable>>,
    pub(super) log: Option<Spanned<LogTable>>,
}

/// `[log]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogTable {
    pub(super) syslog: Option<Text>,
}

/// `[box]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BoxTable {
    pub(super) name: Option<Text>,
    pub(super) address: Option<Text>,
    pub(super) gateway: Option<Text>,
    pub(super) dns: Option<Spanned<Vec<Text>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DomainTable {
    pub(super) name: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MailboxTable {
    pub(super) address: Text,
    pub(super) password: Option<Text>,
    pub(super) password_hash: Option<Text>,
    pub(super) quota: Option<Spanned<Quota>>,
}

/// `2147483648` or `"2 GiB"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Quota {
    Octets(u64),
    Text(String),
    /// Whatever else there is, so that the mistake is told in our words.
    Other(serde::de::IgnoredAny),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedirectTable {
    pub(super) address: Text,
    pub(super) targets: Spanned<Vec<Text>>,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsTable {
    pub(crate) connections: Option<u32>,
    pub(crate) connections_per_address: Option<u32>,
    pub(crate) login_failures: Option<u32>,
}

/// Reads the file as far as its grammar goes. The grammar stops at its first mistake.
pub(super) fn parse(text: &str) -> Result<Document, Mistakes> {
    toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| line_of(text.as_bytes(), span.start));
        let text = plain(error.message());
        Mistakes(vec![Mistake { line, text }])
    })
}

/// The line of an octet, from 1.
pub(super) fn line_of(text: &[u8], offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    1 + before.split(|octet| *octet == b'\n').skip(1).count()
}

/// The library's message, in words for an installer and without the value it was about: that may be a
/// password.
fn plain(message: &str) -> String {
    let first_line = message.lines().next().unwrap_or_default();
    if let Some((_, expected)) = first_line.split_once(", expected ") {
        if first_line.starts_with("invalid type") || first_line.starts_with("invalid value") {
            return format!("this is not {expected}");
        }
        if let Some(key) = first_line.strip_prefix("unknown field ") {
            let key = key.split(',').next().unwrap_or_default();
            return format!(
                "the key {key} is not known here; known are {}",
                expected.replace("one of ", "")
            );
        }
    }
    if let Some(key) = first_line.strip_prefix("missing field ") {
        return format!("here the key {key} is missing");
    }
    if first_line.starts_with("invalid") || first_line.starts_with("duplicate key") {
        return first_line.to_owned();
    }
    format!("this is not TOML: {first_line}")
}
