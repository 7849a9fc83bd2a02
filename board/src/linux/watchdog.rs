//! The hardware watchdog: it resets the computer unless it is fed in time
//! (Documentation/watchdog/watchdog-api.rst of the kernel).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Written before closing, it switches the watchdog off.
const MAGIC_CLOSE: &[u8] = b"V";
/// `WDIOF_CARDRESET` of linux/watchdog.h: the last reset was the watchdog's.
const CARD_RESET: i32 = 0x0020;
/// A watchdog of the kernel's own: it does not help against a kernel that hangs.
const SOFTWARE: &str = "Software Watchdog";

/// A watchdog that runs. Dropping it without [`Watchdog::stop`] leaves it running, and nobody feeds it then.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    /// What its driver calls it.
    pub identity: String,
    /// It bites so many seconds after it was fed last.
    pub timeout_s: u32,
    /// Whether it was what reset the computer last.
    pub was_reset: bool,
}

/// `struct watchdog_info` of linux/watchdog.h.
#[repr(C)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

impl Watchdog {
    /// Opens the first hardware watchdog, which starts it, and asks it for `timeout_s`; it may take another.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none; else what its driver says.
    pub fn open(timeout_s: u32) -> io::Result<Self> {
        Self::open_in(Path::new("/dev"), timeout_s)
    }

    fn open_in(folder: &Path, timeout_s: u32) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for path in devices(folder) {
            // Opening starts it: one that is not wanted is stopped again.
            match Self::start(&path, timeout_s) {
                Ok(watchdog) if watchdog.identity == SOFTWARE => {
                    // It may not let itself be stopped; a better one is looked for all the same.
                    let _ = watchdog.stop();
                }
                Ok(watchdog) => return Ok(watchdog),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn start(path: &Path, timeout_s: u32) -> io::Result<Self> {
        let device = OpenOptions::new().write(true).open(path)?;
        let identity = identity(&device)?;
        let was_reset = boot_status(&device).is_ok_and(|status| status & CARD_RESET != 0);
        let timeout_s = set_timeout(&device, timeout_s)?;
        let mut watchdog = Self {
            device,
            identity,
            timeout_s,
            was_reset,
        };
        watchdog.feed()?;
        Ok(watchdog)
    }

    /// Puts its time back to the start.
    ///
    /// # Errors
    /// What the driver says.
    pub fn feed(&mut self) -> io::Result<()> {
        self.device.write_all(b"\0")
    }

    /// Switches it off, as far as its driver allows that.
    ///
    /// # Errors
    /// What the driver says.
    pub fn stop(mut self) -> io::Result<()> {
        self.device.write_all(MAGIC_CLOSE)
    }
}

/// `watchdog0`, `watchdog1`, … in the order of their numbers. `watchdog` without one is the first of them again.
fn devices(folder: &Path) -> Vec<PathBuf> {
    let numbers = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_prefix("watchdog")?.parse::<u32>().ok()
    });
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers
        .iter()
        .map(|number| folder.join(format!("watchdog{number}")))
        .collect()
}

#[allow(unsafe_code)]
fn identity(device: &File) -> io::Result<String> {
    nix::ioctl_read!(get_support, b'W', 0, Info);
    let mut info = Info {
        options: 0,
        firmware_version: 0,
        identity: [0; 32],
    };
    // SAFETY: the descriptor is open for as long as `device` is borrowed, and the kernel writes one `watchdog_info`,
    // which `Info` is laid out as.
    unsafe { get_support(device.as_raw_fd(), &raw mut info) }?;
    let name = info
        .identity
        .split(|&octet| octet == 0)
        .next()
        .unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[allow(unsafe_code)]
fn boot_status(device: &File) -> nix::Result<i32> {
    nix::ioctl_read!(get_boot_status, b'W', 2, i32);
    let mut status = 0;
    // SAFETY: the descriptor is open for as long as `device` is borrowed, and the kernel writes one int.
    unsafe { get_boot_status(device.as_raw_fd(), &raw mut status) }?;
    Ok(status)
}

/// Gives the time it took.
#[allow(unsafe_code)]
fn set_timeout(device: &File, timeout_s: u32) -> io::Result<u32> {
    nix::ioctl_readwrite!(set_time, b'W', 6, i32);
    nix::ioctl_read!(get_time, b'W', 7, i32);
    let mut seconds = i32::try_from(timeout_s).unwrap_or(i32::MAX);
    // SAFETY: the descriptor is open for as long as `device` is borrowed, and the kernel reads and writes one int.
    if unsafe { set_time(device.as_raw_fd(), &raw mut seconds) }.is_err() {
        // Longer than it can wait (a Raspberry Pi's has 15 s), or not to be set: its own time then.
        // SAFETY: as above.
        unsafe { get_time(device.as_raw_fd(), &raw mut seconds) }?;
    }
    Ok(u32::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_tried_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "watchdog",
            "watchdog10",
            "watchdog0",
            "watchdog2",
            "watchdogs",
            "null",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<_> = devices(folder.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["watchdog0", "watchdog2", "watchdog10"]);
    }

    #[test]
    fn a_computer_without_one_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = Watchdog::open_in(folder.path(), 30).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        // What is no watchdog is no watchdog.
        fs::write(folder.path().join("watchdog0"), "").unwrap();
        Watchdog::open_in(folder.path(), 30).unwrap_err();
    }
}
