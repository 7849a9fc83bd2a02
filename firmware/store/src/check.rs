//! Recomputes every invariant from nothing.
//!
//! It reads each body, and replays the log into an index of its own, which it compares with the one in
//! use; so it takes as long as reading all there is. It may run while the store is written to: it looks
//! at one view.

mod admin;

use crate::error::StoreError;
use crate::index::rows::{
    self, AccountRow, BlobPlace, BlobRow, Counts, MailboxRow, MessageRow, Row, account_of,
};
use crate::index::{Backend, IndexFile, ReadTables, state};
use crate::log::frames::{self, FrameAt};
use crate::log::scan::{Position, Segments};
use crate::open::{Opened, found_index};
use crate::replay::Replay;
use crate::self_test::SELF_TEST;
use crate::shared::Shared;
use crate::snapshot::{self, Restore};
use mail::{AccountId, Flags, MailboxId, ModSeq, SystemFlags, Uid};
use redb::{Database, ReadableDatabase, ReadableTable};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::sync::Arc;

/// Flaws told one by one; more are only counted.
const FLAWS_MAX: usize = 100;
/// The index made for the comparison.
pub(crate) const COMPARED: &str = "check.redb";

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Messages looked at.
    pub messages: u64,
    /// Octets of bodies read and verified.
    pub body_octets: u64,
    /// What does not hold: at most 100, and then their number.
    pub flaws: Vec<Flaw>,
    flaws_untold: u64,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw(pub String);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Checked {
    pub(crate) fn expect(&mut self, holds: bool, flaw: impl FnOnce() -> String) {
        if holds {
            return;
        }
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(Flaw(flaw()));
        } else {
            self.flaws_untold += 1;
        }
    }
}

/// What the messages of a mailbox add up to.
#[derive(Default)]
pub(crate) struct Sums {
    counts: Counts,
    highest_uid: u32,
    highest_modseq: u64,
}

impl Sums {
    pub(crate) fn messages(&self) -> u32 {
        self.counts.messages
    }

    /// Adds a message of this size.
    pub(crate) fn add(&mut self, uid: u32, modseq: ModSeq, flags: &Flags, size_octets: u64) {
        self.counts.messages += 1;
        self.counts.unseen += u32::from(!flags.system.contains(SystemFlags::SEEN));
        self.counts.deleted += u32::from(flags.system.contains(SystemFlags::DELETED));
        self.counts.size_octets += size_octets;
        self.highest_uid = self.highest_uid.max(uid);
        self.highest_modseq = self.highest_modseq.max(modseq.0);
    }

    /// Whether they are what the mailbox's row says.
    pub(crate) fn compare(&self, id: u32, row: &MailboxRow, checked: &mut Checked) {
        checked.expect(row.counts == self.counts, || {
            format!(
                "mailbox {id} counts {:?}, its messages are {:?}",
                row.counts, self.counts
            )
        });
        checked.expect(row.uid_next > u64::from(self.highest_uid), || {
            format!("mailbox {id} would give UID {} again", self.highest_uid)
        });
        checked.expect(row.highest_modseq.0 >= self.highest_modseq.max(1), || {
            format!(
                "mailbox {id} has modseq {} above its highest",
                self.highest_modseq
            )
        });
    }
}

type SumsByMailbox = BTreeMap<u32, Sums>;
type RefsByBody = BTreeMap<u64, u32>;

pub(crate) fn check(shared: &Shared) -> Result<Checked, StoreError> {
    let _segments_stay = shared.segments_stay.lock();
    let tables = shared.read()?;
    let mut checked = Checked::default();
    let (sums, mut refs) = check_messages(&tables, &mut checked)?;
    admin::check_queue(&tables, &mut refs, &mut checked)?;
    admin::check(&tables, &mut checked)?;
    check_mailboxes(&tables, sums, &mut checked)?;
    check_accounts(&tables, &mut checked)?;
    check_blobs(shared, &tables, &refs, &mut checked)?;
    crate::search::index::check(&tables, &mut checked)?;
    check_log(shared, &tables, &mut checked)?;
    if checked.flaws_untold > 0 {
        checked
            .flaws
            .push(Flaw(format!("and {} more", checked.flaws_untold)));
    }
    Ok(checked)
}

