//! Where maild puts a firmware update.

use std::io;
use std::os::fd::OwnedFd;

use handoff::UPDATE_OCTETS_MAX;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

/// A memory file for an update. Its size is fixed, so that nobody who holds it can make it take all memory.
pub(super) fn letterbox() -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = memfd_create("update", flags)?;
    ftruncate(&file, UPDATE_OCTETS_MAX.into())?;
    let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_letterbox_holds_the_largest_update_and_cannot_be_made_to_hold_more() {
        let letterbox = File::from(letterbox().unwrap());
        let last = u64::from(UPDATE_OCTETS_MAX) - 1;
        letterbox.write_all_at(b"x", last).unwrap();
        letterbox.write_at(b"x", last + 1).unwrap_err();
        letterbox.set_len(last + 2).unwrap_err();
        letterbox.set_len(0).unwrap_err();
        // As large as a slot, which is what it is for.
        assert_eq!(format::layout::SLOT_A.octets, u64::from(UPDATE_OCTETS_MAX));
    }
}
