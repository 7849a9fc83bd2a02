//! What workers do to the slots.

use std::io;
use std::path::Path;

use format::boot::Attempt;
use format::layout::{BOOTSTATE, place};
use format::{Fault, Needs, Roots, Slot};
use handoff::UPDATE_OCTETS_MAX;
use nix::fcntl::{FallocateFlags, fallocate};

use super::Reporter;
use super::report::Report;
use crate::disk::node;
use crate::kmsg;
use crate::mount::{self, SYSTEM};
use crate::nice;
use crate::reset;
use crate::settings::{Kind, Record, file};
use crate::slot::check::{self, Outcome, Raws};
use crate::slot::disk::{self, Disk};
use crate::slot::partition::Partition;
use crate::slot::{self, Boot, bootstate};
use crate::time;
use crate::trouble::{Trouble, reason};
use crate::update::{self, FileSource, Rejection};
use crate::version::Version;

/// The raw partitions of the boot disk, for one worker at a time: what one of them decides by, another must not change
/// meanwhile. A stick that is slow to appear is looked at while the other slot is looked after; both would write to it.
pub(super) fn raws(disk: &Disk) -> io::Result<Raws<Partition>> {
    let device = |name: &str| {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("there is no partition '{name}'"));
        disk.partition(name).ok_or_else(missing)
    };
    let open = |slot| Partition::open(&device(place(slot).name)?);
    Ok(Raws {
        bootstate: Partition::open_alone(&device(BOOTSTATE.name)?)?,
        slots: [open(Slot::A)?, open(Slot::B)?],
    })
}

/// The box, as an update must fit it.
pub(super) fn own<'a>(boot: &Boot, version: &Version, keys: &'a [[u8; 32]]) -> update::Box<'a> {
    update::Box {
        running: boot.slot,
        attempt: boot.attempt,
        version: version.counter,
        needs: needs(boot),
        roots: Roots(keys),
    }
}

fn needs(boot: &Boot) -> Needs {
    Needs {
        board: boot.board,
        loader: boot.loader,
        // Those of the bootstate count.
        min_epoch: 0,
        min_version: 0,
    }
}

/// The same for an update: with the first line the LED says that one is written.
pub(super) fn update_progress(told: &Reporter) -> impl FnMut(usize) {
    let mut progress = progress(told, "The update is written");
    let mut is_told = false;
    move |percent| {
        if !std::mem::replace(&mut is_told, true) {
            told.send(&Report::Updating(true), &[]);
        }
        progress(percent);
    }
}

/// A line of progress for each quarter.
pub(super) fn progress<'a>(told: &'a Reporter, what: &'a str) -> impl FnMut(usize) + 'a {
    let mut said = None;
    move |percent| {
        let quarter = percent / 25;
        if said != Some(quarter) {
            said = Some(quarter);
            told.say(&format!("{what}: {percent} %."));
        }
    }
}

/// Writes down that the running slot is good, and looks after the other.
pub(super) fn good(disk: &str, told: &Reporter) {
    let opened = || {
        let boot = slot::booted().ok_or(io::ErrorKind::NotFound)?;
        Ok::<_, io::Error>((boot, raws(&disk::open(disk)?)?))
    };
    let marked = opened().and_then(|(boot, mut raws)| {
        check::mark_good(&mut raws, boot.slot, boot.attempt)?;
        Ok((boot, raws))
    });
    let (boot, mut raws) = match marked {
        Ok(marked) => marked,
        Err(error) => return told.trouble(&Trouble::Bootstate(reason(&error))),
    };
    told.send(&Report::Good, &[]);
    look_after(&mut raws, &boot, told);
}

/// Looks after the other slot. It is for the day when that is needed, and no mail waits for it.
fn look_after(raws: &mut Raws<Partition>, boot: &Boot, told: &Reporter) {
    nice::be_idle();
    let keys = slot::roots();
    let other = boot.slot.other();
    let progress = progress(told, "The version that runs is copied over the other slot");
    match check::look_after(raws, boot.slot, &needs(boot), Roots(&keys), progress) {
        Ok(Outcome::Whole) => {}
        Ok(Outcome::Repaired(fault)) => told.say(&format!(
            "Slot {other} {fault}: the version that runs was copied over it."
        )),
        Ok(Outcome::Unrepaired(fault, why)) => told.trouble(&Trouble::OtherSlot {
            slot: other,
            fault,
            reason: why.to_string(),
        }),
        Ok(Outcome::RunsDamaged(fault)) => told.trouble(&Trouble::OwnSlot {
            slot: boot.slot,
            fault,
        }),
        Err(error) => told.trouble(&Trouble::Bootstate(reason(&error))),
    }
}

