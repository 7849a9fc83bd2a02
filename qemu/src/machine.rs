//! A machine that runs: watched, its button pressed, its power cut.

use std::collections::BTreeMap;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::builder::Builder;
use crate::cable::Cable;
use crate::console::Console;
use crate::disk::Disk;
use crate::error::Error;
use crate::firmware::Firmware;
use crate::image::Image;
use crate::plan::{Board, Plan, Start};
use crate::qmp::Qmp;

/// The Raspberry Pi that QEMU knows well enough. It has a watchdog whose driver QEMU's cannot follow.
const RASPI_TREE: &str = "bcm2837-rpi-3-b.dtb";
const RASPI_LINE: &str = "quiet console=ttyAMA0 initcall_blacklist=bcm2835_wdt_driver_init";

/// A machine that runs. Dropping it cuts its power; so does the end of this process, however it ends.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    console: Console,
    qmp: Mutex<Qmp>,
    ports: BTreeMap<u16, u16>,
    /// Dropped last: the thread that QEMU must not outlive ends with it.
    _thread: mpsc::Sender<()>,
    /// Holds the control socket; gone with the machine.
    _folder: TempDir,
}

impl Machine {
    /// A machine that boots `image`, put into its memory by QEMU: 512 MiB, two processors, no disk, no stick, nothing
    /// beyond this computer in reach.
    pub fn builder(image: &Image) -> Builder {
        Builder::new(Plan::new(Board::Virt, direct(image, "quiet")))
    }

    /// A machine that starts from a [flashed](Disk::flash) disk, from power-on as a board does; otherwise as
    /// [`builder`](Self::builder) has it.
    pub fn from_disk(disk: &Disk, firmware: Firmware) -> Builder {
        Builder::new(Plan::new(Board::Virt, Start::Firmware(firmware))).disk(disk)
    }

    /// A Raspberry Pi 3 B that boots `image`, put into its memory by QEMU, which has none of the Pi's own firmware. Its
    /// [disk](Builder::disk) is an SD card, whose size must be a power of two.
    ///
    /// # Errors
    /// [`Error::NoImage`] if the image has no device tree for it.
    pub fn raspi3b(image: &Image) -> Result<Builder, Error> {
        let device_tree = image.device_tree(RASPI_TREE)?;
        let board = Board::Raspi3b { device_tree };
        Ok(Builder::new(Plan::new(board, direct(image, RASPI_LINE))))
    }

    /// What a [`Builder`] has started.
    pub(crate) fn running(
        child: Child,
        console: Console,
        qmp: Qmp,
        ports: BTreeMap<u16, u16>,
        thread: mpsc::Sender<()>,
        folder: TempDir,
    ) -> Self {
        Self {
            child,
            console,
            qmp: Mutex::new(qmp),
            ports,
            _thread: thread,
            _folder: folder,
        }
    }

    /// What the machine wrote on its serial line.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The port on 127.0.0.1 behind which `guest` is, if it was [forwarded](Builder::forward).
    ///
    /// It accepts connections before the box is up: wait for the box's word on the console first.
    pub fn port(&self, guest: u16) -> Option<u16> {
        self.ports.get(&guest).copied()
    }

    /// The process id of QEMU.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Presses the power button for a moment.
    pub fn press_power(&self) -> Result<(), Error> {
        self.control("system_powerdown", &json!({})).map(|_| ())
    }

    /// Holds the button down for so long. The key must be held for the whole time that is being waited for: this call
    /// takes as long.
    ///
    /// It is the power key of a keyboard, for the machine's own button is only ever pressed for a moment. A Raspberry Pi
    /// has no such keyboard.
    pub fn hold_key(&self, duration: Duration) -> Result<(), Error> {
        self.key_down()?;
        std::thread::sleep(duration);
        // A box that a press switches off may be gone before the key is let go of.
        if self.has_ended() { Ok(()) } else { self.key_up() }
    }

