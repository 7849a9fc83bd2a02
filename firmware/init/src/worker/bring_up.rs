//! The boot story's middle part: from "no disk yet" to "the data file system is mounted and the stick was read".
//!
//! ```text
//! started from a slot:  the loader's disk ─▶ bootstate mended ─▶ table put right ─┐
//! otherwise:            the disk with the data, or a blank one ───────────────────┤
//!                                                                                 ▼
//!          make the file system, if it is to be made ─▶ mount ─▶ grow ─▶ sticks ─▶ ready
//! ```

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use format::Fault;
use format::layout::{self, DATA};

use super::report::{Report, Slots};
use super::{Reporter, beside, tasks};
use crate::disk::{self, Choice, Content};
use crate::fsck::{self, Note, Outcome};
use crate::kmsg;
use crate::mount::{MAIL, SYSTEM};
use crate::reset;
use crate::settings::{Kind, file};
use crate::slot::disk::{Disk, Found, find};
use crate::slot::{self, Boot, bootstate, story, table, write};
use crate::stick::{self, Provision};
use crate::trouble::{Trouble, reason};
use crate::update;
use crate::version::Version;

/// How long a disk may take to appear: a USB disk that spins up needs about eight seconds.
const DISK_WAIT: Duration = Duration::from_secs(10);
/// How long a blank disk must be the best there is. The disk with the mail on it may be the slower one.
const BLANK_WAIT: Duration = Duration::from_millis(200);
/// Where there is USB, it needs so long from init's start to find what is plugged in: neither a blank disk nor a first
/// start without a stick is settled before.
const USB_WAIT: Duration = Duration::from_secs(6);
/// So long a stick with an update is still looked for while mail is served.
const UPDATE_WAIT: Duration = Duration::from_secs(15);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);
/// How often is looked while mail is served.
const LOOK_CALMLY: Duration = Duration::from_secs(1);

/// The way up. What it came to is told to the loop.
pub(super) fn run(told: &Reporter) {
    let began = Instant::now();
    let boot = slot::booted();
    let found = match &boot {
        Some(boot) => from_slot(boot, began, told),
        None => from_anywhere(began, told).map(|device| (device, None, None)),
    };
    let (device, disk, failed) = match found {
        Ok(found) => found,
        Err(trouble) => return told.failed(&trouble),
    };
    told.send(&Report::Device(device.clone()), &[]);
    if let Err(trouble) = mount(&device, told) {
        return told.failed(&trouble);
    }
    tell_settings(told);
    match disk::grow(&device) {
        Ok(true) => told.say("The file system was grown to the size of the disk."),
        Ok(false) => {}
        Err(trouble) => told.trouble(&trouble),
    }
    tell_last_lines(failed, told);
    told.send(&Report::Mounted, &[]);

    let mut sticks = Sticks {
        device,
        boot,
        disk,
        seen: Vec::new(),
    };
    told.activity("first start; looking for a stick with postolka.toml");
    // Only a box that may still be provisioned waits.
    let is_patient = is_first_start() && has_usb();
    loop {
        if sticks.look_for_update(told) {
            return;
        }
        match stick::find(|name| sticks.is_ours(name)) {
            Ok(Some(provision)) => {
                provide(&provision, told);
                break;
            }
            Ok(None) if is_patient && began.elapsed() < USB_WAIT => thread::sleep(LOOK),
            Ok(None) => {
                sticks.look_on_esp(told);
                break;
            }
            Err(trouble) => {
                told.trouble(&trouble);
                break;
            }
        }
    }
    told.send(&Report::Ready, &[]);
    // Mail does not wait for a stick that is slow to appear.
    while has_usb() && began.elapsed() < UPDATE_WAIT {
        thread::sleep(LOOK_CALMLY);
        if sticks.look_for_update(told) {
            return;
        }
    }
}

