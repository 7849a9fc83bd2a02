//! Opening: find the log, open or make the index, replay, and only then serve.
//!
//! ```text
//!  lock → segments → index at its checkpoint → replay → copy the last batch if it may not be durable
//!       → step counters if records were lost → sweep body files → checkpoint → serve
//! ```

use crate::Options;
use crate::backup::{self, Backups};
use crate::changes::Changes;
use crate::check;
use crate::error::StoreError;
use crate::index::rows::{BlobPlace, BlobRow, Row, counter};
use crate::index::{self, Backend, IndexFile, Tables, state};
use crate::keeper::{Findings, Keeper, Wakes};
use crate::log::body::{Bodies, file_name};
use crate::log::record::{Mutation, Stepped};
use crate::log::scan::{Position, Segment, Segments};
use crate::log::seal::{Identity, Sealer};
use crate::log::segment::{self, Header};
use crate::log::{BLOCK_OCTETS, BODIES, SEGMENTS, next_block};
use crate::replay::{Damage, Replay, copy_tail};
use crate::request::{Pending, Request};
use crate::restore::{RESTORED, RESTORING, StepForRestored};
use crate::shared::{OpenSegments, Readers, Shared};
use crate::snapshot::{self, Restore, SNAPSHOTS};
use crate::space::SpaceWatch;
use crate::storage::Storage;
use crate::writer::queue::Queue;
use crate::writer::{ActiveSegment, LogEnd, Writer, checkpoint};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};

/// What was found when the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// There was nothing: the store is new.
    pub is_new: bool,
    /// The index was made anew from the log, and why.
    pub index_rebuilt: Option<String>,
    /// The snapshot that an index made anew began with; `None`: it was made from all of the log.
    pub snapshot: Option<String>,
    /// Batches that the index did not have yet.
    pub batches_replayed: u64,
    /// Whether the last batch was copied to a new segment, since it may not have been durable.
    pub is_tail_copied: bool,
    /// Octets at the end of the log that are no whole batch: written when the power went, and never
    /// acknowledged.
    pub tail_octets_dropped: u64,
    /// Body files that no record names.
    pub bodies_swept: u64,
    /// What is no longer as it was written.
    pub damage: Vec<Damage>,
}

/// An open store that does not serve yet.
pub(crate) struct Ready {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) keeper: Keeper,
    pub(crate) opened: Opened,
}

/// Opens the store in `storage`. An index that fails on the way is made anew, once.
pub(crate) fn open(storage: Arc<dyn Storage>, options: &Options) -> Result<Ready, StoreError> {
    for folder in [SEGMENTS, BODIES, SNAPSHOTS] {
        storage.create_folder(folder).map_err(StoreError::io(folder))?;
    }
    // Also when they are there: who made them may have ended before this.
    storage.sync_folder("").map_err(StoreError::io(""))?;
    if has(&*storage, RESTORING)? {
        return Err(StoreError::RestoreUnfinished);
    }
    // redb panics at some damage, and sees most of it only when it comes upon it.
    let first = || attempt(Arc::clone(&storage), options, None);
    let doubt = match std::panic::catch_unwind(AssertUnwindSafe(first)) {
        Ok(Err(error)) if error.casts_doubt_on_index() => error.to_string(),
        Ok(result) => return result,
        Err(_) => "it is damaged".to_owned(),
    };
    tracing::error!(%doubt, "the index failed");
    attempt(storage, options, Some(doubt))
}

