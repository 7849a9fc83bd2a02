//! The boot story's middle part: from "no disk yet" to "the data file system is mounted and the stick was read".
//!
//! ```text
//! Searching ── a data file system ────────────────▶ mount, grow ─▶ Stick ─▶ Done
//!     │  └──── only blank disks for a moment ─▶ make ─┘   │
//!     └─────── nothing for ten seconds ─▶ Failed ◀────────┘
//! ```

use std::fs;

use crate::console::Console;
use crate::disk::{self, Choice};
use crate::mount::MAIL;
use crate::stick::{self, Provision};
use crate::trouble::Trouble;

/// How long a disk may take to appear: a USB disk that spins up needs about eight seconds.
const DISK_WAIT_MS: u64 = 10_000;
/// How long a blank disk must be the best there is. The disk with the mail on it may be the slower one.
const BLANK_WAIT_MS: u64 = 200;
/// Where there is USB, it needs so long from init's start to find what is plugged in: neither a blank disk nor a start
/// without a stick is settled before.
const USB_WAIT_MS: u64 = 6_000;
/// How often is looked.
pub(crate) const LOOK_MS: u64 = 100;

/// How far it has come.
#[derive(Debug)]
enum Stage {
    Searching {
        since_ms: u64,
        blank: Option<(String, u64)>,
    },
    Stick,
    Done,
    Failed,
}

/// The disk, on the way up.
#[derive(Debug)]
pub(crate) struct Storage {
    stage: Stage,
    /// The data device.
    device: String,
    troubles: Vec<Trouble>,
}

/// What came of a step.
pub(crate) enum Step {
    /// Look again in [`LOOK_MS`].
    Again,
    /// The data file system is there, and this was on a stick.
    Ready(Option<Provision>),
    /// Nothing more to do, or nothing that can be done.
    Nothing,
}

impl Storage {
    pub(crate) fn new(now_ms: u64) -> Self {
        let stage = Stage::Searching {
            since_ms: now_ms,
            blank: None,
        };
        Self {
            stage,
            device: String::new(),
            troubles: Vec::new(),
        }
    }

    pub(crate) fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// Whether it is over, and there is no place for mail.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed)
    }

    /// What is under way, for the console page.
    pub(crate) fn activity(&self) -> &'static str {
        match self.stage {
            Stage::Searching { .. } => "looking for the disk",
            Stage::Stick => "first start; looking for a stick with postolka.toml",
            Stage::Done | Stage::Failed => "the mail service",
        }
    }

    /// Goes on. What takes long says so on the console before it begins: services are not running yet, and making
    /// and growing a file system are not to be interrupted.
    pub(crate) fn step(&mut self, console: &mut Console, now_ms: u64) -> Step {
        match &mut self.stage {
            Stage::Done | Stage::Failed => Step::Nothing,
            Stage::Stick => self.stick(now_ms >= USB_WAIT_MS, console),
            Stage::Searching { since_ms, blank } => {
                let is_late = now_ms.saturating_sub(*since_ms) >= DISK_WAIT_MS;
                let trouble = match disk::choose(&disk::list()) {
                    Choice::Use(name) => return self.mount(name, console, now_ms),
                    Choice::Make(name) => match blank {
                        Some((known, seen_ms)) if *known == name => {
                            let is_settled = now_ms.saturating_sub(*seen_ms) >= BLANK_WAIT_MS
                                && (now_ms >= USB_WAIT_MS || !has_usb());
                            if !is_settled {
                                return Step::Again;
                            }
                            console.line(&format!(
                                "Making a new file system on {name}; this takes a moment."
                            ));
                            return match disk::make(&name) {
                                Ok(()) => self.mount(name, console, now_ms),
                                Err(trouble) => self.fail(trouble),
                            };
                        }
                        _ => {
                            *blank = Some((name, now_ms));
                            return Step::Again;
                        }
                    },
                    Choice::Small(name) => Trouble::SmallDisk(name),
                    Choice::Foreign(name) => Trouble::ForeignDisk(name),
                    Choice::Nothing => Trouble::NoDisk,
                };
                if is_late { self.fail(trouble) } else { Step::Again }
            }
        }
    }

    fn mount(&mut self, device: String, console: &mut Console, now_ms: u64) -> Step {
        if let Err(trouble) = disk::mount_data(&device) {
            return self.fail(trouble);
        }
        match disk::grow(&device) {
            Ok(true) => console.line("The file system was grown to the size of the disk."),
            Ok(false) => {}
            Err(trouble) => self.troubles.push(trouble),
        }
        self.device = device;
        self.stage = Stage::Stick;
        // Only a box that may still be provisioned waits.
        let is_patient = now_ms < USB_WAIT_MS && is_first_start() && has_usb();
        self.stick(!is_patient, console)
    }

    fn stick(&mut self, is_late: bool, console: &mut Console) -> Step {
        match stick::find(&self.device) {
            Ok(Some(provision)) => {
                console.line(&format!("postolka.toml was found on {}.", provision.device));
                self.stage = Stage::Done;
                Step::Ready(Some(provision))
            }
            Ok(None) if !is_late => Step::Again,
            Ok(None) => {
                self.stage = Stage::Done;
                Step::Ready(None)
            }
            Err(trouble) => {
                self.troubles.push(trouble);
                self.stage = Stage::Done;
                Step::Ready(None)
            }
        }
    }

    fn fail(&mut self, trouble: Trouble) -> Step {
        self.troubles.push(trouble);
        self.stage = Stage::Failed;
        Step::Nothing
    }
}

/// Whether maild has never written anything.
fn is_first_start() -> bool {
    fs::read_dir(MAIL).is_ok_and(|mut entries| entries.next().is_none())
}

/// Whether the machine has a USB bus that something could be plugged into.
fn has_usb() -> bool {
    fs::read_dir("/sys/bus/usb/devices").is_ok_and(|mut entries| entries.next().is_some())
}
