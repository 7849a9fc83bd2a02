//! A machine before it starts, and its start.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cable::Cable;
use crate::console::Console;
use crate::disk::Disk;
use crate::error::Error;
use crate::forgetful::ForgetfulDisk;
use crate::machine::Machine;
use crate::plain::Plain;
use crate::plan::{Network, Plan, Reset, Start};
use crate::ports::{HostPort, forwarded};
use crate::qmp::Qmp;
use crate::stick::Stick;

const QEMU: &str = "qemu-system-aarch64";
/// QEMU opens its control socket at once; a computer with much to do may let it wait.
const UP_WITHIN: Duration = Duration::from_secs(60);
const ENDED_WITHIN: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(10);

/// Describes a machine before it starts. See [`Machine::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    plan: Plan,
    /// More words for the kernel's command line.
    kernel_words: Vec<String>,
    echo: bool,
}

impl Builder {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            kernel_words: Vec::new(),
            echo: false,
        }
    }

    /// Memory in MiB.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.plan.memory_mib = mib;
        self
    }

    /// Processors.
    #[must_use]
    pub fn cpus(mut self, count: u8) -> Self {
        self.plan.cpus = count;
        self
    }

    /// The disk: one for data only, or a flashed one. On a Raspberry Pi it is the SD card.
    #[must_use]
    pub fn disk(mut self, disk: &Disk) -> Self {
        self.plan.disk = Some(disk.path().to_owned());
        self.plan.disk_is_served = false;
        self
    }

    /// The same with a disk that loses in a [cut](ForgetfulDisk::cut) what was not flushed. Not for a Raspberry Pi.
    #[must_use]
    pub fn forgetful_disk(mut self, disk: &ForgetfulDisk) -> Self {
        self.plan.disk = Some(disk.socket().to_owned());
        self.plan.disk_is_served = true;
        self
    }

    /// Forget at the end what the machine wrote to its disk.
    #[must_use]
    pub fn snapshot(mut self, forget: bool) -> Self {
        self.plan.snapshot = forget;
        self
    }

    /// A stick that is in the machine when it starts.
    #[must_use]
    pub fn stick(mut self, stick: &Stick) -> Self {
        self.plan.stick = Some(stick.path().to_owned());
        self
    }

    /// Makes a port of the box appear on loopback. [`Machine::port`] tells where.
    #[must_use]
    pub fn forward(mut self, guest: u16, host: HostPort) -> Self {
        self.plan.forwards.push((guest, host));
        self
    }

    /// What the machine may reach.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.plan.network = network;
        self
    }

    /// One more network card, at the end of this cable.
    #[must_use]
    pub fn cable(mut self, cable: &Cable) -> Self {
        self.plan.cables.push(cable.clone());
        self
    }

    /// Sockets that a card can be plugged into while the machine runs: see [`Machine::plug`]. A Raspberry Pi has them
    /// in any case.
    #[must_use]
    pub fn usb(mut self) -> Self {
        self.plan.has_usb = true;
        self
    }

    /// What a reset does.
    #[must_use]
    pub fn reset(mut self, reset: Reset) -> Self {
        self.plan.reset = reset;
        self
    }

    /// More words for the kernel's command line; its default is `quiet`. Only where QEMU starts the kernel: behind a
    /// firmware the command line is signed into the slot.
    #[must_use]
    pub fn kernel_words(mut self, words: &str) -> Self {
        self.kernel_words.push(words.to_owned());
        self
    }

    /// More arguments for QEMU, for what has no name here (`-rtc base=1970-01-01`).
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.plan
            .extra
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Shows the console on standard output as it comes, without escape sequences.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Starts the machine. It is not up when this returns: wait for a line on its [`console`](Machine::console).
    pub fn start(&self) -> Result<Machine, Error> {
        let plan = self.finished_plan()?;
        let folder = tempfile::Builder::new()
            .prefix("postolka-")
            .tempdir()
            .map_err(Error::file("make a folder in", &std::env::temp_dir()))?;
        let (control, said) = (folder.path().join("qmp"), folder.path().join("said"));
        let console = Console::default();
        let (thread, until_dropped) = mpsc::channel();
        let mut child = self.spawn(&plan, &control, &said, &console, until_dropped)?;
        let started = connect(&control, &mut child).and_then(|mut qmp| {
            let ports = self.ports(&mut qmp)?;
            Ok((qmp, ports))
        });
        match started {
            Ok((qmp, ports)) => Ok(Machine::running(child, console, qmp, ports, thread, folder)),
            Err(error) => {
                // QEMU opens its control socket before the disk and the ports, and resets it when one of these
                // cannot be had. Then it says why and ends; what it says is the answer, not the reset.
                let has_ended = console.wait_closed(ENDED_WITHIN);
                let _ = child.kill();
                let _ = child.wait();
                Err(if has_ended {
                    explained(&fs::read_to_string(&said).unwrap_or_default())
                } else {
                    error
                })
            }
        }
    }

    /// The plan with what was only told the builder, if a machine can be built by it.
    fn finished_plan(&self) -> Result<Plan, Error> {
        let mut plan = self.plan.clone();
        match &mut plan.start {
            Start::Firmware(firmware) => {
                firmware.check()?;
                if let Some(words) = self.kernel_words.first() {
                    return Err(Error::SignedLine(words.clone()));
                }
            }
            Start::Direct { kernel_line, .. } => {
                for words in &self.kernel_words {
                    kernel_line.push(' ');
                    kernel_line.push_str(words);
                }
            }
        }
        Ok(plan)
    }

    /// Starts QEMU and a thread that takes in its console.
    ///
    /// `setpriv` asks the kernel to kill QEMU when the *thread* that started it ends, so this must be the thread
    /// that reads the console to its end, and not a test's. It stays until QEMU was waited for: at a clean stop QEMU
    /// closes the console first and its disk after that.
    fn spawn(
        &self,
        plan: &Plan,
        control: &Path,
        said: &Path,
        console: &Console,
        until_dropped: mpsc::Receiver<()>,
    ) -> Result<Child, Error> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", QEMU])
            .args(plan.arguments(control))
            // Ctrl-C is for whoever runs us; QEMU would take it for a power cut.
            .process_group(0)
            // What setpriv and QEMU say is read below, in English.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(said).map_err(Error::file("write", said))?);
        let (console, echo) = (console.clone(), self.echo);
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || match command.spawn() {
            Ok(mut child) => {
                let stdout = child.stdout.take();
                let heard = sender.send(Ok(child)).is_ok();
                if let Some(stdout) = stdout.filter(|_| heard) {
                    console.take_in(stdout, echo.then(|| Plain::new(std::io::stdout())));
                    let _ = until_dropped.recv(); // Nothing is ever sent: this ends with the machine.
                }
            }
            Err(error) => {
                // The other side waits for this message and for nothing else.
                let _ = sender.send(Err(error));
            }
        });
        receiver
            .recv()
            .map_err(|_| Error::NotStarted("its thread ended".to_owned()))?
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::NotFound => Error::Missing {
                    what: "setpriv",
                    package: "util-linux",
                },
                _ => Error::NotStarted(source.to_string()),
            })
    }

    fn ports(&self, qmp: &mut Qmp) -> Result<BTreeMap<u16, u16>, Error> {
        if self.plan.forwards.is_empty() || self.plan.network == Network::Absent {
            return Ok(BTreeMap::new());
        }
        let table = qmp.execute("human-monitor-command", &json!({"command-line": "info usernet"}))?;
        Ok(forwarded(table.as_str().unwrap_or_default()))
    }
}

