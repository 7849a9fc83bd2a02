//! `maild export`: mailboxes as Maildir++ folders, or as mboxes.
//!
//! A second run goes on where the first was cut, and adds what has come since. In a Maildir a file has the name of its message
//! (UIDVALIDITY and UID) and says how long it is to be; beside an mbox lies how far it is (`NAME.mbox.place`).

use super::lines::ToLf;
use super::mbox::Quoting;
use super::names;
use super::options::{Export, Format};
use super::progress::Progress;
use super::{Report, ToolError, counted, of_store, open};
use mail::{InternalDate, Keyword, Uid};
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use store::{Mailbox, Message, StoreError, View};

/// Octets of a message that are in memory at once: a frame of the store.
const PIECE_OCTETS: usize = 256 * 1024;
/// After so many messages of an mbox, or octets, it is written down how far it is.
const PLACE_MESSAGES: u64 = 256;
const PLACE_OCTETS: u64 = 16 << 20;

pub(super) fn export(export: &Export) -> Result<Report, ToolError> {
    let (store, opened) = open(&export.data)?;
    let of_store = of_store(&export.data);
    let view = store.view().map_err(&of_store)?;
    let accounts = match &export.account {
        None => view.accounts().map_err(&of_store)?,
        Some(address) => {
            let account = view.account_by_address(address).map_err(&of_store)?;
            let none = || {
                ToolError::Said(format!(
                    "there is no account {address} in {}",
                    export.data.display()
                ))
            };
            vec![account.ok_or_else(none)?]
        }
    };
    let mut work = Vec::new();
    let mut octets = 0;
    for account in &accounts {
        for mailbox in view.mailboxes(account.id).map_err(&of_store)? {
            if export.mailbox.as_ref().is_none_or(|name| *name == mailbox.name) {
                octets += view.status(mailbox.id).map_err(&of_store)?.size_octets;
                work.push((account, mailbox));
            }
        }
    }
    if let (true, Some(name)) = (work.is_empty(), &export.mailbox) {
        return Err(ToolError::Said(format!(
            "there is no mailbox {name:?} in that account",
            name = name.as_str()
        )));
    }
    make_folder(&export.to)?;
    let mut exporter = Exporter {
        view: &view,
        progress: Progress::new("exported", octets),
        exported: 0,
        known: 0,
        skipped: 0,
    };
    for damage in &opened.damage {
        exporter.skip(&damage.to_string());
    }
    for (account, mailbox) in work {
        let folder = export.to.join(names::account_folder(&account.address));
        let whose = format!("{}, {}", account.address, mailbox.name);
        let Some(name) = names::dotted(&mailbox.name) else {
            exporter.skip(&format!(
                "{whose}: no file can have so long a name; the mailbox is left out"
            ));
            continue;
        };
        make_folder(&folder)?;
        match export.format {
            Format::Maildir if mailbox.name.is_inbox() => exporter.maildir(&mailbox, &whose, &folder)?,
            Format::Maildir => {
                let folder = folder.join(format!(".{name}"));
                make_folder(&folder)?;
                let mark = folder.join("maildirfolder");
                private()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(&mark)
                    .map_err(ToolError::file(&mark))?;
                exporter.maildir(&mailbox, &whose, &folder)?;
            }
            Format::Mbox => exporter.mbox(&mailbox, &whose, &folder.join(format!("{name}.mbox")))?,
        }
    }
    // The names of a Maildir say how long each file is; a power cut behind this finds them as long.
    nix::unistd::sync();
    let Exporter {
        exported,
        known,
        skipped,
        ..
    } = exporter;
    let mut parts = vec![format!(
        "exported {} to {}",
        counted(exported, "message"),
        export.to.display()
    )];
    if known > 0 {
        parts.push(format!(
            "{} were there from an earlier run",
            counted(known, "message")
        ));
    }
    if skipped > 0 {
        parts.push(format!(
            "{} could not be exported: see above",
            counted(skipped, "thing")
        ));
    }
    Ok(Report {
        summary: parts.join("; "),
        is_told: skipped > 0,
    })
}

struct Exporter<'a> {
    view: &'a View,
    progress: Progress,
    exported: u64,
    known: u64,
    skipped: u64,
}

/// Why a message is not in its file.
enum NotCopied {
    /// The store has lost it.
    Lost(StoreError),
    /// The file does not take it.
    File(io::Error),
}

