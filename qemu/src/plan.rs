//! A machine described, and the command line that makes QEMU build it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cable::Cable;
use crate::firmware::Firmware;
use crate::line::CommandLine;
use crate::ports::HostPort;

/// What a machine is made of. Plain data: nothing has been started, opened or chosen yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) board: Board,
    pub(crate) start: Start,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u8,
    pub(crate) disk: Option<PathBuf>,
    /// The disk is no file but a socket, where somebody serves it.
    pub(crate) disk_is_served: bool,
    /// Writes go to a temporary file and are forgotten when the machine ends.
    pub(crate) snapshot: bool,
    pub(crate) stick: Option<PathBuf>,
    /// Port in the box, port on the computer.
    pub(crate) forwards: Vec<(u16, HostPort)>,
    pub(crate) network: Network,
    /// More cards, each with a cable whose other end somebody holds.
    pub(crate) cables: Vec<Cable>,
    /// Where cards can be plugged in while the machine runs.
    pub(crate) has_usb: bool,
    pub(crate) reset: Reset,
    pub(crate) extra: Vec<String>,
}

/// What the machine is built like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Board {
    /// QEMU's own, with a Cortex-A53.
    Virt,
    /// A Raspberry Pi 3 B, described by its device tree. Its disk is the SD card.
    Raspi3b { device_tree: PathBuf },
}

/// What runs first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// The kernel: QEMU puts it and the initial file system into memory, and nothing of the disk is asked.
    Direct {
        kernel: PathBuf,
        initrd: PathBuf,
        kernel_line: String,
    },
    /// A firmware, which looks for the rest on the disk.
    Firmware(Firmware),
}

/// How much of the world the machine sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// DHCP and the forwarded ports; nothing beyond this computer can be reached from inside.
    #[default]
    Closed,
    /// Like [`Closed`](Self::Closed), and what is inside may reach whatever this computer reaches.
    Open,
    /// No network interface at all.
    Absent,
}

/// What happens when the machine asks for a reset: a panic, the watchdog, a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reset {
    /// It starts again, as hardware does.
    #[default]
    Restarts,
    /// It ends, so that whoever waits for it learns of it.
    Ends,
}

impl Plan {
    /// A machine on which everything but its board and its start is as usual.
    pub(crate) fn new(board: Board, start: Start) -> Self {
        // A Pi has these and takes no others; of ours it is what the smallest board has that the box is made for.
        let (memory_mib, cpus) = match board {
            Board::Virt => (512, 2),
            Board::Raspi3b { .. } => (1024, 4),
        };
        Self {
            board,
            start,
            memory_mib,
            cpus,
            disk: None,
            disk_is_served: false,
            snapshot: false,
            stick: None,
            forwards: Vec::new(),
            network: Network::Closed,
            cables: Vec::new(),
            has_usb: false,
            reset: Reset::Restarts,
            extra: Vec::new(),
        }
    }

    /// The arguments for `qemu-system-aarch64`.
    pub(crate) fn arguments(&self, control: &Path) -> Vec<OsString> {
        let mut line = CommandLine::default();
        line.flag("-nodefaults").flag("-no-user-config");
        line.option("-display", "none");
        self.board_arguments(&mut line);
        line.option("-smp", &self.cpus.to_string());
        line.option("-m", &self.memory_mib.to_string());
        self.start_arguments(&mut line);
        line.option("-chardev", "stdio,id=console,signal=off");
        line.option("-serial", "chardev:console");
        line.file_option("-qmp", "unix:", control)
            .and(",server=on,wait=off");
        line.option("-action", "watchdog=reset");
        if self.reset == Reset::Ends {
            line.option("-action", "reboot=shutdown");
        }
        if let Some(disk) = &self.disk {
            self.disk_arguments(disk, &mut line);
        }
        if let Some(stick) = &self.stick {
            line.file_option("-drive", "if=none,id=stick,format=raw,readonly=on,file=", stick);
            line.option("-device", self.device("virtio-blk-pci", "usb-storage"))
                .and(",drive=stick,serial=stick");
        }
        self.network_arguments(&mut line);
        self.cable_arguments(&mut line);
        line.arguments.extend(self.extra.iter().map(OsString::from));
        line.arguments
    }

