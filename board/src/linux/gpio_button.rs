//! A button on a GPIO line, over the kernel's character device (Documentation/userspace-api/gpio/chardev.rst).

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use embedded_hal::digital::{self, ErrorKind, ErrorType, InputPin};
use gpiocdev::line::{Bias, EdgeDetection, Value};
use gpiocdev::{Chip, Request};

use crate::{Button, Change, Debounce, Gesture, Line};

/// Edges that are taken at once: more than a bouncing contact makes, and few enough that a line which never rests does
/// not keep the loop.
const EDGES_MAX: usize = 64;

/// A button that connects a line to ground.
#[derive(Debug)]
pub struct GpioButton(Debounce<LinePin>);

/// The line as an input pin. The kernel pulls it up and tells of its edges.
#[derive(Debug)]
struct LinePin(Request);

/// The kernel did not tell the level, or the edges.
#[derive(Debug)]
pub struct LineError(gpiocdev::Error);

impl GpioButton {
    /// Takes the line of a board, if its chip is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if no chip is called so; else what the kernel says: somebody else may have the line.
    pub fn open(line: Line) -> io::Result<Self> {
        let chips = gpiocdev::chip::chips().map_err(io::Error::other)?;
        let is_it = |chip: &Chip| chip.info().is_ok_and(|info| info.label == line.chip);
        let chip = chips
            .iter()
            .filter_map(|path| Chip::from_path(path).ok())
            .find(is_it)
            .ok_or(io::ErrorKind::NotFound)?;
        let request = Request::builder()
            .on_chip(chip.path())
            .with_consumer("postolka")
            .with_line(line.offset)
            .as_input()
            .with_bias(Bias::PullUp)
            .with_edge_detection(EdgeDetection::BothEdges)
            .request()
            .map_err(io::Error::other)?;
        Ok(Self(Debounce::new(LinePin(request))))
    }

    /// Takes all waiting edges, looks at the line and tells `button` of it; what was meant, if that is clear by now. To
    /// be called when the descriptor is ready, when [`GpioButton::deadline_ms`] says so, and once at the start.
    ///
    /// # Errors
    /// When the chip is gone.
    pub fn look(&mut self, button: &mut Button, now_ms: u64) -> Result<Option<Gesture>, LineError> {
        let has_edge = self.0.pin().take_edges()?;
        Ok(match self.0.look(has_edge, now_ms)? {
            Some(Change::Down { since_ms }) => {
                button.press(since_ms);
                None
            }
            Some(Change::Up { since_ms }) => button.release(since_ms),
            None => None,
        })
    }

    /// When [`GpioButton::look`] is due; never, while nothing moves.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.0.deadline_ms()
    }
}

impl AsFd for GpioButton {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.pin().0.as_fd()
    }
}

impl LinePin {
    /// Whether there were edges since this was asked last.
    fn take_edges(&self) -> Result<bool, LineError> {
        let mut has_edge = false;
        for _ in 0..EDGES_MAX {
            if !self.0.has_edge_event().map_err(LineError)? {
                break;
            }
            self.0.read_edge_event().map_err(LineError)?;
            has_edge = true;
        }
        Ok(has_edge)
    }
}

impl ErrorType for LinePin {
    type Error = LineError;
}

impl InputPin for LinePin {
    fn is_high(&mut self) -> Result<bool, LineError> {
        // The line was asked for as it is, so "active" is the higher voltage.
        let value = self.0.lone_value().map_err(LineError)?;
        Ok(value == Value::Active)
    }

    fn is_low(&mut self) -> Result<bool, LineError> {
        self.is_high().map(|is_high| !is_high)
    }
}

impl digital::Error for LineError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the line could not be read")
    }
}

impl std::error::Error for LineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_that_is_not_there_is_an_error() {
        let line = Line {
            chip: "no chip is called so",
            offset: 0,
        };
        // Where there are no chips at all, the library has a word of its own for it.
        assert!(GpioButton::open(line).is_err());
    }
}
