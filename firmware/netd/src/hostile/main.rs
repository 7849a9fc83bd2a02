//! Somebody in the sandbox of netd (D43), who takes orders and does nothing of what netd is for. No image holds this program.

#[path = "../sandbox.rs"]
mod sandbox;

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use cage::hostile::{Orders, attempt};

const LOOK_EVERY: Duration = Duration::from_millis(50);

fn main() -> Result<(), Box<dyn Error>> {
    let mut orders = Orders::open()?;
    sandbox::close()?;
    eprintln!("hostile: inside");
    loop {
        if let Some(name) = orders.fresh() {
            attempt(&name);
        }
        sleep(LOOK_EVERY);
    }
}
