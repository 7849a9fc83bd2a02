//! A structure as octets, for whoever keeps it.

use super::Structure;

/// The version of the octets: one octet, before a postcard.
const VERSION: u8 = 1;

impl Structure {
    /// The structure as octets that a later firmware can read, or knows that it cannot.
    pub fn to_octets(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("a Vec takes all octets, and lists have their length")
    }

    /// A structure from its octets; `None` when another version wrote them: parse the message again.
    pub fn from_octets(octets: &[u8]) -> Option<Structure> {
        let (&version, octets) = octets.split_first()?;
        if version != VERSION {
            return None;
        }
        postcard::from_bytes(octets).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_comes_back_from_its_octets() {
        let structure = Structure::parse(b"Subject: a\r\nContent-Type: text/html\r\n\r\nb\r\n");
        let mut octets = structure.to_octets();
        assert_eq!(Structure::from_octets(&octets), Some(structure));
        octets[0] = 2;
        assert_eq!(Structure::from_octets(&octets), None);
        assert_eq!(Structure::from_octets(b""), None);
    }
}
