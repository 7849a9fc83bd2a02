//! The one name of an accepted message.

use std::fmt;

/// The name under which a message is found in the reply, in its Received field, in the log and in
/// the message trace (D37). Sixteen characters of Crockford's base32 without separators: readable
/// over the telephone, no `I`, `L`, `O`, `U`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 10]);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl TraceId {
    /// A trace id from ten random octets.
    pub const fn from_random(octets: [u8; 10]) -> TraceId {
        TraceId(octets)
    }

    /// Its ten octets.
    pub const fn octets(self) -> [u8; 10] {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for half in self.0.as_chunks::<5>().0 {
            let bits = half
                .iter()
                .fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
            for place in (0..8).rev() {
                let index = usize::try_from(bits >> (place * 5) & 31).expect("five bits fit");
                write!(f, "{}", char::from(ALPHABET[index]))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_eighty_bits_are_shown() {
        assert_eq!(TraceId::from_random([0; 10]).to_string(), "0000000000000000");
        assert_eq!(TraceId::from_random([0xff; 10]).to_string(), "zzzzzzzzzzzzzzzz");
        assert_eq!(
            TraceId::from_random([0, 0, 0, 0, 1, 8, 0, 0, 0, 0]).to_string(),
            "0000000110000000"
        );
    }
}
