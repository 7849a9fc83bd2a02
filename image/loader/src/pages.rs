//! Memory of the firmware, in pages of 4 KiB.
//!
//! Everything that a disk reads into or writes from lies in such: U-Boot's BlockIO gives other buffers back unread, and
//! says that it went well.

use core::ptr::NonNull;
use core::slice;

use uefi::boot::{self, AllocateType, MemoryType, PAGE_SIZE};

/// Pages that are given back when this is dropped.
pub(crate) struct Pages {
    start: NonNull<u8>,
    count: usize,
}

impl Pages {
    /// Pages for this many octets, all of them zero. `None` if the firmware has no such memory.
    #[allow(unsafe_code)]
    pub(crate) fn for_octets(octets: usize) -> Option<Self> {
        let count = octets.div_ceil(PAGE_SIZE);
        let start = boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_DATA, count).ok()?;
        // SAFETY: the firmware just gave these pages to nobody but us, and their whole length is written.
        unsafe { start.write_bytes(0, count * PAGE_SIZE) };
        Some(Self { start, count })
    }

    #[allow(unsafe_code)]
    pub(crate) fn octets(&self) -> &[u8] {
        // SAFETY: the pages are ours until the drop, were filled with zeros when they came, and `self` is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.count * PAGE_SIZE) }
    }

    #[allow(unsafe_code)]
    pub(crate) fn octets_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed by nobody else.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.count * PAGE_SIZE) }
    }
}

impl Drop for Pages {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: they came from `allocate_pages` with this count, and every slice of them has ended with `self`. Should
        // the firmware not take them back, they are lost until the next start, which is soon.
        let _ = unsafe { boot::free_pages(self.start, self.count) };
    }
}
