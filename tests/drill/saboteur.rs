//! A version of the box that does not come up, each time in another way. It is packed into a slot that is signed as a real
//! one, beside or in place of the real programs, so that everything below it is what people flash.
//!
//! The kernel's command line says how, by `saboteur=`:
//!
//! - `panic`: process 1 ends, and with it the kernel;
//! - `hang`: it does nothing, for ever, and nobody has opened the watchdog;
//! - `watchdog`: it opens the watchdog and then does nothing, so that the hardware resets the box;
//! - `mute`: as `/maild` it takes what init hands over and never says a word.
//!
//! Compiled by `src/stage/drill.rs`, for the box, with the standard library only.

use std::ffi::{CString, c_char, c_int, c_ulong, c_void};
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// `WDIOC_SETTIMEOUT` of linux/watchdog.h: _IOWR('W', 6, int).
const SET_TIMEOUT: c_int = 0xc004_5706_u32 as c_int;
const TIMEOUT_S: c_int = 3;

unsafe extern "C" {
    fn mount(source: *const c_char, target: *const c_char, kind: *const c_char, flags: c_ulong, data: *const c_void)
    -> c_int;
    fn ioctl(fd: c_int, request: c_int, argument: *mut c_int) -> c_int;
}

fn main() {
    if std::process::id() != 1 {
        // As /maild. Standard input is the control socket; it is read so that init never waits.
        let mut octets = [0; 4096];
        while std::io::stdin().read(&mut octets).is_ok_and(|length| length > 0) {}
        return;
    }
    mount_on("proc", "/proc");
    mount_on("devtmpfs", "/dev");
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let how = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("saboteur="))
        .unwrap_or_default();
    println!("SABOTEUR {how}");
    match how {
        "panic" => {}
        "watchdog" => {
            let watchdog = fs::OpenOptions::new().write(true).open("/dev/watchdog0");
            let watchdog = watchdog.expect("the machine has a watchdog");
            let mut seconds = TIMEOUT_S;
            // SAFETY: the descriptor is open, and the kernel reads and writes one int behind the pointer.
            let set = unsafe { ioctl(watchdog.as_raw_fd(), SET_TIMEOUT, &mut seconds) };
            println!("SABOTEUR watchdog set: {set}");
            hang();
        }
        _ => hang(),
    }
}

fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn mount_on(kind: &str, target: &str) {
    let (kind, target) = (CString::new(kind), CString::new(target));
    let (kind, target) = (kind.expect("it has no NUL"), target.expect("it has no NUL"));
    // SAFETY: all three are strings that end in NUL, and these file systems take no data.
    unsafe { mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
}
