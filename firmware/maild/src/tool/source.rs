//! What is to be imported: finding Maildirs and mboxes, and the names of their mailboxes.

use super::{ToolError, names};
use mail::MailboxName;
use std::fs;
use std::path::{Path, PathBuf};

/// Something with messages for one mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// `None`: it has no name of its own.
    pub(super) mailbox: Option<MailboxName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Maildir,
    Mbox,
}

/// Finds what there is at `from`: an mbox; a Maildir with its folders, of Maildir++ or as a tree; a folder of mboxes. What has
/// a name that no mailbox can have is told to `skip`.
pub(super) fn find(from: &Path, skip: &mut dyn FnMut(&str)) -> Result<Vec<Source>, ToolError> {
    let about = fs::metadata(from).map_err(ToolError::file(from))?;
    if about.is_file() {
        return Ok(vec![Source {
            path: from.to_owned(),
            kind: Kind::Mbox,
            mailbox: None,
        }]);
    }
    let mut sources = Vec::new();
    if is_maildir(from) {
        sources.push(Source {
            path: from.to_owned(),
            kind: Kind::Maildir,
            mailbox: None,
        });
    }
    look_in(from, &mut Vec::new(), &mut sources, skip)?;
    if sources.is_empty() {
        return Err(ToolError::Said(format!(
            "{} is neither an mbox nor a Maildir, and has none in it: no folder cur or new, no file that ends in .mbox",
            from.display()
        )));
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

fn is_maildir(folder: &Path) -> bool {
    folder.join("cur").is_dir() || folder.join("new").is_dir()
}

fn look_in(
    folder: &Path,
    levels: &mut Vec<String>,
    sources: &mut Vec<Source>,
    skip: &mut dyn FnMut(&str),
) -> Result<(), ToolError> {
    for entry in fs::read_dir(folder).map_err(ToolError::file(folder))? {
        let entry = entry.map_err(ToolError::file(folder))?;
        let (path, kind) = (
            entry.path(),
            entry.file_type().map_err(ToolError::file(&entry.path()))?,
        );
        let Ok(name) = entry.file_name().into_string() else {
            skip(&format!(
                "{}: the name is not UTF-8; it is left out",
                path.display()
            ));
            continue;
        };
        // The kind is that of a link itself, which is not followed: it may lead in a circle, or out of what was meant.
        let is_part = matches!(name.as_str(), "cur" | "new" | "tmp");
        let mut found = |kind, dotted: &str, levels: &[String]| {
            let dotted = [levels, &[dotted.to_owned()]].concat().join(".");
            match names::from_dotted(&dotted) {
                Ok(mailbox) => sources.push(Source {
                    path: path.clone(),
                    kind,
                    mailbox: Some(mailbox),
                }),
                Err(error) => skip(&format!("{}: {error}; it is left out", path.display())),
            }
        };
        if kind.is_file() {
            if let Some(dotted) = name.strip_suffix(".mbox") {
                found(Kind::Mbox, dotted, levels);
            }
        } else if kind.is_dir() && !is_part {
            if let Some(dotted) = name.strip_prefix('.') {
                if is_maildir(&path) {
                    found(Kind::Maildir, dotted, levels);
                }
            } else if levels.len() < MailboxName::LEVELS_MAX {
                // In a tree a dot is a letter like others.
                let level = name.replace('.', "&AC4-");
                if is_maildir(&path) {
                    found(Kind::Maildir, &level, levels);
                }
                levels.push(level);
                look_in(&path, levels, sources, skip)?;
                levels.pop();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_found_in_both_layouts_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in [
            "cur",
            "new",
            ".Sent.2024/cur",
            "Tree/cur",
            "Tree/deep.er/new",
            "Tree/cur/odd",
            "empty",
            ".a..b/cur",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(root.join("Old.mbox"), "").unwrap();
        fs::write(root.join("notes.txt"), "").unwrap();
        std::os::unix::fs::symlink(root, root.join("loop")).unwrap();
        let mut skipped = Vec::new();
        let found = find(root, &mut |sentence| skipped.push(sentence.to_owned())).unwrap();
        let mut names: Vec<&str> = found
            .iter()
            .map(|source| source.mailbox.as_ref().map_or("", MailboxName::as_str))
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["", "Old", "Sent/2024", "Tree", "Tree/deep.er"]);
        assert_eq!(skipped.len(), 1);
        assert!(skipped[0].contains(".a..b"), "{skipped:?}");
        let one = find(&root.join("notes.txt"), &mut |_| {}).unwrap();
        assert_eq!((one.len(), one[0].kind), (1, Kind::Mbox));
        let none = find(&root.join("empty"), &mut |_| {}).unwrap_err();
        assert!(
            none.to_string().contains("neither an mbox nor a Maildir"),
            "{none}"
        );
    }
}
