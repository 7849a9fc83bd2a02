//! Addresses and paths.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// The longest domain name in octets (RFC 5321 §4.5.3.1.2, RFC 1035 §3.1).
const DOMAIN_OCTETS_MAX: usize = 253;
/// The longest local part in octets (RFC 5321 §4.5.3.1.1).
const LOCAL_PART_OCTETS_MAX: usize = 64;

/// The name of a domain, normalised: no surrounding space, no final dot, lower case, A-labels (H2).
/// Or an address literal, which is never hosted here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Domain(String);

/// The part of an address before the `@`, without quotes and escapes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LocalPart(String);

/// An address: a local part at a domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Before the `@`.
    pub local_part: LocalPart,
    /// Behind the `@`.
    pub domain: Domain,
}

/// Where a message says it comes from: `MAIL FROM` (RFC 5321 §4.1.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReversePath {
    /// `<>`: a report, which must not be answered.
    Null,
    /// An address.
    Address(Address),
}

/// Where a message is to go: `RCPT TO` (RFC 5321 §4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain, in any case (RFC 5321 §4.5.1).
    Postmaster,
    /// An address.
    Address(Address),
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `@`, or nothing before or behind it.
    #[error("an address has the form name@domain")]
    NoAt,
    /// The local part is too long or has a control character.
    #[error("the part before the @ has 1 to 64 octets and no control characters")]
    LocalPart,
    /// The domain is not a name that DNS and IDNA know.
    #[error("the part behind the @ is not a domain name")]
    Domain,
}

impl Domain {
    /// Normalises a domain name given as U-labels or A-labels, in any case.
    ///
    /// Source: RFC 5321 §2.3.5, RFC 5891 §5, UTS #46 (non-transitional, as browsers do).
    pub fn parse(text: &str) -> Result<Domain, AddressError> {
        let text = text.trim();
        let text = text.strip_suffix('.').unwrap_or(text);
        let name = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::STD3)
            .map_err(|_| AddressError::Domain)?;
        let is_name = !name.is_empty()
            && name.len() <= DOMAIN_OCTETS_MAX
            && name.split('.').all(|label| {
                (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
            });
        if is_name {
            Ok(Domain(name.into_owned()))
        } else {
            Err(AddressError::Domain)
        }
    }

    /// The address literal of `address` (RFC 5321 §4.1.3).
    pub fn literal(address: IpAddr) -> Domain {
        Domain(match address {
            IpAddr::V4(v4) => format!("[{v4}]"),
            IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
        })
    }

    /// Whether this is an address literal and not a name.
    pub fn is_literal(&self) -> bool {
        self.0.starts_with('[')
    }

    /// The name in A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in U-labels, for people to read.
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LocalPart {
    /// Takes a local part whose quotes and escapes have been removed.
    pub fn from_unquoted(text: &str) -> Result<LocalPart, AddressError> {
        let is_length = (1..=LOCAL_PART_OCTETS_MAX).contains(&text.len());
        if is_length && !text.chars().any(char::is_control) {
            Ok(LocalPart(text.to_owned()))
        } else {
            Err(AddressError::LocalPart)
        }
    }

    /// The local part without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can be written without quotes (RFC 5321 §4.1.2 `Dot-string`, RFC 6531 §3.3).
    pub fn is_dot_string(&self) -> bool {
        let is_atext =
            |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        self.0
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_dot_string() {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

impl Address {
    /// Parses `local-part@domain` as people write it. The last `@` separates, so a quoted local part
    /// may hold one.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let (local_part, domain) = text.trim().rsplit_once('@').ok_or(AddressError::NoAt)?;
        if local_part.is_empty() || domain.is_empty() {
            return Err(AddressError::NoAt);
        }
        let local_part = LocalPart::parse(local_part)?;
        Ok(Address {
            local_part,
            domain: Domain::parse(domain)?,
        })
    }

    /// What two spellings of one address share: lower case, A-labels (L1). Look-ups use it; it is
    /// never shown.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local_part.0.to_lowercase(), self.domain)
    }

    /// Whether mail to it needs SMTPUTF8 (RFC 6531 §3.3).
    pub fn needs_smtputf8(&self) -> bool {
        !self.local_part.0.is_ascii()
    }
}

impl LocalPart {
    /// Parses a `Dot-string` or a `Quoted-string` (RFC 5321 §4.1.2).
    fn parse(text: &str) -> Result<LocalPart, AddressError> {
        let Some(quoted) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            let local_part = LocalPart::from_unquoted(text)?;
            return if local_part.is_dot_string() {
                Ok(local_part)
            } else {
                Err(AddressError::LocalPart)
            };
        };
        let mut content = String::new();
        let mut chars = quoted.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => return Err(AddressError::LocalPart),
                '\\' => content.push(chars.next().ok_or(AddressError::LocalPart)?),
                c => content.push(c),
            }
        }
        LocalPart::from_unquoted(&content)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => f.write_str("<>"),
            ReversePath::Address(address) => write!(f, "<{address}>"),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("<postmaster>"),
            ForwardPath::Address(address) => write!(f, "<{address}>"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// H2
    #[test]
    fn h2_a_domain_is_normalised() {
        for text in [" Háčky.CZ. ", "háčky.cz", "xn--hky-ela4t.cz", "XN--HKY-ELA4T.cz"] {
            assert_eq!(
                Domain::parse(text).unwrap().as_str(),
                "xn--hky-ela4t.cz",
                "{text}"
            );
        }
        assert_eq!(
            Domain::parse("xn--hky-ela4t.cz").unwrap().to_unicode(),
            "háčky.cz"
        );
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            "-a.cz",
            "a-.cz",
            "a b.cz",
            "*.cz",
            "a_b.cz",
            "a/b",
            "[1.2.3.4]",
            &long,
        ] {
            assert_eq!(Domain::parse(text), Err(AddressError::Domain), "{text}");
        }
    }

    /// L1
    #[test]
    fn l1_spellings_of_one_address_share_their_key() {
        let key = Address::parse("Anna.Nová@Háčky.cz").unwrap().key();
        assert_eq!(Address::parse("anna.nová@xn--hky-ela4t.CZ").unwrap().key(), key);
    }

    #[test]
    fn a_local_part_is_quoted_only_where_it_must_be() {
        for text in [
            "anna@firma.cz",
            "\"anna nova\"@firma.cz",
            "\"a\\\"b\\\\c@d\"@firma.cz",
            "a+b@firma.cz",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Address::parse("\"anna\"@firma.cz").unwrap().to_string(),
            "anna@firma.cz"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@firma.cz", "a".repeat(65));
        for text in [
            "anna",
            "@firma.cz",
            "anna@",
            "a b@firma.cz",
            "a..b@firma.cz",
            "\"a@firma.cz",
            "a\n@firma.cz",
            &long,
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_literal_is_a_domain_that_is_no_name() {
        let literal = Domain::literal("2001:db8::1".parse().unwrap());
        assert_eq!(literal.as_str(), "[IPv6:2001:db8::1]");
        assert!(literal.is_literal());
    }
}
