//! Somebody in the sandbox of netd (D43), who takes orders and does nothing of what netd is for. No image holds this program.

#[path = "../sandbox.rs"]
mod sandbox;

use std::error::Error;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cage::hostile::{Orders, attempt};
use handoff::{Channel, FromNetd};

const LOOK_EVERY: Duration = Duration::from_millis(50);
const ALIVE_EVERY: Duration = Duration::from_secs(10);
/// Longer than init has patience.
const HANGS: Duration = Duration::from_mins(5);

fn main() -> Result<(), Box<dyn Error>> {
    let mut orders = Orders::open()?;
    sandbox::close()?;
    let control = Channel::inherited()?;
    let mut told = Instant::now();
    eprintln!("hostile: inside");
    loop {
        match orders.fresh().as_deref() {
            Some("hang") => sleep(HANGS),
            Some(name) => attempt(name),
            None => {}
        }
        if told.elapsed() >= ALIVE_EVERY {
            told = Instant::now();
            control.send(&FromNetd::Alive, &[])?;
        }
        sleep(LOOK_EVERY);
    }
}
