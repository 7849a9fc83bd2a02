//! A machine described, and the command line that makes QEMU build it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::ports::HostPort;

/// What a machine is made of. Plain data: nothing has been started, opened or chosen yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) kernel_line: String,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u8,
    pub(crate) disk: Option<PathBuf>,
    /// Writes go to a temporary file and are forgotten when the machine ends.
    pub(crate) snapshot: bool,
    pub(crate) stick: Option<PathBuf>,
    /// Port in the box, port on the computer.
    pub(crate) forwards: Vec<(u16, HostPort)>,
    pub(crate) network: Network,
    pub(crate) reset: Reset,
    pub(crate) extra: Vec<String>,
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
    /// The arguments for `qemu-system-aarch64`.
    pub(crate) fn arguments(&self, control: &Path) -> Vec<OsString> {
        let mut line = CommandLine::default();
        line.flag("-nodefaults").flag("-no-user-config");
        line.option("-display", "none");
        // Without ACPI the kernel takes the device tree, as on the boards, and finds the power button in it.
        line.option("-machine", "virt,acpi=off");
        line.option("-cpu", "cortex-a53");
        line.option("-smp", &self.cpus.to_string());
        line.option("-m", &self.memory_mib.to_string());
        line.file_option("-kernel", "", &self.kernel);
        line.file_option("-initrd", "", &self.initrd);
        line.option("-append", &self.kernel_line);
        line.option("-chardev", "stdio,id=console,signal=off");
        line.option("-serial", "chardev:console");
        line.file_option("-qmp", "unix:", control)
            .and(",server=on,wait=off");
        line.option("-device", "virtio-rng-pci");
        line.option("-device", "i6300esb");
        line.option("-action", "watchdog=reset");
        if self.reset == Reset::Ends {
            line.option("-action", "reboot=shutdown");
        }
        if let Some(disk) = &self.disk {
            let snapshot = if self.snapshot { "on" } else { "off" };
            line.file_option(
                "-drive",
                "if=none,id=data,format=raw,discard=unmap,detect-zeroes=unmap,file=",
                disk,
            )
            .and(&format!(",snapshot={snapshot}"));
            line.option("-device", "virtio-blk-pci,drive=data,serial=data");
        }
        if let Some(stick) = &self.stick {
            line.file_option("-drive", "if=none,id=stick,format=raw,readonly=on,file=", stick);
            line.option("-device", "virtio-blk-pci,drive=stick,serial=stick");
        }
        self.network_arguments(&mut line);
        line.arguments.extend(self.extra.iter().map(OsString::from));
        line.arguments
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
        line.option("-device", "virtio-net-pci,netdev=net,romfile=");
    }
}

/// Arguments as they grow. In an option's list of values a comma in a file name is written twice.
#[derive(Default)]
struct CommandLine {
    arguments: Vec<OsString>,
}

impl CommandLine {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.arguments.push(name.into());
        self
    }

    fn option(&mut self, name: &str, value: &str) -> &mut Self {
        self.flag(name).flag(value)
    }

    fn file_option(&mut self, name: &str, before: &str, file: &Path) -> &mut Self {
        // A value without a list in front is one file name, commas and all.
        let file = match before {
            "" => file.as_os_str().to_owned(),
            _ => file.to_string_lossy().replace(',', ",,").into(),
        };
        self.flag(name);
        let mut value = OsString::from(before);
        value.push(file);
        self.arguments.push(value);
        self
    }

    /// More of the last value.
    fn and(&mut self, more: &str) -> &mut Self {
        if let Some(last) = self.arguments.last_mut() {
            last.push(more);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            kernel: "Image".into(),
            initrd: "initrd".into(),
            kernel_line: "quiet".to_owned(),
            memory_mib: 256,
            cpus: 2,
            disk: Some("data.img".into()),
            snapshot: false,
            stick: None,
            forwards: vec![(25, HostPort::At(2525)), (993, HostPort::Free)],
            network: Network::Closed,
            reset: Reset::Restarts,
            extra: Vec::new(),
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

    #[test]
    fn the_machine_has_what_the_box_expects() {
        let line = line(&plan());
        for part in [
            "-machine virt,acpi=off -cpu cortex-a53 -smp 2 -m 256 -kernel Image -initrd initrd -append quiet",
            "-serial chardev:console",
            "-qmp unix:/run/qmp,server=on,wait=off",
            "-device i6300esb -action watchdog=reset",
            "id=data,format=raw,discard=unmap,detect-zeroes=unmap,file=data.img,snapshot=off",
            "-device virtio-net-pci,netdev=net,romfile=",
        ] {
            assert!(line.contains(part), "'{part}' is not in: {line}");
        }
        assert!(
            !line.contains("stick") && !line.contains("reboot=shutdown"),
            "{line}"
        );
    }

    #[test]
    fn ports_are_forwarded_on_loopback_only_and_the_world_is_out_of_reach() {
        let line = line(&plan());
        assert!(
            line.contains(
                "-netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2525-:25,hostfwd=tcp:127.0.0.1:0-:993"
            ),
            "{line}"
        );
    }

    #[test]
    fn a_machine_without_network_has_no_interface() {
        let mut plan = plan();
        plan.network = Network::Absent;
        let line = line(&plan);
        assert!(
            !line.contains("-netdev") && !line.contains("virtio-net"),
            "{line}"
        );
    }

    #[test]
    fn a_stick_is_read_only_and_a_snapshot_forgets() {
        let mut plan = plan();
        plan.stick = Some("stick.img".into());
        plan.snapshot = true;
        plan.reset = Reset::Ends;
        let line = line(&plan);
        assert!(
            line.contains("id=stick,format=raw,readonly=on,file=stick.img"),
            "{line}"
        );
        assert!(line.contains("file=data.img,snapshot=on"), "{line}");
        assert!(line.contains("-action reboot=shutdown"), "{line}");
    }

    #[test]
    fn a_comma_in_a_file_name_ends_no_value() {
        let mut plan = plan();
        plan.disk = Some("a,b.img".into());
        plan.kernel = "k,1".into();
        let line = line(&plan);
        assert!(line.contains("file=a,,b.img,snapshot"), "{line}");
        assert!(line.contains("-kernel k,1 "), "{line}");
    }
}
