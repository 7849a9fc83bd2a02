//! How the box was started.

use crate::codec::{DecodeError, Reader, Writer, ranged};

/// The highest number of a try. The loader gives up after three.
pub const ATTEMPT_MAX: u8 = 3;

/// One of the two places for a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootSlot {
    /// The first.
    A,
    /// The second.
    B,
}

/// How the box was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// The slot that runs. None if the kernel was started from elsewhere; nothing can be updated then.
    pub slot: Option<BootSlot>,
    /// Which try this is, from 1 to [`ATTEMPT_MAX`]; 0 if tries are not counted, as for a slot that is good.
    pub attempt: u8,
    /// Whether the version still has to prove itself: if it does not, the box goes back to the other slot.
    pub is_trial: bool,
    /// Whether it was the watchdog that started the box again: something had hung.
    pub was_watchdog_reset: bool,
}

impl Boot {
    /// Whether the parts go together: no try and no trial without a slot.
    pub const fn is_possible(&self) -> bool {
        self.attempt <= ATTEMPT_MAX && (self.slot.is_some() || (self.attempt == 0 && !self.is_trial))
    }
}

pub(crate) fn write(writer: &mut Writer, boot: Boot) {
    writer.u8(match boot.slot {
        None => 0,
        Some(BootSlot::A) => 1,
        Some(BootSlot::B) => 2,
    });
    writer.u8(boot.attempt);
    writer.u8(boot.is_trial.into());
    writer.u8(boot.was_watchdog_reset.into());
}

pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Boot, DecodeError> {
    let boot = Boot {
        slot: match reader.u8("slot")? {
            0 => None,
            1 => Some(BootSlot::A),
            2 => Some(BootSlot::B),
            _ => return Err(DecodeError::Field("slot")),
        },
        attempt: ranged(reader.u8("attempt")?, 0..=ATTEMPT_MAX, "attempt")?,
        is_trial: reader.flag("trial")?,
        was_watchdog_reset: reader.flag("watchdog")?,
    };
    boot.is_possible()
        .then_some(boot)
        .ok_or(DecodeError::Field("slot"))
}
