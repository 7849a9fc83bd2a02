//! What is in a file: a slot, or a disk with two of them. Reading it never fails: what is wrong is part of what is seen.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use fatfs::{FileSystem, FsOptions};
use format::bootstate::{COPY_OCTETS, Copy, Found};
use format::gpt::{Damage, Table};
use format::header::{HEADER_OCTETS, Part};
use format::layout::{BLOCK_OCTETS, BOOTSTATE, ESP, SLOT_A, place};
use format::{Header, Refusal, Roots, Slot, State};

use crate::esp;
use crate::source::Source;

/// What a file is.
pub(crate) enum Looked {
    Slot(Box<SlotLook>),
    Disk(Box<DiskLook>),
}

/// A slot.
#[derive(Debug)]
pub(crate) struct SlotLook {
    /// The header, if it is genuine.
    pub(crate) header: Header,
    /// Whether what lies behind it is what it says.
    pub(crate) parts: Result<(), Refusal>,
    pub(crate) command_line: String,
    /// What lies behind the end of the slot.
    pub(crate) rest_octets: u64,
}

/// A disk.
pub(crate) struct DiskLook {
    /// Whether firmware without GPT, and other systems, see that the disk is in use.
    pub(crate) mbr: Mbr,
    /// The table's copies: at the start and at the end.
    pub(crate) tables: [Result<Table, Damage>; 2],
    /// Whether the disk has all the blocks that its table has.
    pub(crate) has_all_blocks: bool,
    /// The loader's octets, or why there are none.
    pub(crate) loader: Result<Vec<u8>, &'static str>,
    /// The copies of the bootstate that are valid.
    pub(crate) copies: [Option<State>; 2],
    /// The newer one.
    pub(crate) state: Option<State>,
    pub(crate) slots: [Result<SlotLook, Refusal>; 2],
}

/// What the first sector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mbr {
    Protective,
    /// The ESP is in it too.
    Hybrid,
    Other,
}

impl DiskLook {
    /// The table: the first copy if that is whole.
    pub(crate) fn table(&self) -> Option<&Table> {
        self.tables.iter().find_map(|table| table.as_ref().ok())
    }
}

/// Looks at a file with the eyes of a box that trusts these roots.
pub(crate) fn look(source: &Source, roots: Roots<'_>) -> Result<Looked, Refusal> {
    let is_disk = [1, (source.octets / BLOCK_OCTETS).saturating_sub(1)]
        .into_iter()
        .any(|block| {
            source
                .array(block * BLOCK_OCTETS)
                .is_some_and(|magic| &magic == b"EFI PART")
        });
    // The header of a slot whose SHA-256 sums begin so would be a wonder; it is no reason to look no further.
    let begins_as_slot = source.array(0).is_some_and(|magic| &magic == b"postolka slot");
    if is_disk && !begins_as_slot {
        return Ok(Looked::Disk(Box::new(disk(source, roots))));
    }
    slot(source, 0, source.octets, roots).map(|slot| Looked::Slot(Box::new(slot)))
}

/// The slot that lies at `at` and may be `octets` long.
fn slot(source: &Source, at: u64, octets: u64, roots: Roots<'_>) -> Result<SlotLook, Refusal> {
    let octets = octets.min(source.octets.saturating_sub(at));
    if octets < HEADER_OCTETS as u64 {
        // What is too short for a header may still be seen to be something else.
        let begins = source.array(at).is_some_and(|magic| &magic == b"postolka slot");
        return Err(if begins {
            Refusal::Truncated
        } else {
            Refusal::NotASlot
        });
    }
    let octets_max = usize::try_from(octets.min(SLOT_A.octets)).unwrap_or(usize::MAX);
    let whole = source.piece(at, octets_max).ok_or(Refusal::Truncated)?;
    let (head, _) = whole.split_first_chunk().ok_or(Refusal::Truncated)?;
    let header = Header::read(head, roots)?;
    let line = whole.get(header.parts.range(Part::CommandLine));
    Ok(SlotLook {
        parts: header.check_parts(&whole),
        command_line: String::from_utf8_lossy(line.unwrap_or_default()).into_owned(),
        rest_octets: octets.saturating_sub(header.parts.slot_octets() as u64),
        header,
    })
}

