//! What is said goes to the firmware's console, line by line, whatever that is: a serial line or a screen.

use core::fmt::{Arguments, Write};
use core::panic::PanicInfo;

use format::line::LOADER;

use crate::power;

/// Says a line, as `println!` would.
macro_rules! say {
    ($($text:tt)*) => { $crate::console::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Says it with who says it in front.
pub(crate) fn line(text: Arguments<'_>) {
    uefi::system::with_stdout(|console| {
        // A console that does not work is no reason not to start.
        let _ = writeln!(console, "Postolka loader {LOADER}: {text}");
    });
}

/// A fault of the loader's own. The box begins anew, as it does when nothing can be started. Where it was is not said: what
/// that takes is an eighth of the loader.
#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    say!(
        "it stopped for a fault of its own. The next attempt is in {} seconds.",
        power::RESTART_DELAY.as_secs()
    );
    power::restart_later()
}
