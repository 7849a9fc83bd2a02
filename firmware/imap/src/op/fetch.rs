//! FETCH.

use super::section::{BodySource, Place, cut, place, read_fields, write_name};
use super::{Change, Next, Outcome, Piece, SLICE_OCTETS, push, resolve};
use crate::command::{FetchItem, Partial, Section, SectionText, Set};
use crate::response::{Completion, Failure, write_flags, write_literal_head};
use crate::selected::Selected;
use crate::structure::{write_body, write_envelope};
use mail::{Flags, Structure, SystemFlags, Uid};
use std::collections::BTreeSet;
use store::{FlagChange, Message, StoreError, View};

/// How many messages get `\Seen` at once. All of a FETCH together would be marked although the connection
/// breaks after the first; one by one, each would wait for the disk.
const MARKED_AT_ONCE: usize = 16;
/// The most that is written of a message without its bodies. Only a client that asks for the same header
/// fields over and over gets here.
const MESSAGE_RESPONSE_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// A FETCH under way.
#[derive(Debug)]
pub(crate) struct Fetch {
    set: Set,
    items: Vec<FetchItem>,
    pub(crate) is_uid: bool,
    /// The messages, once they are known; those before `next` are done.
    uids: Option<Vec<Uid>>,
    next: usize,
    /// The messages before this one have `\Seen`, if the items set it.
    marked: usize,
    /// Of them those that got it by this FETCH: their flags are told.
    newly_seen: BTreeSet<Uid>,
    /// What was wrong with messages that were left out.
    failure: Option<Failure>,
}

impl Fetch {
    pub(crate) fn new(set: Set, mut items: Vec<FetchItem>, is_uid: bool) -> Fetch {
        // RFC 9051 §6.4.9: UID FETCH tells the UID, asked or not.
        if is_uid && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        Fetch {
            set,
            items,
            is_uid,
            uids: None,
            next: 0,
            marked: 0,
            newly_seen: BTreeSet::new(),
            failure: None,
        }
    }

    pub(super) fn run(
        &mut self,
        selected: &mut Selected,
        view: &View,
        outcome: Option<Outcome>,
        out: &mut Vec<Piece>,
    ) -> Result<Next, Failure> {
        if let Some(Outcome::Flags(stored)) = outcome {
            for (uid, _, modseq) in stored.changed {
                selected.own_change(uid, modseq);
                self.newly_seen.insert(uid);
            }
        }
        let uids = match self.uids.take() {
            Some(uids) => uids,
            None => resolve(&self.set, self.is_uid, selected)?,
        };
        let next = self.slice(&uids, selected, view, out);
        self.uids = Some(uids);
        next
    }

