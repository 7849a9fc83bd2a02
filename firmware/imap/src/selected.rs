//! What a client knows of the mailbox it has open.
//!
//! # Invariants
//! - A sequence number changes its meaning only by an EXPUNGE that was written to the client, and a new one
//!   comes only by an EXISTS (RFC 9051 §7.5.1).
//! - No EXPUNGE is written while FETCH, STORE or SEARCH with sequence numbers is under way, nor while no
//!   command is; messages that are gone by then keep their numbers until it may be.
//! - UIDs ascend with the sequence numbers.

use crate::command::UidRanges;
use crate::response::write_flags;
use mail::{Flags, MailboxId, ModSeq, SeqNum, Uid};
use std::collections::{BTreeMap, BTreeSet};
use store::{Entry, StoreError, Vanished, View};

/// The open mailbox, as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) mailbox: MailboxId,
    pub(crate) is_read_only: bool,
    /// The UIDs of the messages; the first has sequence number 1.
    uids: Vec<Uid>,
    /// The messages of them that are gone, without the client knowing.
    gone: BTreeSet<Uid>,
    /// All changes up to here are known to the client, or in `gone`.
    modseq: ModSeq,
    /// Flags that this session has set itself, each with the modseq it got: the client knows them.
    own: BTreeMap<Uid, ModSeq>,
}

/// What a mailbox has become since the client was told, as far as it is told now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// `EXPUNGE` responses in their order.
    expunged: Vec<SeqNum>,
    /// The number of messages, when it has grown.
    exists: Option<usize>,
    /// The flags of messages, by what their numbers are after the former.
    flags: Vec<(SeqNum, Uid, Flags)>,
}

impl Selected {
    /// A mailbox that was just opened with these messages.
    pub(crate) fn new(mailbox: MailboxId, is_read_only: bool, entries: &[Entry], modseq: ModSeq) -> Selected {
        Selected {
            mailbox,
            is_read_only,
            uids: entries.iter().map(|entry| entry.uid).collect(),
            gone: BTreeSet::new(),
            modseq,
            own: BTreeMap::new(),
        }
    }

    /// The UIDs by sequence number.
    pub(crate) fn uids(&self) -> &[Uid] {
        &self.uids
    }

    /// The sequence number of a message; `None` for one that the client does not know of.
    pub(crate) fn number_of(&self, uid: Uid) -> Option<SeqNum> {
        self.uids.binary_search(&uid).ok().and_then(number_at)
    }

    /// The UIDs that sequence numbers stand for, in ascending order; `None` when there is one that no message
    /// has (RFC 3501 §7.1: BAD).
    pub(crate) fn by_numbers(&self, set: &crate::command::Set) -> Option<Vec<Uid>> {
        let last = u32::try_from(self.uids.len()).unwrap_or(u32::MAX);
        let mut wanted = Wanted::new(self.uids.len());
        for (from, to) in set.ranges(last) {
            // `*` in an empty mailbox is 0, and no number.
            if from == 0 || to > last {
                return None;
            }
            wanted.add(from as usize - 1, to as usize);
        }
        Some(wanted.of(&self.uids))
    }

    /// The UIDs of a set of UIDs, in ascending order. Those that no message has are passed over (RFC 9051
    /// §6.4.9).
    pub(crate) fn by_uids(&self, set: &crate::command::Set) -> Vec<Uid> {
        let mut wanted = Wanted::new(self.uids.len());
        for (from, to) in set.ranges(self.last_uid()) {
            let start = self.uids.partition_point(|uid| uid.get() < from);
            let end = self.uids.partition_point(|uid| uid.get() <= to);
            wanted.add(start, end);
        }
        wanted.of(&self.uids)
    }

    /// The UIDs that sequence numbers stand for, as ranges; between those of one range, no other message of
    /// this view has one. `None` as in [`Selected::by_numbers`].
    pub(crate) fn ranges_by_numbers(&self, set: &crate::command::Set) -> Option<UidRanges> {
        let uid = |number: u32| {
            let place = usize::try_from(number).ok()?.checked_sub(1)?;
            self.uids.get(place).map(|uid| uid.get())
        };
        let last = u32::try_from(self.uids.len()).unwrap_or(u32::MAX);
        let ranges: Option<Vec<(u32, u32)>> = set
            .ranges(last)
            .map(|(from, to)| Some((uid(from)?, uid(to)?)))
            .collect();
        Some(UidRanges::new(ranges?.into_iter()))
    }