    fn board_arguments(&self, line: &mut CommandLine) {
        match &self.board {
            Board::Virt => {
                // Without ACPI the kernel takes the device tree, as on the boards, and finds the power button in it.
                line.option("-machine", "virt,acpi=off");
                line.option("-cpu", "cortex-a53");
                line.option("-device", "virtio-rng-pci");
                line.option("-device", "i6300esb");
                // The machine's own power button is only ever pressed for a moment; a key can be held.
                line.option("-device", "virtio-keyboard-pci");
            }
            Board::Raspi3b { device_tree } => {
                line.option("-machine", "raspi3b");
                line.file_option("-dtb", "", device_tree);
            }
        }
    }

    fn start_arguments(&self, line: &mut CommandLine) {
        match &self.start {
            Start::Direct {
                kernel,
                initrd,
                kernel_line,
            } => {
                line.file_option("-kernel", "", kernel);
                line.file_option("-initrd", "", initrd);
                line.option("-append", kernel_line);
            }
            Start::Firmware(firmware) => {
                line.option("-bios", firmware.file());
                if *firmware == Firmware::Edk2 {
                    // It waits five seconds for a key unless it is told how long to. (U-Boot waits two, in any case.)
                    line.option("-boot", "menu=on,splash-time=0");
                }
            }
        }
    }

    fn disk_arguments(&self, disk: &Path, line: &mut CommandLine) {
        let snapshot = if self.snapshot { "on" } else { "off" };
        line.file_option(
            "-drive",
            match self.board {
                Board::Virt if self.disk_is_served => {
                    "if=none,id=data,format=raw,file.driver=nbd,file.server.type=unix,file.server.path="
                }
                Board::Virt => "if=none,id=data,format=raw,discard=unmap,detect-zeroes=unmap,file=",
                Board::Raspi3b { .. } => "if=sd,id=data,format=raw,file=",
            },
            disk,
        )
        .and(&format!(",snapshot={snapshot}"));
        if self.board == Board::Virt {
            line.option("-device", "virtio-blk-pci,drive=data,serial=data");
            if matches!(self.start, Start::Firmware(_)) {
                // Otherwise EDK2 goes on to look for an operating system in the network.
                line.and(",bootindex=0");
            }
        }
    }

    fn network_arguments(&self, line: &mut CommandLine) {
        use std::fmt::Write;
        let restrict = match self.network {
            Network::Absent => return,
            Network::Closed => "on",
            Network::Open => "off",
        };
        let mut user = format!("user,id=net,restrict={restrict}");
        for (guest, host) in &self.forwards {
            let host = match host {
                HostPort::Free => 0,
                HostPort::At(port) => *port,
            };
            // Writing to a String cannot fail.
            let _ = write!(user, ",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
        }
        line.option("-netdev", &user);
        // An empty romfile: the network is never booted from, and the file is in a package of its own.
        line.option("-device", self.device("virtio-net-pci,romfile=", "usb-net"))
            .and(",netdev=net");
    }

    fn cable_arguments(&self, line: &mut CommandLine) {
        for cable in &self.cables {
            line.option("-netdev", &cable.backend());
            line.option("-device", self.device("virtio-net-pci,romfile=", "usb-net"))
                .and(&format!(
                    ",netdev={},id={},mac={}",
                    cable.backend_id(),
                    cable.card_id(),
                    cable.mac_text()
                ));
        }
        if self.has_usb && self.board == Board::Virt {
            line.option("-device", "qemu-xhci");
        }
    }

    /// The device for a board with PCI, or for one with USB only.
    fn device(&self, pci: &'static str, usb: &'static str) -> &'static str {
        match self.board {
            Board::Virt => pci,
            Board::Raspi3b { .. } => usb,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            memory_mib: 256,
            disk: Some("data.img".into()),
            forwards: vec![(25, HostPort::At(2525)), (993, HostPort::Free)],
            ..Plan::new(Board::Virt, direct("quiet"))
        }
    }

    fn direct(kernel_line: &str) -> Start {
        Start::Direct {
            kernel: "Image".into(),
            initrd: "initrd".into(),
            kernel_line: kernel_line.to_owned(),
        }
    }

    fn line(plan: &Plan) -> String {
        let arguments = plan.arguments(Path::new("/run/qmp"));
        let words: Vec<String> = arguments
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }

    fn check(plan: &Plan, parts: &[&str], absent: &[&str]) {
        let line = line(plan);
        for part in parts {
            assert!(line.contains(part), "'{part}' is not in: {line}");
        }
        for part in absent {
            assert!(!line.contains(part), "'{part}' is in: {line}");
        }
    }

