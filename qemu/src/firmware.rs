//! What starts a machine from its disk when the power comes on, as a board's own firmware does.

use std::path::Path;

use crate::error::Error;

/// Debian's builds for QEMU's `virt`. Both look for `/EFI/BOOT/BOOTAA64.EFI` on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// What most boards come with.
    UBoot,
    /// Tianocore's UEFI, which servers and virtual machines have. It forgets its variables when the machine ends, so
    /// nothing a box needs can lie in them.
    Edk2,
}

impl Firmware {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::UBoot, Self::Edk2];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UBoot => "uboot",
            Self::Edk2 => "edk2",
        }
    }

    /// The reverse of [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|firmware| firmware.name() == name)
    }

    /// Its file, for QEMU's `-bios`: the start of the flash memory, read-only; the other half is empty at each power-on.
    ///
    /// A pair of `pflash` files instead made no difference to EDK2's time.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::UBoot => "/usr/lib/u-boot/qemu_arm64/u-boot.bin",
            Self::Edk2 => "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
        }
    }

    /// Whether its file is there.
    pub(crate) fn check(self) -> Result<(), Error> {
        if Path::new(self.file()).is_file() {
            return Ok(());
        }
        Err(Error::Missing {
            what: self.file(),
            package: match self {
                Self::UBoot => "u-boot-qemu",
                Self::Edk2 => "qemu-efi-aarch64",
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firmware_is_found_by_its_name() {
        for firmware in Firmware::ALL {
            assert_eq!(Firmware::named(firmware.name()), Some(firmware));
        }
        assert_eq!(Firmware::named("bios"), None);
    }
}