    /// The largest UID, which `*` stands for; 0 when there is no message.
    pub(crate) fn last_uid(&self) -> u32 {
        self.uids.last().map_or(0, |uid| uid.get())
    }

    /// This session gave messages new flags, and the client knows.
    pub(crate) fn own_change(&mut self, uid: Uid, modseq: ModSeq) {
        self.own.insert(uid, modseq);
    }

    /// Finds out what is new, and takes it in.
    pub(crate) fn sync(&mut self, view: &View, may_expunge: bool) -> Result<Changes, StoreError> {
        let now = view.status(self.mailbox)?.highest_modseq;
        let (changed, vanished) = if now > self.modseq {
            (
                view.changed_since(self.mailbox, self.modseq)?,
                self.vanished(view)?,
            )
        } else {
            (Vec::new(), Vec::new())
        };
        Ok(self.take_in(&changed, &vanished, now, may_expunge))
    }

    /// The UIDs that were expunged since this session looked last.
    fn vanished(&self, view: &View) -> Result<Vec<Uid>, StoreError> {
        if let Vanished::Uids(uids) = view.vanished_since(self.mailbox, self.modseq)? {
            return Ok(uids);
        }
        // It has slept so long that the store has forgotten: what it knows and is not there has vanished.
        let there: BTreeSet<Uid> = view
            .entries(self.mailbox)?
            .iter()
            .map(|entry| entry.uid)
            .collect();
        Ok(self
            .uids
            .iter()
            .filter(|uid| !there.contains(uid))
            .copied()
            .collect())
    }

    fn take_in(&mut self, changed: &[Entry], vanished: &[Uid], now: ModSeq, may_expunge: bool) -> Changes {
        let mut told = Changes::default();
        self.gone
            .extend(vanished.iter().filter(|uid| self.uids.binary_search(uid).is_ok()));
        if may_expunge && !self.gone.is_empty() {
            told.expunged = self.forget_gone();
        }
        let before = self.uids.len();
        let last = self.last_uid();
        self.uids.extend(
            changed
                .iter()
                .map(|entry| entry.uid)
                .filter(|uid| uid.get() > last),
        );
        told.exists = (self.uids.len() > before).then_some(self.uids.len());
        for entry in changed {
            let is_own = self
                .own
                .get(&entry.uid)
                .is_some_and(|modseq| *modseq == entry.modseq);
            // A client asks for the flags of new messages; it cannot know those of the others.
            if let Some(number) = self.number_of(entry.uid)
                && !is_own
                && entry.uid.get() <= last
            {
                told.flags.push((number, entry.uid, entry.flags.clone()));
            }
        }
        self.own.clear();
        self.modseq = self.modseq.max(now);
        told
    }

    /// The numbers that EXPUNGE tells, lowest first: each is the number at its turn.
    fn forget_gone(&mut self) -> Vec<SeqNum> {
        let gone = std::mem::take(&mut self.gone);
        let mut numbers = Vec::with_capacity(gone.len());
        let mut place = 0;
        self.uids.retain(|uid| {
            let is_gone = gone.contains(uid);
            if is_gone {
                numbers.extend(number_at(place));
            } else {
                place += 1;
            }
            !is_gone
        });
        numbers
    }
}

impl Changes {
    /// The untagged responses.
    pub(crate) fn write(&self, has_uid: bool, out: &mut Vec<u8>) {
        for number in &self.expunged {
            out.extend_from_slice(format!("* {number} EXPUNGE\r\n").as_bytes());
        }
        if let Some(exists) = self.exists {
            out.extend_from_slice(format!("* {exists} EXISTS\r\n").as_bytes());
        }
        for (number, uid, flags) in &self.flags {
            write_flags_response(*number, has_uid.then_some(*uid), flags, out);
        }
    }
}

/// `* 7 FETCH (UID 12 FLAGS (\Seen))`
pub(crate) fn write_flags_response(number: SeqNum, uid: Option<Uid>, flags: &Flags, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("* {number} FETCH (").as_bytes());
    if let Some(uid) = uid {
        out.extend_from_slice(format!("UID {uid} ").as_bytes());
    }
    write_flags(flags, out);
    out.extend_from_slice(b")\r\n");
}

fn number_at(place: usize) -> Option<SeqNum> {
    SeqNum::new(u32::try_from(place + 1).ok()?)
}

/// Places of a list that ranges cover. A set can name each place many times; this takes one pass over the
/// set and one over the list (AI6).
struct Wanted {
    /// +1 where a range starts, -1 where one has ended.
    edges: Vec<i32>,
}