    fn slice(
        &mut self,
        uids: &[Uid],
        selected: &Selected,
        view: &View,
        out: &mut Vec<Piece>,
    ) -> Result<Next, Failure> {
        let sets_seen = !selected.is_read_only && self.items.iter().any(sets_seen);
        let mut octets = 0;
        while let Some(&uid) = uids.get(self.next) {
            if octets >= SLICE_OCTETS {
                return Ok(Next::Again);
            }
            if sets_seen && self.next == self.marked {
                let batch = &uids[self.next..uids.len().min(self.next + MARKED_AT_ONCE)];
                self.marked = self.next + batch.len();
                return Ok(Next::Change(Change::Flags(store::StoreFlags {
                    mailbox: selected.mailbox,
                    uids: batch.to_vec(),
                    change: FlagChange::Add(Flags::system(SystemFlags::SEEN)),
                    unchanged_since: None,
                })));
            }
            self.next += 1;
            match self.message(uid, selected, view) {
                Ok(pieces) => {
                    let has_body = pieces.iter().any(|piece| matches!(piece, Piece::Body(_)));
                    octets += pieces
                        .iter()
                        .map(|piece| match piece {
                            Piece::Octets(octets) => octets.len(),
                            Piece::Body(_) => 0,
                        })
                        .sum::<usize>();
                    out.extend(pieces);
                    // Readers of bodies are not collected.
                    if has_body {
                        octets = SLICE_OCTETS;
                    }
                }
                // A message that is gone or damaged does not keep the others back.
                Err(failure @ (Failure::Gone | Failure::Store(StoreError::Gone))) => {
                    // RFC 9051 §6.4.9: a UID that no message has is no error.
                    if !self.is_uid {
                        self.failure.get_or_insert(failure);
                    }
                }
                Err(failure @ Failure::Store(StoreError::Damaged { .. })) => {
                    failure.log();
                    self.failure = Some(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(Next::Done(Completion::ok("Fetched"))),
        }
    }

    /// The response for one message.
    fn message(&self, uid: Uid, selected: &Selected, view: &View) -> Result<Vec<Piece>, Failure> {
        let number = selected.number_of(uid).ok_or(Failure::Gone)?;
        let message = view.message(selected.mailbox, uid)?.ok_or(Failure::Gone)?;
        let mut response = Response {
            view,
            message,
            structure: None,
            pieces: Vec::new(),
            octets: format!("* {number} FETCH (").into_bytes(),
            octets_before: 0,
        };
        let mut is_first = true;
        let tells_flags = self.newly_seen.contains(&uid) && !self.items.contains(&FetchItem::Flags);
        let flags = tells_flags.then_some(&FetchItem::Flags);
        for item in self.items.iter().chain(flags) {
            if !is_first {
                response.octets.push(b' ');
            }
            is_first = false;
            response.item(item)?;
            if response.octets.len() + response.octets_before > MESSAGE_RESPONSE_OCTETS_MAX {
                return Err(Failure::TooMuch);
            }
        }
        response.octets.extend_from_slice(b")\r\n");
        push(response.octets, &mut response.pieces);
        Ok(response.pieces)
    }
}

/// RFC 9051 §6.4.5: what reads a body sets `\Seen`, unless it peeks.
fn sets_seen(item: &FetchItem) -> bool {
    match item {
        FetchItem::Rfc822 | FetchItem::Rfc822Text => true,
        FetchItem::Section { is_peek, .. } => !is_peek,
        FetchItem::Flags
        | FetchItem::Uid
        | FetchItem::InternalDate
        | FetchItem::Size
        | FetchItem::Envelope
        | FetchItem::Body
        | FetchItem::BodyStructure
        | FetchItem::Rfc822Header => false,
    }
}

/// The response for one message, as far as it is written.
struct Response<'a> {
    view: &'a View,
    message: Message,
    structure: Option<Structure>,
    pieces: Vec<Piece>,
    /// What is not in `pieces` yet.
    octets: Vec<u8>,
    /// Octets that are.
    octets_before: usize,
}

impl Response<'_> {
    fn item(&mut self, item: &FetchItem) -> Result<(), Failure> {
        match item {
            FetchItem::Flags => write_flags(&self.message.flags, &mut self.octets),
            FetchItem::Uid => self.text(&format!("UID {}", self.message.uid)),
            FetchItem::InternalDate => self.text(&format!("INTERNALDATE \"{}\"", self.message.internal_date)),
            FetchItem::Size => self.text(&format!("RFC822.SIZE {}", self.message.size_octets)),
            FetchItem::Envelope => {
                self.text("ENVELOPE ");
                let structure = self.structure()?;
                write_envelope(&structure.envelope, &mut self.octets);
                self.structure = Some(structure);
            }
            FetchItem::Body => self.body("BODY ", false)?,
            FetchItem::BodyStructure => self.body("BODYSTRUCTURE ", true)?,
            FetchItem::Rfc822 => self.named_section("RFC822 ", SectionText::All)?,
            FetchItem::Rfc822Header => self.named_section("RFC822.HEADER ", SectionText::Header)?,
            FetchItem::Rfc822Text => self.named_section("RFC822.TEXT ", SectionText::Text)?,
            FetchItem::Section { section, partial, .. } => {
                write_name(section, *partial, &mut self.octets);
                self.octets.push(b' ');
                self.section(section, *partial)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.octets.extend_from_slice(text.as_bytes());
    }

    fn body(&mut self, name: &str, has_extensions: bool) -> Result<(), Failure> {
        self.text(name);
        let structure = self.structure()?;
        write_body(&structure, has_extensions, &mut self.octets);
        self.structure = Some(structure);
        Ok(())
    }

    /// The structure, read at most once; whoever takes it gives it back.
    fn structure(&mut self) -> Result<Structure, Failure> {
        if let Some(structure) = self.structure.take() {
            return Ok(structure);
        }
        Ok(self.view.parsed_structure(&self.message)?)
    }

    fn named_section(&mut self, name: &str, text: SectionText) -> Result<(), Failure> {
        self.text(name);
        let part = Vec::new();
        self.section(&Section { part, text }, None)
    }

    fn section(&mut self, section: &Section, partial: Option<Partial>) -> Result<(), Failure> {
        let structure = self.structure()?;
        let place = place(section, &structure, self.message.prefix().len() as u64);
        self.structure = Some(structure);
        match place {
            Place::Nowhere => self.text("NIL"),
            Place::Range(range) => {
                let range = cut(range, partial);
                write_literal_head(range.end - range.start, &mut self.octets);
                if !range.is_empty() {
                    let reader = self.view.body(&self.message)?;
                    let octets = std::mem::take(&mut self.octets);
                    self.octets_before += octets.len();
                    self.pieces.push(Piece::Octets(octets));
                    self.pieces.push(Piece::Body(BodySource::new(reader, &range)));
                }
            }
            Place::Fields(range) => {
                let SectionText::HeaderFields { names, is_not } = &section.text else {
                    return Ok(());
                };
                let mut reader = self.view.body(&self.message)?;
                let fields = read_fields(&mut reader, &range, names, *is_not)?;
                let whole = 0..fields.len() as u64;
                let range = cut(whole, partial);
                write_literal_head(range.end - range.start, &mut self.octets);
                let index = |offset| usize::try_from(offset).expect("it lies in a slice");
                self.octets
                    .extend_from_slice(&fields[index(range.start)..index(range.end)]);
            }
        }
        Ok(())
    }
}
