#![doc = include_str!("../README.md")]
#![cfg_attr(target_os = "uefi", no_std, no_main)]

// What is pure is compiled for the tests on the host as well.
#[cfg(any(target_os = "uefi", test))]
mod line;
#[cfg(any(target_os = "uefi", test))]
mod options;
#[cfg(any(target_os = "uefi", test))]
mod trust;

#[cfg(target_os = "uefi")]
mod console;
#[cfg(target_os = "uefi")]
mod disk;
#[cfg(target_os = "uefi")]
mod initrd;
#[cfg(target_os = "uefi")]
mod kernel;
#[cfg(target_os = "uefi")]
mod machine;
#[cfg(target_os = "uefi")]
mod pages;
#[cfg(target_os = "uefi")]
mod power;
#[cfg(target_os = "uefi")]
mod slot;

/// The story: find the disk, let [`format::boot`] decide, and begin anew when nothing could be started.
#[cfg(target_os = "uefi")]
#[uefi::entry]
// The macro above keeps the two pointers that the firmware gives.
#[allow(unsafe_code)]
fn main() -> uefi::Status {
    power::limit_loading();
    if trust::ROOTS.is_empty() {
        console::say!("it was built without root keys, trusts nobody and starts nothing.");
    }
    match machine::Machine::new() {
        Ok(mut machine) => format::boot::boot(&mut machine),
        Err(why) => console::say!("{}", format::line::Words(why)),
    }
    console::say!(
        "Nothing on this disk can be started. The next attempt is in {} seconds.",
        power::RESTART_DELAY.as_secs()
    );
    power::restart_later()
}

/// It is a program for firmware; there is nothing to do for it elsewhere.
#[cfg(not(target_os = "uefi"))]
fn main() {}
