//! Who may sign a slot.
//!
//! ```text
//! root key (offline, two of them) ── signs ──▶ certificate {release key, epoch} ── its key signs ──▶ slot header
//! ```
//!
//! A release key that leaked is put out of force by a certificate with a higher epoch: a box that has run a slot of
//! that epoch, and has found it good, takes none of a lower one any more.

use ed25519_compact::{KeyPair, PublicKey, Seed, Signature};

/// An Ed25519 public key (RFC 8032 §5.1.5).
pub const PUBLIC_KEY_OCTETS: usize = 32;
/// An Ed25519 private key, the seed that all of it follows from (RFC 8032 §5.1.5).
pub const SEED_OCTETS: usize = 32;
/// An Ed25519 signature (RFC 8032 §5.1.6).
pub const SIGNATURE_OCTETS: usize = 64;
/// A [`Certificate`] as it lies in a header: key, epoch, flags, signature.
pub const CERTIFICATE_OCTETS: usize = PUBLIC_KEY_OCTETS + 4 + 4 + SIGNATURE_OCTETS;

/// What a root signs begins with this, so that its signature is good for nothing else.
const TAG: &[u8; 24] = b"postolka release key v1\0";
const FLAG_DEVELOPMENT: u32 = 1;

/// The root keys a box trusts: none, one or two. Nobody is trusted where there are none.
#[derive(Clone, Copy, Debug)]
pub struct Roots<'a>(pub &'a [[u8; PUBLIC_KEY_OCTETS]]);

/// A private key: a root's or a release's. Its octets are wiped by nobody: it lives in the short run of a builder.
pub struct SigningKey(KeyPair);

impl SigningKey {
    /// The key that follows from 32 random octets.
    pub fn from_seed(seed: [u8; SEED_OCTETS]) -> Self {
        Self(KeyPair::from_seed(Seed::new(seed)))
    }

    /// What others know it by.
    pub fn public(&self) -> [u8; PUBLIC_KEY_OCTETS] {
        *self.0.pk
    }

    /// Signs, deterministically.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_OCTETS] {
        *self.0.sk.sign(message, None)
    }

    /// As a root: states that `key` may sign slots of `epoch`.
    pub fn certify(&self, key: [u8; PUBLIC_KEY_OCTETS], epoch: u32, is_development: bool) -> Certificate {
        let signature = self.sign(&signed(&key, epoch, is_development));
        Certificate {
            key,
            epoch,
            is_development,
            signature,
        }
    }
}

/// A release key with a root's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The release key.
    pub key: [u8; PUBLIC_KEY_OCTETS],
    /// Counts up when release keys are put out of force.
    pub epoch: u32,
    /// A key that lies about on a developer's machine: the box says so on its console.
    pub is_development: bool,
    /// A root's, over the three above.
    pub signature: [u8; SIGNATURE_OCTETS],
}

impl Certificate {
    /// Whether one of `roots` signed it.
    pub fn is_trusted(&self, roots: Roots<'_>) -> bool {
        let message = signed(&self.key, self.epoch, self.is_development);
        roots.0.iter().any(|root| verify(root, &message, &self.signature))
    }

    /// As it lies in a header, little-endian.
    pub fn encode(&self) -> [u8; CERTIFICATE_OCTETS] {
        let mut octets = [0; CERTIFICATE_OCTETS];
        octets[..32].copy_from_slice(&self.key);
        octets[32..36].copy_from_slice(&self.epoch.to_le_bytes());
        octets[36..40].copy_from_slice(&flags(self.is_development).to_le_bytes());
        octets[40..].copy_from_slice(&self.signature);
        octets
    }

    /// The reverse of [`encode`](Self::encode); `None` for flags that do not exist. It is not trusted by that.
    pub fn decode(octets: &[u8; CERTIFICATE_OCTETS]) -> Option<Self> {
        let (key, rest) = octets.split_first_chunk::<32>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (flags, rest) = rest.split_first_chunk::<4>()?;
        let flags = u32::from_le_bytes(*flags);
        if flags & !FLAG_DEVELOPMENT != 0 {
            return None;
        }
        Some(Self {
            key: *key,
            epoch: u32::from_le_bytes(*epoch),
            is_development: flags & FLAG_DEVELOPMENT != 0,
            signature: rest.try_into().ok()?,
        })
    }
}

