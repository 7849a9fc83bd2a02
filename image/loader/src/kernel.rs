//! The kernel: an EFI program, started from memory.

use uefi::boot::{self, LoadImageSource};
use uefi::proto::loaded_image::LoadedImage;
use uefi::{Handle, Status};

use crate::options::LoadOptions;
use crate::power;

/// Which step did not work, and what the firmware or the kernel said.
pub(crate) struct NotStarted {
    pub(crate) step: &'static str,
    pub(crate) status: Status,
}

/// Starts the kernel; comes back only if that did not work.
pub(crate) fn start(kernel: &[u8], options: &LoadOptions) -> NotStarted {
    // Without a path: the image lies on no device that the firmware could name.
    let source = LoadImageSource::FromBuffer {
        buffer: kernel,
        file_path: None,
    };
    let image = match boot::load_image(boot::image_handle(), source) {
        Ok(image) => image,
        Err(error) => {
            return NotStarted {
                step: "the firmware does not load its kernel",
                status: error.status(),
            };
        }
    };
    if let Err(error) = set_options(image, options) {
        let _ = boot::unload_image(image);
        return NotStarted {
            step: "its kernel takes no command line",
            status: error.status(),
        };
    }
    power::end_limit();
    let status = boot::start_image(image).map_or_else(|error| error.status(), |()| Status::SUCCESS);
    power::limit_loading();
    // An image that came back is the firmware's to unload (UEFI 2.10 §7.4.5).
    NotStarted {
        step: "its kernel came back",
        status,
    }
}

#[allow(unsafe_code)]
fn set_options(image: Handle, options: &LoadOptions) -> uefi::Result {
    let mut loaded = boot::open_protocol_exclusive::<LoadedImage>(image)?;
    let units = options.units();
    let octets = u32::try_from(size_of_val(units)).map_err(|_| Status::BAD_BUFFER_SIZE)?;
    // SAFETY: the options live until `start` comes back, and nobody asks the image for them after.
    unsafe { loaded.set_load_options(units.as_ptr().cast::<u8>(), octets) };
    Ok(())
}
