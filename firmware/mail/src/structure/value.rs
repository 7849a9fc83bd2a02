//! Content-Type and Content-Disposition, as they stand in the header section.

use super::{PARAMS_MAX, PARAMS_OCTETS_MAX, Text, unfold};
use serde::{Deserialize, Serialize};

/// A Content-Type; or a Content-Disposition, which has no subtype.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentType {
    /// The type, such as `text`, in the case it was written in.
    pub media_type: Text,
    /// The subtype, such as `plain`.
    pub subtype: Text,
    /// The parameters in their order. Continuations and charsets of RFC 2231 are left as they stand
    /// (`filename*0*`): who reads a BODYSTRUCTURE wants them so.
    pub params: Vec<Param>,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// The name, in the case it was written in.
    pub name: Text,
    /// The value, without quotes.
    pub value: Text,
}

impl ContentType {
    /// A type without parameters.
    pub fn new(media_type: &str, subtype: &str) -> ContentType {
        ContentType {
            media_type: media_type.into(),
            subtype: subtype.into(),
            params: Vec::new(),
        }
    }

    /// `application/octet-stream`: octets that nobody should try to understand (RFC 2046 §4.5.1).
    pub fn opaque() -> ContentType {
        ContentType::new("application", "octet-stream")
    }

    /// The default of RFC 2045 §5.2.
    pub fn plain_text() -> ContentType {
        ContentType {
            params: vec![Param {
                name: "charset".into(),
                value: "us-ascii".into(),
            }],
            ..ContentType::new("text", "plain")
        }
    }

    /// Whether it is this type and subtype, in any case.
    pub fn is(&self, media_type: &str, subtype: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// The value of the first parameter with this name, in any case.
    pub fn param(&self, name: &str) -> Option<&Text> {
        let param = self
            .params
            .iter()
            .find(|param| param.name.eq_ignore_ascii_case(name))?;
        Some(&param.value)
    }

    /// What it takes in a structure.
    pub(super) fn octets(&self) -> usize {
        let params = self.params.iter();
        let params: usize = params.map(|param| param.name.len() + param.value.len() + 2).sum();
        self.media_type.len() + self.subtype.len() + params
    }

    /// Reads the value of a Content-Type field; `None` when it has no type and subtype.
    ///
    /// ```text
    /// content = "Content-Type" ":" type "/" subtype *(";" parameter)
    /// ```
    ///
    /// Source: RFC 2045 §5.1.
    pub(super) fn parse(value: &[u8]) -> Option<ContentType> {
        let value = bounded(value);
        let mut rest = Tokens(&value);
        let media_type = rest.token()?;
        rest.take(b'/')?;
        let subtype = rest.token()?;
        Some(ContentType {
            media_type,
            subtype,
            params: rest.params(),
        })
    }

    /// Reads the value of a Content-Disposition field (RFC 2183 §2).
    pub(super) fn parse_disposition(value: &[u8]) -> Option<ContentType> {
        let value = bounded(value);
        let mut rest = Tokens(&value);
        Some(ContentType {
            media_type: rest.token()?,
            subtype: Text::default(),
            params: rest.params(),
        })
    }
}

/// Reads a Content-Transfer-Encoding: one token (RFC 2045 §6.1).
pub(super) fn parse_token(value: &[u8]) -> Option<Text> {
    Tokens(&bounded(value)).token()
}

/// Reads a Content-Language: tags with commas between them (RFC 3282 §2).
pub(super) fn parse_languages(value: &[u8]) -> Vec<Text> {
    let value = bounded(value);
    let mut rest = Tokens(&value);
    let mut tags = Vec::new();
    while tags.len() < PARAMS_MAX {
        let Some(tag) = rest.token() else { break };
        tags.push(tag);
        if rest.take(b',').is_none() {
            break;
        }
    }
    tags
}

fn bounded(value: &[u8]) -> Vec<u8> {
    unfold(&value[..value.len().min(PARAMS_OCTETS_MAX)])
}

/// The tokens of a structured field, comments passed over (RFC 2045 §5.1, RFC 822 §3.3).
struct Tokens<'a>(&'a [u8]);

