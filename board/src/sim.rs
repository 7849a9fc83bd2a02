//! Pins without hardware, for tests and for a board without a LED.

use core::cell::Cell;
use core::convert::Infallible;

use embedded_hal::digital::{ErrorType, InputPin, OutputPin};
use heapless::Vec;

/// Remembers the first `N` levels that were written to it.
#[derive(Debug, Default)]
pub struct RecordingPin<const N: usize> {
    levels: Vec<bool, N>,
}

impl<const N: usize> RecordingPin<N> {
    /// The levels, oldest first.
    pub fn levels(&self) -> &[bool] {
        &self.levels
    }

    fn record(&mut self, is_high: bool) {
        // Full: the first N are kept.
        let _ = self.levels.push(is_high);
    }
}

impl<const N: usize> ErrorType for RecordingPin<N> {
    type Error = Infallible;
}

impl<const N: usize> OutputPin for RecordingPin<N> {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.record(false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.record(true);
        Ok(())
    }
}

/// A line that somebody else pulls up and down: a reference to it is an input pin.
#[derive(Debug)]
pub struct InputLine {
    is_high: Cell<bool>,
}

impl InputLine {
    /// A line of this level.
    pub const fn new(is_high: bool) -> Self {
        Self {
            is_high: Cell::new(is_high),
        }
    }

    /// Its level.
    pub fn is_high(&self) -> bool {
        self.is_high.get()
    }

    /// Pulls it there.
    pub fn set(&self, is_high: bool) {
        self.is_high.set(is_high);
    }
}

impl ErrorType for &InputLine {
    type Error = Infallible;
}

impl InputPin for &InputLine {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(self.is_high.get())
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(!self.is_high.get())
    }
}