/// What init is set to. What is of no use is told, and done without.
fn tell_settings(told: &Reporter) {
    for kind in Kind::ALL {
        match file::read(Path::new(SYSTEM), kind) {
            Ok(None) => {}
            Ok(Some(record)) => told.send(&Report::Record(record), &[]),
            // Written again in a quarter of an hour.
            Err(fault) if kind == Kind::Time => {
                told.say(&Trouble::Setting { kind, fault }.lines().join(" "));
            }
            Err(fault) => told.trouble(&Trouble::Setting { kind, fault }),
        }
    }
    told.send(&Report::Settled, &[]);
}

/// Tells of a `postolka.toml`.
fn provide(provision: &Provision, told: &Reporter) {
    told.say(&format!("postolka.toml was found on {}.", provision.device));
    let (octets, origin) = (provision.octets, provision.origin);
    told.send(&Report::Provision { octets, origin }, &beside(&provision.file));
}

/// What the kernel said before a version did not come up. Before this start's own lines are kept.
fn tell_last_lines(failed: Option<u64>, told: &Reporter) {
    let Some(version) = failed else { return };
    let lines = kmsg::last_lines(Path::new(SYSTEM), version);
    if lines.is_empty() {
        return told.say(&format!("Nothing is kept of what version {version} said."));
    }
    told.say(&format!(
        "The last lines of the kernel of version {version} that were kept:"
    ));
    for line in lines {
        told.say(&format!("  {line}"));
    }
}

/// The data device, the disk it is on, and the version that was tried and did not come up.
type Place = (String, Option<Disk>, Option<u64>);

/// The data partition of the disk that the loader told.
fn from_slot(boot: &Boot, began: Instant, told: &Reporter) -> Result<Place, Trouble> {
    told.activity("looking for the disk");
    let mut disk = loop {
        let is_late = began.elapsed() >= DISK_WAIT;
        match find(boot.disk) {
            Found::One(disk) => break *disk,
            Found::Twins(names) => return Err(Trouble::TwinDisks(names)),
            Found::None if is_late => return Err(Trouble::NoBootDisk),
            Found::None => thread::sleep(LOOK),
        }
    };
    let put_right = |disk: &mut Disk, is_new: bool| match table::put_right(disk, is_new) {
        Ok(sentences) => sentences.into_iter().for_each(|sentence| told.say(sentence)),
        Err(error) => told.trouble(&Trouble::Table(reason(&error))),
    };
    // First what the kernel must know of the table: after a damage it knows no partitions.
    put_right(&mut disk, false);
    let failed = tell_slots(boot, &disk, told);
    let device = disk.partition(DATA.name).ok_or_else(|| {
        if disk.table.find(DATA.name).is_some() {
            // A card that takes no writes any more, so that its table cannot be restored: the mail is still on it.
            Trouble::Table("the kernel knows no partitions".to_owned())
        } else {
            Trouble::NoData(disk.name.clone())
        }
    })?;
    let content = disk::content(&device).unwrap_or(Content::Unreadable);
    if matches!(content, Content::Unfinished | Content::Reset) {
        put_right(&mut disk, true);
        if disk::size(&device).unwrap_or_default() < disk::OCTETS_MIN {
            return Err(Trouble::SmallDisk(disk.name.clone()));
        }
        make(&device, told)?;
    }
    Ok((device, Some(disk), failed))
}

/// Tells what the bootstate says, after it was mended; gives the version that was tried and did not come up.
fn tell_slots(boot: &Boot, disk: &Disk, told: &Reporter) -> Option<u64> {
    let mended = tasks::raws(disk).and_then(|mut raws| {
        let mended = bootstate::mend(&mut raws.bootstate, boot.slot)?;
        let keys = slot::roots();
        let other = write::read_header(raws.slot(boot.slot.other()), format::Roots(&keys));
        Ok((mended, other.ok().map(|header| header.version)))
    });
    let (mended, other) = match mended {
        Ok(mended) => mended,
        Err(error) => {
            told.trouble(&Trouble::Bootstate(reason(&error)));
            return None;
        }
    };
    if let Some(sentence) = mended.sentence() {
        told.say(sentence);
    }
    let state = mended.state;
    told.send(&Report::Slots(Slots::of(&disk.name, &state, boot)), &[]);
    if let Some(lines) = story::fallback(&state, boot.slot, Version::read().counter, other) {
        told.send(&Report::Trouble(lines), &[]);
    }
    other.filter(|_| state.slot(boot.slot.other()).fault == Some(Fault::TriesSpent))
}