impl Tokens<'_> {
    fn skip_blank(&mut self) {
        self.0 = super::address::skip_cfws(self.0);
    }

    fn take(&mut self, octet: u8) -> Option<()> {
        self.skip_blank();
        self.0 = self.0.strip_prefix(&[octet])?;
        Some(())
    }

    /// ```text
    /// token := 1*<any (US-ASCII) CHAR except SPACE, CTLs, or tspecials>
    /// ```
    ///
    /// Octets above 127 are let through: they are common in file names that were not encoded.
    fn token(&mut self) -> Option<Text> {
        self.skip_blank();
        let is_token = |octet: u8| octet > b' ' && octet != 0x7f && !b"()<>@,;:\\\"/[]?=".contains(&octet);
        let length = self.0.iter().take_while(|&&octet| is_token(octet)).count();
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        (length > 0).then(|| Text::new(token.to_vec()))
    }

    /// ```text
    /// parameter := attribute "=" value
    /// value := token / quoted-string
    /// ```
    ///
    /// What makes no sense is passed over up to the next semicolon.
    fn params(&mut self) -> Vec<Param> {
        let mut params = Vec::new();
        while params.len() < PARAMS_MAX {
            self.skip_to_semicolon();
            if self.take(b';').is_none() {
                break;
            }
            let Some(name) = self.token() else { continue };
            if self.take(b'=').is_none() {
                continue;
            }
            params.push(Param {
                name,
                value: self.value(),
            });
        }
        params
    }

    fn value(&mut self) -> Text {
        self.skip_blank();
        if let Some(rest) = self.0.strip_prefix(b"\"") {
            let (content, rest) = super::address::quoted(rest);
            self.0 = rest;
            return Text::new(content);
        }
        // Values with characters that ask for quotes and have none are common: `name=a b.txt`.
        let length = memchr::memchr(b';', self.0).unwrap_or(self.0.len());
        let (value, rest) = self.0.split_at(length);
        self.0 = rest;
        Text::new(without_comment(value).trim_ascii_end().to_vec())
    }

    fn skip_to_semicolon(&mut self) {
        loop {
            self.skip_blank();
            match self.0.first() {
                None | Some(b';') => return,
                Some(b'"') => self.0 = super::address::quoted(&self.0[1..]).1,
                Some(_) => self.0 = &self.0[1..],
            }
        }
    }
}

/// The value before a comment: `us-ascii (Plain text)`, the example of RFC 2045 §5.1.
fn without_comment(value: &[u8]) -> &[u8] {
    match memchr::memchr(b'(', value) {
        Some(at) if value[..at].ends_with(b" ") => &value[..at],
        _ => value,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::format_push_string, clippy::format_collect)]
mod tests {
    use super::*;

    fn check(value: &str, expected: &str) {
        let parsed = ContentType::parse(value.as_bytes()).unwrap();
        let shown = |text: &Text| String::from_utf8(text.as_bytes().to_vec()).unwrap();
        let mut written = format!("{}/{}", shown(&parsed.media_type), shown(&parsed.subtype));
        for param in &parsed.params {
            written += &format!(" {}={}", shown(&param.name), shown(&param.value));
        }
        assert_eq!(written, expected, "{value}");
    }

    /// RFC 2045 §5.1
    #[test]
    fn the_examples_of_the_standard_are_read() {
        check(
            " text/plain; charset=us-ascii (Plain text)\r\n",
            "text/plain charset=us-ascii",
        );
        check(
            " text/plain; charset=\"us-ascii\"\r\n",
            "text/plain charset=us-ascii",
        );
    }

    #[test]
    fn parameters_are_kept_as_they_stand() {
        check(
            "Image/JPEG;\r\n name*0*=utf-8''a%20;name*1=\"b;c\\\"d\" ; x",
            "Image/JPEG name*0*=utf-8''a%20 name*1=b;c\"d",
        );
        check("a/b;name=two words.txt; =v; n=", "a/b name=two words.txt n=");
        check("a/b; x y=z; \"q;q\"; c=d", "a/b c=d");
        assert_eq!(ContentType::parse(b"text"), None);
        assert_eq!(ContentType::parse(b"/plain"), None);
    }

    /// AS13
    #[test]
    fn as13_parameters_are_bounded() {
        let many: String = (0..10_000).map(|n| format!(";filename*{n}*=x")).collect();
        let parsed = ContentType::parse_disposition(format!("attachment{many}").as_bytes()).unwrap();
        assert_eq!(parsed.params.len(), PARAMS_MAX);
        let long = format!("attachment; filename={}", "x".repeat(1 << 20));
        let parsed = ContentType::parse_disposition(long.as_bytes()).unwrap();
        assert!(parsed.params[0].value.len() <= PARAMS_OCTETS_MAX);
    }

    #[test]
    fn languages_have_commas_between_them() {
        assert_eq!(
            parse_languages(b" cs, en-GB (British)\r\n"),
            ["cs".into(), "en-GB".into()]
        );
    }
}
