//! The disk and the firmware as the decision needs them. It decides nothing itself.

use format::boot::{Attempt, Event, Media};
use format::bootstate::{COPY_OCTETS, Copy};
use format::gpt::{Extent, Table, Which};
use format::header::Part;
use format::layout::{BOOTSTATE, place};
use format::line::{Boot, LOADER, Words};
use format::{Fault, Needs, Refusal, Slot};

use crate::console::say;
use crate::disk::Disk;
use crate::initrd::Initrd;
use crate::line::Line;
use crate::options::LoadOptions;
use crate::slot::{Loaded, NotLoaded};
use crate::trust::BOARD;
use crate::{kernel, power};

/// What the loader runs on.
pub(crate) struct Machine {
    disk: Disk,
    table: Table,
    loaded: Option<Loaded>,
    refusal: Option<Refusal>,
}

impl Machine {
    /// Finds the disk and reads its partition table.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub(crate) fn new() -> Result<Self, &'static str> {
        let mut disk = Disk::of_this_loader()?;
        let (table, which) = Table::read(disk.octets, |at, into| disk.read(at, into))
            .map_err(|_| "neither copy of the disk's partition table is whole.")?;
        if which == Which::Backup {
            say!("the first copy of the partition table is damaged, the one at the disk's end is used.");
        }
        Ok(Self {
            disk,
            table,
            loaded: None,
            refusal: None,
        })
    }

    /// Where a copy lies on the disk, in octets.
    fn copy_at(&self, copy: Copy) -> Option<u64> {
        let Extent { start, octets, .. } = self.table.find(BOOTSTATE.name)?;
        (copy.at() + COPY_OCTETS as u64 <= octets).then(|| start + copy.at())
    }

    fn read_slot(&mut self, slot: Slot, min_epoch: u32, min_version: u64) -> Result<Loaded, NotLoaded> {
        let extent = self
            .table
            .find(place(slot).name)
            .ok_or(NotLoaded::Failed(Fault::Unreadable))?;
        let needs = Needs {
            board: BOARD,
            loader: LOADER,
            min_epoch,
            min_version,
        };
        Loaded::read(&mut self.disk, &extent, &needs)
    }
}

impl Media for Machine {
    fn read_copy(&mut self, copy: Copy) -> Option<[u8; COPY_OCTETS]> {
        let at = self.copy_at(copy)?;
        let mut octets = [0; COPY_OCTETS];
        self.disk.read(at, &mut octets).then_some(octets)
    }

    fn write_copy(&mut self, copy: Copy, octets: &[u8; COPY_OCTETS]) -> bool {
        self.copy_at(copy)
            .is_some_and(|at| self.disk.write_block(at, octets))
    }

    fn load(&mut self, slot: Slot, min_epoch: u32, min_version: u64) -> Result<u64, Fault> {
        power::limit_loading();
        // Its memory is given back before more is asked for.
        self.loaded = None;
        self.refusal = None;
        match self.read_slot(slot, min_epoch, min_version) {
            Ok(loaded) => {
                let version = loaded.header.version;
                self.loaded = Some(loaded);
                Ok(version)
            }
            Err(NotLoaded::Refused(refusal)) => {
                self.refusal = Some(refusal);
                Err(refusal.into())
            }
            Err(NotLoaded::Failed(fault)) => Err(fault),
        }
    }

    fn start(&mut self, slot: Slot, attempt: Attempt) -> Fault {
        let Some(loaded) = self.loaded.take() else {
            return Fault::Load;
        };
        let boot = Boot {
            slot,
            attempt,
            disk: self.table.disk_guid,
            board: BOARD,
            loader: LOADER,
        };
        let Some(options) = LoadOptions::new(loaded.part(Part::CommandLine), &boot) else {
            say!("slot {slot} has a command line that is not printable ASCII.");
            return Fault::Load;
        };
        let initrd = Initrd::new(loaded.part(Part::Cpio));
        let Some(_published) = initrd.publish() else {
            say!("the firmware does not take the initial file system of slot {slot}.");
            return Fault::Load;
        };
        let kernel::NotStarted { step, status } = kernel::start(loaded.part(Part::Kernel), &options);
        say!("slot {slot}: {} (EFI status {:#x}).", Words(step), status.0);
        Fault::Load
    }

    fn report(&mut self, event: Event) {
        let line = Line {
            event,
            header: self.loaded.as_ref().map(|loaded| &loaded.header),
            refusal: self.refusal,
        };
        say!("{line}");
        // What was said of one slot is not said of the next.
        if let Event::PassedOver(..) = event {
            self.refusal = None;
        }
    }
}
