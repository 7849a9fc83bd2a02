//! Password verifiers: what is kept of a password (L3).

mod digest;
mod md5_crypt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use digest::Digest;
use mail::Secret;
use md5_crypt::Md5Crypt;
use std::fmt;
use subtle::ConstantTimeEq;

/// An imported Argon2 hash may want this much at most: Dovecot's default for `ARGON2ID`.
const IMPORTED_MEMORY_KIB_MAX: u32 = 64 * 1024;
/// And this much work, counted in KiB filled: thrice what Dovecot's default does.
const IMPORTED_WORK_KIB_MAX: u64 = 9 * 64 * 1024;
/// Twenty times what crypt(3) does by itself.
const SHA_CRYPT_ROUNDS_MAX: u32 = 100_000;
/// Each step doubles the work; 14 takes more than a second on a small box.
const BCRYPT_COST_MAX: u32 = 14;

/// What our own hashes cost. Both are equal in strength; the first needs less memory.
///
/// Source: the OWASP Password Storage Cheat Sheet, which lists both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// 7 MiB, five passes: for boxes with less than 1 GB.
    Small,
    /// 19 MiB, two passes.
    Normal,
}

/// A parsed verifier: of our own kind, or brought along from an older server.
pub struct Verifier(Kind);

enum Kind {
    Argon2(Box<PasswordHash>),
    /// `$5$` and `$6$`.
    ShaCrypt(String),
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt(String),
    /// `$1$`.
    Md5Crypt(Md5Crypt),
    /// `{SSHA}` and its like.
    Digest(Digest),
}

/// Why a text is not a verifier. The texts are for whoever writes a provisioning file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// It begins like nothing we know.
    #[error(
        "this kind of password hash is not known; known are $argon2id$, $argon2i$, $argon2d$, $2a$, $2b$, \
         $2y$, $5$, $6$, $1$, {{SSHA}}, {{SSHA256}}, {{SSHA512}}, {{SHA}}, {{SHA256}}, {{SHA512}}, {{SMD5}}, {{MD5}}"
    )]
    Unknown,
    /// It begins like something we know and goes on otherwise.
    #[error("this password hash is incomplete or damaged")]
    Malformed,
    /// It would take the box too long, or too much memory.
    #[error("this password hash costs more than the box can afford at each login")]
    TooCostly,
}

/// The system gave no random numbers, or refused memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password could not be hashed")]
pub struct HashError;

impl Cost {
    /// What a machine with this much memory can afford, two at once. A board with "1 GB" reports less,
    /// because its graphics and its kernel take some.
    pub const fn for_memory(total_octets: u64) -> Cost {
        if total_octets < 800 * 1024 * 1024 {
            Cost::Small
        } else {
            Cost::Normal
        }
    }

    /// A new verifier of `password` with its own salt, as a PHC string.
    pub fn hash(self, password: &Secret<String>) -> Result<String, HashError> {
        let mut salt = [0; argon2::RECOMMENDED_SALT_LEN];
        getrandom::fill(&mut salt).map_err(|_| HashError)?;
        let hash: PasswordHash = self
            .argon2()
            .hash_password_with_salt(password.reveal().as_bytes(), &salt)
            .map_err(|_| HashError)?;
        Ok(hash.to_string())
    }

    /// Does the work of one verification for nothing, so that a user who does not exist costs the same
    /// time as one who does (L2, AS30). Always `false`.
    pub fn verify_nobody(self, password: &Secret<String>) -> bool {
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        // The salt is random in no way: nothing is kept of this.
        let filled = self.argon2().hash_password_into(
            password.reveal().as_bytes(),
            &[0; argon2::RECOMMENDED_SALT_LEN],
            &mut output,
        );
        // The outcome is looked at so that the work cannot be left out by the compiler.
        std::hint::black_box((filled.is_ok(), output));
        false
    }

    fn argon2(self) -> Argon2<'static> {
        let (memory_kib, passes) = self.parameters();
        let params = Params::new(memory_kib, passes, 1, None).expect("both pairs are within Argon2's bounds");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }

    const fn parameters(self) -> (u32, u32) {
        match self {
            Cost::Small => (7 * 1024, 5),
            Cost::Normal => (19 * 1024, 2),
        }
    }
}

