//! `maild import`: messages from Maildirs and mboxes into the mailboxes of an account.
//!
//! A message that is in the mailbox already, octet for octet and with the same INTERNALDATE, is not imported again: so a second
//! run goes on where the first was cut, whatever it was that cut it, and there is no file that could be lost or be wrong. Two
//! equal messages in the source are two in the mailbox.

use super::lines::ToCrlf;
use super::mbox::{Event, PIECE_OCTETS, Reading};
use super::names;
use super::options::Import;
use super::progress::Progress;
use super::source::{self, Kind, Source};
use super::{Report, ToolError, counted, of_store, open};
use mail::{AccountId, Flags, InternalDate, MailboxId, MailboxName, Structure, Timestamp, Uid};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use store::{
    Append, BodyWriter, CreateMailbox, KEYWORDS_MAX, NewMessage, SealedBody, Store, StoreError, Subscribe,
    View,
};
use tokio::runtime::Runtime;
use wire::limits::MESSAGE_OCTETS_MAX;

/// Messages that become durable together: one wait for the disk.
const TOGETHER: usize = 64;
const TOGETHER_OCTETS: u64 = 4 << 20;

pub(super) fn import(import: &Import) -> Result<Report, ToolError> {
    // Before the store is opened: what was mistyped leaves it alone.
    let mut unfit = Vec::new();
    let sources = source::find(&import.from, &mut |sentence| unfit.push(sentence.to_owned()))?;
    let octets = sources.iter().map(octets_of).sum();
    let (store, opened) = open(&import.data)?;
    let of_store = of_store(&import.data);
    let view = store.view().map_err(&of_store)?;
    let account = view.account_by_address(&import.account).map_err(&of_store)?;
    let account = account.ok_or_else(|| {
        ToolError::Said(format!(
            "there is no account {} in {}",
            import.account,
            import.data.display()
        ))
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let mut importer = Importer {
        runtime: runtime.map_err(|error| ToolError::Said(error.to_string()))?,
        data: import.data.clone(),
        account: account.id,
        mailbox: MailboxId(0),
        known: Known {
            view,
            uids: HashMap::new(),
        },
        together: Vec::new(),
        octets: 0,
        progress: Progress::new("imported", octets),
        imported: 0,
        there: 0,
        skipped: 0,
        store,
    };
    for sentence in unfit {
        importer.skip(&sentence);
    }
    for damage in &opened.damage {
        importer.skip(&damage.to_string());
    }
    for source in &sources {
        let fallback = || import.mailbox.clone().unwrap_or_else(MailboxName::inbox);
        importer.enter(source.mailbox.clone().unwrap_or_else(fallback))?;
        match source.kind {
            Kind::Maildir => importer.maildir(&source.path)?,
            Kind::Mbox => importer.mbox(&source.path)?,
        }
        importer.flush()?;
    }
    importer.store.close();
    let Importer {
        imported,
        there,
        skipped,
        ..
    } = importer;
    let mut parts = vec![format!(
        "imported {} for {}",
        counted(imported, "message"),
        import.account
    )];
    if there > 0 {
        parts.push(format!("{} were there already", counted(there, "message")));
    }
    if skipped > 0 {
        parts.push(format!(
            "{} could not be imported: see above",
            counted(skipped, "thing")
        ));
    }
    Ok(Report {
        summary: parts.join("; "),
        is_told: skipped > 0,
    })
}

struct Importer {
    store: Store,
    runtime: Runtime,
    data: PathBuf,
    account: AccountId,
    /// Where the messages go now.
    mailbox: MailboxId,
    known: Known,
    /// Messages that are not in the store yet.
    together: Vec<NewMessage>,
    octets: u64,
    progress: Progress,
    imported: u64,
    there: u64,
    skipped: u64,
}

/// What was in the mailbox before this source.
struct Known {
    view: View,
    /// Size and INTERNALDATE → those that have them, and that nothing of the source was found to be yet.
    uids: HashMap<(u64, i64), Vec<Uid>>,
}

/// A message on its way in.
struct Incoming {
    body: BodyWriter,
    lines: ToCrlf,
    is_too_large: bool,
}

impl Incoming {
    fn push(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        let mut crlf = Vec::with_capacity(octets.len() + octets.len() / 32);
        self.lines.push(octets, &mut crlf);
        self.is_too_large |= self.body.len() + crlf.len() as u64 > MESSAGE_OCTETS_MAX;
        if self.is_too_large {
            Ok(())
        } else {
            self.body.write(&crlf)
        }
    }
}

impl Importer {
    /// Turns to a mailbox, which is made if it is not there.
    fn enter(&mut self, name: MailboxName) -> Result<(), ToolError> {
        let of_store = of_store(&self.data);
        let view = self.store.view().map_err(&of_store)?;
        let found = view.mailbox_by_name(self.account, &name).map_err(&of_store)?;
        self.mailbox = if let Some(mailbox) = found {
            mailbox.id
        } else {
            let create = self.store.create_mailbox(CreateMailbox {
                account: self.account,
                name,
                special_use: None,
            });
            let mailbox = self.runtime.block_on(create).map_err(&of_store)?;
            let subscribe = self.store.subscribe(Subscribe {
                mailbox,
                is_subscribed: true,
            });
            self.runtime.block_on(subscribe).map_err(&of_store)?;
            mailbox
        };
        let mut uids: HashMap<(u64, i64), Vec<Uid>> = HashMap::new();
        for entry in view.entries(self.mailbox).map_err(&of_store)? {
            let message = view.message(self.mailbox, entry.uid).map_err(&of_store)?;
            if let Some(message) = message {
                let key = (message.size_octets, message.internal_date.timestamp().0);
                uids.entry(key).or_default().push(entry.uid);
            }
        }
        self.known = Known { view, uids };
        Ok(())
    }

    fn skip(&mut self, sentence: &str) {
        self.skipped += 1;
        self.progress.say(sentence);
    }

    fn maildir(&mut self, folder: &Path) -> Result<(), ToolError> {
        let keywords = fs::read_to_string(folder.join("dovecot-keywords")).unwrap_or_default();
        let keywords = names::parse_keywords(&keywords);
        let mut paths = Vec::new();
        for part in ["cur", "new"] {
            let part = folder.join(part);
            if !part.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&part).map_err(ToolError::file(&part))? {
                let name = entry.map_err(ToolError::file(&part))?.file_name();
                let shown = name.to_string_lossy().into_owned();
                if !shown.starts_with('.') {
                    paths.push((arrival(&shown), shown, part.join(&name)));
                }
            }
        }
        // UIDs in the order in which they came.
        paths.sort();
        for (_, name, path) in paths {
            let before = fs::symlink_metadata(&path);
            let outcome = before.and_then(|about| {
                if !about.is_file() {
                    return Err(io::Error::other("it is no file"));
                }
                Ok((File::open(&path)?, about))
            });
            let (mut file, about) = match outcome {
                Ok(opened) => opened,
                Err(error) => {
                    self.skip(&format!("{}: {error}; it is left out", path.display()));
                    continue;
                }
            };
            let date = about.modified().map_or_else(|_| Timestamp(0), timestamp);
            let mut incoming = self.begin();
            let mut piece = vec![0; PIECE_OCTETS];
            let read = loop {
                match file.read(&mut piece) {
                    Ok(0) => break Ok(()),
                    Ok(octets) => incoming
                        .push(&piece[..octets])
                        .map_err(|error| self.fatal(error))?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break Err(error),
                }
            };
            match read {
                Ok(()) => {
                    let flags = names::flags_of(&name, &keywords);
                    self.add(
                        &path.display().to_string(),
                        incoming,
                        flags,
                        InternalDate::utc(date),
                        false,
                    )?;
                }
                Err(error) => self.skip(&format!("{}: {error}; it is left out", path.display())),
            }
            self.progress.advance(0, about.len());
        }
        Ok(())
    }

    fn mbox(&mut self, path: &Path) -> Result<(), ToolError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.modified()?, file)));
        let (modified, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.skip(&format!("{}: {error}; it is left out", path.display()));
                return Ok(());
            }
        };
        let mut file = BufReader::new(file);
        let (mut reading, mut events, mut line) = (Reading::default(), Vec::new(), Vec::new());
        let (mut number, mut at, mut current) = (0_u64, 0_u64, None);
        loop {
            line.clear();
            let read = (&mut file).take(PIECE_OCTETS as u64).read_until(b'\n', &mut line);
            let octets = match read {
                Ok(octets) => octets as u64,
                Err(error) => {
                    // A message of which a part cannot be read is none.
                    let sentence =
                        format!("{} from octet {at} on: {error}; that is left out", path.display());
                    self.skip(&sentence);
                    return Ok(());
                }
            };
            if octets == 0 {
                reading.end(&mut events);
            } else if let Err(error) = reading.line(&line, &mut events) {
                self.skip(&format!("{}: {error}; it is left out", path.display()));
                return Ok(());
            }
            for event in events.drain(..) {
                match event {
                    Event::Begins(date) => {
                        number += 1;
                        current = Some((self.begin(), date, at));
                    }
                    Event::Octets(octets) => {
                        if let Some((incoming, ..)) = &mut current {
                            incoming.push(&octets).map_err(|error| self.fatal(error))?;
                        }
                    }
                    Event::Ends(flags) => {
                        if let Some((incoming, date, began)) = current.take() {
                            let what = format!("{}, message {number} at octet {began}", path.display());
                            let has_no_date = date.is_none();
                            let date = date.unwrap_or(InternalDate::utc(timestamp(modified)));
                            self.add(&what, incoming, flags, date, has_no_date)?;
                        }
                    }
                }
            }
            if octets == 0 {
                return Ok(());
            }
            at += octets;
            self.progress.advance(0, octets);
        }
    }

    fn begin(&self) -> Incoming {
        Incoming {
            body: self.store.body(),
            lines: ToCrlf::default(),
            is_too_large: false,
        }
    }

    /// Takes a message that was read to its end. With `has_no_date`, the date in it counts more than `date`.
    fn add(
        &mut self,
        what: &str,
        incoming: Incoming,
        mut flags: Flags,
        date: InternalDate,
        has_no_date: bool,
    ) -> Result<(), ToolError> {
        if incoming.is_too_large {
            self.skip(&format!(
                "{what}: it is larger than {MESSAGE_OCTETS_MAX} octets, which is more than the box takes; it is left out"
            ));
            return Ok(());
        }
        if incoming.body.is_empty() {
            self.skip(&format!("{what}: there is nothing in it; it is left out"));
            return Ok(());
        }
        let body = incoming.body.seal().map_err(|error| self.fatal(error))?;
        let octets = body.read_to_vec().map_err(|error| self.fatal(error))?;
        // A message that the parser cannot bear is that message's trouble, not that of those behind it.
        let Ok(structure) = catch_unwind(AssertUnwindSafe(|| Structure::parse(&octets))) else {
            self.skip(&format!("{what}: it could not be understood; it is left out"));
            return Ok(());
        };
        let field = structure.envelope.date.as_ref().filter(|_| has_no_date);
        let date = field
            .and_then(|field| InternalDate::parse_field(field.as_bytes()))
            .unwrap_or(date);
        if self.is_known(&octets, date) {
            self.there += 1;
            self.progress.advance(1, 0);
            return Ok(());
        }
        if flags.keywords.len() > KEYWORDS_MAX {
            self.skip(&format!(
                "{what}: of its keywords {KEYWORDS_MAX} are kept, the others are left out"
            ));
            flags.keywords = flags.keywords.into_iter().take(KEYWORDS_MAX).collect();
        }
        self.put(body, structure.encode(), flags, date)
    }

    fn put(
        &mut self,
        body: SealedBody,
        structure: Vec<u8>,
        flags: Flags,
        internal_date: InternalDate,
    ) -> Result<(), ToolError> {
        self.octets += body.len();
        self.together.push(NewMessage {
            body,
            structure,
            flags,
            internal_date,
        });
        if self.together.len() >= TOGETHER || self.octets >= TOGETHER_OCTETS {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes durable what was collected.
    fn flush(&mut self) -> Result<(), ToolError> {
        let messages = std::mem::take(&mut self.together);
        self.octets = 0;
        if messages.is_empty() {
            return Ok(());
        }
        let count = messages.len() as u64;
        let append = self.store.append(Append {
            account: self.account,
            mailbox: self.mailbox,
            messages,
        });
        self.runtime.block_on(append).map_err(|error| self.fatal(error))?;
        self.imported += count;
        self.progress.advance(count, 0);
        Ok(())
    }

    /// Whether the mailbox has this message from before; each of its messages is found once.
    fn is_known(&mut self, octets: &[u8], date: InternalDate) -> bool {
        let Known { view, uids } = &mut self.known;
        let Some(uids) = uids.get_mut(&(octets.len() as u64, date.timestamp().0)) else {
            return false;
        };
        let same = uids.iter().position(|uid| {
            // One that cannot be read is not the same: it is better to have it twice.
            let message = view.message(self.mailbox, *uid).ok().flatten();
            message.is_some_and(|message| {
                view.body(&message).is_ok_and(|mut reader| {
                    let mut piece = Vec::new();
                    octets.chunks(PIECE_OCTETS).enumerate().all(|(number, expected)| {
                        piece.clear();
                        let at = (number * PIECE_OCTETS) as u64;
                        reader.read_at(at, &mut piece, expected.len()).is_ok() && piece == expected
                    })
                })
            })
        });
        same.map(|place| uids.remove(place)).is_some()
    }

    /// Nothing more can be imported now; how much was, and what to do.
    fn fatal(&self, error: StoreError) -> ToolError {
        let imported = counted(self.imported, "message");
        let why = match error {
            StoreError::OverQuota => "the account is over its quota: raise it, or delete mail".to_owned(),
            StoreError::Full => "the disk is full: make room".to_owned(),
            error => return of_store(&self.data)(error),
        };
        ToolError::Said(format!(
            "{imported} were imported, then {why}, and run this again: it goes on there"
        ))
    }
}

/// When a message came, by the number at the beginning of its name.
fn arrival(name: &str) -> u64 {
    let digits = name.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

fn timestamp(moment: SystemTime) -> Timestamp {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timestamp(match moment.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => seconds(since),
        Err(before) => -seconds(before.duration()),
    })
}

fn octets_of(source: &Source) -> u64 {
    let folder = |name| {
        let entries = fs::read_dir(source.path.join(name))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum::<u64>()
    };
    match source.kind {
        Kind::Mbox => fs::metadata(&source.path).map_or(0, |about| about.len()),
        Kind::Maildir => folder("cur") + folder("new"),
    }
}