/// The device with the data on it, or one that it was made on.
fn from_anywhere(began: Instant, told: &Reporter) -> Result<String, Trouble> {
    told.activity("looking for the disk");
    let mut blank: Option<(String, Instant)> = None;
    loop {
        let trouble = match disk::choose(&disk::list()) {
            Choice::Use(name) => return Ok(name),
            Choice::Make(name) => match &blank {
                Some((known, since)) if *known == name => {
                    if since.elapsed() >= BLANK_WAIT && (began.elapsed() >= USB_WAIT || !has_usb()) {
                        make(&name, told)?;
                        return Ok(name);
                    }
                    thread::sleep(LOOK);
                    continue;
                }
                _ => {
                    blank = Some((name, Instant::now()));
                    thread::sleep(LOOK);
                    continue;
                }
            },
            Choice::Small(name) => Trouble::SmallDisk(name),
            Choice::Foreign(name) => Trouble::ForeignDisk(name),
            Choice::Nothing => Trouble::NoDisk,
        };
        if began.elapsed() >= DISK_WAIT {
            return Err(trouble);
        }
        thread::sleep(LOOK);
    }
}

/// Makes the file system, after what was there is gone if the box was reset.
fn make(device: &str, told: &Reporter) -> Result<(), Trouble> {
    if disk::content(device).is_ok_and(|content| content == Content::Reset) {
        erase(device, told).map_err(|error| Trouble::Unwritable {
            device: device.to_owned(),
            reason: reason(&error),
        })?;
    }
    told.say(&format!(
        "Making a new file system on {device}; this takes a moment."
    ));
    told.activity("making the file system");
    disk::make(device)
}

/// Mounts the data file system, after it was repaired if it has to be.
fn mount(device: &str, told: &Reporter) -> Result<(), Trouble> {
    let node = disk::node(device);
    // What the kernel has found damaged before is repaired before more is written to it.
    if !fsck::has_errors(&node) {
        let Err(trouble) = disk::mount_data(device) else {
            return Ok(());
        };
        // Without a superblock of ours there is nothing that e2fsck could begin with, and a device that cannot be read is
        // not helped.
        let is_ours = disk::content(device).is_ok_and(|content| content == Content::Data);
        if !is_ours {
            return Err(trouble);
        }
        told.say(&trouble.lines()[0]);
    }
    repair(device, told)?;
    disk::mount_data(device)
}

/// Has e2fsck repair what it can without losing anything.
fn repair(device: &str, told: &Reporter) -> Result<(), Trouble> {
    told.say(&format!("The file system on {device} is checked and repaired."));
    let mut shown = None;
    let outcome = fsck::repair(fsck::PROGRAM, &disk::node(device), |note| match note {
        Note::Line(line) => told.say(&format!("e2fsck: {line}")),
        Note::Progress { pass, percent } => {
            told.activity(&format!(
                "the file system is repaired, part {pass} of 5: {percent} %"
            ));
            let quarter = (pass, percent / 25);
            if shown != Some(quarter) {
                shown = Some(quarter);
                told.say(&format!("e2fsck: part {pass} of 5, {percent} %"));
            }
        }
    });
    let unreadable = |reason: String| Trouble::UnreadableData {
        device: device.to_owned(),
        reason,
    };
    match outcome {
        Outcome::Whole { was_damaged } => {
            if was_damaged {
                told.trouble(&Trouble::Repaired(device.to_owned()));
            }
            Ok(())
        }
        Outcome::Damaged => Err(unreadable(
            "it is damaged beyond what is repaired by itself".to_owned(),
        )),
        Outcome::Unchecked(why) => Err(unreadable(format!("it is damaged, and {why}"))),
    }
}