impl Wanted {
    fn new(places: usize) -> Wanted {
        Wanted {
            edges: vec![0; places + 1],
        }
    }

    fn add(&mut self, start: usize, end: usize) {
        if start < end {
            self.edges[start] += 1;
            self.edges[end] -= 1;
        }
    }

    fn of(&self, uids: &[Uid]) -> Vec<Uid> {
        let mut depth = 0;
        uids.iter()
            .zip(&self.edges)
            .filter_map(|(uid, edge)| {
                depth += edge;
                (depth > 0).then_some(*uid)
            })
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::command::{Number, Set};
    use proptest::prelude::*;

    fn uid(number: u32) -> Uid {
        Uid::new(number).unwrap()
    }

    fn entry(number: u32, modseq: u64) -> Entry {
        Entry {
            uid: uid(number),
            flags: Flags::default(),
            modseq: ModSeq(modseq),
        }
    }

    fn selected(uids: &[u32]) -> Selected {
        let entries: Vec<Entry> = uids.iter().map(|uid| entry(*uid, 1)).collect();
        Selected::new(MailboxId(1), false, &entries, ModSeq(1))
    }

    fn written(changes: &Changes) -> String {
        let mut out = Vec::new();
        changes.write(false, &mut out);
        String::from_utf8(out).unwrap().replace("\r\n", "\n")
    }

    /// RFC 9051 §7.5.1
    #[test]
    fn an_expunged_message_keeps_its_number_until_the_client_was_told() {
        let mut selected = selected(&[3, 5, 8, 9]);
        let changes = selected.take_in(&[], &[uid(5), uid(8)], ModSeq(2), false);
        assert_eq!(written(&changes), "");
        assert_eq!(selected.number_of(uid(9)), SeqNum::new(4));
        let changes = selected.take_in(&[entry(12, 3)], &[], ModSeq(3), true);
        assert_eq!(written(&changes), "* 2 EXPUNGE\n* 2 EXPUNGE\n* 3 EXISTS\n");
        assert_eq!(selected.uids(), [uid(3), uid(9), uid(12)]);
    }

    #[test]
    fn a_change_of_ones_own_is_not_told_again_unless_somebody_else_was_there() {
        let mut selected = selected(&[3, 5]);
        selected.own_change(uid(3), ModSeq(4));
        selected.own_change(uid(5), ModSeq(4));
        let changes = selected.take_in(&[entry(3, 4), entry(5, 6)], &[], ModSeq(6), true);
        assert_eq!(written(&changes), "* 2 FETCH (FLAGS ())\n");
    }

    /// AI6
    #[test]
    fn ai6_sets_at_their_edges() {
        let selected = selected(&[3, 5, 8]);
        let set = |from, to| Set(vec![(from, to)]);
        let uids = |set: &Set| {
            selected
                .by_uids(set)
                .iter()
                .map(|uid| uid.get())
                .collect::<Vec<_>>()
        };
        assert_eq!(uids(&set(Number::Last, Number::Value(u32::MAX))), [8]);
        assert_eq!(uids(&set(Number::Value(9), Number::Last)), [8]);
        assert_eq!(uids(&set(Number::Value(4), Number::Value(5))), [5]);
        assert_eq!(
            selected.by_numbers(&set(Number::Last, Number::Value(u32::MAX))),
            None
        );
        assert_eq!(
            selected.by_numbers(&set(Number::Value(4), Number::Value(4))),
            None
        );
        let many = Set(vec![(Number::Value(1), Number::Last); 30_000]);
        assert_eq!(selected.by_numbers(&many).unwrap().len(), 3);
        let empty = Selected::new(MailboxId(1), false, &[], ModSeq(1));
        assert_eq!(empty.by_numbers(&set(Number::Value(1), Number::Last)), None);
        assert_eq!(empty.by_uids(&set(Number::Value(1), Number::Last)), []);
    }

    /// A mailbox as the store has it.
    #[derive(Default)]
    struct Model {
        messages: BTreeMap<u32, (u8, u64)>,
        vanished: Vec<(u32, u64)>,
        modseq: u64,
        uid_next: u32,
    }

    /// A client that knows nothing but what it was told.
    #[derive(Default)]
    struct Client {
        /// By sequence number: the flags, as far as they were told.
        messages: Vec<Option<String>>,
    }

    impl Client {
        fn hear(&mut self, said: &str) {
            for line in said.lines() {
                let words: Vec<&str> = line.splitn(4, ' ').collect();
                let number: usize = words[1].parse().unwrap();
                match words[2] {
                    "EXPUNGE" => drop(self.messages.remove(number - 1)),
                    "EXISTS" => {
                        assert!(number >= self.messages.len());
                        self.messages.resize(number, None);
                    }
                    "FETCH" => self.messages[number - 1] = Some(words[3].to_owned()),
                    other => panic!("{other}"),
                }
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Deliver,
        Flag(usize, u8),
        /// The session itself changes flags, and the client is told by the command's own responses.
        OwnFlag(usize, u8),
        Expunge(usize),
        Sync(bool),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Deliver),
            (0..9_usize, 0..32_u8).prop_map(|(place, flags)| Event::Flag(place, flags)),
            (0..9_usize, 0..32_u8).prop_map(|(place, flags)| Event::OwnFlag(place, flags)),
            (0..9_usize).prop_map(Event::Expunge),
            any::<bool>().prop_map(Event::Sync),
        ]
    }

    fn flags(bits: u8) -> Flags {
        Flags::system(mail::SystemFlags(bits))
    }

    impl Model {
        fn uid_at(&self, place: usize) -> Option<u32> {
            let count = self.messages.len();
            (count > 0).then(|| *self.messages.keys().nth(place % count).unwrap())
        }

        fn sync(&self, selected: &mut Selected, may_expunge: bool) -> Changes {
            let since = selected.modseq.0;
            let changed: Vec<Entry> = self
                .messages
                .iter()
                .filter(|(_, (_, modseq))| *modseq > since)
                .map(|(number, (bits, modseq))| Entry {
                    flags: flags(*bits),
                    ..entry(*number, *modseq)
                })
                .collect();
            let vanished = self.vanished.iter().filter(|(_, modseq)| *modseq > since);
            let vanished: Vec<Uid> = vanished.map(|(number, _)| uid(*number)).collect();
            selected.take_in(&changed, &vanished, ModSeq(self.modseq), may_expunge)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// A client that replays what it was told has the view that the store has.
        #[test]
        fn a_client_that_listens_sees_what_is_there(events in prop::collection::vec(event(), 1..60)) {
            let mut model = Model { modseq: 1, uid_next: 1, ..Model::default() };
            let mut selected = selected(&[]);
            let mut client = Client::default();
            for event in events {
                match event {
                    Event::Deliver => {
                        model.modseq += 1;
                        model.messages.insert(model.uid_next, (0, model.modseq));
                        model.uid_next += 1;
                    }
                    Event::Flag(place, bits) => {
                        if let Some(number) = model.uid_at(place) {
                            model.modseq += 1;
                            model.messages.insert(number, (bits, model.modseq));
                        }
                    }
                    Event::OwnFlag(place, bits) => {
                        // A session can only name what its client knows.
                        if let Some(number) = model.uid_at(place)
                            && let Some(place) = selected.number_of(uid(number))
                        {
                            model.modseq += 1;
                            model.messages.insert(number, (bits, model.modseq));
                            selected.own_change(uid(number), ModSeq(model.modseq));
                            client.hear(&format!("* {place} FETCH (FLAGS ({}))", flags(bits)));
                            let said = written(&model.sync(&mut selected, false));
                            client.hear(&said);
                        }
                    }
                    Event::Expunge(place) => {
                        if let Some(number) = model.uid_at(place) {
                            model.modseq += 1;
                            model.messages.remove(&number);
                            model.vanished.push((number, model.modseq));
                        }
                    }
                    Event::Sync(may_expunge) => {
                        let said = written(&model.sync(&mut selected, may_expunge));
                        prop_assert!(may_expunge || !said.contains("EXPUNGE"));
                        client.hear(&said);
                    }
                }
                prop_assert_eq!(client.messages.len(), selected.uids().len());
            }
            let said = written(&model.sync(&mut selected, true));
            client.hear(&said);
            let uids: Vec<u32> = selected.uids().iter().map(|uid| uid.get()).collect();
            prop_assert_eq!(&uids, &model.messages.keys().copied().collect::<Vec<_>>());
            for (known, (bits, _)) in client.messages.iter().zip(model.messages.values()) {
                // A message whose flags were never told is one that came without any change since.
                if let Some(known) = known {
                    prop_assert_eq!(known, &format!("(FLAGS ({}))", flags(*bits)));
                }
            }
        }
    }
}
