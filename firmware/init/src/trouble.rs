//! What can be wrong, in words for a person: what it is, and what to do.

use std::io;
use std::net::Ipv4Addr;

use format::Slot;

use crate::network;
use crate::settings::{Fault, Kind};

/// Something that the console page tells until it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No block device at all.
    NoDisk,
    /// The disk that the loader started the box from does not appear.
    NoBootDisk,
    /// Several disks bear the number of the one the box was started from.
    TwinDisks(Vec<String>),
    /// The boot disk's partition table could not be written or taken.
    Table(String),
    /// The boot disk has no data partition.
    NoData(String),
    /// The bootstate could not be read or written.
    Bootstate(String),
    /// The slot that does not run is no good and could not be repaired.
    OtherSlot {
        /// Which.
        slot: Slot,
        /// What is wrong with it.
        fault: format::Fault,
        /// Why it stays so.
        reason: String,
    },
    /// The slot that runs has been damaged since.
    OwnSlot {
        /// Which.
        slot: Slot,
        /// What is wrong with it.
        fault: format::Fault,
    },
    /// This version is no good, and there is no other to go back to.
    NoWayBack(String),
    /// This version is good, and maild does not find itself well.
    SelfTest(String),
    /// The watchdog was what started the box again.
    WatchdogReset,
    /// The watchdog cannot be fed.
    Watchdog(String),
    /// What a worker has told, in its words.
    Told([String; 2]),
    /// The worker that was to mount the disk ended before it had.
    BringUp(String),
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
    /// The data file system was damaged, and is whole again.
    Repaired(String),
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
    /// Somebody else uses the box's address.
    AddressConflict {
        /// The address.
        address: Ipv4Addr,
        /// The other's hardware address.
        mac: [u8; 6],
    },
    /// A record of what was set is of no use.
    Setting {
        /// Which.
        kind: Kind,
        /// Why.
        fault: Fault,
    },
    /// What was set could not be written down.
    Unkept {
        /// Which.
        kind: Kind,
        /// What the kernel said.
        reason: String,
    },
    /// No time server was heard; so many answers were refused.
    NoTime(u64),
    /// The time servers say another day than the clock, and were heard once.
    TimeDoubted {
        /// Their date.
        theirs: String,
        /// The clock's.
        ours: String,
    },
    /// The clock was set by more than a day.
    TimeStepped {
        /// From this date.
        from: String,
        /// To this.
        to: String,
    },
    /// A mail port could not be opened.
    Port {
        /// Its number.
        port: u16,
        /// What the kernel said.
        reason: String,
    },
    /// maild ends over and over.
    MaildEnds(String),
    /// It has ended so often that its ports are closed.
    MaildRests(String),
    /// The stick with `postolka.toml` cannot be used.
    Stick(String),
    /// The `postolka.toml` of the box's own boot partition cannot be used.
    EspFile(String),
}

