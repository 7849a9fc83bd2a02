//! The initial file system for the kernel: its EFI stub asks the firmware for a file of this device path, and gets it by
//! LoadFile2 (Linux, Documentation/arch/x86/boot.rst and drivers/firmware/efi/libstub; UEFI 2.10 §13.2).

use core::ffi::c_void;
use core::ptr::{self, from_ref};

use uefi::boot;
use uefi::proto::device_path::{DevicePath, FfiDevicePath};
use uefi::proto::media::load_file::LoadFile2;
use uefi::{Handle, Identify, Status};

/// The kernel's name for it, LINUX_EFI_INITRD_MEDIA_GUID (5568e427-68fc-4f3d-ac74-ca555231cc68), as a device path:
/// type media, subtype vendor, 20 octets; and the end.
static PATH: Path = Path([
    4, 3, 20, 0, //
    0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f, 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68, //
    0x7f, 0xff, 4, 0,
]);

#[repr(C, align(8))]
struct Path([u8; 24]);

/// EFI_LOAD_FILE2_PROTOCOL (UEFI 2.10 §13.2.1) with what it serves behind it, which nobody but [`load_file`] knows.
#[repr(C)]
pub(crate) struct Initrd<'a> {
    load_file: LoadFile,
    octets: &'a [u8],
}

type LoadFile = unsafe extern "efiapi" fn(
    this: *const Initrd<'_>,
    path: *const FfiDevicePath,
    is_boot_policy: bool,
    size: *mut usize,
    buffer: *mut u8,
) -> Status;

/// An initial file system that the firmware offers until this is dropped.
pub(crate) struct Published<'a> {
    handle: Handle,
    initrd: &'a Initrd<'a>,
}

impl<'a> Initrd<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self { load_file, octets }
    }

    /// Offers it. `None` if the firmware does not take it, or offers another one already: the kernel takes the first that
    /// it finds, and that one is nothing that was verified.
    #[allow(unsafe_code)]
    pub(crate) fn publish(&'a self) -> Option<Published<'a>> {
        let mut path = <&DevicePath>::try_from(&PATH.0[..]).ok()?;
        if boot::locate_device_path::<LoadFile2>(&mut path).is_ok() {
            return None;
        }
        // SAFETY: the path is a static; `self` is what LoadFile2's number promises, and is borrowed until the drop of
        // `Published` takes both back.
        unsafe {
            let handle = boot::install_protocol_interface(None, &DevicePath::GUID, path_pointer()).ok()?;
            if boot::install_protocol_interface(Some(handle), &LoadFile2::GUID, from_ref(self).cast())
                .is_err()
            {
                let _ = boot::uninstall_protocol_interface(handle, &DevicePath::GUID, path_pointer());
                return None;
            }
            Some(Published { handle, initrd: self })
        }
    }
}

impl Drop for Published<'_> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: both were installed with these very pointers, and who asked for the file has come back. What the firmware
        // does not take back is found by the next `publish`, which then refuses.
        unsafe {
            let _ = boot::uninstall_protocol_interface(
                self.handle,
                &LoadFile2::GUID,
                from_ref(self.initrd).cast(),
            );
            let _ = boot::uninstall_protocol_interface(self.handle, &DevicePath::GUID, path_pointer());
        }
    }
}

fn path_pointer() -> *const c_void {
    from_ref(&PATH).cast()
}

/// Gives the file, or its size to whoever has too little room for it.
///
/// # Safety
/// `this` is a published [`Initrd`]; `size` and `buffer` are null or valid as the standard has them.
#[allow(unsafe_code)]
unsafe extern "efiapi" fn load_file(
    this: *const Initrd<'_>,
    path: *const FfiDevicePath,
    is_boot_policy: bool,
    size: *mut usize,
    buffer: *mut u8,
) -> Status {
    if is_boot_policy {
        return Status::UNSUPPORTED;
    }
    if this.is_null() || path.is_null() || size.is_null() {
        return Status::INVALID_PARAMETER;
    }
    // SAFETY: none is null, and the caller keeps the contract above. The buffer is the caller's own, so that it does not
    // overlap the file, and has room for `size` octets.
    unsafe {
        let octets = (*this).octets;
        let room = size.replace(octets.len());
        if buffer.is_null() || room < octets.len() {
            return Status::BUFFER_TOO_SMALL;
        }
        ptr::copy_nonoverlapping(octets.as_ptr(), buffer, octets.len());
    }
    Status::SUCCESS
}