/// Opens the store, with an index made anew if there is a `doubt` about the one that is there.
fn attempt(storage: Arc<dyn Storage>, options: &Options, doubt: Option<String>) -> Result<Ready, StoreError> {
    let mut opened = Opened::default();
    // What was being made when the power went: a segment, a snapshot, or the index of a check.
    remove_if_there(&*storage, SEGMENTS, segment::UNFINISHED)?;
    remove_if_there(&*storage, SNAPSHOTS, snapshot::UNFINISHED)?;
    remove_if_there(&*storage, "", check::COMPARED)?;
    backup::sweep(&*storage)?;
    let (space, segment_octets) = space(&storage, options)?;
    let (segments, identity) = find_log(&storage, &mut opened)?;
    let sealer = Sealer::new(&identity);
    let (database, index_file, mut position) =
        open_index(&storage, &space, &identity, options, doubt, &mut opened)?;
    if opened.index_rebuilt.is_some() {
        let mut restore = Restore {
            storage: &*storage,
            segments: &segments,
            identity: &identity,
            sealer: &sealer,
            database: &database,
            last_batch: u64::MAX,
            opened: &mut opened,
        };
        position = restore.run()?;
    }
    compare_ends(&segments, position, &mut opened);
    let Replayed { log, lost_up_to } =
        bring_up(&*storage, &segments, identity, &database, position, &mut opened)?;
    // What the index knew behind the end of the log is gone: nothing that it gave may be given again.
    let is_cut = |damage: &Damage| {
        matches!(
            damage,
            Damage::SegmentMissing { .. } | Damage::SegmentShort { .. }
        )
    };
    let lost_up_to = lost_up_to.max(opened.damage.iter().any(is_cut).then_some(position.batch));
    if opened.snapshot.is_some() {
        opened.damage.extend(snapshot::contain(&database)?);
    }

    let database = Arc::new(database);
    let next_file = next_body_file(&*storage, &database)?;
    if opened.damage.iter().any(Damage::is_of_log) {
        let has_lost_records = opened.damage.iter().any(Damage::has_lost_records);
        let next_segment = has_lost_records.then_some(log.next_segment);
        keep_files(&database, next_file, next_segment)?;
    }
    sweep(&*storage, &database, &mut opened)?;
    let durable = checkpoint(&database)?;
    remove_if_there(&*storage, "", index::SUSPECT)?;
    // Not before the index is durable: one of them may be all there is.
    let snapshots = snapshot::find(&*storage, &identity, &sealer, &opened)?;

    let bodies = Bodies::new(
        Arc::clone(&storage),
        sealer.clone(),
        Arc::clone(&space),
        next_file,
        options.body_memory_octets,
    );
    let shared = Arc::new(Shared {
        storage,
        identity,
        sealer,
        database: Mutex::new(Some(Arc::clone(&database))),
        index_file,
        durable: Mutex::new(durable),
        active_segment: AtomicU64::new(log.active.as_ref().map_or(0, |active| active.number)),
        readers: Arc::new(Readers::default()),
        snapshots,
        backups: Backups::default(),
        segments_stay: Mutex::default(),
        wakes: Wakes::default(),
        findings: Findings::default(),
        bodies,
        files: OpenSegments::default(),
        changes: Changes::default(),
        space,
        queue: Queue::new(),
        stopped: watch::Sender::new(None),
    });
    let log = LogEnd {
        segment_octets,
        ..log
    };
    let mut writer = Writer::new(Arc::clone(&shared), database, log, options);
    if let Some(damaged_batch) = lost_up_to {
        write(&mut writer, Step(Stepped { damaged_batch }))?;
    }
    if has(&*shared.storage, RESTORED)? {
        write(&mut writer, StepForRestored(durable))?;
        shared
            .storage
            .remove(RESTORED)
            .and_then(|()| shared.storage.sync_folder(""))
            .map_err(StoreError::io(RESTORED))?;
    }
    Ok(Ready {
        keeper: Keeper::new(Arc::clone(&shared), options, segment_octets),
        shared,
        writer,
        opened,
    })
}

/// What is kept free, and how large segments become.
fn space(storage: &Arc<dyn Storage>, options: &Options) -> Result<(Arc<SpaceWatch>, u64), StoreError> {
    let room = storage.room().map_err(StoreError::io(""))?;
    let segment_octets = options
        .segment_octets
        .unwrap_or_else(|| segment_octets(room.total_octets));
    let reserve_octets = options
        .reserve_octets
        .unwrap_or(3 * segment_octets + RESERVE_OCTETS);
    let ballast_octets = options
        .ballast_octets
        .unwrap_or_else(|| ballast_octets(room.total_octets));
    let space = SpaceWatch::new(Arc::clone(storage), reserve_octets, ballast_octets);
    let space = space.map_err(StoreError::io(""))?;
    // Opening writes, too: a new segment, the index. Without room it has that of the ballast (D9).
    space.has_room_for(ballast_octets);
    Ok((space, segment_octets))
}

