//! maild, taken over (D43): serves as ever, and tries what it is told to. Only in `maild-hostile`, which no image holds.

use cage::hostile::{Orders, attempt};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than init has patience.
const BLOCKED: Duration = Duration::from_mins(5);

/// The program, with somebody inside who takes orders.
pub fn main() -> ExitCode {
    let orders = Orders::open();
    crate::with(|runtime| match orders {
        Ok(orders) => {
            let runtime = runtime.clone();
            thread::spawn(move || obey(orders, &runtime));
        }
        Err(error) => eprintln!("hostile: there are no orders: {error}"),
    })
}

fn obey(mut orders: Orders, runtime: &Handle) {
    loop {
        match orders.fresh().as_deref() {
            Some("block") => block(runtime),
            Some(name) => attempt(name),
            None => {}
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Holds every worker of the executor: nothing goes on, and nothing has ended.
fn block(runtime: &Handle) {
    for _ in 0..2 * crate::limits::workers() {
        runtime.spawn(async { thread::sleep(BLOCKED) });
    }
}