/// Messages, flags and modseqs belong together one to one. Returns what they add up to, and how many
/// messages each body has.
fn check_messages(
    tables: &ReadTables,
    checked: &mut Checked,
) -> Result<(SumsByMailbox, RefsByBody), StoreError> {
    let mut sums = SumsByMailbox::new();
    let mut refs = RefsByBody::new();
    let mut with_flags = 0_u64;
    for found in tables.message.iter()? {
        let (key, value) = found?;
        let (mailbox, uid) = key.value();
        let row = MessageRow::from_octets(value.value())?;
        checked.messages += 1;
        *refs.entry(row.body).or_default() += 1;
        let body = rows::get_blob(&tables.blob, row.body)?;
        let size = body.map(|(_, body)| body.octets + row.prefix.len() as u64);
        checked.expect(size == Some(row.size_octets), || {
            format!(
                "message {mailbox}/{uid}: its size is {size:?}, not {}",
                row.size_octets
            )
        });
        let uid_value = Uid::new(uid).ok_or(StoreError::IndexRow { table: "msg" })?;
        let flags = rows::get_flags(&tables.flags, mailbox, uid_value)?;
        checked.expect(flags.is_some(), || {
            format!("message {mailbox}/{uid} has no flags")
        });
        let Some((modseq, flags)) = flags else { continue };
        with_flags += 1;
        let has_modseq = tables.modseq.get((mailbox, modseq.0, uid))?.is_some();
        checked.expect(has_modseq, || {
            format!("message {mailbox}/{uid} is not found by its modseq {modseq}")
        });
        let sums = sums.entry(mailbox).or_default();
        sums.add(uid, modseq, &flags, row.size_octets);
    }
    let flags = tables.flags.iter()?.count() as u64;
    checked.expect(flags == with_flags, || {
        format!("{flags} rows of flags, {with_flags} messages")
    });
    let modseqs = tables.modseq.iter()?.count() as u64;
    checked.expect(modseqs == with_flags, || {
        format!("{modseqs} rows of modseqs, {with_flags} messages")
    });
    for found in tables.vanished.iter()? {
        let (key, last) = found?;
        let (mailbox, modseq, first) = key.value();
        let last = last.value();
        let sums = sums.entry(mailbox).or_default();
        sums.highest_uid = sums.highest_uid.max(last);
        sums.highest_modseq = sums.highest_modseq.max(modseq);
        let is_back = tables
            .message
            .range((mailbox, first)..=(mailbox, last))?
            .next()
            .is_some();
        checked.expect(!is_back, || {
            format!("a UID of {first} to {last} in mailbox {mailbox} was expunged and is there")
        });
    }
    Ok((sums, refs))
}

fn check_mailboxes(
    tables: &ReadTables,
    mut sums: SumsByMailbox,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let next_mailbox = rows::counter(&tables.state, state::NEXT_MAILBOX)?;
    let next_validity = rows::counter(&tables.state, state::NEXT_UID_VALIDITY)?;
    let mut validities = BTreeSet::new();
    let mut mailboxes = 0;
    for found in tables.mailbox.iter()? {
        let (key, value) = found?;
        let id = key.value();
        let row = MailboxRow::from_octets(value.value())?;
        let sums = sums.remove(&id).unwrap_or_default();
        mailboxes += 1;
        checked.expect(u64::from(id) < next_mailbox, || {
            format!("mailbox {id} will be given again")
        });
        let by_name = tables
            .name
            .get((row.account.0, row.name.as_str()))?
            .map(|id| id.value());
        checked.expect(by_name == Some(id), || {
            format!("mailbox {id} is not found by its name")
        });
        sums.compare(id, &row, checked);
        let (_, _, of_account) = rows::quota(&tables.quota, row.account)?;
        checked.expect(row.highest_modseq.0 <= of_account.max(1), || {
            format!("mailbox {id} is ahead of its account's modseq")
        });
        let validity = u64::from(row.uid_validity.get());
        checked.expect(validities.insert(validity) && validity < next_validity, || {
            format!("the UIDVALIDITY of mailbox {id} is not its own")
        });
    }
    let names = tables.name.iter()?.count();
    checked.expect(names == mailboxes, || {
        format!("{names} names for {mailboxes} mailboxes")
    });
    for id in sums.keys() {
        checked.expect(false, || {
            format!("there are messages of mailbox {id}, which does not exist")
        });
    }
    Ok(())
}