/// Whether `key` signed `message`. Keys of small order verify nothing.
pub(crate) fn verify(
    key: &[u8; PUBLIC_KEY_OCTETS],
    message: &[u8],
    signature: &[u8; SIGNATURE_OCTETS],
) -> bool {
    PublicKey::new(*key)
        .verify(message, &Signature::new(*signature))
        .is_ok()
}

/// The key of 64 hexadecimal digits, as builds are given it; usable in a `const`.
pub const fn public_key_of_hex(hex: &[u8]) -> Option<[u8; PUBLIC_KEY_OCTETS]> {
    if hex.len() != 2 * PUBLIC_KEY_OCTETS {
        return None;
    }
    let mut key = [0; PUBLIC_KEY_OCTETS];
    let mut at = 0;
    while at < key.len() {
        let (Some(high), Some(low)) = (nibble(hex[2 * at]), nibble(hex[2 * at + 1])) else {
            return None;
        };
        key[at] = high << 4 | low;
        at += 1;
    }
    Some(key)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// What a root signs.
fn signed(key: &[u8; PUBLIC_KEY_OCTETS], epoch: u32, is_development: bool) -> [u8; 64] {
    let mut message = [0; 64];
    message[..24].copy_from_slice(TAG);
    message[24..56].copy_from_slice(key);
    message[56..60].copy_from_slice(&epoch.to_le_bytes());
    message[60..].copy_from_slice(&flags(is_development).to_le_bytes());
    message
}

fn flags(is_development: bool) -> u32 {
    if is_development { FLAG_DEVELOPMENT } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(octet: u8) -> SigningKey {
        SigningKey::from_seed([octet; SEED_OCTETS])
    }

    #[test]
    fn a_certificate_of_either_root_is_trusted_and_no_other() {
        let roots = [key(1).public(), key(2).public()];
        for root in [1, 2] {
            assert!(
                key(root)
                    .certify(key(9).public(), 4, false)
                    .is_trusted(Roots(&roots))
            );
        }
        assert!(
            !key(3)
                .certify(key(9).public(), 4, false)
                .is_trusted(Roots(&roots))
        );
        assert!(!key(1).certify(key(9).public(), 4, false).is_trusted(Roots(&[])));
    }

    #[test]
    fn a_root_that_is_no_key_trusts_nobody() {
        // The identity and the all-zero point verify forged signatures in careless implementations.
        let mut identity = [0; 32];
        identity[0] = 1;
        for weak in [[0; 32], identity] {
            let forged = Certificate {
                key: key(9).public(),
                epoch: 1,
                is_development: false,
                signature: [0; 64],
            };
            assert!(!forged.is_trusted(Roots(&[weak])));
        }
    }

    #[test]
    fn hexadecimal_keys_are_read_strictly() {
        assert_eq!(public_key_of_hex(&[b'a'; 64]), Some([0xaa; 32]));
        assert_eq!(public_key_of_hex(&[b'a'; 63]), None);
        assert_eq!(public_key_of_hex(&[b'A'; 64]), None);
        assert_eq!(public_key_of_hex(&[b'g'; 64]), None);
    }

    proptest! {
        #[test]
        fn every_flipped_bit_of_a_certificate_is_noticed(at in 0..CERTIFICATE_OCTETS, bit in 0..8) {
            let roots = [key(1).public()];
            let mut octets = key(1).certify(key(9).public(), 7, true).encode();
            octets[at] ^= 1_u8 << bit;
            let trusted = Certificate::decode(&octets).is_some_and(|certificate| certificate.is_trusted(Roots(&roots)));
            prop_assert!(!trusted);
        }

        #[test]
        fn what_is_encoded_is_decoded(seed: [u8; 32], epoch: u32, is_development: bool) {
            let certificate = key(1).certify(SigningKey::from_seed(seed).public(), epoch, is_development);
            prop_assert_eq!(Certificate::decode(&certificate.encode()), Some(certificate));
        }
    }
}
