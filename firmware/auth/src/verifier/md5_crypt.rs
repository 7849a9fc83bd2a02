//! `$1$`: the MD5 scheme of crypt(3), which PostfixAdmin wrote for many years.
//!
//! No kept-up crate has it, and it is fifty lines. Source: Poul-Henning Kamp's `md5crypt.c` in FreeBSD
//! 2.0, whose odd steps have to be followed to the letter.

use super::{VerifierError, is_crypt64, is_equal};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

const MAGIC: &[u8] = b"$1$";
const SALT_OCTETS_MAX: usize = 8;
const ROUNDS: usize = 1000;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(super) struct Md5Crypt {
    salt: Vec<u8>,
    hash: String,
}

impl Md5Crypt {
    /// Reads `$1$salt$hash`.
    pub(super) fn parse(text: &str) -> Result<Md5Crypt, VerifierError> {
        let (salt, hash) = text
            .strip_prefix("$1$")
            .and_then(|rest| rest.split_once('$'))
            .ok_or(VerifierError::Malformed)?;
        let is_whole = salt.len() <= SALT_OCTETS_MAX && hash.len() == 22 && is_crypt64(hash);
        if !is_whole {
            return Err(VerifierError::Malformed);
        }
        Ok(Md5Crypt {
            salt: salt.as_bytes().to_vec(),
            hash: hash.to_owned(),
        })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let digest = stretch(password, &self.salt, mix(password, &self.salt));
        is_equal(encode(&digest).as_bytes(), self.hash.as_bytes())
    }
}

/// The first digest, from password, magic and salt.
fn mix(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut md5 = Md5::new()
        .chain_update(password)
        .chain_update(MAGIC)
        .chain_update(salt);
    for piece in Zeroizing::new(vec![0_u8; password.len()]).chunks(16) {
        md5.update(&inner[..piece.len()]);
    }
    // For each bit of the length, a NUL or the first octet of the password. That is what it does.
    let mut length = password.len();
    while length > 0 {
        let octet = if length & 1 == 1 { 0 } else { password[0] };
        md5.update([octet]);
        length >>= 1;
    }
    md5.finalize().into()
}

/// A thousand rounds, to take time.
fn stretch(password: &[u8], salt: &[u8], mut digest: [u8; 16]) -> [u8; 16] {
    for round in 0..ROUNDS {
        let mut md5 = Md5::new();
        let is_odd = round % 2 == 1;
        md5.update(if is_odd { password } else { &digest });
        if round % 3 != 0 {
            md5.update(salt);
        }
        if round % 7 != 0 {
            md5.update(password);
        }
        md5.update(if is_odd { &digest } else { password });
        digest = md5.finalize().into();
    }
    digest
}

/// Base64 of its own kind: octets taken from three places, six bits at a time, lowest first.
fn encode(digest: &[u8; 16]) -> String {
    let groups = [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)];
    let mut text = String::with_capacity(22);
    for (high, middle, low) in groups {
        let bits = u32::from(digest[high]) << 16 | u32::from(digest[middle]) << 8 | u32::from(digest[low]);
        push(&mut text, bits, 4);
    }
    push(&mut text, u32::from(digest[11]), 2);
    text
}

fn push(text: &mut String, mut bits: u32, count: usize) {
    for _ in 0..count {
        let index = usize::try_from(bits & 63).expect("six bits fit");
        text.push(char::from(ALPHABET[index]));
        bits >>= 6;
    }
}