    #[test]
    fn the_machine_has_what_the_box_expects() {
        check(
            &plan(),
            &[
                "-machine virt,acpi=off -cpu cortex-a53",
                "-smp 2 -m 256 -kernel Image -initrd initrd -append quiet",
                "-serial chardev:console",
                "-qmp unix:/run/qmp,server=on,wait=off",
                "-device i6300esb",
                "-action watchdog=reset",
                "id=data,format=raw,discard=unmap,detect-zeroes=unmap,file=data.img,snapshot=off",
                "-device virtio-net-pci,romfile=,netdev=net",
            ],
            &["stick", "reboot=shutdown", "-bios", "bootindex"],
        );
    }

    #[test]
    fn a_disk_that_is_served_is_asked_for_at_its_socket() {
        let plan = Plan {
            disk: Some("/run/nbd".into()),
            disk_is_served: true,
            ..plan()
        };
        check(
            &plan,
            &[
                "id=data,format=raw,file.driver=nbd,file.server.type=unix,file.server.path=/run/nbd,snapshot=off",
            ],
            &["discard", "file=/run/nbd"],
        );
    }

    #[test]
    fn a_firmware_starts_from_the_disk_and_is_given_no_kernel() {
        for (firmware, file) in [
            (Firmware::UBoot, "-bios /usr/lib/u-boot/qemu_arm64/u-boot.bin "),
            (Firmware::Edk2, "-bios /usr/share/qemu-efi-aarch64/QEMU_EFI.fd "),
        ] {
            let plan = Plan {
                start: Start::Firmware(firmware),
                ..plan()
            };
            check(
                &plan,
                &[
                    file,
                    "-machine virt,acpi=off ",
                    "-device virtio-blk-pci,drive=data,serial=data,bootindex=0 ",
                ],
                &["-kernel", "-initrd", "-append"],
            );
        }
    }

    #[test]
    fn a_raspberry_pi_has_its_disk_as_a_card_and_the_rest_on_usb() {
        let board = Board::Raspi3b {
            device_tree: "pi.dtb".into(),
        };
        let plan = Plan {
            disk: Some("card.img".into()),
            stick: Some("stick.img".into()),
            ..Plan::new(board, direct("console=ttyAMA0"))
        };
        check(
            &plan,
            &[
                "-machine raspi3b -dtb pi.dtb -smp 4 -m 1024 -kernel Image -initrd initrd -append console=ttyAMA0 ",
                "-drive if=sd,id=data,format=raw,file=card.img,snapshot=off",
                "-device usb-storage,drive=stick",
                "-device usb-net,netdev=net",
            ],
            &["virtio", "i6300esb", "virt,"],
        );
    }

    #[test]
    fn ports_are_forwarded_on_loopback_only_and_the_world_is_out_of_reach() {
        check(
            &plan(),
            &["-netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2525-:25,hostfwd=tcp:127.0.0.1:0-:993"],
            &[],
        );
    }

    #[test]
    fn a_machine_without_network_has_no_interface() {
        let mut plan = plan();
        plan.network = Network::Absent;
        check(&plan, &[], &["-netdev", "virtio-net"]);
    }

    #[test]
    fn a_cable_has_a_card_with_its_own_address_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let (cable, _end) = Cable::lay(folder.path(), "lan", [0x52, 0x54, 0, 0xca, 0xb1, 0xe]).unwrap();
        let mut plan = plan();
        plan.network = Network::Absent;
        plan.cables.push(cable);
        plan.has_usb = true;
        check(
            &plan,
            &[
                "-netdev dgram,id=cable-lan,local.type=unix,local.path=",
                "/lan-machine,remote.type=unix,remote.path=",
                "-device virtio-net-pci,romfile=,netdev=cable-lan,id=card-lan,mac=52:54:00:ca:b1:0e -device qemu-xhci",
            ],
            &["-netdev user"],
        );
    }

    #[test]
    fn a_stick_is_read_only_and_a_snapshot_forgets() {
        let mut plan = plan();
        plan.stick = Some("stick.img".into());
        plan.snapshot = true;
        plan.reset = Reset::Ends;
        check(
            &plan,
            &[
                "id=stick,format=raw,readonly=on,file=stick.img",
                "file=data.img,snapshot=on",
                "-action reboot=shutdown",
            ],
            &[],
        );
    }

    #[test]
    fn a_comma_in_a_file_name_ends_no_value() {
        let mut plan = plan();
        plan.disk = Some("a,b.img".into());
        plan.start = Start::Direct {
            kernel: "k,1".into(),
            initrd: "initrd".into(),
            kernel_line: "quiet".to_owned(),
        };
        check(&plan, &["file=a,,b.img,snapshot", "-kernel k,1 "], &[]);
    }
}
