//! The boards a slot can be for.

/// A family of boards that one image serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// QEMU's `virt`, and whatever else has UEFI and describes itself.
    Virt,
    /// Raspberry Pi 3 and 4.
    Rpi,
}

impl Board {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Virt, Self::Rpi];

    /// Its bit in [`Header::boards`](crate::Header::boards).
    pub const fn bit(self) -> u32 {
        match self {
            Self::Virt => 1,
            Self::Rpi => 2,
        }
    }

    /// Its name on command lines and in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::Rpi => "rpi",
        }
    }

    /// The reverse of [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|board| board.name() == name)
    }
}