/// The log must not be shorter than the index knows it.
fn compare_ends(segments: &Segments, position: Position, opened: &mut Opened) {
    if position.batch == 0 {
        return;
    }
    let name = segment::name(position.segment);
    match segments
        .list
        .iter()
        .find(|segment| segment.number == position.segment)
    {
        // The segment in which a snapshot ends may be gone, unless it was the last.
        None if opened.snapshot.is_some() && segments.has_from(position.segment) => (),
        None => opened.damage.push(Damage::SegmentMissing { name }),
        Some(segment) if next_block(segment.octets) < position.offset => {
            opened.damage.push(Damage::SegmentShort { name });
        }
        Some(_) => (),
    }
}

struct Replayed {
    log: LogEnd,
    /// The last batch with lost records, if counters have to step forward for it.
    lost_up_to: Option<u64>,
}

/// Brings the index to the end of the log, makes sure of that end, and says where the log goes on.
fn bring_up(
    storage: &dyn Storage,
    segments: &Segments,
    identity: Identity,
    database: &Database,
    position: Position,
    opened: &mut Opened,
) -> Result<Replayed, StoreError> {
    let sealer = Sealer::new(&identity);
    let mut replay = Replay {
        segments,
        database,
        sealer: &sealer,
        position,
        last_batch: u64::MAX,
        opened,
        lost_up_to: None,
        last: None,
    };
    let lost_up_to = replay.run()?;
    let Replay {
        position,
        last,
        opened,
        ..
    } = replay;

    let next_batch = segments
        .list
        .iter()
        .filter_map(|segment| segment.first_batch)
        .max()
        .unwrap_or(1);
    let last_segment = segments
        .list
        .last()
        .map_or(0, |last| last.number)
        .max(position.segment);
    let mut log = LogEnd {
        active: None,
        next_segment: last_segment + 1,
        next_batch: next_batch.max(position.batch + 1),
        segment_octets: 0,
    };
    // A segment made just now may be filled; one of an earlier run never is.
    if opened.is_new {
        let first = &segments.list[0];
        log.active = Some(ActiveSegment {
            number: first.number,
            file: segments.file(first)?,
            offset: next_block(first.octets),
        });
    } else if let Some((place, batch)) = last.filter(|(_, batch)| batch.is_whole) {
        let header = Header {
            identity,
            number: log.next_segment,
            first_batch: batch.at.number,
        };
        log.active = Some(copy_tail(storage, database, segments, place, &batch, header)?);
        log.next_segment += 1;
        opened.is_tail_copied = true;
    }
    Ok(Replayed { log, lost_up_to })
}

/// Kept free besides three segments: the index grows, and so do the body files on their way in.
const RESERVE_OCTETS: u64 = 32 * 1024 * 1024;

/// Held for the day on which the disk is full.
fn ballast_octets(total_octets: u64) -> u64 {
    const MIB: u64 = 1024 * 1024;
    (total_octets / 64).clamp(MIB, 16 * MIB)
}

/// A thirty-second of the disk, so that a small one is not filled by a few segments of which little is
/// live; at most 64 MiB.
fn segment_octets(total_octets: u64) -> u64 {
    const MIB: u64 = 1024 * 1024;
    (total_octets / 32).clamp(MIB, 64 * MIB)
}

fn find_log(storage: &Arc<dyn Storage>, opened: &mut Opened) -> Result<(Segments, Identity), StoreError> {
    if let Some((segments, identity)) = Segments::find(Arc::clone(storage))? {
        for segment in segments
            .list
            .iter()
            .filter(|segment| segment.first_batch.is_none())
        {
            opened.damage.push(Damage::SegmentHeader {
                name: segment.name.clone(),
            });
        }
        return Ok((segments, identity));
    }
    let has_bodies = !storage.list(BODIES).map_err(StoreError::io(BODIES))?.is_empty();
    if has_bodies {
        // A new store would sweep them.
        return Err(StoreError::LogMissing { found: "a body file" });
    }
    if !storage
        .list(SNAPSHOTS)
        .map_err(StoreError::io(SNAPSHOTS))?
        .is_empty()
    {
        return Err(StoreError::LogMissing { found: "a snapshot" });
    }
    // An index without a log is left by a cut in the very first start, or by someone who deleted the
    // log. The first has no account yet.
    if index_has_accounts(&**storage)? {
        return Err(StoreError::LogMissing {
            found: "an index with accounts",
        });
    }
    opened.is_new = true;
    let identity = Identity::random(&**storage)?;
    // The identity is durable with the first segment; the store is nothing before that.
    let header = Header {
        identity,
        number: 1,
        first_batch: 1,
    };
    segment::create(&**storage, header, None)?;
    let mut segments = Segments::none(Arc::clone(storage), identity);
    segments.list.push(Segment {
        number: 1,
        name: segment::name(1),
        octets: BLOCK_OCTETS,
        first_batch: Some(1),
    });
    Ok((segments, identity))
}

