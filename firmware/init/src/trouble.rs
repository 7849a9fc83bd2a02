//! What can be wrong, in words for a person: what it is, and what to do.

use std::io;

/// Something that the console page tells until it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No block device at all.
    NoDisk,
    /// Disks, but none that is ours or blank.
    ForeignDisk(String),
    /// The disk is smaller than the pristine file system.
    SmallDisk(String),
    /// A data file system that cannot be mounted. It is never overwritten.
    UnreadableData {
        /// Its device.
        device: String,
        /// What the kernel said.
        reason: String,
    },
    /// The data file system could not be made on a blank disk.
    Unwritable {
        /// Its device.
        device: String,
        /// What failed.
        reason: String,
    },
    /// The file system is usable and did not grow.
    NotGrown(String),
    /// No network card.
    NoCard,
    /// No link.
    NoCarrier,
    /// A link, and nobody gives an address.
    NoLease,
    /// A lease that cannot be right.
    BadLease(String),
    /// A mail port could not be opened.
    Port {
        /// Its number.
        port: u16,
        /// What the kernel said.
        reason: String,
    },
    /// maild ends over and over.
    MaildEnds(String),
    /// The stick with `postolka.toml` cannot be used.
    Stick(String),
}

impl Trouble {
    /// What is wrong, and what to do about it.
    pub(crate) fn lines(&self) -> [String; 2] {
        let (what, remedy) = match self {
            Self::NoDisk => (
                "No disk: there is nothing to keep mail on.".to_owned(),
                "Connect a disk or card of at least 128 MiB and start the box again.",
            ),
            Self::ForeignDisk(device) => (
                format!("No disk: {device} holds something that is not this box's."),
                "It was not touched. Connect a blank disk, or blank this one, and start again.",
            ),
            Self::SmallDisk(device) => (
                format!("No disk: {device} is too small."),
                "Connect a disk or card of at least 128 MiB and start the box again.",
            ),
            Self::UnreadableData { device, reason } => (
                format!("The mail on {device} cannot be used: {reason}."),
                "It was not touched. Keep the disk; restore it or a backup on another computer.",
            ),
            Self::Unwritable { device, reason } => (
                format!("{device} could not be prepared: {reason}."),
                "The disk or card may be broken or write-protected. Try another one.",
            ),
            Self::NotGrown(reason) => (
                format!("The file system could not grow to the disk's size: {reason}."),
                "Mail is served with the space there is. The next start tries again.",
            ),
            Self::NoCard => (
                "No network: there is no network card.".to_owned(),
                "Connect one. Nothing needs to be restarted.",
            ),
            Self::NoCarrier => (
                "No network: no cable is plugged in, or the other end is off.".to_owned(),
                "Connect the box to your router. Nothing needs to be restarted.",
            ),
            Self::NoLease => (
                "No network: nobody answers with an address (DHCP).".to_owned(),
                "Check that the router is on and gives out addresses. The box keeps asking.",
            ),
            Self::BadLease(reason) => (
                format!("No network: the router's answer makes no sense ({reason})."),
                "Check the DHCP settings of the router. The box keeps asking.",
            ),
            Self::Port { port, reason } => (
                format!("Port {port} cannot be opened: {reason}."),
                "Start the box again; if this stays, report it.",
            ),
            Self::MaildEnds(how) => (
                format!("The mail service does not stay up: it {how} again and again."),
                "It is started each time, after half a minute at most. The lines above say why.",
            ),
            Self::Stick(reason) => (
                format!("postolka.toml on the stick was not used: {reason}."),
                "Correct it and start the box again.",
            ),
        };
        [what, remedy.to_owned()]
    }
}

/// The kernel's own words, without Rust's "(os error 5)".
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_two_sentences_that_fit_a_line() {
        let word = || "vda1".to_owned();
        let all = [
            Trouble::NoDisk,
            Trouble::ForeignDisk(word()),
            Trouble::SmallDisk(word()),
            Trouble::UnreadableData {
                device: word(),
                reason: "Structure needs cleaning".to_owned(),
            },
            Trouble::Unwritable {
                device: word(),
                reason: "Input/output error".to_owned(),
            },
            Trouble::NotGrown("Input/output error".to_owned()),
            Trouble::NoCard,
            Trouble::NoCarrier,
            Trouble::NoLease,
            Trouble::BadLease("gateway".to_owned()),
            Trouble::Port {
                port: 993,
                reason: "Address already in use".to_owned(),
            },
            Trouble::MaildEnds("was ended by signal 11".to_owned()),
            Trouble::Stick("larger than 64 KiB".to_owned()),
        ];
        for trouble in all {
            for line in trouble.lines() {
                assert!(
                    line.len() <= 78 && line.is_ascii() && line.ends_with('.'),
                    "{line}"
                );
            }
        }
    }
}
