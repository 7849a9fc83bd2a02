//! The table of boards.

/// A line of a GPIO chip. What is wired to it connects it to ground: the chip pulls it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What the chip's driver calls it.
    pub chip: &'static str,
    /// Its number there.
    pub offset: u32,
}

/// One kind of computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// What people call it, in ASCII for the console.
    pub name: &'static str,
    /// The name of the status LED in the kernel's LED class.
    pub led: Option<&'static str>,
    /// Where a button may be wired.
    pub button: Option<Line>,
    /// The entry of the device tree's root `compatible` property that names it.
    compatible: &'static str,
}

/// A button between the last two pins of a Pi's header: GPIO 21 on pin 40, and ground on pin 39 beside it. No device tree
/// that the kernel brings gives the pin to anything else, and the clocks that people plug on (I2C, pins 3 and 5) leave it
/// free. The labels are those of the kernel's `pinctrl-bcm2835.c`.
const BUTTON_PI_3: Line = Line {
    chip: "pinctrl-bcm2835",
    offset: 21,
};
const BUTTON_PI_4: Line = Line {
    chip: "pinctrl-bcm2711",
    offset: 21,
};

/// QEMU's `virt` has neither LED nor button of its own. A kernel that has `uleds` and `gpio-sim` can be given both, by these
/// names; the tests do so.
///
/// Source of the names: `arch/arm/boot/dts/broadcom` of Linux 6.12. "ACT" is the green LED beside the power socket; the
/// red one ("PWR") stays with the power supply's own warning, except on the 400, which has no other.
const BOARDS: [Board; 6] = [
    Board {
        compatible: "linux,dummy-virt",
        name: "QEMU virt",
        led: Some("postolka::status"),
        button: Some(Line {
            chip: "postolka-button",
            offset: 0,
        }),
    },
    Board {
        compatible: "raspberrypi,3-model-b",
        name: "Raspberry Pi 3 Model B",
        led: Some("ACT"),
        button: Some(BUTTON_PI_3),
    },
    Board {
        compatible: "raspberrypi,3-model-b-plus",
        name: "Raspberry Pi 3 Model B+",
        led: Some("ACT"),
        button: Some(BUTTON_PI_3),
    },
    Board {
        compatible: "raspberrypi,4-model-b",
        name: "Raspberry Pi 4 Model B",
        led: Some("ACT"),
        button: Some(BUTTON_PI_4),
    },
    Board {
        compatible: "raspberrypi,400",
        name: "Raspberry Pi 400",
        led: Some("PWR"),
        button: Some(BUTTON_PI_4),
    },
    Board {
        compatible: "raspberrypi,4-compute-module",
        name: "Raspberry Pi Compute Module 4",
        led: Some("ACT"),
        button: Some(BUTTON_PI_4),
    },
];

impl Board {
    /// A computer that is not in the table.
    pub const UNKNOWN: Self = Self {
        compatible: "",
        name: "unknown board",
        led: None,
        button: None,
    };

    /// The board of a device tree, by its root `compatible` property as the kernel shows it: entries that end in
    /// NUL, the most exact first (Devicetree Specification §2.3.1).
    pub fn find(compatible: &[u8]) -> Self {
        compatible
            .split(|&octet| octet == 0)
            .find_map(|entry| BOARDS.iter().find(|board| board.compatible.as_bytes() == entry))
            .copied()
            .unwrap_or(Self::UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(compatible: &[u8], expected: &str) {
        assert_eq!(Board::find(compatible).name, expected);
    }

    #[test]
    fn a_board_is_found_by_its_most_exact_entry() {
        check(b"linux,dummy-virt\0", "QEMU virt");
        check(b"raspberrypi,4-model-b\0brcm,bcm2711\0", "Raspberry Pi 4 Model B");
        check(
            b"raspberrypi,3-model-b-plus\0raspberrypi,3-model-b\0",
            "Raspberry Pi 3 Model B+",
        );
    }

    #[test]
    fn an_unknown_board_is_no_error() {
        check(b"", "unknown board");
        check(b"\0", "unknown board");
        check(b"pine64,rock64\0rockchip,rk3328\0", "unknown board");
        check(b"raspberrypi,4-model-bx\0", "unknown board");
        check(b"\xff\xfe\0", "unknown board");
    }
}