fn remove_if_there(storage: &dyn Storage, folder: &str, name: &str) -> Result<(), StoreError> {
    if !storage
        .list(folder)
        .map_err(StoreError::io(folder))?
        .iter()
        .any(|found| found == name)
    {
        return Ok(());
    }
    let name = if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    };
    storage.remove(&name).map_err(StoreError::io(&name))
}

/// Whether the store's own folder has a file of this name.
fn has(storage: &dyn Storage, name: &str) -> Result<bool, StoreError> {
    let names = storage.list("").map_err(StoreError::io(""))?;
    Ok(names.iter().any(|found| found == name))
}

fn index_has_accounts(storage: &dyn Storage) -> Result<bool, StoreError> {
    if !has(storage, index::FILE)? {
        return Ok(false);
    }
    let file = storage.open(index::FILE).map_err(StoreError::io(index::FILE))?;
    let Ok(database) = Database::builder().create_with_backend(Backend(IndexFile::new(file, None))) else {
        return Ok(false);
    };
    let accounts = database
        .begin_read()
        .ok()
        .and_then(|transaction| transaction.open_table(index::ACCOUNT).ok())
        .and_then(|table| table.len().ok());
    Ok(accounts.is_some_and(|accounts| accounts > 0))
}

/// Opens the index, or makes an empty one if it cannot be used. Says how far it is in the log.
fn open_index(
    storage: &Arc<dyn Storage>,
    space: &Arc<SpaceWatch>,
    identity: &Identity,
    options: &Options,
    doubt: Option<String>,
    opened: &mut Opened,
) -> Result<(Database, Arc<IndexFile>, Position), StoreError> {
    let builder = || {
        let mut builder = Database::builder();
        builder.set_cache_size(options.index_cache_octets);
        builder
    };
    let is_suspect = has(&**storage, index::SUSPECT)?;
    if is_suspect {
        tracing::warn!("the writer panicked; the index is verified");
    }
    if has(&**storage, index::FILE)? {
        let open = || -> Result<Option<(Database, Arc<IndexFile>, Position)>, StoreError> {
            let file = storage.open(index::FILE).map_err(StoreError::io(index::FILE))?;
            let file = IndexFile::new(file, Some(Arc::clone(space)));
            let database = builder()
                .set_check_integrity_on_open(is_suspect)
                .create_with_backend(Backend(Arc::clone(&file)))?;
            let position = position_of(&database, identity)?;
            Ok(position.map(|position| (database, file, position)))
        };
        // Whatever it says, the log can do without it.
        let reason = match doubt {
            Some(doubt) => doubt,
            None => match std::panic::catch_unwind(AssertUnwindSafe(open)) {
                Ok(Ok(Some(found))) => return Ok(found),
                Ok(Ok(None)) => "it is of another store, or of another format".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it is damaged".to_owned(),
            },
        };
        opened.index_rebuilt = Some(reason);
        storage.remove(index::FILE).map_err(StoreError::io(index::FILE))?;
    } else if !opened.is_new {
        opened.index_rebuilt = Some("it was missing".to_owned());
    }
    let file = storage.create(index::FILE).map_err(StoreError::io(index::FILE))?;
    let file = IndexFile::new(file, Some(Arc::clone(space)));
    let database = builder().create_with_backend(Backend(Arc::clone(&file)))?;
    found_index(&database, identity)?;
    // Not for safety: were the name lost, the index would have to be made again.
    storage.sync_folder("").map_err(StoreError::io(""))?;
    Ok((database, file, Position::default()))
}

