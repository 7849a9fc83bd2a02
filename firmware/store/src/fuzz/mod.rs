//! What reads octets that may be anything, as plain functions of octets.
//!
//! The unit tests give each the inputs kept in `corpus`, and thousands made from these. `tests/fuzz` runs them for as long as
//! one likes under cargo-fuzz; an input that broke something is put into `corpus` with the repair.
//!
//! A target panics when something is wrong: when the code it calls does, or when what was decoded is not what its
//! encoder writes.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use crate::index::admin_rows::{AppPasswordRow, AuditRow, DomainRow, RoleRow, SettingRow};
use crate::index::queue_rows::{EntryRow, RecipientRow, TokenRow};
use crate::index::rows::{AccountRow, BlobRow, MailboxRow, MessageRow, RedirectRow, Row};
use crate::log::batch::{self, BatchAt, BatchBuilder, FoundBatch, FoundRecord, HEADER_OCTETS};
use crate::log::frames::{self, Frame};
use crate::log::record::Mutation;
use crate::log::seal::{Identity, Sealer};
use crate::log::segment::Header;
use crate::storage::sim::Sim;
use crate::storage::{File, Storage};
use crate::{Options, Store};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// A function that is given octets.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 6] = [
    ("segment", segment),
    ("batch", batch),
    ("record", record),
    ("frame", frame),
    ("row", row),
    ("replay", replay),
];

/// Gives `octets` to the target of this name.
///
/// # Panics
/// When there is none, or when something is wrong.
pub fn run(name: &str, octets: &[u8]) {
    let (_, target) = TARGETS
        .iter()
        .find(|(of, _)| *of == name)
        .expect("the name is one of TARGETS");
    target(octets);
}

const IDENTITY: Identity = Identity {
    id: [1; 16],
    key: [2; 16],
};

fn file(octets: &[u8]) -> Arc<dyn File> {
    let file = Sim::new(0).create("file").expect("the disk is empty");
    file.write_all_at(octets, 0)
        .expect("simulated disks take anything");
    file
}

/// Takes the first octets; zeros when there are not so many.
fn take<const N: usize>(octets: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let count = N.min(octets.len());
    let (first, rest) = octets.split_at(count);
    taken[..count].copy_from_slice(first);
    *octets = rest;
    taken
}

/// The head of a segment.
fn segment(octets: &[u8]) {
    let _ = Header::read(&*file(octets), "segment");
}

/// A batch: octets as they come, and one that was sealed and has changed since.
///
/// ```text
///  changes (1) │ for each: place (4), mask (1) │ records: kind (2), version (2), octets (1), body (1), octets
/// ```
fn batch(octets: &[u8]) {
    let sealer = Sealer::new(&IDENTITY);
    let length = octets.len() as u64;
    let found = batch::find(&*file(octets), length, 1, 0, &IDENTITY, &sealer);
    assert!(!matches!(found, Ok(FoundBatch::Batch(_))), "nobody has the key");

    let mut rest = octets;
    let changes: Vec<(u32, u8)> = (0..take::<1>(&mut rest)[0] % 4)
        .map(|_| (u32::from_le_bytes(take(&mut rest)), take::<1>(&mut rest)[0]))
        .collect();
    let at = BatchAt {
        segment: 1,
        offset: 0,
        number: 1,
    };
    let mut builder = BatchBuilder::new(&sealer, IDENTITY, at);
    let mut written = Vec::new();
    while !rest.is_empty() && written.len() < 64 {
        let kind = u16::from_le_bytes(take(&mut rest));
        let version = u16::from_le_bytes(take(&mut rest));
        let [meta, body] = take(&mut rest).map(|octets: u8| usize::from(octets).min(rest.len()));
        let (meta, after) = rest.split_at(meta);
        let (body, after) = after.split_at(body.min(after.len()));
        rest = after;
        builder.push_encoded(kind, version, meta, std::iter::once(body));
        written.push((kind, version, meta));
    }
    let mut batch = builder.finish();
    let mut has_changed = false;
    for (place, mask) in changes {
        let place = place as usize % batch.len();
        batch[place] ^= mask;
        has_changed |= mask != 0;
    }
    let file = file(&batch);
    let found = batch::find(&*file, batch.len() as u64, 1, 0, &IDENTITY, &sealer);
    let Ok(FoundBatch::Batch(found)) = found else {
        assert!(has_changed, "what was sealed is found");
        return;
    };
    let records: Vec<FoundRecord> = found
        .records(&*file, &sealer)
        .map(|record| record.expect("the table is as it was written, so all of it is there"))
        .collect();
    assert_eq!(records.len(), written.len());
    for (record, (kind, version, meta)) in records.iter().zip(written) {
        match record {
            FoundRecord::Mutation { mutation, .. } => {
                assert_eq!(Mutation::decode(kind, version, meta).as_ref(), Ok(mutation));
            }
            FoundRecord::Newer { .. } => assert!(Mutation::decode(kind, version, meta).is_err()),
            FoundRecord::Damaged => {
                assert!(has_changed || Mutation::decode(kind, version, meta).is_err());
            }
        }
    }
    assert!(found.octets >= HEADER_OCTETS as u64);
}

