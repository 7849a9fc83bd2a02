//! A slot in memory: read once, and verified there.

use format::gpt::Extent;
use format::header::{HEADER_OCTETS, Part};
use format::{Fault, Header, Needs, Refusal, Roots};

use crate::disk::Disk;
use crate::pages::Pages;
use crate::trust::ROOTS;

/// A slot that was verified.
///
/// # Invariants
/// - `pages` holds the octets that were verified; nobody writes to them after.
pub(crate) struct Loaded {
    pub(crate) header: Header,
    pages: Pages,
}

/// Why a slot was not loaded.
pub(crate) enum NotLoaded {
    /// It is not what may be started.
    Refused(Refusal),
    /// The disk or the memory is at fault.
    Failed(Fault),
}

impl From<Refusal> for NotLoaded {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Loaded {
    /// Reads the slot at `extent` and verifies it.
    pub(crate) fn read(disk: &mut Disk, extent: &Extent, needs: &Needs) -> Result<Self, NotLoaded> {
        let mut octets = [0; HEADER_OCTETS];
        if extent.octets < HEADER_OCTETS as u64 || !disk.read(extent.start, &mut octets) {
            return Err(NotLoaded::Failed(Fault::Unreadable));
        }
        let header = Header::read(&octets, Roots(&ROOTS))?;
        header.admit(needs)?;
        let length = header.parts.slot_octets();
        if length as u64 > extent.octets {
            return Err(Refusal::Truncated.into());
        }
        let mut pages = Pages::for_octets(length).ok_or(NotLoaded::Failed(Fault::Load))?;
        // The header is not read again either. Parts are filled to whole pages, and so is their sum.
        let (first, rest) = pages.octets_mut().split_at_mut(HEADER_OCTETS);
        first.copy_from_slice(&octets);
        if !disk.read_pages(extent.start + HEADER_OCTETS as u64, rest) {
            return Err(NotLoaded::Failed(Fault::Unreadable));
        }
        header.check_parts(pages.octets())?;
        Ok(Self { header, pages })
    }

    /// One of its parts.
    pub(crate) fn part(&self, part: Part) -> &[u8] {
        &self.pages.octets()[self.header.parts.range(part)]
    }
}
