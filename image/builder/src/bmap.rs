//! The block map: which blocks of the image have to be written to a card, with their SHA-256, as `bmaptool` reads it.
//!
//! Format 2.0. Its own checksum is that of the file with 64 zeros in its place.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::disk::{Disk, MAP_OCTETS};
use crate::keyfile::hex;

const NO_CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(crate) fn bmap(disk: &Disk) -> String {
    let blocks = disk.octets.len().div_ceil(MAP_OCTETS);
    let mapped: usize = disk.written.iter().map(ExactSizeIterator::len).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" ?>\n\
         <!-- What of the image says something; the rest of a card may keep what it holds. -->\n\
         <bmap version=\"2.0\">\n\
         \x20   <ImageSize> {} </ImageSize>\n\
         \x20   <BlockSize> {MAP_OCTETS} </BlockSize>\n\
         \x20   <BlocksCount> {blocks} </BlocksCount>\n\
         \x20   <MappedBlocksCount> {mapped} </MappedBlocksCount>\n\
         \x20   <ChecksumType> sha256 </ChecksumType>\n\
         \x20   <BmapFileChecksum> {NO_CHECKSUM} </BmapFileChecksum>\n\
         \x20   <BlockMap>\n",
        disk.octets.len()
    );
    for run in &disk.written {
        let end = (run.end * MAP_OCTETS).min(disk.octets.len());
        let sum = hex(&Sha256::digest(&disk.octets[run.start * MAP_OCTETS..end]));
        let last = run.end - 1;
        let blocks = if last == run.start {
            last.to_string()
        } else {
            format!("{}-{last}", run.start)
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "        <Range chksum=\"{sum}\"> {blocks} </Range>");
    }
    text.push_str("    </BlockMap>\n</bmap>\n");
    let own = hex(&Sha256::digest(text.as_bytes()));
    text.replacen(NO_CHECKSUM, &own, 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::verify::tests::whole_disk;

    fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
        text.split_once(before)
            .unwrap()
            .1
            .split_once(after)
            .unwrap()
            .0
            .trim()
    }

    #[test]
    fn a_card_that_held_something_is_the_disk_wherever_the_map_says() {
        let disk = whole_disk();
        let text = bmap(&disk);
        let mut mapped = 0;
        for line in text.lines().filter(|line| line.contains("<Range")) {
            let sum = between(line, "chksum=\"", "\"");
            let blocks = between(line, ">", "<");
            let (first, last) = blocks.split_once('-').unwrap_or((blocks, blocks));
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let octets = &disk.octets[first * MAP_OCTETS..(last + 1) * MAP_OCTETS];
            assert_eq!(sum, hex(&Sha256::digest(octets)));
            mapped += last + 1 - first;
        }
        assert_eq!(between(&text, "<MappedBlocksCount>", "<"), mapped.to_string());
        assert_eq!(between(&text, "<ImageSize>", "<"), disk.octets.len().to_string());
    }

    #[test]
    fn the_maps_own_checksum_is_over_zeros_in_its_place() {
        let text = bmap(&whole_disk());
        let own = between(&text, "<BmapFileChecksum>", "<");
        let blank = text.replace(own, NO_CHECKSUM);
        assert_eq!(own, hex(&Sha256::digest(blank.as_bytes())));
    }
}
