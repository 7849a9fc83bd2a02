//! Drivers over the kernel's own interfaces.

mod gpio_button;
mod led;
mod power_key;
mod rtc;
mod watchdog;

use std::fs;
use std::path::Path;

pub use gpio_button::GpioButton;
pub use led::{LedError, SysfsLed};
pub use power_key::PowerKey;
pub use rtc::Rtc;
pub use watchdog::Watchdog;

use crate::Board;

/// The board this program runs on, by the kernel's copy of the device tree.
pub fn board() -> Board {
    // Without a device tree (ACPI) there is no such file, and the board is unknown.
    let compatible = fs::read(Path::new("/sys/firmware/devicetree/base/compatible")).unwrap_or_default();
    Board::find(&compatible)
}
