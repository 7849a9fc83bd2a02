//! What QEMU's `virt` has not: a LED (`uleds`) and a button on a line (`gpio-sim`), by the names in the firmware's table of
//! boards. They appear to /init as if they were plugged in.
//!
//! `l` tells what the LED has shown so far, `s` tells it for as long as the line is open, and `b 5000` holds the button for
//! that many milliseconds. Its contacts bounce.

use std::ffi::{CString, c_char, c_int, c_ulong, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const LED: &str = "postolka::status";
/// `struct uleds_user_dev` of linux/uleds.h: a name in 64 octets, and the highest brightness.
const LED_NAME_OCTETS: usize = 64;
const CHIP: &str = "postolka-button";
const CONFIG: &str = "/sys/kernel/config";
/// Contacts bounce so long, and change every millisecond meanwhile.
const BOUNCE_MS: u64 = 5;

/// What the LED has shown: milliseconds since it was made, and whether it was on.
static SHOWN: Mutex<Vec<(u128, bool)>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
}

/// The file that pulls the button's line, if it could be made.
pub struct Board(io::Result<String>);

impl Board {
    /// Makes both. /init has mounted the devices by now.
    pub fn make() -> Self {
        let began = Instant::now();
        match OpenOptions::new().read(true).write(true).open("/dev/uleds") {
            Ok(led) => drop(thread::spawn(move || record(led, began))),
            Err(error) => eprintln!("the drill has no LED: {error}"),
        }
        Self(make_button())
    }

    /// The answer to an order, if it is for the board.
    pub fn order(&self, order: &str, answers: &mut File) -> Option<String> {
        let (letter, word) = order.split_once(' ').unwrap_or((order, ""));
        Some(match (letter, &self.0) {
            ("l", _) => shown(0),
            ("s", _) => follow(answers),
            ("b", Ok(pull)) => press(Path::new(pull), word),
            ("b", Err(error)) => format!("no button: {error}\n"),
            _ => return None,
        })
    }
}

/// The LED: each read waits for the next brightness.
fn record(mut led: File, began: Instant) {
    let mut about = [0; LED_NAME_OCTETS + size_of::<c_int>()];
    about[..LED.len()].copy_from_slice(LED.as_bytes());
    about[LED_NAME_OCTETS..].copy_from_slice(&1_i32.to_ne_bytes());
    led.write_all(&about).expect("the kernel has uleds");
    let mut brightness = [0; size_of::<c_int>()];
    while led.read_exact(&mut brightness).is_ok() {
        let change = (began.elapsed().as_millis(), c_int::from_ne_bytes(brightness) > 0);
        SHOWN.lock().expect("no holder panics").push(change);
        CHANGED.notify_all();
    }
}

fn shown(from: usize) -> String {
    let shown = SHOWN.lock().expect("no holder panics");
    shown[from..]
        .iter()
        .map(|(ms, is_on)| format!("{ms} {}\n", u8::from(*is_on)))
        .collect()
}

/// For as long as somebody listens, which may be until the power goes.
fn follow(answers: &mut File) -> String {
    let mut told = 0;
    loop {
        let lines = shown(told);
        told += lines.lines().count();
        if answers.write_all(lines.as_bytes()).is_err() {
            return String::new();
        }
        let shown = SHOWN.lock().expect("no holder panics");
        drop(CHANGED.wait_while(shown, |shown| shown.len() <= told));
    }
}

/// A chip with one line (Documentation/admin-guide/gpio/gpio-sim.rst); gives the file that pulls it.
fn make_button() -> io::Result<String> {
    let (kind, target) = (c"configfs", CString::new(CONFIG).expect("it has no NUL"));
    // SAFETY: all three are strings that end in NUL, and this file system takes no data.
    if unsafe { mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (device, bank) = (
        format!("{CONFIG}/gpio-sim/postolka"),
        format!("{CONFIG}/gpio-sim/postolka/bank0"),
    );
    fs::create_dir(&device)?;
    fs::create_dir(&bank)?;
    fs::write(format!("{bank}/num_lines"), "1")?;
    fs::write(format!("{bank}/label"), CHIP)?;
    fs::write(format!("{device}/live"), "1")?;
    let name = fs::read_to_string(format!("{device}/dev_name"))?;
    let chip = fs::read_to_string(format!("{bank}/chip_name"))?;
    Ok(format!(
        "/sys/devices/platform/{}/{}/sim_gpio0/pull",
        name.trim(),
        chip.trim()
    ))
}

/// Connects the line to ground for so long, with contacts that bounce at both ends.
fn press(pull: &Path, ms: &str) -> String {
    let Ok(ms) = ms.parse() else {
        return "for how many milliseconds?\n".to_owned();
    };
    let bounce = |last: &str, other: &str| {
        for _ in 0..BOUNCE_MS / 2 {
            fs::write(pull, last)?;
            thread::sleep(Duration::from_millis(1));
            fs::write(pull, other)?;
            thread::sleep(Duration::from_millis(1));
        }
        fs::write(pull, last)
    };
    let pressed = bounce("pull-down", "pull-up").and_then(|()| {
        thread::sleep(Duration::from_millis(ms));
        bounce("pull-up", "pull-down")
    });
    match pressed {
        Ok(()) => format!("held for {ms} ms\n"),
        Err(error) => format!("{}: {error}\n", pull.display()),
    }
}
