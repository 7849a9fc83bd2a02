//! A LED of the kernel's LED class as an output pin.
//!
//! Source: Documentation/leds/leds-class.rst.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::Path;

use embedded_hal::digital::{self, ErrorKind, ErrorType, OutputPin};

/// A LED under `/sys/class/leds`.
#[derive(Debug)]
pub struct SysfsLed {
    brightness: File,
}

/// The kernel did not take a level.
#[derive(Debug)]
pub struct LedError(io::Error);

impl SysfsLed {
    /// Takes the LED called `name` over from the kernel's triggers (a Pi's "ACT" shows card access by default).
    ///
    /// # Errors
    /// When there is no such LED.
    pub fn open(name: &str) -> io::Result<Self> {
        Self::open_in(&Path::new("/sys/class/leds").join(name))
    }

    fn open_in(folder: &Path) -> io::Result<Self> {
        let brightness = OpenOptions::new().write(true).open(folder.join("brightness"))?;
        // Not created: sysfs has another error for that than for a file that is not there.
        match OpenOptions::new().write(true).open(folder.join("trigger")) {
            Ok(mut trigger) => trigger.write_all(b"none")?,
            // A kernel without triggers has no such file, and nothing that would interfere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self { brightness })
    }

    /// Any brightness above the LED's maximum is taken as the maximum; 1 would be a faint glow on a dimmable one.
    fn write(&mut self, brightness: &str) -> Result<(), LedError> {
        self.brightness.rewind().map_err(LedError)?;
        self.brightness.write_all(brightness.as_bytes()).map_err(LedError)
    }
}

impl ErrorType for SysfsLed {
    type Error = LedError;
}

impl OutputPin for SysfsLed {
    fn set_low(&mut self) -> Result<(), LedError> {
        self.write("0\n")
    }

    fn set_high(&mut self) -> Result<(), LedError> {
        self.write("255\n")
    }
}

impl digital::Error for LedError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl fmt::Display for LedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the LED could not be switched")
    }
}

impl std::error::Error for LedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_led_is_taken_from_its_trigger_and_switched() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        fs::write(folder.path().join("brightness"), "").unwrap();
        fs::write(folder.path().join("trigger"), "[mmc0] none").unwrap();
        let mut led = SysfsLed::open_in(folder.path()).unwrap();
        assert!(read("trigger").starts_with("none"));
        led.set_high().unwrap();
        assert_eq!(read("brightness"), "255\n");
        led.set_low().unwrap();
        assert!(read("brightness").starts_with("0\n"));
    }

    #[test]
    fn a_kernel_without_triggers_has_none_made_for_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("brightness"), "").unwrap();
        SysfsLed::open_in(folder.path()).unwrap();
        assert!(!folder.path().join("trigger").exists());
    }

    #[test]
    fn a_led_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = SysfsLed::open_in(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