impl Exporter<'_> {
    fn skip(&mut self, sentence: &str) {
        self.skipped += 1;
        self.progress.say(sentence);
    }

    fn leave_out(&mut self, whose: &str, uid: Uid, error: &StoreError) {
        self.skip(&format!("{whose}, UID {uid}: {error}; this message is left out"));
    }

    fn maildir(&mut self, mailbox: &Mailbox, whose: &str, folder: &Path) -> Result<(), ToolError> {
        for name in ["tmp", "new", "cur"] {
            make_folder(&folder.join(name))?;
        }
        let cur = folder.join("cur");
        let there = names_there(&cur)?;
        let keywords_path = folder.join("dovecot-keywords");
        let mut keywords: Vec<Keyword> = match fs::read_to_string(&keywords_path) {
            Ok(text) => names::parse_keywords(&text)
                .into_iter()
                .map_while(|keyword| keyword)
                .collect(),
            Err(_) => Vec::new(),
        };
        let mut letterless = 0;
        for message in messages(self.view, mailbox)? {
            let message = match message {
                Ok(message) => message,
                Err((uid, error)) => {
                    self.leave_out(whose, uid, &error);
                    continue;
                }
            };
            let known_before = keywords.len();
            let (letters, without) = names::letters(&message.flags, &mut keywords);
            letterless += without;
            if keywords.len() > known_before {
                // Before a file has a letter that means nothing yet.
                let write = || {
                    let mut file = private()
                        .write(true)
                        .create(true)
                        .truncate(true)
                        .open(&keywords_path)?;
                    file.write_all(names::write_keywords(&keywords).as_bytes())
                };
                write().map_err(ToolError::file(&keywords_path))?;
            }
            let seconds = message.internal_date.timestamp().0;
            let (validity, uid) = (mailbox.uid_validity, message.uid);
            let base = format!("{seconds}.V{validity}U{uid}.postolka");
            if let Some(name) = there.get(&base).filter(|name| is_whole(&cur, name)) {
                let now = format!("{}:2,{letters}", name.split(":2,").next().unwrap_or_default());
                if *name != now {
                    let from = cur.join(name);
                    fs::rename(&from, cur.join(now)).map_err(ToolError::file(&from))?;
                }
                self.known += 1;
                self.progress.advance(1, message.size_octets);
                continue;
            }
            let tmp = folder.join("tmp").join(&base);
            let written = self.file(&message, &tmp);
            self.progress.advance(0, message.size_octets);
            match written {
                Ok(octets) => {
                    let name = cur.join(format!("{base},S={octets}:2,{letters}"));
                    fs::rename(&tmp, &name).map_err(ToolError::file(&name))?;
                    self.exported += 1;
                    self.progress.advance(1, 0);
                }
                Err(NotCopied::Lost(error)) => {
                    fs::remove_file(&tmp).map_err(ToolError::file(&tmp))?;
                    self.leave_out(whose, uid, &error);
                }
                Err(NotCopied::File(error)) => return Err(ToolError::file(&tmp)(error)),
            }
        }
        if letterless > 0 {
            let most = names::KEYWORDS_MAX;
            self.skip(&format!(
                "{whose}: a Maildir has {most} keywords at most; {letterless} more are left out of the messages that have them"
            ));
        }
        Ok(())
    }

    /// Writes a file of its own, with the date of the message. Gives its octets.
    fn file(&self, message: &Message, path: &Path) -> Result<u64, NotCopied> {
        let open = private().write(true).create(true).truncate(true).open(path);
        let mut file = open.map_err(NotCopied::File)?;
        let (mut lines, mut octets) = (ToLf::default(), 0);
        let mut write = |plain: &[u8]| {
            octets += plain.len() as u64;
            file.write_all(plain)
        };
        self.read(message, |piece| {
            let mut plain = Vec::with_capacity(piece.len());
            lines.push(piece, &mut plain);
            write(&plain)
        })?;
        let mut rest = Vec::new();
        lines.end(&mut rest);
        write(&rest).map_err(NotCopied::File)?;
        let times = FileTimes::new().set_modified(moment(message.internal_date));
        file.set_times(times).map_err(NotCopied::File)?;
        Ok(octets)
    }

    fn mbox(&mut self, mailbox: &Mailbox, whose: &str, path: &Path) -> Result<(), ToolError> {
        let validity = mailbox.uid_validity.get();
        let place_path = PathBuf::from(format!("{}.place", path.display()));
        let begun = Place::read(&place_path).filter(|place| place.validity == validity);
        let open = private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let mut file = open.map_err(ToolError::file(path))?;
        let there = file.metadata().map_err(ToolError::file(path))?.len();
        let mut place = begun.unwrap_or(Place {
            validity,
            uid: 0,
            octets: 0,
        });
        if there < place.octets || (there > 0 && begun.is_none()) {
            self.skip(&format!(
                "{} was there, and is not what an earlier export made of {whose}; it is left as it is, name another folder",
                path.display()
            ));
            return Ok(());
        }
        // Before the first octet: a file without this is somebody else's.
        place.write(&place_path)?;
        file.set_len(place.octets).map_err(ToolError::file(path))?;
        let mut written = place;
        for message in messages(self.view, mailbox)? {
            let message = match message {
                Ok(message) => message,
                Err((uid, error)) => {
                    self.leave_out(whose, uid, &error);
                    continue;
                }
            };
            if message.uid.get() <= written.uid {
                self.known += 1;
                self.progress.advance(1, message.size_octets);
                continue;
            }
            file.seek(SeekFrom::Start(written.octets))
                .map_err(ToolError::file(path))?;
            let copied = self.append(&message, &mut file);
            self.progress.advance(0, message.size_octets);
            match copied {
                Ok(octets) => {
                    written.octets += octets;
                    self.exported += 1;
                    self.progress.advance(1, 0);
                }
                Err(NotCopied::Lost(error)) => {
                    file.set_len(written.octets).map_err(ToolError::file(path))?;
                    self.leave_out(whose, message.uid, &error);
                }
                Err(NotCopied::File(error)) => return Err(ToolError::file(path)(error)),
            }
            written.uid = message.uid.get();
            let messages = u64::from(written.uid - place.uid);
            if messages >= PLACE_MESSAGES || written.octets - place.octets >= PLACE_OCTETS {
                file.sync_data().map_err(ToolError::file(path))?;
                written.write(&place_path)?;
                place = written;
            }
        }
        file.sync_data().map_err(ToolError::file(path))?;
        written.write(&place_path)
    }

    /// Writes a message behind what is in an mbox. Gives the octets.
    fn append(&self, message: &Message, file: &mut File) -> Result<u64, NotCopied> {
        let mut octets = 0;
        let mut write = |piece: &[u8]| {
            octets += piece.len() as u64;
            file.write_all(piece)
        };
        let mut into = Vec::new();
        let sender = sender(message.prefix());
        let mut quoting = Quoting::begin(&sender, message.internal_date, &message.flags, &mut into);
        self.read(message, |piece| {
            quoting.push(piece, &mut into);
            write(&std::mem::take(&mut into))
        })?;
        quoting.end(&mut into);
        write(&into).map_err(NotCopied::File)?;
        Ok(octets)
    }

    /// Reads a message from one end to the other.
    fn read(
        &self,
        message: &Message,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), NotCopied> {
        let mut reader = self.view.body(message).map_err(NotCopied::Lost)?;
        let mut offset = 0;
        loop {
            let mut piece = Vec::new();
            let octets = reader
                .read_at(offset, &mut piece, PIECE_OCTETS)
                .map_err(NotCopied::Lost)?;
            if octets == 0 {
                return Ok(());
            }
            each(&piece).map_err(NotCopied::File)?;
            offset += octets as u64;
        }
    }
}