pub(crate) fn check_accounts(tables: &ReadTables, checked: &mut Checked) -> Result<(), StoreError> {
    let next_account = rows::counter(&tables.state, state::NEXT_ACCOUNT)?;
    let mut used: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for found in tables.mailbox.iter()? {
        let (key, value) = found?;
        let row = MailboxRow::from_octets(value.value())?;
        let exists = tables.account.get(row.account.0)?.is_some() || row.account == SELF_TEST;
        checked.expect(exists, || {
            format!("mailbox {} is nobody's", MailboxId(key.value()))
        });
        let used = used.entry(row.account.0).or_default();
        used.0 += row.counts.size_octets;
        used.1 += u64::from(row.counts.messages);
    }
    let mut accounts = 0;
    for found in tables.account.iter()? {
        let (key, value) = found?;
        let id = key.value();
        let row = AccountRow::from_octets(value.value())?;
        accounts += 1;
        checked.expect(u64::from(id) < next_account, || {
            format!("account {id} will be given again")
        });
        let by_address = account_of(&tables.address, &row.address)?;
        checked.expect(by_address == Some(AccountId(id)), || {
            format!("account {id} is not found by its address")
        });
        let (octets, messages, _) = rows::quota(&tables.quota, AccountId(id))?;
        let really = used.get(&id).copied().unwrap_or_default();
        checked.expect((octets, messages) == really, || {
            format!("account {id} uses {octets} octets, {messages} messages; really {really:?}")
        });
        let inbox = tables.name.get((id, "INBOX"))?.is_some();
        checked.expect(inbox, || format!("account {id} has no INBOX"));
    }
    let addresses = tables.address.iter()?.count();
    checked.expect(addresses == accounts, || {
        format!("{addresses} addresses for {accounts} accounts")
    });
    Ok(())
}

/// Each body is there, is as it was written, and is counted rightly.
fn check_blobs(
    shared: &Shared,
    tables: &ReadTables,
    refs: &RefsByBody,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let next_body = rows::counter(&tables.state, state::NEXT_BODY)?;
    let next_file = rows::counter(&tables.state, state::NEXT_BODY_FILE)?;
    let mut live: BTreeMap<u64, u64> = BTreeMap::new();
    let mut bodies = 0;
    for found in tables.blob.iter()? {
        let (key, value) = found?;
        let id = key.value();
        let (counted, row) = value.value();
        let row = BlobRow::from_octets(row)?;
        bodies += 1;
        let really = refs.get(&id).copied().unwrap_or_default();
        checked.expect(counted == really && really > 0, || {
            format!(
                "body {id} is counted {counted} times, {really} messages and entries of the queue have it"
            )
        });
        checked.expect(id < next_body, || format!("body {id} will be given again"));
        let structure_octets = tables.structure.get(id)?.map(|row| row.value().len());
        checked.expect(structure_octets.is_some(), || {
            format!("body {id} has no structure")
        });
        *live.entry(row.home).or_default() += row.live_octets(structure_octets.unwrap_or_default());
        if let BlobPlace::File { number } = row.place {
            checked.expect(number < next_file, || {
                format!("body file {number} will be given again")
            });
        }
        check_body(shared, id, &row, checked);
    }
    let structures = tables.structure.iter()?.count();
    checked.expect(structures == bodies, || {
        format!("{structures} structures for {bodies} bodies")
    });
    let mut counted = BTreeMap::new();
    for found in tables.segstat.iter()? {
        let (key, value) = found?;
        counted.insert(key.value(), value.value());
    }
    checked.expect(counted == live, || {
        format!("live octets are counted {counted:?}, really {live:?}")
    });
    Ok(())
}

