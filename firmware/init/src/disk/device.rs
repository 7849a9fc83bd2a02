//! What the kernel's block layer is asked, beyond reading and writing.

use std::ffi::{c_char, c_int, c_longlong, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;

// The requests of linux/fs.h and linux/blkpg.h. All are _IO(0x12, …), also those that read an argument: they are older
// than the macros that say so.
nix::ioctl_none_bad!(blk_reread_partitions, nix::request_code_none!(0x12, 95));
nix::ioctl_none_bad!(blk_flush_buffers, nix::request_code_none!(0x12, 97));
nix::ioctl_write_ptr_bad!(blk_partition, nix::request_code_none!(0x12, 105), Change);
nix::ioctl_write_ptr_bad!(blk_discard, nix::request_code_none!(0x12, 119), [u64; 2]);
nix::ioctl_write_ptr_bad!(blk_zero_out, nix::request_code_none!(0x12, 127), [u64; 2]);

/// `BLKPG_RESIZE_PARTITION`.
const RESIZE: c_int = 3;

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
pub(crate) struct Change {
    operation: c_int,
    flags: c_int,
    length: c_int,
    partition: *const c_void,
}

/// `struct blkpg_partition`.
#[repr(C)]
struct Partition {
    start: c_longlong,
    length: c_longlong,
    number: c_int,
    names: [c_char; 128],
}

/// `BLKZEROOUT`: zeros from `start` up to `end`. They are written, if the device has no quicker way that keeps its room.
#[allow(unsafe_code)]
pub(crate) fn zero_out(device: &File, start: u64, end: u64) -> nix::Result<()> {
    let range = [start, end.saturating_sub(start)];
    // SAFETY: the descriptor is open for as long as `device` is borrowed, the request reads two u64 behind the
    // pointer, and `range` lives until the call returns.
    unsafe { blk_zero_out(device.as_raw_fd(), &raw const range) }.map(drop)
}

/// `BLKDISCARD`: nothing from `start` up to `end` is needed any more.
#[allow(unsafe_code)]
pub(crate) fn discard(device: &File, start: u64, end: u64) -> nix::Result<()> {
    let range = [start, end.saturating_sub(start)];
    // SAFETY: as in `zero_out`.
    unsafe { blk_discard(device.as_raw_fd(), &raw const range) }.map(drop)
}

/// `BLKFLSBUF`: forgets what the kernel has in memory of the device, so that the next reading is from the disk itself.
#[allow(unsafe_code)]
pub(crate) fn forget_cached(device: &File) -> nix::Result<()> {
    // SAFETY: the descriptor is open for as long as `device` is borrowed, and the request has no argument.
    unsafe { blk_flush_buffers(device.as_raw_fd()) }.map(drop)
}

/// `BLKRRPART`: has the kernel read the partition table again. Fails while a partition is in use.
#[allow(unsafe_code)]
pub(crate) fn reread_partitions(disk: &File) -> nix::Result<()> {
    // SAFETY: as in `forget_cached`.
    unsafe { blk_reread_partitions(disk.as_raw_fd()) }.map(drop)
}

/// `BLKPG_RESIZE_PARTITION`: tells the kernel the new length of a partition, also of one that is in use.
#[allow(unsafe_code)]
pub(crate) fn resize_partition(disk: &File, number: u32, start: u64, octets: u64) -> nix::Result<()> {
    let wide = |value: u64| c_longlong::try_from(value).map_err(|_| nix::errno::Errno::EOVERFLOW);
    let partition = Partition {
        start: wide(start)?,
        length: wide(octets)?,
        number: c_int::try_from(number).map_err(|_| nix::errno::Errno::EOVERFLOW)?,
        names: [0; 128],
    };
    let change = Change {
        operation: RESIZE,
        flags: 0,
        length: c_int::try_from(size_of::<Partition>()).map_err(|_| nix::errno::Errno::EOVERFLOW)?,
        partition: (&raw const partition).cast(),
    };
    // SAFETY: the descriptor is open for as long as `disk` is borrowed; the request reads a `struct blkpg_ioctl_arg`
    // behind the pointer and a `struct blkpg_partition` behind the one in it, and both live until the call returns.
    unsafe { blk_partition(disk.as_raw_fd(), &raw const change) }.map(drop)
}