/// The messages of a mailbox, in the order of their UIDs, or why the index does not give one.
fn messages<'v>(
    view: &'v View,
    mailbox: &Mailbox,
) -> Result<impl Iterator<Item = Result<Message, (Uid, StoreError)>> + use<'v>, ToolError> {
    let entries = view.entries(mailbox.id);
    let entries = entries.map_err(|error| ToolError::Said(format!("{}: {error}", mailbox.name)))?;
    let id = mailbox.id;
    Ok(entries.into_iter().filter_map(move |entry| {
        let message = view.message(id, entry.uid).transpose()?;
        Some(message.map_err(|error| (entry.uid, error)))
    }))
}

/// How far an mbox is.
#[derive(Clone, Copy)]
struct Place {
    validity: u32,
    /// The last message that is in it.
    uid: u32,
    /// Its octets.
    octets: u64,
}

impl Place {
    fn read(path: &Path) -> Option<Place> {
        let text = fs::read_to_string(path).ok()?;
        let mut words = text.split_ascii_whitespace();
        Some(Place {
            validity: words.next()?.parse().ok()?,
            uid: words.next()?.parse().ok()?,
            octets: words.next()?.parse().ok()?,
        })
    }

    fn write(self, path: &Path) -> Result<(), ToolError> {
        let unfinished = PathBuf::from(format!("{}.new", path.display()));
        let write = || {
            let mut file = private()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&unfinished)?;
            writeln!(file, "{} {} {}", self.validity, self.uid, self.octets)?;
            file.sync_data()?;
            fs::rename(&unfinished, path)
        };
        write().map_err(ToolError::file(path))
    }
}

/// The messages that are in a folder: name without length and flags → name.
fn names_there(cur: &Path) -> Result<HashMap<String, String>, ToolError> {
    let mut there = HashMap::new();
    for entry in fs::read_dir(cur).map_err(ToolError::file(cur))? {
        let name = entry.map_err(ToolError::file(cur))?.file_name();
        if let Ok(name) = name.into_string()
            && let Some((base, _)) = name.split_once(",S=")
        {
            there.insert(base.to_owned(), name);
        }
    }
    Ok(there)
}

/// Whether a file is as long as its name says: one that a power cut left may not be.
fn is_whole(cur: &Path, name: &str) -> bool {
    let told = name
        .split_once(",S=")
        .and_then(|(_, rest)| rest.split(':').next()?.parse().ok());
    told.is_some() && fs::metadata(cur.join(name)).ok().map(|about| about.len()) == told
}

fn moment(date: InternalDate) -> SystemTime {
    let seconds = date.timestamp().0;
    let from_epoch = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(from_epoch)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(from_epoch)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The reverse path in the box's own fields.
fn sender(prefix: &[u8]) -> String {
    let text = String::from_utf8_lossy(prefix);
    let line = text.lines().find_map(|line| line.strip_prefix("Return-Path: <"));
    line.and_then(|line| line.strip_suffix('>'))
        .unwrap_or_default()
        .to_owned()
}

/// Mail is nobody else's business.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn make_folder(path: &Path) -> Result<(), ToolError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(ToolError::file(path))
}
