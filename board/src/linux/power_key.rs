//! Power keys: every input device that has `KEY_POWER`.
//!
//! Source: Documentation/input/input.rst, include/uapi/linux/input.h.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::{Button, Gesture};

/// `EV_KEY` of linux/input-event-codes.h.
const EV_KEY: u16 = 1;
/// `KEY_POWER` of linux/input-event-codes.h.
const KEY_POWER: u16 = 116;
/// The values of a key that goes down and comes up; 2 is auto-repeat.
const PRESSED: i32 = 1;
const RELEASED: i32 = 0;
/// `O_NONBLOCK` of the generic Linux ABI (arm64, x86).
const O_NONBLOCK: i32 = 0o4000;

/// `struct input_event`: two words of time, type, code, value.
const TIME_OCTETS: usize = 2 * size_of::<usize>();
const EVENT_OCTETS: usize = TIME_OCTETS + 8;

/// An input device with a power key.
#[derive(Debug)]
pub struct PowerKey {
    events: File,
    path: PathBuf,
}

impl PowerKey {
    /// The input devices with a power key that are there now.
    pub fn find() -> Vec<PathBuf> {
        Self::find_in(Path::new("/sys/class/input"))
    }

    fn find_in(class: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(class) else {
            return Vec::new();
        };
        entries
            .filter_map(Result::ok)
            .filter(|entry| {
                let keys = fs::read_to_string(entry.path().join("device/capabilities/key"));
                keys.is_ok_and(|keys| has_key(&keys, KEY_POWER))
            })
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with("event"))
            .map(|name| Path::new("/dev/input").join(name))
            .collect()
    }

    /// Opens one of [`PowerKey::find`]'s devices. It does not block.
    pub fn open(path: &Path) -> io::Result<Self> {
        let events = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(path)?;
        Ok(Self {
            events,
            path: path.to_owned(),
        })
    }

    /// The device.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all waiting events and tells `button` of them; what was meant, if that is clear by now.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn read(&mut self, button: &mut Button, now_ms: u64) -> io::Result<Option<Gesture>> {
        let mut gesture = None;
        loop {
            // evdev gives whole events only.
            let mut octets = [0; 16 * EVENT_OCTETS];
            match self.events.read(&mut octets) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    let (events, _) = octets[..length].as_chunks::<EVENT_OCTETS>();
                    for event in events {
                        match change(event) {
                            Some(Change::Down) => button.press(now_ms),
                            Some(Change::Up) => gesture = button.release(now_ms).or(gesture),
                            None => {}
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(gesture),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for PowerKey {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

/// What one event says of the power key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Down,
    Up,
}

/// Repetitions of a key that is held, and other keys, say nothing.
fn change(event: &[u8]) -> Option<Change> {
    let (kind, code) = (EV_KEY.to_ne_bytes(), KEY_POWER.to_ne_bytes());
    let rest = event
        .get(TIME_OCTETS..)?
        .strip_prefix(&[kind, code].concat()[..])?;
    match i32::from_ne_bytes(rest.try_into().ok()?) {
        PRESSED => Some(Change::Down),
        RELEASED => Some(Change::Up),
        _ => None,
    }
}

/// Whether a capability bitmap of sysfs has a bit: words of the kernel's size in hexadecimal, the highest first.
fn has_key(bitmap: &str, key: u16) -> bool {
    let (word, bit) = (usize::from(key) / 64, key % 64);
    let word = bitmap.split_ascii_whitespace().rev().nth(word);
    word.and_then(|word| u64::from_str_radix(word, 16).ok())
        .is_some_and(|word| word >> bit & 1 == 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_key_is_found_in_the_kernels_bitmap() {
        // gpio-keys of QEMU virt: KEY_POWER only.
        assert!(has_key("10000000000000 0\n", KEY_POWER));
        // An ordinary keyboard.
        assert!(has_key(
            "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe",
            1
        ));
        assert!(!has_key("8000000000000 0\n", KEY_POWER));
        for bitmap in ["", "0", "x y", "10000000000000", "ffffffffffffffffff 0"] {
            assert!(!has_key(bitmap, KEY_POWER), "{bitmap}");
        }
    }

    #[test]
    fn only_devices_with_the_key_are_found() {
        let class = tempfile::tempdir().unwrap();
        for (name, keys) in [
            ("event0", "8000000000000 0"),
            ("event1", "10000000000000 0"),
            ("input1", "0"),
        ] {
            let folder = class.path().join(name).join("device/capabilities");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("key"), keys).unwrap();
        }
        fs::create_dir(class.path().join("mice")).unwrap();
        assert_eq!(PowerKey::find_in(class.path()), [Path::new("/dev/input/event1")]);
        assert_eq!(
            PowerKey::find_in(&class.path().join("absent")),
            Vec::<PathBuf>::new()
        );
    }

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut event = vec![7; TIME_OCTETS];
        event.extend(kind.to_ne_bytes());
        event.extend(code.to_ne_bytes());
        event.extend(value.to_ne_bytes());
        event
    }

    #[test]
    fn only_the_power_key_says_something() {
        assert_eq!(change(&event(EV_KEY, KEY_POWER, PRESSED)), Some(Change::Down));
        assert_eq!(change(&event(EV_KEY, KEY_POWER, RELEASED)), Some(Change::Up));
        assert_eq!(change(&event(EV_KEY, KEY_POWER, 2)), None);
        assert_eq!(change(&event(EV_KEY, 115, PRESSED)), None);
        assert_eq!(change(&event(0, 0, 0)), None);
        assert_eq!(change(&[]), None);
    }

    #[test]
    fn a_device_that_is_gone_is_an_error_and_not_a_press() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&event(EV_KEY, KEY_POWER, 0)).unwrap();
        let mut key = PowerKey::open(file.path()).unwrap();
        let mut button = Button::default();
        key.read(&mut button, 0).unwrap_err();
        assert_eq!(button, Button::default());
    }
}
