//! SASL as step machines: lines in, challenges or credentials out.
//!
//! PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login-00), which old Outlooks want. Both send the
//! password as it is, so the protocols offer them inside TLS only (L3). Nothing else is offered: not
//! SCRAM, because its verifiers cannot be made from imported hashes, and never NTLM (N1).
//!
//! ```text
//! PLAIN  start(None)    → ""            line → credentials
//!        start(Some(…)) → credentials
//! LOGIN  start(None)    → "Username:"   line → "Password:"   line → credentials
//!        start(Some(…)) → "Password:"   line → credentials
//! ```
//!
//! Lines and challenges are in base64, as SMTP, IMAP and POP3 carry them (RFC 4954 §4, RFC 9051
//! §6.2.2, RFC 5034 §4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail::Secret;
use wire::limits::PASSWORD_OCTETS_MAX;
use zeroize::{Zeroize, Zeroizing};

/// A mechanism that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login-00.
    Login,
}

impl Mechanism {
    /// What is offered, best first.
    pub const OFFERED: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

    /// The mechanism of this name, in any case (RFC 4422 §3.1); `None` for what is not offered.
    pub fn named(name: &[u8]) -> Option<Mechanism> {
        Mechanism::OFFERED
            .into_iter()
            .find(|mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }
}

/// What a client says it is. The login is as secret as the password: people type one for the other (D38).
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The login, as it was sent.
    pub login: Secret<String>,
    /// The password.
    pub password: Secret<String>,
}

/// What the server says next.
#[derive(Debug)]
pub enum Progress {
    /// Send this challenge (base64, may be empty) and give the answer to [`Exchange::line`].
    Challenge(&'static str),
    /// The exchange is over.
    Credentials(Credentials),
}

/// Why an exchange failed before anything was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The client sent `*` (RFC 4954 §4, RFC 9051 §6.2.2).
    #[error("the client gave up")]
    Cancelled,
    /// The line is no base64.
    #[error("the response is not base64")]
    NotBase64,
    /// It is not what the mechanism wants: too few NULs, no UTF-8, an empty or a too long name or
    /// password, an authorization identity of somebody else.
    #[error("the response is not what the mechanism asks for")]
    Malformed,
}

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Plain,
    LoginName,
    LoginPassword(Secret<String>),
}

const NOTHING: &str = "";
/// `Username:`
const USERNAME: &str = "VXNlcm5hbWU6";
/// `Password:`
const PASSWORD: &str = "UGFzc3dvcmQ6";

impl Exchange {
    /// Begins an exchange. `initial` is the initial response in base64, where the client sent one;
    /// `=` is an empty one (RFC 4954 §4).
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>) -> Result<(Exchange, Progress), SaslError> {
        let (state, challenge) = match mechanism {
            Mechanism::Plain => (State::Plain, NOTHING),
            Mechanism::Login => (State::LoginName, USERNAME),
        };
        let mut exchange = Exchange(state);
        let progress = match initial {
            None => Progress::Challenge(challenge),
            Some(b"=") => exchange.decoded(&[])?,
            Some(line) => exchange.line(line)?,
        };
        Ok((exchange, progress))
    }

    /// Takes a line of the client, without its CRLF.
    ///
    /// # Errors
    /// The exchange is over then.
    pub fn line(&mut self, line: &[u8]) -> Result<Progress, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        let mut octets = Zeroizing::new(vec![0; base64::decoded_len_estimate(line.len())]);
        let length = STANDARD
            .decode_slice(line, &mut octets)
            .map_err(|_| SaslError::NotBase64)?;
        self.decoded(&octets[..length])
    }

    fn decoded(&mut self, octets: &[u8]) -> Result<Progress, SaslError> {
        match &self.0 {
            State::Plain => plain(octets).map(Progress::Credentials),
            State::LoginName => {
                self.0 = State::LoginPassword(text(octets)?);
                Ok(Progress::Challenge(PASSWORD))
            }
            State::LoginPassword(login) => Ok(Progress::Credentials(Credentials {
                login: login.clone(),
                password: text(octets)?,
            })),
        }
    }
}

/// ```text
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd      ; RFC 4616 §2
/// ```
fn plain(octets: &[u8]) -> Result<Credentials, SaslError> {
    let mut fields = octets.split(|octet| *octet == 0);
    let (Some(acts_for), Some(login), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(SaslError::Malformed);
    };
    // Not supported: acting for somebody else. Some clients repeat their own name.
    if !acts_for.is_empty() && acts_for != login {
        return Err(SaslError::Malformed);
    }
    Ok(Credentials {
        login: text(login)?,
        password: text(password)?,
    })
}