fn disk(source: &Source, roots: Roots<'_>) -> DiskLook {
    let mut read = |at: u64, into: &mut [u8]| source.read(at, into);
    let primary = Table::read_copy(1, source.octets, &mut read);
    let end = source.octets / BLOCK_OCTETS;
    // An image that was flashed to a larger card and has not grown yet ends before the card does.
    let blocks = primary.as_ref().map_or(end, |table| table.disk_blocks.min(end));
    let backup = Table::read_copy(blocks.saturating_sub(1), source.octets, &mut read);
    let table = primary.as_ref().or(backup.as_ref()).ok();
    let find = |name| table.and_then(|table| table.find(name));

    let copies = Copy::ALL.map(|copy| {
        let at = find(BOOTSTATE.name)?.start + copy.at();
        source.array::<COPY_OCTETS>(at)
    });
    let found = Found::new(copies[0].as_ref(), copies[1].as_ref());
    DiskLook {
        mbr: mbr(source),
        has_all_blocks: table.is_some_and(|table| table.disk_blocks <= end),
        loader: find(ESP.name)
            .and_then(|extent| {
                source.piece(extent.start, usize::try_from(extent.octets.min(ESP.octets)).ok()?)
            })
            .ok_or("cannot be read")
            .and_then(loader),
        copies: copies.map(|copy| copy.as_ref().and_then(State::decode)),
        state: found.state,
        slots: Slot::ALL.map(|which| {
            let extent = find(place(which).name).ok_or(Refusal::Truncated)?;
            slot(source, extent.start, extent.octets, roots)
        }),
        tables: [primary, backup],
    }
}

fn mbr(source: &Source) -> Mbr {
    let sector = source.array::<512>(0).unwrap_or([0; 512]);
    let kind = |index: usize| sector[446 + 16 * index + 4];
    match (&sector[510..], [0, 1, 2, 3].map(kind)) {
        ([0x55, 0xaa], [0xee, 0, 0, 0]) => Mbr::Protective,
        ([0x55, 0xaa], [0xee, 0x0c, 0, 0]) => Mbr::Hybrid,
        _ => Mbr::Other,
    }
}

/// The loader on an ESP.
fn loader(octets: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    // The file system is ours, so its geometry is the one we make. With another, the library would be on its own.
    if !esp::has_our_geometry(&octets) {
        return Err("is no FAT16 as it was made");
    }
    let disk = Bounded {
        left: 2 * octets.len(),
        disk: Cursor::new(octets),
    };
    let system = FileSystem::new(disk, FsOptions::new()).map_err(|_| "is a damaged FAT16")?;
    let mut loader = Vec::new();
    system
        .root_dir()
        .open_file(esp::LOADER)
        .map_err(|_| "has no EFI/BOOT/BOOTAA64.EFI")?
        .read_to_end(&mut loader)
        .map_err(|_| "has a damaged EFI/BOOT/BOOTAA64.EFI")?;
    if loader.starts_with(b"MZ") {
        Ok(loader)
    } else {
        Err("has an EFI/BOOT/BOOTAA64.EFI that is no program")
    }
}

/// A disk that gives only so many octets: in a damaged FAT, chains of clusters lead in circles.
struct Bounded {
    disk: Cursor<Vec<u8>>,
    left: usize,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let octets = self.disk.read(into)?;
        self.left = self
            .left
            .checked_sub(octets.max(1))
            .ok_or(io::ErrorKind::InvalidData)?;
        Ok(octets)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.disk.seek(to)
    }
}

impl Write for Bounded {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
