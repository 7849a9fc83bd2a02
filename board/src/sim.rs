//! A pin without hardware, for tests and for a board without a LED.

use core::convert::Infallible;

use embedded_hal::digital::{ErrorType, OutputPin};
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