/// A name or a password: UTF-8, 1 to [`PASSWORD_OCTETS_MAX`] octets, no NUL.
///
/// Deviation: RFC 4616 §2 asks for SASLprep, which no client and no server of today does; hashes that
/// were imported are of passwords as they were sent.
fn text(octets: &[u8]) -> Result<Secret<String>, SaslError> {
    let is_length = (1..=PASSWORD_OCTETS_MAX).contains(&octets.len());
    if !is_length || octets.contains(&0) {
        return Err(SaslError::Malformed);
    }
    match String::from_utf8(octets.to_vec()) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(SaslError::Malformed)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What an exchange comes to: challenges by `+`, then the credentials or the error.
    fn run(mechanism: Mechanism, initial: Option<&[u8]>, lines: &[&[u8]]) -> String {
        let mut said = String::new();
        let mut lines = lines.iter();
        let (mut exchange, mut progress) = match Exchange::start(mechanism, initial) {
            Ok(started) => started,
            Err(error) => return format!("{error:?}"),
        };
        loop {
            match progress {
                Progress::Challenge(challenge) => said.extend(["+", challenge, " "]),
                Progress::Credentials(credentials) => {
                    return said
                        + &format!("{}/{}", credentials.login.reveal(), credentials.password.reveal());
                }
            }
            progress = match exchange.line(lines.next().expect("the dialogue has a line left")) {
                Ok(progress) => progress,
                Err(error) => return said + &format!("{error:?}"),
            };
        }
    }

    fn encoded(octets: &[u8]) -> String {
        STANDARD.encode(octets)
    }

    fn plain_initial(octets: &[u8]) -> String {
        run(Mechanism::Plain, Some(encoded(octets).as_bytes()), &[])
    }

    #[test]
    fn plain_with_and_without_an_initial_response() {
        // RFC 4954 §4.1's example: test, test, 1234.
        let line: &[u8] = b"dGVzdAB0ZXN0ADEyMzQ=";
        assert_eq!(run(Mechanism::Plain, Some(line), &[]), "test/1234");
        assert_eq!(run(Mechanism::Plain, None, &[line]), "+ test/1234");
    }

    #[test]
    fn login_with_and_without_an_initial_response() {
        let lines: [&[u8]; 2] = [b"YW5uYUBmaXJtYS5jeg==", b"xb5sdcWlb3XEjWvDvQ=="];
        let expected = "+UGFzc3dvcmQ6 anna@firma.cz/žluťoučký";
        assert_eq!(
            run(Mechanism::Login, None, &lines),
            format!("+VXNlcm5hbWU6 {expected}")
        );
        assert_eq!(run(Mechanism::Login, Some(lines[0]), &lines[1..]), expected);
    }

    /// RFC 4616 §2: the authorization identity may be empty or one's own.
    #[test]
    fn nobody_acts_for_somebody_else() {
        assert_eq!(plain_initial(b"\0anna@firma.cz\0secret"), "anna@firma.cz/secret");
        assert_eq!(
            plain_initial(b"anna@firma.cz\0anna@firma.cz\0secret"),
            "anna@firma.cz/secret"
        );
        assert_eq!(plain_initial(b"bob@firma.cz\0anna@firma.cz\0secret"), "Malformed");
    }

    /// AS8
    #[test]
    fn as8_broken_responses_are_errors() {
        let long = "a".repeat(PASSWORD_OCTETS_MAX + 1);
        for octets in [
            b"".as_slice(),
            b"\0",
            b"\0\0",
            b"\0\0\0",
            b"anna",
            b"\0anna@firma.cz",
            b"\0anna@firma.cz\0",
            b"\0\0secret",
            b"\0\xff\xfe\0secret",
            b"\0anna@firma.cz\0\xff\xfe",
            b"\0anna@firma.cz\0secret\0more",
            format!("\0anna@firma.cz\0{long}").as_bytes(),
        ] {
            assert_eq!(plain_initial(octets), "Malformed", "{}", octets.escape_ascii());
        }
        for line in [
            b"!!!!".as_slice(),
            b"AHUAcA",
            b"A",
            b" AHUAcA==",
            b"AHUAcA==\r",
            b"AHUAcB==",
        ] {
            assert_eq!(
                run(Mechanism::Plain, None, &[line]),
                "+ NotBase64",
                "{}",
                line.escape_ascii()
            );
        }
        assert_eq!(run(Mechanism::Plain, Some(b"="), &[]), "Malformed");
        assert_eq!(run(Mechanism::Login, Some(b"="), &[]), "Malformed");
        assert_eq!(run(Mechanism::Login, None, &[b""]), "+VXNlcm5hbWU6 Malformed");
    }

    /// AS8
    #[test]
    fn as8_a_star_ends_an_exchange_anywhere() {
        assert_eq!(run(Mechanism::Plain, None, &[b"*"]), "+ Cancelled");
        assert_eq!(
            run(Mechanism::Login, None, &[b"YQ==", b"*"]),
            "+VXNlcm5hbWU6 +UGFzc3dvcmQ6 Cancelled"
        );
    }

    /// N1
    #[test]
    fn n1_only_plain_and_login_are_there() {
        assert_eq!(Mechanism::named(b"plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::named(b"Login"), Some(Mechanism::Login));
        for name in [
            "NTLM",
            "SPA",
            "GSSAPI",
            "CRAM-MD5",
            "DIGEST-MD5",
            "SCRAM-SHA-256",
            "EXTERNAL",
            "PLAIN ",
            "",
        ] {
            assert_eq!(Mechanism::named(name.as_bytes()), None, "{name}");
        }
    }

    /// D41
    #[test]
    fn d41_an_exchange_does_not_print_its_secrets() {
        let (_, progress) = Exchange::start(Mechanism::Plain, Some(b"AGFubmEAc2VjcmV0")).unwrap();
        let (exchange, _) = Exchange::start(Mechanism::Login, Some(b"c2VjcmV0")).unwrap();
        let printed = format!("{progress:?} {exchange:?}");
        assert!(
            !printed.contains("secret") && !printed.contains("anna"),
            "{printed}"
        );
    }

    proptest! {
        #[test]
        fn any_line_is_a_step_or_an_error(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Exchange::start(Mechanism::Plain, Some(&line));
            let _ = Exchange::start(Mechanism::Plain, Some(encoded(&line).as_bytes()));
            let _ = Exchange::start(Mechanism::Login, Some(encoded(&line).as_bytes()));
        }
    }
}