/// Finishes a factory reset, up to the new file system.
fn erase(device: &str, told: &Reporter) -> io::Result<()> {
    told.say(&format!(
        "The box was reset: everything on {device} is overwritten. A power cut only delays it."
    ));
    told.send(&Report::Erasing(true), &[]);
    let mut said = None;
    let result = reset::finish(&disk::node(device), disk::size(device)?, |percent| {
        told.activity(&format!("everything on {device} is overwritten: {percent} %"));
        if said != Some(percent / 10) {
            said = Some(percent / 10);
            told.say(&format!("Overwritten: {percent} %"));
        }
    });
    told.send(&Report::Erasing(false), &[]);
    result
}

/// What is looked for on sticks.
struct Sticks {
    /// The data device.
    device: String,
    boot: Option<Boot>,
    /// The disk the box was started from.
    disk: Option<Disk>,
    /// Devices that were looked at for an update.
    seen: Vec<String>,
}

impl Sticks {
    /// Whether a device is the box's own. Its ESP is no stick: see [`stick`].
    fn is_ours(&self, name: &str) -> bool {
        let is_part = |disk: &Disk| {
            layout::PLACES
                .iter()
                .any(|place| disk.partition(place.name).as_deref() == Some(name))
        };
        name == self.device || self.disk.as_ref().is_some_and(is_part)
    }

    /// Takes `postolka.toml` from the box's own boot partition, if there is one.
    fn look_on_esp(&self, told: &Reporter) {
        let esp = self
            .disk
            .as_ref()
            .and_then(|disk| disk.partition(layout::ESP.name));
        match esp.map_or(Ok(None), |esp| stick::find_on_esp(&esp)) {
            Ok(Some(provision)) => provide(&provision, told),
            Ok(None) => {}
            Err(trouble) => told.trouble(&trouble),
        }
    }

    /// Takes the first update that is new here; whether the box is to start again with it.
    fn look_for_update(&mut self, told: &Reporter) -> bool {
        for device in disk::list() {
            if device.content != Content::Fat
                || self.is_ours(&device.name)
                || self.seen.contains(&device.name)
            {
                continue;
            }
            self.seen.push(device.name.clone());
            let Some(outcome) = self.take(&device.name, told) else {
                continue;
            };
            let is_taken = outcome.is_ok();
            let text = outcome.unwrap_or_else(|why| why);
            told.say(&format!("{} on {}: {text}", stick_name(), device.name));
            if is_taken {
                told.send(&Report::Update { is_taken, text }, &[]);
                return true;
            }
        }
        false
    }

    /// Takes the update on this device, if there is one; gives the sentence about it.
    fn take(&self, device: &str, told: &Reporter) -> Option<Result<String, String>> {
        let version = Version::read();
        let (Some(boot), Some(disk)) = (&self.boot, &self.disk) else {
            return update::stick::is_there(device)
                .then(|| Err("The update was not taken: the box was not started from a slot.".to_owned()));
        };
        let mut raws = match tasks::raws(disk) {
            Ok(raws) => raws,
            Err(error) => {
                return update::stick::is_there(device).then(|| {
                    let why = update::Rejection::Bootstate(error);
                    Err(update::refusal_sentence(&why, &version.spoken()))
                });
            }
        };
        let keys = slot::roots();
        let own = tasks::own(boot, &version, &keys);
        let progress = tasks::update_progress(told);
        let outcome = update::stick::take(device, &mut raws, &own, progress)?;
        told.send(&Report::Updating(false), &[]);
        Some(match outcome {
            Ok(taken) => Ok(update::taken_sentence(&taken)),
            Err(why) => Err(update::refusal_sentence(&why, &version.spoken())),
        })
    }
}

fn stick_name() -> &'static str {
    update::stick::NAME
}

/// Whether maild has never written anything.
fn is_first_start() -> bool {
    fs::read_dir(MAIL).is_ok_and(|mut entries| entries.next().is_none())
}

/// Whether the machine has a USB bus that something could be plugged into.
fn has_usb() -> bool {
    fs::read_dir("/sys/bus/usb/devices").is_ok_and(|mut entries| entries.next().is_some())
}