/// Writes what an index has before any record.
pub(crate) fn found_index(database: &Database, identity: &Identity) -> Result<(), StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let mut tables = Tables::open(&transaction)?;
    tables.identity.insert("id", identity.id.as_slice())?;
    tables.state.insert(state::FORMAT, index::FORMAT)?;
    for name in [
        state::NEXT_ACCOUNT,
        state::NEXT_MAILBOX,
        state::NEXT_BODY,
        state::NEXT_BODY_FILE,
    ] {
        tables.state.insert(name, 1)?;
    }
    // A counter (D7) that begins where the store's identity says: after a factory reset a program that
    // knows the old mailboxes does not take the new ones for them.
    let first = u32::from_le_bytes(identity.id[..4].try_into().expect("four octets")) & 0x3fff_ffff;
    tables
        .state
        .insert(state::NEXT_UID_VALIDITY, u64::from(first) + 1)?;
    drop(tables);
    transaction.commit()?;
    Ok(())
}

fn position_of(database: &Database, identity: &Identity) -> Result<Option<Position>, StoreError> {
    let transaction = database.begin_read()?;
    let tables = index::ReadTables::open(&transaction)?;
    let is_ours = tables
        .identity
        .get("id")?
        .is_some_and(|id| id.value() == identity.id);
    if !is_ours || counter(&tables.state, state::FORMAT)? != index::FORMAT {
        return Ok(None);
    }
    Ok(Some(Position {
        batch: counter(&tables.state, state::BATCH)?,
        segment: counter(&tables.state, state::SEGMENT)?,
        offset: counter(&tables.state, state::OFFSET)?,
    }))
}

/// Records were lost, or may be: no body file there is now is ever swept, and no segment below `next_segment` removed.
fn keep_files(database: &Database, next_file: u64, next_segment: Option<u64>) -> Result<(), StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let mut table = transaction.open_table(index::STATE)?;
    table.insert(state::BODY_FILES_KEPT_BELOW, next_file)?;
    if let Some(number) = next_segment {
        table.insert(state::SEGMENTS_KEPT_BELOW, number)?;
    }
    drop(table);
    transaction.commit()?;
    Ok(())
}

/// Removes the body files that no record names.
fn sweep(storage: &dyn Storage, database: &Database, opened: &mut Opened) -> Result<(), StoreError> {
    let tables = index::ReadTables::open(&database.begin_read()?)?;
    let kept_below = counter(&tables.state, state::BODY_FILES_KEPT_BELOW)?;
    let mut named = BTreeSet::new();
    for found in tables.blob.iter()? {
        let (_, value) = found?;
        if let BlobPlace::File { number } = BlobRow::from_octets(value.value().1)?.place {
            named.insert(file_name(number));
        }
    }
    for name in storage.list(BODIES).map_err(StoreError::io(BODIES))? {
        let is_kept = segment::number(&name).is_some_and(|number| number < kept_below);
        let name = format!("{BODIES}/{name}");
        if !is_kept && !named.contains(&name) {
            storage.remove(&name).map_err(StoreError::io(&name))?;
            opened.bodies_swept += 1;
        }
    }
    Ok(())
}

fn next_body_file(storage: &dyn Storage, database: &Database) -> Result<u64, StoreError> {
    let transaction = database.begin_read()?;
    let mut next = counter(&transaction.open_table(index::STATE)?, state::NEXT_BODY_FILE)?.max(1);
    for name in storage.list(BODIES).map_err(StoreError::io(BODIES))? {
        if let Some(number) = segment::number(&name) {
            next = next.max(number + 1);
        }
    }
    Ok(next)
}

/// Asks for a `Step` record.
struct Step(Stepped);

impl Request for Step {
    type Reply = ();

    fn decide(&self, _: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        Ok((Some(Mutation::Step(self.0.clone())), ()))
    }
}

/// Steps all counters forward and makes that durable: what was given by records that are not there is never given again.
fn write<Q: Request<Reply = ()>>(writer: &mut Writer, request: Q) -> Result<(), StoreError> {
    let (to, mut reply) = oneshot::channel();
    writer.commit(vec![Box::new(Pending::new(request, to))]);
    reply.try_recv().unwrap_or(Err(StoreError::Closed))
}
