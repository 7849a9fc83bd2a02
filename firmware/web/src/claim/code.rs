//! The claim code: what proves that somebody stands before this very box (D39).

use net::authority::write_durably;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Where it is kept while nobody has claimed the box.
const FILE: &str = "claim-code";
/// Letters and digits that nobody takes for another: neither of O 0, I 1 L, S 5, Z 2 (2 stays), B 8, G 6, U V, and no
/// vowel, so that no word comes up.
const ALPHABET: &[u8; 22] = b"CDFHJKMPQRTVWXY2346789";
/// 22^10 is over 2^44.
const CHARACTERS: usize = 10;
const GROUP: usize = 5;
/// The largest multiple of 22 that an octet holds; what is above would make some characters likelier.
const FAIR_BELOW: u8 = 242;

/// A code, without its hyphen.
#[derive(Clone)]
pub(super) struct Code([u8; CHARACTERS]);

impl Code {
    /// A new code. Waits until the kernel has collected its first entropy (AX9).
    pub(super) fn random() -> io::Result<Code> {
        let mut code = [0; CHARACTERS];
        for character in &mut code {
            *character = loop {
                let mut octet = [0];
                getrandom::fill(&mut octet).map_err(io::Error::other)?;
                if octet[0] < FAIR_BELOW {
                    break ALPHABET[usize::from(octet[0]) % ALPHABET.len()];
                }
            };
        }
        Ok(Code(code))
    }

    /// What somebody typed: in any case, with or without hyphens and spaces. A character that was misread for one that
    /// codes do not have is that one. `None`: it is no code at all.
    pub(super) fn typed(text: &str) -> Option<Code> {
        let mut code = [0; CHARACTERS];
        let mut places = code.iter_mut();
        for character in text.chars() {
            let character = match character.to_ascii_uppercase() {
                '-' | ' ' | '\u{2010}'..='\u{2015}' | '\u{a0}' => continue,
                'B' => b'8',
                'G' => b'6',
                'Z' => b'2',
                'U' => b'V',
                other => u8::try_from(other)
                    .ok()
                    .filter(|octet| ALPHABET.contains(octet))?,
            };
            *places.next()? = character;
        }
        match places.next() {
            None => Some(Code(code)),
            Some(_) => None,
        }
    }

    /// In a time that does not tell how much of it is right.
    pub(super) fn is(&self, other: &Code) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The code in `folder`, or a new one that is there from now on.
    pub(super) fn kept(folder: &Path) -> io::Result<Code> {
        match fs::read(folder.join(FILE)) {
            Ok(octets) => {
                let text = String::from_utf8_lossy(&octets);
                if let Some(code) = Code::typed(text.trim()) {
                    return Ok(code);
                }
                tracing::warn!("the claim code was damaged: the console shows a new one");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let code = Code::random()?;
        write_durably(folder, FILE, format!("{code}\n").as_bytes(), 0o600)?;
        Ok(code)
    }

    /// The box is claimed: what the code was good for is over.
    pub(super) fn forget(folder: &Path) {
        match fs::remove_file(folder.join(FILE)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It is good for nothing any more, so that this hurts nobody.
            Err(error) => tracing::warn!(%error, "the used claim code could not be removed"),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, group) in self.0.chunks(GROUP).enumerate() {
            if place > 0 {
                f.write_str("-")?;
            }
            f.write_str(std::str::from_utf8(group).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::os::unix::fs::PermissionsExt;

    /// D39, AX1
    #[test]
    fn d39_codes_differ_and_use_the_whole_alphabet_evenly() {
        let mut codes = BTreeSet::new();
        let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
        for _ in 0..2_200 {
            let code = Code::random().unwrap();
            codes.insert(code.to_string());
            for octet in code.0 {
                *counts.entry(octet).or_default() += 1;
            }
        }
        assert_eq!(codes.len(), 2_200);
        assert_eq!(counts.len(), ALPHABET.len());
        // 1000 of each are expected; the standard deviation is 31.
        assert!(
            counts.values().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
        // 40 bits at least.
        assert!(f64::from(u8::try_from(ALPHABET.len()).unwrap()).log2() * 10.0 > 40.0);
    }

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = Code(*b"CDF8J6M2QV");
        assert_eq!(code.to_string(), "CDF8J-6M2QV");
        for text in [
            "CDF8J-6M2QV",
            "cdf8j6m2qv",
            " cdf8j 6m2qv ",
            "CDFBJ-GMZQU",
            "C-D-F-8-J-6-M-2-Q-V",
            "cdf8j\u{2013}6m2qv",
        ] {
            assert!(Code::typed(text).is_some_and(|typed| typed.is(&code)), "{text}");
        }
        for text in [
            "",
            "CDF8J-6M2Q",
            "CDF8J-6M2QVV",
            "CDF8J-6M2Q!",
            "CDF8J-6M2Qé",
            "OOOOO-11111",
        ] {
            assert!(Code::typed(text).is_none(), "{text}");
        }
        assert!(!Code::typed("CDF8J-6M2QW").unwrap().is(&code));
    }

    /// D39
    #[test]
    fn d39_the_code_stays_until_it_is_forgotten_and_others_cannot_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let code = Code::kept(folder.path()).unwrap();
        assert!(Code::kept(folder.path()).unwrap().is(&code));
        let file = folder.path().join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for damage in [&b"CDF"[..], b"\xff\xfe", b""] {
            fs::write(&file, damage).unwrap();
            let new = Code::kept(folder.path()).unwrap();
            assert!(!new.is(&code) && Code::kept(folder.path()).unwrap().is(&new));
        }
        Code::forget(folder.path());
        assert!(!file.exists());
        Code::forget(folder.path());
    }
}