/// A record: kind (2), version (2), metadata.
fn record(octets: &[u8]) {
    let mut rest = octets;
    let kind = u16::from_le_bytes(take(&mut rest));
    let version = u16::from_le_bytes(take(&mut rest));
    if let Ok(mutation) = Mutation::decode(kind, version, rest) {
        let encoded = mutation.encode();
        let again = Mutation::decode(mutation.kind(), mutation.version(), &encoded);
        assert_eq!(again, Ok(mutation));
    }
}

/// A frame: octets it should have (4), whether its checksum is right (1), what is stored.
fn frame(octets: &[u8]) {
    let mut rest = octets;
    let wanted = u32::from_le_bytes(take(&mut rest));
    let [sum] = take(&mut rest);
    let sealer = Sealer::new(&IDENTITY);
    let frame = Frame {
        octets: wanted,
        stored_octets: u32::try_from(rest.len()).unwrap_or(u32::MAX),
        sum: sealer.frame(0, rest) ^ u64::from(sum & 1),
    };
    if let Some(opened) = frames::open(&frame, 0, rest.to_vec(), &sealer) {
        assert_eq!(
            opened.len(),
            wanted as usize,
            "no more, and no less, than the frame says"
        );
        assert!(sum & 1 == 0, "a frame that has changed is not opened");
    }
}

/// A row: which table (1), octets.
fn row(octets: &[u8]) {
    fn of<R: Row + PartialEq + Debug>(octets: &[u8]) {
        // As it comes, and as if the version were right.
        for octets in [octets.to_vec(), [&[R::VERSION], octets].concat()] {
            if let Ok(row) = R::from_octets(&octets) {
                assert_eq!(R::from_octets(&row.to_octets()).ok(), Some(row));
            }
        }
    }
    const ROWS: [Target; 13] = [
        of::<AccountRow>,
        of::<RedirectRow>,
        of::<MailboxRow>,
        of::<MessageRow>,
        of::<BlobRow>,
        of::<DomainRow>,
        of::<RoleRow>,
        of::<AppPasswordRow>,
        of::<SettingRow>,
        of::<AuditRow>,
        of::<EntryRow>,
        of::<RecipientRow>,
        of::<TokenRow>,
    ];
    let mut rest = octets;
    let [which] = take(&mut rest);
    ROWS[usize::from(which) % ROWS.len()](rest);
}

/// The files of a small store, as its first format was.
const STORE: [(&str, &[u8]); 3] = [
    (
        "log/0000000000000001",
        include_bytes!("../tests/testdata/store-1/log/0000000000000001"),
    ),
    (
        "log/0000000000000002",
        include_bytes!("../tests/testdata/store-1/log/0000000000000002"),
    ),
    (
        "bodies/0000000000000001",
        include_bytes!("../tests/testdata/store-1/bodies/0000000000000001"),
    ),
];

/// A store whose files have changed: for each change which file (1), the place (4), how many octets (1), with what (1); more
/// than 250 octets cut the file there.
///
/// It opens, or says why not; what it shows can be asked for; a message is what it was or says that it is damaged.
fn replay(octets: &[u8]) {
    let sim = Sim::new(0);
    for folder in ["log", "bodies"] {
        sim.create_folder(folder).expect("simulated disks take anything");
    }
    let mut rest = octets;
    let mut files = STORE.map(|(name, content)| (name, content.to_vec()));
    while !rest.is_empty() {
        let [which, a, b, c, d, count, mask] = take(&mut rest);
        let content = &mut files[usize::from(which) % STORE.len()].1;
        let place = u32::from_le_bytes([a, b, c, d]) as usize % (content.len() + 1);
        if count > 250 {
            content.truncate(place);
        } else {
            content
                .iter_mut()
                .skip(place)
                .take(count.into())
                .for_each(|octet| *octet ^= mask);
        }
    }
    for (name, content) in files {
        let file = sim.create(name).expect("simulated disks take anything");
        file.write_all_at(&content, 0)
            .expect("simulated disks take anything");
    }
    let options = Options {
        index_cache_octets: 1024 * 1024,
        checkpoint_interval: Duration::from_secs(3_600),
        segment_octets: Some(64 * 1024),
        reserve_octets: Some(0),
        ..Options::default()
    };
    let Ok((store, _)) = Store::open_in(Arc::new(sim), &options) else {
        return;
    };
    look_at(&store).expect("the index was made just now");
    store.check().expect("the index was made just now");
}

fn look_at(store: &Store) -> Result<(), crate::StoreError> {
    let view = store.view()?;
    view.dump()?;
    for account in view.accounts()? {
        for mailbox in view.mailboxes(account.id)? {
            view.status(mailbox.id)?;
            for entry in view.entries(mailbox.id)? {
                let Some(message) = view.message(mailbox.id, entry.uid)? else {
                    continue;
                };
                view.structure(&message)?;
                let read = view.body(&message).and_then(|mut body| body.read_to_vec());
                if let Ok(octets) = read {
                    assert_eq!(octets.len() as u64, message.size_octets);
                }
            }
        }
    }
    Ok(())
}