/// Reads the first octets of a body; gives how many.
pub(crate) fn check_first_frame(shared: &Shared, row: &BlobRow) -> Result<u64, StoreError> {
    let Some(frame) = row.frames.first() else {
        return Ok(0);
    };
    let (name, offset) = row.file();
    let file = shared.files.get(&*shared.storage, row);
    let file = file.map_err(StoreError::io(name.clone()))?;
    let at = FrameAt {
        place: 0,
        stored_at: 0,
        octets_at: 0,
    };
    let octets = frames::read(frame, at, &shared.sealer, &name, offset, |octets, offset| {
        file.read_exact_at(octets, offset)
    })?;
    Ok(octets.len() as u64)
}

fn check_body(shared: &Shared, id: u64, row: &BlobRow, checked: &mut Checked) {
    let (name, offset) = row.file();
    let file = match shared.files.get(&*shared.storage, row) {
        Ok(file) => file,
        Err(error) => return checked.expect(false, || format!("body {id}: {name}: {error}")),
    };
    let mut at = FrameAt {
        place: 0,
        stored_at: 0,
        octets_at: 0,
    };
    for frame in &row.frames {
        let read = frames::read(frame, at, &shared.sealer, &name, offset, |octets, offset| {
            file.read_exact_at(octets, offset)
        });
        match read {
            Ok(octets) => checked.body_octets += octets.len() as u64,
            Err(error) => checked.expect(false, || format!("body {id}: {error}")),
        }
        at.place += 1;
        at.stored_at += u64::from(frame.stored_octets);
        at.octets_at += u64::from(frame.octets);
    }
    checked.expect(at.octets_at == row.octets, || {
        format!("body {id} has not the frames of its octets")
    });
}

/// The log, replayed from its beginning, says what the index says.
fn check_log(shared: &Shared, tables: &ReadTables, checked: &mut Checked) -> Result<(), StoreError> {
    let storage = &*shared.storage;
    let Some((segments, identity)) = Segments::find(Arc::clone(&shared.storage))? else {
        checked.expect(false, || "there is no log".to_owned());
        return Ok(());
    };
    // One may be left by a check that was cut short.
    let _ = storage.remove(COMPARED);
    let file = storage.create(COMPARED).map_err(StoreError::io(COMPARED))?;
    let compare = || {
        let database = Database::builder()
            .set_cache_size(4 * 1024 * 1024)
            .create_with_backend(Backend(IndexFile::new(file, None)))?;
        found_index(&database, &identity)?;
        let mut opened = Opened::default();
        let last_batch = rows::counter(&tables.state, state::BATCH)?;
        let mut position = Position::default();
        // As much of the log as there is; what was before it is in a snapshot.
        if segments.missing_before_last().is_some() {
            let mut restore = Restore {
                storage,
                segments: &segments,
                identity: &identity,
                sealer: &shared.sealer,
                database: &database,
                last_batch,
                opened: &mut opened,
            };
            position = restore.run()?;
        }
        let mut replay = Replay {
            segments: &segments,
            database: &database,
            sealer: &shared.sealer,
            position,
            last_batch,
            opened: &mut opened,
            lost_up_to: None,
            last: None,
        };
        replay.run()?;
        if opened.snapshot.is_some() {
            opened.damage.extend(snapshot::contain(&database)?);
        }
        for damage in opened.damage {
            checked.expect(false, || damage.to_string());
        }
        let from_log = ReadTables::open(&database.begin_read()?)?;
        // First by a checksum of each table, so that two large indexes are never in memory at once.
        let mut sums = BTreeMap::new();
        for (table, line) in [("index", tables), ("log", &from_log)] {
            rows_as_text(line, &mut |name, row| {
                sums.entry((table, name))
                    .or_insert_with(blake3::Hasher::new)
                    .update(row.as_bytes());
            })?;
        }
        let sum = |table, name| sums.get(&(table, name)).map(blake3::Hasher::finalize);
        for name in TABLES
            .into_iter()
            .filter(|name| sum("index", name) != sum("log", name))
        {
            compare_table(name, tables, &from_log, checked)?;
        }
        Ok(())
    };
    let compared = compare();
    for kept in snapshot::kept(shared) {
        if let Some(reason) = snapshot::verify(shared, &kept.name)? {
            checked.expect(false, || format!("{}: {reason}", kept.name));
        }
    }
    storage.remove(COMPARED).map_err(StoreError::io(COMPARED))?;
    compared
}

