//! Where boxes are made: as a process of this computer, or as the image in an emulated machine.

mod booted;
mod drill;
mod flashed;
mod host;
mod hostile;
mod lines;
mod qemu_run;

pub use booted::{Booted, BootedImage};
pub(crate) use drill::saboteur;
pub use flashed::Card;
pub use host::{HostProcess, Running, resident_octets};
pub use qemu_run::QemuRun;

/// The services that a box announced, as `smtp 127.0.0.1:40025` lines.
fn announced(text: &str) -> Vec<(crate::Service, std::net::SocketAddr)> {
    let lines = text.lines().map(str::trim);
    lines
        .filter_map(|line| {
            let (name, addr) = line.split_once(' ')?;
            let service = crate::Service::ALL
                .into_iter()
                .find(|service| service.name() == name)?;
            Some((service, addr.parse().ok()?))
        })
        .collect()
}

/// The name a box gives itself in its greeting (H7).
fn own_name(addr: std::net::SocketAddr) -> std::io::Result<String> {
    let smtp = crate::Smtp::connect(addr)?;
    let name = smtp
        .greeting
        .lines
        .first()
        .and_then(|line| line.split(' ').next())
        .unwrap_or_default()
        .to_owned();
    smtp.quit()?;
    Ok(name)
}
