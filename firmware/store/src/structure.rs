//! What is known of a message without reading it.

use crate::error::StoreError;
use crate::view::{Message, View};
use mail::{MailboxId, Structure, Uid};
use std::sync::{Mutex, PoisonError};
use wire::limits::HEADER_SECTION_OCTETS_MAX;

impl View {
    /// What a message is made of. No body is read (B6), unless an earlier version of the firmware took the message in: then
    /// its header section is, or, of what nobody understands any more, all of it.
    ///
    /// # Errors
    /// Those of reading a body, in the second case.
    pub fn parsed_structure(&self, message: &Message) -> Result<Structure, StoreError> {
        // A whole message is in memory meanwhile.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let Some(mut structure) = Structure::decode(&self.structure(message)?) else {
            let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            let octets = self.body(message)?.read_to_vec()?;
            return Ok(Structure::parse(
                octets.get(message.prefix().len()..).unwrap_or_default(),
            ));
        };
        if structure.summary.is_none() {
            let mut header = Vec::new();
            let octets = header_octets(&structure);
            self.body(message)?
                .read_at(message.prefix().len() as u64, &mut header, octets)?;
            structure.complete(&header);
        }
        Ok(structure)
    }

    /// A message and its structure, for who lists many. `None` if there is no such message. One that is damaged, or was
    /// expunged meanwhile, has the structure of no text.
    pub fn listed(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<(Message, Structure)>, StoreError> {
        let Some(message) = self.message(mailbox, uid)? else {
            return Ok(None);
        };
        let structure = match self.parsed_structure(&message) {
            Err(StoreError::Damaged { .. } | StoreError::Gone) => Structure::parse(b""),
            structure => structure?,
        };
        Ok(Some((message, structure)))
    }
}

/// How much of a body is its header section, as far as it is read.
pub(crate) fn header_octets(structure: &Structure) -> usize {
    let octets = structure.root().body_start;
    usize::try_from(octets)
        .unwrap_or(usize::MAX)
        .min(HEADER_SECTION_OCTETS_MAX)
}