impl Trouble {
    /// What is wrong, and what to do about it.
    // One table, a row for each.
    #[allow(clippy::too_many_lines)]
    pub(crate) fn lines(&self) -> [String; 2] {
        let (what, remedy) = match self {
            Self::NoDisk => (
                "No disk: there is nothing to keep mail on.".to_owned(),
                "Connect a disk or card of at least 128 MiB and start the box again.",
            ),
            Self::NoBootDisk => (
                "The disk that the box was started from is not found.".to_owned(),
                "Was it taken out? Start the box again; if this stays, report it.",
            ),
            Self::TwinDisks(devices) => (
                format!("{} bear the number of the box's disk.", devices.join(" and ")),
                "Nothing was written to any. Take out the one that is not, and start again.",
            ),
            Self::Table(reason) => (
                format!("The partition table could not be put right: {reason}."),
                "The next start tries again. The disk or card may be broken.",
            ),
            Self::NoData(device) => (
                format!("The disk {device} has no data partition."),
                "Nothing was written to it. Flash the card anew to begin with an empty box.",
            ),
            Self::Bootstate(reason) => (
                format!("What is remembered about the versions cannot be kept: {reason}."),
                "The box runs. The disk or card may be broken: have another one ready.",
            ),
            Self::OtherSlot { slot, fault, reason } => (
                format!("Slot {slot} {fault}, and stays so: {reason}."),
                "The box runs, and has nothing to fall back to. Have another card ready.",
            ),
            Self::OwnSlot { slot, fault } => (
                format!("Slot {slot}, which runs, {fault} on the disk."),
                "The next start is from the other one. Have another card ready.",
            ),
            Self::NoWayBack(why) => (
                format!("This version is no good: {why}."),
                "There is no other to go back to. Install a later one, or flash the card.",
            ),
            Self::SelfTest(which) => (
                format!("The self-test failed: {which}."),
                "Mail may be served all the same. The lines above say more.",
            ),
            Self::WatchdogReset => (
                "The last reset was by the watchdog: the box had stopped to react.".to_owned(),
                "It runs again. If this comes again, report it.",
            ),
            Self::Watchdog(reason) => (
                format!("The watchdog cannot be fed ({reason}) and will restart the box."),
                "If this comes again, report it.",
            ),
            Self::Told(lines) => return lines.clone(),
            Self::BringUp(how) => (
                format!("The start of the disk {how}."),
                "Start the box again; if this stays, report it.",
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
            Self::Repaired(device) => (
                format!("The file system on {device} was damaged and has been repaired."),
                "The disk or card may be failing: have another one ready.",
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
            Self::AddressConflict { address, mac } => (
                format!(
                    "Another device ({}) uses the address {address}.",
                    network::mac_text(*mac)
                ),
                "Give one of the two another address. The box keeps trying.",
            ),
            Self::Setting { kind, fault } => {
                (format!("The record '{}' {fault}.", kind.word()), kind.otherwise())
            }
            Self::Unkept { kind, reason } => (
                format!("The record '{}' could not be written: {reason}.", kind.word()),
                "It holds until the next start. The disk or card may be broken.",
            ),
            Self::NoTime(0) => (
                "The time is not known: no time server answers.".to_owned(),
                "Mail is taken all the same. Check that the router lets the box ask for it.",
            ),
            Self::NoTime(refused) => (
                format!("The time is not known: what time servers say cannot be ({refused} times)."),
                "Mail is taken all the same. Check which time servers the router names.",
            ),
            Self::TimeDoubted { theirs, ours } => (
                format!("The time servers say {theirs}, the box's clock says {ours}."),
                "The clock is set when they say it once more. Until then it goes on.",
            ),
            Self::TimeStepped { from, to } => (
                format!("The time servers have had the clock set from {from} to {to}."),
                "If that is wrong, look at the router and start the box again.",
            ),
            Self::Port { port, reason } => (
                format!("Port {port} cannot be opened: {reason}."),
                "Start the box again; if this stays, report it.",
            ),
            Self::MaildEnds(how) => (
                format!("The mail service does not stay up: it {how} again and again."),
                "It is started each time, after half a minute at most. The lines above say why.",
            ),
            Self::MaildRests(how) => (
                format!("The mail service does not stay up: it {how}, again and again."),
                "Its ports are closed. It is tried every 5 minutes. If this stays, report it.",
            ),
            Self::Stick(reason) => (
                format!("postolka.toml on the stick was not used: {reason}."),
                "Correct it and start the box again.",
            ),
            Self::EspFile(reason) => (
                format!("postolka.toml on the boot partition was not used: {reason}."),
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
            Trouble::NoBootDisk,
            Trouble::TwinDisks(vec!["mmcblk0".to_owned(), "sda".to_owned()]),
            Trouble::Table("Input/output error".to_owned()),
            Trouble::NoData("mmcblk0".to_owned()),
            Trouble::Bootstate("Input/output error".to_owned()),
            Trouble::OtherSlot {
                slot: Slot::B,
                fault: format::Fault::Hash,
                reason: "it cannot be read (Input/output error)".to_owned(),
            },
            Trouble::OwnSlot {
                slot: Slot::B,
                fault: format::Fault::Signature,
            },
            Trouble::NoWayBack("its mail service does not stay up".to_owned()),
            Trouble::SelfTest("port 25, port 993, store, loop mail".to_owned()),
            Trouble::WatchdogReset,
            Trouble::Watchdog("No space left on device".to_owned()),
            Trouble::BringUp("ended with error 101".to_owned()),
            Trouble::ForeignDisk(word()),
            Trouble::SmallDisk(word()),
            Trouble::UnreadableData {
                device: word(),
                reason: "it is damaged, and this image has no e2fsck".to_owned(),
            },
            Trouble::Repaired(word()),
            Trouble::Unwritable {
                device: word(),
                reason: "Input/output error".to_owned(),
            },
            Trouble::NotGrown("Input/output error".to_owned()),
            Trouble::NoCard,
            Trouble::NoCarrier,
            Trouble::NoLease,
            Trouble::BadLease("gateway".to_owned()),
            Trouble::AddressConflict {
                address: Ipv4Addr::new(192, 168, 100, 200),
                mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
            },
            Trouble::Setting {
                kind: Kind::Network,
                fault: Fault::Unreadable("Structure needs cleaning".to_owned()),
            },
            Trouble::Setting {
                kind: Kind::Name,
                fault: Fault::Layout,
            },
            Trouble::Setting {
                kind: Kind::Time,
                fault: Fault::Damaged,
            },
            Trouble::Unkept {
                kind: Kind::Network,
                reason: "No space left on device".to_owned(),
            },
            Trouble::NoTime(0),
            Trouble::NoTime(9_999),
            Trouble::TimeDoubted {
                theirs: "2036-11-24".to_owned(),
                ours: "2026-11-24".to_owned(),
            },
            Trouble::TimeStepped {
                from: "2026-11-24".to_owned(),
                to: "2036-11-24".to_owned(),
            },
            Trouble::EspFile("it is larger than 64 KiB".to_owned()),
            Trouble::Port {
                port: 993,
                reason: "Address already in use".to_owned(),
            },
            Trouble::MaildEnds("was ended by signal 11".to_owned()),
            Trouble::MaildRests("was ended by signal 11".to_owned()),
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