fn compare_table(
    table: &'static str,
    index: &ReadTables,
    log: &ReadTables,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let rows = |tables: &ReadTables| -> Result<BTreeSet<String>, StoreError> {
        let mut rows = BTreeSet::new();
        rows_as_text(tables, &mut |name, row| {
            if name == table {
                rows.insert(row.to_owned());
            }
        })?;
        Ok(rows)
    };
    let (index, log) = (rows(index)?, rows(log)?);
    for row in index.difference(&log) {
        checked.expect(false, || format!("only the index says: {table} {row}"));
    }
    for row in log.difference(&index) {
        checked.expect(false, || format!("only the log says: {table} {row}"));
    }
    Ok(())
}

/// All rows as text, without where on the disk things are.
pub(crate) fn dump(tables: &ReadTables) -> Result<String, StoreError> {
    let mut text = String::new();
    rows_as_text(tables, &mut |name, row| {
        writeln!(text, "{name} {row}").expect("a String takes everything");
    })?;
    Ok(text)
}

/// The tables whose rows are compared.
const TABLES: [&str; 27] = [
    "state",
    "blob",
    "account",
    "address",
    "quota",
    "domain",
    "redirect",
    "mailbox",
    "name",
    "msg",
    "flags",
    "modseq",
    "vanished",
    "structure",
    "usage",
    "sender",
    "role",
    "app password",
    "setting",
    "audit",
    "acl",
    "shared",
    "queue",
    "recipient",
    "due",
    "destination",
    "token",
];

/// Calls `each` with every row, table by table.
fn rows_as_text(tables: &ReadTables, each: &mut dyn FnMut(&'static str, &str)) -> Result<(), StoreError> {
    let places = [
        state::BATCH,
        state::SEGMENT,
        state::OFFSET,
        state::NEXT_BODY_FILE,
        state::LOST_UP_TO,
        state::BODY_FILES_KEPT_BELOW,
        state::SEGMENTS_KEPT_BELOW,
    ];
    for found in tables.state.iter()? {
        let (key, value) = found?;
        if !places.contains(&key.value()) {
            each("state", &format!("{:?}", (key.value(), value.value())));
        }
    }
    for found in tables.blob.iter()? {
        let (key, value) = found?;
        let (refs, row) = value.value();
        let BlobRow { octets, frames, .. } = BlobRow::from_octets(row)?;
        each("blob", &format!("{:?}", (key.value(), refs, octets, frames)));
    }
    rows_of::<AccountRow, _>(each, &tables.account)?;
    all(each, "address", &tables.address)?;
    all(each, "quota", &tables.quota)?;
    rows_of::<MailboxRow, _>(each, &tables.mailbox)?;
    all(each, "name", &tables.name)?;
    rows_of::<MessageRow, _>(each, &tables.message)?;
    admin::rows_as_text(tables, each)?;
    all(each, "flags", &tables.flags)?;
    all(each, "modseq", &tables.modseq)?;
    all(each, "vanished", &tables.vanished)?;
    all(each, "structure", &tables.structure)
}

/// A table of rows that are more than a number, as what they say.
fn rows_of<R: Row + fmt::Debug, K: redb::Key + 'static>(
    each: &mut dyn FnMut(&'static str, &str),
    table: &impl ReadableTable<K, &'static [u8]>,
) -> Result<(), StoreError> {
    for found in table.iter()? {
        let (key, value) = found?;
        let row = R::from_octets(value.value())?;
        each(R::TABLE, &format!("{:?} {row:?}", key.value()));
    }
    Ok(())
}

fn all<K: redb::Key + 'static, V: redb::Value + 'static>(
    each: &mut dyn FnMut(&'static str, &str),
    name: &'static str,
    table: &impl ReadableTable<K, V>,
) -> Result<(), StoreError> {
    for found in table.iter()? {
        let (key, value) = found?;
        each(name, &format!("{:?}", (key.value(), value.value())));
    }
    Ok(())
}