/// Waits for the control socket.
fn connect(control: &Path, child: &mut Child) -> Result<Qmp, Error> {
    let until = Instant::now() + UP_WITHIN;
    loop {
        if let Ok(stream) = UnixStream::connect(control) {
            return Qmp::over(stream);
        }
        let ended = child
            .try_wait()
            .map_err(|error| Error::NotStarted(error.to_string()))?;
        if ended.is_some() || Instant::now() > until {
            return Err(Error::NotStarted("its control socket did not appear".to_owned()));
        }
        std::thread::sleep(RETRY);
    }
}

/// What QEMU said when it gave up, as an error of ours where it is one that people meet.
fn explained(said: &str) -> Error {
    if said.contains("failed to execute qemu-system-aarch64") {
        return Error::Missing {
            what: QEMU,
            package: "qemu-system-arm, version 10 or newer",
        };
    }
    if said.contains("Failed to get \"write\" lock") {
        return Error::DiskInUse;
    }
    // qemu-system-aarch64: …: Could not set up host forwarding rule 'tcp:127.0.0.1:2525-:25'
    if let Some((_, rule)) = said.split_once("Could not set up host forwarding rule 'tcp:127.0.0.1:")
        && let Some(port) = rule.split('-').next().and_then(|port| port.parse().ok())
    {
        return Error::PortTaken(port);
    }
    let said = said.trim();
    Error::NotStarted(if said.is_empty() { "it said nothing" } else { said }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let said = "qemu-system-aarch64: -netdev user,id=net: Could not set up host forwarding rule 'tcp:127.0.0.1:2525-:25'\n";
        assert!(matches!(explained(said), Error::PortTaken(2525)));
    }

    #[test]
    fn a_disk_in_use_and_a_missing_qemu_are_told_apart() {
        let locked = "qemu-system-aarch64: -device virtio-blk-pci: Failed to get \"write\" lock\nIs another process using the image [d]?\n";
        assert!(matches!(explained(locked), Error::DiskInUse));
        let missing = "setpriv: failed to execute qemu-system-aarch64: No such file or directory\n";
        assert!(matches!(explained(missing), Error::Missing { what: QEMU, .. }));
    }

    #[test]
    fn anything_else_is_passed_on_in_qemus_words() {
        assert_eq!(
            explained("qemu-system-aarch64: cannot set up guest memory\n").to_string(),
            "QEMU did not start the machine: qemu-system-aarch64: cannot set up guest memory"
        );
        assert!(explained("").to_string().ends_with("it said nothing"));
    }
}
