//! The rows that are more than a number: postcard, with a version octet in front.

use crate::error::StoreError;
use crate::log::body::file_name;
use crate::log::frames::{Frame, stored_octets};
use crate::log::record::{AccountDetails, Alias, SpecialUse};
use crate::log::segment;
use mail::{
    AccountId, Address, Flags, InternalDate, Keyword, MailboxName, ModSeq, SystemFlags, Timestamp, Uid,
    UidValidity,
};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

/// A kind of row.
pub(crate) trait Row: Serialize + for<'d> Deserialize<'d> {
    const TABLE: &'static str;
    const VERSION: u8;

    fn to_octets(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![Self::VERSION]).expect("rows have no type that postcard cannot write")
    }

    fn from_octets(octets: &[u8]) -> Result<Self, StoreError> {
        match octets.split_first() {
            Some((version, rest)) if *version == Self::VERSION => postcard::from_bytes(rest).ok(),
            _ => None,
        }
        .ok_or(StoreError::IndexRow { table: Self::TABLE })
    }
}

macro_rules! row {
    ($name:ident in $table:literal v $version:literal) => {
        impl Row for $name {
            const TABLE: &'static str = $table;
            const VERSION: u8 = $version;
        }
    };
}
pub(crate) use row;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccountRow {
    pub(crate) address: Address,
    pub(crate) verifier: String,
    pub(crate) details: AccountDetails,
    /// Unknown of those that a box was claimed with.
    pub(crate) created: Option<Timestamp>,
}
row!(AccountRow in "account" v 2);

/// An alias is kept as it is.
pub(crate) type RedirectRow = Alias;
row!(RedirectRow in "redirect" v 2);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MailboxRow {
    pub(crate) account: AccountId,
    pub(crate) name: MailboxName,
    pub(crate) uid_validity: UidValidity,
    /// 4 294 967 296 after the last UID.
    pub(crate) uid_next: u64,
    pub(crate) special_use: Option<SpecialUse>,
    pub(crate) is_subscribed: bool,
    pub(crate) counts: Counts,
    pub(crate) highest_modseq: ModSeq,
    /// What was expunged up to here is not remembered; 0: all is.
    pub(crate) vanished_floor: ModSeq,
}
row!(MailboxRow in "mailbox" v 2);

/// What a mailbox holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) messages: u32,
    pub(crate) unseen: u32,
    pub(crate) deleted: u32,
    pub(crate) size_octets: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MessageRow {
    pub(crate) body: u64,
    pub(crate) size_octets: u64,
    pub(crate) internal_date: InternalDate,
    /// When it was put into its mailbox (RFC 8514), if that is known.
    pub(crate) saved: Option<Timestamp>,
    pub(crate) prefix: Vec<u8>,
}
row!(MessageRow in "msg" v 2);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BlobRow {
    /// The segment whose record tells of the body, for one in a file too.
    pub(crate) home: u64,
    pub(crate) place: BlobPlace,
    pub(crate) octets: u64,
    pub(crate) frames: Vec<Frame>,
}
row!(BlobRow in "blob" v 2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BlobPlace {
    /// In its home.
    Segment { offset: u64 },
    /// In a file of its own, from its first octet on.
    File { number: u64 },
}

impl BlobRow {
    /// The name of the file that holds the body, and where in it the body begins.
    pub(crate) fn file(&self) -> (String, u64) {
        match self.place {
            BlobPlace::Segment { offset } => (segment::name(self.home), offset),
            BlobPlace::File { number } => (file_name(number), 0),
        }
    }

    /// Whether its frames tell of all its octets. They do not when an index made anew has not found the description.
    pub(crate) fn is_described(&self) -> bool {
        self.frames
            .iter()
            .map(|frame| u64::from(frame.octets))
            .sum::<u64>()
            == self.octets
    }

    /// How much of its home is needed for the body: its octets, unless they are in a file, and their description.
    pub(crate) fn live_octets(&self, structure_octets: usize) -> u64 {
        /// What postcard makes of a frame, and of the rest, at most.
        const FRAME_OCTETS: u64 = 18;
        const REST_OCTETS: u64 = 32;
        let stored = match self.place {
            BlobPlace::Segment { .. } => stored_octets(&self.frames),
            BlobPlace::File { .. } => 0,
        };
        stored + structure_octets as u64 + FRAME_OCTETS * self.frames.len() as u64 + REST_OCTETS
    }
}

/// The key of an address: of its domain and of its local part, so that those of a domain stand together. Two spellings
/// of one address share it (L1).
pub(crate) fn address_key(address: &Address) -> (&str, String) {
    (
        address.domain.as_str(),
        address.local_part.as_str().to_lowercase(),
    )
}

/// Reads a row of octets by the address that is its key.
pub(crate) fn get_by_address<R: Row>(
    table: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
    address: &Address,
) -> Result<Option<R>, StoreError> {
    let (domain, local_part) = address_key(address);
    get(table, (domain, local_part.as_str()))
}

/// The account that has an address.
pub(crate) fn account_of(
    table: &impl ReadableTable<(&'static str, &'static str), u32>,
    address: &Address,
) -> Result<Option<AccountId>, StoreError> {
    let (domain, local_part) = address_key(address);
    Ok(table
        .get((domain, local_part.as_str()))?
        .map(|row| AccountId(row.value())))
}

/// Reads a row of octets by its key.
pub(crate) fn get<R: Row, K: redb::Key + 'static>(
    table: &impl ReadableTable<K, &'static [u8]>,
    key: K::SelfType<'_>,
) -> Result<Option<R>, StoreError> {
    table.get(key)?.map(|row| R::from_octets(row.value())).transpose()
}

