//! The command lines of the tools.

use mail::{Address, MailboxName};
use std::path::PathBuf;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tool {
    Check { data: PathBuf },
    Rebuild { data: PathBuf },
    Export(Export),
    Import(Import),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Export {
    pub(super) data: PathBuf,
    pub(super) to: PathBuf,
    pub(super) format: Format,
    /// `None`: all.
    pub(super) account: Option<Address>,
    /// `None`: all of the account.
    pub(super) mailbox: Option<MailboxName>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Import {
    pub(super) data: PathBuf,
    pub(super) from: PathBuf,
    pub(super) account: Address,
    /// Where to what has no name of its own goes; default: INBOX.
    pub(super) mailbox: Option<MailboxName>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Maildir,
    Mbox,
}

/// Reads the arguments behind `check`, `rebuild`, `export` or `import`.
///
/// `None`: `--help`.
///
/// # Errors
/// A sentence for whoever typed them.
pub(crate) fn parse(tool: &str, arguments: impl IntoIterator<Item = String>) -> Result<Option<Tool>, String> {
    let mut arguments = arguments.into_iter();
    let (mut folders, mut account, mut mailbox, mut format) = (Vec::new(), None, None, None);
    while let Some(argument) = arguments.next() {
        if matches!(argument.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        if !argument.starts_with("--") {
            folders.push(PathBuf::from(argument));
            continue;
        }
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let is_known = match tool {
            "export" => matches!(name.as_str(), "--account" | "--mailbox" | "--format"),
            "import" => matches!(name.as_str(), "--account" | "--mailbox"),
            _ => false,
        };
        if !is_known {
            return Err(format!(
                "{tool} has no option {name:?}; --help lists those there are"
            ));
        }
        let value = inline
            .or_else(|| arguments.next())
            .ok_or_else(|| format!("{name} wants a value behind it"))?;
        match name.as_str() {
            "--account" => {
                let parsed =
                    Address::parse(&value).map_err(|error| format!("--account {value:?}: {error}"))?;
                account = Some(parsed);
            }
            "--mailbox" => {
                let parsed =
                    MailboxName::parse(&value).map_err(|error| format!("--mailbox {value:?}: {error}"))?;
                mailbox = Some(parsed);
            }
            _ => {
                format = Some(match value.as_str() {
                    "maildir" => Format::Maildir,
                    "mbox" => Format::Mbox,
                    _ => return Err(format!("--format wants maildir or mbox, not {value:?}")),
                });
            }
        }
    }
    let mut folders = folders.into_iter();
    let data = folders
        .next()
        .ok_or_else(|| format!("{tool} wants the folder of the data behind it"))?;
    let mut second = |what: &str| {
        let missing = || format!("{tool} wants {what} behind the folder of the data");
        folders.next().ok_or_else(missing)
    };
    let tool_wanted = match tool {
        "check" => Tool::Check { data },
        "rebuild" => Tool::Rebuild { data },
        "export" => {
            if mailbox.is_some() && account.is_none() {
                return Err(
                    "--mailbox wants --account too: each account has mailboxes of its own".to_owned(),
                );
            }
            Tool::Export(Export {
                data,
                to: second("a folder to export to")?,
                format: format.unwrap_or_default(),
                account,
                mailbox,
            })
        }
        _ => Tool::Import(Import {
            data,
            from: second("a Maildir or an mbox")?,
            account: account.ok_or("import wants --account ADDRESS: whose the messages are to be")?,
            mailbox,
        }),
    };
    match folders.next() {
        None => Ok(Some(tool_wanted)),
        Some(more) => Err(format!(
            "{:?} is too much behind {tool}",
            more.display().to_string()
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Tool, String> {
        let (tool, rest) = line.split_once(' ').unwrap_or((line, ""));
        parse(tool, rest.split_whitespace().map(str::to_owned)).map(|tool| tool.unwrap())
    }

    #[test]
    fn each_tool_is_understood() {
        let data = PathBuf::from("/d");
        assert_eq!(parsed("check /d"), Ok(Tool::Check { data: data.clone() }));
        assert_eq!(parsed("rebuild /d"), Ok(Tool::Rebuild { data: data.clone() }));
        let export = Export {
            data: data.clone(),
            to: PathBuf::from("/to"),
            format: Format::Mbox,
            account: Some(Address::parse("a@firma.test").unwrap()),
            mailbox: Some(MailboxName::parse("Sent").unwrap()),
        };
        let line = "export /d --account a@firma.test --mailbox=Sent /to --format mbox";
        assert_eq!(parsed(line), Ok(Tool::Export(export)));
        let import = Import {
            data,
            from: PathBuf::from("/from"),
            account: Address::parse("a@firma.test").unwrap(),
            mailbox: None,
        };
        assert_eq!(
            parsed("import /d /from --account a@firma.test"),
            Ok(Tool::Import(import))
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            ("check", "wants the folder of the data"),
            ("check /d /e", "too much"),
            ("check /d --format mbox", "has no option \"--format\""),
            ("export /d", "wants a folder to export to"),
            ("export /d /to --format eml", "maildir or mbox"),
            ("export /d /to --mailbox x", "wants --account too"),
            ("export /d /to --account x", "--account \"x\""),
            ("export /d /to --account", "wants a value"),
            ("import /d /from", "wants --account ADDRESS"),
            ("import /d --account a@firma.test", "wants a Maildir or an mbox"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