    /// Presses the button and keeps it down, until [`key_up`](Self::key_up).
    pub fn key_down(&self) -> Result<(), Error> {
        self.power_key(true)
    }

    /// Lets go of the button.
    pub fn key_up(&self) -> Result<(), Error> {
        self.power_key(false)
    }

    fn power_key(&self, down: bool) -> Result<(), Error> {
        let key = json!({"type": "qcode", "data": "power"});
        let event = json!({"type": "key", "data": {"down": down, "key": key}});
        self.control("input-send-event", &json!({"events": [event]}))
            .map(|_| ())
    }

    /// Presses reset: the machine starts again from power-on, in the same QEMU and on the same console.
    pub fn press_reset(&self) -> Result<(), Error> {
        self.control("system_reset", &json!({})).map(|_| ())
    }

    /// Makes the disk larger while the machine runs; its kernel is told.
    pub fn grow_disk(&self, octets: u64) -> Result<(), Error> {
        self.control("block_resize", &json!({"device": "data", "size": octets}))
            .map(|_| ())
    }

    /// Pulls the plug of a cable out of its card.
    pub fn pull(&self, cable: &Cable) -> Result<(), Error> {
        self.set_link(cable, false)
    }

    /// Puts it back.
    pub fn put_back(&self, cable: &Cable) -> Result<(), Error> {
        self.set_link(cable, true)
    }

    fn set_link(&self, cable: &Cable, up: bool) -> Result<(), Error> {
        let link = json!({"name": cable.card_id(), "up": up});
        self.control("set_link", &link).map(|_| ())
    }

    /// Plugs a card with a cable into the machine while it runs: one for USB, so the machine needs a
    /// [socket](Builder::usb) for it.
    pub fn plug(&self, cable: &Cable) -> Result<(), Error> {
        self.control("netdev_add", &cable.backend_json())?;
        let card = json!({
            "driver": "usb-net",
            "id": cable.card_id(),
            "netdev": cable.backend_id(),
            "mac": cable.mac_text(),
        });
        self.control("device_add", &card).map(|_| ())
    }

    /// Unplugs it again, card and all.
    pub fn unplug(&self, cable: &Cable) -> Result<(), Error> {
        self.control("device_del", &json!({"id": cable.card_id()}))?;
        self.control("netdev_del", &json!({"id": cable.backend_id()}))
            .map(|_| ())
    }

    /// Runs a command on the control socket.
    pub fn control(&self, command: &str, arguments: &Value) -> Result<Value, Error> {
        let mut qmp = self.qmp.lock().unwrap_or_else(PoisonError::into_inner);
        qmp.execute(command, arguments)
    }

    /// Cuts the power: the machine is gone between two instructions.
    ///
    /// What it wrote to its disk without flushing survives in this computer's cache. To lose that too, the disk has to
    /// be a [`ForgetfulDisk`](crate::ForgetfulDisk).
    pub fn cut(mut self) -> Result<(), Error> {
        self.end()
    }

    /// Whether the machine has ended.
    pub fn has_ended(&self) -> bool {
        self.console.wait_closed(Duration::ZERO)
    }

    /// Waits until the machine has switched itself off.
    ///
    /// # Errors
    /// [`Error::StillRuns`] after `within`; the machine then runs on.
    pub fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        if !self.console.wait_closed(within) {
            return Err(Error::StillRuns {
                within,
                tail: self.console.tail(),
            });
        }
        self.child
            .wait()
            .map_err(|error| Error::Control(error.to_string()))
    }

    fn end(&mut self) -> Result<(), Error> {
        // A machine that has ended by itself cannot be killed, and need not be.
        let _ = self.child.kill();
        self.child
            .wait()
            .map(|_| ())
            .map_err(|error| Error::Control(error.to_string()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn direct(image: &Image, kernel_line: &str) -> Start {
    Start::Direct {
        kernel: image.kernel().to_owned(),
        initrd: image.initrd().to_owned(),
        kernel_line: kernel_line.to_owned(),
    }
}