/// The row of a body, with how many messages have it.
pub(crate) fn get_blob(
    table: &impl ReadableTable<u64, (u32, &'static [u8])>,
    body: u64,
) -> Result<Option<(u32, BlobRow)>, StoreError> {
    let Some(row) = table.get(body)? else {
        return Ok(None);
    };
    let (refs, octets) = row.value();
    Ok(Some((refs, BlobRow::from_octets(octets)?)))
}

/// A counter of the table `state`; 0 before it was first set.
pub(crate) fn counter(
    table: &impl ReadableTable<&'static str, u64>,
    name: &'static str,
) -> Result<u64, StoreError> {
    Ok(table.get(name)?.map_or(0, |row| row.value()))
}

/// Octets used, messages and highest modseq of an account.
pub(crate) fn quota(
    table: &impl ReadableTable<u32, (u64, u64, u64)>,
    account: AccountId,
) -> Result<(u64, u64, u64), StoreError> {
    Ok(table.get(account.0)?.map_or((0, 0, 0), |row| row.value()))
}

/// The modseq and the flags of a message.
pub(crate) fn get_flags(
    table: &impl ReadableTable<(u32, u32), (u64, u8, &'static str)>,
    mailbox: u32,
    uid: Uid,
) -> Result<Option<(ModSeq, Flags)>, StoreError> {
    table
        .get((mailbox, uid.get()))?
        .map(|row| flags_from(row.value()))
        .transpose()
}

/// A row of the table `flags`.
pub(crate) fn flags_from((modseq, system, keywords): (u64, u8, &str)) -> Result<(ModSeq, Flags), StoreError> {
    let keywords = keywords
        .split(' ')
        .filter(|keyword| !keyword.is_empty())
        .map(|keyword| Keyword::parse(keyword).map_err(|_| StoreError::IndexRow { table: "flags" }))
        .collect::<Result<_, _>>()?;
    Ok((
        ModSeq(modseq),
        Flags {
            system: SystemFlags(system),
            keywords,
        },
    ))
}

/// The keywords of a row of the table `flags`. A keyword has no space in it: it is an atom.
pub(crate) fn keywords_text(flags: &Flags) -> String {
    let mut text = String::new();
    for keyword in &flags.keywords {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(keyword.as_str());
    }
    text
}
