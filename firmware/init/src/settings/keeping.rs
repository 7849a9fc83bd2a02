//! The order in which records are written: one at a time, and of several of a kind only the last. Pure.

use std::collections::VecDeque;

use super::{Kind, Record};

/// What is being written, and what is to be.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// Whether there is a place to write to.
    is_open: bool,
    is_busy: bool,
    waiting: VecDeque<Record>,
}

impl Keeping {
    /// The disk is there.
    pub(crate) fn open(&mut self) {
        self.is_open = true;
    }

    /// Has this written when its turn comes.
    pub(crate) fn put(&mut self, record: Record) {
        self.waiting.retain(|waiting| waiting.kind() != record.kind());
        self.waiting.push_back(record);
    }

    /// Whether one of this kind is to be written still.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.waiting.iter().any(|waiting| waiting.kind() == kind)
    }

    /// What is to be written now.
    pub(crate) fn next(&mut self) -> Option<Record> {
        if !self.is_open || self.is_busy {
            return None;
        }
        let record = self.waiting.pop_front()?;
        self.is_busy = true;
        Some(record)
    }

    /// It was written, or could not be.
    pub(crate) fn done(&mut self) {
        self.is_busy = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_one_at_a_time_and_the_last_of_a_kind_wins() {
        let mut keeping = Keeping::default();
        keeping.put(Record::Time(1));
        assert_eq!(keeping.next(), None, "there is no disk yet");
        keeping.open();
        assert_eq!(keeping.next(), Some(Record::Time(1)));
        keeping.put(Record::Time(2));
        keeping.put(Record::Network(handoff::Ipv4Settings::Dynamic));
        keeping.put(Record::Time(3));
        assert_eq!(keeping.next(), None, "the first is not done");
        assert!(keeping.has(Kind::Time) && !keeping.has(Kind::Name));
        keeping.done();
        assert_eq!(
            keeping.next(),
            Some(Record::Network(handoff::Ipv4Settings::Dynamic))
        );
        keeping.done();
        assert_eq!(keeping.next(), Some(Record::Time(3)));
        keeping.done();
        assert_eq!(keeping.next(), None);
    }
}
