//! How a person comes to trust the box's certificate: its CA's fingerprint is on the console, which is as good
//! as the screen of the box; the certificate with that fingerprint is taken from what the box serves, and no other.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qemu::Console;

const SHOWN_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The CA of the box, checked against its console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trusted {
    /// The CA's certificate.
    pub(crate) ca_pem: String,
    /// A name the box's own certificate is for.
    pub(crate) name: String,
}

/// Asks the box for its chain on a TLS port and picks the certificate whose SHA-256 fingerprint the console shows.
///
/// The box draws the page with the fingerprint about when it says that it listens, hence the patience.
/// `Err` says in words what did not fit.
pub(crate) fn fetch(port: u16, console: &Console) -> Result<Trusted, String> {
    let address = format!("127.0.0.1:{port}");
    let served = openssl(&["s_client", "-connect", &address, "-showcerts"], "")?;
    let chain = certificates(&served);
    let own = chain.first().ok_or("the box served no certificate")?;
    let name = openssl(&["x509", "-noout", "-ext", "subjectAltName"], own)
        .ok()
        .and_then(|text| first_name(&text))
        .ok_or("the box's certificate names no host")?;
    let fingerprint = |pem: &String| openssl(&["x509", "-noout", "-fingerprint", "-sha256"], pem);
    let fingerprints = chain
        .iter()
        .map(fingerprint)
        .collect::<Result<Vec<String>, String>>()?;
    let until = Instant::now() + SHOWN_WITHIN;
    loop {
        let text = console.text();
        let known = chain
            .iter()
            .zip(&fingerprints)
            .find(|(_, fingerprint)| shows(&text, fingerprint));
        if let Some((certificate, _)) = known {
            return Ok(Trusted {
                ca_pem: format!("{certificate}\n"),
                name,
            });
        }
        if Instant::now() > until {
            return Err(
                "no certificate the box serves has the fingerprint that its console shows".to_owned(),
            );
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Runs openssl with `input` and gives what it wrote. `s_client` ends when its input does.
fn openssl(arguments: &[&str], input: &str) -> Result<String, String> {
    let run = || {
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| format!("openssl could not be run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("openssl {} failed", arguments.first().unwrap_or(&"")))
    }
}

/// The PEM certificates in a text, in order.
fn certificates(text: &str) -> Vec<String> {
    text.split(BEGIN)
        .skip(1)
        .filter_map(|rest| rest.split_once(END))
        .map(|(body, _)| format!("{BEGIN}{body}{END}"))
        .collect()
}

/// `DNS:postolka.local, IP Address:10.0.2.15` → `postolka.local`.
fn first_name(text: &str) -> Option<String> {
    text.split([',', '\n'])
        .find_map(|part| part.trim().strip_prefix("DNS:"))
        .map(str::to_owned)
}

/// Whether a console shows a fingerprint such as `sha256 Fingerprint=AB:CD:…`, however it spaces it.
///
/// The page of the box writes it in two halves on two lines, with a word of explanation behind each.
fn shows(console: &str, fingerprint: &str) -> bool {
    let hex = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let wanted = hex(fingerprint.rsplit('=').next().unwrap_or_default());
    let (first, second) = wanted.split_at_checked(32).unwrap_or_default();
    if first.len() != 32 || second.len() != 32 {
        return false;
    }
    let lines: Vec<String> = console.lines().map(hex).collect();
    let pairs = lines
        .iter()
        .zip(lines.iter().skip(1).map(String::as_str).chain([""]));
    pairs.into_iter().any(|(line, next)| {
        line.find(first)
            .is_some_and(|at| line[at + 32..].starts_with(second) || next.starts_with(second))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "sha256 Fingerprint=00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\n";

    #[test]
    fn a_fingerprint_is_found_however_the_console_spells_it() {
        let plain = "CA 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
        let broken =
            "CA  0011 2233 4455 6677 8899 AABB CCDD EEFF\r\n    0011 2233 4455 6677 8899 AABB CCDD EEFF\r\n";
        assert!(shows(plain, FINGERPRINT));
        assert!(shows(broken, FINGERPRINT));
        assert!(shows(FINGERPRINT, FINGERPRINT));
    }

    #[test]
    fn another_fingerprint_and_none_at_all_are_not_taken() {
        let other = "CA 10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
        assert!(!shows(other, FINGERPRINT));
        let half = "CA 00112233445566778899aabbccddeeff\nDE 10112233445566778899aabbccddeeff\n";
        assert!(!shows(half, FINGERPRINT));
        assert!(!shows("", FINGERPRINT));
        assert!(!shows(other, ""));
        assert!(!shows("anything", "sha256 Fingerprint=\n"));
    }

    #[test]
    fn certificates_and_names_are_read_from_openssls_words() {
        let text = format!("Certificate chain\n{BEGIN}\nAA\n{END}\n 1 s:\n{BEGIN}\nBB\n{END}\n---\n");
        assert_eq!(
            certificates(&text),
            [format!("{BEGIN}\nAA\n{END}"), format!("{BEGIN}\nBB\n{END}")]
        );
        let names = "X509v3 Subject Alternative Name: \n    IP Address:10.0.2.15, DNS:box.test, DNS:b\n";
        assert_eq!(first_name(names).as_deref(), Some("box.test"));
        assert_eq!(first_name("    IP Address:10.0.2.15\n"), None);
    }
}
