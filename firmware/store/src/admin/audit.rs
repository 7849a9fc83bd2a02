//! The trail of who did what.

use crate::Store;
use crate::error::StoreError;
use crate::index::admin_rows::AuditRow;
use crate::index::rows::{self, Row};
use crate::index::{Tables, state};
use crate::log::record::{self, AuditEntry, AuditPruned, Mutation};
use crate::request::Request;
use crate::view::View;
use mail::Timestamp;
use redb::ReadableTable;

/// The longest text of a line, in octets; a longer one is cut, for what was done must not fail because of it.
const TEXT_OCTETS_MAX: usize = 1024;
/// Lines that are looked at when one by one is asked whether it is wanted.
const LINES_AT_ONCE: usize = 4096;

/// A line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// Its number: they ascend.
    pub number: u64,
    /// What it says.
    pub entry: AuditEntry,
}

/// A store whose changes go into the audit trail: [`Store::audited`]. A change and its line are one record.
#[derive(Clone)]
pub struct Audited<'s> {
    pub(crate) store: &'s Store,
    pub(crate) entry: AuditEntry,
}

/// A request, and the line about it; with nothing to be done, or refused, there is none.
pub(crate) struct WithAudit<Q> {
    pub(crate) request: Q,
    pub(crate) entry: AuditEntry,
}

impl<Q: Request> Request for WithAudit<Q> {
    type Reply = Q::Reply;

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, Q::Reply), StoreError> {
        let (change, reply) = self.request.decide(tables)?;
        let Some(change) = change else {
            return Ok((None, reply));
        };
        Ok((Some(line(&self.entry, Some(&change), tables)?), reply))
    }
}

fn line(entry: &AuditEntry, change: Option<&Mutation>, tables: &Tables<'_>) -> Result<Mutation, StoreError> {
    let number = rows::counter(&tables.state, state::NEXT_AUDIT)?.max(1);
    let mut entry = entry.clone();
    let texts = [
        &mut entry.actor,
        &mut entry.origin,
        &mut entry.action,
        &mut entry.object,
        &mut entry.details,
    ];
    for text in texts {
        text.truncate(text.floor_char_boundary(TEXT_OCTETS_MAX));
    }
    Ok(Mutation::Audit(record::Audited::new(number, entry, change)))
}

/// A line alone, about something that is no change of the store.
impl Request for AuditEntry {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        Ok((Some(line(self, None, tables)?), ()))
    }
}

/// Forgets the lines from before a time. They are in the order in which they were written: one that is younger keeps
/// those behind it, so that a clock that was wrong for a while costs nothing.
pub(crate) struct PruneAudit {
    pub(crate) before: Timestamp,
}

impl Request for PruneAudit {
    type Reply = ();

    fn decide(&self, tables: &Tables<'_>) -> Result<(Option<Mutation>, ()), StoreError> {
        let mut pruned = None;
        for found in tables.audit.iter()? {
            let (key, value) = found?;
            if AuditRow::from_octets(value.value())?.entry.at >= self.before {
                break;
            }
            pruned = Some(AuditPruned {
                first_kept: key.value() + 1,
            });
        }
        Ok((pruned.map(Mutation::PruneAudit), ()))
    }
}

impl View {
    /// The audit trail, the newest line first, from below number `before` on; of it what `is_wanted`, and at most
    /// `limit`. The number is where to go on; `None`: that was all.
    pub fn audit(
        &self,
        before: Option<u64>,
        limit: usize,
        is_wanted: impl Fn(&AuditEntry) -> bool,
    ) -> Result<(Vec<AuditLine>, Option<u64>), StoreError> {
        let mut lines = Vec::new();
        let range = self.tables.audit.range(..before.unwrap_or(u64::MAX))?;
        let mut last = None;
        for (looked_at, found) in range.rev().enumerate() {
            if lines.len() >= limit || looked_at >= LINES_AT_ONCE {
                return Ok((lines, last.or(before)));
            }
            let (key, value) = found?;
            let number = key.value();
            last = Some(number);
            let entry = AuditRow::from_octets(value.value())?.entry;
            if is_wanted(&entry) {
                lines.push(AuditLine { number, entry });
            }
        }
        Ok((lines, None))
    }
}
