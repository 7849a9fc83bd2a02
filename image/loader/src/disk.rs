//! The disk that the loader was started from, as a whole. No other disk is ever looked at.

use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, PAGE_SIZE, ScopedProtocol};
use uefi::proto::device_path::{DevicePath, DeviceSubType, DeviceType};
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::block::BlockIO;
use uefi::{Handle, proto};

use crate::pages::Pages;

/// Device paths have a few dozen octets.
const PATH_OCTETS_MAX: usize = 1024;
/// "End Entire Device Path" (UEFI 2.10 §10.3.1).
const PATH_END: [u8; 4] = [0x7f, 0xff, 4, 0];
/// What is read at once. Some firmware copies it in between.
const STEP_OCTETS: usize = 1 << 20;

/// An open disk.
pub(crate) struct Disk {
    io: ScopedProtocol<BlockIO>,
    media_id: u32,
    block_octets: usize,
    /// How long it is.
    pub(crate) octets: u64,
    /// A page to read into and write from.
    page: Pages,
}

impl Disk {
    /// Opens the disk that the loader's partition is on.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub(crate) fn of_this_loader() -> Result<Self, &'static str> {
        const NOT_GIVEN: &str = "the firmware does not give the disk that the loader comes from.";
        let path = partition().and_then(open::<DevicePath>).ok_or(NOT_GIVEN)?;
        let mut buffer = [0; PATH_OCTETS_MAX];
        let mut disk = without_partition(&path, &mut buffer)
            .ok_or("the loader does not come from a partition of a disk.")?;
        let handle = boot::locate_device_path::<BlockIO>(&mut disk)
            .ok()
            // What is left over of the path would mean that only something in front of the disk was found.
            .filter(|_| disk.node_iter().next().is_none())
            .ok_or(NOT_GIVEN)?;
        let io = open::<BlockIO>(handle).ok_or(NOT_GIVEN)?;
        Self::new(io)
    }

    fn new(io: ScopedProtocol<BlockIO>) -> Result<Self, &'static str> {
        let media = io.media();
        let media_id = media.media_id();
        let block_octets = usize::try_from(media.block_size()).unwrap_or(0);
        let is_usual = matches!(block_octets, 512 | 1024 | 2048 | PAGE_SIZE)
            && media.io_align() as usize <= PAGE_SIZE
            && !media.is_logical_partition();
        if !is_usual {
            return Err("the disk that the loader comes from is of a kind that it does not know.");
        }
        let octets = media
            .last_block()
            .saturating_add(1)
            .saturating_mul(block_octets as u64);
        Ok(Self {
            io,
            media_id,
            block_octets,
            octets,
            page: Pages::for_octets(PAGE_SIZE).ok_or("there is no memory.")?,
        })
    }

    /// Fills `into` with what lies on the disk from `at` on, in octets; whether it did. For what is small and lies anywhere.
    pub(crate) fn read(&mut self, mut at: u64, into: &mut [u8]) -> bool {
        let mut rest = into;
        while !rest.is_empty() {
            let start = at - at % self.block_octets as u64;
            // Less than a block, which is a page at most.
            let Ok(skipped) = usize::try_from(at - start) else {
                return false;
            };
            let read = rest.len().min(PAGE_SIZE - skipped);
            let Some(block) = self.block(start, (skipped + read) as u64) else {
                return false;
            };
            let octets = (skipped + read).next_multiple_of(self.block_octets);
            let page = &mut self.page.octets_mut()[..octets];
            if self.io.read_blocks(self.media_id, block, page).is_err() {
                return false;
            }
            let (now, later) = rest.split_at_mut(read);
            now.copy_from_slice(&page[skipped..skipped + read]);
            rest = later;
            at += read as u64;
        }
        true
    }

    /// The same for what is large, straight into its place, which starts at a page and has whole ones. It must start at
    /// a block on the disk, too.
    pub(crate) fn read_pages(&mut self, mut at: u64, into: &mut [u8]) -> bool {
        for step in into.chunks_mut(STEP_OCTETS) {
            let Some(block) = self.block(at, step.len() as u64) else {
                return false;
            };
            if self.io.read_blocks(self.media_id, block, step).is_err() {
                return false;
            }
            at += step.len() as u64;
        }
        true
    }

    /// Writes the block that starts at `at` and makes it durable; whether the disk says that it did. What `octets` leaves of
    /// the block becomes zero.
    pub(crate) fn write_block(&mut self, at: u64, octets: &[u8]) -> bool {
        let block_octets = self.block_octets;
        let Some(block) = self.block(at, block_octets as u64) else {
            return false;
        };
        let page = &mut self.page.octets_mut()[..block_octets];
        let Some((start, rest)) = page.split_at_mut_checked(octets.len()) else {
            return false;
        };
        start.copy_from_slice(octets);
        rest.fill(0);
        self.io.write_blocks(self.media_id, block, page).is_ok() && self.io.flush_blocks().is_ok()
    }

    /// The number of the block that starts at `at`, if one does and the disk has `octets` from there on.
    fn block(&self, at: u64, octets: u64) -> Option<u64> {
        let is_inside = at.checked_add(octets).is_some_and(|end| end <= self.octets);
        let block_octets = self.block_octets as u64;
        (is_inside && at.is_multiple_of(block_octets)).then(|| at / block_octets)
    }
}

/// The partition that the loader was read from.
fn partition() -> Option<Handle> {
    boot::open_protocol_exclusive::<LoadedImage>(boot::image_handle())
        .ok()?
        .device()
}

/// The path of the disk that a partition is on: the part in front of its last hard drive node.
fn without_partition<'a>(
    partition: &DevicePath,
    buffer: &'a mut [u8; PATH_OCTETS_MAX],
) -> Option<&'a DevicePath> {
    let mut length = 0;
    let mut disk = None;
    for node in partition.node_iter() {
        if node.full_type() == (DeviceType::MEDIA, DeviceSubType::MEDIA_HARD_DRIVE) {
            disk = Some(length);
        }
        length += usize::from(node.length());
    }
    let disk = partition.as_bytes().get(..disk?)?;
    buffer.get_mut(..disk.len())?.copy_from_slice(disk);
    buffer
        .get_mut(disk.len()..disk.len() + PATH_END.len())?
        .copy_from_slice(&PATH_END);
    <&DevicePath>::try_from(&buffer[..]).ok()
}

/// Opens a protocol beside whoever else has it open. To open a disk for oneself alone takes the partition that the loader
/// comes from away from the firmware.
#[allow(unsafe_code)]
fn open<P: proto::ProtocolPointer + ?Sized>(handle: Handle) -> Option<ScopedProtocol<P>> {
    let params = OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: None,
    };
    // SAFETY: the handle was just given by the firmware. A disk or partition goes only when its driver is stopped, which
    // nothing does while the loader runs: it gives control only to a kernel, which comes back before it owns the machine
    // or not at all.
    unsafe { boot::open_protocol::<P>(params, OpenProtocolAttributes::GetProtocol) }.ok()
}