impl Verifier {
    /// Reads a verifier: a PHC string, a crypt(3) string, or either kind with the prefix in braces
    /// that Dovecot and LDAP use.
    pub fn parse(text: &str) -> Result<Verifier, VerifierError> {
        let (scheme, value) = split_scheme(text);
        let kind = match scheme.as_deref() {
            None
            | Some(
                "CRYPT" | "ARGON2I" | "ARGON2ID" | "SHA256-CRYPT" | "SHA512-CRYPT" | "BLF-CRYPT"
                | "MD5-CRYPT",
            ) => parse_crypt(value)?,
            // Dovecot's MD5 is the one of crypt(3), LDAP's is a plain digest.
            Some("MD5") if value.starts_with('$') => parse_crypt(value)?,
            Some(scheme) => Kind::Digest(Digest::parse(scheme, value)?),
        };
        Ok(Verifier(kind))
    }

    /// Whether `password` is the one. Takes its time on purpose; call it off the executor.
    pub fn verify(&self, password: &Secret<String>) -> bool {
        let password = password.reveal().as_bytes();
        match &self.0 {
            Kind::Argon2(hash) => Argon2::default().verify_password(password, hash.as_ref()).is_ok(),
            Kind::ShaCrypt(text) => sha_crypt::ShaCrypt::SHA512
                .verify_password(password, text.as_str())
                .is_ok(),
            Kind::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Kind::Md5Crypt(hash) => hash.verify(password),
            Kind::Digest(digest) => digest.verify(password),
        }
    }

    /// Whether it is of our own making, so that there is no reason to replace it.
    pub fn is_our_own(&self) -> bool {
        let Kind::Argon2(hash) = &self.0 else { return false };
        hash.algorithm.as_str() == "argon2id"
            && Params::try_from(hash.as_ref()).is_ok_and(|params| {
                let cost = (params.m_cost(), params.t_cost());
                [Cost::Small, Cost::Normal]
                    .iter()
                    .any(|own| own.parameters() == cost)
                    && params.p_cost() == 1
            })
    }

    /// Whether it needs more memory than our own do, so that it must run alone.
    pub(crate) fn is_large(&self) -> bool {
        let Kind::Argon2(hash) = &self.0 else { return false };
        Params::try_from(hash.as_ref()).is_ok_and(|params| params.m_cost() > Cost::Normal.parameters().0)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `{SCHEME}value`, the scheme in upper case; without braces all is value.
fn split_scheme(text: &str) -> (Option<String>, &str) {
    let braced = text.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    match braced {
        Some((scheme, value)) => (Some(scheme.to_ascii_uppercase()), value),
        None => (None, text),
    }
}

fn parse_crypt(text: &str) -> Result<Kind, VerifierError> {
    let id = text.strip_prefix('$').and_then(|rest| rest.split('$').next());
    match id {
        Some("argon2id" | "argon2i" | "argon2d") => parse_argon2(text),
        Some("5" | "6") => parse_sha_crypt(text),
        Some("2a" | "2b" | "2y") => parse_bcrypt(text),
        Some("1") => Md5Crypt::parse(text).map(Kind::Md5Crypt),
        _ => Err(VerifierError::Unknown),
    }
}

fn parse_argon2(text: &str) -> Result<Kind, VerifierError> {
    let hash = PasswordHash::new(text).map_err(|_| VerifierError::Malformed)?;
    let params = Params::try_from(&hash).map_err(|_| VerifierError::Malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(VerifierError::Malformed);
    }
    let work_kib = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > IMPORTED_MEMORY_KIB_MAX || work_kib > IMPORTED_WORK_KIB_MAX {
        return Err(VerifierError::TooCostly);
    }
    Ok(Kind::Argon2(Box::new(hash)))
}

/// `$6$[rounds=N$]salt$hash`, with 43 or 86 characters of hash.
fn parse_sha_crypt(text: &str) -> Result<Kind, VerifierError> {
    let mut fields: Vec<&str> = text.split('$').skip(1).collect();
    if let Some(rounds) = fields.get(1).and_then(|field| field.strip_prefix("rounds=")) {
        let rounds: u32 = rounds.parse().map_err(|_| VerifierError::Malformed)?;
        if rounds > SHA_CRYPT_ROUNDS_MAX {
            return Err(VerifierError::TooCostly);
        }
        // crypt(3) never writes fewer, and the library would take the field for a salt.
        if rounds < sha_crypt::Params::ROUNDS_MIN {
            return Err(VerifierError::Malformed);
        }
        fields.remove(1);
    }
    let [id, salt, hash] = fields.as_slice() else {
        return Err(VerifierError::Malformed);
    };
    let length = if *id == "5" { 43 } else { 86 };
    let is_whole =
        salt.len() <= 16 && hash.len() == length && [*salt, *hash].iter().all(|text| is_crypt64(text));
    if is_whole {
        Ok(Kind::ShaCrypt(text.to_owned()))
    } else {
        Err(VerifierError::Malformed)
    }
}

fn parse_bcrypt(text: &str) -> Result<Kind, VerifierError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| VerifierError::Malformed)?;
    if parts.get_cost() > BCRYPT_COST_MAX {
        return Err(VerifierError::TooCostly);
    }
    Ok(Kind::Bcrypt(text.to_owned()))
}