/// Keeps the kernel's lines.
pub(super) fn kernel_log(told: &Reporter) {
    let version = Version::read();
    let place = match slot::booted() {
        None => "no slot".to_owned(),
        Some(boot) => match boot.attempt {
            Attempt::Trial(number) => format!("slot {}, try {number}", boot.slot),
            Attempt::Good | Attempt::Uncounted => format!("slot {}", boot.slot),
        },
    };
    let heading = kmsg::heading(version.counter, &version.spoken(), &place);
    if let Err(error) = kmsg::keep(Path::new(SYSTEM), &heading) {
        told.say(&format!(
            "The kernel's lines are not kept any more: {}.",
            reason(&error)
        ));
    }
}

/// Writes down what init is set to.
pub(super) fn keep(kind: Kind, body: &str, told: &Reporter) {
    let written = Record::parse(kind, body)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
        .and_then(|record| file::write(Path::new(SYSTEM), &record));
    if let Err(error) = written {
        let reason = reason(&error);
        // Without the time of before the next start begins earlier, and that is all.
        match kind {
            Kind::Time => {}
            Kind::Name | Kind::Network => told.trouble(&Trouble::Unkept { kind, reason }),
        }
    }
}

/// The last thing that is done to the data disk.
pub(super) fn unmount(reset: Option<&str>, told: &Reporter) {
    if reset.is_none() {
        // The next start of a box without a battery goes on from here. Not without a disk, of course.
        let _ = file::write(Path::new(SYSTEM), &Record::Time(time::now_seconds()));
    }
    let is_unmounted = match mount::leave_data() {
        Ok(is_unmounted) => is_unmounted,
        Err(error) => {
            return told.say(&format!(
                "The disk could not be unmounted: {error}. It is synced."
            ));
        }
    };
    match reset {
        Some(device) if is_unmounted => {
            if let Err(error) = reset::begin(&node(device)) {
                told.say(&format!("{device} could not be reset: {}.", reason(&error)));
            }
        }
        Some(_) => told.say("The disk is still in use: the box is not reset, and everything is as it was."),
        None => {}
    }
    told.send(&Report::Unmounted, &[]);
}

/// Takes the update that the loop hands over.
pub(super) fn update(disk: &str, told: &Reporter) {
    let version = Version::read();
    let (mut letterbox, mut opened) = (None, None);
    let outcome = (|| {
        let (message, file) = told.receive_source().map_err(Rejection::Source)?;
        letterbox = Some(file.try_clone().map_err(Rejection::Source)?);
        let mut source = FileSource::new(file, message.octets.into()).map_err(Rejection::Source)?;
        let boot = slot::booted().ok_or_else(|| Rejection::Bootstate(io::ErrorKind::NotFound.into()))?;
        let keys = slot::roots();
        let own = own(&boot, &version, &keys);
        let raws = disk::open(disk).and_then(|disk| raws(&disk));
        let (_, raws) = opened.insert((boot, raws.map_err(Rejection::Bootstate)?));
        let progress = update_progress(told);
        let judged = update::judge(&mut source, raws, &own)?;
        update::apply(&mut source, &judged, raws, &own, progress, || Ok(()))
    })();
    let (is_taken, text) = match outcome {
        Ok(taken) => (true, update::taken_sentence(&taken)),
        Err(why) => (false, update::refusal_sentence(&why, &version.spoken())),
    };
    if let Some(letterbox) = letterbox {
        // Its memory is better used for mail. That it cannot be freed is no harm.
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let _ = fallocate(letterbox, flags, 0, UPDATE_OCTETS_MAX.into());
    }
    told.say(&text);
    told.send(&Report::Update { is_taken, text }, &[]);
    // The other slot was given up for nothing: until it is filled again there is nothing to fall back to.
    if let (false, Some((boot, mut raws))) = (is_taken, opened)
        && bootstate::load(&mut raws.bootstate)
            .is_ok_and(|state| state.slot(boot.slot.other()).fault == Some(Fault::Empty))
    {
        look_after(&mut raws, &boot, told);
    }
}
