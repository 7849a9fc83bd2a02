//! `cargo image show FILE`: what is in a slot or on a disk.

use std::path::Path;

use format::{Roots, Slot};
use jiff::Timestamp;

use crate::build;
use crate::error::Error;
use crate::keyfile::hex;
use crate::keys;
use crate::look::{DiskLook, Looked, Mbr, SlotLook, look};
use crate::options::Keys;
use crate::source::Source;
use crate::verify::{boards, spoken};

pub(crate) fn show(path: &Path, keys: Keys) -> Result<(), Error> {
    let roots = keys::roots_of(keys)?;
    let source = Source::open(path)?;
    let looked = look(&source, Roots(&roots)).map_err(|refusal| Error::NotWhole {
        path: path.to_owned(),
        what: refusal.to_string(),
    })?;
    print!("{}", described(&looked));
    Ok(())
}

fn described(looked: &Looked) -> String {
    match looked {
        Looked::Slot(slot) => lines(&slot_lines(slot), ""),
        Looked::Disk(disk) => disk_text(disk),
    }
}

type Line = (&'static str, String);

fn slot_lines(slot: &SlotLook) -> Vec<Line> {
    let header = &slot.header;
    let size = |octets: u32| build::spoken(u64::from(octets)).trim().to_owned();
    let certificate = &header.certificate;
    vec![
        ("version", format!("{}, {}", header.version, header.name)),
        ("board", boards(header)),
        ("built", date(header.built)),
        (
            "updates",
            match header.min_from {
                0 => "any version".to_owned(),
                number => format!("version {number} and later ones"),
            },
        ),
        ("loader", format!("{} or later", header.loader_min)),
        ("kernel", size(header.parts.kernel)),
        ("file system", size(header.parts.cpio)),
        ("command line", slot.command_line.clone()),
        (
            "in all",
            build::spoken(header.parts.slot_octets() as u64).trim().to_owned(),
        ),
        (
            "key",
            format!(
                "{}…, epoch {}{}",
                &hex(&certificate.key)[..16],
                certificate.epoch,
                if certificate.is_development {
                    ", DEVELOPMENT KEY"
                } else {
                    ""
                }
            ),
        ),
        (
            "parts",
            match slot.parts {
                Ok(()) => "whole".to_owned(),
                Err(refusal) => refusal.to_string(),
            },
        ),
    ]
}

fn disk_text(disk: &DiskLook) -> String {
    let mut text = String::new();
    let table = match (&disk.tables, disk.mbr) {
        ([Err(_), Err(_)], _) => "damaged, and so is its copy",
        ([_, Err(_)], _) => "its copy at the end of the disk is damaged",
        ([Err(_), _], _) => "damaged; this is its copy at the end of the disk",
        (_, Mbr::Hybrid) => "whole, twice, and the ESP is in the MBR for a Raspberry Pi 3",
        _ => "whole, twice",
    };
    text += &lines(&[("partitions", table.to_owned())], "");
    text.extend(disk.table().iter().flat_map(|table| {
        table.extents().map(|(name, extent)| {
            let name: String = name.chars().collect();
            let (octets, start) = (extent.octets >> 20, extent.start >> 20);
            format!(
                "  {} {name:10} {octets:>6} MiB at {start:>4} MiB\n",
                extent.number
            )
        })
    }));
    let loader = match &disk.loader {
        Ok(loader) => build::spoken(loader.len() as u64).trim().to_owned(),
        Err(what) => format!("none: the ESP {what}"),
    };
    let bootstate = match (&disk.state, disk.copies) {
        (None, _) => "damaged, both copies".to_owned(),
        (Some(state), [Some(_), Some(_)]) => spoken(state),
        (Some(state), _) => format!("{} (one copy is damaged)", spoken(state)),
    };
    let mut about = vec![("loader", loader), ("bootstate", bootstate)];
    if let Some(state) = &disk.state {
        about.push((
            "floors",
            format!("version {}, epoch {}", state.min_version, state.min_epoch),
        ));
    }
    text += &lines(&about, "");
    text.extend(
        Slot::ALL
            .into_iter()
            .zip(&disk.slots)
            .map(|(which, slot)| match slot {
                Ok(slot) => format!("slot {which}\n{}", lines(&slot_lines(slot), "  ")),
                Err(refusal) => format!("slot {which}: {refusal}\n"),
            }),
    );
    text
}

fn lines(lines: &[Line], indent: &str) -> String {
    let mut text = String::new();
    text.extend(
        lines
            .iter()
            .map(|(what, words)| format!("{indent}{what:13} {words}\n")),
    );
    text
}

/// `2026-11-24 11:25 UTC`
fn date(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(
            || format!("{seconds} s after 1970"),
            |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::slot::tests::{key, small};
    use crate::verify::tests::whole_disk;

    fn shown(octets: Vec<u8>) -> String {
        described(&look(&Source::of(octets), Roots(&key().roots)).unwrap())
    }

    #[test]
    fn a_slot_is_told_in_words() {
        assert_eq!(
            shown(small()),
            "version       12, 0.1.0 (2f91391)\n\
             board         virt\n\
             built         2026-11-24 07:34 UTC\n\
             updates       version 3 and later ones\n\
             loader        1 or later\n\
             kernel        8.7 KiB\n\
             file system   4.8 KiB\n\
             command line  quiet\n\
             in all        28.0 KiB\n\
             key           8139770ea87d175f…, epoch 3, DEVELOPMENT KEY\n\
             parts         whole\n"
        );
    }

    #[test]
    fn damage_is_shown_and_no_reason_to_show_nothing() {
        let mut slot = small();
        slot[5_000] ^= 1;
        assert!(shown(slot).ends_with("parts         an octet near its kernel is not as it was signed\n"));
    }

    #[test]
    fn a_disk_is_told_with_its_partitions_and_slots() {
        let text = shown(whole_disk().octets);
        for expected in [
            "partitions    whole, twice\n  1 esp            16 MiB at    4 MiB\n",
            "  5 data            4 MiB at   92 MiB\n",
            "bootstate     first A is good, then B is good; none was started yet\n",
            "floors        version 0, epoch 0\n",
            "slot A\n  version       12, 0.1.0 (2f91391)\n",
            "slot B\n  version       12, 0.1.0 (2f91391)\n",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_time_that_no_calendar_has_is_told_too() {
        assert_eq!(date(u64::MAX), "18446744073709551615 s after 1970");
    }
}
