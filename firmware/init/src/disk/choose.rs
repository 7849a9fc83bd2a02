//! Which device mail is kept on. Pure.
//!
//! # Invariants
//! - A device that holds anything at all is never chosen to be written to.
//! - While there is a data file system, readable or not, no other device is taken in its place: the box would look
//!   empty to its people.

use crate::disk::content::Content;

/// The name that the partition of a flashed image bears.
const PART_NAME: &str = "data";
/// The size of the pristine file system.
pub(crate) const OCTETS_MIN: u64 = 128 << 20;

/// A block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its name in `/sys/class/block`.
    pub(crate) name: String,
    /// The name of a GPT partition.
    pub(crate) part_name: Option<String>,
    pub(crate) shape: Shape,
    pub(crate) is_removable: bool,
    pub(crate) is_read_only: bool,
    pub(crate) octets: u64,
    pub(crate) content: Content,
}

/// Whether a device is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A disk without partitions.
    Whole,
    /// A disk with partitions.
    Divided,
    /// One of its partitions.
    Partition,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Mount this one.
    Use(String),
    /// Make a file system on this one, then mount it.
    Make(String),
    /// This one would be it and is too small.
    Small(String),
    /// There are only others'.
    Foreign(String),
    /// There is none.
    Nothing,
}

/// Chooses among `devices`, which are in the order of their names.
pub(crate) fn choose(devices: &[Device]) -> Choice {
    let is_named = |device: &&Device| device.part_name.as_deref() == Some(PART_NAME);
    let is_whole = |device: &&Device| device.shape == Shape::Whole;
    let is_new = |device: &&Device| {
        matches!(
            device.content,
            Content::Blank | Content::Unfinished | Content::Reset
        )
    };

    // The partition that was made for it, whatever is in it; what is not blank is mounted, or fails to, as it is.
    let named = devices.iter().find(is_named);
    // A whole disk that was taken before.
    let taken = || {
        devices
            .iter()
            .filter(is_whole)
            .find(|device| device.content == Content::Data)
    };
    if let Some(device) = named.filter(|device| !is_new(device)).or_else(taken) {
        return Choice::Use(device.name.clone());
    }
    // A blank stick is not taken: it is in somebody's pocket tomorrow.
    let blank =
        |device: &&Device| is_whole(device) && is_new(device) && !device.is_read_only && !device.is_removable;
    let fit = |device: &&Device| device.octets >= OCTETS_MIN;
    if let Some(device) = named.or_else(|| devices.iter().filter(blank).find(fit)) {
        return if fit(&device) {
            Choice::Make(device.name.clone())
        } else {
            Choice::Small(device.name.clone())
        };
    }
    if let Some(device) = devices.iter().find(blank) {
        return Choice::Small(device.name.clone());
    }
    // FAT sticks are no disks that somebody would expect mail on.
    let foreign = devices
        .iter()
        .find(|device| device.shape != Shape::Partition && device.content != Content::Fat);
    foreign.map_or(Choice::Nothing, |device| Choice::Foreign(device.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(name: &str, content: Content) -> Device {
        Device {
            name: name.to_owned(),
            part_name: None,
            shape: Shape::Whole,
            is_removable: false,
            is_read_only: false,
            octets: GIB,
            content,
        }
    }

    fn partition(name: &str, part_name: &str, content: Content) -> Device {
        Device {
            part_name: Some(part_name.to_owned()),
            shape: Shape::Partition,
            ..disk(name, content)
        }
    }

    fn partitioned(name: &str) -> Device {
        Device {
            shape: Shape::Divided,
            ..disk(name, Content::Other)
        }
    }

    fn check(devices: &[Device], expected: &Choice) {
        assert_eq!(&choose(devices), expected);
    }

    fn use_(name: &str) -> Choice {
        Choice::Use(name.to_owned())
    }

    fn make(name: &str) -> Choice {
        Choice::Make(name.to_owned())
    }

    #[test]
    fn the_partition_of_a_flashed_image_is_used() {
        let devices = [
            partitioned("mmcblk0"),
            partition("mmcblk0p1", "esp", Content::Fat),
            partition("mmcblk0p5", "data", Content::Data),
        ];
        check(&devices, &use_("mmcblk0p5"));
    }

    #[test]
    fn a_blank_or_unfinished_data_partition_is_made() {
        for content in [Content::Blank, Content::Unfinished, Content::Reset] {
            check(
                &[partitioned("vda"), partition("vda5", "data", content)],
                &make("vda5"),
            );
        }
    }

    #[test]
    fn a_whole_blank_disk_is_made_and_found_again() {
        check(&[disk("vda", Content::Blank)], &make("vda"));
        check(&[disk("vda", Content::Unfinished)], &make("vda"));
        check(&[disk("vda", Content::Data)], &use_("vda"));
    }

    #[test]
    fn a_used_disk_goes_before_a_blank_one_wherever_it_is() {
        check(
            &[disk("vda", Content::Blank), disk("vdb", Content::Data)],
            &use_("vdb"),
        );
    }

    #[test]
    fn an_unreadable_data_partition_is_not_replaced_by_a_blank_disk() {
        for content in [Content::Other, Content::Unreadable, Content::Fat] {
            let devices = [
                partitioned("vda"),
                partition("vda5", "data", content),
                disk("vdb", Content::Blank),
            ];
            check(&devices, &use_("vda5"));
        }
    }

    #[test]
    fn what_holds_anything_is_never_written_to() {
        for content in [Content::Other, Content::Unreadable] {
            check(&[disk("sda", content)], &Choice::Foreign("sda".to_owned()));
        }
        check(
            &[partitioned("sda"), partition("sda1", "root", Content::Blank)],
            &Choice::Foreign("sda".to_owned()),
        );
        check(&[disk("sda", Content::Fat)], &Choice::Nothing);
    }

    #[test]
    fn a_partition_table_hides_a_disk_even_if_the_rest_looks_blank() {
        let device = Device {
            shape: Shape::Divided,
            ..disk("sda", Content::Blank)
        };
        check(&[device], &Choice::Foreign("sda".to_owned()));
    }

    #[test]
    fn a_blank_stick_or_a_read_only_disk_is_not_taken() {
        let stick = Device {
            is_removable: true,
            ..disk("sda", Content::Blank)
        };
        check(&[stick.clone(), disk("vda", Content::Blank)], &make("vda"));
        check(&[stick], &Choice::Foreign("sda".to_owned()));
        let protected = Device {
            is_read_only: true,
            ..disk("mmcblk0", Content::Blank)
        };
        check(&[protected], &Choice::Foreign("mmcblk0".to_owned()));
    }

    #[test]
    fn a_disk_that_is_too_small_is_said_to_be() {
        let small = Device {
            octets: OCTETS_MIN - 512,
            ..disk("vda", Content::Blank)
        };
        check(std::slice::from_ref(&small), &Choice::Small("vda".to_owned()));
        check(&[small, disk("vdb", Content::Blank)], &make("vdb"));
        let exact = Device {
            octets: OCTETS_MIN,
            ..disk("vda", Content::Blank)
        };
        check(&[exact], &make("vda"));
    }

    #[test]
    fn no_disk_is_nothing() {
        check(&[], &Choice::Nothing);
    }
}