fn is_crypt64(text: &str) -> bool {
    text.bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'/'))
}

/// Whether both are equal, in a time that says nothing of where they differ.
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn check(verifier: &str, password: &str) {
        let verifier = Verifier::parse(verifier).unwrap_or_else(|error| panic!("{verifier}: {error}"));
        assert!(verifier.verify(&secret(password)), "the right password");
        assert!(
            !verifier.verify(&secret(&format!("{password} "))),
            "a longer password"
        );
        assert!(!verifier.verify(&secret("")), "no password");
        assert!(!verifier.is_our_own());
    }

    /// L3
    #[test]
    fn l3_our_own_hashes_are_argon2id_and_each_has_its_own_salt() {
        for (cost, parameters) in [(Cost::Small, "m=7168,t=5,p=1"), (Cost::Normal, "m=19456,t=2,p=1")] {
            let hash = cost.hash(&secret("Žluťoučký kůň")).unwrap();
            assert!(
                hash.starts_with(&format!("$argon2id$v=19${parameters}$")),
                "{hash}"
            );
            assert_ne!(hash, cost.hash(&secret("Žluťoučký kůň")).unwrap());
            let verifier = Verifier::parse(&hash).unwrap();
            assert!(verifier.is_our_own() && !verifier.is_large());
            assert!(verifier.verify(&secret("Žluťoučký kůň")));
            assert!(!verifier.verify(&secret("Žluťoučký kun")));
        }
    }

    #[test]
    fn the_cost_follows_the_memory() {
        assert_eq!(Cost::for_memory(512 * 1024 * 1024), Cost::Small);
        assert_eq!(Cost::for_memory(900 * 1024 * 1024), Cost::Normal);
    }

    /// L3. Made by crypt(3) of libxcrypt, Python's hashlib and argon2-cffi, not by our libraries.
    #[test]
    fn l3_hashes_of_older_servers_are_verified() {
        let plain = "correct horse battery staple";
        for verifier in [
            "$1$saltsalt$BsXyQbZiQujHkdhwPwdol.",
            "{CRYPT}$1$ab$BGweqrca.3UvnWSg8yFZd1",
            "{MD5}$1$ab$BGweqrca.3UvnWSg8yFZd1",
            "$5$saltstring$hixOXgchwauyzVtlSM/e7UnQx0qiTk74JE/YU53IbE0",
            "$6$rounds=10000$saltstringsaltst$vYfRg0cvt6jqN.cdxF22BORftytx0YPFkovksVubXuGbzxqnymO6iA22anPhq1CcF20s8mxa6wCNxLd21.zwA.",
            "{SHA512-CRYPT}$6$usesomesillystri$OLEL4Znhd0dw1Ze2wphEQCpjmrJvJ0Lp/9vKzw3KHdj6YH4L/jTT3ph84uzXzCQcGds4wKcC0JIV3wrS1hxLr.",
            "$2y$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS",
            "$2b$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS",
            "{BLF-CRYPT}$2a$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS",
            "{SSHA}iL74DoQHptXJJSGJBLJUK+t/MhoBAv7/",
            "{ssha256}Uapibq77Ki+Es0Ax3fZZyz4dzd8UqYH4K2gxwF8YoYcBAv7/",
            "{SSHA512}aeAvqZdqBoO84KTAetb9b7EfwT9fSj5haWwahU47qQr0B+Q0KoK7Sn1+E3+BWoZUQjsCGK5CJLgb7eYK57LJLQEC/v8=",
            "{SMD5}fkt+F/WaYAeanSyab4XnhgEC/v8=",
            "{SHA}q/eq1kOINtvlJqojGr3i0O73TUI=",
            "{SHA256}xLvLH77JnWW/WdhcjLYu4tuWPw/hBvSD2a+nO9Tjmoo=",
            "{SHA512}vl73Z52Iq5qQRfYmflX15XhLS4zXZLXNhVpSRPkcYmlTzUbEPXZohz/W7707IhJJMVWAAxljRyoHh4H+BG5irg==",
            "{MD5}nMKuihunqT2jm0b8EBnEgQ==",
            "$argon2id$v=19$m=4096,t=3,p=1$m82NLoudnVAjWcMFG2wNOg$A+O1yCE8sESAaT+xNFt9Py8v6UbM/CLRNdOnR5XcqBo",
            "{ARGON2I}$argon2i$v=19$m=4096,t=3,p=1$wK1mQFePZk3pl4KtsQJ9FA$p4JD3d19sRwwtmCaaALuELlsgDT5exqXXDroVmvgI6w",
            "$argon2d$v=19$m=4096,t=3,p=1$Ihxz4NHxlI3oQkgZpLS5VQ$YN1R9QrcDFIrP5kAbis4u+M/EN3ZZ7Q1L/I/p0MvkPE",
            "$argon2id$v=19$m=4096,t=2,p=4$BjTKSlfnxHllRSS9i4+NGQ$D0Hvev/fZCusC2AdMvRGGDjVyWUURaUsF8I68WKgCQ0",
        ] {
            check(verifier, plain);
        }
        for verifier in [
            "$1$saltsalt$egW/W/MbTV1l8xB3H3cfy/",
            "$1$ab$ofJ3xwR23/Hx5Kg35pyN90",
            "$5$saltstring$5j68f1h4ciFO42S4QQuVxr1ttovFGPwA8n3ky.OVZm7",
            "$6$usesomesillystri$FYEs1z/QHENm73sIbk1w/nwWYzZ4jwnd9N/fkl0Q8Cg6rCA10XcNNUWvpKWoxlHSyGr2oXLpyfnZIhi5gzDbr.",
            "$2y$05$abcdefghijklmnopqrstuujpoYhI5T7/VU.VNse7UTPfjugWpSVm2",
        ] {
            check(verifier, "příliš");
        }
    }

    /// A verifier is checked when it is brought in, not when somebody wants to log in.
    #[test]
    fn a_hash_that_is_damaged_or_would_cost_too_much_is_refused() {
        let malformed = [
            "$6$salt$short",
            "$6$rounds=999$saltsalt$IaiIGtHYkNqPMcyXHUPYDeEJ5xIZ3vsb9o4wu2vC1m1KQx0jOu5jM4CBNHPYkxJ6dYAV3NCaQtZd0N3aK4GfM1",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            "$2y$10$short",
            "$1$salt$short",
            "{SSHA}!!!!",
            "{SSHA}YWJj",
        ];
        for text in malformed {
            assert_eq!(
                Verifier::parse(text).unwrap_err(),
                VerifierError::Malformed,
                "{text}"
            );
        }
        let salt_and_hash = "c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let too_costly = [
            format!("$argon2id$v=19$m=4194304,t=2,p=1${salt_and_hash}"),
            format!("$argon2id$v=19$m=65536,t=400,p=1${salt_and_hash}"),
            format!("$6$rounds=999999999$salt${}", "a".repeat(86)),
            "$2y$31$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS".to_owned(),
        ];
        for text in too_costly {
            assert_eq!(
                Verifier::parse(&text).unwrap_err(),
                VerifierError::TooCostly,
                "{text}"
            );
        }
        for text in [
            "",
            "secret",
            "$",
            "$7$abc",
            "{PLAIN}secret",
            "{CRAM-MD5}0123",
            "!",
            "*",
        ] {
            assert_eq!(
                Verifier::parse(text).unwrap_err(),
                VerifierError::Unknown,
                "{text}"
            );
        }
    }

    #[test]
    fn a_large_imported_hash_is_known_to_be_large() {
        let text = "$argon2id$v=19$m=65536,t=3,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(Verifier::parse(text).unwrap().is_large());
    }

    /// D41
    #[test]
    fn d41_a_verifier_does_not_print() {
        let verifier = Verifier::parse("{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=").unwrap();
        assert_eq!(format!("{verifier:?}"), "[redacted]");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_verifier_or_an_error(text in "(\\{[A-Z0-9-]{0,12}\\})?\\$?[0-9a-z]{0,8}\\$?[ -~]{0,80}") {
            let _ = Verifier::parse(&text);
        }
    }
}
