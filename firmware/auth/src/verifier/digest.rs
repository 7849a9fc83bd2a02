//! Plain and salted digests, as LDAP and Dovecot write them: `{SSHA}` base64(digest salt).
//!
//! Source: RFC 2307 §5.3 and draft-stroeder-hashed-userpassword-values-01 §2.

use super::{VerifierError, is_equal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;

/// The longest salt we take. OpenLDAP writes 4 to 8 octets, Dovecot 4.
const SALT_OCTETS_MAX: usize = 64;

pub(super) struct Digest {
    algorithm: Algorithm,
    expected: Vec<u8>,
    salt: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    /// Reads the `value` behind `{scheme}`; the scheme is in upper case.
    pub(super) fn parse(scheme: &str, value: &str) -> Result<Digest, VerifierError> {
        let (algorithm, is_salted) = match scheme {
            "MD5" | "LDAP-MD5" => (Algorithm::Md5, false),
            "SMD5" => (Algorithm::Md5, true),
            "SHA" | "SHA1" => (Algorithm::Sha1, false),
            "SSHA" => (Algorithm::Sha1, true),
            "SHA256" => (Algorithm::Sha256, false),
            "SSHA256" => (Algorithm::Sha256, true),
            "SHA512" => (Algorithm::Sha512, false),
            "SSHA512" => (Algorithm::Sha512, true),
            _ => return Err(VerifierError::Unknown),
        };
        let mut digest = STANDARD.decode(value).map_err(|_| VerifierError::Malformed)?;
        if digest.len() < algorithm.octets() {
            return Err(VerifierError::Malformed);
        }
        let salt = digest.split_off(algorithm.octets());
        let salt_octets = if is_salted { 1..=SALT_OCTETS_MAX } else { 0..=0 };
        if !salt_octets.contains(&salt.len()) {
            return Err(VerifierError::Malformed);
        }
        Ok(Digest {
            algorithm,
            expected: digest,
            salt,
        })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let mut octets = zeroize::Zeroizing::new(password.to_vec());
        octets.extend_from_slice(&self.salt);
        let digest = match self.algorithm {
            Algorithm::Md5 => md5::Md5::digest(&*octets).to_vec(),
            Algorithm::Sha1 => sha1::Sha1::digest(&*octets).to_vec(),
            Algorithm::Sha256 => sha2::Sha256::digest(&*octets).to_vec(),
            Algorithm::Sha512 => sha2::Sha512::digest(&*octets).to_vec(),
        };
        is_equal(&digest, &self.expected)
    }
}

impl Algorithm {
    const fn octets(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }
}
