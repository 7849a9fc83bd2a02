//! What the keeper found, for whoever looks after the box.

use super::decide::Figures;
use super::snapshots;
use crate::error::StoreError;
use crate::index::rows::{self, AccountRow, BlobRow, MailboxRow, MessageRow, Row};
use crate::index::{ReadTables, Tables};
use crate::shared::Shared;
use mail::{AccountId, MailboxId, MailboxName, Uid};
use redb::{Durability, ReadableTable};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

/// Messages told of one by one; more are only counted.
const MESSAGES_MAX: usize = 100;
/// Places in the log told of one by one.
const PLACES_MAX: usize = 20;
/// Snapshots that are made when a record of the log is damaged, so that nobody needs it any more.
const SNAPSHOTS_FOR_DAMAGE: u32 = 2;

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Segments of the log.
    pub segments: u64,
    /// Octets of all segments.
    pub log_octets: u64,
    /// Octets of the log that some message needs. The others are freed by rewriting, in time.
    pub live_octets: u64,
    /// Octets of the newest snapshot; 0: there is none yet.
    pub snapshot_octets: u64,
    /// The last change that both kept snapshots have, and the last of the log, as numbers of batches.
    pub covered: (u64, u64),
    /// How long ago all was last verified; `None`: it was not yet.
    pub verified_ago: Option<Duration>,
    /// Octets moved by rewriting since the store was opened.
    pub octets_moved: u64,
    /// Segments removed since the store was opened.
    pub segments_removed: u64,
    /// Whether the disk is so full that the ballast was given up.
    pub is_full: bool,
    /// Messages whose octets are not what was written: at most 100.
    pub damaged: Vec<DamagedMessage>,
    /// Damaged messages that are not in the list.
    pub damaged_untold: u64,
    /// Places of the log, found since the store was opened, in which a change is damaged. The index has what it said.
    pub damaged_places: Vec<String>,
}

/// A message whose octets are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedMessage {
    /// Whose.
    pub account: AccountId,
    /// Their address.
    pub address: String,
    /// In which mailbox.
    pub mailbox: MailboxName,
    /// Its UID.
    pub uid: Uid,
    /// The file that the octets are in.
    pub file: String,
}

impl fmt::Display for DamagedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DamagedMessage {
            address,
            mailbox,
            uid,
            file,
            ..
        } = self;
        write!(
            f,
            "{file}: message {uid} in {} of {address} is damaged, nothing else; take it from a backup, or delete it",
            mailbox.as_str()
        )
    }
}

/// What is not in the index.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    health: Health,
    snapshots_wanted: u32,
}

impl Findings {
    fn change<T: Default>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.state
            .lock()
            .map_or_else(|_| T::default(), |mut state| change(&mut state))
    }

    pub(super) fn looked(&self, figures: &Figures, scrub_ended: u64) {
        self.change(|state| {
            let health = &mut state.health;
            let sum = |of: fn(&super::decide::SegmentFigures) -> u64| figures.segments.iter().map(of).sum();
            health.segments = figures.segments.len() as u64;
            health.log_octets = sum(|segment| segment.octets);
            health.live_octets = sum(|segment| segment.live_octets);
            health.snapshot_octets = figures.snapshot_octets;
            health.covered = (figures.covered, figures.batch);
            let ago = figures.age_seconds.saturating_sub(scrub_ended);
            health.verified_ago = (scrub_ended > 0).then(|| Duration::from_secs(ago));
        });
    }

    pub(super) fn log_octets(&self) -> u64 {
        self.change(|state| state.health.log_octets)
    }

    pub(super) fn moved(&self, octets: u64) {
        self.change(|state| state.health.octets_moved += octets);
    }

    pub(super) fn removed(&self, segments: u64) {
        self.change(|state| state.health.segments_removed += segments);
    }

    pub(super) fn snapshots_wanted(&self) -> u32 {
        self.change(|state| state.snapshots_wanted)
    }

    pub(super) fn snapshot_made(&self) {
        self.change(|state| state.snapshots_wanted = state.snapshots_wanted.saturating_sub(1));
    }

    /// A change in the log is damaged.
    pub(super) fn record_damaged(&self, place: String) {
        tracing::error!("{place}");
        self.change(|state| {
            state.snapshots_wanted = SNAPSHOTS_FOR_DAMAGE;
            let places = &mut state.health.damaged_places;
            if places.len() < PLACES_MAX && !places.contains(&place) {
                places.push(place);
            }
        });
    }
}

/// How the store is now.
pub(crate) fn health(shared: &Shared) -> Result<Health, StoreError> {
    let mut health = shared.findings.change(|state| state.health.clone());
    let tables = shared.read()?;
    let kept = snapshots::kept(shared);
    health.snapshot_octets = kept.octets;
    health.is_full = shared.space.is_ballast_given_up();
    let mut files = BTreeMap::new();
    for found in tables.damaged.iter()? {
        let (body, file) = found?;
        files.insert(body.value(), file.value().to_owned());
    }
    let (damaged, untold) = name_messages(&tables, &files)?;
    (health.damaged, health.damaged_untold) = (damaged, untold);
    let (age, ended) = (
        rows::counter(&tables.keeper, super::key::AGE)?,
        rows::counter(&tables.keeper, super::key::SCRUB_ENDED)?,
    );
    health.verified_ago = (ended > 0).then(|| Duration::from_secs(age.saturating_sub(ended)));
    Ok(health)
}

/// Says that a body is damaged, once.
pub(super) fn tell(shared: &Shared, body: u64, row: &BlobRow) -> Result<(), StoreError> {
    let tables = shared.read()?;
    if tables.damaged.get(body)?.is_some() {
        return Ok(());
    }
    let (file, _) = row.file();
    let files = BTreeMap::from([(body, file.clone())]);
    let (messages, _) = name_messages(&tables, &files)?;
    drop(tables);
    for message in messages {
        tracing::error!("{message}");
    }
    let mut transaction = shared.database()?.begin_write()?;
    transaction.set_durability(Durability::None)?;
    Tables::open(&transaction)?.damaged.insert(body, file.as_str())?;
    transaction.commit()?;
    Ok(())
}

/// Forgets damaged bodies that nobody has any more.
pub(super) fn forget_gone(shared: &Shared, tables: &ReadTables) -> Result<(), StoreError> {
    let mut gone = Vec::new();
    for found in tables.damaged.iter()? {
        let body = found?.0.value();
        if tables.blob.get(body)?.is_none() {
            gone.push(body);
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    let mut transaction = shared.database()?.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let mut tables = Tables::open(&transaction)?;
    for body in gone {
        tables.damaged.remove(body)?;
    }
    drop(tables);
    transaction.commit()?;
    Ok(())
}

/// The messages that have one of these bodies, and how many more there are.
fn name_messages(
    tables: &ReadTables,
    files: &BTreeMap<u64, String>,
) -> Result<(Vec<DamagedMessage>, u64), StoreError> {
    let (mut named, mut untold) = (Vec::new(), 0);
    if files.is_empty() {
        return Ok((named, untold));
    }
    for found in tables.message.iter()? {
        let (key, value) = found?;
        let Some(file) = files.get(&MessageRow::from_octets(value.value())?.body) else {
            continue;
        };
        let (mailbox, uid) = key.value();
        if named.len() == MESSAGES_MAX {
            untold += 1;
        } else {
            named.extend(name(tables, MailboxId(mailbox), uid, file)?);
        }
    }
    Ok((named, untold))
}

fn name(
    tables: &ReadTables,
    mailbox: MailboxId,
    uid: u32,
    file: &str,
) -> Result<Option<DamagedMessage>, StoreError> {
    let Some(row) = rows::get::<MailboxRow, _>(&tables.mailbox, mailbox.0)? else {
        return Ok(None);
    };
    let account = rows::get::<AccountRow, _>(&tables.account, row.account.0)?;
    Ok(Uid::new(uid).map(|uid| DamagedMessage {
        account: row.account,
        address: account.map_or_else(|| row.account.to_string(), |account| account.address.to_string()),
        mailbox: row.name,
        uid,
        file: file.to_owned(),
    }))
}
